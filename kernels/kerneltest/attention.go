package kerneltest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// attending is one attention over packed sequences.
type attending struct {
	lens           []int
	heads, kvheads int
	dim            int // of attention_any; the others have their own
	window         int
	causal         bool
	cap            float32
	reach          int     // of an offset bias; 0 for none
	deviation      float64 // of queries and keys; 0 is 1
	apart          int     // elements between rows and before the first; in the builds for one size, as 16 bytes
	y0             int     // elements before the first of y
}

type attended struct {
	q, k, v, y, bias *Matrix
	cum              []int32
}

func (c *attending) place(m *Machine, t runtime.DType) (o attended, err error) {
	o.cum = []int32{0}
	rows := 0
	for _, n := range c.lens {
		rows += n
		o.cum = append(o.cum, int32(rows))
	}
	deviation := c.deviation
	if deviation == 0 {
		deviation = 1
	}
	wide, narrow := c.heads*c.dim, c.kvheads*c.dim
	var e [5]error
	o.q, e[0] = m.Random(rows, wide, wide+c.apart, c.apart, t, deviation)
	o.k, e[1] = m.Random(rows, narrow, narrow+2*c.apart, 2*c.apart, t, deviation)
	o.v, e[2] = m.Random(rows, narrow, narrow+c.apart, c.apart, t, 1)
	o.y, e[3] = m.Random(rows, wide, wide+c.apart/8+c.apart%8, c.y0, t, 1)
	o.bias, e[4] = m.Random(c.heads, 2*c.reach+1, 2*c.reach+1, 0, runtime.F32, 1)
	for _, err := range e {
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func (c *attending) scale() float32 { return float32(1 / math.Sqrt(float64(c.dim))) }

func (c *attending) launch(m *Machine, k *kernels.Kernel, o *attended) error {
	a := &kernels.Attention{Q: o.q.Ptr, K: o.k.Ptr, V: o.v.Ptr, Y: o.y.Ptr, Rows: int32(o.q.Rows), Sequences: int32(len(o.cum) - 1),
		Heads: int32(c.heads), KVHeads: int32(c.kvheads), Dim: int32(c.dim),
		LDQ: int32(o.q.LD), LDK: int32(o.k.LD), LDV: int32(o.v.LD), LDY: int32(o.y.LD),
		Window: int32(c.window), Reach: int32(c.reach), Scale: c.scale(), Cap: c.cap}
	if c.causal {
		a.Causal = 1
	}
	if c.reach > 0 {
		a.Bias = o.bias.Ptr
	}
	var err error
	if a.Cum, err = m.Ints(o.cum); err != nil {
		return err
	}
	return m.Launch(k, a.Grid(k), kernels.Bytes(a))
}

// sees says whether query i sees key j.
func (c *attending) sees(i, j int) bool {
	switch {
	case c.causal:
		return j <= i && (c.window == 0 || j > i-c.window)
	case c.window > 0:
		return j-i <= c.window && i-j <= c.window
	}
	return true
}

// want is the attention in float64.
func (c *attending) want(o *attended) []float64 {
	y := make([]float64, len(o.y.V))
	for s, n := range c.lens {
		first := int(o.cum[s])
		for h := range c.heads {
			g := h / (c.heads / c.kvheads)
			for i := range n {
				weight, total, top := make([]float64, n), 0.0, math.Inf(-1)
				for j := range n {
					weight[j] = math.Inf(-1)
					if !c.sees(i, j) {
						continue
					}
					dot := 0.0
					for d := range c.dim {
						dot += o.q.At(first+i, h*c.dim+d) * o.k.At(first+j, g*c.dim+d)
					}
					dot *= float64(c.scale())
					if c.cap != 0 {
						dot = float64(c.cap) * math.Tanh(dot/float64(c.cap))
					}
					if c.reach > 0 {
						dot += o.bias.At(h, c.reach+max(-c.reach, min(c.reach, j-i)))
					}
					weight[j] = dot
					top = max(top, dot)
				}
				for j := range weight {
					weight[j] = math.Exp(weight[j] - top)
					total += weight[j]
				}
				for j, w := range weight {
					for d := range c.dim {
						y[(first+i)*o.y.Cols+h*c.dim+d] += w / total * o.v.At(first+j, g*c.dim+d)
					}
				}
			}
		}
	}
	return y
}

// attentionTolerance is what softmax weights rounded to the type of the values cost, as a share of the largest result.
func attentionTolerance(t runtime.DType) float64 {
	switch t {
	case runtime.F16:
		return 3e-3
	case runtime.BF16:
		return 1.5e-2
	}
	return 2e-5
}

func (c attending) run(m *Machine, k *kernels.Kernel) error {
	t := c.fit(k)
	o, err := c.place(m, t)
	if err != nil {
		return err
	}
	if err := c.launch(m, k, &o); err != nil {
		return err
	}
	return m.Close(o.y, c.want(&o), attentionTolerance(t), 0)
}

// fit gives c the head size and the alignment that k asks for.
func (c *attending) fit(k *kernels.Kernel) runtime.DType {
	if c.kvheads == 0 {
		c.kvheads = c.heads
	}
	if size, err := strconv.Atoi(k.Name[strings.LastIndexByte(k.Name, '_')+1:]); err == nil {
		c.dim, c.apart = size, (c.apart+7)/8*8
	}
	return types(k)[0]
}

// sameBits attends to sequences together, and to each alone.
func (c attending) sameBits(m *Machine, k *kernels.Kernel) error {
	t := c.fit(k)
	o, err := c.place(m, t)
	if err != nil {
		return err
	}
	if err := c.launch(m, k, &o); err != nil {
		return err
	}
	together, err := m.Read(o.y)
	if err != nil {
		return err
	}
	for s, n := range c.lens {
		alone := c
		alone.lens = []int{n}
		p := attended{cum: []int32{0, int32(n)}, bias: o.bias}
		first := int(o.cum[s])
		for from, to := range map[*Matrix]**Matrix{o.q: &p.q, o.k: &p.k, o.v: &p.v, o.y: &p.y} {
			if *to, err = m.Place(n, from.Cols, from.LD, 0, t, from.V[first*from.Cols:][:n*from.Cols]); err != nil {
				return err
			}
		}
		if err := alone.launch(m, k, &p); err != nil {
			return err
		}
		got, err := m.Read(p.y)
		if err != nil {
			return err
		}
		for i, v := range got {
			if was := together[first*o.y.Cols+i]; v != was {
				return fmt.Errorf("sequence %d, element [%d,%d] is %g alone and %g among others", s, i/o.y.Cols, i%o.y.Cols, v, was)
			}
		}
	}
	return nil
}

var attendings = []struct {
	name string
	attending
}{
	{"one key", attending{lens: []int{1}, heads: 2, dim: 6}},
	{"an empty sequence", attending{lens: []int{0, 3, 1}, heads: 1, dim: 1}},
	{"empty sequences at the end", attending{lens: []int{0, 0, 2, 0, 0}, heads: 1, dim: 17, apart: 1}},
	{"tiles' edges", attending{lens: []int{5, 64, 2, 65}, heads: 1, dim: 33, apart: 9, y0: 3}},
	{"y on no boundary", attending{lens: []int{20}, heads: 1, dim: 32, y0: 1}},
	{"three tiles", attending{lens: []int{130}, heads: 2, dim: 20}},
	{"causal", attending{lens: []int{200, 1, 63}, heads: 1, dim: 16, causal: true}},
	{"causal, grouped", attending{lens: []int{70, 3}, heads: 6, kvheads: 2, dim: 8, causal: true}},
	{"local", attending{lens: []int{5, 150}, heads: 1, dim: 12, window: 3}},
	{"local, wider than a tile", attending{lens: []int{200}, heads: 1, dim: 4, window: 70}},
	{"local, wider than the sequence", attending{lens: []int{66}, heads: 1, dim: 4, window: math.MaxInt32}},
	{"causal with a window", attending{lens: []int{140, 7}, heads: 1, dim: 8, causal: true, window: 9}},
	{"causal with a window of one", attending{lens: []int{66}, heads: 1, dim: 8, causal: true, window: 1}},
	{"causal with a window of a tile", attending{lens: []int{193}, heads: 1, dim: 8, causal: true, window: 64}},
	{"offset bias", attending{lens: []int{70, 5}, heads: 3, dim: 8, reach: 128}},
	{"a short offset bias", attending{lens: []int{66, 1}, heads: 2, dim: 8, reach: 3, causal: true}},
	{"soft cap", attending{lens: []int{67}, heads: 1, dim: 16, cap: 5, deviation: 2}},
	{"soft cap and bias", attending{lens: []int{67}, heads: 1, dim: 16, cap: 30, reach: 10, window: 40}},
	{"whole tiles", attending{lens: []int{192, 64}, heads: 1, dim: 64}},
	{"sharp", attending{lens: []int{130}, heads: 1, dim: 32, deviation: 6}},
}

// sizes are head sizes that only attention_any has, or that are past one slice of it.
var sizes = []int{4, 72, 129, 256, 512}

// attentionCases are those of every build of attention.
func attentionCases() []Case {
	var all []Case
	for _, k := range kernels.All() {
		if !strings.HasPrefix(k.Name, "attention_") {
			continue
		}
		add := func(name string, run func(m *Machine, k *kernels.Kernel) error) {
			all = append(all, Case{name, k.Name, func(m *Machine) error { return run(m, k) }})
		}
		for _, c := range attendings {
			add(c.name, c.run)
		}
		if strings.HasPrefix(k.Name, "attention_any_") {
			for _, n := range sizes {
				c := attending{lens: []int{3, 17}, heads: 2, kvheads: 1, dim: n, causal: true, apart: n % 2}
				add(fmt.Sprintf("head size %d", n), c.run)
			}
		}
		for _, c := range []attending{
			{lens: []int{3, 70, 0, 129, 1}, heads: 1, dim: 64},
			{lens: []int{50, 140}, heads: 2, kvheads: 1, dim: 24, causal: true, window: 80, reach: 4},
		} {
			add(fmt.Sprintf("the same bits alone, lengths %v", c.lens), c.sameBits)
		}
	}
	return all
}
