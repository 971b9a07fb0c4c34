package cpu

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"remote-client-server/runtime"
)

// cacheBlock is the rows of a block: whole panels of keys, and a divisor of keyBlock. cacheGroup is how many blocks are
// side by side: together one keyBlock.
const (
	cacheBlock = 32
	cacheGroup = keyBlock / cacheBlock
)

// cache is the memory of a paged cache: [layer][group of blocks][head] pages of keys, then of values. So blocks that
// are not in use need no memory, as long as those that are have low numbers.
type cache struct {
	format
	data               unsafe.Pointer
	head, group, layer int // bytes of a head of a group, of all heads, of all groups
}

// NewCache maps memory that the system hands out as it is written.
func (b *Backend) NewCache(s runtime.CacheSpec) (*runtime.Cache, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	c := &cache{format: b.level.format(s.Type, s.Dim)}
	c.head = cacheGroup * (c.keyBytes(cacheBlock) + c.valueBytes(cacheBlock))
	groups := (s.Blocks + cacheGroup - 1) / cacheGroup
	if s.Layers > math.MaxInt/c.head/s.KVHeads/groups {
		return nil, fmt.Errorf("cache of %d layers, %d blocks, %d heads is larger than the address space", s.Layers, s.Blocks, s.KVHeads)
	}
	c.group = s.KVHeads * c.head
	c.layer = groups * c.group
	bytes := int64(s.Layers) * int64(c.layer)
	addr, free, err := b.hold("cache", bytes, &b.caches)
	if err != nil {
		return nil, err
	}
	c.data = pointer(addr)
	return &runtime.Cache{CacheSpec: s, BlockRows: cacheBlock, Bytes: bytes, Packed: c, Free: free}, nil
}

// hold is zeroed memory that is counted until it is freed.
func (b *Backend) hold(what string, bytes int64, count *atomic.Int64) (addr uintptr, free func() error, err error) {
	size := max(bytes, 1)
	if addr, err = allocate(size); err != nil {
		return 0, nil, runtime.OutOfMemory{What: what, Want: bytes, Free: -1}
	}
	count.Add(bytes)
	return addr, func() error {
		release(addr)
		count.Add(-bytes)
		return nil
	}, nil
}

// pages of one sequence, whose row of the block table begins at table.
func (c *cache) pages(layer, head int, table unsafe.Pointer) pages {
	p := pages{
		rows: cacheBlock, keyBytes: c.keyBytes(cacheBlock), valueBytes: c.valueBytes(cacheBlock),
		group: cacheGroup, groupBytes: c.group, table: table,
	}
	p.keys = unsafe.Add(c.data, layer*c.layer+head*c.head)
	p.values = unsafe.Add(p.keys, cacheGroup*p.keyBytes)
	return p
}

// cacheOf is the cache of a batch, after a check of all that its table names. past and total are the rows of each
// sequence before this call and after it.
func (b *Backend) cacheOf(op string, s *runtime.Sequences, a *runtime.Attn) (c *cache, past, total []int) {
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	c, ok := s.Cache.Packed.(*cache)
	switch {
	case !ok || s.Cache.Free == nil:
		fail("a cache that is closed or not the cpu's")
	case s.Cache.KVHeads != a.KVHeads || s.Cache.Dim != a.Dim || a.Layer < 0 || a.Layer >= s.Cache.Layers:
		fail("layer %d of %d heads of %d in a cache of %d layers of %d heads of %d", a.Layer, a.KVHeads, a.Dim, s.Cache.Layers, s.Cache.KVHeads, s.Cache.Dim)
	}
	b.check(op, runtime.I32, s.Table, s.Past)
	if s.Table.Rows != len(s.Lens) || s.Past.Rows != len(s.Lens) || s.Past.Cols != 1 {
		fail("table %v and past %v of %d sequences", s.Table, s.Past, len(s.Lens))
	}
	before, table := ints(s.Past, 0), view(s.Table)
	for i, n := range s.Lens {
		p := before(i)
		if p < 0 || p > s.Table.Cols*cacheBlock-n {
			fail("%d rows behind %d in %d blocks of %d", n, p, s.Table.Cols, cacheBlock)
		}
		for j, block := range unsafe.Slice((*int32)(table.row(i)), (p+n+cacheBlock-1)/cacheBlock) {
			if block < 0 || int(block) >= s.Cache.Blocks {
				fail("block %d of %d in column %d of sequence %d", block, s.Cache.Blocks, j, i)
			}
		}
		past, total = append(past, p), append(total, p+n)
	}
	return c, past, total
}

