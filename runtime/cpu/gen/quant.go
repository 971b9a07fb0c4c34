package main

import "fmt"

// The panel of a quantised matrix has 16 columns. A block of 32 k is
//
//	q8: 8 x 64 bytes (16 columns x 4 consecutive k, each q+128), then 16 float16 scales: 544 bytes
//	q4: 4 x 64 bytes (low nibbles k quad j, high ones quad j+4, each q+8), then the scales: 288 bytes

// aheadQuant is how many bytes ahead weights are asked for.
const aheadQuant = 8192

func quantKernels(a *assembler) {
	for _, bits := range []int{8, 4} {
		dequantize(a, bits)
	}
	if a.isa != avx512 {
		return
	}
	for _, bits := range []int{8, 4} {
		for mr := 1; mr <= 12; mr++ {
			vnniGemm(a, bits, mr)
		}
	}
	quantizeRow(a)
	roundBF16(a)
	pairRows(a)
}

// vnniGemm is C[mr, 16] (+)= over blocks of 32 k the integer sum (VPDPBUSD) times both scales. x is int8 rows
// quantStride bytes apart; scales and corrections (minus the offset of the weights times the sum of the block's x) are
// [block][row].
func vnniGemm(a *assembler, bits, mr int) {
	a.begin(fmt.Sprintf("avx512Gemm_q%d_%d", bits, mr), false,
		"blocks i", "x p", "scales p", "corrections p", "w p", "c p", "ldc i", "acc i")
	blocks, x, scales, corr := a.reg("blocks"), a.reg("x"), a.reg("scales"), a.reg("corrections")
	w, C, ldc := a.reg("w"), a.reg("c"), a.reg("ldc")
	a.shiftLeft(2, ldc)
	if bits == 4 {
		a.p("MOVL $0x0f0f0f0f, AX")
		a.p("VPBROADCASTD AX, Z31")
	}
	accumulators(a, mr, 1, 64)
	split := mr <= 3 // few rows: two chains of the integer sum, which stay exact
	scaleAt := map[int]int{8: 512, 4: 256}[bits]
	a.repeat(blocks, func() {
		// Few rows go as fast as memory by themselves; with more, too few blocks are in flight for that.
		for off := 0; off < scaleAt+32 && mr > 3; off += 64 {
			a.p("PREFETCHT1 %d(%s)", aheadQuant+off, w)
		}
		for r := range mr {
			a.p("VPBROADCASTD %d(%s), Z%d", r*4, corr, 12+r)
			if split {
				a.p("VPXORD Z%d, Z%d, Z%d", 16+r, 16+r, 16+r)
			}
		}
		for j := range 8 {
			q := 24 + j%4
			switch {
			case bits == 8:
				a.p("VMOVDQU32 %d(%s), Z%d", j*64, w, q)
			case j < 4:
				a.p("VPANDD %d(%s), Z31, Z%d", j*64, w, q)
			default:
				a.p("VMOVDQU32 %d(%s), Z%d", (j-4)*64, w, q)
				a.p("VPSRLD $4, Z%d, Z%d", q, q)
				a.p("VPANDD Z31, Z%d, Z%d", q, q)
			}
			for r := range mr {
				d := 12 + r
				if split && j%2 == 1 {
					d = 16 + r
				}
				a.p("VPDPBUSD.BCST %d(%s), Z%d, Z%d", r*quantStride+j*4, x, q, d)
			}
		}
		a.p("VCVTPH2PS %d(%s), Z28", scaleAt, w)
		for r := range mr {
			d := 12 + r
			if split {
				a.p("VPADDD Z%d, Z%d, Z%d", 16+r, d, d)
			}
			a.p("VCVTDQ2PS Z%d, Z%d", d, d)
			a.p("VMULPS.BCST %d(%s), Z28, Z%d", r*4, scales, 29+r%2)
			a.p("VFMADD231PS Z%d, Z%d, Z%d", d, 29+r%2, r)
		}
		a.advance(x, 32)
		a.advance(scales, mr*4)
		a.advance(corr, mr*4)
		a.advance(w, scaleAt+32)
	})
	for r := range mr {
		a.store(r, C, 0)
		if r < mr-1 {
			a.addReg(ldc, C)
		}
	}
	a.end(fmt.Sprintf("gemm_q%d", bits))
}

