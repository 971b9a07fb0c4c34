package tokenize

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The regular expressions of tokenizer files are Oniguruma's, a backtracking engine. This file reads the part of its
// syntax that tokenizers use into a tree;
// scan.go matches the usual shape of it directly and gives the rest to RE2, so that no pattern takes more than linear
// time for one match.
// The sets behind \s, \w, \d and \p come from the reference library (runeset.go). Look-around is refused but for the
// (?!\S) that ends runs of blanks.

// node is one of set, *sequence, *alternation, *repetition, notBefore, anchor.
type node any

type (
	set         []runeRange // one character; sorted, merged
	sequence    []node
	alternation []node
	repetition  struct {
		body       node
		min, max   int // max -1: no bound
		lazy       bool
		possessive bool
	}
	notBefore set    // (?!\S): the next character, if there is one, is not in the set
	anchor    string // in RE2's spelling
)

const (
	maxPattern      = 1 << 12
	maxPatternDepth = 64
	maxRepeat       = 1000 // as in RE2
)

type patternParser struct {
	src   string
	at    int
	depth int
}

// parsePattern reads an Oniguruma pattern (Ruby syntax).
func parsePattern(src string) (node, error) {
	p := &patternParser{src: src}
	if len(src) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes is longer than %d", len(src), maxPattern)
	}
	if !utf8.ValidString(src) {
		return nil, fmt.Errorf("pattern %q is not UTF-8", src)
	}
	n, err := p.alternatives(false)
	if err == nil && p.at < len(src) {
		err = fmt.Errorf("unexpected %q at byte %d", src[p.at:p.at+1], p.at)
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", clip(src), err)
	}
	return n, nil
}

// clip shortens what goes into an error text.
func clip(s string) string {
	if len(s) <= 200 {
		return s
	}
	return toValid(s[:200]) + "…"
}

func (p *patternParser) more() bool { return p.at < len(p.src) }

