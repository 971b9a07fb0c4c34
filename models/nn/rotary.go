package nn

import (
	"math"
	"slices"

	"remote-client-server/models/repo"
)

// Rotary is a rotary position embedding with one of the scalings that stretch it beyond the length it was trained on.
// The formulas are those of transformers/modeling_rope_utils.py, in float32 where they are there.
type Rotary struct {
	Kind      string  // default, linear, dynamic, llama3, yarn or longrope
	Base      float64 // rope_theta
	Dim       int     // channels of a head that turn
	Factor    float64
	Positions int // max_position_embeddings
	Original  int // the length before the stretch

	LowFreq, HighFreq  float64   // llama3
	BetaFast, BetaSlow float64   // yarn
	Truncate           bool      // yarn
	Short, Long        []float64 // longrope: a divisor for each frequency
	Attention          float64   // what cos and sin are multiplied by
}

// The settings of ReadRotary that differ between families.
type RotaryDefaults struct {
	Base      float64
	Dim       int // channels of a head
	Positions int
	Original  int    // 0: Positions
	Phi       bool   // yarn is another name of longrope
	Group     string // the key of rope_parameters where each layer type has its own, "" for none
}

// ReadRotary reads rope_theta, rope_scaling and rope_parameters, in the spellings of transformers 4 and 5.
func ReadRotary(c *repo.Config, d RotaryDefaults) Rotary {
	p := c.Sub("rope_scaling")
	if c.Has("rope_parameters") {
		p = c.Sub("rope_parameters")
		if d.Group != "" && p.Has(d.Group) {
			p = p.Sub(d.Group)
		}
	}
	return readRotary(c, p, d)
}

// PlainRotary is an embedding without any scaling.
func PlainRotary(c *repo.Config, base float64, dim, positions int) Rotary {
	r := Rotary{Kind: "default", Base: base, Dim: dim, Positions: positions, Original: positions, Attention: 1}
	r.check(c)
	return r
}

func readRotary(c, p *repo.Config, d RotaryDefaults) Rotary {
	r := Rotary{Positions: d.Positions, Attention: 1}
	kinds := []string{"default", "linear", "dynamic", "llama3", "yarn", "longrope", "su"}
	r.Kind = p.Choice("default", kinds, "rope_type", "type")
	if r.Kind == "su" || d.Phi && r.Kind == "yarn" {
		r.Kind = "longrope"
	}
	r.Base = p.Float(c.Float(d.Base, "rope_theta"), "rope_theta")
	partial := p.Float(c.Float(1, "partial_rotary_factor"), "partial_rotary_factor")
	if !(partial > 0 && partial <= 1) {
		c.Fail("partial_rotary_factor", "%v is outside (0, 1]", partial)
		partial = 1
	}
	r.Dim = int(float64(d.Dim) * partial)
	original := d.Original
	if original == 0 {
		original = d.Positions
	}
	r.Original = c.Int(p.Int(original, 1, maxLength, "original_max_position_embeddings"), 1, maxLength, "original_max_position_embeddings")
	stretch := float64(r.Positions) / float64(r.Original)
	switch r.Kind {
	case "linear", "dynamic":
		r.Factor = p.Float(1, "factor")
	case "llama3":
		r.Factor = p.Float(1, "factor")
		r.LowFreq, r.HighFreq = p.Float(1, "low_freq_factor"), p.Float(4, "high_freq_factor")
		if !(r.LowFreq > 0 && r.HighFreq > r.LowFreq) {
			c.Fail("rope_scaling", "low_freq_factor %v and high_freq_factor %v are no range", r.LowFreq, r.HighFreq)
		}
	case "yarn":
		r.Factor = p.Float(stretch, "factor")
		r.BetaFast, r.BetaSlow = p.Float(32, "beta_fast"), p.Float(1, "beta_slow")
		r.Truncate = p.Bool(true, "truncate")
		mscale, all := p.Float(0, "mscale"), p.Float(0, "mscale_all_dim")
		switch {
		case p.Has("attention_factor"):
			r.Attention = p.Float(1, "attention_factor")
		case mscale != 0 && all != 0:
			r.Attention = yarnScale(r.Factor, mscale) / yarnScale(r.Factor, all)
		default:
			r.Attention = yarnScale(r.Factor, 1)
		}
	case "longrope":
		r.Short, r.Long = p.Floats("short_factor"), p.Floats("long_factor")
		for name, f := range map[string][]float64{"short_factor": r.Short, "long_factor": r.Long} {
			if len(f) != r.Dim/2 || slices.ContainsFunc(f, func(x float64) bool { return !(x > 0) || math.IsInf(x, 0) }) {
				c.Fail("rope_scaling", "%s holds %d numbers, want %d that are positive", name, len(f), r.Dim/2)
			}
		}
		f := p.Float(stretch, "factor")
		if f > 1 {
			r.Attention = math.Sqrt(1 + math.Log(f)/math.Log(float64(r.Original)))
		}
		r.Attention = p.Float(r.Attention, "attention_factor")
	}
	r.check(c)
	return r
}

