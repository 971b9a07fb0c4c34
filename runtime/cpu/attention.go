package cpu

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"remote-client-server/runtime"
)

// keyBlock is how many keys a running softmax takes at once, counted from the sequence's start.
const keyBlock = 256

// splitRows is the length from which a sequence's keys are packed once for tasks of its own instead of inside one.
const splitRows = 1024

// attention is softmax(q·kᵀ)·v, block after block of keys with a running softmax, so that the scores of a tile of queries
// are all that ever exists of the T x T matrix. Keys of one head are packed into panels as weights are, rotated once;
// values are packed k-major; both products use the kernels of Linear: those of float32, or, where keys are wanted in
// bfloat16 and the CPU multiplies such pairs, those, with both operands of both products rounded.
type attention struct {
	lv      *level
	a       *runtime.Attn
	q, k, v rows
	y       rows
	lens    []int
	starts  []int
	order   []int // sequences, longest first

	qnorm, knorm *norm
	angles       rows // cos and sin of a row, nil p for no rotation
	half         int
	bias         rows // of a head, from -reach to reach; nil p for none
	reach        int
	scale        float32

	dim, deep, wide int // of a head; rounded up for the depth of panels of k, for the columns of panels of v
	mr              int

	dot     bool
	product []microKernel
	slice   int // k of a tile's slice
	pair    int // values in one float's place of panels and tiles: 2 bfloat16
	step    int // keys are a multiple of it for softmax
}

// packed is the keys and values of one sequence and head.
type packed struct{ k, v unsafe.Pointer }

func (b *Backend) Attention(q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) runtime.Tensor {
	t := b.attentionOf(q, k, v, s, a)
	y := b.result(q, q.Rows, a.Heads*a.Dim)
	t.y = view(y)
	if q.Rows == 0 || y.Cols == 0 {
		return y
	}
	longest, pairs := slices.Max(t.lens), len(t.lens)*a.KVHeads
	if longest < splitRows && (pairs >= 2*len(b.pool.workers) || longest <= 64) {
		b.pool.tasks(pairs, func(w *worker, i int) {
			seq, head := t.order[i/a.KVHeads], i%a.KVHeads
			n := t.lens[seq]
			if n == 0 {
				return
			}
			p := packed{w.need(&w.keys, "keys", t.keyFloats(n)*4), w.need(&w.values, "values", t.valueFloats(n)*4)}
			t.pack(w, p, seq, head, 0, n)
			for h := range a.Heads / a.KVHeads {
				for tile := range (n + t.mr - 1) / t.mr {
					t.tile(w, p, seq, head*(a.Heads/a.KVHeads)+h, tile)
				}
			}
		})
		return y
	}

	// Long sequences, or fewer heads than would keep the threads busy: first the keys, by blocks, then the queries.
	m := b.stack.Mark()
	defer b.stack.Release(m)
	all := make([]packed, pairs)
	type piece struct{ seq, head, from int }
	var packs, tiles []piece
	for _, seq := range t.order {
		n := t.lens[seq]
		for head := range a.KVHeads {
			keys, values := int64(t.keyFloats(n))*4, int64(t.valueFloats(n))*4
			p := pointer(b.stack.Push("packed keys and values", keys+values))
			all[seq*a.KVHeads+head] = packed{p, unsafe.Add(p, keys)}
			for from := 0; from < n; from += keyBlock {
				packs = append(packs, piece{seq, head, from})
			}
		}
		for head := range a.Heads {
			for tile := 0; tile < (n+t.mr-1)/t.mr; tile += 4 {
				tiles = append(tiles, piece{seq, head, tile})
			}
		}
	}
	b.pool.tasks(len(packs), func(w *worker, i int) {
		p := packs[i]
		t.pack(w, all[p.seq*a.KVHeads+p.head], p.seq, p.head, p.from, min(t.lens[p.seq], p.from+keyBlock))
	})
	b.pool.tasks(len(tiles), func(w *worker, i int) {
		p := tiles[i]
		for tile := p.from; tile < min(p.from+4, (t.lens[p.seq]+t.mr-1)/t.mr); tile++ {
			t.tile(w, all[p.seq*a.KVHeads+p.head*a.KVHeads/a.Heads], p.seq, p.head, tile)
		}
	})
	return y
}

