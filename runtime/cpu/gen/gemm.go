package main

import "fmt"

const (
	tileStride  = (256 + 16) * 4 // bytes from row to row of an A tile: 256 float32 or 512 bfloat16, off the 4 KiB pitch
	quantStride = 2048 + 64      // the same of 2,048 int8
	sliceK      = 256            // k of one B slice of 4-byte weights, for the prefetch distance
)

// gemmKernels are the micro-kernels C[mr, NR] (+)= A[mr, kc]·B[kc, NR]. A is a tile whose rows are tileStride bytes
// apart, B a panel, C has ldc floats a row. kc is a multiple of 4. Every element is one running sum in k order, which
// starts from C where acc is not zero.
func gemmKernels(a *assembler) {
	if a.isa == neon {
		neonGemm(a)
		return
	}
	rows, nv, width := 14, 2, 64
	if a.isa == avx2 {
		rows, width = 6, 32
	}
	kinds := []string{"f32", "bf16", "f16"}
	if a.isa == avx512 {
		kinds = append(kinds, "dot")
	}
	for _, kind := range kinds {
		for mr := 1; mr <= rows; mr++ {
			x86Gemm(a, kind, mr, nv, width)
		}
	}
}

// x86Gemm keeps mr·nv accumulators from register 0, the weights in the two registers behind the 28 (AVX2: 12) that a
// full tile needs, and broadcasts values of A into the last ones.
func x86Gemm(a *assembler, kind string, mr, nv, width int) {
	a.begin(fmt.Sprintf("%sGemm_%s_%d", a.isa, kind, mr), false, "kc i", "a p", "b p", "c p", "ldc i", "acc i")
	b0, t0 := 28, 30
	if a.isa == avx2 {
		b0, t0 = 12, 14
	}
	A, B, C, ldc := a.reg("a"), a.reg("b"), a.reg("c"), a.reg("ldc")
	a.shiftLeft(2, ldc)
	accumulators(a, mr, nv, width)
	if kind == "bf16" {
		if a.isa == avx512 {
			a.p("MOVL $0xAAAAAAAA, AX")
			a.p("KMOVD AX, K1")
		} else {
			a.p("MOVL $0xffff0000, AX")
			a.p("VMOVD AX, X15")
			a.p("VPBROADCASTD X15, Y15")
		}
	}
	panel := nv * width // bytes of one k (bf16 and dot: of one pair of k)
	if kind == "f16" {
		panel /= 2
	}
	steps, bytesA := 4, 4 // per iteration of four k
	if kind == "bf16" || kind == "dot" {
		steps = 2
	}
	slice := sliceK * panel / (4 / steps) // bytes
	if kind == "dot" {
		slice *= 2
	}
	// Few rows go as fast as memory: the processor's own prefetching has it, and asking for more is in its way.
	ahead := mr > 3
	multiply := func(off int) {
		for r := range mr {
			t := t0 + r%2
			if kind == "bf16" && a.isa == avx2 {
				t = t0 // the other register holds the mask
			}
			a.p("VBROADCASTSS %d(%s), %s", r*tileStride+off, A, a.v(t))
			for v := range nv {
				if kind == "dot" {
					a.p("%s", dpbf16(b0+v, t, nv*r+v))
				} else {
					a.p("VFMADD231PS %s, %s, %s", a.v(b0+v), a.v(t), a.v(nv*r+v))
				}
			}
		}
	}
	kc := a.reg("kc")
	a.shiftRight(2, kc)
	a.repeat(kc, func() {
		for u := range steps {
			// The slice behind this one is the next to be read: ask for it while this one is multiplied.
			for off := 0; off < panel && ahead; off += 64 {
				a.p("PREFETCHT1 %d(%s)", slice+u*panel+off, B)
			}
			switch kind {
			case "f32", "dot":
				for v := range nv {
					a.load(b0+v, B, u*panel+v*width)
				}
				multiply(u * bytesA)
			case "f16":
				for v := range nv {
					a.p("VCVTPH2PS %d(%s), %s", u*panel+v*width/2, B, a.v(b0+v))
				}
				multiply(u * bytesA)
			case "bf16": // the low half of a dword is k, the high one k+1
				for v := range nv {
					if a.isa == avx512 {
						a.p("VPSLLD $16, %d(%s), Z%d", u*panel+v*width, B, b0+v)
					} else {
						a.p("VMOVDQU %d(%s), Y%d", u*panel+v*width, B, b0+v)
						a.p("VPSLLD $16, Y%d, Y%d", b0+v, b0+v)
					}
				}
				multiply(u * 8)
				for v := range nv {
					if a.isa == avx512 {
						a.p("VMOVDQU16.Z %d(%s), K1, Z%d", u*panel+v*width, B, b0+v)
					} else {
						a.p("VPAND %d(%s), Y15, Y%d", u*panel+v*width, B, b0+v)
					}
				}
				multiply(u*8 + 4)
			}
		}
		step := 16
		if kind == "dot" {
			step = 8
		}
		a.advance(A, step)
		a.advance(B, steps*panel)
	})
	for r := range mr {
		for v := range nv {
			a.store(r*nv+v, C, v*width)
		}
		if r < mr-1 {
			a.addReg(ldc, C)
		}
	}
	a.end("gemm_" + kind)
}

