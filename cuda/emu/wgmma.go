package emu

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// wgmma: the four warps of a warpgroup issue the product together; it happens when one of them waits for its group, and
// until then the accumulators must not be touched nor the operands in shared memory overwritten. Each warp keeps the
// products it has issued; a wait lets them happen for all four.

// wgmmaOp is the decoded instruction.
type wgmmaOp struct {
	n, k           int
	a, b           *elemType
	nd             int // accumulator registers
	half           bool
	fromRegs       bool
	transA, transB bool
	negA, negB     bool
	scaleImm       bool
	scale          bool
}

// wgIssue is one warp's part of an issued product.
type wgIssue struct {
	in    *inst
	pc    int32
	descA uint64
	descB uint64
	scale bool
	group int
	regA  [4][32]uint32
}

// warpgroupState is a warp's view.
type warpgroupState struct {
	fenced    bool
	dirty     bool // an accumulator was touched since the last fence
	committed int
	inFlight  int
	locked    []int32 // slots of registers in flight
}

// warpgroup is the block's view of four warps.
type warpgroup struct {
	ops  [4][]wgIssue
	done int // groups that have happened
}

func (w *warp) group() *warpgroup { return &w.cta.groups[w.id/4] }

// wgmma is wgmma.fence, .commit_group, .wait_group and .mma_async.
func (d *decoder) wgmma() {
	in := d.in
	in.kind, in.class = kindAligned, ClassMatrix
	d.b.k.usesWgmma = true
	switch {
	case d.has("fence"):
		d.count(0, 0)
		in.class = ClassBarrier
		in.exec = func(w *warp, in *inst, m uint32) { w.wg.fenced, w.wg.dirty = true, false }
	case d.has("commit_group"):
		d.count(0, 0)
		in.class = ClassBarrier
		in.exec = func(w *warp, in *inst, m uint32) { w.wg.committed++ }
	case d.has("wait_group"):
		if d.count(1, 1); d.err != nil {
			return
		}
		in.class, in.kind = ClassBarrier, kindGroup
		in.imm = min(d.immediate(d.arg(0)), 1<<30)
		in.exec = execGroupWait
	case d.has("mma_async"):
		d.mmaAsync()
	default:
		d.errorf("instruction %s is not supported", d.opcode())
	}
}

// mmaAsync is wgmma.mma_async.sync.aligned.m64nNkK.dtype.atype.btype d, a, b-desc, scale-d, imm-scale-a, imm-scale-b,
// imm-trans-a, imm-trans-b.
func (d *decoder) mmaAsync() {
	in, op := d.in, d.f.op
	unsupported := func() { d.errorf("instruction %s is not supported", d.opcode()) }
	if len(op) < 8 || d.has("sp") {
		unsupported()
		return
	}
	s := shapeName.FindStringSubmatch(op[4])
	x := &wgmmaOp{a: elemTypes[op[6]], b: elemTypes[op[7]], half: op[5] == "f16"}
	if s == nil || s[1] != "64" || x.a == nil || x.b == nil || x.a.per != x.b.per || x.a.int != x.b.int || d.has("satfinite") {
		unsupported()
		return
	}
	x.n, _ = strconv.Atoi(s[2])
	x.k, _ = strconv.Atoi(s[3])
	if x.k != 8*x.a.per || x.n < 8 || x.n > 256 || x.n%8 != 0 || x.a.int != (op[5] == "s32") || !x.a.int && op[5] != "f32" && !x.half {
		unsupported()
		return
	}
	x.nd = x.n / 2
	if x.half {
		x.nd /= 2
	}
	args := d.f.args
	x.fromRegs = len(args) > 1 && args[1].kind == argVec
	want := 4
	if !x.a.int {
		want = 6
		if x.a.per == 2 {
			want = 8
			if x.fromRegs {
				want = 7
			}
		}
	}
	if len(args) != want {
		d.errorf("%s with %d operands, want %d", d.opcode(), len(args), want)
		return
	}
	in.vec = make([]int32, x.nd+4)
	if args[0].kind != argVec || len(args[0].list) != x.nd {
		d.errorf("%s wants %d accumulators", d.opcode(), x.nd)
		return
	}
	keep := func(list []arg) { // slots of their own: asynchronous writes must not hit a reused one
		for _, a := range list {
			if a.kind == argReg {
				d.b.regs[a.reg].private = true
			}
		}
	}
	keep(args[0].list)
	scale := args[3]
	x.scale, x.scaleImm = scale.num != 0, scale.kind == argImm
	if !x.scaleImm {
		d.pred(scale, &in.p, &in.pneg)
	}
	d.vec(args[0], bank32, true, in.vec[:x.nd])
	if !x.scaleImm || x.scale {
		d.vec(args[0], bank32, false, in.vec[:x.nd])
	}
	if x.fromRegs {
		keep(args[1].list)
		d.vec(args[1], bank32, false, in.vec[x.nd:])
	} else {
		d.src(args[1], "b64", &in.a)
	}
	d.src(args[2], "b64", &in.b)
	if want >= 6 {
		x.negA, x.negB = d.sign(args[4]), d.sign(args[5])
	}
	if want == 8 {
		x.transA, x.transB = d.immediate(args[6]) != 0, d.immediate(args[7]) != 0
	} else if want == 7 {
		x.transB = d.immediate(args[6]) != 0
	}
	in.x, in.exec = x, execMMAAsync
}

