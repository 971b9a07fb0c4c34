//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"remote-client-server/cuda"
)

func TestOpeningCallsTheDriverInOrder(t *testing.T) {
	f := compiled(t, "cuda.c")
	t.Setenv("CUDA_CACHE_PATH", "")
	t.Setenv("CUDA_CACHE_MAXSIZE", "")
	o := f.options()
	o.CacheFolder = "/a/folder of ours"
	d, err := Open(1, o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cuInit flags=0 path=/a/folder of ours size=268435456",
		"cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet ordinal=1", "cuDeviceGetName n=256 device=41",
		"cuDeviceGetUuid_v2 device=41", "cuDeviceTotalMem_v2 device=41",
	}
	for _, a := range []int{1, 8, 10, 13, 16, 18, 36, 37, 38, 39, 75, 76, 81, 82, 97} {
		want = append(want, fmt.Sprintf("cuDeviceGetAttribute attribute=%d device=41", a))
	}
	want = append(want, "cuDevicePrimaryCtxRetain device=41", "cuCtxSetCurrent context=0xc0")
	f.expect(t, want...)

	p := *d.Properties()
	uuid := [16]byte{}
	for i := range uuid {
		uuid[i] = byte(0x10 + i)
	}
	if p != (cuda.Properties{
		Ordinal: 1, Name: "Fake GPU 41", UUID: uuid, Major: 9, DriverVersion: 12080, Multiprocessors: 1016, WarpSize: 1010,
		ThreadsPerBlock: 1001, ThreadsPerMP: 1039, RegistersPerMP: 1082, SharedPerBlock: 1008, SharedPerBlockOptin: 1097,
		SharedPerMP: 1081, L2Bytes: 1038, TotalBytes: 24 << 30, ClockKHz: 1013, MemoryClockKHz: 1036, MemoryBusBits: 1037,
		ProgrammaticLaunch: true, Clusters: true, TensorMaps: true, GraphCapture: true, CompilesPTX: true,
	}) {
		t.Errorf("properties %+v", p)
	}
	if p.Capability() != 90 {
		t.Errorf("capability %d", p.Capability())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	f.expect(t, "cuCtxSetCurrent context=0", "cuDevicePrimaryCtxRelease_v2 device=41")
	if err := d.Close(); err != cuda.ErrClosed {
		t.Errorf("a second close: %v", err)
	}
}

func TestMemoryArguments(t *testing.T) {
	f, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		p, err := c.Alloc(1 << 12)
		if err != nil {
			return err
		}
		f.expect(t, "cuMemAlloc_v2 bytes=4096")
		q, err := c.Alloc(1 << 12)
		if err != nil {
			return err
		}
		h, err := c.AllocHost(100)
		if err != nil || len(h) != 100 {
			return fmt.Errorf("%d bytes of host memory: %v", len(h), err)
		}
		f.expect(t, "cuMemAlloc_v2 bytes=4096", "cuMemHostAlloc bytes=100 flags=0")
		at := fmt.Sprintf("%p", &h[0])

		src, dst := []byte("sixteen bytes..."), make([]byte, 16)
		steps := []struct {
			do   func() error
			want string
		}{
			{func() error { return c.Upload(p, src) }, fmt.Sprintf("cuMemcpyHtoD_v2 dst=%#x bytes=16", p) + "\ncuStreamSynchronize handle=0"},
			{func() error { return c.Copy(q+16, p, 16) }, fmt.Sprintf("cuMemcpyDtoD_v2 dst=%#x src=%#x bytes=16", q+16, p) + "\ncuStreamSynchronize handle=0"},
			{func() error { return c.CopyAsync(q, q+16, 16, 7) }, fmt.Sprintf("cuMemcpyDtoDAsync_v2 dst=%#x src=%#x bytes=16 stream=0x7", q, q+16)},
			{func() error { return c.DownloadAsync(h[:16], q, 8) }, fmt.Sprintf("cuMemcpyDtoHAsync_v2 dst=%s src=%#x bytes=16 stream=0x8", at, q)},
			{func() error { return c.UploadAsync(p+256, h[:16], 9) }, fmt.Sprintf("cuMemcpyHtoDAsync_v2 dst=%#x src=%s bytes=16 stream=0x9", p+256, at)},
			{func() error { return c.Download(dst, p+256) }, fmt.Sprintf("cuMemcpyDtoH_v2 src=%#x bytes=16", p+256)},
			{func() error { return c.Memset(p, 0xab, 5, 3) }, fmt.Sprintf("cuMemsetD8Async dst=%#x value=0xab count=5 stream=0x3", p)},
			{func() error { return c.Memset32(p+8, 0xdeadbeef, 6, 4) }, fmt.Sprintf("cuMemsetD32Async dst=%#x value=0xdeadbeef count=6 stream=0x4", p+8)},
			{func() error { return c.FreeHost(h) }, "cuMemFreeHost p=" + at},
			{func() error { return c.Free(q) }, fmt.Sprintf("cuMemFree_v2 p=%#x", q)},
			{func() error { return c.Upload(p, nil) }, ""},
			{func() error { return c.Copy(p, p, 0) }, ""},
		}
		for _, s := range steps {
			if err := s.do(); err != nil {
				t.Error(err)
			}
			if s.want == "" {
				f.expect(t)
			} else {
				f.expect(t, strings.Split(s.want, "\n")...)
			}
		}
		if !bytes.Equal(dst, src) {
			t.Errorf("after five copies: %q", dst)
		}
		got := make([]byte, 32)
		if err := c.Download(got, p); err != nil {
			return err
		}
		if want := append(bytes.Repeat([]byte{0xab}, 5), src[5:8]...); !bytes.Equal(got[:8], want) || !bytes.Equal(got[8:], bytes.Repeat([]byte{0xef, 0xbe, 0xad, 0xde}, 6)) {
			t.Errorf("after memset: %x", got)
		}
		f.clear()
		free, total, err := c.MemInfo()
		if free != 5<<30 || total != 24<<30 || err != nil {
			t.Errorf("memory: %d of %d, %v", free, total, err)
		}
		f.expect(t, "cuCtxGetCurrent", "cuMemGetInfo_v2")
		return c.Free(p)
	})
}

