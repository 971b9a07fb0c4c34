//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"remote-client-server/cuda"
)

// says fails the test unless err is of a class, or of none where that is nil, and contains every word.
func says(t *testing.T, err, class error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if class != nil && !errors.Is(err, class) {
		t.Errorf("%v is not of the class %q", err, class)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\ndoes not say %q", err, w)
		}
	}
}

func TestFault47_NoDriver(t *testing.T) {
	_, err := Open(0, Options{Libraries: []string{"/nowhere/libcuda.so.1", "libcuda-that-is-not.so.1"}})
	says(t, err, cuda.ErrNoDriver, "/nowhere/libcuda.so.1", "install the NVIDIA driver", "--gpus all")
	if errors.Is(err, cuda.ErrNoDevice) {
		t.Error("a missing driver is taken for a missing GPU")
	}
	_, err = Count(Options{Libraries: []string{"/nowhere/libcuda.so.1"}})
	says(t, err, cuda.ErrNoDriver)
	_, err = Open(0, Options{Libraries: []string{}})
	says(t, err, cuda.ErrNoDriver)

	broken := filepath.Join(t.TempDir(), "libcuda.so.1")
	if err := os.WriteFile(broken, []byte("no library"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Open(0, Options{Libraries: []string{"/nowhere/libcuda.so.1", broken}})
	says(t, err, cuda.ErrNoDriver, broken)
}

func TestFault47_OldDriver(t *testing.T) {
	t.Run("before CUDA 11", func(t *testing.T) {
		f := compiled(t, "cuda.c")
		f.set("version", 10020)
		_, err := Open(0, f.options())
		says(t, err, cuda.ErrDriverTooOld, "CUDA 10.2", "R450")
	})
	t.Run("without the functions", func(t *testing.T) {
		f := compiled(t, "nvml.c") // a library, and not the one
		_, err := Open(0, f.options())
		says(t, err, cuda.ErrDriverTooOld, "has no cuInit", "R450")
	})
	t.Run("for the kernels", func(t *testing.T) {
		f := compiled(t, "cuda.c")
		f.set("version", 12020)
		d, err := Open(0, f.options())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		f.fail("cuModuleLoadDataEx", 1, 222)
		ptx := []byte(".version 8.7\n.target sm_90a\n")
		err = d.Do(func(c cuda.Context) error { _, _, err := c.Load(ptx); return err })
		says(t, err, cuda.ErrDriverTooOld, "PTX 8.7", "R570", "CUDA 12.2", "newer NVIDIA driver")
		f.fail("cuLinkAddData_v2", 1, 222)
		err = d.Do(func(c cuda.Context) error { _, _, err := c.Compile(ptx); return err })
		says(t, err, cuda.ErrDriverTooOld, "PTX 8.7", "R570")
	})
}

func TestFault47_NoDevices(t *testing.T) {
	f := compiled(t, "cuda.c")
	f.set("no_device", 1)
	_, err := Open(0, f.options())
	says(t, err, cuda.ErrNoDevice, "CUDA_ERROR_NO_DEVICE (100)", "nvidia-smi")
	if errors.Is(err, cuda.ErrNoDriver) {
		t.Error("a missing GPU is taken for a missing driver")
	}

	t.Setenv("CUDA_VISIBLE_DEVICES", "")
	_, err = Open(0, f.options())
	says(t, err, cuda.ErrNoDevice, `CUDA_VISIBLE_DEVICES is ""`, "unset it")

	f.reset()
	f.set("devices", 0)
	_, err = Open(0, f.options())
	says(t, err, cuda.ErrNoDevice, `CUDA_VISIBLE_DEVICES is ""`)

	t.Setenv("CUDA_VISIBLE_DEVICES", "1,0")
	f.set("devices", 2)
	for _, ordinal := range []int{2, -1} {
		_, err = Open(ordinal, f.options())
		says(t, err, cuda.ErrNoDevice, fmt.Sprintf("cuda:%d is asked for", ordinal), "cuda:0 to cuda:1", `"1,0"`)
	}
	if n, err := Count(f.options()); n != 2 || err != nil {
		t.Errorf("%d devices, %v", n, err)
	}
}

func TestFault47_JITCompilerMissing(t *testing.T) {
	f, d := opened(t)
	f.fail("cuModuleLoadDataEx", 1, 221)
	err := d.Do(func(c cuda.Context) error { _, _, err := c.Load([]byte(".version 7.0\n")); return err })
	says(t, err, nil, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "libnvidia-ptxjitcompiler.so.1", "NVIDIA_DRIVER_CAPABILITIES")
	if d.Err() != nil {
		t.Errorf("the device is lost: %v", d.Err())
	}
}

func TestFault47_KernelsThatDoNotLoad(t *testing.T) {
	_, d := opened(t)
	for image, words := range map[string][]string{
		".version 7.0\nwrong line\n": {"CUDA_ERROR_INVALID_PTX", "syntax error near 'wrong'"},
		"\x7fELF foreign\x00":        {"CUDA_ERROR_NO_BINARY_FOR_GPU", "sm_90"},
		"":                           {"an empty image"},
	} {
		err := d.Do(func(c cuda.Context) error { _, _, err := c.Load([]byte(image)); return err })
		says(t, err, nil, words...)
	}
	err := d.Do(func(c cuda.Context) error { _, err := c.Function(1, "missing"); return err })
	says(t, err, nil, "CUDA_ERROR_NOT_FOUND", "kernel missing")
	if err := d.Ledger().Check(); err != nil {
		t.Error(err)
	}
}

func TestFault47_TwoProcessesOnOneGPU(t *testing.T) {
	f := compiled(t, "cuda.c")
	f.fail("cuDevicePrimaryCtxRetain", 1, 46)
	_, err := Open(0, f.options())
	says(t, err, nil, "exclusive", "nvidia-smi -c DEFAULT")
}

// TestFault47_ALostDevice: after a sticky error every call returns it at once, without asking the driver.
func TestFault47_ALostDevice(t *testing.T) {
	for _, code := range []int32{700, 719, 214, 702} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			f, d := opened(t)
			var first error
			on(t, d, func(c cuda.Context) error {
				p, err := c.Alloc(64)
				if err != nil {
					return err
				}
				h, err := c.AllocHost(64)
				if err != nil {
					return err
				}
				f.fail("cuStreamSynchronize", 1, code)
				first = c.SynchronizeStream(0)
				says(t, first, cuda.ErrSticky, "cuStreamSynchronize")
				f.clear()
				l := &cuda.Launch{}
				for name, got := range map[string]error{
					"alloc": second(c.Alloc(1)), "free": c.Free(p), "host": second(c.AllocHost(1)), "free host": c.FreeHost(h),
					"upload": c.Upload(p, h), "download": c.Download(h, p), "copy": c.Copy(p, p, 1), "async up": c.UploadAsync(p, h, 0),
					"async down": c.DownloadAsync(h, p, 0), "async copy": c.CopyAsync(p, p, 1, 0), "memset": c.Memset(p, 0, 1, 0),
					"memset32": c.Memset32(p, 0, 1, 0), "launch": c.Launch(l), "stream": second(c.NewStream()), "sync": c.Synchronize(),
					"sync stream": c.SynchronizeStream(0), "query": second(c.QueryStream(0)), "event": second(c.NewEvent(true)),
					"record": c.Record(0, 0), "wait": c.WaitEvent(0, 0), "query event": second(c.QueryEvent(0)), "sync event": c.SynchronizeEvent(0),
					"elapsed": second(c.Elapsed(0, 0)), "begin": c.BeginCapture(0), "end": second(c.EndCapture(0)), "graph": c.LaunchGraph(0, 0),
					"instantiate": second(c.Instantiate(0)), "destroy graph": c.DestroyGraph(0), "destroy exec": c.DestroyGraphExec(0),
					"destroy event": c.DestroyEvent(0), "destroy stream": c.DestroyStream(0), "unload": c.Unload(0),
					"function": second(c.Function(0, "f")), "attribute": second(c.FunctionAttribute(0, 1)), "set": c.SetFunctionAttribute(0, 8, 1),
					"occupancy": second(c.Occupancy(0, 1, 1)), "map": second(c.EncodeTensorMap(&cuda.TensorMapSpec{})), "error": c.Err(),
				} {
					if got != first {
						t.Errorf("%s: %v", name, got)
					}
				}
				if _, _, err := c.Load([]byte("x")); err != first {
					t.Errorf("load: %v", err)
				}
				if _, _, err := c.Compile([]byte("x")); err != first {
					t.Errorf("compile: %v", err)
				}
				if _, _, err := c.Global(0, "x"); err != first {
					t.Errorf("global: %v", err)
				}
				if _, _, err := c.MemInfo(); err != first {
					t.Errorf("memory: %v", err)
				}
				return nil
			})
			if err := d.Do(func(cuda.Context) error { return nil }); err != first {
				t.Errorf("a later job: %v", err)
			}
			if err := d.Close(); err != first {
				t.Errorf("close: %v", err)
			}
			f.expect(t) // nothing reached the driver
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestFault46_OutOfMemory(t *testing.T) {
	f, d := opened(t)
	f.set("oom", 1<<20)
	on(t, d, func(c cuda.Context) error {
		a := cuda.NewArena(c, 64<<10)
		if _, err := a.Alloc(1000); err != nil {
			return err
		}
		_, err := a.Alloc(1 << 20)
		says(t, err, cuda.ErrOutOfMemory, "1048576 bytes of 5368709120 free", "nvidia-smi", "smaller batch")
		if errors.Is(err, cuda.ErrSticky) || c.Err() != nil {
			t.Errorf("the device is lost: %v", c.Err())
		}
		if _, err := a.Alloc(512 << 10); err != nil { // half of it, as a split and a retry ask for
			return err
		}
		return a.Close()
	})
	f.fail("cuMemHostAlloc", 1, 2)
	err := d.Do(func(c cuda.Context) error { _, err := c.AllocHost(4096); return err })
	says(t, err, cuda.ErrOutOfMemory, "page-locked")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestCodesWithoutAName(t *testing.T) {
	f, d := opened(t)
	f.fail("cuMemAlloc_v2", 1, 12345)
	err := d.Do(func(c cuda.Context) error { _, err := c.Alloc(1); return err })
	says(t, err, nil, "(12345)", "1 bytes")
}

// TestEveryStepOfOpeningMayFail finds no step whose error is lost or whose context stays.
func TestEveryStepOfOpeningMayFail(t *testing.T) {
	f := compiled(t, "cuda.c")
	for _, call := range []string{
		"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetUuid_v2", "cuDeviceTotalMem_v2",
		"cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent",
	} {
		f.reset()
		f.fail(call, 1, 803)
		_, err := Open(0, f.options())
		says(t, err, nil, call, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", "start the host again")
		text := strings.Join(f.calls(), "\n")
		if strings.Contains(text, "Retain") && call != "cuDevicePrimaryCtxRetain" && !strings.Contains(text, "Release_v2") {
			t.Errorf("%s: the context was kept", call)
		}
	}
}

func TestTheDeviceStaysOnItsThread(t *testing.T) {
	f := compiled(t, "cuda.c")
	d, err := Open(0, f.options())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				err := d.Do(func(c cuda.Context) error {
					runtime.Gosched()
					p, err := c.Alloc(int64(i + 1))
					if err != nil {
						return err
					}
					runtime.Gosched()
					return c.Free(p)
				})
				if err != nil {
					t.Error(err) // the fake refuses a thread that has no context
					return
				}
			}
		})
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if n := f.tids(); n != 1 {
		t.Errorf("the driver was called on %d threads", n)
	}
}

func TestMemInfoFromAnywhere(t *testing.T) {
	_, d := opened(t)
	inside, leave := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		done <- d.Do(func(c cuda.Context) error { inside <- true; <-leave; return c.Synchronize() })
	}()
	<-inside
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if free, total, err := d.MemInfo(); free != 5<<30 || total != 24<<30 || err != nil {
					t.Errorf("%d of %d, %v", free, total, err)
				}
			}
		})
	}
	wg.Wait()
	leave <- true
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAPanicLeavesTheDevice(t *testing.T) {
	_, d := opened(t)
	err := d.Do(func(c cuda.Context) error { panic("in a kernel's caller") })
	var p *cuda.PanicError
	if !errors.As(err, &p) {
		t.Fatal(err)
	}
	on(t, d, func(c cuda.Context) error { return c.Synchronize() })
}

