package main

import "math"

// Polynomials and rational functions, fitted by weighted least squares with Lawson's iteration towards the minimax fit.
var (
	// eʳ = 1 + r + r²·q(r) for |r| <= ln2/2, relative error 3e-9.
	expQ = []float64{0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368715643882751, 0.0013814601115882397}

	// eʳ for |r| <= ln2/2, relative error 3e-06.
	expShort = []float64{0.9999992614441321, 0.9999634048570619, 0.500043586722065, 0.1679090721025366, 0.04145860728081143}

	// Φ(z) - 1/2 = z·P(z²)/Q(z²) for |z| <= 5.4, absolute error 6e-9.
	phiP = []float64{0.398942232131958, 0.03337227180600166, 0.004650854039937258, 0.00016432216216344386, 6.3600273279007524e-06, 2.3386730774177522e-08}
	phiQ = []float64{1, 0.2503179609775543, 0.028378712013363838, 0.0018589841201901436, 7.240035483846441e-05, 1.2165913858552813e-06}

	// tanh(z) = z·P(z²)/Q(z²) for |z| <= 9, relative error 2e-8; beyond, tanh is 1 in float32.
	tanhP = []float64{1, 0.13381025195121765, 0.0034955875016748905, 2.06090717256302e-05, 1.3354649830432663e-08}
	tanhQ = []float64{1, 0.4671434164047241, 0.025876980274915695, 0.00032856338657438755, 7.776553161420452e-07}
)

const (
	phiLimit  = 5.4 // Φ(-5.4) is 3e-8
	tanhLimit = 9

	expLow  = -87.33654 // below, eˣ is not a normal float32 and taken for 0
	expHigh = 89        // above, it overflows

	// ln2 in two parts, the first short enough that its product with an exponent is exact.
	ln2High = 0.693359375
	ln2Low  = math.Ln2 - ln2High
)

// acts in the order of runtime.Act.
var acts = []string{"None", "ReLU", "Tanh", "Sigmoid", "SiLU", "GELU", "GELUTanh", "QuickGELU"}

// exp is x = eˣ; t is four spare registers. A NaN stays one, -Inf gives 0, +Inf and overflow +Inf.
func (a *assembler) exp(x int, t [4]int) {
	c, n, q, spare := t[0], t[1], t[2], t[3]
	a.op("MIN", c, a.keep(K(expHigh)), x)
	a.op("MAX", c, a.keep(K(expLow)), c)
	a.op("MUL", n, c, K(math.Log2E))
	a.round(n, n)
	a.fnma(c, n, K(ln2High))
	a.fnma(c, n, K(ln2Low))
	a.horner(q, c, spare, expQ...)
	a.op("MUL", q, q, c)
	a.mad(q, c, c, spare) // r + r²·q(r)
	a.op("ADD", q, q, K(1))
	a.powerOfTwo(q, n, c, spare)
	a.zeroBelow(q, x, expLow, spare)
	a.move(x, q)
}

// weight is x = eˣ for x that is not above 0, as a softmax wants it: -Inf gives 0, a NaN stays one. Where it is rounded to
// bfloat16 afterwards, fewer digits do. t is four spare registers.
func (a *assembler) weight(x int, rounded bool, t [4]int) {
	if a.isa != avx512 {
		a.exp(x, t)
		return
	}
	// VSCALEFPS underflows by itself; the clamp only keeps infinities out of the differences.
	n, y, spare := t[0], t[1], t[2]
	a.op("MAX", x, a.keep(K(-200)), x)
	a.op("MUL", n, x, K(math.Log2E))
	a.round(n, n)
	if rounded {
		a.fnma(x, n, K(math.Ln2))
		a.horner(y, x, spare, expShort...)
	} else {
		a.fnma(x, n, K(ln2High))
		a.fnma(x, n, K(ln2Low))
		a.horner(y, x, spare, expQ...)
		a.op("MUL", y, y, x)
		a.mad(y, x, x, spare) // r + r²·q(r)
		a.op("ADD", y, y, K(1))
	}
	a.p("VSCALEFPS Z%d, Z%d, Z%d", n, y, x)
}

