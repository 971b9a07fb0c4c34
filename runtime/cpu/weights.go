package cpu

import (
	"unsafe"

	"remote-client-server/runtime"
)

// kind is how the weights of a product are laid out and which micro-kernels read them. There is one layout of each kind,
// for one row as for many: panels of a few output columns, and in a panel k after k.
type kind uint8

const (
	f32Weights  kind = iota // [k][column] float32
	f16Weights              // [k][column] float16
	bf16Weights             // [k/2][column][2] bfloat16, widened in the kernel
	dotWeights              // the same bytes, multiplied with activations rounded to bfloat16
	q8Weights               // [k/32] blocks of 16 columns, see gen/quant.go
	q4Weights
)

func (k kind) quant() bool { return k >= q8Weights }

// weights is a packed LinearSpec. Rows of a gated W alternate by 16 in the packed columns, gate first, so that both
// halves of a pair are in one tile.
type weights struct {
	kind    kind
	n, k    int // outputs, inputs
	columns int // packed columns: n, doubled where gated, rounded up to whole panels
	width   int // columns of a panel
	depth   int // k rounded up to what the layout needs
	gate    bool
	act     runtime.Act
	cap     float32

	data       unsafe.Pointer
	panelBytes int
	bias       unsafe.Pointer // float32 [columns], zeros where there is none
}

// quantBytes is the size of a block of 16 columns by 32 k with its scales.
func quantBytes(bits int) int { return 16*quantBlock*bits/8 + 32 }

// layout fills the geometry of w for its kind, n and k.
func (w *weights) layout(lv *level) {
	w.width = lv.columns
	step := 16 // the packing transposes 16 dwords of k at a time
	switch w.kind {
	case bf16Weights, dotWeights:
		step = 32
	case q8Weights, q4Weights:
		w.width, step = 16, quantBlock
	}
	w.depth = roundUp(w.k, step)
	packed := roundUp(w.n, 16)
	if w.gate {
		packed *= 2
	}
	w.columns = roundUp(packed, lv.columns)
	switch w.kind {
	case f32Weights:
		w.panelBytes = w.depth * w.width * 4
	case q8Weights:
		w.panelBytes = w.depth / quantBlock * quantBytes(8)
	case q4Weights:
		w.panelBytes = w.depth / quantBlock * quantBytes(4)
	default:
		w.panelBytes = w.depth * w.width * 2
	}
}

func (w *weights) panels() int { return w.columns / w.width }

// row tells which row of W a packed column holds; ok is false for padding.
func (w *weights) row(column int) (row int, ok bool) {
	if !w.gate {
		return column, column < w.n
	}
	row = column/32*16 + column%16
	if row >= w.n {
		return 0, false
	}
	if column%32 >= 16 {
		row += w.n
	}
	return row, true
}
