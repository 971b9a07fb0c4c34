package chat

import (
	"context"
	"errors"
	"fmt"
)

// Limits bounds what a template may cost; a template is data of a stranger.
type Limits struct {
	Steps  int // nodes evaluated, and 256 bytes of text or 16 elements of a list handled
	Depth  int // nesting of the source, of values, and of macro calls
	Bytes  int // of the output, of any string on the way, and of any list at 16 bytes an element
	Source int // bytes of the template
}

// DefaultLimits are far above what the templates of real models need.
var DefaultLimits = Limits{Steps: 1_000_000, Depth: 200, Bytes: 8 << 20, Source: 1 << 20}

// ErrBudget is wrapped by the errors of exceeded Limits.
var ErrBudget = errors.New("chat template exceeds its budget")

func overBudget(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBudget, fmt.Sprintf(format, args...))
}

const (
	bytesPerStep    = 256
	elementsPerStep = 16
	elementBytes    = 16
	// framesPerLevel is how many nested evaluations one level of Depth may take.
	framesPerLevel = 16
	// stepsPerCheck is how often the deadline is looked at.
	stepsPerCheck = 4096
)

// meter counts what one rendering costs.
type meter struct {
	ctx    context.Context
	limits Limits
	steps  int
	check  int // at how many steps the context is looked at next
	depth  int // nested evaluations
}

func newMeter(ctx context.Context, l Limits) *meter {
	return &meter{ctx: ctx, limits: l, check: stepsPerCheck}
}

// spend counts n steps.
func (m *meter) spend(n int) error {
	m.steps += n
	if m.steps < 0 || m.steps > m.limits.Steps {
		return overBudget("more than %d steps", m.limits.Steps)
	}
	if m.steps >= m.check {
		m.check = m.steps + stepsPerCheck
		return m.ctx.Err()
	}
	return nil
}

// text is asked before a string of n bytes is made or searched.
func (m *meter) text(n int) error {
	if n < 0 || n > m.limits.Bytes {
		return overBudget("a text of more than %d bytes", m.limits.Bytes)
	}
	return m.spend(n / bytesPerStep)
}

// list is asked before a list of n elements is made or searched.
func (m *meter) list(n int) error {
	if n < 0 || n > m.limits.Bytes/elementBytes {
		return overBudget("a list of more than %d elements", m.limits.Bytes/elementBytes)
	}
	return m.spend(n / elementsPerStep)
}

// enter goes one evaluation deeper; leave comes back.
func (m *meter) enter() error {
	if m.depth++; m.depth > m.limits.Depth*framesPerLevel {
		return overBudget("nested deeper than %d", m.limits.Depth)
	}
	return m.spend(1)
}

func (m *meter) leave() { m.depth-- }
