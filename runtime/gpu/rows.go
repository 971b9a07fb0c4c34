package gpu

import (
	"fmt"

	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// fail is the panic of operands that do not fit.
func fail(op, format string, args ...any) {
	panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
}

func isFloat(t runtime.DType) bool { return t == runtime.F32 || t == runtime.F16 || t == runtime.BF16 }

// floats panics unless the tensors are alive and of a floating-point type.
func (b *Backend) floats(op string, ts ...runtime.Tensor) {
	b.stack.Check(op, ts...)
	for _, t := range ts {
		if !isFloat(t.DType) {
			fail(op, "%v where floating-point numbers belong", t)
		}
	}
}

// column panics unless t is a column of int32 values without gaps.
func (b *Backend) column(op, what string, t runtime.Tensor) {
	b.stack.Check(op, t)
	if t.DType != runtime.I32 || t.Cols != 1 || !t.Contiguous() {
		fail(op, "%s %v where a column of int32 belongs", what, t)
	}
}

// convert copies src to dst in dst's type.
func (b *Backend) convert(dst, src runtime.Tensor) {
	if dst.Rows == 0 || dst.Cols == 0 || b.idle() {
		return
	}
	b.copyWide(dst, src, dst.Cols)
}

// copyWide copies src to dst; columns of dst from src's width to width become zeros.
func (b *Backend) copyWide(dst, src runtime.Tensor, width int) {
	from, to := src.DType, dst.DType
	if from == runtime.I32 && to == runtime.I32 { // a float32 is copied bit by bit
		from, to = runtime.F32, runtime.F32
	}
	a := kernels.Convert{X: ptr(src), Y: ptr(dst), Rows: int32(src.Rows), Cols: int32(src.Cols), Width: int32(width), LDX: ld(src), LDY: ld(dst)}
	if k := b.pick(kind{op: "convert", x: from, y: to, typed: 2}); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
}

// converted is x as scratch of type t, with rows of width elements, of which those behind x's are zero.
func (b *Backend) converted(x runtime.Tensor, width int, t runtime.DType) runtime.Tensor {
	y := b.padded(x.Rows, x.Cols, width, t, x.Phase())
	if x.Rows > 0 && width > 0 && !b.idle() {
		b.copyWide(y, x, width)
	}
	return y
}

func (b *Backend) normOf(op string, n *runtime.Norm, width int) *norm {
	p, ok := n.Packed.(*norm)
	if !ok {
		fail(op, "%s was not loaded by the GPU", n.Name)
	}
	if n.Width != width {
		fail(op, "%s of width %d for rows of %d", n.Name, n.Width, width)
	}
	return p
}

// normalise is y = n(x + r); r may be absent. y has x's type or, of float32, any.
func (b *Backend) normalise(y, x, r runtime.Tensor, n *runtime.Norm, p *norm) {
	b.normed(y, x, r, n, p, false)
}

// normed is normalise, or y += that.
func (b *Backend) normed(y, x, r runtime.Tensor, n *runtime.Norm, p *norm, add bool) {
	if x.Rows == 0 || x.Cols == 0 || b.idle() {
		return
	}
	a := kernels.Norm{
		X: ptr(x), R: ptr(r), Y: ptr(y), W: p.w, B: p.b, Rows: int32(x.Rows), Width: int32(x.Cols),
		LDX: ld(x), LDR: ld(r), LDY: ld(y), Kind: int32(n.Kind), Eps: n.Eps,
	}
	if add {
		a.Add = 1
	}
	if k := b.pick(kind{op: "norm", x: x.DType, y: y.DType, typed: 2}); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
}

func (b *Backend) Norm(x runtime.Tensor, n *runtime.Norm) runtime.Tensor {
	const op = "Norm"
	b.floats(op, x)
	p := b.normOf(op, n, x.Cols)
	y := b.scratchOf(x.Rows, x.Cols, x.DType, x.Phase())
	b.normalise(y, x, runtime.Tensor{}, n, p)
	return y
}

func (b *Backend) Embed(ids runtime.Tensor, s *runtime.Sequences, tab *runtime.Table) runtime.Tensor {
	const op = "Embed"
	b.column(op, "ids", ids)
	t, ok := tab.Packed.(*table)
	if !ok {
		fail(op, "%s was not loaded by the GPU", tab.Name)
	}
	for i, id := range b.known(ids) {
		if id < -1 || int(id) >= tab.Vocab {
			fail(op, "id %d in row %d, %s has %d", id, i, tab.Name, tab.Vocab)
		}
	}
	a := kernels.Embed{
		IDs: ptr(ids), Word: t.word, Position: t.position, Type: t.kind, Rows: int32(ids.Rows), Width: int32(tab.Width),
		LDT: int32(t.stride), Vocab: int32(tab.Vocab), Positions: int32(tab.Positions), Scale: t.scale, Kind: kernels.NoNorm,
	}
	if t.position != 0 {
		b.column(op, "positions", s.Pos)
		if s.Pos.Rows != ids.Rows {
			fail(op, "%d positions for %d ids", s.Pos.Rows, ids.Rows)
		}
		for i, p := range b.known(s.Pos) {
			if p < 0 || int(p) >= tab.Positions {
				fail(op, "position %d in row %d, %s has %d", p, i, tab.Name, tab.Positions)
			}
		}
		a.Pos = ptr(s.Pos)
	}
	if n := t.norm; n != nil {
		p := b.normOf(op, n, tab.Width)
		a.W, a.B, a.Kind, a.Eps = p.w, p.b, int32(n.Kind), n.Eps
	}
	phase := ids.Phase()
	if s != nil && s.Phase == runtime.Decode {
		phase = runtime.Decode
	}
	y := b.scratchOf(ids.Rows, tab.Width, t.out, phase)
	if ids.Rows == 0 || b.idle() {
		return y
	}
	a.Y, a.LDY = ptr(y), ld(y)
	if k := b.pick(kind{op: "embed", x: t.dtype, y: t.out, typed: 2}); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
	return y
}

func (b *Backend) Gather(x, index runtime.Tensor) runtime.Tensor {
	const op = "Gather"
	b.stack.Check(op, x)
	b.column(op, "rows", index)
	for _, r := range b.known(index) {
		if r < -1 || int(r) >= x.Rows {
			fail(op, "row %d of %v", r, x)
		}
	}
	y := b.scratchOf(index.Rows, x.Cols, x.DType, x.Phase())
	name := "gather_32"
	switch x.DType.Size() {
	case 2:
		name = "gather_16"
	case 1:
		fail(op, "rows of bytes")
	}
	if y.Rows == 0 || y.Cols == 0 || b.idle() {
		return y
	}
	a := kernels.Gather{X: ptr(x), Rows: ptr(index), Y: ptr(y), N: int32(index.Rows), Cols: int32(x.Cols), LDX: ld(x), LDY: ld(y), Limit: int32(x.Rows)}
	if k := b.find(name); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
	return y
}

func (b *Backend) Pool(x, ranges runtime.Tensor, how runtime.Pooling) runtime.Tensor {
	const op = "Pool"
	b.floats(op, x)
	b.stack.Check(op, ranges)
	wide := 2
	if how == runtime.PoolWeighted {
		wide = 3
	}
	if ranges.DType != runtime.I32 || ranges.Cols != wide || how > runtime.PoolWeighted {
		fail(op, "%v ranges %v", how, ranges)
	}
	if known := b.known(ranges); ranges.Contiguous() {
		for i := 0; i+wide <= len(known); i += wide {
			if from, to := int(known[i]), int(known[i+1]); from < 0 || to < from || to > x.Rows {
				fail(op, "range [%d,%d) of %v", from, to, x)
			}
		}
	}
	y := b.scratchOf(ranges.Rows, x.Cols, runtime.F32, x.Phase())
	if y.Rows == 0 || y.Cols == 0 || b.idle() {
		return y
	}
	a := kernels.Pool{
		X: ptr(x), Ranges: ptr(ranges), Y: ptr(y), N: int32(ranges.Rows), Width: int32(x.Cols),
		LDX: ld(x), LDR: ld(ranges), LDY: ld(y), How: int32(how), Limit: int32(x.Rows),
	}
	if k := b.pick(kind{op: "pool", x: x.DType, typed: 1}); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
	return y
}

func (b *Backend) Angles(s *runtime.Sequences, r ...*runtime.Rotary) {
	const op = "Angles"
	b.column(op, "positions", s.Pos)
	b.column(op, "first rows", s.Cum)
	s.Angles = make([]runtime.Tensor, 0, len(r))
	for _, rotary := range r {
		f := rotary.Freqs
		b.floats(op, f)
		if f.DType != runtime.F32 || f.Rows < 1 || s.Cum.Rows != len(s.Lens)+1 || s.Pos.Rows != s.Rows() {
			fail(op, "frequencies %v, positions %v, first rows %v", f, s.Pos, s.Cum)
		}
		a := kernels.Angles{
			Freqs: ptr(f), Pos: ptr(s.Pos), Cum: ptr(s.Cum), Rows: int32(s.Pos.Rows), Sequences: int32(len(s.Lens)),
			Half: int32(f.Cols), LDF: ld(f), Variants: int32(f.Rows), Factor: rotary.Factor,
		}
		if s.Freq.Rows > 0 {
			b.column(op, "variants", s.Freq)
			if s.Freq.Rows != len(s.Lens) {
				fail(op, "%d variants for %d sequences", s.Freq.Rows, len(s.Lens))
			}
			for _, v := range b.known(s.Freq) {
				if v < 0 || int(v) >= f.Rows {
					fail(op, "variant %d of %v", v, f)
				}
			}
			a.Variant = ptr(s.Freq)
		}
		y := b.scratchOf(s.Pos.Rows, 2*f.Cols, runtime.F32, s.Pos.Phase())
		s.Angles = append(s.Angles, y)
		if y.Rows == 0 || y.Cols == 0 || b.idle() {
			continue
		}
		a.Y = ptr(y)
		if k := b.find("angles"); k != nil {
			b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
		}
	}
}
