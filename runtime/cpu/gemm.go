package cpu

import (
	"sync/atomic"
	"unsafe"
)

// rows is a matrix of float32: its first row and the floats from one to the next.
type rows struct {
	p      unsafe.Pointer
	stride int
}

func (r rows) row(i int) unsafe.Pointer { return at(r.p, i*r.stride) }

// finish says where the finished rows of a product go.
type finish uint8

const (
	store finish = iota
	add          // onto the residual stream
)

// product is y = act(n(x)Wᵀ+b) or y += …, over m rows.
//
// The rows are cut into groups of tiles. The tiles of a group are copied into a buffer of constant stride (rows become
// displacements, no two of them share a cache set), which stays in the second cache; past them go the weights, panel
// after panel and slice after slice of k: a slice comes to the first tile from the outer caches and to the others from a
// nearer one. The sums of a chunk of columns end in a buffer from which the epilogue carries them to y.
//
// A task is a group times all panels, so that tiles are copied once; only of the last groups, one for each thread, it is
// a piece of the panels, so that all threads end together.
//
// Cuts change no bits: an element's sum starts from zero and runs through k in order wherever it is cut; bias and
// residual are added to the finished sum.
type product struct {
	lv   *level
	w    *weights
	m    int
	x    rows
	norm *norm // of x's rows before the product, nil for none
	y    rows
	to   finish
	post *norm // of y's finished rows, nil for none
	join rows  // what the normed rows are added to, nil p for nothing

	mr, tiles  int
	slice      int // k of a tile's slice
	slices     int
	stride     int            // bytes from row to row of a tile
	sliceBytes int            // of a slice of a tile
	tileBytes  int            // of all slices
	step       int            // panels of one call of a kernel: two narrow ones where they are widened first
	ready      unsafe.Pointer // all tiles, made before; nil where tasks make theirs
	groups     int
	group      int // the most tiles of one
	whole      int // groups of one task each
	piece      int // panels of a task of the others
	pieces     int
	chunk      int            // panels whose sums are kept at once
	done       []atomic.Int32 // panels finished of each tile, for post
}

const (
	groupRows    = 42  // rows of a group: three tiles of 14, seven of 6
	chunkColumns = 512 // columns of a chunk

	// Pieces for each thread: a piece begins with weights that nobody asked for ahead, so that there should be few; but
	// threads that come from whole groups come at different times, and wait at most for one piece.
	piecesOnly  = 4
	piecesAfter = 16
)

func (p *product) plan(threads int) {
	w := p.w
	p.mr, p.slice, p.stride = p.lv.rows, sliceF32, tileStride
	switch {
	case w.kind == dotWeights:
		p.slice = sliceDot
	case p.integers():
		p.mr, p.slice, p.stride = len(p.lv.q8), sliceQuant, quantStride
	}
	p.slices = max(1, (w.depth+p.slice-1)/p.slice)
	p.sliceBytes = p.mr * p.stride
	if p.integers() { // and their scales and corrections
		p.sliceBytes += 2 * p.slice / quantBlock * p.mr * 4
	}
	p.tileBytes = p.slices * p.sliceBytes
	p.step = 1
	if p.widens() {
		p.step = p.lv.columns / w.width
	}
	p.tiles = (p.m + p.mr - 1) / p.mr

	p.groups = (p.tiles*p.mr + groupRows - 1) / groupRows
	p.group = (p.tiles + p.groups - 1) / p.groups
	panels := w.panels()
	// Two narrow panels that hold gated pairs, or are widened together, stay together.
	unit := max(w.width, 32) / w.width
	p.chunk = min(panels, chunkColumns/w.width)
	p.whole = p.groups
	if threads > 1 {
		p.whole = max(0, p.groups-threads)
	}
	if rest := p.groups - p.whole; rest > 0 {
		pieces := piecesOnly * threads
		if p.whole > 0 {
			pieces = piecesAfter * threads
		}
		p.piece = roundUp(max(1, panels*rest/pieces), unit)
		p.pieces = (panels + p.piece - 1) / p.piece
	}
}

// integers reports whether the kernels multiply quantised activations.
func (p *product) integers() bool { return p.w.kind.quant() && p.lv.q8 != nil }

// widens reports whether quantised weights become float32 before they are multiplied.
func (p *product) widens() bool { return p.w.kind.quant() && !p.integers() }

// tile is the row range of a tile; rows are spread evenly.
func (p *product) tile(t int) (from, to int) { return p.m * t / p.tiles, p.m * (t + 1) / p.tiles }

// tilesOf is the range of tiles of a group; they are spread evenly too.
func (p *product) tilesOf(group int) (from, to int) {
	return p.tiles * group / p.groups, p.tiles * (group + 1) / p.groups
}