// CopyBlocks copies in order, heads side by side.
func (b *Backend) CopyBlocks(rc *runtime.Cache, from, to []int32) {
	const op = "CopyBlocks"
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	c, ok := rc.Packed.(*cache)
	if !ok || rc.Free == nil {
		fail("a cache that is closed or not the cpu's")
	}
	if len(from) != len(to) {
		fail("%d blocks to %d", len(from), len(to))
	}
	for i := range from {
		if from[i] < 0 || int(from[i]) >= rc.Blocks || to[i] < 0 || int(to[i]) >= rc.Blocks {
			fail("block %d to %d of %d", from[i], to[i], rc.Blocks)
		}
	}
	if len(from) == 0 {
		return
	}
	b.pool.tasks(rc.Layers*rc.KVHeads, func(_ *worker, i int) {
		p := c.pages(i/rc.KVHeads, i%rc.KVHeads, nil)
		for i := range from {
			src, dst := int(from[i]), int(to[i])
			copy(unsafe.Slice((*byte)(p.keysOf(dst)), p.keyBytes), unsafe.Slice((*byte)(p.keysOf(src)), p.keyBytes))
			copy(unsafe.Slice((*byte)(p.valuesOf(dst)), p.valueBytes), unsafe.Slice((*byte)(p.valuesOf(src)), p.valueBytes))
		}
	})
}

// NewArena hands its memory out from the start on.
func (b *Backend) NewArena(name string, bytes int64) (*runtime.Arena, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("arena %s of %d bytes", name, bytes)
	}
	addr, free, err := b.hold(name, bytes, &b.arenas)
	if err != nil {
		return nil, err
	}
	used := int64(0)
	take := func(rows, cols int, t runtime.DType) (runtime.Tensor, error) {
		if rows < 0 || cols < 0 || cols > 0 && rows > math.MaxInt/8/cols {
			return runtime.Tensor{}, runtime.ShapeError{Op: name, Detail: fmt.Sprintf("%v[%d,%d]", t, rows, cols)}
		}
		n := runtime.ArenaBytes(rows, cols, t)
		if n > bytes-used {
			return runtime.Tensor{}, runtime.OutOfMemory{What: name, Want: n, Free: bytes - used}
		}
		used += n
		return runtime.NewTensor(addr+uintptr(used-n), rows, cols, cols, t, runtime.Decode, 0), nil
	}
	return &runtime.Arena{Name: name, Bytes: bytes, Take: take, Free: free}, nil
}

// Fetch copies at once: every op is done when it returns.
func (b *Backend) Fetch(src runtime.Tensor) *runtime.Fetched {
	const op = "Fetch"
	var err error
	if b.pool.abandoned.Load() {
		err = runtime.ErrAbandoned
	}
	switch src.DType {
	case runtime.F32:
		v := make([]float32, src.Rows*src.Cols)
		transfer(b, op, src, v, runtime.F32, func(row, host []float32) { copy(host, row) })
		return fetched(v, err)
	case runtime.I32:
		v := make([]int32, src.Rows*src.Cols)
		transfer(b, op, src, v, runtime.I32, func(row, host []int32) { copy(host, row) })
		return fetched(v, err)
	}
	panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("of %v", src)})
}

func fetched[E any](v []E, err error) *runtime.Fetched {
	return &runtime.Fetched{Finish: func(dst any) error {
		d, ok := dst.([]E)
		if !ok || len(d) != len(v) {
			panic(runtime.ShapeError{Op: "Wait", Detail: fmt.Sprintf("%d values of %T into %T", len(v), v, dst)})
		}
		copy(d, v)
		return err
	}}
}

// Record runs the step and keeps it as it is.
func (b *Backend) Record(step func()) (*runtime.Graph, error) {
	g := &runtime.Graph{Step: step}
	b.Run(g)
	return g, nil
}

// Run calls the step in a scope of its own.
func (b *Backend) Run(g *runtime.Graph) {
	m := b.stack.Mark()
	defer b.stack.Release(m)
	g.Step()
}
