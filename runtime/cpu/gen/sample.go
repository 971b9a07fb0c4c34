package main

import "math"

// searchKernels are what sampling does with rows of logits, and what attention does before it changes pages.
func searchKernels(a *assembler) {
	i := a.isa.String()

	// out = the largest of n logits, and the largest of their bits without the sign, in each lane: which is above
	// infinity's where one is a NaN.
	a.begin(i+"Largest", false, "out p", "src p", "n i")
	const unroll = 4
	magnitude := a.keep(I(0x7fffffff))
	for u := range unroll {
		a.set(u, K(math.Inf(-1)))
		a.zero(unroll + u)
	}
	a.each("n", unroll, []string{"src"}, func(off, u int) {
		x := 2*unroll + u%2
		a.load(x, a.reg("src"), off)
		a.op("MAX", u, u, x)
		a.and(x, x, magnitude)
		a.maxUnsigned(unroll+u, unroll+u, x)
	})
	for u := 1; u < unroll; u++ {
		a.op("MAX", 0, 0, u)
		a.maxUnsigned(unroll, unroll, unroll+u)
	}
	a.store(0, a.reg("out"), 0)
	a.store(unroll, a.reg("out"), 64)
	a.end("largest")

	// dst = the largest of elements 16 apart, in blocks of 256
	a.begin(i+"Classes", false, "dst p", "src p", "blocks i")
	width := a.isa.lanes() * 4
	a.repeat(a.reg("blocks"), func() {
		for off := 0; off < 64; off += width {
			r := off / width
			a.load(r, a.reg("src"), off)
			for j := 1; j < 16; j++ {
				a.load(4+j%4, a.reg("src"), 64*j+off)
				a.op("MAX", r, r, 4+j%4)
			}
			a.store(r, a.reg("dst"), off)
		}
		a.advance(a.reg("dst"), 64)
		a.advance(a.reg("src"), 1024)
	})
	a.end("classes")

	// dst = src/c
	a.begin(i+"Divide", false, "dst p", "src p", "n i", "c f")
	a.splatArg(1, "c")
	a.each("n", 4, []string{"dst", "src"}, func(off, _ int) {
		a.load(0, a.reg("src"), off)
		a.op("DIV", 0, 0, 1)
		a.store(0, a.reg("dst"), off)
	})
	a.end("divide")

	uniforms(a)

	// Ask for lines of 64 bytes.
	a.begin(i+"Prefetch", false, "src p", "lines i")
	a.repeat(a.reg("lines"), func() {
		if a.isa.x86() {
			a.p("PREFETCHT1 (%s)", a.reg("src"))
		} else {
			a.p("PRFM (%s), PLDL2KEEP", a.reg("src"))
		}
		a.advance(a.reg("src"), 64)
	})
	a.end("prefetch")
}

// uniforms writes runtime.Uniform of 4 ids for each lane, block after block: [word][lane]. The state is the counters of
// up to 16 lanes, which it counts on, then step and both halves of the seed.
func uniforms(a *assembler) {
	a.begin(a.isa.String()+"Uniforms", false, "dst p", "state p", "blocks i")
	dst, state := a.reg("dst"), a.reg("state")
	lanes := a.isa.lanes()
	if a.isa == avx512 {
		a.p("MOVL $0xaaaa, AX")
		a.p("KMOVW AX, K1")
	}
	const c0, c1, c2, c3, high0, low0, high1, low1, k0, k1, counter = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
	a.load(counter, state, 0)
	a.repeat(a.reg("blocks"), func() {
		a.move(c0, counter)
		a.splat(c1, state, 64)
		a.zero(c2)
		a.zero(c3)
		a.splat(k0, state, 68)
		a.splat(k1, state, 72)
		for round := range 10 {
			if round > 0 {
				a.addInt(k0, k0, I(-1640531527)) // 0x9e3779b9
				a.addInt(k1, k1, I(-1150833019)) // 0xbb67ae85
			}
			a.multiplyWide(high0, low0, c0, I(-766435501)) // 0xd2511f53
			a.multiplyWide(high1, low1, c2, I(-845247145)) // 0xcd9e8d57
			a.xor(c0, high1, c1)
			a.xor(c0, c0, k0)
			a.move(c1, low1)
			a.xor(c2, high0, c3)
			a.xor(c2, c2, k1)
			a.move(c3, low0)
		}
		for i, word := range []int{c0, c1, c2, c3} {
			a.fromUnsigned(high0, word, low0)
			a.op("ADD", high0, high0, K(0.5))
			a.op("MUL", high0, high0, K(0x1p-32))
			a.op("MIN", high0, high0, K(1-0x1p-24))
			a.store(high0, dst, i*lanes*4)
		}
		a.addInt(counter, counter, I(lanes))
		a.advance(dst, lanes*16)
	})
	a.store(counter, state, 0)
	a.end("uniforms")
}
