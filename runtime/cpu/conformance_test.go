package cpu

import (
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/optest"
)

func TestConformance(t *testing.T) {
	for _, level := range testLevels() {
		t.Run(level, func(t *testing.T) {
			optest.Run(t, optest.Config{
				New: func(t testing.TB) runtime.Backend {
					b, err := New(Options{Threads: 2, Level: level, Poison: true})
					if err != nil {
						t.Fatal(err)
					}
					return b
				},
				DTypes: []string{"float32", "bfloat16", "float16", "q8", "q4"},
				// Under an emulated processor (-short) the long cases are left out, and decoding in plain Go, which is the same
				// on each of them.
				Quick:  testing.Short(),
				Decode: !testing.Short() || level != "generic",
			})
		})
	}
}
