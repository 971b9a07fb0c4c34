package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// product is one y = cap(act(x·wᵀ + bias)), its operands and how they lie in memory.
type product struct {
	m, n, k    int
	act        runtime.Act
	cap        float32
	gate, add  bool
	out32      bool
	noBias     bool
	loud       bool // some biases are ±300, beyond where an exp overflows once it is squared
	apart      int  // elements between the rows of x and w beyond k: multiples of 8 (x of float32 products: any)
	yApart, y0 int  // elements between the rows of y, and before the first
	blocks     int  // of a persistent kernel; 0 for one a tile
}

// operands are a product's matrices on the device.
type operands struct {
	x, w, bias, y *Matrix
	before        []float64 // y's values before the product
}

// place puts random operands of kernel k on the device: sums of deviation 2, so that activations bend.
func (p *product) place(m *Machine, t runtime.DType) (*operands, error) {
	xApart, wApart := p.apart, p.apart
	if t == runtime.F32 && p.apart > 0 { // x has no alignment, w's rows begin on 16 bytes
		xApart, wApart = p.apart-1, (p.k+3)/4*4-p.k+p.apart/4*4
	} else if t == runtime.F32 {
		wApart = (p.k+3)/4*4 - p.k
	}
	o := &operands{}
	var err [4]error
	o.x, err[0] = m.Random(p.m, p.k, p.k+xApart, xApart, t, 1)
	o.w, err[1] = m.Random(p.n, p.k, p.k+wApart, p.apart/4*4, t, 2/math.Sqrt(float64(p.k)))
	bias := make([]float64, p.n)
	for i := range bias {
		bias[i] = m.Rand.NormFloat64()
		if p.loud && i%3 == 0 {
			bias[i] = []float64{300, -300, 40, -40}[i/3%4]
		}
	}
	o.bias, err[2] = m.Place(1, p.n, p.n, 0, runtime.F32, bias)
	cols := p.n
	if p.gate {
		cols /= 2
	}
	yt := t
	if p.out32 {
		yt = runtime.F32
	}
	o.before = make([]float64, p.m*cols)
	for i := range o.before {
		o.before[i] = m.Rand.NormFloat64()
	}
	o.y, err[3] = m.Place(p.m, cols, cols+p.yApart, p.y0, yt, o.before)
	for _, e := range err {
		if e != nil {
			return nil, e
		}
	}
	o.before = slices.Clone(o.y.V)
	return o, nil
}

// args fill the kernel's struct; rows counts from the first.
func (p *product) args(o *operands, rows int) *kernels.Gemm {
	a := &kernels.Gemm{X: o.x.Ptr, W: o.w.Ptr, Y: o.y.Ptr, Bias: o.bias.Ptr,
		M: int32(rows), N: int32(p.n), K: int32(p.k), LDX: int32(o.x.LD), LDW: int32(o.w.LD), LDY: int32(o.y.LD),
		Act: int32(p.act), Cap: p.cap}
	if p.noBias {
		a.Bias = 0
	}
	if p.gate {
		a.Flags |= kernels.Gate
	}
	if p.add {
		a.Flags |= kernels.Add
	}
	if p.out32 {
		a.Flags |= kernels.OutF32
	}
	return a
}

// launch runs kernel k on the first rows of the operands.
func (p *product) launch(m *Machine, k *kernels.Kernel, o *operands, rows int) error {
	a := p.args(o, rows)
	blocks := p.blocks
	if blocks == 0 {
		blocks = m.Context.Properties().Multiprocessors
	}
	var maps []*cuda.TensorMap
	if k.Maps > 0 {
		for _, spec := range []cuda.TensorMapSpec{k.MapX(a), k.MapW(a)} {
			t, err := m.Context.EncodeTensorMap(&spec)
			if err != nil {
				return err
			}
			maps = append(maps, &t)
		}
	}
	return m.Launch(k, a.Grid(k, blocks), kernels.Bytes(a), maps...)
}

// want is the product in float64.
func (p *product) want(o *operands) []float64 {
	cols := o.y.Cols
	want := make([]float64, p.m*cols)
	sum := func(r, c int) float64 {
		x, w := o.x.V[r*p.k:(r+1)*p.k], o.w.V[c*p.k:(c+1)*p.k]
		s := 0.0
		for i := range x {
			s += x[i] * w[i]
		}
		if !p.noBias {
			s += o.bias.V[c]
		}
		return s
	}
	for r := range p.m {
		for c := range cols {
			var v float64
			if p.gate {
				v = activated(sum(r, 2*c), p.act) * sum(r, 2*c+1)
			} else {
				v = activated(sum(r, c), p.act)
			}
			if p.cap != 0 {
				v = float64(p.cap) * math.Tanh(v/float64(p.cap))
			}
			if p.add {
				v += o.before[r*cols+c]
			}
			want[r*cols+c] = v
		}
	}
	return want
}

