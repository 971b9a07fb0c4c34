package emu

import (
	"math"
	"unsafe"
)

// Floating-point arithmetic as the PTX ISA defines it: correctly rounded in the stated direction. An operation on
// 16- and 32-bit formats is carried out in float64 and rounded to odd (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums"): the float64 result keeps a sticky last bit, so that the second rounding, to the narrow
// format, gives what a single one would have given. NaN payloads are not modelled: results are the canonical NaN
// or one that Go's arithmetic passes on.

type rounding uint8

const (
	roundNearest rounding = iota // ties to even
	roundZero
	roundDown
	roundUp
	roundAway // nearest, ties away from zero
)

var roundings = map[string]rounding{"rn": roundNearest, "rz": roundZero, "rm": roundDown, "rp": roundUp, "rna": roundAway,
	"rni": roundNearest, "rzi": roundZero, "rmi": roundDown, "rpi": roundUp}

// format is a binary floating-point format of at most 32 bits.
type format struct {
	bits   int
	mant   int // stored bits of the significand
	emin   int // exponent of the smallest normal number
	max    uint64
	nan    uint64
	inf    bool // has infinities
	padded int  // low bits that are always zero (tf32)
}

var formats = map[string]*format{
	"f16":  {bits: 16, mant: 10, emin: -14, max: 0x7bff, nan: 0x7fff, inf: true},
	"bf16": {bits: 16, mant: 7, emin: -126, max: 0x7f7f, nan: 0x7fff, inf: true},
	"f32":  {bits: 32, mant: 23, emin: -126, max: 0x7f7fffff, nan: 0x7fffffff, inf: true},
	"tf32": {bits: 32, mant: 10, emin: -126, max: 0x7f7fe000, nan: 0x7fffffff, inf: true, padded: 13},
	"e4m3": {bits: 8, mant: 3, emin: -6, max: 0x7e, nan: 0x7f},
	"e5m2": {bits: 8, mant: 2, emin: -14, max: 0x7b, nan: 0x7f, inf: true},
}

// decode widens a value, exactly.
func (f *format) decode(x uint64) float64 {
	switch f.bits {
	case 32:
		return float64(math.Float32frombits(uint32(x)))
	case 16:
		if f.mant == 7 {
			return float64(math.Float32frombits(uint32(x) << 16))
		}
	}
	x >>= f.padded
	sign := x >> (f.bits - f.padded - 1) & 1
	mag := x & (1<<(f.bits-f.padded-1) - 1)
	e, frac := int(mag>>f.mant), mag&(1<<f.mant-1)
	var v float64
	switch {
	case mag > f.max>>f.padded && f.inf && frac == 0:
		v = math.Inf(1)
	case mag > f.max>>f.padded:
		return math.NaN()
	case e == 0:
		v = math.Ldexp(float64(frac), f.emin-f.mant)
	default:
		v = math.Ldexp(float64(frac|1<<f.mant), f.emin-f.mant+e-1)
	}
	if sign != 0 {
		return math.Copysign(v, -1)
	}
	return v
}

// encode rounds v, which is exact or rounded to odd. finite makes overflow the largest finite value.
func (f *format) encode(v float64, r rounding, finite bool) uint64 {
	switch {
	case math.IsNaN(v):
		return f.nan
	case f.mant == 23 && r == roundNearest && !finite: // what the processor does
		return uint64(bits32(float32(v)))
	}
	var sign uint64
	if math.Signbit(v) {
		sign, v = 1<<(f.bits-1), -v
	}
	if v == 0 {
		return sign
	}
	up := r == roundUp && sign == 0 || r == roundDown && sign != 0 // away from zero
	overflow := func() uint64 {
		if finite || !f.inf && r != roundNearest || f.inf && (r == roundZero || (r == roundUp || r == roundDown) && !up) {
			return sign | f.max
		}
		if !f.inf {
			return sign | f.nan
		}
		return sign | (f.max>>f.padded+1)<<f.padded
	}
	if math.IsInf(v, 0) {
		if finite {
			return sign | f.max
		}
		if !f.inf {
			return sign | f.nan
		}
		return sign | (f.max>>f.padded+1)<<f.padded
	}
	_, e := math.Frexp(v)
	q := max(e-1, f.emin) - f.mant // exponent of the last bit
	scaled := math.Ldexp(v, -q)
	whole := math.Floor(scaled)
	n, rest := uint64(whole), scaled-whole
	switch r {
	case roundNearest:
		if rest > 0.5 || rest == 0.5 && n&1 != 0 {
			n++
		}
	case roundAway:
		if rest >= 0.5 {
			n++
		}
	default:
		if up && rest > 0 {
			n++
		}
	}
	if q > 300 {
		return overflow()
	}
	b := (uint64(q-(f.emin-f.mant))<<f.mant + n) << f.padded
	if b > f.max {
		return overflow()
	}
	return sign | b
}