func TestTheLedgerIsZeroAfterClose(t *testing.T) {
	_, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		a := cuda.NewArena(c, 1<<16)
		for range 3 {
			if _, err := a.Alloc(50 << 10); err != nil {
				return err
			}
		}
		if l := c.Ledger(); l.Allocations.Load() != 3 || l.DeviceBytes.Load() != a.Held() || a.Held() != 3<<16 {
			t.Errorf("%d allocations of %d bytes, the arena holds %d", l.Allocations.Load(), l.DeviceBytes.Load(), a.Held())
		}
		return a.Close()
	})
	if err := d.Close(); err != nil {
		t.Error(err)
	}

	_, d = opened(t)
	on(t, d, func(c cuda.Context) error {
		if _, err := c.Alloc(100); err != nil {
			return err
		}
		if _, err := c.AllocHost(200); err != nil {
			return err
		}
		if _, _, err := c.Load([]byte(".version 7.0\n")); err != nil {
			return err
		}
		_, err := c.NewEvent(true)
		return err
	})
	err := d.Close()
	says(t, err, nil, "1 device allocations of 100 bytes", "1 host allocations of 200 bytes", "1 modules", "1 events")
}

func TestCacheOfCubins(t *testing.T) {
	f, d := opened(t)
	folder := t.TempDir()
	ptx := []byte(".version 7.0\n.target sm_80\n")
	for i, want := range []string{"cuLinkCreate_v2", "cuModuleLoadDataEx cubin"} {
		k := &cuda.Cache{Folder: folder}
		on(t, d, func(c cuda.Context) error {
			f.clear()
			m, log, err := k.Load(c, ptx)
			if err != nil {
				return err
			}
			if calls := f.calls(); !strings.HasPrefix(calls[0], want) || (log != "") != (i == 0) {
				t.Errorf("start %d: %q, log %q", i, calls, log)
			}
			return c.Unload(m)
		})
	}
}

// TestTheDriversOwnCacheIsOurs, unless somebody chose one.
func TestTheDriversOwnCacheIsOurs(t *testing.T) {
	f := compiled(t, "cuda.c")
	t.Setenv("CUDA_CACHE_PATH", "/theirs")
	t.Setenv("CUDA_CACHE_MAXSIZE", "5")
	o := f.options()
	o.CacheFolder = "/ours"
	if _, err := Count(o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.text(), "cuInit flags=0 path=/theirs size=5\n") {
		t.Error(f.text())
	}
}
