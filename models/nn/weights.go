// Package nn holds what models of several types are made of: the binding of stored tensors to layers by name, and the
// transformer blocks.
package nn

import (
	"errors"
	"fmt"
	"strings"

	"remote-client-server/runtime"
	"remote-client-server/runtime/checkpoint"
)

// Weights binds tensors of a checkpoint, below a prefix of their names, to the values of a Loader. What is missing or
// has the wrong shape is kept for Err, so that a model is built in one go and one error names everything.
type Weights struct {
	// Precision of the component, for its attention; the zero value is exact.
	Precision runtime.Precision

	tensors *checkpoint.Checkpoint
	load    runtime.Loader
	prefix  string
	shared  *binding
}

type binding struct {
	errs     []error
	used     map[string]bool
	products int64
}

// Bind begins at the names themselves.
func Bind(c *checkpoint.Checkpoint, l runtime.Loader) *Weights {
	return &Weights{tensors: c, load: l, shared: &binding{used: map[string]bool{}}}
}

// At goes on below a longer prefix, with a dot behind each part.
func (w *Weights) At(format string, args ...any) *Weights {
	c := *w
	c.prefix += fmt.Sprintf(format, args...) + "."
	return &c
}

// AtAny goes on below the first of the prefixes ("" for none) under which name is stored, or below the first.
func (w *Weights) AtAny(name string, prefixes ...string) *Weights {
	for _, p := range prefixes {
		c := *w
		if p != "" {
			c.prefix += p + "."
		}
		if c.Has(name) {
			return &c
		}
	}
	return w
}

// Has reports whether name is stored.
func (w *Weights) Has(name string) bool {
	_, ok := w.tensors.Lookup(w.prefix + name)
	return ok
}

// Err is everything that was missing or did not fit.
func (w *Weights) Err() error {
	if n := len(w.shared.errs); n > 8 {
		return errors.Join(append(w.shared.errs[:8:8], fmt.Errorf("and %d more tensors", n-8))...)
	}
	return errors.Join(w.shared.errs...)
}

// Fail adds an error.
func (w *Weights) Fail(err error) {
	if err != nil {
		w.shared.errs = append(w.shared.errs, err)
	}
}

// Unused lists the stored tensors that no layer asked for.
func (w *Weights) Unused() []string {
	var names []string
	for _, n := range w.tensors.Names() {
		if !w.shared.used[n] {
			names = append(names, n)
		}
	}
	return names
}

// Drop lets the system have the pages of the tensors read so far.
func (w *Weights) Drop() { w.tensors.Drop() }

// Shape is the stored shape of a tensor, nil where it is missing.
func (w *Weights) Shape(name string) []int {
	t, _ := w.tensors.Lookup(w.prefix + name)
	return t.Shape
}

// Matrix is a stored [rows, cols]; a negative size takes what is stored.
func (w *Weights) Matrix(name string, rows, cols int) runtime.Source {
	s, err := w.tensors.Source(w.prefix+name, rows, cols)
	w.Fail(err)
	w.shared.used[w.prefix+name] = true
	return s
}

// Vector is a stored [n].
func (w *Weights) Vector(name string, n int) runtime.Source { return w.Matrix(name, 1, n) }

// Bias is a stored [n], or no bias where the name is missing.
func (w *Weights) Bias(name string, n int) runtime.Source {
	if !w.Has(name) {
		return runtime.Source{}
	}
	return w.Vector(name, n)
}

// affine is the weight, and the bias if there is one, of a torch.nn.Linear from cols to rows values.
func (w *Weights) affine(name string, rows, cols int) (weight, bias runtime.Source) {
	return w.Matrix(name+".weight", rows, cols), w.Bias(name+".bias", rows)
}

// Linear is one torch.nn.Linear.
func (w *Weights) Linear(name string, rows, cols int, act runtime.Act) *runtime.Linear {
	return w.Stack(runtime.LinearSpec{Act: act}, cols, Part{name, rows})
}

