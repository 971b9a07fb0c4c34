package embed

import (
	"math"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// nomicBERT is BERT with rotary positions, gated MLPs and no biases (Nussbaum et al. 2024; nomic-ai/contrastors
// modeling_hf_nomic_bert.py, transformers/models/nomic_bert):
//
//	x = LN(word[id] + type[0])
//	each layer: a post-norm block; attention rotates q and k; the MLP is down(up(x)·silu(gate(x)))
//
// With rotary_scaling_factor f the rotary base of a text longer than the trained length M grows with the text's own
// length T (dynamic NTK): base·(f·T/M - (f-1))^(d/(d-2)).
type nomicBERT struct {
	table  *runtime.Table
	blocks []*nn.PostNorm
	rotary rope
	fromZero
}

// rope is the rotary position embedding of one model.
type rope struct {
	base   float64
	dim    int     // channels of a head that turn
	factor float64 // rotary_scaling_factor, 0 for none
	length int     // the trained length
	// stretch divides every frequency; 0 counts as 1.
	stretch float64
}

// frequencies are those of a text of n tokens.
func (r rope) frequencies(n int) []float32 {
	base := r.base
	if r.factor > 0 && n > r.length {
		d := float64(r.dim)
		base *= math.Pow(r.factor*float64(n)/float64(r.length)-(r.factor-1), d/(d-2))
	}
	f := nn.RotaryFrequencies(base, r.dim)
	if r.stretch > 0 {
		for i := range f {
			f[i] /= float32(r.stretch)
		}
	}
	return f
}

// angles fills s.Angles, with one set of frequencies for all texts up to the trained length and one for each that is
// longer.
func (r rope) angles(b runtime.Backend, s *runtime.Sequences) {
	freqs := r.frequencies(0)
	variant := make([]int32, len(s.Lens))
	variants := 1
	for i, n := range s.Lens {
		if r.factor > 0 && n > r.length {
			freqs = append(freqs, r.frequencies(n)...)
			variant[i] = int32(variants)
			variants++
		}
	}
	f := b.Scratch(variants, r.dim/2, runtime.F32)
	b.Upload(f, freqs)
	if variants > 1 {
		s.Freq = b.Scratch(len(variant), 1, runtime.I32)
		b.Upload(s.Freq, variant)
	}
	b.Angles(s, &runtime.Rotary{Freqs: f, Factor: 1})
}

// newNomicBERT reads the original repository's config keys and transformers', which newer files carry side by side,
// and,
// independently of them, both sets of tensor names.
func newNomicBERT(c *repo.Config, w *nn.Weights) (encoder, form) {
	m := &nomicBERT{}
	f, act, interleaved := m.configure(c)
	w = w.AtAny("embeddings.word_embeddings.weight", "", "bert", "nomic_bert")
	e := w.At("embeddings")
	norm := e.Norm
	normName := "LayerNorm"
	if w.Has("emb_ln.weight") {
		norm, normName = w.Norm, "emb_ln"
	}
	spec := runtime.TableSpec{
		Name: "word_embeddings", Word: e.Matrix("word_embeddings.weight", f.vocab, f.width),
		Norm: norm(runtime.LayerNorm, normName, f.width, f.eps),
	}
	if types := c.Int(2, 0, 1024, "type_vocab_size"); types > 0 {
		spec.Type = firstRow(e.Matrix("token_type_embeddings.weight", types, f.width))
	}
	m.table = e.Table(spec)
	native := w.Has("layers.0.self_attn.q_proj.weight")
	for i := range f.layers {
		attn := f.attention(w)
		attn.Rotary, attn.Interleaved = 1, interleaved
		if native {
			m.blocks = append(m.blocks, gatedBlock(w.At("layers.%d", i), f, act, attn))
		} else {
			m.blocks = append(m.blocks, originalNomicBERT(w.At("encoder.layers.%d", i), f, act, attn))
		}
		w.Drop()
	}
	return m, f
}

// configure reads the keys. Those of the original class have its defaults where they are absent.
func (m *nomicBERT) configure(c *repo.Config) (f form, act runtime.Act, interleaved bool) {
	original := c.Has("n_embd", "rotary_emb_fraction")
	def := form{vocab: 30528, positions: 2048, eps: 1e-12}
	fraction, base := 1.0, 1000.0
	if original {
		def = form{vocab: 50257, positions: 1024, eps: 1e-5}
		fraction, base = 0, 10000
	}
	f = form{
		vocab: c.Int(def.vocab, 1, maxVocab, "vocab_size"), width: c.Int(768, 1, maxWidth, "n_embd", "hidden_size"),
		layers: c.Int(12, 1, maxLayers, "n_layer", "num_hidden_layers"), heads: c.Int(12, 1, maxWidth, "n_head", "num_attention_heads"),
		inner: c.Int(3072, 1, maxWidth*16, "n_inner", "intermediate_size"), trained: true,
		eps: c.Float(def.eps, "layer_norm_epsilon", "layer_norm_eps"),
	}
	if multiple := c.Int(1, 1, 1<<20, "pad_vocab_size_multiple"); f.vocab%multiple != 0 {
		f.vocab += multiple - f.vocab%multiple
	}
	f.check(c, "num_attention_heads")
	if f.limit = c.Int(0, -1, maxPositions, "n_positions"); f.limit <= 0 {
		f.limit = c.Int(def.positions, 1, maxPositions, "max_position_embeddings")
	}
	for _, key := range []string{"prenorm", "causal", "parallel_block", "use_rms_norm"} {
		if c.Bool(false, key) {
			c.Fail(key, "true is not supported")
		}
	}
	for _, key := range []string{"num_experts", "rotary_emb_scale_base"} {
		if c.Float(0, key) != 0 {
			c.Fail(key, "is not supported")
		}
	}
	if fraction = c.Float(fraction, "rotary_emb_fraction"); !(fraction > 0 && fraction <= 1) {
		c.Fail("rotary_emb_fraction", "%v is outside (0, 1]", fraction)
		fraction = 1
	}
	m.rotary = rope{
		base: c.Float(readTheta(c, base), "rotary_emb_base"), dim: int(float64(f.headDim())*fraction) &^ 1,
		factor: c.Float(0, "rotary_scaling_factor"), length: c.Int(2048, 1, maxPositions, "max_trained_positions"),
	}
	m.rotary.check(c)
	switch {
	case !c.Has("activation_function") && !original:
		act = nn.Activation(c, "silu", "hidden_act")
	default: // a name without "glu" is a plain MLP, to which the reference hands the erf GELU whatever the name
		act = map[string]runtime.Act{"glu": runtime.Sigmoid, "swiglu": runtime.SiLU}[c.Choice("gelu_new",
			[]string{"glu", "swiglu", "geglu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"}, "activation_function")]
		if act == runtime.None {
			act = runtime.GELU
		}
	}
	return f, act, c.Bool(false, "rotary_emb_interleaved")
}

// originalNomicBERT is a layer under the repository's own names. Gated widths are rounded up by the reference's code:
// the stored shape decides.
func originalNomicBERT(l *nn.Weights, f form, act runtime.Act, attn runtime.Attn) *nn.PostNorm {
	block := &nn.PostNorm{
		QKV:   l.Linear("attn.Wqkv", 3*f.width, f.width, runtime.None),
		Out:   l.Linear("attn.out_proj", f.width, f.width, runtime.None),
		Norm1: l.Norm(runtime.LayerNorm, "norm1", f.width, f.eps),
		Norm2: l.Norm(runtime.LayerNorm, "norm2", f.width, f.eps),
		Attn:  attn,
	}
	mlp := l.At("mlp")
	if inner := rows(mlp, "fc11.weight"); inner >= 0 {
		block.Up = mlp.Stack(runtime.LinearSpec{Gate: true, Act: act}, f.width, nn.Parts(inner, "fc12", "fc11")...)
		block.Down = mlp.Linear("fc2", f.width, inner, runtime.None)
		return block
	}
	inner := rows(mlp, "fc1.weight")
	block.Up = mlp.Linear("fc1", inner, f.width, act)
	block.Down = mlp.Linear("fc2", f.width, inner, runtime.None)
	return block
}

// gatedBlock is a post-norm layer under the names that transformers gives NomicBert and GTE.
func gatedBlock(l *nn.Weights, f form, act runtime.Act, attn runtime.Attn) *nn.PostNorm {
	mlp := l.At("mlp")
	return &nn.PostNorm{
		QKV:   l.At("self_attn").Stack(runtime.LinearSpec{}, f.width, nn.Parts(f.width, "q_proj", "k_proj", "v_proj")...),
		Out:   l.Linear("self_attn.o_proj", f.width, f.width, runtime.None),
		Norm1: l.Norm(runtime.LayerNorm, "post_attention_layernorm", f.width, f.eps),
		Up:    mlp.Stack(runtime.LinearSpec{Gate: true, Act: act}, f.width, nn.Parts(f.inner, "gate_proj", "up_proj")...),
		Down:  mlp.Linear("down_proj", f.width, f.inner, runtime.None),
		Norm2: l.Norm(runtime.LayerNorm, "post_mlp_layernorm", f.width, f.eps),
		Attn:  attn,
	}
}

func (m *nomicBERT) begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences) runtime.Tensor {
	m.rotary.angles(b, s)
	return b.Embed(ids, s, m.table)
}

func (m *nomicBERT) layers() int { return len(m.blocks) }

func (m *nomicBERT) layer(b runtime.Backend, i int, x runtime.Tensor, s *runtime.Sequences) {
	m.blocks[i].Forward(b, x, s)
}

func (m *nomicBERT) end(_ runtime.Backend, x runtime.Tensor) runtime.Tensor { return x }
