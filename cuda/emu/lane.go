package emu

import (
	"errors"
	"math"
	"math/bits"
)

// laneOp is an instruction that works on each lane by itself, as a function of up to three values. Values travel as
// zero-extended bit patterns of the operand's type.
type laneOp struct {
	fn   func(x, y, z uint64) uint64
	wide [4]bool // destination and sources: in the 64-bit bank
	mask [4]uint64
}

type laneFunc = func(x, y, z uint64) uint64

func execLane(w *warp, in *inst, m uint32) {
	op := in.lane
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		v := op.fn(w.lane(in.a, op.wide[1], l)&op.mask[1], w.lane(in.b, op.wide[2], l)&op.mask[2], w.lane(in.c, op.wide[3], l)&op.mask[3])
		w.setLane(in.d, op.wide[0], l, v&op.mask[0])
	}
}

// lane reads one lane of a register; slot -1 reads zero.
func (w *warp) lane(slot int32, wide bool, l int) uint64 {
	switch {
	case slot < 0:
		return 0
	case wide:
		return w.r64[slot][l]
	}
	return uint64(w.r32[slot][l])
}

func (w *warp) setLane(slot int32, wide bool, l int, v uint64) {
	if wide {
		w.r64[slot][l] = v
	} else {
		w.r32[slot][l] = uint32(v)
	}
}

func maskOf(bits int) uint64 {
	if bits >= 64 {
		return math.MaxUint64
	}
	return 1<<bits - 1
}

// signed sign-extends the low n bits.
func signed(x uint64, n int) int64 { return int64(x<<(64-n)) >> (64 - n) }

// laneSpec is what a decoder of a base opcode finds: the function and the types of destination and sources.
type laneSpec struct {
	fn    laneFunc
	dst   string
	srcs  []string
	class Class
}

// laneBases finds the function of every lane-wise instruction that has no loop of its own.
var laneBases map[string]func(d *decoder) laneSpec

func makeLaneBases() {
	laneBases = map[string]func(d *decoder) laneSpec{}
	for _, base := range []string{"add", "sub", "mul", "mad", "fma", "div", "rem", "abs", "neg", "min", "max"} {
		laneBases[base] = arithmetic
	}
	for _, base := range []string{"and", "or", "xor", "not", "cnot", "shl", "shr", "lop3", "shf", "prmt", "popc", "clz", "brev", "bfe", "bfi", "bfind",
		"mul24", "mad24", "sad", "dp4a", "dp2a", "slct", "copysign", "szext", "bmsk"} {
		laneBases[base] = bitwise
	}
	for _, base := range []string{"rcp", "rsqrt", "sqrt", "sin", "cos", "lg2", "ex2", "tanh"} {
		laneBases[base] = transcendental
	}
	for _, base := range []string{"addc", "subc", "madc"} {
		laneBases[base] = nil
	}
	laneBases["testp"] = nil
}

