package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"remote-client-server/runtime"
)

// attention64 is one head of one sequence by the formula.
func attention64(q, k, v []float32, n, dim, qStride, kvStride int, a *runtime.Attn, bias []float32) []float64 {
	out := make([]float64, n*dim)
	s := make([]float64, n)
	for i := range n {
		top, sum := math.Inf(-1), 0.0
		for j := range n {
			dot := 0.0
			for d := range dim {
				dot += float64(q[i*qStride+d]) * float64(k[j*kvStride+d])
			}
			s[j] = dot * float64(a.Scale)
			if c := float64(a.Cap); c != 0 {
				s[j] = c * math.Tanh(s[j]/c)
			}
			if bias != nil {
				reach := len(bias) / 2
				s[j] += float64(bias[reach+min(max(j-i, -reach), reach)])
			}
			if a.Causal && (j > i || a.Window > 0 && j <= i-a.Window) || !a.Causal && a.Window > 0 && max(i-j, j-i) > a.Window {
				s[j] = math.Inf(-1)
			}
			top = max(top, s[j])
		}
		for j := range n {
			s[j] = math.Exp(s[j] - top)
			sum += s[j]
		}
		for j := range n {
			for d := range dim {
				out[i*dim+d] += s[j] / sum * float64(v[j*kvStride+d])
			}
		}
	}
	return out
}

func TestAttentionOfLongSequences(t *testing.T) {
	cases := map[string]struct {
		attn runtime.Attn
		bias bool
		lens []int
	}{
		"full, two blocks of keys":   {attn: runtime.Attn{Heads: 2, KVHeads: 2, Dim: 64}, lens: []int{257, 3, 300}},
		"causal, keys packed before": {attn: runtime.Attn{Heads: 2, KVHeads: 1, Dim: 40, Causal: true}, lens: []int{1100, 1}},
		"a window over many blocks":  {attn: runtime.Attn{Heads: 1, KVHeads: 1, Dim: 32, Window: 64}, lens: []int{1030}},
		"a causal window":            {attn: runtime.Attn{Heads: 1, KVHeads: 1, Dim: 16, Window: 100, Causal: true}, lens: []int{700}},
		"bias and cap":               {attn: runtime.Attn{Heads: 2, KVHeads: 2, Dim: 24, Cap: 3}, bias: true, lens: []int{520, 17}},
		"one wide head":              {attn: runtime.Attn{Heads: 1, KVHeads: 1, Dim: 512}, lens: []int{40}},
		"a head of one channel":      {attn: runtime.Attn{Heads: 3, KVHeads: 3, Dim: 1}, lens: []int{19, 0, 1}},
	}
	precisions := []struct {
		keys      runtime.DType
		deviation float32 // of the operands: what is large before a softmax must not be rounded before it
		tolerance float64
	}{{runtime.F32, 3, 3e-5}, {runtime.BF16, 1, 3e-2}}
	each(t, 2, func(t *testing.T, b *Backend) {
		for name, c := range cases {
			for _, p := range precisions {
				mark := b.Mark()
				r := rand.New(rand.NewPCG(6, 6))
				a := c.attn
				a.Keys = p.keys
				a.Scale = float32(1 / math.Sqrt(float64(a.Dim)))
				total := 0
				for _, n := range c.lens {
					total += n
				}
				qw, kw := a.Heads*a.Dim, a.KVHeads*a.Dim
				qkv := random(r, total*(qw+2*kw))
				for i := range qkv {
					qkv[i] *= p.deviation
				}
				var bias []float32
				if c.bias {
					bias = random(r, a.Heads*61)
					a.Bias = tensor(b, a.Heads, 61, bias)
				}
				width := qw + 2*kw
				q, k, v := tensor(b, total, width, qkv).Split(qw, kw, kw)
				got := values(t, b, b.Attention(q, k, v, runtime.Pack(b, c.lens, nil), &a))
				want := make([]float64, total*qw)
				first := 0
				for _, n := range c.lens {
					for h := range a.Heads {
						var hb []float32
						if bias != nil {
							hb = bias[h*61:][:61]
						}
						kv := h * a.KVHeads / a.Heads
						rows := qkv[first*width:]
						if n == 0 {
							continue
						}
						o := attention64(rows[h*a.Dim:], rows[qw+kv*a.Dim:], rows[qw+kw+kv*a.Dim:], n, a.Dim, width, width, &a, hb)
						for i := range n {
							copy(want[(first+i)*qw+h*a.Dim:][:a.Dim], o[i*a.Dim:])
						}
					}
					first += n
				}
				closeTo(t, fmt.Sprintf("%s, keys in %v", name, p.keys), got, want, p.tolerance)
				b.Release(mark)
			}
		}
	})
}

