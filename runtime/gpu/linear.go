package gpu

import (
	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// weightsOf is what a Linear of this backend holds, after a check of x against it.
func (b *Backend) weightsOf(op string, x runtime.Tensor, l *runtime.Linear) *weights {
	b.floats(op, x)
	w, ok := l.Packed.(*weights)
	if !ok {
		fail(op, "%s was not loaded by the GPU", l.Name)
	}
	if x.Cols != w.k {
		fail(op, "x %v for %s [%d,%d]", x, l.Name, w.n, w.k)
	}
	return w
}

// residual checks the tensor that a product joins.
func (b *Backend) residual(op string, x, y runtime.Tensor, w *weights) {
	b.floats(op, x)
	if x.Rows != y.Rows || x.Cols != w.n || x.Stride() == 0 && x.Rows > 1 || x.DType != runtime.F32 && x.DType != w.dtype {
		fail(op, "x %v for the product of y %v, %d columns of %v", x, y, w.n, w.dtype)
	}
}

// operand is x as the products of w read it: in the weights' type, rows of 16-bit types on 16 bytes and k a multiple of 8.
// What does not fit is copied into scratch.
func (b *Backend) operand(x runtime.Tensor, w *weights) runtime.Tensor {
	if x.DType == w.dtype {
		if w.dtype == runtime.F32 {
			return x
		}
		if x.Addr()%16 == 0 && x.Stride()%8 == 0 && x.Cols%8 == 0 {
			return x
		}
	}
	return b.converted(x, w.stride, w.dtype)
}

// product is y = act(xWᵀ+b), or y += it. x is an operand.
func (b *Backend) product(y, x runtime.Tensor, w *weights, flags uint32) {
	if x.Rows == 0 || w.n == 0 || b.idle() {
		return
	}
	a := w.gemm(y, x, flags)
	if b.products != nil && b.products.run(b, y, x, w, &a) {
		return
	}
	b.own(x, w, &a)
}

// gemm is the kernels' description of a product. x is an operand.
func (w *weights) gemm(y, x runtime.Tensor, flags uint32) kernels.Gemm {
	a := kernels.Gemm{
		X: ptr(x), W: w.data, Y: ptr(y), Bias: w.bias, M: int32(x.Rows), N: int32(w.rows), K: int32(w.k),
		LDX: ld(x), LDW: int32(w.stride), LDY: ld(y), Act: int32(w.act), Cap: w.cap, Flags: flags,
	}
	if w.dtype != runtime.F32 {
		a.K = int32(w.stride) // the operand is padded with zeros as the weights are
	}
	if y.DType == runtime.F32 {
		a.Flags |= kernels.OutF32
	}
	if w.gate {
		a.Flags |= kernels.Gate
	}
	return a
}

// own launches the kernel of ours for a product.
func (b *Backend) own(x runtime.Tensor, w *weights, a *kernels.Gemm) {
	k := b.find(kernels.ChooseGemm(b.target(), suffix(w.dtype), int(a.M), int(a.N), int(a.K), x.Phase() == runtime.Decode, b.processors))
	if k == nil {
		return
	}
	if k.Maps == 0 {
		b.run(k, a.Grid(k.Kernel, b.processors), kernels.Bytes(a))
		return
	}
	wide := w.maps[k]
	if wide == nil {
		m, ok := b.tensorMap(k.MapW(a))
		if !ok {
			return
		}
		if w.maps == nil {
			w.maps = map[*kernel]*cuda.TensorMap{}
		}
		wide = &m
		w.maps[k] = wide
	}
	var ok bool
	if b.operandMap, ok = b.tensorMap(k.MapX(a)); ok {
		b.run(k, a.Grid(k.Kernel, b.processors), kernels.Bytes(a), &b.operandMap, wide)
	}
}

func (b *Backend) tensorMap(s cuda.TensorMapSpec) (cuda.TensorMap, bool) {
	b.mapSpec = s
	m, err := b.context.EncodeTensorMap(&b.mapSpec)
	return m, b.check(err)
}

func (b *Backend) Linear(x runtime.Tensor, l *runtime.Linear) runtime.Tensor {
	w := b.weightsOf("Linear", x, l)
	y := b.scratchOf(x.Rows, w.n, w.out, x.Phase())
	m := b.Mark()
	defer b.Release(m)
	b.product(y, b.operand(x, w), w, 0)
	return y
}

func (b *Backend) NormLinear(x runtime.Tensor, n *runtime.Norm, l *runtime.Linear) runtime.Tensor {
	const op = "NormLinear"
	w := b.weightsOf(op, x, l)
	p := b.normOf(op, n, w.k)
	y := b.scratchOf(x.Rows, w.n, w.out, x.Phase())
	m := b.Mark()
	defer b.Release(m)
	if x.DType != runtime.F32 && x.DType != w.dtype {
		x = b.converted(x, x.Cols, runtime.F32)
	}
	normed := b.padded(x.Rows, x.Cols, w.stride, w.dtype, x.Phase())
	b.normalise(normed, x, runtime.Tensor{}, n, p)
	b.product(y, b.operand(normed, w), w, 0)
	return y
}

func (b *Backend) LinearAdd(x, y runtime.Tensor, l *runtime.Linear) {
	const op = "LinearAdd"
	w := b.weightsOf(op, y, l)
	b.residual(op, x, y, w)
	m := b.Mark()
	defer b.Release(m)
	b.product(x, b.operand(y, w), w, kernels.Add)
}

// LinearAddNorm norms the sum before it is rounded: the product is stored in x's type, the sum stays in registers.
func (b *Backend) LinearAddNorm(x, y runtime.Tensor, l *runtime.Linear, n *runtime.Norm) {
	const op = "LinearAddNorm"
	w := b.weightsOf(op, y, l)
	b.residual(op, x, y, w)
	p := b.normOf(op, n, w.n)
	m := b.Mark()
	defer b.Release(m)
	sum := b.scratchOf(x.Rows, x.Cols, x.DType, x.Phase())
	b.product(sum, b.operand(y, w), w, 0)
	b.normalise(x, x, sum, n, p)
}

// LinearNormAdd keeps the product in float32.
func (b *Backend) LinearNormAdd(x, y runtime.Tensor, l *runtime.Linear, n *runtime.Norm) {
	const op = "LinearNormAdd"
	w := b.weightsOf(op, y, l)
	b.residual(op, x, y, w)
	p := b.normOf(op, n, w.n)
	m := b.Mark()
	defer b.Release(m)
	product := b.scratchOf(x.Rows, x.Cols, runtime.F32, x.Phase())
	b.product(product, b.operand(y, w), w, 0)
	b.normed(x, product, runtime.Tensor{}, n, p, true)
}
