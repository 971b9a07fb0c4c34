package emu

// cp.async: the source is read when the copy is issued, the destination is written when the issuing thread waits for its
// group. In between, the destination is marked as in flight, and whoever touches it has forgotten a wait.

// asyncCopy is one lane's cp.async under way.
type asyncCopy struct {
	lane int
	off  uint32
	n    uint32
	data [16]byte
}

// copyAsync is cp.async and its groups, and the bulk copies.
func (d *decoder) copyAsync() {
	op := d.f.op
	d.in.class = ClassAsync
	switch {
	case len(op) < 2 || op[1] != "async":
		d.errorf("instruction %s is not supported", d.opcode())
	case has(op, "bulk"):
		d.bulk()
	case has(op, "commit_group"):
		d.count(0, 0)
		d.in.exec = func(w *warp, in *inst, m uint32) {
			w.commitCopies()
		}
	case has(op, "wait_all"):
		d.count(0, 0)
		d.in.exec = func(w *warp, in *inst, m uint32) {
			w.commitCopies()
			w.drain(0)
		}
	case has(op, "wait_group"):
		if d.count(1, 1); d.err != nil {
			return
		}
		n := int(min(d.immediate(d.arg(0)), 1<<30))
		d.in.exec = func(w *warp, in *inst, m uint32) { w.drain(n) }
	case has(op, "mbarrier"):
		d.copyArrive()
	default:
		d.copyOne()
	}
}

// copyOne is cp.async.{ca,cg}.shared.global [dst], [src], size{, src-size}.
func (d *decoder) copyOne() {
	in := d.in
	args := d.f.args
	if d.has("L2::cache_hint") && len(args) > 3 {
		args = args[:len(args)-1]
	}
	if len(args) != 3 && len(args) != 4 {
		d.errorf("operands of %s", d.opcode())
		return
	}
	size := d.immediate(args[2])
	if size != 16 && (d.has("cg") || size != 4 && size != 8) {
		d.errorf("%s of %d bytes", d.opcode(), size)
		return
	}
	dst, src := &memOp{space: spShared, total: size}, &memOp{space: spGlobal, total: size}
	in.mem = dst
	d.memory(args[0], dst)
	x := &copyOp{src: src}
	if a := args[1]; a.kind == argAddr {
		d.location(a.list[0], a.off, src, &in.b, &x.off)
	} else {
		d.errorf("source of %s", d.opcode())
	}
	in.c, in.p = -1, -1
	if len(args) == 4 {
		if args[3].kind == argReg && d.b.regs[args[3].reg].bank == bankPred {
			d.pred(args[3], &in.p, &in.pneg) // ignore-src
		} else {
			d.src(args[3], "b32", &in.c)
		}
	}
	in.x = x
	in.exec = execCopyAsync
}

type copyOp struct {
	src *memOp
	off int64
}

func execCopyAsync(w *warp, in *inst, m uint32) {
	x, size := in.x.(*copyOp), in.mem.total
	cl := w.cta.cl
	var dst [32]uint32
	w.addresses(in, in.mem.base64, m)
	for l, a := range w.addr64 {
		dst[l] = uint32(a)
	}
	for l := range w.addr64 {
		w.addr64[l] = w.lane(in.b, x.src.base64, l) + uint64(x.off)
	}
	if cl.launch.Profile {
		w.profileShared(&dst, m, uint32(size))
		read := m
		if in.c >= 0 {
			for l, n := range w.r32[in.c] {
				if n == 0 {
					read &^= 1 << l
				}
			}
		}
		if read != 0 {
			w.profileGlobal(&w.addr64, read, size)
		}
	}
	for ; m != 0; m &= m - 1 {
		l := first(m)
		c, off := w.sharedAt(l, uint64(dst[l]), size, size)
		if c != w.cta {
			w.fail(BadOperand, l, "cp.async to another block's shared memory")
		}
		o := asyncCopy{lane: l, off: off, n: uint32(size)}
		n := size
		if in.c >= 0 {
			if n = uint64(w.r32[in.c][l]); n > size {
				w.fail(BadOperand, l, "source size %d of a copy of %d bytes", n, size)
			}
		}
		if in.p >= 0 && w.pred[in.p]>>l&1 != 0 != in.pneg {
			n = 0
		}
		if n > 0 {
			addr := w.addr64[l]
			if addr&(size-1) != 0 {
				w.fail(Misaligned, l, "address %#x of an access of %d bytes", addr, size)
			}
			a := w.findGlobal(l, addr, n)
			w.globalRead(a, l, addr-a.base, n)
			copy(o.data[:], a.data[addr-a.base:][:n])
		}
		w.asyncWrite(c, l, off, o.n, w.id)
		cl.fly(int64(size))
		w.copies = append(w.copies, o)
	}
}

// commitCopies closes the current group.
func (w *warp) commitCopies() {
	w.groups = append(w.groups, w.copies)
	w.copies = nil
	if n := len(w.spare); n > 0 {
		w.copies, w.spare = w.spare[n-1], w.spare[:n-1]
	}
}

// drain completes the oldest groups until n are left.
func (w *warp) drain(n int) {
	done := max(len(w.groups)-n, 0)
	for _, g := range w.groups[:done] {
		for i := range g {
			w.land(&g[i])
		}
		w.spare = append(w.spare, g[:0])
	}
	w.groups = append(w.groups[:0], w.groups[done:]...)
}

func (w *warp) land(o *asyncCopy) {
	c := w.cta
	copy(c.shared[o.off:], o.data[:o.n])
	setWritten(c.sharedS[o.off : o.off+o.n])
	c.races.asyncWriteDone(o.off, o.n, w.seg)
	c.cl.fly(-int64(o.n))
}

// fly counts the bytes under way.
func (cl *cluster) fly(n int64) {
	cl.flight += n
	cl.maxFlight = max(cl.maxFlight, cl.flight)
}

// copyArrive is cp.async.mbarrier.arrive[.noinc]: an arrival once the thread's copies so far have landed. Here they land
// at once.
func (d *decoder) copyArrive() {
	if d.count(1, 1); d.err != nil {
		return
	}
	in, noinc := d.in, d.has("noinc")
	in.mem = &memOp{space: d.spaceOf()}
	d.memory(d.arg(0), in.mem)
	in.exec = func(w *warp, in *inst, m uint32) {
		w.addresses(in, in.mem.base64, m)
		if in.mem.space == spGeneric {
			w.window(spShared, m)
		}
		w.commitCopies()
		w.drain(0)
		for ; m != 0; m &= m - 1 {
			l := first(m)
			b := w.mbarAt(l, w.addr64[l])
			if !noinc {
				b.pending++
			}
			w.arriveAt(b, l, 1)
		}
	}
}
