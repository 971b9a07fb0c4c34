package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
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
		c := cutter{z: z, bins: new([cutBins]float64), entries: make([]entry, len(z))}
		for _, k := range []int{1, 2, len(z)/2 + 1, len(z)} {
			k = min(k, len(z))
			if got, want := c.cut(inf, float64(k)), sorted[k-1]; got != want {
				t.Errorf("%s: the %d-th largest is %v, want %v", name, k, got, want)
			}
		}
		// the same by weights, each exact in float64
		c.p = make([]float32, len(z))
		for i := range z {
			c.p[i] = 0.5
		}
		if got, want := c.cut(sorted[len(z)/2], 0.5*float64(len(z)/2)), sorted[max(0, len(z)/2-1)]; got != want {
			t.Errorf("%s: half of the weight is reached at %v, want %v", name, got, want)
		}
		if got := c.cut(inf, 0); got != sorted[0] {
			t.Errorf("%s: no weight is reached at %v, want %v", name, got, sorted[0])
		}
		if got, want := c.cut(inf, math.Inf(1)), sorted[len(z)-1]; got != want {
			t.Errorf("%s: what cannot be reached ends at %v, want %v", name, got, want)
		}
	}
}

func TestRacesAreWonAsByTheFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for trial := range 300 {
		n := 1 + r.IntN(400)
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
		seed, step := r.Uint64(), r.Uint32()
		want, best := -1, math.Inf(-1)
		for i, v := range z {
			u := runtime.Uniform(seed, step, uint32(i))
			if x := float64(v) - math.Log(-math.Log1p(-float64(u))); v >= low && x > best {
				want, best = i, x
			}
		}
		if got := race(z, p, low, most, seed, step); got != want {
			t.Fatalf("trial %d of %d words: %d wins, want %d", trial, n, got, want)
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
