package gpu

import (
	"errors"
	"strings"
	"testing"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
)

// linear is a product of n by n with weights of 1.
func linear(t testing.TB, b *Backend, dtype string, n int, s runtime.LinearSpec) *runtime.Linear {
	t.Helper()
	p, err := b.Precision(dtype, runtime.F32)
	if err != nil {
		t.Fatal(err)
	}
	l := b.Load("test", p)
	v := make([]float32, n*n)
	for i := range v {
		v[i] = 1
	}
	s.Name, s.W = "ones", []runtime.Source{runtime.FloatSource("ones", n, v)}
	w, err := l.Linear(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// vector is one row of n values x.
func vector(b *Backend, n int, x float32) runtime.Tensor {
	t := b.Scratch(1, n, runtime.F32)
	v := make([]float32, n)
	for i := range v {
		v[i] = x
	}
	b.Upload(t, v)
	return t
}

func first(t testing.TB, b *Backend, x runtime.Tensor) (float32, error) {
	t.Helper()
	v := make([]float32, x.Rows*x.Cols)
	err := b.Download(v, x)
	return v[0], err
}

// TestFault47_KernelsThatNoDriverTakes: where all images of a module are refused, the error holds each refusal with what
// to do about it, whichever module it is.
func TestFault47_KernelsThatNoDriverTakes(t *testing.T) {
	for code, words := range map[cuda.Code]string{
		cuda.UnsupportedPTXVersion: "install a newer NVIDIA driver", cuda.JITCompilerNotFound: "libnvidia-ptxjitcompiler.so.1", cuda.JITDisabled: "CUDA_DISABLE_PTX_JIT",
	} {
		for loads, module := range []string{"rows", "", "norm"} { // with its cubin and its PTX, a module is two loads
			if module == "" {
				continue
			}
			asked := 0
			b := emulated(t, "sm_80", emu.Options{Fail: func(call string) error {
				if call != "cuModuleLoadDataEx" {
					return nil
				}
				if asked++; asked <= loads {
					return nil
				}
				return cuda.NewError(call, code, "", "")
			}}, Options{})
			if err := b.Prepare(); err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "module "+module) {
				t.Errorf("code %d: %v", code, err)
			}
		}
	}
}

func TestAGPUThatIsTooOld(t *testing.T) {
	c, err := emu.Open("sm_80", emu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Properties().Major, c.Properties().Minor = 7, 0
	if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), "compute capability 7.0: 7.5 is the oldest") {
		t.Error(err)
	}
}

