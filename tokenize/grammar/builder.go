package grammar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// edge is a move between two states of a rule: a symbol from lo to hi, a call of a rule, or nothing.
type edge struct {
	from, to int32
	call     int32 // the rule, -1 for none
	lo, hi   int16 // lo > hi: no symbol
}

// rule is a finite automaton with calls.
type rule struct {
	start, accept int32
	nests         bool // counts as a level of nesting
}

// symbols above the bytes are added tokens.
const firstToken = 256

// builder collects states and moves. Its first error sticks, and nothing is added behind it.
type builder struct {
	states   int32
	edges    []edge
	rules    []rule
	tokens   []int32
	symbol   map[int32]int16
	counting []counting
	schemas  map[*schemaExpr]int32
	classes  map[classKey]int32 // rules of character classes, -1 for those that are put in place
	err      error

	json struct{ space, char, text, counted, number, integer, value, object, array int32 } // rules made when first asked for, + 1
}

func newBuilder() *builder {
	return &builder{symbol: map[int32]int16{}, schemas: map[*schemaExpr]int32{}, classes: map[classKey]int32{}}
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) state() int32 {
	if b.states >= maxStates {
		b.fail(errTooComplex)
		return 0
	}
	b.states++
	return b.states - 1
}

func (b *builder) rule(nests bool) int32 {
	b.rules = append(b.rules, rule{b.state(), b.state(), nests})
	return int32(len(b.rules) - 1)
}

func (b *builder) add(e edge) {
	if len(b.edges) >= maxEdges {
		b.fail(errTooComplex)
	}
	if b.err == nil {
		b.edges = append(b.edges, e)
	}
}

func (b *builder) bytes(from, to int32, lo, hi byte) {
	b.add(edge{from, to, -1, int16(lo), int16(hi)})
}

func (b *builder) empty(from, to int32) { b.add(edge{from, to, -1, 1, 0}) }

func (b *builder) call(from, to, r int32) { b.add(edge{from, to, r, 1, 0}) }

func (b *builder) token(from, to, id int32) {
	s, ok := b.symbol[id]
	if !ok {
		if len(b.tokens) == maxTokens || id < 0 {
			b.fail(fmt.Errorf("token %d: more than %d tokens as symbols, or a negative id", id, maxTokens))
			return
		}
		s = firstToken + int16(len(b.tokens))
		b.symbol[id] = s
		b.tokens = append(b.tokens, id)
	}
	b.add(edge{from, to, -1, s, s})
}

func (b *builder) literal(from, to int32, s string) {
	if s == "" {
		b.empty(from, to)
		return
	}
	for i := 0; i < len(s) && b.err == nil; i++ {
		next := to
		if i+1 < len(s) {
			next = b.state()
		}
		b.bytes(from, next, s[i], s[i])
		from = next
	}
}

// oneOf is any of the bytes of set.
func (b *builder) oneOf(from, to int32, set string) {
	for i := range len(set) {
		b.bytes(from, to, set[i], set[i])
	}
}

// choice makes a trie of the texts.
func (b *builder) choice(from, to int32, texts []string) {
	size := 0
	for _, s := range texts {
		size += len(s)
	}
	switch {
	case len(texts) == 0:
		b.fail(errors.New("no choices"))
	case size > MaxSource:
		b.fail(fmt.Errorf("%d bytes of choices, at most %d are read", size, MaxSource))
	default:
		sorted := slices.Clone(texts)
		slices.Sort(sorted)
		b.trie(from, to, slices.Compact(sorted))
	}
}

// trie makes states for sorted, different texts, without recursion: path holds the states of the text before.
func (b *builder) trie(from, to int32, texts []string) {
	path := []int32{from}
	before := ""
	for i, s := range texts {
		if b.err != nil {
			return
		}
		shared := 0
		for shared < len(s) && shared < len(before) && s[shared] == before[shared] {
			shared++
		}
		path = path[:shared+1]
		inner := i+1 < len(texts) && strings.HasPrefix(texts[i+1], s) // the next text goes on behind this one
		for k := shared; k < len(s); k++ {
			next := to
			if k+1 < len(s) || inner {
				next = b.state()
			}
			b.bytes(path[k], next, s[k], s[k])
			path = append(path, next)
		}
		if inner || s == "" {
			b.empty(path[len(s)], to)
		}
		before = s
	}
}

// grammar orders the moves, measures the rules and refuses what cannot be followed.
func (b *builder) grammar(root int32, o Options) (*Grammar, error) {
	g := &Grammar{rules: b.rules, root: root, tokens: b.tokens, counting: b.counting, counted: b.json.counted - 1, depth: int32(o.Depth)}
	g.first = make([]int32, b.states+1)
	for _, e := range b.edges {
		g.first[e.from+1]++
	}
	for s := range b.states {
		g.first[s+1] += g.first[s]
	}
	g.edges = make([]edge, len(b.edges))
	at := slices.Clone(g.first)
	for _, e := range b.edges {
		g.edges[at[e.from]] = e
		at[e.from]++
	}
	b.edges = nil
	g.accepting = make([]uint64, b.states/64+1)
	for _, r := range g.rules {
		g.accepting[r.accept>>6] |= 1 << (r.accept & 63)
	}
	g.least = g.measure(nil)
	start := g.rules[root].start
	if g.least.dist[start] == unreachable {
		return nil, errors.New("nothing satisfies it")
	}
	if need := g.least.need[start]; need > g.depth {
		return nil, fmt.Errorf("needs %d levels of nesting, at most %d are allowed", need, g.depth)
	}
	for i, r := range g.rules {
		if int32(i) != root && g.least.dist[r.start] == 0 {
			return nil, errors.New("a rule matches the empty text") // no rule of this package does
		}
	}
	if g.leftRecursive() {
		return nil, errors.New("a schema refers to itself without a value between")
	}
	return g, nil
}

// leftRecursive says whether a rule can call itself before it has taken a byte; following it would not end.
func (g *Grammar) leftRecursive() bool {
	calls := func(r int32) (out []int32) { // rules called at the start of r
		seen := map[int32]bool{g.rules[r].start: true}
		todo := []int32{g.rules[r].start}
		for len(todo) > 0 {
			s := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, e := range g.edges[g.first[s]:g.first[s+1]] {
				switch {
				case g.least.dist[e.to] == unreachable:
				case e.call >= 0:
					out = append(out, e.call)
				case e.lo > e.hi && !seen[e.to]:
					seen[e.to] = true
					todo = append(todo, e.to)
				}
			}
		}
		return out
	}
	const open, closed = 1, 2
	type visit struct {
		rule int32
		next []int32
	}
	colour := make([]uint8, len(g.rules))
	for r := range g.rules {
		if colour[r] != 0 {
			continue
		}
		colour[r] = open
		stack := []visit{{int32(r), calls(int32(r))}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.next) == 0 {
				colour[top.rule] = closed
				stack = stack[:len(stack)-1]
				continue
			}
			c := top.next[0]
			top.next = top.next[1:]
			switch colour[c] {
			case open:
				return true
			case 0:
				colour[c] = open
				stack = append(stack, visit{c, calls(c)})
			}
		}
	}
	return false
}
