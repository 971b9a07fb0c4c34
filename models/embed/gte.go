package embed

import (
	"math"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// gte is Alibaba's GTE v1.5 (Zhang et al. 2024; transformers/models/gte): NomicBert's network with biases, a GELU gate
// and, in some files, rotary frequencies stretched by a fixed NTK factor.
type gte struct{ nomicBERT }

func newGTE(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := readForm(c, form{vocab: 30528, positions: 8192})
	f.limit, f.trained = f.positions, true
	c.Choice("rope", []string{"rope"}, "position_embedding_type")
	if c.Bool(false, "logn_attention_scale") {
		c.Fail("logn_attention_scale", "true is not supported")
	}
	types := c.Int(0, 0, 1024, "type_vocab_size")
	act := nn.Activation(c, "gelu", "hidden_act")
	w = w.AtAny("embeddings.word_embeddings.weight", "", "new")
	m := &gte{}
	m.rotary = rope{base: readTheta(c, 160000), dim: f.headDim()}
	m.rotary.check(c)
	if s := c.Sub("rope_scaling"); s.Has("type", "rope_type") && s.Choice("default", []string{"default", "ntk"}, "type", "rope_type") == "ntk" {
		m.rotary.base, m.rotary.stretch = stretch(m.rotary.base, s.Float(1, "factor"), m.rotary.dim)
	}
	e := w.At("embeddings")
	spec := runtime.TableSpec{
		Name: "word_embeddings", Word: e.Matrix("word_embeddings.weight", f.vocab, f.width),
		Norm: e.Norm(runtime.LayerNorm, "LayerNorm", f.width, f.eps),
	}
	if types > 0 && e.Has("token_type_embeddings.weight") {
		spec.Type = firstRow(e.Matrix("token_type_embeddings.weight", types, f.width))
	}
	m.table = e.Table(spec)
	native := w.Has("layers.0.self_attn.q_proj.weight")
	for i := range f.layers {
		attn := f.attention(w)
		attn.Rotary = 1
		if native {
			m.blocks = append(m.blocks, gatedBlock(w.At("layers.%d", i), f, act, attn))
		} else {
			m.blocks = append(m.blocks, originalGTE(w.At("encoder.layer.%d", i), f, act, attn))
		}
		w.Drop()
	}
	return m, f
}

// stretch is the fixed NTK scaling of the original code: frequencies of base·f, each divided by f^(2/dim).
func stretch(base, f float64, dim int) (float64, float64) {
	return base * f, math.Pow(f, 2/float64(dim))
}

// originalGTE is a layer under the repository's own names: the MLP's first half is up, the second gate.
func originalGTE(l *nn.Weights, f form, act runtime.Act, attn runtime.Attn) *nn.PostNorm {
	pair := l.Matrix("mlp.up_gate_proj.weight", 2*f.inner, f.width)
	spec := runtime.LinearSpec{Gate: true, Act: act}
	if l.Err() == nil {
		spec.W = []runtime.Source{pair.RowRange(f.inner, 2*f.inner), pair.RowRange(0, f.inner)}
	}
	spec.Name = "mlp.up_gate_proj"
	return &nn.PostNorm{
		QKV:   l.Linear("attention.qkv_proj", 3*f.width, f.width, runtime.None),
		Out:   l.Linear("attention.o_proj", f.width, f.width, runtime.None),
		Norm1: l.Norm(runtime.LayerNorm, "attn_ln", f.width, f.eps),
		Up:    l.Stack(spec, f.width),
		Down:  l.Linear("mlp.down_proj", f.width, f.inner, runtime.None),
		Norm2: l.Norm(runtime.LayerNorm, "mlp_ln", f.width, f.eps),
		Attn:  attn,
	}
}
