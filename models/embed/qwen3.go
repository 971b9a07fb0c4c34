package embed

import (
	"math"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// qwen3 is the decoder of Qwen3-Embedding (Zhang et al. 2025; transformers/models/qwen3) without its head: pre-norm
// blocks with RMS norms, grouped and normed queries and keys, rotary positions, causal attention and SwiGLU.
//
//	x = word[id]
//	each layer: x += out(attention(qkv(RMS(x)))); x += down(silu(gate)·up of RMS(x))
//	y = RMS(x)
type qwen3 struct {
	table  *runtime.Table
	blocks []*nn.PreNorm
	rotary rope
	final  *runtime.Norm
	fromZero
}

func newQwen3(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := form{
		vocab: c.Int(151936, 1, maxVocab, "vocab_size"), width: c.Int(4096, 1, maxWidth, "hidden_size"), layers: c.Int(32, 1, maxLayers, "num_hidden_layers"),
		heads: c.Int(32, 1, maxWidth, "num_attention_heads"), inner: c.Int(22016, 1, maxWidth*16, "intermediate_size"),
		eps: c.Float(1e-6, "rms_norm_eps"), limit: c.Int(32768, 1, maxPositions, "max_position_embeddings"), trained: true,
	}
	kv := c.Int(f.heads, 1, f.heads, "num_key_value_heads")
	dim := c.Int(128, 2, 512, "head_dim")
	if f.heads%kv != 0 {
		c.Fail("num_key_value_heads", "%d does not divide %d heads", kv, f.heads)
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		c.Sub(key).Choice("default", []string{"default"}, "rope_type", "type")
	}
	causal := !c.Bool(false, "use_bidirectional_attention")
	window := 0
	if c.Bool(false, "use_sliding_window") {
		window = c.Int(4096, 1, maxPositions, "sliding_window")
		if !causal {
			c.Fail("use_sliding_window", "true is not supported with use_bidirectional_attention")
		}
	}
	windowFrom := c.Int(28, 0, maxLayers, "max_window_layers")
	kinds := c.Strings("layer_types")
	if kinds != nil && len(kinds) != f.layers {
		c.Fail("layer_types", "%d types for %d layers", len(kinds), f.layers)
		kinds = nil
	}
	act := nn.Activation(c, "silu", "hidden_act")
	m := &qwen3{rotary: rope{base: readTheta(c, 10000), dim: dim}}
	m.rotary.check(c)
	w = w.AtAny("embed_tokens.weight", "", "model")
	m.table = w.Table(runtime.TableSpec{Name: "embed_tokens", Word: w.Matrix("embed_tokens.weight", f.vocab, f.width)})
	for i := range f.layers {
		l := w.At("layers.%d", i)
		a, mlp := l.At("self_attn"), l.At("mlp")
		attn := runtime.Attn{
			Heads: f.heads, KVHeads: kv, Dim: dim, Causal: causal, Scale: float32(1 / math.Sqrt(float64(dim))), Rotary: 1,
			Keys:  w.Precision.Cache,
			QNorm: a.Norm(runtime.RMSNorm, "q_norm", dim, f.eps), KNorm: a.Norm(runtime.RMSNorm, "k_norm", dim, f.eps),
		}
		if slides := i >= windowFrom; kinds != nil && kinds[i] == "sliding_attention" || kinds == nil && slides {
			attn.Window = window
		}
		m.blocks = append(m.blocks, &nn.PreNorm{
			Norm1: l.Norm(runtime.RMSNorm, "input_layernorm", f.width, f.eps),
			QKV:   a.Stack(runtime.LinearSpec{}, f.width, append(nn.Parts(f.heads*dim, "q_proj"), nn.Parts(kv*dim, "k_proj", "v_proj")...)...),
			Out:   a.Linear("o_proj", f.width, f.heads*dim, runtime.None),
			Norm2: l.Norm(runtime.RMSNorm, "post_attention_layernorm", f.width, f.eps),
			Up:    mlp.Stack(runtime.LinearSpec{Gate: true, Act: act}, f.width, nn.Parts(f.inner, "gate_proj", "up_proj")...),
			Down:  mlp.Linear("down_proj", f.width, f.inner, runtime.None),
			Attn:  attn,
		})
		w.Drop()
	}
	m.final = w.Norm(runtime.RMSNorm, "norm", f.width, f.eps)
	return m, f
}

func (m *qwen3) begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences) runtime.Tensor {
	m.rotary.angles(b, s)
	return b.Embed(ids, s, m.table)
}

func (m *qwen3) layers() int { return len(m.blocks) }

func (m *qwen3) layer(b runtime.Backend, i int, x runtime.Tensor, s *runtime.Sequences) {
	m.blocks[i].Forward(b, x, s)
}

func (m *qwen3) end(b runtime.Backend, x runtime.Tensor) runtime.Tensor { return b.Norm(x, m.final) }
