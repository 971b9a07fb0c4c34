package grammar

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// enumOf is a schema with n values.
func enumOf(n int) string {
	var b strings.Builder
	b.WriteString(`{"enum": [`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"v%d"`, i*7919%1000003)
	}
	return b.String() + "]}"
}

// nested is a schema of n levels.
func nested(n int) string {
	return strings.Repeat(`{"type": "array", "items": `, n) + "{}" + strings.Repeat("}", n)
}

// chain is n definitions, each of which refers twice to the next.
func chain(n int, keyword string) string {
	var b strings.Builder
	b.WriteString(`{"$ref": "#/$defs/d0", "$defs": {`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d": {"type": "object", "%s": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]}, `, i, keyword, i+1, i+1)
	}
	fmt.Fprintf(&b, `"d%d": {"type": "object", "properties": {"a": {}}}}}`, n)
	return b.String()
}

var hostileSchemas = []struct{ name, schema, want string }{
	{"not JSON", `{`, "not read as JSON"},
	{"two values", `{} {}`, "something follows"},
	{"a list", `[]`, "#: a schema is an object or a boolean"},
	{"a key twice", `{"type": "string", "type": "null"}`, `key "type" comes twice`},
	{"false", `false`, "nothing satisfies it"},
	{"a URL as reference", `{"properties": {"a": {"$ref": "https://example.com/s.json"}}}`, `#/properties/a/$ref: "https://example.com/s.json" leads out of the document`},
	{"a file as reference", `{"$ref": "file:///etc/passwd"}`, "leads out of the document"},
	{"an anchor as reference", `{"$ref": "#name"}`, "is no JSON pointer"},
	{"a reference to nothing", `{"$ref": "#/$defs/x"}`, `"#/$defs/x" is not there`},
	{"a reference to no schema", `{"$ref": "#/$defs", "$defs": 5}`, "a schema is an object or a boolean"},
	{"itself", `{"$ref": "#"}`, "nothing satisfies it"},
	{"itself or a string", `{"anyOf": [{"$ref": "#"}, {"type": "string"}]}`, "refers to itself without a value between"},
	{"itself in a circle", `{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}`, "nothing satisfies it"},
	{"itself in allOf", `{"allOf": [{"$ref": "#"}, {"type": "object"}]}`, "refers to itself"},
	{"itself, required without end", `{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}`, "nothing satisfies it"},
	{"empty enum", `{"enum": []}`, "#/enum: not a list of at least one value"},
	{"a list of wrong values", `{"properties": {"x": {"enum": [1, 2], "type": "string"}}}`, "#/properties/x: none of its values is allowed"},
	{"min above max", `{"type": "integer", "minimum": 5, "maximum": 4}`, "#: no number is within its limits"},
	{"no integer between", `{"type": "integer", "minimum": 1.2, "maximum": 1.8}`, "no number is within"},
	{"minLength above maxLength", `{"type": "string", "minLength": 5, "maxLength": 4}`, "minLength 5 is above maxLength 4"},
	{"minItems above maxItems", `{"type": "array", "minItems": 5, "maxItems": 4}`, "minItems 5 is above maxItems 4"},
	{"minItems above a closed list", `{"type": "array", "prefixItems": [{}], "items": false, "minItems": 2}`, "minItems 2 is above"},
	{"a required key that is closed out", `{"type": "object", "required": ["a"], "additionalProperties": false}`, `#/required: "a" is no property`},
	{"too many required keys", `{"type": "object", "required": ["a", "b"], "maxProperties": 1}`, "maxProperties 1 is too few"},
	{"types without overlap", `{"allOf": [{"type": "string"}, {"type": "integer"}]}`, "nothing satisfies"},
	{"not", `{"properties": {"a": {"not": {}}}}`, "#/properties/a/not: not is not supported"},
	{"if", `{"if": {}, "then": {}}`, "#/if: if is not supported"},
	{"patternProperties", `{"patternProperties": {"a": {}}}`, "#/patternProperties: patternProperties is not supported"},
	{"uniqueItems", `{"uniqueItems": true}`, "#/uniqueItems: uniqueItems is not supported"},
	{"multipleOf 0.3", `{"type": "number", "multipleOf": 0.3}`, "multipleOf 3/10 is not supported"},
	{"multipleOf 0", `{"type": "number", "multipleOf": 0}`, "#/multipleOf: not above 0"},
	{"multipleOf without end", `{"type": "integer", "multipleOf": 1e-400000000}`, "#/multipleOf: number 1e-400000000 is out of range"},
	{"a maximum without end", `{"type": "integer", "maximum": 1e400000000}`, "#/maximum: number 1e400000000 is out of range"},
	{"an unknown format", `{"type": "string", "format": "regex"}`, `#/format: format "regex" is not supported`},
	{"a pattern that is a number", `{"type": "string", "pattern": 5}`, "#/pattern: not a string"},
	{"a type that is a number", `{"type": 5}`, `#/type: type "5" is not known`},
	{"a type that is unknown", `{"type": ["string", "text"]}`, `#/type: type "text" is not known`},
	{"properties that are a list", `{"properties": []}`, "#/properties: not an object"},
	{"a property that is a string", `{"properties": {"a/b": "x"}}`, "#/properties/a~1b: a schema is an object or a boolean"},
	{"required that is a string", `{"required": "a"}`, "#/required: not a list of strings"},
	{"minLength below 0", `{"minLength": -1}`, "#/minLength: not a number of things"},
	{"a look-ahead", `{"type": "string", "pattern": "(?!a)"}`, "#/pattern: look-around is not supported"},
	{"a repetition of repetitions", `{"type": "string", "pattern": "((((a{1000}){1000}){1000}){1000})"}`, "pattern too complex"},
	{"patterns that multiply", `{"type": "string", "allOf": [{"pattern": "(a|b)*a(a|b){900}"}, {"pattern": "(a|b)*b(a|b){901}"}, {"pattern": "(a|b)*b(a|b){902}"}]}`, "pattern too complex"},
	{"a pattern of a great length", `{"type": "string", "pattern": "^(a|b)+$", "minLength": 1000000}`, "pattern too complex"},
	{"a great minItems", `{"type": "array", "minItems": 1000000000000}`, "too complex"},
	{"a great minLength", `{"type": "string", "minLength": 1000000000}`, "too complex"},
	{"a great minProperties", `{"type": "object", "minProperties": 100000000, "properties": {"a": {}}}`, "#: minProperties 786432 is not supported"},
	{"minProperties and maxProperties", `{"type": "object", "minProperties": 2, "maxProperties": 3, "properties": {"a": {}}}`, "#: minProperties 2 beside maxProperties is not supported"},
	{"great objects", `{"type": "object", "maxProperties": 90000, "properties": {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}, "f": {}, "g": {}, "h": {}, "i": {}}}`, "too complex"},
	{"alternatives of alternatives", chain(40, "anyOf"), "too many combinations"},
	{"conjunctions of conjunctions", chain(40, "allOf"), "too many combinations"},
	{"deeper than is read", nested(100), "nested deeper than 64"},
	{"deep brackets", strings.Repeat("[", 1<<20), "nested deeper than 64"},
	{"more values than are read", `{"enum": [` + strings.Repeat("0,", 1<<20) + `0]}`, "more than 131072 values"},
	{"more bytes than are read", `{"const": "` + strings.Repeat("x", MaxSource) + `"}`, "at most 4194304 are read"},
	{"a constant of many bytes", `{"const": "` + strings.Repeat("x", MaxSource-100) + `"}`, "too complex"},
	{"many long properties", `{"properties": {` + strings.Repeat(`"`+strings.Repeat("x", 5000)+`": {}, `, 1) + `"` + strings.Repeat("y", 2<<20) + `": {}}}`, "too complex"},
	{"more nesting than is allowed", required(33), "nested deeper than 64"},
	{"more nesting than values have", `{"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/b"}}, "b": ` + required(30) + `}}`, "needs 31 levels of nesting, at most 30 are allowed"},
}

// required is n objects within each other, none of which may be missing.
func required(n int) string {
	return strings.Repeat(`{"type": "object", "required": ["a"], "properties": {"a": `, n) + `{}` + strings.Repeat(`}}`, n)
}

func TestFault23_HostileSchemas(t *testing.T) {
	for _, c := range hostileSchemas {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := CompileSchema([]byte(c.schema), Options{Depth: 30})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
				t.Errorf("%d MiB were taken in all", n>>20)
			}
		})
	}
}

