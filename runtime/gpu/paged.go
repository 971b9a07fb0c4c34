package gpu

import (
	"slices"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// attendCached writes the rows' keys and values to the cache, by one launch that also norms and rotates, and attends to
// what is there by a second: that of the phase, which the rows' bits depend on. It computes in the cache's type.
func (b *Backend) attendCached(y, q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) {
	c, t := s.Cache.Packed.(*cache), s.Cache.Type
	q, k, v = b.typed(q, t), b.typed(k, t), b.typed(v, t)
	put := kernels.Append{
		K: ptr(k), V: ptr(v), Keys: c.keys(a.Layer), Values: c.values(a.Layer), Cum: ptr(s.Cum), Table: ptr(s.Table), Past: ptr(s.Past),
		Rows: int32(q.Rows), Sequences: int32(len(s.Lens)), Heads: int32(a.Heads), KVHeads: int32(a.KVHeads), Dim: int32(a.Dim), Pitch: int32(c.pitch),
		LDK: ld(k), LDV: ld(v), LDT: ld(s.Table), Columns: int32(s.Table.Cols), Blocks: int32(s.Cache.Blocks),
		QKind: kernels.NoNorm, KKind: kernels.NoNorm,
	}
	if a.Rotary > 0 {
		g := s.Angles[a.Rotary-1]
		put.Angles, put.LDA, put.Half = ptr(g), ld(g), int32(g.Cols/2)
	}
	if a.Interleaved {
		put.Interleaved = 1
	}
	if n := a.KNorm; n != nil {
		p := b.normOf("Attention", n, a.Dim)
		put.KW, put.KB, put.KKind, put.KEps = p.w, p.b, int32(n.Kind), n.Eps
	}
	turns := a.Rotary > 0
	if n := a.QNorm; n != nil {
		p := b.normOf("Attention", n, a.Dim)
		put.QW, put.QB, put.QKind, put.QEps = p.w, p.b, int32(n.Kind), n.Eps
		turns = true
	}
	if turns {
		turned := b.padded(q.Rows, q.Cols, aligned(q.Cols, t), t, q.Phase())
		put.Q, put.LDQ, put.Y, put.LDY = ptr(q), ld(q), ptr(turned), ld(turned)
		q = turned
	} else if t != runtime.F32 {
		q = b.onLine(q)
	}
	if f := b.pick(kind{op: "append", x: t, typed: 1}); f != nil {
		b.run(f, put.Grid(f.Kernel), kernels.Bytes(&put))
	}

	args := b.attentionArgs(y, q, s, a)
	args.K, args.V, args.LDK, args.LDV = put.Keys, put.Values, put.Pitch, put.Pitch
	args.Table, args.Past, args.LDT, args.Columns, args.Blocks = put.Table, put.Past, put.LDT, put.Columns, put.Blocks
	if s.Phase == runtime.Decode || y.Phase() == runtime.Decode {
		b.attendStep(&args, t, a.Dim)
		return
	}
	build := kind{op: "paged_any", x: t, typed: 1}
	if t != runtime.F32 && slices.Contains(fastHeads, a.Dim) {
		build = kind{op: "paged", x: t, typed: 1, dim: a.Dim}
	}
	if f := b.pick(build); f != nil {
		b.run(f, args.Grid(f.Kernel), kernels.Bytes(&args))
	}
}

// attendStep is the attention of decoded rows: one launch, more only where the counters do not reach for all rows.
func (b *Backend) attendStep(args *kernels.Attention, t runtime.DType, dim int) {
	build := kind{op: "decode_any", x: t, typed: 1}
	if t != runtime.F32 && (slices.Contains(fastHeads, dim) || dim == 256 && b.target() != kernels.SM75) {
		build = kind{op: "decode", x: t, typed: 1, dim: dim}
	}
	f := b.pick(build)
	if f == nil {
		return
	}
	parts := b.scratchOf(1, args.Meet(f.Kernel), runtime.F32, runtime.Decode)
	args.Parts, args.Done = ptr(parts), b.meeting.at(b)
	rows, at := mostCounters/args.Units(f.Kernel), int32(0)
	for ; at < args.Rows; at += int32(rows) {
		args.First = at
		b.run(f, args.Steps(f.Kernel, min(rows, int(args.Rows-at)), b.processors), kernels.Bytes(args))
	}
}

// counters are zeros at an address that recorded steps know: where the blocks of a launch count how many of them are done.
// The last one makes its counter zero again.
type counters struct{ data cuda.Ptr }

const mostCounters = 1 << 16

// at is the address of mostCounters zeros.
func (c *counters) at(b *Backend) cuda.Ptr {
	if c.data != 0 || b.idle() {
		return c.data
	}
	p, err := b.alloc(4 * mostCounters)
	if err != nil {
		panic(err)
	}
	if b.failed.Load() == nil && b.check(b.context.Memset(cuda.Ptr(p), 0, 4*mostCounters, b.stream)) {
		c.data = cuda.Ptr(p)
	}
	return c.data
}

func (c *counters) close(b *Backend) {
	if c.data != 0 {
		b.free(uintptr(c.data), 4*mostCounters)
	}
	c.data = 0
}

// cacheFits checks a cached batch: of lengths and blocks what the host has uploaded itself. What the device has computed
// is looked at there, where a row in no block is not written.
func (b *Backend) cacheFits(op string, s *runtime.Sequences, a *runtime.Attn) {
	_, ok := s.Cache.Packed.(*cache)
	switch {
	case !ok || s.Cache.Free == nil:
		fail(op, "a cache that is closed or not the GPU's")
	case s.Cache.KVHeads != a.KVHeads || s.Cache.Dim != a.Dim || a.Layer < 0 || a.Layer >= s.Cache.Layers:
		fail(op, "layer %d of %d heads of %d in a cache of %d layers of %d heads of %d", a.Layer, a.KVHeads, a.Dim, s.Cache.Layers, s.Cache.KVHeads, s.Cache.Dim)
	}
	b.column(op, "lengths", s.Past)
	b.stack.Check(op, s.Table)
	if s.Table.DType != runtime.I32 || s.Table.Rows != len(s.Lens) || s.Past.Rows != len(s.Lens) || s.Table.Cols > 1<<24 {
		fail(op, "table %v and past %v of %d sequences", s.Table, s.Past, len(s.Lens))
	}
	past, table := b.known(s.Past), b.shadowOf(s.Table)
	for i, p := range past {
		n := s.Lens[i]
		if p < 0 || int(p) > s.Table.Cols*cacheBlock-n {
			fail(op, "%d rows behind %d in %d blocks of %d", n, p, s.Table.Cols, cacheBlock)
		}
		if table == nil {
			continue
		}
		for j, block := range table[i*s.Table.Stride():][:(int(p)+n+cacheBlock-1)/cacheBlock] {
			if block < 0 || int(block) >= s.Cache.Blocks {
				fail(op, "block %d of %d in column %d of sequence %d", block, s.Cache.Blocks, j, i)
			}
		}
	}
}
