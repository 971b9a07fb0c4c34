//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"strings"
	"testing"

	"remote-client-server/cuda"
)

func TestBlasLtArguments(t *testing.T) {
	_, d := opened(t)
	f := compiled(t, "cublaslt.c", "-DVERSION=120804")
	on(t, d, func(c cuda.Context) error {
		b, err := OpenBlasLt(c, []string{"/nowhere/libcublasLt.so.13", f.path}, 32<<20)
		if err != nil {
			return err
		}
		if b.Version() != "12.8.4" {
			t.Error(b.Version())
		}
		f.expect(t, "cublasLtCreate")
		m, err := b.Plan(cuda.MatmulSpec{Rows: 77, Cols: 3072, Depth: 768, In: cuda.BFloat16, Out: cuda.Float32, StrideY: 4096, Bias: true, GELU: true})
		if err != nil {
			return err
		}
		f.expect(t,
			"cublasLtMatmulDescCreate compute=68 scale=0",
			"cublasLtMatmulDescSetAttribute desc=0xd0 attribute=3 value=0x1 size=4",
			"cublasLtMatmulDescSetAttribute desc=0xd0 attribute=7 value=0x24 size=4",
			"cublasLtMatrixLayoutCreate kind=14 rows=768 cols=3072 ld=768",
			"cublasLtMatrixLayoutCreate kind=14 rows=768 cols=77 ld=768",
			"cublasLtMatrixLayoutCreate kind=0 rows=3072 cols=77 ld=4096",
			"cublasLtMatmulPreferenceCreate",
			"cublasLtMatmulPreferenceSetAttribute pref=0xf0 attribute=1 value=33554432 size=8",
			"cublasLtMatmulPreferenceSetAttribute pref=0xf0 attribute=5 value=16 size=4",
			"cublasLtMatmulPreferenceSetAttribute pref=0xf0 attribute=6 value=16 size=4",
			"cublasLtMatmulPreferenceSetAttribute pref=0xf0 attribute=7 value=16 size=4",
			"cublasLtMatmulPreferenceSetAttribute pref=0xf0 attribute=8 value=16 size=4",
			"cublasLtMatmulAlgoGetHeuristic handle=0x1b desc=0xd0 layouts=0xe0,0xe1,0xe2,0xe2 pref=0xf0 want=1",
			"cublasLtMatmulPreferenceDestroy pref=0xf0")
		run := "cublasLtMatmul handle=0x1b desc=0xd0 alpha=1 A=0x200:0xe0 B=0x100:0xe1 beta=0 C=0x400:0xe2 D=0x400:0xe2 algo=100..107 workspace=1,33554432 stream=0x9"
		for i := range 2 {
			if err := m.Run(9, 0x100, 0x200, 0x300, 0x400); err != nil {
				return err
			}
			if i == 0 {
				f.expect(t, "cublasLtMatmulDescSetAttribute desc=0xd0 attribute=8 value=0x300 size=8", run)
			} else {
				f.expect(t, run)
			}
		}
		f.set("silent", 1)
		if n := testing.AllocsPerRun(100, func() {
			if err := m.Run(9, 0x100, 0x200, 0x300, 0x400); err != nil {
				t.Fatal(err)
			}
		}); n != 0 && !raceEnabled {
			t.Errorf("a product allocates %v times", n)
		}
		f.set("silent", 0)
		if err := m.Close(); err != nil {
			return err
		}
		f.expect(t, "cublasLtMatrixLayoutDestroy layout=0xe0", "cublasLtMatrixLayoutDestroy layout=0xe1",
			"cublasLtMatrixLayoutDestroy layout=0xe2", "cublasLtMatmulDescDestroy desc=0xd0")

		m, err = b.Plan(cuda.MatmulSpec{Rows: 8, Cols: 8, Depth: 8, In: cuda.Float16, Out: cuda.Float16, Add: true})
		if err != nil {
			return err
		}
		f.clear()
		if err := m.Run(0, 1, 2, 0, 3); err != nil {
			return err
		}
		if got := f.calls()[0]; !strings.Contains(got, "beta=1 C=0x3:") {
			t.Error(got)
		}
		if err := m.Close(); err != nil {
			return err
		}
		f.clear()
		if err := b.Close(); err != nil {
			return err
		}
		f.expect(t, "cublasLtDestroy handle=0x1b")
		return c.Ledger().Check()
	})
}

