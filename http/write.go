package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"remote-client-server/models/text"
	"remote-client-server/runtime/queue"
	"remote-client-server/tokenize/chat"
	"remote-client-server/tokenize/grammar"
	"remote-client-server/tokenize/toolcall"
)

// Writer is what reception needs of a language model; *text.Model is one. All
// methods are called from many goroutines at once.
type Writer interface {
	Info() text.Info
	// Defaults are the repository's own options.
	Defaults() text.Options
	// Chat is the tokens of a conversation, Complete those of a prompt as it
	// stands.
	Chat(ctx context.Context, c chat.Conversation) ([]int32, error)
	Complete(prompt string, addSpecial bool) []int32
	// NewWork checks what only the model can.
	NewWork(prompt []int32, o text.Options) (*text.Work, error)
	// Constrain prepares the form of an answer; key stands for what build makes.
	Constrain(key string, build func() (*grammar.Grammar, error)) (*grammar.Constraint, error)
	// Calls is how the model writes calls of tools.
	Calls() toolcall.Format
	// TokenBytes is what a token adds to a text.
	TokenBytes(id int32) (b []byte, special, ok bool)
}

// What /api takes where a request says nothing, as the Python server does.
const (
	apiTemperature = 0.2
	apiTopP        = 0.2
)

// startOptions are those that count where a request says nothing.
func (c *call) startOptions(m Writer) text.Options {
	o := m.Defaults()
	if c.to.prefix == apiPrefix {
		o.Temperature, o.TopP, o.TopK, o.MinP = apiTemperature, apiTopP, 0, 0
	}
	return o
}

// writing is a request that a language model answers, with its works: one for
// each prompt.
type writing struct {
	*textRequest
	c       *call
	m       Writer
	works   []*text.Work
	jobs    []*queue.Job
	created int64
	choices []*choice // of all prompts, those of the first in front

	chats   bool
	calls   bool // the answer may call tools
	format  toolcall.Format
	tools   []toolcall.Tool
	prompts []string // of completions that repeat theirs
}

// badRequest is the failure of a request that the model does not take, as a
// badField where it says which field is at fault.
func badRequest(err error) error {
	var option *text.OptionError
	var field *chat.FieldError
	var long *text.ContextError
	switch {
	case errors.As(err, &option):
		return bad(option.Field, "%s", option.Reason)
	case errors.As(err, &field):
		return bad(field.Field, "%s", field.Problem)
	case errors.As(err, &long), errors.Is(err, queue.ErrCancelled), errors.Is(err, queue.ErrDeadline):
		return err
	}
	return bad("messages", "%v", err)
}

// constrain prepares the form that the answer must have.
func (q *textRequest) constrain(m Writer) error {
	if q.grammar == nil {
		return nil
	}
	var err error
	q.options.Grammar, err = m.Constrain(q.grammarKey, func() (*grammar.Grammar, error) {
		return grammar.Compile(q.grammar, grammar.Options{})
	})
	if err != nil {
		return bad(q.grammarBy, "%v", err)
	}
	return nil
}

// chat answers the chat route.
func (c *call) chat(m Writer) {
	a := &writing{c: c, m: m, chats: true, created: time.Now().Unix()}
	ok := c.prepare(func(body []byte) error {
		q, err := decodeChat(body, c.limits(), c.startOptions(m))
		if err != nil {
			return err
		}
		a.textRequest = &q.textRequest
		if err := a.useTools(q); err != nil {
			return err
		}
		if err := q.constrain(m); err != nil {
			return err
		}
		if err := c.wanted(); err != nil {
			return err
		}
		ids, err := m.Chat(c.client, q.conversation)
		if err != nil {
			return badRequest(err)
		}
		return a.add(ids)
	})
	if ok {
		a.answer()
	}
}

// useTools has the model call tools in its own way, by force if the request
// wants that.
func (a *writing) useTools(q *chatRequest) error {
	if len(q.tools) == 0 {
		return nil
	}
	a.format = a.m.Calls()
	if !a.format.Supported() {
		return bad("tools", "this model's chat template defines no way to call tools that is known here")
	}
	if q.grammar != nil {
		if q.choice == "required" {
			return bad("tool_choice", "the form of the answer is given by %s already", q.grammarBy)
		}
		warn(&q.warnings, "tools will not be called: %s gives the form of the answer", q.grammarBy)
		return nil
	}
	a.calls, a.tools = true, q.tools
	q.options.Show = a.format.Markers()
	var key strings.Builder
	fmt.Fprintf(&key, "tools %s %v %q", a.format, q.parallel, q.choice)
	for _, t := range q.tools {
		fmt.Fprintf(&key, " %q %q", t.Name, t.Parameters)
	}
	build := a.format.Grammar
	if q.choice != "required" {
		trigger := a.format.Trigger()
		q.options.After, build = &trigger, a.format.Continuation
	}
	var err error
	q.options.Grammar, err = a.m.Constrain(key.String(), func() (*grammar.Grammar, error) { return build(q.tools, q.parallel) })
	if err != nil {
		return bad("tools", "%v", err)
	}
	return nil
}

