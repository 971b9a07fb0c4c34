package emu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
)

// open makes a context on sm_80 with the module of Example loaded, and checks at the end that all was given back.
func open(t *testing.T, o emu.Options) (c cuda.Context, double cuda.Function) {
	t.Helper()
	c, err := emu.Open("sm_80", o)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := c.Load([]byte(doublePTX))
	if err != nil {
		t.Fatal(err)
	}
	double, err = c.Function(m, "double")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lost := c.Err()
		if lost == nil {
			if err := c.Unload(m); err != nil {
				t.Error(err)
			}
		}
		if err := c.Close(); lost == nil && err != nil {
			t.Error(err)
		}
	})
	return c, double
}

func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func place(t *testing.T, c cuda.Context, b []byte) cuda.Ptr {
	t.Helper()
	p, err := c.Alloc(int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(p, b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Free(p) })
	return p
}

func call(f cuda.Function, s cuda.Stream, x cuda.Ptr, n uint32) *cuda.Launch {
	l := &cuda.Launch{Function: f, Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}, Stream: s}
	l.Args.Ptr(x)
	l.Args.Uint32(n)
	return l
}

// code is the driver's number of an error.
func code(err error) cuda.Code {
	var e *cuda.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestContextRunsAKernel(t *testing.T) {
	var ran []string
	c, double := open(t, emu.Options{Profile: true, OnLaunch: func(kernel string, grid [3]uint32, s *emu.Stats) {
		if grid != [3]uint32{1, 1, 1} || s.Requests != 2 || s.Sectors != 2 {
			t.Errorf("grid %v, %d requests, %d sectors", grid, s.Requests, s.Sectors)
		}
		ran = append(ran, kernel)
	}})
	x := place(t, c, words(1, 2, 3))
	if err := c.Launch(call(double, 0, x, 3)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	if err := c.Download(got, x); err != nil || !bytes.Equal(got, words(2, 4, 6)) {
		t.Errorf("%v, %v", got, err)
	}
	if strings.Join(ran, " ") != "double" {
		t.Errorf("launches %v", ran)
	}
}

func TestAKernelsFaultLosesTheContext(t *testing.T) {
	c, double := open(t, emu.Options{})
	x := place(t, c, words(1, 2, 3))
	first := c.Launch(call(double, 0, x, 4))
	var fault *emu.Fault
	if !errors.Is(first, cuda.ErrSticky) || code(first) != cuda.IllegalAddress || !errors.As(first, &fault) || fault.Kind != emu.OutOfBounds {
		t.Fatalf("the launch: %v", first)
	}
	if !strings.Contains(first.Error(), fault.Error()) {
		t.Errorf("%q does not hold %q", first, fault)
	}
	_, alloc := c.Alloc(4)
	_, _, info := c.MemInfo()
	for _, err := range []error{alloc, info, c.Synchronize(), c.Upload(x, words(1)), c.Free(x), c.Err(), c.Close()} {
		if err != first {
			t.Errorf("a later call: %v", err)
		}
	}
	if err := c.Close(); err != cuda.ErrClosed {
		t.Errorf("a second close: %v", err)
	}
}

func TestLaunchesThatTheDriverRefuses(t *testing.T) {
	c, double := open(t, emu.Options{})
	x := place(t, c, words(1))
	for _, r := range []struct {
		name string
		edit func(l *cuda.Launch)
		code cuda.Code
	}{
		{"no blocks", func(l *cuda.Launch) { l.Grid[1] = 0 }, cuda.InvalidValue},
		{"too many threads", func(l *cuda.Launch) { l.Block[0] = 2048 }, 701},
		{"more shared memory than was asked for", func(l *cuda.Launch) { l.Shared = 48<<10 + 16 }, cuda.InvalidValue},
		{"an argument too few", func(l *cuda.Launch) { l.Args.Reset(); l.Args.Ptr(x) }, cuda.InvalidValue},
		{"arguments in another place", func(l *cuda.Launch) { l.Args.Reset(); l.Args.Uint32(1); l.Args.Ptr(x) }, cuda.InvalidValue},
		{"an argument too long", func(l *cuda.Launch) { l.Args.Reset(); l.Args.Ptr(x); l.Args.Uint64(1) }, cuda.InvalidValue},
		{"a cluster before Hopper", func(l *cuda.Launch) { l.Grid[0] = 2; l.Cluster = [3]uint32{2, 1, 1} }, cuda.NotSupported},
		{"no function", func(l *cuda.Launch) { l.Function = 12345 }, 400},
		{"no stream", func(l *cuda.Launch) { l.Stream = 12345 }, 400},
	} {
		t.Run(r.name, func(t *testing.T) {
			l := call(double, 0, x, 1)
			r.edit(l)
			if err := c.Launch(l); code(err) != r.code || c.Err() != nil {
				t.Errorf("%v, then %v", err, c.Err())
			}
		})
	}
	if err := c.SetFunctionAttribute(double, cuda.DynamicSharedBytes, 100<<10); err != nil {
		t.Fatal(err)
	}
	l := call(double, 0, x, 1)
	l.Shared = 100 << 10
	if err := c.Launch(l); err != nil {
		t.Errorf("with the attribute set: %v", err)
	}
	if err := c.SetFunctionAttribute(double, cuda.DynamicSharedBytes, 200<<10); code(err) != cuda.InvalidValue {
		t.Errorf("more than the GPU has: %v", err)
	}
}

func TestImagesForAnotherGPU(t *testing.T) {
	c, _ := open(t, emu.Options{})
	replaced := func(old, new string) []byte { return []byte(strings.Replace(doublePTX, old, new, 1)) }
	for _, r := range []struct {
		name  string
		image []byte
		code  cuda.Code
	}{
		{"nothing", nil, cuda.InvalidValue},
		{"a cubin", []byte("\x7fELF\x02\x01\x01"), cuda.NoBinaryForGPU},
		{"PTX of a later GPU", replaced("7.0\n.target sm_80", "8.0\n.target sm_90"), cuda.NoBinaryForGPU},
		{"PTX of one GPU alone", replaced("7.0\n.target sm_80", "8.0\n.target sm_90a"), cuda.NoBinaryForGPU},
		{"PTX of a later driver", replaced("7.0", "9.0"), cuda.UnsupportedPTXVersion},
		{"text that is no PTX", replaced(".reg .pred", ".reg .perd"), cuda.InvalidPTX},
	} {
		t.Run(r.name, func(t *testing.T) {
			if _, _, err := c.Load(r.image); code(err) != r.code {
				t.Errorf("%v", err)
			}
		})
	}
	m, _, err := c.Load(replaced("sm_80", "sm_75"))
	if err != nil {
		t.Fatalf("PTX of an earlier GPU: %v", err)
	}
	defer c.Unload(m)
	if _, err := c.Function(m, "triple"); code(err) != cuda.NotFound {
		t.Errorf("a kernel that is not there: %v", err)
	}
	if _, _, err := c.Compile([]byte(doublePTX)); !errors.Is(err, cuda.ErrNotSupported) {
		t.Errorf("compiling: %v", err)
	}
}

func TestMemoryRules(t *testing.T) {
	c, _ := open(t, emu.Options{MemoryBytes: 1 << 20})
	p, err := c.Alloc(1 << 19)
	if err != nil {
		t.Fatal(err)
	}
	if p%256 != 0 {
		t.Errorf("address %#x", uint64(p))
	}
	if free, total, err := c.MemInfo(); free != 1<<19 || total != 1<<20 || err != nil {
		t.Errorf("%d bytes free of %d, %v", free, total, err)
	}
	if n := c.Ledger().DeviceBytes.Load(); n != 1<<19 {
		t.Errorf("%d bytes in the ledger", n)
	}
	_, full := c.Alloc(1<<19 + 1)
	if !errors.Is(full, cuda.ErrOutOfMemory) {
		t.Errorf("more than there is: %v", full)
	}
	host, err := c.AllocHost(64)
	if err != nil {
		t.Fatal(err)
	}
	_, none := c.Alloc(0)
	_, negative := c.AllocHost(-1)
	for name, err := range map[string]error{
		"no bytes":                   none,
		"negative bytes":             negative,
		"an address inside":          c.Free(p + 256),
		"past the end":               c.Upload(p+1<<19-4, make([]byte, 8)),
		"unwritten memory":           c.Download(make([]byte, 4), p),
		"copies that overlap":        c.Copy(p, p+4, 8),
		"memory of the collector":    c.UploadAsync(p, make([]byte, 8), 0),
		"unwritten memory, later":    c.DownloadAsync(host[32:], p, 0),
		"words at an odd address":    c.Memset32(p+2, 1, 1, 0),
		"a length below zero":        c.Memset(p, 1, -1, 0),
		"host memory of someone":     c.FreeHost(make([]byte, 4)),
		"words beyond the end":       c.Memset32(p, 1, 1<<17+1, 0),
		"more words than an address": c.Memset32(p, 1, 1<<61, 0),
	} {
		if code(err) != cuda.InvalidValue {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, err := range []error{
		c.Memset32(p, 0x04030201, 2, 0), c.Memset(p+8, 9, 4, 0), c.CopyAsync(p+16, p, 12, 0), c.DownloadAsync(host[:12], p+16, 0),
		c.UploadAsync(p, host[:12], 0), c.Copy(p+64, p, 12),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if want := []byte{1, 2, 3, 4, 1, 2, 3, 4, 9, 9, 9, 9}; !bytes.Equal(host[:12], want) {
		t.Errorf("got %v", host[:12])
	}
	if err := c.(interface{ Poison(cuda.Ptr, int64) error }).Poison(p, 12); err != nil {
		t.Fatal(err)
	}
	if err := c.Download(host[:12], p); code(err) != cuda.InvalidValue {
		t.Errorf("poisoned memory: %v", err)
	}
	if err := errors.Join(c.FreeHost(host), c.Free(p)); err != nil {
		t.Error(err)
	}
	if err := c.Free(p); code(err) != cuda.InvalidValue {
		t.Errorf("freed twice: %v", err)
	}
}

func TestCloseSaysWhatIsOut(t *testing.T) {
	c, err := emu.Open("sm_75", emu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Alloc(100)
	c.NewStream()
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "1 device allocations of 100 bytes, 1 streams") {
		t.Errorf("%v", err)
	}
	if _, err := c.Alloc(1); err != cuda.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

func TestFailuresOnDemand(t *testing.T) {
	var fail error
	c, double := open(t, emu.Options{Fail: func(call string) error {
		if call == "cuMemAlloc_v2" || call == "cuLaunchKernelEx" {
			return fail
		}
		return nil
	}})
	x := place(t, c, words(1))
	fail = cuda.NewError("cuMemAlloc_v2", cuda.OutOfMemory, "", "on demand")
	if _, err := c.Alloc(4); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("%v", err)
	}
	if c.Err() != nil {
		t.Error("an error that is not sticky lost the context")
	}
	fail = cuda.NewError("cuLaunchKernelEx", cuda.ECCUncorrectable, "", "on demand")
	if err := c.Launch(call(double, 0, x, 1)); !errors.Is(err, cuda.ErrSticky) {
		t.Errorf("%v", err)
	}
	if !errors.Is(c.Synchronize(), cuda.ErrSticky) {
		t.Error("the context is not lost")
	}
}

func TestPropertiesAndOccupancy(t *testing.T) {
	for _, r := range []struct {
		target     string
		capability int
		optin      int
		tensorMaps bool
		blocks     int // of 256 threads and 32 KiB
	}{
		{"sm_75", 75, 64 << 10, false, 2},
		{"sm_80", 80, 163 << 10, false, 4},
		{"sm_86", 86, 99 << 10, false, 3},
		{"sm_90a", 90, 227 << 10, true, 6},
	} {
		t.Run(r.target, func(t *testing.T) {
			c, err := emu.Open(r.target, emu.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := c.Properties()
			if p.Capability() != r.capability || p.SharedPerBlockOptin != r.optin || p.TensorMaps != r.tensorMaps || p.CompilesPTX || !p.GraphCapture {
				t.Errorf("%+v", p)
			}
			m, _, err := c.Load([]byte(strings.Replace(doublePTX, "sm_80", "sm_75", 1)))
			if err != nil {
				t.Fatal(err)
			}
			f, err := c.Function(m, "double")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := c.Occupancy(f, 256, 32<<10); n != r.blocks || err != nil {
				t.Errorf("%d blocks, %v", n, err)
			}
			s := cuda.TensorMapSpec{Type: cuda.TensorMapBFloat16, Rank: 2, Address: 1 << 20, Dims: [5]uint64{64, 8}, Strides: [4]uint64{128}, Box: [5]uint32{64, 8}, Swizzle: cuda.Swizzle128}
			if _, err := c.EncodeTensorMap(&s); (err == nil) != r.tensorMaps {
				t.Errorf("tensor map: %v", err)
			}
			s.Box[0] = 512
			if _, err := c.EncodeTensorMap(&s); err == nil {
				t.Error("a box of 512 elements was taken")
			}
		})
	}
	for _, target := range []string{"", "sm_70", "sm_", "cuda"} {
		if _, err := emu.Open(target, emu.Options{}); !errors.Is(err, cuda.ErrNoDevice) {
			t.Errorf("target %q: %v", target, err)
		}
	}
}
