package cpu

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"remote-client-server/runtime"
)

// loop of the instruction that a format's products use, and its operations a lane.
func peakLoop(b *Backend, dtype string) func() float64 {
	switch {
	case dtype == "bfloat16" && b.level.dot != nil:
		return b.sampler(b.level.peakBF16, 4)
	case dtype[0] == 'q' && b.level.q8 != nil:
		return b.sampler(b.level.peakVNNI, 8)
	}
	return b.sampler(b.level.peakFMA, 2)
}

// compare runs op and a peak loop in turn and reports the median and the best of op against the same of the peak: on a
// shared machine only ratios inside one run mean something.
func compare(b *testing.B, flops float64, op func(), peak func() float64) {
	var rates, peaks []float64
	for b.Loop() {
		start := time.Now()
		op()
		rates = append(rates, flops/time.Since(start).Seconds())
		peaks = append(peaks, peak())
	}
	slices.Sort(rates)
	slices.Sort(peaks)
	n := len(rates)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(flops/rates[n/2]*1e3, "ms-median")
	b.ReportMetric(rates[n/2]/1e9, "GFLOP/s-median")
	b.ReportMetric(rates[n-1]/1e9, "GFLOP/s-best")
	b.ReportMetric(100*rates[n/2]/peaks[n/2], "%peak-median")
	b.ReportMetric(100*rates[n-1]/peaks[n-1], "%peak-best")
}

func benchBackend(b *testing.B, level string) *Backend {
	b.Helper()
	threads, _ := strconv.Atoi(os.Getenv("BENCH_THREADS"))
	back, err := New(Options{Level: level, Threads: threads})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { back.Close() })
	return back
}

func randomLinear(b *testing.B, l runtime.Loader, n, k int, s runtime.LinearSpec) *runtime.Linear {
	b.Helper()
	r := rand.New(rand.NewPCG(uint64(n), uint64(k)))
	w := random(r, n*k)
	for i := range w {
		w[i] *= 0.05
	}
	s.Name = "l"
	s.W = []runtime.Source{runtime.FloatSource("w", n, w)}
	s.B = []runtime.Source{runtime.FloatSource("b", 1, random(r, n))}
	lin, err := l.Linear(s)
	if err != nil {
		b.Fatal(err)
	}
	return lin
}

func BenchmarkLinear(b *testing.B) {
	for _, level := range Levels() {
		if level == "generic" || level == "avx512vnni" {
			continue
		}
		for _, dtype := range []string{"float32", "bfloat16", "float16", "q8", "q4"} {
			for _, s := range [][3]int{{512, 768, 768}, {128, 3072, 768}, {1024, 1024, 1024}, {32, 768, 768}, {32, 3072, 768}, {32, 768, 3072}, {1, 3072, 3072}} {
				m, n, k := s[0], s[1], s[2]
				b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", level, dtype, m, n, k), func(b *testing.B) {
					back := benchBackend(b, level)
					p, _ := back.Precision(dtype, runtime.F32)
					l := back.Load("bench", p)
					defer l.Close()
					lin := randomLinear(b, l, n, k, runtime.LinearSpec{})
					x := tensor(back, m, k, random(rand.New(rand.NewPCG(1, 1)), m*k))
					compare(b, 2*float64(m)*float64(n)*float64(k), func() {
						mark := back.Mark()
						back.Linear(x, lin)
						back.Release(mark)
					}, peakLoop(back, dtype))
				})
			}
		}
	}
}

// encoder is a stack of layers in BERT-base's shape with random weights.
type encoder struct {
	qkv, out, up, down []*runtime.Linear
	norm               *runtime.Norm
	attn               *runtime.Attn
}

const encoderLayers, encoderWidth, encoderInner, encoderHeads = 12, 768, 3072, 12

func newEncoder(b *testing.B, l runtime.Loader, keys runtime.DType) *encoder {
	e := &encoder{attn: &runtime.Attn{Heads: encoderHeads, KVHeads: encoderHeads, Dim: encoderWidth / encoderHeads, Scale: 0.125, Keys: keys}}
	for range encoderLayers {
		e.qkv = append(e.qkv, randomLinear(b, l, 3*encoderWidth, encoderWidth, runtime.LinearSpec{}))
		e.out = append(e.out, randomLinear(b, l, encoderWidth, encoderWidth, runtime.LinearSpec{}))
		e.up = append(e.up, randomLinear(b, l, encoderInner, encoderWidth, runtime.LinearSpec{Act: runtime.GELU}))
		e.down = append(e.down, randomLinear(b, l, encoderWidth, encoderInner, runtime.LinearSpec{}))
	}
	n, err := l.Norm(runtime.NormSpec{Kind: runtime.LayerNorm, Width: encoderWidth, Eps: 1e-12})
	if err != nil {
		b.Fatal(err)
	}
	e.norm = n
	return e
}

