package emu

import (
	"slices"
	"strconv"
	"strings"
)

// Bulk copies (cp.async.bulk, tensor or plain) are put in a queue when issued. They happen as late as possible, one by
// one when no warp can go on otherwise, so that a missing wait meets memory that has not changed yet.

// bulkCopy is one under way.
type bulkCopy struct {
	w     *warp
	pc    int32
	lane  int
	dst   *cta // of the shared side
	off   uint32
	bytes uint32
	tile  *Tile // nil for plain copies
	at    [5]int64
	addr  uint64
	bar   *mbar // completes this; nil for stores
	group int   // stores: the issuing warp's group
	store bool
}

// bulkOp is the decoded instruction.
type bulkOp struct {
	store, tensor, multicast bool
	rank                     int
	shared, global, bar      memOp
	sharedReg, globalReg     int32
	barReg, size, mask       int32
	sharedOff, globalOff     int64
	barOff                   int64
	coord                    [5]int32
}

func (d *decoder) bulk() {
	in, op := d.in, d.f.op
	switch {
	case has(op, "commit_group"):
		d.count(0, 0)
		in.exec = func(w *warp, in *inst, m uint32) { w.bulkGroups = append(w.bulkGroups, w.bulkOpen); w.bulkOpen++ }
		return
	case has(op, "wait_group"):
		if d.count(1, 1); d.err != nil {
			return
		}
		n := int(min(d.immediate(d.arg(0)), 1<<30))
		in.exec = func(w *warp, in *inst, m uint32) {
			for len(w.bulkGroups) > n {
				w.cta.cl.flushStores(w, w.bulkGroups[0])
				w.bulkGroups = w.bulkGroups[1:]
			}
			if r := &w.cta.races; r.on {
				w.clock[r.readers-1] = w.cta.agentSeg[r.readers-1-r.warps]
			}
		}
		return
	case has(op, "prefetch"):
		in.exec = func(*warp, *inst, uint32) {}
		return
	case has(op, "reduce") || has(op, "im2col"):
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	x := &bulkOp{tensor: has(op, "tensor"), multicast: has(op, "multicast::cluster"), store: has(op, "bulk_group")}
	for _, o := range op {
		if n, ok := strings.CutSuffix(o, "d"); ok && len(n) == 1 {
			x.rank, _ = strconv.Atoi(n)
		}
	}
	if x.tensor && (x.rank < 1 || x.rank > 5) || has(op, "shared::cta") && has(op, "shared::cluster") {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	x.size, x.mask, x.barReg = -1, -1, -1
	args := d.f.args
	if has(op, "L2::cache_hint") && len(args) > 0 {
		args = args[:len(args)-1]
	}
	sh, gl := 0, 1
	if x.store {
		sh, gl = 1, 0
	}
	want := 2
	if !x.tensor {
		want++
	}
	if !x.store {
		want++
	}
	if x.multicast {
		want++
	}
	if len(args) != want {
		d.errorf("%s with %d operands", d.opcode(), len(d.f.args))
		return
	}
	address := func(a arg, op *memOp, reg *int32, off *int64) {
		if a.kind != argAddr || len(a.list) == 0 {
			d.errorf("%s needs an address in brackets", d.opcode())
			return
		}
		d.location(a.list[0], a.off, op, reg, off)
	}
	x.shared.space, x.global.space, x.bar.space = spShared, spGlobal, spShared
	if x.tensor {
		x.global.space = spGeneric
		if a := args[gl]; a.kind != argAddr || len(a.list) != 2 || len(argList(a.list[1])) != x.rank {
			d.errorf("%s needs [map, {%d coordinates}]", d.opcode(), x.rank)
			return
		}
		for i, c := range argList(args[gl].list[1]) {
			d.src(c, "b32", &x.coord[i])
		}
	}
	address(args[sh], &x.shared, &x.sharedReg, &x.sharedOff)
	address(args[gl], &x.global, &x.globalReg, &x.globalOff)
	rest := args[2:]
	if !x.tensor {
		d.src(rest[0], "u32", &x.size)
		rest = rest[1:]
	}
	if !x.store {
		address(rest[0], &x.bar, &x.barReg, &x.barOff)
		rest = rest[1:]
	}
	if x.multicast {
		d.source(rest[0], bank32, false, 16, &x.mask)
	}
	in.x, in.exec = x, execBulk
}

func argList(a arg) []arg {
	if a.kind == argVec {
		return a.list
	}
	return []arg{a}
}

func (w *warp) laneAddress(reg int32, op *memOp, off int64, l int) uint64 {
	if op.base64 {
		return w.r64[reg][l] + uint64(off)
	}
	return uint64(w.r32[reg][l] + uint32(off))
}

func execBulk(w *warp, in *inst, m uint32) {
	x := in.x.(*bulkOp)
	for ; m != 0; m &= m - 1 {
		w.issueBulk(x, first(m))
	}
}

// tile reads the tensor map at a generic or parameter address.
func (w *warp) tile(addr uint64, sp space, l int) *Tile {
	var raw []byte
	if sp == spParam {
		addr += paramWindow
	}
	if off := addr - paramWindow; off < windowSize {
		if p := w.cta.cl.launch.Params; off+128 <= uint64(len(p)) && off%64 == 0 {
			raw = p[off : off+128]
		}
	} else if a := w.findGlobal(l, addr, 128); addr%64 == 0 {
		raw = a.data[addr-a.base:][:128]
	}
	if raw == nil {
		w.fail(Misaligned, l, "tensor map at %#x: want 128 bytes at a multiple of 64", addr)
	}
	t, ok := decodeTile(raw)
	if !ok {
		w.fail(BadOperand, l, "the bytes at %#x are no tensor map", addr)
	}
	return &t
}

func (w *warp) issueBulk(x *bulkOp, l int) {
	cl := w.cta.cl
	o := bulkCopy{w: w, pc: w.pc, lane: l, store: x.store, group: w.bulkOpen}
	align := uint64(16)
	gaddr := w.laneAddress(x.globalReg, &x.global, x.globalOff, l)
	if x.tensor {
		o.tile = w.tile(gaddr, x.global.space, l)
		if len(o.tile.Dims) != x.rank {
			w.fail(BadOperand, l, "copy of %d dimensions with a tensor map of %d", x.rank, len(o.tile.Dims))
		}
		o.bytes, align = uint32(o.tile.Element), 128
		for i, b := range o.tile.Box {
			o.bytes *= b
			o.at[i] = int64(int32(w.r32[x.coord[i]][l]))
		}
	} else {
		o.addr, o.bytes = gaddr, w.r32[x.size][l]
		if o.bytes%16 != 0 || o.bytes == 0 {
			w.fail(BadOperand, l, "bulk copy of %d bytes: want a multiple of 16", o.bytes)
		}
		if gaddr%16 != 0 {
			w.fail(Misaligned, l, "global address %#x of a bulk copy", gaddr)
		}
	}
	saddr := w.laneAddress(x.sharedReg, &x.shared, x.sharedOff, l)
	o.dst, o.off = w.sharedAt(l, saddr, uint64(o.bytes), align)
	if x.store {
		if o.dst != w.cta {
			w.fail(BadOperand, l, "bulk store from another block's shared memory")
		}
		w.asyncRead(l, o.off, o.bytes, o.dst.races.readers-1)
		cl.queue(&o)
		return
	}
	bar := w.laneAddress(x.barReg, &x.bar, x.barOff, l)
	targets := uint32(0)
	if x.multicast {
		if targets = w.r32[x.mask][l]; targets == 0 || targets>>len(cl.ctas) != 0 {
			w.fail(BadOperand, l, "multicast to blocks %#x of a cluster of %d", targets, len(cl.ctas))
		}
	}
	for rank, c := range cl.ctas {
		n := o
		if x.multicast {
			if targets>>rank&1 == 0 {
				continue
			}
			n.dst = c
			n.bar = w.mbarAt(l, bar&0xffffff|uint64(rank)<<24)
		} else if c != o.dst {
			continue
		} else {
			n.bar = w.mbarAt(l, bar)
		}
		w.asyncWrite(n.dst, l, n.off, n.bytes, n.bar.agent)
		cl.queue(&n)
	}
}

func (cl *cluster) queue(o *bulkCopy) {
	cl.copies = append(cl.copies, o)
	cl.fly(int64(o.bytes))
}

// deliver carries out the oldest copy. It reports whether there was one.
func (cl *cluster) deliver() bool {
	if len(cl.copies) == 0 {
		return false
	}
	o := cl.copies[0]
	cl.copies = cl.copies[1:]
	cl.carry(o)
	return true
}

// flushStores carries out a warp's stores of one group.
func (cl *cluster) flushStores(w *warp, group int) {
	cl.copies = slices.DeleteFunc(cl.copies, func(o *bulkCopy) bool {
		if o.w != w || !o.store || o.group != group {
			return false
		}
		cl.carry(o)
		return true
	})
}

// carry moves a copy's bytes. What goes wrong is blamed on the instruction that issued it.
func (cl *cluster) carry(o *bulkCopy) {
	pc := o.w.pc
	o.w.pc = o.pc
	if o.tile != nil {
		o.walk()
	} else {
		o.piece(o.addr, o.off, o.bytes, false)
	}
	o.w.pc = pc
	cl.fly(-int64(o.bytes))
	cl.events++
	c := o.dst
	r := &c.races
	if o.store {
		if r.on {
			seg := r.tick()
			c.agentSeg[r.readers-1-r.warps] = seg
			r.asyncReadDone(o.off, o.bytes, r.readers-1, seg)
		}
		return
	}
	if seg := r.tick(); r.on {
		r.asyncWriteDone(o.off, o.bytes, seg)
		c.agentSeg[o.bar.agent-r.warps] = seg
		o.bar.next[o.bar.agent] = seg
		o.bar.nextP[o.bar.agent] = seg
	}
	if !o.bar.valid {
		o.w.failAt(o.pc, BadBarrier, o.lane, "the mbarrier at shared byte %d is gone before its copy arrives", o.bar.addr)
	}
	if o.bar.tx -= int64(o.bytes); o.bar.tx < -maxTx {
		o.w.failAt(o.pc, WrongTransaction, o.lane, "the mbarrier at shared byte %d expects %d bytes fewer than arrive", o.bar.addr, -o.bar.tx)
	}
	o.bar.turn()
}

// walk visits the rows of a box, innermost dimension at once where it is inside the tensor.
func (o *bulkCopy) walk() {
	t := o.tile
	var idx [5]int64
	inner, el := int64(t.Box[0]), int64(t.Element)
	rows := int64(o.bytes) / (inner * el)
	for row := range rows {
		rest := row
		addr, inside := t.Base, true
		for d := 1; d < len(t.Dims); d++ {
			idx[d] = o.at[d] + rest%int64(t.Box[d])
			rest /= int64(t.Box[d])
			inside = inside && idx[d] >= 0 && idx[d] < int64(t.Dims[d])
			addr += uint64(idx[d]) * t.Strides[d-1]
		}
		for x := int64(0); x < inner; x += 16 / el { // one 16-byte chunk
			at := o.off + uint32((row*inner+x)*el)
			at = o.swizzle(at)
			lo, hi := max(0, -(o.at[0]+x)), min(16/el, int64(t.Dims[0])-(o.at[0]+x))
			if !inside || lo >= hi {
				lo, hi = 0, 0
			}
			if !o.store {
				o.fill(at)
			}
			if hi > lo {
				o.piece(addr+uint64((o.at[0]+x+lo)*el), at+uint32(lo*el), uint32((hi-lo)*el), true)
			}
		}
	}
}

func (o *bulkCopy) swizzle(off uint32) uint32 {
	b := o.dst.base()
	return o.tile.Swizzle.apply(off+b) - b
}

// fill writes the value of elements outside the tensor to a chunk.
func (o *bulkCopy) fill(at uint32) {
	b := o.dst.shared[at : at+16]
	clear(b)
	if o.tile.NaNFill {
		for i := range b {
			b[i] = 0xff
		}
	}
	s := o.dst.sharedS[at : at+16]
	for i := range s {
		s[i] = 1
	}
}

// piece copies n bytes that lie together on both sides.
func (o *bulkCopy) piece(addr uint64, at, n uint32, tensor bool) {
	w, sh := o.w, o.dst.shared[at:at+n]
	a := w.locate(o.lane, addr, uint64(n))
	off := addr - a.base
	if o.store {
		for i, s := range o.dst.sharedS[at : at+n] {
			if s == 0 {
				w.fail(Uninitialised, o.lane, "shared byte %d", at+uint32(i)+sharedBase)
			}
		}
		if a.readOnly {
			w.fail(ReadOnly, o.lane, "store to constant variable %s", a.name)
		}
		w.globalWrote(a, o.lane, off, uint64(n))
		copy(a.data[off:], sh)
		return
	}
	w.globalRead(a, o.lane, off, uint64(n))
	copy(sh, a.data[off:])
	s := o.dst.sharedS[at : at+n]
	for i := range s {
		s[i] = 1
	}
}
