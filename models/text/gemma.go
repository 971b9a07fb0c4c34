package text

import (
	"math"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// gemma (Gemma Team 2024; transformers/models/gemma) is Llama with a scaled embedding, norms whose weights are stored
// less one, a gated GELU and a head that is the embedding table.
func gemma(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 256000, width: 3072, inner: 24576, layers: 28, heads: 16, kvHeads: 16, dim: 256, positions: 8192, eps: 1e-6,
		act: "gelu_pytorch_tanh", tied: true,
	})
	f.asGemma()
	f.rope(c, 10000)
	return build(c, w, f, f.preNorm)
}

// gemma2 (Gemma Team 2024; transformers/models/gemma2) norms what attention and MLP add, caps scores and logits, and has
// a window in every other layer.
func gemma2(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 256000, width: 2304, inner: 9216, layers: 26, heads: 8, kvHeads: 4, dim: 256, positions: 8192, eps: 1e-6,
		act: "gelu_pytorch_tanh", actKey: "hidden_activation", tied: true,
	})
	f.asGemma()
	f.scale = queryScale(c)
	f.scoreCap, f.logitCap = softCap(c, 50, "attn_logit_softcapping"), softCap(c, 30, "final_logit_softcapping")
	f.rope(c, 10000)
	f.slide(c, f.window(c, 4096), func(i int) bool { return i%2 == 0 })
	return build(c, w, f, f.sandwich)
}

// gemma3 (Gemma Team 2025; transformers/models/gemma3) norms queries and keys instead of capping scores. Five layers of
// six have a window and a rotation of their own. Of a checkpoint with a vision tower it is the text model.
func gemma3(c *repo.Config, w *nn.Weights) *network {
	if c.Has("text_config") {
		c = c.Sub("text_config")
	}
	f := readForm(c, defaults{
		vocab: 262208, width: 2304, inner: 9216, layers: 26, heads: 8, kvHeads: 4, dim: 256, positions: 131072, eps: 1e-6,
		act: "gelu_pytorch_tanh", actKey: "hidden_activation", tied: true,
	})
	if c.Bool(false, "use_bidirectional_attention") {
		c.Fail("use_bidirectional_attention", "true is not supported: the model does not write")
	}
	f.asGemma()
	f.qkNorm = true
	f.scale = queryScale(c)
	f.logitCap = softCap(c, 0, "final_logit_softcapping")
	every := c.Int(6, 1, maxLayers, "sliding_window_pattern", "_sliding_window_pattern")
	f.slide(c, f.window(c, 4096), func(i int) bool { return (i+1)%every != 0 })
	full := nn.ReadRotary(c, nn.RotaryDefaults{Base: 1e6, Dim: f.dim, Positions: f.positions, Group: "full_attention"})
	base := c.Sub("rope_parameters").Sub("sliding_attention").Float(c.Float(10000, "rope_local_base_freq"), "rope_theta")
	f.rotaries = []nn.Rotary{full, nn.PlainRotary(c, base, f.dim, f.positions)}
	f.rotary = make([]int, f.layers)
	types := f.layerTypes(c)
	for i := range f.rotary {
		f.rotary[i] = 1
		if types != nil && types[i] == slidingLayer || types == nil && (i+1)%every != 0 {
			f.rotary[i] = 2
		}
	}
	return build(c, w, f, f.sandwich)
}

// asGemma is what the three share.
func (f *form) asGemma() {
	f.plusOne = true
	f.embedScale = math.Sqrt(float64(f.width))
}

func queryScale(c *repo.Config) float64 {
	s := c.Float(256, "query_pre_attn_scalar")
	if !(s > 0) {
		c.Fail("query_pre_attn_scalar", "%v is no positive number", s)
		return 1
	}
	return 1 / math.Sqrt(s)
}

// softCap is c of c·tanh(z/c); an explicit null is none.
func softCap(c *repo.Config, def float64, key string) float32 {
	if c.IsNull(key) {
		return 0
	}
	v := c.Float(def, key)
	if v < 0 || math.IsInf(v, 0) {
		c.Fail(key, "%v is no cap", v)
	}
	return float32(v)
}

// sandwich is the layer of Gemma 2 and 3.
func (f *form) sandwich(l *nn.Weights, i int) block {
	a, mlp := l.At("self_attn"), l.At("mlp")
	return &nn.Sandwich{
		Norm1: l.RMSNorm("input_layernorm", f.width, f.eps, true),
		QKV:   f.qkv(a),
		Out:   a.Linear("o_proj", f.width, f.heads*f.dim, runtime.None),
		Norm2: l.RMSNorm("post_attention_layernorm", f.width, f.eps, true),
		Norm3: l.RMSNorm("pre_feedforward_layernorm", f.width, f.eps, true),
		Up:    f.gateUp(mlp),
		Down:  mlp.Linear("down_proj", f.width, f.inner, runtime.None),
		Norm4: l.RMSNorm("post_feedforward_layernorm", f.width, f.eps, true),
		Attn:  f.attention(i, a),
	}
}
