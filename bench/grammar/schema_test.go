package grammar

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"remote-client-server/tokenize/grammar"
)

// schemaCase is a schema, texts that it takes, and values that it refuses; text lines are split at "¦".
type schemaCase struct{ schema, valid, invalid string }

var schemaCases = []schemaCase{
	{`{}`, `1¦"a"¦null¦{"a": [1]}`, ``},
	{`true`, `1¦[]¦{}`, ``},
	{`{"type": "null"}`, `null`, `0¦""`},
	{`{"type": "boolean"}`, `true¦false`, `1¦"true"`},
	{`{"type": "integer"}`, `0¦-1¦123456789012345678`, `1.5¦"1"`},
	{`{"type": "number"}`, `0¦-1.5¦1e10¦2.5E-3¦-0`, `"1"¦null`},
	{`{"type": "string"}`, `""¦"a"¦"\u00e9\ud83d\ude00 é😀 \n\/"`, `1¦null`},
	{`{"type": ["string", "null", "integer"]}`, `"a"¦null¦3`, `1.5¦true¦[]`},
	{`{"type": "string", "minLength": 2, "maxLength": 4}`, `"ab"¦"abcd"¦"é😀"¦"\n\"\\\u0041"`, `"a"¦"abcde"¦""`},
	{`{"type": "string", "minLength": 3}`, `"abc"¦"abcdefgh"`, `"ab"¦"😀😀"`},
	{`{"type": "string", "maxLength": 300}`, `""¦"abc"`, `1`},
	{`{"type": "string", "maxLength": 0}`, `""`, `"a"`},
	{`{"type": "string", "pattern": "^[a-z]{2,5}$"}`, `"ab"¦"abcde"`, `"a"¦"abcdef"¦"ab1"`},
	{`{"type": "string", "pattern": "^\\d{3}-\\d{4}$"}`, `"123-4567"`, `"1234567"¦"123-45678"`},
	{`{"type": "string", "pattern": "a+b"}`, `"ab"¦"xxaab\nyy"`, `"a"¦"ba"`},
	{`{"type": "string", "pattern": "^(foo|bar)"}`, `"foo"¦"bar!"`, `"xfoo"`},
	{`{"type": "string", "pattern": "^a|b$"}`, `"axx"¦"xxb"¦"a"`, `"xa"¦"bx"`},
	{`{"type": "string", "pattern": "^\"\\\\$"}`, `"\"\\"`, `"x"`},
	{`{"type": "string", "pattern": "^[^a]*$", "minLength": 2, "maxLength": 3}`, `"bb"¦"\n\t"¦"éé😀"`, `"b"¦"ba"¦"bbbb"`},
	{`{"type": "string", "pattern": "^\\p{Lu}\\p{L}+$"}`, `"Éa"¦"Žluťoučký"`, `"a"¦"ab"`},
	{`{"type": "string", "format": "date"}`, `"2024-02-29"¦"1999-12-31"`, `"2023-02-29"¦"2024-13-01"¦"24-01-01"`},
	{`{"type": "string", "format": "date-time"}`, `"2024-01-31T23:59:59Z"¦"2024-01-31T00:00:00.123+02:00"`, `"2024-01-31"¦"2024-01-31T24:00:00Z"`},
	{`{"type": "string", "format": "time"}`, `"12:30:00Z"`, `"12:60:00Z"`},
	{`{"type": "string", "format": "email"}`, `"a.b+c@example.com"`, `"a@"¦"example.com"`},
	{`{"type": "string", "format": "uuid"}`, `"123e4567-e89b-12d3-a456-426614174000"`, `"123e4567"`},
	{`{"type": "string", "format": "ipv4"}`, `"127.0.0.1"¦"255.255.255.255"`, `"256.0.0.1"¦"1.2.3"`},
	{`{"type": "string", "format": "ipv6"}`, `"::1"¦"2001:db8::8a2e:370:7334"¦"1:2:3:4:5:6:7:8"`, `"1:2:3"¦":::"`},
	{`{"type": "string", "format": "uri"}`, `"https://example.com/a?b=c#d"¦"mailto:a@b.c"`, `"example"`},
	{`{"type": "string", "format": "hostname"}`, `"example.com"`, `"-a.b"¦"a b"`},
	{`{"type": "string", "format": "duration"}`, `"P1Y2M3D"¦"PT5M"¦"P2W"`, `"P"¦"1D"`},
	{`{"enum": ["red", "green", "re", 1, 1.5, null, true, {"a": [1, "x"]}, []]}`, `"red"¦"re"¦1¦1.5¦null¦true¦{"a": [1, "x"]}¦{"a":[1,"x"]}¦[]`, `"r"¦2¦false¦{}`},
	{`{"const": "é\"\n"}`, `"é\"\n"`, `"e"`},
	{`{"enum": [1, 2, "a", "bb"], "type": "string", "minLength": 2}`, `"bb"`, `"a"¦1`},
	{`{"type": "integer", "minimum": 3, "maximum": 127}`, `3¦9¦10¦99¦100¦127`, `2¦128¦-5¦1000`},
	{`{"type": "integer", "exclusiveMinimum": -15, "exclusiveMaximum": 4}`, `-14¦-9¦-1¦0¦3`, `-15¦4¦15`},
	{`{"type": "integer", "minimum": 1}`, `1¦42¦1000`, `0¦-1`},
	{`{"type": "integer", "maximum": -7}`, `-7¦-70`, `-6¦0¦7`},
	{`{"type": "integer", "minimum": 2.5, "maximum": 1e3}`, `3¦1000`, `2¦1001`},
	{`{"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 100}`, `0¦7¦98`, `1¦105¦99`},
	{`{"type": "number", "minimum": 0, "maximum": 1}`, `0¦1¦0.5¦1.0¦0.123456`, `1.1¦-0.1¦2`},
	{`{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2.5}`, `0.1¦1¦2.49`, `0¦0.0¦2.5¦2.50¦3`},
	{`{"type": "number", "minimum": -12.75, "maximum": -0.5}`, `-12.75¦-1¦-0.5¦-9.9`, `-12.76¦-0.4¦0¦1`},
	{`{"type": "number", "multipleOf": 0.01, "minimum": 0}`, `0.25¦19.9¦3`, `0.001¦-1`},
	{`{"type": "number", "exclusiveMaximum": 0}`, `-1¦-0.5`, `0¦-0¦1`},
	{`{"type": "array"}`, `[]¦[1, "a", [null]]`, `{}`},
	{`{"type": "array", "items": {"type": "integer"}}`, `[]¦[1]¦[1,2]¦[1, 2, 3]`, `["a"]¦[1.5]`},
	{`{"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}`, `[true, false]¦[true,true,true]`, `[]¦[true]¦[true,true,true,true]`},
	{`{"type": "array", "maxItems": 0}`, `[]`, `[1]`},
	{`{"type": "array", "minItems": 1}`, `[1]¦["a", 2]`, `[]`},
	{`{"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false}`, `["a", 1]¦["a"]¦[]`, `[1]¦["a", 1, 2]`},
	{`{"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "minItems": 2}`, `["a", 1]¦["a",1,2]`, `["a"]¦["a","b"]`},
	{`{"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "null"}}`, `["a"]¦["a", null]`, `[1]¦["a", 1]`},
	{`{"type": "object"}`, `{}¦{"a": 1}`, `[]`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a", "b"], "additionalProperties": false}`, `{"a": 1, "b": "x"}¦{"a":1,"b":""}¦` + "{\n  \"a\": 1,\n  \"b\": \"x\"\n}", `{}¦{"a": 1}¦{"a": 1, "b": "x", "c": 1}¦{"a": "1", "b": "x"}`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {}}, "additionalProperties": false}`, `{}¦{"a": 1}¦{"b": "x"}¦{"c": null}¦{"a": 1, "c": []}`, `{"d": 1}`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "string"}}, "required": ["a"]}`, `{"a": 1}¦{"a": 1, "ab": "x", "abc": 1}¦{"a":1,"":2,"é":3}`, `{"a": 1, "ab": 2}¦{"ab": "x"}`},
	{`{"type": "object", "additionalProperties": {"type": "integer"}}`, `{}¦{"x": 1, "y": 2}`, `{"x": "1"}`},
	{`{"type": "object", "properties": {"k": {"type": "boolean"}}, "additionalProperties": {"type": "integer"}}`, `{"k": true, "x": 1}¦{"x": 1}`, `{"k": 1}¦{"x": true}`},
	{`{"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1, "additionalProperties": false}`, `{"a": 1}¦{"b": 1}¦{"a": 1, "b": 2}`, `{}`},
	{`{"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 1, "maxProperties": 2}`, `{"a": 1}¦{"b": 1, "c": 2}¦{"x": 1, "y": 2}`, `{}¦{"a": 1, "b": 1, "c": 1}`},
	{`{"type": "object", "required": ["x"]}`, `{"x": 1}¦{"x": null, "y": 1}`, `{}¦{"y": 1}`},
	{`{"type": "object", "properties": {"a\"b\\\n": {"const": 1}}, "required": ["a\"b\\\n"]}`, `{"a\"b\\\n": 1}`, `{}`},
	{`{"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}]}`, `1¦"ab"`, `1.5¦"abc"`},
	{`{"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind", "n"], "additionalProperties": false}, {"type": "object", "properties": {"kind": {"const": "b"}, "s": {"type": "string"}}, "required": ["kind", "s"], "additionalProperties": false}]}`, `{"kind": "a", "n": 1}¦{"kind": "b", "s": "x"}`, `{"kind": "a", "s": "x"}¦{"kind": "c"}`},
	{`{"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}, "a": {"minimum": 3}}, "required": ["b"]}]}`, `{"a": 3, "b": "x"}`, `{"a": 2, "b": "x"}¦{"a": 3}`},
	{`{"allOf": [{"type": "string", "minLength": 2}, {"maxLength": 3}, {"pattern": "^a"}]}`, `"ab"¦"abc"`, `"a"¦"abcd"¦"ba"`},
	{`{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "additionalProperties": false, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"a": 1}¦{"b": 1}¦{"a": 1, "b": 2}`, `{}`},
	{`{"$ref": "#/$defs/p", "$defs": {"p": {"type": "object", "properties": {"x": {"type": "number"}, "next": {"anyOf": [{"$ref": "#/$defs/p"}, {"type": "null"}]}}, "required": ["x", "next"], "additionalProperties": false}}}`, `{"x": 1, "next": null}¦{"x": 1, "next": {"x": 2, "next": null}}`, `{"x": 1}¦{"x": 1, "next": {}}`},
	{`{"definitions": {"tree": {"type": "object", "properties": {"v": {"type": "integer"}, "c": {"type": "array", "items": {"$ref": "#/definitions/tree"}}}, "required": ["v"], "additionalProperties": false}}, "$ref": "#/definitions/tree"}`, `{"v": 1}¦{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3}]}`, `{"v": 1, "c": [1]}`},
	{`{"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#"}]}}`, `[]¦[1, [2, [3]], []]`, `1¦["a"]`},
	{`{"type": "object", "properties": {"a": {"$ref": "#/$defs/s", "minLength": 2}}, "required": ["a"], "$defs": {"s": {"type": "string", "maxLength": 3}}}`, `{"a": "xy"}`, `{"a": "x"}¦{"a": "wxyz"}`},
	{`{"title": "T", "description": "d", "type": "object", "properties": {"user": {"type": "object", "properties": {"name": {"type": "string", "description": "n", "default": "x"}, "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "maxItems": 3}, "age": {"type": ["integer", "null"], "minimum": 0, "maximum": 150}}, "required": ["name", "tags", "age"], "additionalProperties": false}}, "required": ["user"], "additionalProperties": false}`, `{"user": {"name": "a", "tags": ["x"], "age": null}}¦{"user":{"name":"","tags":[],"age":150}}`, `{"user": {"name": "a", "tags": ["z"], "age": 1}}¦{"user": {"name": "a", "tags": [], "age": 151}}`},
}

