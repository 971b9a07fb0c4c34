package grammar

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// object is an object: its properties in their order, then those that only additionalProperties allows.
//
// States say how far the order has come and how many members stand, counted as far as a comma, minProperties or
// maxProperties depend on it.
func (s *schemas) object(p *plain, from, to int32, at *place) error {
	b := s.b
	if p.maxProps >= 0 && p.maxProps < max(p.minProps, len(p.required)) {
		return contradiction(at, "maxProperties %d is too few", p.maxProps)
	}
	if len(p.properties)+len(p.required) == 0 && p.additional == nil && p.minProps == 0 && p.maxProps < 0 {
		b.call(from, to, b.freeObject())
		return nil
	}
	extra := p.additional == nil || p.additional.kind != kindBool || p.additional.text != "false"
	properties := slices.Clone(p.properties)
	for _, name := range p.required {
		if _, ok := p.byName[name]; ok {
			continue
		}
		if !extra {
			return contradiction(at.at("required"), "%q is no property", clip(name))
		}
		properties = append(properties, property{name, p.additional})
	}
	fewest := p.minProps
	if fewest <= len(p.required) {
		fewest = 0
	}
	if extra && fewest > 1 { // keys that are not listed may repeat, so only one of them counts for certain
		switch {
		case fewest > len(properties)+1:
			return fmt.Errorf("%v: minProperties %d is not supported: it needs more than one property that is not listed", at, fewest)
		case p.maxProps >= 0:
			return fmt.Errorf("%v: minProperties %d beside maxProperties is not supported where other properties may come", at, fewest)
		}
	}
	counts := max(1, fewest, p.maxProps)
	if (len(properties)+1)*(counts+1) > maxStates {
		b.fail(errTooComplex)
		return nil
	}

	r := b.rule(true)
	b.call(from, to, r)
	from, to = b.rules[r].start, b.rules[r].accept
	m := members{s: s, counts: counts, max: p.maxProps, here: b.row(counts + 1)}
	open, end := b.state(), b.state()
	b.bytes(from, open, '{', '{')
	b.space(open, m.here[0])
	b.bytes(end, to, '}', '}')
	for _, x := range properties {
		if b.err != nil {
			return nil
		}
		next := b.row(counts + 1)
		if _, required := slices.BinarySearch(p.required, x.name); !required {
			for k := range next {
				b.empty(m.here[k], next[k])
			}
		}
		m.put(next, func(from, to int32) { b.literal(from, to, quote(x.name)) }, x.node, at.at("properties").at(x.name))
		m.here = next
	}
	if extra {
		key := b.text
		if len(properties) > 0 {
			other := b.otherKey(properties)
			key = func() int32 { return other }
		}
		again := m.here
		if fewest > 1 {
			again = b.row(counts + 1)
		}
		m.put(again, func(from, to int32) { b.call(from, to, key()) }, p.additional, at.at("additionalProperties"))
		if fewest > 1 {
			m.close(fewest, end)
			m.here, m.still = again, true
			m.put(again, func(from, to int32) { b.call(from, to, key()) }, p.additional, at.at("additionalProperties"))
		}
	}
	m.close(fewest, end)
	return nil
}

// row is n states.
func (b *builder) row(n int) []int32 {
	row := make([]int32, n)
	for k := range row {
		row[k] = b.state()
	}
	return row
}

// close ends the object where enough members stand.
func (m *members) close(fewest int, end int32) {
	for k := fewest; k <= m.counts; k++ {
		if k == 0 {
			m.s.b.empty(m.here[0], end)
		} else {
			m.s.b.space(m.here[k], end)
		}
	}
}

// members puts the members of an object between rows of states, one state for each number of members.
type members struct {
	s           *schemas
	counts, max int
	here        []int32
	still       bool // further members do not count
}

// put is one more member: from here[k] to next[k+1], or to the last one where that does not count on.
func (m *members) put(next []int32, key func(from, to int32), node *tree, at *place) {
	b := m.s.b
	entry := map[int32]int32{} // by target: members that lead to the same state are the same states
	for k, here := range m.here {
		if m.max >= 0 && k >= m.max {
			break
		}
		target := next[min(k+1, m.counts)]
		if m.still {
			target = next[k]
		}
		start, ok := entry[target]
		if !ok {
			start = b.state()
			entry[target] = start
			colon, before, value := b.state(), b.state(), b.state()
			key(start, colon)
			b.bytes(colon, before, ':', ':')
			b.space(before, value)
			m.s.value(node, value, target, at)
		}
		if k == 0 {
			b.empty(here, start)
			continue
		}
		comma := b.state()
		b.bytes(here, comma, ',', ',')
		b.space(comma, start)
	}
}

