package optest

import (
	"fmt"
	"math"
	"testing"

	"remote-client-server/runtime"
)

// linear loads one spec on both backends.
func (w *twins) linear(s runtime.LinearSpec) (fast, slow *runtime.Linear) {
	w.t.Helper()
	return must(w.fastLoad.Linear(s))(w.t), must(w.slowLoad.Linear(s))(w.t)
}

func (w *twins) norm(kind runtime.NormKind, width int, affine bool, eps float32) (fast, slow *runtime.Norm) {
	w.t.Helper()
	s := runtime.NormSpec{Name: "n", Kind: kind, Width: width, Eps: eps}
	if affine {
		s.W = w.source("n.weight", 1, width, runtime.F32, 1)
		if kind == runtime.LayerNorm {
			s.B = w.source("n.bias", 1, width, runtime.F32, 1)
		}
	}
	return must(w.fastLoad.Norm(s))(w.t), must(w.slowLoad.Norm(s))(w.t)
}

// products runs the four products over awkward shapes, every stored type, activation and fusion.
func products(t *testing.T, c Config) {
	shapes := []struct{ m, n, k int }{
		{0, 5, 7}, {1, 1, 1}, {1, 33, 2}, {2, 7, 3}, {3, 16, 31}, {5, 31, 33}, {13, 65, 64}, {14, 32, 256}, {15, 96, 257},
		{29, 130, 70}, {1, 200, 513}, {64, 48, 511}, {100, 66, 130}, {1, 64, 3000}, {33, 40, 1030},
	}
	for _, dtype := range c.DTypes {
		for _, stored := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
			t.Run(fmt.Sprintf("%s from %v", dtype, stored), func(t *testing.T) {
				w := newTwins(t, c, dtype)
				for i, s := range shapes {
					if c.Quick && s.m*s.n*s.k > 1<<19 {
						continue
					}
					w.products(fmt.Sprintf("%s#%d", shapeName(s.m, s.n, s.k), i), s.m, s.n, s.k, stored, runtime.Act(i%8))
				}
			})
		}
	}
	t.Run("gates, caps, factors and views", func(t *testing.T) { specs(t, c) })
	t.Run("shapes that do not fit panic", func(t *testing.T) {
		w := newTwins(t, c, c.DTypes[0])
		l, _ := w.linear(runtime.LinearSpec{Name: "l", W: []runtime.Source{w.source("w", 4, 6, runtime.F32, 1)}})
		x := w.random(3, 6, 0).fast
		panics(t, "K differs", func() { w.fast.Linear(x.Columns(0, 5), l) })
		panics(t, "the stream is too narrow", func() { w.fast.LinearAdd(x.Columns(0, 3), x, l) })
		panics(t, "the rows differ", func() { w.fast.LinearAdd(x.Slice(0, 2).Columns(0, 4), x, l) })
	})
	t.Run("a spec that does not fit is an error", func(t *testing.T) {
		w := newTwins(t, c, c.DTypes[0])
		a, b := w.source("a", 4, 6, runtime.F32, 1), w.source("b", 4, 7, runtime.F32, 1)
		for name, s := range map[string]runtime.LinearSpec{
			"K differs":           {Name: "l", W: []runtime.Source{a, b}},
			"bias is too long":    {Name: "l", W: []runtime.Source{a}, B: []runtime.Source{w.source("bias", 1, 5, runtime.F32, 1)}},
			"an odd gated pair":   {Name: "l", W: []runtime.Source{a.RowRange(0, 3)}, Gate: true},
			"factors are missing": {Name: "l", W: []runtime.Source{a}, Scale: []float32{1}},
		} {
			if _, err := w.fastLoad.Linear(s); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func (w *twins) products(name string, m, n, k int, stored runtime.DType, act runtime.Act) {
	w.t.Helper()
	fm, sm := w.fast.Mark(), w.slow.Mark()
	defer func() { w.fast.Release(fm); w.slow.Release(sm) }()
	weight := w.source("w", n, k, stored, 0.5)
	bias := w.source("b", 1, n, runtime.F32, 0.5)
	plain, plainRef := w.linear(runtime.LinearSpec{Name: "plain", W: []runtime.Source{weight}})
	full, fullRef := w.linear(runtime.LinearSpec{Name: "full", W: []runtime.Source{weight}, B: []runtime.Source{bias}, Act: act})
	y := w.random(m, k, 3)
	scale := 0.5 * math.Sqrt(float64(k)) // of a product's elements
	w.sameAt(name+" Linear", operand{w.fast.Linear(y.fast, plain), w.slow.Linear(y.slow, plainRef)}, scale)
	w.sameAt(fmt.Sprintf("%s Linear with bias and %v", name, act), operand{w.fast.Linear(y.fast, full), w.slow.Linear(y.slow, fullRef)}, scale)

	x := w.random(m, n, 5)
	w.fast.LinearAdd(x.fast, y.fast, full)
	w.slow.LinearAdd(x.slow, y.slow, fullRef)
	w.sameAt(name+" LinearAdd", x, scale)

	for _, kind := range []runtime.NormKind{runtime.LayerNorm, runtime.RMSNorm} {
		if n < 3 || k < 3 { // the norm of one or two values is a sign: rounding decides it
			continue
		}
		out, outRef := w.norm(kind, n, true, 1e-5)
		x := w.random(m, n, 1)
		w.fast.LinearAddNorm(x.fast, y.fast, full, out)
		w.slow.LinearAddNorm(x.slow, y.slow, fullRef, outRef)
		w.same(name+" LinearAddNorm", x)
		in, inRef := w.norm(kind, k, true, 1e-5)
		w.sameAt(name+" NormLinear", operand{w.fast.NormLinear(y.fast, in, full), w.slow.NormLinear(y.slow, inRef, fullRef)}, scale)
	}
	step := decode(y)
	w.sameAt(name+" Linear of a decode step", operand{w.fast.Linear(step.fast, full), w.slow.Linear(step.slow, fullRef)}, scale)
	if w.precision.Compute != runtime.F32 {
		w.narrow(name, y, full, fullRef, m, n, scale)
	}
}

// narrow tries a residual stream in the type that is computed in, as post-norm families have it.
func (w *twins) narrow(name string, y operand, full, fullRef *runtime.Linear, m, n int, scale float64) {
	w.t.Helper()
	x := w.stream(m, n, 5, w.floats(m*n, 1), w.precision.Compute)
	w.fast.LinearAdd(x.fast, y.fast, full)
	w.slow.LinearAdd(x.slow, y.slow, fullRef)
	w.sameAt(name+" LinearAdd to a narrow stream", x, scale)
	if n < 3 {
		return
	}
	norm, normRef := w.norm(runtime.LayerNorm, n, true, 1e-5)
	x = w.stream(m, n, 2, w.floats(m*n, 1), w.precision.Compute)
	w.fast.LinearAddNorm(x.fast, y.fast, full, norm)
	w.slow.LinearAddNorm(x.slow, y.slow, fullRef, normRef)
	w.same(name+" LinearAddNorm of a narrow stream", x)
}

// specs loads products in every form that a LinearSpec can have.
func specs(t *testing.T, c Config) {
	const k = 70
	for i, m := range []int{1, 4, 17, 40} {
		w := newTwins(t, c, c.DTypes[0])
		a, b, wide := w.source("a", 37, k, runtime.F32, 0.3), w.source("b", 37, k, runtime.BF16, 0.3), w.source("wide", k, 50, runtime.F16, 0.3)
		bias := w.source("bias", 1, 37, runtime.F32, 0.3)
		factors := w.floats(74, 1)
		for name, s := range map[string]runtime.LinearSpec{
			"stacked sources of two types":       {W: []runtime.Source{a, b}},
			"a bias for the second part only":    {W: []runtime.Source{a, b}, B: []runtime.Source{{}, bias}},
			"a row range":                        {W: []runtime.Source{a.RowRange(5, 30)}},
			"a transposed source":                {W: []runtime.Source{wide.Transpose()}},
			"a row range of a transposed source": {W: []runtime.Source{wide.Transpose().RowRange(11, 44)}},
			"a gated pair":                       {W: []runtime.Source{a, b}, B: []runtime.Source{bias, bias}, Gate: true, Act: runtime.SiLU},
			"a gated pair in one source":         {W: []runtime.Source{a.RowRange(1, 37)}, Gate: true, Act: runtime.GELU},
			"a cap":                              {W: []runtime.Source{a}, B: []runtime.Source{bias}, Cap: 0.7},
			"factors":                            {W: []runtime.Source{a, b}, B: []runtime.Source{bias, bias}, Scale: factors, Act: runtime.Tanh},
		} {
			s.Name = name
			fast, slow := w.linear(s)
			x := w.random(m, k, i)
			w.same(fmt.Sprintf("%s, %d rows", name, m), operand{w.fast.Linear(x.fast, fast), w.slow.Linear(x.slow, slow)})
		}
	}
}

// postNorms joins normed products to the stream.
func postNorms(t *testing.T, c Config) {
	for _, dtype := range c.DTypes {
		w := newTwins(t, c, dtype)
		for _, s := range []struct{ m, n, k int }{{0, 5, 7}, {1, 16, 8}, {3, 33, 31}, {14, 96, 64}, {29, 130, 70}, {1, 300, 513}} {
			fm, sm := w.fast.Mark(), w.slow.Mark()
			l, slow := w.linear(runtime.LinearSpec{
				Name: "l", W: []runtime.Source{w.source("w", s.n, s.k, runtime.F32, 0.5)}, B: []runtime.Source{w.source("b", 1, s.n, runtime.F32, 0.5)},
			})
			n, slowN := w.norm(runtime.RMSNorm, s.n, true, 1e-6)
			x, y := w.random(s.m, s.n, 3), w.random(s.m, s.k, 1)
			w.fast.LinearNormAdd(x.fast, y.fast, l, n)
			w.slow.LinearNormAdd(x.slow, y.slow, slow, slowN)
			w.sameAt(fmt.Sprintf("%s %s", dtype, shapeName(s.m, s.n, s.k)), x, 4)
			w.fast.Release(fm)
			w.slow.Release(sm)
		}
	}
}
