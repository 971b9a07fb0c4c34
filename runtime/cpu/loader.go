package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"remote-client-server/runtime"
)

// loader packs the weights of one component into slabs that it owns.
type loader struct {
	b         *Backend
	component string
	precision runtime.Precision

	slabs []uintptr
	sizes []int64
	at    unsafe.Pointer // free space of the last slab
	left  int64
}

func (b *Backend) Load(component string, p runtime.Precision) runtime.Loader {
	return &loader{b: b, component: component, precision: p}
}

const (
	firstSlab   = 2 << 20
	largestSlab = 64 << 20
)

// take returns zeroed memory. Slabs grow, so that small models stay small and large ones lie in few huge pages.
func (l *loader) take(bytes int) (p unsafe.Pointer, err error) {
	n := (int64(bytes) + 255) &^ 255
	if n > l.left {
		size := int64(firstSlab) << min(len(l.slabs), 5)
		size = (max(min(size, largestSlab), n) + hugePage - 1) &^ (hugePage - 1)
		addr, err := allocate(size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.component, runtime.OutOfMemory{What: "weights", Want: size, Free: -1})
		}
		l.slabs, l.sizes = append(l.slabs, addr), append(l.sizes, size)
		l.b.weights.Add(size)
		l.at, l.left = pointer(addr), size
	}
	p = l.at
	l.at = unsafe.Add(l.at, n)
	l.left -= n
	return p, nil
}

func (l *loader) Close() error {
	for i, addr := range l.slabs {
		release(addr)
		l.b.weights.Add(-l.sizes[i])
	}
	l.slabs, l.sizes, l.left = nil, nil, 0
	return nil
}

// kindOf is the layout for a matrix of these sources.
func (l *loader) kindOf(sources []runtime.Source, scaled bool) kind {
	switch l.precision.Weights {
	case runtime.BFloat16:
		if l.b.level.dot != nil {
			return dotWeights
		}
		return bf16Weights
	case runtime.Q8:
		return q8Weights
	case runtime.Q4:
		return q4Weights
	}
	stored := sources[0].DType
	for _, s := range sources {
		if s.DType != stored {
			stored = runtime.F32 // which holds all of them exactly
		}
	}
	if scaled { // a scaled weight has more digits than its type
		stored = runtime.F32
	}
	switch {
	case stored == runtime.BF16:
		return bf16Weights
	case stored == runtime.F16, l.precision.Weights == runtime.Float16:
		return f16Weights
	}
	return f32Weights
}

func (l *loader) Linear(s runtime.LinearSpec) (*runtime.Linear, error) {
	rows, k, err := s.Check()
	if err != nil {
		return nil, err
	}
	matrix := newStack(s.W)
	w := &weights{n: rows, k: k, gate: s.Gate, act: s.Act, cap: s.Cap}
	if s.Gate {
		w.n /= 2
	}
	w.kind = l.kindOf(s.W, s.Scale != nil)
	w.layout(l.b.level)
	bias := s.Bias()
	p, err := l.take(w.panels() * w.panelBytes)
	if err != nil {
		return nil, err
	}
	w.data = p
	if w.bias, err = l.take(w.columns * 4); err != nil {
		return nil, err
	}
	for c, dst := 0, floats(w.bias, w.columns); c < w.columns; c++ {
		if r, ok := w.row(c); ok {
			dst[c] = bias[r]
		}
	}
	(&packer{w: w, lv: l.b.level, rows: matrix, scale: s.Scale}).pack(l.b.pool)
	return &runtime.Linear{Name: s.Name, N: w.n, K: w.k, Packed: w}, nil
}

// vector is a source of one row, padded to whole vectors and filled with fill where it is absent.
func (l *loader) vector(s runtime.Source, width int, fill float32) ([]float32, error) {
	if !s.IsZero() && (s.Rows != 1 || s.Cols != width) {
		return nil, fmt.Errorf("%s [%d,%d], want [1,%d]", s.Name, s.Rows, s.Cols, width)
	}
	p, err := l.take(roundUp(width, 16) * 4)
	if err != nil {
		return nil, err
	}
	v := floats(p, width)
	if s.IsZero() {
		for i := range v {
			v[i] = fill
		}
	} else {
		s.Row(v, 0)
	}
	return v, nil
}

