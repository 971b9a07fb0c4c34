package cpu

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"remote-client-server/runtime"
)

// llm is layers of a language model with random weights; the layers are copies of one, each in memory of its own.
type llm struct {
	width, inner, heads, kv, dim int

	qkv, out, up, down []*runtime.Linear
	norm               *runtime.Norm
	rotary             *runtime.Rotary
	attn               runtime.Attn
	bytes              int // of weights
}

// The widths of Phi-3-mini and of SmolLM2-135M.
var (
	phi  = llm{width: 3072, inner: 8192, heads: 32, kv: 32, dim: 96}
	smol = llm{width: 576, inner: 1536, heads: 9, kv: 3, dim: 64}
)

// load packs one layer and copies it until the weights are of so many bytes.
func (m llm) load(b *testing.B, l runtime.Loader, p runtime.Precision, bytes int) *llm {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	half := make([]byte, 2*2*m.inner*max(m.width, m.inner/2))
	for i := 0; i < len(half); i += 2 {
		h := runtime.F32ToBF16(float32(r.NormFloat64()) * 0.02)
		half[i], half[i+1] = byte(h), byte(h>>8)
	}
	linear := func(n, k int, gate bool) *runtime.Linear {
		src, err := runtime.NewSource("w", n, k, runtime.BF16, half[:2*n*k])
		if err != nil {
			b.Fatal(err)
		}
		s := runtime.LinearSpec{Name: "l", W: []runtime.Source{src}, Gate: gate}
		if gate {
			s.Act = runtime.SiLU
		}
		lin, err := l.Linear(s)
		if err != nil {
			b.Fatal(err)
		}
		return lin
	}
	layer := 0
	copies := func(lin *runtime.Linear) (all []*runtime.Linear) {
		w := lin.Packed.(*weights)
		size := w.panels() * w.panelBytes
		layer += size
		all = []*runtime.Linear{lin}
		for range 63 {
			c := *lin
			all = append(all, &c)
		}
		return all
	}
	m.qkv = copies(linear((m.heads+2*m.kv)*m.dim, m.width, false))
	m.out = copies(linear(m.width, m.heads*m.dim, false))
	m.up = copies(linear(2*m.inner, m.width, true))
	m.down = copies(linear(m.width, m.inner, false))
	n := (bytes + layer - 1) / layer
	for _, all := range []*[]*runtime.Linear{&m.qkv, &m.out, &m.up, &m.down} {
		*all = (*all)[:min(n, 64)]
		first := (*all)[0].Packed.(*weights)
		size := first.panels() * first.panelBytes
		for i := 1; i < len(*all); i++ {
			w := *first
			p, err := l.(*loader).take(size)
			if err != nil {
				b.Fatal(err)
			}
			copy(unsafe.Slice((*byte)(p), size), unsafe.Slice((*byte)(first.data), size))
			w.data = p
			(*all)[i].Packed = &w
		}
	}
	m.bytes = layer * len(m.qkv)
	var err error
	if m.norm, err = l.Norm(runtime.NormSpec{Kind: runtime.RMSNorm, Width: m.width, Eps: 1e-5}); err != nil {
		b.Fatal(err)
	}
	freqs, err := l.Const(1, m.dim/2, make([]float32, m.dim/2), runtime.F32)
	if err != nil {
		b.Fatal(err)
	}
	m.rotary = &runtime.Rotary{Freqs: freqs, Factor: 1}
	m.attn = runtime.Attn{Heads: m.heads, KVHeads: m.kv, Dim: m.dim, Scale: 0.1, Causal: true, Rotary: 1, Keys: p.Cache}
	return &m
}

func (m *llm) forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences) {
	b.Angles(s, m.rotary)
	for i := range m.qkv {
		mark := b.Mark()
		a := m.attn
		a.Layer = i
		q, k, v := b.NormLinear(x, m.norm, m.qkv[i]).Split(m.heads*m.dim, m.kv*m.dim, m.kv*m.dim)
		b.LinearAdd(x, b.Attention(q, k, v, s, &a), m.out[i])
		b.LinearAdd(x, b.NormLinear(x, m.norm, m.up[i]), m.down[i])
		b.Release(mark)
	}
}

// sequences is a batch of rows that come behind past others.
func (m *llm) sequences(b *testing.B, back *Backend, p runtime.Precision, lens []int, past int) (*runtime.Sequences, *runtime.Cache) {
	b.Helper()
	per := (past + slices.Max(lens) + cacheBlock - 1) / cacheBlock
	c, err := back.NewCache(runtime.CacheSpec{Layers: len(m.qkv), Blocks: per * len(lens), KVHeads: m.kv, Dim: m.dim, Type: p.Cache})
	if err != nil {
		b.Fatal(err)
	}
	s := runtime.Pack(back, lens, nil)
	s.Cache, s.Past, s.Table = c, back.Scratch(len(lens), 1, runtime.I32), back.Scratch(len(lens), per, runtime.I32)
	var table []int32
	for i := range per * len(lens) {
		table = append(table, int32(i))
	}
	if os.Getenv("BENCH_SCATTER") != "" { // as after many sequences have come and gone
		rand.New(rand.NewPCG(3, 3)).Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
	}
	back.Upload(s.Past, slices.Repeat([]int32{int32(past)}, len(lens)))
	back.Upload(s.Table, table)
	for i, f := 0, floats(c.Packed.(*cache).data, int(c.Bytes/4)); i < len(f); i += 1024 { // of memory that is there
		f[i] = 0
	}
	return s, c
}

