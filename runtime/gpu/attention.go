package gpu

import (
	"slices"

	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// fastHeads are the head sizes that attention on tensor cores is built for.
var fastHeads = []int{32, 64, 80, 96, 128}

// Attention norms and rotates queries and keys into scratch, then runs one kernel over all sequences and heads. It
// computes in the type of a.Keys where that has 16 bits, else in q's; over a cache, in the cache's.
func (b *Backend) Attention(q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) runtime.Tensor {
	const op = "Attention"
	b.attentionFits(op, q, k, v, s, a)
	t := q.DType
	if a.Keys == runtime.F16 || a.Keys == runtime.BF16 {
		t = a.Keys
	}
	if s.Cache != nil {
		t = s.Cache.Type
	}
	y := b.scratchOf(q.Rows, q.Cols, t, q.Phase())
	if q.Rows == 0 || q.Cols == 0 || b.idle() {
		return y
	}
	m := b.Mark()
	defer b.Release(m)
	if s.Cache != nil {
		b.attendCached(y, q, k, v, s, a)
		return y
	}
	build := kind{op: "attention_any", x: t, typed: 1}
	fast := t != runtime.F32 && slices.Contains(fastHeads, a.Dim)
	if fast {
		build = kind{op: "attention", x: t, typed: 1, dim: a.Dim}
	}
	together := k.Addr() == q.Addr()+uintptr(q.Cols*q.DType.Size()) && k.Stride() == q.Stride() && k.DType == q.DType
	if a.Rotary > 0 && a.QNorm == nil && a.KNorm == nil && together { // q and k lie side by side: one launch turns both
		both := runtime.NewTensor(q.Addr(), q.Rows, q.Cols+k.Cols, q.Stride(), q.DType, q.Phase(), q.Life())
		both = b.turned(b.typed(both, t), s, a, a.Heads+a.KVHeads, nil)
		q, k = both.Columns(0, q.Cols), both.Columns(q.Cols, q.Cols+k.Cols)
	} else {
		q = b.turned(b.typed(q, t), s, a, a.Heads, a.QNorm)
		k = b.turned(b.typed(k, t), s, a, a.KVHeads, a.KNorm)
	}
	v = b.typed(v, t)
	if fast {
		q, k, v = b.onLine(q), b.onLine(k), b.onLine(v)
	}
	args := b.attentionArgs(y, q, s, a)
	args.K, args.V, args.LDK, args.LDV = ptr(k), ptr(v), ld(k), ld(v)
	if f := b.pick(build); f != nil {
		b.run(f, args.Grid(f.Kernel), kernels.Bytes(&args))
	}
	return y
}

// attentionArgs are all but where the keys and values lie.
func (b *Backend) attentionArgs(y, q runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) kernels.Attention {
	args := kernels.Attention{
		Q: ptr(q), Y: ptr(y), Cum: ptr(s.Cum), Rows: int32(q.Rows), Sequences: int32(len(s.Lens)),
		Heads: int32(a.Heads), KVHeads: int32(a.KVHeads), Dim: int32(a.Dim), LDQ: ld(q), LDY: ld(y),
		Window: int32(a.Window), Scale: a.Scale, Cap: a.Cap,
	}
	if a.Causal {
		args.Causal = 1
	}
	if a.Bias.Rows > 0 {
		args.Bias, args.Reach = ptr(a.Bias), int32(a.Bias.Cols/2)
	}
	return args
}

// typed is x in type t.
func (b *Backend) typed(x runtime.Tensor, t runtime.DType) runtime.Tensor {
	if x.DType == t {
		return x
	}
	return b.converted(x, aligned(x.Cols, t), t)
}

// onLine is x with rows that begin on 16 bytes.
func (b *Backend) onLine(x runtime.Tensor) runtime.Tensor {
	if x.Addr()%16 == 0 && x.Stride()*x.DType.Size()%16 == 0 {
		return x
	}
	return b.converted(x, aligned(x.Cols, x.DType), x.DType)
}

// turned is x after the norm over each head's channels and the rotation, as scratch; x itself where there is neither.
func (b *Backend) turned(x runtime.Tensor, s *runtime.Sequences, a *runtime.Attn, heads int, n *runtime.Norm) runtime.Tensor {
	if a.Rotary == 0 && n == nil {
		return x
	}
	y := b.padded(x.Rows, x.Cols, aligned(x.Cols, x.DType), x.DType, x.Phase())
	args := kernels.Rotate{
		X: ptr(x), Y: ptr(y), Rows: int32(x.Rows), Heads: int32(heads), Dim: int32(a.Dim), LDX: ld(x), LDY: ld(y), Kind: kernels.NoNorm,
	}
	if n != nil {
		p := b.normOf("Attention", n, a.Dim)
		args.W, args.B, args.Kind, args.Eps = p.w, p.b, int32(n.Kind), n.Eps
	}
	if a.Rotary > 0 {
		g := s.Angles[a.Rotary-1]
		args.Angles, args.LDA, args.Half = ptr(g), ld(g), int32(g.Cols/2)
	}
	if a.Interleaved {
		args.Interleaved = 1
	}
	if k := b.pick(kind{op: "rotate", x: x.DType, typed: 1}); k != nil {
		b.run(k, args.Grid(k.Kernel), kernels.Bytes(&args))
	}
	return y
}

func (b *Backend) attentionFits(op string, q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) {
	b.floats(op, q, k, v)
	b.column(op, "first rows", s.Cum)
	switch {
	case s.Keys != nil || s.KeyOf.Rows > 0:
		fail(op, "keys of other sequences")
	case s.Map.Rows > 0 || a.Pad.Rows > 0:
		fail(op, "row indirection")
	case a.PosK.Rows > 0 || a.PosQ.Rows > 0 || a.Delta.Rows > 0:
		fail(op, "disentangled positions")
	case a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.Dim < 1 || a.Dim > 512:
		fail(op, "%d heads, %d of keys, of %d channels", a.Heads, a.KVHeads, a.Dim)
	case q.Cols != a.Heads*a.Dim || k.Cols != a.KVHeads*a.Dim || v.Cols != a.KVHeads*a.Dim || k.Rows != q.Rows || v.Rows != q.Rows:
		fail(op, "q %v, k %v, v %v for %d and %d heads of %d", q, k, v, a.Heads, a.KVHeads, a.Dim)
	case s.Rows() != q.Rows || s.Cum.Rows != len(s.Lens)+1:
		fail(op, "q %v for sequences of %d rows, first rows %v", q, s.Rows(), s.Cum)
	case a.Window < 0:
		fail(op, "window %d", a.Window)
	case a.Heads > 65535:
		fail(op, "%d heads", a.Heads)
	}
	if s.Cache != nil {
		b.cacheFits(op, s, a)
	}
	if a.Rotary > 0 {
		if a.Rotary > len(s.Angles) {
			fail(op, "rotary %d of %d", a.Rotary, len(s.Angles))
		}
		g := s.Angles[a.Rotary-1]
		b.floats(op, g)
		if g.DType != runtime.F32 || g.Rows != q.Rows || g.Cols%2 != 0 || g.Cols > a.Dim {
			fail(op, "angles %v for q %v of %d channels a head", g, q, a.Dim)
		}
	}
	if a.Bias.Rows > 0 {
		b.floats(op, a.Bias)
		if a.Bias.DType != runtime.F32 || a.Bias.Rows != a.Heads || a.Bias.Cols%2 != 1 || !a.Bias.Contiguous() {
			fail(op, "bias %v for %d heads", a.Bias, a.Heads)
		}
	}
}
