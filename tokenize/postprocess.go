package tokenize

import (
	"strings"
	"unicode/utf8"
)

// postProcessor puts the special tokens around one or two encoded texts.
type postProcessor struct {
	trims        []trimOffsets
	single, pair []templateItem // nil: the texts one after the other
}

// templateItem is a text or a special token of a template.
type templateItem struct {
	sequence int // 0 the first text, 1 the second, -1 a special token
	ids      []int32
	tokens   []string
	typeID   int32
}

// specialCount is how many special tokens the template adds.
func specialCount(items []templateItem) int {
	n := 0
	for _, it := range items {
		if it.sequence < 0 {
			n += len(it.ids)
		}
	}
	return n
}

// template for one text or two; without a post-processor the second text has type id 1.
func (p *postProcessor) template(pair bool) []templateItem {
	switch {
	case pair && p.pair != nil:
		return p.pair
	case pair:
		return []templateItem{{sequence: 0}, {sequence: 1, typeID: 1}}
	case p.single != nil:
		return p.single
	}
	return []templateItem{{sequence: 0}}
}

// apply builds the final encoding of texts, one or two of them.
func (p *postProcessor) apply(texts []*Encoding, addSpecial bool) *Encoding {
	out := &Encoding{}
	first := true
	for _, it := range p.template(len(texts) == 2) {
		part := &Encoding{}
		switch {
		case it.sequence < 0 && !addSpecial:
			continue
		case it.sequence < 0:
			for i, id := range it.ids {
				part.add(id, it.typeID, true, it.tokens[i], [2]int{})
			}
		case it.sequence >= len(texts):
			continue
		default:
			part = texts[it.sequence].withType(it.typeID)
		}
		if first {
			out, first = part, false
			continue
		}
		out.merge(part)
	}
	return out
}

// withType is a copy of e, overflow included, with the given type id.
func (e *Encoding) withType(typeID int32) *Encoding {
	c := *e
	c.TypeIDs = make([]int32, len(e.IDs))
	for i := range c.TypeIDs {
		c.TypeIDs[i] = typeID
	}
	c.Overflow = nil
	for _, o := range e.Overflow {
		c.Overflow = append(c.Overflow, o.withType(typeID))
	}
	return &c
}

// trimOffsets takes the blanks of byte-level tokens out of their offsets.
type trimOffsets struct{ prefixSpace bool }

// apply counts in characters of the input text s, as the library does when asked for them.
func (p trimOffsets) apply(e *Encoding, s string) {
	for i, t := range e.Tokens {
		blank := func(r rune) bool { return r == 'Ġ' || isSpace(r) }
		lead := utf8.RuneCountInString(t) - utf8.RuneCountInString(strings.TrimLeftFunc(t, blank))
		tail := utf8.RuneCountInString(t) - utf8.RuneCountInString(strings.TrimRightFunc(t, blank))
		o := &e.Offsets[i]
		if lead > 0 {
			if p.prefixSpace && lead == 1 && (i == 0 || o[0] == 0) {
				lead = 0 // it is the space that was put there
			}
			for ; lead > 0 && o[0] < o[1]; lead-- {
				_, w := utf8.DecodeRuneInString(s[o[0]:])
				o[0] = min(o[0]+w, o[1])
			}
		}
		if tail > 0 && utf8.RuneCountInString(s[:min(o[1], 4*tail)]) >= tail {
			for ; tail > 0 && o[1] > o[0]; tail-- {
				_, w := utf8.DecodeLastRuneInString(s[:o[1]])
				o[1] = max(o[1]-w, o[0])
			}
		}
	}
}