// activated is act(x) by its definition.
func activated(x float64, act runtime.Act) float64 {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	switch act {
	case runtime.ReLU:
		return max(x, 0)
	case runtime.Tanh:
		return math.Tanh(x)
	case runtime.Sigmoid:
		return sigmoid(x)
	case runtime.SiLU:
		return x * sigmoid(x)
	case runtime.GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case runtime.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case runtime.QuickGELU:
		return x * sigmoid(1.702*x)
	}
	return x
}

// run judges one launch.
func (p product) run(m *Machine, k *kernels.Kernel) error {
	t := operandType(k)
	o, err := p.place(m, t)
	if err != nil {
		return err
	}
	if err := p.launch(m, k, o, p.m); err != nil {
		return err
	}
	// Half a unit in the last place of the stored type, and what float32 sums and activations lose.
	tolerance := 1e-5
	switch o.y.Type {
	case runtime.F16:
		tolerance += 0x1p-11
	case runtime.BF16:
		tolerance += 0x1p-8
	}
	return m.Close(o.y, p.want(o), tolerance, 0.1)
}

// sameBits runs a product by k and by another kernel, or by k for fewer rows, and compares what both make, bit by bit.
func (p product) sameBits(m *Machine, k, other *kernels.Kernel, rows int) error {
	o, err := p.place(m, operandType(k))
	if err != nil {
		return err
	}
	if err := p.launch(m, k, o, p.m); err != nil {
		return err
	}
	first, err := m.Read(o.y)
	if err != nil {
		return err
	}
	again := *o
	if again.y, err = m.Place(o.y.Rows, o.y.Cols, o.y.LD, p.y0, o.y.Type, o.before); err != nil {
		return err
	}
	if err := p.launch(m, other, &again, rows); err != nil {
		return err
	}
	second, err := m.Read(again.y)
	if err != nil {
		return err
	}
	for i := range rows * o.y.Cols {
		if first[i] != second[i] && !(math.IsNaN(first[i]) && math.IsNaN(second[i])) {
			return fmt.Errorf("element [%d,%d] is %g by %s in %d rows, %g by %s in %d",
				i/o.y.Cols, i%o.y.Cols, first[i], k.Name, p.m, second[i], other.Name, rows)
		}
	}
	return nil
}

// curve judges an activation alone, value by value: x has one column that is not zero, w has ones there.
func curve(m *Machine, k *kernels.Kernel, act runtime.Act) error {
	const steps, wide = 128, 8 // values up to 16 in steps that every type has
	p := product{m: 2*steps + 1, n: 4, k: 8, act: act, out32: true, noBias: true}
	o, err := p.place(m, operandType(k))
	if err != nil {
		return err
	}
	x, w := make([]float64, p.m*p.k), make([]float64, p.n*p.k)
	for r := range p.m {
		x[r*p.k] = float64(r-steps) / wide
	}
	for c := range p.n {
		w[c*p.k] = 1
	}
	if o.x, err = m.Place(p.m, p.k, p.k, 0, o.x.Type, x); err != nil {
		return err
	}
	if o.w, err = m.Place(p.n, p.k, p.k, 0, o.w.Type, w); err != nil {
		return err
	}
	if err := p.launch(m, k, o, p.m); err != nil {
		return err
	}
	got, err := m.Read(o.y)
	if err != nil {
		return err
	}
	for i, want := range p.want(o) {
		if e := math.Abs(got[i] - want); !(e <= 2e-6*max(1, math.Abs(want))) {
			return fmt.Errorf("%v of %g is %g, want %g", act, x[i/p.n*p.k], got[i], want)
		}
	}
	return nil
}

// operandType is the type in a product's name.
func operandType(k *kernels.Kernel) runtime.DType {
	switch {
	case strings.Contains(k.Name, "_bf16"):
		return runtime.BF16
	case strings.Contains(k.Name, "_f16"):
		return runtime.F16
	}
	return runtime.F32
}