// keyPlace is a place between the bytes of a key: between characters, behind a backslash, or within a character.
type keyPlace uint8

const (
	betweenChars keyPlace = iota
	behindBackslash
	tail1 // one continuation byte to come
	tail2
	tail3
	tailE0
	tailED
	tailF0
	tailF4
)

// keyStep is where a byte leads, for keys whose characters have one spelling each.
func keyStep(p keyPlace, c byte) (keyPlace, bool) {
	within := func(lo, hi byte, then keyPlace) (keyPlace, bool) { return then, lo <= c && c <= hi }
	switch p {
	case behindBackslash:
		switch c {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			return betweenChars, true
		}
		return 0, false
	case tail1:
		return within(0x80, 0xBF, betweenChars)
	case tail2:
		return within(0x80, 0xBF, tail1)
	case tail3:
		return within(0x80, 0xBF, tail2)
	case tailE0:
		return within(0xA0, 0xBF, tail1)
	case tailED:
		return within(0x80, 0x9F, tail1)
	case tailF0:
		return within(0x90, 0xBF, tail2)
	case tailF4:
		return within(0x80, 0x8F, tail2)
	}
	switch {
	case c == '\\':
		return behindBackslash, true
	case c == '"' || c < 0x20:
		return 0, false
	case c < utf8.RuneSelf:
		return betweenChars, true
	case c < 0xC2 || c > 0xF4:
		return 0, false
	case c == 0xE0:
		return tailE0, true
	case c == 0xED:
		return tailED, true
	case c == 0xF0:
		return tailF0, true
	case c == 0xF4:
		return tailF4, true
	case c < 0xE0:
		return tail1, true
	case c < 0xF0:
		return tail2, true
	}
	return tail3, true
}

// otherKey is the rule of a JSON string that is none of the names: a trie of the names, left at the first byte that
// goes on in none of them. Escapes that JSON does not ask for are left out, because they would spell a name anew.
func (b *builder) otherKey(names []property) int32 {
	r := b.rule(false)
	from, to := b.rules[r].start, b.rules[r].accept
	var free [tailF4 + 1]int32
	for p := range free {
		free[p] = b.state()
	}
	for p := range free {
		b.keyMoves(keyPlace(p), free[p], nil, free[:])
	}
	b.bytes(free[betweenChars], to, '"', '"')

	sorted := make([]string, len(names))
	for i, n := range names {
		q := quote(n.name)
		sorted[i] = q[1 : len(q)-1]
	}
	slices.Sort(sorted)
	root := b.state()
	b.bytes(from, root, '"', '"')
	type node struct {
		state  int32
		place  keyPlace
		lo, hi int // the names that begin so
		length int
	}
	for todo := []node{{root, betweenChars, 0, len(sorted), 0}}; len(todo) > 0 && b.err == nil; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		whole := len(sorted[n.lo]) == n.length
		if !whole && n.place == betweenChars {
			b.bytes(n.state, to, '"', '"')
		}
		taken := map[byte]bool{}
		for i := n.lo; i < n.hi; {
			if len(sorted[i]) == n.length {
				i++
				continue
			}
			c := sorted[i][n.length]
			j := i
			for j < n.hi && len(sorted[j]) > n.length && sorted[j][n.length] == c {
				j++
			}
			taken[c] = true
			if place, ok := keyStep(n.place, c); ok {
				child := b.state()
				b.bytes(n.state, child, c, c)
				todo = append(todo, node{child, place, i, j, n.length + 1})
			}
			i = j
		}
		b.keyMoves(n.place, n.state, taken, free[:])
	}
	return r
}

// keyMoves are the moves from a place to the states of free keys, but for the bytes taken.
func (b *builder) keyMoves(p keyPlace, from int32, taken map[byte]bool, free []int32) {
	for lo := 0; lo < 256; {
		to, ok := keyStep(p, byte(lo))
		if !ok || taken[byte(lo)] {
			lo++
			continue
		}
		hi := lo
		for hi+1 < 256 && !taken[byte(hi+1)] {
			if next, ok := keyStep(p, byte(hi+1)); !ok || next != to {
				break
			}
			hi++
		}
		b.bytes(from, free[to], byte(lo), byte(hi))
		lo = hi + 1
	}
}
