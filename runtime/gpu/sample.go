package gpu

import (
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// Sample is one launch, a block a row. Slots are read on the device: one outside the table is left alone there, and one
// that two rows name, which only their uploads would show, is a bug of the caller.
func (b *Backend) Sample(logits runtime.Tensor, s *runtime.Sequences, p *runtime.Sampling) {
	const op = "Sample"
	b.samplingFits(op, logits, s, p)
	if logits.Rows == 0 || b.idle() {
		return
	}
	m := b.Mark()
	defer b.Release(m)
	work := b.padded(logits.Rows, p.Vocab, aligned(p.Vocab, runtime.F32), runtime.F32, runtime.Decode)
	a := kernels.Sample{
		Logits: ptr(logits), Work: ptr(work), Params: ptr(p.Params), Ints: ptr(p.Ints), Ends: ptr(p.Ends), Counts: ptr(p.Counts),
		Bias: ptr(p.Bias), Mask: ptr(p.Mask), Rows: ptr(p.Rows), IDs: ptr(p.IDs), Tokens: ptr(p.Tokens), Logprobs: ptr(p.Logprobs),
		N: int32(logits.Rows), Slots: int32(p.Slots), Vocab: int32(p.Vocab), Top: int32(p.Top), LD: ld(logits), LDWork: ld(work),
	}
	if s != nil {
		a.Pos, a.Past = ptr(s.Pos), ptr(s.Past)
	}
	if k := b.find("sample"); k != nil {
		b.run(k, a.Grid(k.Kernel), kernels.Bytes(&a))
	}
}

// samplingFits panics where an operand is not what the kernel reads and writes.
func (b *Backend) samplingFits(op string, logits runtime.Tensor, s *runtime.Sequences, p *runtime.Sampling) {
	n := logits.Rows
	b.floats(op, logits)
	if logits.DType != runtime.F32 || logits.Cols != p.Vocab || p.Vocab < 1 || p.Top < 0 || p.Top > kernels.MostAlternatives {
		fail(op, "logits %v of %d words, %d alternatives", logits, p.Vocab, p.Top)
	}
	for _, x := range []struct {
		t          runtime.Tensor
		dtype      runtime.DType
		rows, cols int
	}{
		{p.Params, runtime.F32, p.Slots, runtime.NumParams}, {p.Ints, runtime.I32, p.Slots, runtime.NumInts},
		{p.Ends, runtime.I32, p.Slots, runtime.MaxEnds}, {p.Counts, runtime.I32, p.Slots, p.Vocab},
		{p.Bias, runtime.F32, p.Slots, p.Vocab}, {p.Mask, runtime.I32, p.Slots, runtime.MaskWords(p.Vocab)},
		{p.Rows, runtime.I32, n, 1}, {p.IDs, runtime.I32, n, 1},
		{p.Tokens, runtime.I32, n, 1 + p.Top}, {p.Logprobs, runtime.F32, n, 1 + p.Top},
	} {
		b.stack.Check(op, x.t)
		if x.t.DType != x.dtype || x.t.Rows < x.rows || x.t.Cols != x.cols || !x.t.Contiguous() {
			fail(op, "%v where %v[%d,%d] belongs", x.t, x.dtype, x.rows, x.cols)
		}
	}
	if s != nil {
		b.column(op, "positions", s.Pos)
		b.column(op, "lengths", s.Past)
		if s.Pos.Rows < n || s.Past.Rows < n {
			fail(op, "positions %v and lengths %v for %d rows", s.Pos, s.Past, n)
		}
	}
}
