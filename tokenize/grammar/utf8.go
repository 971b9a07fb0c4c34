package grammar

import "unicode/utf8"

// maxInlineSequences is how many byte sequences a class may have before it becomes a rule of its own.
const maxInlineSequences = 8

// utf8Sequences gives the byte ranges that spell the characters of r: a range is cut until the numbers of bytes agree
// and each continuation byte runs over a whole interval, whatever comes before it.
func utf8Sequences(r runeRange, emit func(lo, hi []byte)) {
	for _, top := range []rune{0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF} {
		if r.lo <= top && top < r.hi {
			utf8Sequences(runeRange{r.lo, top}, emit)
			utf8Sequences(runeRange{top + 1, r.hi}, emit)
			return
		}
	}
	if r.lo > r.hi || r.lo >= 0xD800 && r.hi <= 0xDFFF { // a surrogate is no character
		return
	}
	n := utf8.RuneLen(r.lo)
	for i := 1; i < n; i++ {
		tail := rune(1)<<(6*i) - 1
		if r.lo&^tail == r.hi&^tail {
			continue
		}
		if r.lo&tail != 0 {
			utf8Sequences(runeRange{r.lo, r.lo | tail}, emit)
			utf8Sequences(runeRange{(r.lo | tail) + 1, r.hi}, emit)
			return
		}
		if r.hi&tail != tail {
			utf8Sequences(runeRange{r.lo, r.hi&^tail - 1}, emit)
			utf8Sequences(runeRange{r.hi &^ tail, r.hi}, emit)
			return
		}
	}
	var lo, hi [utf8.UTFMax]byte
	utf8.EncodeRune(lo[:], r.lo)
	utf8.EncodeRune(hi[:], r.hi)
	emit(lo[:n], hi[:n])
}

// class is one character of set, as UTF-8 or as it stands in a JSON string.
func (b *builder) class(from, to int32, set []runeRange, quoted bool) {
	if len(set) == 0 {
		return
	}
	r, ok := b.classes[classKey{&set[0], quoted}]
	if !ok {
		sequences := 0
		for _, x := range set {
			utf8Sequences(x, func(_, _ []byte) { sequences++ })
		}
		r = -1
		if sequences > maxInlineSequences {
			r = b.rule(false)
			b.inlineClass(b.rules[r].start, b.rules[r].accept, set, quoted)
		}
		b.classes[classKey{&set[0], quoted}] = r
	}
	if r < 0 {
		b.inlineClass(from, to, set, quoted)
	} else {
		b.call(from, to, r)
	}
}

// classKey tells sets apart by where they lie: the copies of a repeated class share one.
type classKey struct {
	set    *runeRange
	quoted bool
}

func (b *builder) inlineClass(from, to int32, set []runeRange, quoted bool) {
	plain := func(r runeRange) {
		utf8Sequences(r, func(lo, hi []byte) {
			at := from
			for i := range lo {
				next := to
				if i+1 < len(lo) {
					next = b.state()
				}
				b.bytes(at, next, lo[i], hi[i])
				at = next
			}
		})
	}
	for _, r := range set {
		if !quoted {
			plain(r)
			continue
		}
		for _, part := range []runeRange{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, utf8.MaxRune}} {
			plain(runeRange{max(r.lo, part.lo), min(r.hi, part.hi)})
		}
		for c := rune(0); c <= '\\'; c++ {
			if r.lo <= c && c <= r.hi && (c < 0x20 || c == '"' || c == '\\') {
				for _, s := range quotedForms(c) {
					b.literal(from, to, s)
				}
			}
		}
	}
}

// quotedForms are the escapes that JSON asks for: of c, which is a control character, a quote or a backslash.
func quotedForms(c rune) []string {
	switch c {
	case '"', '\\':
		return []string{`\` + string(c)}
	case '\b':
		return []string{`\b`}
	case '\f':
		return []string{`\f`}
	case '\n':
		return []string{`\n`}
	case '\r':
		return []string{`\r`}
	case '\t':
		return []string{`\t`}
	}
	const lower, upper = "0123456789abcdef", "0123456789ABCDEF"
	head := `\u00` + lower[c>>4:c>>4+1]
	if lower[c&15] == upper[c&15] {
		return []string{head + lower[c&15:c&15+1]}
	}
	return []string{head + lower[c&15:c&15+1], head + upper[c&15:c&15+1]}
}

// quote is a string as JSON with only the escapes that it asks for.
func quote(s string) string {
	out := []byte{'"'}
	for _, c := range s {
		if c < 0x20 || c == '"' || c == '\\' {
			out = append(out, quotedForms(c)[0]...)
		} else {
			out = utf8.AppendRune(out, c)
		}
	}
	return string(append(out, '"'))
}
