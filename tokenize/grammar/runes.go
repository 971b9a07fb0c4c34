package grammar

import "fmt"

// runeNFA is a nondeterministic automaton over characters, without empty moves; state 0 is the start.
type runeNFA struct {
	moves  [][]runeMove
	accept []bool
}

type runeMove struct {
	set []runeRange
	to  int32
}

// Bounds on one pattern.
const (
	maxRuneStates = 1 << 15
	maxRuneMoves  = 1 << 18
)

var errPatternTooComplex = fmt.Errorf("pattern too complex: more than %d states or %d transitions", maxRuneStates, maxRuneMoves)

// compileRunes makes an automaton of a pattern; search allows any text before and behind a match.
func compileRunes(pattern string, search bool) (*runeNFA, error) {
	n, err := parseRegex(pattern, search) // a schema's patterns are ECMAScript's, and are searched for
	if err != nil {
		return nil, err
	}
	if search {
		anything := &reNode{op: reRepeat, max: -1, subs: []*reNode{{op: reSet, set: negated(nil)}}}
		n = &reNode{op: reCat, subs: []*reNode{anything, n, anything}}
	}
	if n.states() > maxRuneStates {
		return nil, errPatternTooComplex
	}
	t := thompson{}
	from, to := t.state(), t.state()
	t.build(n, from, to)
	return t.withoutEmpty(from, to)
}

// states is how many states the node becomes, capped above maxRuneStates.
func (n *reNode) states() int {
	sum := 1
	for _, s := range n.subs {
		sum = min(sum+s.states()+1, maxRuneStates+1)
	}
	if n.op == reRepeat {
		sum *= max(n.min, n.max, 1)
	}
	return min(sum, maxRuneStates+1)
}

// thompson is Thompson's construction (1968), with moves for the two ends of the text.
type thompson struct{ moves [][]thompsonMove }

type thompsonMove struct {
	op  reOp // reEmpty, reSet, reBegin, reEnd
	set []runeRange
	to  int32
}

func (t *thompson) state() int32 {
	t.moves = append(t.moves, nil)
	return int32(len(t.moves) - 1)
}

func (t *thompson) move(from, to int32, op reOp, set []runeRange) {
	t.moves[from] = append(t.moves[from], thompsonMove{op, set, to})
}

func (t *thompson) build(n *reNode, from, to int32) {
	switch n.op {
	case reAlt:
		for _, s := range n.subs {
			t.build(s, from, to)
		}
	case reCat:
		for _, s := range n.subs {
			next := t.state()
			t.build(s, from, next)
			from = next
		}
		t.move(from, to, reEmpty, nil)
	case reRepeat:
		for range n.min {
			next := t.state()
			t.build(n.subs[0], from, next)
			from = next
		}
		if n.max < 0 {
			loop := t.state()
			t.move(from, loop, reEmpty, nil)
			t.build(n.subs[0], loop, loop)
			from = loop
		}
		for range n.max - n.min {
			t.move(from, to, reEmpty, nil)
			next := t.state()
			t.build(n.subs[0], from, next)
			from = next
		}
		t.move(from, to, reEmpty, nil)
	default:
		t.move(from, to, n.op, n.set)
	}
}

