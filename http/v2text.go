package http

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"remote-client-server/models/text"
	"remote-client-server/tokenize/chat"
)

// textInputs and textOutputs are the tensors of a language model. messages is
// a conversation as JSON, text what a user says in one, prompt goes on as it
// stands; the others are the fields of those names of the chat route.
var (
	textInputs = []tensorInfo{
		{"messages", "BYTES", 1}, {"text", "BYTES", 1}, {"prompt", "BYTES", -1}, {"max_tokens", "INT32", 1}, {"temperature", "FP32", 1},
		{"top_p", "FP32", 1}, {"top_k", "INT32", 1}, {"min_p", "FP32", 1}, {"repetition_penalty", "FP32", 1}, {"presence_penalty", "FP32", 1},
		{"frequency_penalty", "FP32", 1}, {"seed", "INT64", 1}, {"stop", "BYTES", -1}, {"min_tokens", "INT32", 1}, {"n", "INT32", 1},
		{"guided_json", "BYTES", 1},
	}
	textOutputs = []tensorInfo{{"output", "BYTES", -1}, {"finish_reason", "BYTES", -1}, {"input_tokens", "INT32", 1}, {"output_tokens", "INT32", 1}}
)

// textPrompts are the prompts of a V2 request.
type textPrompts struct {
	textRequest
	messages chat.Value // nil: prompts go on as they stand
	prompts  []string
}

// textRequest makes the inputs of a V2 request those of the chat route.
func (q *inferRequest) textRequest(l limits, o text.Options) (*textPrompts, error) {
	p := &textPrompts{textRequest: textRequest{options: o, warnings: q.warnings}}
	l.lenient = true
	given := ""
	for i := range q.inputs {
		t := &q.inputs[i]
		var err error
		switch name := t.name; {
		case name == "messages" || name == "text" || name == "prompt":
			if given != "" {
				return nil, bad(t.path+".name", "%s is given already", given)
			}
			given = name
			err = p.readPrompt(t)
		case name == "stop":
			p.options.Stop, err = t.texts()
		case slices.ContainsFunc(textInputs, func(i tensorInfo) bool { return i.name == name }) || name == "max_new_tokens" || name == "ignore_eos":
			err = t.value(func(r *jsonReader) error { return p.read(r, l, name) })
		case l.strict:
			return nil, bad(t.path+".name", "unknown input %q", shorten(name))
		default:
			warn(&p.warnings, "unknown input %q was ignored", shorten(name))
		}
		if err != nil {
			return nil, err
		}
	}
	if given == "" {
		return nil, bad("inputs", "one named messages, text or prompt is required")
	}
	for _, name := range q.outputs {
		if !slices.ContainsFunc(textOutputs, func(o tensorInfo) bool { return o.name == name }) {
			return nil, bad("outputs", "there is no output %q: this model has output, finish_reason, input_tokens and output_tokens", shorten(name))
		}
	}
	return p, nil
}

func (p *textPrompts) readPrompt(t *tensor) error {
	if t.name == "prompt" {
		var err error
		p.prompts, err = t.texts()
		if err == nil && (len(p.prompts) == 0 || len(p.prompts) > maxPrompts) {
			err = bad(t.path+".data", "must be from 1 to %d texts", maxPrompts)
		}
		return err
	}
	s, err := t.word()
	if err != nil {
		return err
	}
	if t.name == "text" {
		m := chat.NewDict()
		m.Set("role", chat.String("user"))
		m.Set("content", chat.String(s))
		p.messages = chat.List(m)
		return nil
	}
	r := &jsonReader{text: []byte(s)}
	if p.messages, err = readMessages(r); err == nil {
		err = r.end()
	}
	if err != nil {
		return within(t.path+".data", err)
	}
	return nil
}

// inferText answers a V2 inference request.
func (c *call) inferText(m Writer) {
	if !c.named() {
		return
	}
	a := &writing{c: c, m: m, created: time.Now().Unix()}
	var v2 *inferRequest
	ok := c.prepare(func(body []byte) error {
		body, err := c.inferBody(body)
		if err != nil {
			return err
		}
		if v2, err = decodeInfer(body, c.limits()); err != nil {
			return err
		}
		p, err := v2.textRequest(c.limits(), c.startOptions(m))
		if err != nil {
			return err
		}
		a.textRequest = &p.textRequest
		if err := p.constrain(m); err != nil {
			return err
		}
		if p.messages != nil {
			ids, err := m.Chat(c.client, chat.Conversation{Messages: p.messages, AddGenerationPrompt: true})
			if err != nil {
				return badRequest(err)
			}
			return a.add(ids)
		}
		for _, s := range p.prompts {
			if err := a.add(m.Complete(s, true)); err != nil {
				return err
			}
		}
		return nil
	})
	if !ok || !a.run() {
		return
	}
	b := appendString([]byte(`{"model_name":`), c.s.opt.Name)
	b = appendString(append(b, `,"id":`...), cmp.Or(v2.id, c.job))
	if len(a.warnings) > 0 {
		b = append(b, `,"parameters":{"warnings":`...)
		b = append(appendString(b, strings.Join(a.warnings, "; ")), '}')
	}
	c.json(a.appendOutputs(append(b, `,"outputs":[`...), v2.outputs))
}

// appendOutputs appends the outputs that are wanted, all if none is named.
func (a *writing) appendOutputs(b []byte, wanted []string) []byte {
	var texts, reasons []string
	for _, n := range a.choices {
		texts, reasons = append(texts, string(n.text)), append(reasons, n.finish)
	}
	prompt, _, completion := a.tokens()
	comma := false
	tensor := func(name, datatype string, n int, data func(b []byte) []byte) {
		if len(wanted) > 0 && !slices.Contains(wanted, name) {
			return
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = appendString(append(b, `{"name":`...), name)
		b = appendInt(append(b, `,"shape":[`...), n)
		b = appendString(append(b, `],"datatype":`...), datatype)
		b = append(data(append(b, `,"data":`...)), '}')
	}
	words := func(list []string) func([]byte) []byte {
		return func(b []byte) []byte { return appendStrings(b, list) }
	}
	number := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return appendInts(b, []int{n}) }
	}
	tensor("output", "BYTES", len(texts), words(texts))
	tensor("finish_reason", "BYTES", len(reasons), words(reasons))
	tensor("input_tokens", "INT32", 1, number(prompt))
	tensor("output_tokens", "INT32", 1, number(completion))
	return append(b, "]}"...)
}
