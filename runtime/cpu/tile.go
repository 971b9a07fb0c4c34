package cpu

import "unsafe"

// copyTile makes row tile t, slice after slice of k: float32 as it is, bfloat16 for the dot kernels, or int8 with a scale and
// a correction for every block of 32. Rows are normalised on the way where the product asks for it. The end of a row is
// padded with zeros to what the kernels step by.
func (p *product) copyTile(w *worker, dst unsafe.Pointer, t int) {
	from, to := p.tile(t)
	mr := to - from
	for r := range mr {
		src := p.x.row(from + r)
		if p.norm != nil {
			row := w.need(&w.row, "row", p.w.k*4)
			p.norm.apply(p.lv, w, row, src)
			src = row
		}
		for s := range p.slices {
			n := min(p.slice, p.w.k-s*p.slice)
			x := at(src, s*p.slice)
			slice := unsafe.Add(dst, s*p.sliceBytes)
			d := unsafe.Add(slice, r*p.stride)
			switch {
			case p.integers():
				scales := unsafe.Add(slice, p.mr*p.stride+r*4)
				p.quantizeRow(w, d, x, scales, unsafe.Add(scales, p.slice/quantBlock*p.mr*4), n, mr*4)
			case p.w.kind == dotWeights:
				p.roundRow(w, d, x, n)
			default:
				copy(floats(d, n), floats(x, n))
				clear(floats(at(d, n), roundUp(n, 4)-n))
			}
		}
	}
}

// roundRow is n float32 as bfloat16.
func (p *product) roundRow(w *worker, dst, src unsafe.Pointer, n int) {
	whole := n &^ 31
	p.lv.roundBF16(dst, 0, src, 0, 1, whole)
	if whole < n {
		p.lv.roundBF16(unsafe.Add(dst, whole*2), 0, w.padded(at(src, whole), n-whole, 0), 0, 1, 32)
	}
}

// quantizeRow is n float32 as int8 in blocks of 32; the scale of the next block is step bytes on.
func (p *product) quantizeRow(w *worker, dst, src, scales, corrections unsafe.Pointer, n, step int) {
	offset := -128
	if p.w.kind == q4Weights {
		offset = -8
	}
	blocks := n / quantBlock
	p.lv.quantizeRow(dst, src, scales, corrections, blocks, step, offset)
	if whole := blocks * quantBlock; whole < n {
		p.lv.quantizeRow(unsafe.Add(dst, whole), w.padded(at(src, whole), n-whole, 0),
			unsafe.Add(scales, blocks*step), unsafe.Add(corrections, blocks*step), 1, step, offset)
	}
}

// padded is a copy of n < 32 floats in the worker's own buffer, followed by pad up to 32.
func (w *worker) padded(src unsafe.Pointer, n int, pad float32) unsafe.Pointer {
	t := floats(w.tail, 32)
	copy(t, floats(src, n))
	for i := n; i < 32; i++ {
		t[i] = pad
	}
	return w.tail
}
