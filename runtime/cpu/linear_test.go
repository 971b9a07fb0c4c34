package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"remote-client-server/runtime"
)

// raceEnabled is set where the race detector slows the portable kernels a hundredfold; it has nothing to see in them.
var raceEnabled bool

// testLevels is the levels that tests run at.
func testLevels() []string {
	all := Levels()
	if raceEnabled && len(all) > 1 {
		return all[:1]
	}
	return all
}

// each runs a test at every level of this machine.
func each(t *testing.T, threads int, f func(t *testing.T, b *Backend)) {
	for _, name := range testLevels() {
		t.Run(name, func(t *testing.T) {
			b, err := New(Options{Threads: threads, Level: name, Poison: true})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			f(t, b)
		})
	}
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32()*2 - 1
	}
	return v
}

func tensor(b *Backend, rows, cols int, v []float32) runtime.Tensor {
	x := b.Scratch(rows, cols, runtime.F32)
	b.Upload(x, v)
	return x
}

func values(t *testing.T, b *Backend, x runtime.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Rows*x.Cols)
	if err := b.Download(v, x); err != nil {
		t.Fatal(err)
	}
	return v
}

func precision(t *testing.T, b *Backend, dtype string) runtime.Precision {
	t.Helper()
	p, err := b.Precision(dtype, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// source stores v in a type and returns the values that it then has.
func source(t *testing.T, name string, rows, cols int, v []float32, d runtime.DType) (runtime.Source, []float32) {
	t.Helper()
	if d == runtime.F32 {
		return runtime.FloatSource(name, rows, v), v
	}
	data := make([]byte, 2*len(v))
	back := make([]float32, len(v))
	for i, x := range v {
		h := runtime.F32ToF16(x)
		back[i] = runtime.F16ToF32(h)
		if d == runtime.BF16 {
			h = runtime.F32ToBF16(x)
			back[i] = runtime.BF16ToF32(h)
		}
		data[2*i], data[2*i+1] = byte(h), byte(h>>8)
	}
	s, err := runtime.NewSource(name, rows, cols, d, data)
	if err != nil {
		t.Fatal(err)
	}
	return s, back
}

func act64(a runtime.Act, x float64) float64 {
	switch a {
	case runtime.ReLU:
		return max(x, 0)
	case runtime.Tanh:
		return math.Tanh(x)
	case runtime.Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case runtime.SiLU:
		return x / (1 + math.Exp(-x))
	case runtime.GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case runtime.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case runtime.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	}
	return x
}

// product64 is act(xWᵀ+b), W = [gate; up] where gated.
func product64(x, w, bias []float32, m, n, k int, gate bool, act runtime.Act, cap float64) []float64 {
	y := make([]float64, m*n)
	dot := func(i, j int) float64 {
		s := 0.0
		for l := range k {
			s += float64(x[i*k+l]) * float64(w[j*k+l])
		}
		if bias != nil {
			s += float64(bias[j])
		}
		return s
	}
	for i := range m {
		for j := range n {
			v := act64(act, dot(i, j))
			if gate {
				v *= dot(i, n+j)
			}
			if cap != 0 {
				v = cap * math.Tanh(v/cap)
			}
			y[i*n+j] = v
		}
	}
	return y
}

func closeTo(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	worst, where := 0.0, -1
	for i := range got {
		e := math.Abs(float64(got[i]) - want[i])
		if e > worst || math.IsNaN(e) {
			worst, where = e, i
		}
		if math.IsNaN(e) {
			break
		}
	}
	if worst > tolerance || math.IsNaN(worst) {
		t.Errorf("%s: [%d] is %v, want %v (allowed %g)", what, where, got[where], want[where], tolerance)
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: [%d] is %v, want the same bits as %v", what, i, got[i], want[i])
		}
	}
}

var edgeShapes = [][3]int{ // m, n, k
	{1, 1, 1}, {1, 64, 64}, {2, 3, 5}, {3, 33, 31}, {5, 16, 256}, {6, 17, 257}, {7, 96, 300}, {14, 32, 512}, {15, 31, 513},
	{29, 100, 768}, {43, 130, 64}, {100, 600, 40}, {130, 20, 1030}, {1, 700, 2050}, {0, 8, 8}, {4, 8, 0},
}

func TestLinearOfEveryFormatAndShape(t *testing.T) {
	each(t, 2, func(t *testing.T, b *Backend) {
		for _, dtype := range []string{"float32", "bfloat16", "float16", "q8", "q4"} {
			for _, stored := range []runtime.DType{runtime.F32, runtime.BF16, runtime.F16} {
				for _, s := range edgeShapes {
					testLinear(t, b, dtype, stored, s[0], s[1], s[2])
				}
			}
		}
	})
}

func testLinear(t *testing.T, b *Backend, dtype string, stored runtime.DType, m, n, k int) {
	t.Helper()
	mark := b.Mark()
	defer b.Release(mark)
	r := rand.New(rand.NewPCG(1, uint64(m*n+k)))
	x, bias := random(r, m*k), random(r, n)
	src, w := source(t, "w", n, k, random(r, n*k), stored)
	l := b.Load("test", precision(t, b, dtype))
	defer l.Close()
	lin, err := l.Linear(runtime.LinearSpec{Name: "l", W: []runtime.Source{src}, B: []runtime.Source{runtime.FloatSource("b", 1, bias)}})
	if err != nil {
		t.Fatal(err)
	}
	want := product64(x, w, bias, m, n, k, false, runtime.None, 0)
	scale := math.Sqrt(float64(k))/3 + 1 // of a sum of k products
	tolerance := map[string]float64{"float32": 6e-6, "bfloat16": 0.02, "float16": 2e-3, "q8": 0.03, "q4": 0.4}[dtype] * scale
	what := fmt.Sprintf("%s of %v %dx%dx%d", dtype, stored, m, n, k)
	// x and y as column views, with a canary beside them
	wide := b.Scratch(m, k+7, runtime.F32)
	xt := wide.Columns(3, 3+k)
	b.Upload(xt, x)
	y := b.Linear(xt, lin)
	closeTo(t, what, values(t, b, y), want, tolerance)

	stream := b.Scratch(m, n+5, runtime.F32)
	fill := make([]float32, m*(n+5))
	for i := range fill {
		fill[i] = 3
	}
	b.Upload(stream, fill)
	b.LinearAdd(stream.Columns(2, 2+n), xt, lin)
	got := values(t, b, stream)
	for i := range m {
		for j := range n + 5 {
			if (j < 2 || j >= 2+n) && got[i*(n+5)+j] != 3 {
				t.Fatalf("%s: LinearAdd wrote outside its columns", what)
			}
		}
	}
	for i := range want {
		want[i] += 3
	}
	closeTo(t, what+" added", values(t, b, stream.Columns(2, 2+n)), want, tolerance)
}

func TestActivationsAndGatedPairs(t *testing.T) {
	each(t, 2, func(t *testing.T, b *Backend) {
		r := rand.New(rand.NewPCG(2, 2))
		for act := runtime.None; act <= runtime.QuickGELU; act++ {
			for _, gate := range []bool{false, true} {
				for _, cap := range []float32{0, 1.5} {
					for _, s := range [][3]int{{1, 5, 8}, {20, 40, 24}, {64, 33, 20}, {3, 80, 300}} {
						m, n, k := s[0], s[1], s[2]
						h := n
						if gate {
							h *= 2
						}
						x, w, bias := random(r, m*k), random(r, h*k), random(r, h)
						for _, dtype := range []string{"float32", "bfloat16", "q8"} {
							mark := b.Mark()
							l := b.Load("test", precision(t, b, dtype))
							lin, err := l.Linear(runtime.LinearSpec{
								Name: "l", W: []runtime.Source{runtime.FloatSource("w", h, w)}, Gate: gate, Act: act, Cap: cap,
								B: []runtime.Source{runtime.FloatSource("b", 1, bias)},
							})
							if err != nil {
								t.Fatal(err)
							}
							want := product64(x, w, bias, m, n, k, gate, act, float64(cap))
							tolerance := map[string]float64{"float32": 2e-5, "bfloat16": 0.3, "q8": 0.4}[dtype]
							if gate && dtype != "float32" {
								tolerance *= 6
							} else if gate {
								tolerance *= 20
							}
							what := fmt.Sprintf("%v gate %v cap %v %v %s", act, gate, cap, s, dtype)
							xt := tensor(b, m, k, x)
							closeTo(t, what, values(t, b, b.Linear(xt, lin)), want, tolerance)
							stream := tensor(b, m, n, random(r, m*n))
							before := values(t, b, stream)
							b.LinearAdd(stream, xt, lin)
							for i := range want {
								want[i] += float64(before[i])
							}
							closeTo(t, what+" added", values(t, b, stream), want, tolerance)
							b.Release(mark)
							l.Close()
						}
					}
				}
			}
		}
	})
}

func TestStackedTransposedAndScaledSources(t *testing.T) {
	each(t, 2, func(t *testing.T, b *Backend) {
		const k = 37
		r := rand.New(rand.NewPCG(3, 3))
		first, fv := source(t, "first", 19, k, random(r, 19*k), runtime.BF16)
		second, sv := source(t, "second", 30, k, random(r, 30*k), runtime.F16)
		third := random(r, k*11) // [k, 11], used transposed
		w := append(append([]float32{}, fv...), sv[4*k:25*k]...)
		for i := range 11 {
			for j := range k {
				w = append(w, third[j*11+i])
			}
		}
		n := 19 + 21 + 11
		bias := make([]float32, n)
		b1, b3 := random(r, 19), random(r, 11)
		copy(bias, b1)
		copy(bias[40:], b3)
		scale := random(r, n)
		for i := range n {
			bias[i] *= scale[i]
			for j := range k {
				w[i*k+j] *= scale[i]
			}
		}
		l := b.Load("test", precision(t, b, "auto"))
		defer l.Close()
		lin, err := l.Linear(runtime.LinearSpec{
			Name: "l", W: []runtime.Source{first, second.RowRange(4, 25), runtime.FloatSource("third", k, third).Transpose()},
			B:     []runtime.Source{runtime.FloatSource("b1", 1, b1), {}, runtime.FloatSource("b3", 1, b3)},
			Scale: scale,
		})
		if err != nil {
			t.Fatal(err)
		}
		x := random(r, 9*k)
		closeTo(t, "stacked", values(t, b, b.Linear(tensor(b, 9, k, x), lin)), product64(x, w, bias, 9, n, k, false, 0, 0), 2e-5)
	})
}

func norm64(kind runtime.NormKind, x []float64, w, b []float32, eps float64) []float64 {
	n := float64(len(x))
	mean, ss := 0.0, 0.0
	if kind == runtime.LayerNorm {
		for _, v := range x {
			mean += v / n
		}
	}
	for _, v := range x {
		ss += (v - mean) * (v - mean)
	}
	scale := 1 / math.Sqrt(ss/n+eps)
	if kind == runtime.L2Norm {
		scale = 1 / max(math.Sqrt(ss), eps)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) * scale
		if w != nil {
			y[i] *= float64(w[i])
		}
		if b != nil {
			y[i] += float64(b[i])
		}
	}
	return y
}

