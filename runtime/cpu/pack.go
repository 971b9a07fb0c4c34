package cpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"remote-client-server/runtime"
)

// stack finds the row of a stacked matrix in its sources.
type stack struct {
	sources []runtime.Source
	first   []int // of each source
	rows    int
}

func newStack(sources []runtime.Source) stack {
	s := stack{sources: sources}
	for _, src := range sources {
		s.first = append(s.first, s.rows)
		s.rows += src.Rows
	}
	return s
}

func (s *stack) find(row int) (runtime.Source, int) {
	i := len(s.first) - 1
	for s.first[i] > row {
		i--
	}
	return s.sources[i], row - s.first[i]
}

// packer lays out one matrix, 16 columns of a panel at a time, on all workers.
type packer struct {
	w     *weights
	lv    *level
	rows  stack
	scale []float32 // by row, nil for none
}

// pack fills w.data. Each unit is 16 packed columns: their rows of W are gathered and widened or copied into a staging
// buffer of 16 rows and transposed from there.
func (p *packer) pack(pool *pool) {
	if p.w.k == 0 {
		return
	}
	pool.tasks(p.w.columns/16, func(wk *worker, unit int) {
		w := p.w
		switch {
		case w.kind.quant():
			p.quantize(wk, unit)
		case w.kind == f16Weights:
			p.halves(wk, unit)
		default:
			p.dwords(wk, unit)
		}
	})
}

// place is where the 16 columns of a unit begin in their panel, for elements of size bytes.
func (p *packer) place(unit, size int) unsafe.Pointer {
	column := unit * 16
	return unsafe.Add(p.w.data, column/p.w.width*p.w.panelBytes+column%p.w.width*size)
}

// dwords packs float32, or bfloat16 as pairs: both are 32-bit elements, [k][column] and [k/2][column].
func (p *packer) dwords(wk *worker, unit int) {
	w := p.w
	n := w.depth // dwords a row
	if w.kind != f32Weights {
		n /= 2
	}
	if src, pitch := p.direct(unit); src != nil {
		p.lv.transpose(p.place(unit, 4), w.width*4, src, pitch, n)
		return
	}
	pitch := n + 16 // dwords; off the power of two that would put all rows into one cache set
	stage := wk.need(&wk.a, "packing", 16*pitch*4)
	row := floats(wk.need(&wk.row, "packing", w.depth*4), w.depth)
	for c := range 16 {
		dst := unsafe.Slice((*uint32)(at(stage, c*pitch)), n)
		r, ok := w.row(unit*16 + c)
		switch {
		case !ok:
			clear(dst)
		case w.kind == f32Weights:
			p.widen(floats(at(stage, c*pitch), n), r)
		default:
			p.pairs(dst, row, r)
		}
	}
	p.lv.transpose(p.place(unit, 4), w.width*4, stage, pitch*4, n)
}

// direct is where the 16 rows of a unit begin, and the bytes from one to the next, if they lie in the mapped file just as
// they are packed: one source of the right type, in order, without padding.
func (p *packer) direct(unit int) (unsafe.Pointer, int) {
	w := p.w
	want, step := runtime.F32, 16
	if w.kind != f32Weights {
		want, step = runtime.BF16, 32
	}
	first, ok := w.row(unit * 16)
	if !ok || p.scale != nil || w.k%step != 0 || !littleEndian {
		return nil, 0
	}
	if last, ok := w.row(unit*16 + 15); !ok || last != first+15 {
		return nil, 0
	}
	src, i := p.rows.find(first)
	if src.DType != want || i+15 >= src.Rows {
		return nil, 0
	}
	a, b := src.RowBytes(i), src.RowBytes(i+1)
	if a == nil {
		return nil, 0
	}
	return unsafe.Pointer(unsafe.SliceData(a)), int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(a))))
}

