package emu

import (
	"math"
	"math/bits"
)

// compareFunc finds a comparison of a type: eq, lt and their kin, the unordered ones (equ, ltu: true for NaNs), num, nan.
func compareFunc(cmp, t string, ftz bool) func(x, y uint64) bool {
	class, n, ok := typeBits(t)
	if !ok {
		return nil
	}
	if class == 'f' {
		return compareFloat(cmp, t, n, ftz)
	}
	order := func(x, y uint64) int {
		switch {
		case x == y:
			return 0
		case class == 's' && signed(x, n) < signed(y, n) || class != 's' && x < y:
			return -1
		}
		return 1
	}
	switch cmp {
	case "eq":
		return func(x, y uint64) bool { return x == y }
	case "ne":
		return func(x, y uint64) bool { return x != y }
	case "lt", "lo":
		return func(x, y uint64) bool { return order(x, y) < 0 }
	case "le", "ls":
		return func(x, y uint64) bool { return order(x, y) <= 0 }
	case "gt", "hi":
		return func(x, y uint64) bool { return order(x, y) > 0 }
	case "ge", "hs":
		return func(x, y uint64) bool { return order(x, y) >= 0 }
	}
	return nil
}

func compareFloat(cmp, t string, n int, ftz bool) func(x, y uint64) bool {
	dec := math.Float64frombits
	if n < 64 {
		f := formats[t]
		if f == nil {
			return nil
		}
		dec = func(x uint64) float64 {
			if ftz {
				x = f.flush(x)
			}
			return f.decode(x)
		}
	}
	unordered := len(cmp) == 3 && cmp[2] == 'u'
	if unordered {
		cmp = cmp[:2]
	}
	var test func(a, b float64) bool
	switch cmp {
	case "eq":
		test = func(a, b float64) bool { return a == b }
	case "ne": // ordered: false for NaNs
		test = func(a, b float64) bool { return a < b || a > b }
	case "lt":
		test = func(a, b float64) bool { return a < b }
	case "le":
		test = func(a, b float64) bool { return a <= b }
	case "gt":
		test = func(a, b float64) bool { return a > b }
	case "ge":
		test = func(a, b float64) bool { return a >= b }
	case "num":
		return func(x, y uint64) bool { return dec(x) == dec(x) && dec(y) == dec(y) }
	case "nan":
		return func(x, y uint64) bool { return dec(x) != dec(x) || dec(y) != dec(y) }
	default:
		return nil
	}
	return func(x, y uint64) bool {
		a, b := dec(x), dec(y)
		return test(a, b) || unordered && (a != a || b != b)
	}
}

// setp is setp.cmp[.bool].type p[|q], a, b[, c]: p = cmp op c, q = !cmp op c. f16x2 compares both halves.
func (d *decoder) setp() {
	op := d.f.op
	if len(op) < 3 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	in, t := d.in, d.last()
	in.class = ClassCompare
	scalar, packed := t, t == "f16x2" || t == "bf16x2"
	if packed {
		scalar = t[:len(t)-2]
	}
	cmp := compareFunc(op[1], scalar, d.has("ftz"))
	if cmp == nil {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	boolean := ""
	for _, o := range []string{"and", "or", "xor"} {
		if op[2] == o {
			boolean = o
		}
	}
	want := 3
	if boolean != "" {
		want = 4
	}
	d.count(want, want)
	if d.err != nil {
		return
	}
	in.q = -1
	if a := d.arg(0); a.kind == argPair {
		if a.list[0].kind != argSink {
			d.dst(a.list[0], bankPred, &in.d)
		} else {
			in.d = -1
		}
		if a.list[1].kind != argSink {
			d.dst(a.list[1], bankPred, &in.q)
		}
	} else {
		d.dst(a, bankPred, &in.d)
	}
	d.src(d.arg(1), t, &in.a)
	d.src(d.arg(2), t, &in.b)
	in.p = -1
	if boolean != "" {
		d.pred(d.arg(3), &in.p, &in.pneg)
	}
	_, n, _ := typeBits(t)
	wide, mask := n == 64, maskOf(n)
	in.exec = func(w *warp, in *inst, m uint32) {
		var r, r2 uint32
		for k := m; k != 0; k &= k - 1 {
			l := bits.TrailingZeros32(k) & 31
			x, y := w.lane(in.a, wide, l)&mask, w.lane(in.b, wide, l)&mask
			if packed {
				if cmp(x>>16, y>>16) {
					r2 |= 1 << l
				}
				x, y = x&0xffff, y&0xffff
			}
			if cmp(x, y) {
				r |= 1 << l
			}
		}
		if !packed {
			r2 = ^r
		}
		if in.p >= 0 {
			c := w.pred[in.p]
			if in.pneg {
				c = ^c
			}
			switch boolean {
			case "and":
				r, r2 = r&c, r2&c
			case "or":
				r, r2 = r|c, r2|c
			case "xor":
				r, r2 = r^c, r2^c
			}
		}
		if in.d >= 0 {
			w.pred[in.d] = w.pred[in.d]&^m | r&m
		}
		if in.q >= 0 {
			w.pred[in.q] = w.pred[in.q]&^m | r2&m
		}
	}
}

// set is set.cmp[.bool].dtype.stype d, a, b[, c]: all ones (or 1.0) where the comparison holds.
func (d *decoder) set() {
	op := d.f.op
	if len(op) < 4 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	in, dt, t := d.in, op[len(op)-2], d.last()
	in.class = ClassCompare
	cmp := compareFunc(op[1], t, d.has("ftz"))
	boolean := op[2]
	yes := map[string]uint32{"u32": math.MaxUint32, "s32": math.MaxUint32, "f32": 0x3f800000}[dt]
	if cmp == nil || yes == 0 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	d.count(3, 4)
	if d.err != nil {
		return
	}
	d.dst(d.arg(0), bank32, &in.d)
	d.src(d.arg(1), t, &in.a)
	d.src(d.arg(2), t, &in.b)
	in.p = -1
	if len(d.f.args) == 4 {
		d.pred(d.arg(3), &in.p, &in.pneg)
	}
	_, n, _ := typeBits(t)
	wide, mask := n == 64, maskOf(n)
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			r := cmp(w.lane(in.a, wide, l)&mask, w.lane(in.b, wide, l)&mask)
			if in.p >= 0 {
				c := w.pred[in.p]>>l&1 != 0 != in.pneg
				switch boolean {
				case "and":
					r = r && c
				case "or":
					r = r || c
				case "xor":
					r = r != c
				}
			}
			w.r32[in.d][l] = 0
			if r {
				w.r32[in.d][l] = yes
			}
		}
	}
}
