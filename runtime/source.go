package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Source is a matrix as a checkpoint stores it: a view of the mapped file, read only while a Loader packs it. A vector
// is a matrix of one row. The bytes are little-endian and may be unaligned.
type Source struct {
	Name       string
	Rows, Cols int
	DType      DType // F32, F16 or BF16
	data       []byte
	row, col   int // elements from one row, one column to the next
}

// NewSource describes rows*cols elements of type t in data, row-major.
func NewSource(name string, rows, cols int, t DType, data []byte) (Source, error) {
	switch t {
	case F32, F16, BF16:
	default:
		return Source{}, fmt.Errorf("tensor %s: %v is no type of a weight", name, t)
	}
	if rows < 0 || cols < 0 || len(data) != rows*cols*t.Size() {
		return Source{}, fmt.Errorf("tensor %s: %d bytes for %v [%d,%d]", name, len(data), t, rows, cols)
	}
	return Source{name, rows, cols, t, data, cols, 1}, nil
}

// FloatSource makes a Source of values computed at load, [rows, len(v)/rows].
func FloatSource(name string, rows int, v []float32) Source {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	cols := 0
	if rows > 0 {
		cols = len(v) / rows
	}
	return Source{name, rows, cols, F32, b, cols, 1}
}

// IsZero reports whether the Source is absent, as a bias may be.
func (s Source) IsZero() bool { return s.data == nil }

// RowRange is the view of rows [from, to).
func (s Source) RowRange(from, to int) Source {
	if from < 0 || to < from || to > s.Rows {
		panic(ShapeError{"RowRange", fmt.Sprintf("rows [%d,%d) of %s [%d,%d]", from, to, s.Name, s.Rows, s.Cols)})
	}
	s.data = s.data[min(len(s.data), from*s.row*s.DType.Size()):]
	s.Rows = to - from
	return s
}

// Transpose is the view with rows and columns exchanged.
func (s Source) Transpose() Source {
	s.Rows, s.Cols = s.Cols, s.Rows
	s.row, s.col = s.col, s.row
	return s
}

// RowBytes is row r where its elements follow each other, nil for a transposed view.
func (s Source) RowBytes(r int) []byte {
	if s.col != 1 {
		return nil
	}
	n := s.DType.Size()
	return s.data[r*s.row*n:][:s.Cols*n]
}

// Row widens row r to float32; len(dst) is Cols.
func (s Source) Row(dst []float32, r int) {
	n := s.DType.Size()
	p := s.data[min(len(s.data), r*s.row*n):]
	step := s.col * n
	switch s.DType {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[i*step:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(binary.LittleEndian.Uint16(p[i*step:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(binary.LittleEndian.Uint16(p[i*step:]))
		}
	}
}

// Floats widens the whole matrix, row-major.
func (s Source) Floats() []float32 {
	v := make([]float32, s.Rows*s.Cols)
	for r := range s.Rows {
		s.Row(v[r*s.Cols:][:s.Cols], r)
	}
	return v
}
