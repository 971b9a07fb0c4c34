package text

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"remote-client-server/runtime"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/queue"
	"remote-client-server/runtime/ref"
)

// run is what transformers makes of one prompt.
type run struct {
	IDs    []int32
	Logits []float64 // behind the prompt
	Greedy []int32   // what it goes on with
}

// expectation is what make.py wrote, by repository.
func expectation(t testing.TB) map[string][]run {
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
	e := map[string][]run{}
	if err := json.NewDecoder(z).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e
}

// open loads a repository of testdata and closes it at the end of the test.
func open(t testing.TB, b runtime.Backend, name string, o LoadOptions) *Model {
	t.Helper()
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	m, err := Load(b, filepath.Join("testdata", name), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if l := b.Ledger(); l.Weights != 0 || l.Cache != 0 || l.Arena != 0 {
			t.Errorf("the model is closed and the ledger says %+v", l)
		}
	})
	return m
}

// newCPU is a backend that poisons what it releases.
func newCPU(t testing.TB, level string) *cpu.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: 2, Level: level, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// logits computes the row behind a prompt, without a cache.
func logits(t testing.TB, m *Model, ids []int32) []float32 {
	t.Helper()
	z, err := m.after(ids, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// closeTo fails unless got is within share of want's scale.
func closeTo(t testing.TB, what string, got []float32, want []float64, share float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	top, worst := 0.0, 0.0
	for i, w := range want {
		top, worst = max(top, math.Abs(w)), max(worst, math.Abs(float64(got[i])-w))
	}
	if !(worst <= share*top) {
		t.Errorf("%s: error %.2g of the scale, allowed %.2g", what, worst/top, share)
	}
}

// serve runs a model's worker until the end of the test.
func serve(t testing.TB, m *Model) *queue.Queue {
	t.Helper()
	q := queue.New(queue.Options{})
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("panic: %v", p)
			}
		}()
		ended <- m.Serve(q)
	}()
	t.Cleanup(func() {
		q.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return q
}

// answer is one choice of a job.
type answer struct {
	Text   string
	IDs    []int32
	Tokens []Token
	Finish string
	Stop   string
	Cached int
}

// submit puts work in line.
func submit(t testing.TB, m *Model, q *queue.Queue, prompt []int32, o Options) *queue.Job {
	t.Helper()
	w, err := m.NewWork(prompt, o)
	if err != nil {
		t.Fatal(err)
	}
	j, err := q.Submit(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// collect waits for a job and puts its events together.
func collect(t testing.TB, j *queue.Job) []answer {
	t.Helper()
	select {
	case <-j.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("the job does not end")
	}
	if err := j.Err(); err != nil {
		t.Fatal(err)
	}
	answers := make([]answer, j.Task().(*Work).Options.Choices)
	for _, e := range j.Events() {
		d := e.(*Delta)
		a := &answers[d.Choice]
		a.Text += d.Text
		a.Cached += d.Cached
		for _, k := range d.Tokens {
			a.IDs, a.Tokens = append(a.IDs, k.ID), append(a.Tokens, k)
		}
		if d.Finish != "" {
			a.Finish, a.Stop = d.Finish, d.Stop
		}
	}
	return answers
}

func ask(t testing.TB, m *Model, q *queue.Queue, prompt []int32, o Options) answer {
	t.Helper()
	return collect(t, submit(t, m, q, prompt, o))[0]
}

// greedy is 64 tokens, whatever they are.
var greedy = Options{MaxTokens: 64, IgnoreEnd: true}

// everyRepository compares logits and greedy tokens of all repositories, all prompts of one together.
func everyRepository(t *testing.T, dtype string, share float64, backend func(*testing.T) runtime.Backend) {
	e := expectation(t)
	for _, name := range slices.Sorted(maps.Keys(e)) {
		t.Run(name, func(t *testing.T) {
			m := open(t, backend(t), name, LoadOptions{DType: dtype})
			for _, r := range e[name] {
				closeTo(t, fmt.Sprintf("logits behind %d tokens", len(r.IDs)), logits(t, m, r.IDs), r.Logits, share)
			}
			q := serve(t, m)
			var jobs []*queue.Job
			for _, r := range e[name] {
				jobs = append(jobs, submit(t, m, q, r.IDs, greedy))
			}
			for i, r := range e[name] {
				if a := collect(t, jobs[i])[0]; !slices.Equal(a.IDs, r.Greedy) || a.Finish != Length {
					t.Errorf("%d tokens go on with %v (%s), want %v", len(r.IDs), a.IDs, a.Finish, r.Greedy)
				}
			}
		})
	}
}

func TestEveryFamilyMatchesItsReference(t *testing.T) {
	if raceEnabled {
		t.Skip("float64 takes half a minute under the race detector, on one goroutine: `make emulated` runs it without")
	}
	everyRepository(t, "float32", 1e-4, func(*testing.T) runtime.Backend { return ref.New() })
}

func TestEveryFamilyOnTheCPU(t *testing.T) {
	levels := cpu.Levels()
	if raceEnabled { // the others take minutes then, and run without the detector
		levels = levels[:1]
	}
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			everyRepository(t, "float32", 1e-4, func(t *testing.T) runtime.Backend { return newCPU(t, level) })
		})
	}
}

// TestRoundedTypes lets every repository choose each token behind the reference's own beginning, with weights and keys
// that are rounded.
func TestRoundedTypes(t *testing.T) {
	e := expectation(t)
	for dtype, least := range map[string]float64{"bfloat16": 0.99, "float16": 0.995, "q8": 0.93} {
		t.Run(dtype, func(t *testing.T) {
			same, all := 0, 0
			for _, name := range slices.Sorted(maps.Keys(e)) {
				if name == "phi3" || name == "llama-dynamic" { // their frequencies change on the way
					continue
				}
				m := open(t, newCPU(t, ""), name, LoadOptions{DType: dtype})
				a, b := 0, 0
				for _, r := range e[name] {
					got, err := m.Likeliest(r.IDs, r.Greedy)
					if err != nil {
						t.Fatal(err)
					}
					for i, id := range r.Greedy {
						b++
						if got[i] == id {
							a++
						}
					}
				}
				t.Logf("%s: %d of %d", name, a, b)
				same, all = same+a, all+b
			}
			if float64(same) < least*float64(all) {
				t.Errorf("%d of %d tokens are the reference's, fewer than %v", same, all, least)
			}
		})
	}
}
