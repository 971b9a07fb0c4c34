package cpu

import (
	"unsafe"

	"remote-client-server/runtime"
)

// format is how keys and values of a head of dim channels lie in memory. Keys are packed into panels as weights are,
// [channel][key], and values are packed k-major, [key][channel]; both products use the kernels of Linear. There is one
// format of each type, for a prompt as for a decode step, in a cache as in a buffer of this call.
type format struct {
	dtype   runtime.DType
	dot     bool // queries and softmax weights are rounded to bfloat16 too
	product []microKernel
	size    int // bytes of an element
	slice   int // k of a tile's slice
	deep    int // dim rounded up to the depth of a panel of keys
	wide    int // dim rounded up to whole panels of values
	step    int // keys are a multiple of it for softmax
}

func (lv *level) format(t runtime.DType, dim int) format {
	f := format{dtype: t, product: lv.f32, size: 4, slice: sliceF32, deep: roundUp(dim, 16), wide: roundUp(dim, lv.columns), step: 16}
	switch t {
	case runtime.F16:
		f.product, f.size = lv.f16, 2
	case runtime.BF16: // pairs of channels of a key, of keys for a channel
		f.product, f.size, f.deep = lv.bf16, 2, roundUp(dim, 32)
		if lv.dot != nil {
			f.dot, f.product, f.slice, f.step = true, lv.dot, sliceDot, 32
		}
	}
	return f
}

// keyBytes is the size of rows keys, valueBytes of their values.
func (f *format) keyBytes(rows int) int   { return rows * f.deep * f.size }
func (f *format) valueBytes(rows int) int { return rows * f.wide * f.size }

// pages is where the keys and values of one sequence and head are, rows of them on each page. The keys of a group of
// pages follow each other, and then their values: a sequence whose pages have consecutive numbers is read in long streams,
// which is what memory is fast at.
type pages struct {
	rows         int
	keys, values unsafe.Pointer // of page 0
	keyBytes     int            // of a page
	valueBytes   int
	group        int            // pages
	groupBytes   int            // from one group to the next
	table        unsafe.Pointer // int32 numbers of the pages; nil where they are 0, 1, 2, ...
}

func (p *pages) number(i int) int {
	if p.table == nil {
		return i
	}
	return int(*(*int32)(at(p.table, i)))
}

func (p *pages) keysOf(i int) unsafe.Pointer   { return p.of(i, p.keys, p.keyBytes) }
func (p *pages) valuesOf(i int) unsafe.Pointer { return p.of(i, p.values, p.valueBytes) }

func (p *pages) of(i int, base unsafe.Pointer, bytes int) unsafe.Pointer {
	n := p.number(i)
	return unsafe.Add(base, n/p.group*p.groupBytes+n%p.group*bytes)
}

// askKeys and askValues begin to fetch a page that is elsewhere than behind the one before it: there the processor does
// so by itself.
func (p *pages) askKeys(lv *level, i int)   { p.ask(lv, i, p.keysOf(i), p.keyBytes) }
func (p *pages) askValues(lv *level, i int) { p.ask(lv, i, p.valuesOf(i), p.valueBytes) }

func (p *pages) ask(lv *level, i int, page unsafe.Pointer, bytes int) {
	if n := p.number(i); i == 0 || n%p.group == 0 || n != p.number(i-1)+1 {
		lv.prefetch(page, bytes/64)
	}
}

// packRows is how many rows are transposed at once.
const packRows = 16

// pack writes the keys and values of rows [from, to) of this call to their places: behind the rows that were there.
// Where they are not the last of their sequence they end at a multiple of packRows.
func (t *attention) pack(w *worker, p pages, seq, head, from, to int) {
	past := t.past[seq]
	for from < to {
		place := (past + from) % p.rows
		n := min(p.rows-place, to-from)
		page := (past + from) / p.rows
		t.packPage(w, p.keysOf(page), p.valuesOf(page), p.rows, place, seq, head, from, n)
		from += n
	}
}

