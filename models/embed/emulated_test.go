package embed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
	"remote-client-server/runtime/gpu"
)

// emulated is a GPU whose kernels are executed on the CPU. Races are looked for by the kernels' own tests.
func emulated(t testing.TB, target string, fail func(call string) error) *gpu.Backend {
	t.Helper()
	c, err := emu.Open(target, emu.Options{NoRaceCheck: true, Fail: fail})
	if err != nil {
		t.Fatal(err)
	}
	return backendOn(t, c)
}

// backendOn is a backend on a context, both closed with the test.
func backendOn(t testing.TB, c cuda.Context) *gpu.Backend {
	t.Helper()
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

// Every repository on GPUs of three generations, in what each computes in by itself and exactly. The kernels that ran are
// the fast ones wherever a repository has the shapes of a production model.
func TestEveryFamilyOnEmulatedGPUs(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector the emulator takes ten times as long: make emulated runs this without it")
	}
	for _, c := range []struct {
		target, dtype string
		p             parity
		fast          []string // a kernel of each kind that must have run
	}{
		{"sm_80", "float32", exact, []string{"gemm_f32", "attention_any_f32"}},
		{"sm_80", "bfloat16", parity{0.15, 0.999}, []string{"gemm_bf16", "attention_bf16_64", "norm_bf16_bf16", "rotate_bf16"}},
		{"sm_75", "float16", parity{0.03, 0.9999}, []string{"gemm_f16", "attention_f16_64", "norm_f16_f16"}},
		{"sm_90a", "bfloat16", parity{0.15, 0.999}, []string{"wgmma_bf16", "attention_bf16_64", "norm_f32_bf16"}},
	} {
		t.Run(c.target+", "+c.dtype, func(t *testing.T) {
			b := emulated(t, c.target, nil)
			everyRepository(t, b, c.dtype, c.p)
			ran := b.Launches()
			for _, name := range c.fast {
				if !slices.ContainsFunc(keysOf(ran), func(k string) bool { return strings.HasPrefix(k, name) }) {
					t.Errorf("no kernel %s... was launched, but %v", name, keysOf(ran))
				}
			}
		})
	}
}

func keysOf(m map[string]int64) []string {
	var names []string
	for k, n := range m {
		if n > 0 {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// TestFault46_InTheMiddleOfABatch: where memory runs out the batch is tried once more in two halves; where that is not
// enough, its requests fail, and the next one is served.
func TestFault46_InTheMiddleOfABatch(t *testing.T) {
	if raceEnabled {
		t.Skip("the emulator takes a minute under the race detector: `make emulated` runs it without")
	}
	refusals, asked := 0, 0
	b := emulated(t, "sm_80", func(call string) error {
		if call != "cuMemAlloc_v2" || refusals == 0 {
			return nil
		}
		asked++
		refusals--
		return cuda.NewError(call, cuda.OutOfMemory, "", "")
	})
	m, err := Builtin(b, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run := func(n int) ([][]float32, error) {
		var texts []Text
		for i := range n {
			text, err := m.Encode(strings.Repeat("a text that fills rows ", 8+i), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return m.Run(context.Background(), texts, Options{})
	}
	refusals = 1 // of the first slab of scratch
	got, err := run(4)
	if err != nil || asked != 1 {
		t.Fatalf("one refusal: %v, asked %d times", err, asked)
	}
	want, err := run(4)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("text %d: another vector after the split", i)
		}
	}
	refusals = 1 << 30
	var memory runtime.OutOfMemory
	if _, err := run(60); !errors.As(err, &memory) { // more than the slab holds that is there
		t.Errorf("no memory at all: %v", err)
	}
	refusals = 0
	if v, err := run(4); err != nil || !slices.Equal(v[0], want[0]) {
		t.Errorf("the next request: %v", err)
	}
	if b.Err() != nil {
		t.Errorf("the device counts as lost: %v", b.Err())
	}
}
