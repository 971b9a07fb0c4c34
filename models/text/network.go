package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// network is a decoder-only transformer:
//
//	x = scale·word[id]
//	each block rewrites x
//	logits = head(norm(x))
type network struct {
	form
	table  *runtime.Table
	blocks []block
	norm   *runtime.Norm
	head   *runtime.Linear // F32 logits, capped where the family does that
}

// block is one layer.
type block interface {
	Forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences)
}

// begin looks up the ids I32 [T,1] and the angles that all layers share -> [T, width]. rotaries are the frequencies on
// the device.
func (n *network) begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences, rotaries []*runtime.Rotary) runtime.Tensor {
	x := b.Embed(ids, s, n.table)
	b.Angles(s, rotaries...)
	return x
}

// layers runs every block in a scope of its own; it stops early where nobody wants the result any more.
func (n *network) run(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences, wanted func() bool) bool {
	for _, l := range n.blocks {
		if wanted != nil && !wanted() {
			return false
		}
		m := b.Mark()
		l.Forward(b, x, s)
		b.Release(m)
	}
	return true
}

// logits is F32 [rows, vocab].
func (n *network) logits(b runtime.Backend, x runtime.Tensor) runtime.Tensor {
	return b.NormLinear(x, n.norm, n.head)
}

// build binds a network whose layers are named as Llama's are. q, k and v are one product, and so are gate and up,
// whether stored apart or fused.
func build(c *repo.Config, w *nn.Weights, f form, layer func(l *nn.Weights, i int) block) *network {
	n := &network{form: f}
	if c.Err() != nil { // tensors that do not fit wrong numbers are no news
		return n
	}
	m := root(w)
	word := m.Matrix("embed_tokens.weight", f.vocab, f.width)
	n.table = m.Table(runtime.TableSpec{Name: "embed_tokens", Word: word, Scale: embeddingScale(f.embedScale, w.Precision.Compute)})
	for i := range f.layers {
		n.blocks = append(n.blocks, layer(m.At("layers.%d", i), i))
		w.Drop()
	}
	n.norm = m.RMSNorm("norm", f.width, f.eps, f.plusOne)
	head := runtime.LinearSpec{Name: "lm_head", Wide: true, Cap: f.logitCap, W: []runtime.Source{word}}
	if !f.tied {
		h := w.AtAny("lm_head.weight", "", "language_model", "model")
		head.W[0] = h.Matrix("lm_head.weight", f.vocab, f.width)
	}
	n.head = w.Product(head)
	return n
}

// embeddingScale is rounded to the type that a model is computed in, as it is in training (transformers, Gemma).
func embeddingScale(scale float64, compute runtime.DType) float32 {
	s := float32(scale)
	switch compute {
	case runtime.BF16:
		return runtime.BF16ToF32(runtime.F32ToBF16(s))
	case runtime.F16:
		return runtime.F16ToF32(runtime.F32ToF16(s))
	}
	return s
}

// preNorm is the layer of Llama and most others.
func (f *form) preNorm(l *nn.Weights, i int) block {
	a, mlp := l.At("self_attn"), l.At("mlp")
	return &nn.PreNorm{
		Norm1: l.RMSNorm("input_layernorm", f.width, f.eps, f.plusOne),
		QKV:   f.qkv(a),
		Out:   a.Linear("o_proj", f.width, f.heads*f.dim, runtime.None),
		Norm2: l.RMSNorm("post_attention_layernorm", f.width, f.eps, f.plusOne),
		Up:    f.gateUp(mlp),
		Down:  mlp.Linear("down_proj", f.width, f.inner, runtime.None),
		Attn:  f.attention(i, a),
	}
}

// qkv is one product for queries, keys and values.
func (f *form) qkv(a *nn.Weights) *runtime.Linear {
	return a.Stack(runtime.LinearSpec{}, f.width, append(nn.Parts(f.heads*f.dim, "q_proj"), nn.Parts(f.kvHeads*f.dim, "k_proj", "v_proj")...)...)
}

// gateUp is act(gate)·up.
func (f *form) gateUp(mlp *nn.Weights) *runtime.Linear {
	return mlp.Stack(runtime.LinearSpec{Gate: true, Act: f.act}, f.width, nn.Parts(f.inner, "gate_proj", "up_proj")...)
}
