package emu

import (
	"math"
	"regexp"
	"slices"
	"strconv"
)

// Matrix products. Fragments follow one rule for all element widths: with g = lane/4, t = lane%4 and P elements in a
// register, register r of A holds row g + 8(r&1) and columns 4P(r>>1) + Pt …, register r of B column g and rows
// 4Pr + Pt …, and accumulator pair r row g + 8r and columns 2t, 2t+1 (PTX ISA, matrix fragments of mma.m16n8k*).
//
// Products of 16-bit floats are exact in float32 and are summed there, and the sum is added to the accumulator. Tensor cores align all addends of a step and truncate; the last bits differ, and differ between
// generations of hardware too.

// elemType is a matrix operand's element.
type elemType struct {
	per    int // elements of a 32-bit register
	unpack func(x uint32, i int) float32
	signed bool // of integers
	int    bool
}

var elemTypes = map[string]*elemType{
	"f16":  {per: 2, unpack: func(x uint32, i int) float32 { return float32s(halves[uint16(x>>(16*i))]) }},
	"bf16": {per: 2, unpack: func(x uint32, i int) float32 { return float32s(x >> (16 * i) << 16) }},
	"tf32": {per: 1, unpack: func(x uint32, _ int) float32 { return float32s(x &^ 0x1fff) }},
	"e4m3": {per: 4, unpack: func(x uint32, i int) float32 { return float32(formats["e4m3"].decode(uint64(x >> (8 * i) & 0xff))) }},
	"e5m2": {per: 4, unpack: func(x uint32, i int) float32 { return float32(formats["e5m2"].decode(uint64(x >> (8 * i) & 0xff))) }},
	"s8":   {per: 4, unpack: func(x uint32, i int) float32 { return float32(int8(x >> (8 * i))) }, int: true, signed: true},
	"u8":   {per: 4, unpack: func(x uint32, i int) float32 { return float32(uint8(x >> (8 * i))) }, int: true},
}

type mmaOp struct {
	m, k      int
	a, b      *elemType
	na, nb    int // registers
	nc, nd    int
	half      bool // C or D in f16: halfC, halfD
	halfC     bool
	saturate  bool
	pairFloat bool // the fast path: 16-bit floats, f32 accumulators
	bf16      bool
	keepA     bool // A is the one that the warp's last product unpacked
}

var shapeName = regexp.MustCompile(`^m(\d+)n(\d+)k(\d+)$`)

// mma is mma.sync.aligned.mMnNkK.row.col.dtype.atype.btype.ctype.
func (d *decoder) mma() {
	in, op := d.in, d.f.op
	in.kind, in.class = kindAligned, ClassMatrix
	if d.count(4, 4); d.err != nil {
		return
	}
	unsupported := func() { d.errorf("instruction %s is not supported", d.opcode()) }
	n := len(op)
	if n < 9 || op[1] != "sync" || op[2] != "aligned" || !d.has("row") || !d.has("col") {
		unsupported()
		return
	}
	s := shapeName.FindStringSubmatch(op[3])
	dt, at, bt, ct := op[n-4], op[n-3], op[n-2], op[n-1]
	o := &mmaOp{a: elemTypes[at], b: elemTypes[bt], half: dt == "f16", halfC: ct == "f16", saturate: d.has("satfinite"), bf16: at == "bf16"}
	if s == nil || o.a == nil || o.b == nil || o.a.per != o.b.per || o.a.int != o.b.int {
		unsupported()
		return
	}
	o.m, _ = strconv.Atoi(s[1])
	o.k, _ = strconv.Atoi(s[3])
	p := o.a.per
	valid := s[2] == "8" && (o.m == 16 && (o.k == 4*p || o.k == 8*p) || o.m == 8 && o.k == 4*p && o.a.int)
	accInt := dt == "s32" && ct == "s32"
	accFloat := (dt == "f32" || dt == "f16") && (ct == "f32" || ct == "f16")
	if !valid || o.a.int && !accInt || !o.a.int && !accFloat || (o.half || o.halfC) && at != "f16" {
		unsupported()
		return
	}
	o.na, o.nb = o.m/8*o.k/(4*p), o.k/(4*p)
	o.nd, o.nc = o.m/4, o.m/4
	if o.half {
		o.nd /= 2
	}
	if o.halfC {
		o.nc /= 2
	}
	o.pairFloat = p == 2 && !o.half && !o.halfC
	in.vec = make([]int32, o.nd+o.na+o.nb+o.nc)
	v := in.vec
	d.vec(d.arg(0), bank32, true, v[:o.nd])
	d.vec(d.arg(1), bank32, false, v[o.nd:o.nd+o.na])
	d.vec(d.arg(2), bank32, false, v[o.nd+o.na:o.nd+o.na+o.nb])
	d.vec(d.arg(3), bank32, false, v[o.nd+o.na+o.nb:])
	in.x, in.exec = o, execMMA
	if o.pairFloat {
		in.exec = execMMAPair
	}
}

