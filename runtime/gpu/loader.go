package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"runtime/debug"
	"sync"

	"remote-client-server/cuda"
	"remote-client-server/runtime"
)

// loader keeps the weights of one component in an arena of its own.
type loader struct {
	b         *Backend
	component string
	precision runtime.Precision
	arena     *cuda.Arena
	counted   int64 // bytes of the arena in the backend's ledger
	filled    int64 // bytes of it that tensors take
}

// weightSlab keeps what a component wastes below it; larger tensors are allocations of their own.
const weightSlab = 8 << 20

func (b *Backend) Load(component string, p runtime.Precision) runtime.Loader {
	return &loader{b: b, component: component, precision: p, arena: cuda.NewArena(b.context, weightSlab)}
}

// take is device memory for weights. Small components take small slabs.
func (l *loader) take(bytes int64) (cuda.Ptr, error) {
	p, err := l.arena.Alloc(bytes)
	l.b.weights.Add(l.arena.Held() - l.counted)
	l.counted = l.arena.Held()
	l.b.filled.Add(l.arena.Used() - l.filled)
	l.filled = l.arena.Used()
	if err != nil {
		if e := l.b.outOfMemory("weights of "+l.component, bytes); errors.Is(err, cuda.ErrOutOfMemory) {
			return 0, e
		}
		return 0, err
	}
	return p, nil
}

func (l *loader) Close() error {
	if l.b.failed.Load() == nil && !l.b.closed {
		l.b.wait() // for what still reads them
	}
	err := l.arena.Close()
	l.b.weights.Add(-l.counted)
	l.b.filled.Add(-l.filled)
	l.counted, l.filled = 0, 0
	if l.b.failed.Load() != nil {
		return nil // the weights went with the device
	}
	return err
}

// place uploads rows of rowBytes each, which fill writes by number, on several goroutines.
func (l *loader) place(rows int, rowBytes int, fill func(dst []byte, row int)) (cuda.Ptr, error) {
	p, err := l.take(int64(rows) * int64(rowBytes))
	if err != nil {
		return 0, err
	}
	b := l.b
	for from := 0; from < rows && rowBytes > 0; {
		if rowBytes > stagingBytes {
			return l.placeWide(p, rows, rowBytes, fill)
		}
		part := b.staging.room(b, max(rowBytes, min((rows-from)*rowBytes, stagingBytes/2)), rowBytes)
		n := len(part) / rowBytes
		if err := eachRow(n, func(i int) { fill(part[i*rowBytes:][:rowBytes], from+i) }); err != nil {
			return 0, err
		}
		if err := b.context.UploadAsync(p+cuda.Ptr(from*rowBytes), part[:n*rowBytes], b.stream); err != nil {
			return 0, err
		}
		from += n
	}
	return p, nil
}

// placeWide uploads rows that are larger than the staging memory, one by one and in parts.
func (l *loader) placeWide(p cuda.Ptr, rows, rowBytes int, fill func(dst []byte, row int)) (cuda.Ptr, error) {
	row := make([]byte, rowBytes)
	for r := range rows {
		clear(row)
		fill(row, r)
		l.b.staging.upload(l.b, p+cuda.Ptr(r*rowBytes), rowBytes, func(to []byte, from int) { copy(to, row[from:]) })
	}
	return p, l.b.Err()
}

// eachRow runs f for rows 0 to n-1 on all processors. A panic of f, as a mapped file that shrinks causes one, is an error.
func eachRow(n int, f func(row int)) error {
	workers := min(goruntime.GOMAXPROCS(0), (n+63)/64)
	if workers <= 1 {
		for r := range n {
			f(r)
		}
		return nil
	}
	faults := make(chan error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if p := recover(); p != nil {
					faults <- fmt.Errorf("packing the weights: %v", p)
				}
			}()
			for r := n * w / workers; r < n*(w+1)/workers; r++ {
				f(r)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-faults:
		return err
	default:
		return nil
	}
}

