package http

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", `a"b\c`, "\x00\x01\n\r\t\x7f", "é漢😀", "\u2028", strings.Repeat("x", 1000)} {
		var got string
		if b := appendString(nil, s); json.Unmarshal(b, &got) != nil || got != s {
			t.Errorf("%q became %s", s, b)
		}
	}
	if b := appendString(nil, "a\xffb"); string(b) != "\"a\uFFFDb\"" {
		t.Errorf("invalid UTF-8 became %q", b)
	}
}

// floats are values with every kind of decimal form.
func floats() []float32 {
	v := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.1, 1. / 3, 1e-5, 1e-6, 1e20, 1e21, 16777216, 123456.79,
		math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if x := math.Float32frombits(r.Uint32()); !infinite(x) {
			v = append(v, x, float32(r.NormFloat64()*0.05))
		}
	}
	return v
}

func TestAppendFloatsReadBackTheSame(t *testing.T) {
	for n := range 4 {
		b, ok := appendFloats(nil, floats()[:n])
		var got []float32
		if err := json.Unmarshal(b, &got); err != nil || !ok || len(got) != n {
			t.Errorf("%d values became %s", n, b)
		}
	}
	want := floats()
	b, ok := appendFloats(nil, want)
	var got []float32
	if err := json.Unmarshal(b, &got); err != nil || !ok {
		t.Fatal(err)
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Errorf("%x became %x", math.Float32bits(want[i]), math.Float32bits(got[i]))
		}
	}
}

func TestAppendBase64(t *testing.T) {
	all := floats()
	for _, n := range []int{0, 1, 2, 3, 4, 191, 192, 193, 384, 768, 1000} {
		var raw bytes.Buffer
		binary.Write(&raw, binary.LittleEndian, all[:n])
		want := `"` + base64.StdEncoding.EncodeToString(raw.Bytes()) + `"`
		if b, ok := appendBase64(nil, all[:n]); !ok || string(b) != want {
			t.Errorf("%d values: %.80s, want %.80s", n, b, want)
		}
	}
}

func TestInfinitiesAreRefused(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		v := []float32{1, float32(x)}
		if _, ok := appendFloats(nil, v); ok {
			t.Errorf("floats took %v", x)
		}
		if _, ok := appendBase64(nil, v); ok {
			t.Errorf("base64 took %v", x)
		}
	}
}

func TestIntegers(t *testing.T) {
	const lo, hi = math.MinInt64, math.MaxInt64
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "-7": -7, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
		"1e3": 1000, "-2.0": -2, "0.0": 0, "9007199254740992.0": 1 << 53, "9007199254740993.0": 1<<53 + 1,
		"922337203685477580700e-2": math.MaxInt64, "-9.223372036854775808e+18": math.MinInt64, "0.00012E5": 12, "120e-1": 12, "0e999": 0, "-0.0e-99999999999999999999": 0,
	} {
		r := &jsonReader{text: []byte(text)}
		if v, err := r.integer(lo, hi); err != nil || v != want || r.end() != nil {
			t.Errorf("%s: %d, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "-", "+1", ".5", "1.", "1e", "1e+", "1.5", "1e-1", "9223372036854775808", "1e30", "1e999", "-1e999", `"1"`, "true", "0x10",
		"1e-999", "1.0000000000000000000000001", "0.5", "9223372036854775807.5", "1e19", "9.223372036854775808e18", "12e-1", "1e99999999999999999999", "1e-99999999999999999999"} {
		r := &jsonReader{text: []byte(text)}
		if v, err := r.integer(lo, hi); err == nil && r.end() == nil {
			t.Errorf("%s was taken as %d", text, v)
		}
	}
}

// FuzzReader compares the reader with encoding/json on any text: they accept
// the same, except for what the reader refuses on purpose, and read the same
// string.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,true,false,null,"x\u00e9\ud83d\ude00\n"],"b":{}}`, `[]`, `"\ud800"`, `{"a":1,"a":2}`, "\"\xff\"",
		`[1,]`, `01`, `-`, `1e`, `"\u12"`, `nul`, ` `, `[[[[]]]]`, "\"a\nb\"", `1 2`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &jsonReader{text: text}
		err := r.discard()
		if err == nil {
			err = r.end()
		}
		valid := json.Valid(text)
		if err == nil && !valid {
			t.Fatalf("%q was accepted", text)
		}
		if err != nil && valid {
			msg := err.Error()
			onPurpose := false
			for _, why := range []string{"UTF-8", "surrogate", "nested deeper", "more than"} {
				onPurpose = onPurpose || strings.Contains(msg, why)
			}
			if !onPurpose {
				t.Fatalf("%q was refused: %v", text, err)
			}
		}
		var field *badField
		if err != nil && !errors.As(err, &field) {
			t.Fatalf("%q: an error of type %T", text, err)
		}
		r = &jsonReader{text: text}
		if s, err := r.string(); err == nil && r.end() == nil {
			var want string
			if json.Unmarshal(text, &want) != nil || s != want {
				t.Fatalf("%q was read as %q, want %q", text, s, want)
			}
		}
	})
}

// FuzzEmbedRequest checks that any body gives either a request within the
// limits or an error with a path.
func FuzzEmbedRequest(f *testing.F) {
	for _, s := range []string{
		one, `{"input":["a","b"]}`, `{"input":[1,2]}`, `{"input":[[1],[2,3]]}`, `{"input":"a","dimensions":"2","x":[{}]}`,
		`{"input":"a","encoding_format":"base64","normalize":false,"prompt":"p","prompt_name":"n","input_type":"query","user":"u","model":"m"}`,
		`{"input":[1e999,"`, `{"input":[[]]}`, `{"input":null}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	l := limits{inputs: 4}
	f.Fuzz(func(t *testing.T, body []byte, lenient bool) {
		l.lenient = lenient
		q, err := decodeEmbed(body, l)
		if err != nil {
			var field *badField
			if !errors.As(err, &field) {
				t.Fatalf("an error of type %T", err)
			}
			return
		}
		if (q.texts == nil) == (q.ids == nil) || len(q.texts)+len(q.ids) > 4 || len(q.texts)+len(q.ids) == 0 {
			t.Fatalf("%d texts, %d lists of ids", len(q.texts), len(q.ids))
		}
		for _, s := range q.texts {
			if !utf8.ValidString(s) {
				t.Fatalf("text %q", s)
			}
		}
		for _, ids := range q.ids {
			for _, id := range ids {
				if id < 0 || len(ids) == 0 {
					t.Fatalf("ids %v", ids)
				}
			}
		}
		if q.dimensions < 0 || len(q.warnings) > maxWarnings {
			t.Fatalf("%+v", q)
		}
	})
}

func BenchmarkAppendFloats(b *testing.B) { benchmarkVector(b, appendFloats) }
func BenchmarkAppendBase64(b *testing.B) { benchmarkVector(b, appendBase64) }

// benchmarkVector writes 32 normalised vectors of 768; MB/s is of the answer's
// bytes, Mfloat/s of its values.
func benchmarkVector(b *testing.B, appendTo func([]byte, []float32) ([]byte, bool)) {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 32*768)
	for i := range v {
		v[i] = float32(r.NormFloat64() / math.Sqrt(768))
	}
	buf, _ := appendTo(nil, v)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = appendTo(buf[:0], v)
	}
	b.ReportMetric(float64(len(v))*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mfloat/s")
}
