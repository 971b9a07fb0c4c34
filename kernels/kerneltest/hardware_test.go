//go:build gpu

package kerneltest

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/driver"
	"remote-client-server/kernels"
)

// TestKernelsOnTheGPU runs the cases on the GPU of number RCS_GPU, or the first, with each kernel twice: from the image
// that a program takes, which is a cubin on the usual GPUs, and from PTX that the driver compiles.
func TestKernelsOnTheGPU(t *testing.T) {
	ordinal := 0
	if s := os.Getenv("RCS_GPU"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("RCS_GPU=%q: want a GPU's number", s)
		}
		ordinal = n
	}
	open := func() (cuda.Context, error) { return driver.OpenHere(ordinal, driver.Options{}) }
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	p := *c.Properties()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	target := kernels.TargetOf(p.Capability())
	t.Logf("%s, compute capability %d.%d, CUDA %d.%d, kernels of %s", p.Name, p.Major, p.Minor, p.DriverVersion/1000, p.DriverVersion%1000/10, target)
	for _, form := range []struct {
		name string
		ptx  bool // no cubins
	}{{"shipped", false}, {"ptx", true}} {
		t.Run(form.name, func(t *testing.T) {
			for _, k := range kernels.All() {
				if has(target, k) {
					t.Run(k.Name, func(t *testing.T) { runOnGPU(t, open, k, form.ptx) })
				}
			}
		})
	}
}

// runOnGPU opens the GPU for one kernel, so that one which faults does not take the others with it.
func runOnGPU(t *testing.T, open func() (cuda.Context, error), k *kernels.Kernel, ptx bool) {
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	}()
	capability := c.Properties().Capability()
	module := loadOnGPU(t, c, k, ptx)
	describe(t, c, module, k)

	m := &Machine{Context: c, Target: kernels.TargetOf(capability), Load: func(*kernels.Kernel) (cuda.Module, error) { return module, nil }}
	n := 0
	for _, test := range Cases() { // not by t.Run, which would leave the thread that the context is current to
		if test.Kernel != k.Name {
			continue
		}
		n++
		m.Rand = random(&test)
		if err := test.Run(m); err != nil {
			t.Errorf("%s: %v", test.Name, err)
		}
		if c.Err() != nil {
			return // nothing can be asked of it any more
		}
		if err := m.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Error("the kernel has no case")
	}
	if err := c.Unload(module); err != nil {
		t.Error(err)
	}
}

// loadOnGPU loads a kernel's module from the first image that the driver takes. That it refuses any is an error: each is
// there for this GPU.
func loadOnGPU(t *testing.T, c cuda.Context, k *kernels.Kernel, ptx bool) cuda.Module {
	images := kernels.Images(k.Module, c.Properties().Capability())
	if ptx {
		images = slices.DeleteFunc(images, func(i kernels.Image) bool { return i.Cubin })
	}
	for _, image := range images {
		form := "PTX"
		if image.Cubin {
			form = "cubin"
		}
		m, log, err := c.Load(image.Data)
		if err != nil {
			t.Errorf("the %s of %s is refused: %v\n%s", form, image.Target, err, log)
			continue
		}
		t.Logf("%s of %s %s", form, image.Target, log)
		return m
	}
	t.Fatalf("none of %d images of module %s can be loaded", len(images), k.Module)
	return 0
}

// describe checks what the driver says of a kernel: no local memory, and blocks enough on a multiprocessor to run.
func describe(t *testing.T, c cuda.Context, module cuda.Module, k *kernels.Kernel) {
	f, err := c.Function(module, k.Name)
	if err != nil {
		t.Fatal(err)
	}
	registers, err := c.FunctionAttribute(f, cuda.Registers)
	if err != nil {
		t.Fatal(err)
	}
	local, err := c.FunctionAttribute(f, cuda.LocalBytes)
	if err != nil {
		t.Fatal(err)
	}
	if k.Shared > 48<<10 {
		if err := c.SetFunctionAttribute(f, cuda.DynamicSharedBytes, k.Shared); err != nil {
			t.Fatal(err)
		}
	}
	blocks, err := c.Occupancy(f, k.Threads, k.Shared)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d registers, %d blocks a multiprocessor", registers, blocks)
	if local != 0 {
		t.Errorf("%d bytes of local memory a thread: registers were spilled", local)
	}
	if blocks < 1 {
		t.Error("no block fits a multiprocessor")
	}
}
