package ref

import (
	"fmt"

	"remote-client-server/runtime"
)

// cache is the rows of keys and values by layer, block and row of the block. Nothing is rounded to the cache's type.
type cache struct{ keys, values [][][][]float64 }

func (b *Backend) NewCache(s runtime.CacheSpec) (*runtime.Cache, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	rows := b.Props().CacheBlock
	make3 := func() [][][][]float64 {
		m := make([][][][]float64, s.Layers)
		for l := range m {
			m[l] = make([][][]float64, s.Blocks)
			for i := range m[l] {
				m[l][i] = matrix(rows, s.KVHeads*s.Dim)
			}
		}
		return m
	}
	bytes := int64(2*8) * int64(s.Layers*s.Blocks*rows*s.KVHeads*s.Dim)
	b.ledger.Cache += bytes
	return &runtime.Cache{
		CacheSpec: s, BlockRows: rows, Bytes: bytes, Packed: &cache{make3(), make3()},
		Free: func() error { b.ledger.Cache -= bytes; return nil },
	}, nil
}

// cached appends the rows of sequence seq to the cache and returns how many there were, and all there are.
func (b *Backend) cached(s *runtime.Sequences, seq int, a *runtime.Attn, keys, values [][]float64) (past int, allKeys, allValues [][]float64) {
	const op = "Attention"
	c, ok := s.Cache.Packed.(*cache)
	shape(ok, op, "the cache is of another backend")
	shape(s.Cache.KVHeads == a.KVHeads && s.Cache.Dim == a.Dim && a.Layer >= 0 && a.Layer < s.Cache.Layers, op,
		"layer %d, %d heads of %d, of a cache of %d layers, %d heads of %d", a.Layer, a.KVHeads, a.Dim, s.Cache.Layers, s.Cache.KVHeads, s.Cache.Dim)
	shape(s.Table.Rows == len(s.Lens) && s.Past.Rows == len(s.Lens) && s.Past.Cols == 1, op, "table %v, past %v for %d sequences", s.Table, s.Past, len(s.Lens))
	past = b.ints(op, s.Past)[seq]
	table := b.ints(op, s.Table.Slice(seq, seq+1))
	total, rows := past+len(keys), s.Cache.BlockRows
	shape(past >= 0 && total <= len(table)*rows, op, "%d rows behind %d in %d blocks", len(keys), past, len(table))
	for i := range total {
		block := table[i/rows]
		shape(block >= 0 && block < s.Cache.Blocks, op, "block %d of %d", block, s.Cache.Blocks)
		if i >= past {
			copy(c.keys[a.Layer][block][i%rows], keys[i-past])
			copy(c.values[a.Layer][block][i%rows], values[i-past])
		}
	}
	for i := range total {
		block := table[i/rows]
		allKeys = append(allKeys, c.keys[a.Layer][block][i%rows])
		allValues = append(allValues, c.values[a.Layer][block][i%rows])
	}
	return past, allKeys, allValues
}

func (b *Backend) CopyBlocks(c *runtime.Cache, from, to []int32) {
	const op = "CopyBlocks"
	m, ok := c.Packed.(*cache)
	shape(ok, op, "the cache is of another backend")
	shape(len(from) == len(to), op, "%d blocks to %d", len(from), len(to))
	for i := range from {
		shape(from[i] >= 0 && int(from[i]) < c.Blocks && to[i] >= 0 && int(to[i]) < c.Blocks, op, "block %d to %d of %d", from[i], to[i], c.Blocks)
		for l := range c.Layers {
			for r := range c.BlockRows {
				copy(m.keys[l][to[i]][r], m.keys[l][from[i]][r])
				copy(m.values[l][to[i]][r], m.values[l][from[i]][r])
			}
		}
	}
}

func (b *Backend) NewArena(name string, bytes int64) (*runtime.Arena, error) {
	if bytes < 0 || bytes > 1<<32 {
		return nil, fmt.Errorf("arena %s of %d bytes", name, bytes)
	}
	addr, used := b.alloc(bytes), int64(0)
	b.ledger.Arena += bytes
	return &runtime.Arena{
		Name: name, Bytes: bytes,
		Take: func(rows, cols int, t runtime.DType) (runtime.Tensor, error) {
			n := runtime.ArenaBytes(rows, cols, t)
			if n > bytes-used {
				return runtime.Tensor{}, runtime.OutOfMemory{What: name, Want: n, Free: bytes - used}
			}
			used += n
			return runtime.NewTensor(addr+uintptr(used-n), rows, cols, cols, t, runtime.Decode, 0), nil
		},
		Free: func() error {
			b.free(addr)
			b.ledger.Arena -= bytes
			return nil
		},
	}, nil
}

// Fetch copies at once.
func (b *Backend) Fetch(src runtime.Tensor) *runtime.Fetched {
	b.stack.Check("Fetch", src)
	rows := b.read(src)
	return &runtime.Fetched{Finish: func(dst any) error { return b.deliver(dst, src, rows) }}
}

func (b *Backend) Record(step func()) (*runtime.Graph, error) {
	g := &runtime.Graph{Step: step}
	b.Run(g)
	return g, nil
}

// Run calls the step in a scope of its own.
func (b *Backend) Run(g *runtime.Graph) {
	m := b.Mark()
	defer b.Release(m)
	g.Step()
}