func (e *encoder) forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences) {
	for i := range e.qkv {
		mark := b.Mark()
		q, k, v := b.Linear(x, e.qkv[i]).Split(encoderWidth, encoderWidth, encoderWidth)
		b.LinearAddNorm(x, b.Attention(q, k, v, s, e.attn), e.out[i], e.norm)
		b.LinearAddNorm(x, b.Linear(x, e.up[i]), e.down[i], e.norm)
		b.Release(mark)
	}
}

// flops counts the products, those of attention included.
func (e *encoder) flops(lens []int) float64 {
	total := 0.0
	for _, n := range lens {
		rows := float64(n)
		total += rows * 2 * (4*encoderWidth*encoderWidth + 2*encoderWidth*encoderInner)
		total += 4 * rows * rows * encoderWidth
	}
	return total * encoderLayers
}

func BenchmarkEncoder(b *testing.B) {
	for _, dtype := range []string{"float32", "bfloat16", "q8"} {
		for _, shape := range [][2]int{{1, 8}, {1, 32}, {1, 128}, {1, 512}, {32, 128}} {
			b.Run(fmt.Sprintf("%s/%dx%d", dtype, shape[0], shape[1]), func(b *testing.B) {
				back := benchBackend(b, "")
				p, _ := back.Precision(dtype, runtime.F32)
				l := back.Load("bench", p)
				defer l.Close()
				e := newEncoder(b, l, p.Cache)
				lens := make([]int, shape[0])
				total := 0
				for i := range lens {
					lens[i] = shape[1]
					total += shape[1]
				}
				s := runtime.Pack(back, lens, nil)
				x := tensor(back, total, encoderWidth, random(rand.New(rand.NewPCG(1, 1)), total*encoderWidth))
				compare(b, e.flops(lens), func() { e.forward(back, x, s) }, back.sampler(back.level.peakFMA, 2))
			})
		}
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, keys := range []runtime.DType{runtime.F32, runtime.BF16} {
		for _, shape := range [][2]int{{1, 32}, {1, 128}, {1, 512}, {8, 128}, {1, 2048}} {
			b.Run(fmt.Sprintf("%v/%dx%d", keys, shape[0], shape[1]), func(b *testing.B) {
				back := benchBackend(b, "")
				lens := slices.Repeat([]int{shape[1]}, shape[0])
				total := shape[0] * shape[1]
				s := runtime.Pack(back, lens, nil)
				x := tensor(back, total, 3*encoderWidth, random(rand.New(rand.NewPCG(1, 1)), total*3*encoderWidth))
				q, k, v := x.Split(encoderWidth, encoderWidth, encoderWidth)
				a := &runtime.Attn{Heads: encoderHeads, KVHeads: encoderHeads, Dim: encoderWidth / encoderHeads, Scale: 0.125, Keys: keys}
				compare(b, 4*float64(total)*float64(shape[1])*encoderWidth, func() {
					mark := back.Mark()
					back.Attention(q, k, v, s, a)
					back.Release(mark)
				}, peakLoop(back, map[runtime.DType]string{runtime.F32: "float32", runtime.BF16: "bfloat16"}[keys]))
			})
		}
	}
}

func BenchmarkPack(b *testing.B) {
	const n, k = 3072, 3072
	v := random(rand.New(rand.NewPCG(1, 1)), n*k)
	for _, stored := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
		for _, dtype := range []string{"auto", "bfloat16", "q8", "q4"} {
			b.Run(fmt.Sprintf("%v/%s", stored, dtype), func(b *testing.B) {
				back := benchBackend(b, "")
				p, _ := back.Precision(dtype, stored)
				src := runtime.FloatSource("w", n, v)
				if stored != runtime.F32 {
					data := make([]byte, 2*n*k)
					for i, x := range v {
						h := runtime.F32ToBF16(x)
						if stored == runtime.F16 {
							h = runtime.F32ToF16(x)
						}
						data[2*i], data[2*i+1] = byte(h), byte(h>>8)
					}
					src, _ = runtime.NewSource("w", n, k, stored, data)
				}
				b.SetBytes(int64(n * k * stored.Size()))
				for b.Loop() {
					l := back.Load("bench", p)
					if _, err := l.Linear(runtime.LinearSpec{W: []runtime.Source{src}}); err != nil {
						b.Fatal(err)
					}
					l.Close()
				}
			})
		}
	}
}