// Part is one torch.nn.Linear of a stack and its number of outputs.
type Part struct {
	Name string
	Rows int
}

// Parts are torch.nn.Linear of equal height.
func Parts(rows int, names ...string) []Part {
	parts := make([]Part, len(names))
	for i, n := range names {
		parts[i] = Part{n, rows}
	}
	return parts
}

// Stack is several torch.nn.Linear of the same input as one product; spec gives what is not in the tensors.
func (w *Weights) Stack(spec runtime.LinearSpec, cols int, parts ...Part) *runtime.Linear {
	biased := false
	names := make([]string, len(parts))
	for i, p := range parts {
		weight, bias := w.affine(p.Name, p.Rows, cols)
		spec.W, spec.B = append(spec.W, weight), append(spec.B, bias)
		biased = biased || !bias.IsZero()
		names[i] = p.Name
	}
	if !biased {
		spec.B = nil
	}
	if spec.Name == "" {
		spec.Name = w.prefix + strings.Join(names, "+")
	}
	if len(w.shared.errs) > 0 {
		return nil
	}
	l, err := w.load.Linear(spec)
	w.Fail(err)
	for _, p := range parts {
		w.shared.products += int64(p.Rows) * int64(cols)
	}
	return l
}

// Products is how many multiplications the matrix products take for each row.
func (w *Weights) Products() int64 { return w.shared.products }

// Norm is a layer norm, or an RMS norm, whose bias may be missing; old checkpoints call its tensors gamma and beta.
func (w *Weights) Norm(kind runtime.NormKind, name string, width int, eps float64) *runtime.Norm {
	weight, bias := name+".weight", name+".bias"
	if !w.Has(weight) && w.Has(name+".gamma") {
		weight, bias = name+".gamma", name+".beta"
	}
	spec := runtime.NormSpec{Name: w.prefix + name, Kind: kind, Width: width, W: w.Vector(weight, width), Eps: float32(eps)}
	if kind == runtime.LayerNorm {
		spec.B = w.Bias(bias, width)
	}
	if len(w.shared.errs) > 0 {
		return nil
	}
	n, err := w.load.Norm(spec)
	w.Fail(err)
	return n
}

// RMSNorm is an RMS norm; plusOne says that its weight is stored less one, as Gemma's are.
func (w *Weights) RMSNorm(name string, width int, eps float64, plusOne bool) *runtime.Norm {
	weight := w.Vector(name+".weight", width)
	if len(w.shared.errs) > 0 {
		return nil
	}
	n, err := w.load.Norm(runtime.NormSpec{Name: w.prefix + name, Kind: runtime.RMSNorm, Width: width, W: weight, Eps: float32(eps), PlusOne: plusOne})
	w.Fail(err)
	return n
}

// Product is one matrix whose Source the caller has, as a head's that is the embedding table's too.
func (w *Weights) Product(spec runtime.LinearSpec) *runtime.Linear {
	if len(w.shared.errs) > 0 {
		return nil
	}
	l, err := w.load.Linear(spec)
	w.Fail(err)
	for _, m := range spec.W {
		w.shared.products += int64(m.Rows) * int64(m.Cols)
	}
	return l
}

// Table is an embedding table.
func (w *Weights) Table(spec runtime.TableSpec) *runtime.Table {
	if len(w.shared.errs) > 0 {
		return nil
	}
	spec.Name = w.prefix + spec.Name
	t, err := w.load.Table(spec)
	w.Fail(err)
	return t
}

// Const uploads a matrix that was computed at load.
func (w *Weights) Const(rows, cols int, v []float32) runtime.Tensor {
	if len(w.shared.errs) > 0 {
		return runtime.Tensor{}
	}
	t, err := w.load.Const(rows, cols, v, runtime.F32)
	w.Fail(err)
	return t
}
