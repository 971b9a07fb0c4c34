//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"remote-client-server/cuda"
)

// sizes of parameters, in turns, and their alignment in C.
var parameterSizes = []struct{ bytes, align int }{{1, 1}, {2, 2}, {4, 4}, {8, 8}, {64, 64}, {128, 64}}

// argument appends the i-th parameter, of bytes that tell it from any other, and returns them in hexadecimal.
func argument(a *cuda.Args, i, size, align int) string {
	b := make([]byte, size)
	for j := range b {
		b[j] = byte(i*31 + j + 1)
	}
	switch size {
	case 1:
		a.Uint8(b[0])
	case 2:
		a.Uint16(uint16(b[0]) | uint16(b[1])<<8)
	case 4:
		a.Uint32(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	case 8:
		v := uint64(0)
		for j := range 8 {
			v |= uint64(b[j]) << (8 * j)
		}
		a.Uint64(v)
	case 128:
		m := cuda.TensorMap(b)
		a.TensorMap(&m)
	default:
		a.Struct(b, align)
	}
	return hex.EncodeToString(b)
}

func TestLaunchArguments(t *testing.T) {
	for _, driver := range []struct {
		name  string
		flags []string
		call  string
		attrs string
	}{
		{"cuLaunchKernelEx", nil, "cuLaunchKernelEx", " attribute6=1"},
		{"cuLaunchKernel", []string{"-DOLD"}, "cuLaunchKernel", ""},
	} {
		t.Run(driver.name, func(t *testing.T) {
			f, d := opened(t, driver.flags...)
			on(t, d, func(c cuda.Context) error {
				m, _, err := c.Load([]byte(".version 7.0\n"))
				if err != nil {
					return err
				}
				l := &cuda.Launch{Grid: [3]uint32{1 << 20, 2, 3}, Block: [3]uint32{4, 5, 6}, Shared: 70000, Stream: 9, Dependent: true}
				for count := range cuda.MaxArgs + 1 {
					for rotate := range parameterSizes {
						name, want := "k", ""
						l.Args.Reset()
						for i := range count {
							s := parameterSizes[(i+rotate)%len(parameterSizes)]
							name += fmt.Sprintf("_%d", s.bytes)
							want += " " + argument(&l.Args, i, s.bytes, s.align)
						}
						if want == "" {
							want = " none"
						}
						if l.Function, err = c.Function(m, name); err != nil {
							return err
						}
						f.clear()
						if err := c.Launch(l); err != nil {
							return err
						}
						f.expect(t, fmt.Sprintf("%s kernel=%s grid=1048576,2,3 block=4,5,6 shared=70000 stream=0x9%s args:%s", driver.call, name, driver.attrs, want))
						if t.Failed() {
							return nil
						}
					}
				}
				return c.Unload(m)
			})
		})
	}
}

func TestLaunchAttributes(t *testing.T) {
	f := compiled(t, "cuda.c")
	launch := func(t *testing.T, l *cuda.Launch) {
		d, err := Open(0, f.options())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		on(t, d, func(c cuda.Context) error {
			l.Function, err = c.Function(1, "k_4")
			if err != nil {
				return err
			}
			l.Args.Reset()
			l.Args.Float32(1)
			f.clear()
			return c.Launch(l)
		})
	}
	for _, c := range []struct {
		name  string
		major int64
		l     cuda.Launch
		want  string
	}{
		{"none", 9, cuda.Launch{}, ""},
		{"cluster", 9, cuda.Launch{Cluster: [3]uint32{2, 1, 1}}, " cluster=2,1,1"},
		{"dependent", 9, cuda.Launch{Dependent: true}, " attribute6=1"},
		{"both", 9, cuda.Launch{Cluster: [3]uint32{2, 4, 1}, Dependent: true}, " cluster=2,4,1 attribute6=1"},
		{"dependent on a GPU that cannot", 8, cuda.Launch{Dependent: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.reset()
			f.set("major", c.major)
			c.l.Grid, c.l.Block = [3]uint32{8, 8, 1}, [3]uint32{32, 1, 1}
			launch(t, &c.l)
			lines := f.calls()
			if want := "cuLaunchKernelEx kernel=k_4 grid=8,8,1 block=32,1,1 shared=0 stream=(nil)" + c.want + " args: 0000803f"; lines[0] != want {
				t.Errorf("got  %s\nwant %s", lines[0], want)
			}
		})
	}
}

func TestClustersNeedANewerDriver(t *testing.T) {
	f, d := opened(t, "-DOLD")
	err := d.Do(func(c cuda.Context) error { return c.Launch(&cuda.Launch{Cluster: [3]uint32{2, 1, 1}}) })
	if !errors.Is(err, cuda.ErrDriverTooOld) || !strings.Contains(err.Error(), "R520") {
		t.Error(err)
	}
	err = d.Do(func(c cuda.Context) error { return c.BeginCapture(1) })
	if !errors.Is(err, cuda.ErrDriverTooOld) || !strings.Contains(err.Error(), "R470") {
		t.Error(err)
	}
	err = d.Do(func(c cuda.Context) error { _, err := c.EncodeTensorMap(&cuda.TensorMapSpec{Rank: 1}); return err })
	if !errors.Is(err, cuda.ErrDriverTooOld) || !strings.Contains(err.Error(), "R525") {
		t.Error(err)
	}
	f.expect(t)
}

func TestARefusedLaunchNamesTheKernel(t *testing.T) {
	f, d := opened(t)
	f.fail("cuLaunchKernelEx", 2, 1)
	on(t, d, func(c cuda.Context) error {
		fn, err := c.Function(1, "gemm")
		if err != nil {
			return err
		}
		l := &cuda.Launch{Function: fn, Grid: [3]uint32{1, 2, 3}, Block: [3]uint32{256, 1, 1}, Shared: 9, Cluster: [3]uint32{2, 1, 1}}
		if err := c.Launch(l); err != nil {
			return err
		}
		err = c.Launch(l)
		want := "cuda: cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE (1): invalid argument: kernel gemm, grid [1 2 3], block [256 1 1], 9 bytes of shared memory, 0 arguments, cluster [2 1 1]"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		for range cuda.MaxArgs + 1 {
			l.Args.Uint8(1)
		}
		if err := c.Launch(l); err == nil || !strings.Contains(err.Error(), "at most 32 arguments") {
			t.Error(err)
		}
		return c.Launch(&cuda.Launch{Function: fn}) // the context goes on
	})
}

// TestNothingIsAllocatedOnTheWayOfAKernel covers every call of a forward pass.
func TestNothingIsAllocatedOnTheWayOfAKernel(t *testing.T) {
	for _, flags := range [][]string{nil, {"-DOLD"}} {
		f, d := opened(t, flags...)
		on(t, d, func(c cuda.Context) error {
			p, err := c.Alloc(1 << 12)
			if err != nil {
				return err
			}
			h, err := c.AllocHost(64)
			if err != nil {
				return err
			}
			fn, err := c.Function(1, "k_8_8_4")
			if err != nil {
				return err
			}
			f.set("silent", 1)
			l := &cuda.Launch{Function: fn, Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}, Dependent: true}
			for name, do := range map[string]func() error{
				"launch": func() error {
					l.Args.Reset()
					l.Args.Ptr(p)
					l.Args.Ptr(p)
					l.Args.Int32(7)
					return c.Launch(l)
				},
				"upload":   func() error { return c.UploadAsync(p, h, 0) },
				"download": func() error { return c.DownloadAsync(h, p, 0) },
				"copy":     func() error { return c.CopyAsync(p, p+64, 64, 0) },
				"memset":   func() error { return c.Memset(p, 0, 64, 0) },
				"memset32": func() error { return c.Memset32(p, 0, 16, 0) },
				"record":   func() error { return c.Record(1, 0) },
				"wait":     func() error { return c.WaitEvent(0, 1) },
				"query":    func() error { _, err := c.QueryEvent(1); return err },
				"graph":    func() error { return c.LaunchGraph(1, 0) },
			} {
				if n := testing.AllocsPerRun(100, func() {
					if err := do(); err != nil {
						t.Fatal(err)
					}
				}); n != 0 && !raceEnabled {
					t.Errorf("%s allocates %v times", name, n)
				}
			}
			return nil
		})
	}
}

