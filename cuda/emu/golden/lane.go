package golden

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
)

// Instructions that every lane executes for itself.

// The operands must have the same bits on every machine, so none is made by a function that Go's library computes
// differently on different processors, or by a sum of products, which some fuse.

// samples are operands for functions of a float32: the edges of the format and n numbers between lo and hi, of which half
// are spread evenly and half, where both ends have the same sign, by their magnitude.
func samples(lo, hi float64, n int) []float32 {
	r := rand.New(rand.NewPCG(math.Float64bits(lo), math.Float64bits(hi)))
	var v []float32
	for _, x := range []float64{0, 0x1p-149, 0x1p-148, 0x1.fffffcp-127, 0x1p-127, 0x1p-126, 0x1.000002p-126, 0x1p-24, 0.5, 1, 0x1.fffffep-1,
		0x1.000002p0, 1.5, 2, 3, 4, 10, 0x1p24, 0x1p31, 0x1p64, 0x1p126, 0x1p127, math.MaxFloat32, math.Inf(1)} {
		v = append(v, float32(x), float32(math.Copysign(x, -1)))
	}
	v = append(v, float32(math.NaN()))
	for i := range n {
		if i%2 == 0 || lo*hi <= 0 {
			v = append(v, float32(lo+float64(r.Float64()*(hi-lo))))
		} else { // the bits of positive numbers count up with them
			from, to := math.Float32bits(float32(lo)), math.Float32bits(float32(hi))
			v = append(v, math.Float32frombits(from+r.Uint32N(to-from)))
		}
	}
	return v
}

// halfway are numbers that lie between neighbours of a format of 16 bits, exactly in the middle and just beside it,
// and the neighbours themselves.
func halfway(f Format, n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(f), 29))
	v := []float32{65504, 65519.99, 65520, 65536, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, 0x1.fefp127, 0x1.ffp127,
		0, float32(math.Copysign(0, -1)), 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1.000002p-25, 0x1p-149, -0x1p-133, 0x1p-134, 0x1.8p-134}
	for len(v) < n {
		x := uint64(r.Uint32N(1<<15 - 2))
		low, high := f.decode(x), f.decode(x+1)
		if math.IsNaN(high) || math.IsInf(high, 0) {
			continue
		}
		middle := float32((low + high) / 2) // exact
		if r.Uint32()&1 != 0 {
			middle, low = -middle, -low
		}
		v = append(v, middle, math.Nextafter32(middle, 0), math.Nextafter32(middle, 1e38), float32(low))
	}
	return v
}

// pad repeats operands up to whole blocks of 128 threads.
func pad[T any](v []T) []T {
	n := (len(v) + 127) &^ 127
	return slices.Repeat(v, n/len(v)+1)[:n]
}

// correct is the bound of results that are rounded correctly.
const correct = "rounded correctly"

// lanes is a vector of a grid of threads with operands of one word each, in blocks of v.Threads or 128.
func lanes(v Vector, k kernel, operands ...[]uint32) Vector {
	n := len(operands[0])
	input := make([]uint32, 0, n*len(operands))
	for i := range n {
		for _, o := range operands {
			input = append(input, o[i])
		}
	}
	if v.Threads == 0 {
		v.Threads = 128
	}
	k.target, k.in = v.Target, len(operands)
	v.PTX, v.Blocks, v.Input = k.text(), n/v.Threads, words(input)
	return v
}

func bitsOf(v []float32) []uint32 {
	b := make([]uint32, len(v))
	for i, x := range v {
		b[i] = math.Float32bits(x)
	}
	return b
}

// each is f of every element.
func each[T any](v []T, f func(T) float64) []float64 {
	r := make([]float64, len(v))
	for i, x := range v {
		r[i] = f(x)
	}
	return r
}

