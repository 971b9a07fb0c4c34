package http

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"remote-client-server/models/text"
)

// newCallID names a call of a tool.
func newCallID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// head appends the fields that answers and chunks begin with.
func (a *writing) head(b []byte, object string) []byte {
	b = appendString(append(b, `{"id":`...), a.id())
	b = appendString(append(b, `,"object":`...), object)
	b = strconv.AppendInt(append(b, `,"created":`...), a.created, 10)
	return appendString(append(b, `,"model":`...), a.model)
}

// whole is the answer of a request that does not stream.
func (a *writing) whole() []byte {
	object := "text_completion"
	if a.chats {
		object = "chat.completion"
	}
	b := append(a.head(nil, object), `,"choices":[`...)
	for i, n := range a.choices {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(n.index), 10)
		if a.chats {
			b = n.appendMessage(append(b, `,"message":`...))
		} else {
			b = appendString(append(b, `,"text":`...), a.repeated(n)+string(n.text))
		}
		b = a.appendLogprobs(b, n, n.tokens)
		b = appendOrNull(append(b, `,"finish_reason":`...), n.finish)
		if a.ids {
			b = appendTokenIDs(b, n.tokens)
		}
		b = append(b, '}')
	}
	b = append(b, ']', ',')
	b = a.appendUsage(b)
	return append(appendWarnings(b, a.warnings), '}')
}

// repeated is the prompt of a choice, where a completion repeats it.
func (a *writing) repeated(n *choice) string {
	if a.prompts == nil {
		return ""
	}
	return a.prompts[n.index/a.works[0].Options.Choices]
}

func (n *choice) appendMessage(b []byte) []byte {
	b = append(b, `{"role":"assistant","content":`...)
	if len(n.calls) > 0 && len(n.text) == 0 {
		b = append(b, "null"...)
	} else {
		b = appendString(b, string(n.text))
	}
	if len(n.calls) > 0 {
		b = append(b, `,"tool_calls":[`...)
		for i, c := range n.calls {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(append(b, `{"id":`...), c.id)
			b = appendString(append(b, `,"type":"function","function":{"name":`...), c.name)
			b = appendString(append(b, `,"arguments":`...), string(c.arguments))
			b = append(b, "}}"...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendTokenIDs(b []byte, tokens []text.Token) []byte {
	b = append(b, `,"token_ids":[`...)
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(t.ID), 10)
	}
	return append(b, ']')
}

// appendUsage appends the field of that name.
func (a *writing) appendUsage(b []byte) []byte {
	prompt, cached, completion := a.tokens()
	b = strconv.AppendInt(append(b, `"usage":{"prompt_tokens":`...), int64(prompt), 10)
	b = strconv.AppendInt(append(b, `,"completion_tokens":`...), int64(completion), 10)
	b = strconv.AppendInt(append(b, `,"total_tokens":`...), int64(prompt+completion), 10)
	b = strconv.AppendInt(append(b, `,"prompt_tokens_details":{"cached_tokens":`...), int64(cached), 10)
	return append(b, "}}"...)
}

// appendLogprobs appends the log-probabilities of tokens in the form of the
// route.
func (a *writing) appendLogprobs(b []byte, n *choice, tokens []text.Token) []byte {
	b = append(b, `,"logprobs":`...)
	if !a.options.Logprobs {
		return append(b, "null"...)
	}
	if a.chats {
		return a.appendChatLogprobs(b, tokens)
	}
	return a.appendTextLogprobs(b, n, tokens)
}

func (a *writing) appendChatLogprobs(b []byte, tokens []text.Token) []byte {
	b = append(b, `{"content":[`...)
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(a.appendLogprob(b, t.ID, t.Logprob), `,"top_logprobs":[`...)
		for k, o := range t.Top {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(a.appendLogprob(b, o.ID, o.Logprob), '}')
		}
		b = append(b, "]}"...)
	}
	return append(b, `],"refusal":null}`...)
}

// appendLogprob appends an object without its end.
func (a *writing) appendLogprob(b []byte, id int32, logprob float32) []byte {
	word, bytes := a.shown(id)
	b = appendString(append(b, `{"token":`...), word)
	b = appendNumber(append(b, `,"logprob":`...), logprob)
	b = append(b, `,"bytes":[`...)
	for i, c := range bytes {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(c), 10)
	}
	return append(b, ']')
}

// appendNumber appends a log-probability; that of an impossible token is a
// number that is as good as none, as OpenAI has it.
func appendNumber(b []byte, v float32) []byte {
	if !(v >= -9999) {
		v = -9999
	}
	return strconv.AppendFloat(b, float64(v), 'g', -1, 32)
}

func (a *writing) appendTextLogprobs(b []byte, n *choice, tokens []text.Token) []byte {
	words, bytes := make([]string, len(tokens)), 0
	for i, t := range tokens {
		words[i], _ = a.shown(t.ID)
	}
	b = appendStrings(append(b, `{"tokens":`...), words)
	b = append(b, `,"token_logprobs":[`...)
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, t.Logprob)
	}
	b = append(b, `],"top_logprobs":[`...)
	for i, t := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		for k, o := range t.Top {
			if k > 0 {
				b = append(b, ',')
			}
			word, _ := a.shown(o.ID)
			b = appendNumber(append(appendString(b, word), ':'), o.Logprob)
		}
		b = append(b, '}')
	}
	b = append(b, `],"text_offset":[`...)
	for i, w := range words {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n.offset+bytes), 10)
		bytes += utf8.RuneCountInString(w)
	}
	n.offset += bytes
	return append(b, "]}"...)
}