// packPage writes n rows from row on to a page of so many rows, at place.
func (t *attention) packPage(w *worker, keys, values unsafe.Pointer, rows, place, seq, head, row, n int) {
	last := row+n == t.lens[seq]
	for n > 0 && (place%packRows != 0 || !t.bulk || n < packRows && (!last || n < packRows/4)) {
		t.putKey(w, keys, place, seq, head, row)
		t.putValue(values, rows, place, floats(at(t.v.row(t.starts[seq]+row), head*t.dim), t.dim))
		place, row, n = place+1, row+1, n-1
	}
	if n > 0 {
		t.packKeys(w, keys, place, seq, head, row, n)
		for j := 0; j < t.wide; j += t.lv.columns {
			t.packValues(w, unsafe.Add(values, j*rows*t.size), place, seq, head, j, row, n)
		}
		place += roundUp(n, packRows) // the rest of the last group is zeros
	}
	if last { // what a kernel reads behind the last value is multiplied by zero: it must be a number
		for ; place%4 != 0; place++ {
			t.putValue(values, rows, place, nil)
		}
	}
}

// putKey writes one key into its column of a panel.
func (t *attention) putKey(w *worker, keys unsafe.Pointer, place, seq, head, row int) {
	columns := t.lv.columns
	row += t.starts[seq]
	key := floats(w.need(&w.panel, "staged keys", packRows*(t.deep+16)*4), t.deep)
	t.prepare(w, unsafe.Pointer(unsafe.SliceData(key)), at(t.k.row(row), head*t.dim), row, t.knorm, 1)
	clear(key[t.dim:])
	panel := unsafe.Add(keys, place/columns*columns*t.deep*t.size)
	switch t.dtype {
	case runtime.BF16:
		dst := unsafe.Slice((*uint32)(panel), columns*t.deep/2)
		for i, at := 0, place%columns; i < len(key); i, at = i+2, at+columns {
			dst[at] = uint32(runtime.F32ToBF16(key[i])) | uint32(runtime.F32ToBF16(key[i+1]))<<16
		}
	case runtime.F16:
		dst := unsafe.Slice((*uint16)(panel), columns*t.deep)
		for i, v := range key {
			dst[i*columns+place%columns] = runtime.F32ToF16(v)
		}
	default:
		dst := floats(panel, columns*t.deep)
		for i, v := range key {
			dst[i*columns+place%columns] = v
		}
	}
}

// putValue writes one value to its row of each panel; nil is zeros.
func (t *attention) putValue(values unsafe.Pointer, rows, place int, v []float32) {
	columns := t.lv.columns
	for j := 0; j < t.wide; j += columns {
		panel := unsafe.Add(values, j*rows*t.size)
		have := v[min(j, len(v)):min(j+columns, len(v))]
		switch t.dtype {
		case runtime.BF16:
			dst := unsafe.Slice((*uint16)(unsafe.Add(panel, place/2*columns*4)), 2*columns)
			for c := range columns {
				dst[2*c+place%2] = 0
			}
			for c, x := range have {
				dst[2*c+place%2] = runtime.F32ToBF16(x)
			}
		case runtime.F16:
			dst := unsafe.Slice((*uint16)(unsafe.Add(panel, place*columns*2)), columns)
			clear(dst)
			for c, x := range have {
				dst[c] = runtime.F32ToF16(x)
			}
		default:
			dst := floats(at(panel, place*columns), columns)
			clear(dst[copy(dst, have):])
		}
	}
}

// packKeys transposes n keys, 16 by 16, with zeros behind the last.
func (t *attention) packKeys(w *worker, keys unsafe.Pointer, place, seq, head, row, n int) {
	columns := t.lv.columns
	pitch := t.deep + 16
	plain := t.knorm == nil && t.angles.p == nil && t.dim == t.deep
	stage := w.need(&w.panel, "staged keys", packRows*pitch*4)
	row += t.starts[seq]
	for ; n > 0; place, row, n = place+packRows, row+packRows, n-packRows {
		src, stride, depth := at(t.k.row(row), head*t.dim), t.k.stride*4, t.deep
		if !plain || n < packRows {
			for r := range packRows {
				s := at(stage, r*pitch)
				if r < n {
					t.prepare(w, s, at(t.k.row(row+r), head*t.dim), row+r, t.knorm, 1)
					clear(floats(at(s, t.dim), t.deep-t.dim))
				} else {
					clear(floats(s, t.deep))
				}
			}
			src, stride = stage, pitch*4
		}
		if t.dtype == runtime.BF16 {
			t.lv.roundBF16(stage, pitch*4, src, stride, packRows, t.deep)
			src, stride, depth = stage, pitch*4, t.deep/2
		}
		panel := unsafe.Add(keys, place/columns*columns*t.deep*t.size)
		t.lv.transpose(at(panel, place%columns), columns*4, src, stride, depth)
	}
}

