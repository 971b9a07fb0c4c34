package emu

// mbar is an mbarrier object. The eight bytes in shared memory stay opaque, as on hardware: a kernel may not touch them
// with anything but mbarrier instructions.
type mbar struct {
	addr    uint32 // shared address, the block's rank included
	agent   int    // actor of the copies it announces
	valid   bool
	count   int // arrivals of a phase
	pending int
	tx      int64 // bytes still to come
	phase   uint64
	next    clock // what the phase's arrivals bring
	nextP   clock
	done    clock // what a completed phase brings to those who wait
	doneP   clock
}

const (
	maxArrivals = 1<<20 - 1
	maxTx       = 1<<20 - 1
)

// mbarAt finds an initialised mbarrier, or faults. The init must have happened before: it is the last write there.
func (w *warp) mbarAt(l int, addr uint64) *mbar {
	c, off := w.sharedAt(l, addr, 8, 8)
	for _, b := range c.mbars {
		if b.addr != uint32(addr) || !b.valid {
			continue
		}
		if c.races.on && c == w.cta {
			if rec := &c.races.words[off>>2]; rec.seg > w.floor && !w.ordered(rec.seg, rec.actor, rec.lane, l) {
				w.raceFault(l, uint32(off)>>2, rec, "uses the mbarrier at")
			}
		}
		return b
	}
	w.fail(BadBarrier, l, "no mbarrier at shared byte %d: it was never initialised, or is no longer", addr)
	return nil
}

func (w *warp) mbarInit(l int, addr uint64, count uint32) {
	c, off := w.sharedAt(l, addr, 8, 8)
	if count < 1 || count > maxArrivals {
		w.fail(BadOperand, l, "mbarrier for %d arrivals", count)
	}
	b := &mbar{addr: uint32(addr)}
	for _, o := range c.mbars {
		if o.addr != b.addr {
			continue
		}
		if o.valid {
			w.fail(BadBarrier, l, "the mbarrier at shared byte %d is initialised twice", addr)
		}
		b = o
	}
	if b.done == nil {
		c.mbars = append(c.mbars, b)
		b.agent = c.races.readers + min(len(c.mbars), maxMbarrier) - 1
	}
	n := c.races.actors
	b.next, b.nextP, b.done, b.doneP = make(clock, n), make(clock, n), make(clock, n), make(clock, n)
	b.valid, b.count, b.pending, b.tx, b.phase = true, int(count), int(count), 0, 0
	if c.races.on && c == w.cta {
		w.raceWrite(l, off, 8, writeGeneric)
	}
	c.cl.events++
}

// turn ends the phase when all arrivals and bytes are there.
func (b *mbar) turn() {
	if b.pending != 0 || b.tx != 0 {
		return
	}
	b.phase++
	b.pending = b.count
	b.done.join(b.next)
	b.doneP.join(b.nextP)
}

// arriveAt counts n arrivals of a lane.
func (w *warp) arriveAt(b *mbar, l, n int) {
	if n > b.pending {
		w.fail(BadBarrier, l, "%d arrivals at the mbarrier at shared byte %d, which waits for %d in this phase", n, b.addr, b.pending)
	}
	if len(b.next) == len(w.clock) {
		w.release(b.next, b.nextP)
	}
	b.pending -= n
	b.turn()
	w.cta.cl.events++
}

func (w *warp) expect(b *mbar, l int, n int64) {
	if b.tx += n; b.tx > maxTx || b.tx < -maxTx {
		w.fail(BadOperand, l, "the mbarrier at shared byte %d expects %d bytes; the limit is %d", b.addr, b.tx, maxTx)
	}
	w.cta.cl.events++
}

