package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestARandomModelWritesJSON(t *testing.T) {
	v := tokensOf(t, jsonTokens...)
	c := constrained(t, must(t)(CompileJSON(Options{Depth: 5})), v)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		left := 3 + r.IntN(60)
		ids, m := randomText(t, c, left, r)
		text := bytesOf(v, ids)
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil || !utf8.Valid(text) || !m.Complete() {
			t.Fatalf("text %d of at most %d tokens: %q: %v", i, left, text, err)
		}
		if depth := nesting(object); depth > 5 {
			t.Errorf("%q nests %d deep", text, depth)
		}
	}
}

func nesting(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			n = max(n, nesting(x))
		}
		return n + 1
	case []any:
		for _, x := range v {
			n = max(n, nesting(x))
		}
		return n + 1
	}
	return 0
}

func TestJSONTextsAreTaken(t *testing.T) {
	v := tokensOf(t, jsonTokens...)
	c := constrained(t, must(t)(CompileJSON(Options{})), v)
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range []string{
		`{}`, `{ }`, `{"a": 1}`, `{"a":1,"b":[1, 2.5e+3, -0.1, "x"],"c":{"d":null}}`, "{\n  \"a\": [\n    true,\n    false\n  ]\n}",
		`{"\u00e9\ud83d\ude00\n\"": "é名前😀"}`, ` {"a": ""}`, "\n{\"a\": 0}",
	} {
		if !accepts(c, s, r) {
			t.Errorf("%q is not taken", s)
		}
	}
	for _, s := range []string{
		``, `[]`, `{"a": 01}`, `{"a": 1.}`, `{"a": .5}`, `{"a": +1}`, `{"a" 1}`, `{"a": 1,}`, `{a: 1}`, `{"a": '1'}`, "{\"a\": \"\x01\"}", "{\"a\": \"\xff\"}",
		"{\"a\": \"\xed\xa0\x80\"}", `{"a": "\ud83d"}`, `{"a": "\ude00"}`, `{"a": "\x"}`, `{"a": 1} `, `{"a": 1}}`, `{"a": nul}`, "{\"a\": \"\xc0\x80\"}",
		`{"a": ` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, `{"a": 1e100}`,
	} {
		if accepts(c, s, r) {
			t.Errorf("%q is taken", s)
		}
	}
}
