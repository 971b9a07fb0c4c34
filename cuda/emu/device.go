package emu

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Device is an emulated GPU. Launches may run at the same time; host access to memory waits for them.
type Device struct {
	Memory
	target Target
	seq    atomic.Uint64
	syncMu sync.Mutex // atomics and synchronising accesses to global memory

	imagesMu sync.Mutex
	images   map[*Module]map[string]*allocation
}

// NewDevice makes a device with empty memory. Zero limits of the target mean its architecture's.
func NewDevice(t Target) *Device {
	t = t.withDefaults()
	d := &Device{target: t, images: map[*Module]map[string]*allocation{}}
	d.live, d.limit = map[uint64]*allocation{}, t.MemoryBytes
	return d
}

// Target is what the device was made for, limits filled in.
func (d *Device) Target() Target { return d.target }

// Launch is how a kernel runs.
type Launch struct {
	Grid, Block, Cluster [3]int // zeros mean 1; of a cluster, what the kernel requires
	Shared               int    // dynamic shared memory in bytes
	Params               []byte // packed as Kernel.Params says
	Budget               int64  // warp instructions that one warp may execute; 0 means 1<<28
	Profile              bool   // count sectors and bank wavefronts too, at some cost
	NoRaceCheck          bool   // leave the race checks out, for speed
	Workers              int    // goroutines; 0 means GOMAXPROCS
}

// Load places a module's global and constant variables in the device's memory, once. Run does so by itself.
func (d *Device) Load(m *Module) error {
	d.imagesMu.Lock()
	defer d.imagesMu.Unlock()
	if d.images[m] != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	img := map[string]*allocation{}
	vars := append([]*variable(nil), m.order...)
	for _, f := range m.funcs {
		vars = append(vars, scopeVars(f.body)...)
	}
	for _, name := range m.names {
		vars = append(vars, scopeVars(m.kernels[name].fn.body)...)
	}
	for _, v := range vars {
		if v.space != spGlobal && v.space != spConst {
			continue
		}
		a, err := d.alloc(v.size)
		if err != nil {
			return err
		}
		a.name, a.readOnly, a.shadow = v.name, v.space == spConst, nil // module variables start as zero
		copy(a.data, v.init)
		img[v.name] = a
	}
	for _, v := range vars {
		for _, r := range v.relocs {
			to := img[r.name]
			if to == nil || img[v.name] == nil {
				return fmt.Errorf("emu: initialiser of %s: %s is no variable in memory", v.name, r.name)
			}
			binary.LittleEndian.PutUint64(img[v.name].data[r.off:], to.base+uint64(r.add))
		}
	}
	d.images[m] = img
	return nil
}

func scopeVars(s *scope) []*variable {
	if s == nil {
		return nil
	}
	var r []*variable
	for _, v := range s.vars {
		if v.space == spGlobal || v.space == spConst {
			r = append(r, v)
		}
	}
	for _, st := range s.stmts {
		r = append(r, scopeVars(st.block)...)
	}
	return r
}

// Unload frees a module's variables.
func (d *Device) Unload(m *Module) {
	d.imagesMu.Lock()
	defer d.imagesMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.images[m] {
		delete(d.live, a.base)
		d.used -= int64(a.size)
		a.freed, a.data, a.shadow, a.stamps = true, nil, nil, nil
	}
	delete(d.images, m)
}

// Global finds a module variable's address and size, loading the module if need be.
func (d *Device) Global(m *Module, name string) (addr uint64, size int, err error) {
	if err := d.Load(m); err != nil {
		return 0, 0, err
	}
	d.imagesMu.Lock()
	defer d.imagesMu.Unlock()
	a := d.images[m][name]
	if a == nil {
		return 0, 0, fmt.Errorf("emu: the module has no variable %q", name)
	}
	return a.base, int(a.size), nil
}

func (d *Device) address(m *Module, name string) uint64 {
	d.imagesMu.Lock()
	defer d.imagesMu.Unlock()
	if a := d.images[m][name]; a != nil {
		return a.base
	}
	return 0
}

// layoutParams gives the parameters their places, each at a multiple of its alignment.
func (k *Kernel) layoutParams() error {
	for _, v := range k.fn.params {
		if v.space != spParam || v.size == 0 {
			return fmt.Errorf("parameter %s of an entry must have a size in .param space", v.name)
		}
		k.paramSize = alignUp(k.paramSize, v.align)
		v.off = k.paramSize
		k.params = append(k.params, Param{v.name, v.off, v.size, v.align})
		if k.paramSize += v.size; k.paramSize > 32764 {
			return fmt.Errorf("parameters of more than 32764 bytes")
		}
	}
	return nil
}

