package tokenize

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// form is a Unicode normal form as of Unicode 9.0: characters that got a decomposition or a combining class later are
// left alone.
// It tracks, unlike the package norm, which old character each new one comes from.
type form struct{ compose, compat bool }

var (
	nfc  = form{compose: true}
	nfd  = form{}
	nfkc = form{compose: true, compat: true}
	nfkd = form{compat: true}
)

func (f form) normalize(t *text) {
	if f.source().IsNormalString(t.s) {
		return // what a later Unicode leaves alone, 9.0 leaves alone too
	}
	u := unicodeData()
	first := f.firstActive(u, t.s)
	if first < 0 {
		return
	}
	t.apply(first, f.compositions(f.decompose(u, t.s[first:])))
}

// source is the same form in the version of Unicode that the package norm has.
func (f form) source() norm.Form {
	switch {
	case f.compose && f.compat:
		return norm.NFKC
	case f.compose:
		return norm.NFC
	case f.compat:
		return norm.NFKD
	}
	return norm.NFD
}

// firstActive is where the first character lies that may change, or -1; the starter before it comes along, since the
// two may compose.
func (f form) firstActive(u *properties, s string) int {
	starter := 0
	for i, r := range s {
		if r < 0xC0 && (r < 0x80 || !f.compat) {
			starter = i
			continue
		}
		if u.decomposing.has(r) || u.nonStarter.has(r) || f.compose && mayFollow(r) || isHangul(r) {
			return starter
		}
		starter = i
	}
	return -1
}

// mayFollow tells the starters that compose with the character before them in Unicode 9.0.
func mayFollow(r rune) bool {
	switch r {
	case 0x09BE, 0x09D7, 0x0B3E, 0x0B56, 0x0B57, 0x0BBE, 0x0BD7, 0x0CC2, 0x0CD5, 0x0CD6, 0x0D3E, 0x0D57, 0x0DCF, 0x0DDF, 0x102E, 0x1B35, 0x11127, 0x1133E, 0x11357, 0x114B0, 0x114BA, 0x114BD, 0x115AF:
		return true
	}
	return r >= 0x1161 && r <= 0x1175 || r >= 0x11A8 && r <= 0x11C2
}

func isHangul(r rune) bool { return r >= 0xAC00 && r <= 0xD7A3 }

// classed is a change with the canonical combining class of its character.
type classed struct {
	change
	class uint8
}

func (f form) decompose(u *properties, s string) []classed {
	source := norm.NFD
	if f.compat {
		source = norm.NFKD
	}
	out := make([]classed, 0, len(s))
	starter := 0 // index behind the last character of class 0
	var buf [4]byte
	put := func(r rune, diff int) {
		c := classed{change{r, diff}, 0}
		if r >= 0x300 && u.nonStarter.has(r) {
			c.class = source.Properties(buf[:utf8.EncodeRune(buf[:], r)]).CCC()
		}
		out = append(out, c)
		if c.class == 0 {
			sortMarks(out[starter : len(out)-1])
			starter = len(out)
		}
	}
	for _, r := range s {
		switch {
		case isHangul(r):
			n := r - 0xAC00
			put(0x1100+n/588, 0)
			put(0x1161+n%588/28, 1)
			if n%28 != 0 {
				put(0x11A7+n%28, 1)
			}
		case r >= 0xA0 && u.decomposing.has(r):
			p := source.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition()
			if p == nil {
				put(r, 0)
				continue
			}
			for i, w := 0, 0; i < len(p); i += w {
				var d rune
				d, w = utf8.DecodeRune(p[i:])
				put(d, min(i, 1))
			}
		default:
			put(r, 0)
		}
	}
	sortMarks(out[starter:])
	return out
}

// sortMarks brings a run of combining marks into canonical order, stable; long runs are merge-sorted so that no text
// takes quadratic time.
func sortMarks(marks []classed) {
	if len(marks) > 32 {
		half := len(marks) / 2
		a, b := append([]classed(nil), marks[:half]...), append([]classed(nil), marks[half:]...)
		sortMarks(a)
		sortMarks(b)
		for i := range marks {
			if len(b) == 0 || len(a) > 0 && a[0].class <= b[0].class {
				marks[i], a = a[0], a[1:]
			} else {
				marks[i], b = b[0], b[1:]
			}
		}
		return
	}
	for i := 1; i < len(marks); i++ {
		for k := i; k > 0 && marks[k-1].class > marks[k].class; k-- {
			marks[k-1], marks[k] = marks[k], marks[k-1]
		}
	}
}

// compositions joins starters and marks (UAX #15, canonical composition) where the form asks for it.
func (f form) compositions(in []classed) []change {
	out := make([]change, 0, len(in))
	starter, last := -1, -1 // the starter's place in out; class of the last mark kept since, -1 for none
	for _, c := range in {
		if f.compose && starter >= 0 && last < int(c.class) {
			if r := composePair(out[starter].r, c.r); r != 0 {
				out[starter].r = r
				out[starter].diff += c.diff - 1
				continue
			}
		}
		out = append(out, c.change)
		if c.class == 0 {
			starter, last = len(out)-1, -1
		} else {
			last = int(c.class)
		}
	}
	return out
}

// composePair is the primary composite of a and b in Unicode 9.0, or 0.
func composePair(a, b rune) rune {
	switch {
	case a >= 0x1100 && a <= 0x1112 && b >= 0x1161 && b <= 0x1175:
		return 0xAC00 + ((a-0x1100)*21+b-0x1161)*28
	case isHangul(a) && (a-0xAC00)%28 == 0 && b > 0x11A7 && b <= 0x11C2:
		return a + b - 0x11A7
	}
	if b < 0x300 {
		return 0
	}
	var buf [8]byte
	n := utf8.EncodeRune(buf[:], a)
	n += utf8.EncodeRune(buf[n:], b)
	var dst [16]byte
	s := norm.NFC.Append(dst[:0], buf[:n]...)
	r, w := utf8.DecodeRune(s)
	if w != len(s) || !unicodeData().decomposing.has(r) {
		return 0
	}
	return r
}
