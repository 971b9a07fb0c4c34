//go:build gpu

package gpu

import (
	"os"
	goruntime "runtime"
	"strconv"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/driver"
	"remote-client-server/runtime"
	"remote-client-server/runtime/optest"
)

// ordinal is the GPU to test, RCS_GPU or the first.
func ordinal(t testing.TB) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("RCS_GPU"))
	if err != nil && os.Getenv("RCS_GPU") != "" {
		t.Fatal(err)
	}
	return n
}

// hardware is a backend on a real GPU, whose context is current to the test's own thread.
func hardware(t testing.TB, options func(c cuda.Context) Options) *Backend {
	t.Helper()
	goruntime.LockOSThread()
	t.Cleanup(goruntime.UnlockOSThread)
	c, err := driver.OpenHere(ordinal(t), driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(c, options(c))
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

func poisoned(cuda.Context) Options { return Options{Poison: true} }

// TestConformanceOfHardware is the suite that the emulator passes, on a GPU.
func TestConformanceOfHardware(t *testing.T) {
	dtypes := []string{"float32", "float16"}
	if b := hardware(t, poisoned); b.capability >= 80 {
		dtypes = append(dtypes, "bfloat16")
	}
	optest.Run(t, optest.Config{New: func(t testing.TB) runtime.Backend { return hardware(t, poisoned) }, DTypes: dtypes})
}

// TestRatesOfHardware prints what kernels reach, beside cuBLASLt and copies in the same run. It asserts no time.
func TestRatesOfHardware(t *testing.T) {
	b := hardware(t, func(c cuda.Context) Options {
		lib, err := driver.OpenBlasLt(c, nil, 32<<20)
		if err != nil {
			t.Logf("without cuBLASLt: %v", err)
			return Options{}
		}
		return Options{Products: lib, Force: true}
	})
	dtype := "bfloat16"
	if b.capability < 80 {
		dtype = "float16"
	}
	for _, line := range rates(t, b, dtype, [][3]int{
		{4096, 4096, 4096}, {8192, 8192, 8192}, {8192, 2304, 768}, {8192, 3072, 768}, {8192, 768, 3072}, {512, 2304, 768}, {1024, 9216, 3072},
	}, [][2]int{{3072, 9216}, {8192, 3072}, {768, 3072}}, 2048, 16) {
		t.Log(line)
	}
}
