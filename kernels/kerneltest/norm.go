package kerneltest

import (
	"fmt"
	"math"
	"strings"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// types are those of a kernel's name, in their order.
func types(k *kernels.Kernel) []runtime.DType {
	var all []runtime.DType
	for _, part := range strings.Split(k.Name, "_") {
		switch part {
		case "f32":
			all = append(all, runtime.F32)
		case "f16":
			all = append(all, runtime.F16)
		case "bf16":
			all = append(all, runtime.BF16)
		}
	}
	return all
}

// rounding is half a unit in the last place of t, as a share of the value, beside what float32 sums lose.
func rounding(t runtime.DType, sums float64) float64 {
	switch t {
	case runtime.F16:
		return sums + 0x1p-11
	case runtime.BF16:
		return sums + 0x1p-8
	}
	return sums
}

// affine is a norm with its weights, or no norm.
type affine struct {
	kind runtime.NormKind
	none bool // no norm
	w, b bool
	eps  float32
}

// shift is one element where an operand is the one off its boundary.
func shift(off, operand byte) int {
	if off == operand {
		return 1
	}
	return 0
}

// placed is an affine's weights on the device.
type placed struct {
	affine
	weight, bias *Matrix
}

// place puts random weights of a row of that width on the device, w and b elements behind a boundary.
func (n affine) place(m *Machine, width, w, b int) (p placed, err error) {
	p = placed{affine: n}
	if p.weight, err = m.Random(1, width, width, w, runtime.F32, 1); err != nil {
		return p, err
	}
	p.bias, err = m.Random(1, width, width, b, runtime.F32, 1)
	return p, err
}

// args are what a kernel's struct wants to know of it.
func (p *placed) args() (kind int32, eps float32, w, b cuda.Ptr) {
	kind, eps = int32(p.kind), p.eps
	if p.none {
		kind = kernels.NoNorm
	}
	if p.w {
		w = p.weight.Ptr
	}
	if p.b {
		b = p.bias.Ptr
	}
	return kind, eps, w, b
}

// row is n(x) by its definition.
func (p *placed) row(x []float64) []float64 {
	mean, square := 0.0, 0.0
	if p.kind == runtime.LayerNorm && !p.none {
		for _, v := range x {
			mean += v / float64(len(x))
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	factor := 1 / math.Sqrt(square/float64(len(x))+float64(p.eps))
	switch {
	case p.none:
		factor = 1
	case p.kind == runtime.L2Norm:
		factor = 1 / max(math.Sqrt(square), float64(p.eps))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) * factor
		if p.w {
			y[i] *= p.weight.V[i]
		}
		if p.b {
			y[i] += p.bias.V[i]
		}
	}
	return y
}

// norm is one y = n(x + r).
type norm struct {
	rows, width int
	affine
	apart    int  // elements between rows beyond the width, and before the first
	pad      int  // elements between rows besides, with the first on a boundary
	off      byte // one of x, r, y, w and b that alone lies on no vector's boundary; 0 for none
	residual bool
	over     bool    // y is x
	add      bool    // to what y holds
	mean     float64 // of x, beside a deviation of 1
	loss     float64 // error allowed beside rounding; 0 is 1e-5
}

// operands of a norm on the device.
type normed struct {
	x, r, y *Matrix
	n       placed
}

func (c *norm) place(m *Machine, in, out runtime.DType) (o normed, err error) {
	ld := c.width + c.apart + c.pad
	v := make([]float64, c.rows*c.width)
	for i := range v {
		v[i] = c.mean + m.Rand.NormFloat64()
	}
	x, r, y := shift(c.off, 'x'), shift(c.off, 'r'), shift(c.off, 'y')
	if o.x, err = m.Place(c.rows, c.width, ld+x, c.apart+x, in, v); err != nil {
		return o, err
	}
	if o.r, err = m.Random(c.rows, c.width, ld+c.apart+r, c.apart+r, in, 2); err != nil {
		return o, err
	}
	if o.y = o.x; !c.over {
		if o.y, err = m.Random(c.rows, c.width, ld+y, c.apart+y, out, 1); err != nil {
			return o, err
		}
	}
	o.n, err = c.affine.place(m, c.width, c.apart+shift(c.off, 'w'), c.apart+shift(c.off, 'b'))
	return o, err
}

func (c *norm) launch(m *Machine, k *kernels.Kernel, o *normed, rows int) error {
	a := &kernels.Norm{X: o.x.Ptr, Y: o.y.Ptr, Rows: int32(rows), Width: int32(c.width),
		LDX: int32(o.x.LD), LDR: int32(o.r.LD), LDY: int32(o.y.LD)}
	a.Kind, a.Eps, a.W, a.B = o.n.args()
	if c.residual {
		a.R = o.r.Ptr
	}
	if c.add {
		a.Add = 1
	}
	return m.Launch(k, a.Grid(k), kernels.Bytes(a))
}

func (c norm) run(m *Machine, k *kernels.Kernel) error {
	t := types(k)
	if c.over && t[0] != t[1] {
		c.over = false
	}
	o, err := c.place(m, t[0], t[1])
	if err != nil {
		return err
	}
	if err := c.launch(m, k, &o, c.rows); err != nil {
		return err
	}
	var want []float64
	for r := range c.rows {
		x := append([]float64(nil), o.x.V[r*c.width:(r+1)*c.width]...)
		for i := range x {
			if c.residual {
				x[i] += o.r.At(r, i)
			}
		}
		want = append(want, o.n.row(x)...)
	}
	if c.add {
		for i := range want {
			want[i] += o.y.V[i]
		}
	}
	return m.Close(o.y, want, rounding(t[1], max(c.loss, 1e-5)), 0)
}

// sameBits norms rows together and, the last of them, alone and on no boundary.
func (c norm) sameBits(m *Machine, k *kernels.Kernel) error {
	t := types(k)
	o, err := c.place(m, t[0], t[1])
	if err != nil {
		return err
	}
	if err := c.launch(m, k, &o, c.rows); err != nil {
		return err
	}
	together, err := m.Read(o.y)
	if err != nil {
		return err
	}
	last := (c.rows - 1) * c.width
	alone := o
	if alone.x, err = m.Place(1, c.width, c.width, 1, t[0], o.x.V[last:]); err != nil {
		return err
	}
	if alone.r, err = m.Place(1, c.width, c.width, 1, t[0], o.r.V[last:]); err != nil {
		return err
	}
	if alone.y, err = m.Random(1, c.width, c.width, 1, t[1], 1); err != nil {
		return err
	}
	if err := c.launch(m, k, &alone, 1); err != nil {
		return err
	}
	got, err := m.Read(alone.y)
	if err != nil {
		return err
	}
	for i, v := range got {
		if v != together[last+i] {
			return fmt.Errorf("column %d is %g in %d rows, and %g alone on no boundary", i, together[last+i], c.rows, v)
		}
	}
	return nil
}

var (
	layer  = affine{kind: runtime.LayerNorm, w: true, b: true, eps: 1e-12}
	rms    = affine{kind: runtime.RMSNorm, w: true, eps: 1e-6}
	l2     = affine{kind: runtime.L2Norm, eps: 1e-12}
	noNorm = affine{none: true}
)

var normCases = []struct {
	name string
	norm
}{
	{"one column", norm{rows: 2, width: 1, affine: rms}},
	{"three columns", norm{rows: 3, width: 3, affine: layer, mean: 3}},
	{"a warp a row, several blocks", norm{rows: 11, width: 100, affine: layer}},
	{"rows on no boundary", norm{rows: 3, width: 100, affine: layer, apart: 1, residual: true}},
	{"residual", norm{rows: 5, width: 384, affine: layer, residual: true, apart: 4}},
	{"x alone on no boundary", norm{rows: 2, width: 64, affine: layer, residual: true, off: 'x'}},
	{"r alone on no boundary", norm{rows: 2, width: 64, affine: layer, residual: true, off: 'r'}},
	{"y alone on no boundary", norm{rows: 2, width: 64, affine: layer, residual: true, off: 'y'}},
	{"w alone on no boundary", norm{rows: 2, width: 64, affine: layer, residual: true, off: 'w'}},
	{"b alone on no boundary", norm{rows: 2, width: 64, affine: layer, residual: true, off: 'b'}},
	{"an odd width, but rows on boundaries", norm{rows: 2, width: 61, affine: layer, pad: 3}},
	{"residual, y over x", norm{rows: 9, width: 768, affine: layer, residual: true, over: true}},
	{"y over x, odd width", norm{rows: 2, width: 37, affine: rms, over: true}},
	{"added to y", norm{rows: 3, width: 96, affine: rms, add: true}},
	{"added to y on no boundary", norm{rows: 2, width: 37, affine: layer, add: true, apart: 1}},
	{"added to y, a block a row", norm{rows: 2, width: 2052, affine: rms, add: true}},
	{"rms", norm{rows: 2, width: 768, affine: rms, mean: 2}},
	{"rms of an eps that counts", norm{rows: 2, width: 64, affine: affine{kind: runtime.RMSNorm, eps: 0.5}}},
	{"layer norm of an eps that counts", norm{rows: 2, width: 63, affine: affine{kind: runtime.LayerNorm, eps: 0.5}, mean: 3}},
	{"l2", norm{rows: 2, width: 129, affine: l2}},
	{"l2 of an eps that counts", norm{rows: 2, width: 8, affine: affine{kind: runtime.L2Norm, eps: 50}}},
	{"weight without bias", norm{rows: 2, width: 128, affine: affine{kind: runtime.LayerNorm, w: true, eps: 1e-5}}},
	{"bias without weight", norm{rows: 2, width: 130, affine: affine{kind: runtime.LayerNorm, b: true, eps: 1e-5}, mean: 3}},
	{"a warp's widest", norm{rows: 2, width: 1024, affine: layer, residual: true}},
	{"the block's narrowest, on no boundary", norm{rows: 2, width: 1025, affine: layer, mean: 3}},
	{"the block's narrowest", norm{rows: 2, width: 1028, affine: rms, residual: true, apart: 4}},
	{"two panels", norm{rows: 1, width: 8196, affine: layer, residual: true}},
	{"wide, on no boundary", norm{rows: 1, width: 4099, affine: rms}},
	// Half a unit of the mean is 3e-5 of the deviation.
	{"a large mean", norm{rows: 2, width: 512, affine: layer, mean: 1000, loss: 1e-4}},
}

// normCasesOf are those of the kernel of a norm.
func normCasesOf(k *kernels.Kernel) []Case {
	var all []Case
	for _, c := range normCases {
		all = append(all, Case{c.name, k.Name, func(m *Machine) error { return c.run(m, k) }})
	}
	for _, width := range []int{36, 1024, 1028, 2056} {
		c := norm{rows: 9, width: width, affine: layer, residual: true}
		all = append(all, Case{fmt.Sprintf("the same bits alone, width %d", width), k.Name,
			func(m *Machine) error { return c.sameBits(m, k) }})
	}
	return all
}

// embedding is one y = n(scale·word[id] + position[pos] + type).
type embedding struct {
	width                int
	word, position, kind bool
	scale                float32
	affine
	apart int
	off   byte // one operand that alone lies on no vector's boundary: t (words), p, k (type), y, w or b; 0 for none
}

func (c embedding) run(m *Machine, k *kernels.Kernel) error {
	const vocab, positions = 11, 7
	t := types(k)
	ids := []int32{0, 10, 3, -1, 3, 11, 1 << 30, 4, -7}
	pos := []int32{0, 6, 1, 2, -1, 5, 3, 7, 1}
	ld := c.width + c.apart
	word, err := m.Random(vocab, c.width, ld, c.apart+shift(c.off, 't'), t[0], 1)
	if err != nil {
		return err
	}
	position, err := m.Random(positions, c.width, ld, c.apart+shift(c.off, 'p'), t[0], 1)
	if err != nil {
		return err
	}
	kind, err := m.Random(1, c.width, ld, c.apart+shift(c.off, 'k'), t[0], 1)
	if err != nil {
		return err
	}
	y, err := m.Random(len(ids), c.width, ld+c.apart, c.apart+shift(c.off, 'y'), t[1], 1)
	if err != nil {
		return err
	}
	n, err := c.affine.place(m, c.width, c.apart+shift(c.off, 'w'), c.apart+shift(c.off, 'b'))
	if err != nil {
		return err
	}
	a := &kernels.Embed{Y: y.Ptr, Rows: int32(len(ids)), Width: int32(c.width), LDT: int32(ld), LDY: int32(y.LD),
		Vocab: vocab, Positions: positions, Scale: c.scale}
	a.Kind, a.Eps, a.W, a.B = n.args()
	if a.IDs, err = m.Ints(ids); err != nil {
		return err
	}
	if a.Pos, err = m.Ints(pos); err != nil {
		return err
	}
	if c.word {
		a.Word = word.Ptr
	}
	if c.position {
		a.Position = position.Ptr
	}
	if c.kind {
		a.Type = kind.Ptr
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	var want []float64
	for r := range ids {
		x := make([]float64, c.width)
		for i := range x {
			if c.word && ids[r] >= 0 && ids[r] < vocab {
				x[i] += float64(c.scale) * word.At(int(ids[r]), i)
			}
			if c.position && pos[r] >= 0 && pos[r] < positions {
				x[i] += position.At(int(pos[r]), i)
			}
			if c.kind {
				x[i] += kind.At(0, i)
			}
		}
		want = append(want, n.row(x)...)
	}
	return m.Close(y, want, rounding(t[1], 1e-5), 0)
}

var embedCases = []struct {
	name string
	embedding
}{
	{"words", embedding{width: 64, word: true, scale: 1, affine: noNorm}},
	{"scaled words of six columns", embedding{width: 6, word: true, scale: 3.5, affine: noNorm}},
	{"words and positions", embedding{width: 100, word: true, position: true, scale: 1, affine: layer}},
	{"words and a type, on no boundary", embedding{width: 100, word: true, kind: true, scale: 1, affine: layer, apart: 3}},
	{"words, positions and a type", embedding{width: 768, word: true, position: true, kind: true, scale: 1, affine: layer}},
	{"the words alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 't'}},
	{"the positions alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 'p'}},
	{"the type alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 'k'}},
	{"y alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 'y'}},
	{"w alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 'w'}},
	{"b alone on no boundary", embedding{width: 64, word: true, position: true, kind: true, scale: 1, affine: layer, off: 'b'}},
	{"odd width", embedding{width: 35, word: true, position: true, kind: true, scale: 2, affine: rms}},
	{"positions alone", embedding{width: 32, position: true, scale: 1, affine: noNorm, apart: 4}},
	{"a row a block", embedding{width: 1028, word: true, position: true, kind: true, scale: 0.5, affine: layer}},
}
