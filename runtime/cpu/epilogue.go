package cpu

import (
	"unsafe"

	"remote-client-server/runtime"
)

// epilogue carries the finished sums of tile t, panels [from, to), to y: bias, activation or gated pair, cap, residual.
// Who finishes the last panels of a tile normalises its rows.
func (p *product) epilogue(w *worker, c unsafe.Pointer, ldc, t, from, to int) {
	r0, r1 := p.tile(t)
	column := from * p.w.width // packed
	n0, n1 := column, to*p.w.width
	if p.w.gate {
		n0, n1 = n0/2, n1/2
	}
	if n := min(n1, p.w.n) - n0; n > 0 {
		bias := at(p.w.bias, column)
		for r := r0; r < r1; r++ {
			p.finishRow(at(p.y.row(r), n0), at(c, (r-r0)*ldc), bias, n)
		}
	}
	if p.post != nil && int(p.done[t].Add(int32(to-from))) == p.w.panels() {
		for r := r0; r < r1; r++ {
			p.post.apply(p.lv, w, p.y.row(r), p.y.row(r))
			if p.join.p != nil {
				addRow(p.lv, floats(p.join.row(r), p.w.n), p.y.row(r))
			}
		}
	}
}

// finishRow makes n outputs of one row from its sums, which it uses up. Sums and bias go on for whole vectors beyond n;
// y does not, so that the rest below 16 is made in place and copied.
func (p *product) finishRow(y, c, bias unsafe.Pointer, n int) {
	w, lv := p.w, p.lv
	plain := w.act == runtime.None && !w.gate && w.cap == 0
	if p.to == add && plain {
		whole := n &^ 15
		lv.addBias(y, c, bias, whole)
		rest, s, b := floats(at(y, whole), n-whole), floats(at(c, whole), n-whole), floats(at(bias, whole), n-whole)
		for i := range rest {
			rest[i] += s[i] + b[i]
		}
		return
	}
	f, step := lv.act[w.act], 1
	if w.gate {
		f, step = lv.gate[w.act], 2
	}
	if p.to == store && w.cap == 0 {
		whole := n &^ 15
		f(y, c, bias, whole)
		if whole < n {
			c = at(c, whole*step)
			f(c, c, at(bias, whole*step), 16)
			copy(floats(at(y, whole), n-whole), floats(c, n-whole))
		}
		return
	}
	f(c, c, bias, roundUp(n, 16)) // a gated pair's result is written behind what is read
	if w.cap != 0 {
		lv.cap(c, c, roundUp(n, 16), w.cap)
	}
	if p.to == store {
		copy(floats(y, n), floats(c, n))
		return
	}
	whole := n &^ 15
	lv.add(y, c, whole)
	rest, s := floats(at(y, whole), n-whole), floats(at(c, whole), n-whole)
	for i := range rest {
		rest[i] += s[i]
	}
}