// add makes the work for one prompt.
func (a *writing) add(ids []int32) error {
	w, err := a.m.NewWork(ids, a.options)
	if err != nil {
		return badRequest(err)
	}
	if g := a.options.Grammar; g != nil && a.options.After == nil && g.Least() > w.Options.MaxTokens {
		warn(&a.warnings, "max_tokens %d may end the answer before it is complete: its shortest form has %d characters", w.Options.MaxTokens, g.Least())
	}
	for range w.Options.Choices {
		n := &choice{index: len(a.choices)}
		if a.calls {
			n.parser = a.format.Parser(a.tools)
		}
		a.choices = append(a.choices, n)
	}
	a.works = append(a.works, w)
	return nil
}

// answer sees the works through the queue and writes what they come to.
func (a *writing) answer() {
	a.c.name(&a.model, &a.warnings)
	if a.stream {
		if a.submit() {
			a.flow()
		}
		return
	}
	if a.run() {
		a.c.json(a.whole())
	}
}

// submit puts the works in line, all or none; it answers itself when that fails.
func (a *writing) submit() bool {
	for _, w := range a.works {
		j, ok := a.c.submit(w)
		if !ok {
			for _, j := range a.jobs {
				j.Cancel()
				a.c.s.ended(j)
			}
			return false
		}
		a.jobs = append(a.jobs, j)
	}
	return true
}

// run waits for the works; it answers itself when one fails.
func (a *writing) run() bool {
	if !a.submit() {
		return false
	}
	var failed error
	for _, j := range a.jobs {
		if failed != nil {
			j.Cancel()
		}
		if err := a.c.wait(j); err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		a.c.fail(jobFailed(failed))
		return false
	}
	for i := range a.jobs {
		a.take(i)
	}
	a.c.s.opt.Observer.Generation()
	a.count()
	return true
}

// id is the answer's name.
func (a *writing) id() string {
	if a.chats {
		return "chatcmpl-" + a.jobs[0].ID()
	}
	return "cmpl-" + a.jobs[0].ID()
}

// take reads what became known of a prompt's choices and gives what that adds
// to each.
func (a *writing) take(i int) []piece {
	var all []piece
	for _, e := range a.jobs[i].Events() {
		d, ok := e.(*text.Delta)
		if !ok {
			continue
		}
		n := a.choices[i*a.works[i].Options.Choices+d.Choice]
		all = append(all, n.take(d))
	}
	return all
}

// usage is what the works have taken so far.
func (a *writing) tokens() (prompt, cached, completion int) {
	for i, w := range a.works {
		prompt += len(w.Prompt)
		for _, n := range a.choices[i*w.Options.Choices : (i+1)*w.Options.Choices] {
			cached += n.cached
			completion += n.count
		}
	}
	return prompt, cached, completion
}

// count tells the observer.
func (a *writing) count() {
	prompt, cached, completion := a.tokens()
	a.c.s.opt.Observer.Written(prompt, cached, completion)
}

// choice is one of the answers as far as it is known.
type choice struct {
	index  int
	text   []byte // without calls of tools
	calls  []called
	tokens []text.Token
	count  int
	cached int
	finish string
	parser *toolcall.Parser
	begun  bool // a chunk was sent
	offset int  // in characters, of the next token's text
}

// called is a call of a tool.
type called struct {
	id, name  string
	arguments []byte
}

// piece is what a delta adds to a choice.
type piece struct {
	n      *choice
	text   string
	calls  []callPiece
	tokens []text.Token
	finish string
}

// callPiece is a part of a call: its beginning, with a name, or more of its
// arguments.
type callPiece struct {
	index     int
	id, name  string
	arguments string
}

func (n *choice) take(d *text.Delta) piece {
	p := piece{n: n, tokens: d.Tokens, finish: d.Finish}
	n.cached += d.Cached
	n.count += len(d.Tokens)
	n.tokens = append(n.tokens, d.Tokens...)
	if n.parser == nil {
		p.text = d.Text
	} else {
		events := n.parser.Push(d.Text)
		if d.Finish != "" {
			events = append(events, n.parser.Close()...)
		}
		for _, e := range events {
			switch e.Kind {
			case toolcall.Content:
				p.text += e.Text
			case toolcall.CallStart:
				id := "call_" + newCallID()
				n.calls = append(n.calls, called{id: id, name: e.Name})
				p.calls = append(p.calls, callPiece{index: len(n.calls) - 1, id: id, name: e.Name})
			case toolcall.CallArguments:
				last := &n.calls[len(n.calls)-1]
				last.arguments = append(last.arguments, e.Text...)
				p.calls = append(p.calls, callPiece{index: len(n.calls) - 1, arguments: e.Text})
			}
		}
		if d.Finish == text.Stopped && len(n.calls) > 0 {
			p.finish = "tool_calls"
		}
	}
	n.text = append(n.text, p.text...)
	n.finish = cmp.Or(p.finish, n.finish)
	return p
}

// shown is a token's text as far as it is one.
func (a *writing) shown(id int32) (string, []byte) {
	b, _, _ := a.m.TokenBytes(id)
	if utf8.Valid(b) {
		return string(b), b
	}
	return fmt.Sprintf("bytes:%x", b), b
}
