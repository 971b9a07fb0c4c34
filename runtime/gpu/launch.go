package gpu

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// launcher finds kernels in their modules, loads a module when the first of its kernels is wanted, and launches.
type launcher struct {
	b       *Backend
	modules map[string]cuda.Module
	launch  cuda.Launch // kept: the arguments alone are 4 KiB
	kinds   map[kind]*kernel
	mu      sync.Mutex // of the map, which counts reads from other goroutines
	loaded  map[string]*kernel
}

// kind finds a kernel without making its name.
type kind struct {
	op    string
	x, y  runtime.DType
	dim   int
	typed int // how many of x and y the name has
}

// name is the kernel's in the launch table: norm_f32_bf16, pool_f16, attention_bf16_64.
func (k kind) name() string {
	s := k.op
	if k.typed > 0 {
		s += "_" + suffix(k.x)
	}
	if k.typed > 1 {
		s += "_" + suffix(k.y)
	}
	if k.dim > 0 {
		s += "_" + strconv.Itoa(k.dim)
	}
	return s
}

// pick is the kernel of that kind, nil where the device fails.
func (b *Backend) pick(k kind) *kernel {
	if f := b.launcher.kinds[k]; f != nil {
		return f
	}
	f := b.find(k.name())
	if f != nil {
		b.launcher.kinds[k] = f
	}
	return f
}

// kernel is a row of the launch table, loaded.
type kernel struct {
	*kernels.Kernel
	function cuda.Function
	count    atomic.Int64
}

func (l *launcher) init(b *Backend) {
	l.b, l.modules, l.loaded = b, map[string]cuda.Module{}, map[string]*kernel{}
	l.kinds = map[kind]*kernel{}
}

// find is the kernel of that name, nil where the device fails.
func (b *Backend) find(name string) *kernel {
	l := &b.launcher
	if k := l.loaded[name]; k != nil {
		return k
	}
	k, err := l.load(kernels.Find(name))
	if !b.check(err) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded[name] = k
	return k
}

func (l *launcher) load(row *kernels.Kernel) (*kernel, error) {
	c := l.b.context
	m, err := l.module(row.Module)
	if err != nil {
		return nil, err
	}
	f, err := c.Function(m, row.Name)
	if err != nil {
		return nil, err
	}
	if row.Shared > 48<<10 {
		err = c.SetFunctionAttribute(f, cuda.DynamicSharedBytes, row.Shared)
	}
	return &kernel{Kernel: row, function: f}, err
}

// module loads the first image of a module that this GPU and driver take: a cubin made for it, or PTX, which the driver
// compiles and the cache keeps.
func (l *launcher) module(name string) (cuda.Module, error) {
	if m, ok := l.modules[name]; ok {
		return m, nil
	}
	b := l.b
	var refused []error
	for _, image := range kernels.Images(name, b.capability) {
		m, log, err := b.o.Cache.Load(b.context, image.Data)
		if err == nil {
			b.o.Log.Debug("kernels loaded", "module", name, "for", image.Target, "cubin", image.Cubin, "log", log)
			l.modules[name] = m
			return m, nil
		}
		if errors.Is(err, cuda.ErrSticky) || errors.Is(err, cuda.ErrOutOfMemory) {
			return 0, err
		}
		refused = append(refused, err)
	}
	if refused == nil {
		return 0, fmt.Errorf("the kernels of module %s are not built for compute capability %d.%d", name, b.capability/10, b.capability%10)
	}
	return 0, fmt.Errorf("the kernels of module %s cannot be loaded: %w", name, errors.Join(refused...))
}

func (l *launcher) counts() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int64, len(l.loaded))
	for name, k := range l.loaded {
		n[name] = k.count.Load()
	}
	return n
}

func (l *launcher) close(b *Backend) error {
	var errs []error
	for _, m := range l.modules {
		errs = append(errs, b.context.Unload(m))
	}
	l.modules = nil
	return errors.Join(errs...)
}

// run queues one launch. args are the bytes of the kernel's struct, read before it returns.
func (b *Backend) run(k *kernel, grid [3]uint32, args []byte, maps ...*cuda.TensorMap) {
	if k == nil || b.idle() || grid[0] == 0 || grid[1] == 0 || grid[2] == 0 {
		return
	}
	if b.recorded == nil {
		b.pace.launching(b)
	}
	l := &b.launcher.launch
	l.Function, l.Grid, l.Block = k.function, grid, [3]uint32{uint32(k.Threads), 1, 1}
	l.Shared, l.Stream, l.Dependent = uint32(k.Shared), b.stream, k.Dependent
	l.Args.Reset()
	l.Args.Struct(args, 8)
	for _, m := range maps {
		l.Args.TensorMap(m)
	}
	switch done := b.check(b.context.Launch(l)); {
	case b.recorded != nil:
		b.recorded.launches = append(b.recorded.launches, k)
		return
	case done:
		k.count.Add(1)
	}
	b.pace.launched(b)
}

// suffix is how a kernel's name says a type.
func suffix(t runtime.DType) string {
	switch t {
	case runtime.F16:
		return "f16"
	case runtime.BF16:
		return "bf16"
	}
	return "f32"
}

func ptr(t runtime.Tensor) cuda.Ptr { return cuda.Ptr(t.Addr()) }

func ld(t runtime.Tensor) int32 { return int32(t.Stride()) }
