// Package optest is the conformance suite of the op set. Run puts every op of a backend beside runtime/ref on shapes
// that tiles do not fit, and checks the laws that no formula shows: a row's bits do not depend on its neighbours,
// scratch dies with its scope, and everything is given back.
package optest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/ref"
)

// Config is one backend at one setting.
type Config struct {
	New    func(testing.TB) runtime.Backend
	DTypes []string // --dtype values to run products in; the first is the exact one
	// Quick leaves out the longest sequences and the largest products, for a backend that is executed slowly.
	Quick bool
	// Decode adds caches, arenas, recorded steps and sampling.
	Decode bool
	// Unchecked says that tables are read on the device only, where no wrong one can panic.
	Unchecked bool
}

// Run runs the whole suite.
func Run(t *testing.T, c Config) {
	for name, test := range map[string]func(*testing.T, Config){
		"products":   products,
		"norms":      norms,
		"embed":      embed,
		"gather":     gather,
		"pool":       pool,
		"angles":     angles,
		"attention":  attention,
		"invariance": invariance,
		"lifetimes":  lifetimes,
		"abandoned":  abandonment,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
	if !c.Decode {
		return
	}
	for name, test := range map[string]func(*testing.T, Config){
		"post norms":       postNorms,
		"cached attention": cachedAttention,
		"pieces":           pieces,
		"rows of a step":   stepRows,
		"arenas":           arenas,
		"recorded":         recorded,
		"sampling":         sampling,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// tolerance is the largest error allowed, as a share of the result's largest value. The 16-bit and quantised formats
// are judged against the exact product of the unrounded operands.
func tolerance(dtype string) float64 {
	switch dtype {
	case "bfloat16":
		return 1.5e-2
	case "float16":
		return 2e-3
	case "q8":
		return 3e-2
	case "q4":
		return 0.4
	}
	return 1e-5
}

// twins is a backend and the reference, fed with the same values.
type twins struct {
	t         *testing.T
	fast      runtime.Backend
	slow      *ref.Backend
	precision runtime.Precision // of fast
	fastLoad  runtime.Loader
	slowLoad  runtime.Loader
	tol       float64
	rng       *rand.Rand
}

func newTwins(t *testing.T, c Config, dtype string) *twins {
	w := &twins{t: t, fast: c.New(t), slow: ref.New(), tol: tolerance(dtype), rng: rand.New(rand.NewPCG(7, 11))}
	p, err := w.fast.Precision(dtype, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	w.precision = p
	w.fastLoad, w.slowLoad = w.fast.Load("optest", p), w.slow.Load("optest", runtime.Precision{})
	t.Cleanup(func() {
		if err := w.fastLoad.Close(); err != nil {
			t.Error(err)
		}
		if l := w.fast.Ledger(); l.Weights != 0 || l.Cache != 0 || l.Arena != 0 {
			t.Errorf("the loader is closed and the ledger says %+v", l)
		}
		if err := w.fast.Close(); err != nil {
			t.Error(err)
		}
		if l := w.fast.Ledger(); l != (runtime.Ledger{}) {
			t.Errorf("the backend is closed and the ledger says %+v", l)
		}
	})
	return w
}

// floats draws n values, normal with the given deviation.
func (w *twins) floats(n int, deviation float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(w.rng.NormFloat64() * deviation)
	}
	return v
}

// stream places v, rounded to the type of a residual stream, on both backends.
func (w *twins) stream(rows, cols, pad int, v []float32, t runtime.DType) operand {
	for i, x := range v {
		switch t {
		case runtime.F16:
			v[i] = runtime.F16ToF32(runtime.F32ToF16(x))
		case runtime.BF16:
			v[i] = runtime.BF16ToF32(runtime.F32ToBF16(x))
		}
	}
	up := func(b runtime.Backend, t runtime.DType) runtime.Tensor {
		x := b.Scratch(rows, cols+2*pad, t).Columns(pad, pad+cols)
		b.Upload(x, v)
		return x
	}
	return operand{up(w.fast, t), up(w.slow, runtime.F32)}
}

// decode is x as rows of a decode step.
func decode(x operand) operand {
	as := func(t runtime.Tensor) runtime.Tensor {
		return runtime.NewTensor(t.Addr(), t.Rows, t.Cols, t.Stride(), t.DType, runtime.Decode, t.Life())
	}
	return operand{as(x.fast), as(x.slow)}
}

// source draws a weight of the given stored type.
func (w *twins) source(name string, rows, cols int, d runtime.DType, deviation float64) runtime.Source {
	return stored(w.t, name, rows, cols, d, w.floats(rows*cols, deviation))
}

func stored(t testing.TB, name string, rows, cols int, d runtime.DType, v []float32) runtime.Source {
	b := make([]byte, 0, len(v)*4)
	for _, x := range v {
		switch d {
		case runtime.F32:
			u := math.Float32bits(x)
			b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		case runtime.F16:
			u := runtime.F32ToF16(x)
			b = append(b, byte(u), byte(u>>8))
		case runtime.BF16:
			u := runtime.F32ToBF16(x)
			b = append(b, byte(u), byte(u>>8))
		}
	}
	s, err := runtime.NewSource(name, rows, cols, d, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// operand is one tensor on both backends.
type operand struct{ fast, slow runtime.Tensor }

// tensor uploads v as a view of pad more columns on each side, so that strides are never the width.
func (w *twins) tensor(rows, cols, pad int, v []float32) operand {
	up := func(b runtime.Backend) runtime.Tensor {
		t := b.Scratch(rows, cols+2*pad, runtime.F32).Columns(pad, pad+cols)
		b.Upload(t, v)
		return t
	}
	return operand{up(w.fast), up(w.slow)}
}

func (w *twins) random(rows, cols, pad int) operand {
	return w.tensor(rows, cols, pad, w.floats(rows*cols, 1))
}

func (w *twins) ints(rows, cols int, v []int32) operand {
	up := func(b runtime.Backend) runtime.Tensor {
		t := b.Scratch(rows, cols, runtime.I32)
		b.Upload(t, v)
		return t
	}
	return operand{up(w.fast), up(w.slow)}
}

// same fails unless the two results agree within the tolerance.
func (w *twins) same(what string, got operand) {
	w.t.Helper()
	w.sameAt(what, got, 1e-30)
}

// sameAt does so where values up to scale went into the result: a tanh hides how large its argument was, and a sum of
// one product how small its rounding is.
func (w *twins) sameAt(what string, got operand, scale float64) {
	w.t.Helper()
	if got.fast.Rows != got.slow.Rows || got.fast.Cols != got.slow.Cols {
		w.t.Fatalf("%s: shape %v, want %v", what, got.fast, got.slow)
	}
	n := got.slow.Rows * got.slow.Cols
	x, y := download(w.t, w.fast, got.fast), make([]float64, n)
	if err := w.slow.Download(y, got.slow); err != nil {
		w.t.Fatal(err)
	}
	for _, v := range y {
		scale = max(scale, math.Abs(v))
	}
	for i := range y {
		if e := math.Abs(float64(x[i])-y[i]) / scale; !(e <= w.tol) {
			w.t.Fatalf("%s: element [%d,%d] is %g, want %g (error %.2g of the largest value, allowed %.2g)",
				what, i/got.slow.Cols, i%got.slow.Cols, x[i], y[i], e, w.tol)
		}
	}
}

func download(t testing.TB, b runtime.Backend, x runtime.Tensor) []float32 {
	v := make([]float32, x.Rows*x.Cols)
	if err := b.Download(v, x); err != nil {
		t.Fatal(err)
	}
	return v
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func panics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		switch e := recover().(type) {
		case nil:
			t.Errorf("%s: no panic", what)
		case runtime.ShapeError:
		default:
			t.Errorf("%s: panic %v, want a ShapeError", what, e)
		}
	}()
	f()
}

func shapeName(dims ...int) string {
	s := ""
	for i, d := range dims {
		if i > 0 {
			s += "x"
		}
		s += fmt.Sprint(d)
	}
	return s
}
