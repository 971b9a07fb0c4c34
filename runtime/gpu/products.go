package gpu

import (
	"errors"
	"math/bits"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// Products is a library of matrix products.
type Products = cuda.Products

// chooser takes a library's products for the shapes where they are faster on this GPU. It tries both once for each
// shape, with the rows rounded up to a power of two. The library takes no activations, gates or caps of ours.
type chooser struct {
	library Products
	force   bool
	faster  map[shape]bool
	plans   map[cuda.MatmulSpec]cuda.Product // nil: the library does not take it
}

// shape is what decides who is faster.
type shape struct {
	rows, cols, depth int // rows: their bit length
	out               cuda.DataType
	bias, add         bool
}

const (
	mostPlans = 1024 // a plan belongs to a number of rows, which nearly every batch has another of
	trials    = 3
)

func newChooser(p Products, force bool) *chooser {
	return &chooser{library: p, force: force, faster: map[shape]bool{}, plans: map[cuda.MatmulSpec]cuda.Product{}}
}

func (c *chooser) close() error {
	if c == nil {
		return nil
	}
	errs := []error{c.forget(), c.library.Close()}
	return errors.Join(errs...)
}

func (c *chooser) forget() error {
	var errs []error
	for _, p := range c.plans {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	clear(c.plans)
	return errors.Join(errs...)
}

var dataTypes = map[runtime.DType]cuda.DataType{runtime.F32: cuda.Float32, runtime.F16: cuda.Float16, runtime.BF16: cuda.BFloat16}

// run computes y = x·wᵀ + bias, or y += x·wᵀ, by the library, and reports whether it did.
func (c *chooser) run(b *Backend, y, x runtime.Tensor, w *weights, a *kernels.Gemm) bool {
	if w.act != runtime.None || w.gate || w.cap != 0 || w.dtype == runtime.F32 || y.Addr()%16 != 0 {
		return false
	}
	s := cuda.MatmulSpec{
		Rows: int(a.M), Cols: int(a.N), Depth: int(a.K), In: dataTypes[w.dtype], Out: dataTypes[y.DType],
		StrideX: int(a.LDX), StrideW: int(a.LDW), StrideY: int(a.LDY), Bias: w.bias != 0, Add: a.Flags&kernels.Add != 0,
	}
	if s.Bias && s.Add {
		return false
	}
	bias := w.bias
	if y.DType != runtime.F32 {
		bias = w.narrow
	}
	kind := shape{bits.Len(uint(a.M)), s.Cols, s.Depth, s.Out, s.Bias, s.Add}
	take, known := c.faster[kind]
	if known && !take {
		return false
	}
	p := c.plan(b, s)
	if p == nil {
		return false
	}
	if !known {
		take = c.force || c.compare(b, kind, p, y, x, w, bias, *a)
		if b.idle() { // the trial was cut short: its times mean nothing
			return false
		}
		c.faster[kind] = take
		b.o.Log.Debug("matrix product", "rows", s.Rows, "cols", s.Cols, "depth", s.Depth, "by_library", take)
	}
	if take && !b.idle() {
		b.pace.launching(b)
		take = c.queued(b, kind, p.Run(b.stream, ptr(x), w.data, bias, ptr(y)))
		b.pace.launched(b)
	}
	return take
}

// queued looks at a product's error. What a library refuses our kernels compute, and it is not asked for that shape again;
// only the device's own errors are the device's.
func (c *chooser) queued(b *Backend, kind shape, err error) bool {
	if err == nil || errors.Is(err, cuda.ErrSticky) || errors.Is(err, cuda.ErrOutOfMemory) {
		return b.check(err)
	}
	b.o.Log.Warn("our own kernels compute a matrix product that the library refuses", "error", err)
	c.faster[kind] = false
	return false
}

// plan is the library's way to compute s, nil where it has none.
func (c *chooser) plan(b *Backend, s cuda.MatmulSpec) cuda.Product {
	p, known := c.plans[s]
	if known {
		return p
	}
	if len(c.plans) >= mostPlans {
		b.wait() // for those under way
		b.check(c.forget())
	}
	p, err := c.library.Plan(s)
	if err != nil {
		if !errors.Is(err, cuda.ErrNotSupported) {
			b.o.Log.Warn("the library of matrix products has no plan", "error", err)
		}
		p = nil
	}
	c.plans[s] = p
	return p
}

// compare reports whether the library is faster, on scratch in place of y.
func (c *chooser) compare(b *Backend, kind shape, p cuda.Product, y, x runtime.Tensor, w *weights, bias cuda.Ptr, a kernels.Gemm) bool {
	m := b.Mark()
	defer b.Release(m)
	trial := b.padded(y.Rows, y.Cols, y.Stride(), y.DType, y.Phase())
	if a.Flags&kernels.Add != 0 {
		b.convert(trial, y)
	}
	a.Y = ptr(trial)
	ours := func() { b.own(x, w, &a) }
	refused := false
	theirs := func() {
		if !refused {
			refused = !c.queued(b, kind, p.Run(b.stream, ptr(x), w.data, bias, ptr(trial)))
		}
	}
	return b.timed(theirs) < b.timed(ours) && !refused
}

// timed is how long trials runs of f take the device; the first, which may load code, does not count.
func (b *Backend) timed(f func()) time.Duration {
	f()
	b.wait()
	from, to := b.pace.free[len(b.pace.free)-1], b.pace.free[len(b.pace.free)-2]
	b.pace.free = b.pace.free[:len(b.pace.free)-2]
	defer func() { b.pace.free = append(b.pace.free, from, to) }()
	b.check(b.context.Record(from, b.stream))
	for range trials {
		f()
	}
	b.check(b.context.Record(to, b.stream))
	b.wait()
	if b.idle() {
		return 0
	}
	took, err := b.context.Elapsed(from, to)
	b.check(err)
	return took
}
