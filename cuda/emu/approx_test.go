package emu

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The error of the approximations stays within what the PTX ISA documents, and is not much better than that where the
// documented precision is far from float32's.
func TestApproximations(t *testing.T) {
	for _, c := range []struct {
		op       string
		f        func(float64) float64
		lo, hi   float64
		relative float64
		absolute float64
		worse    float64 // the largest error seen must exceed this
	}{
		{op: "ex2.approx.ftz.f32", f: math.Exp2, lo: -120, hi: 120, relative: 0x1p-22},
		{op: "ex2.approx.f32", f: math.Exp2, lo: -120, hi: 120, relative: 0x1p-22},
		{op: "lg2.approx.f32", f: math.Log2, lo: 0.51, hi: 1.99, absolute: 0x1p-22},
		{op: "lg2.approx.ftz.f32", f: math.Log2, lo: 2, hi: 1e30, relative: 0x1p-22},
		{op: "rcp.approx.ftz.f32", f: func(x float64) float64 { return 1 / x }, lo: 1e-3, hi: 1e3, relative: 0x1p-23},
		{op: "rsqrt.approx.ftz.f32", f: func(x float64) float64 { return 1 / math.Sqrt(x) }, lo: 1e-6, hi: 1e6, relative: math.Exp2(-22.9)},
		{op: "sqrt.approx.f32", f: math.Sqrt, lo: 1e-6, hi: 1e6, relative: 0x1p-23},
		{op: "sin.approx.f32", f: math.Sin, lo: -math.Pi, hi: math.Pi, absolute: math.Exp2(-20.5)},
		{op: "cos.approx.f32", f: math.Cos, lo: -math.Pi, hi: math.Pi, absolute: math.Exp2(-20.5)},
		{op: "tanh.approx.f32", f: math.Tanh, lo: -8, hi: 8, relative: 0x1p-11, worse: 0x1p-13},
	} {
		t.Run(c.op, func(t *testing.T) {
			r := rand.New(rand.NewPCG(13, 14))
			worst := 0.0
			for range 8 {
				var in [caseLanes][3]uint64
				for l := range in {
					in[l][0] = uint64(math.Float32bits(float32(c.lo + r.Float64()*(c.hi-c.lo))))
				}
				out := runCase(t, opCase{op: c.op + " $d, $a;", kind: "ff"}, in)
				for l := range in {
					x := float64(math.Float32frombits(uint32(in[l][0])))
					want := c.f(x)
					e := math.Abs(float64(math.Float32frombits(uint32(out[l]))) - want)
					if c.relative != 0 {
						e /= math.Abs(want)
					}
					worst = max(worst, e)
				}
			}
			// One rounding to float32 comes on top of the documented bound of relative errors near 2^-23.
			if limit := (c.relative + c.absolute) * 1.0001; worst > limit || worst < c.worse {
				t.Errorf("error %.3g, documented %.3g", worst, limit)
			}
		})
	}
}
