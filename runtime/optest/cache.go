package optest

import (
	"fmt"
	"math"
	"testing"

	"remote-client-server/runtime"
)

// paged is a cache of one backend with the block tables of some sequences.
type paged struct {
	b      runtime.Backend
	cache  *runtime.Cache
	tables [][]int32
	past   []int32
	phase  runtime.Phase
}

// newPaged gives each sequence blocks for rows, such that no two blocks of one follow each other in memory.
func newPaged(t testing.TB, b runtime.Backend, s runtime.CacheSpec, sequences, rows int) *paged {
	t.Helper()
	per := (rows + b.Props().CacheBlock - 1) / b.Props().CacheBlock
	s.Blocks = per*sequences + 1
	p := &paged{b: b, cache: must(b.NewCache(s))(t), past: make([]int32, sequences)}
	if p.cache.BlockRows != b.Props().CacheBlock || p.cache.Bytes < int64(s.Layers*rows*sequences*2*s.KVHeads*s.Dim*s.Type.Size()) {
		t.Errorf("blocks of %d rows, %d bytes", p.cache.BlockRows, p.cache.Bytes)
	}
	if held := b.Ledger().Cache; held < p.cache.Bytes {
		t.Errorf("the ledger says %d bytes of a cache of %d", held, p.cache.Bytes)
	}
	for i := range sequences {
		table := make([]int32, per+1)
		for j := range per {
			table[j] = int32(s.Blocks - 1 - j*sequences - i)
		}
		table[per] = -1
		p.tables = append(p.tables, table)
	}
	return p
}

// pack is the next rows of the given sequences: lens of those numbered which, nil for all in order.
func (p *paged) pack(which, lens []int) *runtime.Sequences {
	if which == nil {
		for i := range lens {
			which = append(which, i)
		}
	}
	var pos, past, table []int32
	for i, seq := range which {
		past = append(past, p.past[seq])
		table = append(table, p.tables[seq]...)
		for r := range lens[i] {
			pos = append(pos, p.past[seq]+int32(r))
		}
		p.past[seq] += int32(lens[i])
	}
	s := runtime.Pack(p.b, lens, pos)
	s.Cache, s.Phase = p.cache, p.phase
	s.Past = p.b.Scratch(len(lens), 1, runtime.I32)
	s.Table = p.b.Scratch(len(lens), len(p.tables[0]), runtime.I32)
	p.b.Upload(s.Past, past)
	p.b.Upload(s.Table, table)
	return s
}

func (p *paged) close(t testing.TB) {
	if err := p.cache.Close(); err != nil {
		t.Error(err)
	}
	if held := p.b.Ledger().Cache; held != 0 {
		t.Errorf("the cache is closed and the ledger says %d bytes", held)
	}
}

// upload is v as [rows, cols] with padding beside it, of a decode step where p says so.
func (p *paged) upload(rows, cols int, v []float32) runtime.Tensor {
	x := p.b.Scratch(rows, cols+2, runtime.F32).Columns(1, 1+cols)
	p.b.Upload(x, v)
	return runtime.NewTensor(x.Addr(), x.Rows, x.Cols, x.Stride(), x.DType, p.phase, x.Life())
}

