// Package toolcall knows how families of language models write calls of tools: what a call looks like in a model's
// text, the grammar that keeps a model to it, and the way back from text to calls, while the text grows.
//
//	format.go   which way of writing a model has, told from its chat template and its tokens
//	tool.go     the tools of a request, checked
//	grammar.go  the grammar of calls
//	parser.go   text to calls
//	scan.go     the JSON of one call, byte by byte
package toolcall

import "strings"

// style is a way of writing calls.
type style uint8

const (
	none   style = iota
	tagged       // <tool_call>\n{"name": …, "arguments": …}\n</tool_call>, one pair of tags a call
	bare         // {"name": …, "parameters": …} is the whole answer
	listed       // a marker and a list: [{"name": …, "arguments": …}, …], with or without a marker behind it
)

// Format is how a model writes calls. The zero value is a model that has no way of its own.
type Format struct {
	style       style
	name        string
	open, close marker
	ids         bool // a call may have an id of nine letters and digits
}

// marker is a text that calls begin or end with; most are tokens.
type marker struct {
	text    string
	id      int32 // of the token, -1 if the text is none
	special bool  // decoding can leave it out
}

// Detect tells the format from a chat template and from the tokens that exist. hasToken looks an added token up.
//
//   - Hermes 2 Pro, Qwen 2.5, Qwen 3, SmolLM3: the template shows <tool_call> and a JSON object. (Qwen 3 Coder's template
//     shows <function=…> instead, which is no JSON.)
//   - Llama 3.1 to 3.3: the template asks for {"name": function name, "parameters": …}.
//   - Mistral 7B v0.3, Nemo, Small: the template has [TOOL_CALLS]. (Later ones put [ARGS] between name and arguments.)
//   - Phi-4-mini: the template has <|tool|>, and <|tool_call|> is a token.
func Detect(template string, hasToken func(string) (id int32, special, ok bool)) Format {
	mark := func(text string) marker {
		m := marker{text: text, id: -1}
		if id, special, ok := hasToken(text); ok {
			m.id, m.special = id, special
		}
		return m
	}
	shows := func(text string) bool { return strings.Contains(template, text) }
	switch {
	case shows("[TOOL_CALLS]") && !shows("[ARGS]"):
		return Format{style: listed, name: "mistral", open: mark("[TOOL_CALLS]"), ids: true}
	case shows("<tool_call>") && !shows("<function="):
		return Format{style: tagged, name: "hermes", open: mark("<tool_call>"), close: mark("</tool_call>")}
	case shows("<|tool|>") && mark("<|tool_call|>").id >= 0:
		return Format{style: listed, name: "phi-4", open: mark("<|tool_call|>"), close: mark("<|/tool_call|>")}
	case shows(`"parameters"`) && shows(`{"name": function name`), shows("<|python_tag|>"):
		return Format{style: bare, name: "llama-3", open: mark("<|python_tag|>")}
	}
	return Format{}
}

// Supported says whether the model has a way to write calls.
func (f Format) Supported() bool { return f.style != none }

// String is the name of the family whose format it is.
func (f Format) String() string {
	if f.style == none {
		return "none"
	}
	return f.name
}

// Markers are the special tokens that a decoder must show, because the parser looks for them.
func (f Format) Markers() (ids []int32) {
	for _, m := range []marker{f.open, f.close} {
		if m.text != "" && m.id >= 0 && m.special {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// Trigger is what a model writes when it begins a call of its own accord; the grammar of Format.Continuation holds for
// what comes behind it. Where a trigger is text, the token in which it ends may go on behind it: that rest is for
// grammar.Matcher.AcceptText.
type Trigger struct {
	Token int32  // -1 if it is no token
	Text  string // the text, where it is no token
	Start bool   // only at the start of an answer
}

// Trigger is the beginning of calls.
func (f Format) Trigger() Trigger {
	switch {
	case f.style == none:
		return Trigger{Token: -1}
	case f.style == bare:
		return Trigger{Token: -1, Text: `{"name": "`, Start: true}
	}
	return Trigger{Token: f.open.id, Text: f.open.text}
}
