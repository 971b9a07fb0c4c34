package optest

import (
	"fmt"
	"math"
	"testing"

	"remote-client-server/runtime"
)

// rotary makes the frequencies base^(-2i/(2·half)) of one or more bases.
func (w *twins) rotary(half int, factor float32, bases ...float64) (fast, slow *runtime.Rotary) {
	var f []float32
	for _, base := range bases {
		for i := range half {
			f = append(f, float32(math.Pow(base, -float64(i)/float64(half))))
		}
	}
	load := func(l runtime.Loader) *runtime.Rotary {
		return &runtime.Rotary{Freqs: must(l.Const(len(bases), half, f, runtime.F32))(w.t), Factor: factor}
	}
	return load(w.fastLoad), load(w.slowLoad)
}

func angles(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	w.tol = 2e-6
	a, slowA := w.rotary(32, 1, 1000)
	b, slowB := w.rotary(5, 1.5, 1e4, 1.6e5)
	lens, pos := []int{3, 1, 2}, []int32{0, 1, 2, 8191, 7, 131071}
	variants := w.ints(3, 1, []int32{1, 0, 1})
	fast, slow := runtime.Pack(w.fast, lens, pos), runtime.Pack(w.slow, lens, pos)
	w.fast.Angles(fast, a)
	w.slow.Angles(slow, slowA)
	w.same("one rotary, no variants", operand{fast.Angles[0], slow.Angles[0]})
	fast.Freq, slow.Freq = variants.fast, variants.slow
	w.fast.Angles(fast, b)
	w.slow.Angles(slow, slowB)
	w.same("a variant for each sequence", operand{fast.Angles[0], slow.Angles[0]})
}

// attention runs in the exact precision and in those that keep keys in bfloat16.
func attention(t *testing.T, c Config) {
	for i, dtype := range c.DTypes {
		if i == 0 || dtype == "bfloat16" || dtype == "float16" {
			t.Run(dtype, func(t *testing.T) { attentionIn(t, c, dtype) })
		}
	}
}

