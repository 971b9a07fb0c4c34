package toolcall

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// addedTokens is a tokenizer that knows the texts as added tokens; those with a "!" before them are special.
func addedTokens(texts ...string) func(string) (int32, bool, bool) {
	return func(s string) (int32, bool, bool) {
		for i, t := range texts {
			if strings.TrimPrefix(t, "!") == s {
				return int32(1000 + i), t[0] == '!', true
			}
		}
		return -1, false, false
	}
}

var (
	hermes  = Detect("# Tools\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>", addedTokens("<tool_call>", "</tool_call>"))
	llama   = Detect(`Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.`, addedTokens("!<|python_tag|>"))
	mistral = Detect(`{{ "[TOOL_CALLS] [" }}`, addedTokens("![TOOL_CALLS]"))
	phi     = Detect(`'<|tool|>' + message['tools'] + '<|/tool|>'`, addedTokens("!<|tool_call|>", "!<|/tool_call|>"))
)

func TestFormatsAreToldFromTemplates(t *testing.T) {
	for _, c := range []struct {
		name    string
		f       Format
		want    string
		markers int
		trigger Trigger
	}{
		{"Hermes, tags as plain tokens", hermes, "hermes", 0, Trigger{Token: 1000, Text: "<tool_call>"}},
		{"Llama 3.1", llama, "llama-3", 1, Trigger{Token: -1, Text: `{"name": "`, Start: true}},
		{"Mistral", mistral, "mistral", 1, Trigger{Token: 1000, Text: "[TOOL_CALLS]"}},
		{"Phi-4-mini", phi, "phi-4", 2, Trigger{Token: 1000, Text: "<|tool_call|>"}},
		{"Hermes without tokens", Detect("<tool_call>\n{}", addedTokens()), "hermes", 0, Trigger{Token: -1, Text: "<tool_call>"}},
		{"Qwen 3 Coder", Detect("<tool_call>\n<function=name>", addedTokens("<tool_call>")), "none", 0, Trigger{Token: -1}},
		{"Mistral with [ARGS]", Detect("[TOOL_CALLS]name[ARGS]{}", addedTokens("![TOOL_CALLS]")), "none", 0, Trigger{Token: -1}},
		{"Phi-3.5", Detect("<|user|>\n", addedTokens("!<|user|>")), "none", 0, Trigger{Token: -1}},
		{"Gemma", Detect("<start_of_turn>user", addedTokens()), "none", 0, Trigger{Token: -1}},
		{"no template", Format{}, "none", 0, Trigger{Token: -1}},
	} {
		if c.f.String() != c.want || c.f.Supported() != (c.want != "none") || len(c.f.Markers()) != c.markers || c.f.Trigger() != c.trigger {
			t.Errorf("%s: %v, markers %v, trigger %+v", c.name, c.f, c.f.Markers(), c.f.Trigger())
		}
	}
}

// told spells events: content in quotes, calls as name(arguments); an end that is missing shows.
func told(events []Event) string {
	var b strings.Builder
	for i, e := range events {
		switch e.Kind {
		case Content:
			if i == 0 || events[i-1].Kind != Content {
				b.WriteString("|")
			}
			b.WriteString(e.Text)
		case CallStart:
			fmt.Fprintf(&b, "|%d %s(", e.Index, e.Name)
		case CallArguments:
			b.WriteString(e.Text)
		case CallEnd:
			b.WriteString(")")
		}
	}
	return b.String()
}

// parse pushes the parts of a text.
func parse(f Format, tools []Tool, parts ...string) string {
	p := f.Parser(tools)
	var out []Event
	for _, s := range parts {
		out = append(out, p.Push(s)...)
	}
	return told(append(out, p.Close()...))
}

var twoTools = []Tool{{Name: "weather"}, {Name: "now"}}

