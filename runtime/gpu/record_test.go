package gpu

import (
	"errors"
	"math"
	"strings"
	"testing"

	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
)

// stepLayer is a pre-norm layer over a cache with its state at fixed addresses.
type stepLayer struct {
	b                  *Backend
	qkv, out, up, down *runtime.Linear
	norm               *runtime.Norm
	rotary             *runtime.Rotary
	attn               runtime.Attn
	x                  runtime.Tensor
	s                  *runtime.Sequences
}

const stepWidth = 64

// newStepLayer has a state for so many sequences, of which the host uploads the lengths.
func newStepLayer(t testing.TB, b *Backend, rows int) *stepLayer {
	t.Helper()
	const heads, kv, dim = 4, 2, 32
	p, err := b.Precision("float16", runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	l := &stepLayer{b: b, attn: runtime.Attn{Heads: heads, KVHeads: kv, Dim: dim, Scale: 0.2, Causal: true, Rotary: 1, Keys: p.Cache}}
	w := b.Load("layer", p)
	linear := func(n, k int, gate bool) *runtime.Linear {
		v := make([]float32, n*k)
		for i := range v {
			v[i] = float32(math.Sin(float64(i*i%9973))) / 8
		}
		y, err := w.Linear(runtime.LinearSpec{Name: "w", W: []runtime.Source{runtime.FloatSource("w", n, v)}, Gate: gate, Act: runtime.SiLU})
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	l.qkv, l.out = linear((heads+2*kv)*dim, stepWidth, false), linear(stepWidth, heads*dim, false)
	l.up, l.down = linear(192, stepWidth, true), linear(stepWidth, 96, false)
	if l.norm, err = w.Norm(runtime.NormSpec{Name: "norm", Kind: runtime.RMSNorm, Width: stepWidth, Eps: 1e-6}); err != nil {
		t.Fatal(err)
	}
	freqs := make([]float32, dim/2)
	for i := range freqs {
		freqs[i] = float32(math.Pow(1e4, -float64(i)/float64(len(freqs))))
	}
	f, err := w.Const(1, len(freqs), freqs, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	l.rotary = &runtime.Rotary{Freqs: f, Factor: 1}
	c, err := b.NewCache(runtime.CacheSpec{Layers: 1, Blocks: 2 * rows, KVHeads: kv, Dim: dim, Type: p.Cache})
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.NewArena("state", 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, close := range []func() error{c.Close, a.Close, w.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	l.x = a.Tensor(rows, stepWidth, runtime.F32)
	l.s = &runtime.Sequences{Cache: c, Phase: runtime.Decode, Cum: a.Tensor(rows+1, 1, runtime.I32), Pos: a.Tensor(rows, 1, runtime.I32),
		Past: a.Tensor(rows, 1, runtime.I32), Table: a.Tensor(rows, 2, runtime.I32)}
	cum, table := []int32{0}, []int32{}
	for i := range rows {
		l.s.Lens = append(l.s.Lens, 1)
		cum, table = append(cum, int32(i+1)), append(table, int32(2*rows-1-i), int32(i))
	}
	b.Upload(l.s.Cum, cum)
	b.Upload(l.s.Table, table)
	return l
}

func (l *stepLayer) step() {
	b := l.b
	m := b.Mark()
	defer b.Release(m)
	s := *l.s
	b.Angles(&s, l.rotary)
	q, k, v := b.NormLinear(l.x, l.norm, l.qkv).Split(128, 64, 64)
	b.LinearAdd(l.x, b.Attention(q, k, v, &s, &l.attn), l.out)
	b.LinearAdd(l.x, b.NormLinear(l.x, l.norm, l.up), l.down)
}

// set gives the rows their stream and their lengths.
func (l *stepLayer) set(past int32) {
	rows := l.x.Rows
	x, at := make([]float32, rows*stepWidth), make([]int32, rows)
	for i := range x {
		x[i] = float32(math.Cos(float64(i)*1.7 + float64(past)))
	}
	for i := range at {
		at[i] = past + int32(i)
	}
	l.b.Upload(l.x, x)
	l.b.Upload(l.s.Pos, at)
	l.b.Upload(l.s.Past, at)
}

// A recorded step gives the bits of the step, at every length and whatever scratch is held around it; a layer of it is
// eight launches beside the angles.
func TestARecordedStep(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	t.Cleanup(func() {
		if held := b.Ledger(); held.Weights+held.Cache+held.Arena != 0 {
			t.Errorf("all is closed and the ledger says %+v", held)
		}
	})
	play := func(run func(l *stepLayer, i int)) (all [][]float32) {
		l := newStepLayer(t, b, 3)
		for i := range 4 {
			l.set(int32(61 + i))
			run(l, i)
			f, v := b.Fetch(l.x), make([]float32, l.x.Rows*stepWidth)
			if err := f.Wait(v); err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		return all
	}
	want := play(func(l *stepLayer, _ int) { l.step() })
	var g *runtime.Graph
	var before map[string]int64
	got := play(func(l *stepLayer, i int) {
		if i == 0 {
			var err error
			if g, err = b.Record(l.step); err != nil {
				t.Fatal(err)
			}
			return
		}
		before = b.Launches()
		m := b.Mark()
		held := b.Scratch(100, 100, runtime.F32)
		b.Upload(held, make([]float32, 100*100))
		b.Run(g)
		v := make([]float32, 100*100)
		if err := b.Download(v, held); err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			if x != 0 {
				t.Fatal("a recorded step wrote to scratch that is held")
			}
		}
		b.Release(m)
	})
	for i := range want {
		for j := range want[i] {
			if math.Float32bits(got[i][j]) != math.Float32bits(want[i][j]) {
				t.Fatalf("step %d, value %d is %g, without a recording %g", i, j, got[i][j], want[i][j])
			}
		}
	}
	launches := 0
	for k, n := range b.Launches() {
		if n -= before[k]; !strings.HasPrefix(k, "angles") {
			launches += int(n)
		}
	}
	if launches != 8 {
		t.Errorf("%d launches a layer, want 8", launches)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := panicOf(func() { b.Run(g) }).(runtime.ShapeError); !ok {
		t.Error("a graph that is closed ran")
	}
}

// What passes through the host cannot be part of a recorded step; the stream is as good as before.
func TestAStepThatCannotBeRecorded(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	l := newStepLayer(t, b, 1)
	for name, step := range map[string]func(){
		"an upload":  func() { l.set(0) },
		"a download": func() { b.Download(make([]float32, stepWidth), l.x) },
		"a fetch":    func() { b.Fetch(l.x) },
	} {
		if _, ok := panicOf(func() { b.Record(step) }).(runtime.ShapeError); !ok {
			t.Errorf("%s was recorded", name)
		}
		if err := b.Sync(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	b.While(func() bool { return false })
	if _, err := b.Record(func() { b.Sync() }); !errors.Is(err, runtime.ErrAbandoned) {
		t.Errorf("a step that nobody wants was recorded: %v", err)
	}
	b.While(nil)
}

// Several fetches are under way at once, and each has what was there when it was asked for.
func TestFetchesUnderWay(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	m := b.Mark()
	defer b.Release(m)
	x := b.Scratch(2, 3, runtime.F32)
	var all []*runtime.Fetched
	for i := range 5 {
		v := make([]float32, 6)
		for j := range v {
			v[j] = float32(10*i + j)
		}
		b.Upload(x, v)
		all = append(all, b.Fetch(x.Columns(1, 3)))
	}
	for i := len(all) - 1; i >= 0; i-- {
		v := make([]float32, 4)
		if err := all[i].Wait(v); err != nil {
			t.Fatal(err)
		}
		for j, at := range []int{1, 2, 4, 5} {
			if want := float32(10*i + at); v[j] != want {
				t.Errorf("fetch %d, value %d is %g, want %g", i, j, v[j], want)
			}
		}
	}
	if n := len(b.landings.all); n != 5 || len(b.landings.free) != 5 {
		t.Errorf("%d landings, %d free, want 5", n, len(b.landings.free))
	}
	if _, ok := panicOf(func() { b.Fetch(x).Wait(make([]int32, 6)) }).(runtime.ShapeError); !ok {
		t.Error("floats into integers: no panic")
	}
}

func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
