//go:build gpu

package kerneltest

import (
	"os"
	"strconv"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/driver"
	"remote-client-server/kernels"
)

// TestKernelsOnTheGPU runs the cases on the GPU of number RCS_GPU, or the first, with the images that its driver takes.
func TestKernelsOnTheGPU(t *testing.T) {
	ordinal := 0
	if s := os.Getenv("RCS_GPU"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		ordinal = n
	}
	d, err := driver.Open(ordinal, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := d.Properties()
	target := kernels.TargetOf(p.Capability())
	t.Logf("%s, compute capability %d.%d, kernels of %s", p.Name, p.Major, p.Minor, target)
	// Not by t.Run, which would leave the device's thread.
	err = d.Do(func(c cuda.Context) error {
		loaded := newModules(c, p.Capability())
		m := &Machine{Context: c, Target: target, Load: loaded.load}
		ran := 0
		for _, test := range Cases() {
			k := kernels.Find(test.Kernel)
			if !has(target, k) {
				continue
			}
			ran++
			m.Rand = random(&test)
			if err := test.Run(m); err != nil {
				t.Errorf("%s/%s: %v", k.Name, test.Name, err)
			}
			if c.Err() != nil {
				return c.Err()
			}
			if err := m.Reset(); err != nil {
				return err
			}
		}
		t.Logf("%d cases", ran)
		return loaded.unload()
	})
	if err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil && !t.Failed() {
		t.Error(err)
	}
}
