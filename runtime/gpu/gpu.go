// Package gpu is the op set on an NVIDIA GPU: what a runtime.Backend promises, as launches of package kernels through a
// cuda.Context, which is the driver's or the emulator's.
//
// Ops queue launches on one stream and return. Only Sync and Download wait. All of it happens on the goroutine that owns
// the context; Props, Ledger, Err and Launches may be asked from any.
package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// Options configure New; the zero value is for everyone.
type Options struct {
	Name   string      // "" = "cuda:" and the ordinal
	Cache  *cuda.Cache // of what the driver's compiler makes of PTX; nil for none
	Log    *slog.Logger
	Poison bool // in tests: released scratch becomes NaN, or unwritten where that is known
	// Products is a library of matrix products, nil for our own kernels alone. It may only be given where a result is
	// allowed to depend on its batch, because the library chooses its kernels by the number of rows.
	Products Products
	Force    bool // take Products for whatever it can do, not only where it is faster
	// Limit ends a kernel that hangs: the context is lost when its work takes longer. 0 is a minute.
	Limit time.Duration
}

// Backend implements runtime.Backend.
type Backend struct {
	o          Options
	context    cuda.Context
	stream     cuda.Stream
	props      runtime.Props
	capability int
	processors int

	stack    runtime.Stack
	steps    runtime.Stack // of recorded steps, in place of stack while one is played
	scratch  atomic.Int64  // bytes
	weights  atomic.Int64
	filled   atomic.Int64 // of weights, what tensors take
	used     atomic.Int64 // of scratch, what tensors take
	caches   atomic.Int64
	arenas   atomic.Int64
	staging  staging
	landings landings
	recorded *recording // while a stream notes a step
	meeting  counters
	shadows  []shadow
	launcher launcher
	pace     pace
	products *chooser // nil without a library

	// Kept, so that a launch allocates nothing: a map of x is encoded for each.
	mapSpec    cuda.TensorMapSpec
	operandMap cuda.TensorMap

	wanted    func() bool
	abandoned bool
	failed    atomic.Pointer[runtime.DeviceError] // sticky
	closed    bool
}

var _ runtime.Backend = (*Backend)(nil)

// Oldest is the lowest compute capability that the kernels are built for, times ten.
const Oldest = 75

