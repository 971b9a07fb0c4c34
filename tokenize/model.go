package tokenize

import "unicode/utf8"

// token is one piece of the vocabulary found in a piece of text, bytes lo to hi of it.
type token struct{ id, lo, hi int32 }

// model turns one piece of text into tokens.
type model interface {
	// tokenize appends the tokens of s, which is not empty.
	tokenize(s string, out []token, sc *scratch) []token
	vocabulary() *vocab
	// spelling is the token's text in an Encoding; s is the piece that it was found in.
	spelling(t token, s string) string
}

// scratch is the working memory of one call, reused by the next.
type scratch struct {
	symbols []symbol
	heap    []candidate
	best    []bestPath
	key     []byte
	tokens  []token
}

// wordPiece takes the longest token from the left again and again (Wu et al. 2016, Devlin et al. 2018); a word with a
// rest is unknown.
type wordPiece struct {
	vocab    *vocab
	trie     *trie
	inner    int32 // trie node behind the continuation prefix, -1 if no token has it
	unk      int32
	maxChars int // longer words are unknown
}

func newWordPiece(v *vocab, unk, prefix string, maxChars int) *wordPiece {
	m := &wordPiece{vocab: v, trie: vocabTrie(v), inner: -1, maxChars: maxChars}
	if id, ok := v.id(unk); ok {
		m.unk = id
	} else {
		m.unk = -1
	}
	if node, ok := m.trie.walk(trieRoot, prefix); ok {
		m.inner = node
	}
	return m
}

func vocabTrie(v *vocab) *trie {
	return newTrie(len(v.ids), v.at, func(i int) int32 { return v.ids[i] })
}

func (m *wordPiece) vocabulary() *vocab { return m.vocab }

func (m *wordPiece) spelling(t token, _ string) string {
	s, _ := m.vocab.token(t.id)
	return s
}

func (m *wordPiece) tokenize(s string, out []token, _ *scratch) []token {
	known := len(out)
	if len(s) > m.maxChars && utf8.RuneCountInString(s) > m.maxChars {
		return m.unknown(s, out)
	}
	for at := 0; at < len(s); {
		node := trieRoot
		if at > 0 {
			node = m.inner
		}
		id, end := int32(-1), at
		for i := at; node >= 0 && i < len(s); {
			var ok bool
			if node, ok = m.trie.step(node, s[i]); !ok {
				break
			}
			i++
			if v := m.trie.units[node].value; v >= 0 {
				id, end = v, i
			}
		}
		if id < 0 {
			return m.unknown(s, out[:known])
		}
		out = append(out, token{id, int32(at), int32(end)})
		at = end
	}
	return out
}

func (m *wordPiece) unknown(s string, out []token) []token {
	if m.unk < 0 {
		return out
	}
	return append(out, token{m.unk, 0, int32(len(s))})
}

// wordLevel knows whole pieces only.
type wordLevel struct {
	vocab *vocab
	unk   int32 // -1: unknown pieces vanish
}

func newWordLevel(v *vocab, unk string) *wordLevel {
	m := &wordLevel{vocab: v}
	if id, ok := v.id(unk); ok {
		m.unk = id
	} else {
		m.unk = -1
	}
	return m
}

func (m *wordLevel) vocabulary() *vocab { return m.vocab }

func (m *wordLevel) spelling(t token, _ string) string {
	s, _ := m.vocab.token(t.id)
	return s
}

func (m *wordLevel) tokenize(s string, out []token, _ *scratch) []token {
	id, ok := m.vocab.id(s)
	if !ok {
		if id = m.unk; id < 0 {
			return out
		}
	}
	return append(out, token{id, 0, int32(len(s))})
}