func compileJudge(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge validates a text.
func judge(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "¦")
}

func TestTextsOfARandomModelSatisfyTheSchema(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	all := models(t, r)
	for _, c := range schemaCases {
		g, err := grammar.CompileSchema([]byte(c.schema), grammar.Options{Depth: 6})
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		s := compileJudge(t, c.schema)
		for _, m := range all {
			bound := m.constraint(t, g)
			for range 8 {
				left := bound.Least() + r.IntN(60)
				text, complete := m.write(t, bound, left, r)
				if err := judge(s, text); err != nil || !complete || !json.Valid(text) || !utf8.Valid(text) {
					t.Errorf("%s: %s wrote %q with at most %d tokens: complete %v: %v", c.schema, m.name, text, left, complete, err)
					break
				}
			}
		}
	}
}

func TestInstancesAreTakenAndOthersRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	all := models(t, r)
	for _, c := range schemaCases {
		g, err := grammar.CompileSchema([]byte(c.schema), grammar.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		s := compileJudge(t, c.schema)
		m := all[r.IntN(len(all))]
		for _, m := range []*model{all[0], m} {
			bound := m.constraint(t, g)
			for _, text := range split(c.valid) {
				if err := judge(s, []byte(text)); err != nil {
					t.Errorf("%s: %s is not valid: %v", c.schema, text, err)
				}
				if !m.takes(t, bound, text, r) {
					t.Errorf("%s: %s: %s is not taken", c.schema, m.name, text)
				}
			}
			for _, text := range split(c.invalid) {
				if judge(s, []byte(text)) == nil {
					t.Errorf("%s: %s is valid", c.schema, text)
				}
				if m.takes(t, bound, text, r) {
					t.Errorf("%s: %s: %s is taken", c.schema, m.name, text)
				}
			}
		}
	}
}
