package text

import (
	"fmt"
	"slices"

	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
	"remote-client-server/tokenize/grammar"
	"remote-client-server/tokenize/toolcall"
)

// Bounds of a request's options.
const (
	MaxChoices  = 16
	MaxLogprobs = 20
	MaxStops    = 64
	MaxBiases   = 1024
)

// Options say how a text goes on; Model.Defaults are what the repository wants. The zero value takes the likeliest token
// at each step.
type Options struct {
	Temperature float64 // 0: the likeliest token
	TopP        float64 // 1: all
	TopK        int     // 0: all
	MinP        float64
	Repetition  float64 // 0 and 1: none
	Frequency   float64
	Presence    float64
	Bias        map[int32]float32
	Seed        uint64
	Seeded      bool // else every choice has a seed of its own
	MaxTokens   int  // 0: to the end of the context
	MinTokens   int
	Stop        []string
	StopIDs     []int32
	IgnoreEnd   bool
	IncludeStop bool // the stop string stays in the text
	ShowSpecial bool // special tokens stay in the text
	Logprobs    bool
	Top         int // alternatives beside each token
	Choices     int // 0: 1
	Grammar     *grammar.Constraint
	After       *toolcall.Trigger // the grammar holds only behind it; nil: from the first token
	Show        []int32           // special tokens that stay in the text: marks of tool calls
}

// OptionError is an option that is out of range.
type OptionError struct{ Field, Reason string }

func (e *OptionError) Error() string { return e.Field + ": " + e.Reason }

func wrong(field, format string, args ...any) error {
	return &OptionError{field, fmt.Sprintf(format, args...)}
}

// Check reports an *OptionError.
func (o *Options) Check(vocab int) error {
	for _, r := range []struct {
		field        string
		v, low, high float64
	}{
		{"temperature", o.Temperature, 0, 100}, {"top_p", o.TopP, 0, 1}, {"min_p", o.MinP, 0, 1}, {"top_k", float64(o.TopK), 0, 1<<31 - 1},
		{"repetition_penalty", o.Repetition, 0, 100}, {"frequency_penalty", o.Frequency, -2, 2}, {"presence_penalty", o.Presence, -2, 2},
		{"n", float64(o.Choices), 0, MaxChoices}, {"top_logprobs", float64(o.Top), 0, MaxLogprobs},
		{"max_tokens", float64(o.MaxTokens), 0, 1<<31 - 1}, {"min_tokens", float64(o.MinTokens), 0, 1<<31 - 1},
	} {
		if !(r.v >= r.low && r.v <= r.high) {
			return wrong(r.field, "%v is outside [%v, %v]", r.v, r.low, r.high)
		}
	}
	switch {
	case o.MaxTokens > 0 && o.MinTokens > o.MaxTokens:
		return wrong("min_tokens", "%d is more than max_tokens %d", o.MinTokens, o.MaxTokens)
	case len(o.Stop) > MaxStops:
		return wrong("stop", "%d strings, more than %d", len(o.Stop), MaxStops)
	case slices.Contains(o.Stop, ""):
		return wrong("stop", "an empty string")
	case len(o.StopIDs) > runtime.MaxEnds/2:
		return wrong("stop_token_ids", "%d ids, more than %d", len(o.StopIDs), runtime.MaxEnds/2)
	case len(o.Bias) > MaxBiases:
		return wrong("logit_bias", "%d tokens, more than %d", len(o.Bias), MaxBiases)
	}
	for i, id := range o.StopIDs {
		if id < 0 || int(id) >= vocab {
			return wrong(fmt.Sprintf("stop_token_ids[%d]", i), "%d: the model has tokens 0 to %d", id, vocab-1)
		}
	}
	for id, b := range o.Bias {
		if id < 0 || int(id) >= vocab {
			return wrong(fmt.Sprintf("logit_bias.%d", id), "the model has tokens 0 to %d", vocab-1)
		}
		if !(b >= -100 && b <= 100) {
			return wrong(fmt.Sprintf("logit_bias.%d", id), "%v is outside [-100, 100]", b)
		}
	}
	return nil
}

// Work is one prompt to go on from, the task of a queue.Job. The job's events are *Delta.
type Work struct {
	Prompt  []int32
	Options Options

	cost int
	open int // choices that have not ended; the engine's
}

// NewWork checks the work against the model: the prompt must leave room for a token, and MaxTokens is cut to the context.
func (m *Model) NewWork(prompt []int32, o Options) (*Work, error) {
	if err := o.Check(m.info.VocabSize); err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		return nil, wrong("prompt", "no token to go on from: the model has none that begins a text")
	}
	if room := m.info.MaxTokens - len(prompt); room < 1 {
		return nil, &ContextError{Prompt: len(prompt), Limit: m.info.MaxTokens}
	} else if o.MaxTokens == 0 || o.MaxTokens > room {
		o.MaxTokens = room
	}
	for i, id := range prompt {
		if id < 0 || int(id) >= m.info.VocabSize {
			return nil, wrong(fmt.Sprintf("prompt[%d]", i), "token %d: the model has 0 to %d", id, m.info.VocabSize-1)
		}
	}
	o.Choices = max(o.Choices, 1)
	o.MinTokens = min(o.MinTokens, o.MaxTokens)
	return &Work{Prompt: prompt, Options: o, cost: len(prompt) + o.Choices*min(o.MaxTokens, expectedTokens)}, nil
}

// expectedTokens is what an answer costs that may become as long as it likes.
const expectedTokens = 256

// Cost is the tokens of the prompt and of an answer of usual length.
func (w *Work) Cost() int { return w.cost }

// ContextError is a prompt that leaves no room for an answer.
type ContextError struct{ Prompt, Limit int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens, and the model's context is %d tokens, of which at least one is for the answer", e.Prompt, e.Limit)
}

// Reasons why a choice ended.
const (
	Stopped = "stop"
	Length  = "length"
)

// Delta is what became known of a choice at one step.
type Delta struct {
	Choice int
	Text   string  // that no later token changes; often empty
	Tokens []Token // chosen since the last Delta of the choice
	Cached int     // tokens of the prompt that were not computed again; with the first Delta of choice 0
	Finish string  // "" while it goes on
	Stop   string  // the stop string that ended it, "" for none
}

// Token is a chosen token.
type Token struct {
	ID      int32
	Logprob float32       // 0 unless asked for
	Top     []Alternative // the likeliest tokens, as many as asked for
}

// Alternative is a token that might have been chosen.
type Alternative struct {
	ID      int32
	Logprob float32
}

var _ queue.Task = (*Work)(nil)
