package emu

import (
	"math/bits"
	"slices"
)

// Register slots. PTX has thousands of virtual registers; a warp's copy of all of them would not fit a cache. Liveness
// lets registers whose lives do not overlap share a slot. Lives are taken per thread: a slot is written only in active
// lanes, so lanes that wait elsewhere keep theirs.

type bitset []uint64

func newBitset(n int) bitset      { return make(bitset, (n+63)/64) }
func (s bitset) has(i int32) bool { return s[i>>6]>>(i&63)&1 != 0 }
func (s bitset) set(i int32)      { s[i>>6] |= 1 << (i & 63) }
func (s bitset) clear(i int32)    { s[i>>6] &^= 1 << (i & 63) }
func (s bitset) each(f func(int32)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			f(int32(i*64 + bits.TrailingZeros64(w)))
		}
	}
}

// allocate gives every virtual register a slot, rewrites the operands, and marks the reads that may see a register
// before it is written.
func allocate(b *builder, g *graph, refs [][]ref) {
	k := b.k
	out := liveOut(b, g, k.code, refs)
	tracked := undefinedReads(b, g, k.code, refs)
	start, end := lives(b, g, k.code, refs, out)
	type life struct {
		reg        int32
		start, end int
	}
	var order []life
	for i := range b.regs {
		r := &b.regs[i]
		id := int32(i)
		switch {
		case r.bank == bankPred:
			r.slot = int32(k.nPred)
			k.nPred++
		case r.fixed || r.private || tracked.has(id):
			r.slot = k.newSlot(r.bank)
		case end[i] >= 0:
			order = append(order, life{id, start[i], end[i]})
		}
		if r.fixed && r.special != "" {
			k.specials = append(k.specials, specialSlot{r.slot, r.bank, r.special})
		} else if r.fixed && r.bank == bank32 {
			k.const32 = append(k.const32, constSlot{r.slot, r.val})
		} else if r.fixed {
			k.const64 = append(k.const64, constSlot{r.slot, r.val})
		}
	}
	slices.SortFunc(order, func(x, y life) int {
		if x.start != y.start {
			return x.start - y.start
		}
		return int(x.reg - y.reg)
	})
	var free [3][]int32
	var busy []life // by end
	for _, l := range order {
		n := 0
		for n < len(busy) && busy[n].end < l.start {
			r := &b.regs[busy[n].reg]
			free[r.bank] = append(free[r.bank], r.slot)
			n++
		}
		busy = busy[n:]
		r := &b.regs[l.reg]
		if f := free[r.bank]; len(f) > 0 {
			r.slot, free[r.bank] = f[len(f)-1], f[:len(f)-1]
		} else {
			r.slot = k.newSlot(r.bank)
		}
		at, _ := slices.BinarySearchFunc(busy, l.end, func(x life, e int) int { return x.end - e })
		busy = slices.Insert(busy, at, l)
	}
	ids := map[int32]int32{}
	trackID := func(reg int32) int32 {
		id, ok := ids[reg]
		if !ok {
			id = int32(len(ids))
			ids[reg] = id
		}
		return id
	}
	for i := range k.code {
		in := &k.code[i]
		for _, r := range refs[i] {
			v := &b.regs[r.reg]
			if tracked.has(r.reg) {
				if in.track == nil {
					in.track = &tracking{}
				}
				switch {
				case r.write:
					in.track.writes = append(in.track.writes, trackID(r.reg))
				case r.p == &in.guard:
					in.track.guard = append(in.track.guard, trackRef{trackID(r.reg), v.name})
				default:
					in.track.reads = append(in.track.reads, trackRef{trackID(r.reg), v.name})
				}
			}
			if v.private && r.p != &in.guard {
				in.accTouch = true
			}
			if k.usesWgmma && v.bank == bank32 && !v.fixed {
				in.regs = append(in.regs, v.slot)
			}
			*r.p = v.slot
		}
	}
	k.nTracked = len(ids)
}

func (k *Kernel) newSlot(bk bank) int32 {
	if bk == bank64 {
		k.n64++
		return int32(k.n64 - 1)
	}
	k.n32++
	return int32(k.n32 - 1)
}

