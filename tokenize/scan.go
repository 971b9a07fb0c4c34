package tokenize

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// matcher finds what a normalizer, pre-tokenizer or decoder looks for.
type matcher interface {
	// find reports the matches in s from left to right, without overlap; empty ones are left out.
	find(s string, match func(a, b int))
}

// literalMatcher finds a string.
type literalMatcher string

func (m literalMatcher) find(s string, match func(a, b int)) {
	if len(m) == 1 {
		for i := 0; i < len(s); i++ {
			if s[i] == m[0] {
				match(i, i+1)
			}
		}
		return
	}
	for i := 0; ; {
		k := strings.Index(s[i:], string(m))
		if k < 0 {
			return
		}
		match(i+k, i+k+len(m))
		i += k + len(m)
	}
}

// runeMatcher finds single characters.
type runeMatcher func(rune) bool

func (m runeMatcher) find(s string, match func(a, b int)) {
	for i, r := range s {
		if m(r) {
			match(i, i+utf8.RuneLen(r))
		}
	}
}

// re2Matcher is the fallback for patterns that the scanner does not take.
type re2Matcher struct{ re *regexp.Regexp }

func (m re2Matcher) find(s string, match func(a, b int)) {
	for _, loc := range m.re.FindAllStringIndex(s, -1) {
		if loc[0] < loc[1] {
			match(loc[0], loc[1])
		}
	}
}

// compilePattern makes a matcher for an Oniguruma pattern.
func compilePattern(src string) (matcher, error) {
	n, err := parsePattern(src)
	if err != nil {
		return nil, err
	}
	if m := newScanner(n); m != nil {
		return m, nil
	}
	var b strings.Builder
	if err := writeRE2(&b, n); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", clip(src), err)
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("pattern %q is beyond the supported size", clip(src))
	}
	return re2Matcher{re}, nil
}

