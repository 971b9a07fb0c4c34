package main

// The vocabulary of vector instructions, one method each, for all three instruction sets. x86 operands are written in
// the Go assembler's order, which is the reverse of Intel's; arm64 instructions that it lacks are words.

// word emits the three-register arm64 instruction with this encoding.
func (a *assembler) word(enc uint32, comment string, d, n, m int) {
	a.p("WORD $0x%08x // %s V%d, V%d, V%d", enc|uint32(m)<<16|uint32(n)<<5|uint32(d), comment, d, n, m)
}

func (a *assembler) word2(enc uint32, comment string, d, n int) {
	a.p("WORD $0x%08x // %s V%d, V%d", enc|uint32(n)<<5|uint32(d), comment, d, n)
}

func (a *assembler) load(d int, ptr string, off int) {
	if a.isa.x86() {
		a.p("VMOVUPS %d(%s), %s", off, ptr, a.v(d))
	} else {
		a.p("FMOVQ %d(%s), F%d", off, ptr, d)
	}
}

func (a *assembler) store(s int, ptr string, off int) {
	if a.isa.x86() {
		a.p("VMOVUPS %s, %d(%s)", a.v(s), off, ptr)
	} else {
		a.p("FMOVQ F%d, %d(%s)", s, off, ptr)
	}
}

// splat fills d with the float32 at ptr+off.
func (a *assembler) splat(d int, ptr string, off int) {
	if a.isa.x86() {
		a.p("VBROADCASTSS %d(%s), %s", off, ptr, a.v(d))
	} else {
		a.p("FMOVS %d(%s), F%d", off, ptr, d)
		a.p("VDUP V%d.S[0], V%d.S4", d, d)
	}
}

// splatArg fills d with a float32 argument.
func (a *assembler) splatArg(d int, name string) {
	for _, ar := range a.args {
		if ar.name == name {
			if a.isa.x86() {
				a.p("VBROADCASTSS %s+%d(FP), %s", name, ar.offset, a.v(d))
			} else {
				a.p("FMOVS %s+%d(FP), F%d", name, ar.offset, d)
				a.p("VDUP V%d.S[0], V%d.S4", d, d)
			}
			return
		}
	}
	panic("no argument " + name)
}

// storeLane stores the first element of s.
func (a *assembler) storeLane(s int, ptr string, off int) {
	if a.isa.x86() {
		a.p("VMOVSS X%d, %d(%s)", s, off, ptr)
	} else {
		a.p("FMOVS F%d, %d(%s)", s, off, ptr)
	}
}

// result returns the first element of s.
func (a *assembler) result(s int) {
	if a.isa.x86() {
		a.p("VMOVSS X%d, ret+%d(FP)", s, a.ret)
	} else {
		a.p("FMOVS F%d, ret+%d(FP)", s, a.ret)
	}
}

func (a *assembler) zero(d int) {
	switch a.isa {
	case avx512:
		a.p("VPXORD Z%d, Z%d, Z%d", d, d, d)
	case avx2:
		a.p("VXORPS Y%d, Y%d, Y%d", d, d, d)
	case neon:
		a.p("VEOR V%d.B16, V%d.B16, V%d.B16", d, d, d)
	}
}

func (a *assembler) move(d, s int) {
	if a.isa.x86() {
		a.p("VMOVAPS %s, %s", a.v(s), a.v(d))
	} else {
		a.p("VMOV V%d.B16, V%d.B16", s, d)
	}
}

// set fills d with a constant.
func (a *assembler) set(d int, c any) {
	if a.isa.x86() {
		a.p("VBROADCASTSS %s, %s", a.mem(bitsOf(c)), a.v(d))
	} else {
		a.move(d, a.keep(c))
	}
}

// x86op emits an instruction whose first Go operand is a register or a constant in memory.
func (a *assembler) x86op(op string, y any, rest ...int) {
	s := ""
	for _, r := range rest {
		s += ", " + a.v(r)
	}
	if r, ok := y.(int); ok {
		a.p("%s %s%s", op, a.v(r), s)
		return
	}
	if a.isa == avx512 {
		op += ".BCST"
	}
	a.p("%s %s%s", op, a.mem(bitsOf(y)), s)
}