func TestLargeSchemasAreTaken(t *testing.T) {
	v := tokensOf(t)
	for _, c := range []struct{ name, schema, text string }{
		{"100,000 values", enumOf(100000), fmt.Sprintf(`"v%d"`, 99*7919%1000003)},
		{"30 levels", nested(30), strings.Repeat("[", 30) + "1" + strings.Repeat("]", 30)},
		{"a state explosion", `{"type": "string", "pattern": "^(a|b)*a(a|b){25}$"}`, `"a` + strings.Repeat("b", 25) + `"`},
		{"10,000 characters", `{"type": "string", "minLength": 10000, "maxLength": 20000}`, `"` + strings.Repeat("x", 10000) + `"`},
		{"a limit of uint64", `{"type": "integer", "minimum": 0, "maximum": 18446744073709551615}`, "123"},
	} {
		g, err := CompileSchema([]byte(c.schema), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		m := constrained(t, g, v).Matcher()
		for _, b := range []byte(c.text) {
			if err := m.Accept(int32(b)); err != nil {
				t.Errorf("%s: %v", c.name, err)
				break
			}
		}
		if !m.Complete() {
			t.Errorf("%s: %.80s is not complete", c.name, c.text)
		}
	}
}

var hostilePatterns = []struct{ name, pattern, want string }{
	{"an open group", `(a`, "missing ) at byte 2"},
	{"a group that closes twice", `a)`, "unexpected )"},
	{"an open class", `[a`, "missing ]"},
	{"a reversed range", `[z-a]`, "reversed"},
	{"a star alone", `*a`, "nothing to repeat"},
	{"a star of a star", `a**`, "a quantifier of a quantifier"},
	{"a back reference", `(a)\1`, "back references are not supported"},
	{"a named back reference", `(?<x>a)\k<x>`, "back references are not supported"},
	{"look-ahead", `(?=a)b`, "look-around is not supported"},
	{"look-behind", `(?<!a)b`, "look-around is not supported"},
	{"a word boundary", `\bword\b`, `\b is not supported`},
	{"a possessive quantifier", `a++`, "possessive"},
	{"an atomic group", `(?>a)`, "group (?> is not supported"},
	{"an unknown escape", `\q`, `escape \q is not known`},
	{"an unknown property", `\p{Klingon}`, `property "Klingon" is not known`},
	{"a backslash at the end", `a\`, "a backslash at the end"},
	{"a surrogate", `\ud800`, "is no character"},
	{"not UTF-8", "\xff", "not UTF-8"},
	{"a great repetition", `a{1001}`, "a repetition above 1000"},
	{"repetitions of repetitions", `((a{1000}){1000}){1000}`, "pattern too complex"},
	{"optional parts", `((a?){1000}){1000}`, "pattern too complex"},
	{"optional parts with short ways", `(a?b?c?d?e?f?g?h?){1000}`, "pattern too complex"},
	{"deep groups", strings.Repeat("(", 1000) + strings.Repeat(")", 1000), "more than 100 nested groups"},
	{"case folding of everything", `(?i)` + strings.Repeat(`[\x{0}-\x{10FFFF}]`, 500), "pattern too complex"},
	{"nothing", `[^\x{0}-\x{10FFFF}]`, "nothing satisfies it"},
	{"text behind the end", `a$b`, "nothing satisfies it"},
	{"more bytes than are read", strings.Repeat("a", MaxPattern+1), "at most 16384 are read"},
}

func TestFault23_HostilePatterns(t *testing.T) {
	for _, c := range hostilePatterns {
		if _, err := CompileRegex(c.pattern, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestHostileChoicesAndOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Expr
		o    Options
		want string
	}{
		{"no choices", Choice(nil), Options{}, "no choices"},
		{"many bytes of choices", Choice([]string{strings.Repeat("x", MaxSource+1)}), Options{}, "at most 4194304 are read"},
		{"a repetition without end", Repeat(Literal(""), 1<<30, 1<<30), Options{}, "is not within"},
		{"a repetition that is reversed", Repeat(Literal("a"), 3, 2), Options{}, "is not within"},
		{"nothing of none", Or(), Options{}, "nothing satisfies it"},
		{"a negative token", Token(-1), Options{}, "token -1"},
		{"a negative depth", Literal("a"), Options{Depth: -1}, "depth -1 is not within"},
		{"a great depth", Literal("a"), Options{Depth: MaxDepth + 1}, "is not within"},
	} {
		if _, err := Compile(c.e, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzSchema(f *testing.F) {
	for _, c := range hostileSchemas {
		if len(c.schema) < 1000 {
			f.Add(c.schema)
		}
	}
	for _, c := range schemaTexts {
		f.Add(c.schema)
	}
	v := tokensOf(f)
	f.Fuzz(func(t *testing.T, schema string) {
		g, err := CompileSchema([]byte(schema), Options{Depth: 4})
		if err != nil {
			return
		}
		writeShortest(t, constrained(t, g, v))
	})
}

func FuzzRegex(f *testing.F) {
	for _, c := range hostilePatterns {
		if len(c.pattern) < 1000 {
			f.Add(c.pattern)
		}
	}
	for _, s := range []string{`a|b*`, `^(a|b)$`, `[^a-z\d]{2,3}?`, `(?i:x)\p{Lu}`, `\x{41}\u0042`} {
		f.Add(s)
	}
	v := tokensOf(f)
	f.Fuzz(func(t *testing.T, pattern string) {
		g, err := CompileRegex(pattern, Options{})
		if err != nil {
			return
		}
		writeShortest(t, constrained(t, g, v))
	})
}
