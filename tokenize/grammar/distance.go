package grammar

import (
	"math"
	"slices"
)

// unreachable is the distance of a state from which a rule cannot end.
const unreachable = math.MaxInt32 / 4

// maxLeast bounds distances; a text that must be longer counts as impossible.
const maxLeast = 1 << 20

// distances say for each state how a rule ends soonest from there.
type distances struct {
	dist []int32 // symbols to the end of the rule, unreachable for none
	need []int32 // levels of nesting that this shortest way opens
}

// measure finds the shortest way to the end of its rule for each state, calls included: Dijkstra's algorithm in
// Knuth's generalisation to grammars (1977). covered are the bytes that count, nil for all.
func (g *Grammar) measure(covered *[256]bool) distances {
	n := len(g.first) - 1
	d := distances{make([]int32, n), make([]int32, n)}
	for s := range d.dist {
		d.dist[s] = unreachable
	}
	startOf := make([]int32, n) // the rule that begins in a state, + 1
	for r, rule := range g.rules {
		startOf[rule.start] = int32(r) + 1
	}
	byTarget := groupEdges(g.edges, n, func(e *edge) int32 { return e.to })
	byRule := groupEdges(g.edges, len(g.rules), func(e *edge) int32 { return e.call })

	settled := make([]bool, n)
	buckets := [][]int32{nil}
	reach := func(s, dist, need int32) {
		if settled[s] || dist >= d.dist[s] || dist > maxLeast {
			return
		}
		d.dist[s], d.need[s] = dist, need
		for int(dist) >= len(buckets) {
			buckets = append(buckets, nil)
		}
		buckets[dist] = append(buckets[dist], s)
	}
	through := func(e *edge) { // a call whose rule and whose return are both settled
		start := g.rules[e.call].start
		if settled[start] && settled[e.to] {
			need := d.need[start]
			if g.rules[e.call].nests {
				need++
			}
			reach(e.from, d.dist[start]+d.dist[e.to], max(need, d.need[e.to]))
		}
	}
	for _, r := range g.rules {
		reach(r.accept, 0, 0)
	}
	for at := 0; at < len(buckets); at++ {
		for len(buckets[at]) > 0 {
			last := len(buckets[at]) - 1
			s := buckets[at][last]
			buckets[at] = buckets[at][:last]
			if settled[s] {
				continue
			}
			settled[s] = true
			for _, i := range byTarget.of(s) {
				switch e := &g.edges[i]; {
				case e.call >= 0:
					through(e)
				case e.lo > e.hi:
					reach(e.from, d.dist[s], d.need[s])
				case e.lo >= firstToken || covers(covered, e.lo, e.hi):
					reach(e.from, d.dist[s]+1, d.need[s])
				}
			}
			if r := startOf[s]; r > 0 {
				for _, i := range byRule.of(r - 1) {
					through(&g.edges[i])
				}
			}
		}
		buckets[at] = nil
	}
	for s := range d.dist {
		if !settled[s] {
			d.dist[s] = unreachable
		}
	}
	return d
}

func covers(covered *[256]bool, lo, hi int16) bool {
	if covered == nil {
		return true
	}
	for b := lo; b <= hi; b++ {
		if covered[b] {
			return true
		}
	}
	return false
}

// edgeIndex finds edges by a key.
type edgeIndex struct{ first, list []int32 }

func (x edgeIndex) of(key int32) []int32 { return x.list[x.first[key]:x.first[key+1]] }

// groupEdges orders edges by a key from 0 to n-1; those with a negative key are left out.
func groupEdges(edges []edge, n int, key func(*edge) int32) edgeIndex {
	first := make([]int32, n+1)
	for i := range edges {
		if k := key(&edges[i]); k >= 0 {
			first[k+1]++
		}
	}
	for k := range n {
		first[k+1] += first[k]
	}
	list, next := make([]int32, first[n]), slices.Clone(first)
	for i := range edges {
		if k := key(&edges[i]); k >= 0 {
			list[next[k]] = int32(i)
			next[k]++
		}
	}
	return edgeIndex{first, list}
}
