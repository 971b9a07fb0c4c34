package chat

import (
	"slices"
	"strings"
	"unicode/utf8"

	"remote-client-server/tokenize"
)

// text is a string that knows which of its bytes the request wrote. It is always valid UTF-8.
type text struct {
	s    string
	user []span // ascending, apart, none empty; nil: all of it is the template's
}

// span is a range of bytes.
type span struct{ lo, hi int }

func template(s string) text { return text{s: s} }

func request(s string) text {
	if s == "" {
		return text{}
	}
	return text{s: s, user: []span{{0, len(s)}}}
}

// marked tells whether any byte is the request's.
func (t text) marked() bool { return len(t.user) > 0 }

// as is s with the request's mark if t has it anywhere: for what is computed from a text and not cut out of it.
func (t text) as(s string) text {
	if t.marked() {
		return request(s)
	}
	return template(s)
}

// slice is the part from byte a to byte b.
func (t text) slice(a, b int) text {
	out := text{s: t.s[a:b]}
	if len(t.user) == 0 || a == b {
		return out
	}
	if len(t.user) == 1 && t.user[0].lo <= a && t.user[0].hi >= b {
		out.user = []span{{0, b - a}}
		return out
	}
	for _, u := range t.user {
		if lo, hi := max(u.lo, a), min(u.hi, b); lo < hi {
			out.user = append(out.user, span{lo - a, hi - a})
		}
	}
	return out
}

// count is the length in characters.
func (t text) count() int { return utf8.RuneCountInString(t.s) }

// offsets has the byte where each character begins, and the length.
func (t text) offsets() []int {
	out := make([]int, 0, len(t.s)+1)
	for i := range t.s {
		out = append(out, i)
	}
	return append(out, len(t.s))
}

// ascii tells whether characters are bytes.
func (t text) ascii() bool {
	for i := 0; i < len(t.s); i++ {
		if t.s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// trim drops the characters that drop names from the ends.
func (t text) trim(left, right bool, drop func(rune) bool) text {
	a, b := 0, len(t.s)
	if left {
		a = b - len(strings.TrimLeftFunc(t.s, drop))
	}
	if right {
		b = a + len(strings.TrimRightFunc(t.s[a:], drop))
	}
	return t.slice(a, b)
}

// builder puts a text together.
type builder struct {
	m    *meter
	s    strings.Builder
	user []span
}

// add appends t within the budget.
func (b *builder) add(t text) error {
	if len(t.s) > b.m.limits.Bytes-b.s.Len() {
		return overBudget("a text of more than %d bytes", b.m.limits.Bytes)
	}
	if err := b.m.spend(len(t.s) / bytesPerStep); err != nil {
		return err
	}
	at := b.s.Len()
	b.s.WriteString(t.s)
	for _, u := range t.user {
		if n := len(b.user); n > 0 && b.user[n-1].hi == at+u.lo {
			b.user[n-1].hi = at + u.hi
		} else {
			b.user = append(b.user, span{at + u.lo, at + u.hi})
		}
	}
	return nil
}

// done is the text; the builder must not be used any more.
func (b *builder) done() text { return text{s: b.s.String(), user: b.user} }

// parts cuts a text where its origin changes.
func (t text) parts() []tokenize.Part {
	var out []tokenize.Part
	at := 0
	put := func(to int, plain bool) {
		if at < to {
			out = append(out, tokenize.Part{Text: t.s[at:to], Plain: plain})
		}
		at = to
	}
	for _, u := range t.user {
		put(u.lo, false)
		put(u.hi, true)
	}
	put(len(t.s), false)
	return out
}

// reverse is the text with its characters in the other order.
func (t text) reverse() text {
	out := make([]byte, 0, len(t.s))
	for i := len(t.s); i > 0; {
		_, w := utf8.DecodeLastRuneInString(t.s[:i])
		out = append(out, t.s[i-w:i]...)
		i -= w
	}
	r := text{s: string(out)}
	for _, u := range slices.Backward(t.user) {
		r.user = append(r.user, span{len(t.s) - u.hi, len(t.s) - u.lo})
	}
	return r
}

// isBlank is Python's str.isspace for one character.
func isBlank(r rune) bool {
	switch {
	case r == ' ', r >= '\t' && r <= '\r', r >= 0x1c && r <= 0x1f:
		return true
	case r < 0x85:
		return false
	}
	switch r {
	case 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}
