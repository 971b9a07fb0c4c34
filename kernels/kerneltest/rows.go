package kerneltest

import (
	"fmt"
	"math"
	"strings"

	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// rowCases are those of the kernels that work on rows alone.
func rowCases() []Case {
	var all []Case
	add := func(k *kernels.Kernel, name string, run func(m *Machine, k *kernels.Kernel) error) {
		all = append(all, Case{name, k.Name, func(m *Machine) error { return run(m, k) }})
	}
	for _, k := range kernels.All() {
		switch family, _, _ := strings.Cut(k.Name, "_"); family {
		case "norm":
			all = append(all, normCasesOf(k)...)
		case "embed":
			for _, c := range embedCases {
				add(k, c.name, c.run)
			}
		case "gather":
			for _, c := range gatherCases {
				add(k, c.name, c.run)
			}
		case "pool":
			for how := runtime.PoolFirst; how <= runtime.PoolWeighted; how++ {
				for _, c := range poolCases {
					add(k, fmt.Sprintf("%v, %s", how, c.name), func(m *Machine, k *kernels.Kernel) error { return c.run(m, k, how) })
				}
			}
			add(k, "the same bits in any batch", poolSameBits)
		case "convert":
			for _, c := range convertCases {
				add(k, c.name, c.run)
			}
		case "angles":
			for _, c := range angleCases {
				add(k, c.name, c.run)
			}
		case "paged", "decode":
			all = append(all, pagedCasesOf(k)...)
		case "append":
			for _, c := range appendCases {
				add(k, c.name, c.run)
			}
		case "rotate":
			for _, c := range rotateCases {
				add(k, c.name, c.run)
			}
		}
	}
	return all
}

// exact is Close without an error, infinities and NaN included.
func (m *Machine) exact(y *Matrix, want []float64) error {
	got, err := m.Read(y)
	if err != nil {
		return err
	}
	for i, w := range want {
		if got[i] != w && !(math.IsNaN(got[i]) && math.IsNaN(w)) {
			return fmt.Errorf("element [%d,%d] is %g, want %g", i/y.Cols, i%y.Cols, got[i], w)
		}
	}
	return nil
}

// gathering is one y[i] = x[rows[i]].
type gathering struct {
	rows        []int32
	cols, apart int
	off         byte // x or y, where it alone begins on no vector's boundary; X or Y, where its later rows do
}

func (c gathering) run(m *Machine, k *kernels.Kernel) error {
	const limit = 6
	t := runtime.F32
	if k.Name == "gather_16" {
		t = runtime.F16
	}
	x, err := m.Random(limit, c.cols, c.cols+c.apart+shift(c.off, 'X'), c.apart+shift(c.off, 'x'), t, 1)
	if err != nil {
		return err
	}
	y, err := m.Random(len(c.rows), c.cols, c.cols+2*c.apart+shift(c.off, 'Y'), c.apart+shift(c.off, 'y'), t, 1)
	if err != nil {
		return err
	}
	a := &kernels.Gather{X: x.Ptr, Y: y.Ptr, N: int32(len(c.rows)), Cols: int32(c.cols), LDX: int32(x.LD), LDY: int32(y.LD),
		Limit: limit}
	if a.Rows, err = m.Ints(c.rows); err != nil {
		return err
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	want := make([]float64, len(c.rows)*c.cols)
	for i, r := range c.rows {
		if r >= 0 && r < limit {
			copy(want[i*c.cols:], x.V[int(r)*c.cols:][:c.cols])
		}
	}
	return m.exact(y, want)
}

var gatherCases = []struct {
	name string
	gathering
}{
	{"one element", gathering{rows: []int32{5}, cols: 1}},
	{"repeated, absent and foreign rows", gathering{rows: []int32{5, 5, -1, 0, 3, 6, 1 << 30, 2, 1, -9}, cols: 17}},
	{"vectors", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, apart: 8}},
	{"x alone on no boundary", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, off: 'x'}},
	{"y alone on no boundary", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, off: 'y'}},
	{"x's rows on no boundary", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, off: 'X'}},
	{"y's rows on no boundary", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, off: 'Y'}},
	{"vectors apart, on no boundary", gathering{rows: []int32{5, 0, -1, 4}, cols: 64, apart: 1}},
	{"several tiles", gathering{rows: []int32{1, -1, 3}, cols: 1032}},
	{"several tiles, odd", gathering{rows: []int32{1, -1, 3}, cols: 1031, apart: 2}},
}

