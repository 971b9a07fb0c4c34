// Package cpu computes on the processor's cores: generated assembly for AVX-512 (with BF16 and VNNI where there is any),
// AVX2 and NEON, and the same in portable Go.
//
// Activations, streams and results are float32. Weights are packed once, outside the Go heap, and serve one row as well
// as many; so do the keys and values of a cache, which are panels too. The bits of a row depend neither on the rows beside
// it, nor on how a prompt is cut, nor on the number of threads; they may differ from one instruction set to another.
package cpu

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"remote-client-server/runtime"
)

// Options configure New; the zero value is for everyone.
type Options struct {
	Threads int    // 0: the physical cores that the process may use
	Level   string // "": what LevelVariable says, else the best of this machine
	Poison  bool   // in tests: released scratch becomes NaN
}

// Backend implements runtime.Backend.
type Backend struct {
	level *level
	pool  *pool
	stack runtime.Stack

	weights, scratch, caches, arenas atomic.Int64 // bytes
	done                             []atomic.Int32
	closed                           bool
}

var _ runtime.Backend = (*Backend)(nil)

// New starts the threads.
func New(o Options) (*Backend, error) {
	lv, err := pickLevel(o.Level)
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, fmt.Errorf("cpu threads %d: not between 0 (all cores) and 1024", o.Threads)
	}
	cores := allCores()
	if o.Threads == 0 {
		o.Threads = usable(len(cores))
	}
	b := &Backend{level: lv}
	b.pool = newPool(o.Threads, cores, &b.scratch)
	b.stack.Alloc = func(bytes int64) (uintptr, error) {
		addr, err := allocate(bytes)
		if err == nil {
			b.scratch.Add(bytes)
		}
		return addr, err
	}
	b.stack.Free = func(addr uintptr, bytes int64) {
		release(addr)
		b.scratch.Add(-bytes)
	}
	if o.Poison {
		b.stack.Poison = func(addr uintptr, bytes int64) {
			nan := float32(math.NaN())
			for i, f := 0, floats(pointer(addr), int(bytes/4)); i < len(f); i++ {
				f[i] = nan
			}
		}
	}
	return b, nil
}

// Threads is the number of cores that compute.
func (b *Backend) Threads() int { return len(b.pool.workers) }

func (b *Backend) Props() runtime.Props {
	name := fmt.Sprintf("cpu %s, %d threads", b.level.detail, b.Threads())
	if b.Threads() == 1 {
		name = fmt.Sprintf("cpu %s, 1 thread", b.level.detail)
	}
	return runtime.Props{
		Name: name, Device: "cpu", Memory: memoryTotal(), BatchTokens: 512 * b.Threads(),
		CacheBlock: cacheBlock, CacheMemory: memoryFree() / 2, OnePhase: true,
	}
}

// Precision: "auto" and "float32" keep weights in the checkpoint's type, exactly; "float16" also rounds float32 weights
// to float16, "bfloat16" all to bfloat16. Activations are float32 but where the CPU multiplies bfloat16 pairs or
// quantised blocks, which round them inside the product; where it does the former, attention rounds too unless the cache
// is float32.
func (b *Backend) Precision(dtype string, stored runtime.DType) (runtime.Precision, error) {
	p := runtime.Precision{Weights: runtime.Stored, Compute: runtime.F32, Stream: runtime.F32, Cache: runtime.F32}
	switch dtype {
	case "auto", "float32":
	case "float16":
		p.Weights, p.Cache = runtime.Float16, runtime.F16
	case "bfloat16":
		p.Weights, p.Cache = runtime.BFloat16, runtime.BF16
	case "q8":
		p.Weights, p.Cache = runtime.Q8, runtime.BF16
	case "q4":
		p.Weights, p.Cache = runtime.Q4, runtime.BF16
	default:
		return p, fmt.Errorf("dtype %q: the cpu has auto, float32, bfloat16, float16, q8 and q4", dtype)
	}
	return p, nil
}

func (b *Backend) Scratch(rows, cols int, t runtime.DType) runtime.Tensor {
	return b.scratchOf(rows, cols, t, runtime.Prefill)
}