func (d *decoder) lanewise() {
	op := d.f.op
	switch {
	case d.last() == "pred": // not a hot form: never reached with valid operands
		d.errorf("operands of %s", d.opcode())
		return
	case op[0] == "addc" || op[0] == "subc" || op[0] == "madc" || has(op, "cc"):
		d.carry()
		return
	case op[0] == "testp":
		d.testp()
		return
	}
	s := laneBases[op[0]](d)
	if d.err == errDecoded { // the finder has filled in the instruction itself
		d.err = nil
		return
	}
	if d.err != nil {
		return
	}
	if s.fn == nil {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	d.count(1+len(s.srcs), 1+len(s.srcs))
	if d.err != nil {
		return
	}
	in := d.in
	in.class, in.exec = s.class, execLane
	in.lane = &laneOp{fn: s.fn}
	in.a, in.b, in.c = -1, -1, -1
	_, n, ok := typeBits(s.dst)
	if !ok {
		d.errorf("type %q of %s", s.dst, d.opcode())
		return
	}
	d.dst(d.arg(0), bankOf(n), &in.d)
	in.lane.wide[0], in.lane.mask[0] = n == 64, maskOf(n)
	for i, t := range s.srcs {
		_, n, ok := typeBits(t)
		if !ok {
			d.errorf("type %q of %s", t, d.opcode())
			return
		}
		in.lane.wide[i+1], in.lane.mask[i+1] = n == 64, maskOf(n)
		d.src(d.arg(i+1), t, []*int32{&in.a, &in.b, &in.c}[i])
	}
}

// errDecoded is how a finder says that there is nothing left to do.
var errDecoded = errors.New("decoded")

func same(t string, n int) []string {
	r := make([]string, n)
	for i := range r {
		r[i] = t
	}
	return r
}

// arithmetic finds add, sub, mul, mad, fma, div, rem, abs, neg, min and max of every type.
func arithmetic(d *decoder) laneSpec {
	base, t := d.f.op[0], d.last()
	class, n, ok := typeBits(t)
	if !ok {
		d.errorf("type %q of %s", t, d.opcode())
		return laneSpec{}
	}
	count := 2
	switch base {
	case "mad", "fma":
		count = 3
	case "abs", "neg":
		count = 1
	}
	s := laneSpec{dst: t, srcs: same(t, count), class: ClassInt}
	if class == 'f' {
		s.class = ClassFloat
		s.fn = floatFunc(d, base, t)
		if base == "div" && (d.has("approx") || d.has("full")) {
			s.class = ClassSpecial
		}
		return s
	}
	sg := class == 's'
	if base == "mul" || base == "mad" {
		switch {
		case d.has("wide") && n < 64:
			s.dst = map[int]string{16: "b32", 32: "b64"}[n]
			s.fn = func(x, y, z uint64) uint64 {
				if sg {
					return uint64(signed(x, n)*signed(y, n)) + z
				}
				return x*y + z
			}
			if base == "mad" {
				s.srcs[2] = s.dst
			}
		case d.has("hi"):
			s.fn = func(x, y, z uint64) uint64 { return mulHigh(x, y, n, sg) + z }
		case d.has("lo"):
			s.fn = func(x, y, z uint64) uint64 { return x*y + z }
		}
		return s
	}
	s.fn = intFunc(base, n, sg, d.has("sat"))
	return s
}

func mulHigh(x, y uint64, n int, sg bool) uint64 {
	if n < 64 {
		if sg {
			return uint64(signed(x, n) * signed(y, n) >> n)
		}
		return x * y >> n
	}
	hi, _ := bits.Mul64(x, y)
	if sg {
		if int64(x) < 0 {
			hi -= y
		}
		if int64(y) < 0 {
			hi -= x
		}
	}
	return hi
}

func intFunc(base string, n int, sg, sat bool) laneFunc {
	clamp := func(v int64) uint64 {
		if sat && n == 32 {
			v = min(max(v, math.MinInt32), math.MaxInt32)
		}
		return uint64(v)
	}
	less := func(x, y uint64) bool { return x < y }
	if sg {
		less = func(x, y uint64) bool { return signed(x, n) < signed(y, n) }
	}
	switch base {
	case "add":
		return func(x, y, _ uint64) uint64 { return clamp(signed(x, n) + signed(y, n)) }
	case "sub":
		return func(x, y, _ uint64) uint64 { return clamp(signed(x, n) - signed(y, n)) }
	case "min":
		return func(x, y, _ uint64) uint64 {
			if less(y, x) {
				return y
			}
			return x
		}
	case "max":
		return func(x, y, _ uint64) uint64 {
			if less(x, y) {
				return y
			}
			return x
		}
	case "abs":
		return func(x, _, _ uint64) uint64 { return uint64(max(signed(x, n), -signed(x, n))) }
	case "neg":
		return func(x, _, _ uint64) uint64 { return -x }
	case "div":
		return func(x, y, _ uint64) uint64 {
			switch {
			case y == 0: // "unspecified, machine specific": all ones, as GPUs give
				return math.MaxUint64
			case sg && signed(y, n) == -1:
				return -x
			case sg:
				return uint64(signed(x, n) / signed(y, n))
			}
			return x / y
		}
	case "rem":
		return func(x, y, _ uint64) uint64 {
			switch {
			case y == 0:
				return x
			case sg && signed(y, n) == -1:
				return 0
			case sg:
				return uint64(signed(x, n) % signed(y, n))
			}
			return x % y
		}
	}
	return nil
}

// bitwise finds the logic, shift and bit-field instructions and the small integer products.
func bitwise(d *decoder) laneSpec {
	base, t := d.f.op[0], d.last()
	class, n, ok := typeBits(t)
	if !ok {
		d.errorf("type %q of %s", t, d.opcode())
		return laneSpec{}
	}
	sg := class == 's'
	s := laneSpec{dst: t, srcs: same(t, 2), class: ClassInt}
	switch base {
	case "and":
		s.fn = func(x, y, _ uint64) uint64 { return x & y }
	case "or":
		s.fn = func(x, y, _ uint64) uint64 { return x | y }
	case "xor":
		s.fn = func(x, y, _ uint64) uint64 { return x ^ y }
	case "not":
		s.srcs, s.fn = same(t, 1), func(x, _, _ uint64) uint64 { return ^x }
	case "cnot":
		s.srcs = same(t, 1)
		s.fn = func(x, _, _ uint64) uint64 {
			if x == 0 {
				return 1
			}
			return 0
		}
	case "shl":
		s.srcs[1], s.fn = "u32", func(x, y, _ uint64) uint64 { return x << min(y, 64) }
	case "shr":
		s.srcs[1] = "u32"
		s.fn = func(x, y, _ uint64) uint64 {
			if sg {
				return uint64(signed(x, n) >> min(y, 63))
			}
			return x >> min(y, 64)
		}
	case "lop3":
		return lop3(d)
	case "shf":
		s.srcs, s.fn = same("b32", 3), funnel(d.has("l"), d.has("wrap"))
	case "prmt":
		s.srcs, s.fn = same("b32", 3), permute(d.f.op)
	case "popc", "clz", "bfind":
		s.dst, s.srcs = "u32", same(t, 1)
		s.fn = countBits(base, n, sg, d.has("shiftamt"))
	case "brev":
		s.srcs, s.fn = same(t, 1), func(x, _, _ uint64) uint64 { return bits.Reverse64(x) >> (64 - n) }
	case "bfe":
		s.srcs = []string{t, "u32", "u32"}
		s.fn = func(x, pos, length uint64) uint64 { return extract(x, int(pos&0xff), int(length&0xff), n, sg) }
	case "bfi":
		return insertField(d, t, n)
	case "mul24", "mad24":
		s.srcs = same(t, map[string]int{"mul24": 2, "mad24": 3}[base])
		shift := 0
		if d.has("hi") {
			shift = 16
		}
		s.fn = func(x, y, z uint64) uint64 {
			if sg {
				return uint64(signed(x, 24)*signed(y, 24)>>shift) + z
			}
			return (x&0xffffff)*(y&0xffffff)>>shift + z
		}
	case "sad":
		s.srcs = same(t, 3)
		s.fn = func(x, y, z uint64) uint64 {
			if sg && signed(x, n) > signed(y, n) || !sg && x > y {
				return z + x - y
			}
			return z + y - x
		}
	case "dp4a", "dp2a":
		return dotProduct(d)
	case "slct":
		return selectSign(d)
	case "copysign":
		s.class = ClassFloat
		top := uint64(1) << (n - 1)
		s.fn = func(x, y, _ uint64) uint64 { return x&top | y&^top }
	case "szext", "bmsk":
		wrap := d.has("wrap")
		s.srcs = []string{t, "u32"}
		s.fn = func(x, y, _ uint64) uint64 {
			if base == "szext" {
				return extract(x, 0, int(clampOrWrap(y, wrap)), 32, sg)
			}
			return (1<<clampOrWrap(y, wrap) - 1) << clampOrWrap(x, wrap)
		}
	}
	return s
}

func clampOrWrap(y uint64, wrap bool) uint64 {
	if wrap {
		return y & 31
	}
	return min(y, 32)
}
