package optest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"remote-client-server/runtime"
)

// block is one encoder layer over packed rows, enough to touch every op whose bits could depend on the batch.
type block struct {
	qkv, out, up, down *runtime.Linear
	norm1, norm2       *runtime.Norm
	attn               runtime.Attn
	rotary             *runtime.Rotary
}

func newBlock(w *twins, width, heads int) *block {
	src := func(rows, cols int) []runtime.Source {
		return []runtime.Source{w.source("w", rows, cols, runtime.F32, 1/math.Sqrt(float64(cols)))}
	}
	lin := func(s runtime.LinearSpec) *runtime.Linear { return must(w.fastLoad.Linear(s))(w.t) }
	b := &block{
		qkv:  lin(runtime.LinearSpec{Name: "qkv", W: src(3*width, width)}),
		out:  lin(runtime.LinearSpec{Name: "out", W: src(width, width)}),
		up:   lin(runtime.LinearSpec{Name: "up", W: src(6*width, width), Gate: true, Act: runtime.SiLU}),
		down: lin(runtime.LinearSpec{Name: "down", W: src(width, 3*width)}),
		attn: runtime.Attn{Heads: heads, KVHeads: heads, Dim: width / heads, Scale: float32(1 / math.Sqrt(float64(width/heads))), Rotary: 1, Keys: w.precision.Cache},
	}
	b.norm1, _ = w.norm(runtime.LayerNorm, width, true, 1e-12)
	b.norm2, _ = w.norm(runtime.LayerNorm, width, true, 1e-12)
	b.rotary, _ = w.rotary(width/heads/2, 1, 1000)
	return b
}

// run is a post-norm layer, then a pre-norm product, then a mean.
func (l *block) run(b runtime.Backend, lens []int, v []float32) runtime.Tensor {
	s := runtime.Pack(b, lens, nil)
	b.Angles(s, l.rotary)
	x := b.Scratch(s.Rows(), l.qkv.K, runtime.F32)
	b.Upload(x, v)
	d := l.qkv.K
	q, k, val := b.Linear(x, l.qkv).Split(d, d, d)
	b.LinearAddNorm(x, b.Attention(q, k, val, s, &l.attn), l.out, l.norm1)
	b.LinearAddNorm(x, b.Linear(x, l.up), l.down, l.norm2)
	b.LinearAdd(x, b.NormLinear(x, l.norm1, l.qkv).Columns(0, d), l.out)
	ranges, at := []int32{}, int32(0)
	for _, n := range lens {
		ranges = append(ranges, at, at+int32(n))
		at += int32(n)
	}
	r := b.Scratch(len(lens), 2, runtime.I32)
	b.Upload(r, ranges)
	return b.Pool(x, r, runtime.PoolMean)
}

// invariance: a sequence alone gives the bits that it gives between others, whatever the batch's size.
func invariance(t *testing.T, c Config) {
	for _, dtype := range c.DTypes {
		t.Run(dtype, func(t *testing.T) {
			w := newTwins(t, c, dtype)
			const width = 96
			l := newBlock(w, width, 3)
			lens := []int{1, 2, 13, 14, 30, 5, 300, 64, 1, 28}
			total := 0
			for _, n := range lens {
				total += n
			}
			v := w.floats(total*width, 1)
			m := w.fast.Mark()
			together := download(t, w.fast, l.run(w.fast, lens, v))
			w.fast.Release(m)
			at := 0
			for i, n := range lens {
				m := w.fast.Mark()
				alone := download(t, w.fast, l.run(w.fast, []int{n}, v[at*width:][:n*width]))
				w.fast.Release(m)
				at += n
				for c := range alone {
					if x, y := alone[c], together[i*width+c]; math.Float32bits(x) != math.Float32bits(y) {
						t.Fatalf("sequence %d of %d rows, column %d: %g alone, %g in the batch", i, n, c, x, y)
					}
				}
			}
		})
	}
}

// lifetimes: scratch dies with its scope, addresses repeat, and a view keeps the life of its tensor.
func lifetimes(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	b := w.fast
	n, _ := w.norm(runtime.RMSNorm, 8, false, 1e-6)
	keep := w.random(4, 8, 0).fast
	m := b.Mark()
	first := b.Scratch(4, 8, runtime.F32)
	b.Upload(first, w.floats(32, 1))
	view := first.Slice(1, 3)
	b.Norm(view, n)
	b.Release(m)
	panics(t, "a tensor after its release", func() { b.Norm(first, n) })
	panics(t, "a view after its tensor's release", func() { b.Norm(view, n) })
	m = b.Mark()
	if again := b.Scratch(4, 8, runtime.F32); again.Addr() != first.Addr() {
		t.Errorf("the same call after a release gives address %#x, first %#x", again.Addr(), first.Addr())
	}
	inner := b.Mark()
	b.Scratch(100, 100, runtime.F32)
	b.Release(m) // closes the inner scope too
	panics(t, "an inner mark after its outer scope", func() { b.Release(inner) })
	b.Norm(keep, n)
	if len(download(t, b, keep)) != 32 {
		t.Error("the outer tensor is gone")
	}
}

// abandonment: what is not wanted ends as ErrAbandoned, and the next pass is computed whole.
func abandonment(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	const width = 96
	l := newBlock(w, width, 3)
	lens := []int{5, 300}
	v := w.floats(305*width, 1)
	m := w.fast.Mark()
	defer w.fast.Release(m)
	want := download(t, w.fast, l.run(w.fast, lens, v))
	asked := 0
	for _, c := range []struct {
		name   string
		wanted func() bool
		ends   bool
	}{
		{"never wanted", func() bool { return false }, true},
		{"wanted at first", func() bool { asked++; return asked < 2 }, true},
		{"wanted", func() bool { return true }, false},
		{"without a bound", nil, false},
	} {
		w.fast.While(c.wanted)
		var got []float32
		var err error
		for range 1000 { // a bound that is asked now and then is asked in the end
			m := w.fast.Mark()
			y := l.run(w.fast, lens, v)
			got = make([]float32, y.Rows*y.Cols)
			err = w.fast.Download(got, y)
			w.fast.Release(m)
			if !c.ends || err != nil {
				break
			}
		}
		switch {
		case c.ends && (!errors.Is(err, runtime.ErrAbandoned) || !errors.Is(w.fast.Sync(), runtime.ErrAbandoned)):
			t.Errorf("%s: %v", c.name, err)
		case !c.ends && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case !c.ends && !slices.Equal(got, want):
			t.Errorf("%s: another result", c.name)
		}
	}
	w.fast.While(nil)
}
