package ref

import (
	"math"

	"remote-client-server/runtime"
)

// Angles takes the product of position and frequency in float32, as the references do: at position 8,000 the rounding
// of the product is visible in the angle.
func (b *Backend) Angles(s *runtime.Sequences, rotaries ...*runtime.Rotary) {
	b.stack.Check("Angles", s.Pos, s.Freq)
	pos := b.ints("Angles", s.Pos)
	s.Angles = s.Angles[:0:0]
	for _, r := range rotaries {
		freqs := b.read(r.Freqs)
		half := r.Freqs.Cols
		y := matrix(len(pos), 2*half)
		t := 0
		for i, n := range s.Lens {
			variant := 0
			if s.Freq.Rows > 0 {
				variant = b.ints("Angles", s.Freq)[i]
			}
			shape(variant >= 0 && variant < len(freqs), "Angles", "variant %d of %d", variant, len(freqs))
			for range n {
				for f, w := range freqs[variant] {
					a := float64(float32(pos[t]) * float32(w))
					y[t][f] = math.Cos(a) * float64(r.Factor)
					y[t][half+f] = math.Sin(a) * float64(r.Factor)
				}
				t++
			}
		}
		s.Angles = append(s.Angles, b.result(y, 2*half, s.Pos))
	}
}

// rotate turns the pairs of one head's channels by the angles of its row.
func rotate(x, angles []float64, interleaved bool) {
	half := len(angles) / 2
	for i := range half {
		a, c := i, i+half
		if interleaved {
			a, c = 2*i, 2*i+1
		}
		cos, sin := angles[i], angles[half+i]
		x[a], x[c] = x[a]*cos-x[c]*sin, x[c]*cos+x[a]*sin
	}
}

func (b *Backend) Attention(q, k, v runtime.Tensor, s *runtime.Sequences, a *runtime.Attn) runtime.Tensor {
	b.stack.Check("Attention", q, k, v)
	shape(q.Cols == a.Heads*a.Dim && k.Cols == a.KVHeads*a.Dim && v.Cols == k.Cols && a.Heads%max(a.KVHeads, 1) == 0, "Attention",
		"q %v, k %v, v %v for %d and %d heads of %d", q, k, v, a.Heads, a.KVHeads, a.Dim)
	shape(q.Rows == s.Rows() && k.Rows == q.Rows && v.Rows == q.Rows, "Attention", "q %v, k %v, v %v for %d packed rows", q, k, v, s.Rows())
	shape(s.Keys == nil && s.Map.Rows == 0 && a.PosK.Rows == 0 && a.PosQ.Rows == 0, "Attention",
		"other keys, a row map and position keys have no reference")
	qs, ks, vs := b.read(q), b.read(k), b.read(v)
	b.prepare(qs, a.Heads, a.QNorm, s, a)
	b.prepare(ks, a.KVHeads, a.KNorm, s, a)
	var bias [][]float64
	if a.Bias.Rows > 0 {
		bias = b.read(a.Bias)
	}
	y := matrix(q.Rows, q.Cols)
	first := 0
	for seq, n := range s.Lens {
		past, keys, values := 0, ks[first:first+n], vs[first:first+n]
		if s.Cache != nil {
			past, keys, values = b.cached(s, seq, a, keys, values)
		}
		for h := range a.Heads {
			g := h * a.KVHeads / a.Heads
			for row := range n {
				i := past + row
				qi := qs[first+row][h*a.Dim:][:a.Dim]
				scores := make([]float64, len(keys))
				for j := range scores {
					scores[j] = math.Inf(-1)
					if !visible(i, j, a) {
						continue
					}
					dot, kj := 0.0, keys[j][g*a.Dim:][:len(qi)]
					for c, x := range qi {
						dot += x * kj[c]
					}
					dot *= float64(a.Scale)
					if c := float64(a.Cap); c != 0 {
						dot = c * math.Tanh(dot/c)
					}
					if bias != nil {
						r := (len(bias[h]) - 1) / 2
						dot += bias[h][r+max(-r, min(r, j-i))]
					}
					scores[j] = dot
				}
				softmax(scores)
				yi := y[first+row][h*a.Dim:][:a.Dim]
				for j, p := range scores {
					vj := values[j][g*a.Dim:][:len(yi)]
					for c := range yi {
						yi[c] += p * vj[c]
					}
				}
			}
		}
		first += n
	}
	return b.result(y, q.Cols, q)
}

// visible says whether query i sees key j.
func visible(i, j int, a *runtime.Attn) bool {
	switch {
	case a.Causal:
		return j <= i && (a.Window == 0 || j > i-a.Window)
	case a.Window > 0:
		return j-i <= a.Window && i-j <= a.Window
	}
	return true
}

// prepare norms and rotates every head of x in place.
func (b *Backend) prepare(x [][]float64, heads int, n *runtime.Norm, s *runtime.Sequences, a *runtime.Attn) {
	var angles [][]float64
	if a.Rotary > 0 {
		angles = b.read(s.Angles[a.Rotary-1])
	}
	for t := range x {
		for h := range heads {
			head := x[t][h*a.Dim:][:a.Dim]
			if n != nil {
				p := n.Packed.(*norm)
				normRow(head, append([]float64(nil), head...), n.Kind, p.w, p.b, float64(n.Eps))
			}
			if angles != nil {
				rotate(head, angles[t], a.Interleaved)
			}
		}
	}
}

func softmax(x []float64) {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, v)
	}
	total := 0.0
	for i, v := range x {
		x[i] = math.Exp(v - top)
		total += x[i]
	}
	for i := range x {
		x[i] /= total
	}
}
