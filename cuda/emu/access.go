package emu

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// memOp is what loads, stores and atomics share.
type memOp struct {
	space   space
	size    uint64 // of one element
	total   uint64 // of one lane's access
	base64  bool   // the address register is 64 bits wide
	store   bool
	sync    bool // volatile, relaxed, acquire, release: orders blocks
	wide    bool // data registers are 64 bits wide
	signed  bool
	regBits int
	quad    bool // four 32-bit registers, none of them a sink
}

var accessSpaces = map[string]space{"global": spGlobal, "shared": spShared, "shared::cta": spShared, "shared::cluster": spShared,
	"local": spLocal, "const": spConst, "param": spParam, "param::entry": spParam, "param::func": spParam}

// spaceOf finds the state space among the opcode's parts.
func (d *decoder) spaceOf() space {
	for _, o := range d.f.op[1:] {
		if s, ok := accessSpaces[o]; ok {
			return s
		}
	}
	return spGeneric
}

// address decodes [base+off] into in.a and in.off, and may refine the space: a parameter of a .func lives in local
// memory.
func (d *decoder) memory(a arg, op *memOp) {
	in := d.in
	if a.kind != argAddr || len(a.list) == 0 {
		d.errorf("%s needs an address in brackets", d.opcode())
		return
	}
	d.location(a.list[0], a.off, op, &in.a, &in.off)
}

func (d *decoder) location(base arg, off int64, op *memOp, slot *int32, out *int64) {
	*out = off
	switch base.kind {
	case argReg:
		if bk := d.b.regs[base.reg].bank; bk == bankPred {
			d.errorf("address of %s is a predicate", d.opcode())
		} else {
			op.base64 = bk == bank64
		}
		d.add(slot, base.reg, false)
	case argVar:
		if base.v.space != op.space && !(op.space == spParam && base.v.space == spLocal) && op.space != spGeneric {
			d.errorf("%s of %s, which is in the %v space", d.opcode(), base.name, base.v.space)
			return
		}
		op.space, op.base64 = base.v.space, true
		d.add(slot, d.address(base, bank64), false)
	case argImm:
		op.base64 = true
		d.add(slot, d.b.constant(bank64, base.num), false)
	default:
		d.errorf("address of %s", d.opcode())
	}
}

