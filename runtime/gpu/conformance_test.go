package gpu

import (
	"testing"

	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
	"remote-client-server/runtime/optest"
)

// targets are the emulated GPUs, one of each build of the kernels.
var targets = []string{"sm_75", "sm_80", "sm_90a"}

// emulated is a backend whose kernels are executed on the CPU; scratch that was released counts as never written.
func emulated(t testing.TB, target string, e emu.Options, o Options) *Backend {
	t.Helper()
	c, err := emu.Open(target, e)
	if err != nil {
		t.Fatal(err)
	}
	o.Poison = true
	b, err := New(c, o)
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

func TestConformance(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector the emulator takes ten times as long: make emulated runs this without it")
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			dtypes := []string{"float32", "bfloat16", "float16"}
			if target == "sm_75" {
				dtypes = []string{"float32", "float16"}
			}
			optest.Run(t, optest.Config{
				New:    func(t testing.TB) runtime.Backend { return emulated(t, target, emu.Options{Workers: 1}, Options{}) },
				DTypes: dtypes,
				Quick:  true,
				Decode: true, Unchecked: true,
			})
		})
	}
}