// dequantize widens blocks of a panel to float32, 32 rows of 16 columns each, stride bytes apart.
func dequantize(a *assembler, bits int) {
	a.begin(fmt.Sprintf("%sDequantize%d", a.isa, bits), false, "dst p", "stride i", "w p", "blocks i")
	dst, stride, w, blocks := a.reg("dst"), a.reg("stride"), a.reg("w"), a.reg("blocks")
	out := a.gpr(free0)
	scaleAt := map[int]int{8: 512, 4: 256}[bits]
	mask, offset := a.keep(I(255)), a.keep(K(128))
	if bits == 4 {
		mask, offset = a.keep(I(15)), a.keep(K(8))
	}
	lanes := a.isa.lanes()
	a.repeat(blocks, func() {
		for col := 0; col < 16; col += lanes {
			a.widenF16(0, w, scaleAt+col*2)
			a.moveReg(dst, out)
			for j := range 8 {
				from, low := j*64, 0
				if bits == 4 {
					from, low = j%4*64, j/4*4
				}
				a.load(1, w, from+col*4)
				for i := range 4 {
					a.field(2, 1, 8*i+low, mask)
					a.op("SUB", 2, 2, offset)
					a.op("MUL", 2, 2, 0)
					a.store(2, out, col*4)
					a.addReg(stride, out)
				}
			}
		}
		a.moveReg(out, dst)
		a.advance(w, scaleAt+32)
	})
	a.end(fmt.Sprintf("dequantize%d", bits))
}

// widenF16 loads one register of float16.
func (a *assembler) widenF16(d int, ptr string, off int) {
	if a.isa.x86() {
		a.p("VCVTPH2PS %d(%s), %s", off, ptr, a.v(d))
	} else {
		a.p("FMOVD %d(%s), F%d", off, ptr, d)
		a.word2(0x0e217800, "FCVTL", d, d)
	}
}

// field is d = float32(s>>shift & mask).
func (a *assembler) field(d, s, shift, mask int) {
	switch a.isa {
	case avx512:
		a.p("VPSRLD $%d, Z%d, Z%d", shift, s, d)
		a.p("VPANDD Z%d, Z%d, Z%d", mask, d, d)
		a.p("VCVTDQ2PS Z%d, Z%d", d, d)
	case avx2:
		a.p("VPSRLD $%d, Y%d, Y%d", shift, s, d)
		a.p("VPAND Y%d, Y%d, Y%d", mask, d, d)
		a.p("VCVTDQ2PS Y%d, Y%d", d, d)
	case neon:
		if shift > 0 {
			a.word2(0x6f000400|uint32(64-shift)<<16, "USHR", d, s)
		} else {
			a.move(d, s)
		}
		a.word(0x4e201c00, "AND", d, d, mask)
		a.word2(0x4e21d800, "SCVTF", d, d)
	}
}

