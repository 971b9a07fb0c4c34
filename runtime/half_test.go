package runtime

import (
	"math"
	"math/rand/v2"
	"testing"
)

// f16 is the value of a binary16 by its definition in IEEE 754.
func f16(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&0x3ff)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * frac * math.Pow(2, -24)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * (1 + frac/1024) * math.Pow(2, float64(exp-15))
}

func TestEveryHalfWidensExactlyAndComesBack(t *testing.T) {
	for h := range 1 << 16 {
		h := uint16(h)
		want, got := f16(h), F16ToF32(h)
		if math.IsNaN(want) {
			if !math.IsNaN(float64(got)) || !math.IsNaN(float64(F16ToF32(F32ToF16(got)))) {
				t.Fatalf("%#04x: %v, want NaN", h, got)
			}
			continue
		}
		if float64(got) != want || math.Signbit(float64(got)) != (h&0x8000 != 0) {
			t.Fatalf("%#04x is %v, want %v", h, got, want)
		}
		if back := F32ToF16(got); back != h {
			t.Fatalf("%v rounds to %#04x, want %#04x", got, back, h)
		}
	}
	for h := range 1 << 16 {
		f := BF16ToF32(uint16(h))
		if math.IsNaN(float64(f)) {
			if !math.IsNaN(float64(BF16ToF32(F32ToBF16(f)))) {
				t.Fatalf("bfloat16 %#04x: NaN is lost", h)
			}
		} else if F32ToBF16(f) != uint16(h) {
			t.Fatalf("bfloat16 %#04x does not come back", h)
		}
	}
}

// nearest is the one of two neighbours that x rounds to, ties to the even one.
func nearest(x float64, low, high uint16, value func(uint16) float64) uint16 {
	a, b := math.Abs(x-value(low)), math.Abs(x-value(high))
	switch {
	case a < b:
		return low
	case b < a:
		return high
	case low&1 == 0:
		return low
	}
	return high
}

func TestRoundingIsToNearestEven(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	wide := func(h uint16) float64 { return float64(BF16ToF32(h)) }
	for i := range 300_000 {
		h := uint16(rng.Uint32N(0x7bff)) // finite and positive, with a finite successor
		low, high := f16(h), f16(h+1)
		x := float32(low + (high-low)*rng.Float64())
		if i%3 == 0 {
			x = float32((low + high) / 2)
		}
		if want := nearest(float64(x), h, h+1, f16); F32ToF16(x) != want || F32ToF16(-x) != want|0x8000 {
			t.Fatalf("%g rounds to float16 %#04x, want %#04x", x, F32ToF16(x), want)
		}
		h = uint16(rng.Uint32N(0x7f7e))
		low, high = wide(h), wide(h+1)
		x = float32(low + (high-low)*rng.Float64())
		if i%3 == 0 {
			x = float32((low + high) / 2)
		}
		if want := nearest(float64(x), h, h+1, wide); F32ToBF16(x) != want || F32ToBF16(-x) != want|0x8000 {
			t.Fatalf("%g rounds to bfloat16 %#04x, want %#04x", x, F32ToBF16(x), want)
		}
	}
	for x, want := range map[float32]uint16{65504: 0x7bff, 65519.99: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, 2.98e-8: 0, 2.981e-8: 1} {
		if got := F32ToF16(x); got != want {
			t.Errorf("%g rounds to float16 %#04x, want %#04x", x, got, want)
		}
	}
}