// pooling is a reduction of ranges of 300 rows.
type pooling struct{ cols, apart, wide int }

func (c pooling) run(m *Machine, k *kernels.Kernel, how runtime.Pooling) error {
	const limit = 300
	x, err := m.Random(limit, c.cols, c.cols+c.apart, c.apart, types(k)[0], 1)
	if err != nil {
		return err
	}
	ranges := [][3]int32{{0, 1, 0}, {0, limit, 0}, {7, 7, 7}, {3, 20, 1}, {299, 300, 290}, {9, 8, 9}, {-1, 3, 0}, {5, limit + 1, 5},
		{20, 85, 20}, {0, 263, 0}}
	y, err := m.Random(len(ranges), c.cols, c.cols+c.apart, c.apart, runtime.F32, 1)
	if err != nil {
		return err
	}
	wide := c.wide
	if how == runtime.PoolWeighted {
		wide = 3
	}
	var flat []int32
	for _, r := range ranges {
		flat = append(flat, r[:wide]...)
	}
	a := &kernels.Pool{X: x.Ptr, Y: y.Ptr, N: int32(len(ranges)), Width: int32(c.cols),
		LDX: int32(x.LD), LDR: int32(wide), LDY: int32(y.LD), How: int32(how), Limit: limit}
	if a.Ranges, err = m.Ints(flat); err != nil {
		return err
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	var want []float64
	for _, r := range ranges {
		want = append(want, pooled(x, r, how)...)
	}
	return m.Close(y, want, 2e-6, 1)
}

// pooled is one range of x by definition.
func pooled(x *Matrix, r [3]int32, how runtime.Pooling) []float64 {
	y := make([]float64, x.Cols)
	from, to := int(r[0]), int(r[1])
	if from < 0 || from >= to || to > x.Rows {
		return y
	}
	for c := range y {
		total, most := 0.0, math.Inf(-1)
		weights := 0.0
		for t := from; t < to; t++ {
			w := 1.0
			if how == runtime.PoolWeighted {
				w = float64(t - int(r[2]) + 1)
			}
			weights += w
			total += w * x.At(t, c)
			most = max(most, x.At(t, c))
		}
		switch how {
		case runtime.PoolFirst:
			y[c] = x.At(from, c)
		case runtime.PoolLast:
			y[c] = x.At(to-1, c)
		case runtime.PoolMax:
			y[c] = most
		case runtime.PoolSum:
			y[c] = total
		case runtime.PoolMeanSqrt:
			y[c] = total / math.Sqrt(float64(to-from))
		default:
			y[c] = total / weights
		}
	}
	return y
}

var poolCases = []struct {
	name string
	pooling
}{
	{"one column", pooling{cols: 1, wide: 2}},
	{"70 columns on no boundary", pooling{cols: 70, apart: 1, wide: 2}},
	{"two tiles, ranges of three", pooling{cols: 130, apart: 2, wide: 3}},
}

// poolSameBits pools the same rows at the front of a matrix and behind others.
func poolSameBits(m *Machine, k *kernels.Kernel) error {
	const n, cols, before = 275, 40, 13
	t := types(k)[0]
	x, err := m.Random(before+n, cols, cols, 0, t, 1)
	if err != nil {
		return err
	}
	front, err := m.Place(n, cols, cols, 0, t, x.V[before*cols:])
	if err != nil {
		return err
	}
	var results [2][]float64
	for i, in := range []*Matrix{x, front} {
		y, err := m.Random(2, cols, cols, 0, runtime.F32, 1)
		if err != nil {
			return err
		}
		first := int32(in.Rows - n)
		a := &kernels.Pool{X: in.Ptr, Y: y.Ptr, N: 2, Width: cols, LDX: cols, LDR: 2, LDY: cols,
			How: int32(runtime.PoolMean), Limit: int32(in.Rows)}
		if a.Ranges, err = m.Ints([]int32{0, 1 + first, first, first + n}); err != nil {
			return err
		}
		if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
			return err
		}
		if results[i], err = m.Read(y); err != nil {
			return err
		}
	}
	for c := range cols {
		if a, b := results[0][cols+c], results[1][cols+c]; a != b {
			return fmt.Errorf("column %d is %g in front and %g behind other rows", c, b, a)
		}
	}
	return nil
}