// reader measures what memory gives, once a call.
func reader(b *testing.B, back *Backend) func() float64 {
	const bytes = 512 << 20
	addr, err := allocate(bytes)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { release(addr) })
	p := pointer(addr)
	for i := 0; i < bytes; i += 4096 {
		*(*byte)(unsafe.Add(p, i)) = 1
	}
	share := bytes / len(back.pool.workers) / readPiece * readPiece
	return func() float64 {
		start := time.Now()
		back.pool.all(func(w *worker) {
			for from := 0; from < share; from += readPiece {
				back.level.read(unsafe.Add(p, w.id*share+from), readPiece/512)
			}
		})
		return float64(share*len(back.pool.workers)) / time.Since(start).Seconds()
	}
}

// compareRead runs op, which reads bytes, and a plain read in turn.
func compareRead(b *testing.B, rows, layers, bytes int, op func(), read func() float64) {
	var times, reads []float64
	for b.Loop() {
		start := time.Now()
		op()
		times = append(times, time.Since(start).Seconds())
		reads = append(reads, read())
	}
	slices.Sort(times)
	slices.Sort(reads)
	n := len(times)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[n/2]*1e3/float64(layers), "ms/layer")
	b.ReportMetric(float64(rows*layers)/times[n/2], "rows·layers/s")
	b.ReportMetric(float64(bytes)/times[n/2]/1e9, "GB/s-median")
	b.ReportMetric(reads[n/2]/1e9, "GB/s-read")
	b.ReportMetric(100*float64(bytes)/times[n/2]/reads[n/2], "%read-median")
	b.ReportMetric(100*float64(bytes)/times[0]/reads[n-1], "%read-best")
}

// BenchmarkDecode is steps of one row and of eight behind 1,024 rows in the cache.
func BenchmarkDecode(b *testing.B) {
	for name, shape := range map[string]llm{"phi": phi, "smol": smol} {
		for _, dtype := range []string{"auto", "bfloat16", "q8", "q4"} {
			for _, rows := range []int{1, 8} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, dtype, rows), func(b *testing.B) {
					back := benchBackend(b, "")
					p, _ := back.Precision(dtype, runtime.BF16)
					l := back.Load("bench", p)
					defer l.Close()
					bytes := 450 << 20
					if shape.width < 1024 {
						bytes = 30 * 2 * 3540000 // the model's own 30 layers in bfloat16
					}
					m := shape.load(b, l, p, bytes)
					const past = 1023
					s, cache := m.sequences(b, back, p, slices.Repeat([]int{1}, rows), past)
					defer cache.Close()
					x := tensor(back, rows, m.width, random(rand.New(rand.NewPCG(2, 2)), rows*m.width))
					read := m.bytes + rows*len(m.qkv)*(past+1)*m.kv*m.dim*2*p.Cache.Size()
					compareRead(b, rows, len(m.qkv), read, func() {
						mark := back.Mark()
						m.forward(back, x, s)
						back.Release(mark)
					}, reader(b, back))
				})
			}
		}
	}
}

// BenchmarkPrefill128 is a prompt of 128 rows.
func BenchmarkPrefill128(b *testing.B) {
	for _, dtype := range []string{"bfloat16", "q8", "q4"} {
		b.Run(dtype, func(b *testing.B) {
			const rows = 128
			back := benchBackend(b, "")
			p, _ := back.Precision(dtype, runtime.BF16)
			l := back.Load("bench", p)
			defer l.Close()
			m := phi.load(b, l, p, 300<<20)
			s, cache := m.sequences(b, back, p, []int{rows}, 0)
			defer cache.Close()
			x := tensor(back, rows, m.width, random(rand.New(rand.NewPCG(2, 2)), rows*m.width))
			weights := (m.heads+2*m.kv)*m.dim*m.width + m.heads*m.dim*m.width + 3*m.inner*m.width
			flops := float64(len(m.qkv)) * (2*float64(weights)*rows + 2*rows*rows*float64(m.heads*m.dim))
			compare(b, flops, func() {
				mark := back.Mark()
				m.forward(back, x, s)
				back.Release(mark)
			}, peakLoop(back, dtype))
			b.ReportMetric(float64(rows*len(m.qkv))/b.Elapsed().Seconds()*float64(b.N), "rows·layers/s")
		})
	}
}

// BenchmarkAttentionDecode is one step of attention alone, over caches that no level of the processor's cache holds.
func BenchmarkAttentionDecode(b *testing.B) {
	for name, shape := range map[string]llm{"phi": phi, "smol": smol} {
		for _, dtype := range []string{"float32", "bfloat16"} {
			b.Run(name+"/"+dtype, func(b *testing.B) {
				back := benchBackend(b, "")
				p, _ := back.Precision(dtype, runtime.BF16)
				m := shape
				const past, rows = 2047, 1
				bytes := (past + 1) * m.kv * m.dim * 2 * p.Cache.Size()
				m.qkv = make([]*runtime.Linear, max(1, (200<<20)/bytes))
				m.attn = runtime.Attn{Heads: m.heads, KVHeads: m.kv, Dim: m.dim, Scale: 0.1, Causal: true, Keys: p.Cache}
				s, cache := m.sequences(b, back, p, slices.Repeat([]int{1}, rows), past)
				defer cache.Close()
				n := (m.heads + 2*m.kv) * m.dim
				q, k, v := tensor(back, rows, n, random(rand.New(rand.NewPCG(2, 2)), rows*n)).Split(m.heads*m.dim, m.kv*m.dim, m.kv*m.dim)
				compareRead(b, rows, len(m.qkv), bytes*len(m.qkv), func() {
					for i := range m.qkv {
						mark := back.Mark()
						a := m.attn
						a.Layer = i
						back.Attention(q, k, v, s, &a)
						back.Release(mark)
					}
				}, reader(b, back))
			})
		}
	}
}
