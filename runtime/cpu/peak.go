package cpu

import (
	"time"
	"unsafe"
)

// Peak is what the cores do at most, measured now: multiply-adds on registers alone, and reading memory. Claims about
// kernels are ratios to it, taken in the same run.
type Peak struct {
	FMA  float64 // float32 operations a second, two for a multiply-add
	BF16 float64 // the same for pairs of bfloat16, 0 where the CPU has no such instruction
	INT8 float64 // the same for 8-bit integers
	Read float64 // bytes a second out of memory
}

const (
	peakSample  = time.Millisecond / 2
	peakSamples = 40
	readBytes   = 256 << 20
	readPiece   = 1 << 20 // of one call, which cannot be interrupted
	readSamples = 4
)

// Peak measures for some tens of milliseconds; the best of several samples counts.
func (b *Backend) Peak() Peak {
	return Peak{
		FMA:  best(peakSamples, b.sampler(b.level.peakFMA, 2)),
		BF16: best(peakSamples, b.sampler(b.level.peakBF16, 4)),
		INT8: best(peakSamples, b.sampler(b.level.peakVNNI, 8)),
		Read: b.readRate(),
	}
}

func best(samples int, rate func() float64) float64 {
	top := 0.0
	for range samples {
		top = max(top, rate())
	}
	return top
}

// sampler measures the operations a second of a loop that runs on all workers at once, operations of each vector lane
// and instruction, for half a millisecond a call.
func (b *Backend) sampler(loop func(n int), operations int) func() float64 {
	if loop == nil {
		return func() float64 { return 0 }
	}
	n := 5000 // a fifth of a millisecond at 1 instruction a cycle, to begin with
	perIteration := float64(48 * b.level.lanes * operations * b.Threads())
	return func() float64 {
		for {
			start := time.Now()
			b.pool.all(func(*worker) { loop(n) })
			d := time.Since(start)
			if d > peakSample {
				return float64(n) * perIteration / d.Seconds()
			}
			n *= 2
		}
	}
}

func (b *Backend) readRate() float64 {
	addr, err := allocate(readBytes)
	if err != nil {
		return 0
	}
	defer release(addr)
	p := pointer(addr)
	for i := 0; i < readBytes; i += 4096 {
		*(*byte)(unsafe.Add(p, i)) = 1
	}
	share := readBytes / len(b.pool.workers) / 512 * 512
	return best(readSamples, func() float64 {
		start := time.Now()
		b.pool.all(func(w *worker) {
			for from := 0; from < share; from += readPiece {
				b.level.read(unsafe.Add(p, w.id*share+from), min(readPiece, share-from)/512)
			}
		})
		return float64(share*len(b.pool.workers)) / time.Since(start).Seconds()
	})
}