// Pack builds Launch.Params from one value for each parameter: integers and floats of 4 or 8 bytes, uint64 addresses,
// int (written in the parameter's size), or byte slices and arrays of 128 bytes for the rest.
func (k *Kernel) Pack(args ...any) ([]byte, error) {
	if len(args) != len(k.params) {
		return nil, fmt.Errorf("emu: kernel %s has %d parameters, got %d", k.Name, len(k.params), len(args))
	}
	buf := make([]byte, k.paramSize)
	for i, a := range args {
		p := k.params[i]
		var b []byte
		le := binary.LittleEndian
		switch v := a.(type) {
		case uint64:
			b = le.AppendUint64(nil, v)
		case int64:
			b = le.AppendUint64(nil, uint64(v))
		case uint32:
			b = le.AppendUint32(nil, v)
		case int32:
			b = le.AppendUint32(nil, uint32(v))
		case float32:
			b = le.AppendUint32(nil, math.Float32bits(v))
		case float64:
			b = le.AppendUint64(nil, math.Float64bits(v))
		case int:
			b = le.AppendUint64(nil, uint64(v))[:min(p.Size, 8)]
		case []byte:
			b = v
		case [128]byte:
			b = v[:]
		case TensorMap:
			b = v[:]
		default:
			return nil, fmt.Errorf("emu: parameter %s of kernel %s: type %T", p.Name, k.Name, a)
		}
		if len(b) != p.Size {
			return nil, fmt.Errorf("emu: parameter %s of kernel %s has %d bytes, got %d", p.Name, k.Name, p.Size, len(b))
		}
		copy(buf[p.Offset:], b)
	}
	return buf, nil
}

// check refuses launches that no GPU of the target would take.
func (d *Device) check(k *Kernel, l *Launch) *Fault {
	bad := func(kind FaultKind, format string, args ...any) *Fault {
		return &Fault{Kind: kind, Kernel: k.Name, Text: fmt.Sprintf(format, args...)}
	}
	t := d.target
	for i := range 3 {
		if l.Grid[i] < 1 || l.Block[i] < 1 || l.Cluster[i] < 1 || l.Grid[i] > math.MaxInt32 || i > 0 && l.Grid[i] > 65535 {
			return bad(BadLaunch, "grid %v, block %v, cluster %v", l.Grid, l.Block, l.Cluster)
		}
		if l.Grid[i]%l.Cluster[i] != 0 {
			return bad(BadLaunch, "grid %v is no multiple of cluster %v", l.Grid, l.Cluster)
		}
		if k.cluster[i] != 0 && k.cluster[i] != l.Cluster[i] {
			return bad(BadLaunch, "cluster %v, the kernel requires %v", l.Cluster, k.cluster)
		}
		if k.reqThread[i] != 0 && k.reqThread[i] != l.Block[i] {
			return bad(BadLaunch, "block %v, the kernel requires %v", l.Block, k.reqThread)
		}
	}
	threads, limit := l.Block[0]*l.Block[1]*l.Block[2], k.maxThread[0]*k.maxThread[1]*k.maxThread[2]
	clusters := l.Cluster[0] * l.Cluster[1] * l.Cluster[2]
	shared := k.staticBytes + l.Shared
	if k.dynAlign > 0 {
		shared = k.dynOff + l.Shared
	}
	regs := alignUp(k.live+8, 8)
	if limit > 0 || k.maxReg > 0 { // the assembler fits the kernel to its bounds, by spilling if it must
		regs = 0
	}
	switch {
	case l.Block[0] > 1024 || l.Block[1] > 1024 || l.Block[2] > 64 || threads > t.ThreadsPerBlock:
		return bad(TooManyResources, "block %v has %d threads, the target's limit is %d", l.Block, threads, t.ThreadsPerBlock)
	case limit > 0 && threads > limit:
		return bad(TooManyResources, "block of %d threads, the kernel is bounded to %d by .maxntid", threads, limit)
	case l.Shared < 0 || shared > t.SharedBytes:
		return bad(TooManyResources, "%d bytes of shared memory, %v has %d", shared, t, t.SharedBytes)
	case regs*threads > t.RegistersPerSM:
		return bad(TooManyResources, "about %d registers for each of %d threads, %v has %d", regs, threads, t, t.RegistersPerSM)
	case clusters > 1 && t.Arch < 90:
		return bad(NotOnTarget, "cluster %v on %v", l.Cluster, t)
	case clusters > 8:
		return bad(TooManyResources, "cluster %v of more than 8 blocks", l.Cluster)
	case !t.runs(k.module.Target):
		return bad(NotOnTarget, "code for %v on %v", k.module.Target, t)
	case len(l.Params) != k.paramSize:
		return bad(BadLaunch, "%d bytes of parameters, the kernel has %d", len(l.Params), k.paramSize)
	}
	return nil
}