func conversions() []Vector {
	var all []Vector
	for _, f := range []struct {
		format     Format
		name       string
		one, two   string // target of the conversion of one number and of two
		ptx1, ptx2 string
	}{{F16, "f16", "sm_75", "sm_80", "6.5", "7.0"}, {BF16, "bf16", "sm_80", "sm_80", "7.0", "7.0"}} {
		x := pad(halfway(f.format, 4096))
		rounded := each(x, func(v float32) float64 { return f.format.round(float64(v)) })
		apart := make([]float64, 0, 2*len(x)) // the upper halves of the words are 0
		for _, v := range rounded {
			apart = append(apart, v, 0)
		}
		op := "cvt.rn." + f.name + ".f32"
		all = append(all, lanes(Vector{Name: op, Target: f.one, Format: f.format, Want: exact(apart), Bound: correct},
			kernel{ptx: f.ptx1, out: 1, body: op + " %h0, %i0;\ncvt.u32.u16 %o0, %h0;"}, bitsOf(x)))
		// The first operand of a pair becomes the upper half.
		y := slices.Clone(x)
		slices.Reverse(y)
		pairs := make([]float64, 0, 2*len(x))
		for i := range x {
			pairs = append(pairs, rounded[len(x)-1-i], rounded[i])
		}
		op = "cvt.rn." + f.name + "x2.f32"
		all = append(all, lanes(Vector{Name: op, Target: f.two, Format: f.format, Want: exact(pairs), Bound: correct},
			kernel{ptx: f.ptx2, out: 1, body: op + " %o0, %i0, %i1;"}, bitsOf(x), bitsOf(y)))
	}

	var halves []uint32
	for i := range 1 << 16 {
		if e := i & 0x3ff; e < 2 || e > 0x3fd || i%17 == 0 { // around the powers of two, and some between them
			halves = append(halves, uint32(i))
		}
	}
	halves = pad(halves)
	all = append(all, lanes(Vector{Name: "cvt.f32.f16", Target: "sm_75", Format: F32, Bound: correct,
		Want: exact(each(halves, func(h uint32) float64 { return F16.decode(uint64(h)) }))},
		kernel{ptx: "6.5", out: 1, body: "cvt.u16.u32 %h0, %i0;\ncvt.f32.f16 %o0, %h0;"}, halves))

	r := rand.New(rand.NewPCG(31, 32))
	ints := []uint32{0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 1 << 24, 1<<24 + 1, 1<<24 + 2, 1<<24 + 3, 0xfeffffff}
	for len(ints) < 512 {
		ints = append(ints, r.Uint32()>>r.Uint32N(8))
	}
	all = append(all, lanes(Vector{Name: "cvt.rn.f32.s32", Target: "sm_75", Format: F32, Bound: correct,
		Want: exact(each(ints, func(v uint32) float64 { return float64(float32(int32(v))) }))},
		kernel{ptx: "6.5", out: 1, body: "cvt.rn.f32.s32 %o0, %i0;"}, ints))

	doubles := []float64{0, math.Copysign(0, -1), 0.5, 1.5, 2.5, -0.5, -1.5, 0x1.fffffffffffffp-2, 1e300, -1e300, 0x1.fffffefp127, 0x1.ffffffp127, 1e-310, 0x1p-150, 0x1.8p-150, 0x1p-149,
		math.Inf(1), math.Inf(-1), math.NaN()}
	for len(doubles) < 1024 {
		x := (r.Float64() - 0.5) * math.Ldexp(1, r.IntN(60))
		doubles = append(doubles, x, math.Round(x)+0.5, float64(math.Nextafter32(float32(x), 0))/2+float64(float32(x))/2)
	}
	doubles = pad(doubles)
	var low, high []uint32
	for _, x := range doubles {
		b := math.Float64bits(x)
		low, high = append(low, uint32(b)), append(high, uint32(b>>32))
	}
	all = append(all,
		lanes(Vector{Name: "cvt.rn.f32.f64", Target: "sm_75", Format: F32, Bound: correct,
			Want: exact(each(doubles, func(x float64) float64 { return float64(float32(x)) }))},
			kernel{ptx: "6.5", out: 1, body: "mov.b64 %d0, {%i0,%i1};\ncvt.rn.f32.f64 %o0, %d0;"}, low, high),
		lanes(Vector{Name: "cvt.rni.f64.f64", Target: "sm_75", Format: F64, Want: exact(each(doubles, math.RoundToEven)), Bound: correct},
			kernel{ptx: "6.5", out: 2, body: "mov.b64 %d0, {%i0,%i1};\ncvt.rni.f64.f64 %d1, %d0;\nmov.b64 {%o0,%o1}, %d1;"}, low, high))
	return all
}

// arithmetic is rounded as IEEE 754 says, subnormal operands and results included.
func arithmetic() []Vector {
	x := pad(slices.Concat(samples(1e-44, 1e38, 1500), samples(-1e3, 1e3, 500)))
	r := rand.New(rand.NewPCG(33, 34))
	y, z := slices.Clone(x), slices.Clone(x)
	r.Shuffle(len(y), func(i, j int) { y[i], y[j] = y[j], y[i] })
	r.Shuffle(len(z), func(i, j int) { z[i], z[j] = z[j], z[i] })
	for i := 0; i < len(z); i += 3 { // so that the product's low bits count
		z[i] = -(x[i] * y[i])
	}
	divided, fused := make([]float64, len(x)), make([]float64, len(x))
	for i := range x {
		divided[i], fused[i] = float64(x[i]/y[i]), fma(x[i], y[i], z[i])
	}
	vector := func(op string, want []float64, operands ...[]float32) Vector {
		var o [][]uint32
		for _, v := range operands {
			o = append(o, bitsOf(v))
		}
		return lanes(Vector{Name: op, Target: "sm_75", Format: F32, Want: exact(want), Bound: correct},
			kernel{ptx: "6.5", out: 1, body: op + " %o0, " + strings.Join([]string{"%i0", "%i1", "%i2"}[:len(o)], ", ") + ";"}, o...)
	}
	return []Vector{
		vector("div.rn.f32", divided, x, y),
		vector("fma.rn.f32", fused, x, y, z),
		vector("rcp.rn.f32", each(x, func(v float32) float64 { return float64(1 / v) }), x),
		vector("sqrt.rn.f32", each(x, func(v float32) float64 { return float64(float32(math.Sqrt(float64(v)))) }), x),
	}
}

