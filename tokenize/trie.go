package tokenize

import (
	"cmp"
	"slices"
	"strings"
)

// trie finds the tokens that start a text, by increasing length. It is a double array (Aoe 1989): the child of node n
// by byte c is base[n] + c if check says so.
type trie struct{ units []trieUnit }

type trieUnit struct {
	base  int32
	check int32 // parent, -1 for a free unit
	value int32 // of the key that ends here, -1 for none
}

const trieRoot = int32(0)

// step goes down by one byte; ok is false where no key goes on.
func (t *trie) step(node int32, c byte) (child int32, ok bool) {
	child = t.units[node].base + int32(c)
	return child, t.units[child].check == node
}

// walk goes down by a whole string.
func (t *trie) walk(node int32, s string) (int32, bool) {
	for i := 0; i < len(s); i++ {
		var ok bool
		if node, ok = t.step(node, s[i]); !ok {
			return 0, false
		}
	}
	return node, true
}

// newTrie builds the trie of the keys key(0) to key(n-1), value(i) being that of key i; of equal keys the last one
// counts.
func newTrie(n int, key func(int) string, value func(int) int32) *trie {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		if c := strings.Compare(key(int(i)), key(int(j))); c != 0 {
			return c
		}
		return cmp.Compare(i, j)
	})
	b := &trieBuilder{}
	b.grow(512)
	b.take(trieRoot, -2)
	type task struct {
		lo, hi, depth int
		node          int32
	}
	stack := []task{{0, n, 0, trieRoot}}
	var labels []byte
	var starts []int
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for t.lo < t.hi && len(key(int(order[t.lo]))) == t.depth {
			b.units[t.node].value = value(int(order[t.lo]))
			t.lo++
		}
		labels, starts = labels[:0], starts[:0]
		for i := t.lo; i < t.hi; i++ {
			if c := key(int(order[i]))[t.depth]; len(labels) == 0 || c != labels[len(labels)-1] {
				labels, starts = append(labels, c), append(starts, i)
			}
		}
		if len(labels) == 0 {
			continue
		}
		base := b.place(labels)
		b.units[t.node].base = base
		for k, c := range labels {
			child := base + int32(c)
			b.take(child, t.node)
			hi := t.hi
			if k+1 < len(starts) {
				hi = starts[k+1]
			}
			stack = append(stack, task{starts[k], hi, t.depth + 1, child})
		}
	}
	units := b.units[:b.used+257] // every base + byte stays inside
	return &trie{append([]trieUnit(nil), units...)}
}

// trieBuilder keeps the free units in a list, so that a place for a node's children is found without scanning the
// array.
type trieBuilder struct {
	units      []trieUnit
	next, prev []int32 // of the free units; unit 0 heads the list
	used       int     // one past the last unit taken
}

func (b *trieBuilder) grow(size int) {
	for i := int32(len(b.units)); int(i) < size; i++ {
		b.units = append(b.units, trieUnit{check: -1, value: -1})
		b.next, b.prev = append(b.next, 0), append(b.prev, 0)
		if i == 0 {
			continue // the root is never free and serves as the list's head
		}
		last := b.prev[0]
		b.next[last], b.prev[i], b.prev[0] = i, last, i
	}
}

func (b *trieBuilder) take(i, parent int32) {
	if i != trieRoot {
		b.next[b.prev[i]], b.prev[b.next[i]] = b.next[i], b.prev[i]
	}
	b.units[i].check = parent
	b.used = max(b.used, int(i)+1)
}

// maxPlaceTries bounds the search for a gap; behind it the children go to the end of the array.
const maxPlaceTries = 48

// place finds a base such that all children fall on free units.
func (b *trieBuilder) place(labels []byte) int32 {
	first := int32(labels[0])
	tries := 0
search:
	for i := b.next[0]; i != 0 && tries < maxPlaceTries; i = b.next[i] {
		tries++
		base := i - first
		if base < 1 {
			continue
		}
		b.grow(int(base) + 512)
		for _, c := range labels[1:] {
			if b.units[base+int32(c)].check != -1 {
				continue search
			}
		}
		return base
	}
	base := max(int32(b.used)-first, 1)
	b.grow(int(base) + 512)
	for {
		fits := true
		for _, c := range labels {
			fits = fits && b.units[base+int32(c)].check == -1
		}
		if fits {
			return base
		}
		base++
		b.grow(int(base) + 512)
	}
}
