package embed

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/ref"
)

// expectation is testdata/expected.json.gz: what sentence-transformers makes of each repository (testdata/make.py).
type expectation struct {
	Texts        []string
	Repositories map[string]struct {
		Max  int
		Runs []struct {
			Prompt  string
			IDs     [][]int32
			Vectors [][]float64
		}
	}
}

func readExpectation(t testing.TB) (e expectation) {
	t.Helper()
	f, err := os.Open("testdata/expected.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e
}

func open(t testing.TB, b runtime.Backend, dir string, o LoadOptions) *Model {
	t.Helper()
	m, err := Load(b, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if l := b.Ledger(); l.Weights != 0 {
			t.Errorf("%d bytes of weights are left after Close", l.Weights)
		}
	})
	return m
}

// parity is how far a vector may be from the reference.
type parity struct {
	scale  float64 // largest error as a share of the vector's largest value
	cosine float64
}

func (p parity) check(t testing.TB, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	top, worst, dot, a, b := 0.0, 0.0, 0.0, 0.0, 0.0
	for i, w := range want {
		g := float64(got[i])
		top, worst = max(top, math.Abs(w)), max(worst, math.Abs(g-w))
		dot, a, b = dot+g*w, a+g*g, b+w*w
	}
	if cos := dot / math.Sqrt(a*b); !(worst <= p.scale*top) || !(cos >= p.cosine) {
		t.Errorf("%s: error %.2g of the vector's scale (allowed %.2g), cosine %.7f (wanted %.7f)", what, worst/top, p.scale, cos, p.cosine)
	}
}

var exact = parity{1e-4, 0.99999}

// everyRepository runs all texts of all repositories, together in one call, and compares ids and vectors.
func everyRepository(t *testing.T, b runtime.Backend, dtype string, p parity) {
	everyRepositoryOn(t, dtype, p, func(*testing.T) runtime.Backend { return b })
}

// everyRepositoryOn does so on a backend for each repository: a GPU's context is current to one test's thread.
func everyRepositoryOn(t *testing.T, dtype string, p parity, backend func(t *testing.T) runtime.Backend) {
	e := readExpectation(t)
	for name, want := range e.Repositories {
		t.Run(name, func(t *testing.T) {
			m := open(t, backend(t), filepath.Join("testdata", name), LoadOptions{DType: dtype})
			if m.Info().MaxTokens != want.Max {
				t.Errorf("the model takes %d tokens, want %d", m.Info().MaxTokens, want.Max)
			}
			for _, run := range want.Runs {
				texts := make([]Text, len(e.Texts))
				for i, s := range e.Texts {
					var err error
					if texts[i], err = m.Encode(s, run.Prompt, nil); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(texts[i].IDs, run.IDs[i]) {
						t.Errorf("prompt %q, text %.30q: ids %v, want %v", run.Prompt, s, texts[i].IDs, run.IDs[i])
					}
				}
				vectors, err := m.Run(context.Background(), texts, Options{Raw: true})
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range vectors {
					p.check(t, fmt.Sprintf("prompt %q, text %.30q", run.Prompt, e.Texts[i]), v, run.Vectors[i])
				}
			}
		})
	}
}

func TestEveryFamilyMatchesItsReference(t *testing.T) {
	if raceEnabled {
		t.Skip("float64 takes a minute under the race detector, on one goroutine: `make emulated` runs it without")
	}
	everyRepository(t, ref.New(), "", exact)
}

// Every level of the CPU backend, in float32 and in its 16-bit and quantised forms.
func TestEveryFamilyOnTheCPU(t *testing.T) {
	levels := cpu.Levels()
	if raceEnabled { // the others take long then, and run without the detector
		levels = levels[:1]
	}
	for _, level := range levels {
		for dtype, p := range map[string]parity{"float32": exact, "bfloat16": {0.15, 0.999}, "float16": {0.03, 0.9999}, "q8": {0.25, 0.99}} {
			t.Run(level+", "+dtype, func(t *testing.T) {
				b, err := cpu.New(cpu.Options{Threads: 2, Level: level, Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				everyRepository(t, b, dtype, p)
			})
		}
	}
}
