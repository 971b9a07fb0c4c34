package text

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
)

// smollm3 is Llama without a rotation in every fourth layer (Bakouch et al. 2025; transformers/models/smollm3).
func smollm3(c *repo.Config, w *nn.Weights) *network {
	f := readForm(c, defaults{
		vocab: 128256, width: 2048, inner: 11008, layers: 36, heads: 16, kvHeads: 4, positions: 32768, eps: 1e-6, act: "silu", tied: true,
	})
	f.rope(c, 2000000)
	every := c.Int(4, 1, maxLayers, "no_rope_layer_interval")
	rotated := c.Ints("no_rope_layers") // 1 for a layer with a rotation, whatever the key says
	if rotated != nil && len(rotated) != f.layers {
		c.Fail("no_rope_layers", "%d entries for %d layers", len(rotated), f.layers)
		rotated = nil
	}
	f.rotary = make([]int, f.layers)
	for i := range f.rotary {
		if rotated != nil && rotated[i] != 0 || rotated == nil && (i+1)%every != 0 {
			f.rotary[i] = 1
		}
	}
	if c.Bool(false, "use_sliding_window") {
		f.slide(c, f.window(c, 0), func(i int) bool { return f.rotary[i] == 0 })
	}
	return build(c, w, f, f.preNorm)
}
