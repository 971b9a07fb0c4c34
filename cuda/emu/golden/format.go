package golden

import (
	"encoding/binary"
	"math"
)

// Format is the type of an element.
type Format int

// The formats of outputs.
const (
	Word Format = iota // 32 bits
	F32
	F16
	BF16
	F64
)

func (f Format) size() int { return [...]int{4, 4, 2, 2, 8}[f] }

// bits are those of element i.
func (f Format) bits(b []byte, i int) uint64 {
	b = b[i*f.size():]
	switch f.size() {
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	return uint64(binary.LittleEndian.Uint32(b))
}

// value is element i as a number, exactly; a Word is one without sign.
func (f Format) value(b []byte, i int) float64 { return f.decode(f.bits(b, i)) }

func (f Format) decode(x uint64) float64 {
	switch f {
	case F32:
		return float64(math.Float32frombits(uint32(x)))
	case BF16:
		return float64(math.Float32frombits(uint32(x) << 16))
	case F64:
		return math.Float64frombits(x)
	case F16:
		sign, e, m := float64(1), int(x>>10&31), float64(x&0x3ff)
		if x>>15 != 0 {
			sign = -1
		}
		switch {
		case e == 31 && m != 0:
			return math.NaN()
		case e == 31:
			return math.Inf(int(sign))
		case e == 0:
			return math.Copysign(math.Ldexp(m, -24), sign)
		}
		return sign * math.Ldexp(1024+m, e-25)
	}
	return float64(x)
}

// round is the number of the format that is nearest to v, of two the even one (IEEE 754, roundTiesToEven).
func (f Format) round(v float64) float64 {
	mantissa, emin, most := 10, -14, 65504.0
	switch f {
	case F32:
		return float64(float32(v))
	case BF16:
		mantissa, emin, most = 7, -126, 0x1.fep127
	case F64, Word:
		return v
	}
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	_, e := math.Frexp(v)
	last := max(e-1, emin) - mantissa // exponent of the last place
	r := math.Ldexp(math.RoundToEven(math.Ldexp(v, -last)), last)
	if math.Abs(r) > most {
		return math.Inf(int(math.Copysign(1, v)))
	}
	return math.Copysign(r, v)
}

// encode16 are the bits of v, which has F16 or BF16 exactly.
func (f Format) encode16(v float64) uint16 {
	if f == BF16 {
		return uint16(math.Float32bits(float32(v)) >> 16)
	}
	var sign uint16
	if math.Signbit(v) {
		sign, v = 0x8000, -v
	}
	switch {
	case math.IsNaN(v):
		return 0x7fff
	case math.IsInf(v, 0):
		return sign | 0x7c00
	case v < 0x1p-14:
		return sign | uint16(math.Ldexp(v, 24))
	}
	_, e := math.Frexp(v)
	return sign | uint16(e+14)<<10 | uint16(math.Ldexp(v, 11-e))&0x3ff
}

// words makes the bytes of operands.
func words(v []uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// exact are correctly rounded results.
func exact(v []float64) []Value {
	w := make([]Value, len(v))
	for i, x := range v {
		w[i].Want = x
	}
	return w
}