// cachedAttention plays sequences that grow in pieces, beside the reference.
func cachedAttention(t *testing.T, c Config) {
	pieces := [][]int{{5, 33, 1}, {1, 1, 1}, {0, 31, 14}, {40, 1, 2}, {1, 1, 1}}
	long := [][]int{{250, 3}, {1, 1}, {1, 1}, {270, 254}, {1, 1}, {1, 0}}
	if c.Quick {
		long = [][]int{{250, 3}, {1, 1}, {9, 1}, {1, 0}}
	}
	for _, dtype := range c.DTypes {
		if dtype == "q8" || dtype == "q4" { // as bfloat16
			continue
		}
		for _, s := range []struct {
			name   string
			a      runtime.Attn
			half   int // of the rotary, 0 for none
			norm   bool
			pieces [][]int
			each   bool // in every type of cache, not only the exact one
		}{
			{"head size 64", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 64, Causal: true}, 0, false, pieces, false},
			{"head size 4, three heads for each of keys", runtime.Attn{Heads: 6, KVHeads: 2, Dim: 4, Causal: true}, 0, false, pieces, true},
			{"head size 8, normed, rotary", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 8, Causal: true, Rotary: 1}, 4, true, pieces, false},
			{"head size 96, rotary", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 96, Causal: true, Rotary: 1}, 48, false, pieces, true},
			{"head size 80, rotary of some channels, interleaved", runtime.Attn{Heads: 2, KVHeads: 1, Dim: 80, Causal: true, Rotary: 1, Interleaved: true}, 16, false, pieces, true},
			{"head size 128, eight heads for one of keys", runtime.Attn{Heads: 8, KVHeads: 1, Dim: 128, Causal: true}, 0, false, pieces, true},
			{"head size 256, a cap", runtime.Attn{Heads: 2, KVHeads: 1, Dim: 256, Causal: true, Cap: 3}, 0, false, pieces, false},
			{"head size 6, a window", runtime.Attn{Heads: 5, KVHeads: 1, Dim: 6, Causal: true, Window: 4}, 0, false, pieces, false},
			{"not causal", runtime.Attn{Heads: 4, KVHeads: 2, Dim: 16}, 0, false, pieces, false},
			{"long, two heads for each of keys", runtime.Attn{Heads: 4, KVHeads: 2, Dim: 32, Causal: true, Rotary: 1}, 16, false, long, true},
			{"long, a window of 100", runtime.Attn{Heads: 3, KVHeads: 1, Dim: 16, Causal: true, Window: 100}, 0, true, long, false},
			{"long, a window of a block of keys and one", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 16, Causal: true, Window: 257, Cap: 20}, 0, false, long, false},
		} {
			if dtype != c.DTypes[0] && !s.each {
				continue
			}
			t.Run(dtype+", "+s.name, func(t *testing.T) {
				w := newTwins(t, c, dtype)
				if dtype == c.DTypes[0] {
					w.tol = 2e-5
				}
				fa, sa := s.a, s.a
				fa.Scale = float32(1 / math.Sqrt(float64(s.a.Dim)))
				sa.Scale, fa.Keys = fa.Scale, w.precision.Cache
				fa.Layer, sa.Layer = 1, 1
				if s.norm {
					fa.QNorm, sa.QNorm = w.norm(runtime.RMSNorm, s.a.Dim, true, 1e-6)
					fa.KNorm, sa.KNorm = w.norm(runtime.RMSNorm, s.a.Dim, true, 1e-6)
				}
				var fr, sr *runtime.Rotary
				if s.half > 0 {
					fr, sr = w.rotary(s.half, 1, 1000)
				}
				rows := make([]int, len(s.pieces[0]))
				for _, lens := range s.pieces {
					for i, n := range lens {
						rows[i] += n
					}
				}
				most := 0
				for _, n := range rows {
					most = max(most, n)
				}
				spec := runtime.CacheSpec{Layers: 2, KVHeads: s.a.KVHeads, Dim: s.a.Dim, Type: w.precision.Cache}
				fast := newPaged(t, w.fast, spec, len(rows), most)
				slow := newPaged(t, w.slow, spec, len(rows), most)
				defer fast.close(t)
				defer slow.close(t)
				for step, lens := range s.pieces {
					fm, sm := w.fast.Mark(), w.slow.Mark()
					fast.phase = runtime.Prefill
					if total(lens) <= len(lens) {
						fast.phase = runtime.Decode
					}
					fs, ss := fast.pack(nil, lens), slow.pack(nil, lens)
					if fr != nil {
						w.fast.Angles(fs, fr)
						w.slow.Angles(ss, sr)
					}
					nq, nkv := s.a.Heads*s.a.Dim, s.a.KVHeads*s.a.Dim
					v := w.floats(total(lens)*(nq+2*nkv), 1)
					fq, fk, fv := fast.upload(total(lens), nq+2*nkv, v).Split(nq, nkv, nkv)
					sq, sk, sv := slow.upload(total(lens), nq+2*nkv, v).Split(nq, nkv, nkv)
					w.same(fmt.Sprintf("step %d, lengths %v", step, lens), operand{w.fast.Attention(fq, fk, fv, fs, &fa), w.slow.Attention(sq, sk, sv, ss, &sa)})
					w.fast.Release(fm)
					w.slow.Release(sm)
				}
			})
		}
	}
	t.Run("tables that do not fit panic", func(t *testing.T) { cacheErrors(t, c) })
	t.Run("a block that held NaNs", func(t *testing.T) { dirtyBlocks(t, c) })
	t.Run("a copied block", func(t *testing.T) { copiedBlocks(t, c) })
}

