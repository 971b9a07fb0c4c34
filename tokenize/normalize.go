package tokenize

import (
	"strings"
	"unicode/utf8"
)

// normalizer rewrites a text before it is cut into pieces.
type normalizer interface{ normalize(*text) }

type normalizerFunc func(*text)

func (f normalizerFunc) normalize(t *text) { f(t) }

// normalizers run one after the other.
type normalizers []normalizer

func (ns normalizers) normalize(t *text) {
	limit := grown(len(t.s))
	for _, n := range ns {
		n.normalize(t)
		if len(t.s) > limit {
			for !utf8.RuneStart(t.s[limit]) {
				limit--
			}
			*t = t.slice(0, limit)
		}
	}
}

// grown bounds what a step may make of n bytes. No character grows more than twelvefold by any real normalizer; a
// file that asks for more is after the memory.
func grown(n int) int { return 32*n + 4096 }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// bertNormalizer is the text cleaning of BERT: control characters out, blanks to spaces, spaces around Chinese
// characters, accents off, lower case.
type bertNormalizer struct {
	cleanText, chineseChars, stripAccents, lowercase bool
}

func (n bertNormalizer) normalize(t *text) {
	if isASCII(t.s) {
		n.normalizeASCII(t)
		return
	}
	if n.cleanText && strings.IndexFunc(t.s, func(r rune) bool { return r < utf8.RuneSelf && unicodeData().bertDropped.has(r) }) >= 0 {
		n.normalizeAny(t) // what goes may bring accents together that then change places
		return
	}
	// ASCII stands for itself in every step, so the stretches in between can be taken one by one
	var out strings.Builder
	out.Grow(len(t.s))
	var spans []span
	for at := 0; at < len(t.s); {
		ascii := t.s[at] < utf8.RuneSelf
		end := at + 1
		for end < len(t.s) && (t.s[end] < utf8.RuneSelf) == ascii {
			end++
		}
		part := t.slice(at, end)
		if ascii {
			n.normalizeASCII(&part)
		} else {
			n.normalizeAny(&part)
		}
		out.WriteString(part.s)
		if t.track {
			spans = append(spans, part.align()...)
		}
		at = end
	}
	t.s, t.spans = out.String(), spans
}

// normalizeAny runs the steps over all of t.
func (n bertNormalizer) normalizeAny(t *text) {
	u := unicodeData()
	if n.cleanText {
		t.filter(func(r rune) bool { return !u.bertDropped.has(r) })
		t.mapRunes(func(r rune) rune {
			if u.whiteSpace.has(r) {
				return ' '
			}
			return r
		})
	}
	if n.chineseChars {
		spaceChinese(t)
	}
	if n.stripAccents {
		nfd.normalize(t)
		t.filter(func(r rune) bool { return !u.bertAccent.has(r) })
	}
	if n.lowercase {
		lowercase(t)
	}
}

// normalizeASCII is the same for a text without Chinese characters and accents.
func (n bertNormalizer) normalizeASCII(t *text) {
	class := func(c byte) (byte, bool) {
		switch {
		case n.cleanText && (c == '\t' || c == '\n' || c == '\r'):
			return ' ', true
		case n.cleanText && (c < ' ' || c == 0x7f):
			return 0, false
		case n.lowercase && 'A' <= c && c <= 'Z':
			return c + 'a' - 'A', true
		}
		return c, true
	}
	first := 0
	for first < len(t.s) {
		if c, ok := class(t.s[first]); !ok || c != t.s[first] {
			break
		}
		first++
	}
	if first == len(t.s) {
		return
	}
	buf := make([]byte, first, len(t.s))
	copy(buf, t.s)
	if !t.track {
		for i := first; i < len(t.s); i++ {
			if c, ok := class(t.s[i]); ok {
				buf = append(buf, c)
			}
		}
		t.s = string(buf)
		return
	}
	old := t.align()
	spans := append(make([]span, 0, len(t.s)), old[:first]...)
	for i := first; i < len(t.s); i++ {
		if c, ok := class(t.s[i]); ok {
			buf, spans = append(buf, c), append(spans, old[i])
		}
	}
	t.s, t.spans = string(buf), spans
}

