package gpu

import (
	"math"
	"slices"
	"strings"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
	"remote-client-server/runtime"
)

func TestPrecisions(t *testing.T) {
	for _, c := range []struct {
		target, dtype string
		stored        runtime.DType
		want          runtime.DType
		err           string
	}{
		{"sm_75", "auto", runtime.BF16, runtime.F16, ""},
		{"sm_75", "bfloat16", runtime.BF16, 0, "multiplies float16 only"},
		{"sm_80", "auto", runtime.F32, runtime.BF16, ""},
		{"sm_80", "auto", runtime.F16, runtime.F16, ""},
		{"sm_90a", "float32", runtime.BF16, runtime.F32, ""},
		{"sm_80", "q8", runtime.F32, 0, "a GPU has auto, bfloat16, float16 and float32"},
	} {
		p, err := emulated(t, c.target, emu.Options{}, Options{}).Precision(c.dtype, c.stored)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || p.Compute != c.want || p.Cache != c.want || p.Stream != runtime.F32 {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
}

// What crosses in one piece, in several, and row by row comes back as it went.
func TestUploadAndDownload(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	for _, c := range []struct{ rows, cols, pad int }{{1, 1, 0}, {3, 5, 2}, {0, 4, 1}, {2200, 1000, 0}, {5, 3, 7}} {
		m := b.Mark()
		v := make([]float32, c.rows*c.cols)
		for i := range v {
			v[i] = float32(i%251) - 100
		}
		for _, d := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16} {
			x := b.Scratch(c.rows, c.cols+2*c.pad, d).Columns(c.pad, c.pad+c.cols)
			b.Upload(x, v)
			got := make([]float32, len(v))
			if err := b.Download(got, x); err != nil || !slices.Equal(got, v) {
				t.Errorf("%+v as %v: %v", c, d, err)
			}
		}
		b.Release(m)
	}
	x := b.Scratch(2, 3, runtime.U8)
	b.Upload(x, []uint8{1, 2, 3, 4, 5, 6})
	got := make([]uint8, 6)
	if err := b.Download(got, x); err != nil || !slices.Equal(got, []uint8{1, 2, 3, 4, 5, 6}) {
		t.Errorf("bytes: %v, %v", got, err)
	}
}

// Infinities and rounding to even survive the way into 16 bits.
func TestRoundingOnTheDevice(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	v := []float32{1, 65504, 65520, -1e9, 2.98e-8, 1.0009765625, float32(math.Inf(1)), 3.3895314e38}
	for d, round := range map[runtime.DType]func(float32) float32{
		runtime.F16:  func(x float32) float32 { return runtime.F16ToF32(runtime.F32ToF16(x)) },
		runtime.BF16: func(x float32) float32 { return runtime.BF16ToF32(runtime.F32ToBF16(x)) },
	} {
		x := b.Scratch(1, len(v), d)
		b.Upload(x, v)
		got := make([]float32, len(v))
		if err := b.Download(got, x); err != nil {
			t.Fatal(err)
		}
		for i := range v {
			if got[i] != round(v[i]) {
				t.Errorf("%g as %v is %g, want %g", v[i], d, got[i], round(v[i]))
			}
		}
	}
}

// The launch log names the kernel of each class.
func TestWhichKernelIsTaken(t *testing.T) {
	for _, c := range []struct {
		target, dtype string
		rows          int
		decode        bool
		want          string
	}{
		{"sm_75", "float16", 4, false, "gemm_f16_64x64"},
		{"sm_80", "bfloat16", 4, false, "gemm_bf16_64x64"},
		{"sm_80", "bfloat16", 4, true, "gemv_bf16_8"},
		{"sm_80", "float32", 4, false, "gemm_f32_64x64"},
		{"sm_80", "float32", 1, true, "gemv_f32_8"},
		{"sm_90a", "bfloat16", 4, false, "wgmma_bf16_128x128"},
		{"sm_90a", "float16", 20, true, "gemv_f16_32"},
	} {
		b := emulated(t, c.target, emu.Options{}, Options{})
		w := linear(t, b, c.dtype, 64, runtime.LinearSpec{})
		x := b.Scratch(c.rows, 64, runtime.F32)
		b.Upload(x, make([]float32, c.rows*64))
		if c.decode {
			x = runtime.NewTensor(x.Addr(), x.Rows, x.Cols, x.Stride(), x.DType, runtime.Decode, x.Life())
		}
		y := b.Linear(x, w)
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		if (y.Phase() == runtime.Decode) != c.decode {
			t.Errorf("%+v: the result's phase is %v", c, y.Phase())
		}
		if n := b.Launches()[c.want]; n != 1 {
			t.Errorf("%+v: launched %v", c, b.Launches())
		}
	}
}

// library multiplies on the host, in the place of cuBLASLt.
type library struct {
	t      *testing.T
	refuse error // of a run
	b      *Backend
	plans  int
	closed int
	runs   []cuda.MatmulSpec
}

type libraryProduct struct {
	*library
	s cuda.MatmulSpec
}

func (l *library) Plan(s cuda.MatmulSpec) (cuda.Product, error) {
	if s.Cols == 24 {
		return nil, cuda.NewError("plan", cuda.NotSupported, "", "24 columns")
	}
	l.plans++
	return libraryProduct{l, s}, nil
}

func (l *library) Close() error {
	if l.plans != l.closed {
		l.t.Errorf("%d plans, %d closed", l.plans, l.closed)
	}
	return nil
}

func (p libraryProduct) Close() error { p.closed++; return nil }

// Run writes the number of the run to all of y, so that one sees who computed it.
func (p libraryProduct) Run(s cuda.Stream, x, w, bias, y cuda.Ptr) error {
	p.runs = append(p.runs, p.s)
	if p.refuse != nil {
		return p.refuse
	}
	if p.s.Out != cuda.Float32 {
		return p.b.context.Memset(y, 0, int64(p.s.Rows*p.s.StrideY*2), s)
	}
	return p.b.context.Memset(y, 0, int64(p.s.Rows*p.s.StrideY*4), s)
}

// A library of products is taken for plain products only, and only where it has a plan.
func TestALibraryOfProducts(t *testing.T) {
	lib := &library{t: t}
	b := emulated(t, "sm_80", emu.Options{}, Options{Products: lib, Force: true})
	lib.b = b
	for name, c := range map[string]struct {
		n    int
		s    runtime.LinearSpec
		runs int
	}{
		"plain":              {32, runtime.LinearSpec{}, 1},
		"wide":               {32, runtime.LinearSpec{Wide: true}, 1},
		"with an activation": {32, runtime.LinearSpec{Act: runtime.GELU}, 0},
		"gated":              {32, runtime.LinearSpec{Gate: true}, 0},
		"capped":             {32, runtime.LinearSpec{Cap: 3}, 0},
		"without a plan":     {24, runtime.LinearSpec{}, 0},
	} {
		lib.runs = nil
		w := linear(t, b, "bfloat16", c.n, c.s)
		v, err := first(t, b, b.Linear(vector(b, c.n, 1), w))
		if err != nil || len(lib.runs) != c.runs || (v == 0) != (c.runs > 0) {
			t.Errorf("%s: value %v, error %v, runs %+v", name, v, err, lib.runs)
		}
	}
	lib.runs = nil
	w := linear(t, b, "bfloat16", 32, runtime.LinearSpec{})
	b.LinearAdd(vector(b, 32, 1), vector(b, 32, 1), w)
	if len(lib.runs) != 1 || !lib.runs[0].Add || lib.runs[0].Out != cuda.Float32 {
		t.Errorf("an addition: %+v", lib.runs)
	}
}

// Without Force the library and our kernels are timed against each other once for a shape, on scratch.
func TestTheFasterProductIsTaken(t *testing.T) {
	lib := &library{t: t}
	b := emulated(t, "sm_80", emu.Options{}, Options{Products: lib})
	lib.b = b
	w := linear(t, b, "bfloat16", 64, runtime.LinearSpec{})
	x := vector(b, 64, 1)
	b.LinearAdd(x, vector(b, 64, 1), w) // the library, which does next to nothing, is faster
	tried := len(lib.runs)
	if tried < 3 || len(b.products.faster) != 1 {
		t.Fatalf("%d runs, %v", tried, b.products.faster)
	}
	b.LinearAdd(x, vector(b, 64, 1), w)
	if n := len(lib.runs) - tried; n > 1 {
		t.Errorf("%d more runs for the same shape", n)
	}
}

// What a library refuses to run is computed by our kernels, then and later; it is no loss of the device.
func TestALibraryThatRefuses(t *testing.T) {
	for _, force := range []bool{true, false} {
		lib := &library{t: t, refuse: cuda.NewError("cublasLtMatmul", cuda.BlasStatus+13, "CUBLAS_STATUS_EXECUTION_FAILED", "")}
		b := emulated(t, "sm_80", emu.Options{}, Options{Products: lib, Force: force})
		lib.b = b
		w := linear(t, b, "bfloat16", 32, runtime.LinearSpec{})
		for range 3 {
			if v, err := first(t, b, b.Linear(vector(b, 32, 1), w)); v != 32 || err != nil {
				t.Errorf("force %v: %v, %v", force, v, err)
			}
		}
		if len(lib.runs) != 1 {
			t.Errorf("force %v: the library was asked %d times", force, len(lib.runs))
		}
	}
}

func TestPeak(t *testing.T) {
	b := emulated(t, "sm_80", emu.Options{}, Options{})
	p, err := b.Peak("bfloat16")
	if err != nil || p.Product <= 0 || p.Copy <= 0 || p.Arithmetic < 300e12 || p.Bandwidth < 1.5e12 {
		t.Errorf("%+v, %v", p, err)
	}
	if b.Ledger().Weights != 0 {
		t.Errorf("%d bytes of weights are left", b.Ledger().Weights)
	}
}