func (d *decoder) sign(a arg) bool {
	v := int64(a.num)
	if a.kind != argImm || v != 1 && v != -1 {
		d.errorf("scale of %s must be 1 or -1", d.opcode())
	}
	return v == -1
}

func (w *warp) uniform64(slot int32, what string) uint64 {
	v := w.r64[slot][0]
	for l, x := range w.r64[slot] {
		if x != v {
			w.fail(BadOperand, l, "the %s differs within the warp", what)
		}
	}
	return v
}

func execMMAAsync(w *warp, in *inst, m uint32) {
	x := in.x.(*wgmmaOp)
	switch {
	case len(w.cta.warps)%4 != 0:
		w.fail(BadOperand, 0, "wgmma in a block of %d warps, no multiple of 4", len(w.cta.warps))
	case !w.wg.fenced:
		w.fail(MissingFence, 0, "the first wgmma without a wgmma.fence before it")
	case w.wg.dirty:
		w.fail(MissingFence, 0, "an accumulator was touched after the last wgmma.fence")
	}
	w.counts[w.pc].Flops += int64(2 * 16 * x.n * x.k)
	o := wgIssue{in: in, pc: w.pc, scale: x.scale, group: w.wg.committed}
	if !x.scaleImm {
		p := w.pred[in.p]
		if in.pneg {
			p = ^p
		}
		if p != 0 && p != allLanes {
			w.fail(BadOperand, 0, "scale-d differs within the warp")
		}
		o.scale = p != 0
	}
	if x.fromRegs {
		for i := range o.regA {
			o.regA[i] = w.r32[in.vec[x.nd+i]]
		}
	} else {
		o.descA = w.uniform64(in.a, "descriptor of A")
	}
	o.descB = w.uniform64(in.b, "descriptor of B")
	w.group().ops[w.id%4] = append(w.group().ops[w.id%4], o)
	if w.id%4 == 0 {
		w.eachChunk(&o, func(off uint32) { w.asyncRead(0, off, 16, w.cta.races.warps+w.id/4) })
	}
	w.wg.inFlight++
	w.wg.locked = append(w.wg.locked, in.vec[:x.nd]...)
	if x.fromRegs {
		w.wg.locked = append(w.wg.locked, in.vec[x.nd:]...)
	}
}

// touchAccumulator watches the other instructions' access to registers that some wgmma uses.
func (w *warp) touchAccumulator(in *inst, m uint32) {
	if _, ok := in.x.(*wgmmaOp); ok {
		return
	}
	w.wg.dirty = true
	if w.wg.inFlight == 0 {
		return
	}
	for _, s := range in.regs {
		for _, o := range w.wg.locked {
			if s == o {
				w.fail(MissingAsyncWait, first(m), "touches a register of a wgmma in flight; a wgmma.wait_group is missing")
			}
		}
	}
}

// execGroupWait lets all but the last n groups happen, once every warp of the group has issued them.
func execGroupWait(w *warp, in *inst, m uint32) {
	g := w.group()
	target := w.wg.committed - int(in.imm)
	base := w.id &^ 3
	for i := range 4 {
		if base+i < len(w.cta.warps) && w.cta.warps[base+i].wg.committed < target {
			w.retry = true
			return
		}
	}
	if g.done < target {
		w.cta.runGroups(base/4, target)
	}
}