// fma is x y + z, rounded once.
func fma(x, y, z float32) float64 {
	p := float64(x) * float64(y) // exact
	s := p + float64(z)
	if s == 0 || math.IsInf(s, 0) || math.IsNaN(s) {
		return s
	}
	sum := new(big.Float).SetPrec(1000).Add(big.NewFloat(p), big.NewFloat(float64(z)))
	f, _ := sum.Float32()
	return float64(f)
}

// approximations have the largest errors that the PTX ISA documents (floating-point instructions), and half a unit in the
// last place of a float32 beside them. Where an instruction flushes subnormal numbers to zero, .ftz, operands and results
// of magnitude below 2^-126 are zeros of their sign.
func approximations() []Vector {
	var all []Vector
	reciprocal := func(x float64) float64 { return 1 / x }
	inverseRoot := func(x float64) float64 { return 1 / math.Sqrt(x) } // -Inf at -0
	for _, f := range []struct {
		op       string
		of       func(float64) float64
		lo, hi   float64
		ptx      string
		relative float64
		bound    string
	}{
		{"ex2.approx.ftz.f32", math.Exp2, -125, 125, "6.5", 0x1p-22, "2^-22 relative"},
		{"ex2.approx.ftz.f32", math.Exp2, -2, 2, "6.5", 0x1p-22, "2^-22 relative"},
		{"lg2.approx.ftz.f32", math.Log2, 0x1p-120, 0x1p120, "6.5", 0x1p-22, "2^-22 relative"},
		{"lg2.approx.ftz.f32", math.Log2, 0.51, 1.99, "6.5", 0x1p-22, "2^-22 absolute between 0.5 and 2"},
		{"rcp.approx.ftz.f32", reciprocal, 0x1p-120, 0x1p120, "6.5", 0x1p-23, "2^-23 relative"},
		{"rcp.approx.ftz.f32", reciprocal, -4, 4, "6.5", 0x1p-23, "2^-23 relative"},
		{"rsqrt.approx.ftz.f32", inverseRoot, 0x1p-120, 0x1p120, "6.5", 0x1.12p-23, "2^-22.9 relative"},
		{"sqrt.approx.ftz.f32", math.Sqrt, 0x1p-120, 0x1p120, "6.5", 0x1p-23, "2^-23 relative"},
		{"tanh.approx.f32", math.Tanh, -9, 9, "7.0", 0x1p-11, "2^-11 relative"},
		{"tanh.approx.f32", math.Tanh, 1e-9, 9, "7.0", 0x1p-11, "2^-11 relative"},
	} {
		ftz := strings.Contains(f.op, ".ftz")
		flush := func(v float64) float64 {
			if ftz && math.Abs(v) < 0x1p-126 {
				return math.Copysign(0, v)
			}
			return v
		}
		x := pad(samples(f.lo, f.hi, 1500))
		want := make([]Value, len(x))
		for i, v := range x {
			y := flush(f.of(flush(float64(v))))
			switch {
			case y == 0 || math.IsInf(y, 0) || math.IsNaN(y):
				want[i] = Value{Want: y}
			case math.Abs(y) >= 0x1p128:
				want[i] = Value{Want: math.Inf(int(math.Copysign(1, y)))}
			case strings.HasPrefix(f.op, "lg2") && v > 0.5 && v < 2:
				want[i] = Value{y, f.relative + 0x1p-24*math.Abs(y)}
			default:
				want[i] = Value{y, max((f.relative+0x1p-24)*math.Abs(y), 0x1p-150)}
			}
		}
		name := f.op
		if len(all) > 0 && all[len(all)-1].Name == name {
			name += fmt.Sprintf(" %g to %g", f.lo, f.hi)
		}
		all = append(all, lanes(Vector{Name: name, Target: "sm_75", Format: F32, Want: want, Bound: f.bound},
			kernel{ptx: f.ptx, out: 1, body: f.op + " %o0, %i0;"}, bitsOf(x)))
	}
	return all
}
