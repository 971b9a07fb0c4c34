package runtime

import "fmt"

// Phase tells rows of a prompt (or of an encoder) from rows of a decode step. On a GPU it selects the kernel class, so
// that a row's bits do not depend on how many rows run beside it.
type Phase uint8

const (
	Prefill Phase = iota
	Decode
)

// Tensor is a handle to a matrix on the device, [Rows, Cols] row-major with a stride. It owns nothing: scratch lives
// until the enclosing Release, constants until their Loader is closed. Its memory is device memory or a mapping of
// this process, never Go memory.
type Tensor struct {
	addr       uintptr
	Rows, Cols int
	stride     int
	DType      DType
	phase      Phase
	life       uint32
}

// NewTensor is for backends: rows*cols elements of type t at addr, stride elements from row to row. life is the scope
// of a Stack that owns the memory, 0 for memory that outlives every scope.
func NewTensor(addr uintptr, rows, cols, stride int, t DType, p Phase, life uint32) Tensor {
	return Tensor{addr, rows, cols, stride, t, p, life}
}

// Addr is the device address of the first element.
func (t Tensor) Addr() uintptr { return t.addr }

// Stride is the number of elements from one row to the next, 0 where one row is repeated.
func (t Tensor) Stride() int { return t.stride }

// Phase is inherited by every result computed from t.
func (t Tensor) Phase() Phase { return t.phase }

// Life is the scope that owns the memory.
func (t Tensor) Life() uint32 { return t.life }

// Contiguous reports whether the rows follow each other without a gap.
func (t Tensor) Contiguous() bool { return t.stride == t.Cols || t.Rows <= 1 }

func (t Tensor) String() string { return fmt.Sprintf("%v[%d,%d]", t.DType, t.Rows, t.Cols) }

// Slice is the view of rows [from, to).
func (t Tensor) Slice(from, to int) Tensor {
	if from < 0 || to < from || to > t.Rows {
		panic(ShapeError{"Slice", fmt.Sprintf("rows [%d,%d) of %v", from, to, t)})
	}
	t.addr += uintptr(from * t.stride * t.DType.Size())
	t.Rows = to - from
	return t
}

// Columns is the view of columns [from, to).
func (t Tensor) Columns(from, to int) Tensor {
	if from < 0 || to < from || to > t.Cols {
		panic(ShapeError{"Columns", fmt.Sprintf("columns [%d,%d) of %v", from, to, t)})
	}
	t.addr += uintptr(from * t.DType.Size())
	t.Cols = to - from
	return t
}

// Split cuts t into three views side by side: q, k and v of one product.
func (t Tensor) Split(a, b, c int) (Tensor, Tensor, Tensor) {
	if a+b+c != t.Cols {
		panic(ShapeError{"Split", fmt.Sprintf("%d+%d+%d columns of %v", a, b, c, t)})
	}
	return t.Columns(0, a), t.Columns(a, a+b), t.Columns(a+b, a+b+c)
}

// Reshape views a contiguous tensor as [rows, cols].
func (t Tensor) Reshape(rows, cols int) Tensor {
	if !t.Contiguous() || rows*cols != t.Rows*t.Cols {
		panic(ShapeError{"Reshape", fmt.Sprintf("[%d,%d] of %v with stride %d", rows, cols, t, t.stride)})
	}
	t.Rows, t.Cols, t.stride = rows, cols, cols
	return t
}

// Repeat views the single row of t as n equal rows.
func (t Tensor) Repeat(n int) Tensor {
	if t.Rows != 1 || n < 0 {
		panic(ShapeError{"Repeat", fmt.Sprintf("%d times %v", n, t)})
	}
	t.Rows, t.stride = n, 0
	return t
}
