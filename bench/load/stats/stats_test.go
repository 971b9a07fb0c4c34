package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"nothing", nil, 0.5, 0},
		{"one", []float64{7}, 0.99, 7},
		{"median of an odd number", []float64{3, 1, 2}, 0.5, 2},
		{"median of an even number", []float64{4, 1, 3, 2}, 0.5, 2},
		{"p50 of 100", hundred, 0.5, 50},
		{"p99 of 100", hundred, 0.99, 99},
		{"p99.9 of 100", hundred, 0.999, 100},
		{"least", hundred, 0, 1},
		{"most", hundred, 1, 100},
	} {
		if got := Quantile(slices.Clone(c.values), c.q); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFit has the textbook's formulas at hand: the slope is 35.35 / 17.5, its
// standard error the root of SSE / (n - 2) / 17.5, t for 4 degrees 2.776.
func TestFit(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6}
	y := []float64{2.1, 3.9, 6.2, 7.8, 10.1, 12.2}
	sse := 0.0
	for i := range x {
		r := y[i] - 42.3/6 - 2.02*(x[i]-3.5)
		sse += r * r
	}
	e := 2.776 * math.Sqrt(sse/4/17.5)
	got := Fit(x, y)
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"slope", got.Slope, 2.02}, {"low", got.Low, 2.02 - e}, {"high", got.High, 2.02 + e}} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s %v, want %v", c.name, c.got, c.want)
		}
	}
	for name, c := range map[string][2][]float64{"two points": {{1, 2}, {3, 5}}, "one place": {{1, 1, 1}, {1, 2, 3}}, "nothing": {}} {
		if l := Fit(c[0], c[1]); !math.IsInf(l.Low, -1) || !math.IsInf(l.High, 1) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// TestFitHoldsItsConfidence draws lines with noise: in about 95 of 100 the true
// slope lies within the bounds.
func TestFitHoldsItsConfidence(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const trials = 4000
	held := 0
	for range trials {
		x, y := make([]float64, 12), make([]float64, 12)
		for i := range x {
			x[i], y[i] = float64(i), 0.25*float64(i)+rng.NormFloat64()
		}
		if l := Fit(x, y); l.Low <= 0.25 && 0.25 <= l.High {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.94 || share > 0.96 {
		t.Errorf("the bounds hold in %.3f of the cases, want 0.95", share)
	}
}

func TestStudent(t *testing.T) { // the tables of every textbook
	for df, want := range map[int]float64{1: 12.706, 10: 2.228, 12: 2.179, 20: 2.086, 60: 2.000, 1000: 1.962} {
		if got := student(df); math.Abs(got-want) > 1e-3 {
			t.Errorf("%d degrees: %v, want %v", df, got, want)
		}
	}
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		n    int
		want []float64
	}{
		{[]float64{1, 2, 3, 4}, 2, []float64{1.5, 3.5}},
		{[]float64{9, 1, 2, 3, 4}, 2, []float64{1.5, 3.5}},
		{[]float64{1, 2}, 4, []float64{1, 2}},
		{nil, 4, nil},
	} {
		if got := Blocks(c.v, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%v in %d: %v, want %v", c.v, c.n, got, c.want)
		}
	}
}