// odd makes the sum s, which misses the exact one by err, odd in its last place.
func odd(s, err float64) float64 {
	if err == 0 || math.IsNaN(err) || math.IsInf(s, 0) {
		return s
	}
	b := math.Float64bits(s)
	if b&1 != 0 {
		return s
	}
	if (err > 0) == (s > 0) { // the exact value is further from zero
		return math.Float64frombits(b + 1)
	}
	if b<<1 == 0 {
		return s
	}
	return math.Float64frombits(b - 1)
}

// oddAdd is x + y rounded to odd (Knuth's two-sum gives the error).
func oddAdd(x, y float64) float64 {
	s := x + y
	z := s - x
	return odd(s, (x-(s-z))+(y-z))
}

// oddDiv and oddSqrt round to odd by the sign of the remainder.
func oddDiv(x, y float64) float64 {
	q := x / y
	if q == 0 || math.IsInf(q, 0) || math.IsNaN(q) || math.IsInf(y, 0) {
		return q
	}
	rest := math.FMA(-q, y, x)
	if y < 0 {
		rest = -rest
	}
	return odd(q, rest)
}

func oddSqrt(x float64) float64 {
	s := math.Sqrt(x)
	if s == 0 || math.IsInf(s, 0) || math.IsNaN(s) {
		return s
	}
	return odd(s, math.FMA(-s, s, x))
}

func float32s(x uint32) float32 { return math.Float32frombits(x) }
func bits32(x float32) uint32   { return math.Float32bits(x) }

// floats is a register seen as float32: a loop that converts lane by lane moves each through a general register.
func floats(r *[32]uint32) *[32]float32 { return (*[32]float32)(unsafe.Pointer(r)) }

// fma32 is fma.rn.f32 in every case. The product is exact in float64; adding there and rounding again is wrong only when
// the sum lies on a tie of float32 or is subnormal there, and the loop in ops_gen.go comes here for those.
func fma32(a, b, c uint32) uint32 {
	v := oddAdd(float64(float32s(a))*float64(float32s(b)), float64(float32s(c)))
	if v != v {
		return 0x7fffffff
	}
	return bits32(float32(v))
}

// max32 and min32 return the other operand when one is a NaN, and order -0 below +0.
func max32(a, b uint32) uint32 {
	x, y := float32s(a), float32s(b)
	switch {
	case x > y:
		return a
	case y > x:
		return b
	case x == y:
		return a & b
	}
	return otherNaN(a, b)
}

func min32(a, b uint32) uint32 {
	x, y := float32s(a), float32s(b)
	switch {
	case x < y:
		return a
	case y < x:
		return b
	case x == y:
		return a | b
	}
	return otherNaN(a, b)
}

func otherNaN(a, b uint32) uint32 {
	switch {
	case a<<1 <= 0xff000000:
		return a
	case b<<1 <= 0xff000000:
		return b
	}
	return 0x7fffffff
}

// bf16 rounds to the nearest bfloat16, ties to even.
func bf16(x uint32) uint16 {
	if x<<1 > 0xff000000 {
		return 0x7fff
	}
	return uint16((x + 0x7fff + x>>16&1) >> 16)
}

// half rounds to the nearest binary16, ties to even.
func half(x uint32) uint16 {
	sign := uint16(x>>16) & 0x8000
	x &= 0x7fffffff
	switch {
	case x > 0x7f800000:
		return 0x7fff
	case x >= 0x477ff000: // rounds to 65536 or is larger
		return sign | 0x7c00
	case x < 0x38800000: // below 2^-14: a number whose last bit is worth 2^-24 makes the sum round there
		return sign | uint16(bits32(float32s(x)+0.5)-0x3f000000)
	}
	x += 0xfff + x>>13&1
	return sign | uint16((x-0x38000000)>>13)
}

// halves has the float32 bits of every binary16.
var halves = func() *[1 << 16]uint32 {
	t, f := new([1 << 16]uint32), formats["f16"]
	for i := range t {
		t[i] = bits32(float32(f.decode(uint64(i))))
	}
	return t
}()

// bfe32 is bfe.u32: position and length are taken modulo 256.
func bfe32(a, pos, n uint32) uint32 {
	pos, n = pos&0xff, n&0xff
	if n == 0 || pos > 31 {
		return 0
	}
	a >>= pos
	if n < 32 {
		a &= 1<<n - 1
	}
	return a
}
