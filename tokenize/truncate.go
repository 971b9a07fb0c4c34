package tokenize

import (
	"errors"
	"fmt"
)

// Strategy says which text of a pair is shortened.
type Strategy int

const (
	LongestFirst Strategy = iota // the longer one, then both
	OnlyFirst
	OnlySecond
)

// Truncation shortens an encoding to a number of tokens, special tokens included.
type Truncation struct {
	MaxLength int
	Stride    int // tokens that neighbouring parts of the overflow share
	Strategy  Strategy
	Left      bool // cut at the start instead of the end
	Overflow  bool // keep what was cut off, in parts of the same length; two long texts give every combination of their parts
}

// Padding is what tokenizer.json says about padding; nothing here applies it.
type Padding struct {
	Fixed      int // length to pad to, 0: that of the longest text of a batch
	MultipleOf int // 0: none
	Left       bool
	ID, TypeID int32
	Token      string
}

// Truncate is Encode, or with b EncodePair, followed by truncation. The length without special tokens must be above
// Stride.
func (t *Tokenizer) Truncate(a string, b *string, addSpecial bool, tr Truncation) (*Encoding, error) {
	texts := []*Encoding{t.sequence(a)}
	if b != nil {
		texts = append(texts, t.sequence(*b))
	}
	budget := tr.MaxLength
	if addSpecial {
		budget -= t.SpecialCount(b != nil)
	}
	cut, err := truncateTexts(texts, budget, tr)
	if err != nil {
		return nil, fmt.Errorf("truncate to %d tokens: %w", tr.MaxLength, err)
	}
	e := t.post.apply(texts, addSpecial)
	e.Cut = cut
	return e, nil
}

// truncateTexts shortens the texts to budget tokens together and tells how many tokens went.
func truncateTexts(texts []*Encoding, budget int, tr Truncation) (cut int, err error) {
	total := 0
	for _, e := range texts {
		total += len(e.IDs)
	}
	if total <= budget {
		return 0, nil
	}
	if budget < 0 {
		return 0, errors.New("the special tokens alone are more")
	}
	keep := make([]int, len(texts))
	for i, e := range texts {
		keep[i] = len(e.IDs)
	}
	switch {
	case budget == 0:
		clear(keep)
	case tr.Strategy == LongestFirst && len(texts) == 1:
		keep[0] = budget
	case tr.Strategy == LongestFirst:
		short, long := 0, 1
		if keep[0] > keep[1] {
			short, long = 1, 0
		}
		keep[long] = max(keep[short], budget-keep[short])
		if keep[short]+keep[long] > budget {
			keep[short] = budget / 2
			keep[long] = keep[short] + budget%2
		}
	default:
		at := 0
		if tr.Strategy == OnlySecond {
			at = 1
		}
		if at >= len(texts) {
			return 0, errors.New("there is no second text")
		}
		if keep[at] <= total-budget {
			return 0, errors.New("the text to shorten is too short")
		}
		keep[at] -= total - budget
	}
	for i, e := range texts {
		if keep[i] < len(e.IDs) && keep[i] > 0 && (tr.Stride < 0 || tr.Stride >= keep[i]) {
			return 0, fmt.Errorf("stride %d is not below the %d tokens kept", tr.Stride, keep[i])
		}
	}
	for i, e := range texts {
		texts[i] = e.truncated(keep[i], tr)
	}
	return total - budget, nil
}

// truncated is e cut to n tokens.
func (e *Encoding) truncated(n int, tr Truncation) *Encoding {
	size := len(e.IDs)
	switch {
	case n >= size:
		return e
	case n == 0:
		out := &Encoding{}
		if tr.Overflow {
			out.Overflow = []*Encoding{e}
		}
		return out
	}
	var parts []*Encoding
	step := n - tr.Stride
	for at := 0; ; at += step {
		if tr.Left {
			to := size - at
			parts = append(parts, e.part(max(to-n, 0), to))
			if to <= n {
				break
			}
		} else {
			parts = append(parts, e.part(at, min(at+n, size)))
			if at+n >= size {
				break
			}
		}
		if !tr.Overflow {
			break
		}
	}
	parts[0].Overflow = parts[1:]
	return parts[0]
}

func (e *Encoding) part(a, b int) *Encoding {
	return &Encoding{IDs: e.IDs[a:b:b], TypeIDs: e.TypeIDs[a:b:b], Special: e.Special[a:b:b], Tokens: e.Tokens[a:b:b], Offsets: e.Offsets[a:b:b]}
}

// merge appends o, and combines the overflow of both: every part of e with o and its parts, then e with the parts of o.
func (e *Encoding) merge(o *Encoding) {
	var overflow []*Encoding
	for _, part := range e.Overflow {
		overflow = append(overflow, joined(part, o))
		for _, other := range o.Overflow {
			overflow = append(overflow, joined(part, other))
		}
	}
	for _, other := range o.Overflow {
		overflow = append(overflow, joined(e, other))
	}
	*e = *joined(e, o)
	e.Overflow = overflow
}

func joined(a, b *Encoding) *Encoding {
	return &Encoding{
		IDs:     join(a.IDs, b.IDs),
		TypeIDs: join(a.TypeIDs, b.TypeIDs),
		Special: join(a.Special, b.Special),
		Tokens:  join(a.Tokens, b.Tokens),
		Offsets: join(a.Offsets, b.Offsets),
	}
}

func join[T any](a, b []T) []T {
	return append(append(make([]T, 0, len(a)+len(b)), a...), b...)
}
