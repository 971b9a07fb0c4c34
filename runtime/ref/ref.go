// Package ref is runtime.Backend in plain float64: the twin that every op, and every whole forward pass, is compared
// with. It rounds nothing, shares nothing with the fast backends and takes no shortcut: each op is its formula.
package ref

import (
	"fmt"
	"sort"

	"remote-client-server/runtime"
)

// Backend computes in float64 on one goroutine. A Tensor's address is virtual: it names an element of a block of
// float64 values, laid out as if each had the width of the Tensor's DType.
type Backend struct {
	stack  runtime.Stack
	blocks []block // by address
	next   uintptr
	ledger runtime.Ledger
	wanted func() bool // nil: always
}

type block struct {
	addr uintptr
	size int64
	v    []float64
}

// New returns an empty backend.
func New() *Backend {
	b := &Backend{next: 1 << 12}
	b.stack.Alloc = func(n int64) (uintptr, error) { return b.alloc(n), nil }
	b.stack.Free = func(addr uintptr, _ int64) { b.free(addr) }
	return b
}

var _ runtime.Backend = (*Backend)(nil)

// alloc makes a block of n bytes' worth of elements of the narrowest type.
func (b *Backend) alloc(n int64) uintptr {
	addr := b.next
	b.next += uintptr(n+1<<12) &^ (1<<12 - 1)
	b.blocks = append(b.blocks, block{addr: addr, size: n, v: make([]float64, n)})
	return addr
}

func (b *Backend) free(addr uintptr) {
	for i := range b.blocks {
		if b.blocks[i].addr == addr {
			b.blocks = append(b.blocks[:i], b.blocks[i+1:]...)
			return
		}
	}
}

// values is the storage of t from its first element on. An element keeps the place of its first byte, so that tensors
// of different types can follow each other in one block.
func (b *Backend) values(t runtime.Tensor) (v []float64, width int) {
	i := sort.Search(len(b.blocks), func(i int) bool { return b.blocks[i].addr > t.Addr() }) - 1
	if i < 0 || t.Addr() >= b.blocks[i].addr+uintptr(b.blocks[i].size) {
		if t.Rows*t.Cols == 0 {
			return nil, 1
		}
		panic(runtime.ShapeError{Op: "ref", Detail: fmt.Sprintf("%v lies outside all memory", t)})
	}
	return b.blocks[i].v[t.Addr()-b.blocks[i].addr:], t.DType.Size()
}

// read copies t into rows of float64.
func (b *Backend) read(t runtime.Tensor) [][]float64 {
	m := matrix(t.Rows, t.Cols)
	v, w := b.values(t)
	for r := range m {
		for c := range m[r] {
			m[r][c] = v[(r*t.Stride()+c)*w]
		}
	}
	return m
}

func (b *Backend) write(t runtime.Tensor, m [][]float64) {
	v, w := b.values(t)
	for r := range m {
		for c, x := range m[r] {
			v[(r*t.Stride()+c)*w] = x
		}
	}
}

// result is m as new scratch.
func (b *Backend) result(m [][]float64, cols int, like runtime.Tensor) runtime.Tensor {
	t := b.scratch(len(m), cols, runtime.F32, like.Phase())
	b.write(t, m)
	return t
}

func (b *Backend) scratch(rows, cols int, t runtime.DType, p runtime.Phase) runtime.Tensor {
	addr := b.stack.Push("scratch", int64(rows*cols*t.Size()))
	return runtime.NewTensor(addr, rows, cols, cols, t, p, b.stack.Life())
}

func matrix(rows, cols int) [][]float64 {
	m := make([][]float64, rows)
	for r := range m {
		m[r] = make([]float64, cols)
	}
	return m
}

func (b *Backend) Props() runtime.Props {
	return runtime.Props{
		Name: "reference float64", Device: "ref", BatchTokens: 1 << 20, CacheBlock: 32, CacheMemory: 64 << 20, OnePhase: true,
	}
}

// Precision is the same for every dtype: nothing is rounded here but what the checkpoint rounded.
func (b *Backend) Precision(string, runtime.DType) (runtime.Precision, error) {
	return runtime.Precision{}, nil
}

func (b *Backend) Scratch(rows, cols int, t runtime.DType) runtime.Tensor {
	return b.scratch(rows, cols, t, runtime.Prefill)
}

func (b *Backend) Mark() runtime.Mark     { return b.stack.Mark() }
func (b *Backend) Release(m runtime.Mark) { b.stack.Release(m) }

// Sync tells of work that is not wanted; the ops themselves are computed all the same.
func (b *Backend) Sync() error {
	if b.wanted != nil && !b.wanted() {
		return runtime.ErrAbandoned
	}
	return nil
}

func (b *Backend) While(wanted func() bool) { b.wanted = wanted }

func (b *Backend) Ledger() runtime.Ledger {
	l := b.ledger
	l.Scratch = b.stack.Bytes()
	return l
}

func (b *Backend) Close() error {
	b.stack.Close()
	return nil
}

func (b *Backend) Upload(dst runtime.Tensor, src any) {
	m := matrix(dst.Rows, dst.Cols)
	n := 0
	fill := func(length int, at func(int) float64) {
		n = length
		for i := range min(length, dst.Rows*dst.Cols) {
			m[i/dst.Cols][i%dst.Cols] = at(i)
		}
	}
	switch s := src.(type) {
	case []float32:
		fill(len(s), func(i int) float64 { return float64(s[i]) })
	case []int32:
		fill(len(s), func(i int) float64 { return float64(s[i]) })
	case []uint8:
		fill(len(s), func(i int) float64 { return float64(s[i]) })
	default:
		panic(runtime.ShapeError{Op: "Upload", Detail: fmt.Sprintf("from %T", src)})
	}
	if n != dst.Rows*dst.Cols {
		panic(runtime.ShapeError{Op: "Upload", Detail: fmt.Sprintf("%d values into %v", n, dst)})
	}
	b.write(dst, m)
}

func (b *Backend) Download(dst any, src runtime.Tensor) error {
	b.stack.Check("Download", src)
	return b.deliver(dst, src, b.read(src))
}

// deliver writes the values of src to the host.
func (b *Backend) deliver(dst any, src runtime.Tensor, rows [][]float64) error {
	var flat []float64
	for _, r := range rows {
		flat = append(flat, r...)
	}
	n := 0
	switch d := dst.(type) {
	case []float64:
		n = copy(d, flat)
		if len(d) != len(flat) {
			n = -1
		}
	case []float32:
		n = len(d)
		for i := range min(len(d), len(flat)) {
			d[i] = float32(flat[i])
		}
	case []int32:
		n = len(d)
		for i := range min(len(d), len(flat)) {
			d[i] = int32(flat[i])
		}
	default:
		panic(runtime.ShapeError{Op: "Download", Detail: fmt.Sprintf("to %T", dst)})
	}
	if n != len(flat) {
		panic(runtime.ShapeError{Op: "Download", Detail: fmt.Sprintf("%v into %d values", src, n)})
	}
	return b.Sync()
}