func TestNormsAloneAndAroundProducts(t *testing.T) {
	each(t, 2, func(t *testing.T, b *Backend) {
		r := rand.New(rand.NewPCG(4, 4))
		for kind := runtime.LayerNorm; kind <= runtime.L2Norm; kind++ {
			for _, width := range []int{1, 6, 16, 40, 63, 64, 768} {
				for _, m := range []int{1, 5, 50} {
					mark := b.Mark()
					l := b.Load("test", precision(t, b, "float32"))
					nw, nb := random(r, width), random(r, width)
					if kind != runtime.LayerNorm {
						nb = nil
					}
					spec := runtime.NormSpec{Name: "n", Kind: kind, Width: width, W: runtime.FloatSource("w", 1, nw), Eps: 1e-5}
					if nb != nil {
						spec.B = runtime.FloatSource("b", 1, nb)
					}
					n, err := l.Norm(spec)
					if err != nil {
						t.Fatal(err)
					}
					x := random(r, m*width)
					normed := func(v []float64) []float64 {
						var y []float64
						for i := range m {
							y = append(y, norm64(kind, v[i*width:][:width], nw, nb, 1e-5)...)
						}
						return y
					}
					want := normed(wide(x))
					what := fmt.Sprintf("kind %d width %d rows %d", kind, width, m)
					xt := tensor(b, m, width, x)
					closeTo(t, what, values(t, b, b.Norm(xt, n)), want, 2e-5)

					w := random(r, 33*width)
					lin, err := l.Linear(runtime.LinearSpec{Name: "l", W: []runtime.Source{runtime.FloatSource("w", 33, w)}})
					if err != nil {
						t.Fatal(err)
					}
					y := values(t, b, b.NormLinear(xt, n, lin))
					same(t, what+": norm and product", y, values(t, b, b.Linear(b.Norm(xt, n), lin)))
					closeTo(t, what+": product", y, product64(narrow(want), w, nil, m, 33, width, false, 0, 0), 1e-4*math.Sqrt(float64(width)))

					back, err := l.Linear(runtime.LinearSpec{Name: "back", W: []runtime.Source{runtime.FloatSource("w", 33, w).Transpose()}})
					if err != nil {
						t.Fatal(err)
					}
					z := random(r, m*33)
					zt := tensor(b, m, 33, z)
					stream, plain := tensor(b, m, width, x), tensor(b, m, width, x)
					b.LinearAddNorm(stream, zt, back, n)
					b.LinearAdd(plain, zt, back)
					same(t, what+": joined and normed", values(t, b, stream), values(t, b, b.Norm(plain, n)))
					l.Close()
					b.Release(mark)
				}
			}
		}
	})
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func narrow(v []float64) []float32 {
	w := make([]float32, len(v))
	for i, x := range v {
		w[i] = float32(x)
	}
	return w
}

// Rows have the same bits alone, in any batch, and for any number of threads.
func TestRowsDoNotDependOnTheBatch(t *testing.T) {
	for _, level := range testLevels() {
		for _, dtype := range []string{"float32", "bfloat16", "float16", "q8", "q4"} {
			const m, n, k = 100, 70, 2100
			r := rand.New(rand.NewPCG(5, 5))
			x, w, nw := random(r, m*k), random(r, n*k), random(r, k)
			var all []float32
			for _, threads := range []int{1, 3} {
				b, err := New(Options{Threads: threads, Level: level, Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				l := b.Load("test", precision(t, b, dtype))
				norm, err := l.Norm(runtime.NormSpec{Kind: runtime.RMSNorm, Width: k, W: runtime.FloatSource("w", 1, nw), Eps: 1e-6})
				if err != nil {
					t.Fatal(err)
				}
				lin, err := l.Linear(runtime.LinearSpec{Name: "l", W: []runtime.Source{runtime.FloatSource("w", n, w)}, Act: runtime.GELU})
				if err != nil {
					t.Fatal(err)
				}
				for _, rows := range []int{m, 1, 2, 7, 13, 27, 41, 57} {
					mark := b.Mark()
					y := values(t, b, b.NormLinear(tensor(b, rows, k, x[:rows*k]), norm, lin))
					if all == nil {
						all = y
					}
					same(t, fmt.Sprintf("%s %s, %d rows on %d threads", level, dtype, rows, threads), y, all[:rows*n])
					b.Release(mark)
				}
				l.Close()
				if b.Close(); b.Ledger() != (runtime.Ledger{}) {
					t.Errorf("%s: %+v is held after Close", level, b.Ledger())
				}
			}
		}
	}
}
