package emu

// graph is the control flow of a kernel in basic blocks. Node len(blocks) stands for the end of the kernel.
type graph struct {
	blocks []block
	of     []int32 // instruction -> block
}

type block struct {
	start, end   int // instructions [start, end)
	succs, preds []int32
}

// newGraph cuts the code at branch targets and behind branches and exits.
func newGraph(code []inst) *graph {
	leader := make([]bool, len(code)+1)
	leader[0] = true
	for i := range code {
		if in := &code[i]; in.kind == kindBranch || in.kind == kindExit {
			for _, t := range in.targets {
				leader[t] = true
			}
			leader[i+1] = true
		}
	}
	g := &graph{of: make([]int32, len(code))}
	for i := range code {
		if leader[i] {
			g.blocks = append(g.blocks, block{start: i})
		}
		n := len(g.blocks) - 1
		g.of[i] = int32(n)
		g.blocks[n].end = i + 1
	}
	for n := range g.blocks {
		b := &g.blocks[n]
		in := &code[b.end-1]
		through := true
		switch in.kind {
		case kindBranch:
			for _, t := range in.targets {
				g.edge(n, int(g.of[t]))
			}
			through = in.guard >= 0
		case kindExit:
			g.edge(n, len(g.blocks))
			through = in.guard >= 0
		}
		if through && b.end < len(code) {
			g.edge(n, int(g.of[b.end]))
		}
	}
	return g
}

func (g *graph) edge(from, to int) {
	for _, s := range g.blocks[from].succs {
		if int(s) == to {
			return
		}
	}
	g.blocks[from].succs = append(g.blocks[from].succs, int32(to))
	if to < len(g.blocks) {
		g.blocks[to].preds = append(g.blocks[to].preds, int32(from))
	}
}

// postDominators sets rpc of every branch to the first instruction of its block's immediate post-dominator, by the
// iterative scheme of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm") on the reversed graph. A branch
// whose paths meet only at the end of the kernel gets len(code).
func (g *graph) postDominators(code []inst) {
	end := int32(len(g.blocks))
	order := make([]int32, 0, end+1) // postorder of the reversed graph, from the end
	rank := make([]int32, end+1)
	for i := range rank {
		rank[i] = -1
	}
	exits := []int32{}
	for n := range g.blocks {
		for _, s := range g.blocks[n].succs {
			if s == end {
				exits = append(exits, int32(n))
			}
		}
	}
	preds := func(n int32) []int32 {
		if n == end {
			return exits
		}
		return g.blocks[n].preds
	}
	type visit struct {
		n    int32
		next int
	}
	seen := make([]bool, end+1)
	stack := []visit{{end, 0}}
	seen[end] = true
	for len(stack) > 0 {
		v := &stack[len(stack)-1]
		if ps := preds(v.n); v.next < len(ps) {
			p := ps[v.next]
			v.next++
			if !seen[p] {
				seen[p] = true
				stack = append(stack, visit{p, 0})
			}
			continue
		}
		rank[v.n] = int32(len(order))
		order = append(order, v.n)
		stack = stack[:len(stack)-1]
	}
	ipdom := make([]int32, end+1)
	for i := range ipdom {
		ipdom[i] = -1
	}
	ipdom[end] = end
	for changed := true; changed; {
		changed = false
		for i := len(order) - 2; i >= 0; i-- {
			n := order[i]
			best := int32(-1)
			for _, s := range g.blocks[n].succs {
				if ipdom[s] < 0 {
					continue
				}
				if best < 0 {
					best = s
					continue
				}
				for x := s; x != best; {
					for rank[x] < rank[best] {
						x = ipdom[x]
					}
					for rank[best] < rank[x] {
						best = ipdom[best]
					}
				}
			}
			if best != ipdom[n] {
				ipdom[n], changed = best, true
			}
		}
	}
	for n := range g.blocks {
		in := &code[g.blocks[n].end-1]
		if d := ipdom[n]; in.kind == kindBranch && d >= 0 && d < end {
			in.rpc = int32(g.blocks[d].start)
		}
	}
}
