package http

import (
	"strings"

	"remote-client-server/models/text"
	"remote-client-server/tokenize/chat"
	"remote-client-server/tokenize/toolcall"
)

// chatRequest is the body of a chat request.
type chatRequest struct {
	textRequest
	conversation chat.Conversation
	tools        []toolcall.Tool
	choice       string // none, auto, required, or "" where nothing was said
	function     string // the one tool that must be called
	parallel     bool
}

var chatFields = append([]string{
	"messages", "tools", "tool_choice", "parallel_tool_calls", "documents", "chat_template_kwargs", "add_generation_prompt",
	"continue_final_message", "logprobs", "top_logprobs", "functions", "function_call",
}, textFields...)

// decodeChat reads and checks all that can be known without the model; o is what counts where a request says nothing.
func decodeChat(body []byte, l limits, o text.Options) (*chatRequest, error) {
	q := &chatRequest{textRequest: textRequest{options: o}, parallel: true}
	q.conversation.AddGenerationPrompt = true
	asked := false
	err := l.fields(body, chatFields, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "logprobs":
			q.options.Logprobs, err = r.bool()
		case "top_logprobs":
			var n int64
			n, err = r.integer(0, text.MaxLogprobs)
			q.options.Top, asked = int(n), true
		case "tool_choice":
			err = q.readChoice(r, l)
		case "tools":
			err = q.readTools(r)
		case "parallel_tool_calls":
			q.parallel, err = r.bool()
		case "functions", "function_call":
			err = bad("", "is not supported: use tools and tool_choice")
		default:
			if err = q.readConversation(r, key); err == errElsewhere {
				err = q.read(r, l, key)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case q.conversation.Messages == nil:
		return nil, bad("messages", "is required")
	case asked && q.options.Top > 0 && !q.options.Logprobs:
		return nil, bad("top_logprobs", "needs logprobs to be true")
	case q.conversation.ContinueFinalMessage && q.conversation.AddGenerationPrompt:
		q.conversation.AddGenerationPrompt = false
	}
	if err := q.settleTools(); err != nil {
		return nil, err
	}
	return q, nil
}

// errElsewhere says that a field is none of a conversation's.
var errElsewhere = bad("", "another field")

// readConversation reads what goes into the template.
func (q *chatRequest) readConversation(r *jsonReader, key string) (err error) {
	c := &q.conversation
	switch key {
	case "messages":
		c.Messages, err = readMessages(r)
	case "documents":
		look := *r
		if err = look.array(func(int) error {
			if look.kind() != objectKind {
				return look.mismatch("an object")
			}
			return look.discard()
		}); err == nil {
			c.Documents, err = r.value()
		}
	case "chat_template_kwargs":
		if r.kind() != objectKind {
			return r.mismatch("an object")
		}
		var v chat.Value
		if v, err = r.value(); err == nil {
			c.Kwargs, _ = v.(*chat.Dict)
		}
	case "add_generation_prompt":
		c.AddGenerationPrompt, err = r.bool()
	case "continue_final_message":
		c.ContinueFinalMessage, err = r.bool()
	default:
		err = errElsewhere
	}
	return err
}

// value reads a value for a template.
func (r *jsonReader) value() (chat.Value, error) {
	raw, err := r.raw(len(r.text))
	if err != nil {
		return nil, err
	}
	v, err := chat.ParseJSON(raw)
	if err != nil {
		return nil, bad("", "%v", err)
	}
	return v, nil
}

// readMessages reads the list of messages: each is an object with a role. What else it holds is the template's business.
func readMessages(r *jsonReader) (chat.Value, error) {
	if r.kind() != arrayKind {
		return nil, r.mismatch("a list of messages")
	}
	look := *r // at each message, before all of them are read at once
	n := 0
	err := look.array(func(int) error {
		n++
		role := ""
		err := look.object(func(key string) (err error) {
			switch {
			case key == "role":
				role, err = look.name()
			case key == "content" && look.kind() != stringKind && look.kind() != arrayKind && look.kind() != nullKind:
				err = look.mismatch("a string or a list of parts")
			case key == "content" && look.kind() == arrayKind:
				err = look.array(func(int) error { return checkPart(&look) })
			default:
				err = look.discard()
			}
			return err
		})
		if err == nil && role == "" {
			err = bad("role", "is required")
		}
		return err
	})
	if err == nil && n == 0 {
		err = bad("", "must not be empty")
	}
	if err != nil {
		return nil, err
	}
	return r.value()
}

// checkPart refuses what a language model cannot read.
func checkPart(r *jsonReader) error {
	if r.kind() == stringKind {
		return r.discard()
	}
	kind, hasText := "", false
	err := r.object(func(key string) (err error) {
		switch key {
		case "type":
			kind, err = r.name()
		case "text":
			hasText = true
			_, err = r.string()
		default:
			err = r.discard()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case kind != "text":
		return bad("type", "must be text: this model reads no %q", shorten(kind))
	case !hasText:
		return bad("text", "is required")
	}
	return nil
}

// readTools reads OpenAI's list of tools, for the template and for the grammar.
func (q *chatRequest) readTools(r *jsonReader) error {
	if r.kind() != arrayKind {
		return r.mismatch("a list of tools")
	}
	look := *r
	err := look.array(func(i int) error {
		if i == toolcall.MaxTools {
			return bad("", "more than %d tools", toolcall.MaxTools)
		}
		var t toolcall.Tool
		kind := ""
		given := false
		err := look.object(func(key string) (err error) {
			switch key {
			case "type":
				kind, err = look.name()
			case "function":
				given = true
				err = look.object(func(key string) (err error) {
					switch key {
					case "name":
						t.Name, err = look.name()
					case "parameters":
						if look.kind() == nullKind {
							return look.discard()
						}
						t.Parameters, err = look.raw(maxGuide)
					case "strict":
						if !look.null() {
							_, err = look.bool()
						}
					case "description":
						if !look.null() {
							_, err = look.string()
						}
					default:
						err = look.discard()
					}
					return err
				})
			default:
				err = look.discard()
			}
			return err
		})
		switch {
		case err != nil:
		case kind != "function":
			err = bad("type", "must be function, not %q", shorten(kind))
		case !given:
			err = bad("function", "is required")
		}
		q.tools = append(q.tools, t)
		return err
	})
	if err != nil {
		return err
	}
	if len(q.tools) == 0 {
		return r.discard()
	}
	q.conversation.Tools, err = r.value()
	return err
}

// readChoice reads tool_choice: a word, or the tool to call.
func (q *chatRequest) readChoice(r *jsonReader, l limits) (err error) {
	if r.kind() == stringKind {
		if q.choice, err = r.name(); err == nil && q.choice != "none" && q.choice != "auto" && q.choice != "required" {
			err = bad("", "must be none, auto, required or a function, not %q", shorten(q.choice))
		}
		return err
	}
	if r.kind() != objectKind {
		return r.mismatch("a string or an object")
	}
	kind := ""
	err = l.object(r, []string{"type", "function"}, &q.warnings, func(r *jsonReader, key string) (err error) {
		if key == "type" {
			kind, err = r.name()
			return err
		}
		return l.object(r, []string{"name"}, &q.warnings, func(r *jsonReader, _ string) (err error) {
			q.function, err = r.name()
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case kind != "function":
		return bad("type", "must be function, not %q", shorten(kind))
	case q.function == "":
		return bad("function.name", "is required")
	}
	q.choice = "required"
	return nil
}

// settleTools checks that tools and their choice fit each other.
func (q *chatRequest) settleTools() error {
	if len(q.tools) == 0 {
		if q.choice == "required" {
			return bad("tool_choice", "needs tools")
		}
		return nil
	}
	if err := toolcall.Check(q.tools); err != nil {
		path, reason, found := strings.Cut(err.Error(), ": ")
		if !found {
			path, reason = "tools", err.Error()
		}
		return bad(path, "%s", reason)
	}
	switch {
	case q.choice == "none": // the template does not show them either
		q.tools, q.conversation.Tools = nil, nil
	case q.choice == "":
		q.choice = "auto"
	case q.function != "":
		for i, t := range q.tools {
			if t.Name == q.function {
				q.tools = q.tools[i : i+1]
				return nil
			}
		}
		return bad("tool_choice.function.name", "%q is none of the tools", shorten(q.function))
	}
	return nil
}
