package cpu

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"remote-client-server/runtime"
)

// keyBlock is how many keys one partial result is of, counted from the sequence's start.
const keyBlock = 256

// splitRows is the length from which a sequence's keys are packed once for tasks of its own instead of inside one.
const splitRows = 1024

// attention is softmax(q·kᵀ)·v, block after block of keys, so that the scores of a tile of queries and a block are all
// that ever exists of the matrix of scores. The rows of a tile are queries of all heads that share a key head: in a decode
// step one query's, so that keys are read once for them all.
//
// A block's partial result is made from its own keys alone, and partial results are joined in the blocks' order by one
// formula: a row's bits do not depend on how a prompt was cut, on what is computed beside it, or by how many threads.
type attention struct {
	format
	lv      *level
	a       *runtime.Attn
	q, k, v rows
	y       rows
	lens    []int // rows of this call, of each sequence
	starts  []int // the first of them
	past    []int // rows in the cache before, 0 without one
	total   []int // keys
	order   []int // sequences, longest first
	group   int   // heads that share a key head

	cache *cache // nil: keys and values are this call's
	table rows   // its blocks

	qnorm, knorm *norm
	angles       rows // cos and sin of a row, nil p for no rotation
	half         int
	bias         rows // of a head, from -reach to reach; nil p for none
	reach        int
	scale        float32

	dim, mr int
	bulk    bool // keys and values are packed by vector kernels, many at once
}

func (b *Backend) Attention(q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) runtime.Tensor {
	t := b.attentionOf(q, k, v, s, a)
	y := b.result(q, q.Rows, a.Heads*a.Dim)
	t.y = view(y)
	if q.Rows == 0 || y.Cols == 0 {
		return y
	}
	threads, pairs := len(b.pool.workers), len(t.lens)*a.KVHeads
	longest, step := 0, true // every sequence is a tile whose new keys are in its last block
	for i, n := range t.lens {
		longest = max(longest, t.total[i])
		step = step && (n == 0 || n*t.group <= t.mr && t.past[i]/keyBlock == (t.total[i]-1)/keyBlock)
	}
	switch {
	case step && (threads == 1 || longest <= keyBlock || pairs >= 4*threads):
		b.attendWhole(t)
	case step && t.cache != nil:
		b.attendSplit(t)
	case longest < splitRows && (pairs >= 2*threads || longest <= 64):
		b.attendWhole(t)
	default:
		b.attendTiles(t)
	}
	return y
}

// attendWhole takes a sequence and key head as one task.
func (b *Backend) attendWhole(t *attention) {
	b.pool.tasks(len(t.lens)*t.a.KVHeads, func(w *worker, i int) {
		seq, head := t.order[i/t.a.KVHeads], i%t.a.KVHeads
		n := t.lens[seq]
		if n == 0 {
			return
		}
		p := t.pagesIn(seq, head, func(bytes int) unsafe.Pointer { return w.need(&w.keys, "keys and values", bytes) })
		t.pack(w, p, seq, head, 0, n)
		for tile := range t.tiles(seq) {
			t.tile(w, p, seq, head, tile)
		}
	})
}

// attendTiles is for long sequences, or fewer heads than would keep the threads busy: first the keys, by blocks, then
// the queries.
func (b *Backend) attendTiles(t *attention) {
	m := b.stack.Mark()
	defer b.stack.Release(m)
	heads := t.a.KVHeads
	all := make([]pages, len(t.lens)*heads)
	type piece struct{ seq, head, from, to int }
	var packs, tiles []piece
	for _, seq := range t.order {
		n, past := t.lens[seq], t.past[seq]
		for head := range heads {
			all[seq*heads+head] = t.pagesIn(seq, head, func(bytes int) unsafe.Pointer {
				return pointer(b.stack.Push("packed keys and values", int64(bytes)))
			})
			for from := 0; from < n; {
				to := min(n, from+keyBlock-(past+from)%keyBlock)
				packs = append(packs, piece{seq, head, from, to})
				from = to
			}
			for tile := 0; tile < t.tiles(seq); tile += 4 {
				tiles = append(tiles, piece{seq, head, tile, min(tile+4, t.tiles(seq))})
			}
		}
	}
	b.pool.tasks(len(packs), func(w *worker, i int) {
		p := packs[i]
		t.pack(w, all[p.seq*heads+p.head], p.seq, p.head, p.from, p.to)
	})
	b.pool.tasks(len(tiles), func(w *worker, i int) {
		p := tiles[i]
		for tile := p.from; tile < p.to; tile++ {
			t.tile(w, all[p.seq*heads+p.head], p.seq, p.head, tile)
		}
	})
}