// rational is d = x·P(x²)/Q(x²) for x clamped to ±limit, in d; x is overwritten.
func (a *assembler) rational(d, x int, limit float64, p, q []float64, t [3]int) {
	a.op("MIN", x, a.keep(K(limit)), x)
	a.op("MAX", x, a.keep(K(-limit)), x)
	a.op("MUL", t[0], x, x)
	a.horner(d, t[0], t[2], p...)
	a.horner(t[1], t[0], t[2], q...)
	a.op("MUL", d, d, x)
	a.op("DIV", d, d, t[1])
}

// act applies an activation to x; t is five spare registers.
func (a *assembler) act(name string, x int, t [5]int) {
	u := t[4]
	et := [4]int(t[:4])
	logistic := func() { // x = x/(1+e^u)
		a.exp(u, et)
		a.op("ADD", u, u, K(1))
		a.op("DIV", x, x, u)
	}
	switch name {
	case "None":
	case "ReLU":
		a.op("MAX", x, a.keep(K(0)), x)
	case "Tanh":
		a.rational(u, x, tanhLimit, tanhP, tanhQ, [3]int(t[:3]))
		a.move(x, u)
	case "Sigmoid":
		a.op("MUL", u, x, K(-1))
		a.set(x, K(1))
		logistic()
	case "SiLU":
		a.op("MUL", u, x, K(-1))
		logistic()
	case "GELU":
		z := t[3]
		a.move(z, x)
		a.rational(u, z, phiLimit, phiP, phiQ, [3]int(t[:3]))
		a.op("ADD", u, u, K(0.5))
		a.op("MUL", u, u, x)
		a.zeroBelow(u, x, -phiLimit, z)
		a.move(x, u)
	case "GELUTanh": // x·sigmoid(2√(2/π)(x+0.044715x³))
		c := 2 * math.Sqrt(2/math.Pi)
		a.op("MUL", t[0], x, x)
		a.op("MUL", t[0], t[0], K(-c*0.044715))
		a.op("ADD", t[0], t[0], K(-c))
		a.op("MUL", u, t[0], x)
		logistic()
	case "QuickGELU":
		a.op("MUL", u, x, K(-1.702))
		logistic()
	}
}

var (
	spare4 = [4]int{1, 2, 3, 4}
	spare5 = [5]int{1, 2, 3, 4, 5}
)

