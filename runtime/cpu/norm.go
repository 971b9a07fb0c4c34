package cpu

import (
	"math"
	"unsafe"

	"remote-client-server/runtime"
)

// norm is a loaded NormSpec; w and b are float32, padded to whole vectors.
type norm struct {
	kind  runtime.NormKind
	width int
	eps   float32
	w, b  unsafe.Pointer
}

// apply writes n(src) to dst, which may be src. The mean is taken first and the variance from the differences to it.
func (n *norm) apply(lv *level, w *worker, dst, src unsafe.Pointer) {
	whole, rest := n.width&^15, n.width&15
	var mean float32
	if n.kind == runtime.LayerNorm {
		s := lv.sum(src, whole)
		if rest > 0 {
			s += lv.sum(w.padded(at(src, whole), rest, 0), 16)
		}
		mean = s / float32(n.width)
	}
	s := lv.squares(src, whole, mean)
	if rest > 0 {
		s += lv.squares(w.padded(at(src, whole), rest, mean), 16, mean)
	}
	var scale float32
	if n.kind == runtime.L2Norm {
		scale = float32(1 / max(math.Sqrt(float64(s)), float64(n.eps)))
	} else {
		scale = float32(1 / math.Sqrt(float64(s)/float64(n.width)+float64(n.eps)))
	}
	if rest > 0 { // before dst, which may be src
		w.padded(at(src, whole), rest, 0)
		lv.affine(w.tail, w.tail, at(n.w, whole), at(n.b, whole), 16, mean, scale)
	}
	lv.affine(dst, src, n.w, n.b, whole, mean, scale)
	copy(floats(at(dst, whole), rest), floats(w.tail, rest))
}