func BenchmarkLaunch(b *testing.B) {
	for _, driver := range []struct {
		name  string
		flags []string
	}{{"cuLaunchKernelEx", nil}, {"cuLaunchKernel", []string{"-DOLD"}}} {
		for _, args := range []int{0, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", driver.name, args), func(b *testing.B) {
				f, d := opened(b, driver.flags...)
				on(b, d, func(c cuda.Context) error {
					fn, err := c.Function(1, "k"+strings.Repeat("_8", args))
					if err != nil {
						return err
					}
					l := &cuda.Launch{Function: fn, Grid: [3]uint32{64, 1, 1}, Block: [3]uint32{256, 1, 1}, Stream: 1, Dependent: true}
					f.set("silent", 1)
					b.ReportAllocs()
					for b.Loop() {
						l.Args.Reset()
						for i := range args {
							l.Args.Uint64(uint64(i))
						}
						if err := c.Launch(l); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}

// BenchmarkBareCall is what a call of C costs by itself: a launch is to be measured against it.
func BenchmarkBareCall(b *testing.B) {
	f, d := opened(b)
	f.set("silent", 1)
	on(b, d, func(c cuda.Context) error {
		x := c.(*context)
		b.ReportAllocs()
		for b.Loop() {
			x.call(x.cuLaunchKernel, 11)
		}
		return nil
	})
}

func BenchmarkRecord(b *testing.B) {
	f, d := opened(b)
	on(b, d, func(c cuda.Context) error {
		f.set("silent", 1)
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Record(1, 2); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkUploadAsync(b *testing.B) {
	f, d := opened(b)
	on(b, d, func(c cuda.Context) error {
		h, err := c.AllocHost(64)
		if err != nil {
			return err
		}
		p, err := c.Alloc(64)
		if err != nil {
			return err
		}
		f.set("silent", 1)
		b.ReportAllocs()
		for b.Loop() {
			if err := c.UploadAsync(p, h, 2); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkDo is a hop to the device's thread and back.
func BenchmarkDo(b *testing.B) {
	_, d := opened(b)
	for b.Loop() {
		if err := d.Do(func(cuda.Context) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func TestArgsPadWithZeros(t *testing.T) {
	var a cuda.Args
	for range 100 {
		a.Uint64(0xffffffffffffffff)
	}
	a.Reset()
	a.Uint8(1)
	a.Uint64(2)
	if want := []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(a.Packed(), want) {
		t.Errorf("%x", a.Packed())
	}
}
