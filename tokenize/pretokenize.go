package tokenize

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// preTokenizer cuts a normalised text into the pieces that the model sees one by one; empty pieces are not emitted.
type preTokenizer interface {
	split(t text, emit func(text))
}

// behavior says what becomes of the matches of a splitting pattern.
type behavior int

const (
	removed behavior = iota
	isolated
	contiguous
	mergedWithPrevious
	mergedWithNext
)

var behaviors = map[string]behavior{"Removed": removed, "Isolated": isolated, "Contiguous": contiguous, "MergedWithPrevious": mergedWithPrevious, "MergedWithNext": mergedWithNext}

// splitter cuts at the matches of a pattern, or with invert at what lies between them.
type splitter struct {
	pattern  matcher
	behavior behavior
	invert   bool
}

// joins tells whether two neighbouring stretches stay one piece.
func (b behavior) joins(left, right bool) bool {
	switch b {
	case contiguous:
		return left == right
	case mergedWithPrevious:
		return right && !left
	case mergedWithNext:
		return left && !right
	}
	return false
}

func (p splitter) split(t text, emit func(text)) {
	start, end := 0, 0 // the piece under way
	isMatch := false   // whether its last stretch is a match
	flush := func() {
		if start < end && !(isMatch && p.behavior == removed) {
			emit(t.slice(start, end))
		}
	}
	stretch := func(to int, match bool) {
		if to == end {
			return
		}
		if start == end || !p.behavior.joins(isMatch, match) {
			flush()
			start = end
		}
		end, isMatch = to, match
	}
	p.pattern.find(t.s, func(a, b int) {
		stretch(a, p.invert)
		stretch(b, !p.invert)
	})
	stretch(len(t.s), p.invert)
	flush()
}

// bertPreTokenizer cuts at white space and isolates punctuation.
type bertPreTokenizer struct{}

func (bertPreTokenizer) split(t text, emit func(text)) {
	u := unicodeData()
	start := 0
	for i := 0; i < len(t.s); {
		r, w := rune(t.s[i]), 1
		var space, punctuation bool
		if r < utf8.RuneSelf {
			space, punctuation = asciiClass[r] == asciiSpace, asciiClass[r] == asciiPunctuation
		} else {
			r, w = utf8.DecodeRuneInString(t.s[i:])
			space = u.whiteSpace.has(r)
			punctuation = u.bertPunctuation.has(r)
		}
		if space || punctuation {
			if start < i {
				emit(t.slice(start, i))
			}
			if punctuation {
				emit(t.slice(i, i+w))
			}
			start = i + w
		}
		i += w
	}
	if start < len(t.s) {
		emit(t.slice(start, len(t.s)))
	}
}

const (
	asciiSpace = 1 + iota
	asciiPunctuation
)

var asciiClass = func() (class [utf8.RuneSelf]uint8) {
	for c := range class {
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			class[c] = asciiSpace
		case c >= '!' && c <= '/' || c >= ':' && c <= '@' || c >= '[' && c <= '`' || c >= '{' && c <= '~':
			class[c] = asciiPunctuation
		}
	}
	return
}()

// whitespacePattern is \w+|[^\w\s]+ with the word characters of the library's other engine of regular expressions.
type whitespacePattern struct{}

func (whitespacePattern) find(s string, match func(a, b int)) {
	u := unicodeData()
	class := func(r rune) int {
		switch {
		case u.crateWord.has(r):
			return 1
		case isSpace(r):
			return 0
		}
		return 2
	}
	start, last := 0, 0
	for i, r := range s {
		if c := class(r); c != last {
			if last != 0 {
				match(start, i)
			}
			start, last = i, c
		}
	}
	if last != 0 {
		match(start, len(s))
	}
}

// metaspace spells spaces as a visible character and cuts before each of them.
type metaspace struct {
	replacement string
	prepend     prependScheme
	cut         bool
}

type prependScheme int

const (
	prependAlways prependScheme = iota
	prependFirst                // only where the input starts
	prependNever
)

func (m metaspace) split(t text, emit func(text)) {
	if strings.IndexByte(t.s, ' ') >= 0 {
		t.substitute(literalMatcher(" "), m.replacement)
	}
	if !strings.HasPrefix(t.s, m.replacement) {
		first := t.base
		if t.spans != nil {
			first = t.spans[0].lo
		}
		if m.prepend == prependAlways || m.prepend == prependFirst && first == 0 {
			t.prepend(m.replacement)
		}
	}
	start := 0
	for m.cut && start < len(t.s) {
		next := strings.Index(t.s[start+1:], m.replacement)
		if next < 0 {
			break
		}
		emit(t.slice(start, start+1+next))
		start += 1 + next
	}
	if start < len(t.s) {
		emit(t.slice(start, len(t.s)))
	}
}

// byteLevelSplit is GPT-2's: cut by its pattern, then spell every byte as a printable character.
// With raw set the spelling is left to the model, which then reads bytes.
type byteLevelSplit struct {
	prefixSpace bool
	pattern     matcher // nil: not cut
	raw         bool
}

// gpt2Pattern cuts contractions, words, numbers, runs of other characters and blanks, a leading space going with what
// follows it.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (p byteLevelSplit) split(t text, emit func(text)) {
	if p.prefixSpace && !strings.HasPrefix(t.s, " ") {
		t.prepend(" ")
	}
	spell := func(piece text) {
		if !p.raw {
			byteLevel(&piece)
		}
		emit(piece)
	}
	if p.pattern == nil {
		spell(t)
		return
	}
	splitter{p.pattern, isolated, false}.split(t, spell)
}

var gpt2Matcher = sync.OnceValue(func() matcher {
	m, err := compilePattern(gpt2Pattern)
	if err != nil {
		panic(err) // the pattern is ours
	}
	return m
})

// unicodeScripts cuts where the script changes; Han, Hiragana and Katakana count as one.
type unicodeScripts struct{}

func (unicodeScripts) split(t text, emit func(text)) {
	u := unicodeData()
	start, last := -1, uint16(0)
	for i, r := range t.s {
		script := u.script(r)
		if script != 0 && script != last || start < 0 && script != 0 {
			if start >= 0 && i > start {
				emit(t.slice(start, i))
			}
			start = i
		}
		if script != 0 {
			last = script
		}
	}
	if start >= 0 && start < len(t.s) {
		emit(t.slice(start, len(t.s)))
	}
}

// fixedLength cuts after every so many characters.
type fixedLength int

func (n fixedLength) split(t text, emit func(text)) {
	start, count := 0, 0
	for i := range t.s {
		if count == int(n) {
			emit(t.slice(start, i))
			start, count = i, 0
		}
		count++
	}
	if start < len(t.s) {
		emit(t.slice(start, len(t.s)))
	}
}