func (a *assembler) operand(y any) int {
	if r, ok := y.(int); ok {
		return r
	}
	return a.keep(y)
}

var arith = map[string]uint32{
	"ADD": 0x4e20d400, "SUB": 0x4ea0d400, "MUL": 0x6e20dc00, "DIV": 0x6e20fc00, "MAX": 0x4e20f400, "MIN": 0x4ea0f400,
}

// op is d = x op y. MAX and MIN keep a NaN of y.
func (a *assembler) op(op string, d, x int, y any) {
	if a.isa.x86() {
		a.x86op("V"+op+"PS", y, x, d)
	} else {
		a.word(arith[op], "F"+op, d, x, a.operand(y))
	}
}

// and is d = x AND y, bit by bit.
func (a *assembler) and(d, x, y int) {
	switch a.isa {
	case avx512:
		a.p("VPANDD Z%d, Z%d, Z%d", y, x, d)
	case avx2:
		a.p("VPAND Y%d, Y%d, Y%d", y, x, d)
	case neon:
		a.p("VAND V%d.B16, V%d.B16, V%d.B16", y, x, d)
	}
}

// xor is d = x XOR y.
func (a *assembler) xor(d, x, y int) {
	switch a.isa {
	case avx512:
		a.p("VPXORD Z%d, Z%d, Z%d", y, x, d)
	case avx2:
		a.p("VPXOR Y%d, Y%d, Y%d", y, x, d)
	case neon:
		a.p("VEOR V%d.B16, V%d.B16, V%d.B16", y, x, d)
	}
}

// addInt is d = x + y of integers.
func (a *assembler) addInt(d, x int, y any) {
	if a.isa.x86() {
		a.x86op("VPADDD", y, x, d)
	} else {
		a.word(0x4ea08400, "ADD", d, x, a.operand(y))
	}
}

// multiplyWide is the high and the low half of x·c, unsigned; AVX-512 wants odd lanes in K1.
func (a *assembler) multiplyWide(high, low, x int, c I) {
	if a.isa == neon {
		m := a.keep(c)
		a.word(0x2ea0c000, "UMULL", high, x, m)
		a.word(0x6ea0c000, "UMULL2", x, x, m)
		a.word(0x4e801800, "UZP1", low, high, x)
		a.word(0x4e805800, "UZP2", high, high, x)
		return
	}
	// the products of even lanes are in high, those of odd ones in x
	a.x86op("VPMULUDQ", c, x, high)
	a.p("VPSRLQ $32, %s, %s", a.v(x), a.v(x))
	a.x86op("VPMULUDQ", c, x, x)
	a.p("VPSLLQ $32, %s, %s", a.v(x), a.v(low))
	if a.isa == avx512 {
		a.p("VPBLENDMD Z%d, Z%d, K1, Z%d", low, high, low)
		a.p("VPSRLQ $32, Z%d, Z%d", high, high)
		a.p("VPBLENDMD Z%d, Z%d, K1, Z%d", x, high, high)
	} else {
		a.p("VPBLENDD $0xaa, Y%d, Y%d, Y%d", low, high, low)
		a.p("VPSRLQ $32, Y%d, Y%d", high, high)
		a.p("VPBLENDD $0xaa, Y%d, Y%d, Y%d", x, high, high)
	}
}

// fromUnsigned is d = s as float32; t is overwritten.
func (a *assembler) fromUnsigned(d, s, t int) {
	switch a.isa {
	case avx512:
		a.p("VCVTUDQ2PS Z%d, Z%d", s, d)
	case avx2: // both halves are exact, and their sum is rounded once
		a.p("VPSRLD $16, Y%d, Y%d", s, t)
		a.p("VPSLLD $16, Y%d, Y%d", s, d)
		a.p("VPSRLD $16, Y%d, Y%d", d, d)
		a.p("VCVTDQ2PS Y%d, Y%d", t, t)
		a.p("VCVTDQ2PS Y%d, Y%d", d, d)
		a.fma(d, t, K(65536))
	case neon:
		a.word2(0x6e21d800, "UCVTF", d, s)
	}
}

// maxUnsigned is d = max(x, y) of unsigned integers.
func (a *assembler) maxUnsigned(d, x, y int) {
	if a.isa.x86() {
		a.p("VPMAXUD %s, %s, %s", a.v(y), a.v(x), a.v(d))
	} else {
		a.word(0x6ea06400, "UMAX", d, x, y)
	}
}

