package emu

import (
	"math/bits"
	"slices"
)

// extract is bfe: n is the type's width; bits beyond the operand's end repeat its sign for signed types.
func extract(x uint64, pos, length, n int, sg bool) uint64 {
	if length == 0 {
		return 0
	}
	if sg {
		v := signed(x, n) >> min(pos, 63)
		if length >= 64 || pos+length >= n {
			return uint64(v)
		}
		return uint64(signed(uint64(v), length))
	}
	if pos >= 64 {
		return 0
	}
	return x >> pos & maskOf(length)
}

// insertField is bfi d, a, b, pos, length: the field of a goes into b. It has a fourth source, which the instruction
// keeps in q.
func insertField(d *decoder, t string, n int) laneSpec {
	d.count(5, 5)
	if d.err != nil {
		return laneSpec{}
	}
	in := d.in
	in.class = ClassInt
	d.dst(d.arg(0), bankOf(n), &in.d)
	d.src(d.arg(1), t, &in.a)
	d.src(d.arg(2), t, &in.b)
	in.vec = make([]int32, 2)
	d.src(d.arg(3), "u32", &in.vec[0])
	d.src(d.arg(4), "u32", &in.vec[1])
	wide := n == 64
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			pos, length := w.r32[in.vec[0]][l]&0xff, w.r32[in.vec[1]][l]&0xff
			field := maskOf(int(length)) << pos
			a, b := w.lane(in.a, wide, l), w.lane(in.b, wide, l)
			w.setLane(in.d, wide, l, (a<<pos&field|b&^field)&maskOf(n))
		}
	}
	d.err = errDecoded
	return laneSpec{}
}

// lop3 looks the result up in the truth table of its last operand.
func lop3(d *decoder) laneSpec {
	d.count(5, 5)
	if d.err != nil {
		return laneSpec{}
	}
	table := d.immediate(d.arg(4))
	if d.has("BOOL") || table > 255 {
		d.errorf("instruction %s is not supported", d.opcode())
	}
	d.f.args = slices.Clone(d.f.args[:4])
	return laneSpec{dst: "b32", srcs: same("b32", 3), class: ClassInt, fn: func(x, y, z uint64) (r uint64) {
		for i := range uint64(8) {
			if table>>i&1 == 0 {
				continue
			}
			p, q, s := x, y, z
			if i&4 == 0 {
				p = ^p
			}
			if i&2 == 0 {
				q = ^q
			}
			if i&1 == 0 {
				s = ^s
			}
			r |= p & q & s
		}
		return r
	}}
}

// funnel is shf.l and shf.r on the 64 bits {y, x}.
func funnel(left, wrap bool) laneFunc {
	return func(x, y, z uint64) uint64 {
		v, s := y<<32|x, clampOrWrap(z, wrap)
		if left {
			return v << s >> 32
		}
		return v >> s
	}
}

// permute is prmt: eight bytes of {y, x}, four of them picked.
func permute(op []string) laneFunc {
	mode := op[len(op)-1]
	pick := func(v uint64, n uint64) uint64 { return v >> (8 * (n & 7)) & 0xff }
	return func(x, y, z uint64) (r uint64) {
		v := y<<32 | x
		for i := range uint64(4) {
			var b uint64
			switch s := z & 3; mode {
			case "f4e":
				b = pick(v, s+i)
			case "b4e":
				b = pick(v, s-i)
			case "rc8":
				b = pick(v, s)
			case "ecl":
				b = pick(v, max(s, i))
			case "ecr":
				b = pick(v, min(s, i))
			case "rc16":
				b = pick(v, s&1*2+i&1)
			default:
				sel := z >> (4 * i)
				b = pick(v, sel)
				if sel&8 != 0 { // replicate the sign
					b = uint64(signed(b, 8)>>7) & 0xff
				}
			}
			r |= b << (8 * i)
		}
		return r
	}
}