func writeRE2(b *strings.Builder, n node) error {
	switch n := n.(type) {
	case set:
		if len(n) == 0 {
			b.WriteString(`[^\x{0}-\x{10FFFF}]`)
			return nil
		}
		b.WriteByte('[')
		for _, r := range n {
			fmt.Fprintf(b, `\x{%X}-\x{%X}`, r.lo, r.hi)
		}
		b.WriteByte(']')
	case anchor:
		b.WriteString(string(n))
	case sequence:
		for _, e := range n {
			if err := writeRE2(b, e); err != nil {
				return err
			}
		}
	case alternation:
		b.WriteString("(?:")
		for i, e := range n {
			if i > 0 {
				b.WriteByte('|')
			}
			if err := writeRE2(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(')')
	case *repetition:
		if n.possessive {
			return fmt.Errorf("a possessive repetition here is not supported")
		}
		b.WriteString("(?:")
		if err := writeRE2(b, n.body); err != nil {
			return err
		}
		b.WriteByte(')')
		fmt.Fprintf(b, "{%d,", n.min)
		if n.max >= 0 {
			fmt.Fprintf(b, "%d", n.max)
		}
		b.WriteByte('}')
		if n.lazy {
			b.WriteByte('?')
		}
	case notBefore:
		return fmt.Errorf("the look-around %q here is not supported", tailLookahead)
	}
	return nil
}

// scanner matches an ordered choice of branches, each a sequence of repeated character sets: the shape of the
// pre-tokenizer patterns of GPT-2 and all that came after it.
// A step goes back only where what follows could take some of its characters, at most one such step of a branch is
// unbounded, and behind it nothing but its first character can fail. So one attempt is linear in what it looks at.
type scanner struct {
	branches []branch
	byFirst  [utf8.RuneSelf][]uint8 // the branches that may start with an ASCII character
	others   []uint8                // the branches for the other characters
}

type branch struct {
	steps []step
	first set // characters that a match can start with
}

type step struct {
	set      *runeSet
	min, max int // max -1: no bound
	back     bool
	words    [][]*runeSet // instead of set: fixed strings of sets, the first that matches counts; the branch ends here
	optional bool
	notNext  *runeSet // instead of set: the next character is not in it; the branch ends here
}

// newScanner is nil if the pattern has not the shape.
func newScanner(n node) *scanner {
	if seq, ok := n.(sequence); ok && len(seq) == 1 {
		if alts, ok := seq[0].(alternation); ok {
			n = alts
		}
	}
	alts, ok := n.(alternation)
	if !ok {
		alts = alternation{n}
	}
	if len(alts) > 64 {
		return nil
	}
	c := compiler{sets: map[string]*runeSet{}}
	s := &scanner{}
	for _, a := range alts {
		seq, ok := a.(sequence)
		if !ok {
			return nil
		}
		b, ok := c.branch(seq)
		if !ok {
			return nil
		}
		s.branches = append(s.branches, b)
	}
	for i, b := range s.branches {
		for r := range rune(utf8.RuneSelf) {
			if intersects(b.first, []runeRange{{r, r}}) {
				s.byFirst[r] = append(s.byFirst[r], uint8(i))
			}
		}
		if n := len(b.first); n > 0 && b.first[n-1].hi >= utf8.RuneSelf {
			s.others = append(s.others, uint8(i))
		}
	}
	return s
}

type compiler struct{ sets map[string]*runeSet }

// maxSets bounds the memory of a scanner, about 10 kB a set.
const maxSets = 64

// runeSet shares equal sets; nil if there are too many.
func (c *compiler) runeSet(s set) *runeSet {
	key := fmt.Sprint(s)
	if c.sets[key] == nil && len(c.sets) < maxSets {
		c.sets[key] = newRuneSet(s)
	}
	return c.sets[key]
}

func (c *compiler) branch(seq sequence) (branch, bool) {
	var b branch
	var heads []set // characters that each step can start with
	for i, n := range seq {
		last := i == len(seq)-1
		st := step{min: 1, max: 1}
		body, possessive := n, false
		if r, ok := n.(*repetition); ok {
			if r.lazy || r.max == 0 {
				return b, false
			}
			body, st.min, st.max, possessive = r.body, r.min, r.max, r.possessive
		}
		var head set
		switch body := body.(type) {
		case set:
			head = body
			if st.set = c.runeSet(body); st.set == nil {
				return b, false
			}
			st.back = !possessive && st.min != st.max
		case notBefore:
			if !last {
				return b, false
			}
			if st = (step{notNext: c.runeSet(set(body))}); st.notNext == nil {
				return b, false
			}
			head = negateRanges(body)
		default:
			words, first, ok := c.words(body)
			if !ok || !last || st.max != 1 {
				return b, false
			}
			st = step{words: words, optional: st.min == 0, min: st.min}
			head = first
		}
		b.steps = append(b.steps, st)
		heads = append(heads, head)
	}
	if len(b.steps) == 0 || b.steps[0].notNext != nil {
		return b, false
	}
	return b, b.prune(heads)
}

// prune drops needless going back, checks that the rest of it is cheap, and notes the first characters.
func (b *branch) prune(heads []set) bool {
	unbounded := false
	for i := range b.steps {
		st := &b.steps[i]
		if !st.back {
			continue
		}
		st.back = false
		mandatory := 0
		for k := i + 1; k < len(b.steps); k++ {
			next := &b.steps[k]
			if mandatory == 0 && intersects(heads[i], heads[k]) {
				st.back = true
			}
			if next.notNext != nil {
				st.back = true // the end of the text satisfies it as well, but so it does without going back
			}
			if next.min > 0 || next.notNext != nil {
				mandatory++
			}
			if next.min > 1 || next.words != nil && next.min > 0 {
				mandatory++ // may fail behind its first character
			}
		}
		if mandatory == 0 {
			st.back = false
		}
		if st.back && (st.max < 0 || st.max > 4) {
			if unbounded || mandatory > 1 {
				return false
			}
			unbounded = true
		}
	}
	canBeEmpty := true
	for i := range b.steps {
		b.first = append(b.first, heads[i]...)
		if st := &b.steps[i]; st.min > 0 {
			canBeEmpty = false
			break
		}
	}
	b.first = mergeRanges(b.first)
	return !canBeEmpty
}

// words reads a sequence of sets, or a choice of such sequences.
func (c *compiler) words(n node) (words [][]*runeSet, first set, ok bool) {
	alts, isAlt := n.(alternation)
	if !isAlt {
		alts = alternation{n}
	}
	for _, a := range alts {
		seq, isSeq := a.(sequence)
		if !isSeq || len(seq) == 0 {
			return nil, nil, false
		}
		var word []*runeSet
		for i, e := range seq {
			s, isSet := e.(set)
			if !isSet {
				return nil, nil, false
			}
			if i == 0 {
				first = append(first, s...)
			}
			rs := c.runeSet(s)
			if rs == nil {
				return nil, nil, false
			}
			word = append(word, rs)
		}
		words = append(words, word)
	}
	return words, mergeRanges(first), true
}

func (m *scanner) find(s string, match func(a, b int)) {
	for i := 0; i < len(s); {
		n := m.match(s[i:])
		if n > 0 {
			match(i, i+n)
			i += n
			continue
		}
		_, w := utf8.DecodeRuneInString(s[i:])
		i += w
	}
}

// match is the length of the match at the start of s, 0 if there is none.
func (m *scanner) match(s string) int {
	try := m.others
	if s[0] < utf8.RuneSelf {
		try = m.byFirst[s[0]]
	}
	for _, i := range try {
		if n := matchSteps(m.branches[i].steps, s, 0); n > 0 {
			return n
		}
	}
	return 0
}

// matchSteps matches steps from byte at on and gives the end, or -1.
func matchSteps(steps []step, s string, at int) int {
	for i := range steps {
		st := &steps[i]
		if st.notNext != nil {
			if at < len(s) {
				if r, _ := utf8.DecodeRuneInString(s[at:]); st.notNext.has(r) {
					return -1
				}
			}
			return at
		}
		if st.words != nil {
			if end := matchWords(st.words, s, at); end >= 0 {
				return end
			}
			if st.optional {
				return at
			}
			return -1
		}
		count := 0
		start := at
		for (st.max < 0 || count < st.max) && at < len(s) {
			r, w := rune(s[at]), 1
			if r >= utf8.RuneSelf {
				r, w = utf8.DecodeRuneInString(s[at:])
			}
			if !st.set.has(r) {
				break
			}
			at += w
			count++
		}
		if count < st.min {
			return -1
		}
		if !st.back {
			continue
		}
		for {
			if end := matchSteps(steps[i+1:], s, at); end >= 0 {
				return end
			}
			if count == st.min {
				return -1
			}
			count--
			_, w := utf8.DecodeLastRuneInString(s[start:at])
			at -= w
		}
	}
	return at
}

func matchWords(words [][]*runeSet, s string, at int) int {
next:
	for _, word := range words {
		end := at
		for _, set := range word {
			if end >= len(s) {
				continue next
			}
			r, w := utf8.DecodeRuneInString(s[end:])
			if !set.has(r) {
				continue next
			}
			end += w
		}
		return end
	}
	return -1
}