// fma is d += x·y, fnma d -= x·y, both rounded once.
func (a *assembler) fma(d, x int, y any) {
	if a.isa.x86() {
		a.x86op("VFMADD231PS", y, x, d)
	} else {
		a.word(0x4e20cc00, "FMLA", d, x, a.operand(y))
	}
}

func (a *assembler) fnma(d, x int, y any) {
	if a.isa.x86() {
		a.x86op("VFNMADD231PS", y, x, d)
	} else {
		a.word(0x4ea0cc00, "FMLS", d, x, a.operand(y))
	}
}

// mad is d = d·x + c: a step of Horner's rule. On arm64 it overwrites spare.
func (a *assembler) mad(d, x int, c any, spare int) {
	if a.isa.x86() {
		a.x86op("VFMADD213PS", c, x, d)
		return
	}
	a.move(spare, a.operand(c))
	a.fma(spare, d, x)
	a.move(d, spare)
}

// horner is d = c[0] + c[1]·x + … ; spare as in mad.
func (a *assembler) horner(d, x, spare int, c ...float64) {
	a.set(d, K(c[len(c)-1]))
	for i := len(c) - 2; i >= 0; i-- {
		a.mad(d, x, K(c[i]), spare)
	}
}

// round is to the nearest integer, ties to even.
func (a *assembler) round(d, s int) {
	switch a.isa {
	case avx512:
		a.p("VRNDSCALEPS $0, Z%d, Z%d", s, d)
	case avx2:
		a.p("VROUNDPS $0, Y%d, Y%d", s, d)
	case neon:
		a.word2(0x4e218800, "FRINTN", d, s)
	}
}

// zeroBelow clears the elements of d whose x is less than the constant; a NaN of x keeps d.
func (a *assembler) zeroBelow(d, x int, c K, spare int) {
	k := a.keep(c)
	switch a.isa {
	case avx512:
		a.p("VCMPPS $5, Z%d, Z%d, K1", k, x)
		a.p("VMOVAPS.Z Z%d, K1, Z%d", d, d)
	case avx2:
		a.p("VCMPPS $5, Y%d, Y%d, Y%d", k, x, spare)
		a.p("VANDPS Y%d, Y%d, Y%d", spare, d, d)
	case neon:
		a.word(0x6ea0e400, "FCMGT", spare, k, x)
		a.word(0x4e601c00, "BIC", d, d, spare)
	}
}

// powerOfTwo is d = d·2ⁿ for integral n; s, t are overwritten.
func (a *assembler) powerOfTwo(d, n, s, t int) {
	// 2ⁿ is made in two halves, so that the exponent field of neither overflows.
	switch a.isa {
	case avx512:
		a.p("VSCALEFPS Z%d, Z%d, Z%d", n, d, d)
	case avx2:
		a.p("VCVTPS2DQ Y%d, Y%d", n, s)
		a.p("VPSRAD $1, Y%d, Y%d", s, t)
		a.p("VPSUBD Y%d, Y%d, Y%d", t, s, s)
		for _, r := range []int{s, t} {
			a.x86op("VPADDD", I(127), r, r)
			a.p("VPSLLD $23, Y%d, Y%d", r, r)
			a.p("VMULPS Y%d, Y%d, Y%d", r, d, d)
		}
	case neon:
		a.word2(0x4e21a800, "FCVTNS", s, n)
		a.word2(0x4f000400|63<<16, "SSHR $1", t, s)
		a.word(0x6ea08400, "SUB", s, s, t)
		for _, r := range []int{s, t} {
			a.word(0x4ea08400, "ADD", r, r, a.keep(I(127)))
			a.word2(0x4f005400|55<<16, "SHL $23", r, r)
			a.word(0x6e20dc00, "FMUL", d, d, r)
		}
	}
}