func countBits(base string, n int, sg, shift bool) laneFunc {
	return func(x, _, _ uint64) uint64 {
		switch base {
		case "popc":
			return uint64(bits.OnesCount64(x))
		case "clz":
			return uint64(bits.LeadingZeros64(x) - (64 - n))
		}
		if sg && signed(x, n) < 0 {
			x = ^x & maskOf(n)
		}
		pos := bits.Len64(x) - 1
		if pos >= 0 && shift {
			pos = n - 1 - pos
		}
		return uint64(pos)
	}
}

// dotProduct is dp4a and dp2a.
func dotProduct(d *decoder) laneSpec {
	op := d.f.op
	if len(op) < 3 {
		d.errorf("types of %s", d.opcode())
		return laneSpec{}
	}
	ta, tb := op[len(op)-2], op[len(op)-1]
	dst := "u32"
	if ta == "s32" || tb == "s32" {
		dst = "s32"
	}
	part := func(x uint64, i, n int, t string) int64 {
		x = x >> (i * n) & maskOf(n)
		if t == "s32" {
			return signed(x, n)
		}
		return int64(x)
	}
	s := laneSpec{dst: dst, srcs: []string{ta, tb, dst}, class: ClassInt}
	if op[0] == "dp4a" {
		s.fn = func(x, y, z uint64) uint64 {
			for i := range 4 {
				z += uint64(part(x, i, 8, ta) * part(y, i, 8, tb))
			}
			return z
		}
		return s
	}
	from := 0
	if d.has("hi") {
		from = 2
	}
	s.fn = func(x, y, z uint64) uint64 {
		for i := range 2 {
			z += uint64(part(x, i, 16, ta) * part(y, from+i, 8, tb))
		}
		return z
	}
	return s
}

// selectSign is slct: a where c >= 0, else b; a NaN selects b.
func selectSign(d *decoder) laneSpec {
	op := d.f.op
	if len(op) < 3 {
		d.errorf("types of %s", d.opcode())
		return laneSpec{}
	}
	t, c := op[len(op)-2], op[len(op)-1]
	return laneSpec{dst: t, srcs: []string{t, t, c}, class: ClassMove, fn: func(x, y, z uint64) uint64 {
		if c == "f32" && float32s(uint32(z)) >= 0 || c != "f32" && int32(z) >= 0 {
			return x
		}
		return y
	}}
}

// carry is the extended-precision family: add.cc, addc, sub.cc, subc, mad.cc, madc. The carry is a mask beside the
// predicates.
func (d *decoder) carry() {
	base, t := d.f.op[0], d.last()
	_, n, ok := typeBits(t)
	if !ok || n < 32 {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	product := base == "mad" || base == "madc"
	d.count(map[bool]int{true: 4, false: 3}[product], map[bool]int{true: 4, false: 3}[product])
	if d.err != nil {
		return
	}
	in := d.in
	in.class = ClassInt
	d.dst(d.arg(0), bankOf(n), &in.d)
	d.src(d.arg(1), t, &in.a)
	d.src(d.arg(2), t, &in.b)
	in.c = -1
	if product {
		d.src(d.arg(3), t, &in.c)
	}
	withIn, out, sub, high := base == "addc" || base == "subc" || base == "madc", d.has("cc"), base == "sub" || base == "subc", d.has("hi")
	sg, wide := t[0] == 's', n == 64
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			x, y := w.lane(in.a, wide, l), w.lane(in.b, wide, l)
			if product {
				p := x * y
				if high {
					p = mulHigh(x, y, n, sg)
				}
				x, y = p&maskOf(n), w.lane(in.c, wide, l)
			}
			if sub {
				y = ^y & maskOf(n)
			}
			var cin uint64
			if withIn {
				cin = uint64(w.carry >> l & 1)
			}
			if sub { // the flag is a borrow
				cin = 1 - cin
			}
			v, cout := bits.Add64(x, y, cin)
			if n == 32 {
				cout = v >> 32 & 1
			}
			if out {
				if sub {
					cout = 1 - cout
				}
				w.carry = w.carry&^(1<<l) | uint32(cout)<<l
			}
			w.setLane(in.d, wide, l, v&maskOf(n))
		}
	}
}
