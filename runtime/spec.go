package runtime

import "fmt"

// Act is an activation function.
type Act uint8

const (
	None Act = iota
	ReLU
	Tanh
	Sigmoid
	SiLU      // x·sigmoid(x)
	GELU      // x·Φ(x), by erf
	GELUTanh  // its tanh approximation, 0.5x(1+tanh(√(2/π)(x+0.044715x³)))
	QuickGELU // x·sigmoid(1.702x)
)

func (a Act) String() string {
	return [...]string{"none", "relu", "tanh", "sigmoid", "silu", "gelu", "gelu_tanh", "quick_gelu"}[a]
}

// LinearSpec is y = act(xWᵀ + b): which rows of which stored tensors, in which order.
type LinearSpec struct {
	Name  string
	W     []Source  // [rows, K] each, stacked by rows
	B     []Source  // [1, rows] each, in W's order; nil for no bias, a zero Source for a part without one
	Gate  bool      // W = [gate; up], halves of equal height: y = act(gate)·up
	Act   Act       // applied to all outputs, or to the gate
	Cap   float32   // c·tanh(y/c) after all; 0 for none
	Scale []float32 // one factor a row of W, folded into W and b in float32; nil for none
	Wide  bool      // float32 results whatever the compute type: logits, scores, the last vector
}

// Check gives the height of the stacked matrix and its width K, or the error of a spec that nobody can pack.
func (s LinearSpec) Check() (rows, k int, err error) {
	fail := func(format string, args ...any) (int, int, error) {
		return 0, 0, fmt.Errorf("linear %s: %s", s.Name, fmt.Sprintf(format, args...))
	}
	if len(s.W) == 0 {
		return fail("no weights")
	}
	for _, w := range s.W {
		if w.IsZero() && w.Rows*w.Cols > 0 || w.Cols != s.W[0].Cols {
			return fail("%s has %d columns, %s %d", w.Name, w.Cols, s.W[0].Name, s.W[0].Cols)
		}
		rows += w.Rows
	}
	switch {
	case s.Gate && rows%2 != 0:
		return fail("%d rows are no gate and up of equal height", rows)
	case s.B != nil && len(s.B) != len(s.W):
		return fail("%d biases for %d matrices", len(s.B), len(s.W))
	case s.Scale != nil && len(s.Scale) != rows:
		return fail("%d factors for %d rows", len(s.Scale), rows)
	case s.Act > QuickGELU:
		return fail("activation %d", s.Act)
	}
	for i, b := range s.B {
		if !b.IsZero() && (b.Rows != 1 || b.Cols != s.W[i].Rows) {
			return fail("bias %s [%d,%d] for %d rows", b.Name, b.Rows, b.Cols, s.W[i].Rows)
		}
	}
	return rows, s.W[0].Cols, nil
}

// Bias is the stacked biases of a spec that passed Check, times their factors; zeros where a part has none.
func (s LinearSpec) Bias() []float32 {
	var bias []float32
	for i, w := range s.W {
		part := make([]float32, w.Rows)
		if s.B != nil && !s.B[i].IsZero() {
			s.B[i].Row(part, 0)
		}
		bias = append(bias, part...)
	}
	for i, f := range s.Scale {
		bias[i] *= f
	}
	return bias
}

// Linear is a packed LinearSpec. N is the number of its outputs: half the rows of W where it is gated.
type Linear struct {
	Name   string
	N, K   int
	Packed any // the backend's own form
}

// NormKind is a normalisation over a row.
type NormKind uint8

const (
	LayerNorm NormKind = iota // (x-mean)/√(var+eps)·w + b, var biased
	RMSNorm                   // x/√(mean(x²)+eps)·w
	L2Norm                    // x/max(√Σx², eps)
)

// NormSpec is a normalisation of rows of Width values. A zero W is all ones, a zero B all zeros.
type NormSpec struct {
	Name    string
	Kind    NormKind
	Width   int
	W, B    Source // [1, Width]
	PlusOne bool   // the weight is 1+w (Gemma)
	Eps     float32
}

// Norm is a loaded NormSpec.
type Norm struct {
	Name   string
	Kind   NormKind
	Width  int
	Eps    float32
	Packed any
}

// TableSpec is an embedding: n(scale·Word[id] + Position[pos] + Type). Zero Sources and a nil Norm are left out.
type TableSpec struct {
	Name     string
	Word     Source  // [vocabulary, H]
	Position Source  // [positions, H]; row Pos of the Sequences
	Type     Source  // [1, H]: the one token type of the batch
	Scale    float32 // 0 counts as 1
	Norm     *Norm
}

// Check gives the width H of the rows, or the error of tables that do not fit each other.
func (s TableSpec) Check() (width int, err error) {
	for _, t := range []Source{s.Word, s.Position, s.Type} {
		switch {
		case t.IsZero():
		case width != 0 && t.Cols != width:
			return 0, fmt.Errorf("table %s: %s has %d columns, want %d", s.Name, t.Name, t.Cols, width)
		default:
			width = t.Cols
		}
	}
	if !s.Type.IsZero() && s.Type.Rows != 1 {
		return 0, fmt.Errorf("table %s: type %s [%d,%d], want [1,%d]", s.Name, s.Type.Name, s.Type.Rows, s.Type.Cols, width)
	}
	if s.Norm != nil && s.Norm.Width != width {
		return 0, fmt.Errorf("table %s: norm %s of width %d for %d", s.Name, s.Norm.Name, s.Norm.Width, width)
	}
	return width, nil
}

// Table is a loaded TableSpec.
type Table struct {
	Name             string
	Vocab, Positions int
	Width            int
	Packed           any
}

// Rotary is the frequencies of a rotary position embedding: Freqs F32 [variants, half], of which Sequences.Freq picks a
// row for each sequence; cos and sin are multiplied by Factor (yarn's attention factor, else 1).
type Rotary struct {
	Freqs  Tensor
	Factor float32
}

// Attn is all that is constant about an attention layer; the zero value of a field switches its feature off.
type Attn struct {
	Heads, KVHeads, Dim int
	Window              int // Causal: key j > i-Window; else |i-j| <= Window
	Causal              bool
	Scale, Cap          float32 // s = Cap·tanh(Scale·q·k/Cap)
	Keys                DType   // Precision.Cache: with BF16 queries and softmax weights may be rounded like keys and values
	QNorm, KNorm        *Norm   // per head, before the rotation
	Rotary, Layer       int     // 1 + index into Sequences.Angles; layer of Sequences.Cache
	Interleaved         bool    // rotary pairs (2i, 2i+1) instead of (i, i+half); channels beyond 2·half pass
	Bias                Tensor  // F32 [Heads, 2R+1], added to s at column R + clamp(j-i, -R, R)
	PosK, PosQ, Delta   Tensor  // DeBERTa: [Heads·2S, Dim] twice and I32 offsets
	Pad                 Tensor  // the qkv row of a window's padding
}

// Pooling reduces rows to one.
type Pooling uint8

const (
	PoolFirst    Pooling = iota
	PoolLast             // the last row
	PoolMean             // Σx/n
	PoolMax              // elementwise
	PoolSum              // Σx
	PoolMeanSqrt         // Σx/√n
	PoolWeighted         // Σ(t+1)x/Σ(t+1), t counted from the row in the third column of the ranges
)

func (p Pooling) String() string {
	return [...]string{"first", "last", "mean", "max", "sum", "mean_sqrt", "weighted"}[p]
}
