package emu

import "encoding/binary"

// tiles decodes the count of 8x8 matrices of ldmatrix and stmatrix.
func (d *decoder) tiles() int {
	n := map[bool]int{d.has("x1"): 1, d.has("x2"): 2, d.has("x4"): 4}[true]
	if n == 0 || !d.has("m8n8") || d.last() != "b16" || d.spaceOf() == spGlobal {
		d.errorf("instruction %s is not supported", d.opcode())
	}
	return n
}

// matrixRows finds the shared rows whose addresses lanes 0 to 8n-1 hold.
func (w *warp) matrixRows(in *inst, n int, rows *[32]uint32) {
	op := in.mem
	w.addresses(in, op.base64, allLanes)
	if op.space == spGeneric && w.window(spShared, allLanes) != allLanes {
		w.fail(BadOperand, 0, "row addresses are not in shared memory")
	}
	if w.cta.cl.launch.Profile {
		for l := range w.addr32 {
			w.addr32[l] = uint32(w.addr64[l])
		}
		w.profileShared(&w.addr32, uint32(maskOf(8*n)), 16)
	}
	for l := range 8 * n {
		c, off := w.sharedAt(l, w.addr64[l], 16, 16)
		if c != w.cta {
			w.fail(BadOperand, l, "a row lies in another block's shared memory")
		}
		rows[l] = off
	}
}

// ldmatrix: lane l of matrix q gets the pair (row l/4, columns 2(l%4), +1), or of the transposed matrix.
func (d *decoder) ldmatrix() {
	if d.count(2, 2); d.err != nil {
		return
	}
	in, n, trans := d.in, d.tiles(), d.has("trans")
	in.kind, in.class = kindAligned, ClassMatrix
	in.mem = &memOp{space: d.spaceOf(), total: 16}
	in.vec = make([]int32, n)
	d.vec(d.arg(0), bank32, true, in.vec)
	d.memory(d.arg(1), in.mem)
	in.exec = func(w *warp, in *inst, m uint32) {
		var rows [32]uint32
		w.matrixRows(in, n, &rows)
		sh := w.cta.shared
		for q, r := range in.vec {
			for l := q * 8; l < q*8+8; l++ {
				w.sharedRead(w.cta, l, rows[l], 16)
			}
			at := (*[8]uint32)(rows[q*8:])
			d := &w.r32[r]
			if !trans {
				for i, off := range at {
					b := sh[off:][:16]
					for j := range 4 {
						d[i*4+j] = binary.LittleEndian.Uint32(b[4*j:])
					}
				}
				continue
			}
			for l := range d {
				i, j := uint32(l>>2*2), l&3*2
				d[l] = uint32(binary.LittleEndian.Uint16(sh[at[j]+i:])) | uint32(binary.LittleEndian.Uint16(sh[at[j+1]+i:]))<<16
			}
		}
	}
}

// stmatrix is the way back.
func (d *decoder) stmatrix() {
	if d.count(2, 2); d.err != nil {
		return
	}
	in, n, trans := d.in, d.tiles(), d.has("trans")
	in.kind, in.class = kindAligned, ClassMatrix
	in.mem = &memOp{space: d.spaceOf(), total: 16}
	in.vec = make([]int32, n)
	d.memory(d.arg(0), in.mem)
	d.vec(d.arg(1), bank32, false, in.vec)
	in.exec = func(w *warp, in *inst, m uint32) {
		var rows [32]uint32
		w.matrixRows(in, n, &rows)
		c := w.cta
		for q, r := range in.vec {
			for i := range 8 {
				// Eight lanes hold a row's pairs; the write counts as the lane's that gave the address.
				l := q*8 + i
				if c.races.on {
					w.raceWrite(l, rows[l], 16, writeGeneric)
				}
				b := c.shared[rows[l]:][:16]
				for j := range 8 {
					src := &w.r32[r]
					v := src[i*4+j/2] >> (j & 1 * 16)
					if trans {
						v = src[j*4+i/2] >> (i & 1 * 16)
					}
					binary.LittleEndian.PutUint16(b[2*j:], uint16(v))
				}
				setWritten(c.sharedS[rows[l]:][:16])
			}
		}
	}
}

// movmatrix transposes an 8x8 matrix in registers.
func (d *decoder) movmatrix() {
	if d.count(2, 2); d.err != nil {
		return
	}
	in := d.in
	in.kind, in.class = kindAligned, ClassMatrix
	d.dst(d.arg(0), bank32, &in.d)
	d.src(d.arg(1), "b32", &in.a)
	if !d.has("trans") {
		d.errorf("instruction %s is not supported", d.opcode())
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		src := w.r32[in.a]
		at := func(i, j int) uint32 { return src[i*4+j/2] >> (j & 1 * 16) & 0xffff }
		d := &w.r32[in.d]
		for l := range d {
			i, j := l>>2, (l&3)*2
			d[l] = at(j, i) | at(j+1, i)<<16
		}
	}
}