func TestAsynchronousCopiesOfPartsOfHostMemory(t *testing.T) {
	_, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		p, err := c.Alloc(64)
		if err != nil {
			return err
		}
		var blocks [5][]byte
		for i := range blocks {
			if blocks[i], err = c.AllocHost(64); err != nil {
				return err
			}
			for j := range blocks[i] {
				blocks[i][j] = byte(i*64 + j)
			}
		}
		got := make([]byte, 3)
		for _, i := range []int{3, 0, 4, 1, 2} {
			for _, from := range []int{0, 1, 61} {
				if err := errors.Join(c.UploadAsync(p, blocks[i][from:from+3], 0), c.Download(got, p)); err != nil {
					return err
				}
				if want := byte(i*64 + from); got[0] != want || got[2] != want+2 {
					t.Errorf("block %d from %d: %v", i, from, got)
				}
			}
			if err := c.FreeHost(blocks[i]); err != nil {
				return err
			}
			if err := c.UploadAsync(p, blocks[i][:8], 0); err == nil {
				t.Errorf("block %d is taken after it was freed", i)
			}
		}
		return errors.Join(c.Free(p), c.Ledger().Check())
	})
}

func TestMemoryThatIsNotTaken(t *testing.T) {
	f, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		h, err := c.AllocHost(64)
		if err != nil {
			return err
		}
		defer c.FreeHost(h)
		f.clear()
		for name, err := range map[string]error{
			"Go memory uploaded":   c.UploadAsync(1<<20, make([]byte, 8), 0),
			"Go memory downloaded": c.DownloadAsync(make([]byte, 8), 1<<20, 0),
			"foreign free":         c.Free(0x1234),
			"foreign host free":    c.FreeHost(make([]byte, 8)),
			"inside host free":     c.FreeHost(h[8:]),
		} {
			if e, ok := err.(*cuda.Error); !ok || e.Code != cuda.InvalidValue {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, n := range []int64{0, -1} {
			if _, err := c.Alloc(n); err == nil {
				t.Errorf("%d bytes were given", n)
			}
		}
		f.expect(t)
		return nil
	})
}

