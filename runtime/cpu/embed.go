package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"remote-client-server/runtime"
)

// table is a loaded TableSpec: words as stored, everything else float32.
type table struct {
	vocab, positions, width int
	words                   unsafe.Pointer
	dtype                   runtime.DType
	position, kind          unsafe.Pointer // nil where absent
	scale                   float32
	norm                    *norm
}

// word widens a row.
func (t *table) word(dst []float32, id int) {
	p := unsafe.Add(t.words, id*t.width*t.dtype.Size())
	switch t.dtype {
	case runtime.F32:
		copy(dst, floats(p, t.width))
	case runtime.F16:
		for i, h := range unsafe.Slice((*uint16)(p), t.width) {
			dst[i] = runtime.F16ToF32(h)
		}
	case runtime.BF16:
		for i, h := range unsafe.Slice((*uint16)(p), t.width) {
			dst[i] = runtime.BF16ToF32(h)
		}
	}
}

func (b *Backend) Embed(ids runtime.Tensor, s *runtime.Sequences, tab *runtime.Table) runtime.Tensor {
	const op = "Embed"
	b.check(op, runtime.I32, ids)
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	t, ok := tab.Packed.(*table)
	if !ok {
		fail("%s was not loaded by the cpu", tab.Name)
	}
	if ids.Cols != 1 {
		fail("ids %v", ids)
	}
	id := ints(ids, 0)
	for i := range ids.Rows {
		if v := id(i); v < -1 || v >= t.vocab {
			fail("id %d in row %d, %s has %d", v, i, tab.Name, t.vocab)
		}
	}
	var pos func(int) int
	if t.position != nil {
		b.check(op, runtime.I32, s.Pos)
		if s.Pos.Rows != ids.Rows || s.Pos.Cols != 1 {
			fail("positions %v for ids %v", s.Pos, ids)
		}
		pos = ints(s.Pos, 0)
		for i := range ids.Rows {
			if v := pos(i); v < 0 || v >= t.positions {
				fail("position %d in row %d, %s has %d", v, i, tab.Name, t.positions)
			}
		}
	}
	y := b.scratchOf(ids.Rows, t.width, runtime.F32, ids.Phase())
	dst := view(y)
	b.eachRow(ids.Rows, func(w *worker, i int) {
		row := floats(dst.row(i), t.width)
		if v := id(i); v >= 0 && t.words != nil {
			t.word(row, v)
		} else {
			clear(row)
		}
		if t.scale != 1 {
			for j := range row {
				row[j] *= t.scale
			}
		}
		if pos != nil {
			addRow(b.level, row, at(t.position, pos(i)*t.width))
		}
		if t.kind != nil {
			addRow(b.level, row, t.kind)
		}
		if t.norm != nil {
			t.norm.apply(b.level, w, dst.row(i), dst.row(i))
		}
	})
	return y
}

// addRow is dst += src.
func addRow(lv *level, dst []float32, src unsafe.Pointer) {
	whole := len(dst) &^ 15
	lv.add(unsafe.Pointer(unsafe.SliceData(dst)), src, whole)
	for i, v := range floats(at(src, whole), len(dst)-whole) {
		dst[whole+i] += v
	}
}

func (b *Backend) Gather(x, index runtime.Tensor) runtime.Tensor {
	const op = "Gather"
	b.stack.Check(op, x, index)
	b.check(op, runtime.I32, index)
	if index.Cols != 1 {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("rows %v", index)})
	}
	at := ints(index, 0)
	for i := range index.Rows {
		if r := at(i); r < -1 || r >= x.Rows {
			panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("row %d of %v", r, x)})
		}
	}
	y := b.scratchOf(index.Rows, x.Cols, x.DType, x.Phase())
	size := x.DType.Size()
	src, dst := pointer(x.Addr()), pointer(y.Addr())
	b.eachRow(index.Rows, func(_ *worker, i int) {
		row := unsafe.Slice((*byte)(unsafe.Add(dst, i*x.Cols*size)), x.Cols*size)
		if r := at(i); r >= 0 {
			copy(row, unsafe.Slice((*byte)(unsafe.Add(src, r*x.Stride()*size)), x.Cols*size))
		} else {
			clear(row)
		}
	})
	return y
}

// poolColumns is how many columns one task of Pool takes.
const poolColumns = 256

