package embed

import (
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// bert is BERT (Devlin et al. 2019), and with it RoBERTa, XLM-R and CamemBERT, whose positions begin elsewhere
// (transformers/models/{bert,roberta,xlm_roberta,camembert}):
//
//	x = LN(word[id] + position[p] + type[0])
//	each layer: a post-norm block with full attention and a GELU between the two halves of the MLP
type bert struct {
	table  *runtime.Table
	blocks []*nn.PostNorm
	// pad is the id whose tokens stand at position pad while all others count from pad+1; negative for positions from
	// 0.
	pad int32
}

func newBERT(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := readForm(c, form{vocab: 30522, positions: 512})
	w = w.AtAny("embeddings.word_embeddings.weight", "", "bert")
	return buildBERT(c, w, f, -1), f
}

// newRoBERTa begins positions behind the padding id, which costs the table its first rows.
func newRoBERTa(c *repo.Config, w *nn.Weights) (encoder, form) {
	f := readForm(c, form{vocab: 50265, positions: 512})
	pad := c.Int(1, 0, f.vocab-1, "pad_token_id")
	w = w.AtAny("embeddings.word_embeddings.weight", "", "roberta", "xlm_roberta", "camembert")
	e := buildBERT(c, w, f, int32(pad))
	f.limit = f.positions - pad - 1
	return e, f
}

func buildBERT(c *repo.Config, w *nn.Weights, f form, pad int32) *bert {
	c.Choice("absolute", []string{"absolute"}, "position_embedding_type")
	if c.Bool(false, "is_decoder") {
		c.Fail("is_decoder", "a decoder is no embedder of this family")
	}
	types := c.Int(2, 0, 1024, "type_vocab_size")
	act := nn.Activation(c, "gelu", "hidden_act")
	e := w.At("embeddings")
	spec := runtime.TableSpec{
		Name:     "word_embeddings",
		Word:     e.Matrix("word_embeddings.weight", f.vocab, f.width),
		Position: e.Matrix("position_embeddings.weight", f.positions, f.width),
		Norm:     e.Norm(runtime.LayerNorm, "LayerNorm", f.width, f.eps),
	}
	if types > 0 {
		spec.Type = firstRow(e.Matrix("token_type_embeddings.weight", types, f.width))
	}
	m := &bert{table: e.Table(spec), pad: pad}
	for i := range f.layers {
		l := w.At("encoder.layer.%d", i)
		a := l.At("attention")
		m.blocks = append(m.blocks, &nn.PostNorm{
			QKV:   a.At("self").Stack(runtime.LinearSpec{}, f.width, nn.Parts(f.width, "query", "key", "value")...),
			Out:   a.Linear("output.dense", f.width, f.width, runtime.None),
			Norm1: a.Norm(runtime.LayerNorm, "output.LayerNorm", f.width, f.eps),
			Up:    l.Linear("intermediate.dense", f.inner, f.width, act),
			Down:  l.Linear("output.dense", f.width, f.inner, runtime.None),
			Norm2: l.Norm(runtime.LayerNorm, "output.LayerNorm", f.width, f.eps),
			Attn:  f.attention(w),
		})
		w.Drop()
	}
	return m
}

// positions of RoBERTa count the tokens that are no padding; a padding id typed into a text keeps the padding's place.
func (m *bert) positions(ids []int32) []int32 { return positionsAfter(m.pad, ids) }

func positionsAfter(pad int32, ids []int32) []int32 {
	p := make([]int32, len(ids))
	at := pad
	for i, id := range ids {
		if pad >= 0 && id == pad {
			p[i] = pad
			continue
		}
		at++
		p[i] = at
	}
	return p
}

func (m *bert) begin(b runtime.Backend, ids runtime.Tensor, s *runtime.Sequences) runtime.Tensor {
	return b.Embed(ids, s, m.table)
}

func (m *bert) layers() int { return len(m.blocks) }

func (m *bert) layer(b runtime.Backend, i int, x runtime.Tensor, s *runtime.Sequences) {
	m.blocks[i].Forward(b, x, s)
}

func (m *bert) end(_ runtime.Backend, x runtime.Tensor) runtime.Tensor { return x }