// runGroups carries out the products of the groups before target for the four warps.
func (c *cta) runGroups(group, target int) {
	g := &c.groups[group]
	g.done = target
	r := &c.races
	var seg uint32
	if r.on {
		seg = r.tick()
		c.agentSeg[group] = seg
	}
	lead := c.warps[group*4]
	n := 0
	for n < len(g.ops[0]) && g.ops[0][n].group < target {
		o := &g.ops[0][n]
		for i := range 4 {
			if n >= len(g.ops[i]) || g.ops[i][n].in != o.in || g.ops[i][n].descB != o.descB {
				lead.failAt(o.pc, DivergentBarrier, 0, "the warps of the warpgroup do not issue the same wgmma")
			}
		}
		b := lead.operandB(o)
		for i := range 4 {
			c.warps[group*4+i].product(&g.ops[i][n], b)
		}
		lead.eachChunk(o, func(off uint32) { r.asyncReadDone(off, 16, r.warps+group, seg) })
		n++
	}
	for i := range 4 {
		w := c.warps[group*4+i]
		g.ops[i] = append(g.ops[i][:0], g.ops[i][n:]...)
		w.wg.inFlight = len(g.ops[i])
		w.wg.locked = w.wg.locked[:0]
		for k := range g.ops[i] {
			w.wg.locked = append(w.wg.locked, g.ops[i][k].in.vec...)
		}
		if r.on {
			w.clock[r.warps+group] = seg
		}
	}
	c.cl.events++
}

// checkGroupEnd faults if a block ends with products in flight.
func (c *cta) checkGroupEnd(group int) {
	for i, ops := range c.groups[group].ops {
		if len(ops) > 0 {
			c.warps[group*4+i].failAt(ops[0].pc, MissingAsyncWait, 0, "the block ends with this wgmma in flight")
		}
	}
}

// descriptor is a wgmma matrix descriptor: offsets in bytes and the swizzle.
type descriptor struct {
	start, leading, stride uint32
	swizzle                Swizzle
}

func (w *warp) descriptor(d uint64, pc int32) descriptor {
	if d>>49&7 != 0 {
		w.failAt(pc, BadOperand, 0, "matrix descriptor with a base offset")
	}
	mode := [4]Swizzle{SwizzleNone, Swizzle128, Swizzle64, Swizzle32}[d>>62]
	return descriptor{uint32(d&0x3fff) << 4, uint32(d>>16&0x3fff) << 4, uint32(d>>32&0x3fff) << 4, mode}
}

// at is the shared address of element (row, k), es bytes wide, where row counts along M or N. PTX ISA, "Shared Memory
// Matrix Layout": with a swizzle of S bytes, a K-major atom is 8 rows of S bytes, an M/N-major atom 8 k of S bytes; without
// one, atoms are 8 x 16 bytes.
func (d descriptor) at(row, k, es int, major bool) uint32 {
	span := d.swizzle.span()
	var a uint32
	switch {
	case !major && span == 0:
		per := 16 / es
		a = uint32(row/8)*d.stride + uint32(k/per)*d.leading + uint32(row%8*16+k%per*es)
	case !major:
		a = uint32(row/8)*d.stride + uint32(row%8*span+k*es)
	case span == 0:
		per := 16 / es
		a = uint32(row/per)*d.stride + uint32(k/8)*d.leading + uint32(k%8*16+row%per*es)
	default:
		per := span / es
		a = uint32(row/per)*d.leading + uint32(k/8)*d.stride + uint32(k%8*span+row%per*es)
	}
	return d.swizzle.apply(d.start + a)
}

// eachChunk visits the 16-byte chunks of shared memory that a product reads.
func (w *warp) eachChunk(o *wgIssue, f func(off uint32)) {
	if !w.cta.races.on {
		return
	}
	x := o.in.x.(*wgmmaOp)
	visit := func(desc uint64, rows int, major bool) {
		d, es := w.descriptor(desc, o.pc), 4/x.a.per
		stepR, stepK := 1, 16/es
		if major {
			stepR, stepK = 16/es, 1
		}
		for r := 0; r < rows; r += stepR {
			for k := 0; k < x.k; k += stepK {
				f(w.groupByte(d.at(r, k, es, major), o.pc, 16) &^ 15)
			}
		}
	}
	if !x.fromRegs {
		visit(o.descA, 64, x.transA)
	}
	visit(o.descB, x.n, x.transB)
}

// groupByte turns a descriptor's address into an offset of the block's shared memory, or faults.
func (w *warp) groupByte(a uint32, pc int32, n uint32) uint32 {
	off := a - sharedBase
	if a < sharedBase || off+n > uint32(len(w.cta.shared)) {
		w.failAt(pc, OutOfBounds, 0, "the matrix descriptor reaches shared byte %d; the block's memory is %d to %d", a, sharedBase, sharedBase+len(w.cta.shared))
	}
	return off
}

