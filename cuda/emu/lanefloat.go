package emu

import (
	"math"
	"math/bits"
)

// floatMods are the modifiers of a floating-point instruction.
type floatMods struct {
	r         rounding
	ftz, sat  bool
	relu, nan bool
	xorsign   bool
}

func (d *decoder) floatMods() floatMods {
	m := floatMods{ftz: d.has("ftz"), sat: d.has("sat"), relu: d.has("relu"), nan: d.has("NaN"), xorsign: d.has("xorsign")}
	for _, o := range d.f.op[1:] {
		if r, ok := roundings[o]; ok {
			m.r = r
		}
	}
	return m
}

// flush turns a subnormal number into a zero of its sign.
func (f *format) flush(x uint64) uint64 {
	top := uint64(1) << (f.bits - 1)
	if x&^top < 1<<f.mant {
		return x & top
	}
	return x
}

// finish applies saturation, relu and ftz to a result.
func (m floatMods) finish(f *format, v uint64) uint64 {
	top := uint64(1) << (f.bits - 1)
	isNaN := v&^top > f.max+1
	switch {
	case m.sat && (isNaN || v&top != 0):
		return 0
	case m.sat && f.decode(v) > 1:
		return f.encode(1, roundNearest, false)
	case m.relu && v&top != 0 && !isNaN:
		return 0
	case m.ftz:
		return f.flush(v)
	}
	return v
}

// floatFunc finds the function of an arithmetic instruction on a floating-point type; packed types apply it twice.
func floatFunc(d *decoder, base, t string) laneFunc {
	m := d.floatMods()
	switch t {
	case "f64":
		return doubleFunc(base, m)
	case "f16x2", "bf16x2":
		f := formats[t[:len(t)-2]]
		one := scalarFunc(d, base, f, m)
		if one == nil {
			return nil
		}
		return func(x, y, z uint64) uint64 {
			return one(x&0xffff, y&0xffff, z&0xffff) | one(x>>16, y>>16, z>>16)<<16
		}
	}
	f := formats[t]
	if f == nil {
		return nil
	}
	return scalarFunc(d, base, f, m)
}

// scalarFunc is the operation on one value of a format of at most 32 bits.
func scalarFunc(d *decoder, base string, f *format, m floatMods) laneFunc {
	in := func(x uint64) float64 {
		if m.ftz {
			x = f.flush(x)
		}
		return f.decode(x)
	}
	two := func(op func(x, y float64) float64) laneFunc {
		return func(x, y, _ uint64) uint64 { return m.finish(f, f.encode(op(in(x), in(y)), m.r, false)) }
	}
	top := uint64(1) << (f.bits - 1)
	switch base {
	case "add":
		return two(oddAdd)
	case "sub":
		return two(func(x, y float64) float64 { return oddAdd(x, -y) })
	case "mul":
		return two(func(x, y float64) float64 { return x * y })
	case "fma", "mad":
		return func(x, y, z uint64) uint64 { return m.finish(f, f.encode(oddAdd(in(x)*in(y), in(z)), m.r, false)) }
	case "div":
		if d.has("approx") || d.has("full") {
			return two(func(x, y float64) float64 { return significant(x/y, 23) })
		}
		return two(oddDiv)
	case "abs":
		return func(x, _, _ uint64) uint64 { return m.finish(f, x&^top) }
	case "neg":
		return func(x, _, _ uint64) uint64 { return m.finish(f, x^top) }
	case "min", "max":
		return func(x, y, _ uint64) uint64 {
			if m.ftz {
				x, y = f.flush(x), f.flush(y)
			}
			var sign uint64
			if m.xorsign {
				sign = (x ^ y) & top
				x, y = x&^top, y&^top
			}
			return f.minmax(base == "max", m.nan, x, y) | sign
		}
	}
	return nil
}

func (f *format) minmax(larger, nan bool, x, y uint64) uint64 {
	a, b := f.decode(x), f.decode(y)
	switch {
	case a != a && b != b, nan && (a != a || b != b):
		return f.nan
	case a != a:
		return y
	case b != b:
		return x
	case a == b: // zeros of either sign: -0 is the smaller
		if larger == math.Signbit(a) {
			return y
		}
		return x
	case larger == (a > b):
		return x
	}
	return y
}

