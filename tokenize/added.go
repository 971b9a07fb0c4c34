package tokenize

import (
	"math"
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before the model sees it.
type addedToken struct {
	id         int32
	content    string
	singleWord bool // only between characters that are no word characters
	lstrip     bool // takes the blanks before it along
	rstrip     bool // takes the blanks behind it along
	normalized bool // is looked for in the normalised text, in its own normalised form
	special    bool // can be left out when decoding

	decoded string // what decoding starts from: the normalised form of a normalized token, else the content
}

// addedVocab is the tokens on top of the model's vocabulary.
type addedVocab struct {
	list       []*addedToken // as in the file, without repetitions
	byID       map[int32]*addedToken
	byContent  map[string]int32
	special    map[string]bool
	plain      addedMatcher // normalized false: cut out of the input
	normalized addedMatcher // normalized true: cut out of the normalised rest
}

// newAddedVocab gives the tokens their ids: a token that the model knows keeps the model's id, whatever the file
// says, the others count on from the size of the vocabulary.
func newAddedVocab(tokens []addedToken, v *vocab, n normalizer) *addedVocab {
	a := &addedVocab{byID: map[int32]*addedToken{}, byContent: map[string]int32{}, special: map[string]bool{}}
	next := int32(v.count)
	for i := range tokens {
		t := tokens[i]
		if t.content == "" {
			continue
		}
		if id, ok := a.byContent[t.content]; ok {
			t.id = id
		} else if id, ok := v.id(t.content); ok {
			t.id = id
		} else if next == math.MaxInt32 {
			continue
		} else {
			t.id = next
			next++
		}
		a.byContent[t.content] = t.id
		a.byID[t.id] = &t
		if t.special {
			a.special[t.content] = true
		}
		a.list = append(a.list, &t)
	}
	a.normalize(n)
	return a
}

// normalize makes what depends on the normalizer.
func (a *addedVocab) normalize(n normalizer) {
	var plain, normalized []matchKey
	for _, t := range a.list {
		if a.byID[t.id] != t {
			continue // a later entry of the same id replaced it
		}
		t.decoded = t.content
		if !t.normalized {
			plain = append(plain, matchKey{t.content, t})
			continue
		}
		if n != nil {
			x := text{s: t.content}
			n.normalize(&x)
			t.decoded = x.s
		}
		normalized = append(normalized, matchKey{t.decoded, t})
	}
	a.plain, a.normalized = newAddedMatcher(plain), newAddedMatcher(normalized)
}

// clone is a copy with its own normalised forms.
func (a *addedVocab) clone(n normalizer) *addedVocab {
	c := &addedVocab{byID: make(map[int32]*addedToken, len(a.byID)), byContent: a.byContent, special: a.special}
	for _, t := range a.list {
		copied := *t
		c.list = append(c.list, &copied)
		c.byID[t.id] = &copied
	}
	c.normalize(n)
	return c
}

type matchKey struct {
	key   string
	token *addedToken
}

// addedMatcher finds the leftmost, then longest of its keys.
type addedMatcher struct {
	first [256]bool // the bytes that a key starts with
	trie  *trie     // nil if there are no keys
	keys  []matchKey
}

func newAddedMatcher(keys []matchKey) (m addedMatcher) {
	for _, k := range keys {
		if k.key != "" {
			m.keys = append(m.keys, k)
			m.first[k.key[0]] = true
		}
	}
	if len(m.keys) > 0 {
		m.trie = newTrie(len(m.keys), func(i int) string { return m.keys[i].key }, func(i int) int32 { return int32(i) })
	}
	return m
}

// longest is the longest key that starts t at byte at, and its length.
func (m *addedMatcher) longest(t *text, at int, g *guard) (*addedToken, int) {
	s := t.s[at:]
	var found *addedToken
	node, length := trieRoot, 0
	for i := 0; i < len(s); i++ {
		var ok bool
		if node, ok = m.trie.step(node, s[i]); !ok {
			break
		}
		if v := m.trie.units[node].value; v >= 0 && !g.refuses(t, m.keys[v].token, at, at+i+1) {
			found, length = m.keys[v].token, i+1
		}
	}
	return found, length
}

// split cuts t at the added tokens, but for those that g refuses, and emits the parts, none empty; the token is nil for
// what lies between.
func (m *addedMatcher) split(t text, g *guard, emit func(text, *addedToken)) {
	s := t.s
	if m.trie == nil {
		if s != "" {
			emit(t, nil)
		}
		return
	}
	last := 0
	for i := 0; i < len(s); {
		if !m.first[s[i]] {
			i++
			continue
		}
		found, n := m.longest(&t, i, g)
		if found == nil {
			i++
			continue
		}
		a, b := i, i+n
		i = b
		if found.singleWord && !standsAlone(s, a, b) {
			continue
		}
		if found.lstrip {
			from := min(last, a)
			a = max(last, from+len(strings.TrimRightFunc(s[from:a], isSpace)))
		}
		if found.rstrip {
			b = len(s) - len(strings.TrimLeftFunc(s[b:], isSpace))
		}
		if last < a {
			emit(t.slice(last, a), nil)
		}
		if a < b {
			emit(t.slice(a, b), found) // may overlap blanks that the token before took: the search goes on behind that token's key
		}
		last = b
	}
	if last < len(s) {
		emit(t.slice(last, len(s)), nil)
	}
}

func standsAlone(s string, a, b int) bool {
	word := unicodeData().crateWord
	if a > 0 {
		if r, _ := utf8.DecodeLastRuneInString(s[:a]); word.has(r) {
			return false
		}
	}
	if b < len(s) {
		if r, _ := utf8.DecodeRuneInString(s[b:]); word.has(r) {
			return false
		}
	}
	return true
}
