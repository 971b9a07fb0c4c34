package grammar

import (
	"slices"
	"sort"
)

// Strings with a maxLength are in another state after each character, and a walk over all tokens for each of them
// would be the most that a mask costs. But these states differ only in how many characters may still come. So the
// tokens are walked once for a string with more left than a token has, and a state with fewer left takes away what is
// longer.

// countedMask is the mask of a string with maxToken characters left.
type countedMask struct {
	*topMask
	wide   []width // tokens of at least two characters, the widest first
	leaves []width // the leaves, likewise, each with the characters before the string's end
}

// width is how many characters a token, or a node of the trie, holds.
type width struct{ what, chars int32 }

// charsLeft is how many characters may come in a counted string before it must end, -1 for other states.
func (g *Grammar) charsLeft(s *states) int {
	if len(s.set) != 1 || len(g.counting) == 0 {
		return -1
	}
	q := s.set[0]
	i := sort.Search(len(g.counting), func(i int) bool { return g.counting[i].hi >= q })
	if i == len(g.counting) || q < g.counting[i].lo {
		return -1
	}
	return int(g.counting[i].hi - q)
}

// counted is the mask of a counted string with so many characters left.
func (c *Constraint) counted(left int) *topMask {
	if c.strings == nil {
		c.strings = c.countWidths(c.walkTop(c.ruleStart(c.g.counted)))
		c.took(4*len(c.strings.bits) + 8*(len(c.strings.wide)+len(c.strings.leaves)))
	}
	all := c.strings
	if left >= maxToken {
		return all.topMask
	}
	m := *all.topMask
	m.bits, m.leaves, m.far = slices.Clone(m.bits), nil, nil
	narrow := func(t reached) bool { return charsOf(c.v.bytes(t.id)) <= left }
	for _, t := range all.far {
		if narrow(t) {
			m.far = append(m.far, t)
		}
	}
	if left == 0 { // then those of one character are too wide as well
		clear(m.bits)
		for _, id := range c.v.ids {
			if charsOf(c.v.bytes(id)) == 0 && all.bits[id>>5]>>(id&31)&1 != 0 {
				m.bits[id>>5] |= 1 << (id & 31)
			}
		}
	}
	for _, t := range all.wide {
		if int(t.chars) <= left {
			break
		}
		m.bits[t.what>>5] &^= 1 << (t.what & 31)
	}
	for _, t := range all.leaves {
		if int(t.chars) <= left {
			m.leaves = append(m.leaves, t.what)
		}
	}
	return &m
}

func (c *Constraint) countWidths(top *topMask) *countedMask {
	var tokens, leaves [maxToken + 1][]int32 // by characters
	for _, id := range c.v.ids {
		if top.bits[id>>5]>>(id&31)&1 != 0 {
			n := charsOf(c.v.bytes(id))
			tokens[n] = append(tokens[n], id)
		}
	}
	for _, leaf := range top.leaves {
		path := c.v.bytes(c.v.ids[c.v.first[leaf]])[:c.v.depth[leaf]]
		n := charsOf(path)
		leaves[n] = append(leaves[n], leaf)
	}
	m := &countedMask{topMask: top}
	for n := int32(maxToken); n >= 0; n-- {
		for _, id := range tokens[n] {
			if n > 1 {
				m.wide = append(m.wide, width{id, n})
			}
		}
		for _, leaf := range leaves[n] {
			m.leaves = append(m.leaves, width{leaf, n})
		}
	}
	return m
}

// charsOf counts the characters of a JSON string, up to its closing quote or to the end of b, where the last one may
// be cut. The bytes are known to be valid so far.
func charsOf(b []byte) (n int) {
	for i := 0; i < len(b) && b[i] != '"'; n++ {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b) && b[i+1] == 'u':
			pair := i+3 < len(b) && (b[i+2]|0x20 == 'd') && (b[i+3] == '8' || b[i+3] == '9' || b[i+3] >= 'A')
			if i += 6; pair {
				i += 6
			}
		case c == '\\':
			i += 2
		case c < 0x80:
			i++
		case c < 0xE0:
			i += 2
		case c < 0xF0:
			i += 3
		default:
			i += 4
		}
	}
	return n
}