// A device that is lost makes later ops do nothing; its error comes back from whatever waits, and all memory is counted
// as gone.
func TestALostDevice(t *testing.T) {
	launches := 0
	c, err := emu.Open("sm_80", emu.Options{Fail: func(call string) error {
		if call != "cuLaunchKernelEx" {
			return nil
		}
		if launches++; launches < 3 {
			return nil
		}
		return cuda.NewError(call, cuda.IllegalAddress, "", "as planned")
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := linear(t, b, "bfloat16", 16, runtime.LinearSpec{})
	x := vector(b, 16, 1)
	// A conversion, the product, and for the download a conversion back, which fails.
	if v, err := first(t, b, b.Linear(x, w)); err == nil {
		t.Errorf("value %v and no error", v)
	}
	launched := launches
	y := b.Linear(b.Linear(x, w), w)
	var lost runtime.DeviceError
	if err := b.Sync(); !errors.As(err, &lost) || lost.Code != int(cuda.IllegalAddress) || !errors.Is(err, cuda.ErrSticky) {
		t.Errorf("sync: %v", err)
	}
	if _, err := first(t, b, y); !errors.As(err, &lost) {
		t.Errorf("download: %v", err)
	}
	if launches != launched {
		t.Errorf("%d launches on a lost device", launches-launched)
	}
	b.Scratch(1<<12, 1<<12, runtime.F32) // more than there is: still no panic
	if b.Err() == nil {
		t.Error("the backend knows of no error")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if l := b.Ledger(); l.Scratch != 0 {
		t.Errorf("%d bytes of scratch", l.Scratch)
	}
}

// hanging is a GPU whose work never ends.
type hanging struct{ cuda.Context }

func (hanging) QueryStream(cuda.Stream) (bool, error) { return false, nil }
func (hanging) QueryEvent(cuda.Event) (bool, error)   { return false, nil }

// TestFault48_AKernelThatHangs: whoever waits is told after the limit, and the device counts as lost.
func TestFault48_AKernelThatHangs(t *testing.T) {
	c, err := emu.Open("sm_80", emu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(hanging{c}, Options{Limit: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	vector(b, 16, 1)
	if err := b.Sync(); !errors.Is(err, cuda.ErrSticky) || !strings.Contains(err.Error(), "has not ended after 20ms") {
		t.Errorf("sync: %v", err)
	}
	if err := c.Err(); !errors.Is(err, cuda.ErrSticky) {
		t.Errorf("the context: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// Memory that is not there is a panic that names what was wanted and what is free, and nothing is lost.
func TestOutOfMemory(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{MemoryBytes: 32 << 20}, Options{})
	x := vector(b, 16, 1)
	m := b.Mark()
	func() {
		defer func() {
			e, ok := recover().(runtime.OutOfMemory)
			if !ok || e.Want < 64<<20 || e.Free <= 0 || e.Free > 32<<20 {
				t.Errorf("panic %+v", e)
			}
		}()
		b.Scratch(1<<12, 1<<12, runtime.F32)
	}()
	b.Release(m)
	if v, err := first(t, b, x); v != 1 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	l := b.Load("too large", runtime.Precision{Compute: runtime.F32})
	_, err := l.Linear(runtime.LinearSpec{Name: "large", W: []runtime.Source{runtime.FloatSource("w", 4<<10, make([]float32, 16<<20))}})
	var memory runtime.OutOfMemory
	if !errors.As(err, &memory) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("weights: %v", err)
	}
	if err := l.Close(); err != nil || b.Ledger().Weights != 0 {
		t.Errorf("%v, %d bytes of weights", err, b.Ledger().Weights)
	}
}

// A launch, or an event, for which there is no memory is one batch's panic wherever in a group of launches it comes: what
// follows is computed.
func TestALaunchWithoutMemory(t *testing.T) {
	for _, call := range []string{"cuLaunchKernelEx", "cuEventRecord"} {
		for at := 1; at <= 2*firstGroup+2; at++ { // the borders of two groups and all between
			left := 0
			b := emulated(t, "sm_80", emu.Options{NoRaceCheck: true, Fail: func(name string) error {
				if name != call || left == 0 {
					return nil
				}
				if left--; left > 0 {
					return nil
				}
				return cuda.NewError(name, cuda.OutOfMemory, "", "")
			}}, Options{})
			w := linear(t, b, "bfloat16", 16, runtime.LinearSpec{})
			batch := func() (v float32, err error) {
				m := b.Mark()
				defer b.Release(m)
				defer func() {
					if e, ok := recover().(runtime.OutOfMemory); ok {
						err = e
					}
				}()
				x := vector(b, 16, 1)
				for range firstGroup {
					x = b.Linear(x, w)
				}
				return first(t, b, x)
			}
			want, err := batch()
			if err != nil {
				t.Fatal(err)
			}
			left = at
			for range 100 { // one of them meets the fault
				if _, err := batch(); err != nil {
					break
				}
			}
			if left != 0 {
				t.Fatalf("%s was not called %d times", call, at)
			}
			for range 5 {
				if v, err := batch(); v != want || err != nil {
					t.Fatalf("%s without memory at call %d: a later batch gives %v, %v", call, at, v, err)
				}
			}
		}
	}
}