// packValues copies the channels from j on of n values to their panel, with zeros up to a whole group.
func (t *attention) packValues(w *worker, panel unsafe.Pointer, place, seq, head, j, row, n int) {
	columns := t.lv.columns
	have := max(0, min(columns, t.dim-j))
	src, stride := at(t.v.row(t.starts[seq]+row), head*t.dim+j), t.v.stride*4
	dst := unsafe.Add(panel, place*columns*t.size)
	pairs := t.dtype == runtime.BF16
	end := unsafe.Add(dst, roundUp(n, packRows)*columns*t.size)
	if pairs && (have < columns || n%2 == 1) { // by way of whole pairs of whole rows
		stage := w.need(&w.panel, "staged values", keyBlock*columns*4)
		for ; n > 0; n, src = n-keyBlock, unsafe.Add(src, keyBlock*stride) {
			part := min(n, keyBlock)
			for i := range roundUp(part, 2) {
				d := floats(at(stage, i*columns), columns)
				if i < part {
					clear(d[copy(d, floats(unsafe.Add(src, i*stride), have)):])
				} else {
					clear(d)
				}
			}
			t.lv.pairRows(dst, stage, columns*4, (part+1)/2)
			dst = at(dst, roundUp(part, 2)/2*columns)
		}
	} else if pairs {
		t.lv.pairRows(dst, src, stride, n/2)
		dst = at(dst, n/2*columns)
	} else if have == columns {
		one := float32(1)
		t.lv.scaleRows(dst, columns*4, src, stride, unsafe.Pointer(&one), 0, n, columns)
		dst = at(dst, n*columns)
	} else {
		for i := range n {
			d := floats(at(dst, i*columns), columns)
			clear(d[copy(d, floats(unsafe.Add(src, i*stride), have)):])
		}
		dst = at(dst, n*columns)
	}
	clear(unsafe.Slice((*byte)(dst), int(uintptr(end)-uintptr(dst))))
}

// prepare is one head's row of q or k: normalised, rotated, scaled.
func (t *attention) prepare(w *worker, dst, src unsafe.Pointer, row int, n *norm, scale float32) {
	if n != nil {
		tmp := w.need(&w.row, "head", 512*4)
		n.apply(t.lv, w, tmp, src)
		src = tmp
	}
	if t.angles.p != nil {
		t.rotate(dst, src, t.angles.row(row))
		src = dst
	}
	switch {
	case scale != 1:
		whole := t.dim &^ 15
		t.lv.scale(dst, src, whole, scale)
		d, s := floats(at(dst, whole), t.dim-whole), floats(at(src, whole), t.dim-whole)
		for i := range d {
			d[i] = s[i] * scale
		}
	case src != dst:
		copy(floats(dst, t.dim), floats(src, t.dim))
	}
}

// rotate turns the first 2·half channels of a head and copies the others.
func (t *attention) rotate(dst, src, angles unsafe.Pointer) {
	half := t.half
	switch {
	case t.a.Interleaved:
		d, s, a := floats(dst, 2*half), floats(src, 2*half), floats(angles, 2*half)
		for i := range half {
			x, y, cos, sin := s[2*i], s[2*i+1], a[i], a[half+i]
			d[2*i] = float32(x*cos) - float32(y*sin)
			d[2*i+1] = float32(y*cos) + float32(x*sin)
		}
	case half%16 == 0:
		t.lv.rotate(dst, src, angles, half)
	default:
		genericRotate(dst, src, angles, half)
	}
	copy(floats(at(dst, 2*half), t.dim-2*half), floats(at(src, 2*half), t.dim-2*half))
}