// Run executes a launch to its end. The error is a *Fault for anything the kernel did wrong, of the first faulting
// block in the grid's order, or the context's. The counters cover what was executed, also when there is an error.
func (d *Device) Run(ctx context.Context, k *Kernel, l Launch) (*Stats, error) {
	for i := range 3 {
		if l.Cluster[i] == 0 {
			l.Cluster[i] = k.cluster[i]
		}
		for _, p := range []*int{&l.Grid[i], &l.Block[i], &l.Cluster[i]} {
			if *p == 0 {
				*p = 1
			}
		}
	}
	if f := d.check(k, &l); f != nil {
		return nil, f
	}
	if err := d.Load(k.module); err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := &run{dev: d, k: k, l: &l, ctx: ctx, pages: d.pages, seq: d.seq.Add(1)&(1<<28-1) + 1}
	r.size = l.Cluster[0] * l.Cluster[1] * l.Cluster[2]
	r.total = int64(l.Grid[0]) * int64(l.Grid[1]) * int64(l.Grid[2]) / int64(r.size)
	r.stop.Store(math.MaxInt64)
	r.counts = make([]Counts, len(k.code))
	n := l.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	n = int(min(int64(n), r.total))
	var wg sync.WaitGroup
	for range n {
		wg.Go(r.worker)
	}
	wg.Wait()
	err := r.err
	if err == nil {
		err = ctx.Err()
	}
	return r.stats(), err
}

// cancelled is the panic that ends a block when the launch's context ends.
type cancelled struct{}

// run is a launch under way.
type run struct {
	dev   *Device
	k     *Kernel
	l     *Launch
	ctx   context.Context
	pages []*allocation
	seq   uint64
	size  int // blocks of a cluster
	total int64
	next  atomic.Int64
	stop  atomic.Int64 // clusters from here on need not run

	mu        sync.Mutex
	err       error
	counts    []Counts
	barriers  int64
	maxFlight int64
}

func (r *run) worker() {
	cl, _ := r.k.pool.Get().(*cluster)
	if cl == nil || !cl.fits(r) {
		cl = newCluster(r.dev, r.k, r.l)
	}
	budget := r.l.Budget
	if budget == 0 {
		budget = 1 << 28
	}
	cl.launch, cl.pages, cl.seq, cl.budget, cl.ctx = r.l, r.pages, r.seq, budget, r.ctx
	cl.barriers, cl.maxFlight, cl.events = 0, 0, 0
	clear(cl.counts)
	ok := true
	for ok {
		n := r.next.Add(1) - 1
		if n >= r.total || n >= r.stop.Load() || r.ctx.Err() != nil {
			break
		}
		ok = r.cluster(cl, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range cl.counts {
		r.counts[i].add(&cl.counts[i])
	}
	r.barriers += cl.barriers
	r.maxFlight = max(r.maxFlight, cl.maxFlight)
	if ok {
		cl.launch, cl.pages, cl.ctx = nil, nil, nil
		r.k.pool.Put(cl)
	}
}

// fits reports whether a used worker has the launch's shape.
func (cl *cluster) fits(r *run) bool {
	c := cl.ctas[0]
	return cl.dev == r.dev && cl.shape == r.l.Cluster && len(cl.ctas) == r.size && len(c.shared) == r.k.dynOff+r.l.Shared && c.races.on == !r.l.NoRaceCheck &&
		cl.block == r.l.Block
}

// cluster runs the blocks of cluster n, and turns a panic into the launch's error.
func (r *run) cluster(cl *cluster, n int64) (ok bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if _, is := p.(cancelled); is {
			return
		}
		f, is := p.(*Fault)
		if !is {
			f = &Fault{Kind: Internal, Kernel: r.k.Name, Text: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if n < r.stop.Load() {
			r.stop.Store(n)
			r.err = f
		}
	}()
	g, c := r.l.Grid, r.l.Cluster
	cx, cy := int64(g[0]/c[0]), int64(g[1]/c[1])
	at := [3]int{int(n % cx), int(n / cx % cy), int(n / cx / cy)}
	for rank, b := range cl.ctas {
		x, y, z := at[0]*c[0]+rank%c[0], at[1]*c[1]+rank/c[0]%c[1], at[2]*c[2]+rank/c[0]/c[1]
		b.start(x + g[0]*(y+g[1]*z))
	}
	cl.run()
	return true
}

func (r *run) stats() *Stats {
	s := &Stats{Barriers: r.barriers, InFlight: r.maxFlight}
	for i := range r.counts {
		c := &r.counts[i]
		s.Counts.add(c)
		in := &r.k.code[i]
		s.Class[in.class] += c.Warp
		if c.Warp > 0 {
			s.Lines = append(s.Lines, LineCounts{int(in.line), in.class, *c})
		}
	}
	s.Lines = sortedLines(s.Lines)
	return s
}
