package embed

import (
	"math"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// newMPNet is MPNet (Song et al. 2020; transformers/models/mpnet): BERT without token types, with positions behind the
// padding's and one table of relative position biases for all layers.
func newMPNet(c *repo.Config, w *nn.Weights) (encoder, form) {
	const pad = 1 // a constant of the class, not of the file
	f := readForm(c, form{vocab: 30527, positions: 512})
	f.limit = f.positions - pad - 1
	buckets := c.Int(32, 2, 1024, "relative_attention_num_buckets")
	act := nn.Activation(c, "gelu", "hidden_act")
	w = w.AtAny("embeddings.word_embeddings.weight", "", "mpnet")
	e := w.At("embeddings")
	m := &bert{pad: pad, table: e.Table(runtime.TableSpec{
		Name:     "word_embeddings",
		Word:     e.Matrix("word_embeddings.weight", f.vocab, f.width),
		Position: e.Matrix("position_embeddings.weight", f.positions, f.width),
		Norm:     e.Norm(runtime.LayerNorm, "LayerNorm", f.width, f.eps),
	})}
	bias := relativeBias(w, w.Matrix("encoder.relative_attention_bias.weight", buckets, f.heads))
	for i := range f.layers {
		l := w.At("encoder.layer.%d", i)
		a := l.At("attention")
		attn := f.attention(w)
		attn.Bias = bias
		m.blocks = append(m.blocks, &nn.PostNorm{
			QKV:   a.At("attn").Stack(runtime.LinearSpec{}, f.width, nn.Parts(f.width, "q", "k", "v")...),
			Out:   a.Linear("attn.o", f.width, f.width, runtime.None),
			Norm1: a.Norm(runtime.LayerNorm, "LayerNorm", f.width, f.eps),
			Up:    l.Linear("intermediate.dense", f.inner, f.width, act),
			Down:  l.Linear("output.dense", f.width, f.inner, runtime.None),
			Norm2: l.Norm(runtime.LayerNorm, "output.LayerNorm", f.width, f.eps),
			Attn:  attn,
		})
		w.Drop()
	}
	return m, f
}

// reach is the offset from which on all relative positions share the last bucket.
const reach = 128

// relativeBias spreads the buckets [buckets, heads] out to one value a head and offset, [heads, 2·reach+1].
func relativeBias(w *nn.Weights, table runtime.Source) runtime.Tensor {
	if w.Err() != nil {
		return runtime.Tensor{}
	}
	v := table.Floats()
	out := make([]float32, table.Cols*(2*reach+1))
	for h := range table.Cols {
		for r := -reach; r <= reach; r++ {
			out[h*(2*reach+1)+r+reach] = v[relativeBucket(r, table.Rows)*table.Cols+h]
		}
	}
	return w.Const(table.Cols, 2*reach+1, out)
}

// relativeBucket is T5's bidirectional bucket of the offset r = key - query (Raffel et al. 2020, as MPNet uses it):
// half the buckets for each sign, half of those exact and the rest logarithmic up to reach.
func relativeBucket(r, buckets int) int {
	half, base := buckets/2, 0
	n := -r
	if n < 0 {
		base, n = half, -n
	}
	exact := half / 2
	if n < exact {
		return base + n
	}
	// torch computes this in float32: at a power of the step the rounding decides
	log := float32(math.Log(float64(float32(n)/float32(exact)))) / float32(math.Log(float64(reach)/float64(exact))) * float32(half-exact)
	return base + min(exact+int(log), half-1)
}
