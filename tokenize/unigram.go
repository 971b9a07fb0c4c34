package tokenize

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// unigram finds the split with the highest sum of token scores (Kudo 2018) by Viterbi's algorithm in float64.
type unigram struct {
	vocab    *vocab
	scores   []float64 // by id
	trie     *trie
	unk      int32 // -1: unknown characters vanish
	unkScore float64
	bytes    *[256]int32 // byte fallback: the tokens <0x00> to <0xFF>; nil without
}

// unknownPenalty is how much worse than the worst token an unknown character is.
const unknownPenalty = 10

func newUnigram(v *vocab, scores []float64, unk int32, byteFallback bool) (*unigram, error) {
	if int(unk) >= len(scores) {
		return nil, fmt.Errorf("unk_id %d is not below the vocabulary's size %d", unk, len(scores))
	}
	m := &unigram{vocab: v, scores: scores, trie: vocabTrie(v), unk: unk}
	low := math.Inf(1)
	for _, s := range scores {
		low = min(low, s)
	}
	m.unkScore = low - unknownPenalty
	if byteFallback {
		b := v.byteTokens()
		m.bytes = &b
	}
	return m, nil
}

func (m *unigram) vocabulary() *vocab { return m.vocab }

func (m *unigram) spelling(t token, s string) string {
	if m.bytes != nil {
		if k, ok := m.vocab.token(t.id); ok && len(k) == 6 && k != s[t.lo:t.hi] && m.isByte(t.id) {
			return k
		}
	}
	return s[t.lo:t.hi]
}

func (m *unigram) isByte(id int32) bool { return slices.Contains(m.bytes[:], id) }

// bestPath is the best way to reach one byte of the piece.
type bestPath struct {
	score float64
	from  int32 // -1: not reached
	id    int32
}

func (m *unigram) tokenize(s string, out []token, sc *scratch) []token {
	if cap(sc.best) < len(s)+1 {
		sc.best = make([]bestPath, len(s)+1)
	}
	best := sc.best[:len(s)+1]
	for i := range best {
		best[i] = bestPath{from: -1}
	}
	units := m.trie.units
	for at := 0; at < len(s); {
		w := 1
		if s[at] >= utf8.RuneSelf {
			_, w = utf8.DecodeRuneInString(s[at:])
		}
		here, single := best[at].score, false
		node := trieRoot
		for i := at; i < len(s); {
			child := units[node].base + int32(s[i])
			if units[child].check != node {
				break
			}
			node = child
			i++
			id := units[node].value
			if id < 0 {
				continue
			}
			e := &best[i]
			if score := m.scores[id] + here; e.from < 0 || score > e.score {
				*e = bestPath{score, int32(at), id}
			}
			single = single || i-at == w
		}
		if !single {
			e := &best[at+w]
			if score := m.unkScore + here; e.from < 0 || score > e.score {
				*e = bestPath{score, int32(at), m.unk}
			}
		}
		at += w
	}
	first := len(out)
	for end := int32(len(s)); end > 0; {
		e := best[end]
		if n := len(out); n > first && e.id == m.unk && out[n-1].id == m.unk {
			out[n-1].lo = e.from // neighbouring unknown characters are one token
		} else {
			out = append(out, token{e.id, e.from, end})
		}
		end = e.from
	}
	slices.Reverse(out[first:])
	if len(sc.best) > maxScratch {
		sc.best = nil
	}
	return m.resolveUnknown(s, out, first)
}

// resolveUnknown gives unknown runs their token if they are one as a whole, else their bytes, else the unknown token.
func (m *unigram) resolveUnknown(s string, out []token, first int) []token {
	any := false
	for i := first; i < len(out); i++ {
		if out[i].id != m.unk {
			continue
		}
		if id, ok := m.vocab.id(s[out[i].lo:out[i].hi]); ok {
			out[i].id = id
			continue
		}
		any = true
	}
	if !any || m.bytes == nil && m.unk >= 0 {
		return out
	}
	in := slices.Clone(out[first:])
	out = out[:first]
next:
	for _, t := range in {
		if t.id != m.unk {
			out = append(out, t)
			continue
		}
		if m.bytes != nil {
			for _, c := range []byte(s[t.lo:t.hi]) {
				if m.bytes[c] < 0 {
					if m.unk >= 0 {
						out = append(out, t)
					}
					continue next
				}
			}
			for _, c := range []byte(s[t.lo:t.hi]) {
				out = append(out, token{m.bytes[c], t.lo, t.hi})
			}
			continue
		}
	}
	return out
}