// operand reads rows from .. from+rows of a matrix in shared memory in chunks of 16 bytes, checks that they have been
// written, and hands every element to put.
func (w *warp) operand(d descriptor, from, rows, depth int, t *elemType, major bool, pc int32, put func(row, k int, v float32)) {
	es := 4 / t.per
	stepR, stepK := 1, 16/es
	if major {
		stepR, stepK = 16/es, 1
	}
	c := w.cta
	for row := 0; row < rows; row += stepR {
		for k := 0; k < depth; k += stepK {
			off := w.groupByte(d.at(from+row, k, es, major), pc, 16)
			if s := c.sharedS[off : off+16]; !written(s) {
				w.failAt(pc, Uninitialised, 0, "shared byte %d", int(off)+bytes.IndexByte(s, 0)+sharedBase)
			}
			for i := range 16 / es {
				v := t.unpack(binary.LittleEndian.Uint32(c.shared[off+uint32(i*es)&^3:]), i%t.per)
				if major {
					put(row+i, k, v)
				} else {
					put(row, k+i, v)
				}
			}
		}
	}
}

// columns are eight columns of B, by k.
type columns [32][8]float32

// operandB is B in groups of eight columns.
func (w *warp) operandB(o *wgIssue) []columns {
	x := o.in.x.(*wgmmaOp)
	b := make([]columns, x.n/8)
	w.operand(w.descriptor(o.descB, o.pc), 0, x.n, x.k, x.b, x.transB, o.pc, func(n, k int, v float32) {
		if x.negB {
			v = -v
		}
		b[n>>3][k&31][n&7] = v
	})
	return b
}

// operandA is a warp's 16 rows of A.
func (w *warp) operandA(o *wgIssue) *[16][32]float32 {
	x := o.in.x.(*wgmmaOp)
	a := new([16][32]float32)
	put := func(row, k int, v float32) {
		if x.negA {
			v = -v
		}
		a[row&15][k&31] = v
	}
	if !x.fromRegs {
		w.operand(w.descriptor(o.descA, o.pc), w.id%4*16, 16, x.k, x.a, x.transA, o.pc, put)
		return a
	}
	p := x.a.per
	for r := range 4 {
		for l := range 32 {
			for i := range p {
				put(l>>2+r&1*8, r>>1*4*p+l&3*p+i, x.a.unpack(o.regA[r][l], i))
			}
		}
	}
	return a
}

// product adds a warp's 16 rows of A times B to its accumulators: number i holds row g + 8(i/2 % 2), column
// 8(i/4) + 2t + i%2, for g = lane/4 and t = lane%4.
func (w *warp) product(o *wgIssue, b []columns) {
	x := o.in.x.(*wgmmaOp)
	a := w.operandA(o)
	acc := o.in.vec
	for j := range b {
		cols := &b[j]
		for row := range a {
			half, lane := row>>3, row&7*4
			switch {
			case x.a.int || x.half:
				w.productExact(x, o.scale, acc, a, cols, j, row)
			case x.k == 16:
				s := row16((*[16]float32)(a[row][:16]), (*[16][8]float32)(cols[:16]))
				for c, v := range s {
					d := &w.r32[acc[j*4+half*2+c&1]][lane+c>>1]
					if o.scale {
						v += float32s(*d)
					}
					*d = bits32(v)
				}
			default:
				for c := range 8 {
					var v float32
					for k := range x.k {
						v += float32(a[row][k] * cols[k][c])
					}
					d := &w.r32[acc[j*4+half*2+c&1]][lane+c>>1]
					if o.scale {
						v += float32s(*d)
					}
					*d = bits32(v)
				}
			}
		}
	}
}

// productExact is a row of eight columns for integers, and for sums in f16, which are rounded once.
func (w *warp) productExact(x *wgmmaOp, keep bool, acc []int32, a *[16][32]float32, cols *columns, j, row int) {
	half, lane := row>>3, row&7*4
	for c := range 8 {
		var s float64 // exact: at most 32 products of 16 bits
		for k := range x.k {
			s += float64(a[row][k]) * float64(cols[k][c])
		}
		l := lane + c>>1
		if x.a.int {
			d := &w.r32[acc[j*4+half*2+c&1]][l]
			if keep {
				s += float64(int32(*d))
			}
			*d = uint32(int64(s))
			continue
		}
		d := &w.r32[acc[j*2+half]][l]
		shift := c & 1 * 16
		if keep {
			s = oddAdd(s, float64(float32s(halves[uint16(*d>>shift)])))
		}
		*d = *d&^(0xffff<<shift) | uint32(formats["f16"].encode(s, roundNearest, false))<<shift
	}
}