// execMMAPair is m16n8k8 and m16n8k16 on f16 or bf16 with f32 accumulators.
func execMMAPair(w *warp, in *inst, _ uint32) {
	o := in.x.(*mmaOp)
	w.counts[w.pc].Flops += int64(2 * 16 * 8 * o.k)
	a := &w.tileA
	var b [16][8]float32 // by k, so that a row of A meets eight columns at once
	ra, rb, rc := in.vec[o.nd:], in.vec[o.nd+o.na:], in.vec[o.nd+o.na+o.nb:]
	for r := range o.na {
		if o.keepA {
			break
		}
		x, row, col := &w.r32[ra[r]], r&1*8, r>>1&1*8
		if o.bf16 {
			for l, v := range x {
				p := &a[(row+l>>2)&15]
				c := (col + l&3*2) & 14
				p[c], p[c+1] = float32s(v<<16), float32s(v&0xffff0000)
			}
			continue
		}
		for l, v := range x {
			p := &a[(row+l>>2)&15]
			c := (col + l&3*2) & 14
			p[c], p[c+1] = float32s(halves[uint16(v)]), float32s(halves[v>>16])
		}
	}
	for r := range o.nb {
		x, from := &w.r32[rb[r]], r&1*8
		for l, v := range x {
			k := (from + l&3*2) & 14
			if o.bf16 {
				b[k][l>>2], b[k+1][l>>2] = float32s(v<<16), float32s(v&0xffff0000)
			} else {
				b[k][l>>2], b[k+1][l>>2] = float32s(halves[uint16(v)]), float32s(halves[v>>16])
			}
		}
	}
	var acc [4][32]uint32 // read before any result is written: a kernel may permute the registers
	for e := range acc {
		acc[e] = w.r32[rc[e]]
	}
	for half := range 2 {
		d0, d1 := &w.r32[in.vec[2*half]], &w.r32[in.vec[2*half+1]]
		c0, c1 := &acc[2*half], &acc[2*half+1]
		for g := range 8 {
			var s [8]float32
			if row := &a[half*8+g]; o.k == 16 {
				s = row16(row, &b)
			} else {
				s = row8((*[8]float32)(row[:8]), (*[8][8]float32)(b[:8]))
			}
			for t := range 4 {
				l := g*4 + t
				d0[l] = bits32(float32s(c0[l]) + s[2*t])
				d1[l] = bits32(float32s(c1[l]) + s[2*t+1])
			}
		}
	}
}