// attentionOf checks the operands and resolves what they name.
func (b *Backend) attentionOf(q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) *attention {
	const op = "Attention"
	b.check(op, runtime.F32, q, k, v)
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case s.Keys != nil || s.KeyOf.Rows > 0:
		fail("keys of other sequences")
	case s.Cache != nil:
		fail("a cache")
	case s.Map.Rows > 0 || a.Pad.Rows > 0:
		fail("row indirection")
	case a.PosK.Rows > 0 || a.PosQ.Rows > 0 || a.Delta.Rows > 0:
		fail("disentangled positions")
	case a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.Dim < 1 || a.Dim > 512:
		fail("%d heads, %d of keys, of %d channels", a.Heads, a.KVHeads, a.Dim)
	case q.Cols != a.Heads*a.Dim || k.Cols != a.KVHeads*a.Dim || v.Cols != a.KVHeads*a.Dim || k.Rows != q.Rows || v.Rows != q.Rows:
		fail("q %v, k %v, v %v for %d and %d heads of %d", q, k, v, a.Heads, a.KVHeads, a.Dim)
	case s.Rows() != q.Rows:
		fail("q %v for sequences of %d rows", q, s.Rows())
	case a.Window < 0:
		fail("window %d", a.Window)
	}
	t := &attention{
		lv: b.level, a: a, q: view(q), k: view(k), v: view(v), lens: s.Lens, dim: a.Dim,
		deep: roundUp(a.Dim, 16), wide: roundUp(a.Dim, b.level.columns), mr: b.level.rows, scale: a.Scale,
		product: b.level.f32, slice: sliceF32, pair: 1, step: 16,
	}
	if a.Keys == runtime.BF16 && b.level.dot != nil {
		t.dot, t.product, t.slice, t.pair, t.step = true, b.level.dot, sliceDot, 2, 32
		t.deep = roundUp(a.Dim, 32)
	}
	first, uniform := 0, true
	for i, n := range s.Lens {
		t.starts = append(t.starts, first)
		t.order = append(t.order, i)
		first += n
		uniform = uniform && n == s.Lens[0]
	}
	if !uniform {
		slices.SortStableFunc(t.order, func(x, y int) int { return s.Lens[y] - s.Lens[x] })
	}
	for _, n := range []struct {
		from *runtime.Norm
		to   **norm
	}{{a.QNorm, &t.qnorm}, {a.KNorm, &t.knorm}} {
		if n.from != nil {
			*n.to = b.normOf(op, n.from, a.Dim)
		}
	}
	if a.Rotary > 0 {
		if a.Rotary > len(s.Angles) {
			fail("rotary %d of %d", a.Rotary, len(s.Angles))
		}
		g := s.Angles[a.Rotary-1]
		b.check(op, runtime.F32, g)
		if g.Rows != q.Rows || g.Cols%2 != 0 || g.Cols > a.Dim {
			fail("angles %v for q %v of %d channels a head", g, q, a.Dim)
		}
		t.angles, t.half = view(g), g.Cols/2
	}
	if a.Bias.Rows > 0 {
		b.check(op, runtime.F32, a.Bias)
		if a.Bias.Rows != a.Heads || a.Bias.Cols%2 != 1 {
			fail("bias %v for %d heads", a.Bias, a.Heads)
		}
		t.bias, t.reach = view(a.Bias), a.Bias.Cols/2
	}
	return t
}

// Panels of keys are level.columns keys wide and deep values long; values are wide/level.columns panels, each a row of
// level.columns values for every key, or of as many pairs for two keys.
func (t *attention) keyFloats(n int) int   { return roundUp(n, t.lv.columns) * t.deep / t.pair }
func (t *attention) valueFloats(n int) int { return roundUp(n, 16) * t.wide / t.pair }