func attentionIn(t *testing.T, c Config, dtype string) {
	if p := newTwins(t, c, dtype).precision; dtype == "float16" && p.Compute == runtime.F32 {
		t.Skip("this backend computes on float16 weights in float32: the first type's attention is the same")
	}
	few := [][]int{{33, 1, 70}, {130}}
	lens := [][]int{{1}, {0, 3, 1}, {5, 14, 2, 15}, {33, 1, 70}, {257}, {300, 520}}
	if c.Quick {
		lens = [][]int{{1}, {0, 3, 1}, {33, 1, 70}, {130}}
	}
	for _, s := range []struct {
		name string
		a    runtime.Attn
		half int     // of the rotary, 0 for none
		bias int     // R of the offset bias, -1 for none
		norm bool    // q and k norms
		big  float32 // deviation of q and k: large ones make sharp softmaxes
		few  bool    // of the lengths: a build that differs from others in its head size only
	}{
		{"full", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 64}, 0, -1, false, 1, false},
		{"full, sharp", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 32}, 0, -1, false, 12, false},
		{"head size 6", runtime.Attn{Heads: 3, KVHeads: 3, Dim: 6}, 0, -1, false, 1, false},
		{"head size 1", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 1}, 0, -1, false, 1, false},
		{"head size 32", runtime.Attn{Heads: 2, KVHeads: 1, Dim: 32}, 0, -1, false, 1, true},
		{"head size 64 with a bias", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 64}, 0, 12, false, 1, true},
		{"head size 96, causal", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 96, Causal: true}, 0, -1, false, 1, true},
		{"head size 128, grouped, a cap", runtime.Attn{Heads: 2, KVHeads: 1, Dim: 128, Cap: 20}, 0, -1, false, 1, true},
		{"head size 80", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 80}, 0, -1, false, 1, false},
		{"head size 256", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 256}, 0, -1, false, 1, false},
		{"rotary", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 64, Rotary: 1}, 32, -1, false, 1, false},
		{"rotary of half the channels", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 24, Rotary: 1}, 6, -1, false, 1, false},
		{"interleaved rotary", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 20, Rotary: 1, Interleaved: true}, 8, -1, false, 1, false},
		{"local", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 16, Window: 2}, 0, -1, false, 1, false},
		{"local 64 with rotary", runtime.Attn{Heads: 1, KVHeads: 1, Dim: 64, Window: 64, Rotary: 1}, 32, -1, false, 1, false},
		{"offset bias", runtime.Attn{Heads: 4, KVHeads: 4, Dim: 8}, 0, 128, false, 1, false},
		{"a short offset bias", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 8}, 0, 3, false, 1, false},
		{"causal", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 16, Causal: true}, 0, -1, false, 1, false},
		{"causal, grouped, normed, rotary", runtime.Attn{Heads: 6, KVHeads: 2, Dim: 32, Causal: true, Rotary: 1}, 16, -1, true, 1, false},
		{"causal with a window", runtime.Attn{Heads: 2, KVHeads: 1, Dim: 16, Causal: true, Window: 9}, 0, -1, false, 1, false},
		{"soft cap", runtime.Attn{Heads: 2, KVHeads: 2, Dim: 16, Cap: 5}, 0, -1, false, 4, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			lens := lens
			w := newTwins(t, c, dtype)
			if dtype == c.DTypes[0] {
				w.tol = 2e-5
			} else if s.big > 1 {
				t.Skip("a sharp softmax turns the rounding of large scores into different weights")
			}
			fa, sa := s.a, s.a
			fa.Keys = w.precision.Cache
			fa.Scale = float32(1 / math.Sqrt(float64(s.a.Dim)))
			sa.Scale = fa.Scale
			var fr, sr *runtime.Rotary
			if s.half > 0 {
				fr, sr = w.rotary(s.half, 1, 1000)
			}
			if s.bias >= 0 {
				v := w.floats(s.a.Heads*(2*s.bias+1), 1)
				fa.Bias = must(w.fastLoad.Const(s.a.Heads, 2*s.bias+1, v, runtime.F32))(t)
				sa.Bias = must(w.slowLoad.Const(s.a.Heads, 2*s.bias+1, v, runtime.F32))(t)
			}
			if s.norm {
				fa.QNorm, sa.QNorm = w.norm(runtime.RMSNorm, s.a.Dim, true, 1e-6)
				fa.KNorm, sa.KNorm = w.norm(runtime.RMSNorm, s.a.Dim, true, 1e-6)
			}
			if s.few {
				lens = few
			}
			for _, l := range lens {
				fm, sm := w.fast.Mark(), w.slow.Mark()
				fs, ss := runtime.Pack(w.fast, l, nil), runtime.Pack(w.slow, l, nil)
				if fr != nil {
					w.fast.Angles(fs, fr)
					w.slow.Angles(ss, sr)
				}
				nq, nkv := s.a.Heads*s.a.Dim, s.a.KVHeads*s.a.Dim
				v := w.floats(fs.Rows()*(nq+2*nkv), float64(s.big))
				qkv := w.tensor(fs.Rows(), nq+2*nkv, 1, v)
				fq, fk, fv := qkv.fast.Split(nq, nkv, nkv)
				sq, sk, sv := qkv.slow.Split(nq, nkv, nkv)
				w.same(fmt.Sprintf("lengths %v", l), operand{w.fast.Attention(fq, fk, fv, fs, &fa), w.slow.Attention(sq, sk, sv, ss, &sa)})
				w.fast.Release(fm)
				w.slow.Release(sm)
			}
			one := runtime.Pack(w.fast, []int{2}, nil)
			x := w.random(2, (s.a.Heads+2*s.a.KVHeads)*s.a.Dim, 0).fast
			panics(t, "a missing key column", func() {
				q, k, v := x.Split(s.a.Heads*s.a.Dim, s.a.KVHeads*s.a.Dim, s.a.KVHeads*s.a.Dim)
				w.fast.Attention(q, k.Columns(1, k.Cols), v, one, &fa)
			})
		})
	}
}
