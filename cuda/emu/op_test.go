package emu

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// operand kinds of a case: w, f 32 bits; l, g 64 bits; h 16 bits; p predicate (bit 0).
var caseRegs = map[byte]string{'w': "%r", 'f': "%f", 'l': "%d", 'g': "%g", 'h': "%h", 'p': "%p"}

// opCase is an instruction with $d, $a, $b, $c as placeholders and what the ISA says it yields.
type opCase struct {
	op   string
	kind string // of d, a, b, c
	want func(a, b, c uint64) uint64
}

const caseLanes = 32

// runCase executes the instruction on the lanes' operands.
func runCase(t *testing.T, c opCase, in [caseLanes][3]uint64) (out [caseLanes]uint64) {
	t.Helper()
	var body strings.Builder
	body.WriteString("mul.wide.u32 %d2, %r0, 32; add.u64 %d3, %d0, %d2;\n")
	op := c.op
	for i := range c.kind {
		reg := caseRegs[c.kind[i]] + string(rune('4'+i))
		op = strings.ReplaceAll(op, "$"+string("dabc"[i]), reg)
		if i == 0 {
			continue
		}
		at := "[%d3+" + string(rune('0'+8*(i-1)%10)) + "]"
		if i == 3 {
			at = "[%d3+16]"
		}
		switch c.kind[i] {
		case 'w':
			body.WriteString("ld.global.b32 " + reg + ", " + at + ";\n")
		case 'f':
			body.WriteString("ld.global.f32 " + reg + ", " + at + ";\n")
		case 'l':
			body.WriteString("ld.global.b64 " + reg + ", " + at + ";\n")
		case 'g':
			body.WriteString("ld.global.f64 " + reg + ", " + at + ";\n")
		case 'h':
			body.WriteString("ld.global.b16 " + reg + ", " + at + ";\n")
		case 'p':
			body.WriteString("ld.global.b32 %r20, " + at + "; and.b32 %r20, %r20, 1; setp.ne.u32 " + reg + ", %r20, 0;\n")
		}
	}
	reg := caseRegs[c.kind[0]] + "4"
	body.WriteString(op + "\nmov.u64 %d19, 0; st.global.u64 [%d3+24], %d19;\n")
	switch c.kind[0] {
	case 'w':
		body.WriteString("st.global.b32 [%d3+24], " + reg + ";")
	case 'f':
		body.WriteString("st.global.f32 [%d3+24], " + reg + ";")
	case 'l':
		body.WriteString("st.global.b64 [%d3+24], " + reg + ";")
	case 'g':
		body.WriteString("st.global.f64 [%d3+24], " + reg + ";")
	case 'h':
		body.WriteString("st.global.b16 [%d3+24], " + reg + ";")
	case 'p':
		body.WriteString("selp.u32 %r20, 1, 0, " + reg + "; st.global.u32 [%d3+24], %r20;")
	}
	d := newDevice(t, "sm_90a")
	k := compile(t, "sm_90a", body.String())
	buf := make([]byte, caseLanes*32)
	for l := range in {
		for i := range 3 {
			binary.LittleEndian.PutUint64(buf[32*l+8*i:], in[l][i])
		}
	}
	p := d.upload(buf)
	d.run(k, Launch{Block: [3]int{caseLanes}}, p, p)
	got := d.download(p, len(buf))
	for l := range out {
		out[l] = binary.LittleEndian.Uint64(got[32*l+24:])
	}
	return out
}

// interesting values per kind; the rest of the lanes are random.
var interesting = map[byte][]uint64{
	'w': {0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0x12345678, 0x00ff00ff},
	'l': {0, 1, 63, 64, math.MaxInt64, 1 << 63, math.MaxUint64, 0xdeadbeefcafebabe},
	'h': {0, 1, 0x3c00, 0xbc00, 0x7fff >> 1, 0x8000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x4248},
	'f': {0, 0x80000000, 0x3f800000, 0xbf800000, 1, 0x807fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x40490fdb, 0x4b800001, 0x33800000},
	'g': {0, 1 << 63, math.Float64bits(1), math.Float64bits(-2.5), math.Float64bits(1e300), math.Float64bits(3e-310), math.Float64bits(math.Inf(1)), math.Float64bits(1e9 + 0.5)},
	'p': {0, 1},
}

