package emu

import "math"

// The approximate functions of the special-function unit. Their bits are not documented, their largest errors are
// (PTX ISA, floating-point instructions). Each is computed in float64 and then cut down to a precision that just fits
// the documented error, so that a kernel which needs more than is promised shows it here:
//
//	ex2    relative 2^-22           tanh f32   relative 2^-11
//	lg2    relative 2^-22, absolute 2^-22 between 0.5 and 2
//	rcp, rsqrt, sqrt, div           relative 2^-23 (1 to 2 units in the last place)
//	sin, cos                        absolute 2^-20.5 between -pi and pi
//	16-bit ex2 and tanh             rounded to the format (2^-9.9 and 2^-10.987 for f16, 2^-7 and 2^-8 for bf16)
//
// Exact cases (zeros, infinities, powers of two) come out exact, as the ISA's tables demand.

// significant rounds v to n significant bits.
func significant(v float64, n int) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	drop := uint(53 - n)
	b := math.Float64bits(v)
	b += 1<<(drop-1) - 1 + b>>drop&1
	return math.Float64frombits(b >> drop << drop)
}

// grid rounds v to a multiple of 2^-n.
func grid(v float64, n int) float64 {
	s := math.Ldexp(1, n)
	return math.RoundToEven(v*s) / s
}

// approximations maps the base opcode to the function in float64.
var approximations = map[string]func(float64) float64{
	"ex2": func(x float64) float64 { return significant(math.Exp2(x), 22) },
	"lg2": func(x float64) float64 {
		v := math.Log2(x)
		if x > 0.5 && x < 2 {
			return grid(v, 21)
		}
		return significant(v, 22)
	},
	"rcp":   func(x float64) float64 { return significant(1/x, 23) },
	"rsqrt": func(x float64) float64 { return significant(1/math.Sqrt(x), 23) },
	"sqrt":  func(x float64) float64 { return significant(math.Sqrt(x), 23) },
	"sin":   func(x float64) float64 { return grid(math.Sin(x), 20) },
	"cos":   func(x float64) float64 { return grid(math.Cos(x), 20) },
	"tanh":  func(x float64) float64 { return significant(math.Tanh(x), 11) },
}

// ex2ftz is ex2.approx.ftz.f32, the one that attention executes most: 2^x = 2^n 2^f with |f| <= 1/2 and a Taylor
// polynomial of degree 9 for 2^f, whose error of 2^-37 disappears in the rounding to 22 bits.
func ex2ftz(a uint32) uint32 {
	x := float64(float32s(a))
	switch {
	case x != x:
		return 0x7fffffff
	case x >= 128:
		return 0x7f800000
	case x < -126: // 2^x is subnormal
		return 0
	}
	n := math.Floor(x + 0.5)
	t := (x - n) * math.Ln2
	p := 1 + t*(1+t*(1.0/2+t*(1.0/6+t*(1.0/24+t*(1.0/120+t*(1.0/720+t*(1.0/5040+t*(1.0/40320+t/362880))))))))
	b := math.Float64bits(p) + uint64(int64(n))<<52
	b += 1<<30 - 1 + b>>31&1
	return bits32(float32(math.Float64frombits(b >> 31 << 31)))
}

// rcpftz is rcp.approx.ftz.f32, which ends every softmax.
func rcpftz(a uint32) uint32 {
	switch {
	case a<<1 > 0xff000000:
		return 0x7fffffff
	case a<<1 < 1<<24: // zero, or as good as zero
		return a&(1<<31) | 0x7f800000
	}
	r := bits32(float32(significant(1/float64(float32s(a)), 23)))
	if r<<1 < 1<<24 {
		r &= 1 << 31
	}
	return r
}
