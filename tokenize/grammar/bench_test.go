package grammar

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// largeVocabulary has 128,000 tokens with the lengths of a byte-level BPE's: words, words behind a blank, digits,
// punctuation and white space.
func largeVocabulary(t testing.TB) *Vocabulary {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	seen := map[string]bool{}
	var texts []string
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			texts = append(texts, s)
		}
	}
	for _, s := range jsonTokens {
		add(s)
	}
	for n := 2; n <= 80; n++ {
		add(strings.Repeat(" ", n))
	}
	for i := range 1000 {
		add(fmt.Sprintf("%03d", i))
	}
	const letters, marks = "etaoinshrdlucmfwypvbgkjqxz", `"'{}[](),.:;/\-_=+*<>!?#$%&@`
	for len(texts) < 128000-258 {
		var b strings.Builder
		switch r.IntN(20) {
		case 0:
			for range 1 + r.IntN(4) {
				b.WriteByte(marks[r.IntN(len(marks))])
			}
		case 1:
			b.WriteString(string(rune(0xC0+r.IntN(0x3000))) + string(rune(0xC0+r.IntN(0x3000))))
		default:
			if r.IntN(2) == 0 {
				b.WriteByte(' ')
			}
			for range 2 + r.IntN(9) {
				b.WriteByte(letters[min(r.IntN(26), r.IntN(26))])
			}
		}
		add(b.String())
	}
	return tokensOf(t, texts...)
}

func at(t testing.TB, c *Constraint, text string) *Matcher {
	t.Helper()
	m := c.Matcher()
	for _, b := range []byte(text) {
		if err := m.Accept(int32(b)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const benchSchema = `{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
	"mail": {"type": "string", "format": "email"}, "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}}, "short": {"type": "string", "maxLength": 50}},
	"required": ["name", "age", "mail", "tags", "short"], "additionalProperties": false}`

func BenchmarkMask(b *testing.B) {
	v := largeVocabulary(b)
	json := must(b)(CompileJSON(Options{}))
	schema := must(b)(CompileSchema([]byte(benchSchema), Options{}))
	for _, c := range []struct {
		name string
		g    *Grammar
		text string
	}{
		{"string", json, `{"a": "x`},
		{"value", json, `{"a": `},
		{"number", json, `{"a": [12`},
		{"key", schema, `{`},
		{"mail", schema, `{"name": "x", "age": 12, "mail": "ab`},
		{"short", schema, `{"name": "x", "age": 12, "mail": "ab@c", "tags": [], "short": "x`},
	} {
		k := constrained(b, c.g, v)
		mask := make([]uint32, k.MaskSize())
		run := func(name string, left int, prepare func(m *Matcher)) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				m := at(b, k, c.text)
				m.Mask(mask, left)
				for b.Loop() {
					prepare(m)
					m.Mask(mask, left)
				}
				b.ReportMetric(float64(v.Size())*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gtoken/s")
			})
		}
		run("cached", 0, func(*Matcher) {})
		run("new stack", 0, func(m *Matcher) { m.now.mask = nil })
		run("new state", 0, func(m *Matcher) {
			m.now.mask = nil
			for _, f := range m.now.frames {
				f.top.mask = nil
			}
		})
		run("first", 0, func(m *Matcher) { k.forget() })
	}
}

func BenchmarkVocabulary(b *testing.B) {
	v := largeVocabulary(b)
	for b.Loop() {
		if _, err := NewVocabulary(v.size, func(id int32) ([]byte, bool, bool) { return v.bytes(id), id == endToken, true }, v.end); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	var big strings.Builder
	big.WriteString(`{"type": "object", "properties": {`)
	for i := range 1000 {
		if i > 0 {
			big.WriteString(", ")
		}
		fmt.Fprintf(&big, `"p%d": {"anyOf": [{"type": "string", "maxLength": 20}, {"type": "array", "items": {"type": "integer", "minimum": %d}}, {"enum": ["a", "b", %d]}]}`, i, i, i)
	}
	big.WriteString(`}}`)
	words := make([]string, 100000)
	for i := range words {
		words[i] = fmt.Sprintf("word-%d", i*7919%1000003)
	}
	for _, c := range []struct {
		name string
		e    Expr
	}{{"schema", Schema([]byte(benchSchema))}, {"1000 properties", Schema([]byte(big.String()))}, {"100000 choices", Choice(words)}, {"pattern", Regex(`(?:[A-Za-z0-9_]+\.)*\p{L}{1,40}@[a-z]{2,63}`)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Compile(c.e, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
