package kerneltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

const blockRows = 64 // of a block of a cache

// paging is where the rows of sequences lie in one layer of a cache.
type paging struct {
	lens, past     []int // rows of this call, and before it
	heads, kvheads int
	dim            int
	lost           bool // one block of the first sequence is of no use: its entry is out of range
}

// pages are the blocks on the device. What no sequence has is NaN.
type pages struct {
	keys, values *Matrix   // [blocks·kvheads·64, dim]
	k, v         []float64 // [total, kvheads·dim] by sequence, as they lie there
	first        []int     // of a sequence, a row of k and v
	table        []int32
	columns, ldt int
	blocks       int
	cum, past    []int32
	rows         int
	device       struct{ cum, past, table cuda.Ptr }
}

// place gives each sequence blocks that do not follow each other, with random rows, those of this call too if filled.
func (c *paging) place(m *Machine, t runtime.DType, filled bool) (*pages, error) {
	p := &pages{cum: []int32{0}}
	for i, n := range c.lens {
		total := c.past[i] + n
		p.columns = max(p.columns, (total+blockRows-1)/blockRows+1)
		p.rows += n
		p.cum, p.past = append(p.cum, int32(p.rows)), append(p.past, int32(c.past[i]))
	}
	p.ldt, p.blocks = p.columns+1, len(c.lens)*p.columns+1
	free := m.Rand.Perm(p.blocks)
	pitch := (c.dim*t.Size() + 15) / 16 * 16 / t.Size()
	height := p.blocks * c.kvheads * blockRows
	keys, values := make([]float64, height*c.dim), make([]float64, height*c.dim)
	for i := range keys {
		keys[i], values[i] = math.NaN(), math.NaN()
	}
	p.table = make([]int32, len(c.lens)*p.ldt)
	for i := range p.table {
		p.table[i] = -1
	}
	for i := range c.lens {
		total := c.past[i] + c.lens[i]
		p.first = append(p.first, len(p.k)/(c.kvheads*c.dim))
		for j := range (total + blockRows - 1) / blockRows {
			p.table[i*p.ldt+j] = int32(free[0])
			free = free[1:]
			if c.lost && i == 0 && j == 0 {
				p.table[i*p.ldt+j] = int32(p.blocks)
			}
		}
		if !filled {
			total = c.past[i]
		}
		for j := range total {
			for h := range c.kvheads {
				for d := range c.dim {
					x, y := m.Rand.NormFloat64(), m.Rand.NormFloat64()
					if at := p.at(c, i, j, h); at >= 0 {
						x, y = put(make([]byte, 4), t, x), put(make([]byte, 4), t, y)
						keys[at*c.dim+d], values[at*c.dim+d] = x, y
					} else {
						x, y = 0, 0
					}
					p.k, p.v = append(p.k, x), append(p.v, y)
				}
			}
		}
	}
	var err [5]error
	p.keys, err[0] = m.Place(height, c.dim, pitch, 0, t, keys)
	p.values, err[1] = m.Place(height, c.dim, pitch, 0, t, values)
	p.device.cum, err[2] = m.Ints(p.cum)
	p.device.past, err[3] = m.Ints(p.past)
	p.device.table, err[4] = m.Ints(p.table)
	for _, err := range err {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// at is the row of the cache that has row j of sequence i and a head, -1 for none.
func (p *pages) at(c *paging, i, j, head int) int {
	block := int(p.table[i*p.ldt+j/blockRows])
	if block < 0 || block >= p.blocks {
		return -1
	}
	return (block*c.kvheads+head)*blockRows + j%blockRows
}

// paged is attention over a cache.
type paged struct {
	paging
	attending // window, causal, cap, reach, deviation, apart, y0; the others are paging's
}

func (c *paged) fit(k *kernels.Kernel) runtime.DType {
	c.attending.heads, c.attending.kvheads, c.attending.dim = c.paging.heads, c.paging.kvheads, c.paging.dim
	t := c.attending.fit(k)
	c.paging.kvheads, c.paging.dim = c.attending.kvheads, c.attending.dim
	return t
}

type pagedOperands struct {
	*pages
	q, y, bias *Matrix
	parts      *Matrix // where the splits of a decode kernel meet
	done       cuda.Ptr
	counters   int
	args       *kernels.Attention
}

func (c *paged) place(m *Machine, k *kernels.Kernel, t runtime.DType) (o pagedOperands, err error) {
	if o.pages, err = c.paging.place(m, t, true); err != nil {
		return o, err
	}
	deviation := c.deviation
	if deviation == 0 {
		deviation = 1
	}
	wide := c.paging.heads * c.paging.dim
	if o.q, err = m.Random(o.rows, wide, wide+c.apart, c.apart, t, deviation); err != nil {
		return o, err
	}
	if o.y, err = m.Random(o.rows, wide, wide+c.apart/8+c.apart%8, c.y0, t, 1); err != nil {
		return o, err
	}
	if o.bias, err = m.Random(c.paging.heads, 2*c.reach+1, 2*c.reach+1, 0, runtime.F32, 1); err != nil {
		return o, err
	}
	a := &kernels.Attention{Q: o.q.Ptr, K: o.keys.Ptr, V: o.values.Ptr, Y: o.y.Ptr, Cum: o.device.cum, Past: o.device.past, Table: o.device.table,
		Rows: int32(o.rows), Sequences: int32(len(c.paging.lens)), Heads: int32(c.paging.heads), KVHeads: int32(c.paging.kvheads), Dim: int32(c.paging.dim),
		LDQ: int32(o.q.LD), LDK: int32(o.keys.LD), LDV: int32(o.values.LD), LDY: int32(o.y.LD), LDT: int32(o.ldt), Columns: int32(o.columns), Blocks: int32(o.blocks),
		Window: int32(c.window), Reach: int32(c.reach), Scale: c.scale(), Cap: c.cap}
	if c.causal {
		a.Causal = 1
	}
	if c.reach > 0 {
		a.Bias = o.bias.Ptr
	}
	o.args = a
	if !strings.HasPrefix(k.Name, "decode_") {
		return o, nil
	}
	n := a.Meet(k)
	if o.parts, err = m.Random(1, n, n, 0, runtime.F32, 1); err != nil {
		return o, err
	}
	o.counters = a.Counters(k, o.rows)
	if o.done, err = m.Ints(make([]int32, o.counters)); err != nil {
		return o, err
	}
	a.Parts, a.Done = o.parts.Ptr, o.done
	return o, nil
}

// launch computes rows [from, to) of a decode kernel, or all, on a device of so many multiprocessors.
func (o *pagedOperands) launch(m *Machine, k *kernels.Kernel, from, to, multiprocessors int) error {
	if o.done == 0 {
		return m.Launch(k, o.args.Grid(k), kernels.Bytes(o.args))
	}
	o.args.First = int32(from)
	if err := m.Launch(k, o.args.Steps(k, to-from, multiprocessors), kernels.Bytes(o.args)); err != nil {
		return err
	}
	b := make([]byte, 4*o.counters)
	if err := m.Context.Download(b, o.done); err != nil {
		return err
	}
	for i := range o.counters {
		if n := binary.LittleEndian.Uint32(b[4*i:]); n != 0 {
			return fmt.Errorf("counter %d is left at %d", i, n)
		}
	}
	return nil
}

// want is the attention in float64.
func (c *paged) want(o *pagedOperands) []float64 {
	heads, kv, dim := c.paging.heads, c.paging.kvheads, c.paging.dim
	y := make([]float64, len(o.y.V))
	for s, n := range c.paging.lens {
		total := c.paging.past[s] + n
		for i := range n {
			for h := range heads {
				row, g := int(o.cum[s])+i, h/(heads/kv)
				weight, sum, top := make([]float64, total), 0.0, math.Inf(-1)
				for j := range weight {
					weight[j] = math.Inf(-1)
					if !c.sees(c.paging.past[s]+i, j) {
						continue
					}
					dot := 0.0
					for d := range dim {
						dot += o.q.At(row, h*dim+d) * o.k[((o.first[s]+j)*kv+g)*dim+d]
					}
					dot *= float64(c.scale())
					if c.cap != 0 {
						dot = float64(c.cap) * math.Tanh(dot/float64(c.cap))
					}
					if c.reach > 0 {
						dot += o.bias.At(h, c.reach+max(-c.reach, min(c.reach, j-c.paging.past[s]-i)))
					}
					weight[j], top = dot, max(top, dot)
				}
				for j := range weight {
					weight[j] = math.Exp(weight[j] - top)
					sum += weight[j]
				}
				for j, w := range weight {
					if w == 0 {
						continue
					}
					for d := range dim {
						y[row*heads*dim+h*dim+d] += w / sum * o.v[((o.first[s]+j)*kv+g)*dim+d]
					}
				}
			}
		}
	}
	return y
}

// run computes twice where splits meet: what the first launch leaves behind is what the next finds.
func (c paged) run(m *Machine, k *kernels.Kernel) error {
	t := c.fit(k)
	o, err := c.place(m, k, t)
	if err != nil {
		return err
	}
	multiprocessors := []int{100}
	if o.done != 0 {
		multiprocessors = []int{100, 1}
	}
	for _, n := range multiprocessors {
		if err := o.launch(m, k, 0, o.rows, n); err != nil {
			return err
		}
		if err := m.Close(o.y, c.want(&o), attentionTolerance(t), 0); err != nil {
			return err
		}
	}
	return nil
}

// sameBits computes rows together, and each by a launch of its own with another number of blocks for its splits.
func (c paged) sameBits(m *Machine, k *kernels.Kernel) error {
	t := c.fit(k)
	o, err := c.place(m, k, t)
	if err != nil {
		return err
	}
	var together []float64
	for i, n := range []int{1, 7, 100} {
		if i == 0 {
			err = o.launch(m, k, 0, o.rows, n)
		} else {
			for r := 0; r < o.rows && err == nil; r++ {
				err = o.launch(m, k, r, r+1, n)
			}
		}
		if err != nil {
			return err
		}
		got, err := m.Read(o.y)
		if err != nil {
			return err
		}
		if i == 0 {
			together = got
			continue
		}
		for j := range got {
			if got[j] != together[j] {
				return fmt.Errorf("element [%d,%d] is %g alone and %g among others", j/o.y.Cols, j%o.y.Cols, got[j], together[j])
			}
		}
	}
	return nil
}

// cutAnywhere computes the last rows of a sequence at once and in two calls.
func (c paged) cutAnywhere(m *Machine, k *kernels.Kernel) error {
	t := c.fit(k)
	o, err := c.place(m, k, t)
	if err != nil {
		return err
	}
	if err := o.launch(m, k, 0, o.rows, 1); err != nil {
		return err
	}
	whole, err := m.Read(o.y)
	if err != nil {
		return err
	}
	n := c.paging.lens[0]
	for _, cut := range []int{1, 17, n - 3} {
		for _, part := range [][2]int{{0, cut}, {cut, n}} {
			a := *o.args
			a.Rows = int32(part[1] - part[0])
			a.Q += cuda.Ptr(part[0] * o.q.LD * t.Size())
			a.Y += cuda.Ptr(part[0] * o.y.LD * t.Size())
			if a.Past, err = m.Ints([]int32{int32(c.paging.past[0] + part[0])}); err != nil {
				return err
			}
			if a.Cum, err = m.Ints([]int32{0, a.Rows}); err != nil {
				return err
			}
			if err := m.Launch(k, a.Grid(k), kernels.Bytes(&a)); err != nil {
				return err
			}
		}
		got, err := m.Read(o.y)
		if err != nil {
			return err
		}
		for j := range got {
			if got[j] != whole[j] {
				return fmt.Errorf("element [%d,%d] is %g cut at row %d and %g whole", j/o.y.Cols, j%o.y.Cols, got[j], cut, whole[j])
			}
		}
	}
	return nil
}

var pagedCases = []struct {
	name string
	paged
}{
	{"a first row", paged{paging: paging{lens: []int{1}, past: []int{0}, heads: 2, kvheads: 1, dim: 6}, attending: attending{causal: true}}},
	{"a piece behind others, an empty one", paged{paging: paging{lens: []int{5, 0, 70, 1}, past: []int{60, 3, 0, 129}, heads: 2, kvheads: 1, dim: 8}, attending: attending{causal: true, apart: 3, y0: 3}}},
	{"two tiles of queries behind two of keys", paged{paging: paging{lens: []int{100}, past: []int{101}, heads: 3, kvheads: 1, dim: 20}, attending: attending{causal: true}}},
	{"a window", paged{paging: paging{lens: []int{70}, past: []int{150}, heads: 1, kvheads: 1, dim: 8}, attending: attending{causal: true, window: 66}}},
	{"not causal, a bias", paged{paging: paging{lens: []int{9, 3}, past: []int{58, 2}, heads: 2, kvheads: 2, dim: 8}, attending: attending{reach: 5}}},
	{"a cap", paged{paging: paging{lens: []int{20}, past: []int{50}, heads: 2, kvheads: 1, dim: 12}, attending: attending{causal: true, cap: 4, deviation: 2}}},
	{"a block that is not there", paged{paging: paging{lens: []int{3}, past: []int{70}, heads: 1, kvheads: 1, dim: 8, lost: true}, attending: attending{causal: true}}},
	{"whole tiles", paged{paging: paging{lens: []int{128}, past: []int{128}, heads: 2, kvheads: 1, dim: 64}, attending: attending{causal: true}}},
}

var decodeCases = []struct {
	name string
	paged
}{
	{"a first row", paged{paging: paging{lens: []int{1}, past: []int{0}, heads: 2, kvheads: 1, dim: 6}, attending: attending{causal: true}}},
	{"rows of many lengths, an empty sequence", paged{paging: paging{lens: []int{1, 1, 0, 1, 1}, past: []int{3, 64, 7, 255, 100}, heads: 4, kvheads: 2, dim: 9}, attending: attending{causal: true, apart: 3, y0: 1}}},
	{"two and three splits", paged{paging: paging{lens: []int{1, 1, 1}, past: []int{256, 530, 12}, heads: 3, kvheads: 1, dim: 8}, attending: attending{causal: true}}},
	{"two rows of one sequence", paged{paging: paging{lens: []int{2, 1}, past: []int{63, 5}, heads: 2, kvheads: 2, dim: 8}, attending: attending{causal: true}}},
	{"more heads for one of keys than a block has", paged{paging: paging{lens: []int{1}, past: []int{20}, heads: 35, kvheads: 1, dim: 4}, attending: attending{causal: true}}},
	{"a window that begins inside a split", paged{paging: paging{lens: []int{1, 1}, past: []int{600, 310}, heads: 2, kvheads: 1, dim: 8}, attending: attending{causal: true, window: 333}}},
	{"a window of one key", paged{paging: paging{lens: []int{1}, past: []int{256}, heads: 2, kvheads: 1, dim: 8}, attending: attending{causal: true, window: 1}}},
	{"not causal, a bias", paged{paging: paging{lens: []int{1, 1}, past: []int{270, 2}, heads: 4, kvheads: 2, dim: 8}, attending: attending{reach: 9}}},
	{"a cap, sharp", paged{paging: paging{lens: []int{1}, past: []int{299}, heads: 2, kvheads: 1, dim: 8}, attending: attending{causal: true, cap: 6, deviation: 4}}},
	{"a block that is not there", paged{paging: paging{lens: []int{1}, past: []int{300}, heads: 1, kvheads: 1, dim: 8, lost: true}, attending: attending{causal: true}}},
	{"a whole group and whole splits", paged{paging: paging{lens: []int{1, 1}, past: []int{767, 511}, heads: 16, kvheads: 2, dim: 64}, attending: attending{causal: true}}},
}

// pagedCasesOf are those of a kernel over a cache.
func pagedCasesOf(k *kernels.Kernel) (all []Case) {
	add := func(name string, run func(m *Machine, k *kernels.Kernel) error) {
		all = append(all, Case{name, k.Name, func(m *Machine) error { return run(m, k) }})
	}
	anySize := strings.Contains(k.Name, "_any_")
	if strings.HasPrefix(k.Name, "paged_") {
		for _, c := range pagedCases {
			add(c.name, c.run)
		}
		if anySize {
			add("head size 130", paged{paging: paging{lens: []int{5}, past: []int{62}, heads: 2, kvheads: 1, dim: 130}, attending: attending{causal: true}}.run)
		}
		add("the same bits wherever it is cut", paged{paging: paging{lens: []int{75}, past: []int{40}, heads: 4, kvheads: 1, dim: 16}, attending: attending{causal: true, deviation: 3}}.cutAnywhere)
		return all
	}
	for _, c := range decodeCases {
		add(c.name, c.run)
	}
	if anySize {
		add("head size 130", paged{paging: paging{lens: []int{1, 1}, past: []int{262, 62}, heads: 2, kvheads: 1, dim: 130}, attending: attending{causal: true}}.run)
	}
	add("the same bits alone", paged{paging: paging{lens: []int{1, 1, 1}, past: []int{800, 3, 280}, heads: 4, kvheads: 2, dim: 16}, attending: attending{causal: true, deviation: 2}}.sameBits)
	return all
}

// appending is the way of new rows into a cache.
type appending struct {
	paging
	half        int
	interleaved bool
	query, key  affine
	apart       int
	keysOnly    bool
}

func (c appending) run(m *Machine, k *kernels.Kernel) error {
	t := types(k)[0]
	p, err := c.place(m, t, false)
	if err != nil {
		return err
	}
	wide, narrow := c.heads*c.dim, c.kvheads*c.dim
	var x [4]*Matrix // q, k, v, y
	for i, cols := range []int{wide, narrow, narrow, wide} {
		if x[i], err = m.Random(p.rows, cols, cols+c.apart+i, c.apart, t, 1); err != nil {
			return err
		}
	}
	v := make([]float64, p.rows*2*c.half)
	for r := range p.rows {
		for i := range c.half {
			angle := m.Rand.Float64() * 7
			v[r*2*c.half+i], v[r*2*c.half+c.half+i] = math.Cos(angle), math.Sin(angle)
		}
	}
	angles, err := m.Place(p.rows, 2*c.half, 2*c.half+c.apart, c.apart, runtime.F32, v)
	if err != nil {
		return err
	}
	qn, err := c.query.place(m, c.dim, 0, 1)
	if err != nil {
		return err
	}
	kn, err := c.key.place(m, c.dim, 1, 0)
	if err != nil {
		return err
	}
	a := &kernels.Append{Q: x[0].Ptr, K: x[1].Ptr, V: x[2].Ptr, Y: x[3].Ptr, Keys: p.keys.Ptr, Values: p.values.Ptr, Angles: angles.Ptr,
		Cum: p.device.cum, Table: p.device.table, Past: p.device.past, Rows: int32(p.rows), Sequences: int32(len(c.lens)),
		Heads: int32(c.heads), KVHeads: int32(c.kvheads), Dim: int32(c.dim), Pitch: int32(p.keys.LD),
		LDQ: int32(x[0].LD), LDK: int32(x[1].LD), LDV: int32(x[2].LD), LDY: int32(x[3].LD), LDA: int32(angles.LD),
		LDT: int32(p.ldt), Columns: int32(p.columns), Blocks: int32(p.blocks), Half: int32(c.half)}
	a.QKind, a.QEps, a.QW, a.QB = qn.args()
	a.KKind, a.KEps, a.KW, a.KB = kn.args()
	if c.interleaved {
		a.Interleaved = 1
	}
	if c.keysOnly {
		a.Q, a.Y = 0, 0
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	turn := func(n *placed, v []float64, row int) []float64 {
		head := n.row(v)
		for i := range c.half {
			p, q := i, i+c.half
			if c.interleaved {
				p, q = 2*i, 2*i+1
			}
			cos, sin := angles.At(row, i), angles.At(row, c.half+i)
			head[p], head[q] = head[p]*cos-head[q]*sin, head[q]*cos+head[p]*sin
		}
		return head
	}
	y := append([]float64(nil), x[3].V...)
	keys, values := append([]float64(nil), p.keys.V...), append([]float64(nil), p.values.V...)
	for s, n := range c.lens {
		for i := range n {
			row := int(p.cum[s]) + i
			for h := range c.heads {
				if !c.keysOnly {
					copy(y[row*wide+h*c.dim:], turn(&qn, x[0].V[row*wide+h*c.dim:][:c.dim], row))
				}
			}
			for h := range c.kvheads {
				if at := p.at(&c.paging, s, c.past[s]+i, h); at >= 0 {
					copy(keys[at*c.dim:], turn(&kn, x[1].V[row*narrow+h*c.dim:][:c.dim], row))
					copy(values[at*c.dim:], x[2].V[row*narrow+h*c.dim:][:c.dim])
				}
			}
		}
	}
	if err := m.Close(x[3], y, rounding(t, 2e-6), 1); err != nil {
		return fmt.Errorf("queries: %w", err)
	}
	for _, side := range []struct {
		name string
		got  *Matrix
		want []float64
	}{{"keys", p.keys, keys}, {"values", p.values, values}} {
		got, err := m.Read(side.got)
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		for i, w := range side.want {
			if math.IsNaN(w) && math.IsNaN(got[i]) || math.Abs(got[i]-w) <= rounding(t, 2e-6)*max(1, 4*math.Abs(w)) {
				continue
			}
			return fmt.Errorf("%s: row %d, channel %d is %g, want %g", side.name, i/c.dim, i%c.dim, got[i], w)
		}
	}
	return nil
}

var appendCases = []struct {
	name string
	appending
}{
	{"a step", appending{paging: paging{lens: []int{1, 1, 1}, past: []int{0, 63, 64}, heads: 6, kvheads: 2, dim: 64}, half: 32, query: noNorm, key: noNorm}},
	{"pieces, normed, an empty one", appending{paging: paging{lens: []int{3, 0, 70}, past: []int{62, 9, 0}, heads: 5, kvheads: 5, dim: 20}, half: 10, query: rms, key: rms, apart: 1}},
	{"interleaved, half of the channels, on no boundary", appending{paging: paging{lens: []int{4}, past: []int{130}, heads: 2, kvheads: 1, dim: 36}, half: 8, interleaved: true, query: layer, key: l2, apart: 3}},
	{"keys and values alone", appending{paging: paging{lens: []int{2, 1}, past: []int{1, 5}, heads: 2, kvheads: 1, dim: 7}, query: noNorm, key: noNorm, keysOnly: true}},
	{"a block that is not there", appending{paging: paging{lens: []int{9}, past: []int{60}, heads: 1, kvheads: 1, dim: 8, lost: true}, half: 4, query: noNorm, key: noNorm}},
	{"two rows of one sequence in a step", appending{paging: paging{lens: []int{2, 1, 1}, past: []int{63, 2, 0}, heads: 1, kvheads: 1, dim: 16}, half: 8, query: noNorm, key: noNorm}},
}