func lanesFor(r *rand.Rand, kind string) (in [caseLanes][3]uint64) {
	for l := range in {
		for i := 1; i < len(kind); i++ {
			k := kind[i]
			v := interesting[k][r.IntN(len(interesting[k]))]
			if r.IntN(3) == 0 {
				switch k {
				case 'f':
					v = uint64(math.Float32bits(float32(r.NormFloat64() * 100)))
				case 'g':
					v = math.Float64bits(r.NormFloat64() * 1000)
				default:
					v = r.Uint64()
				}
			}
			switch k {
			case 'w', 'f':
				v &= math.MaxUint32
			case 'h':
				v &= 0xffff
			case 'p':
				v &= 1
			}
			in[l][i-1] = v
		}
	}
	return in
}

func checkCases(t *testing.T, cases []opCase, same func(kind byte, got, want uint64) bool) {
	for _, c := range cases {
		t.Run(strings.SplitN(c.op, ";", 2)[0], func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(len(c.op)), 77))
			for range 4 {
				in := lanesFor(r, c.kind)
				out := runCase(t, c, in)
				for l := range in {
					want := c.want(in[l][0], in[l][1], in[l][2])
					switch c.kind[0] {
					case 'w', 'f':
						want &= math.MaxUint32
					case 'h':
						want &= 0xffff
					}
					if !same(c.kind[0], out[l], want) {
						t.Fatalf("(%#x, %#x, %#x) gives %#x, want %#x", in[l][0], in[l][1], in[l][2], out[l], want)
					}
				}
			}
		})
	}
}

func exactly(_ byte, got, want uint64) bool { return got == want }