// floats uploads a vector of float32.
func (l *loader) floats(v []float32) (cuda.Ptr, error) {
	return l.place(1, 4*len(v), func(dst []byte, _ int) { encode(dst, v, runtime.F32) })
}

// encode writes v in type t.
func encode(dst []byte, v []float32, t runtime.DType) {
	switch t {
	case runtime.F16:
		for i, x := range v {
			binary.LittleEndian.PutUint16(dst[2*i:], runtime.F32ToF16(x))
		}
	case runtime.BF16:
		for i, x := range v {
			binary.LittleEndian.PutUint16(dst[2*i:], runtime.F32ToBF16(x))
		}
	default:
		for i, x := range v {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	}
}

// row writes row r of s in type t, with zeros behind it.
func row(dst []byte, s runtime.Source, r int, t runtime.DType, scale float32) {
	n := s.Cols * t.Size()
	clear(dst[n:])
	if b := s.RowBytes(r); b != nil && s.DType == t && scale == 1 {
		copy(dst, b)
		return
	}
	v := make([]float32, s.Cols)
	s.Row(v, r)
	if scale != 1 {
		for i := range v {
			v[i] *= scale
		}
	}
	encode(dst[:n], v, t)
}

// aligned is the stride of rows of n elements that begin on 16 bytes.
func aligned(n int, t runtime.DType) int {
	per := 16 / t.Size()
	return (n + per - 1) / per * per
}

// weights is a packed LinearSpec: rows [rows, stride] of type dtype, gate and up in turn where it is gated.
type weights struct {
	data, bias cuda.Ptr // bias float32, 0 for none
	narrow     cuda.Ptr // the bias in type dtype, where a library wants it so
	rows, n, k int
	stride     int
	dtype, out runtime.DType
	gate       bool
	act        runtime.Act
	cap        float32
	maps       map[*kernel]*cuda.TensorMap // of data, for kernels that load by TMA
}

func (l *loader) Linear(s runtime.LinearSpec) (*runtime.Linear, error) {
	rows, k, err := s.Check()
	if err != nil {
		return nil, err
	}
	type at struct{ source, row int }
	var order []at // of the stacked rows
	for i, src := range s.W {
		for r := range src.Rows {
			order = append(order, at{i, r})
		}
	}
	w := &weights{rows: rows, n: rows, k: k, dtype: l.precision.Compute, out: l.precision.Compute, gate: s.Gate, act: s.Act, cap: s.Cap}
	if s.Wide {
		w.out = runtime.F32
	}
	place := func(i int) int { return i } // of a row in the packed matrix: which row of the stack it is
	if s.Gate {
		w.n /= 2
		place = func(i int) int { return i/2 + i%2*w.n }
	}
	factor := func(stacked int) float32 {
		if s.Scale == nil {
			return 1
		}
		return s.Scale[stacked]
	}
	if s.B != nil {
		bias := s.Bias()
		packed := make([]float32, w.rows)
		for i := range packed {
			packed[i] = bias[place(i)]
		}
		if w.bias, err = l.floats(packed); err != nil {
			return nil, err
		}
		if l.b.products != nil {
			w.narrow, err = l.place(1, len(packed)*w.dtype.Size(), func(dst []byte, _ int) { encode(dst, packed, w.dtype) })
			if err != nil {
				return nil, err
			}
		}
	}
	w.stride = aligned(w.k, w.dtype)
	w.data, err = l.place(w.rows, w.stride*w.dtype.Size(), func(dst []byte, i int) {
		p := order[place(i)]
		row(dst, s.W[p.source], p.row, w.dtype, factor(place(i)))
	})
	if err != nil {
		return nil, err
	}
	return &runtime.Linear{Name: s.Name, N: w.n, K: w.k, Packed: w}, nil
}

// norm is a loaded NormSpec: weight and bias float32, 0 for ones and zeros.
type norm struct{ w, b cuda.Ptr }

func (l *loader) Norm(s runtime.NormSpec) (*runtime.Norm, error) {
	if s.Width < 0 || s.Kind > runtime.L2Norm {
		return nil, fmt.Errorf("norm %s: kind %d of width %d", s.Name, s.Kind, s.Width)
	}
	n := &norm{}
	for _, v := range []struct {
		name string
		from runtime.Source
		to   *cuda.Ptr
		plus bool
	}{{"weight", s.W, &n.w, s.PlusOne}, {"bias", s.B, &n.b, false}} {
		if v.from.IsZero() {
			continue
		}
		if v.from.Rows != 1 || v.from.Cols != s.Width {
			return nil, fmt.Errorf("norm %s: %s %s [%d,%d], want [1,%d]", s.Name, v.name, v.from.Name, v.from.Rows, v.from.Cols, s.Width)
		}
		x := v.from.Floats()
		if v.plus {
			for i := range x {
				x[i]++
			}
		}
		var err error
		if *v.to, err = l.floats(x); err != nil {
			return nil, err
		}
	}
	return &runtime.Norm{Name: s.Name, Kind: s.Kind, Width: s.Width, Eps: s.Eps, Packed: n}, nil
}

// table is a loaded TableSpec: all rows of type dtype, stride elements each.
type table struct {
	word, position, kind cuda.Ptr // 0 where absent
	stride               int
	dtype, out           runtime.DType
	scale                float32
	norm                 *runtime.Norm
}

func (l *loader) Table(s runtime.TableSpec) (*runtime.Table, error) {
	width, err := s.Check()
	if err != nil {
		return nil, err
	}
	t := &table{scale: s.Scale, dtype: l.precision.Compute, out: l.precision.Stream, norm: s.Norm}
	if t.scale == 0 {
		t.scale = 1
	}
	if s.Norm != nil {
		if _, ok := s.Norm.Packed.(*norm); !ok {
			return nil, fmt.Errorf("table %s: norm %s was not loaded by the GPU", s.Name, s.Norm.Name)
		}
	}
	t.stride = aligned(width, t.dtype)
	for _, v := range []struct {
		from runtime.Source
		to   *cuda.Ptr
	}{{s.Word, &t.word}, {s.Position, &t.position}, {s.Type, &t.kind}} {
		if v.from.IsZero() {
			continue
		}
		var err error
		*v.to, err = l.place(v.from.Rows, t.stride*t.dtype.Size(), func(dst []byte, r int) { row(dst, v.from, r, t.dtype, 1) })
		if err != nil {
			return nil, err
		}
	}
	return &runtime.Table{Name: s.Name, Vocab: s.Word.Rows, Positions: s.Position.Rows, Width: width, Packed: t}, nil
}

func (l *loader) Const(rows, cols int, v []float32, t runtime.DType) (runtime.Tensor, error) {
	if rows < 0 || cols < 0 || len(v) != rows*cols {
		return runtime.Tensor{}, fmt.Errorf("constant of %s: %d values for [%d,%d]", l.component, len(v), rows, cols)
	}
	if t != runtime.F32 && t != runtime.I32 {
		return runtime.Tensor{}, fmt.Errorf("constant of %s: %v", l.component, t)
	}
	bits := make([]byte, 4*len(v))
	for i, x := range v {
		u := math.Float32bits(x)
		if t == runtime.I32 {
			if x != float32(math.Trunc(float64(x))) || math.Abs(float64(x)) > 1<<24 {
				return runtime.Tensor{}, fmt.Errorf("constant of %s: %v is no integer", l.component, x)
			}
			u = uint32(int32(x))
		}
		binary.LittleEndian.PutUint32(bits[4*i:], u)
	}
	p, err := l.place(1, len(bits), func(dst []byte, _ int) { copy(dst, bits) })
	if err != nil {
		return runtime.Tensor{}, err
	}
	return runtime.NewTensor(uintptr(p), rows, cols, cols, t, runtime.Prefill, 0), nil
}
