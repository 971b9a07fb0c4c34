package nn

import "remote-client-server/runtime"

// PostNorm is a transformer block whose norms follow the sums (Vaswani et al. 2017; BERT and its kin):
//
//	x = norm1(x + out(attention(qkv(x))))
//	x = norm2(x + down(up(x)))
//
// The activation, and the gate where there is one, are in up.
type PostNorm struct {
	QKV, Out, Up, Down *runtime.Linear
	Norm1, Norm2       *runtime.Norm
	Attn               runtime.Attn
}

// Forward rewrites x [T, H].
func (l *PostNorm) Forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences) {
	q, k, v := heads(b.Linear(x, l.QKV), &l.Attn)
	b.LinearAddNorm(x, b.Attention(q, k, v, s, &l.Attn), l.Out, l.Norm1)
	b.LinearAddNorm(x, b.Linear(x, l.Up), l.Down, l.Norm2)
}

// PreNorm is a transformer block whose norms precede the products (ModernBERT, the LLMs, ViT):
//
//	x += out(attention(qkv(norm1(x))))
//	x += down(up(norm2(x)))
//
// A nil Norm1 is the identity.
type PreNorm struct {
	Norm1, Norm2       *runtime.Norm
	QKV, Out, Up, Down *runtime.Linear
	Attn               runtime.Attn
}

// Forward rewrites x [T, H].
func (l *PreNorm) Forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences) {
	var qkv runtime.Tensor
	if l.Norm1 == nil {
		qkv = b.Linear(x, l.QKV)
	} else {
		qkv = b.NormLinear(x, l.Norm1, l.QKV)
	}
	q, k, v := heads(qkv, &l.Attn)
	b.LinearAdd(x, b.Attention(q, k, v, s, &l.Attn), l.Out)
	b.LinearAdd(x, b.NormLinear(x, l.Norm2, l.Up), l.Down)
}

// Sandwich is a transformer block with norms on both sides of attention and MLP (Gemma 2 and 3):
//
//	x += norm2(out(attention(qkv(norm1(x)))))
//	x += norm4(down(up(norm3(x))))
type Sandwich struct {
	Norm1, Norm2, Norm3, Norm4 *runtime.Norm
	QKV, Out, Up, Down         *runtime.Linear
	Attn                       runtime.Attn
}

// Forward rewrites x [T, H].
func (l *Sandwich) Forward(b runtime.Backend, x runtime.Tensor, s *runtime.Sequences) {
	q, k, v := heads(b.NormLinear(x, l.Norm1, l.QKV), &l.Attn)
	b.LinearNormAdd(x, b.Attention(q, k, v, s, &l.Attn), l.Out, l.Norm2)
	b.LinearNormAdd(x, b.NormLinear(x, l.Norm3, l.Up), l.Down, l.Norm4)
}

// heads views the columns of a qkv product as queries, keys and values.
func heads(qkv runtime.Tensor, a *runtime.Attn) (q, k, v runtime.Tensor) {
	return qkv.Split(a.Heads*a.Dim, a.KVHeads*a.Dim, a.KVHeads*a.Dim)
}