// attendSplit takes every block of keys of a sequence and key head as a task: a decode step over few of them. Whoever
// finishes the last block of a pair joins them all.
func (b *Backend) attendSplit(t *attention) {
	m := b.stack.Mark()
	defer b.stack.Release(m)
	heads := t.a.KVHeads
	type piece struct{ pair, block int }
	var pieces []piece
	first := make([]int, len(t.lens)*heads) // piece of each pair
	size := t.partialBytes()
	for _, seq := range t.order {
		if t.lens[seq] == 0 {
			continue
		}
		lo, hi := t.keys(seq, 0, t.lens[seq]*t.group)
		for head := range heads {
			first[seq*heads+head] = len(pieces)
			for block := lo / keyBlock; block*keyBlock < hi; block++ {
				pieces = append(pieces, piece{seq*heads + head, block})
			}
		}
	}
	partials := pointer(b.stack.Push("partial attention", int64(len(pieces))*int64(size)))
	done := b.counters(len(first))
	b.pool.tasks(len(pieces), func(w *worker, i int) {
		seq, head := pieces[i].pair/heads, pieces[i].pair%heads
		n := t.lens[seq]
		lo, hi := t.keys(seq, 0, n*t.group)
		p := t.pagesIn(seq, head, nil)
		last := (hi - 1) / keyBlock
		if pieces[i].block == last {
			t.pack(w, p, seq, head, 0, n)
		}
		r := tileRows{seq, head, 0, n * t.group}
		q := t.queries(w, r)
		t.partial(w, q, p, r, pieces[i].block, unsafe.Add(partials, i*size))
		count := last - lo/keyBlock + 1
		if int(done[pieces[i].pair].Add(1)) < count {
			return
		}
		sum := t.fresh(w, r)
		for j := range count {
			t.join(sum, unsafe.Add(partials, (first[pieces[i].pair]+j)*size), r)
		}
		t.finish(sum, r)
	})
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
		lv: b.level, a: a, q: view(q), k: view(k), v: view(v), lens: s.Lens, dim: a.Dim, mr: b.level.rows, scale: a.Scale,
		group: a.Heads / a.KVHeads,
	}
	switch {
	case s.Cache != nil:
		t.cache, t.past, t.total = b.cacheOf(op, s, a)
		t.format, t.table = t.cache.format, view(s.Table)
	case a.Keys == runtime.BF16 && b.level.dot != nil:
		t.format = b.level.format(runtime.BF16, a.Dim)
	default:
		t.format = b.level.format(runtime.F32, a.Dim)
	}
	t.bulk = t.dtype == runtime.F32 || t.dtype == runtime.BF16 && b.level.roundBF16 != nil
	if t.cache == nil {
		t.past, t.total = make([]int, len(s.Lens)), s.Lens
	}
	first, uniform := 0, true
	for i, n := range s.Lens {
		t.starts = append(t.starts, first)
		t.order = append(t.order, i)
		first += n
		uniform = uniform && t.total[i] == t.total[0]
	}
	if !uniform {
		slices.SortStableFunc(t.order, func(x, y int) int { return t.total[y] - t.total[x] })
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

// pagesIn is where the keys of a sequence and head are: in the cache, or in memory that it asks for.
func (t *attention) pagesIn(seq, head int, memory func(bytes int) unsafe.Pointer) pages {
	if t.cache != nil {
		return t.cache.pages(t.a.Layer, head, t.table.row(seq))
	}
	n := t.total[seq]
	p := pages{rows: min(keyBlock, roundUp(n, max(t.lv.columns, packRows))), group: 1}
	p.keyBytes, p.valueBytes = t.keyBytes(p.rows), t.valueBytes(p.rows)
	p.groupBytes = p.keyBytes + p.valueBytes
	p.keys = memory((n + keyBlock - 1) / keyBlock * p.groupBytes)
	p.values = unsafe.Add(p.keys, p.keyBytes)
	return p
}

// tileRows is rows [from, to) of a sequence and key head: row r is query r/group of head·group + r%group.
type tileRows struct{ seq, head, from, to int }

func (r tileRows) n() int { return r.to - r.from }

func (t *attention) tiles(seq int) int { return (t.lens[seq]*t.group + t.mr - 1) / t.mr }

// tile is the attention of one tile of a sequence and key head; rows are spread evenly over the tiles.
func (t *attention) tile(w *worker, p pages, seq, head, tile int) {
	n, tiles := t.lens[seq]*t.group, t.tiles(seq)
	r := tileRows{seq, head, n * tile / tiles, n * (tile + 1) / tiles}
	q := t.queries(w, r)
	sum := t.fresh(w, r)
	partial := unsafe.Add(sum, t.partialBytes())
	lo, hi := t.keys(seq, r.from, r.to)
	for block := lo / keyBlock; block*keyBlock < hi; block++ {
		t.partial(w, q, p, r, block, partial)
		t.join(sum, partial, r)
	}
	t.finish(sum, r)
}

// A partial result is, for each row, its softmaxState and then Σ e^(s-max)·v, rows of ldo floats.
const stateBytes = int(unsafe.Sizeof(softmaxState{}))

func (t *attention) ldo() int          { return t.wide + 16 }
func (t *attention) partialBytes() int { return t.mr * (stateBytes + t.ldo()*4) }
func (t *attention) states(p unsafe.Pointer, mr int) []softmaxState {
	return unsafe.Slice((*softmaxState)(p), mr)
}
func (t *attention) sums(p unsafe.Pointer) unsafe.Pointer { return unsafe.Add(p, t.mr*stateBytes) }

// fresh is the result of no keys, in the worker's memory; behind it is place for a partial one and for scores.
func (t *attention) fresh(w *worker, r tileRows) unsafe.Pointer {
	p := w.need(&w.scores, "scores", 2*t.partialBytes()+t.mr*tileStride)
	for i := range t.states(p, r.n()) {
		t.states(p, r.n())[i] = softmaxStart
	}
	clear(floats(t.sums(p), r.n()*t.ldo()))
	return p
}

// partial is the attention of a tile to one block of keys.
func (t *attention) partial(w *worker, q unsafe.Pointer, p pages, r tileRows, block int, out unsafe.Pointer) {
	// Scores are a tile themselves, so that they are the left operand of the second product where they are.
	s := unsafe.Add(w.need(&w.scores, "scores", 2*t.partialBytes()+t.mr*tileStride), 2*t.partialBytes())
	columns, mr := t.lv.columns, r.n()
	lo, hi := t.keys(r.seq, r.from, r.to)
	from, to := max(block*keyBlock, lo/columns*columns), min((block+1)*keyBlock, hi)
	t.scores(q, p, s, mr, from, to)
	t.adjust(s, r, from, to)
	states := t.states(out, mr)
	for i := range states {
		states[i] = softmaxStart
	}
	softmax, weight := t.lv.softmax, 4
	if t.dot {
		softmax, weight = t.lv.softmaxBF16, 2
	}
	softmax(s, out, mr, roundUp(to-from, t.step))
	sums := t.sums(out)
	for key, started := from, 0; key < to; started = 1 {
		place := key % p.rows
		n := min(p.rows-place, to-key)
		if next := key/p.rows + 1; next*p.rows < to {
			p.askValues(t.lv, next)
		} else if next*p.rows < t.total[r.seq] {
			p.askKeys(t.lv, next)
		}
		values := unsafe.Add(p.valuesOf(key/p.rows), place*columns*t.size)
		for j := 0; j < t.wide; j += columns {
			t.product[mr-1](roundUp(n, 4), unsafe.Add(s, (key-from)*weight), unsafe.Add(values, j*p.rows*t.size), at(sums, j), t.ldo(), started)
		}
		key += n
	}
}

// join adds a partial result to those before it: with m the larger of the two largest scores, both sums are weighed by
// e^(max-m) and added.
func (t *attention) join(sum, partial unsafe.Pointer, r tileRows) {
	a, b := t.states(sum, r.n()), t.states(partial, r.n())
	for i := range a {
		x, y := &a[i], &b[i]
		m := max(x.max, y.max)
		x.shrink = float32(math.Exp(float64(x.max - m)))
		y.shrink = float32(math.Exp(float64(y.max - m)))
		x.sum = float32(x.sum*x.shrink) + float32(y.sum*y.shrink)
		x.max = m
	}
	ldo := t.ldo()
	for _, p := range []unsafe.Pointer{sum, partial} {
		t.lv.scaleRows(t.sums(p), ldo*4, t.sums(p), ldo*4, unsafe.Pointer(&t.states(p, r.n())[0].shrink), stateBytes, r.n(), t.wide)
	}
	t.lv.add(t.sums(sum), t.sums(partial), r.n()*ldo)
}

// finish divides by the sums of weights.
func (t *attention) finish(sum unsafe.Pointer, r tileRows) {
	ldo := t.ldo()
	for i, states := 0, t.states(sum, r.n()); i < len(states); i++ {
		st := &states[i]
		if st.shrink = 1 / st.sum; st.sum == 0 { // no key counts; a NaN stays one
			st.shrink = 0
			clear(floats(at(t.sums(sum), i*ldo), t.wide))
		}
		y := at(t.y.row(t.starts[r.seq]+(r.from+i)/t.group), t.headOf(r, i)*t.dim)
		whole := t.dim &^ 15
		src := at(t.sums(sum), i*ldo)
		t.lv.scale(y, src, whole, st.shrink)
		d, o := floats(at(y, whole), t.dim-whole), floats(at(src, whole), t.dim-whole)
		for j := range d {
			d[j] = o[j] * st.shrink
		}
	}
}

// headOf is the head of row i of a tile, query its position in the sequence.
func (t *attention) headOf(r tileRows, i int) int { return r.head*t.group + (r.from+i)%t.group }
func (t *attention) query(seq, row int) int       { return t.past[seq] + row/t.group }

// queries copies the rows into tiles, one for each slice of channels.
func (t *attention) queries(w *worker, r tileRows) unsafe.Pointer {
	q := w.need(&w.a, "queries", (t.dim+t.slice-1)/t.slice*t.mr*tileStride)
	row0 := t.starts[r.seq]
	if t.group == 1 && t.qnorm == nil && t.angles.p == nil && t.dim == t.deep && t.dim <= sliceF32 {
		src := at(t.q.row(row0+r.from), r.head*t.dim)
		t.lv.scaleRows(q, tileStride, src, t.q.stride*4, unsafe.Pointer(&t.scale), 0, r.n(), t.dim)
		if t.dot {
			t.lv.roundBF16(q, tileStride, q, tileStride, r.n(), t.dim)
		}
		return q
	}
	tmp := w.need(&w.c, "query", 512*4)
	for i := range r.n() {
		row := row0 + (r.from+i)/t.group
		t.prepare(w, tmp, at(t.q.row(row), t.headOf(r, i)*t.dim), row, t.qnorm, t.scale)
		clear(floats(at(tmp, t.dim), t.deep-t.dim))
		dst := unsafe.Add(q, i*tileStride)
		if t.dot {
			t.lv.roundBF16(dst, 0, tmp, 0, 1, t.deep)
			continue
		}
		for k := 0; k < t.dim; k += sliceF32 {
			n := min(sliceF32, t.deep-k)
			copy(floats(unsafe.Add(dst, k/sliceF32*t.mr*tileStride), n), floats(at(tmp, k), n))
		}
	}
	return q
}

// keys is the range of keys that rows [from, to) of a sequence see between them.
func (t *attention) keys(seq, from, to int) (lo, hi int) {
	lo, _ = t.seen(t.query(seq, from), t.total[seq])
	_, hi = t.seen(t.query(seq, to-1), t.total[seq])
	return lo, hi
}

// seen is the range of keys that the query at position i of n sees.
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

// scores is q·kᵀ for keys [from, to), from at the start of a panel.
func (t *attention) scores(q unsafe.Pointer, p pages, s unsafe.Pointer, mr, from, to int) {
	columns := t.lv.columns
	for key := from; key < to; key += columns {
		if key%p.rows == 0 || key == from {
			if next := key/p.rows + 1; next*p.rows < to {
				p.askKeys(t.lv, next)
			} else {
				p.askValues(t.lv, from/p.rows)
			}
		}
		panel := unsafe.Add(p.keysOf(key/p.rows), key%p.rows*t.deep*t.size)
		for k := 0; k < t.dim; k += t.slice {
			n := min(t.slice, t.dim-k)
			t.product[mr-1](roundUp(n, 4), unsafe.Add(q, k/t.slice*t.mr*tileStride), unsafe.Add(panel, k*columns*t.size), at(s, key-from), tileFloats, min(k, 1))
		}
	}
}

// adjust caps and biases the scores of a tile and keys [a, b), and puts -Inf where a query sees no key.
func (t *attention) adjust(s unsafe.Pointer, r tileRows, a, b int) {
	width := roundUp(b-a, t.step)
	masked := t.a.Causal || t.a.Window > 0
	if !masked && width == b-a && t.a.Cap == 0 && t.bias.p == nil {
		return
	}
	inf := float32(math.Inf(-1))
	for i := range r.n() {
		p, query := unsafe.Add(s, i*tileStride), t.query(r.seq, r.from+i)
		if t.a.Cap != 0 {
			t.lv.cap(p, p, width, t.a.Cap)
		}
		row := floats(p, width)
		if t.bias.p != nil {
			t.addBias(row[:b-a], floats(t.bias.row(t.headOf(r, i)), 2*t.reach+1), a-query)
		}
		lo, hi := a, b
		if masked {
			lo, hi = t.seen(query, t.total[r.seq])
			lo, hi = min(max(lo, a), b), max(min(hi, b), a)
		}
		for j := range row[:lo-a] {
			row[j] = inf
		}
		for j := hi - a; j < width; j++ {
			row[j] = inf
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