func (b *Backend) Pool(x, ranges runtime.Tensor, how runtime.Pooling) runtime.Tensor {
	const op = "Pool"
	b.check(op, runtime.F32, x)
	b.check(op, runtime.I32, ranges)
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	want := 2
	if how == runtime.PoolWeighted {
		want = 3
	}
	if ranges.Cols != want || how > runtime.PoolWeighted {
		fail("ranges %v for pooling %d", ranges, how)
	}
	first, last := ints(ranges, 0), ints(ranges, 1)
	origin := func(int) int { return 0 }
	if want == 3 {
		origin = ints(ranges, 2)
	}
	for i := range ranges.Rows {
		if from, to := first(i), last(i); from < 0 || to < from || to > x.Rows {
			fail("rows [%d,%d) of %v", from, to, x)
		}
	}
	y := b.result(x, ranges.Rows, x.Cols)
	src, dst := view(x), view(y)
	blocks := (x.Cols + poolColumns - 1) / poolColumns
	b.pool.tasks(ranges.Rows*blocks, func(w *worker, task int) {
		i, c := task/blocks, task%blocks*poolColumns
		n := min(poolColumns, x.Cols-c)
		sum := unsafe.Slice((*float64)(w.need(&w.row, "sums", poolColumns*8)), n)
		poolRows(floats(at(dst.row(i), c), n), sum, rows{at(src.p, c), src.stride}, first(i), last(i), origin(i), how)
	})
	return y
}

// poolRows reduces rows [from, to) of x to y, in order; sum is as long as y.
func poolRows(y []float32, sum []float64, x rows, from, to, origin int, how runtime.Pooling) {
	n := len(y)
	switch {
	case from == to:
		clear(y)
		return
	case how == runtime.PoolFirst:
		copy(y, floats(x.row(from), n))
		return
	case how == runtime.PoolLast:
		copy(y, floats(x.row(to-1), n))
		return
	case how == runtime.PoolMax:
		copy(y, floats(x.row(from), n))
		for r := from + 1; r < to; r++ {
			for j, v := range floats(x.row(r), n) {
				y[j] = max(y[j], v)
			}
		}
		return
	}
	clear(sum)
	total := 0.0
	for r := from; r < to; r++ {
		weight := 1.0
		if how == runtime.PoolWeighted {
			weight = float64(r - origin + 1)
		}
		total += weight
		for j, v := range floats(x.row(r), n) {
			sum[j] += float64(weight * float64(v))
		}
	}
	switch how {
	case runtime.PoolSum:
		total = 1
	case runtime.PoolMeanSqrt:
		total = math.Sqrt(total)
	}
	for j, v := range sum {
		y[j] = float32(v / total)
	}
}

func (b *Backend) Angles(s *runtime.Sequences, rotaries ...*runtime.Rotary) {
	const op = "Angles"
	b.check(op, runtime.I32, s.Pos)
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	total := s.Rows()
	if s.Pos.Rows != total || s.Pos.Cols != 1 {
		fail("positions %v for %d rows", s.Pos, total)
	}
	variant := func(int) int { return 0 }
	if s.Freq.Rows > 0 {
		b.check(op, runtime.I32, s.Freq)
		if s.Freq.Rows != len(s.Lens) || s.Freq.Cols != 1 {
			fail("variants %v for %d sequences", s.Freq, len(s.Lens))
		}
		variant = ints(s.Freq, 0)
	}
	pos := ints(s.Pos, 0)
	s.Angles = nil
	for _, r := range rotaries {
		b.check(op, runtime.F32, r.Freqs)
		half := r.Freqs.Cols
		y := b.scratchOf(total, 2*half, runtime.F32, s.Pos.Phase())
		s.Angles = append(s.Angles, y)
		of := make([]int, 0, total) // the variant of each row
		for i, n := range s.Lens {
			v := variant(i)
			if v < 0 || v >= r.Freqs.Rows {
				fail("variant %d of %v", v, r.Freqs)
			}
			for range n {
				of = append(of, v)
			}
		}
		freqs, dst := view(r.Freqs), view(y)
		b.eachRow(total, func(_ *worker, i int) {
			f, d := floats(freqs.row(of[i]), half), floats(dst.row(i), 2*half)
			p := float32(pos(i))
			for j := range half {
				sin, cos := math.Sincos(float64(p * f[j]))
				d[j], d[half+j] = float32(cos)*r.Factor, float32(sin)*r.Factor
			}
		})
	}
}
