package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"remote-client-server/runtime"
)

func TestThresholdsAreThoseOfASortedList(t *testing.T) {
	inf := float32(math.Inf(-1))
	for name, z := range map[string][]float32{
		"one":            {3},
		"zeros of signs": {0, float32(math.Copysign(0, -1)), 0},
		"equals":         {1, 2, 2, 2, 1, 0},
		"excluded":       {inf, -4, inf, -3},
		"far apart":      {1e30, -1e30, 1e-30, -1e-30, 0},
		"random":         random(rand.New(rand.NewPCG(1, 2)), 3000),
	} {
		sorted := slices.Clone(z)
		slices.Sort(sorted)
		slices.Reverse(sorted)
		c := cutter{bins: new([cutBins]float64), entries: make([]entry, len(z))}
		for _, k := range []int{1, 2, len(z)/2 + 1, len(z)} {
			k = min(k, len(z))
			if got, want := c.of(z, nil, nil).cut(float64(k)), sorted[k-1]; got != want {
				t.Errorf("%s: the %d-th largest is %v, want %v", name, k, got, want)
			}
		}
		half, odd := make([]float32, len(z)), []int32{}
		for i := range z {
			half[i] = 0.5
			if i%2 == 1 {
				odd = append(odd, int32(i))
			}
		}
		if got, want := c.of(z, half, nil).cut(0.5*float64(len(z)/2)), sorted[max(0, len(z)/2-1)]; got != want {
			t.Errorf("%s: half of the weight is reached at %v, want %v", name, got, want)
		}
		if got := c.of(z, half, nil).cut(0); got != sorted[0] {
			t.Errorf("%s: no weight is reached at %v, want %v", name, got, sorted[0])
		}
		if got, want := c.of(z, nil, nil).cut(math.Inf(1)), sorted[len(z)-1]; got != want {
			t.Errorf("%s: what cannot be reached ends at %v, want %v", name, got, want)
		}
		if len(odd) > 0 {
			least := z[1]
			for _, i := range odd {
				least = min(least, z[i])
			}
			if got := c.of(z, nil, odd).cut(math.Inf(1)); got != least {
				t.Errorf("%s: the least of those at odd places is %v, want %v", name, got, least)
			}
		}
	}
}

func TestRacesAreWonAsByTheFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	all := levels()
	var scratch atomic.Int64
	w := &worker{pool: &pool{scratch: &scratch}}
	defer w.c.free(&scratch)
	for trial := range 300 {
		n := 1 + r.IntN(400)
		if trial%10 == 0 {
			n += 9000
		}
		z, spread := make([]float32, n), float32(math.Pow(10, r.Float64()*4-2)) // from all alike to one far above
		for i := range z {
			z[i] = float32(r.NormFloat64()) * spread
		}
		most := slices.Max(z)
		p := make([]float32, n)
		for i := range p {
			p[i] = float32(math.Exp(float64(z[i] - most)))
		}
		low := most - 10*r.Float32()*spread
		d := draw{lv: all[trial%len(all)], w: w, z: z, p: p, most: most, low: low}
		for i, v := range z {
			if v >= low {
				d.ids = append(d.ids, int32(i))
			}
		}
		seed, step := r.Uint64(), r.Uint32()
		want, best := -1, math.Inf(-1)
		for i, v := range z {
			u := runtime.Uniform(seed, step, uint32(i))
			if x := float64(v) - math.Log(-math.Log1p(-float64(u))); v >= low && x > best {
				want, best = i, x
			}
		}
		if got := d.race(seed, step); got != want {
			t.Fatalf("trial %d of %d words: %d wins, want %d", trial, n, got, want)
		}
	}
}