// accumulators start from C or from zero.
func accumulators(a *assembler, mr, nv, width int) {
	fresh, start := a.unique("fresh"), a.unique("start")
	row := a.gpr(free0)
	a.jumpZero(a.reg("acc"), fresh)
	a.moveReg(a.reg("c"), row)
	for r := range mr {
		for v := range nv {
			a.load(a.accumulator(r*nv+v), row, v*width)
		}
		if r < mr-1 {
			a.addReg(a.reg("ldc"), row)
		}
	}
	a.jump(start)
	a.label(fresh)
	for i := range mr * nv {
		a.zero(a.accumulator(i))
	}
	a.label(start)
}

// accumulator is the register of an accumulator: from 0 on x86, from 8 on arm64.
func (a *assembler) accumulator(i int) int {
	if a.isa == neon {
		return 8 + i
	}
	return i
}

// neonGemm is 6 rows by 16 columns: 24 accumulators, 6 registers with four k of a row each, 2 of weights.
func neonGemm(a *assembler) {
	const nv = 4
	for _, kind := range []string{"f32", "bf16", "f16"} {
		for mr := 1; mr <= 6; mr++ {
			a.begin(fmt.Sprintf("neonGemm_%s_%d", kind, mr), false, "kc i", "a p", "b p", "c p", "ldc i", "acc i")
			A, B, C, ldc := a.reg("a"), a.reg("b"), a.reg("c"), a.reg("ldc")
			a.shiftLeft(2, ldc)
			accumulators(a, mr, nv, 16)
			kc := a.reg("kc")
			a.shiftRight(2, kc)
			a.repeat(kc, func() {
				for r := range mr {
					a.load(r, A, r*tileStride)
				}
				for k := range 4 {
					for v := 0; v < nv; v += 2 {
						for i := range 2 {
							neonWeights(a, kind, 6+i, B, k, v+i)
						}
						for r := range mr {
							for i := range 2 {
								fmlaElement(a, a.accumulator(r*nv+v+i), 6+i, r, k)
							}
						}
					}
				}
				a.advance(A, 16)
				a.advance(B, map[string]int{"f32": 256, "bf16": 128, "f16": 128}[kind])
			})
			for r := range mr {
				for v := range nv {
					a.store(a.accumulator(r*nv+v), C, v*16)
				}
				if r < mr-1 {
					a.addReg(ldc, C)
				}
			}
			a.end("gemm_" + kind)
		}
	}
}

// neonWeights loads four columns, from 4v, of row k of the panel.
func neonWeights(a *assembler, kind string, d int, B string, k, v int) {
	switch kind {
	case "f32":
		a.load(d, B, k*64+v*16)
	case "bf16":
		a.load(d, B, k/2*64+v*16)
		if k%2 == 0 {
			a.word2(0x4f005400|48<<16, "SHL $16", d, d)
		} else {
			a.word2(0x6f000400|48<<16, "USHR $16", d, d)
			a.word2(0x4f005400|48<<16, "SHL $16", d, d)
		}
	case "f16":
		a.p("FMOVD %d(%s), F%d", k*32+v*8, B, d)
		a.word2(0x0e217800, "FCVTL", d, d)
	}
}

// fmlaElement is d += n·m[index], by element.
func fmlaElement(a *assembler, d, n, m, index int) {
	a.p("WORD $0x%08x // FMLA V%d.S4, V%d.S4, V%d.S[%d]",
		0x4f801000|(index&1)<<21|(index>>1)<<11|m<<16|n<<5|d, d, n, m, index)
}

// dpbf16 is VDPBF16PS Zs3, Zs2, Zd: EVEX.512.F3.0F38.W0 52 /r.
func dpbf16(s3, s2, d int) string {
	return evex(0x52, 2, s3, s2, d) + fmt.Sprintf(" // VDPBF16PS Z%d, Z%d, Z%d", s3, s2, d)
}

// evex encodes a 512-bit register instruction of the map 0F38 with W0; pp is 2 for F3, 3 for F2.
func evex(opcode, pp, s3, s2, d int) string {
	not := func(v, bit int) int { return 1 - v>>bit&1 }
	p0 := not(d, 3)<<7 | not(s3, 4)<<6 | not(s3, 3)<<5 | not(d, 4)<<4 | 2
	p1 := (^s2&15)<<3 | 1<<2 | pp
	p2 := 2<<5 | not(s2, 4)<<3
	text := ""
	for i, b := range []int{0x62, p0, p1, p2, opcode, 0xc0 | d&7<<3 | s3&7} {
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprintf("BYTE $0x%02x", b)
	}
	return text
}