// vectorKernels are the functions of rows. Their n is a multiple of 16.
func vectorKernels(a *assembler) {
	i := a.isa.String()
	for _, act := range acts {
		// dst = act(src+bias)
		a.begin(i+"Act"+act, false, "dst p", "src p", "bias p", "n i")
		a.each("n", 1, []string{"dst", "src", "bias"}, func(off, _ int) {
			a.load(0, a.reg("src"), off)
			a.load(1, a.reg("bias"), off)
			a.op("ADD", 0, 0, 1)
			a.act(act, 0, spare5)
			a.store(0, a.reg("dst"), off)
		})
		a.end("act")
	}
	for _, act := range acts {
		// dst = act(gate+bias)·(up+bias), gate and up alternating by 16 in src and bias; n counts dst
		a.begin(i+"Gate"+act, false, "dst p", "src p", "bias p", "n i")
		count := a.reg("n")
		a.shiftRight(4, count)
		a.repeat(count, func() {
			for off := 0; off < 64; off += a.isa.lanes() * 4 {
				a.load(0, a.reg("src"), off)
				a.load(1, a.reg("bias"), off)
				a.op("ADD", 0, 0, 1)
				a.act(act, 0, spare5)
				a.load(1, a.reg("src"), 64+off)
				a.load(2, a.reg("bias"), 64+off)
				a.op("ADD", 1, 1, 2)
				a.op("MUL", 0, 0, 1)
				a.store(0, a.reg("dst"), off)
			}
			a.advance(a.reg("src"), 128)
			a.advance(a.reg("bias"), 128)
			a.advance(a.reg("dst"), 64)
		})
		a.end("gate")
	}

	// dst += src + bias
	a.begin(i+"AddBias", false, "dst p", "src p", "bias p", "n i")
	a.each("n", 1, []string{"dst", "src", "bias"}, func(off, _ int) {
		a.load(0, a.reg("src"), off)
		a.load(1, a.reg("bias"), off)
		a.op("ADD", 0, 0, 1)
		a.load(1, a.reg("dst"), off)
		a.op("ADD", 0, 1, 0)
		a.store(0, a.reg("dst"), off)
	})
	a.end("addBias")

	// dst += src
	a.begin(i+"Add", false, "dst p", "src p", "n i")
	a.each("n", 1, []string{"dst", "src"}, func(off, _ int) {
		a.load(0, a.reg("dst"), off)
		a.load(1, a.reg("src"), off)
		a.op("ADD", 0, 0, 1)
		a.store(0, a.reg("dst"), off)
	})
	a.end("add")

	// dst = src·c
	a.begin(i+"Scale", false, "dst p", "src p", "n i", "c f")
	a.splatArg(1, "c")
	a.each("n", 1, []string{"dst", "src"}, func(off, _ int) {
		a.load(0, a.reg("src"), off)
		a.op("MUL", 0, 0, 1)
		a.store(0, a.reg("dst"), off)
	})
	a.end("scale")

	scaleRows(a)

	// dst = c·tanh(src/c)
	a.begin(i+"Cap", false, "dst p", "src p", "n i", "c f")
	a.splatArg(6, "c")
	a.each("n", 1, []string{"dst", "src"}, func(off, _ int) {
		a.load(0, a.reg("src"), off)
		a.op("DIV", 0, 0, 6)
		a.act("Tanh", 0, spare5)
		a.op("MUL", 0, 0, 6)
		a.store(0, a.reg("dst"), off)
	})
	a.end("cap")

	reduction(a, i+"Sum", "sum", false)
	reduction(a, i+"Squares", "squares", true)

	// dst = (src-mean)·rstd·w + b
	a.begin(i+"Affine", false, "dst p", "src p", "w p", "b p", "n i", "mean f", "rstd f")
	a.splatArg(2, "mean")
	a.splatArg(3, "rstd")
	a.each("n", 1, []string{"dst", "src", "w", "b"}, func(off, _ int) {
		a.load(0, a.reg("src"), off)
		a.op("SUB", 0, 0, 2)
		a.op("MUL", 0, 0, 3)
		a.load(1, a.reg("b"), off)
		a.load(4, a.reg("w"), off)
		a.fma(1, 0, 4)
		a.store(1, a.reg("dst"), off)
	})
	a.end("affine")

	softmax(a, false)
	if a.isa == avx512 {
		softmax(a, true)
	}
	rotate(a)
	transpose(a)
}

// reduction is Σx or Σ(x-mean)².
func reduction(a *assembler, name, table string, squares bool) {
	params := []string{"src p", "n i"}
	if squares {
		params = append(params, "mean f")
	}
	a.begin(name, true, params...)
	if squares {
		a.splatArg(8, "mean")
	}
	for u := range 4 {
		a.zero(u)
	}
	a.each("n", 4, []string{"src"}, func(off, u int) {
		t := 4 + u
		a.load(t, a.reg("src"), off)
		if squares {
			a.op("SUB", t, t, 8)
			a.fma(u, t, t)
		} else {
			a.op("ADD", u, u, t)
		}
	})
	a.op("ADD", 0, 0, 1)
	a.op("ADD", 2, 2, 3)
	a.op("ADD", 0, 0, 2)
	a.across("ADD", 0, 1)
	a.result(0)
	a.end(table)
}

// scaleRows multiplies n elements of each row by the row's factor; strides and step, from factor to factor, are in bytes.
func scaleRows(a *assembler) {
	a.begin(a.isa.String()+"ScaleRows", false, "dst p", "dstStride i", "src p", "srcStride i", "factors p", "step i", "rows i", "n i")
	dst, src, count := a.gpr(free0), a.gpr(free1), a.gpr(free2)
	width := a.isa.lanes() * 4
	a.shiftRight(map[int]int{16: 4, 8: 3, 4: 2}[a.isa.lanes()], a.reg("n"))
	a.repeat(a.reg("rows"), func() {
		a.splat(1, a.reg("factors"), 0)
		a.moveReg(a.reg("dst"), dst)
		a.moveReg(a.reg("src"), src)
		a.moveReg(a.reg("n"), count)
		a.repeat(count, func() {
			a.load(0, src, 0)
			a.op("MUL", 0, 0, 1)
			a.store(0, dst, 0)
			a.advance(src, width)
			a.advance(dst, width)
		})
		a.addReg(a.reg("dstStride"), a.reg("dst"))
		a.addReg(a.reg("srcStride"), a.reg("src"))
		a.addReg(a.reg("step"), a.reg("factors"))
	})
	a.end("scaleRows")
}

