package cpu

import (
	"strings"
	"testing"

	"remote-client-server/runtime"
)

func TestLevelsByNameAndByEnvironment(t *testing.T) {
	for _, name := range Levels() {
		t.Setenv(LevelVariable, name)
		b, err := New(Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if b.level.name != name {
			t.Errorf("%s=%s gives %s", LevelVariable, name, b.level.name)
		}
		b.Close()
	}
	t.Setenv(LevelVariable, "mmx")
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "mmx") || !strings.Contains(err.Error(), "generic") {
		t.Errorf("an unknown level: %v", err)
	}
	if b, err := New(Options{Level: "generic", Threads: 1}); err != nil {
		t.Errorf("an option beside the environment: %v", err)
	} else {
		b.Close()
	}
}

func TestPrecisionNamesWhatThereIs(t *testing.T) {
	b, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for dtype, want := range map[string]runtime.Format{
		"auto": runtime.Stored, "float32": runtime.Stored, "float16": runtime.Float16, "bfloat16": runtime.BFloat16,
		"q8": runtime.Q8, "q4": runtime.Q4,
	} {
		p, err := b.Precision(dtype, runtime.BF16)
		if err != nil || p.Weights != want || p.Compute != runtime.F32 || p.Stream != runtime.F32 {
			t.Errorf("%s: %+v, %v", dtype, p, err)
		}
	}
	if _, err := b.Precision("int3", runtime.F32); err == nil || !strings.Contains(err.Error(), "int3") {
		t.Errorf("an unknown dtype: %v", err)
	}
}

func TestWeightsAreKeptInTheirType(t *testing.T) {
	b, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f32, f16, bf16 := runtime.F32, runtime.F16, runtime.BF16
	for _, c := range []struct {
		name   string
		dtype  string
		stored []runtime.DType
		scale  bool
		want   kind
	}{
		{"float32", "auto", []runtime.DType{f32}, false, f32Weights},
		{"float16", "auto", []runtime.DType{f16}, false, f16Weights},
		{"bfloat16", "float32", []runtime.DType{bf16, bf16}, false, bf16Weights},
		{"two types widen to float32", "auto", []runtime.DType{bf16, f16}, false, f32Weights},
		{"factors need float32", "auto", []runtime.DType{bf16}, true, f32Weights},
		{"float32 rounded to float16", "float16", []runtime.DType{f32}, false, f16Weights},
		{"bfloat16 is not squeezed into float16", "float16", []runtime.DType{bf16}, false, bf16Weights},
		{"8 bits", "q8", []runtime.DType{f32}, false, q8Weights},
	} {
		var w []runtime.Source
		var scale []float32
		for _, d := range c.stored {
			s, _ := source(t, "w", 4, 4, make([]float32, 16), d)
			w = append(w, s)
			if c.scale {
				scale = append(scale, 1, 1, 1, 1)
			}
		}
		l := b.Load("test", precision(t, b, c.dtype))
		lin, err := l.Linear(runtime.LinearSpec{W: w, Scale: scale})
		if err != nil {
			t.Fatal(err)
		}
		if got := lin.Packed.(*weights).kind; got != c.want {
			t.Errorf("%s: kind %d, want %d", c.name, got, c.want)
		}
		l.Close()
	}
}

func TestLoaderErrorsNameTheTensor(t *testing.T) {
	b, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l := b.Load("test", precision(t, b, "auto"))
	defer l.Close()
	m := func(name string, rows, cols int) runtime.Source {
		return runtime.FloatSource(name, rows, make([]float32, rows*cols))
	}
	for want, f := range map[string]func() error{
		"no weights": func() error { _, err := l.Linear(runtime.LinearSpec{Name: "x"}); return err },
		"second has 5": func() error {
			_, err := l.Linear(runtime.LinearSpec{W: []runtime.Source{m("first", 2, 4), m("second", 2, 5)}})
			return err
		},
		"bias b.bias": func() error {
			_, err := l.Linear(runtime.LinearSpec{W: []runtime.Source{m("w", 2, 4)}, B: []runtime.Source{m("b.bias", 1, 3)}})
			return err
		},
		"3 rows are no": func() error {
			_, err := l.Linear(runtime.LinearSpec{W: []runtime.Source{m("w", 3, 4)}, Gate: true})
			return err
		},
		"1 factors for 2": func() error {
			_, err := l.Linear(runtime.LinearSpec{W: []runtime.Source{m("w", 2, 4)}, Scale: []float32{1}})
			return err
		},
		"ln.weight [1,3]": func() error { _, err := l.Norm(runtime.NormSpec{Width: 4, W: m("ln.weight", 1, 3)}); return err },
		"pos has 3": func() error {
			_, err := l.Table(runtime.TableSpec{Word: m("word", 5, 4), Position: m("pos", 5, 3)})
			return err
		},
		"3 values":   func() error { _, err := l.Const(2, 2, make([]float32, 3), runtime.F32); return err },
		"no integer": func() error { _, err := l.Const(1, 1, []float32{0.5}, runtime.I32); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestPeakIsPositive(t *testing.T) {
	for _, name := range Levels() {
		b, err := New(Options{Threads: 1, Level: name})
		if err != nil {
			t.Fatal(err)
		}
		p := b.Peak()
		if p.FMA <= 0 || p.Read <= 0 || (p.BF16 > 0) != (b.level.dot != nil) || (p.INT8 > 0) != (b.level.q8 != nil) {
			t.Errorf("%s: %+v", name, p)
		}
		b.Close()
	}
}