// findKeptOperands marks products that use the same A as the one before them in their block, with no write between. Only
// a full warp executes a product, so nothing else can have used the warp's unpacked tile.
func (k *Kernel) findKeptOperands(g *graph, refs [][]ref) {
	for _, b := range g.blocks {
		var last *mmaOp
		var slots []int32
		for pc := b.start; pc < b.end; pc++ {
			in := &k.code[pc]
			if o, ok := in.x.(*mmaOp); ok && o.pairFloat {
				a := in.vec[o.nd : o.nd+o.na]
				o.keepA = last != nil && in.guard < 0 && last.bf16 == o.bf16 && slices.Equal(a, slots)
				last, slots = o, a
				if in.guard >= 0 {
					last = nil
				}
			}
			for _, r := range refs[pc] {
				if r.write && slices.Contains(slots, *r.p) { // of any bank: slot numbers alone are compared
					last = nil
				}
			}
		}
	}
}

// row16 is a row of A times sixteen rows of eight columns, each column summed in the order of k.
func row16(a *[16]float32, b *[16][8]float32) [8]float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for k, x := range a {
		y := &b[k]
		s0 += float32(x * y[0])
		s1 += float32(x * y[1])
		s2 += float32(x * y[2])
		s3 += float32(x * y[3])
		s4 += float32(x * y[4])
		s5 += float32(x * y[5])
		s6 += float32(x * y[6])
		s7 += float32(x * y[7])
	}
	return [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
}

func row8(a *[8]float32, b *[8][8]float32) [8]float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for k, x := range a {
		y := &b[k]
		s0 += float32(x * y[0])
		s1 += float32(x * y[1])
		s2 += float32(x * y[2])
		s3 += float32(x * y[3])
		s4 += float32(x * y[4])
		s5 += float32(x * y[5])
		s6 += float32(x * y[6])
		s7 += float32(x * y[7])
	}
	return [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
}

// execMMA is every other shape and type.
func execMMA(w *warp, in *inst, _ uint32) {
	o := in.x.(*mmaOp)
	w.counts[w.pc].Flops += int64(2 * o.m * 8 * o.k)
	var a [16][32]float32
	var b [8][32]float32
	p := o.a.per
	ra, rb, rc := in.vec[o.nd:], in.vec[o.nd+o.na:], in.vec[o.nd+o.na+o.nb:]
	for l := range 32 {
		g, t := l>>2, l&3
		for r := range o.na {
			row, col := g+r&1*8, r>>1*4*p
			if o.m == 8 {
				row, col = g, r*4*p
			}
			for i := range p {
				a[row][col+t*p+i] = o.a.unpack(w.r32[ra[r]][l], i)
			}
		}
		for r := range o.nb {
			for i := range p {
				b[g][r*4*p+t*p+i] = o.b.unpack(w.r32[rb[r]][l], i)
			}
		}
	}
	var acc [4][32]uint32
	for e := range o.nc {
		acc[e] = w.r32[rc[e]]
	}
	for l := range 32 {
		g, t := l>>2, l&3
		for e := range o.m / 4 {
			x, y := &a[g+e>>1*8], &b[t*2+e&1]
			if o.a.int {
				s := int64(int32(acc[e][l]))
				for k := range o.k {
					s += int64(x[k]) * int64(y[k])
				}
				if o.saturate {
					s = min(max(s, math.MinInt32), math.MaxInt32)
				}
				w.r32[in.vec[e]][l] = uint32(s)
				continue
			}
			var s float64 // exact products; one rounding onto the accumulator
			for k := range o.k {
				s += float64(x[k]) * float64(y[k])
			}
			var c float64
			if o.halfC {
				c = float64(float32s(halves[uint16(acc[e>>1][l]>>(e&1*16))]))
			} else {
				c = float64(float32s(acc[e][l]))
			}
			if !o.half {
				w.r32[in.vec[e]][l] = bits32(float32(c + s))
				continue
			}
			h := uint32(formats["f16"].encode(oddAdd(c, s), roundNearest, false)) << (e & 1 * 16)
			old := w.r32[in.vec[e>>1]][l] &^ (0xffff << (e & 1 * 16))
			w.r32[in.vec[e>>1]][l] = old | h
		}
	}
}