// New makes a backend on a context. The caller closes the context after the backend, on the same goroutine.
func New(c cuda.Context, o Options) (_ *Backend, err error) {
	p := c.Properties()
	if p.Capability() < Oldest {
		return nil, fmt.Errorf("%s has compute capability %d.%d: %d.%d is the oldest that the kernels are built for (Turing: T4, RTX 20)",
			p.Name, p.Major, p.Minor, Oldest/10, Oldest%10)
	}
	if o.Limit == 0 {
		o.Limit = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Backend{o: o, context: c, capability: p.Capability(), processors: p.Multiprocessors}
	b.props = runtime.Props{
		Name:   fmt.Sprintf("%s, compute capability %d.%d, %d GiB", p.Name, p.Major, p.Minor, (p.TotalBytes+1<<29)>>30),
		Device: cmp.Or(o.Name, fmt.Sprintf("cuda:%d", p.Ordinal)), Memory: p.TotalBytes,
		// Enough rows that the tiles of a BERT-sized product fill every multiprocessor a few times.
		BatchTokens: max(2048, 128*p.Multiprocessors),
		CacheBlock:  cacheBlock, Buckets: []int{1, 2, 4, 8, 16, 32, 48, 64}, Behind: true,
	}
	if b.stream, err = c.NewStream(); err != nil {
		return nil, err
	}
	b.launcher.init(b)
	if o.Products != nil {
		b.products = newChooser(o.Products, o.Force)
	}
	b.stack.Alloc, b.stack.Free = b.alloc, b.free
	b.steps.Alloc, b.steps.Free = b.alloc, b.free
	if o.Poison {
		b.stack.Poison = func(addr uintptr, bytes int64) {
			if b.failed.Load() != nil {
				return
			}
			if e, ok := c.(interface{ Poison(cuda.Ptr, int64) error }); ok { // emulated memory knows what was written
				b.check(e.Poison(cuda.Ptr(addr), bytes))
				return
			}
			const nan = 0x7fc00000
			b.check(c.Memset32(cuda.Ptr(addr), nan, bytes/4, b.stream))
		}
		b.steps.Poison = b.stack.Poison
	}
	if err := errors.Join(b.staging.open(b), b.pace.open(b)); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Prepare loads the kernels that every model needs. A driver that does not take them says so now, while another device
// can still be chosen.
func (b *Backend) Prepare() error {
	products := "gemm"
	if b.target() == kernels.SM90A {
		products = "wgmma"
	}
	for _, name := range []string{"rows", "norm", products, "attention"} {
		if _, err := b.launcher.module(name); err != nil {
			return err
		}
	}
	return nil
}

// Props says of the memory that is free now that a cache may take nine tenths: the rest is for scratch.
func (b *Backend) Props() runtime.Props {
	p := b.props
	if free, _, err := b.context.MemInfo(); err == nil {
		p.CacheMemory = free / 10 * 9
	}
	return p
}

// Precision: "auto" computes in bfloat16, or in float16 where the checkpoint is float16 or the GPU multiplies no bfloat16
// (before compute capability 8.0); sums, norms and softmax are float32 in any case. The residual stream is float32.
func (b *Backend) Precision(dtype string, stored runtime.DType) (runtime.Precision, error) {
	in := func(f runtime.Format, t runtime.DType) (runtime.Precision, error) {
		return runtime.Precision{Weights: f, Compute: t, Stream: runtime.F32, Cache: t}, nil
	}
	switch dtype {
	case "auto":
		if stored == runtime.F16 || b.capability < 80 {
			return in(runtime.Float16, runtime.F16)
		}
		return in(runtime.BFloat16, runtime.BF16)
	case "float32":
		return in(runtime.Float32, runtime.F32)
	case "float16":
		return in(runtime.Float16, runtime.F16)
	case "bfloat16":
		if b.capability < 80 {
			return runtime.Precision{}, fmt.Errorf("dtype bfloat16: %s multiplies float16 only: use auto, float16 or float32", b.props.Name)
		}
		return in(runtime.BFloat16, runtime.BF16)
	}
	return runtime.Precision{}, fmt.Errorf("dtype %q: a GPU has auto, bfloat16, float16 and float32", dtype)
}

// alloc is a slab of scratch. A device that is lost gives an address that nothing will use.
func (b *Backend) alloc(bytes int64) (uintptr, error) {
	if b.failed.Load() != nil {
		return lostAddress, nil
	}
	p, err := b.context.Alloc(bytes)
	if errors.Is(err, cuda.ErrOutOfMemory) {
		return 0, b.outOfMemory("scratch", bytes)
	}
	if !b.check(err) {
		return lostAddress, nil
	}
	b.scratch.Add(bytes)
	return uintptr(p), nil
}

// lostAddress stands for memory of a device that is lost.
const lostAddress = 1 << 60

func (b *Backend) free(addr uintptr, bytes int64) {
	if addr >= lostAddress {
		return
	}
	b.check(b.context.Free(cuda.Ptr(addr)))
	b.scratch.Add(-bytes)
}

func (b *Backend) outOfMemory(what string, want int64) runtime.OutOfMemory {
	free, _, err := b.context.MemInfo()
	if err != nil {
		free = -1
	}
	return runtime.OutOfMemory{What: what, Want: want, Free: free}
}

// check notes the first error of the device and reports whether there is none. Running out of memory is no error of the
// device but a panic.
func (b *Backend) check(err error) bool {
	if err == nil {
		return true
	}
	if errors.Is(err, cuda.ErrOutOfMemory) {
		panic(b.outOfMemory(err.Error(), -1))
	}
	e := &runtime.DeviceError{Call: "gpu", Name: err.Error(), Err: err}
	var c *cuda.Error
	if errors.As(err, &c) {
		e.Call, e.Code, e.Name = c.Call, int(c.Code), c.Name+": "+c.Text
	}
	if b.failed.CompareAndSwap(nil, e) {
		b.o.Log.Error("the GPU failed", "error", err)
	}
	return false
}

// Err is the error that lost the device, or nil.
func (b *Backend) Err() error {
	if e := b.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// idle reports that ops have nothing to do: the device is lost, or nobody wants their results.
func (b *Backend) idle() bool { return b.abandoned || b.failed.Load() != nil }

// While is asked at most every few milliseconds; what is queued by then is computed all the same.
func (b *Backend) While(wanted func() bool) {
	b.wanted, b.abandoned = wanted, false
	b.pace.asked = time.Time{}
}

// Sync waits for all that was queued.
func (b *Backend) Sync() error {
	if err := b.Err(); err != nil {
		return err
	}
	b.wait()
	if err := b.Err(); err != nil {
		return err
	}
	b.ask()
	if b.abandoned {
		return runtime.ErrAbandoned
	}
	return nil
}

// Ledger does not count page-locked memory of the host: it is not device memory.
func (b *Backend) Ledger() runtime.Ledger {
	return runtime.Ledger{Weights: b.weights.Load(), Scratch: b.scratch.Load(), Cache: b.caches.Load(), Arena: b.arenas.Load()}
}

// Launches are how often each kernel was launched.
func (b *Backend) Launches() map[string]int64 { return b.launcher.counts() }

// Allocated is the bytes that tensors take at this moment, of those of the Ledger.
func (b *Backend) Allocated() int64 {
	return b.filled.Load() + b.used.Load() + b.caches.Load() + b.arenas.Load()
}

// Close frees everything but what Loaders hold, which their owners close.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.failed.Load() == nil {
		b.wait()
	}
	b.stack.Close()
	b.steps.Close()
	b.meeting.close(b)
	b.shadows = nil
	if err := b.Err(); err != nil {
		b.scratch.Store(0) // it went with the device
		return nil
	}
	errs := []error{b.products.close(), b.pace.close(b), b.staging.close(b), b.landings.close(b), b.launcher.close(b)}
	if b.stream != 0 {
		errs = append(errs, b.context.DestroyStream(b.stream))
	}
	return errors.Join(append(errs, b.Err())...)
}

func (b *Backend) target() kernels.Target { return kernels.TargetOf(b.capability) }