// liveOut finds for every block the registers that some path behind it still reads.
func liveOut(b *builder, g *graph, code []inst, refs [][]ref) []bitset {
	n := len(b.regs)
	out, in := make([]bitset, len(g.blocks)), make([]bitset, len(g.blocks))
	use, def := make([]bitset, len(g.blocks)), make([]bitset, len(g.blocks))
	for i := range g.blocks {
		out[i], in[i], use[i], def[i] = newBitset(n), newBitset(n), newBitset(n), newBitset(n)
		for pc := g.blocks[i].start; pc < g.blocks[i].end; pc++ {
			for _, r := range refs[pc] {
				if !r.write && !def[i].has(r.reg) {
					use[i].set(r.reg)
				}
			}
			for _, r := range refs[pc] {
				if r.write && code[pc].guard < 0 {
					def[i].set(r.reg)
				}
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for i := len(g.blocks) - 1; i >= 0; i-- {
			for _, s := range g.blocks[i].succs {
				if int(s) == len(g.blocks) {
					continue
				}
				for j, w := range in[s] {
					out[i][j] |= w
				}
			}
			for j := range in[i] {
				w := use[i][j] | out[i][j]&^def[i][j]
				if w != in[i][j] {
					in[i][j], changed = w, true
				}
			}
		}
	}
	return out
}

// lives gives each register the span of instructions that covers its life, and estimates the registers a thread needs.
func lives(b *builder, g *graph, code []inst, refs [][]ref, out []bitset) (start, end []int) {
	start, end = make([]int, len(b.regs)), make([]int, len(b.regs))
	for i := range end {
		start[i], end[i] = len(code), -1
	}
	touch := func(r int32, at int) {
		start[r], end[r] = min(start[r], at), max(end[r], at)
	}
	width := func(r int32) int {
		switch v := &b.regs[r]; {
		case v.fixed || v.bank == bankPred:
			return 0
		case v.bank == bank64:
			return 2
		}
		return 1
	}
	for i := range g.blocks {
		live, n := newBitset(len(b.regs)), 0
		out[i].each(func(r int32) {
			live.set(r)
			n += width(r)
			touch(r, g.blocks[i].end)
		})
		b.k.live = max(b.k.live, n)
		for pc := g.blocks[i].end - 1; pc >= g.blocks[i].start; pc-- {
			for _, r := range refs[pc] {
				touch(r.reg, pc)
				if r.write && code[pc].guard < 0 && live.has(r.reg) {
					live.clear(r.reg)
					n -= width(r.reg)
				}
			}
			for _, r := range refs[pc] {
				if !r.write && !live.has(r.reg) {
					live.set(r.reg)
					n += width(r.reg)
				}
			}
			b.k.live = max(b.k.live, n)
		}
		live.each(func(r int32) { touch(r, g.blocks[i].start) })
	}
	return start, end
}

// undefinedReads finds the registers that some path reads before it has certainly written them. Only these are checked
// while the kernel runs.
func undefinedReads(b *builder, g *graph, code []inst, refs [][]ref) bitset {
	n := len(b.regs)
	tracked := newBitset(n)
	full := newBitset(n)
	for i := range full {
		full[i] = ^uint64(0)
	}
	out := make([]bitset, len(g.blocks))
	for i := range out {
		out[i] = slices.Clone(full)
	}
	entry := newBitset(n)
	for i := range b.regs {
		if b.regs[i].fixed {
			entry.set(int32(i))
		}
	}
	enter := func(i int) bitset {
		s := slices.Clone(full)
		if i == 0 {
			s = slices.Clone(entry)
		}
		for _, p := range g.blocks[i].preds {
			for j := range s {
				s[j] &= out[p][j]
			}
		}
		return s
	}
	for changed := true; changed; {
		changed = false
		for i := range g.blocks {
			s := enter(i)
			for pc := g.blocks[i].start; pc < g.blocks[i].end; pc++ {
				for _, r := range refs[pc] {
					if r.write && code[pc].guard < 0 {
						s.set(r.reg)
					}
				}
			}
			if !slices.Equal(s, out[i]) {
				out[i], changed = s, true
			}
		}
	}
	for i := range g.blocks {
		s := enter(i)
		for pc := g.blocks[i].start; pc < g.blocks[i].end; pc++ {
			for _, r := range refs[pc] {
				if !r.write && !s.has(r.reg) {
					tracked.set(r.reg)
				}
			}
			for _, r := range refs[pc] {
				if r.write && code[pc].guard < 0 {
					s.set(r.reg)
				}
			}
		}
	}
	return tracked
}