func total(lens []int) int {
	n := 0
	for _, l := range lens {
		n += l
	}
	return n
}

func cacheErrors(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	spec := runtime.CacheSpec{Layers: 1, KVHeads: 1, Dim: 8, Type: w.precision.Cache}
	for name, change := range map[string]func(s *runtime.CacheSpec){
		"no layers": func(s *runtime.CacheSpec) { s.Layers = 0 }, "no blocks": func(s *runtime.CacheSpec) { s.Blocks = 0 },
		"no heads": func(s *runtime.CacheSpec) { s.KVHeads = -1 }, "integers": func(s *runtime.CacheSpec) { s.Type = runtime.I32 },
	} {
		bad := spec
		bad.Blocks = 1
		change(&bad)
		if _, err := w.fast.NewCache(bad); err == nil {
			t.Errorf("a cache of %s: no error", name)
		}
	}
	rows := w.fast.Props().CacheBlock + 1
	p := newPaged(t, w.fast, spec, 2, rows)
	defer p.close(t)
	x := w.random(4, 8, 0).fast
	run := func(change func(s *runtime.Sequences, a *runtime.Attn)) {
		p.past[0], p.past[1] = 0, int32(rows-2)
		s := p.pack(nil, []int{2, 2})
		a := &runtime.Attn{Heads: 1, KVHeads: 1, Dim: 8, Scale: 1, Causal: true, Keys: w.precision.Cache}
		change(s, a)
		w.fast.Attention(x, x, x, s, a)
	}
	run(func(*runtime.Sequences, *runtime.Attn) {})
	for name, change := range map[string]func(s *runtime.Sequences, a *runtime.Attn){
		"a layer too many": func(_ *runtime.Sequences, a *runtime.Attn) { a.Layer = 1 },
		"other heads":      func(_ *runtime.Sequences, a *runtime.Attn) { a.Heads, a.KVHeads, a.Dim = 2, 2, 4 },
		"a table for one":  func(s *runtime.Sequences, _ *runtime.Attn) { s.Table = s.Table.Slice(0, 1) },
		"a narrow table":   func(s *runtime.Sequences, _ *runtime.Attn) { s.Table = s.Table.Columns(0, 1) },
		"lengths for one":  func(s *runtime.Sequences, _ *runtime.Attn) { s.Past = s.Past.Slice(0, 1) },
		"CopyBlocks past the end": func(*runtime.Sequences, *runtime.Attn) {
			w.fast.CopyBlocks(p.cache, []int32{0}, []int32{int32(p.cache.Blocks)})
		},
		"CopyBlocks of one to two": func(*runtime.Sequences, *runtime.Attn) { w.fast.CopyBlocks(p.cache, []int32{0}, []int32{1, 2}) },
	} {
		panics(t, name, func() { run(change) })
	}
	if c.Unchecked {
		return
	}
	for name, block := range map[string]int32{"a block past the end": int32(p.cache.Blocks), "no block": -1} {
		panics(t, name, func() {
			run(func(s *runtime.Sequences, _ *runtime.Attn) {
				w.fast.Upload(s.Table.Slice(1, 2).Columns(1, 2), []int32{block})
			})
		})
	}
	panics(t, "a negative length", func() {
		run(func(s *runtime.Sequences, _ *runtime.Attn) { w.fast.Upload(s.Past.Slice(0, 1), []int32{-1}) })
	})
}

