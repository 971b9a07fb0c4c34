package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// schemaTexts are schemas with texts that they take and texts that they refuse, split at "¦". The same and more are
// judged by a validator in bench/grammar.
var schemaTexts = []struct{ schema, taken, refused string }{
	{`{"type": ["string", "null"]}`, `"a"¦null¦""`, `1¦nul`},
	{`{"type": "string", "minLength": 2, "maxLength": 3}`, `"ab"¦"é😀"¦"\n\u0041"¦"\ud83d\ude00x"`, `"a"¦"abcd"¦"\ud83d\ude00"`},
	{`{"type": "string", "pattern": "^[a-c]+$"}`, `"abc"`, `""¦"d"¦"\u0061"`},
	{`{"type": "string", "pattern": "b.d"}`, `"b d"¦"xxbcdyy"`, `"bd"¦"b\nd"`},
	{`{"type": "string", "format": "date"}`, `"2024-02-29"`, `"2100-02-29"¦"2024-2-9"`},
	{`{"type": "integer", "minimum": -3, "maximum": 12}`, `-3¦0¦12`, `-4¦13¦-0¦1.0`},
	{`{"type": "number", "minimum": 0, "exclusiveMaximum": 1.5}`, `0¦1.49999¦0.0`, `1.5¦-1¦1.50¦1e0`},
	{`{"type": "integer", "multipleOf": 5}`, `0¦15¦-25`, `3¦-7`},
	{`{"enum": ["a", "ab", 1, [1, {"x": null}]]}`, `"a"¦"ab"¦1¦[1,{"x": null}]`, `"b"¦11¦[1]`},
	{`{"const": "\"\\\n\u0001"}`, `"\"\\\n\u0001"`, `"x"`},
	{`{"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}`, `[1]¦[1, 2]¦[ 1,2 ]`, `[]¦[1,2,3]¦[1,]¦["1"]`},
	{`{"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": {"type": "boolean"}}`, `[]¦["a"]¦["a", null, true, false]`, `[null]¦["a", true]`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["b"], "additionalProperties": false}`, `{"a": 1, "b": []}¦{"b": 2}`, `{"a": 1}¦{"b": 2, "a": 1}¦{"b": 2, "c": 3}`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}}}`, `{}¦{"a": 1, "aa": 2, "": 3}¦{"b": 1}`, `{"a": "x"}¦{"b": 1, "a": 1}¦{"\u0061": "x"}`},
	{`{"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2}`, `{"a": 1}¦{"a": 1, "b": 2}`, `{}¦{"a": 1, "b": 2, "c": 3}`},
	{`{"properties": {"a": {"type": "string", "nullable": true}}, "required": ["a"], "additionalProperties": false}`, `{"a": null}¦{"a": "x"}`, `{"a": 1}¦[]`},
	{`{"anyOf": [{"type": "object", "properties": {"k": {"const": 1}, "x": {"type": "string"}}, "required": ["k", "x"], "additionalProperties": false}, {"type": "object", "properties": {"k": {"const": 2}}, "required": ["k"], "additionalProperties": false}]}`, `{"k": 1, "x": ""}¦{"k": 2}`, `{"k": 1}¦{"k": 2, "x": ""}`},
	{`{"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"x": {"maximum": 5}}}], "$defs": {"a": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}}`, `{"x": 5}`, `{"x": 6}¦{"x": "a"}¦{}`},
	{`{"type": "array", "items": {"$ref": "#"}}`, `[]¦[[], [[]]]`, `[1]`},
	{`{"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "null"}}}`, `null`, `1`},
	{`{"x-hint": 1, "title": "t", "default": 5, "examples": [1], "type": "boolean", "unknown": {}}`, `true`, `5`},
}

func TestSchemasTakeWhatTheySay(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	v := tokensOf(t, jsonTokens...)
	for _, s := range schemaTexts {
		g, err := CompileSchema([]byte(s.schema), Options{})
		if err != nil {
			t.Errorf("%s: %v", s.schema, err)
			continue
		}
		c := constrained(t, g, v)
		for range 3 {
			for _, text := range strings.Split(s.taken, "¦") {
				if !accepts(c, text, r) {
					t.Errorf("%s: %s is not taken", s.schema, text)
				}
			}
			for _, text := range strings.Split(s.refused, "¦") {
				if accepts(c, text, r) {
					t.Errorf("%s: %s is taken", s.schema, text)
				}
			}
		}
		for range 10 {
			ids, m := randomText(t, c, c.Least()+r.IntN(30), r)
			if !m.Complete() || !json.Valid(bytesOf(v, ids)) {
				t.Errorf("%s: %q was written, complete %v", s.schema, bytesOf(v, ids), m.Complete())
			}
		}
	}
}