// mbarrier is every mbarrier.* instruction.
func (d *decoder) mbarrier() {
	in, op := d.in, d.f.op
	in.class = ClassBarrier
	if len(op) < 2 || d.last() != "b64" {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	in.mem = &memOp{space: d.spaceOf()}
	args := d.f.args
	lanes := func(f func(w *warp, in *inst, l int, addr uint64)) {
		in.exec = func(w *warp, in *inst, m uint32) {
			w.addresses(in, in.mem.base64, m)
			if in.mem.space == spGeneric && w.window(spShared, m) != m {
				w.fail(BadOperand, first(m), "an mbarrier must lie in shared memory")
			}
			for ; m != 0; m &= m - 1 {
				l := first(m)
				f(w, in, l, w.addr64[l])
			}
		}
	}
	switch op[1] {
	case "init":
		if d.count(2, 2); d.err != nil {
			return
		}
		d.memory(args[0], in.mem)
		d.src(args[1], "u32", &in.b)
		lanes(func(w *warp, in *inst, l int, addr uint64) { w.mbarInit(l, addr, w.r32[in.b][l]) })
	case "inval":
		if d.count(1, 1); d.err != nil {
			return
		}
		d.memory(args[0], in.mem)
		lanes(func(w *warp, in *inst, l int, addr uint64) { w.mbarAt(l, addr).valid = false })
	case "expect_tx", "complete_tx":
		if d.count(2, 2); d.err != nil {
			return
		}
		d.memory(args[0], in.mem)
		d.src(args[1], "u32", &in.b)
		sign := int64(1)
		if op[1] == "complete_tx" {
			sign = -1
		}
		lanes(func(w *warp, in *inst, l int, addr uint64) {
			b := w.mbarAt(l, addr)
			w.expect(b, l, sign*int64(w.r32[in.b][l]))
			if sign < 0 {
				b.turn()
			}
		})
	case "arrive", "arrive_drop":
		d.mbarArrive(lanes)
	case "try_wait", "test_wait":
		d.mbarWait()
	case "pending_count":
		if d.count(2, 2); d.err != nil {
			return
		}
		d.dst(args[0], bank32, &in.d)
		d.src(args[1], "b64", &in.a)
		in.exec = func(w *warp, in *inst, m uint32) {
			for ; m != 0; m &= m - 1 {
				w.r32[in.d][first(m)] = uint32(w.r64[in.a][first(m)] >> 40)
			}
		}
	}
}

// mbarArrive is mbarrier.arrive[.expect_tx] {state|_}, [addr]{, n}: the state is the phase, and the pending count in its
// upper bits.
func (d *decoder) mbarArrive(lanes func(func(*warp, *inst, int, uint64))) {
	in, args := d.in, d.f.args
	in.d, in.b = -1, -1
	if len(args) > 0 && args[0].kind != argAddr {
		if args[0].kind != argSink {
			d.dst(args[0], bank64, &in.d)
		}
		args = args[1:]
	}
	tx, drop := d.has("expect_tx"), d.has("arrive_drop")
	if len(args) < 1 || len(args) > 2 || tx && len(args) != 2 {
		d.errorf("operands of %s", d.opcode())
		return
	}
	d.memory(args[0], in.mem)
	if len(args) == 2 {
		d.src(args[1], "u32", &in.b)
	}
	lanes(func(w *warp, in *inst, l int, addr uint64) {
		b := w.mbarAt(l, addr)
		if in.d >= 0 {
			w.r64[in.d][l] = b.phase | uint64(b.pending)<<40
		}
		n := 1
		if in.b >= 0 && tx {
			w.expect(b, l, int64(w.r32[in.b][l]))
		} else if in.b >= 0 {
			n = int(w.r32[in.b][l])
		}
		if drop {
			b.count -= n
		}
		w.arriveAt(b, l, n)
	})
}

// mbarWait is try_wait and test_wait, by parity or by state. Lanes that fail are tried again in the next round.
func (d *decoder) mbarWait() {
	in := d.in
	if d.count(3, 4); d.err != nil {
		return
	}
	in.kind = kindWait
	parity := d.has("parity")
	d.dst(d.arg(0), bankPred, &in.q)
	d.memory(d.arg(1), in.mem)
	if parity {
		d.src(d.arg(2), "u32", &in.b)
	} else {
		d.src(d.arg(2), "b64", &in.b)
	}
	if len(d.f.args) == 4 {
		d.src(d.arg(3), "u32", &in.c)
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		w.addresses(in, in.mem.base64, m)
		if in.mem.space == spGeneric && w.window(spShared, m) != m {
			w.fail(BadOperand, first(m), "an mbarrier must lie in shared memory")
		}
		var got *mbar
		for k := m; k != 0; k &= k - 1 {
			l := first(k)
			b := got
			if b == nil || uint64(b.addr) != w.addr64[l] {
				b = w.mbarAt(l, w.addr64[l])
			}
			var ok bool
			if parity {
				p := w.r32[in.b][l]
				if p > 1 {
					w.fail(BadOperand, l, "phase parity %d", p)
				}
				ok = b.phase&1 != uint64(p)
			} else {
				ok = b.phase != w.r64[in.b][l]&(1<<40-1)
			}
			w.setPred(in.q, l, ok)
			if !ok {
				w.spin = true
			} else if b != got && len(b.done) == len(w.clock) {
				w.acquire(b.done, b.doneP)
			}
			got = b
		}
	}
}