func (b *Backend) scratchOf(rows, cols int, t runtime.DType, phase runtime.Phase) runtime.Tensor {
	if rows < 0 || cols < 0 || cols > 0 && rows > math.MaxInt/8/cols {
		panic(runtime.ShapeError{Op: "Scratch", Detail: fmt.Sprintf("%v[%d,%d]", t, rows, cols)})
	}
	life := b.stack.Life()
	addr := b.stack.Push("scratch", int64(rows)*int64(cols)*int64(t.Size()))
	return runtime.NewTensor(addr, rows, cols, cols, t, phase, life)
}

// result is scratch for an op's result, of the phase of its operand.
func (b *Backend) result(like runtime.Tensor, rows, cols int) runtime.Tensor {
	return b.scratchOf(rows, cols, runtime.F32, like.Phase())
}

func (b *Backend) Mark() runtime.Mark     { return b.stack.Mark() }
func (b *Backend) Release(m runtime.Mark) { b.stack.Release(m) }

// check panics unless the tensors are alive and of type t.
func (b *Backend) check(op string, t runtime.DType, tensors ...runtime.Tensor) {
	b.stack.Check(op, tensors...)
	for _, x := range tensors {
		if x.DType != t {
			panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%v where %v belongs", x, t)})
		}
	}
}

func view(t runtime.Tensor) rows { return rows{pointer(t.Addr()), t.Stride()} }

// ints is column c of an I32 tensor as a function of the row.
func ints(t runtime.Tensor, c int) func(i int) int {
	p, stride := pointer(t.Addr()), t.Stride()
	return func(i int) int { return int(*(*int32)(at(p, i*stride+c))) }
}

func (b *Backend) Upload(dst runtime.Tensor, src any) {
	switch s := src.(type) {
	case []float32:
		transfer(b, "Upload", dst, s, runtime.F32, func(row, host []float32) { copy(row, host) })
	case []int32:
		transfer(b, "Upload", dst, s, runtime.I32, func(row, host []int32) { copy(row, host) })
	case []uint8:
		transfer(b, "Upload", dst, s, runtime.U8, func(row, host []uint8) { copy(row, host) })
	default:
		panic(runtime.ShapeError{Op: "Upload", Detail: fmt.Sprintf("from %T", src)})
	}
}

func (b *Backend) Download(dst any, src runtime.Tensor) error {
	switch d := dst.(type) {
	case []float32:
		transfer(b, "Download", src, d, runtime.F32, func(row, host []float32) { copy(host, row) })
	case []int32:
		transfer(b, "Download", src, d, runtime.I32, func(row, host []int32) { copy(host, row) })
	case []uint8:
		transfer(b, "Download", src, d, runtime.U8, func(row, host []uint8) { copy(host, row) })
	default:
		panic(runtime.ShapeError{Op: "Download", Detail: fmt.Sprintf("to %T", dst)})
	}
	return b.Sync()
}

// transfer moves the rows of a tensor and of packed host memory.
func transfer[E any](b *Backend, op string, t runtime.Tensor, host []E, d runtime.DType, move func(row, host []E)) {
	b.check(op, d, t)
	if len(host) != t.Rows*t.Cols {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%d values and %v", len(host), t)})
	}
	p := pointer(t.Addr())
	for r := range t.Rows {
		row := unsafe.Slice((*E)(unsafe.Add(p, r*t.Stride()*d.Size())), t.Cols)
		move(row, host[r*t.Cols:][:t.Cols])
	}
}

// Sync returns at once: every op is done when it returns. It marks the end of a forward pass for the threads.
func (b *Backend) Sync() error {
	b.pool.rest()
	if b.pool.abandoned.Load() {
		return runtime.ErrAbandoned
	}
	return nil
}

// While is looked at between the tasks of an op, which take a few milliseconds at most.
func (b *Backend) While(wanted func() bool) {
	b.pool.wanted = wanted
	b.pool.abandoned.Store(false)
}

func (b *Backend) Ledger() runtime.Ledger {
	return runtime.Ledger{Weights: b.weights.Load(), Scratch: b.scratch.Load(), Cache: b.caches.Load(), Arena: b.arenas.Load()}
}

// Close ends the threads and frees scratch. Loaders are closed by their owners.
func (b *Backend) Close() error {
	if !b.closed {
		b.closed = true
		b.pool.close()
		b.stack.Close()
	}
	return nil
}

// counters is n zeroed counters, good until the next call.
func (b *Backend) counters(n int) []atomic.Int32 {
	if len(b.done) < n {
		b.done = make([]atomic.Int32, n+n/2)
	}
	c := b.done[:n]
	for i := range c {
		c[i].Store(0)
	}
	return c
}