var parserCases = []struct {
	name       string
	f          Format
	text, want string
}{
	{"plain text", hermes, "Hello <there> [1]\n", "|Hello <there> [1]\n"},
	{"no format", Format{}, "<tool_call>\n{\"name\": \"now\"}", "|<tool_call>\n{\"name\": \"now\"}"},
	{"one call", hermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Zürich\"}}\n</tool_call>", `|0 weather({"city": "Zürich"})`},
	{"two calls", hermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"a\": [1, {\"b\": \"}\"}]}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n", `|0 weather({"a": [1, {"b": "}"}]})|1 now({})`},
	{"text before and behind", hermes, "Let me see.\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\nDone.", `|Let me see.|0 now({})|Done.`},
	{"no arguments", hermes, "<tool_call>{\"name\": \"now\"}</tool_call>", `|0 now({})`},
	{"arguments before the name", hermes, "<tool_call>{\"arguments\": {\"x\": 1}, \"name\": \"now\"}</tool_call>", `|0 now({"x": 1})`},
	{"arguments as a string", hermes, `<tool_call>{"name": "now", "arguments": "{\"x\": \"\\\"\"}"}</tool_call>`, `|0 now({"x": "\""})`},
	{"a tag in the arguments", hermes, "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"x\": \"</tool_call>\\\"<tool_call>\"}}\n</tool_call>", `|0 now({"x": "</tool_call>\"<tool_call>"})`},
	{"no call behind the tag", hermes, "a \n<tool_call>\nnonsense</tool_call> b", "|a \n<tool_call>\nnonsense</tool_call> b"},
	{"no name", hermes, "<tool_call>{\"arguments\": {}}</tool_call>", "|<tool_call>{\"arguments\": {}}</tool_call>"},
	{"a tag that does not end", hermes, "x <tool_cal", "|x <tool_cal"},
	{"a tag that turns", hermes, "x <tool_<tool_call>{\"name\": \"now\"}</tool_call>", "|x <tool_|0 now({})"},
	{"cut in the arguments", hermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Zü", `|0 weather({"city": "Zü)`},
	{"cut in the name", hermes, "<tool_call>\n{\"name\": \"wea", "|<tool_call>\n{\"name\": \"wea"},
	{"no closing tag", hermes, "<tool_call>{\"name\": \"now\"} and so on", "|0 now({})|and so on"},
	{"cut in the closing tag", hermes, "<tool_call>{\"name\": \"now\"}</tool", "|0 now({})"},

	{"Llama's call", llama, `{"name": "weather", "parameters": {"city": "Paris"}}`, `|0 weather({"city": "Paris"})`},
	{"behind white space and the tag", llama, "\n<|python_tag|>{\"name\": \"now\", \"parameters\": {}}", `|0 now({})`},
	{"two calls with a semicolon", llama, `{"name": "now", "parameters": {}}; {"name": "weather", "parameters": {"a": 1}}`, `|0 now({})|1 weather({"a": 1})`},
	{"JSON that is no call", llama, `{"name": "Ann", "age": 5}`, `|{"name": "Ann", "age": 5}`},
	{"JSON with an unknown name", llama, `{"name": "Ann", "parameters": {"x": 1}} ok`, `|{"name": "Ann", "parameters": {"x": 1}} ok`},
	{"JSON behind text", llama, `So: {"name": "now", "parameters": {}}`, `|So: {"name": "now", "parameters": {}}`},
	{"a built-in tool", llama, `<|python_tag|>brave_search.call(query="x")`, `|<|python_tag|>brave_search.call(query="x")`},
	{"text and white space", llama, " \n Hello\n", "| \n Hello\n"},

	{"Mistral's list", mistral, `[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}, "id": "a1b2c3d4e"}, {"name": "now", "arguments": {}}]`, `|0 weather({"city": "Paris"})|1 now({})`},
	{"Nemo's list", mistral, `[TOOL_CALLS][{"name": "now", "arguments": {}, "id": "123456789"}]`, `|0 now({})`},
	{"an id before the name", mistral, `[TOOL_CALLS][{"id": "123456789", "n": 1.5, "name": "now", "arguments": {}}]`, `|0 now({})`},
	{"no list", mistral, `[TOOL_CALLS] none`, `|[TOOL_CALLS] none`},
	{"Phi's list", phi, `Sure.<|tool_call|>[{"name": "now", "arguments": {"a": {}}}]<|/tool_call|>`, `|Sure.|0 now({"a": {}})`},
	{"brackets that do not match", phi, `<|tool_call|>[{"name": "now", "arguments": {"a": ]}}]`, `|0 now({"a": )|]}}]`},
}

func TestTextsBecomeCallsHoweverTheyAreCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range parserCases {
		t.Run(c.name, func(t *testing.T) {
			if got := parse(c.f, twoTools, c.text); got != c.want {
				t.Fatalf("%q\n gives %q\n not   %q", c.text, got, c.want)
			}
			for i := range c.text {
				if got := parse(c.f, twoTools, c.text[:i], c.text[i:]); got != c.want {
					t.Fatalf("cut at %d: %q", i, got)
				}
			}
			for range 20 {
				var parts []string
				for rest := c.text; rest != ""; {
					n := min(1+r.IntN(5), len(rest))
					parts, rest = append(parts, rest[:n]), rest[n:]
				}
				if got := parse(c.f, twoTools, parts...); got != c.want {
					t.Fatalf("cut into %q: %q", parts, got)
				}
			}
		})
	}
}

func TestArgumentsComeAtOnce(t *testing.T) {
	p := hermes.Parser(twoTools)
	for _, c := range []struct{ push, want string }{
		{"Hi<tool", "|Hi"}, {"_call>\n{\"na", ""}, {`me": "now", "argu`, ""}, {`ments": {"a`, `|0 now({"a`}, {`": 1`, `": 1`}, {"}}", "})"}, {"\n</tool_call>", ""}, {"\nx", "|x"},
	} {
		if got := told(p.Push(c.push)); got != c.want {
			t.Errorf("%q gives %q, not %q", c.push, got, c.want)
		}
	}
}