// A sequence's bits are its own, whatever is packed beside it and on however many threads.
func TestSequencesDoNotDependOnTheirNeighbours(t *testing.T) {
	const heads, dim = 4, 64
	lens := []int{5, 300, 1, 64, 1200, 32}
	r := rand.New(rand.NewPCG(7, 7))
	total := 0
	for _, n := range lens {
		total += n
	}
	qkv := random(r, total*3*heads*dim)
	a := &runtime.Attn{Heads: heads, KVHeads: heads, Dim: dim, Scale: 0.2, Causal: true}
	levels := testLevels()
	for i, level := range append(levels, levels[0]) {
		if level == "generic" && testing.Short() {
			continue
		}
		if i == len(levels) { // the best one once more
			a.Keys = runtime.BF16
		}
		var together []float32
		for _, threads := range []int{1, 3} {
			b, err := New(Options{Threads: threads, Level: level, Poison: true})
			if err != nil {
				t.Fatal(err)
			}
			run := func(rows []float32, lens []int) []float32 {
				mark := b.Mark()
				defer b.Release(mark)
				x := tensor(b, len(rows)/(3*heads*dim), 3*heads*dim, rows)
				q, k, v := x.Split(heads*dim, heads*dim, heads*dim)
				return values(t, b, b.Attention(q, k, v, runtime.Pack(b, lens, nil), a))
			}
			all := run(qkv, lens)
			if together == nil {
				together = all
			}
			same(t, fmt.Sprintf("%s, keys in %v, on %d threads", level, a.Keys, threads), all, together)
			first := 0
			for _, n := range lens {
				alone := run(qkv[first*3*heads*dim:][:n*3*heads*dim], []int{n})
				same(t, fmt.Sprintf("%s, keys in %v: %d rows alone", level, a.Keys, n), alone, together[first*heads*dim:][:n*heads*dim])
				first += n
			}
			b.Close()
		}
	}
}

func TestAttentionOf8192TokensKeepsNoScores(t *testing.T) {
	const n, dim = 8192, 16
	b, err := New(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x := tensor(b, n, 3*dim, random(rand.New(rand.NewPCG(8, 8)), n*3*dim))
	q, k, v := x.Split(dim, dim, dim)
	b.Attention(q, k, v, runtime.Pack(b, []int{n}, nil), &runtime.Attn{Heads: 1, KVHeads: 1, Dim: dim, Scale: 1, Window: 128})
	if held := b.Ledger().Scratch; held > 32<<20 {
		t.Errorf("%d bytes of scratch; the scores alone would be %d", held, n*n*4)
	}
}

func TestAttentionRefusesWhatItDoesNotDo(t *testing.T) {
	b, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x := b.Scratch(4, 8, runtime.F32)
	s := runtime.Pack(b, []int{4}, nil)
	one := b.Scratch(1, 1, runtime.I32)
	table := b.Scratch(2, 8, runtime.F32)
	plain := runtime.Attn{Heads: 2, KVHeads: 2, Dim: 4, Scale: 1}
	for name, change := range map[string]func(s *runtime.Sequences, a *runtime.Attn){
		"cross attention":         func(s *runtime.Sequences, _ *runtime.Attn) { s.Keys = s },
		"a cache":                 func(s *runtime.Sequences, _ *runtime.Attn) { s.Cache = &runtime.Cache{} },
		"row indirection":         func(s *runtime.Sequences, _ *runtime.Attn) { s.Map = one },
		"disentangled positions":  func(_ *runtime.Sequences, a *runtime.Attn) { a.PosK = table },
		"heads that do not share": func(_ *runtime.Sequences, a *runtime.Attn) { a.KVHeads = 3 },
		"a width of other heads":  func(_ *runtime.Sequences, a *runtime.Attn) { a.Dim = 3 },
		"angles that are missing": func(_ *runtime.Sequences, a *runtime.Attn) { a.Rotary = 1 },
		"an even bias":            func(_ *runtime.Sequences, a *runtime.Attn) { a.Bias = table },
		"rows of other sequences": func(s *runtime.Sequences, _ *runtime.Attn) { s.Lens = []int{3} },
	} {
		sc, ac := *s, plain
		change(&sc, &ac)
		func() {
			defer func() {
				if _, ok := recover().(runtime.ShapeError); !ok {
					t.Errorf("%s: no ShapeError", name)
				}
			}()
			b.Attention(x, x, x, &sc, &ac)
		}()
	}
}
