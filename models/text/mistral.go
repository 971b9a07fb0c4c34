package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
)

// mistral is Llama with grouped queries and, in the first version, a window over the last keys in every layer
// (Jiang et al. 2023; transformers/models/mistral). A file that does not name the window has one of 4,096.
func mistral(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 32000, width: 4096, inner: 14336, layers: 32, heads: 32, kvHeads: 8, positions: 4096 * 32, eps: 1e-6, act: "silu",
	})
	f.rope(c, 10000)
	window := 0
	if !c.IsNull("sliding_window") {
		window = f.window(c, 4096)
	}
	for i := range f.windows {
		f.windows[i] = window
	}
	return build(c, w, f, f.preNorm)
}
