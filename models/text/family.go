package text

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// What a config.json may ask for. The bounds only keep arithmetic from overflowing: what memory cannot hold fails when
// a tensor of that size is looked for.
const (
	maxVocab     = 1 << 24
	maxWidth     = 1 << 16
	maxLayers    = 1 << 10
	maxPositions = 1 << 24
	maxHead      = 256 // channels of a head
)

// family reads a config.json and binds its tensors.
type family func(c *repo.Config, w *nn.Weights) *network

// families by the class of a checkpoint, which architectures[0] of its config.json names.
var families = map[string]family{
	"LlamaForCausalLM": llama, "MistralForCausalLM": mistral, "Qwen2ForCausalLM": qwen2, "Qwen3ForCausalLM": qwen3,
	"SmolLM3ForCausalLM": smollm3, "Phi3ForCausalLM": phi3,
	"GemmaForCausalLM": gemma, "Gemma2ForCausalLM": gemma2, "Gemma3ForCausalLM": gemma3, "Gemma3ForConditionalGeneration": gemma3,
}

// kinds finds the class of a config.json that names only its model_type.
var kinds = map[string]string{
	"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
	"smollm3": "SmolLM3ForCausalLM", "phi3": "Phi3ForCausalLM",
	"gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM", "gemma3_text": "Gemma3ForCausalLM", "gemma3": "Gemma3ForConditionalGeneration",
}

// familyOf is the class of a config.json.
func familyOf(c *repo.Config) (string, error) {
	architectures, kind := c.Strings("architectures"), c.String("", "model_type")
	if len(architectures) > 0 {
		if families[architectures[0]] != nil {
			return architectures[0], nil
		}
	} else if class := kinds[kind]; class != "" {
		return class, nil
	}
	return "", fmt.Errorf("config.json: architectures %q (model_type %q) is no language model that this server knows: %s",
		architectures, kind, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
}

// form is the sizes and constants of a network, as config.json has them.
type form struct {
	vocab, width, inner, layers int
	heads, kvHeads, dim         int
	positions                   int // max_position_embeddings
	eps                         float64
	act                         runtime.Act
	tied                        bool // the head is the embedding table
	plusOne                     bool // norms are stored less one
	qkNorm                      bool
	scale                       float64 // of scores; 0 is dim^-½
	scoreCap, logitCap          float32
	embedScale                  float64 // 0 is 1
	windows                     []int   // of each layer, 0 for none
	rotaries                    []nn.Rotary
	rotary                      []int // of each layer: 1 + index into rotaries, 0 for none; nil is 1 for all
}

// defaults are what a family's configuration class fills in for keys that a config.json leaves out.
type defaults struct {
	vocab, width, inner, layers, heads int
	kvHeads                            int // 0: heads
	dim                                int // 0: width/heads
	positions                          int
	eps                                float64
	act                                string
	actKey                             string
	tied                               bool
}

// readForm reads the keys that all families share.
func readForm(c *repo.Config, d defaults) form {
	if c.Has("quantization_config") {
		c.Fail("quantization_config", "quantised checkpoints are not supported: name the original repository, and --dtype q8 or q4")
	}
	if d.actKey == "" {
		d.actKey = "hidden_act"
	}
	f := form{
		vocab:     c.Int(d.vocab, 1, maxVocab, "vocab_size"),
		width:     c.Int(d.width, 1, maxWidth, "hidden_size"),
		inner:     c.Int(d.inner, 1, maxWidth*16, "intermediate_size"),
		layers:    c.Int(d.layers, 1, maxLayers, "num_hidden_layers"),
		heads:     c.Int(d.heads, 1, maxWidth, "num_attention_heads"),
		positions: c.Int(d.positions, 1, maxPositions, "max_position_embeddings"),
		eps:       c.Float(d.eps, "rms_norm_eps"),
		act:       nn.Activation(c, d.act, d.actKey),
		tied:      c.Bool(d.tied, "tie_word_embeddings"),
	}
	kv := d.kvHeads
	if kv == 0 {
		kv = f.heads
	}
	f.kvHeads = c.Int(kv, 1, maxWidth, "num_key_value_heads")
	if f.heads%f.kvHeads != 0 {
		c.Fail("num_key_value_heads", "%d does not divide %d heads", f.kvHeads, f.heads)
		f.kvHeads = 1
	}
	dim := d.dim
	if dim == 0 {
		if dim = f.width / f.heads; dim == 0 || !c.Has("head_dim") && f.width%f.heads != 0 {
			c.Fail("num_attention_heads", "%d does not divide the width %d", f.heads, f.width)
			dim = 1
		}
	}
	f.dim = c.Int(dim, 1, maxHead, "head_dim")
	if f.dim > maxHead {
		c.Fail("head_dim", "a head of %d channels is not supported (%d)", f.dim, maxHead)
	}
	if f.eps < 0 || f.eps > 1 || math.IsNaN(f.eps) {
		c.Fail("rms_norm_eps", "%v is outside [0, 1]", f.eps)
	}
	f.windows = make([]int, f.layers)
	return f
}

// rope gives all layers one rotary embedding.
func (f *form) rope(c *repo.Config, base float64) {
	f.rotaries = []nn.Rotary{nn.ReadRotary(c, nn.RotaryDefaults{Base: base, Dim: f.dim, Positions: f.positions})}
}

// slide gives the layers that slides names a window, unless layer_types names them.
func (f *form) slide(c *repo.Config, window int, slides func(layer int) bool) {
	types := f.layerTypes(c)
	for i := range f.windows {
		if types != nil && types[i] == slidingLayer || types == nil && slides(i) {
			f.windows[i] = window
		}
	}
}

const slidingLayer = "sliding_attention"

// layerTypes is the kind of each layer, nil where the file does not say.
func (f *form) layerTypes(c *repo.Config) []string {
	types := c.Strings("layer_types")
	if types == nil {
		return nil
	}
	if len(types) != f.layers {
		c.Fail("layer_types", "%d types for %d layers", len(types), f.layers)
		return nil
	}
	for _, t := range types {
		if t != slidingLayer && t != "full_attention" {
			c.Fail("layer_types", "%.40q is not supported (full_attention, %s)", t, slidingLayer)
			return nil
		}
	}
	return types
}

// window is the width of a sliding window; 0 is none, and so is one that nothing reaches.
func (f *form) window(c *repo.Config, def int) int {
	w := c.Int(def, 0, maxPositions*16, "sliding_window")
	if w >= f.positions {
		return 0
	}
	return w
}

// attention is that of one layer.
func (f *form) attention(layer int, w *nn.Weights) runtime.Attn {
	scale := f.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(f.dim))
	}
	a := runtime.Attn{
		Heads: f.heads, KVHeads: f.kvHeads, Dim: f.dim, Causal: true, Window: f.windows[layer], Scale: float32(scale),
		Cap: f.scoreCap, Keys: w.Precision.Cache, Layer: layer, Rotary: 1,
	}
	if f.rotary != nil {
		a.Rotary = f.rotary[layer]
	}
	if f.qkNorm {
		a.QNorm = w.RMSNorm("q_norm", f.dim, f.eps, f.plusOne)
		a.KNorm = w.RMSNorm("k_norm", f.dim, f.eps, f.plusOne)
	}
	return a
}

// root is where the text model's tensors are.
func root(w *nn.Weights) *nn.Weights {
	return w.AtAny("embed_tokens.weight", "model", "", "language_model.model", "model.language_model", "model.model")
}
