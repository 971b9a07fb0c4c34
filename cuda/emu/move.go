package emu

import "math/bits"

// mov puts a register, literal, address or special register into a register, or takes one apart into narrower ones and
// back. What arrives here is a vector form or a type that has no loop of its own.
func (d *decoder) mov() {
	d.count(2, 2)
	if d.err != nil {
		return
	}
	in, t := d.in, d.last()
	in.class = ClassMove
	_, n, ok := typeBits(t)
	if !ok || n > 64 {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	to, from := d.arg(0), d.arg(1)
	switch {
	case to.kind == argVec:
		d.unpack(to.list, from, n)
	case from.kind == argVec:
		d.pack(to, from.list, n)
	default:
		d.errorf("instruction %s is not supported", d.opcode())
	}
}

// unpack is mov.bN {lo, …, hi}, r.
func (d *decoder) unpack(parts []arg, from arg, n int) {
	in := d.in
	width := n / max(len(parts), 1)
	if len(parts) < 2 || width < 8 || width*len(parts) != n {
		d.errorf("%d parts of %s", len(parts), d.opcode())
		return
	}
	in.vec = make([]int32, len(parts))
	for i, p := range parts {
		if in.vec[i] = -1; p.kind != argSink {
			d.dst(p, bankOf(width), &in.vec[i])
		}
	}
	d.source(from, bankOf(n), false, n, &in.a)
	if n == 32 && len(parts) == 2 {
		in.exec = unpackHalves
		return
	}
	wide := n == 64
	in.exec = func(w *warp, in *inst, m uint32) {
		for i, r := range in.vec {
			if r < 0 {
				continue
			}
			for k := m; k != 0; k &= k - 1 {
				l := bits.TrailingZeros32(k) & 31
				w.r32[r][l] = uint32(w.lane(in.a, wide, l) >> (i * width) & maskOf(width))
			}
		}
	}
}

// unpackHalves and packHalves are the forms that kernels on 16-bit floats execute all the time.
func unpackHalves(w *warp, in *inst, m uint32) {
	src := w.r32[in.a]
	if r := in.vec[0]; r >= 0 {
		d := &w.r32[r]
		for k := m; k != 0; k &= k - 1 {
			l := bits.TrailingZeros32(k) & 31
			d[l] = src[l] & 0xffff
		}
	}
	if r := in.vec[1]; r >= 0 {
		d := &w.r32[r]
		for k := m; k != 0; k &= k - 1 {
			l := bits.TrailingZeros32(k) & 31
			d[l] = src[l] >> 16
		}
	}
}

func packHalves(w *warp, in *inst, m uint32) {
	d, lo, hi := &w.r32[in.d], &w.r32[in.vec[0]], &w.r32[in.vec[1]]
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		d[l] = lo[l]&0xffff | hi[l]<<16
	}
}

// pack is mov.bN r, {lo, …, hi}.
func (d *decoder) pack(to arg, parts []arg, n int) {
	in := d.in
	width := n / max(len(parts), 1)
	if len(parts) < 2 || width < 8 || width*len(parts) != n {
		d.errorf("%d parts of %s", len(parts), d.opcode())
		return
	}
	d.dst(to, bankOf(n), &in.d)
	in.vec = make([]int32, len(parts))
	for i, p := range parts {
		d.source(p, bankOf(width), false, width, &in.vec[i])
	}
	if n == 32 && len(parts) == 2 {
		in.exec = packHalves
		return
	}
	wide := n == 64
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			var v uint64
			for i, r := range in.vec {
				v |= uint64(w.r32[r][l]) & maskOf(width) << (i * width)
			}
			w.setLane(in.d, wide, l, v)
		}
	}
}

// cvta[.to].space converts between a space's own addresses and generic ones.
func (d *decoder) cvta() {
	d.count(2, 2)
	if d.err != nil {
		return
	}
	in, t := d.in, d.last()
	in.class = ClassInt
	if t != "u64" {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	d.dst(d.arg(0), bank64, &in.d)
	src := d.arg(1)
	d.source(src, bank64, false, 64, &in.a)
	sp := d.spaceOf()
	window := map[space]uint64{spShared: sharedWindow, spLocal: localWindow, spParam: paramWindow}[sp]
	if window == 0 {
		in.exec = opMovB64
		return
	}
	to := d.has("to")
	if to {
		window = -window
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			w.r64[in.d][l] = w.r64[in.a][l] + window
			if to && w.r64[in.d][l] >= windowSize {
				w.fail(BadOperand, l, "generic address %#x is not in the %v space", w.r64[in.a][l], sp)
			}
		}
	}
}

// isspacep asks whether a generic address lies in a space's window.
func (d *decoder) isspacep() {
	d.count(2, 2)
	if d.err != nil {
		return
	}
	in := d.in
	in.class = ClassCompare
	d.dst(d.arg(0), bankPred, &in.d)
	d.src(d.arg(1), "u64", &in.a)
	sp := d.spaceOf()
	base := map[space]uint64{spShared: sharedWindow, spLocal: localWindow, spParam: paramWindow}[sp]
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := first(m)
			a := w.r64[in.a][l]
			other := a >= sharedWindow && a < paramWindow+windowSize
			w.setPred(in.d, l, sp == spGlobal && !other || sp != spGlobal && sp != spConst && a-base < windowSize)
		}
	}
}
