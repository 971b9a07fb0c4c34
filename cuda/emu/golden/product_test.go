package golden

import (
	"math"
	"math/rand/v2"
	"testing"
)

// truncated is element [i, j] as a tensor core makes it that adds so many products at a time: all addends are cut to
// the 24 bits of the largest, and the sum to a float32.
func (o *operands) truncated(i, j, products int) float64 {
	cut := func(v float64, last int) float64 { return math.Ldexp(math.Trunc(math.Ldexp(v, -last)), last) }
	d := o.c[i*o.n+j]
	for k := 0; k < o.k; k += products {
		addends := []float64{d}
		for q := range products {
			addends = append(addends, o.a[i*o.k+k+q]*o.b[j*o.k+k+q])
		}
		top := -126
		for _, v := range addends {
			if v != 0 {
				_, e := math.Frexp(v)
				top = max(top, e-1)
			}
		}
		d = 0
		for _, v := range addends {
			d += cut(v, top-23)
		}
		_, e := math.Frexp(d)
		d = cut(d, max(e-24, -149))
	}
	return d
}

// The bound of products leaves room for tensor cores of every generation, and not for much more.
func TestProductBound(t *testing.T) {
	for _, f := range []Format{F16, BF16} {
		o := randomOperands(rand.New(rand.NewPCG(41, uint64(f))), 16*rowKinds, 16, 16, f)
		for _, products := range []int{4, 8, 16} {
			worst := 0.0
			for i := range o.m {
				if i%rowKinds == rowSpecial {
					continue
				}
				for j := range o.n {
					w, got := o.value(i, j), o.truncated(i, j, products)
					if !w.near(got) {
						t.Fatalf("%s, %d at a time: element [%d,%d] is %v, want %v within %.3g", typeName(f), products, i, j, got, w.Want, w.Error)
					}
					if w.Error > 0 {
						worst = max(worst, math.Abs(got-w.Want)/w.Error)
					}
				}
			}
			t.Logf("%s, %d at a time: %.3g of the bound", typeName(f), products, worst)
			if worst < 0.05 {
				t.Errorf("the largest error is %.3g of the bound, which is too wide", worst)
			}
		}
	}
}