func b2i(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func TestIntegerInstructions(t *testing.T) {
	s := func(x uint64) int64 { return int64(int32(x)) }
	u := func(x uint64) uint64 { return x & math.MaxUint32 }
	clampS := func(v int64) uint64 { return uint64(min(max(v, math.MinInt32), math.MaxInt32)) }
	big64 := func(x, y uint64, sg bool) uint64 {
		a, b := new(big.Int).SetUint64(x), new(big.Int).SetUint64(y)
		if sg {
			a, b = big.NewInt(int64(x)), big.NewInt(int64(y))
		}
		p := new(big.Int).Rsh(a.Mul(a, b), 64)
		return new(big.Int).And(p, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
	}
	shl := func(x, n uint64) uint64 {
		if n > 31 {
			return 0
		}
		return u(x) << n
	}
	byteOf := func(x uint64, i int) int64 { return int64(int8(x >> (8 * i))) }
	checkCases(t, []opCase{
		{"add.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return a + b }},
		{"add.sat.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return clampS(s(a) + s(b)) }},
		{"sub.sat.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return clampS(s(a) - s(b)) }},
		{"sub.u32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return a - b }},
		{"add.u16 $d, $a, $b;", "hhh", func(a, b, _ uint64) uint64 { return a + b }},
		{"mul.lo.u32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return a * b }},
		{"mul.hi.u32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return a * b >> 32 }},
		{"mul.hi.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return uint64(s(a) * s(b) >> 32) }},
		{"mul.hi.u64 $d, $a, $b;", "lll", func(a, b, _ uint64) uint64 { return big64(a, b, false) }},
		{"mul.hi.s64 $d, $a, $b;", "lll", func(a, b, _ uint64) uint64 { return big64(a, b, true) }},
		{"mul.wide.s32 $d, $a, $b;", "lww", func(a, b, _ uint64) uint64 { return uint64(s(a) * s(b)) }},
		{"mul.wide.u16 $d, $a, $b;", "whh", func(a, b, _ uint64) uint64 { return a * b }},
		{"mul.wide.s16 $d, $a, $b;", "whh", func(a, b, _ uint64) uint64 { return uint64(int64(int16(a)) * int64(int16(b))) }},
		{"mad.lo.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 { return a*b + c }},
		{"mad.hi.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 { return uint64(s(a)*s(b)>>32) + c }},
		{"mad.wide.s32 $d, $a, $b, $c;", "lwwl", func(a, b, c uint64) uint64 { return uint64(s(a)*s(b)) + c }},
		{"mad.lo.u64 $d, $a, $b, $c;", "llll", func(a, b, c uint64) uint64 { return a*b + c }},
		{"mul24.lo.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return uint64(int64(int32(a)<<8>>8) * int64(int32(b)<<8>>8)) }},
		{"sad.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 {
			d := s(a) - s(b)
			if d < 0 {
				d = -d
			}
			return c + uint64(d)
		}},
		{"div.s32 $d, $a, 7;", "ww", func(a, _, _ uint64) uint64 { return uint64(s(a) / 7) }},
		{"rem.s32 $d, $a, 7;", "ww", func(a, _, _ uint64) uint64 { return uint64(s(a) % 7) }},
		{"or.b32 $b, $b, 1; div.u32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return u(a) / (u(b) | 1) }},
		{"rem.u64 $d, $a, 1000003;", "ll", func(a, _, _ uint64) uint64 { return a % 1000003 }},
		{"abs.s32 $d, $a;", "ww", func(a, _, _ uint64) uint64 {
			if s(a) < 0 {
				return -a
			}
			return a
		}},
		{"neg.s64 $d, $a;", "ll", func(a, _, _ uint64) uint64 { return -a }},
		{"min.s16 $d, $a, $b;", "hhh", func(a, b, _ uint64) uint64 { return uint64(min(int16(a), int16(b))) }},
		{"max.u64 $d, $a, $b;", "lll", func(a, b, _ uint64) uint64 { return max(a, b) }},
		{"min.s64 $d, $a, $b;", "lll", func(a, b, _ uint64) uint64 { return uint64(min(int64(a), int64(b))) }},
		{"popc.b32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount32(uint32(a))) }},
		{"popc.b64 $d, $a;", "wl", func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(a)) }},
		{"clz.b32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(bits.LeadingZeros32(uint32(a))) }},
		{"clz.b64 $d, $a;", "wl", func(a, _, _ uint64) uint64 { return uint64(bits.LeadingZeros64(a)) }},
		{"brev.b32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(bits.Reverse32(uint32(a))) }},
		{"bfind.u32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(bits.Len32(uint32(a)) - 1) }},
		{"bfind.s32 $d, $a;", "ww", func(a, _, _ uint64) uint64 {
			if s(a) < 0 {
				a = ^a
			}
			return uint64(bits.Len32(uint32(a)) - 1)
		}},
		{"not.b64 $d, $a;", "ll", func(a, _, _ uint64) uint64 { return ^a }},
		{"cnot.b32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return b2i(u(a) == 0) }},
		{"xor.b16 $d, $a, $b;", "hhh", func(a, b, _ uint64) uint64 { return a ^ b }},
		{"shl.b32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return shl(a, b) }},
		{"shr.u32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 {
			if b > 31 {
				return 0
			}
			return u(a) >> b
		}},
		{"shr.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return uint64(s(a) >> min(b, 31)) }},
		{"shr.s64 $d, $a, $b;", "llw", func(a, b, _ uint64) uint64 { return uint64(int64(a) >> min(b, 63)) }},
		{"shf.l.wrap.b32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 { return (u(b)<<32 | u(a)) << (c & 31) >> 32 }},
		{"shf.r.clamp.b32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 { return (u(b)<<32 | u(a)) >> min(c, 32) }},
		{"bfe.u32 $d, $a, 5, 9;", "ww", func(a, _, _ uint64) uint64 { return u(a) >> 5 & 0x1ff }},
		{"bfe.s32 $d, $a, 28, 9;", "ww", func(a, _, _ uint64) uint64 { return uint64(s(a) >> 28) }},
		{"bfe.s32 $d, $a, 3, 4;", "ww", func(a, _, _ uint64) uint64 { return uint64(int64(int32(a<<25)) >> 28) }},
		{"bfi.b32 $d, $a, $b, 8, 12;", "www", func(a, b, _ uint64) uint64 { return a<<8&0xfff00 | b&^0xfff00 }},
		{"lop3.b32 $d, $a, $b, $c, 0x96;", "wwww", func(a, b, c uint64) uint64 { return a ^ b ^ c }},
		{"lop3.b32 $d, $a, $b, $c, 0xca;", "wwww", func(a, b, c uint64) uint64 { return a&b | ^a&c }},
		{"prmt.b32 $d, $a, $b, 0x5410;", "www", func(a, b, _ uint64) uint64 { return a&0xffff | b<<16 }},
		{"prmt.b32 $d, $a, $b, 0x0123;", "www", func(a, _, _ uint64) uint64 { return uint64(bits.ReverseBytes32(uint32(a))) }},
		{"prmt.b32 $d, $a, $b, 0xffff;", "www", func(_, b, _ uint64) uint64 { return uint64(s(b) >> 31) }},
		{"dp4a.s32.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 {
			for i := range 4 {
				c += uint64(byteOf(a, i) * byteOf(b, i))
			}
			return c
		}},
		{"dp2a.lo.s32.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 {
			return c + uint64(int64(int16(a))*byteOf(b, 0)+int64(int16(a>>16))*byteOf(b, 1))
		}},
		{"slct.u32.s32 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 {
			if s(c) >= 0 {
				return a
			}
			return b
		}},
		{"selp.b64 $d, $a, $b, $c;", "lllp", func(a, b, c uint64) uint64 {
			if c != 0 {
				return a
			}
			return b
		}},
		{"add.cc.u32 %r20, $a, $b; addc.u32 $d, 5, 0;", "www", func(a, b, _ uint64) uint64 { return 5 + (u(a)+u(b))>>32 }},
		{"sub.cc.u32 %r20, $a, $b; subc.u32 $d, 5, 0;", "www", func(a, b, _ uint64) uint64 { return 5 - b2i(u(a) < u(b)) }},
		{"mad.lo.cc.u32 %r20, $a, $b, $c; madc.hi.u32 $d, $a, $b, 0;", "wwww", func(a, b, c uint64) uint64 { return (u(a)*u(b) + u(c)) >> 32 }},
		{"setp.lt.s32 $d, $a, $b;", "pww", func(a, b, _ uint64) uint64 { return b2i(s(a) < s(b)) }},
		{"setp.hi.u32 $d, $a, $b;", "pww", func(a, b, _ uint64) uint64 { return b2i(u(a) > u(b)) }},
		{"setp.ge.s16 $d, $a, $b;", "phh", func(a, b, _ uint64) uint64 { return b2i(int16(a) >= int16(b)) }},
		{"setp.lt.and.u64 $d, $a, $b, $c;", "pllp", func(a, b, c uint64) uint64 { return b2i(a < b) & c }},
		{"setp.eq.xor.s32 %p7|$d, $a, $b, !$c;", "pwwp", func(a, b, c uint64) uint64 { return b2i(u(a) != u(b)) ^ (1 - c) }},
		{"set.gt.u32.s32 $d, $a, $b;", "www", func(a, b, _ uint64) uint64 { return -b2i(s(a) > s(b)) }},
		{"and.pred $d, $a, !$b;", "ppp", func(a, b, _ uint64) uint64 { return a & (1 - b) }},
		{"not.pred $d, $a;", "pp", func(a, _, _ uint64) uint64 { return 1 - a }},
		{"mov.pred %p7, -1; and.pred $d, $a, %p7;", "pp", func(a, _, _ uint64) uint64 { return a }},
		{"mov.b32 $d, {$a, $b};", "whh", func(a, b, _ uint64) uint64 { return a | b<<16 }},
		{"mov.b64 {%r20, $d}, $a;", "wl", func(a, _, _ uint64) uint64 { return a >> 32 }},
		{"cvt.s32.s8 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(int64(int8(a))) }},
		{"cvt.u64.u16 $d, $a;", "lh", func(a, _, _ uint64) uint64 { return a }},
		{"cvt.sat.u8.s32 $d, $a;", "ww", func(a, _, _ uint64) uint64 { return uint64(min(max(s(a), 0), 255)) }},
		{"cvt.sat.s16.s32 $d, $a;", "hw", func(a, _, _ uint64) uint64 { return uint64(min(max(s(a), -32768), 32767)) }},
		{"szext.wrap.s32 $d, $a, 5;", "ww", func(a, _, _ uint64) uint64 { return uint64(int64(int32(a<<27)) >> 27) }},
	}, exactly)
}

// rounded is the value of format (mant stored bits, smallest normal exponent emin, largest finite max) that v rounds to,
// found with integers of any size.
func rounded(v *big.Float, mant, emin int, max float64, mode byte) float64 {
	if v.IsInf() {
		f, _ := v.Float64()
		return f
	}
	if v.Sign() == 0 {
		f, _ := v.Float64()
		return f
	}
	a := new(big.Float).SetPrec(2000).Abs(v)
	e := a.MantExp(nil) - 1
	q := -mant + emin
	if e > emin {
		q = e - mant
	}
	scaled := new(big.Float).SetPrec(2000).SetMantExp(a, -q)
	n, _ := scaled.Int(nil)
	rest := new(big.Float).SetPrec(2000).Sub(scaled, new(big.Float).SetPrec(2000).SetInt(n))
	half := big.NewFloat(0.5)
	up := false
	switch mode {
	case 'n':
		c := rest.Cmp(half)
		up = c > 0 || c == 0 && n.Bit(0) == 1
	case 'a':
		up = rest.Cmp(half) >= 0
	case 'p':
		up = rest.Sign() > 0 && v.Sign() > 0
	case 'm':
		up = rest.Sign() > 0 && v.Sign() < 0
	}
	if up {
		n.Add(n, big.NewInt(1))
	}
	r, _ := new(big.Float).SetMantExp(new(big.Float).SetInt(n), q).Float64()
	if r > max {
		r = math.Inf(1)
		if mode == 'z' || mode == 'm' && v.Sign() > 0 || mode == 'p' && v.Sign() < 0 {
			r = max
		}
	}
	if v.Sign() < 0 {
		r = -r
	}
	return r
}

func exactFloat(x float64) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(x) }

// float32Case builds the expected result of an operation on float32s: special values by IEEE 754 through float64, the
// rest exactly and then rounded.
func float32Case(mode byte, ieee func(a, b, c float64) float64, exact func(a, b, c *big.Float) *big.Float) func(a, b, c uint64) uint64 {
	return func(a, b, c uint64) uint64 {
		x, y, z := float64(math.Float32frombits(uint32(a))), float64(math.Float32frombits(uint32(b))), float64(math.Float32frombits(uint32(c)))
		r := ieee(x, y, z)
		if !math.IsNaN(r) && !math.IsInf(r, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) && !math.IsInf(z, 0) {
			e := exact(exactFloat(x), exactFloat(y), exactFloat(z))
			if e.Sign() != 0 {
				r = rounded(e, 23, -126, math.MaxFloat32, mode)
			}
		}
		return uint64(math.Float32bits(float32(r)))
	}
}

// sameFloat compares bits, except that all NaNs are alike and a zero that comes from cancellation may have either sign.
func sameFloat(kind byte, got, want uint64) bool {
	switch kind {
	case 'f':
		g, w := math.Float32frombits(uint32(got)), math.Float32frombits(uint32(want))
		return got == want || g != g && w != w || g == 0 && w == 0
	case 'g':
		g, w := math.Float64frombits(got), math.Float64frombits(want)
		return got == want || g != g && w != w
	case 'h':
		nan := func(x uint64) bool { return x&0x7fff > 0x7c00 }
		return got == want || nan(got) && nan(want) || got&0x7fff == 0 && want&0x7fff == 0
	}
	return got == want
}

func TestFloatInstructions(t *testing.T) {
	add := func(a, b, _ float64) float64 { return a + b }
	mul := func(a, b, _ float64) float64 { return a * b }
	fma := func(a, b, c float64) float64 { return a*b + c }
	div := func(a, b, _ float64) float64 { return a / b }
	bigAdd := func(a, b, _ *big.Float) *big.Float { return a.Add(a, b) }
	bigMul := func(a, b, _ *big.Float) *big.Float { return a.Mul(a, b) }
	bigFMA := func(a, b, c *big.Float) *big.Float { return a.Add(a.Mul(a, b), c) }
	bigDiv := func(a, b, _ *big.Float) *big.Float { return a.Quo(a, b) }
	f := func(x uint64) float64 { return float64(math.Float32frombits(uint32(x))) }
	d := math.Float64frombits
	cases := []opCase{
		{"sub.f32 $d, $a, $b;", "fff", float32Case('n', func(a, b, _ float64) float64 { return a - b }, func(a, b, _ *big.Float) *big.Float { return a.Sub(a, b) })},
		{"sqrt.rn.f32 $d, $a;", "ff", float32Case('n', func(a, _, _ float64) float64 { return math.Sqrt(a) }, func(a, _, _ *big.Float) *big.Float { return a.Sqrt(a) })},
		{"rcp.rn.f32 $d, $a;", "ff", float32Case('n', func(a, _, _ float64) float64 { return 1 / a }, func(a, _, _ *big.Float) *big.Float { return a.Quo(big.NewFloat(1).SetPrec(2000), a) })},
		{"add.f64 $d, $a, $b;", "ggg", func(a, b, _ uint64) uint64 { return math.Float64bits(d(a) + d(b)) }},
		{"fma.rn.f64 $d, $a, $b, $c;", "gggg", func(a, b, c uint64) uint64 { return math.Float64bits(math.FMA(d(a), d(b), d(c))) }},
		{"max.f32 $d, $a, $b;", "fff", func(a, b, _ uint64) uint64 { return uint64(math.Float32bits(float32(math.Max(f(a), f(b))))) }},
		{"min.f32 $d, $a, 0f7fc00000;", "ff", func(a, _, _ uint64) uint64 { return a }},
		{"abs.f32 $d, $a;", "ff", func(a, _, _ uint64) uint64 { return uint64(math.Float32bits(float32(math.Abs(f(a))))) }},
		{"neg.f64 $d, $a;", "gg", func(a, _, _ uint64) uint64 { return math.Float64bits(-d(a)) }},
		{"copysign.f32 $d, $a, $b;", "fff", func(a, b, _ uint64) uint64 { return uint64(math.Float32bits(float32(math.Copysign(f(b), f(a))))) }},
		{"add.sat.f32 $d, $a, $b;", "fff", func(a, b, _ uint64) uint64 {
			v := float64(math.Float32frombits(uint32(float32Case('n', add, bigAdd)(a, b, 0))))
			if !(v > 0) {
				v = 0
			}
			return uint64(math.Float32bits(float32(min(v, 1))))
		}},
		{"setp.ltu.f32 $d, $a, 0f40000000;", "pf", func(a, _, _ uint64) uint64 { return b2i(!(f(a) >= 2)) }},
		{"setp.nan.f32 $d, $a, 0f7fc00000;", "pf", func(uint64, uint64, uint64) uint64 { return 1 }},
		{"testp.subnormal.f32 $d, $a;", "pf", func(a, _, _ uint64) uint64 { return b2i(f(a) != 0 && math.Abs(f(a)) < 0x1p-126) }},
		{"add.f16 $d, $a, $b;", "hhh", func(a, b, _ uint64) uint64 { return half16(fromF16x(a) + fromF16x(b)) }},
		{"fma.rn.f16x2 $d, $a, $b, $c;", "wwww", func(a, b, c uint64) uint64 {
			one := func(s int) uint64 { return half16(fromF16x(a>>s)*fromF16x(b>>s) + fromF16x(c>>s)) }
			return one(0) | one(16)<<16
		}},
	}
	for _, m := range "nzmp" {
		mode := byte(m)
		cases = append(cases,
			opCase{"add.r" + string(m) + ".f32 $d, $a, $b;", "fff", float32Case(mode, add, bigAdd)},
			opCase{"mul.r" + string(m) + ".f32 $d, $a, $b;", "fff", float32Case(mode, mul, bigMul)},
			opCase{"fma.r" + string(m) + ".f32 $d, $a, $b, $c;", "ffff", float32Case(mode, fma, bigFMA)},
			opCase{"div.r" + string(m) + ".f32 $d, $a, $b;", "fff", float32Case(mode, div, bigDiv)},
			opCase{"cvt.r" + string(m) + ".f32.f64 $d, $a;", "fg", func(a, _, _ uint64) uint64 {
				v := d(a)
				if math.IsInf(v, 0) || v == 0 {
					return uint64(math.Float32bits(float32(v)))
				}
				return uint64(math.Float32bits(float32(rounded(exactFloat(v), 23, -126, math.MaxFloat32, mode))))
			}},
			opCase{"cvt.r" + string(m) + ".f32.s64 $d, $a;", "fl", func(a, _, _ uint64) uint64 {
				return uint64(math.Float32bits(float32(rounded(new(big.Float).SetPrec(2000).SetInt64(int64(a)), 23, -126, math.MaxFloat32, mode))))
			}},
			opCase{"cvt.r" + string(m) + "i.s32.f32 $d, $a;", "wf", func(a, _, _ uint64) uint64 {
				v := map[byte]func(float64) float64{'n': math.RoundToEven, 'z': math.Trunc, 'm': math.Floor, 'p': math.Ceil}[mode](f(a))
				return uint64(int64(min(max(v, math.MinInt32), math.MaxInt32)))
			}})
	}
	checkCases(t, cases, sameHalves)
}

// sameHalves is sameFloat where a 32-bit register holds two 16-bit floats.
func sameHalves(kind byte, got, want uint64) bool {
	if kind == 'w' && got != want {
		return sameFloat('h', got&0xffff, want&0xffff) && sameFloat('h', got>>16, want>>16)
	}
	return sameFloat(kind, got, want)
}

// fromF16x widens any binary16, infinities and NaNs included.
func fromF16x(x uint64) float64 {
	h := uint16(x)
	if h&0x7c00 == 0x7c00 {
		if h&0x3ff != 0 {
			return math.NaN()
		}
		return math.Inf(1 - 2*int(h>>15))
	}
	return fromF16(h)
}

// half16 rounds an exact float64 to binary16.
func half16(v float64) uint64 {
	switch {
	case math.IsNaN(v):
		return 0x7fff
	case math.IsInf(v, 0):
		return uint64(0x7c00 | b2i(v < 0)<<15)
	case v == 0:
		return b2i(math.Signbit(v)) << 15
	}
	r := rounded(exactFloat(v), 10, -14, 65504, 'n')
	if math.IsInf(r, 0) {
		return uint64(0x7c00 | b2i(v < 0)<<15)
	}
	return uint64(toF16(float32(r)))
}

func TestNarrowConversions(t *testing.T) {
	f := func(x uint64) float64 { return float64(math.Float32frombits(uint32(x))) }
	to := func(v float64, mant, emin int, max float64, mode byte) float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 {
			return v
		}
		return rounded(exactFloat(v), mant, emin, max, mode)
	}
	bf := func(v float64, mode byte) uint64 {
		r := to(v, 7, -126, 0x1.fep127, mode)
		if math.IsNaN(r) {
			return 0x7fff
		}
		return uint64(math.Float32bits(float32(r)) >> 16)
	}
	e4 := func(v float64) uint64 { // e4m3 by search: the nearest of its 127 magnitudes, ties to the even code
		best := uint64(0)
		mag := func(c uint64) float64 {
			if c < 8 {
				return float64(c) * 0x1p-9
			}
			return (1 + float64(c&7)/8) * math.Exp2(float64(c>>3)-7)
		}
		for c := range uint64(127) {
			d, b := math.Abs(mag(c)-math.Abs(v)), math.Abs(mag(best)-math.Abs(v))
			if d < b || d == b && c&1 == 0 {
				best = c
			}
		}
		if math.IsInf(v, 0) || math.Abs(v) > 448 {
			best = 0x7e
		}
		return best | b2i(math.Signbit(v))<<7
	}
	checkCases(t, []opCase{
		{"cvt.rn.f16.f32 $d, $a;", "hf", func(a, _, _ uint64) uint64 { return half16(f(a)) }},
		{"cvt.f32.f16 $d, $a;", "fh", func(a, _, _ uint64) uint64 { return uint64(math.Float32bits(float32(fromF16x(a)))) }},
		{"cvt.rn.bf16.f32 $d, $a;", "hf", func(a, _, _ uint64) uint64 { return bf(f(a), 'n') }},
		{"cvt.rz.bf16.f32 $d, $a;", "hf", func(a, _, _ uint64) uint64 { return bf(f(a), 'z') }},
		{"cvt.rn.bf16x2.f32 $d, $a, $b;", "wff", func(a, b, _ uint64) uint64 { return bf(f(a), 'n')<<16 | bf(f(b), 'n') }},
		{"cvt.rn.f16x2.f32 $d, $a, $b;", "wff", func(a, b, _ uint64) uint64 { return half16(f(a))<<16 | half16(f(b)) }},
		{"cvt.rn.relu.f16x2.f32 $d, $a, $b;", "wff", func(a, b, _ uint64) uint64 {
			return half16(max(f(a), 0))<<16 | half16(max(f(b), 0))
		}},
		{"cvt.rna.tf32.f32 $d, $a;", "wf", func(a, _, _ uint64) uint64 {
			return uint64(math.Float32bits(float32(to(f(a), 10, -126, 0x1.ffcp127, 'a'))))
		}},
		{"cvt.rn.satfinite.e4m3x2.f32 $d, $a, $b;", "hff", func(a, b, _ uint64) uint64 { return e4(f(a))<<8 | e4(f(b)) }},
	}, sameHalves)
}

func TestBFloat16Arithmetic(t *testing.T) {
	one := func(x, y, z float64) uint64 {
		switch r := x*y + z; {
		case math.IsNaN(r):
			return 0x7fff
		case math.IsInf(r, 0):
			return uint64(math.Float32bits(float32(r)) >> 16)
		}
		e := exactFloat(x)
		e.Add(e.Mul(e, exactFloat(y)), exactFloat(z))
		return uint64(math.Float32bits(float32(rounded(e, 7, -126, 0x1.fep127, 'n'))) >> 16)
	}
	v := asBF16.decode32
	each := func(f func(x, y, z uint32) uint64) func(a, b, c uint64) uint64 {
		return func(a, b, c uint64) uint64 {
			return f(uint32(a), uint32(b), uint32(c)) | f(uint32(a>>16), uint32(b>>16), uint32(c>>16))<<16
		}
	}
	checkCases(t, []opCase{
		{"fma.rn.bf16x2 $d, $a, $b, $c;", "wwww", each(func(x, y, z uint32) uint64 { return one(v(x), v(y), v(z)) })},
		{"add.bf16x2 $d, $a, $b;", "www", each(func(x, y, _ uint32) uint64 { return one(v(x), 1, v(y)) })},
		{"mul.rn.bf16x2 $d, $a, $b;", "www", each(func(x, y, _ uint32) uint64 { return one(v(x), v(y), 0) })},
		{"max.NaN.bf16x2 $d, $a, $b;", "www", each(func(x, y, _ uint32) uint64 { return one(math.Max(v(x), v(y)), 1, 0) })},
	}, func(_ byte, got, want uint64) bool {
		same := func(g, w uint64) bool { return g == w || g&0x7fff == 0 && w&0x7fff == 0 }
		return same(got&0xffff, want&0xffff) && same(got>>16, want>>16)
	})
}
