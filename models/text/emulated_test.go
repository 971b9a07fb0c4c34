package text

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"remote-client-server/cuda/emu"
	"remote-client-server/runtime/gpu"
	"remote-client-server/runtime/queue"
)

// emulated is a GPU whose kernels are executed on the CPU. Races are looked for by the kernels' own tests.
func emulated(t testing.TB, target string) *gpu.Backend {
	t.Helper()
	c, err := emu.Open(target, emu.Options{NoRaceCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := gpu.New(c, gpu.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// short is as many of the reference's prompts and tokens as an emulator computes in passing.
func short(runs []run, prompts, tokens int) []run {
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b run) int { return len(a.IDs) - len(b.IDs) })
	runs = runs[:min(len(runs), prompts)]
	for i := range runs {
		runs[i].Greedy = runs[i].Greedy[:min(len(runs[i].Greedy), tokens)]
	}
	return runs
}

// Every repository on an emulated GPU: in float32 logits and the engine's tokens are the reference's. Steps are recorded,
// and prompts of one repository run together.
func TestEveryFamilyOnAnEmulatedGPU(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector the emulator takes ten times as long: make emulated runs this without it")
	}
	const tokens = 12
	e := expectation(t)
	for _, name := range slices.Sorted(maps.Keys(e)) {
		t.Run(name, func(t *testing.T) {
			b := emulated(t, "sm_80")
			m := open(t, b, name, LoadOptions{DType: "float32", Sequences: 2, CacheBytes: 4 << 20})
			runs := short(e[name], 2, tokens)
			for _, r := range runs {
				closeTo(t, fmt.Sprintf("logits behind %d tokens", len(r.IDs)), logits(t, m, r.IDs), r.Logits, 1e-4)
			}
			q := serve(t, m)
			var jobs []*queue.Job
			for _, r := range runs {
				jobs = append(jobs, submit(t, m, q, r.IDs, Options{MaxTokens: tokens, IgnoreEnd: true}))
			}
			for i, r := range runs {
				if a := collect(t, jobs[i])[0]; !slices.Equal(a.IDs, r.Greedy) {
					t.Errorf("%d tokens go on with %v, want %v", len(r.IDs), a.IDs, r.Greedy)
				}
			}
		})
	}
}

// Of 16-bit types the likeliest token behind each of the reference's is the next one, nearly always. The engine writes too,
// with the kernels that it should have.
func TestHalfPrecisionOnEmulatedGPUs(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector the emulator takes ten times as long: make emulated runs this without it")
	}
	e := expectation(t)
	for _, c := range []struct {
		target, dtype string
		names         []string
		fast          []string // a kernel of each kind that must have run
	}{
		{"sm_80", "bfloat16", slices.Sorted(maps.Keys(e)), []string{"gemm_bf16", "gemv_bf16_8", "append_bf16", "decode_", "paged_"}},
		{"sm_90a", "bfloat16", []string{"qwen2"}, []string{"wgmma_bf16", "gemv_bf16_8", "append_bf16", "decode_", "paged_"}},
		{"sm_75", "float16", []string{"llama"}, []string{"gemm_f16", "gemv_f16_8", "append_f16", "decode_", "paged_"}},
	} {
		t.Run(c.target+", "+c.dtype, func(t *testing.T) {
			right, asked := 0, 0
			for _, name := range c.names {
				b := emulated(t, c.target)
				m := open(t, b, name, LoadOptions{DType: c.dtype, Sequences: 1, CacheBytes: 4 << 20})
				runs := short(e[name], 2, 24) // further on some have other frequencies than Likeliest, which takes the last length's
				for _, r := range runs {
					best, err := m.Likeliest(r.IDs, r.Greedy)
					if err != nil {
						t.Fatal(err)
					}
					for i, id := range best {
						asked++
						if id == r.Greedy[i] {
							right++
						}
					}
				}
				r := runs[0]
				const tokens = 4
				a := ask(t, m, serve(t, m), r.IDs, Options{MaxTokens: tokens, IgnoreEnd: true})
				if len(a.IDs) != tokens {
					t.Errorf("%s: %d tokens, want %d", name, len(a.IDs), tokens)
				}
				ran := b.Launches()
				for _, kernel := range c.fast {
					if !slices.ContainsFunc(slices.Collect(maps.Keys(ran)), func(k string) bool { return strings.HasPrefix(k, kernel) && ran[k] > 0 }) {
						t.Errorf("%s: no kernel %s... was launched, but %v", name, kernel, ran)
					}
				}
			}
			t.Logf("%d of %d", right, asked)
			if float64(right) < 0.98*float64(asked) {
				t.Errorf("%d of %d tokens are the likeliest, at least 98 %% must be", right, asked)
			}
		})
	}
}