func TestTextIsHeldBackWithinBounds(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Format
		text string
	}{
		{"white space", hermes, strings.Repeat(" ", 1<<20)},
		{"arguments without a name", hermes, `<tool_call>{"arguments": {"a": "` + strings.Repeat("x", 1<<20)},
		{"other members", llama, `{"x": "` + strings.Repeat("x", 1<<20)},
		{"white space in a list", mistral, "[TOOL_CALLS]" + strings.Repeat("\n", 1<<20)},
		{"brackets", hermes, `<tool_call>{"name": "now", "arguments": ` + strings.Repeat(`{"a":`, 1<<18)},
	} {
		p := c.f.Parser(twoTools)
		n := 0
		for _, e := range p.Push(c.text) {
			n += len(e.Text)
		}
		if len(c.text)-n > 2*maxHeld {
			t.Errorf("%s: %d of %d bytes came out", c.name, n, len(c.text))
		}
	}
}

func FuzzParser(f *testing.F) {
	for _, c := range parserCases {
		f.Add(c.text, uint8(3))
	}
	formats := []Format{hermes, llama, mistral, phi, {}}
	f.Fuzz(func(t *testing.T, text string, cut uint8) {
		for _, format := range formats {
			whole := parse(format, twoTools, text)
			var parts []string
			for rest := text; rest != ""; {
				n := min(1+int(cut), len(rest))
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
			if got := parse(format, twoTools, parts...); got != whole {
				t.Fatalf("%v: %q whole, %q in parts", format, whole, got)
			}
			if !strings.ContainsAny(text, "{<[") && strings.TrimPrefix(whole, "|") != text {
				t.Fatalf("%v: %q", format, whole)
			}
		}
	})
}

func TestFault24_MalformedTools(t *testing.T) {
	object := json.RawMessage(`{"type": "object", "properties": {"a": {"type": "integer"}}}`)
	for _, c := range []struct {
		name  string
		tools []Tool
		want  string // "" for none
	}{
		{"good ones", []Tool{{"get_weather-2", object}, {"x", nil}, {"y", json.RawMessage("null")}, {"z", json.RawMessage("{}")}, {"w", json.RawMessage(`{"properties": {"a": {}}}`)}}, ""},
		{"none", nil, "tools: none"},
		{"no name", []Tool{{"", object}}, "tools[0].function.name: is missing"},
		{"a blank in the name", []Tool{{"x", nil}, {"get weather", object}}, "tools[1].function.name: \"get weather\" has"},
		{"a name that is too long", []Tool{{strings.Repeat("x", 65), object}}, "tools[0].function.name: 65 bytes"},
		{"a letter that is not ASCII", []Tool{{"é", object}}, "tools[0].function.name: \"é\" has"},
		{"a name twice", []Tool{{"x", nil}, {"x", nil}}, `tools[1].function.name: "x" is the name of tools[0] too`},
		{"parameters that are a list", []Tool{{"x", json.RawMessage("[]")}}, "tools[0].function.parameters: not a JSON schema of an object"},
		{"parameters that are no JSON", []Tool{{"x", json.RawMessage("{")}}, "tools[0].function.parameters: not"},
		{"parameters that are a string", []Tool{{"x", json.RawMessage(`{"type": "string"}`)}}, `tools[0].function.parameters: type: "string" is not "object"`},
		{"a type that is a number", []Tool{{"x", json.RawMessage(`{"type": 5}`)}}, `tools[0].function.parameters: type: 5 is not "object"`},
		{"a property of an unknown type", []Tool{{"x", json.RawMessage(`{"type": "object", "properties": {"a": {"type": "int"}}}`)}}, `#/properties/a/type: type "int" is not known`},
		{"a pattern with look-around", []Tool{{"x", json.RawMessage(`{"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=a)"}}}`)}}, "#/properties/a/pattern: look-around"},
		{"too many", slices.Repeat([]Tool{{"x", nil}}, 129), "tools: 129, at most 128"},
	} {
		err := Check(c.tools)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := (Format{}).Grammar(twoTools, true); err == nil {
		t.Error("a model without a format has a grammar of calls")
	}
}

func BenchmarkParser(b *testing.B) {
	text := strings.Repeat("Some words before a call. ", 200) + "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"" + strings.Repeat("Zürich ", 500) + "\"}}\n</tool_call>"
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		p := hermes.Parser(twoTools)
		for rest := text; rest != ""; {
			n := min(5, len(rest))
			p.Push(rest[:n])
			rest = rest[n:]
		}
		p.Close()
	}
}