const maxLength = 1 << 24 // positions that anyone may declare

// check reports an embedding that cannot be computed.
func (r *Rotary) check(c *repo.Config) {
	if !(r.Base > 0) || math.IsInf(r.Base, 0) {
		c.Fail("rope_theta", "%v is no positive number", r.Base)
	}
	if r.Dim < 2 || r.Dim%2 != 0 || r.Kind == "dynamic" && r.Dim < 4 {
		c.Fail("head_dim", "a rotation of %d channels is not possible", r.Dim)
		r.Dim = 2
	}
	if r.Kind != "default" && r.Kind != "longrope" && (!(r.Factor >= 1) || math.IsInf(r.Factor, 0)) {
		c.Fail("rope_scaling", "factor %v is below 1", r.Factor)
	}
	if !(r.Attention > 0) || math.IsInf(r.Attention, 0) {
		c.Fail("rope_scaling", "attention factor %v is no positive number", r.Attention)
	}
}

func yarnScale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*m*math.Log(factor) + 1
}

// Frequencies are the angles a position of a sequence of length tokens: float32 [Dim/2].
func (r *Rotary) Frequencies(length int) []float32 {
	f := RotaryFrequencies(r.Base, r.Dim)
	switch r.Kind {
	case "linear":
		for i := range f {
			f[i] /= float32(r.Factor)
		}
	case "dynamic": // NTK-aware (reddit.com/r/LocalLLaMA, bloc97 and emozilla 2023)
		if length > r.Positions {
			d := float64(r.Dim)
			base := r.Base * math.Pow(r.Factor*float64(length)/float64(r.Positions)-(r.Factor-1), d/(d-2))
			f = RotaryFrequencies(base, r.Dim)
		}
	case "llama3":
		r.llama3(f)
	case "yarn":
		r.yarn(f)
	case "longrope": // Ding et al. 2024
		divisors := r.Short
		if r.Variant(length) == 1 {
			divisors = r.Long
		}
		for i := range f {
			exponent := float32(2*i) / float32(r.Dim)
			f[i] = 1 / (float32(divisors[i]) * float32(math.Pow(r.Base, float64(exponent))))
		}
	}
	return f
}

// Variant tells sequences apart whose frequencies differ by their length: 1 for one that needs LongRoPE's long factors.
// Keys of one variant are of no use to the other.
func (r *Rotary) Variant(length int) int {
	if r.Kind == "longrope" && length > r.Original {
		return 1
	}
	return 0
}

// llama3 slows the waves that are longer than the original length, and blends those that are near it (Llama 3.1).
func (r *Rotary) llama3(f []float32) {
	low, high := float64(r.Original)/r.LowFreq, float64(r.Original)/r.HighFreq
	for i, x := range f {
		switch wave := 2 * math.Pi / float64(x); {
		case wave < high:
		case wave > low:
			f[i] = x / float32(r.Factor)
		default:
			s := float32((float64(r.Original)/wave - r.LowFreq) / (r.HighFreq - r.LowFreq))
			f[i] = (1-s)*x/float32(r.Factor) + s*x
		}
	}
}

// yarn interpolates slow waves, leaves fast ones, and blends between (Peng et al. 2023).
func (r *Rotary) yarn(f []float32) {
	corner := func(turns float64) float64 { // the frequency that turns so often within the original length
		return float64(r.Dim) * math.Log(float64(r.Original)/(turns*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	low, high := corner(r.BetaFast), corner(r.BetaSlow)
	if r.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	if low == high {
		high += 0.001
	}
	for i, x := range f {
		ramp := float32(min(max((float64(i)-low)/(high-low), 0), 1))
		f[i] = x/float32(r.Factor)*ramp + x*(1-ramp)
	}
}

// Reach is how many positions the scaling makes of those that the model declares.
func (r *Rotary) Reach() int {
	n := float64(r.Positions)
	switch r.Kind {
	case "dynamic":
		n *= r.Factor
	case "yarn":
		n = max(n, r.Factor*float64(r.Original))
	}
	return int(min(n, maxLength))
}
