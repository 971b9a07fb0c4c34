package gpu

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
)

// median is the middle of some runs of f on the device.
func median(b *Backend, f func()) time.Duration {
	var times []time.Duration
	for range 5 {
		times = append(times, b.timed(f)/trials)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// rates times products [m,n,k] beside the library's, where there is one, and products of one row, norms and attention of a
// few texts of some tokens beside copies: one line each.
func rates(t testing.TB, b *Backend, dtype string, products [][3]int, rows [][2]int, tokens, texts int) (lines []string) {
	t.Helper()
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	p, err := b.Precision(dtype, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	peak, err := b.Peak(dtype)
	if err != nil {
		t.Fatal(err)
	}
	size := p.Compute.Size()
	say("%s, %s: copies %.0f GB/s", b.props.Name, dtype, peak.Copy/1e9)
	fill := func(rows, cols int) runtime.Tensor {
		x := b.Scratch(rows, cols, p.Compute)
		v := make([]float32, rows*cols)
		for i := range v {
			v[i] = float32(i%17)/16 - 0.5
		}
		b.Upload(x, v)
		return x
	}
	load := func(n, k int) (*weights, func()) {
		l := b.Load("rates", p)
		v := make([]float32, n*k)
		for i := range v {
			v[i] = float32(i%13)/12 - 0.5
		}
		w, err := l.Linear(runtime.LinearSpec{Name: "w", W: []runtime.Source{runtime.FloatSource("w", n, v)}})
		if err != nil {
			t.Fatal(err)
		}
		return w.Packed.(*weights), func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	library := b.products
	defer func() { b.products = library }()
	for _, s := range products {
		m := b.Mark()
		w, free := load(s[1], s[2])
		x, y := fill(s[0], s[2]), b.Scratch(s[0], s[1], p.Compute)
		flops := 2 * float64(s[0]) * float64(s[1]) * float64(s[2])
		b.products = nil
		own := median(b, func() { b.product(y, x, w, 0) })
		if b.products = library; library != nil {
			lib := median(b, func() { b.product(y, x, w, 0) })
			say("product %v: %.1f TFLOP/s, %.2f of cuBLASLt's %.1f", s, flops/own.Seconds()/1e12, lib.Seconds()/own.Seconds(), flops/lib.Seconds()/1e12)
		} else {
			say("product %v: %.3g TFLOP/s", s, flops/own.Seconds()/1e12)
		}
		free()
		b.Release(m)
	}
	b.products = nil
	for _, s := range rows {
		m := b.Mark()
		w, free := load(s[0], s[1])
		x := fill(1, s[1])
		x = runtime.NewTensor(x.Addr(), 1, s[1], x.Stride(), x.DType, runtime.Decode, x.Life())
		y := b.Scratch(1, s[0], p.Compute)
		took := median(b, func() { b.product(y, x, w, 0) })
		read := float64(s[0]) * float64(s[1]) * float64(size)
		say("one row by %v: %.1f GB/s, %.2f of copies", s, read/took.Seconds()/1e9, read/took.Seconds()/peak.Copy)
		free()
		b.Release(m)
	}
	m := b.Mark()
	defer b.Release(m)
	l := b.Load("rates", p)
	defer l.Close()
	total, width := tokens*texts, 768
	n, err := l.Norm(runtime.NormSpec{Name: "n", Kind: runtime.LayerNorm, Width: width, Eps: 1e-5})
	if err != nil {
		t.Fatal(err)
	}
	x, y := fill(total, width), b.Scratch(total, width, p.Compute)
	took := median(b, func() { b.normalise(y, x, runtime.Tensor{}, n, n.Packed.(*norm)) })
	moved := 2 * float64(total) * float64(width) * float64(size)
	say("layer norm [%d,%d]: %.1f GB/s, %.2f of copies", total, width, moved/took.Seconds()/1e9, moved/took.Seconds()/peak.Copy)
	lens := slices.Repeat([]int{tokens}, texts)
	s := runtime.Pack(b, lens, nil)
	for _, dim := range []int{64, 128} {
		heads := width / dim
		a := runtime.Attn{Heads: heads, KVHeads: heads, Dim: dim, Scale: float32(1 / math.Sqrt(float64(dim))), Keys: p.Cache}
		q := fill(total, 3*width)
		qq, k, v := q.Split(width, width, width)
		took := median(b, func() {
			m := b.Mark()
			b.Attention(qq, k, v, s, &a)
			b.Release(m)
		})
		flops := 4 * float64(total) * float64(tokens) * float64(width)
		say("attention, %d texts of %d tokens, %d heads of %d: %.3g TFLOP/s", texts, tokens, heads, dim, flops/took.Seconds()/1e12)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// The measurements of hardware_test.go run, with sizes that an emulated GPU computes in a moment; its times mean nothing.
func TestRatesCanBeMeasured(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{NoRaceCheck: true}, Options{})
	lines := rates(t, b, "bfloat16", [][3]int{{64, 64, 64}}, [][2]int{{64, 128}}, 16, 1)
	if len(lines) != 6 {
		t.Errorf("%q", lines)
	}
}

// instant is a GPU that does nothing, at once: what is left is the host's side.
type instant struct{ cuda.Context }

func (instant) Launch(*cuda.Launch) error                             { return nil }
func (instant) Record(cuda.Event, cuda.Stream) error                  { return nil }
func (instant) QueryEvent(cuda.Event) (bool, error)                   { return true, nil }
func (instant) Elapsed(cuda.Event, cuda.Event) (time.Duration, error) { return time.Millisecond, nil }

func (instant) EncodeTensorMap(*cuda.TensorMapSpec) (cuda.TensorMap, error) {
	return cuda.TensorMap{}, nil
}

// hostOnly is a backend of which only the host's side is there.
func hostOnly(t testing.TB, target string) *Backend {
	c, err := emu.Open(target, emu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(instant{c}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		c.Close()
	})
	b.While(func() bool { return true })
	return b
}

// layers are ops of the kinds that a forward pass is made of, without what Rotary and Sequences bring.
func layers(t testing.TB, b *Backend) map[string]func() {
	n := &runtime.Norm{Name: "n", Kind: runtime.LayerNorm, Width: 64, Packed: &norm{}}
	w := linear(t, b, "float16", 64, runtime.LinearSpec{})
	x := b.Scratch(8, 64, runtime.F32)
	h := b.Scratch(8, 192, runtime.F16)
	s := runtime.Pack(b, []int{3, 5}, nil)
	a := runtime.Attn{Heads: 1, KVHeads: 1, Dim: 64, Scale: 1, Keys: runtime.F16}
	return map[string]func(){
		"norm":      func() { b.Norm(x, n) },
		"product":   func() { b.Linear(h.Columns(0, 64), w) },
		"joined":    func() { b.LinearAddNorm(x, h.Columns(64, 128), w, n) },
		"attention": func() { q, k, v := h.Split(64, 64, 64); b.Attention(q, k, v, s, &a) },
	}
}

// An op costs the garbage collector nothing.
func TestOpsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	for _, target := range targets {
		b := hostOnly(t, target)
		for name, op := range layers(t, b) {
			scoped := func() {
				m := b.Mark()
				op()
				b.Release(m)
			}
			scoped()
			if n := testing.AllocsPerRun(1000, scoped); n != 0 {
				t.Errorf("%s on %s: %v allocations", name, target, n)
			}
		}
	}
}

// BenchmarkOp is whole ops: scratch, checks, arguments, and the pace that keeps little in flight.
func BenchmarkOp(b *testing.B) {
	for _, target := range []string{"sm_80", "sm_90a"} {
		g := hostOnly(b, target)
		for name, op := range layers(b, g) {
			b.Run(target+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					m := g.Mark()
					op()
					g.Release(m)
				}
			})
		}
	}
}
