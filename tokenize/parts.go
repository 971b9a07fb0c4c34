package tokenize

import (
	"math"
	"slices"
	"strings"
)

// Part is a stretch of a text. In a plain one special tokens are text like any other: it was written by somebody who
// must not speak for the model's authors.
type Part struct {
	Text  string
	Plain bool
}

// guard keeps special tokens out of the plain parts of a text.
type guard struct{ plain []span } // byte ranges of the input, ascending and apart

// refuses tells whether bytes a to b of t must not become the token: it is special and one of its bytes is plain.
// A token that is not special is found everywhere, as the reference library finds it.
func (g *guard) refuses(t *text, token *addedToken, a, b int) bool {
	if g == nil || !token.special {
		return false
	}
	lo, hi := t.origin(a, b)
	i, _ := slices.BinarySearchFunc(g.plain, lo, func(s span, at int32) int {
		if s.hi <= at {
			return -1
		}
		return 1
	})
	return i < len(g.plain) && g.plain[i].lo < hi
}

// EncodeParts gives the ids of a text that comes in parts, as IDs gives those of the whole, but takes no special token
// out of plain parts, nor one that a plain part completes ("<|" and "end|>"): it is text there, and the longest other
// added token at its place is found instead. An accepted token that strips the blanks around it takes plain ones too.
// max and cut are those of IDs.
func (t *Tokenizer) EncodeParts(parts []Part, addSpecial bool, max int) (ids []int32, cut int) {
	var joined strings.Builder
	g := &guard{}
	for _, p := range parts {
		if joined.Len() > math.MaxInt32/4-len(p.Text)*3 { // broken bytes grow to three; so long a text is cut, as in run
			break
		}
		from := int32(joined.Len())
		joined.WriteString(toValid(p.Text)) // a part does not complete a character of another
		to := int32(joined.Len())
		if !p.Plain || from == to {
			continue
		}
		if n := len(g.plain); n > 0 && g.plain[n-1].hi == from {
			g.plain[n-1].hi = to
		} else {
			g.plain = append(g.plain, span{from, to})
		}
	}
	e := t.encoder(t.needsStart)
	defer t.release(e)
	if len(g.plain) > 0 {
		e.guard = g
		// Only a special token of the normalised text must be traced back to its part.
		e.track = e.track || slices.ContainsFunc(t.added.normalized.keys, func(k matchKey) bool { return k.token.special })
	}
	e.ids = e.ids[:0]
	e.run(joined.String())
	return t.finished(e.ids, addSpecial, max)
}