// pack copies keys and values [from, to) of a sequence and head to where their tiles want them; from is a multiple of
// keyBlock.
func (t *attention) pack(w *worker, p packed, seq, head, from, to int) {
	t.packKeys(w, p.k, seq, head, from, to)
	for ; from < to; from += keyBlock {
		for j := 0; j < t.wide; j += t.lv.columns {
			t.packValues(w, at(p.v, j*roundUp(t.lens[seq], 16)/t.pair), seq, head, j, from, min(to, from+keyBlock))
		}
	}
}

// packKeys transposes keys, 16 by 16.
func (t *attention) packKeys(w *worker, panels unsafe.Pointer, seq, head, from, to int) {
	columns, depth := t.lv.columns, t.deep/t.pair
	pitch := t.deep + 16
	row0, n := t.starts[seq], t.lens[seq]
	plain := t.knorm == nil && t.angles.p == nil && t.dim == t.deep
	end := to
	if to == n {
		end = roundUp(to, columns) // the rest of the last panel is zeros
	}
	stage := w.need(&w.panel, "staged keys", 16*pitch*4)
	for i := from; i < end; i += 16 {
		src, stride := at(t.k.row(row0+i), head*t.dim), t.k.stride*4
		if !plain || i+16 > n {
			for r := range 16 {
				s := at(stage, r*pitch)
				if i+r < n {
					t.prepare(w, s, at(t.k.row(row0+i+r), head*t.dim), row0+i+r, t.knorm, 1)
					clear(floats(at(s, t.dim), t.deep-t.dim))
				} else {
					clear(floats(s, t.deep))
				}
			}
			src, stride = stage, pitch*4
		}
		if t.dot {
			t.lv.roundBF16(stage, pitch*4, src, stride, 16, t.deep)
			src, stride = stage, pitch*4
		}
		t.lv.transpose(at(panels, (i/columns*t.deep/t.pair)*columns+i%columns), columns*4, src, stride, depth)
	}
}

// packValues copies the channels from j on of at most keyBlock values to their panel.
func (t *attention) packValues(w *worker, panel unsafe.Pointer, seq, head, j, from, to int) {
	columns, n := t.lv.columns, t.lens[seq]
	have := max(0, min(columns, t.dim-j))
	src, stride := at(t.v.row(t.starts[seq]+from), head*t.dim+j), t.v.stride*4
	dst := at(panel, from*columns/t.pair)
	rows := to - from
	if t.dot && (have < columns || rows%2 == 1) { // by way of whole pairs of whole rows
		stage := w.need(&w.panel, "staged values", keyBlock*columns*4)
		for i := range roundUp(rows, 2) {
			d := floats(at(stage, i*columns), columns)
			if i < rows {
				clear(d[copy(d, floats(unsafe.Add(src, i*stride), have)):])
			} else {
				clear(d)
			}
		}
		src, stride, have = stage, columns*4, columns
	}
	switch {
	case t.dot:
		t.lv.pairRows(dst, src, stride, (rows+1)/2)
		rows = roundUp(rows, 2)
	case have == columns:
		one := float32(1)
		t.lv.scaleRows(dst, columns*4, src, stride, unsafe.Pointer(&one), 0, rows, columns)
	default:
		for i := range rows {
			d := floats(at(dst, i*columns), columns)
			clear(d[copy(d, floats(unsafe.Add(src, i*stride), have)):])
		}
	}
	if to == n {
		clear(floats(at(dst, rows*columns/t.pair), (roundUp(n, 16)-from-rows)*columns/t.pair))
	}
}

// prepare is one head's row of q or k: normalised, rotated, scaled.
func (t *attention) prepare(w *worker, dst, src unsafe.Pointer, row int, n *norm, scale float32) {
	if n != nil {
		tmp := w.need(&w.row, "head", 512*4)
		n.apply(t.lv, w, tmp, src)
		src = tmp
	}
	if t.angles.p != nil {
		t.rotate(dst, src, t.angles.row(row))
		src = dst
	}
	switch {
	case scale != 1:
		whole := t.dim &^ 15
		t.lv.scale(dst, src, whole, scale)
		d, s := floats(at(dst, whole), t.dim-whole), floats(at(src, whole), t.dim-whole)
		for i := range d {
			d[i] = s[i] * scale
		}
	case src != dst:
		copy(floats(dst, t.dim), floats(src, t.dim))
	}
}