// littleEndian tells whether this machine has numbers in memory as a checkpoint has them in its file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// widen is row r of W in float32, scaled and padded with zeros.
func (p *packer) widen(dst []float32, r int) {
	src, i := p.rows.find(r)
	k := p.w.k
	if b := src.RowBytes(i); b != nil && src.DType == runtime.F32 {
		for j := range dst[:k] {
			dst[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
		}
	} else {
		src.Row(dst[:k], i)
	}
	if p.scale != nil {
		for j := range dst[:k] {
			dst[j] *= p.scale[r]
		}
	}
	clear(dst[k:])
}

// pairs is row r as pairs of bfloat16: copied where the checkpoint has that type, else rounded.
func (p *packer) pairs(dst []uint32, row []float32, r int) {
	src, i := p.rows.find(r)
	k := p.w.k
	if b := src.RowBytes(i); b != nil && src.DType == runtime.BF16 && p.scale == nil {
		for j := range k / 2 {
			dst[j] = binary.LittleEndian.Uint32(b[4*j:])
		}
		clear(dst[k/2:])
		if k%2 == 1 {
			dst[k/2] = uint32(binary.LittleEndian.Uint16(b[2*k-2:]))
		}
		return
	}
	p.widen(row, r)
	for j := range dst {
		dst[j] = uint32(runtime.F32ToBF16(row[2*j])) | uint32(runtime.F32ToBF16(row[2*j+1]))<<16
	}
}

// halves packs float16.
func (p *packer) halves(wk *worker, unit int) {
	w := p.w
	row := floats(wk.need(&wk.row, "packing", w.depth*4), w.depth)
	dst := unsafe.Slice((*uint16)(p.place(unit, 2)), (w.depth-1)*w.width+16)
	for c := range 16 {
		r, ok := w.row(unit*16 + c)
		if !ok {
			for j := range w.depth {
				dst[j*w.width+c] = 0
			}
			continue
		}
		src, i := p.rows.find(r)
		if b := src.RowBytes(i); b != nil && src.DType == runtime.F16 && p.scale == nil {
			for j := range w.k {
				dst[j*w.width+c] = binary.LittleEndian.Uint16(b[2*j:])
			}
			for j := w.k; j < w.depth; j++ {
				dst[j*w.width+c] = 0
			}
			continue
		}
		p.widen(row, r)
		for j, v := range row {
			dst[j*w.width+c] = runtime.F32ToF16(v)
		}
	}
}

// quantize packs blocks of 32 with one float16 scale each.
func (p *packer) quantize(wk *worker, unit int) {
	w := p.w
	bits, offset := 8, 128
	if w.kind == q4Weights {
		bits, offset = 4, 8
	}
	size := quantBytes(bits)
	panel := unsafe.Slice((*byte)(unsafe.Add(w.data, unit*w.panelBytes)), w.panelBytes)
	row := floats(wk.need(&wk.row, "packing", w.depth*4), w.depth)
	var q [quantBlock]int8
	for c := range 16 {
		if r, ok := w.row(unit*16 + c); ok {
			p.widen(row, r)
		} else {
			clear(row)
		}
		for b := range w.depth / quantBlock {
			values, block := row[b*quantBlock:][:quantBlock], panel[b*size:][:size]
			scale := quantizeBlock(&q, values, bits)
			binary.LittleEndian.PutUint16(block[size-32+2*c:], scale)
			for i, v := range q {
				u := byte(int(v) + offset)
				switch {
				case bits == 8:
					block[i/4*64+c*4+i%4] = u
				case i < 16:
					block[i/4*64+c*4+i%4] = u
				default:
					block[(i/4-4)*64+c*4+i%4] |= u << 4
				}
			}
		}
	}
}

// quantizeBlock rounds 32 values to integers of a scale, which it returns in float16. With 8 bits the largest magnitude
// is 127. With 4 it is 7, or becomes -8 by a scale of the other sign: whichever leaves the smaller error.
func quantizeBlock(q *[quantBlock]int8, values []float32, bits int) uint16 {
	var most float32 // the value of largest magnitude
	for _, v := range values {
		if max(v, -v) > max(most, -most) {
			most = v
		}
	}
	if bits == 8 {
		scale, _ := roundBlock(q, values, most/127, -127, 127)
		return scale
	}
	var other [quantBlock]int8
	scale, e := roundBlock(q, values, most/7, -7, 7)
	scale2, e2 := roundBlock(&other, values, most/-8, -8, 7)
	if e2 < e {
		*q = other
		return scale2
	}
	return scale
}

// nearest added to a small float32 leaves no digits behind the point, rounded to even.
const nearest = 3 << 22

// roundBlock rounds values to multiples of the scale, itself rounded to float16 first, and tells the squared error.
func roundBlock(q *[quantBlock]int8, values []float32, scale, low, high float32) (half uint16, e float32) {
	half = runtime.F32ToF16(max(-65504, min(65504, scale)))
	scale = runtime.F16ToF32(half)
	if scale == 0 {
		clear(q[:])
		return half, 0
	}
	inverse := 1 / scale
	for i, v := range values {
		n := max(low, min(high, v*inverse)) + nearest - nearest
		q[i] = int8(n)
		d := v - n*scale
		e += d * d
	}
	return half, e
}