func (l *loader) Norm(s runtime.NormSpec) (*runtime.Norm, error) {
	if s.Width < 0 || s.Kind > runtime.L2Norm {
		return nil, fmt.Errorf("norm %s: kind %d of width %d", s.Name, s.Kind, s.Width)
	}
	w, err := l.vector(s.W, s.Width, 1)
	if err != nil {
		return nil, fmt.Errorf("norm %s: weight %w", s.Name, err)
	}
	b, err := l.vector(s.B, s.Width, 0)
	if err != nil {
		return nil, fmt.Errorf("norm %s: bias %w", s.Name, err)
	}
	if s.PlusOne && !s.W.IsZero() {
		for i := range w {
			w[i]++
		}
	}
	n := &norm{s.Kind, s.Width, s.Eps, unsafe.Pointer(unsafe.SliceData(w)), unsafe.Pointer(unsafe.SliceData(b))}
	return &runtime.Norm{Name: s.Name, Kind: s.Kind, Width: s.Width, Eps: s.Eps, Packed: n}, nil
}

func (l *loader) Table(s runtime.TableSpec) (*runtime.Table, error) {
	width, err := s.Check()
	if err != nil {
		return nil, err
	}
	t := &table{scale: s.Scale, vocab: s.Word.Rows, positions: s.Position.Rows, width: width, dtype: s.Word.DType}
	if t.scale == 0 {
		t.scale = 1
	}
	if s.Norm != nil {
		n, ok := s.Norm.Packed.(*norm)
		if !ok {
			return nil, fmt.Errorf("table %s: norm %s was not loaded by the cpu", s.Name, s.Norm.Name)
		}
		t.norm = n
	}
	if !s.Word.IsZero() {
		if s.Word.Rows > 0 && s.Word.RowBytes(0) == nil {
			t.dtype = runtime.F32
		}
		if t.words, err = l.take(t.vocab * t.width * t.dtype.Size()); err != nil {
			return nil, err
		}
		l.copyRows(t.words, s.Word, t.dtype)
	}
	if !s.Position.IsZero() {
		if t.position, err = l.take(t.positions * t.width * 4); err != nil {
			return nil, err
		}
		l.copyRows(t.position, s.Position, runtime.F32)
	}
	if !s.Type.IsZero() {
		v, err := l.vector(s.Type, t.width, 0)
		if err != nil {
			return nil, fmt.Errorf("table %s: type %w", s.Name, err)
		}
		t.kind = unsafe.Pointer(unsafe.SliceData(v))
	}
	return &runtime.Table{Name: s.Name, Vocab: t.vocab, Positions: t.positions, Width: t.width, Packed: t}, nil
}

// copyRows writes the rows of s in type t, which is its own or float32.
func (l *loader) copyRows(dst unsafe.Pointer, s runtime.Source, t runtime.DType) {
	bytes := s.Cols * t.Size()
	l.b.eachRow(s.Rows, func(_ *worker, r int) {
		p := unsafe.Add(dst, r*bytes)
		if b := s.RowBytes(r); b != nil && t == s.DType {
			copy(unsafe.Slice((*byte)(p), bytes), b)
		} else {
			s.Row(floats(p, s.Cols), r)
		}
	})
}

func (l *loader) Const(rows, cols int, v []float32, t runtime.DType) (runtime.Tensor, error) {
	if rows < 0 || cols < 0 || len(v) != rows*cols {
		return runtime.Tensor{}, fmt.Errorf("constant of %s: %d values for [%d,%d]", l.component, len(v), rows, cols)
	}
	if t != runtime.F32 && t != runtime.I32 {
		return runtime.Tensor{}, fmt.Errorf("constant of %s: %v", l.component, t)
	}
	p, err := l.take(max(1, len(v)) * 4)
	if err != nil {
		return runtime.Tensor{}, err
	}
	if t == runtime.F32 {
		copy(floats(p, len(v)), v)
	} else {
		for i, x := range v {
			if x != float32(math.Trunc(float64(x))) || math.Abs(float64(x)) > 1<<24 {
				return runtime.Tensor{}, fmt.Errorf("constant of %s: %v is no integer", l.component, x)
			}
			*(*int32)(at(p, i)) = int32(x)
		}
	}
	return runtime.NewTensor(uintptr(p), rows, cols, cols, t, runtime.Prefill, 0), nil
}
