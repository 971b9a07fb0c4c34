package gpu

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// cacheBlock is the rows of a block of a paged cache: a tile of keys.
const cacheBlock = 64

// cache is the memory of a paged cache: for every layer [blocks, heads, 64, pitch] of keys, then as much of values. Rows
// begin on 16 bytes; what a head size leaves of them stays zero.
type cache struct {
	data  cuda.Ptr
	pitch int
	side  int64 // bytes of a layer's keys, and of its values
	block int64 // bytes of a block of one side
}

// keys and values are those of a layer.
func (c *cache) keys(layer int) cuda.Ptr   { return c.data + cuda.Ptr(2*int64(layer)*c.side) }
func (c *cache) values(layer int) cuda.Ptr { return c.keys(layer) + cuda.Ptr(c.side) }

// NewCache takes its memory at once.
func (b *Backend) NewCache(s runtime.CacheSpec) (*runtime.Cache, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	c := &cache{pitch: aligned(s.Dim, s.Type)}
	row := int64(c.pitch * s.Type.Size())
	if rows := int64(math.MaxInt64/4) / row / cacheBlock / int64(s.KVHeads) / int64(s.Blocks); int64(s.Layers) > rows || s.Blocks > math.MaxInt32 {
		return nil, fmt.Errorf("cache of %d layers, %d blocks, %d heads is larger than the address space", s.Layers, s.Blocks, s.KVHeads)
	}
	c.block = int64(s.KVHeads) * cacheBlock * row
	c.side = int64(s.Blocks) * c.block
	bytes := 2 * int64(s.Layers) * c.side
	data, free, err := b.hold("cache", bytes, &b.caches)
	if err != nil {
		return nil, err
	}
	c.data = data
	return &runtime.Cache{CacheSpec: s, BlockRows: cacheBlock, Bytes: bytes, Packed: c, Free: free}, nil
}

// hold is zeroed memory that is counted until it is freed, which waits for whatever still uses it.
func (b *Backend) hold(what string, bytes int64, count *atomic.Int64) (cuda.Ptr, func() error, error) {
	if err := b.Err(); err != nil {
		return 0, nil, err
	}
	p, err := b.context.Alloc(max(bytes, 1))
	if errors.Is(err, cuda.ErrOutOfMemory) {
		return 0, nil, b.outOfMemory(what, bytes)
	}
	if err == nil && bytes > 0 {
		if err = b.context.Memset(p, 0, bytes, b.stream); err != nil {
			err = errors.Join(err, b.context.Free(p))
		}
	}
	if err != nil {
		return 0, nil, err
	}
	count.Add(bytes)
	return p, func() error {
		count.Add(-bytes)
		if b.closed || b.failed.Load() != nil { // it went with the device
			return nil
		}
		b.wait()
		if b.failed.Load() != nil {
			return nil
		}
		return b.context.Free(p)
	}, nil
}

// CopyBlocks is one launch, or a few where a block is both a source and a target: those of a launch copy in no order.
func (b *Backend) CopyBlocks(rc *runtime.Cache, from, to []int32) {
	const op = "CopyBlocks"
	c, ok := rc.Packed.(*cache)
	if !ok || rc.Free == nil {
		fail(op, "a cache that is closed or not the GPU's")
	}
	if len(from) != len(to) {
		fail(op, "%d blocks to %d", len(from), len(to))
	}
	for i := range from {
		if from[i] < 0 || int(from[i]) >= rc.Blocks || to[i] < 0 || int(to[i]) >= rc.Blocks {
			fail(op, "block %d to %d of %d", from[i], to[i], rc.Blocks)
		}
	}
	for len(from) > 0 {
		n := independent(from, to)
		b.copyBlocks(rc, c, from[:n], to[:n])
		from, to = from[n:], to[n:]
	}
}

// mostCopies bounds the pairs of a launch by what a grid may be.
const mostCopies = 1 << 15

// independent is how many pairs from the first may be copied at once: no target is a source or another's target.
func independent(from, to []int32) int {
	sources, targets := map[int32]bool{}, map[int32]bool{}
	for i := range from {
		if i == mostCopies || targets[from[i]] || targets[to[i]] || sources[to[i]] {
			return i
		}
		sources[from[i]], targets[to[i]] = true, true
	}
	return len(from)
}

func (b *Backend) copyBlocks(rc *runtime.Cache, c *cache, from, to []int32) {
	if b.idle() || len(from) == 1 && from[0] == to[0] {
		return
	}
	m := b.Mark()
	defer b.Release(m)
	pairs := b.Scratch(2, len(from), runtime.I32)
	sources, targets := pairs.Slice(0, 1), pairs.Slice(1, 2)
	b.Upload(sources, from)
	b.Upload(targets, to)
	a := kernels.CopyBlocks{
		Cache: c.data, From: ptr(sources), To: ptr(targets), Part: uint64(c.block), Apart: uint64(c.side),
		N: int32(len(from)), Parts: int32(2 * rc.Layers),
	}
	if k := b.find("copy_blocks"); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
}

// NewArena hands its memory out from the start on.
func (b *Backend) NewArena(name string, bytes int64) (*runtime.Arena, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("arena %s of %d bytes", name, bytes)
	}
	data, free, err := b.hold(name, bytes, &b.arenas)
	if err != nil {
		return nil, err
	}
	used := int64(0)
	take := func(rows, cols int, t runtime.DType) (runtime.Tensor, error) {
		if rows < 0 || cols < 0 || rows > math.MaxInt32 || cols > math.MaxInt32 || cols > 0 && rows > math.MaxInt/8/cols {
			return runtime.Tensor{}, runtime.ShapeError{Op: name, Detail: fmt.Sprintf("%v[%d,%d]", t, rows, cols)}
		}
		n := runtime.ArenaBytes(rows, cols, t)
		if n > bytes-used {
			return runtime.Tensor{}, runtime.OutOfMemory{What: name, Want: n, Free: bytes - used}
		}
		used += n
		return runtime.NewTensor(uintptr(data)+uintptr(used-n), rows, cols, cols, t, runtime.Decode, 0), nil
	}
	return &runtime.Arena{Name: name, Bytes: bytes, Take: take, Free: free}, nil
}
