package tokenize

import (
	"strings"
	"unicode/utf8"
)

// span is the byte range of the input that one byte of normalised text came from.
type span struct{ lo, hi int32 }

// text is a stretch of the input on its way through the pipeline, always valid UTF-8.
// With track set, every byte remembers where it came from: spans has one entry a byte, or is nil while s still is the
// input itself from byte base on.
// Without track only the characters matter and spans stays nil.
type text struct {
	s     string
	spans []span
	base  int32
	track bool
}

// slice is the part of t from byte a to byte b.
func (t *text) slice(a, b int) text {
	if t.spans == nil {
		return text{s: t.s[a:b], base: t.base + int32(a), track: t.track}
	}
	return text{s: t.s[a:b], spans: t.spans[a:b], base: t.base, track: true}
}

// origin is the byte range of the input behind the bytes a to b of t; characters are never cut.
func (t *text) origin(a, b int) (lo, hi int32) {
	b = min(b, len(t.s))
	if a >= b {
		if len(t.spans) > 0 {
			at := t.spans[min(a, len(t.spans)-1)].lo
			return at, at
		}
		return t.base + int32(min(a, len(t.s))), t.base + int32(min(a, len(t.s)))
	}
	if t.spans != nil {
		return t.spans[a].lo, t.spans[b-1].hi
	}
	for a > 0 && !utf8.RuneStart(t.s[a]) {
		a--
	}
	for b < len(t.s) && !utf8.RuneStart(t.s[b]) {
		b++
	}
	return t.base + int32(a), t.base + int32(b)
}

// align makes spans explicit.
func (t *text) align() []span {
	if t.spans == nil {
		t.spans = make([]span, len(t.s))
		for i := 0; i < len(t.s); {
			_, w := utf8.DecodeRuneInString(t.s[i:])
			sp := span{t.base + int32(i), t.base + int32(i+w)}
			for k := range w {
				t.spans[i+k] = sp
			}
			i += w
		}
	}
	return t.spans
}

// rewriter builds the next form of a text from left to right; every call names what happens to the next characters of
// the old form.
// The alignment follows the reference library: a replaced character keeps its place, an inserted one takes that of
// the character before it.
type rewriter struct {
	t     *text
	at    int // bytes of t.s consumed
	out   strings.Builder
	spans []span
	old   []span
	limit int // what would make out longer is left out
}

func rewrite(t *text) *rewriter {
	w := &rewriter{t: t, limit: grown(len(t.s))}
	w.out.Grow(len(t.s) + 8)
	if t.track {
		w.old = t.align()
		w.spans = make([]span, 0, len(t.s)+8)
	}
	return w
}

// keep copies the next n bytes, whole characters.
func (w *rewriter) keep(n int) {
	w.out.WriteString(w.t.s[w.at : w.at+n])
	if w.t.track {
		w.spans = append(w.spans, w.old[w.at:w.at+n]...)
	}
	w.at += n
}

// drop leaves out the next n bytes, whole characters.
func (w *rewriter) drop(n int) { w.at += n }

// size of the next character, 0 at the end.
func (w *rewriter) size() int {
	if w.at >= len(w.t.s) {
		return 0
	}
	_, n := utf8.DecodeRuneInString(w.t.s[w.at:])
	return n
}

// replace puts r for the next character.
func (w *rewriter) replace(r rune) {
	var sp span
	if w.t.track && w.at < len(w.old) {
		sp = w.old[w.at]
	}
	w.write(r, sp)
	w.at += w.size()
}

// insert puts r behind what was consumed.
func (w *rewriter) insert(r rune) {
	var sp span
	if w.t.track && w.at > 0 {
		sp = w.old[w.at-1]
	}
	w.write(r, sp)
}

// skip leaves out the next n characters.
func (w *rewriter) skip(n int) {
	for ; n > 0; n-- {
		w.at += w.size()
	}
}

func (w *rewriter) write(r rune, sp span) {
	n := w.out.Len()
	if n > w.limit {
		return
	}
	w.out.WriteRune(r)
	if w.t.track {
		for n = w.out.Len() - n; n > 0; n-- {
			w.spans = append(w.spans, sp)
		}
	}
}

