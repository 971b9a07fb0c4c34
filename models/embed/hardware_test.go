//go:build gpu

package embed

import (
	"os"
	goruntime "runtime"
	"strconv"
	"testing"

	"remote-client-server/cuda/driver"
	"remote-client-server/runtime"
)

// Every repository on a real GPU, RCS_GPU or the first, in each type that it computes in.
func TestEveryFamilyOnHardware(t *testing.T) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	ordinal, _ := strconv.Atoi(os.Getenv("RCS_GPU"))
	device, err := driver.Open(ordinal, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	capability := device.Properties().Capability()
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
	for dtype, p := range map[string]parity{"float32": exact, "bfloat16": {0.15, 0.999}, "float16": {0.03, 0.9999}} {
		if dtype == "bfloat16" && capability < 80 {
			continue
		}
		t.Run(dtype, func(t *testing.T) {
			everyRepositoryOn(t, dtype, p, func(t *testing.T) runtime.Backend {
				goruntime.LockOSThread()
				t.Cleanup(goruntime.UnlockOSThread)
				c, err := driver.OpenHere(ordinal, driver.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return backendOn(t, c)
			})
		})
	}
}