// What a request cannot hold, because it is checked before, does no harm either.
func TestParametersOutOfRange(t *testing.T) {
	b, err := New(Options{Threads: 1, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const vocab = 300
	arena, err := b.NewArena("test", runtime.SamplingBytes(1, 1, vocab, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Close()
	p := runtime.NewSampling(arena, 1, 1, vocab, 3)
	z := tensor(b, 1, vocab, random(rand.New(rand.NewPCG(1, 1)), vocab))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, v := range []float32{nan, inf, -inf, -1, 0, 1e-45, 3e38} {
		for name, slot := range map[string]runtime.Slot{
			"temperature": {Temperature: v, TopP: 0.5, TopK: 9}, "top_p": {Temperature: 1, TopP: v}, "min_p": {Temperature: 1, TopP: 0.5, MinP: v},
			"repetition": {Temperature: 1, TopP: 0.9, Repetition: v, Frequency: v, Presence: v, PenaltiesOn: true, Top: 1 << 30, TopK: -5, MinTokens: -1},
		} {
			slot.Ends = []int32{vocab, -7}
			p.Set(b, 0, slot)
			b.Sample(z, nil, p)
			id := make([]int32, 1)
			if err := b.Download(id, p.IDs); err != nil {
				t.Fatal(err)
			}
			if id[0] < -1 || id[0] >= vocab {
				t.Errorf("%s %v: token %d", name, v, id[0])
			}
		}
	}
}

func TestUniformNumbersOfManyAtOnce(t *testing.T) {
	const blocks = 5
	for _, lv := range levels() {
		dst, u := outside(t, 2*blocks*4*lv.lanes)
		memory, _ := outside(t, 64)
		state := (*uniformState)(memory)
		*state = uniformState{step: 0xfedcba98, seed: [2]uint32{0x89abcdef, 0x01234567}}
		for i := range state.counters {
			state.counters[i] = uint32(i)
		}
		lv.uniforms(dst, memory, blocks)
		lv.uniforms(at(dst, blocks*4*lv.lanes), memory, blocks)
		for i, v := range u {
			block, word, lane := i/(4*lv.lanes), i%(4*lv.lanes)/lv.lanes, i%lv.lanes
			id := uint32(4*(block*lv.lanes+lane) + word)
			if want := runtime.Uniform(0x0123456789abcdef, 0xfedcba98, id); v != want {
				t.Fatalf("%s: id %d has %v, want %v", lv.name, id, v, want)
			}
		}
	}
}

func TestAtLeastRoundsUp(t *testing.T) {
	for _, x := range []float64{0, 1, -1, 0.1, -0.1, math.Pi, -math.Pi, 1e-300, -1e-300, math.Inf(-1)} {
		f := atLeast(x)
		if float64(f) < x || float64(math.Nextafter32(f, float32(math.Inf(-1)))) >= x && !math.IsInf(x, -1) {
			t.Errorf("%v: %v", x, f)
		}
	}
}

// A sequence's bits are its own, on however many threads: 3 key heads make 4 threads share the keys of one.
func TestStepsDoNotDependOnThreads(t *testing.T) {
	const heads, kv, dim, width = 6, 3, 32, 12 * 32
	r := rand.New(rand.NewPCG(5, 5))
	prompt, next := random(r, 700*width), random(r, 2*width)
	for _, level := range testLevels() {
		for _, keys := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
			var want []float32
			for _, threads := range []int{1, 4} {
				b, err := New(Options{Threads: threads, Level: level, Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				cache, err := b.NewCache(runtime.CacheSpec{Layers: 1, Blocks: 2 * (768 / cacheBlock), KVHeads: kv, Dim: dim, Type: keys})
				if err != nil {
					t.Fatal(err)
				}
				table := b.Scratch(2, cache.Blocks/2, runtime.I32)
				numbers := make([]int32, cache.Blocks)
				for i := range numbers {
					numbers[i] = int32(i)
				}
				b.Upload(table, numbers)
				a := &runtime.Attn{Heads: heads, KVHeads: kv, Dim: dim, Scale: 0.2, Causal: true, Keys: keys}
				run := func(lens []int, past []int32, rows []float32) []float32 {
					s := runtime.Pack(b, lens, nil)
					s.Cache, s.Table, s.Past = cache, table, b.Scratch(2, 1, runtime.I32)
					b.Upload(s.Past, past)
					q, k, v := tensor(b, len(rows)/width, width, rows).Split(heads*dim, kv*dim, kv*dim)
					return values(t, b, b.Attention(q, k, v, s, a))
				}
				got := run([]int{690, 10}, []int32{0, 0}, prompt)
				got = append(got, run([]int{1, 1}, []int32{690, 10}, next)...)
				if want == nil {
					want = got
				}
				same(t, level+", "+keys.String(), got, want)
				cache.Close()
				b.Close()
			}
		}
	}
}

func BenchmarkSample(b *testing.B) {
	const vocab = 128256
	r := rand.New(rand.NewPCG(1, 1))
	v := make([]float32, vocab)
	for i := range v {
		v[i] = float32(r.NormFloat64() * 3)
	}
	for _, c := range []struct {
		name string
		slot runtime.Slot
	}{
		{"greedy", runtime.Slot{Top: -1}},
		{"greedy with logprob", runtime.Slot{}},
		{"temperature", runtime.Slot{Temperature: 1, Top: -1}},
		{"top_p", runtime.Slot{Temperature: 0.8, TopP: 0.9, Top: -1}},
		{"top_k", runtime.Slot{Temperature: 0.8, TopK: 50, Top: -1}},
		{"all", runtime.Slot{Temperature: 0.8, TopK: 50, TopP: 0.9, MinP: 0.01, Repetition: 1.1, PenaltiesOn: true, Top: 5}},
	} {
		b.Run(c.name, func(b *testing.B) {
			back := benchBackend(b, "")
			arena, err := back.NewArena("bench", runtime.SamplingBytes(1, 1, vocab, 5))
			if err != nil {
				b.Fatal(err)
			}
			defer arena.Close()
			p := runtime.NewSampling(arena, 1, 1, vocab, 5)
			if c.slot.TopP == 0 {
				c.slot.TopP = 1
			}
			if c.slot.Repetition == 0 {
				c.slot.Repetition = 1
			}
			p.Set(back, 0, c.slot)
			z := tensor(back, 1, vocab, v)
			b.SetBytes(vocab * 4)
			for b.Loop() {
				back.Sample(z, nil, p)
			}
		})
	}
}