// copiedBlocks: a sequence that goes on from copies of another's blocks goes on alike, and apart.
func copiedBlocks(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	rows := 2*w.fast.Props().CacheBlock - 3
	spec := runtime.CacheSpec{Layers: 3, KVHeads: 2, Dim: 16, Type: w.precision.Cache}
	p := newPaged(t, w.fast, spec, 2, rows+8)
	defer p.close(t)
	run := func(seq, n, layer int, v []float32) []float32 {
		m := w.fast.Mark()
		defer w.fast.Release(m)
		at := p.past[seq]
		s := p.pack([]int{seq}, []int{n})
		p.past[seq] = at
		q, k, val := p.upload(n, 96, v).Split(32, 32, 32)
		a := &runtime.Attn{Heads: 2, KVHeads: 2, Dim: 16, Scale: 0.25, Causal: true, Keys: w.precision.Cache, Layer: layer}
		return download(t, w.fast, w.fast.Attention(q, k, val, s, a))
	}
	for layer := range 3 {
		run(0, rows, layer, w.floats(rows*96, 1))
	}
	w.fast.CopyBlocks(p.cache, p.tables[0][:2], p.tables[1][:2])
	p.past[0], p.past[1] = int32(rows), int32(rows)
	next, other := w.floats(96, 1), w.floats(96, 1)
	for layer := range 3 {
		want := run(0, 1, layer, next)
		run(1, 1, layer, other)
		sameBits(t, fmt.Sprintf("layer %d, the first sequence again", layer), run(0, 1, layer, next), want)
		sameBits(t, fmt.Sprintf("layer %d, its copy", layer), run(1, 1, layer, next), want)
	}
}

// dirtyBlocks: what an earlier sequence left in a block is not seen by the next, not even by way of a weight of zero.
func dirtyBlocks(t *testing.T, c Config) {
	for _, dtype := range c.DTypes {
		w := newTwins(t, c, dtype)
		rows := 2 * w.fast.Props().CacheBlock
		p := newPaged(t, w.fast, runtime.CacheSpec{Layers: 1, KVHeads: 1, Dim: 24, Type: w.precision.Cache}, 2, rows)
		run := func(seq, n int, v []float32) []float32 {
			m := w.fast.Mark()
			defer w.fast.Release(m)
			p.past[seq] = 0
			s := p.pack([]int{seq}, []int{n})
			q, k, val := p.upload(n, 72, v).Split(24, 24, 24)
			a := &runtime.Attn{Heads: 1, KVHeads: 1, Dim: 24, Scale: 0.25, Causal: true, Keys: w.precision.Cache}
			return download(t, w.fast, w.fast.Attention(q, k, val, s, a))
		}
		nan := w.floats(rows*72, 1)
		for i := range nan {
			nan[i] = float32(math.NaN())
		}
		for _, n := range []int{1, 2, 3, 5, 17, rows/2 + 1} {
			v := w.floats(n*72, 1)
			want := run(1, n, v)
			run(0, rows, nan)
			sameBits(t, fmt.Sprintf("%s, %d rows", dtype, n), run(0, n, v), want)
		}
		p.close(t)
	}
}

