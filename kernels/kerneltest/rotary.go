package kerneltest

import (
	"math"

	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// turning is a table of angles.
type turning struct {
	half     int
	factor   float32
	variants int // rows of frequencies, picked by each sequence; 0 for one row and no choice
	apart    int
}

func (c turning) run(m *Machine, k *kernels.Kernel) error {
	cum := []int32{0, 0, 3, 4, 4, 10}
	pos := []int32{0, 1, 2, 8191, 7, 100, 131071, 65535, 3, 77777}
	pick := []int32{1, 0, 2, 0, 1}
	rows := max(c.variants, 1)
	f := make([]float64, rows*c.half)
	for r := range rows {
		for i := range c.half {
			f[r*c.half+i] = math.Pow(1e4*float64(r+1), -float64(i)/float64(c.half))
		}
	}
	freqs, err := m.Place(rows, c.half, c.half+c.apart, c.apart, runtime.F32, f)
	if err != nil {
		return err
	}
	y, err := m.Random(len(pos), 2*c.half, 2*c.half, c.apart, runtime.F32, 1)
	if err != nil {
		return err
	}
	a := &kernels.Angles{Freqs: freqs.Ptr, Y: y.Ptr, Rows: int32(len(pos)), Sequences: int32(len(cum) - 1), Half: int32(c.half),
		LDF: int32(freqs.LD), Variants: int32(rows), Factor: c.factor}
	if a.Pos, err = m.Ints(pos); err != nil {
		return err
	}
	if a.Cum, err = m.Ints(cum); err != nil {
		return err
	}
	if c.variants > 0 {
		if a.Variant, err = m.Ints(pick); err != nil {
			return err
		}
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	want := make([]float64, len(y.V))
	for t, p := range pos {
		variant, s := 0, 0
		for int32(t) >= cum[s+1] {
			s++
		}
		if c.variants > 0 {
			variant = int(pick[s])
		}
		for i := range c.half {
			angle := float64(float32(p) * float32(freqs.At(variant, i)))
			want[t*2*c.half+i] = math.Cos(angle) * float64(c.factor)
			want[t*2*c.half+c.half+i] = math.Sin(angle) * float64(c.factor)
		}
	}
	return m.Close(y, want, 1e-6, 1)
}

var angleCases = []struct {
	name string
	turning
}{
	{"one frequency", turning{half: 1, factor: 1}},
	{"one rotary", turning{half: 32, factor: 1}},
	{"a variant for each sequence, a factor", turning{half: 5, factor: 1.5, variants: 3, apart: 1}},
}

// rotation is the norm and the rotary of rows of heads.
type rotation struct {
	rows, heads, dim, half int
	interleaved            bool
	affine
	apart int
	over  bool // y is x
}

func (c rotation) run(m *Machine, k *kernels.Kernel) error {
	t := types(k)[0]
	cols := c.heads * c.dim
	x, err := m.Random(c.rows, cols, cols+c.apart, c.apart, t, 1)
	if err != nil {
		return err
	}
	y := x
	if !c.over {
		if y, err = m.Random(c.rows, cols, cols+2*c.apart, c.apart, t, 1); err != nil {
			return err
		}
	}
	v := make([]float64, c.rows*2*c.half)
	for r := range c.rows {
		for i := range c.half {
			angle := m.Rand.Float64() * 7
			v[r*2*c.half+i], v[r*2*c.half+c.half+i] = math.Cos(angle), math.Sin(angle)
		}
	}
	angles, err := m.Place(c.rows, 2*c.half, 2*c.half+c.apart, c.apart, runtime.F32, v)
	if err != nil {
		return err
	}
	n, err := c.affine.place(m, c.dim, c.apart, c.apart)
	if err != nil {
		return err
	}
	a := &kernels.Rotate{X: x.Ptr, Y: y.Ptr, Angles: angles.Ptr, Rows: int32(c.rows), Heads: int32(c.heads), Dim: int32(c.dim),
		LDX: int32(x.LD), LDY: int32(y.LD), LDA: int32(angles.LD), Half: int32(c.half)}
	a.Kind, a.Eps, a.W, a.B = n.args()
	if c.interleaved {
		a.Interleaved = 1
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	var want []float64
	for r := range c.rows {
		for h := range c.heads {
			head := n.row(x.V[r*cols+h*c.dim:][:c.dim])
			for i := range c.half {
				p, q := i, i+c.half
				if c.interleaved {
					p, q = 2*i, 2*i+1
				}
				cos, sin := angles.At(r, i), angles.At(r, c.half+i)
				head[p], head[q] = head[p]*cos-head[q]*sin, head[q]*cos+head[p]*sin
			}
			want = append(want, head...)
		}
	}
	return m.Close(y, want, rounding(t, 2e-6), 1)
}

var rotateCases = []struct {
	name string
	rotation
}{
	{"halves of 64", rotation{rows: 5, heads: 12, dim: 64, half: 32, affine: noNorm}},
	{"in place, five heads", rotation{rows: 3, heads: 5, dim: 24, half: 12, affine: noNorm, over: true, apart: 1}},
	{"half of the channels", rotation{rows: 2, heads: 3, dim: 80, half: 20, affine: noNorm}},
	{"interleaved", rotation{rows: 2, heads: 2, dim: 20, half: 8, affine: noNorm, interleaved: true, apart: 3}},
	{"wide heads", rotation{rows: 1, heads: 1, dim: 256, half: 128, affine: noNorm}},
	{"two channels", rotation{rows: 9, heads: 1, dim: 2, half: 1, affine: noNorm}},
	{"rms and halves", rotation{rows: 3, heads: 6, dim: 128, half: 64, affine: rms}},
	{"layer norm and interleaved, in place", rotation{rows: 2, heads: 5, dim: 36, half: 16, affine: layer, interleaved: true, over: true}},
	{"l2 and no rotation", rotation{rows: 2, heads: 3, dim: 33, affine: l2}},
	{"norm and half of the channels", rotation{rows: 2, heads: 4, dim: 96, half: 24, affine: layer, apart: 1, over: true}},
}
