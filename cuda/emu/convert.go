package emu

import "math"

// convert is cvt[.rnd][.ftz][.sat].dtype.atype, with the packed forms that make two narrow floats of two wide ones.
func (d *decoder) convert() {
	op := d.f.op
	if len(op) < 3 {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	dt, st := op[len(op)-2], op[len(op)-1]
	m := d.floatMods()
	finite := d.has("satfinite")
	m.sat = d.has("sat")
	s := laneSpec{dst: dt, srcs: []string{st}, class: ClassConvert}
	switch pair := packedFormats[dt]; {
	case pair != nil && st == "f32":
		s.dst, s.srcs = pair.reg, []string{"f32", "f32"}
		f := formats[pair.elem]
		one := func(x uint64) uint64 { return m.narrow(f, formats["f32"].decode(x), finite) }
		s.fn = func(x, y, _ uint64) uint64 { return one(x)<<f.bits | one(y) }
	case pair != nil && st == "f16x2", packedFormats[st] != nil && dt == "f16x2":
		from, to := packedFormats[st], packedFormats[dt]
		s.dst, s.srcs = to.reg, []string{from.reg}
		ff, tf := formats[from.elem], formats[to.elem]
		one := func(x uint64) uint64 { return m.narrow(tf, ff.decode(x&maskOf(ff.bits)), finite) }
		s.fn = func(x, _, _ uint64) uint64 { return one(x>>ff.bits)<<tf.bits | one(x) }
	case dt == "tf32" && st == "f32":
		s.dst = "b32"
		s.fn = func(x, _, _ uint64) uint64 { return m.narrow(formats["tf32"], formats["f32"].decode(x), finite) }
	default:
		s.fn = m.scalarConvert(op, dt, st, finite)
	}
	if s.fn == nil {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	d.convertLane(s, dt, st)
}

var packedFormats = map[string]*struct{ elem, reg string }{
	"f16x2": {"f16", "b32"}, "bf16x2": {"bf16", "b32"}, "e4m3x2": {"e4m3", "b16"}, "e5m2x2": {"e5m2", "b16"},
}

func (m floatMods) narrow(f *format, v float64, finite bool) uint64 {
	if m.relu && !(v > 0) && v == v {
		v = 0
	}
	return f.encode(v, m.r, finite)
}

// convertLane fills in a conversion. Registers may be wider than the types: a wider source is cut, and into a wider
// destination integers are extended by the destination type's sign.
func (d *decoder) convertLane(s laneSpec, dt, st string) {
	in := d.in
	d.count(1+len(s.srcs), 1+len(s.srcs))
	if d.err != nil {
		return
	}
	in.class, in.exec, in.a, in.b, in.c = s.class, execLane, -1, -1, -1
	in.lane = &laneOp{fn: s.fn}
	dclass, dbits, ok1 := typeBits(s.dst)
	sclass, sbits, ok2 := typeBits(s.srcs[0])
	if !ok1 || !ok2 {
		d.errorf("types of %s", d.opcode())
		return
	}
	a := d.arg(0)
	reg := d.bitsOf(a)
	if reg < dbits {
		d.errorf("destination of %s is narrower than %s", d.opcode(), dt)
		return
	}
	d.dst(a, bankOf(reg), &in.d)
	in.lane.wide[0], in.lane.mask[0] = reg == 64, maskOf(reg)
	if dclass == 's' && reg > dbits {
		fn := s.fn
		in.lane.fn = func(x, y, z uint64) uint64 { return uint64(signed(fn(x, y, z), dbits)) }
	} else {
		in.lane.mask[0] = maskOf(dbits)
	}
	for i := range s.srcs {
		a := d.arg(i + 1)
		reg := max(d.bitsOf(a), sbits)
		if a.kind == argReg && d.bitsOf(a) < sbits {
			d.errorf("source of %s is narrower than %s", d.opcode(), st)
			return
		}
		if a.kind != argReg {
			reg = sbits
		}
		in.lane.wide[i+1], in.lane.mask[i+1] = reg == 64, maskOf(sbits)
		d.source(a, bankOf(reg), sclass == 'f', sbits, []*int32{&in.a, &in.b}[i])
	}
}

// scalarConvert is the conversion between two scalar types.
func (m floatMods) scalarConvert(op []string, dt, st string, finite bool) laneFunc {
	dc, dn, ok1 := typeBits(dt)
	sc, sn, ok2 := typeBits(st)
	if !ok1 || !ok2 || dc == 'b' || sc == 'b' || dc == 'p' || sc == 'p' {
		return nil
	}
	integral := has(op, "rni") || has(op, "rzi") || has(op, "rmi") || has(op, "rpi")
	switch {
	case dc != 'f' && sc != 'f':
		return func(x, _, _ uint64) uint64 { return convertInt(x, sn, sc == 's', dn, dc == 's', m.sat) }
	case dc == 'f' && sc != 'f':
		return m.fromInt(dt, sn, sc == 's')
	}
	dec := decoderOf(st, m.ftz)
	if dec == nil {
		return nil
	}
	if dc != 'f' {
		if !integral {
			return nil
		}
		return func(x, _, _ uint64) uint64 { return toInt(roundIntegral(dec(x), m.r), dn, dc == 's', sn) }
	}
	if dn == 64 {
		return func(x, _, _ uint64) uint64 {
			v := dec(x)
			if integral {
				v = roundIntegral(v, m.r)
			}
			if m.sat {
				v = saturate(v)
			}
			return math.Float64bits(v)
		}
	}
	f := formats[dt]
	if f == nil {
		return nil
	}
	return func(x, _, _ uint64) uint64 {
		v := dec(x)
		if integral {
			v = roundIntegral(v, m.r)
		}
		if m.sat {
			v = saturate(v)
		}
		r := m.narrow(f, v, finite)
		if m.ftz {
			r = f.flush(r)
		}
		return r
	}
}

func saturate(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return min(v, 1)
}

// decoderOf widens a floating-point type to float64.
func decoderOf(t string, ftz bool) func(uint64) float64 {
	if t == "f64" {
		return math.Float64frombits
	}
	f := formats[t]
	if f == nil {
		return nil
	}
	if ftz {
		return func(x uint64) float64 { return f.decode(f.flush(x)) }
	}
	return f.decode
}

func roundIntegral(v float64, r rounding) float64 {
	switch r {
	case roundZero:
		return math.Trunc(v)
	case roundDown:
		return math.Floor(v)
	case roundUp:
		return math.Ceil(v)
	}
	return math.RoundToEven(v)
}

func convertInt(x uint64, sn int, ss bool, dn int, ds, sat bool) uint64 {
	v := x
	if ss {
		v = uint64(signed(x, sn))
	}
	if !sat {
		return v & maskOf(dn)
	}
	limit := maskOf(dn)
	if ds {
		limit >>= 1
	}
	if ss && int64(v) < 0 {
		if !ds {
			return 0
		}
		if int64(v) < -int64(limit)-1 {
			return limit + 1
		}
		return v & maskOf(dn)
	}
	return min(v, limit)
}

// toInt saturates an integral value. A NaN becomes 0, or 1<<63 where source or destination has 64 bits.
func toInt(v float64, n int, sg bool, sn int) uint64 {
	if v != v {
		if n == 64 || sn == 64 {
			return 1 << (n - 1)
		}
		return 0
	}
	if sg {
		top := math.Ldexp(1, n-1)
		switch {
		case v >= top:
			return maskOf(n - 1)
		case v < -top:
			return 1 << (n - 1)
		}
		return uint64(int64(v)) & maskOf(n)
	}
	switch {
	case v <= 0:
		return 0
	case v >= math.Ldexp(1, n):
		return maskOf(n)
	}
	return uint64(v)
}

// fromInt rounds an integer into a floating-point type.
func (m floatMods) fromInt(dt string, sn int, ss bool) laneFunc {
	f := formats[dt]
	if f == nil && dt != "f64" {
		return nil
	}
	return func(x, _, _ uint64) uint64 {
		neg := ss && signed(x, sn) < 0
		if neg {
			x = uint64(-signed(x, sn))
		}
		hi, lo := float64(x>>32)*(1<<32), float64(x&math.MaxUint32) // both exact
		if neg {
			hi, lo = -hi, -lo
		}
		v := oddAdd(hi, lo)
		if dt == "f64" {
			return math.Float64bits(roundSum(hi, lo, m.r))
		}
		if m.sat {
			v = saturate(v)
		}
		return f.encode(v, m.r, false)
	}
}

// roundSum is hi + lo in float64 in the given direction; |lo| is the smaller.
func roundSum(hi, lo float64, r rounding) float64 {
	s := hi + lo
	err := lo - (s - hi)
	switch {
	case r == roundDown && err < 0, r == roundZero && err < 0 && s > 0:
		return math.Nextafter(s, math.Inf(-1))
	case r == roundUp && err > 0, r == roundZero && err > 0 && s < 0:
		return math.Nextafter(s, math.Inf(1))
	}
	return s
}
