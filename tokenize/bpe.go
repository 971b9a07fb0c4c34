package tokenize

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// bpe joins neighbouring symbols, always the pair of the lowest rank, leftmost first, until none is left (Sennrich et
// al. 2016).
type bpe struct {
	vocab        *vocab
	merges       mergeTable
	unk          int32 // -1: unknown characters vanish
	fuseUnk      bool
	ignoreMerges bool        // a piece that is a token is taken whole
	prefix       string      // of every symbol but the first
	suffix       string      // of the last symbol
	fallback     *[256]int32 // the tokens <0x00> to <0xFF>; nil without byte fallback

	// ASCII characters' tokens, and whole bytes' in GPT-2's spelling: what most pieces start from
	ascii    [utf8.RuneSelf]int32
	rawBytes [256]int32
	raw      bool // pieces are bytes that are spelled only here

	// words: no merge goes over a visible space that follows another character, so a piece can be cut there without
	// changing a token.
	// Files of the Llama and Gemma families have no pre-tokenizer and give a whole text as one piece.
	words bool
	cache *wordCache
}

func (m *bpe) vocabulary() *vocab { return m.vocab }

func (m *bpe) spelling(t token, _ string) string {
	s, _ := m.vocab.token(t.id)
	return s
}

// prepare fills the tables that follow from the others.
func (m *bpe) prepare() {
	for c := range m.ascii {
		id, ok := m.vocab.id(string(rune(c)))
		if !ok {
			id = -1
		}
		m.ascii[c] = id
	}
	_, known := m.vocab.id(visibleSpace)
	m.words = known && m.prefix == "" && m.suffix == "" && !m.ignoreMerges
	for i := range m.merges.slots {
		if s := &m.merges.slots[i]; m.words && s.left >= 0 {
			token, _ := m.vocab.token(s.id)
			m.words = wordEnd(token) == len(token)
		}
	}
	m.cache = newWordCache()
}

// wordEnd is where the first visible space lies that follows another character, or the length of s.
func wordEnd(s string) int {
	at := 0
	for strings.HasPrefix(s[at:], visibleSpace) {
		at += len(visibleSpace)
	}
	if next := strings.Index(s[at:], visibleSpace); next >= 0 {
		return at + next
	}
	return len(s)
}

// readRaw makes the model read bytes instead of their spelling, which saves the spelling; it can only if every byte
// has a token.
func (m *bpe) readRaw() bool {
	if m.prefix != "" || m.suffix != "" {
		return false
	}
	for b := range m.rawBytes {
		id, ok := m.vocab.id(string(byteRune[b]))
		if !ok {
			return false
		}
		m.rawBytes[b] = id
	}
	m.raw = true
	return true
}

// mergeTable maps a pair of ids to the rank of its merge and the id of the result: open addressing, one cache line a
// look-up.
type mergeTable struct {
	slots []mergeSlot
	shift uint
}

type mergeSlot struct{ left, right, rank, id int32 } // left -1: free

func newMergeTable(n int) mergeTable {
	size := 8
	for size < 2*n {
		size *= 2
	}
	t := mergeTable{make([]mergeSlot, size), uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i].left = -1
	}
	return t
}

func (t *mergeTable) start(left, right int32) uint64 {
	return (uint64(uint32(left))<<32 | uint64(uint32(right))) * 0x9E3779B97F4A7C15 >> t.shift
}

// put stores a merge; of equal pairs the last one counts.
func (t *mergeTable) put(left, right, rank, id int32) {
	mask := uint64(len(t.slots) - 1)
	for i := t.start(left, right); ; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.left < 0 || s.left == left && s.right == right {
			*s = mergeSlot{left, right, rank, id}
			return
		}
	}
}

// noMerge is the rank of a pair that does not merge.
const noMerge = math.MaxInt32

func (t *mergeTable) get(left, right int32) (rank, id int32) {
	mask := uint64(len(t.slots) - 1)
	for i := t.start(left, right); ; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.left == left && s.right == right {
			return s.rank, s.id
		}
		if s.left < 0 {
			return noMerge, -1
		}
	}
}

