package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"remote-client-server/runtime"
)

// outside is n float32 of memory outside the Go heap, as the kernels are given.
func outside(t *testing.T, n int) (unsafe.Pointer, []float32) {
	t.Helper()
	addr, err := allocate(int64(n)*4 + 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release(addr) })
	return pointer(addr), floats(pointer(addr), n)
}

// allowed is the error allowed at x for a result y: a millionth of y, or what rounding the argument of exp costs.
func allowed(a runtime.Act, x, y float64) float64 {
	switch a {
	case runtime.None, runtime.ReLU:
		return 0
	case runtime.Tanh, runtime.Sigmoid, runtime.SiLU:
		return 1e-6*math.Abs(y) + 1e-36 // where the exponential overflows
	}
	return 2e-7 * max(1, math.Abs(x))
}

func TestActivationsOverAllFloats(t *testing.T) {
	const n = 4096
	for _, lv := range levels() {
		dst, y := outside(t, n)
		src, x := outside(t, n)
		zero, _ := outside(t, n)
		step := uint32(4099)
		if lv.name == "generic" {
			step = 400009
		}
		for a := runtime.None; a <= runtime.QuickGELU; a++ {
			for bits, done := uint64(0), false; !done; {
				for i := range x {
					x[i] = math.Float32frombits(uint32(bits))
					if bits += uint64(step); bits >= 1<<32 {
						bits, done = 0, true
					}
				}
				lv.act[a](dst, src, zero, n)
				for i, v := range x {
					got, want := float64(y[i]), act64(a, float64(v))
					switch {
					case math.IsNaN(float64(v)):
						if !math.IsNaN(got) {
							t.Fatalf("%s: %v(NaN) is %v", lv.name, a, got)
						}
					case math.Abs(float64(v)) > 1e18: // the reference's own cubes overflow soon
						limit := map[runtime.Act]float64{runtime.Tanh: -1}[a]
						if a == runtime.None {
							limit = float64(v)
						}
						if v > 0 {
							limit = float64(v)
							if a == runtime.Tanh || a == runtime.Sigmoid {
								limit = 1
							}
						}
						if math.Abs(got-limit) > 1e-6*math.Abs(limit) && !(math.IsInf(float64(v), -1) && math.IsNaN(got)) {
							t.Fatalf("%s: %v(%v) is %v, want %v", lv.name, a, v, got, limit)
						}
					case math.Abs(got-want) > allowed(a, float64(v), want) || math.IsNaN(got):
						t.Fatalf("%s: %v(%v) is %v, want %v", lv.name, a, v, got, want)
					}
				}
			}
		}
	}
}

func TestSoftmaxOfExtremeRows(t *testing.T) {
	inf := float32(math.Inf(-1))
	rows := map[string][]float32{
		"all equal":          {2, 2, 2, 2},
		"one alone":          {-1e30, -1e30, 5, -1e30},
		"masked":             {inf, 1, 2, inf},
		"far apart":          {0, -50, -87, -88},
		"large":              {1e6, 1e6 - 1, 1e6 - 2, 0},
		"small and negative": {-3e4, -3e4 - 1, -3e4 - 2, -3e4 - 3},
	}
	for _, lv := range levels() {
		for name, row := range rows {
			s, x := outside(t, tileFloats)
			state, _ := outside(t, 16)
			for i := range 32 {
				x[i] = inf
			}
			copy(x[5:], row)
			st := (*softmaxState)(state)
			*st = softmaxStart
			lv.softmax(s, state, 1, 16)
			first := *st
			for i := range 16 { // the same keys once more: half the weight each
				x[i] = inf
			}
			copy(x[5:], row)
			lv.softmax(s, state, 1, 32)
			top, sum := math.Inf(-1), 0.0
			for _, v := range row {
				top = max(top, float64(v))
			}
			for _, v := range row {
				sum += math.Exp(float64(v) - top)
			}
			for i, v := range row {
				if want := math.Exp(float64(v) - top); math.Abs(float64(x[5+i])-want) > 1e-6*want+1e-37 {
					t.Errorf("%s: %s: weight of %v is %v, want %v", lv.name, name, v, x[5+i], want)
				}
			}
			if math.Abs(float64(first.sum)-sum) > 1e-6*sum || math.Abs(float64(st.sum)-2*sum) > 2e-6*sum || st.shrink != 1 {
				t.Errorf("%s: %s: sums %v and %v, want %v and %v", lv.name, name, first.sum, st.sum, sum, 2*sum)
			}
		}
		s, x := outside(t, tileFloats)
		state, _ := outside(t, 16)
		st := (*softmaxState)(state)
		*st = softmaxStart
		for i := range 16 {
			x[i] = inf
		}
		if lv.softmax(s, state, 1, 16); st.sum != 0 || x[3] != 0 {
			t.Errorf("%s: a row that sees nothing has sum %v, weight %v", lv.name, st.sum, x[3])
		}
	}
}