func doubleFunc(base string, m floatMods) laneFunc {
	if m.r != roundNearest || m.ftz {
		return nil
	}
	f, u := math.Float64frombits, func(v float64) uint64 {
		switch {
		case m.sat && !(v > 0):
			v = 0
		case m.sat && v > 1:
			v = 1
		}
		return math.Float64bits(v)
	}
	switch base {
	case "add":
		return func(x, y, _ uint64) uint64 { return u(f(x) + f(y)) }
	case "sub":
		return func(x, y, _ uint64) uint64 { return u(f(x) - f(y)) }
	case "mul":
		return func(x, y, _ uint64) uint64 { return u(f(x) * f(y)) }
	case "fma", "mad":
		return func(x, y, z uint64) uint64 { return u(math.FMA(f(x), f(y), f(z))) }
	case "div":
		return func(x, y, _ uint64) uint64 { return u(f(x) / f(y)) }
	case "abs":
		return func(x, _, _ uint64) uint64 { return x &^ (1 << 63) }
	case "neg":
		return func(x, _, _ uint64) uint64 { return x ^ 1<<63 }
	case "min", "max":
		return func(x, y, _ uint64) uint64 {
			a, b := f(x), f(y)
			switch {
			case a != a && b != b:
				return 0x7fffffffffffffff
			case a != a:
				return y
			case b != b:
				return x
			case base == "max":
				return math.Float64bits(math.Max(a, b))
			}
			return math.Float64bits(math.Min(a, b))
		}
	}
	return nil
}

// transcendental finds rcp, rsqrt, sqrt, sin, cos, lg2, ex2 and tanh, approximate or correctly rounded.
func transcendental(d *decoder) laneSpec {
	base, t := d.f.op[0], d.last()
	m := d.floatMods()
	s := laneSpec{dst: t, srcs: same(t, 1), class: ClassSpecial}
	approx := d.has("approx")
	if t == "f64" {
		f := math.Float64frombits
		switch {
		case base == "rcp" && !approx && m.r == roundNearest:
			s.fn = func(x, _, _ uint64) uint64 { return math.Float64bits(1 / f(x)) }
		case base == "sqrt" && !approx && m.r == roundNearest:
			s.fn = func(x, _, _ uint64) uint64 { return math.Float64bits(math.Sqrt(f(x))) }
		case base == "rcp" || base == "rsqrt": // rcp.approx.ftz.f64, rsqrt.approx.f64: 20 and 27 good bits
			n := map[string]int{"rcp": 20, "rsqrt": 27}[base]
			s.fn = func(x, _, _ uint64) uint64 { return math.Float64bits(significant(exact[base](f(x)), n)) }
		}
		return s
	}
	scalar := t
	packed := t == "f16x2" || t == "bf16x2"
	if packed {
		scalar = t[:len(t)-2]
	}
	f := formats[scalar]
	if f == nil {
		return s
	}
	var fn func(float64) float64
	switch {
	case approx && f.bits == 16:
		fn = exact[base]
	case approx:
		fn = approximations[base]
	case base == "rcp":
		fn = func(x float64) float64 { return oddDiv(1, x) }
	case base == "sqrt":
		fn = oddSqrt
	}
	if fn == nil {
		return s
	}
	one := func(x uint64) uint64 {
		if m.ftz {
			x = f.flush(x)
		}
		return m.finish(f, f.encode(fn(f.decode(x)), m.r, false))
	}
	s.fn = func(x, _, _ uint64) uint64 { return one(x) }
	if packed {
		s.fn = func(x, _, _ uint64) uint64 { return one(x&0xffff) | one(x>>16)<<16 }
	}
	return s
}

// exact are the functions without the cut to the documented precision.
var exact = map[string]func(float64) float64{
	"ex2": math.Exp2, "tanh": math.Tanh,
	"rcp":   func(x float64) float64 { return 1 / x },
	"rsqrt": func(x float64) float64 { return 1 / math.Sqrt(x) },
}

// testp sets a predicate by a floating-point number's class.
func (d *decoder) testp() {
	d.count(2, 2)
	if len(d.f.op) != 3 || d.err != nil {
		d.errorf("operands of %s", d.opcode())
		return
	}
	in, test, t := d.in, d.f.op[1], d.last()
	if t != "f32" && t != "f64" {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	in.class = ClassCompare
	d.dst(d.arg(0), bankPred, &in.d)
	d.src(d.arg(1), t, &in.a)
	wide, small := t == "f64", 0x1p-126
	if wide {
		small = 0x1p-1022
	}
	in.exec = func(w *warp, in *inst, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			var v float64
			if b := w.lane(in.a, wide, l); wide {
				v = math.Float64frombits(b)
			} else {
				v = float64(float32s(uint32(b)))
			}
			inf, nan, a := math.IsInf(v, 0), v != v, math.Abs(v)
			is := map[string]bool{"finite": !inf && !nan, "infinite": inf, "number": !nan, "notanumber": nan,
				"normal": a >= small && !inf, "subnormal": a > 0 && a < small}[test]
			w.setPred(in.d, l, is)
		}
	}
}

func (w *warp) setPred(p int32, lane int, v bool) {
	if v {
		w.pred[p] |= 1 << lane
	} else {
		w.pred[p] &^= 1 << lane
	}
}