func (p *patternParser) accept(prefix string) bool {
	if strings.HasPrefix(p.src[p.at:], prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

func (p *patternParser) alternatives(fold bool) (node, error) {
	if p.depth++; p.depth > maxPatternDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxPatternDepth)
	}
	defer func() { p.depth-- }()
	var alts alternation
	for {
		seq, err := p.sequence(fold)
		if err != nil {
			return nil, err
		}
		alts = append(alts, seq)
		if !p.accept("|") {
			break
		}
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return alts, nil
}

func (p *patternParser) sequence(fold bool) (node, error) {
	var seq sequence
	for p.more() && p.src[p.at] != '|' && p.src[p.at] != ')' {
		n, on, err := p.atom(fold)
		if err != nil {
			return nil, err
		}
		if on != nil { // (?i) applies to the rest of the group
			fold = *on
			continue
		}
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		seq = append(seq, n)
	}
	return seq, nil
}

// atom reads one element without its quantifier; the second result is set by an option that stands alone, such as (?i).
func (p *patternParser) atom(fold bool) (node, *bool, error) {
	r, w := utf8.DecodeRuneInString(p.src[p.at:])
	switch r {
	case '(':
		return p.group(fold)
	case '[':
		s, err := p.class(fold)
		return s, nil, err
	case '.':
		p.at++
		return set(negateRanges([]runeRange{{'\n', '\n'}})), nil, nil
	case '^':
		p.at++
		return anchor("(?m:^)"), nil, nil
	case '$':
		p.at++
		return anchor("(?m:$)"), nil, nil
	case '*', '+', '?':
		return nil, nil, fmt.Errorf("nothing to repeat at byte %d", p.at)
	case '\\':
		switch {
		case p.accept(`\A`):
			return anchor(`\A`), nil, nil
		case p.accept(`\z`):
			return anchor(`\z`), nil, nil
		}
		s, err := p.escape()
		if err == nil && fold {
			s = foldRanges(s)
		}
		return s, nil, err
	}
	p.at += w
	return literal(r, fold), nil, nil
}

func literal(r rune, fold bool) set {
	s := set{{r, r}}
	if fold {
		return foldRanges(s)
	}
	return s
}

func (p *patternParser) group(fold bool) (node, *bool, error) {
	start := p.at
	p.at++
	lookahead := false
	if p.accept("?") {
		switch {
		case p.accept(":"):
		case p.accept("!"):
			lookahead = true
		default:
			end := strings.IndexAny(p.src[p.at:], ":)")
			if end < 0 {
				return nil, nil, fmt.Errorf("unclosed group at byte %d", start)
			}
			switch p.src[p.at : p.at+end] {
			case "i":
				fold = true
			case "-i":
				fold = false
			default:
				return nil, nil, fmt.Errorf("group %q is not supported (look-around other than %q is not)", clip(p.src[start:]), tailLookahead)
			}
			p.at += end + 1
			if p.src[p.at-1] == ')' {
				return nil, &fold, nil
			}
		}
	}
	n, err := p.alternatives(fold)
	if err != nil {
		return nil, nil, err
	}
	if !p.accept(")") {
		return nil, nil, fmt.Errorf("unclosed group at byte %d", start)
	}
	if lookahead {
		if p.src[start:p.at] != tailLookahead {
			return nil, nil, fmt.Errorf("look-around %q is not supported, only %q is", clip(p.src[start:p.at]), tailLookahead)
		}
		return notBefore(n.(sequence)[0].(set)), nil, nil
	}
	if seq, ok := n.(sequence); ok && len(seq) == 1 {
		n = seq[0]
	}
	return n, nil, nil
}

const tailLookahead = `(?!\S)`

func (p *patternParser) quantified(n node) (node, error) {
	for p.more() {
		lo, hi := 0, 0
		start := p.at
		switch p.src[p.at] {
		case '*':
			lo, hi = 0, -1
		case '+':
			lo, hi = 1, -1
		case '?':
			lo, hi = 0, 1
		case '{':
			end := strings.IndexByte(p.src[p.at:], '}')
			a, b, comma := "", "", false
			if end > 0 {
				a, b, comma = strings.Cut(p.src[p.at+1:p.at+end], ",")
			}
			var err1, err2 error
			if lo, err1 = strconv.Atoi(a); a == "" && comma {
				lo, err1 = 0, nil
			}
			switch {
			case !comma:
				hi = lo
			case b == "":
				hi = -1
			default:
				hi, err2 = strconv.Atoi(b)
			}
			if end <= 0 || err1 != nil || err2 != nil || a == "" && b == "" || lo < 0 || hi >= 0 && hi < lo || lo > maxRepeat || hi > maxRepeat {
				return nil, fmt.Errorf("bad repetition at byte %d", start)
			}
			p.at += end
		default:
			return n, nil
		}
		p.at++
		switch n.(type) {
		case notBefore, anchor:
			return nil, fmt.Errorf("repeated assertion at byte %d", start)
		}
		r := &repetition{body: n, min: lo, max: hi}
		if p.accept("?") {
			r.lazy = true
		} else if p.src[start] != '{' && p.accept("+") {
			r.possessive = true
		}
		n = r
	}
	return n, nil
}

// class reads [...] with nested sets; intersections are refused.
func (p *patternParser) class(fold bool) (set, error) {
	start := p.at
	if p.depth++; p.depth > maxPatternDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxPatternDepth)
	}
	defer func() { p.depth-- }()
	p.at++
	negate := p.accept("^")
	var all []runeRange
	for first := true; ; first = false {
		if !p.more() {
			return nil, fmt.Errorf("unclosed set at byte %d", start)
		}
		if p.src[p.at] == ']' && !first {
			p.at++
			break
		}
		if strings.HasPrefix(p.src[p.at:], "&&") || strings.HasPrefix(p.src[p.at:], "[:") {
			return nil, fmt.Errorf("%q in a set is not supported", p.src[p.at:p.at+2])
		}
		s, err := p.classItem()
		if err != nil {
			return nil, err
		}
		if len(s) == 1 && s[0].lo == s[0].hi && p.at+1 < len(p.src) && p.src[p.at] == '-' && p.src[p.at+1] != ']' {
			p.at++
			to, err := p.classItem()
			if err != nil {
				return nil, err
			}
			if len(to) != 1 || to[0].lo != to[0].hi || to[0].lo < s[0].lo {
				return nil, fmt.Errorf("bad range before byte %d", p.at)
			}
			s = set{{s[0].lo, to[0].lo}}
		}
		all = append(all, s...)
	}
	all = mergeRanges(all)
	if fold {
		all = foldRanges(all)
	}
	if negate {
		all = negateRanges(all)
	}
	return all, nil
}