func (b *Backend) run(p *product) {
	if p.m == 0 || p.w.n == 0 {
		return
	}
	p.plan(len(b.pool.workers))
	if p.post != nil {
		p.done = b.counters(p.tiles)
	}
	rest := p.groups - p.whole
	if rest > 0 && p.pieces > 1 && (p.norm != nil || p.integers()) {
		// Normalised or quantised tiles are made once, not again by every thread.
		m := b.stack.Mark()
		defer b.stack.Release(m)
		p.ready = pointer(b.stack.Push("tiles", int64(p.tiles)*int64(p.tileBytes)))
		b.pool.tasks(p.tiles, func(w *worker, t int) { p.copyTile(w, unsafe.Add(p.ready, t*p.tileBytes), t) })
	}
	for _, w := range b.pool.workers {
		w.group = -1
	}
	panels := p.w.panels()
	b.pool.tasks(p.whole+rest*p.pieces, func(w *worker, i int) {
		if i < p.whole {
			p.task(w, i, 0, panels)
			return
		}
		i -= p.whole
		from := i % p.pieces * p.piece
		p.task(w, p.whole+i/p.pieces, from, min(panels, from+p.piece))
	})
}

// groupAt is where the tiles of a group are: made before, or by this worker in an earlier task, or now.
func (p *product) groupAt(w *worker, group, t0, t1 int) unsafe.Pointer {
	if p.ready != nil {
		return unsafe.Add(p.ready, t0*p.tileBytes)
	}
	a := w.need(&w.a, "tiles", p.group*p.tileBytes)
	if w.group != group {
		w.group = group
		for t := t0; t < t1; t++ {
			p.copyTile(w, unsafe.Add(a, (t-t0)*p.tileBytes), t)
		}
	}
	return a
}

// task is a group of tiles times panels [from, to).
func (p *product) task(w *worker, group, from, to int) {
	t0, t1 := p.tilesOf(group)
	a := p.groupAt(w, group, t0, t1)
	for ; from < to; from += p.chunk {
		p.block(w, a, t0, t1, from, min(to, from+p.chunk))
	}
}

// block is tiles [t0, t1), at a, times a chunk of panels.
func (p *product) block(w *worker, a unsafe.Pointer, t0, t1, from, to int) {
	width := p.w.width
	ldc := p.chunk*width + 16
	tileSums := p.mr * ldc
	c := w.need(&w.c, "sums", p.group*tileSums*4)
	for panel := from; panel < to; panel += p.step {
		for s := range p.slices {
			b := p.weightsAt(w, panel, s)
			for t := t0; t < t1; t++ {
				p.multiply(unsafe.Add(a, (t-t0)*p.tileBytes+s*p.sliceBytes), b, at(c, (t-t0)*tileSums+(panel-from)*width), ldc, t, s)
			}
		}
	}
	for t := t0; t < t1; t++ {
		p.epilogue(w, at(c, (t-t0)*tileSums), ldc, t, from, to)
	}
}

// weightsAt is slice s of a panel, widened into the worker's buffer where no kernel multiplies its integers.
func (p *product) weightsAt(wk *worker, panel, s int) unsafe.Pointer {
	w := p.w
	data := unsafe.Add(w.data, panel*w.panelBytes)
	k := s * p.slice
	switch w.kind {
	case f32Weights:
		return unsafe.Add(data, k*w.width*4)
	case f16Weights, bf16Weights, dotWeights:
		return unsafe.Add(data, k*w.width*2)
	}
	bits, dequantize := 8, p.lv.dequantize8
	if w.kind == q4Weights {
		bits, dequantize = 4, p.lv.dequantize4
	}
	data = unsafe.Add(data, k/quantBlock*quantBytes(bits))
	if !p.widens() {
		return data
	}
	n := min(p.slice, w.depth-k)
	dst := wk.need(&wk.panel, "widened weights", p.slice*p.lv.columns*4)
	for i := range p.lv.columns / 16 {
		dequantize(at(dst, i*16), p.lv.columns*4, unsafe.Add(data, i*w.panelBytes), n/quantBlock)
	}
	return dst
}

// multiply adds slice s of tile t times slice s of a panel to the sums.
func (p *product) multiply(a, b, c unsafe.Pointer, ldc, t, s int) {
	from, to := p.tile(t)
	mr := to - from
	acc := min(s, 1)
	n := min(p.slice, p.w.k-s*p.slice)
	lv := p.lv
	switch p.w.kind {
	case f32Weights:
		lv.f32[mr-1](roundUp(n, 4), a, b, c, ldc, acc)
	case f16Weights:
		lv.f16[mr-1](roundUp(n, 4), a, b, c, ldc, acc)
	case bf16Weights:
		lv.bf16[mr-1](roundUp(n, 4), a, b, c, ldc, acc)
	case dotWeights:
		lv.dot[mr-1](roundUp(n, 4), a, b, c, ldc, acc)
	default:
		if p.widens() {
			lv.f32[mr-1](roundUp(n, 4), a, b, c, ldc, acc)
			return
		}
		blocks := (n + quantBlock - 1) / quantBlock
		scales := unsafe.Add(a, p.mr*p.stride)
		corrections := unsafe.Add(scales, p.slice/quantBlock*p.mr*4)
		kernel := lv.q8
		if p.w.kind == q4Weights {
			kernel = lv.q4
		}
		kernel[mr-1](blocks, a, scales, corrections, b, c, ldc, acc)
	}
}
