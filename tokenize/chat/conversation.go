package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"remote-client-server/tokenize"
)

// Conversation is what a request asks to be written down for the model.
type Conversation struct {
	Messages  Value // a list of objects
	Tools     Value // a list of objects; nil: none are given
	Documents Value // likewise
	// AddGenerationPrompt begins the model's answer; ContinueFinalMessage leaves the last message open instead.
	AddGenerationPrompt, ContinueFinalMessage bool

	Template string           // a template's name; empty: the repository's choice
	Kwargs   *Dict            // more variables; they win over special tokens
	Now      func() time.Time // nil: time.Now
}

// FieldError says what is wrong with a request before a template sees it.
type FieldError struct {
	Field   string // as "messages[2].content[0].type"
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func wrong(problem, field string, args ...any) error {
	return &FieldError{fmt.Sprintf(field, args...), problem}
}

// roles are the names that templates know. They are the API's words and not the user's: a template that makes "<|user|>"
// of one means the special token.
var roles = []string{"assistant", "developer", "function", "ipython", "model", "observation", "system", "tool", "tool_response", "user"}

// Render writes a conversation down as transformers' apply_chat_template does. Errors are *FieldError, or wrap
// *Raised, ErrNoTemplate or ErrBudget, or say what the template could not do with these messages.
func (t *Templates) Render(ctx context.Context, c Conversation) ([]tokenize.Part, error) {
	hasTools := c.Tools != nil && !isNone(c.Tools)
	e, err := t.choose(c.Template, hasTools)
	if err != nil {
		return nil, err
	}
	messages, err := e.messages(c.Messages)
	if err != nil {
		return nil, err
	}
	for field, v := range map[string]Value{"tools": c.Tools, "documents": c.Documents} {
		if err := objects(field, v); err != nil {
			return nil, err
		}
	}
	vars := t.special.copied()
	for _, name := range c.Kwargs.Names() {
		v, _ := c.Kwargs.Get(name)
		vars.Set(name, v)
	}
	for name, v := range map[string]Value{"messages": &list{items: messages}, "tools": orNone(c.Tools),
		"documents": orNone(c.Documents), "add_generation_prompt": boolValue(c.AddGenerationPrompt)} {
		if _, ok := c.Kwargs.Get(name); ok {
			return nil, wrong("is not set this way", "chat_template_kwargs.%s", name)
		}
		vars.Set(name, v)
	}
	o := Options{Now: c.Now}
	if c.ContinueFinalMessage {
		return e.continued(ctx, c, messages, vars, o)
	}
	return e.template.Render(ctx, vars, o)
}

// objects checks a list of objects that may be absent.
func objects(field string, v Value) error {
	if v == nil || isNone(v) {
		return nil
	}
	l, ok := v.(*list)
	if !ok {
		return wrong("must be a list", "%s", field)
	}
	for i, one := range l.items {
		if _, ok := one.(*Dict); !ok {
			return wrong("must be an object", "%s[%d]", field, i)
		}
	}
	return nil
}

// messages brings the messages into the form that the template takes.
func (e *entry) messages(v Value) ([]Value, error) {
	l, _ := v.(*list)
	if l == nil {
		return nil, wrong("must be a list", "messages")
	}
	if len(l.items) == 0 {
		return nil, wrong("must not be empty", "messages")
	}
	out := make([]Value, len(l.items))
	for i, one := range l.items {
		m, ok := one.(*Dict)
		if !ok {
			return nil, wrong("must be an object", "messages[%d]", i)
		}
		var err error
		if out[i], err = e.message(i, m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// message is one message as templates want it: without its null members and with its reasoning under the names that
// transformers gives it. Beyond transformers, a content in parts is joined, the arguments of tool calls are read, and a
// message of tool calls alone has the content that the template needs.
func (e *entry) message(i int, m *Dict) (*Dict, error) {
	out := NewDict()
	reasoning := reasoningOf(m)
	if reasoning != nil {
		if v, ok := m.Get("thinking"); !ok || isNone(v) {
			out.Set("thinking", reasoning)
		}
	}
	for k, key := range m.keys {
		v := m.vals[k]
		if isNone(v) {
			continue
		}
		name, _ := key.(textValue)
		var err error
		switch name.s {
		case "role":
			if role, ok := v.(textValue); ok && slices.Contains(roles, role.s) {
				v = Trusted(role.s)
			}
		case "content":
			v, err = e.content(i, v)
		case "tool_calls":
			v = e.toolCalls(v)
		}
		if err != nil {
			return nil, err
		}
		_ = out.put(key, v) // it was a key before
	}
	if reasoning != nil {
		out.Set("reasoning_content", reasoning)
	}
	if v, _ := out.Get("content"); v == nil && e.callContent != nil {
		if calls, _ := out.Get("tool_calls"); calls != nil && truth(calls) {
			out.Set("content", e.callContent)
		}
	}
	return out, nil
}

// reasoningFields are the names under which clients send what a model thought, the usual one first.
var reasoningFields = []string{"reasoning_content", "thinking", "reasoning"}

func reasoningOf(m *Dict) Value {
	for _, name := range reasoningFields {
		if v, ok := m.Get(name); ok && !isNone(v) {
			return v
		}
	}
	return nil
}

// content checks a content that comes in parts, and joins it where the template wants a text.
func (e *entry) content(i int, v Value) (Value, error) {
	l, ok := v.(*list)
	if !ok {
		return v, nil
	}
	var texts []text
	for k, one := range l.items {
		part, ok := one.(*Dict)
		if !ok {
			return nil, wrong("must be an object", "messages[%d].content[%d]", i, k)
		}
		kind, _ := part.Get("type")
		if name, _ := kind.(textValue); name.s != "text" {
			return nil, wrong(fmt.Sprintf("%q is not supported, only text is", clip(name.s)), "messages[%d].content[%d].type", i, k)
		}
		content, _ := part.Get("text")
		t, ok := content.(textValue)
		if !ok {
			return nil, wrong("must be a text", "messages[%d].content[%d].text", i, k)
		}
		texts = append(texts, t.text)
	}
	if e.contentParts {
		return v, nil
	}
	var s strings.Builder
	out := text{}
	for _, t := range texts {
		for _, u := range t.user {
			out.user = append(out.user, span{s.Len() + u.lo, s.Len() + u.hi})
		}
		s.WriteString(t.s)
	}
	out.s = s.String()
	return textValue{out}, nil
}

// toolCalls reads the arguments of tool calls, which clients send as the text of a JSON object, for templates that go
// through the object. What is no such text stays as it is.
func (e *entry) toolCalls(v Value) Value {
	l, ok := v.(*list)
	if !ok || e.textArguments {
		return v
	}
	out := &list{items: slices.Clone(l.items)}
	for i, one := range l.items {
		call, ok := one.(*Dict)
		if !ok {
			continue
		}
		holder := call
		if v, ok := call.Get("function"); ok {
			if holder, ok = v.(*Dict); !ok {
				continue
			}
		}
		arguments, _ := holder.Get("arguments")
		t, ok := arguments.(textValue)
		if !ok {
			continue
		}
		parsed := Value(NewDict())
		if strings.TrimSpace(t.s) != "" {
			var err error
			if parsed, err = ParseJSON([]byte(t.s)); err != nil {
				continue
			}
		}
		if _, ok := parsed.(*Dict); !ok {
			continue
		}
		function := holder.copied()
		function.Set("arguments", parsed)
		if holder == call {
			out.items[i] = function
			continue
		}
		copied := call.copied()
		copied.Set("function", function)
		out.items[i] = copied
	}
	return out
}

// continueMark stands at the end of the last message while the template is rendered; the output is cut there.
const continueMark = "CONTINUE_FINAL_MESSAGE_TAG "

// continued renders a conversation whose last message is left open.
func (e *entry) continued(ctx context.Context, c Conversation, messages []Value, vars *Dict, o Options) ([]tokenize.Part, error) {
	if c.AddGenerationPrompt {
		return nil, wrong("excludes add_generation_prompt", "continue_final_message")
	}
	n := len(messages) - 1
	last := messages[n].(*Dict)
	if !strings.Contains(e.source, "content") {
		return nil, wrong("the model's template has no content to continue", "continue_final_message")
	}
	open := func(v Value) (Value, text, bool) {
		t, ok := v.(textValue)
		return textValue{text{s: t.s + continueMark, user: t.user}}, t.text, ok
	}
	v, _ := last.Get("content")
	marked, final, ok := open(v)
	if parts, isList := v.(*list); isList {
		copied := &list{items: slices.Clone(parts.items)}
		for i := len(copied.items) - 1; i >= 0 && !ok; i-- {
			part := copied.items[i].(*Dict).copied()
			t, _ := part.Get("text")
			if marked, final, ok = open(t); ok {
				part.Set("text", marked)
				copied.items[i] = part
			}
		}
		marked = copied
	}
	if !ok {
		return nil, wrong("the final message has no content to continue", "messages[%d].content", n)
	}
	last.Set("content", marked)
	out, err := e.template.render(ctx, vars, o)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndex(out.s, strings.TrimSpace(continueMark))
	if at < 0 || !strings.Contains(out.s, strings.TrimFunc(final.s, isBlank)) {
		return nil, wrong("the template leaves the final message out", "continue_final_message")
	}
	whole := strings.HasPrefix(out.s[at:], continueMark)
	if out = out.slice(0, at); !whole {
		out = out.trim(false, true, isBlank) // the template trims contents
	}
	return out.parts(), nil
}

// probe finds out in which form the template takes contents and arguments, by rendering both.
func (e *entry) probe(special *Dict) {
	const word = "probe0word"
	try := func(messages ...Value) (string, error) {
		vars := special.copied()
		vars.Set("messages", List(messages...))
		vars.Set("tools", None)
		vars.Set("documents", None)
		vars.Set("add_generation_prompt", Bool(true))
		out, err := e.template.render(context.Background(), vars, Options{Limits: probeLimits})
		return out.s, err
	}
	message := func(role string, content Value) *Dict {
		d := NewDict()
		d.Set("role", Trusted(role))
		d.Set("content", content)
		return d
	}
	part := NewDict()
	part.Set("type", Trusted("text"))
	part.Set("text", Trusted(word))
	s, err := try(message("user", List(part)))
	e.contentParts = err == nil && strings.Contains(s, word) && !strings.Contains(s, "'"+word+"'") && !strings.Contains(s, `"`+word+`"`)

	call := func(content, arguments Value) Value {
		function, call := NewDict(), NewDict()
		function.Set("name", Trusted("name"))
		function.Set("arguments", arguments)
		call.Set("id", Trusted("call00000"))
		call.Set("type", Trusted("function"))
		call.Set("function", function)
		m := NewDict()
		m.Set("role", Trusted("assistant"))
		if content != nil {
			m.Set("content", content)
		}
		m.Set("tool_calls", List(call))
		return m
	}
	question := Value(message("user", Trusted("question")))
	if e.contentParts {
		part.Set("text", Trusted("question"))
		question = message("user", List(part))
	}
	object := NewDict()
	object.Set("key", Trusted(word))
	for _, content := range []Value{nil, None, Trusted("")} {
		for _, arguments := range []Value{object, Trusted(`{"key": "` + word + `"}`)} {
			s, err := try(question, call(content, arguments))
			if err == nil && (content == nil || strings.Contains(s, word)) {
				_, e.textArguments = arguments.(textValue)
				e.callContent = content
				return
			}
		}
	}
}

// probeLimits keep the probing of a hostile template short.
var probeLimits = Limits{Steps: 100_000, Depth: 200, Bytes: 1 << 20, Source: 1 << 20}
