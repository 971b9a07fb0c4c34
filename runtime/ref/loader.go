package ref

import (
	"fmt"

	"remote-client-server/runtime"
)

// loader keeps weights as float64 matrices; a Const is the only memory that has an address.
type loader struct {
	b      *Backend
	consts []uintptr
	bytes  int64
}

type linear struct {
	w    [][]float64 // [rows, K]
	b    []float64   // [rows]
	spec runtime.LinearSpec
}

type norm struct{ w, b []float64 }

type table struct {
	word, position [][]float64
	kind           []float64
	scale          float64
	norm           *runtime.Norm
}

// Load ignores the precision: see Backend.Precision.
func (b *Backend) Load(string, runtime.Precision) runtime.Loader { return &loader{b: b} }

func (l *loader) hold(n int) {
	l.bytes += int64(8 * n)
	l.b.ledger.Weights += int64(8 * n)
}

func (l *loader) Linear(s runtime.LinearSpec) (*runtime.Linear, error) {
	p := &linear{spec: s}
	k := -1
	for i, w := range s.W {
		if k >= 0 && w.Cols != k {
			return nil, fmt.Errorf("linear %s: %s has %d columns, want %d", s.Name, w.Name, w.Cols, k)
		}
		k = w.Cols
		p.w = append(p.w, widen(w)...)
		bias := make([]float64, w.Rows)
		if i < len(s.B) && !s.B[i].IsZero() {
			if s.B[i].Rows*s.B[i].Cols != w.Rows {
				return nil, fmt.Errorf("linear %s: bias %s does not fit %s", s.Name, s.B[i].Name, w.Name)
			}
			bias = widen(s.B[i])[0]
		}
		p.b = append(p.b, bias...)
	}
	if s.Scale != nil && len(s.Scale) != len(p.w) {
		return nil, fmt.Errorf("linear %s: %d factors for %d rows", s.Name, len(s.Scale), len(p.w))
	}
	for i, f := range s.Scale {
		for c := range p.w[i] {
			p.w[i][c] *= float64(f)
		}
		p.b[i] *= float64(f)
	}
	n := len(p.w)
	if s.Gate {
		if n%2 != 0 {
			return nil, fmt.Errorf("linear %s: %d rows make no gated pair", s.Name, n)
		}
		n /= 2
	}
	l.hold(len(p.w) * max(k, 0))
	return &runtime.Linear{Name: s.Name, N: n, K: max(k, 0), Packed: p}, nil
}

func (l *loader) Norm(s runtime.NormSpec) (*runtime.Norm, error) {
	p := &norm{w: make([]float64, s.Width), b: make([]float64, s.Width)}
	for i := range p.w {
		p.w[i] = 1
	}
	for _, v := range []struct {
		src runtime.Source
		dst *[]float64
	}{{s.W, &p.w}, {s.B, &p.b}} {
		if v.src.IsZero() {
			continue
		}
		if v.src.Rows != 1 || v.src.Cols != s.Width {
			return nil, fmt.Errorf("norm %s: %s has shape [%d,%d], want [1,%d]", s.Name, v.src.Name, v.src.Rows, v.src.Cols, s.Width)
		}
		*v.dst = widen(v.src)[0]
	}
	if s.PlusOne {
		for i := range p.w {
			p.w[i]++
		}
	}
	l.hold(2 * s.Width)
	return &runtime.Norm{Name: s.Name, Kind: s.Kind, Width: s.Width, Eps: s.Eps, Packed: p}, nil
}

func (l *loader) Table(s runtime.TableSpec) (*runtime.Table, error) {
	p := &table{word: widen(s.Word), scale: 1, norm: s.Norm}
	if s.Scale != 0 {
		p.scale = float64(s.Scale)
	}
	if !s.Position.IsZero() {
		p.position = widen(s.Position)
	}
	if !s.Type.IsZero() {
		p.kind = widen(s.Type)[0]
	}
	for _, o := range []runtime.Source{s.Position, s.Type} {
		if !o.IsZero() && o.Cols != s.Word.Cols {
			return nil, fmt.Errorf("table %s: %s has %d columns, want %d", s.Name, o.Name, o.Cols, s.Word.Cols)
		}
	}
	l.hold((s.Word.Rows + s.Position.Rows) * s.Word.Cols)
	return &runtime.Table{Name: s.Name, Vocab: s.Word.Rows, Positions: s.Position.Rows, Width: s.Word.Cols, Packed: p}, nil
}

func (l *loader) Const(rows, cols int, v []float32, t runtime.DType) (runtime.Tensor, error) {
	if len(v) != rows*cols {
		return runtime.Tensor{}, fmt.Errorf("const: %d values for [%d,%d]", len(v), rows, cols)
	}
	n := int64(len(v) * t.Size())
	addr := l.b.alloc(n)
	l.consts = append(l.consts, addr)
	l.bytes += n
	l.b.ledger.Weights += n
	c := runtime.NewTensor(addr, rows, cols, cols, t, runtime.Prefill, 0)
	l.b.Upload(c, v)
	return c, nil
}

func (l *loader) Close() error {
	for _, a := range l.consts {
		l.b.free(a)
	}
	l.b.ledger.Weights -= l.bytes
	l.consts, l.bytes = nil, 0
	return nil
}

func widen(s runtime.Source) [][]float64 {
	m := matrix(s.Rows, s.Cols)
	row := make([]float32, s.Cols)
	for r := range m {
		s.Row(row, r)
		for c, x := range row {
			m[r][c] = float64(x)
		}
	}
	return m
}
