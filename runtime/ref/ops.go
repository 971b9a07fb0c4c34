package ref

import (
	"fmt"
	"math"

	"remote-client-server/runtime"
)

func shape(ok bool, op, format string, args ...any) {
	if !ok {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
}

func activate(a runtime.Act, x float64) float64 {
	switch a {
	case runtime.ReLU:
		return math.Max(x, 0)
	case runtime.Tanh:
		return math.Tanh(x)
	case runtime.Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case runtime.SiLU:
		return x / (1 + math.Exp(-x))
	case runtime.GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case runtime.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case runtime.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	}
	return x
}

// product is act(xWᵀ+b), gated and capped as the spec says.
func product(x [][]float64, w *runtime.Linear) [][]float64 {
	p := w.Packed.(*linear)
	y := matrix(len(x), w.N)
	for t := range x {
		row := func(n int) float64 {
			s := p.b[n]
			for k, v := range x[t] {
				s += v * p.w[n][k]
			}
			return s
		}
		for n := range y[t] {
			v := activate(p.spec.Act, row(n))
			if p.spec.Gate {
				v *= row(w.N + n)
			}
			if c := float64(p.spec.Cap); c != 0 {
				v = c * math.Tanh(v/c)
			}
			y[t][n] = v
		}
	}
	return y
}

func normalise(x [][]float64, n *runtime.Norm) [][]float64 {
	p := n.Packed.(*norm)
	y := matrix(len(x), n.Width)
	for t, row := range x {
		normRow(y[t], row, n.Kind, p.w, p.b, float64(n.Eps))
	}
	return y
}

func normRow(dst, x []float64, kind runtime.NormKind, w, b []float64, eps float64) {
	mean, square := 0.0, 0.0
	if kind == runtime.LayerNorm {
		for _, v := range x {
			mean += v / float64(len(x))
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	inv := 1 / math.Sqrt(square/float64(len(x))+eps)
	if kind == runtime.L2Norm {
		inv = 1 / math.Max(math.Sqrt(square), eps)
	}
	for i, v := range x {
		dst[i] = (v-mean)*inv*w[i] + b[i]
	}
}

func (b *Backend) Linear(x runtime.Tensor, w *runtime.Linear) runtime.Tensor {
	b.stack.Check("Linear", x)
	shape(x.Cols == w.K, "Linear", "%v by %s [%d,%d]", x, w.Name, w.N, w.K)
	return b.result(product(b.read(x), w), w.N, x)
}

func (b *Backend) NormLinear(x runtime.Tensor, n *runtime.Norm, w *runtime.Linear) runtime.Tensor {
	b.stack.Check("NormLinear", x)
	shape(x.Cols == w.K && x.Cols == n.Width, "NormLinear", "%v, %s [%d] by %s [%d,%d]", x, n.Name, n.Width, w.Name, w.N, w.K)
	return b.result(product(normalise(b.read(x), n), w), w.N, x)
}

func (b *Backend) LinearAdd(x, y runtime.Tensor, w *runtime.Linear) {
	b.stack.Check("LinearAdd", x, y)
	shape(y.Cols == w.K && x.Cols == w.N && x.Rows == y.Rows, "LinearAdd", "%v += %v by %s [%d,%d]", x, y, w.Name, w.N, w.K)
	b.write(x, sum(b.read(x), product(b.read(y), w)))
}

func (b *Backend) LinearAddNorm(x, y runtime.Tensor, w *runtime.Linear, n *runtime.Norm) {
	b.stack.Check("LinearAddNorm", x, y)
	shape(y.Cols == w.K && x.Cols == w.N && x.Rows == y.Rows && n.Width == w.N, "LinearAddNorm", "%v += %v by %s [%d,%d], %s [%d]", x, y, w.Name, w.N, w.K, n.Name, n.Width)
	b.write(x, normalise(sum(b.read(x), product(b.read(y), w)), n))
}

func (b *Backend) LinearNormAdd(x, y runtime.Tensor, w *runtime.Linear, n *runtime.Norm) {
	b.stack.Check("LinearNormAdd", x, y)
	shape(y.Cols == w.K && x.Cols == w.N && x.Rows == y.Rows && n.Width == w.N, "LinearNormAdd", "%v += %v by %s [%d,%d], %s [%d]", x, y, w.Name, w.N, w.K, n.Name, n.Width)
	b.write(x, sum(b.read(x), normalise(product(b.read(y), w), n)))
}

func sum(x, y [][]float64) [][]float64 {
	for t := range x {
		for i := range x[t] {
			x[t][i] += y[t][i]
		}
	}
	return x
}

func (b *Backend) Norm(x runtime.Tensor, n *runtime.Norm) runtime.Tensor {
	b.stack.Check("Norm", x)
	shape(x.Cols == n.Width, "Norm", "%v by %s [%d]", x, n.Name, n.Width)
	return b.result(normalise(b.read(x), n), x.Cols, x)
}

// ints reads a column of I32.
func (b *Backend) ints(op string, t runtime.Tensor) []int {
	shape(t.DType == runtime.I32, op, "%v where int32 is wanted", t)
	var v []int
	for _, r := range b.read(t) {
		for _, x := range r {
			v = append(v, int(x))
		}
	}
	return v
}

func (b *Backend) Embed(ids runtime.Tensor, s *runtime.Sequences, t *runtime.Table) runtime.Tensor {
	b.stack.Check("Embed", ids, s.Pos)
	p := t.Packed.(*table)
	id := b.ints("Embed", ids)
	var pos []int
	if p.position != nil {
		pos = b.ints("Embed", s.Pos)
		shape(len(pos) == len(id), "Embed", "%d positions for %d ids", len(pos), len(id))
	}
	y := matrix(len(id), t.Width)
	for i := range id {
		shape(id[i] >= -1 && id[i] < t.Vocab, "Embed", "id %d of %d words", id[i], t.Vocab)
		for c := range y[i] {
			if id[i] >= 0 {
				y[i][c] = p.word[id[i]][c] * p.scale
			}
			if pos != nil {
				shape(pos[i] >= 0 && pos[i] < t.Positions, "Embed", "position %d of %d", pos[i], t.Positions)
				y[i][c] += p.position[pos[i]][c]
			}
			if p.kind != nil {
				y[i][c] += p.kind[c]
			}
		}
	}
	if p.norm != nil {
		y = normalise(y, p.norm)
	}
	return b.result(y, t.Width, ids)
}

func (b *Backend) Gather(x, rows runtime.Tensor) runtime.Tensor {
	b.stack.Check("Gather", x, rows)
	in := b.read(x)
	idx := b.ints("Gather", rows)
	y := matrix(len(idx), x.Cols)
	for i, r := range idx {
		shape(r >= -1 && r < x.Rows, "Gather", "row %d of %v", r, x)
		if r >= 0 {
			y[i] = in[r]
		}
	}
	return b.result(y, x.Cols, x)
}

func (b *Backend) Pool(x, ranges runtime.Tensor, how runtime.Pooling) runtime.Tensor {
	b.stack.Check("Pool", x, ranges)
	in := b.read(x)
	wide := 2
	if how == runtime.PoolWeighted {
		wide = 3
	}
	shape(ranges.Cols == wide, "Pool", "%v ranges %v", how, ranges)
	idx := b.ints("Pool", ranges)
	y := matrix(ranges.Rows, x.Cols)
	for i := range y {
		from, to := idx[i*wide], idx[i*wide+1]
		shape(0 <= from && from <= to && to <= x.Rows, "Pool", "range [%d,%d) of %v", from, to, x)
		total := 0.0
		for t := from; t < to; t++ {
			weight := 1.0
			switch how {
			case runtime.PoolFirst:
				weight = float64(b2i(t == from))
			case runtime.PoolLast:
				weight = float64(b2i(t == to-1))
			case runtime.PoolWeighted:
				weight = float64(t - idx[i*wide+2] + 1)
			}
			total += weight
			for c, v := range in[t] {
				if how == runtime.PoolMax {
					if t == from || v > y[i][c] {
						y[i][c] = v
					}
					continue
				}
				y[i][c] += weight * v
			}
		}
		div := 1.0
		switch how {
		case runtime.PoolMean, runtime.PoolWeighted:
			div = total
		case runtime.PoolMeanSqrt:
			div = math.Sqrt(total)
		}
		for c := range y[i] {
			if from < to {
				y[i][c] /= div
			}
		}
	}
	return b.result(y, x.Cols, x)
}

func b2i(v bool) int {
	if v {
		return 1
	}
	return 0
}
