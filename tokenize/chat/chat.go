// Package chat renders a conversation into the text that a model was trained on.
//
// A model's authors publish how they wrote conversations down as a template in Jinja, a language of its own with
// Python's values inside. The package runs such templates as Hugging Face's transformers does (jinja2 in its
// ImmutableSandboxedEnvironment, with trim_blocks, lstrip_blocks, loop controls and the generation tag), to the byte;
// testdata holds that library's answers.
//
//	lex.go                        cuts the source into tokens
//	parse.go, parseexpr.go        make a tree of them (ast.go)
//	eval.go, exec.go, loop.go     walk over the tree, once a rendering
//	value.go, number.go, text.go  are Python's values, operate.go is what operators do with them
//	access.go, methods.go         are elements, attributes and methods of values
//	filter*.go, tests.go          are what stands behind | and is
//	print.go, format.go           write values down
//	templates.go                  finds a repository's templates, conversation.go gives them a conversation
//
// A template is a program of a stranger, and so are the messages that it works on: there is no way from it to files,
// to other templates or to Go's values; Limits bounds its steps, its depth and its memory.
//
// Special tokens ("<|end|>") are how a model tells its authors' text from its users'. A user who writes one must not
// be taken for the author: text.go keeps, for each byte, whether the request wrote it, through all that a template does
// with texts. The result comes in parts, and tokenize.EncodeParts finds no special token in those of the request.
package chat

import (
	"context"
	"fmt"
	"time"

	"remote-client-server/tokenize"
)

// Template is a parsed template. It never changes and is safe for use by several goroutines.
type Template struct {
	body   []stmt
	source string
}

// Parse reads a template; the source is bounded by DefaultLimits.
func Parse(source string) (*Template, error) {
	body, err := parse(source, DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{body, source}, nil
}

// Options are the circumstances of a rendering.
type Options struct {
	Limits Limits           // the zero value stands for DefaultLimits
	Now    func() time.Time // what strftime_now tells; nil: time.Now
}

// Render gives the template these variables and returns its output, cut where the origin of the text changes.
// Errors name the template's line; of raise_exception they wrap *Raised, of exceeded limits ErrBudget.
func (t *Template) Render(ctx context.Context, vars *Dict, o Options) ([]tokenize.Part, error) {
	out, err := t.render(ctx, vars, o)
	if err != nil {
		return nil, err
	}
	return out.parts(), nil
}

func (t *Template) render(ctx context.Context, vars *Dict, o Options) (text, error) {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := newMeter(ctx, o.Limits)
	e := &evaluator{meter: m, out: &builder{m: m}, now: o.Now}
	given := &scope{}
	for _, name := range vars.Names() {
		v, _ := vars.Get(name)
		given.set(name, v)
	}
	e.root = &scope{around: given}
	e.scope = e.root
	if err := ctx.Err(); err != nil {
		return text{}, err
	}
	if _, err := e.exec(t.body); err != nil {
		return text{}, fmt.Errorf("chat template: %w", err)
	}
	return e.out.done(), nil
}
