package golden

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
)

// emulated opens the emulated GPU of a compute capability.
func emulated(t testing.TB, capability int) cuda.Context {
	t.Helper()
	target := fmt.Sprintf("sm_%d", capability)
	if capability == 90 {
		target = "sm_90a"
	}
	c, err := emu.Open(target, emu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && c.Err() == nil {
			t.Error(err)
		}
	})
	return c
}

// The emulator's result is what the PTX ISA says, on every GPU that it emulates.
func TestEmulatorByTheISA(t *testing.T) {
	vectors := Vectors()
	for _, capability := range []int{75, 80, 90} {
		for _, v := range vectors {
			if !v.RunsOn(capability) {
				continue
			}
			t.Run(fmt.Sprintf("sm_%d/%s", capability, v.Name), func(t *testing.T) {
				out, err := Run(emulated(t, capability), &v)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.Check(out); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// What GPUs answered is what the ISA says, and the emulator's result is the same or, where the ISA leaves room, as near.
func TestEmulatorByRecordings(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "sm_*.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("no GPU's answers were recorded; on a machine with one, go test -tags gpu ./cuda/emu/golden -record does it")
	}
	vectors := Vectors()
	for _, path := range paths {
		r, err := Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Run(fmt.Sprintf("sm_%d", r.Capability), func(t *testing.T) {
			t.Logf("%s, driver %s", r.GPU, r.Driver)
			compareAll(t, r, vectors, false)
		})
	}
}

// compareAll compares a GPU's answers with the ISA and the emulator. A vector that the GPU has no answer to is an error,
// unless some may be missing.
func compareAll(t *testing.T, r *Recording, vectors []Vector, some bool) {
	for _, v := range vectors {
		if !v.RunsOn(r.Capability) {
			continue
		}
		a := r.Answer(&v)
		if a == nil {
			if !some {
				t.Errorf("%s was not recorded, or with other operands: record anew", v.Name)
			}
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			if err := v.Check(a.Output); err != nil {
				t.Errorf("the GPU and the ISA: %v", err)
			}
			out, err := Run(emulated(t, r.Capability), &v)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Check(out); err != nil {
				t.Errorf("the emulator and the ISA: %v", err)
			}
			if len(out) != len(a.Output) {
				return // Check has said so
			}
			same := v.Equal(out, a.Output)
			t.Logf("%d of %d equal; %s; %s", same, len(v.Want), v.Bound, v.worst(a.Output))
			for i, w := range v.Want { // elements without room are the same on both
				if w.Error == 0 && !math.IsNaN(w.Want) && v.Format.bits(out, i) != v.Format.bits(a.Output, i) {
					t.Errorf("element %d is %#x, on the GPU %#x", i, v.Format.bits(out, i), v.Format.bits(a.Output, i))
					break
				}
			}
		})
	}
}

// worst says how much of the allowed error an output uses.
func (v *Vector) worst(out []byte) string {
	share := 0.0
	for i, w := range v.Want {
		if w.Error > 0 && !math.IsNaN(w.Want) && !math.IsInf(w.Want, 0) {
			share = max(share, math.Abs(v.Format.value(out, i)-w.Want)/w.Error)
		}
	}
	return fmt.Sprintf("the GPU's largest error is %.3g of the allowed one", share)
}

// Every vector wants results that others would not pass as: neither its own in another order nor what the output was
// before the launch.
func TestVectorsAreSharp(t *testing.T) {
	for _, v := range Vectors() {
		t.Run(v.Name, func(t *testing.T) {
			size := v.Format.size()
			out := make([]byte, 0, len(v.Want)*size)
			for _, w := range v.Want {
				out = append(out, v.Format.encode(w.Want)...)
			}
			if err := v.Check(out); err != nil {
				t.Fatal(err)
			}
			if v.Check(append(out[32*size:len(out):len(out)], out[:32*size]...)) == nil {
				t.Error("the results of other threads pass")
			}
			if v.Check(bytes.Repeat([]byte{0xa5}, len(out))) == nil {
				t.Error("an output that was not written passes")
			}
		})
	}
}

// encode are the bytes of v, rounded to the format.
func (f Format) encode(v float64) []byte {
	switch f {
	case F32:
		return words([]uint32{math.Float32bits(float32(v))})
	case F64:
		b := math.Float64bits(v)
		return words([]uint32{uint32(b), uint32(b >> 32)})
	case Word:
		return words([]uint32{uint32(v)})
	}
	return words([]uint32{uint32(f.encode16(v))})[:2]
}

// The judge notices one wrong bit, a zero of the wrong sign, and an error just over the bound.
func TestCheckNotices(t *testing.T) {
	le := func(f float32) []byte { return words([]uint32{math.Float32bits(f)}) }
	for _, c := range []struct {
		name string
		want Value
		good float32
		bad  []float32
	}{
		{"a rounded number", Value{Want: 1}, 1, []float32{1.0000001, -1, float32(math.NaN())}},
		{"a zero", Value{Want: 0}, 0, []float32{float32(math.Copysign(0, -1)), 1e-45}},
		{"an infinity", Value{Want: math.Inf(1), Error: math.Inf(1)}, float32(math.Inf(1)), []float32{math.MaxFloat32, float32(math.Inf(-1))}},
		{"a NaN", Value{Want: math.NaN()}, float32(math.NaN()), []float32{0, float32(math.Inf(1))}},
		{"an approximation", Value{Want: 1, Error: 0x1p-20}, 1 + 0x1p-20, []float32{1 + 0x1.8p-20, 1 - 0x1.8p-20, float32(math.NaN())}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Vector{Format: F32, Want: []Value{c.want}}
			if err := v.Check(le(c.good)); err != nil {
				t.Error(err)
			}
			for _, x := range c.bad {
				if v.Check(le(x)) == nil {
					t.Errorf("%v passes", x)
				}
			}
		})
	}
	v := Vector{Format: F32, Want: []Value{{Want: 1}}}
	if v.Check(nil) == nil {
		t.Error("an output that is too short passes")
	}
}

// Rounding to 16 bits is right in the cases that IEEE 754's definition is usually got wrong in.
func TestRounding(t *testing.T) {
	for _, c := range []struct {
		format   Format
		in, want float64
	}{
		{F16, 1 + 0x1p-11, 1},                   // a tie goes to the even one
		{F16, 1 + 0x3p-11, 1 + 0x1p-9},          // likewise, upwards
		{F16, 65519.99, 65504},                  // just below the tie with what would be 65536
		{F16, 65520, math.Inf(1)},               // the tie
		{F16, 0x1p-25, 0},                       // half of the smallest subnormal
		{F16, 0x1.000002p-25, 0x1p-24},          // a little more
		{F16, 0x1.ffep-15, 0x1p-14},             // from subnormal to normal
		{BF16, 1 + 0x1p-8, 1},                   // a tie
		{BF16, 0x1.ffp127, math.Inf(1)},         // the tie with 2^128
		{BF16, 0x1.fefp127, 0x1.fep127},         // just below it
		{BF16, 0x1.8p-133, 0x1p-132},            // a tie of subnormals
		{BF16, math.Inf(-1), math.Inf(-1)},      // stays
		{F16, -0x1p-26, math.Copysign(0, -1)},   // keeps its sign
		{BF16, -0x1p-140, math.Copysign(0, -1)}, // likewise
	} {
		if got := c.format.round(c.in); got != c.want || math.Signbit(got) != math.Signbit(c.want) {
			t.Errorf("%s of %x is %x, want %x", typeName(c.format), c.in, got, c.want)
		}
	}
	for _, f := range []Format{F16, BF16} {
		for x := range uint16(math.MaxUint16) {
			v := f.decode(uint64(x))
			if math.IsNaN(v) {
				continue
			}
			if got := f.encode16(v); got != x {
				t.Fatalf("%s %#04x is encoded as %#04x", typeName(f), x, got)
			}
			if got := f.round(v); got != v {
				t.Fatalf("%s %#04x is rounded to %v, not %v", typeName(f), x, got, v)
			}
		}
	}
}

// Names are unlike, operands are the same in every process, and a recording comes back as it was written.
func TestRecordings(t *testing.T) {
	vectors, again := Vectors(), Vectors()
	r := &Recording{GPU: "a GPU", Driver: "1.2", Capability: 90}
	names := map[string]bool{}
	for i := range vectors {
		v := &vectors[i]
		if names[v.Name] {
			t.Errorf("two vectors are called %s", v.Name)
		}
		names[v.Name] = true
		if v.Digest() != again[i].Digest() {
			t.Errorf("%s has other operands each time", v.Name)
		}
		r.Answers = append(r.Answers, Answer{v.Name, v.Digest(), []byte{byte(i), 2, 3}})
	}
	path := filepath.Join(t.TempDir(), "folder", "sm_90.json.gz")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, back) {
		t.Error("the recording has changed")
	}
	v := vectors[1]
	if a := back.Answer(&v); a == nil || !bytes.Equal(a.Output, []byte{1, 2, 3}) {
		t.Errorf("answer %v", a)
	}
	v.Input = append([]byte{1}, v.Input...)
	if back.Answer(&v) != nil {
		t.Error("an answer to other operands is taken")
	}
}

func FuzzDecode(f *testing.F) {
	r := &Recording{GPU: "a GPU", Driver: "1.2", Capability: 80, Answers: []Answer{{"shfl", "00", []byte{1, 2}}}}
	var good bytes.Buffer
	if err := r.encode(&good); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:20])
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		v := Vector{Format: F32, Want: []Value{{Want: 1}}}
		for _, a := range r.Answers {
			_ = v.Check(a.Output)
		}
	})
}

// A kernel's fault is an error that names the vector, and memory is given back after any other error.
func TestRunFails(t *testing.T) {
	c := emulated(t, 75)
	v := Vectors()[0]
	v.PTX = strings.Replace(v.PTX, "golden", "other", 1)
	if _, err := Run(c, &v); err == nil || !strings.Contains(err.Error(), v.Name) {
		t.Errorf("a module without the kernel: %v", err)
	}
	if n := c.Ledger().DeviceBytes.Load(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	v = Vectors()[0]
	v.Input = v.Input[:len(v.Input)-4]
	if _, err := Run(c, &v); err == nil || !strings.Contains(err.Error(), v.Name) {
		t.Errorf("a load behind the operands: %v", err)
	}
}