// access decodes the parts of ld and st that both have.
func (d *decoder) access(store bool) {
	in := d.in
	d.count(2, 3)
	if d.err != nil {
		return
	}
	t := d.last()
	class, n, ok := typeBits(t)
	if !ok || class == 'p' || n > 64 {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	lanes := 1
	for v, k := range map[string]int{"v2": 2, "v4": 4, "v8": 8} {
		if d.has(v) {
			lanes = k
		}
	}
	op := &memOp{space: d.spaceOf(), size: uint64(n / 8), total: uint64(lanes * n / 8), store: store, signed: class == 's'}
	if op.total > 16 && lanes != 8 || op.total > 32 {
		d.errorf("%s moves %d bytes", d.opcode(), op.total)
		return
	}
	op.sync = d.has("volatile") || d.has("relaxed") || d.has("acquire") || d.has("release") || d.has("mmio")
	mi, di := 1, 0
	if store {
		mi, di = 0, 1
	}
	if len(d.f.args) == 3 { // an L2 policy
		if !d.has("L2::cache_hint") {
			d.errorf("%s with 3 operands", d.opcode())
		}
		var policy int32
		d.src(d.arg(2), "b64", &policy)
	}
	d.memory(d.arg(mi), op)
	data := d.arg(di)
	one := data
	if data.kind == argVec {
		for _, e := range data.list {
			if one = e; e.kind == argReg {
				break
			}
		}
	}
	op.regBits = n
	if one.kind == argReg {
		op.regBits = d.bitsOf(one)
	}
	if op.regBits < n {
		d.errorf("register of %s is narrower than %s", d.opcode(), t)
		return
	}
	op.wide = op.regBits == 64
	in.vec = make([]int32, lanes)
	if store && op.size < 4 && one.kind != argReg {
		op.wide = false
	}
	if data.kind != argVec && store {
		d.source(data, map[bool]bank{false: bank32, true: bank64}[op.wide], class == 'f' || class == 'b' && data.float != 0, max(n, 32), &in.vec[0])
	} else {
		d.vec(data, map[bool]bank{false: bank32, true: bank64}[op.wide], !store, in.vec)
	}
	op.quad = lanes == 4 && op.size == 4 && !op.wide && !slices.Contains(in.vec, -1)
	in.mem, in.exec = op, execAccess
	switch op.space {
	case spShared:
		in.class = ClassShared
	case spLocal:
		in.class = ClassLocal
	case spParam:
		in.class = ClassParam
		if store {
			d.errorf("%s: an entry's parameters cannot be written", d.opcode())
		}
	default:
		in.class = ClassGlobal
	}
}

func (d *decoder) load()  { d.access(false) }
func (d *decoder) store() { d.access(true) }

// addresses puts the lanes' addresses into w.addr64.
func (w *warp) addresses(in *inst, base64 bool, m uint32) {
	off := uint64(in.off)
	if base64 {
		b := &w.r64[in.a]
		for l := range b {
			w.addr64[l] = b[l] + off
		}
		return
	}
	b := &w.r32[in.a]
	for l := range b {
		w.addr64[l] = uint64(b[l] + uint32(off))
	}
}

func execAccess(w *warp, in *inst, m uint32) {
	op := in.mem
	w.addresses(in, op.base64, m)
	w.accessSpace(in, op, op.space, m)
}

func (w *warp) accessSpace(in *inst, op *memOp, sp space, m uint32) {
	switch sp {
	case spShared:
		w.accessShared(in, op, m)
	case spLocal:
		w.accessLocal(in, op, m)
	case spParam:
		w.accessParam(in, op, m)
	case spGeneric:
		for _, s := range [...]space{spGlobal, spShared, spLocal, spParam} {
			if part := w.window(s, m); part != 0 {
				w.accessSpace(in, op, s, part)
				m &^= part
			}
		}
	default:
		w.accessGlobal(in, op, m)
	}
}

// window picks the lanes whose generic address lies in a space and makes those addresses relative to it.
func (w *warp) window(s space, m uint32) (part uint32) {
	base := map[space]uint64{spGlobal: 0, spShared: sharedWindow, spLocal: localWindow, spParam: paramWindow}[s]
	for ; m != 0; m &= m - 1 {
		l := first(m)
		a := w.addr64[l]
		if s == spGlobal && a >= sharedWindow && a < paramWindow+windowSize || s != spGlobal && a-base >= windowSize {
			continue
		}
		part |= 1 << l
		w.addr64[l] = a - base
	}
	return part
}

// findGlobal returns the allocation of an access, or faults.
func (w *warp) findGlobal(l int, addr, size uint64) *allocation {
	if addr&(size-1) != 0 && size&(size-1) == 0 {
		w.fail(Misaligned, l, "address %#x of an access of %d bytes", addr, size)
	}
	return w.locate(l, addr, size)
}

// allocationAt is the allocation whose pages hold addr, if any.
func (cl *cluster) allocationAt(addr uint64) *allocation {
	if p := (addr - globalBase) >> pageShift; addr >= globalBase && p < uint64(len(cl.pages)) {
		return cl.pages[p]
	}
	return nil
}

// locate is findGlobal without a rule of alignment.
func (w *warp) locate(l int, addr, size uint64) *allocation {
	a := w.cta.cl.allocationAt(addr)
	switch {
	case a == nil:
		w.fail(OutOfBounds, l, "address %#x of an access of %d bytes is in no allocation", addr, size)
	case a.freed:
		w.fail(UseAfterFree, l, "address %#x, byte %d of a freed allocation of %d bytes", addr, int64(addr-a.base), a.size)
	case addr-a.base >= a.size || size > a.size-(addr-a.base):
		w.fail(OutOfBounds, l, "address %#x of an access of %d bytes is byte %d of an allocation of %d bytes", addr, size, int64(addr-a.base), a.size)
	}
	return a
}

func (w *warp) accessGlobal(in *inst, op *memOp, m uint32) {
	cl := w.cta.cl
	if cl.launch.Profile {
		w.profileGlobal(&w.addr64, m, op.total)
	}
	if op.sync {
		w.cta.ordered = true
		cl.dev.syncMu.Lock()
		defer cl.dev.syncMu.Unlock()
	}
	if w.globalTogether(in, op, m) {
		return
	}
	var a *allocation
	var base, limit uint64
	mask := op.total - 1
	for k := m; k != 0; k &= k - 1 {
		l := first(k)
		off := w.addr64[l] - base
		if a == nil || off > limit || off&mask != 0 {
			a = w.findGlobal(l, w.addr64[l], op.total)
			base, limit = a.base, a.size-op.total
			off = w.addr64[l] - base
		}
		if op.store {
			if a.readOnly {
				w.fail(ReadOnly, l, "store to constant variable %s", a.name)
			}
			w.globalWrote(a, l, off, op.total)
			w.storeLane(in, op, l, a.data[off:off+op.total])
			continue
		}
		w.globalRead(a, l, off, op.total)
		w.loadLane(in, op, l, a.data[off:off+op.total])
	}
}

// globalRead checks that bytes have been written, and by no other block of this launch.
func (w *warp) globalRead(a *allocation, l int, off, n uint64) {
	if s := a.shadow; s != nil && !written(s[off:off+n]) {
		w.fail(Uninitialised, l, "global address %#x, byte %d of an allocation of %d", a.base+off, off, a.size)
	}
	c := w.cta
	if !c.ordered && c.races.on && a.written.Load() == c.cl.seq {
		if o := a.stampRead(c.cl.seq, c.linear+1, off, n); o != 0 {
			w.fail(GlobalRace, l, "reads byte %d of an allocation of %d, which block %d of the same launch writes", off, a.size, o-1)
		}
	}
}

func (w *warp) globalWrote(a *allocation, l int, off, n uint64) {
	if s := a.shadow; s != nil {
		setWritten(s[off : off+n])
	}
	c := w.cta
	if !c.ordered && c.races.on && c.cl.launch.blocks() > 1 {
		if o := a.stampWrite(c.cl.seq, c.linear+1, off, n); o != 0 {
			w.fail(GlobalRace, l, "writes byte %d of an allocation of %d, which block %d of the same launch writes too", off, a.size, o-1)
		}
	}
}

func (l *Launch) blocks() int { return l.Grid[0] * l.Grid[1] * l.Grid[2] }

// loadLane spreads bytes over a lane's registers.
func (w *warp) loadLane(in *inst, op *memOp, l int, b []byte) {
	switch {
	case op.size == 4 && !op.wide:
		for i, r := range in.vec {
			if r >= 0 {
				w.r32[r][l] = binary.LittleEndian.Uint32(b[4*i:])
			}
		}
	case op.size == 8:
		for i, r := range in.vec {
			if r >= 0 {
				w.r64[r][l] = binary.LittleEndian.Uint64(b[8*i:])
			}
		}
	default:
		for i, r := range in.vec {
			if r < 0 {
				continue
			}
			var v uint64
			for j := range op.size {
				v |= uint64(b[uint64(i)*op.size+j]) << (8 * j)
			}
			if op.signed {
				v = uint64(signed(v, int(op.size*8))) & maskOf(op.regBits)
			}
			w.setLane(r, op.wide, l, v)
		}
	}
}

// storeLane gathers a lane's registers into bytes.
func (w *warp) storeLane(in *inst, op *memOp, l int, b []byte) {
	switch {
	case op.size == 4 && !op.wide:
		for i, r := range in.vec {
			binary.LittleEndian.PutUint32(b[4*i:], w.r32[r][l])
		}
	case op.size == 8:
		for i, r := range in.vec {
			binary.LittleEndian.PutUint64(b[8*i:], w.r64[r][l])
		}
	case op.size == 2 && !op.wide:
		for i, r := range in.vec {
			binary.LittleEndian.PutUint16(b[2*i:], uint16(w.r32[r][l]))
		}
	default:
		for i, r := range in.vec {
			v := w.lane(r, op.wide, l)
			for j := range op.size {
				b[uint64(i)*op.size+j] = byte(v >> (8 * j))
			}
		}
	}
}

// sharedAt finds the block and offset of a shared address, or faults. Without a cluster it is always the warp's own.
func (w *warp) sharedAt(l int, addr, size uint64, align uint64) (*cta, uint32) {
	c := w.cta
	if rank := int(addr >> 24); rank != c.rank && rank < len(c.cl.ctas) {
		c = c.cl.ctas[rank]
	}
	off := addr - uint64(c.base())
	switch {
	case addr&(align-1) != 0:
		w.fail(Misaligned, l, "shared address %d of an access of %d bytes", addr, size)
	case off >= uint64(len(c.shared)) || size > uint64(len(c.shared))-off:
		w.fail(OutOfBounds, l, "shared address %d of an access of %d bytes; the block's memory is %d to %d", addr, size, c.base(), int(c.base())+len(c.shared))
	}
	return c, uint32(off)
}

func (w *warp) accessShared(in *inst, op *memOp, m uint32) {
	if w.cta.cl.launch.Profile {
		for l := range w.addr32 {
			w.addr32[l] = uint32(w.addr64[l])
		}
		w.profileShared(&w.addr32, m, uint32(op.total))
	}
	if op.store {
		w.cta.cl.events++
	}
	if w.sharedTogether(in, op, m) {
		return
	}
	n, own := uint32(op.total), w.cta
	base, size := uint64(own.base()), uint64(len(own.shared))
	for k := m; k != 0; k &= k - 1 {
		l := first(k)
		c, off := own, uint32(w.addr64[l]-base)
		if o := w.addr64[l] - base; o >= size || o+op.total > size || w.addr64[l]&(op.total-1) != 0 {
			c, off = w.sharedAt(l, w.addr64[l], op.total, op.total)
		}
		if op.store {
			if own.races.on && c == own {
				w.raceWrite(l, off, n, writeGeneric)
			}
			w.storeLane(in, op, l, c.shared[off:off+n])
			setWritten(c.sharedS[off : off+n])
			continue
		}
		w.sharedRead(c, l, off, n)
		w.loadLane(in, op, l, c.shared[off:off+n])
	}
}

// sharedRead checks that a lane may read n bytes at off.
func (w *warp) sharedRead(c *cta, l int, off, n uint32) {
	if c.races.on && c == w.cta {
		w.raceRead(l, off, n)
	}
	if s := c.sharedS[off : off+n]; !written(s) {
		w.fail(Uninitialised, l, "shared byte %d", off+uint32(bytes.IndexByte(s, 0))+sharedBase)
	}
}

// ones are eight shadow bytes that say written.
const ones = 0x0101010101010101

// written reports whether all shadow bytes are set; accesses have 1, 2, 4, 8, 16 or 32 bytes.
func written(s []byte) bool {
	for len(s) >= 8 {
		if binary.LittleEndian.Uint64(s) != ones {
			return false
		}
		s = s[8:]
	}
	if len(s) == 4 {
		return binary.LittleEndian.Uint32(s) == ones&math.MaxUint32
	}
	for _, b := range s {
		if b == 0 {
			return false
		}
	}
	return true
}

func setWritten(s []byte) {
	for len(s) >= 8 {
		binary.LittleEndian.PutUint64(s, ones)
		s = s[8:]
	}
	for i := range s {
		s[i] = 1
	}
}

func (w *warp) accessLocal(in *inst, op *memOp, m uint32) {
	size := uint64(w.k.localBytes)
	for ; m != 0; m &= m - 1 {
		l := first(m)
		off := w.addr64[l]
		switch {
		case off&(op.total-1) != 0:
			w.fail(Misaligned, l, "local address %d of an access of %d bytes", off, op.total)
		case off >= size || op.total > size-off:
			w.fail(OutOfBounds, l, "local address %d of an access of %d bytes; a thread has %d", off, op.total, size)
		}
		at := uint64(l)*size + off
		b, s := w.local[at:at+op.total], w.localS[at:at+op.total]
		if op.store {
			w.storeLane(in, op, l, b)
			for i := range s {
				s[i] = 1
			}
			continue
		}
		for i, x := range s {
			if x == 0 {
				w.fail(Uninitialised, l, "local byte %d", off+uint64(i))
			}
		}
		w.loadLane(in, op, l, b)
	}
}

func (w *warp) accessParam(in *inst, op *memOp, m uint32) {
	p := w.cta.cl.launch.Params
	if n := uint64(len(p)); !op.store && op.total <= n {
		if _, ok := w.within(0, n-op.total, op.size, m); ok {
			w.loadTogether(in, op, p, m)
			return
		}
	}
	for ; m != 0; m &= m - 1 {
		l := first(m)
		off := w.addr64[l]
		switch {
		case op.store:
			w.fail(ReadOnly, l, "store to parameters")
		case off&(op.size-1) != 0:
			w.fail(Misaligned, l, "parameter byte %d of an access of %d bytes", off, op.total)
		case off >= uint64(len(p)) || op.total > uint64(len(p))-off:
			w.fail(OutOfBounds, l, "parameter byte %d of an access of %d bytes; there are %d", off, op.total, len(p))
		}
		w.loadLane(in, op, l, p[off:off+op.total])
	}
}

// prefetch and its relatives change nothing; their address may be anything.
func (d *decoder) prefetch() {
	d.in.class = ClassControl
	if len(d.f.args) > 0 && d.f.args[0].kind == argAddr {
		op := &memOp{space: d.spaceOf()}
		d.memory(d.f.args[0], op)
	}
	d.in.exec = func(*warp, *inst, uint32) {}
}

func (d *decoder) createPolicy() {
	d.count(1, 3)
	d.in.class = ClassControl
	if d.err == nil {
		d.dst(d.arg(0), bank64, &d.in.d)
	}
	d.in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			w.r64[in.d][bits.TrailingZeros32(m)&31] = 0
		}
	}
}
