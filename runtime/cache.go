package runtime

import "fmt"

// CacheSpec is a paged key-value cache: every layer has Blocks blocks of Props.CacheBlock rows of keys and values.
type CacheSpec struct {
	Layers, Blocks int
	KVHeads, Dim   int
	Type           DType // Precision.Cache
}

// Check reports a cache that nobody can make.
func (s CacheSpec) Check() error {
	if s.Layers < 1 || s.Blocks < 1 || s.KVHeads < 1 || s.Dim < 1 || s.Dim > 512 {
		return fmt.Errorf("cache of %d layers, %d blocks, %d heads of %d channels", s.Layers, s.Blocks, s.KVHeads, s.Dim)
	}
	if s.Type != F32 && s.Type != F16 && s.Type != BF16 {
		return fmt.Errorf("cache of %v", s.Type)
	}
	return nil
}

// Cache is the memory of a CacheSpec. The host owns the list of its blocks: a sequence's rows of positions
// [i·BlockRows, (i+1)·BlockRows) are in the block that its row of Sequences.Table names in column i, the same in all
// layers. Keys are stored normed and rotated.
type Cache struct {
	CacheSpec
	BlockRows int
	Bytes     int64
	Packed    any // the backend's own form
	Free      func() error
}

// Close gives the memory back.
func (c *Cache) Close() error {
	if c == nil || c.Free == nil {
		return nil
	}
	free := c.Free
	c.Free = nil
	return free()
}

// Arena is memory at fixed addresses that outlives every scope: what a recorded step reads and writes.
type Arena struct {
	Name  string
	Bytes int64
	Take  func(rows, cols int, t DType) (Tensor, error)
	Free  func() error
}

// Tensor takes zeroed memory; it panics with OutOfMemory where the arena was made too small.
func (a *Arena) Tensor(rows, cols int, t DType) Tensor {
	x, err := a.Take(rows, cols, t)
	if err != nil {
		panic(err)
	}
	return x
}

// Close gives the memory back.
func (a *Arena) Close() error {
	if a == nil || a.Free == nil {
		return nil
	}
	free := a.Free
	a.Free = nil
	return free()
}

// ArenaBytes is what a tensor of an Arena takes.
func ArenaBytes(rows, cols int, t DType) int64 {
	return (int64(rows)*int64(cols)*int64(t.Size()) + alignment - 1) &^ (alignment - 1)
}

// Graph is a recorded step. On a device with command graphs it is one launch, elsewhere the function.
type Graph struct {
	Step   func()
	Packed any
	Free   func() error
}

// Close gives the graph back.
func (g *Graph) Close() error {
	if g == nil || g.Free == nil {
		return nil
	}
	free := g.Free
	g.Free = nil
	return free()
}

// Fetched is a copy to the host on its way.
type Fetched struct {
	Finish func(dst any) error
}

// Wait returns when the copy is there and writes it to a []float32 or []int32.
func (f *Fetched) Wait(dst any) error { return f.Finish(dst) }