// softmax folds n scores of each row into its running softmax: state is max, sum and the factor by which what was
// summed before must shrink, 4 floats a row; the scores become exp(s-max). Rows are tileStride bytes apart. With dot, n
// is a multiple of 32 and the results are bfloat16, packed from the row's start; the sum is of those not yet rounded.
func softmax(a *assembler, dot bool) {
	name, table := "Softmax", "softmax"
	if dot {
		name, table = "SoftmaxBF16", "softmaxBF16"
	}
	a.begin(a.isa.String()+name, false, "s p", "state p", "rows i", "n i")
	s, state, rows, n := a.reg("s"), a.reg("state"), a.reg("rows"), a.reg("n")
	ptr, count, out := a.gpr(free0), a.gpr(free1), a.gpr(free2)
	const max, was, sum, x, y = 6, 7, 8, 0, 9
	width := a.isa.lanes() * 4
	shift := map[int]int{16: 4, 8: 3, 4: 2}[a.isa.lanes()]
	a.shiftRight(shift, n)
	a.repeat(rows, func() {
		a.splat(was, state, 0)
		a.move(max, was)
		a.moveReg(s, ptr)
		a.moveReg(n, count)
		a.repeat(count, func() {
			a.load(x, ptr, 0)
			a.op("MAX", max, max, x)
			a.advance(ptr, width)
		})
		a.across("MAX", max, 1)
		a.zero(sum)
		a.moveReg(s, ptr)
		a.moveReg(n, count)
		weight := func(x, off int) {
			a.load(x, ptr, off)
			a.op("SUB", x, x, max)
			a.weight(x, dot, spare4)
			a.op("ADD", sum, sum, x)
		}
		if dot {
			a.moveReg(s, out)
			a.shiftRight(1, count)
			a.repeat(count, func() {
				weight(x, 0)
				weight(y, width)
				a.p("%s // VCVTNE2PS2BF16 Z%d, Z%d, Z%d", evex(0x72, 3, x, y, x), x, y, x)
				a.store(x, out, 0)
				a.advance(ptr, 2*width)
				a.advance(out, width)
			})
		} else {
			a.repeat(count, func() {
				weight(x, 0)
				a.store(x, ptr, 0)
				a.advance(ptr, width)
			})
		}
		a.across("ADD", sum, 1)
		a.op("SUB", x, was, max)
		a.exp(x, spare4)
		a.splat(5, state, 4)
		a.fma(sum, 5, x)
		a.storeLane(max, state, 0)
		a.storeLane(sum, state, 4)
		a.storeLane(x, state, 8)
		a.advance(s, tileStride)
		a.advance(state, 16)
	})
	a.end(table)
}

// rotate turns the pairs (i, i+half) of a row by its angles: cos then sin, half each.
func rotate(a *assembler) {
	a.begin(a.isa.String()+"Rotate", false, "dst p", "src p", "angles p", "half i")
	dst, src, cos := a.reg("dst"), a.reg("src"), a.reg("angles")
	dst2, src2, sin := a.gpr(free0), a.gpr(free1), a.gpr(free2)
	off := a.gpr(free3)
	a.moveReg(a.reg("half"), off)
	a.shiftLeft(2, off)
	for _, pair := range [][2]string{{dst, dst2}, {src, src2}, {cos, sin}} {
		a.moveReg(pair[0], pair[1])
		a.addReg(off, pair[1])
	}
	width := a.isa.lanes() * 4
	a.shiftRight(map[int]int{16: 4, 8: 3, 4: 2}[a.isa.lanes()], a.reg("half"))
	a.repeat(a.reg("half"), func() {
		a.load(0, src, 0)
		a.load(1, src2, 0)
		a.load(2, cos, 0)
		a.load(3, sin, 0)
		a.op("MUL", 4, 0, 2)
		a.fnma(4, 1, 3)
		a.op("MUL", 5, 1, 2)
		a.fma(5, 0, 3)
		a.store(4, dst, 0)
		a.store(5, dst2, 0)
		for _, p := range []string{dst, dst2, src, src2, cos, sin} {
			a.advance(p, width)
		}
	})
	a.end("rotate")
}