// rotate turns the first 2·half channels of a head and copies the others.
func (t *attention) rotate(dst, src, angles unsafe.Pointer) {
	half := t.half
	switch {
	case t.a.Interleaved:
		d, s, a := floats(dst, 2*half), floats(src, 2*half), floats(angles, 2*half)
		for i := range half {
			x, y, cos, sin := s[2*i], s[2*i+1], a[i], a[half+i]
			d[2*i] = float32(x*cos) - float32(y*sin)
			d[2*i+1] = float32(y*cos) + float32(x*sin)
		}
	case half%16 == 0:
		t.lv.rotate(dst, src, angles, half)
	default:
		genericRotate(dst, src, angles, half)
	}
	copy(floats(at(dst, 2*half), t.dim-2*half), floats(at(src, 2*half), t.dim-2*half))
}

// tile is the attention of one tile of queries of a head.
func (t *attention) tile(w *worker, p packed, seq, head, tile int) {
	lv, n := t.lv, t.lens[seq]
	tiles := (n + t.mr - 1) / t.mr
	from, to := n*tile/tiles, n*(tile+1)/tiles
	mr := to - from
	row0 := t.starts[seq]

	slices := (t.dim + t.slice - 1) / t.slice
	q := w.need(&w.a, "queries", slices*t.mr*tileStride)
	t.queries(w, q, row0+from, mr, head)

	// Scores are a tile themselves, so that they are the left operand of the second product where they are.
	ldo := t.wide + 16
	buf := w.need(&w.scores, "scores", t.mr*(tileStride+ldo*4+16))
	s, out := buf, unsafe.Add(buf, t.mr*tileStride)
	state := at(out, t.mr*ldo)
	states := unsafe.Slice((*softmaxState)(state), mr)
	for r := range states {
		states[r] = softmaxStart
	}
	shrink := unsafe.Pointer(&states[0].shrink)
	const stateBytes = int(unsafe.Sizeof(softmaxState{}))

	softmax := lv.softmax
	if t.dot {
		softmax = lv.softmaxBF16
	}
	lo, hi := t.keys(from, to, n)
	columns := lv.columns
	started := 0
	for block := lo / keyBlock * keyBlock; block < hi; block += keyBlock {
		a, b := max(block, lo/columns*columns), min(block+keyBlock, hi)
		t.scores(q, p, s, mr, a, b)
		t.adjust(s, head, from, mr, a, b, n)
		softmax(s, state, mr, roundUp(b-a, t.step))
		if started == 1 {
			lv.scaleRows(out, ldo*4, out, ldo*4, shrink, stateBytes, mr, t.wide)
		}
		for j := 0; j < t.wide; j += columns {
			v := at(p.v, (j*roundUp(n, 16)+a*columns)/t.pair)
			t.product[mr-1](roundUp(b-a, 4), s, v, at(out, j), ldo, started)
		}
		started = 1
	}
	for r := range states {
		st := &states[r]
		if st.shrink = 1 / st.sum; st.sum == 0 || started == 0 { // no key counts; a NaN stays one
			st.shrink = 0
			clear(floats(at(out, r*ldo), t.wide))
		}
	}
	y := at(t.y.row(row0+from), head*t.dim)
	whole := t.dim &^ 15
	lv.scaleRows(y, t.y.stride*4, out, ldo*4, shrink, stateBytes, mr, whole)
	if whole < t.dim {
		for r := range states {
			d, o := floats(at(y, r*t.y.stride+whole), t.dim-whole), floats(at(out, r*ldo+whole), t.dim-whole)
			for i := range d {
				d[i] = o[i] * states[r].shrink
			}
		}
	}
}

