package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"remote-client-server/runtime"
)

// values widens any stored type to float64.
func values(t testing.TB, x Tensor) []float64 {
	n := len(x.Data) / width(x.DType)
	v := make([]float64, n)
	for i := range v {
		b := x.Data[i*width(x.DType):]
		switch x.DType {
		case "F32":
			v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case "F64":
			v[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case "F16":
			v[i] = float64(runtime.F16ToF32(binary.LittleEndian.Uint16(b)))
		case "BF16":
			v[i] = float64(runtime.BF16ToF32(binary.LittleEndian.Uint16(b)))
		case "I64":
			v[i] = float64(int64(binary.LittleEndian.Uint64(b)))
		case "BOOL":
			v[i] = float64(b[0])
		default:
			t.Fatalf("%s has type %s", x.Name, x.DType)
		}
	}
	return v
}

// The files are written, and read back for the expectation, by torch and safetensors: testdata/make.py.
func TestFilesOfTheReferenceLibraries(t *testing.T) {
	raw, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]struct {
		Shape  []int
		Values []float64
	}
	if err := json.Unmarshal(raw, &files); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		t.Run(name, func(t *testing.T) {
			open := File
			if name == "sharded" {
				open = Open
			}
			c, err := open(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Names()) != len(want) {
				t.Errorf("%d tensors, want %d: %v", len(c.Names()), len(want), c.Names())
			}
			for k, w := range want {
				got, ok := c.Lookup(k)
				if !ok {
					t.Errorf("%s is missing", k)
					continue
				}
				if fmt.Sprint(got.Shape) != fmt.Sprint(w.Shape) || fmt.Sprint(values(t, got)) != fmt.Sprint(w.Values) {
					t.Errorf("%s: %v %v, want %v %v", k, got.Shape, values(t, got), w.Shape, w.Values)
				}
			}
			c.Drop()
			if m, ok := want["double"]; ok {
				s, err := c.Source("double", 2, 2)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.Floats(); got[3] != float32(m.Values[3]) {
					t.Errorf("float64 widens to %v", got)
				}
			}
		})
	}
}

func TestSourcesNameWhatIsWrong(t *testing.T) {
	c, err := File("testdata/flat.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range []struct {
		name       string
		rows, cols int
		want       string
	}{
		{"absent", -1, -1, "tensor absent is missing"},
		{"plain", 6, 4, "tensor plain has shape [4 6], want [6 4]"},
		{"plain", -1, 5, "want [any 5]"},
		{"ids", -1, -1, "tensor ids has type I64"},
	} {
		if _, err := c.Source(s.name, s.rows, s.cols); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("Source(%s, %d, %d): %v, want %q", s.name, s.rows, s.cols, err, s.want)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestAnIndexCannotLeaveItsFolder(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"../model.safetensors", "/etc/passwd", "a/b", "..", ""} {
		index := fmt.Sprintf(`{"weight_map":{"w":%q}}`, file)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(index), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no file of this folder") {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// safetensors makes a file with the given header text.
func safetensors(header string, body int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, body)...)
}

func TestLyingSafetensors(t *testing.T) {
	for name, s := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "empty"},
		"a pointer":         {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:0"), "git-lfs"},
		"a huge header":     {[]byte{255, 255, 255, 255, 255, 255, 255, 127}, "header of"},
		"a long header":     {[]byte{200, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, "header of 200"},
		"no JSON":           {safetensors(`{"a":`, 0), "header"},
		"an unknown type":   {safetensors(`{"a":{"dtype":"F12","shape":[1],"data_offsets":[0,4]}}`, 4), `tensor a: dtype "F12"`},
		"no shape":          {safetensors(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4), "tensor a: shape"},
		"three offsets":     {safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, 4), "tensor a"},
		"a negative size":   {safetensors(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4), "tensor a"},
		"a range past end":  {safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4), "bytes [0,8) of 4"},
		"a backward range":  {safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), "tensor a"},
		"shape and range":   {safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "shape [2] of F32 in 4 bytes"},
		"an overflow":       {safetensors(`{"a":{"dtype":"F32","shape":[2147483648,2147483648,4],"data_offsets":[0,0]}}`, 0), "tensor a"},
		"an absurd size":    {safetensors(`{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}}`, 4), "tensor a"},
		"zero hides a size": {safetensors(`{"a":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}`, 0), "tensor a"},
		"overlap":           {safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "overlap"},
		"a gap":             {safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "gap"},
		"bytes left over":   {safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8), "end at byte 4 of 8"},
		"a name twice":      {safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "tensor a is there twice"},
		"no object":         {safetensors(`[{"a":1}]`, 0), "not a JSON object"},
		"a deep header":     {safetensors(strings.Repeat("[", 200_000), 0), "header"},
	} {
		if _, err := Bytes(s.data); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("%s: %v, want %q", name, err, s.want)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	good, err := os.ReadFile("testdata/flat.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		if isTorch(data) {
			return
		}
		touch(t, data)
	})
}

// touch opens data and reads every byte of every tensor that it yields.
func touch(t *testing.T, data []byte) {
	c, err := Bytes(data)
	if err != nil {
		return
	}
	for _, n := range c.Names() {
		x, _ := c.Lookup(n)
		if s, err := x.Source(-1, -1); err == nil {
			s.Floats()
			s.Transpose().Floats()
		}
	}
}
