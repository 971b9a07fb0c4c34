package cpu

import (
	"fmt"

	"remote-client-server/runtime"
)

// weightsOf is what a Linear of this backend holds, after a check of x against it.
func (b *Backend) weightsOf(op string, x runtime.Tensor, l *runtime.Linear) *weights {
	b.check(op, runtime.F32, x)
	w, ok := l.Packed.(*weights)
	if !ok {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%s was not loaded by the cpu", l.Name)})
	}
	if x.Cols != w.k {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("x %v for %s [%d,%d]", x, l.Name, w.n, w.k)})
	}
	return w
}

// normOf is what a Norm of this backend holds, after a check of its width.
func (b *Backend) normOf(op string, n *runtime.Norm, width int) *norm {
	p, ok := n.Packed.(*norm)
	if !ok {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%s was not loaded by the cpu", n.Name)})
	}
	if p.width != width {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("%s of width %d for rows of %d", n.Name, p.width, width)})
	}
	return p
}

// stream checks the tensor that an op adds to.
func (b *Backend) stream(op string, x, y runtime.Tensor, w *weights) {
	b.check(op, runtime.F32, x)
	if x.Rows != y.Rows || x.Cols != w.n || x.Stride() == 0 && x.Rows > 1 {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf("x %v for the product of y %v, %d columns", x, y, w.n)})
	}
}

func (b *Backend) Linear(x runtime.Tensor, l *runtime.Linear) runtime.Tensor {
	w := b.weightsOf("Linear", x, l)
	y := b.result(x, x.Rows, w.n)
	b.run(&product{lv: b.level, w: w, m: x.Rows, x: view(x), y: view(y)})
	return y
}

func (b *Backend) NormLinear(x runtime.Tensor, n *runtime.Norm, l *runtime.Linear) runtime.Tensor {
	const op = "NormLinear"
	w := b.weightsOf(op, x, l)
	nm := b.normOf(op, n, w.k)
	y := b.result(x, x.Rows, w.n)
	b.run(&product{lv: b.level, w: w, m: x.Rows, x: view(x), norm: nm, y: view(y)})
	return y
}

func (b *Backend) LinearAdd(x, y runtime.Tensor, l *runtime.Linear) {
	const op = "LinearAdd"
	w := b.weightsOf(op, y, l)
	b.stream(op, x, y, w)
	b.run(&product{lv: b.level, w: w, m: y.Rows, x: view(y), y: view(x), to: add})
}

func (b *Backend) LinearAddNorm(x, y runtime.Tensor, l *runtime.Linear, n *runtime.Norm) {
	const op = "LinearAddNorm"
	w := b.weightsOf(op, y, l)
	b.stream(op, x, y, w)
	b.run(&product{lv: b.level, w: w, m: y.Rows, x: view(y), y: view(x), to: add, post: b.normOf(op, n, w.n)})
}

func (b *Backend) LinearNormAdd(x, y runtime.Tensor, l *runtime.Linear, n *runtime.Norm) {
	const op = "LinearNormAdd"
	w := b.weightsOf(op, y, l)
	b.stream(op, x, y, w)
	m := b.stack.Mark()
	defer b.stack.Release(m)
	sums := b.scratchOf(y.Rows, w.n, runtime.F32, y.Phase())
	b.run(&product{lv: b.level, w: w, m: y.Rows, x: view(y), y: view(sums), post: b.normOf(op, n, w.n), join: view(x)})
}

// rowsOfTask is how many rows one task of a row-wise op takes.
const rowsOfTask = 8

// eachRow runs f over n rows in tasks.
func (b *Backend) eachRow(n int, f func(w *worker, i int)) {
	b.pool.tasks((n+rowsOfTask-1)/rowsOfTask, func(w *worker, t int) {
		for i := t * rowsOfTask; i < min(n, (t+1)*rowsOfTask); i++ {
			f(w, i)
		}
	})
}

func (b *Backend) Norm(x runtime.Tensor, n *runtime.Norm) runtime.Tensor {
	const op = "Norm"
	b.check(op, runtime.F32, x)
	nm := b.normOf(op, n, x.Cols)
	y := b.result(x, x.Rows, x.Cols)
	src, dst := view(x), view(y)
	b.eachRow(x.Rows, func(w *worker, i int) { nm.apply(b.level, w, dst.row(i), src.row(i)) })
	return y
}