func TestModuleArguments(t *testing.T) {
	f, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		ptx := []byte(".version 7.0\n.target sm_80\n")
		m, log, err := c.Load(ptx)
		if err != nil {
			return err
		}
		if log != "ptxas info : Used 32 registers" {
			t.Errorf("the compiler's log: %q", log)
		}
		f.expect(t, "cuModuleLoadDataEx ptx n=5", "3=buffer(16384) 5=buffer(16384) 12=1")
		n, log, err := c.Load([]byte("\x7fELF and so on\x00"))
		if err != nil || log != "" {
			t.Errorf("a cubin: %q, %v", log, err)
		}
		f.expect(t, "cuModuleLoadDataEx cubin n=0")

		fn, err := c.Function(m, "k_4")
		if err != nil {
			return err
		}
		p, size, err := c.Global(n, "table")
		if p != 0xabc00 || size != 1234 || err != nil {
			t.Errorf("global at %#x of %d bytes, %v", p, size, err)
		}
		v, err := c.FunctionAttribute(fn, cuda.LocalBytes)
		if v != 103 || err != nil {
			t.Errorf("attribute %d, %v", v, err)
		}
		if err := c.SetFunctionAttribute(fn, cuda.DynamicSharedBytes, 131072); err != nil {
			t.Error(err)
		}
		o, err := c.Occupancy(fn, 256, 1<<16)
		if o != 3 || err != nil {
			t.Errorf("occupancy %d, %v", o, err)
		}
		if err := c.Unload(n); err != nil {
			t.Error(err)
		}
		f.expect(t,
			fmt.Sprintf("cuModuleGetFunction module=%#x name=k_4", m), fmt.Sprintf("cuModuleGetGlobal_v2 module=%#x name=table", n),
			"cuFuncGetAttribute attribute=3 kernel=k_4", "cuFuncSetAttribute kernel=k_4 attribute=8 value=131072",
			"cuOccupancyMaxActiveBlocksPerMultiprocessor kernel=k_4 threads=256 shared=65536", fmt.Sprintf("cuModuleUnload module=%#x", n))

		cubin, log, err := c.Compile(ptx)
		if err != nil || string(cubin) != "\x7fELF"+string(ptx)+"\x00" || log != "ptxas info : Used 32 registers" {
			t.Errorf("compiled to %q, %q, %v", cubin, log, err)
		}
		f.expect(t, "cuLinkCreate_v2 n=5", "3=buffer(16384) 5=buffer(16384) 12=1",
			"cuLinkAddData_v2 kind=1 size=28 terminated=1 name=ptx n=0 o=(nil) v=(nil)", "cuLinkComplete", "cuLinkDestroy")
		return c.Unload(m)
	})
}

func TestStreamEventAndGraphArguments(t *testing.T) {
	f, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		e, err := c.NewEvent(false)
		if err != nil {
			return err
		}
		e2, err := c.NewEvent(true)
		if err != nil {
			return err
		}
		f.expect(t, "cuStreamCreate flags=1", "cuEventCreate flags=3", "cuEventCreate flags=1")
		f.set("busy", 2)
		for i, want := range []bool{false, false, true} {
			done, err := false, error(nil)
			if i == 1 {
				done, err = c.QueryEvent(e)
			} else {
				done, err = c.QueryStream(s)
			}
			if done != want || err != nil {
				t.Errorf("query %d: %v, %v", i, done, err)
			}
		}
		f.expect(t, fmt.Sprintf("cuStreamQuery handle=%#x", s), fmt.Sprintf("cuEventQuery handle=%#x", e), fmt.Sprintf("cuStreamQuery handle=%#x", s))

		var g cuda.Graph
		var x cuda.GraphExec
		for _, step := range []func() error{
			func() error { return c.Record(e, s) },
			func() error { return c.WaitEvent(s, e) },
			func() error { return c.SynchronizeEvent(e) },
			func() error { return c.SynchronizeStream(s) },
			func() error { return c.Synchronize() },
			func() error {
				took, err := c.Elapsed(e, e2)
				if took != 1500*time.Microsecond {
					t.Errorf("elapsed %v", took)
				}
				return err
			},
			func() error { return c.BeginCapture(s) },
			func() (err error) { g, err = c.EndCapture(s); return err },
			func() (err error) { x, err = c.Instantiate(g); return err },
			func() error { return c.LaunchGraph(x, s) },
			func() error { return c.DestroyGraph(g) },
			func() error { return c.DestroyGraphExec(x) },
			func() error { return c.DestroyEvent(e) },
			func() error { return c.DestroyEvent(e2) },
			func() error { return c.DestroyStream(s) },
		} {
			if err := step(); err != nil {
				t.Error(err)
			}
		}
		f.expect(t,
			fmt.Sprintf("cuEventRecord event=%#x stream=%#x", e, s), fmt.Sprintf("cuStreamWaitEvent stream=%#x event=%#x flags=0", s, e),
			fmt.Sprintf("cuEventSynchronize handle=%#x", e), fmt.Sprintf("cuStreamSynchronize handle=%#x", s), "cuCtxSynchronize",
			fmt.Sprintf("cuEventElapsedTime from=%#x to=%#x", e, e2), fmt.Sprintf("cuStreamBeginCapture_v2 stream=%#x mode=1", s),
			fmt.Sprintf("cuStreamEndCapture stream=%#x", s), fmt.Sprintf("cuGraphInstantiateWithFlags graph=%#x flags=0", g),
			fmt.Sprintf("cuGraphLaunch exec=%#x stream=%#x", x, s), fmt.Sprintf("cuGraphDestroy handle=%#x", g),
			fmt.Sprintf("cuGraphExecDestroy handle=%#x", x), fmt.Sprintf("cuEventDestroy_v2 handle=%#x", e),
			fmt.Sprintf("cuEventDestroy_v2 handle=%#x", e2), fmt.Sprintf("cuStreamDestroy_v2 handle=%#x", s))
		return c.Ledger().Check()
	})
}