// isChinese has the ranges of the original BERT code with the gap that the reference library has from 2B820 to 2B91F.
func isChinese(r rune) bool {
	return r >= 0x3400 && (r >= 0x4E00 && r <= 0x9FFF || r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F)
}

func spaceChinese(t *text) {
	i := strings.IndexFunc(t.s, isChinese)
	if i < 0 {
		return
	}
	w := rewrite(t)
	w.keep(i)
	for w.at < len(t.s) {
		r, n := utf8.DecodeRuneInString(t.s[w.at:])
		if !isChinese(r) {
			w.keep(n)
			continue
		}
		w.replace(' ')
		w.insert(r)
		w.insert(' ')
	}
	w.done()
}

// lowercase maps characters one by one: no rule for the sigma at the end of a word, and only İ becomes two.
func lowercase(t *text) {
	u := unicodeData()
	i := strings.IndexFunc(t.s, func(r rune) bool { return r == 'İ' || u.toLower(r) != r })
	if i < 0 {
		return
	}
	w := rewrite(t)
	w.keep(i)
	for w.at < len(t.s) {
		r, n := utf8.DecodeRuneInString(t.s[w.at:])
		if r == 'İ' {
			w.replace('i')
			w.insert('\u0307')
		} else if l := u.toLower(r); l != r {
			w.replace(l)
		} else {
			w.keep(n)
		}
	}
	w.done()
}

// nmt is the cleaning that SentencePiece calls nmt: control characters out, blanks and format characters to spaces.
func nmt(t *text) {
	t.filter(func(r rune) bool {
		return !(r >= 1 && r <= 8 || r == 0xB || r >= 0xE && r <= 0x1F || r == 0x7F || r == 0x8F || r == 0x9F)
	})
	t.mapRunes(func(r rune) rune {
		switch {
		case r == 9, r == 0xA, r == 0xC, r == 0xD, r == 0x1680, r >= 0x200B && r <= 0x200F, r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	})
}

func stripAccents(t *text) {
	u := unicodeData()
	t.filter(func(r rune) bool { return !u.combiningMark.has(r) })
}

// strip takes white space off the ends.
type strip struct{ left, right bool }

func (n strip) normalize(t *text) {
	a, b := 0, len(t.s)
	if n.left {
		a = b - len(strings.TrimLeftFunc(t.s, isSpace))
	}
	if n.right {
		b = max(a, len(strings.TrimRightFunc(t.s, isSpace)))
	}
	*t = t.slice(a, b)
}

type prepend string

func (n prepend) normalize(t *text) { t.prepend(string(n)) }

type replace struct {
	pattern matcher
	content string
}

func (n replace) normalize(t *text) { t.substitute(n.pattern, n.content) }

// byteLevel spells every byte as one printable character, the alphabet of GPT-2.
func byteLevel(t *text) {
	spell := false
	for i := 0; i < len(t.s) && !spell; i++ {
		spell = t.s[i] <= ' ' || t.s[i] >= 0x7f
	}
	if !spell {
		return
	}
	var out strings.Builder
	out.Grow(2 * len(t.s))
	var old, spans []span
	if t.track {
		old = t.align()
		spans = make([]span, 0, 2*len(t.s))
	}
	for i := 0; i < len(t.s); i++ {
		r := byteRune[t.s[i]]
		out.WriteRune(r)
		if t.track {
			spans = append(spans, old[i])
			if r >= utf8.RuneSelf {
				spans = append(spans, old[i])
			}
		}
	}
	t.s, t.spans = out.String(), spans
}

// byteRune is GPT-2's spelling of bytes; runeByte reverses it, -1 for other characters.
var byteRune, runeByte = func() (spell [256]rune, read [324]int16) {
	for i := range read {
		read[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		spell[b] = r
		read[r] = int16(b)
	}
	return
}()

func isSpace(r rune) bool {
	if r < 0x80 {
		return r == ' ' || r >= '\t' && r <= '\r'
	}
	return unicodeData().whiteSpace.has(r)
}
