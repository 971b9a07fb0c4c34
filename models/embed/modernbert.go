package embed

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// modernBERT is ModernBERT (Warner et al. 2024; transformers/models/modernbert): pre-norm blocks with GeGLU, rotary
// positions, and full attention in every third layer only; the others see 64 tokens to each side.
//
//	x = LN(word[id])
//	each layer: x += out(attention(qkv(LN(x)))), where layer 0 has no LN; x += down(gelu(gate)·up of LN(x))
//	y = LN(x)
type modernBERT struct {
	table         *runtime.Table
	blocks        []*nn.PreNorm
	global, local rope
	final         *runtime.Norm
	fromZero
}

func newModernBERT(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := readForm(c, form{vocab: 50368, positions: 8192, layers: 22, inner: 1152, eps: 1e-5})
	f.limit, f.trained = f.positions, true
	act := nn.Activation(c, "gelu", "hidden_activation")
	every := c.Int(3, 1, maxLayers, "global_attn_every_n_layers")
	window := c.Int(128, 2, 1<<24, "local_attention") / 2
	kinds := c.Strings("layer_types")
	if kinds != nil && len(kinds) != f.layers {
		c.Fail("layer_types", "%d types for %d layers", len(kinds), f.layers)
		kinds = nil
	}
	theta := c.Sub("rope_parameters")
	base := func(kind string, def float64, key string) rope {
		s := theta.Sub(kind)
		s.Choice("default", []string{"default"}, "rope_type")
		return rope{base: s.Float(c.Float(def, key), "rope_theta"), dim: f.headDim()}
	}
	m := &modernBERT{
		global: base("full_attention", 160000, "global_rope_theta"),
		local:  base("sliding_attention", 10000, "local_rope_theta"),
	}
	m.global.check(c)
	m.local.check(c)
	w = w.AtAny("embeddings.tok_embeddings.weight", "", "model")
	e := w.At("embeddings")
	m.table = e.Table(runtime.TableSpec{
		Name: "tok_embeddings", Word: e.Matrix("tok_embeddings.weight", f.vocab, f.width),
		Norm: e.Norm(runtime.LayerNorm, "norm", f.width, f.eps),
	})
	for i := range f.layers {
		l := w.At("layers.%d", i)
		attn := f.attention(w)
		attn.Rotary = 1
		full := i%every == 0
		if kinds != nil {
			full = kinds[i] == "full_attention"
		}
		if !full {
			attn.Rotary, attn.Window = 2, window
		}
		block := &nn.PreNorm{
			QKV:   l.Linear("attn.Wqkv", 3*f.width, f.width, runtime.None),
			Out:   l.Linear("attn.Wo", f.width, f.width, runtime.None),
			Norm2: l.Norm(runtime.LayerNorm, "mlp_norm", f.width, f.eps),
			Up:    l.Stack(runtime.LinearSpec{Gate: true, Act: act}, f.width, nn.Parts(2*f.inner, "mlp.Wi")...),
			Down:  l.Linear("mlp.Wo", f.width, f.inner, runtime.None),
			Attn:  attn,
		}
		if i > 0 || l.Has("attn_norm.weight") {
			block.Norm1 = l.Norm(runtime.LayerNorm, "attn_norm", f.width, f.eps)
		}
		m.blocks = append(m.blocks, block)
		w.Drop()
	}
	m.final = w.Norm(runtime.LayerNorm, "final_norm", f.width, f.eps)
	return m, f
}

func (m *modernBERT) begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences) runtime.Tensor {
	f := b.Scratch(2, m.global.dim/2, runtime.F32)
	b.Upload(f, append(m.global.frequencies(0), m.local.frequencies(0)...))
	b.Angles(s, &runtime.Rotary{Freqs: f.Slice(0, 1), Factor: 1}, &runtime.Rotary{Freqs: f.Slice(1, 2), Factor: 1})
	return b.Embed(ids, s, m.table)
}

func (m *modernBERT) layers() int { return len(m.blocks) }

func (m *modernBERT) layer(b runtime.Backend, i int, x runtime.Tensor, s *runtime.Sequences) {
	m.blocks[i].Forward(b, x, s)
}

func (m *modernBERT) end(b runtime.Backend, x runtime.Tensor) runtime.Tensor {
	return b.Norm(x, m.final)
}