func TestBlasLtProductsThatAreRefused(t *testing.T) {
	_, d := opened(t)
	f := compiled(t, "cublaslt.c", "-DVERSION=120804")
	on(t, d, func(c cuda.Context) error {
		b, err := OpenBlasLt(c, []string{f.path}, 0)
		if err != nil {
			return err
		}
		defer b.Close()
		good := cuda.MatmulSpec{Rows: 8, Cols: 8, Depth: 8, In: cuda.BFloat16, Out: cuda.BFloat16}
		for name, change := range map[string]func(*cuda.MatmulSpec){
			"an unknown type":    func(s *cuda.MatmulSpec) { s.In = 3 },
			"no rows":            func(s *cuda.MatmulSpec) { s.Rows = 0 },
			"too many columns":   func(s *cuda.MatmulSpec) { s.Cols = 1<<30 + 1 },
			"rows of 14 bytes":   func(s *cuda.MatmulSpec) { s.Depth = 7 },
			"a stride too short": func(s *cuda.MatmulSpec) { s.StrideY = 4 },
			"add and bias":       func(s *cuda.MatmulSpec) { s.Add, s.Bias = true, true },
		} {
			s := good
			change(&s)
			if _, err := b.Plan(s); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
		f.set("found", 0)
		_, err = b.Plan(good)
		says(t, err, cuda.ErrNotSupported, "CUBLAS_STATUS_NOT_SUPPORTED")
		for _, call := range []string{
			"cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate", "cublasLtMatmulPreferenceCreate",
			"cublasLtMatmulPreferenceSetAttribute", "cublasLtMatmulAlgoGetHeuristic",
		} {
			f.reset()
			f.fail(call, 1, 3)
			_, err := b.Plan(good)
			says(t, err, cuda.ErrOutOfMemory, call, "CUBLAS_STATUS_ALLOC_FAILED")
			text := f.text()
			for _, of := range []string{"MatmulDesc", "MatrixLayout", "MatmulPreference"} {
				created, destroyed := strings.Count(text, of+"Create "), strings.Count(text, of+"Destroy ")
				if strings.HasPrefix(call, "cublasLt"+of+"Create") {
					created--
				}
				if created != destroyed {
					t.Errorf("%s fails: %d times %s, %d destroyed", call, created, of, destroyed)
				}
			}
		}
		return nil
	})
}

func TestBlasLtOfTheDriversRelease(t *testing.T) {
	newer := compiled(t, "cublaslt.c", "-DVERSION=130401").path
	fits := compiled(t, "cublaslt.c", "-DVERSION=120804").path
	ancient := compiled(t, "cublaslt.c", "-DVERSION=10204").path
	_, d := opened(t) // a driver of CUDA 12.8
	on(t, d, func(c cuda.Context) error {
		b, err := OpenBlasLt(c, []string{newer, ancient, fits}, 0)
		if err != nil {
			return err
		}
		if b.Version() != "12.8.4" {
			t.Errorf("version %s was taken", b.Version())
		}
		_, err = OpenBlasLt(c, []string{newer, ancient, "/nowhere"}, 0)
		says(t, err, cuda.ErrNotSupported, "is of CUDA 13", "supports CUDA 12.8", "version 10204", "/nowhere")
		_, err = OpenBlasLt(c, []string{}, 0)
		says(t, err, cuda.ErrNotSupported)
		return b.Close()
	})
}