var productCases = []struct {
	name string
	product
}{
	{"one element", product{m: 1, n: 1, k: 8}},
	{"tails everywhere", product{m: 7, n: 63, k: 24}},
	{"tail of one row and column", product{m: 65, n: 65, k: 72, noBias: true}},
	{"a little less than a tile, float32 out", product{m: 63, n: 62, k: 64, out32: true}},
	{"long k, one row", product{m: 1, n: 129, k: 1000, out32: true}},
	{"two tiles and strides", product{m: 129, n: 7, k: 264, apart: 8, yApart: 5, y0: 3}},
	{"y on no vector's boundary", product{m: 5, n: 44, k: 32, yApart: 3, y0: 1, add: true}},
	{"y on odd elements, float32 out", product{m: 5, n: 44, k: 32, yApart: 3, y0: 1, add: true, out32: true}},
	{"added to y", product{m: 34, n: 40, k: 40, add: true}},
	{"added to a float32 y", product{m: 34, n: 40, k: 40, add: true, out32: true, yApart: 4, y0: 4}},
	{"relu", product{m: 9, n: 20, k: 16, act: runtime.ReLU, loud: true, out32: true}},
	{"tanh", product{m: 9, n: 20, k: 16, act: runtime.Tanh, out32: true}},
	{"tanh of large values", product{m: 9, n: 20, k: 16, act: runtime.Tanh, loud: true, out32: true}},
	{"sigmoid", product{m: 9, n: 20, k: 16, act: runtime.Sigmoid, loud: true, out32: true}},
	{"silu", product{m: 9, n: 20, k: 16, act: runtime.SiLU, out32: true}},
	{"silu of large values", product{m: 9, n: 20, k: 16, act: runtime.SiLU, loud: true, out32: true}},
	{"gelu", product{m: 9, n: 20, k: 16, act: runtime.GELU, out32: true}},
	{"gelu of large values", product{m: 9, n: 20, k: 16, act: runtime.GELU, loud: true}},
	{"gelu by tanh", product{m: 9, n: 20, k: 16, act: runtime.GELUTanh, out32: true}},
	{"gelu by tanh of large values", product{m: 9, n: 20, k: 16, act: runtime.GELUTanh, loud: true}},
	{"quick gelu", product{m: 9, n: 20, k: 16, act: runtime.QuickGELU, out32: true}},
	{"quick gelu of large values", product{m: 9, n: 20, k: 16, act: runtime.QuickGELU, loud: true}},
	{"gated pairs", product{m: 17, n: 72, k: 48, gate: true, act: runtime.SiLU}},
	{"gated pairs, odd width, float32 out", product{m: 17, n: 70, k: 48, gate: true, act: runtime.GELU, out32: true, yApart: 1, y0: 1}},
	{"gated pairs added to y", product{m: 3, n: 10, k: 8, gate: true, act: runtime.GELUTanh, add: true, cap: 5}},
	{"capped", product{m: 9, n: 20, k: 16, cap: 3, out32: true}},
	{"cap far above the values", product{m: 9, n: 20, k: 16, cap: 50, out32: true}},
}

// float32Cases are those that 16-bit rows cannot have.
var float32Cases = []struct {
	name string
	product
}{
	{"k of one", product{m: 3, n: 5, k: 1}},
	{"odd k, x on no boundary", product{m: 35, n: 67, k: 37, apart: 4, yApart: 1, y0: 1}},
	{"k one below a step", product{m: 4, n: 4, k: 15, apart: 8}},
}

// gemmCases are the products'.
func gemmCases() []Case {
	var all []Case
	add := func(k *kernels.Kernel, name string, run func(m *Machine, k *kernels.Kernel) error) {
		all = append(all, Case{name, k.Name, func(m *Machine) error { return run(m, k) }})
	}
	for _, k := range kernels.All() {
		if !strings.HasPrefix(k.Module, "gem") && k.Module != "wgmma" {
			continue
		}
		decode := strings.HasPrefix(k.Name, "gemv")
		for _, c := range productCases {
			add(k, c.name, c.run)
		}
		for act := runtime.None; act <= runtime.QuickGELU; act++ {
			add(k, "curve of "+act.String(), func(m *Machine, k *kernels.Kernel) error { return curve(m, k, act) })
		}
		if operandType(k) == runtime.F32 {
			for _, c := range float32Cases {
				add(k, c.name, c.run)
			}
		}
		if decode {
			layer := product{m: 2 * k.Tile[0], n: 64, k: 2048, add: true, out32: true}
			add(k, "a layer's width", layer.run)
		} else {
			bands := product{m: 9*k.Tile[0] + 1, n: k.Tile[1] + 4, k: 8, blocks: 3}
			add(k, "more than a band of tiles", bands.run)
			full := product{m: 2 * k.Tile[0], n: 2 * k.Tile[1], k: 512, act: runtime.GELU, blocks: 2}
			if operandType(k) == runtime.F32 {
				full.m, full.k = k.Tile[0], 96
			}
			add(k, "whole tiles", full.run)
			residual := product{m: k.Tile[0], n: k.Tile[1], k: 64, add: true, out32: true}
			add(k, "a whole tile added to y", residual.run)
			gated := product{m: k.Tile[0], n: k.Tile[1], k: 64, gate: true, act: runtime.SiLU}
			add(k, "a whole tile of gated pairs", gated.run)
		}
		rows := product{m: 67, n: 72, k: 328, act: runtime.SiLU}
		add(k, "a row alone and among others", func(m *Machine, k *kernels.Kernel) error {
			for _, n := range []int{1, 9, 66} {
				if err := rows.sameBits(m, k, k, n); err != nil {
					return err
				}
			}
			return nil
		})
		for _, other := range kernels.All() {
			if other.Module == k.Module && other.Name < k.Name && operandType(other) == operandType(k) {
				add(k, "same bits as "+other.Name, func(m *Machine, k *kernels.Kernel) error {
					return rows.sameBits(m, k, other, rows.m)
				})
			}
		}
	}
	return all
}