// done stores the new form in the text.
func (w *rewriter) done() {
	w.t.s = w.out.String()
	if w.t.track {
		w.t.spans = w.spans
	}
}

// change is one character of a new form: 0 replaces the next old one, 1 is inserted, -n replaces one and leaves out n
// more.
type change struct {
	r    rune
	diff int
}

// apply rewrites the text from byte start on.
func (t *text) apply(start int, changes []change) {
	w := rewrite(t)
	w.keep(start)
	for _, c := range changes {
		if c.diff > 0 {
			w.insert(c.r)
			continue
		}
		w.replace(c.r)
		w.skip(-c.diff)
	}
	w.done()
}

// filter keeps the characters that test accepts.
func (t *text) filter(test func(rune) bool) {
	i := strings.IndexFunc(t.s, func(r rune) bool { return !test(r) })
	if i < 0 {
		return
	}
	w := rewrite(t)
	w.keep(i)
	for w.at < len(t.s) {
		r, n := utf8.DecodeRuneInString(t.s[w.at:])
		if test(r) {
			w.keep(n)
		} else {
			w.drop(n)
		}
	}
	w.done()
}

// mapRunes replaces every character by f of it.
func (t *text) mapRunes(f func(rune) rune) {
	i := strings.IndexFunc(t.s, func(r rune) bool { return f(r) != r })
	if i < 0 {
		return
	}
	w := rewrite(t)
	w.keep(i)
	for w.at < len(t.s) {
		r, n := utf8.DecodeRuneInString(t.s[w.at:])
		if m := f(r); m == r {
			w.keep(n)
		} else {
			w.replace(m)
		}
	}
	w.done()
}

// prepend puts p before a text that is not empty; it shares the place of the first character.
func (t *text) prepend(p string) {
	if t.s == "" || p == "" {
		return
	}
	if t.track {
		old := t.align()
		spans := make([]span, 0, len(p)+len(old))
		for range len(p) {
			spans = append(spans, old[0])
		}
		t.spans = append(spans, old...)
	}
	t.s = p + t.s
}

// substitute puts content for every match of p; its characters take the place of the match's last one.
func (t *text) substitute(p matcher, content string) {
	if t.s == "" {
		return
	}
	var w *rewriter
	p.find(t.s, func(a, b int) {
		if w == nil {
			w = rewrite(t)
		}
		w.keep(a - w.at)
		w.drop(b - a)
		if w.out.Len()+len(content) > w.limit {
			return
		}
		w.out.WriteString(content)
		if t.track && b > 0 {
			for range len(content) {
				w.spans = append(w.spans, w.old[b-1])
			}
		}
	})
	if w == nil {
		return
	}
	w.keep(len(t.s) - w.at)
	w.done()
}

// toValid is s with every maximal broken part of its UTF-8 replaced by one U+FFFD, which is what the reference
// library gets to see.
func toValid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s) + 16)
	for len(s) > 0 {
		r, w := utf8.DecodeRuneInString(s)
		if r != utf8.RuneError || w > 1 {
			out.WriteString(s[:w])
			s = s[w:]
			continue
		}
		out.WriteString("\uFFFD")
		s = s[brokenLen(s):]
	}
	return out.String()
}

// brokenLen is the length of the maximal broken part at the start of s (Unicode 3.9, U+FFFD substitution of maximal
// subparts).
func brokenLen(s string) int {
	lo, hi, need := byte(0x80), byte(0xbf), 0
	switch c := s[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c == 0xe0:
		need, lo = 2, 0xa0
	case c == 0xed:
		need, hi = 2, 0x9f
	case c >= 0xe1 && c <= 0xef:
		need = 2
	case c == 0xf0:
		need, lo = 3, 0x90
	case c == 0xf4:
		need, hi = 3, 0x8f
	case c >= 0xf1 && c <= 0xf3:
		need = 3
	}
	n := 1
	for ; need > 0 && n < len(s) && s[n] >= lo && s[n] <= hi; need-- {
		lo, hi = 0x80, 0xbf
		n++
	}
	return n
}
