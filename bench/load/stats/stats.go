// Package stats is what measurements are reduced to.
package stats

import (
	"math"
	"slices"
	"time"
)

// Quantile is the smallest of the values that at least the share q of them do
// not exceed (the nearest-rank method); 0 for none. It sorts the values.
func Quantile(values []float64, q float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(q * float64(n)))
	return values[min(max(rank, 1), n)-1]
}

// Milliseconds converts times.
func Milliseconds(times []time.Duration) []float64 {
	out := make([]float64, len(times))
	for i, t := range times {
		out[i] = float64(t) / float64(time.Millisecond)
	}
	return out
}

// Line is a line through points by least squares.
type Line struct {
	Slope float64
	// Low and High bound the slope with 95 % confidence; they are infinite for
	// less than three points.
	Low, High float64
}

// Fit lays the line y = a + Slope x through the points. The confidence bounds
// are those of independent residuals with Student's t: the mean of neighbours
// (see Blocks) comes closer to that than samples which follow one another.
func Fit(x, y []float64) Line {
	n := float64(len(x))
	meanX, meanY := Mean(x), Mean(y)
	var xx, xy float64
	for i := range x {
		xx += (x[i] - meanX) * (x[i] - meanX)
		xy += (x[i] - meanX) * (y[i] - meanY)
	}
	if xx == 0 {
		return Line{0, math.Inf(-1), math.Inf(1)}
	}
	slope := xy / xx
	if n < 3 {
		return Line{slope, math.Inf(-1), math.Inf(1)}
	}
	rest := 0.0
	for i := range x {
		r := y[i] - meanY - slope*(x[i]-meanX)
		rest += r * r
	}
	e := student(len(x)-2) * math.Sqrt(rest/(n-2)/xx)
	return Line{slope, slope - e, slope + e}
}

// Mean is the arithmetic mean; 0 of nothing.
func Mean(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// Blocks cuts the values into n runs of one length and returns their means; a
// rest at the front is left out. Values fewer than n are returned as they are.
func Blocks(v []float64, n int) []float64 {
	size := len(v) / n
	if size == 0 {
		return slices.Clone(v)
	}
	means := make([]float64, n)
	v = v[len(v)-size*n:]
	for i := range means {
		means[i] = Mean(v[i*size : (i+1)*size])
	}
	return means
}

// student is the 97.5 % quantile of Student's t distribution. Above the table
// it is the expansion by Cornish and Fisher in 1/df.
func student(df int) float64 {
	table := [...]float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if df <= len(table) {
		return table[df-1]
	}
	const z = 1.959964 // of the normal distribution
	v := float64(df)
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*v) + (5*z5+16*z3+3*z)/(96*v*v) + (3*z7+19*z5+17*z3-15*z)/(384*v*v*v)
}
