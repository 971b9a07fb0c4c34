package emu

import "math/bits"

// memberMask decodes the member mask and makes the instruction warp-wide.
func (d *decoder) memberMask(a arg) {
	d.in.kind, d.in.class = kindSync, ClassWarp
	d.in.vec = make([]int32, 1)
	d.src(a, "b32", &d.in.vec[0])
}

// optionalPair decodes `d|p`, where either may be missing.
func (d *decoder) optionalPair(a arg, bk bank) {
	in := d.in
	in.d, in.q = -1, -1
	value := a
	if a.kind == argPair {
		value = a.list[0]
		if a.list[1].kind != argSink {
			d.dst(a.list[1], bankPred, &in.q)
		}
	}
	if value.kind != argSink {
		d.dst(value, bk, &in.d)
	}
}

// shuffle is shfl.sync.{up,down,bfly,idx}.b32.
func (d *decoder) shuffle() {
	if d.count(5, 5); d.err != nil {
		return
	}
	in := d.in
	if !d.has("sync") || d.last() != "b32" {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	mode := d.f.op[2]
	d.optionalPair(d.arg(0), bank32)
	d.src(d.arg(1), "b32", &in.a)
	d.src(d.arg(2), "b32", &in.b)
	d.src(d.arg(3), "b32", &in.c)
	d.memberMask(d.arg(4))
	in.exec = func(w *warp, in *inst, m uint32) {
		src := w.r32[in.a]
		bv, cv := &w.r32[in.b], &w.r32[in.c]
		var from [32]uint32
		var inRange uint32
		for k := m; k != 0; k &= k - 1 {
			l := bits.TrailingZeros32(k) & 31
			lane, b, limit, seg := int32(l), int32(bv[l]&31), cv[l]&31, cv[l]>>8&31
			lo := int32(uint32(l) & seg)
			hi := lo | int32(limit&^seg)
			var j int32
			var ok bool
			switch mode {
			case "up":
				j = lane - b
				ok = j >= hi
			case "down":
				j = lane + b
				ok = j <= hi
			case "bfly":
				j = lane ^ b
				ok = j <= hi
			default:
				j = lo | b&^int32(seg)
				ok = j <= hi
			}
			if !ok {
				j = lane
			} else {
				inRange |= 1 << l
			}
			if m>>j&1 == 0 {
				w.fail(InvalidMask, l, "the shuffle reads lane %d, which does not take part (lanes %08x do)", j, m)
			}
			from[l] = src[j&31]
		}
		if in.d >= 0 {
			d := &w.r32[in.d]
			if m == allLanes {
				*d = from
			} else {
				for k := m; k != 0; k &= k - 1 {
					l := bits.TrailingZeros32(k) & 31
					d[l] = from[l]
				}
			}
		}
		if in.q >= 0 {
			w.pred[in.q] = w.pred[in.q]&^m | inRange
		}
	}
}

// vote is vote.sync.{all,any,uni}.pred and vote.sync.ballot.b32.
func (d *decoder) vote() {
	if d.count(3, 3); d.err != nil {
		return
	}
	in := d.in
	if !d.has("sync") || len(d.f.op) < 4 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	mode := d.f.op[2]
	if mode == "ballot" {
		d.dst(d.arg(0), bank32, &in.d)
	} else {
		d.dst(d.arg(0), bankPred, &in.d)
	}
	d.pred(d.arg(1), &in.p, &in.pneg)
	d.memberMask(d.arg(2))
	in.exec = func(w *warp, in *inst, m uint32) {
		p := w.pred[in.p]
		if in.pneg {
			p = ^p
		}
		p &= m
		var r bool
		switch mode {
		case "ballot":
			for k := m; k != 0; k &= k - 1 {
				w.r32[in.d][bits.TrailingZeros32(k)&31] = p
			}
			return
		case "all":
			r = p == m
		case "any":
			r = p != 0
		default: // uni
			r = p == 0 || p == m
		}
		w.pred[in.d] &^= m
		if r {
			w.pred[in.d] |= m
		}
	}
}

// match is match.any.sync and match.all.sync on 32- and 64-bit values.
func (d *decoder) match() {
	if d.count(3, 3); d.err != nil {
		return
	}
	in, t := d.in, d.last()
	_, n, _ := typeBits(t)
	d.optionalPair(d.arg(0), bank32)
	d.src(d.arg(1), t, &in.a)
	d.memberMask(d.arg(2))
	wide, all := n == 64, d.has("all")
	in.exec = func(w *warp, in *inst, m uint32) {
		var same [32]uint32
		every := true
		for k := m; k != 0; k &= k - 1 {
			l := first(k)
			for j := m; j != 0; j &= j - 1 {
				if o := first(j); w.lane(in.a, wide, o) == w.lane(in.a, wide, l) {
					same[l] |= 1 << o
				}
			}
			every = every && same[l] == m
		}
		for k := m; k != 0; k &= k - 1 {
			l := first(k)
			v := same[l]
			if all && !every {
				v = 0
			}
			if in.d >= 0 {
				w.r32[in.d][l] = v
			}
			if in.q >= 0 {
				w.setPred(in.q, l, every)
			}
		}
	}
}

// redux is redux.sync.op.type on 32-bit integers.
func (d *decoder) redux() {
	if d.count(3, 3); d.err != nil {
		return
	}
	in, t := d.in, d.last()
	class, n, ok := typeBits(t)
	if !ok || n != 32 || class == 'f' || len(d.f.op) < 4 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	f := map[string]laneFunc{"and": func(x, y, _ uint64) uint64 { return x & y }, "or": func(x, y, _ uint64) uint64 { return x | y },
		"xor": func(x, y, _ uint64) uint64 { return x ^ y }}[d.f.op[2]]
	if f == nil {
		f = intFunc(d.f.op[2], 32, class == 's', false)
	}
	if f == nil {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	d.dst(d.arg(0), bank32, &in.d)
	d.src(d.arg(1), t, &in.a)
	d.memberMask(d.arg(2))
	in.exec = func(w *warp, in *inst, m uint32) {
		v := uint64(w.r32[in.a][first(m)])
		for k := m & (m - 1); k != 0; k &= k - 1 {
			v = f(v, uint64(w.r32[in.a][first(k)]), 0)
		}
		for k := m; k != 0; k &= k - 1 {
			w.r32[in.d][first(k)] = uint32(v)
		}
	}
}

func (d *decoder) activemask() {
	if d.count(1, 1); d.err != nil {
		return
	}
	d.in.class = ClassWarp
	d.dst(d.arg(0), bank32, &d.in.d)
	d.in.exec = func(w *warp, in *inst, m uint32) {
		for k := m; k != 0; k &= k - 1 {
			w.r32[in.d][first(k)] = m
		}
	}
}

// elect picks the lowest lane of the member mask.
func (d *decoder) elect() {
	if d.count(2, 2); d.err != nil {
		return
	}
	d.optionalPair(d.arg(0), bank32)
	d.memberMask(d.arg(1))
	d.in.exec = func(w *warp, in *inst, m uint32) {
		leader := first(m)
		for k := m; k != 0; k &= k - 1 {
			l := first(k)
			if in.d >= 0 {
				w.r32[in.d][l] = uint32(leader)
			}
			if in.q >= 0 {
				w.setPred(in.q, l, l == leader)
			}
		}
	}
}

// barrierOp is what bar and barrier need beside their operands.
type barrierOp struct {
	red     string // and, or, popc
	aligned bool
	wait    bool
}

// barrier is bar.* and barrier.*: the block's sixteen barriers, the warp's, and the cluster's.
func (d *decoder) barrier() {
	in, op := d.in, d.f.op
	in.class = ClassBarrier
	switch {
	case d.has("cluster"):
		d.clusterBarrier()
		return
	case d.has("warp"):
		if d.count(1, 1); d.err != nil {
			return
		}
		d.memberMask(d.arg(0))
		in.class = ClassBarrier
		in.exec = func(w *warp, in *inst, m uint32) { w.syncWarp() }
		return
	}
	b := &barrierOp{aligned: op[0] == "bar" || d.has("aligned"), wait: !d.has("arrive")}
	in.kind, in.x = kindBarrier, b
	in.a, in.b = -1, -1
	args := d.f.args
	if d.has("red") {
		if len(args) < 3 {
			d.errorf("operands of %s", d.opcode())
			return
		}
		for _, r := range []string{"and", "or", "popc"} {
			if d.has(r) {
				b.red = r
			}
		}
		if b.red == "popc" {
			d.dst(args[0], bank32, &in.d)
		} else {
			d.dst(args[0], bankPred, &in.d)
		}
		d.pred(args[len(args)-1], &in.p, &in.pneg)
		args = args[1 : len(args)-1]
	} else if !d.has("sync") && !d.has("arrive") {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	if len(args) < 1 || len(args) > 2 || len(args) == 1 && !b.wait {
		d.errorf("operands of %s", d.opcode())
		return
	}
	d.src(args[0], "u32", &in.a)
	if len(args) == 2 {
		d.src(args[1], "u32", &in.b)
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		id, threads := w.r32[in.a][first(m)], uint32(0)
		if in.b >= 0 {
			if threads = w.r32[in.b][first(m)]; threads == 0 {
				w.fail(BadBarrier, first(m), "barrier for 0 threads")
			}
		}
		var p uint32
		if b.red != "" {
			if p = w.pred[in.p]; in.pneg {
				p = ^p
			}
		}
		w.arrive(in, m, id, threads, b.aligned, b.wait, p)
	}
}

func (b *barrierOp) result(w *warp, in *inst, m uint32, n *namedBarrier) {
	for k := m; k != 0; k &= k - 1 {
		l := first(k)
		switch b.red {
		case "popc":
			w.r32[in.d][l] = uint32(n.count)
		case "and":
			w.setPred(in.d, l, n.all)
		default:
			w.setPred(in.d, l, n.any)
		}
	}
}

// clusterBarrier is barrier.cluster.arrive and .wait.
func (d *decoder) clusterBarrier() {
	in := d.in
	d.count(0, 0)
	in.kind = kindCluster
	if d.has("arrive") {
		in.exec = func(w *warp, in *inst, m uint32) {
			cl := w.cta.cl
			if m != w.live {
				w.fail(DivergentBarrier, first(m), "lanes %08x of the live lanes %08x are at a cluster barrier", m, w.live)
			}
			w.clusterPhase = cl.barrier.phase + 1
			cl.barrier.arrived += bits.OnesCount32(m)
			cl.clusterComplete()
		}
		return
	}
	if !d.has("wait") {
		d.errorf("instruction %s is not supported", d.opcode())
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		if w.clusterPhase == 0 {
			w.fail(BadBarrier, first(m), "barrier.cluster.wait without an arrive")
		}
		w.retry = w.cta.cl.barrier.phase < w.clusterPhase
	}
}

// fence is membar and fence. In the emulator memory is always up to date; only the proxy fence has an effect, on what
// asynchronous operations may see.
func (d *decoder) fence() {
	d.in.class = ClassBarrier
	proxy := d.has("proxy") && d.has("async")
	d.in.exec = func(w *warp, in *inst, m uint32) {
		if proxy {
			w.fenceProxy()
		}
	}
}

// setMaxRegisters is setmaxnreg: nothing happens, but its rules are checked.
func (d *decoder) setMaxRegisters() {
	if d.count(1, 1); d.err != nil {
		return
	}
	in := d.in
	in.kind, in.class = kindAligned, ClassControl
	if n := d.immediate(d.arg(0)); n < 24 || n > 256 || n%8 != 0 {
		d.errorf("setmaxnreg to %d: want a multiple of 8 from 24 to 256", n)
	}
	if k := d.b.k; k.maxThread == [3]int{} && k.reqThread == [3]int{} && k.maxReg == 0 {
		d.errorf("setmaxnreg in a kernel without .maxntid, .reqntid or .maxnreg is ignored by the assembler")
	}
	in.exec = func(*warp, *inst, uint32) {}
}

// mapa turns a shared address into that of another block of the cluster; getctarank finds which block's it is.
func (d *decoder) mapa() {
	in, t := d.in, d.last()
	in.class = ClassInt
	_, n, _ := typeBits(t)
	shared := d.has("shared::cluster")
	rank := d.f.op[0] == "getctarank"
	want := 3
	if rank {
		want = 2
	}
	if d.count(want, want); d.err != nil {
		return
	}
	wide := n == 64
	if rank {
		d.dst(d.arg(0), bank32, &in.d)
	} else {
		d.dst(d.arg(0), bankOf(n), &in.d)
		d.src(d.arg(2), "u32", &in.b)
	}
	d.src(d.arg(1), t, &in.a)
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := first(m)
			a, window := w.lane(in.a, wide, l), uint64(0)
			if !shared {
				window = sharedWindow
			}
			a -= window
			if rank {
				w.r32[in.d][l] = uint32(a >> 24)
				continue
			}
			r := w.r32[in.b][l]
			if int(r) >= len(w.cta.cl.ctas) {
				w.fail(BadOperand, l, "block %d of a cluster of %d", r, len(w.cta.cl.ctas))
			}
			w.setLane(in.d, wide, l, window+a&0xffffff|uint64(r)<<24)
		}
	}
}
