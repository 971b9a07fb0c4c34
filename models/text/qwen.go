package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
)

// qwen2 is Llama with biases on queries, keys and values (Yang et al. 2024; transformers/models/qwen2). The upper layers
// of some sizes have a window.
func qwen2(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 151936, width: 4096, inner: 22016, layers: 32, heads: 32, kvHeads: 32, positions: 32768, eps: 1e-6, act: "silu",
	})
	f.rope(c, 10000)
	f.slideAbove(c)
	return build(c, w, f, f.preNorm)
}

// qwen3 has no biases; its queries and keys are normed, head by head, before they are rotated (Yang et al. 2025;
// transformers/models/qwen3).
func qwen3(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 151936, width: 4096, inner: 22016, layers: 32, heads: 32, kvHeads: 32, dim: 128, positions: 32768, eps: 1e-6, act: "silu",
	})
	f.qkNorm = true
	f.rope(c, 10000)
	f.slideAbove(c)
	return build(c, w, f, f.preNorm)
}

// slideAbove gives the layers from max_window_layers on a window, where the file wants one at all.
func (f *form) slideAbove(c *repo.Config) {
	if c.Bool(false, "use_sliding_window") {
		from := c.Int(28, 0, maxLayers, "max_window_layers")
		f.slide(c, f.window(c, 4096), func(i int) bool { return i >= from })
	}
}
