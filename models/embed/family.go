package embed

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// encoder is one family's forward pass over packed texts. The driver runs begin, every layer in a scope of its own, and
// end; only x outlives a layer.
type encoder interface {
	// positions is the row of the position table for each id of one text; nil counts from 0.
	positions(ids []int32) []int32
	// begin looks up the ids I32 [T,1] and prepares what all layers share -> [T, H].
	begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences) runtime.Tensor
	layers() int
	// layer rewrites x.
	layer(b runtime.Backend, i int, x runtime.Tensor, s *runtime.Sequences)
	// end is the hidden states that are pooled.
	end(b runtime.Backend, x runtime.Tensor) runtime.Tensor
}

// fromZero is the positions of families without a position table of their own.
type fromZero struct{}

func (fromZero) positions([]int32) []int32 { return nil }

// form is the sizes of a network.
type form struct {
	vocab, width, layers, heads, inner int
	positions                          int // rows of the position table, 0 for none
	limit                              int // tokens that the positions reach
	eps                                float64
	trained                            bool // limit is what the model was trained for: longer texts can still be computed
}

// What a config.json may ask for. The bounds only keep arithmetic from overflowing: what memory cannot hold fails when
// a tensor of that size is looked for.
const (
	maxVocab     = 1 << 24
	maxWidth     = 1 << 16
	maxLayers    = 1 << 12
	maxPositions = 1 << 24
)

// readForm reads the keys that most families share; def fills in what differs between their classes.
func readForm(c *repo.Config, def form) form {
	or := func(v, fallback int) int {
		if v == 0 {
			return fallback
		}
		return v
	}
	eps := def.eps
	if eps == 0 {
		eps = 1e-12
	}
	f := form{
		vocab:     c.Int(def.vocab, 1, maxVocab, "vocab_size"),
		width:     c.Int(768, 1, maxWidth, "hidden_size"),
		layers:    c.Int(or(def.layers, 12), 1, maxLayers, "num_hidden_layers"),
		heads:     c.Int(12, 1, maxWidth, "num_attention_heads"),
		inner:     c.Int(or(def.inner, 3072), 1, maxWidth*16, "intermediate_size"),
		positions: c.Int(def.positions, 1, maxPositions, "max_position_embeddings"),
		eps:       c.Float(eps, "layer_norm_eps", "norm_eps"),
	}
	f.check(c, "num_attention_heads")
	f.limit = f.positions
	return f
}

// check reports sizes that do not fit together.
func (f *form) check(c *repo.Config, headsKey string) {
	if f.width%f.heads != 0 {
		c.Fail(headsKey, "%d does not divide the width %d", f.heads, f.width)
		f.heads = 1
	}
	if f.headDim() > 512 {
		c.Fail(headsKey, "a head of %d channels is not supported (512)", f.headDim())
	}
	if f.eps < 0 || f.eps > 1 || math.IsNaN(f.eps) {
		c.Fail("layer_norm_eps", "%v is outside [0, 1]", f.eps)
	}
}

func (f form) headDim() int { return f.width / f.heads }

// attention is plain multi-head attention of this form, in the precision of the weights.
func (f form) attention(w *nn.Weights) runtime.Attn {
	scale := float32(1 / math.Sqrt(float64(f.headDim())))
	return runtime.Attn{Heads: f.heads, KVHeads: f.heads, Dim: f.headDim(), Scale: scale, Keys: w.Precision.Cache}
}

// check reports a rotary embedding that cannot be computed.
func (r rope) check(c *repo.Config) {
	if !(r.base > 0) || math.IsInf(r.base, 0) {
		c.Fail("rope_theta", "%v is no positive number", r.base)
	}
	if r.dim < 2 || r.dim%2 != 0 {
		c.Fail("head_dim", "a rotation of %d channels is not possible", r.dim)
	}
	if r.factor != 0 && (r.factor < 1 || math.IsInf(r.factor, 0) || r.dim <= 2) {
		c.Fail("rotary_scaling_factor", "%v is not supported", r.factor)
	}
}

// readTheta finds the rotary base under its old key or in rope_parameters.
func readTheta(c *repo.Config, def float64) float64 {
	return c.Sub("rope_parameters").Float(c.Float(def, "rope_theta"), "rope_theta")
}

// firstRow is row 0 of a table; an absent one stays absent.
func firstRow(s runtime.Source) runtime.Source {
	if s.IsZero() || s.Rows == 0 {
		return runtime.Source{}
	}
	return s.RowRange(0, 1)
}

// rows is the stored height of a matrix: gated widths of NomicBert are rounded by its code, not by its config.
func rows(w *nn.Weights, name string) int {
	if s := w.Shape(name); len(s) == 2 {
		return s[0]
	}
	return -1
}

// families builds an encoder for each model_type of a config.json.
var families = map[string]func(*repo.Config, *nn.Weights) (encoder, form){
	"bert": newBERT, "roberta": newRoBERTa, "xlm-roberta": newRoBERTa, "camembert": newRoBERTa, "distilbert": newDistilBERT,
	"mpnet": newMPNet, "nomic_bert": newNomicBERT, "modernbert": newModernBERT, "new": newGTE, "gte": newGTE, "qwen3": newQwen3,
}

// preNorm are the families whose residual stream is not normed before the end, and grows from layer to layer.
var preNorm = map[string]bool{"modernbert": true, "qwen3": true}

// classes finds the model_type of a config.json that names only its class.
var classes = []struct{ prefix, kind string }{
	{"BertModel", "bert"}, {"BertFor", "bert"}, {"Roberta", "roberta"}, {"XLMRoberta", "xlm-roberta"}, {"Camembert", "camembert"},
	{"DistilBert", "distilbert"}, {"MPNet", "mpnet"}, {"NomicBert", "nomic_bert"}, {"ModernBert", "modernbert"},
	{"NewModel", "new"}, {"NewFor", "new"}, {"Gte", "gte"}, {"Qwen3Model", "qwen3"}, {"Qwen3ForCausalLM", "qwen3"},
}

// familyOf names the family of a config.json.
func familyOf(c *repo.Config) (string, error) {
	kind := c.String("", "model_type")
	if families[kind] != nil {
		return kind, nil
	}
	architectures := c.Strings("architectures")
	for _, a := range architectures {
		for _, class := range classes {
			if strings.HasPrefix(a, class.prefix) {
				return class.kind, nil
			}
		}
	}
	var known []string
	for k := range families {
		known = append(known, k)
	}
	sort.Strings(known)
	return "", fmt.Errorf("config.json: model_type %q (architectures %q) is no embedder that this server knows: %s", kind, architectures, strings.Join(known, ", "))
}