// withoutEmpty takes the empty moves out. The start of the text is passed only before the first character; behind its
// end only empty moves count, so that a state accepts if these lead to final.
func (t *thompson) withoutEmpty(start, final int32) (*runeNFA, error) {
	out := &runeNFA{}
	states := map[int32]int32{}
	var todo []int32
	number := func(s int32) int32 {
		k, ok := states[s]
		if !ok {
			k = int32(len(out.moves))
			states[s] = k
			out.moves = append(out.moves, nil)
			out.accept = append(out.accept, false)
			todo = append(todo, s)
		}
		return k
	}
	mark := make([]int32, len(t.moves)) // the closure that a state was seen in
	round := int32(0)
	steps := 0
	closure := func(s int32, atStart, atEnd bool) []int32 {
		round++
		mark[s] = round
		list := []int32{s}
		for i := 0; i < len(list); i++ {
			for _, m := range t.moves[list[i]] {
				steps++
				if (m.op == reEmpty || m.op == reBegin && atStart || m.op == reEnd && atEnd) && mark[m.to] != round {
					mark[m.to] = round
					list = append(list, m.to)
				}
			}
		}
		return list
	}
	fill := func(s, k int32, atStart bool) bool {
		for _, q := range closure(s, atStart, false) {
			for _, m := range t.moves[q] {
				if m.op == reSet && len(m.set) > 0 {
					to := number(m.to)
					out.moves[k] = append(out.moves[k], runeMove{m.set, to})
					steps++
				}
			}
			if steps > 64*maxRuneMoves {
				return false
			}
		}
		for _, q := range closure(s, atStart, true) {
			out.accept[k] = out.accept[k] || q == final
		}
		return steps <= 64*maxRuneMoves && len(out.moves) <= maxRuneStates
	}
	out.moves, out.accept = append(out.moves, nil), append(out.accept, false) // state 0: nothing taken yet
	moves := 0
	ok := fill(start, 0, true)
	for len(todo) > 0 && ok {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		ok = fill(s, states[s], false)
		moves += len(out.moves[states[s]])
		ok = ok && moves <= maxRuneMoves
	}
	if !ok {
		return nil, errPatternTooComplex
	}
	return out, nil
}

// ofLength is every text of min to max characters; max below 0 is no bound.
func ofLength(min, max int) (*runeNFA, error) {
	last := max
	if max < 0 {
		last = min
	}
	if last > maxRuneStates {
		return nil, errPatternTooComplex
	}
	every := negated(nil)
	n := &runeNFA{moves: make([][]runeMove, last+1), accept: make([]bool, last+1)}
	for k := range last + 1 {
		n.accept[k] = k >= min
		switch {
		case k < last:
			n.moves[k] = []runeMove{{every, int32(k) + 1}}
		case max < 0:
			n.moves[k] = []runeMove{{every, int32(k)}}
		}
	}
	return n, nil
}

// intersect is the texts that both take: the product of the automata, as far as it is reached.
func intersect(a, b *runeNFA) (*runeNFA, error) {
	type pair struct{ a, b int32 }
	out := &runeNFA{}
	states := map[pair]int32{}
	var todo []pair
	number := func(p pair) int32 {
		k, ok := states[p]
		if !ok {
			k = int32(len(out.moves))
			states[p] = k
			out.moves = append(out.moves, nil)
			out.accept = append(out.accept, a.accept[p.a] && b.accept[p.b])
			todo = append(todo, p)
		}
		return k
	}
	number(pair{0, 0})
	steps := 0
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		k := states[p]
		for _, x := range a.moves[p.a] {
			for _, y := range b.moves[p.b] {
				steps += len(x.set) + len(y.set)
				if steps > 8*maxRuneMoves || len(states) > maxRuneStates {
					return nil, errPatternTooComplex
				}
				if set := overlap(x.set, y.set); len(set) > 0 {
					to := number(pair{x.to, y.to})
					out.moves[k] = append(out.moves[k], runeMove{set, to})
				}
			}
		}
	}
	return out, nil
}

// matches runs the automaton.
func (n *runeNFA) matches(s string) bool {
	now, next := map[int32]bool{0: true}, map[int32]bool{}
	for _, c := range s {
		clear(next)
		for q := range now {
			for _, m := range n.moves[q] {
				for _, r := range m.set {
					if r.lo <= c && c <= r.hi {
						next[m.to] = true
					}
				}
			}
		}
		now, next = next, now
	}
	for q := range now {
		if n.accept[q] {
			return true
		}
	}
	return false
}

// runes puts the automaton's moves, as bytes, between two states; quoted spells characters as in a JSON string.
func (b *builder) runes(from, to int32, n *runeNFA, quoted bool) {
	first := b.states
	for range n.moves {
		b.state()
	}
	if b.err != nil {
		return
	}
	b.empty(from, first)
	for q, moves := range n.moves {
		for _, m := range moves {
			b.class(first+int32(q), first+m.to, m.set, quoted)
			if b.err != nil {
				return
			}
		}
		if n.accept[q] {
			b.empty(first+int32(q), to)
		}
	}
}