func TestTensorMapArguments(t *testing.T) {
	f, d := opened(t)
	on(t, d, func(c cuda.Context) error {
		m, err := c.EncodeTensorMap(&cuda.TensorMapSpec{
			Type: cuda.TensorMapBFloat16, Rank: 3, Address: 0x10000, Dims: [5]uint64{1024, 77, 5}, Strides: [4]uint64{2048, 157696},
			Box: [5]uint32{64, 128, 1}, ElementStrides: [5]uint32{0, 2}, Swizzle: cuda.Swizzle128, L2Promotion: 2,
		})
		if err != nil {
			return err
		}
		f.expect(t, "cuTensorMapEncodeTiled aligned=1 kind=9 rank=3 addr=0x10000 dims=1024,77,5 strides=2048,157696 box=64,128,1 steps=1,2,1 interleave=0 swizzle=3 promotion=2 fill=0")
		for i, b := range m {
			if int(b) != i {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
		if _, err := c.EncodeTensorMap(&cuda.TensorMapSpec{Rank: 6}); err == nil {
			t.Error("rank 6 was taken")
		}
		return nil
	})
}

func TestSymbolsAreThoseOfTheBoundRelease(t *testing.T) {
	want := map[string]string{}
	for _, s := range (&api{}).table() {
		want[s.export] = fmt.Sprintf("cuGetProcAddress_v2 name=%s version=%d flags=0", s.name, s.version)
	}
	for _, c := range []struct {
		name  string
		flags []string
	}{{"exported", nil}, {"by cuGetProcAddress alone", []string{"-DHIDDEN"}}} {
		t.Run(c.name, func(t *testing.T) {
			f := compiled(t, "cuda.c", c.flags...)
			d, err := Open(0, f.options())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			asked := map[string]bool{}
			for line := range strings.Lines(f.text()) {
				asked[strings.TrimSpace(line)] = true
			}
			for export, line := range want {
				if !asked[line] {
					t.Errorf("%s: not asked for as %q", export, line)
				}
			}
			if strings.Contains(f.text(), "of CUDA") {
				t.Errorf("an old function was called:\n%s", f.text())
			}
		})
	}
	t.Run("by dlsym", func(t *testing.T) {
		f, d := opened(t, "-DOLD")
		if v := d.Properties().DriverVersion; v != 11000 {
			t.Errorf("driver %d", v)
		}
		on(t, d, func(c cuda.Context) error {
			p, err := c.Alloc(8)
			if err != nil {
				return err
			}
			return c.Free(p)
		})
		if strings.Contains(f.text(), "of CUDA") {
			t.Errorf("an old function was called:\n%s", f.text())
		}
	})
}
