package embed

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// newDistilBERT is DistilBERT (Sanh et al. 2019; transformers/models/distilbert): BERT under other names, without token
// types and with a fixed epsilon.
func newDistilBERT(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := form{
		vocab: c.Int(30522, 1, maxVocab, "vocab_size"), width: c.Int(768, 1, maxWidth, "dim"), layers: c.Int(6, 1, maxLayers, "n_layers"),
		heads: c.Int(12, 1, maxWidth, "n_heads"), inner: c.Int(3072, 1, maxWidth*16, "hidden_dim"),
		positions: c.Int(512, 1, maxPositions, "max_position_embeddings"), eps: 1e-12,
	}
	f.check(c, "n_heads")
	f.limit = f.positions
	act := nn.Activation(c, "gelu", "activation")
	w = w.AtAny("embeddings.word_embeddings.weight", "", "distilbert")
	e := w.At("embeddings")
	m := &bert{pad: -1, table: e.Table(runtime.TableSpec{
		Name:     "word_embeddings",
		Word:     e.Matrix("word_embeddings.weight", f.vocab, f.width),
		Position: e.Matrix("position_embeddings.weight", f.positions, f.width),
		Norm:     e.Norm(runtime.LayerNorm, "LayerNorm", f.width, f.eps),
	})}
	for i := range f.layers {
		l := w.At("transformer.layer.%d", i)
		m.blocks = append(m.blocks, &nn.PostNorm{
			QKV:   l.At("attention").Stack(runtime.LinearSpec{}, f.width, nn.Parts(f.width, "q_lin", "k_lin", "v_lin")...),
			Out:   l.Linear("attention.out_lin", f.width, f.width, runtime.None),
			Norm1: l.Norm(runtime.LayerNorm, "sa_layer_norm", f.width, f.eps),
			Up:    l.Linear("ffn.lin1", f.inner, f.width, act),
			Down:  l.Linear("ffn.lin2", f.width, f.inner, runtime.None),
			Norm2: l.Norm(runtime.LayerNorm, "output_layer_norm", f.width, f.eps),
			Attn:  f.attention(w),
		})
		w.Drop()
	}
	return m, f
}