// conversion is one y = x in y's type.
type conversion struct {
	rows, cols, width int
	apart             int
	off               byte // x or y, where it alone begins on no vector's boundary; X or Y, where its later rows do
	pad               int  // elements between y's rows besides
	repeat            bool // LDX 0
}

func (c conversion) run(m *Machine, k *kernels.Kernel) error {
	t := types(k)
	in := c.rows
	if c.repeat {
		in = 1
	}
	// Ties, values between subnormals, below and above float16's range.
	edges := []float64{0, 1 + 0x1p-11, 1 + 0x3p-11, 1 + 0x1p-8, 1 + 0x3p-8, 65519, 65520, -70000,
		0x1p-24, 0x1p-25, 0x3p-25, 6e-5, 1e30, -1e-30, math.Inf(1)}
	v := make([]float64, in*c.cols)
	for i := range v {
		v[i] = m.Rand.NormFloat64() * 100
		if i%3 == 0 {
			v[i] = edges[i/3%len(edges)]
		}
	}
	x, err := m.Place(in, c.cols, c.cols+c.apart+shift(c.off, 'X'), c.apart+shift(c.off, 'x'), t[0], v)
	if err != nil {
		return err
	}
	y, err := m.Random(c.rows, c.width, c.width+c.apart+c.pad+shift(c.off, 'Y'), c.apart+shift(c.off, 'y'), t[1], 1)
	if err != nil {
		return err
	}
	a := &kernels.Convert{X: x.Ptr, Y: y.Ptr, Rows: int32(c.rows), Cols: int32(c.cols), Width: int32(c.width),
		LDX: int32(x.LD), LDY: int32(y.LD)}
	if c.repeat {
		a.LDX = 0
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	want := make([]float64, c.rows*c.width)
	for r := range c.rows {
		for i := range c.cols {
			want[r*c.width+i] = rounded(t[1], x.At(r%in, i))
		}
	}
	return m.exact(y, want)
}

// rounded is v as a t.
func rounded(t runtime.DType, v float64) float64 {
	var b [4]byte
	return put(b[:], t, v)
}

var convertCases = []struct {
	name string
	conversion
}{
	{"one element", conversion{rows: 1, cols: 1, width: 1}},
	{"odd rows", conversion{rows: 9, cols: 45, width: 45}},
	{"vectors and zeros", conversion{rows: 3, cols: 60, width: 64, apart: 4}},
	{"x alone on no boundary", conversion{rows: 3, cols: 60, width: 64, off: 'x'}},
	{"y alone on no boundary", conversion{rows: 3, cols: 60, width: 64, off: 'y'}},
	{"x's rows on no boundary", conversion{rows: 3, cols: 60, width: 64, off: 'X'}},
	{"y's rows on no boundary", conversion{rows: 3, cols: 60, width: 64, off: 'Y'}},
	{"an odd width, but rows on boundaries", conversion{rows: 3, cols: 60, width: 61, pad: 3}},
	{"vectors on no boundary", conversion{rows: 3, cols: 60, width: 64, apart: 1}},
	{"zeros behind an odd row", conversion{rows: 2, cols: 5, width: 11, apart: 3}},
	{"nothing but zeros", conversion{rows: 2, cols: 0, width: 8}},
	{"one row repeated", conversion{rows: 10, cols: 33, width: 36, repeat: true}},
	{"one aligned row repeated", conversion{rows: 10, cols: 32, width: 32, repeat: true}},
	{"several tiles", conversion{rows: 1, cols: 2052, width: 2056}},
	{"several tiles, odd", conversion{rows: 1, cols: 1027, width: 2051}},
}
