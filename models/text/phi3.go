package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// phi3 is Phi-3, Phi-3.5 and Phi-4-mini (Abdin et al. 2024; transformers/models/phi3): Llama with q, k, v and gate, up
// stored as one matrix each, and with LongRoPE: sequences that are longer than the original length use other
// frequencies, for all of their positions.
func phi3(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 32064, width: 3072, inner: 8192, layers: 32, heads: 32, positions: 4096, eps: 1e-5, act: "silu",
	})
	f.rotaries = []nn.Rotary{nn.ReadRotary(c, nn.RotaryDefaults{Base: 10000, Dim: f.dim, Positions: f.positions, Original: 4096, Phi: true})}
	window := f.window(c, 0)
	for i := range f.windows {
		f.windows[i] = window
	}
	return build(c, w, f, func(l *nn.Weights, i int) block {
		a, mlp := l.At("self_attn"), l.At("mlp")
		return &nn.PreNorm{
			Norm1: l.RMSNorm("input_layernorm", f.width, f.eps, false),
			QKV:   a.Stack(runtime.LinearSpec{}, f.width, nn.Part{Name: "qkv_proj", Rows: (f.heads + 2*f.kvHeads) * f.dim}),
			Out:   a.Linear("o_proj", f.width, f.heads*f.dim, runtime.None),
			Norm2: l.RMSNorm("post_attention_layernorm", f.width, f.eps, false),
			Up:    mlp.Stack(runtime.LinearSpec{Gate: true, Act: f.act}, f.width, nn.Part{Name: "gate_up_proj", Rows: 2 * f.inner}),
			Down:  mlp.Linear("down_proj", f.width, f.inner, runtime.None),
			Attn:  f.attention(i, a),
		}
	})
}
