package main

// transpose writes n columns (a multiple of 16) of 16 rows of 32-bit elements as n rows of 16. Strides are in bytes.
func transpose(a *assembler) {
	a.begin(a.isa.String()+"Transpose", false, "dst p", "dstStride i", "src p", "srcStride i", "n i")
	dst, dstStride, src, srcStride, n := a.reg("dst"), a.reg("dstStride"), a.reg("src"), a.reg("srcStride"), a.reg("n")
	row, out := a.gpr(free0), a.gpr(free1)
	w := a.isa.lanes()
	width := w * 4
	block := map[isa]func(*assembler) []int{avx512: transpose16, avx2: transpose8, neon: transpose4}[a.isa]
	a.shiftRight(map[int]int{16: 4, 8: 3, 4: 2}[w], n)
	a.repeat(n, func() {
		a.moveReg(src, row)
		for part := 0; part < 16; part += w {
			for r := range w {
				a.load(r, row, 0)
				if part+r < 15 {
					a.addReg(srcStride, row)
				}
			}
			a.moveReg(dst, out)
			for _, r := range block(a) {
				a.store(r, out, part*4)
				a.addReg(dstStride, out)
			}
		}
		a.moveReg(out, dst)
		a.advance(src, width)
	})
	a.end("transpose")
}

// unpack interleaves elements (PS) or pairs of elements (PD) within 128-bit lanes: low halves to lo, high ones to hi.
func (a *assembler) unpack(kind string, lo, hi, x, y int) {
	a.p("VUNPCKL%s %s, %s, %s", kind, a.v(y), a.v(x), a.v(lo))
	a.p("VUNPCKH%s %s, %s, %s", kind, a.v(y), a.v(x), a.v(hi))
}

// quads leaves in register 4g+c (+to) column 4L+c of rows 4g to 4g+3 in each lane L, for rows in registers 0 to n-1; it
// goes through registers n to 2n-1.
func (a *assembler) quads(n int) {
	for i := 0; i < n; i += 2 {
		a.unpack("PS", n+i, n+i+1, i, i+1)
	}
	for g := 0; g < n; g += 4 {
		a.unpack("PD", g, g+1, n+g, n+g+2)
		a.unpack("PD", g+2, g+3, n+g+1, n+g+3)
	}
}

// transpose16 transposes registers 0 to 15 and returns where the columns are.
func transpose16(a *assembler) []int {
	a.quads(16)
	out := make([]int, 16)
	for c := range 4 {
		// lanes 0 and 2, then 1 and 3, of the four groups of rows
		even, odd, even2, odd2 := 16+4*c, 17+4*c, 18+4*c, 19+4*c
		a.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 4+c, c, even)
		a.p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 4+c, c, odd)
		a.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 12+c, 8+c, even2)
		a.p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 12+c, 8+c, odd2)
		a.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", even2, even, c)
		a.p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", even2, even, 8+c)
		a.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", odd2, odd, 4+c)
		a.p("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", odd2, odd, 12+c)
		out[c], out[4+c], out[8+c], out[12+c] = c, 4+c, 8+c, 12+c
	}
	return out
}

func transpose8(a *assembler) []int {
	a.quads(8)
	out := make([]int, 8)
	for c := range 4 {
		a.p("VPERM2F128 $0x20, Y%d, Y%d, Y%d", 4+c, c, 8+c)
		a.p("VPERM2F128 $0x31, Y%d, Y%d, Y%d", 4+c, c, 12+c)
		out[c], out[4+c] = 8+c, 12+c
	}
	return out
}

func transpose4(a *assembler) []int {
	for i := 0; i < 4; i += 2 {
		a.p("VTRN1 V%d.S4, V%d.S4, V%d.S4", i+1, i, 4+i)
		a.p("VTRN2 V%d.S4, V%d.S4, V%d.S4", i+1, i, 5+i)
	}
	for i := range 2 {
		a.p("VZIP1 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, i)
		a.p("VZIP2 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, 2+i)
	}
	return []int{0, 1, 2, 3}
}