// queries copies mr rows of a head into tiles, one for each slice of channels.
func (t *attention) queries(w *worker, q unsafe.Pointer, row0, mr, head int) {
	src := at(t.q.row(row0), head*t.dim)
	if t.qnorm == nil && t.angles.p == nil && t.dim == t.deep && t.dim <= sliceF32 {
		t.lv.scaleRows(q, tileStride, src, t.q.stride*4, unsafe.Pointer(&t.scale), 0, mr, t.dim)
		if t.dot {
			t.lv.roundBF16(q, tileStride, q, tileStride, mr, t.dim)
		}
		return
	}
	tmp := w.need(&w.c, "query", 512*4)
	for r := range mr {
		t.prepare(w, tmp, at(src, r*t.q.stride), row0+r, t.qnorm, t.scale)
		clear(floats(at(tmp, t.dim), t.deep-t.dim))
		dst := unsafe.Add(q, r*tileStride)
		if t.dot {
			t.lv.roundBF16(dst, 0, tmp, 0, 1, t.deep)
			continue
		}
		for k := 0; k < t.dim; k += sliceF32 {
			n := min(sliceF32, t.deep-k)
			copy(floats(unsafe.Add(dst, k/sliceF32*t.mr*tileStride), n), floats(at(tmp, k), n))
		}
	}
}

// keys is the range of keys that queries [from, to) of n see between them.
func (t *attention) keys(from, to, n int) (lo, hi int) {
	lo, _ = t.seen(from, n)
	_, hi = t.seen(to-1, n)
	return lo, hi
}

// seen is the range of keys that query i of n sees.
func (t *attention) seen(i, n int) (lo, hi int) {
	hi = n
	w := t.a.Window
	switch {
	case t.a.Causal:
		hi = i + 1
		if w > 0 {
			lo = max(0, i-w+1)
		}
	case w > 0:
		lo, hi = max(0, i-w), min(n, i+w+1)
	}
	return lo, hi
}

// scores is q·kᵀ for keys [a, b), a at the start of a panel.
func (t *attention) scores(q unsafe.Pointer, p packed, s unsafe.Pointer, mr, a, b int) {
	columns := t.lv.columns
	for key := a; key < b; key += columns {
		panel := at(p.k, key*t.deep/t.pair)
		for k := 0; k < t.dim; k += t.slice {
			n := min(t.slice, t.dim-k)
			t.product[mr-1](roundUp(n, 4), unsafe.Add(q, k/t.slice*t.mr*tileStride), at(panel, k*columns/t.pair), at(s, key-a), tileFloats, min(k, 1))
		}
	}
}

// adjust caps and biases the scores of mr queries from row i0 and keys [a, b), and puts -Inf where a query sees no key.
func (t *attention) adjust(s unsafe.Pointer, head, i0, mr, a, b, n int) {
	width := roundUp(b-a, t.step)
	masked := t.a.Causal || t.a.Window > 0
	if !masked && width == b-a && t.a.Cap == 0 && t.bias.p == nil {
		return
	}
	inf := float32(math.Inf(-1))
	for r := range mr {
		p := unsafe.Add(s, r*tileStride)
		if t.a.Cap != 0 {
			t.lv.cap(p, p, width, t.a.Cap)
		}
		row := floats(p, width)
		if t.bias.p != nil {
			t.addBias(row[:b-a], floats(t.bias.row(head), 2*t.reach+1), a-(i0+r))
		}
		lo, hi := a, b
		if masked {
			lo, hi = t.seen(i0+r, n)
			lo, hi = min(max(lo, a), b), max(min(hi, b), a)
		}
		for i := range row[:lo-a] {
			row[i] = inf
		}
		for i := hi - a; i < width; i++ {
			row[i] = inf
		}
	}
}

// addBias adds bias[reach + clamp(offset+i)] to row[i]; offset is the first key's position less the query's.
func (t *attention) addBias(row, bias []float32, offset int) {
	left := min(len(row), max(0, -t.reach-offset)) // keys further left than the table reaches
	right := max(left, min(len(row), t.reach+1-offset))
	for i := range row[:left] {
		row[i] += bias[0]
	}
	if left < right {
		from := bias[t.reach+offset+left:]
		for i := range row[left:right] {
			row[left+i] += from[i]
		}
	}
	for i := right; i < len(row); i++ {
		row[i] += bias[2*t.reach]
	}
}