func (p *patternParser) classItem() (set, error) {
	r, w := utf8.DecodeRuneInString(p.src[p.at:])
	switch r {
	case '[':
		return p.class(false)
	case '\\':
		return p.escape()
	}
	p.at += w
	return set{{r, r}}, nil
}

// escape reads a backslash sequence that stands for one character of a set.
func (p *patternParser) escape() (set, error) {
	start := p.at
	p.at++
	if !p.more() {
		return nil, fmt.Errorf("trailing backslash")
	}
	r, w := utf8.DecodeRuneInString(p.src[p.at:])
	p.at += w
	u := unicodeData()
	one := func(r rune) (set, error) { return set{{r, r}}, nil }
	switch r {
	case 's':
		return u.whiteSpace.ranges, nil
	case 'S':
		return negateRanges(u.whiteSpace.ranges), nil
	case 'w':
		return u.regexWord, nil
	case 'W':
		return negateRanges(u.regexWord), nil
	case 'd':
		return u.category["Nd"], nil
	case 'D':
		return negateRanges(u.category["Nd"]), nil
	case 'h':
		return set{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, nil
	case 'n':
		return one('\n')
	case 'r':
		return one('\r')
	case 't':
		return one('\t')
	case 'v':
		return one('\v')
	case 'f':
		return one('\f')
	case 'a':
		return one('\a')
	case 'e':
		return one(0x1b)
	case 'p', 'P':
		return p.property(r == 'P')
	case 'x', 'u':
		return p.codePoint(r == 'u')
	}
	if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return nil, fmt.Errorf("%q is not supported", p.src[start:p.at])
	}
	return one(r)
}

func (p *patternParser) codePoint(four bool) (set, error) {
	digits := ""
	switch {
	case four && p.at+4 <= len(p.src):
		digits = p.src[p.at : p.at+4]
		p.at += 4
	case !four && p.accept("{"):
		if end := strings.IndexByte(p.src[p.at:], '}'); end >= 0 {
			digits = p.src[p.at : p.at+end]
			p.at += end + 1
		}
	case !four && p.at+2 <= len(p.src):
		digits = p.src[p.at : p.at+2]
		p.at += 2
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > unicode.MaxRune {
		return nil, fmt.Errorf("bad code point before byte %d", p.at)
	}
	return set{{rune(v), rune(v)}}, nil
}

func (p *patternParser) property(negate bool) (set, error) {
	name := ""
	if p.accept("{") {
		if end := strings.IndexByte(p.src[p.at:], '}'); end >= 0 {
			name = p.src[p.at : p.at+end]
			p.at += end + 1
		}
	}
	if strings.HasPrefix(name, "^") {
		name, negate = name[1:], !negate
	}
	ranges, ok := unicodeData().category[name]
	if !ok {
		t := unicode.Scripts[name]
		if t == nil {
			return nil, fmt.Errorf("property %q is not known", clip(name))
		}
		for _, r := range t.R16 {
			ranges = appendStrided(ranges, rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			ranges = appendStrided(ranges, rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		ranges = mergeRanges(ranges)
	}
	if negate {
		return negateRanges(ranges), nil
	}
	return ranges, nil
}

func appendStrided(out []runeRange, lo, hi, stride rune) []runeRange {
	if stride == 1 {
		return append(out, runeRange{lo, hi})
	}
	for r := lo; r <= hi; r += stride {
		out = append(out, runeRange{r, r})
	}
	return out
}
