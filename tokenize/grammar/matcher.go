package grammar

import (
	"fmt"
	"slices"
)

// Matcher follows one sequence. It is cheap to make; it belongs to one goroutine at a time.
type Matcher struct {
	c       *Constraint
	now     *stacks
	age     int
	ended   bool
	closing bool
}

// Matcher begins a sequence.
func (c *Constraint) Matcher() *Matcher {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Matcher{c: c, now: c.start(), age: c.age}
}

// Clone is a second sequence that begins like this one.
func (m *Matcher) Clone() *Matcher {
	other := *m
	return &other
}

func (m *Matcher) lock() {
	m.c.mu.Lock()
	if m.age != m.c.age {
		m.age = m.c.age
		m.now = m.c.renew(m.now)
	}
}

// MaskSize is the length of a mask in words of 32 tokens.
func (c *Constraint) MaskSize() int { return (c.v.size + 31) / 32 }

// Mask sets the bits of the tokens that may come next, bit id%32 of word id/32, and clears all others; words of dst
// behind MaskSize are cleared. The tokens that end a text are set if the text is complete.
//
// left is how many tokens may still be generated, this one included; 0 is no bound. If at each step left is one less
// than at the step before, and Least was not above it at the first, the text is complete when it is spent. Where it
// was, the shortest way to the end is left open.
func (m *Matcher) Mask(dst []uint32, left int) {
	clear(dst)
	m.lock()
	defer m.c.mu.Unlock()
	if n := m.c.MaskSize(); len(dst) < n {
		return
	}
	m.c.work = 0
	if !m.ended && m.c.within(m.now, dst[:m.c.MaskSize()], left) {
		m.closing = true
	}
	if m.ended || m.now.done {
		for _, id := range m.c.v.end {
			dst[id>>5] |= 1 << (id & 31)
		}
	}
}

// Accept takes the token that came. A token that may not come is an error and changes nothing.
func (m *Matcher) Accept(id int32) error {
	m.lock()
	defer m.c.mu.Unlock()
	c := m.c
	switch {
	case m.ended:
		return fmt.Errorf("grammar: token %d comes behind the end", id)
	case slices.Contains(c.v.end, id) && m.now.done:
		m.ended = true
		return nil
	}
	next := c.follow(m.now, c.v.bytes(id))
	if k := slices.Index(c.g.tokens, id); k >= 0 {
		if other := c.symbol(m.now, firstToken+int16(k)); next == nil {
			next = other
		} else if other != nil {
			next = c.stacks(append(slices.Clone(next.frames), other.frames...), next.done || other.done)
		}
	}
	if next == nil {
		return fmt.Errorf("grammar: token %d may not come here", id)
	}
	m.now = next
	return nil
}

// follow is where the bytes of a token lead, nil for nowhere or for no bytes.
func (c *Constraint) follow(s *stacks, text []byte) *stacks {
	if len(text) == 0 {
		return nil
	}
	for _, b := range text {
		if s = c.step(s, b); s == nil {
			return nil
		}
	}
	if s.dist >= unreachable {
		return nil
	}
	return s
}

// AcceptText takes bytes that came before the matcher was asked: the end of the token in which its text begins. Bytes
// that may not come are an error and change nothing.
func (m *Matcher) AcceptText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	m.lock()
	defer m.c.mu.Unlock()
	next := m.c.follow(m.now, text)
	if m.ended || next == nil {
		return fmt.Errorf("grammar: %q may not come here", clip(string(text)))
	}
	m.now = next
	return nil
}

// Complete says that the text may end here.
func (m *Matcher) Complete() bool { return m.ended || m.now.done }

// Finished says that only the end may come.
func (m *Matcher) Finished() bool {
	if m.ended {
		return true
	}
	if !m.now.done || m.now.takes != [4]uint64{} {
		return false
	}
	return !slices.ContainsFunc(m.now.tops, func(f *frame) bool { return len(f.top.tokens) > 0 })
}

// Closing says that the tokens left have begun to decide what may come: the text is one that was cut short.
func (m *Matcher) Closing() bool { return m.closing }

// Forced is what must come next, as far as there is no choice, in bytes; at most maxToken of them.
func (m *Matcher) Forced() []byte {
	m.lock()
	defer m.c.mu.Unlock()
	var out []byte
	for s := m.now; len(out) < maxToken && !s.done; {
		b, ok := s.only()
		if !ok || slices.ContainsFunc(s.tops, func(f *frame) bool { return len(f.top.tokens) > 0 }) {
			break
		}
		if s = m.c.step(s, b); s == nil {
			break
		}
		out = append(out, b)
	}
	return out
}