// quantizeRow rounds blocks of 32 float32 to int8 by the largest magnitude of each; scale and correction (sum·offset)
// of block b go to scales and corrections + b·step bytes.
func quantizeRow(a *assembler) {
	a.begin("avx512QuantizeRow", false, "dst p", "src p", "scales p", "corrections p", "blocks i", "step i", "offset i")
	dst, src, scales, corr := a.reg("dst"), a.reg("src"), a.reg("scales"), a.reg("corrections")
	abs, inv, most, tiny := a.keep(I(0x7fffffff)), a.keep(K(1.0/127)), a.keep(K(127)), a.keep(I(0x00800000))
	a.repeat(a.reg("blocks"), func() {
		a.load(0, src, 0)
		a.load(1, src, 64)
		a.p("VPANDD Z%d, Z0, Z2", abs)
		a.p("VPANDD Z%d, Z1, Z3", abs)
		a.op("MAX", 2, 2, 3)
		a.across("MAX", 2, 3)
		a.p("VMULSS X%d, X2, X4", inv)
		a.p("VMOVSS X4, (%s)", scales)
		a.op("MAX", 2, 2, tiny)
		a.op("DIV", 5, most, 2)
		for i := range 2 {
			a.op("MUL", i, i, 5)
			a.p("VCVTPS2DQ Z%d, Z%d", i, i)
			a.p("VPMOVDB Z%d, %d(%s)", i, i*16, dst)
		}
		a.p("VPADDD Z1, Z0, Z0")
		a.p("VEXTRACTI64X4 $1, Z0, Y1")
		a.p("VPADDD Y1, Y0, Y0")
		a.p("VEXTRACTI128 $1, Y0, X1")
		a.p("VPADDD X1, X0, X0")
		for _, shuffle := range []string{"$0x4e", "$0xb1"} {
			a.p("VPSHUFD %s, X0, X1", shuffle)
			a.p("VPADDD X1, X0, X0")
		}
		a.p("VMOVD X0, AX")
		a.p("IMULL %s, AX", a.reg("offset"))
		a.p("MOVL AX, (%s)", corr)
		a.advance(src, 128)
		a.advance(dst, 32)
		a.addReg(a.reg("step"), scales)
		a.addReg(a.reg("step"), corr)
	})
	a.end("quantizeRow")
}

// roundBF16 converts n float32, a multiple of 32, of each row to bfloat16. Strides are in bytes. A row may be rounded in
// place.
func roundBF16(a *assembler) {
	a.begin("avx512RoundBF16", false, "dst p", "dstStride i", "src p", "srcStride i", "rows i", "n i")
	dst, src, count := a.gpr(free0), a.gpr(free1), a.gpr(free2)
	a.shiftRight(5, a.reg("n"))
	a.repeat(a.reg("rows"), func() {
		a.moveReg(a.reg("dst"), dst)
		a.moveReg(a.reg("src"), src)
		a.moveReg(a.reg("n"), count)
		a.repeat(count, func() {
			a.load(0, src, 0)
			a.load(1, src, 64)
			a.p("%s // VCVTNE2PS2BF16 Z0, Z1, Z2", evex(0x72, 3, 0, 1, 2))
			a.store(2, dst, 0)
			a.advance(src, 128)
			a.advance(dst, 64)
		})
		a.addReg(a.reg("dstStride"), a.reg("dst"))
		a.addReg(a.reg("srcStride"), a.reg("src"))
	})
	a.end("roundBF16")
}

// pairRows rounds 32 columns of pairs of rows to bfloat16 and puts the two of a column side by side. stride is in bytes.
func pairRows(a *assembler) {
	a.begin("avx512PairRows", false, "dst p", "src p", "stride i", "pairs i")
	dst, src := a.reg("dst"), a.reg("src")
	second := a.gpr(free0)
	a.repeat(a.reg("pairs"), func() {
		a.moveReg(src, second)
		a.addReg(a.reg("stride"), second)
		for off := 0; off < 128; off += 64 {
			a.load(0, src, off)
			a.load(1, second, off)
			a.p("%s // VCVTNE2PS2BF16 Z0, Z1, Z2", evex(0x72, 3, 0, 1, 2))
			a.p("VEXTRACTI64X4 $1, Z2, Y3")
			a.p("VPMOVZXWD Y2, Z2")
			a.p("VPMOVZXWD Y3, Z3")
			a.p("VPSLLD $16, Z3, Z3")
			a.p("VPORD Z3, Z2, Z2")
			a.store(2, dst, off)
		}
		a.moveReg(second, src)
		a.addReg(a.reg("stride"), src)
		a.advance(dst, 128)
	})
	a.end("pairRows")
}
