package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
)

// llama is Llama 2 and 3 (Touvron et al. 2023, Dubey et al. 2024; transformers/models/llama), TinyLlama and SmolLM2:
// pre-norm blocks with RMS norms, grouped queries, rotary positions and SwiGLU.
//
//	x = word[id]
//	each layer: x += out(attention(qkv(RMS(x)))); x += down(silu(gate)·up of RMS(x))
//	logits = head(RMS(x))
//
// Biases are taken where they are stored (attention_bias, mlp_bias).
func llama(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{vocab: 32000, width: 4096, inner: 11008, layers: 32, heads: 32, positions: 2048, eps: 1e-6, act: "silu"})
	f.rope(c, 10000)
	return build(c, w, f, f.preNorm)
}
