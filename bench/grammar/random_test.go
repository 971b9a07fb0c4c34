package grammar

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"remote-client-server/tokenize/grammar"
)

// randomSchema is a schema of keywords that are supported; refs may name the definitions a and b.
func randomSchema(r *rand.Rand, depth int) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	maybe := func(n int) bool { return r.IntN(n) == 0 }
	if maybe(3) {
		add(`"description": "d%d"`, r.IntN(9))
	}
	kind := r.IntN(11)
	if depth <= 0 {
		kind = r.IntN(6)
	}
	switch kind {
	case 0:
		add(`"type": "integer"`)
		lo := r.IntN(2000) - 1000
		if maybe(2) {
			add(`"%s": %d`, []string{"minimum", "exclusiveMinimum"}[r.IntN(2)], lo)
		}
		if maybe(2) {
			add(`"%s": %d`, []string{"maximum", "exclusiveMaximum"}[r.IntN(2)], lo+2+r.IntN(5000))
		}
		if maybe(4) {
			add(`"multipleOf": %d`, 1+r.IntN(2))
		}
	case 1:
		add(`"type": "number"`)
		lo := float64(r.IntN(4000)-2000) / 8
		if maybe(2) {
			add(`"%s": %v`, []string{"minimum", "exclusiveMinimum"}[r.IntN(2)], lo)
		}
		if maybe(2) {
			add(`"%s": %v`, []string{"maximum", "exclusiveMaximum"}[r.IntN(2)], lo+0.25+float64(r.IntN(100))/16)
		}
	case 2:
		add(`"type": "string"`)
		lo := r.IntN(4)
		if maybe(2) {
			add(`"minLength": %d`, lo)
		}
		if maybe(2) {
			add(`"maxLength": %d`, lo+2+r.IntN(5))
		}
		switch r.IntN(6) {
		case 0:
			add(`"pattern": "%s"`, []string{"^[a-z ]*$", "a", "^.{1,4}$", `^\\w+`, `\\d$|x`}[r.IntN(5)])
		case 1:
			if len(parts) < 2 {
				add(`"format": "%s"`, []string{"date", "time", "date-time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname", "duration"}[r.IntN(10)])
			}
		}
	case 3:
		add(`"enum": [%s]`, []string{`"a", "b", "abc"`, `1, "1", null`, `true, {"x": [1]}, "t"`, `0.5, 5, 50`}[r.IntN(4)])
	case 4:
		add(`"type": [%s]`, []string{`"string", "null"`, `"integer", "boolean"`, `"number", "array"`, `"object", "null"`}[r.IntN(4)])
	case 5:
		if maybe(2) {
			return []string{"true", "{}"}[r.IntN(2)]
		}
		return fmt.Sprintf(`{"$ref": "#/$defs/%c"}`, "ab"[r.IntN(2)])
	case 6:
		add(`"type": "array"`)
		if maybe(2) {
			add(`"items": %s`, randomSchema(r, depth-1))
		}
		if maybe(3) {
			add(`"prefixItems": [%s, %s]`, randomSchema(r, depth-1), randomSchema(r, depth-1))
		}
		if maybe(3) {
			add(`"minItems": %d`, r.IntN(3))
		}
		if maybe(3) {
			add(`"maxItems": %d`, 2+r.IntN(3))
		}
	case 7, 8:
		add(`"type": "object"`)
		var members, required []string
		for _, name := range []string{"a", "b", "ab", "é", "x\\\""} {
			if maybe(2) {
				members = append(members, fmt.Sprintf(`"%s": %s`, name, randomSchema(r, depth-1)))
			}
			if maybe(4) {
				required = append(required, fmt.Sprintf(`"%s"`, name))
			}
		}
		if len(members) > 0 {
			add(`"properties": {%s}`, strings.Join(members, ", "))
		}
		if len(required) > 0 {
			add(`"required": [%s]`, strings.Join(required, ", "))
		}
		switch r.IntN(5) {
		case 0:
			add(`"additionalProperties": false`)
		case 1:
			add(`"additionalProperties": %s`, randomSchema(r, depth-1))
		}
		if maybe(5) {
			add(`"minProperties": %d`, r.IntN(4))
		}
		if maybe(5) {
			add(`"maxProperties": %d`, 2+r.IntN(4))
		}
	case 9:
		add(`"anyOf": [%s, %s]`, randomSchema(r, depth-1), randomSchema(r, depth-1))
	case 10:
		add(`"allOf": [%s, %s]`, randomSchema(r, depth-1), randomSchema(r, depth-1))
		if maybe(2) {
			add(`"type": "object"`)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func TestRandomSchemasAreSatisfied(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 7))
	m := tiny(t, r)
	satisfied := 0
	for range 1500 {
		schema := fmt.Sprintf(`{"$ref": "#/$defs/s", "$defs": {"s": %s, "a": %s, "b": %s}}`, randomSchema(r, 3), randomSchema(r, 2), randomSchema(r, 1))
		g, err := grammar.CompileSchema([]byte(schema), grammar.Options{Depth: 6})
		if err != nil {
			known := false
			for _, reason := range []string{"nothing satisfies", "refers to itself", "beside keywords that constrain it", "together", "levels of nesting", "minProperties"} {
				known = known || strings.Contains(err.Error(), reason)
			}
			if !known {
				t.Errorf("%s: %v", schema, err)
			}
			continue
		}
		satisfied++
		s := compileJudge(t, schema)
		c := m.constraint(t, g)
		for range 4 {
			left := c.Least() + r.IntN(50)
			text, complete := m.write(t, c, left, r)
			if err := judge(s, text); err != nil || !complete || !json.Valid(text) {
				t.Errorf("%s: %q with at most %d tokens: complete %v: %v", schema, text, left, complete, err)
				break
			}
			if !m.takes(t, c, string(text), r) {
				t.Errorf("%s: %q was written and is not taken", schema, text)
			}
		}
	}
	if satisfied < 1000 {
		t.Errorf("only %d schemas could be satisfied", satisfied)
	}
}