func sameBits(t testing.TB, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// pieces: rows have the same bits in a prompt that is computed whole, in pieces, alone or beside others, and, where both
// phases are one, token by token.
func pieces(t *testing.T, c Config) {
	const heads, kv, dim = 4, 2, 24
	const width = (heads + 2*kv) * dim
	for _, dtype := range c.DTypes {
		if dtype == "q8" || dtype == "q4" {
			continue
		}
		for name, a := range map[string]runtime.Attn{"causal": {}, "a window": {Window: 70}, "a cap": {Cap: 2}} {
			t.Run(dtype+", "+name, func(t *testing.T) {
				w := newTwins(t, c, dtype)
				n := 530
				if c.Quick {
					n = 270
				}
				a.Heads, a.KVHeads, a.Dim, a.Scale, a.Causal, a.Keys, a.Rotary = heads, kv, dim, 0.2, true, w.precision.Cache, 1
				v := w.floats(n*width, 1)
				rotary, _ := w.rotary(dim/2, 1, 1000)
				play := func(phase runtime.Phase, cuts ...int) []float32 {
					p := newPaged(t, w.fast, runtime.CacheSpec{Layers: 1, KVHeads: kv, Dim: dim, Type: w.precision.Cache}, 2, n)
					defer p.close(t)
					p.phase = phase
					var all []float32
					at := 0
					for i := 0; at < n; i++ {
						take := min(cuts[i%len(cuts)], n-at)
						m := w.fast.Mark()
						rows, lens, which := v[at*width:][:take*width], []int{take}, []int{0}
						if i%2 == 1 { // beside another, of which nothing is asked
							rows, lens, which = append(append([]float32{}, v[:min(7, n-at)*width]...), rows...), []int{min(7, n-at), take}, []int{1, 0}
							p.past[1] = 0
						}
						s := p.pack(which, lens)
						w.fast.Angles(s, rotary)
						q, k, val := p.upload(total(lens), width, rows).Split(heads*dim, kv*dim, kv*dim)
						y := download(t, w.fast, w.fast.Attention(q, k, val, s, &a))
						all = append(all, y[(total(lens)-take)*heads*dim:]...)
						w.fast.Release(m)
						at += take
					}
					return all
				}
				whole := play(runtime.Prefill, n)
				sameBits(t, "in pieces", play(runtime.Prefill, 250, 1, 13, 256), whole)
				sameBits(t, "in small pieces", play(runtime.Prefill, 31, 64, 5), whole)
				if w.fast.Props().OnePhase {
					sameBits(t, "token by token", play(runtime.Decode, 1), whole)
				}
			})
		}
	}
}

// stepRows: a row of a decode step has the same bits alone and between others, however long they are.
func stepRows(t *testing.T, c Config) {
	const heads, kv, dim = 6, 3, 32
	const width = (heads + 2*kv) * dim
	for _, dtype := range c.DTypes {
		if dtype == "q8" || dtype == "q4" {
			continue
		}
		t.Run(dtype, func(t *testing.T) {
			w := newTwins(t, c, dtype)
			lens := make([]int, 33)
			for i := range lens {
				lens[i] = 1 + i*i%61
			}
			lens[3], lens[7] = 600, 256
			if c.Quick {
				lens[3] = 300
			}
			p := newPaged(t, w.fast, runtime.CacheSpec{Layers: 1, KVHeads: kv, Dim: dim, Type: w.precision.Cache}, len(lens), 608)
			defer p.close(t)
			a := &runtime.Attn{Heads: heads, KVHeads: kv, Dim: dim, Scale: 0.2, Causal: true, Keys: w.precision.Cache}
			run := func(which, lens []int, v []float32) []float32 {
				m := w.fast.Mark()
				defer w.fast.Release(m)
				s := p.pack(which, lens)
				q, k, val := p.upload(total(lens), width, v).Split(heads*dim, kv*dim, kv*dim)
				return download(t, w.fast, w.fast.Attention(q, k, val, s, a))
			}
			run(nil, lens, w.floats(total(lens)*width, 1))
			p.phase = runtime.Decode
			ones := make([]int, len(lens))
			for i := range ones {
				ones[i] = 1
			}
			v := w.floats(len(lens)*width, 1)
			past := append([]int32{}, p.past...)
			all := run(nil, ones, v)
			for i := range lens {
				copy(p.past, past)
				alone := run([]int{i}, ones[:1], v[i*width:][:width])
				sameBits(t, fmt.Sprintf("sequence %d of %d rows alone", i, lens[i]), alone, all[i*heads*dim:][:heads*dim])
			}
		})
	}
}