// addMerge notes the merge of rank rank; key is working memory.
func (m *bpe) addMerge(left, right []byte, rank int, key []byte) ([]byte, error) {
	a, okLeft := m.vocab.idBytes(left)
	b, okRight := m.vocab.idBytes(right)
	switch {
	case !okLeft:
		return key, fmt.Errorf("%q is not in the vocabulary", clip(string(left)))
	case !okRight:
		return key, fmt.Errorf("%q is not in the vocabulary", clip(string(right)))
	case len(right) < len(m.prefix):
		return key, fmt.Errorf("%q is shorter than continuing_subword_prefix", clip(string(right)))
	}
	key = append(append(key[:0], left...), right[len(m.prefix):]...)
	c, ok := m.vocab.idBytes(key)
	if !ok {
		return key, fmt.Errorf("%q is not in the vocabulary", clip(string(key)))
	}
	m.merges.put(a, b, int32(rank), c)
	return key, nil
}

// symbol is a token under way; length 0 marks one that went into its left neighbour.
type symbol struct {
	id, length int32
	prev, next int32
}

// candidate is a possible merge of the symbol at pos with the next one, ordered by rank, then position.
type candidate struct {
	key uint64 // rank<<32 | pos
	id  int32
}

// shortWord is up to how many symbols all pairs are looked through again for each merge, which beats the heap.
const shortWord = 24

// maxScratch is the working memory (in elements) that is kept for the next call.
const maxScratch = 1 << 16

func (m *bpe) tokenize(s string, out []token, sc *scratch) []token {
	if !m.words || m.raw {
		return m.tokenizeCached(s, out, sc)
	}
	for at := 0; at < len(s); {
		end := at + wordEnd(s[at:])
		first := len(out)
		out = m.tokenizeCached(s[at:end], out, sc)
		for i := first; i < len(out); i++ {
			out[i].lo += int32(at)
			out[i].hi += int32(at)
		}
		at = end
	}
	return out
}

func (m *bpe) tokenizeCached(s string, out []token, sc *scratch) []token {
	hash, cacheable := uint64(0), len(s) <= maxCachedWord
	if cacheable {
		hash = m.cache.hash(s)
		if e := m.cache.get(hash, s); e != nil {
			return append(out, e.tokens...)
		}
	}
	first := len(out)
	out = m.tokenizeWord(s, out, sc)
	if cacheable {
		m.cache.put(hash, s, out[first:])
	}
	return out
}

func (m *bpe) tokenizeWord(s string, out []token, sc *scratch) []token {
	if m.ignoreMerges {
		if id, ok := m.whole(s, sc); ok {
			return append(out, token{id, 0, int32(len(s))})
		}
	}
	syms := sc.symbols[:0]
	if m.raw {
		for i := 0; i < len(s); i++ {
			syms = append(syms, symbol{id: m.rawBytes[s[i]], length: 1})
		}
	} else {
		syms = m.characters(s, syms, sc)
	}
	if len(syms) <= shortWord {
		sc.symbols = syms
		syms = m.mergeShort(syms)
	} else {
		m.mergeLong(syms, sc)
		sc.symbols = syms
	}
	at := int32(0)
	for _, y := range syms {
		if y.length > 0 {
			end := min(at+y.length, int32(len(s)))
			out = append(out, token{y.id, min(at, end), end})
			at += y.length
		}
	}
	if cap(sc.symbols) > maxScratch {
		sc.symbols = nil
	}
	return out
}

// whole is the token that spells all of s.
func (m *bpe) whole(s string, sc *scratch) (int32, bool) {
	if !m.raw {
		return m.vocab.id(s)
	}
	sc.key = sc.key[:0]
	for i := 0; i < len(s); i++ {
		sc.key = utf8.AppendRune(sc.key, byteRune[s[i]])
	}
	return m.vocab.idBytes(sc.key)
}

// characters turns s into its first symbols, one a character or, by fallback, one a byte.
func (m *bpe) characters(s string, syms []symbol, sc *scratch) []symbol {
	unkLength := int32(0)
	flush := func() {
		if unkLength > 0 {
			syms = append(syms, symbol{id: m.unk, length: unkLength})
			unkLength = 0
		}
	}
	plain := m.prefix == "" && m.suffix == ""
	for i := 0; i < len(s); {
		w, id, ok := 1, int32(-1), false
		spelled := ""
		if plain && s[i] < utf8.RuneSelf {
			id = m.ascii[s[i]]
			ok = id >= 0
			spelled = s[i : i+1]
		} else {
			_, w = utf8.DecodeRuneInString(s[i:])
			spelled = s[i : i+w]
			if !plain {
				sc.key = sc.key[:0]
				if i > 0 {
					sc.key = append(sc.key, m.prefix...)
				}
				sc.key = append(sc.key, spelled...)
				if i+w == len(s) {
					sc.key = append(sc.key, m.suffix...)
				}
				spelled = string(sc.key)
			}
			id, ok = m.vocab.id(spelled)
		}
		switch {
		case ok:
			flush()
			syms = append(syms, symbol{id: id, length: int32(w)})
		case m.fallsBack(spelled):
			// the library does not flush a pending unknown run here, so it comes out behind these bytes
			for k := range len(spelled) {
				syms = append(syms, symbol{id: m.fallback[spelled[k]], length: 1})
			}
		case m.unk >= 0:
			if !m.fuseUnk {
				flush()
			}
			unkLength += int32(w)
		}
		i += w
	}
	flush()
	return syms
}