// across reduces s by op (ADD or MAX) and leaves the result in every element; t is overwritten.
func (a *assembler) across(op string, s, t int) {
	if !a.isa.x86() {
		if op == "ADD" {
			a.word(0x6e20d400, "FADDP", s, s, s)
			a.word(0x6e20d400, "FADDP", s, s, s)
		} else {
			a.word2(0x6e30f800, "FMAXV", s, s)
			a.p("VDUP V%d.S[0], V%d.S4", s, s)
		}
		return
	}
	if a.isa == avx512 {
		a.p("VEXTRACTF64X4 $1, Z%d, Y%d", s, t)
		a.p("V%sPS Y%d, Y%d, Y%d", op, t, s, s)
	}
	a.p("VEXTRACTF128 $1, Y%d, X%d", s, t)
	a.p("V%sPS X%d, X%d, X%d", op, t, s, s)
	for _, shuffle := range []string{"$0x4e", "$0xb1"} {
		a.p("VPSHUFD %s, X%d, X%d", shuffle, s, t)
		a.p("V%sPS X%d, X%d, X%d", op, t, s, s)
	}
	a.p("VBROADCASTSS X%d, %s", s, a.v(s))
}

// advance adds bytes to a pointer.
func (a *assembler) advance(ptr string, bytes int) {
	if a.isa.x86() {
		a.p("ADDQ $%d, %s", bytes, ptr)
	} else {
		a.p("ADD $%d, %s", bytes, ptr)
	}
}

// addReg adds one general register to another.
func (a *assembler) addReg(src, dst string) {
	if a.isa.x86() {
		a.p("ADDQ %s, %s", src, dst)
	} else {
		a.p("ADD %s, %s", src, dst)
	}
}

func (a *assembler) moveReg(src, dst string) {
	if a.isa.x86() {
		a.p("MOVQ %s, %s", src, dst)
	} else {
		a.p("MOVD %s, %s", src, dst)
	}
}

func (a *assembler) shiftRight(n int, r string) {
	if n == 0 {
		return
	}
	if a.isa.x86() {
		a.p("SHRQ $%d, %s", n, r)
	} else {
		a.p("LSR $%d, %s", n, r)
	}
}

func (a *assembler) shiftLeft(n int, r string) {
	if a.isa.x86() {
		a.p("SHLQ $%d, %s", n, r)
	} else {
		a.p("LSL $%d, %s", n, r)
	}
}

// jumpZero goes to a label if r is zero.
func (a *assembler) jumpZero(r, label string) {
	if a.isa.x86() {
		a.p("TESTQ %s, %s", r, r)
		a.p("JZ %s", label)
	} else {
		a.p("CBZ %s, %s", r, label)
	}
}

func (a *assembler) jump(label string) {
	if a.isa.x86() {
		a.p("JMP %s", label)
	} else {
		a.p("B %s", label)
	}
}

// repeat runs body count times, count in a register that is used up; zero is allowed.
func (a *assembler) repeat(count string, body func()) {
	top, done := a.unique("loop"), a.unique("done")
	a.jumpZero(count, done)
	if a.isa.x86() {
		a.p("PCALIGN $64")
	}
	a.label(top)
	body()
	if a.isa.x86() {
		a.p("DECQ %s", count)
		a.p("JNZ %s", top)
	} else {
		a.p("SUBS $1, %s", count)
		a.p("BNE %s", top)
	}
	a.label(done)
}

// each runs body over n (an argument, a multiple of 16) elements, unroll vectors at a time; the pointers named advance
// with it. body gets the byte offset of its vector. The rest below unroll vectors goes one vector at a time.
func (a *assembler) each(n string, unroll int, pointers []string, body func(off, u int)) {
	count := a.reg(n)
	width := a.isa.lanes() * 4
	shift := map[int]int{16: 4, 8: 3, 4: 2}[a.isa.lanes()]
	run := func(u int, count string) {
		a.repeat(count, func() {
			for i := range u {
				body(i*width, i)
			}
			for _, p := range pointers {
				a.advance(a.reg(p), u*width)
			}
		})
	}
	a.shiftRight(shift, count)
	if unroll == 1 {
		run(1, count)
		return
	}
	many := a.gpr(free3)
	a.moveReg(count, many)
	a.shiftRight(map[int]int{2: 1, 4: 2}[unroll], many)
	if a.isa.x86() {
		a.p("ANDQ $%d, %s", unroll-1, count)
	} else {
		a.p("AND $%d, %s, %s", unroll-1, count, count)
	}
	run(unroll, many)
	run(1, count)
}
