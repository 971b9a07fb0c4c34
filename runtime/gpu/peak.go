package gpu

import (
	"fmt"

	"remote-client-server/runtime"
)

// Peak is what the GPU does at most, measured now with the largest of our own products and with copies, and what its
// properties promise. Shares of it are taken in the same run.
type Peak struct {
	Product    float64 // operations a second of the largest matrix product, two for a multiply-add
	Copy       float64 // bytes a second, read and written
	Arithmetic float64 // operations a second by clock and tensor cores, 0 where that is not known
	Bandwidth  float64 // bytes a second by clock and bus, 0 where the driver does not tell
}

// tensorOps are dense 16-bit operations of a multiprocessor's tensor cores in a cycle, with float32 sums, as the GPUs for
// servers have them (NVIDIA's architecture papers); GeForce cards before sm_90 do half. The float32 rate of the other
// cores is in floatOps.
var (
	tensorOps = map[int]float64{75: 1024, 80: 2048, 86: 1024, 89: 1024, 90: 4096}
	floatOps  = map[int]float64{75: 128, 80: 128, 86: 256, 89: 256, 90: 256}
)

const (
	smallestProduct = 256
	largestProduct  = 4096
	largestCopy     = 256 << 20
	peakTime        = 5e-3 // seconds: what takes longer is long enough to be measured
)

// Peak measures for some tens of milliseconds, in the type that weights of that name ("bfloat16", ...) are multiplied in.
// Sizes grow until they take a few milliseconds, so that a slow GPU, or an emulated one, is measured with small ones.
func (b *Backend) Peak(dtype string) (p Peak, err error) {
	precision, err := b.Precision(dtype, runtime.F32)
	if err != nil {
		return p, err
	}
	d := b.context.Properties()
	clock := float64(d.ClockKHz) * 1e3 * float64(d.Multiprocessors)
	ops := tensorOps
	if precision.Compute == runtime.F32 {
		ops = floatOps
	}
	p.Arithmetic = clock * ops[b.capability]
	p.Bandwidth = 2 * float64(d.MemoryClockKHz) * 1e3 * float64(d.MemoryBusBits) / 8
	for n := smallestProduct; n <= largestProduct; n *= 2 {
		seconds, err := b.productTime(n, precision)
		if err != nil {
			return p, err
		}
		p.Product = 2 * float64(n) * float64(n) * float64(n) / seconds
		if seconds > peakTime {
			break
		}
	}
	m := b.Mark()
	defer b.Release(m)
	for bytes := 1 << 20; bytes <= largestCopy; bytes *= 4 {
		scope := b.Mark()
		rows := bytes / 4096
		x, y := b.Scratch(rows, 1024, runtime.F32), b.Scratch(rows, 1024, runtime.F32)
		b.check(b.context.Memset32(ptr(x), 0, int64(bytes/4), b.stream))
		seconds := b.timed(func() { b.check(b.context.CopyAsync(ptr(y), ptr(x), int64(bytes), b.stream)) }).Seconds() / trials
		b.Release(scope)
		if err := b.Sync(); err != nil {
			return p, err
		}
		p.Copy = 2 * float64(bytes) / seconds
		if seconds > peakTime {
			break
		}
	}
	return p, nil
}

// productTime is how long [n,n]·[n,n]ᵀ takes.
func (b *Backend) productTime(n int, p runtime.Precision) (seconds float64, err error) {
	l := b.Load("peak", p)
	defer func() {
		if e := l.Close(); err == nil {
			err = e
		}
	}()
	w, err := l.Linear(runtime.LinearSpec{Name: "peak", W: []runtime.Source{runtime.FloatSource("peak", n, make([]float32, n*n))}})
	if err != nil {
		return 0, fmt.Errorf("measuring the GPU: %w", err)
	}
	m := b.Mark()
	defer b.Release(m)
	packed := w.Packed.(*weights)
	x, y := b.Scratch(n, n, p.Compute), b.Scratch(n, n, p.Compute)
	if b.check(b.context.Memset32(ptr(x), 0, int64(n*n*p.Compute.Size()/4), b.stream)) {
		a := packed.gemm(y, x, 0)
		seconds = b.timed(func() { b.own(x, packed, &a) }).Seconds() / trials
	}
	return seconds, b.Sync()
}