func TestSoftmaxThatLeavesBFloat16(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, lv := range levels() {
		if lv.softmaxBF16 == nil {
			continue
		}
		s, x := outside(t, tileFloats)
		state, _ := outside(t, 16)
		st := (*softmaxState)(state)
		*st = softmaxStart
		row := random(r, 96)
		top, sum := math.Inf(-1), 0.0
		for i := range row {
			row[i] *= 30
			if i%7 == 3 {
				row[i] = float32(math.Inf(-1))
			}
			top = max(top, float64(row[i]))
		}
		copy(x, row)
		lv.softmaxBF16(s, state, 1, 96)
		got := unsafe.Slice((*uint16)(s), 96)
		for i, v := range row {
			want := math.Exp(float64(v) - top)
			sum += want
			if g := float64(runtime.BF16ToF32(got[i])); math.Abs(g-want) > want/256+1e-37 {
				t.Errorf("%s: weight of %v is %v, want %v", lv.name, v, g, want)
			}
		}
		if math.Abs(float64(st.sum)-sum) > 1e-5*sum || float64(st.max) != top {
			t.Errorf("%s: max %v and sum %v, want %v and %v", lv.name, st.max, st.sum, top, sum)
		}
	}
}

// Every level against the portable one, kernel by kernel.
func TestVectorKernelsAgreeWithPortableGo(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	portable := genericKernels()
	for _, lv := range levels() {
		for _, n := range []int{16, 48, 64, 80, 256, 1008} {
			a, av := outside(t, 16*n)
			b, bv := outside(t, n)
			c, cv := outside(t, n)
			d1, v1 := outside(t, 16*n)
			d2, v2 := outside(t, 16*n)
			copy(av, random(r, 16*n))
			copy(bv, random(r, n))
			copy(cv, random(r, n))
			check := func(name string, tolerance float64, f func(k *kernels, d unsafe.Pointer)) {
				clear(v1)
				clear(v2)
				f(&lv.kernels, d1)
				f(&portable, d2)
				closeTo(t, fmt.Sprintf("%s %s of %d", lv.name, name, n), v1, wide(v2), tolerance)
			}
			check("addBias", 1e-6, func(k *kernels, d unsafe.Pointer) { k.addBias(d, a, b, n) })
			check("add", 1e-6, func(k *kernels, d unsafe.Pointer) { k.add(d, a, n) })
			check("scaleRows", 0, func(k *kernels, d unsafe.Pointer) {
				k.scaleRows(d, n*8, a, n*4, b, 4, 3, n)
				k.scaleRows(at(d, n), n*8, a, n*4, c, 0, 3, n)
			})
			check("scale", 1e-6, func(k *kernels, d unsafe.Pointer) { k.scale(d, a, n, 0.3) })
			check("cap", 1e-6, func(k *kernels, d unsafe.Pointer) { k.cap(d, a, n, 0.7) })
			check("sum", 1e-4, func(k *kernels, d unsafe.Pointer) { floats(d, 1)[0] = k.sum(a, n) })
			check("squares", 1e-4, func(k *kernels, d unsafe.Pointer) { floats(d, 1)[0] = k.squares(a, n, 0.2) })
			check("affine", 1e-6, func(k *kernels, d unsafe.Pointer) { k.affine(d, a, b, c, n, 0.1, 1.5) })
			check("transpose", 0, func(k *kernels, d unsafe.Pointer) { k.transpose(d, 64, a, n*4, n) })
			if n%32 == 0 {
				check("rotate", 1e-6, func(k *kernels, d unsafe.Pointer) { k.rotate(d, a, b, n/2) })
			}
		}
	}
}

// The kernels of sampling against the plain Go ones, on logits with all that can be among them.
func TestSearchesOfLogits(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	dst, y := outside(t, 4096)
	src, x := outside(t, 4096)
	tail, _ := outside(t, 64)
	w := &worker{tail: tail}
	for _, lv := range levels() {
		for _, n := range []int{1, 2, 15, 16, 17, 250, 1024, 2047, 2048, 2049, 4096} {
			for name, change := range map[string]func(z []float32) (id int, ok bool){
				"the last is the largest":    func(z []float32) (int, bool) { z[n-1] = 9; return n - 1, true },
				"of equals the first counts": func(z []float32) (int, bool) { z[n-1], z[n/2], z[n/3] = 9, 9, 9; return n / 3, true },
				"all are excluded": func(z []float32) (int, bool) {
					for i := range z {
						z[i] = -inf
					}
					return 0, true
				},
				"a NaN":                func(z []float32) (int, bool) { z[n/2] = nan; return 0, false },
				"a NaN of the sign -1": func(z []float32) (int, bool) { z[n-1] = -nan; return 0, false },
				"+Inf":                 func(z []float32) (int, bool) { z[n/3] = inf; return n / 3, false },
				"-Inf and less":        func(z []float32) (int, bool) { clear(z); z[0] = -inf; return min(1, n-1), true },
			} {
				copy(x, random(r, n))
				want, ok := change(x[:n])
				if got, good := lv.argmax(w, x[:n]); good != ok || ok && got != want {
					t.Errorf("%s, %s: %d of %d, %v, want %d, %v", lv.name, name, got, n, good, want, ok)
				}
			}
		}
		copy(x, random(r, 4096))
		lv.classes(dst, src, 16)
		for i, v := range y[:256] {
			top := -inf
			for j := range 16 {
				top = max(top, x[i/16*classBlock+16*j+i%16])
			}
			if v != top {
				t.Fatalf("%s: class %d has %v, want %v", lv.name, i, v, top)
			}
		}
		lv.divide(dst, src, 4096, 0.7)
		for i, v := range y {
			if v != x[i]/0.7 {
				t.Fatalf("%s: %v/0.7 is %v, want %v", lv.name, x[i], v, x[i]/0.7)
			}
		}
		lv.prefetch(src, 7)
	}
}
