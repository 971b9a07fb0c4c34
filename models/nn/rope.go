package nn

import "math"

// RotaryFrequencies are base^(-2i/dim) for i < dim/2, computed in float32 as torch does (Su et al. 2021).
func RotaryFrequencies(base float64, dim int) []float32 {
	f := make([]float32, dim/2)
	for i := range f {
		exponent := float32(2*i) / float32(dim)
		f[i] = 1 / float32(math.Pow(base, float64(exponent)))
	}
	return f
}
