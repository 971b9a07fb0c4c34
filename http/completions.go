package http

import (
	"strings"
	"time"

	"remote-client-server/models/text"
)

// completionRequest is the body of a request of the older route: a prompt is
// gone on with as it stands.
type completionRequest struct {
	textRequest
	prompts []string
	given   [][]int32 // prompts as token ids
	echo    bool
	plain   bool // no special tokens around the prompt
}

var completionFields = append([]string{"prompt", "suffix", "echo", "best_of", "logprobs", "add_special_tokens"}, textFields...)

const maxPrompts = 64

// defaultCompletion is how long a completion becomes when the request does not
// say: OpenAI's number.
const defaultCompletion = 16

func decodeCompletion(body []byte, l limits, o text.Options) (*completionRequest, error) {
	q := &completionRequest{textRequest: textRequest{options: o}}
	best := 0
	err := l.fields(body, completionFields, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "prompt":
			err = q.readPrompt(r)
		case "suffix":
			var s string
			if s, err = r.string(); err == nil && s != "" {
				err = bad("", "is not supported: the model goes on with a text, it does not fill one")
			}
		case "echo":
			q.echo, err = r.bool()
		case "best_of":
			var n int64
			n, err = r.integer(1, text.MaxChoices)
			best = int(n)
		case "logprobs":
			var n int64
			n, err = r.integer(0, text.MaxLogprobs)
			q.options.Logprobs, q.options.Top = true, int(n)
		case "add_special_tokens":
			q.plain, err = r.bool()
			q.plain = !q.plain
		default:
			err = q.read(r, l, key)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case q.prompts == nil && q.given == nil:
		return nil, bad("prompt", "is required")
	case best > 0 && best != max(q.options.Choices, 1):
		return nil, bad("best_of", "is not supported but as n")
	case q.echo && q.options.Logprobs:
		return nil, bad("logprobs", "is not supported with echo: the prompt's tokens have none")
	}
	if q.options.MaxTokens == 0 {
		q.options.MaxTokens = defaultCompletion
	}
	return q, nil
}

// readPrompt reads a text, token ids, or a list of either.
func (q *completionRequest) readPrompt(r *jsonReader) error {
	e := &embedRequest{}
	if err := e.readInput(r, maxPrompts); err != nil {
		return err
	}
	q.prompts, q.given = e.texts, e.ids
	return nil
}

// completions answers the completions route.
func (c *call) completions(m Writer) {
	a := &writing{c: c, m: m, created: time.Now().Unix()}
	ok := c.prepare(func(body []byte) error {
		q, err := decodeCompletion(body, c.limits(), c.startOptions(m))
		if err != nil {
			return err
		}
		a.textRequest = &q.textRequest
		if err := q.constrain(m); err != nil {
			return err
		}
		for _, s := range q.prompts {
			if err := c.wanted(); err != nil {
				return err
			}
			if err := a.add(m.Complete(s, !q.plain)); err != nil {
				return err
			}
			if q.echo {
				a.prompts = append(a.prompts, s)
			}
		}
		for _, ids := range q.given {
			if err := a.add(ids); err != nil {
				return err
			}
			if q.echo {
				var s strings.Builder
				for _, id := range ids {
					b, _, _ := m.TokenBytes(id)
					s.Write(b)
				}
				a.prompts = append(a.prompts, s.String())
			}
		}
		return nil
	})
	if ok {
		a.answer()
	}
}