func (m *bpe) fallsBack(s string) bool {
	if m.fallback == nil {
		return false
	}
	for i := range len(s) {
		if m.fallback[s[i]] < 0 {
			return false
		}
	}
	return true
}

// mergeShort merges in place and gives the symbols left.
func (m *bpe) mergeShort(s []symbol) []symbol {
	type merge struct{ rank, id int32 }
	var pairs [shortWord]merge
	look := func(i int) {
		pairs[i].rank, pairs[i].id = m.merges.get(s[i].id, s[i+1].id)
	}
	for i := 0; i+1 < len(s); i++ {
		look(i)
	}
	for {
		best, at := int32(noMerge), -1
		for i := 0; i+1 < len(s); i++ {
			if pairs[i].rank < best {
				best, at = pairs[i].rank, i
			}
		}
		if at < 0 {
			return s
		}
		s[at].id = pairs[at].id
		s[at].length += s[at+1].length
		copy(s[at+1:], s[at+2:])
		copy(pairs[at:len(s)-1], pairs[at+1:len(s)-1])
		s = s[:len(s)-1]
		if at+1 < len(s) {
			look(at)
		}
		if at > 0 {
			look(at - 1)
		}
	}
}

// mergeLong merges with a heap, n log n; symbols that were merged away keep length 0.
func (m *bpe) mergeLong(s []symbol, sc *scratch) {
	h := candidates(sc.heap[:0])
	for i := range s {
		s[i].prev, s[i].next = int32(i)-1, int32(i)+1
		if i+1 == len(s) {
			s[i].next = -1
			break
		}
		if rank, id := m.merges.get(s[i].id, s[i+1].id); rank != noMerge {
			h = append(h, candidate{uint64(rank)<<32 | uint64(i), id})
		}
	}
	h.init()
	push := func(at int32) {
		if rank, id := m.merges.get(s[at].id, s[s[at].next].id); rank != noMerge {
			h.push(candidate{uint64(rank)<<32 | uint64(at), id})
		}
	}
	for len(h) > 0 {
		c := h.pop()
		at := int32(uint32(c.key))
		left := &s[at]
		if left.length == 0 || left.next < 0 {
			continue
		}
		right := &s[left.next]
		if _, id := m.merges.get(left.id, right.id); id != c.id {
			continue // the pair changed since
		}
		left.id = c.id
		left.length += right.length
		right.length = 0
		left.next = right.next
		if left.next >= 0 {
			s[left.next].prev = at
		}
		if left.prev >= 0 {
			push(left.prev)
		}
		if left.next >= 0 {
			push(at)
		}
	}
	if cap(h) <= maxScratch {
		sc.heap = h
	} else {
		sc.heap = nil
	}
}

// candidates is a heap with four children a node.
type candidates []candidate

func (h candidates) init() {
	for i := (len(h) - 2) / 4; i >= 0 && len(h) > 1; i-- {
		h.down(i)
	}
}

func (h *candidates) push(c candidate) {
	*h = append(*h, c)
	q := *h
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if q[parent].key <= c.key {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = c
}

func (h *candidates) pop() candidate {
	q := *h
	top, last := q[0], len(q)-1
	q[0] = q[last]
	*h = q[:last]
	h.down(0)
	return top
}

func (h candidates) down(i int) {
	if i >= len(h) {
		return
	}
	c := h[i]
	for {
		least := -1
		for k := 4*i + 1; k <= 4*i+4 && k < len(h); k++ {
			if least < 0 || h[k].key < h[least].key {
				least = k
			}
		}
		if least < 0 || c.key <= h[least].key {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = c
}

// splitMerge cuts a merge of the old form, "left right".
func splitMerge(s []byte) (left, right []byte, ok bool) {
	left, right, ok = bytes.Cut(s, []byte(" "))
	return left, right, ok && bytes.IndexByte(right, ' ') < 0
}
