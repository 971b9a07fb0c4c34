package text

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"remote-client-server/tokenize/grammar"
	"remote-client-server/tokenize/toolcall"
)

// constrain prepares a grammar under a key of its own.
func constrain(t testing.TB, m *Model, key string, build func() (*grammar.Grammar, error)) *grammar.Constraint {
	t.Helper()
	c, err := m.Constrain(key, build)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestARandomModelKeepsToItsForm asks models that know nothing for JSON, within few tokens and many.
func TestARandomModelKeepsToItsForm(t *testing.T) {
	schema := `{"type":"object","properties":{"name":{"type":"string"},"ages":{"type":"array","items":{"type":"integer"}},"kind":{"enum":["a","b"]}},
		"required":["name","kind"],"additionalProperties":false}`
	for _, name := range []string{"qwen3", "mistral"} { // bytes, and pieces with a fallback to bytes
		t.Run(name, func(t *testing.T) {
			m := open(t, newCPU(t, ""), name, LoadOptions{})
			q := serve(t, m)
			object := constrain(t, m, "json", func() (*grammar.Grammar, error) { return grammar.CompileJSON(grammar.Options{}) })
			strict := constrain(t, m, "schema", func() (*grammar.Grammar, error) {
				return grammar.CompileSchema([]byte(schema), grammar.Options{})
			})
			digits := constrain(t, m, "regex", func() (*grammar.Grammar, error) { return grammar.CompileRegex(`[a-f]{3}-\d+`, grammar.Options{}) })
			for seed := range uint64(12) {
				for _, tokens := range []int{60, 150} {
					o := Options{MaxTokens: tokens, Temperature: 1.5, TopP: 1, Seed: seed, Seeded: true, Grammar: object}
					var any map[string]any
					if a := ask(t, m, q, prompt(int(seed), 10, 300), o); json.Unmarshal([]byte(a.Text), &any) != nil {
						t.Errorf("seed %d: no object: %q (%s)", seed, a.Text, a.Finish)
					}
					o.Grammar = strict
					var v struct {
						Name *string
						Ages []int64
						Kind string
					}
					a := ask(t, m, q, prompt(int(seed), 10, 300), o)
					d := json.NewDecoder(strings.NewReader(a.Text))
					d.DisallowUnknownFields()
					if err := d.Decode(&v); err != nil || v.Name == nil || v.Kind != "a" && v.Kind != "b" {
						t.Errorf("seed %d: %v: %q (%s)", seed, err, a.Text, a.Finish)
					}
				}
				o := Options{MaxTokens: 20, Temperature: 1, TopP: 1, Seed: seed, Seeded: true, Grammar: digits}
				if a := ask(t, m, q, prompt(int(seed), 10, 300), o); !regexp.MustCompile(`^[a-f]{3}-\d+$`).MatchString(a.Text) {
					t.Errorf("seed %d: %q (%s)", seed, a.Text, a.Finish)
				}
			}
		})
	}
}

// TestCallsOfTools makes a random model call a tool, at once or once it has begun to.
func TestCallsOfTools(t *testing.T) {
	m := open(t, newCPU(t, ""), "qwen3", LoadOptions{})
	q := serve(t, m)
	f := m.Calls()
	if !f.Supported() || !m.Info().Tools {
		t.Fatalf("the template's way to call tools is %q", f)
	}
	tools := []toolcall.Tool{{Name: "add", Parameters: []byte(`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}`)}, {Name: "now"}}
	calls := func(a answer) []toolcall.Event {
		p := f.Parser(tools)
		return append(p.Push(a.Text), p.Close()...)
	}
	must := constrain(t, m, "required", func() (*grammar.Grammar, error) { return f.Grammar(tools, true) })
	for seed := range uint64(8) {
		a := ask(t, m, q, prompt(int(seed), 12, 300), Options{MaxTokens: 200, Temperature: 1, TopP: 1, Seed: seed, Seeded: true, Grammar: must, Show: f.Markers()})
		starts := 0
		for _, e := range calls(a) {
			switch e.Kind {
			case toolcall.CallStart:
				starts++
			case toolcall.Content:
				t.Errorf("seed %d: text %q beside the calls of %q", seed, e.Text, a.Text)
			}
		}
		if starts == 0 {
			t.Errorf("seed %d: no call in %q", seed, a.Text)
		}
	}
	trigger := f.Trigger()
	if trigger.Token < 0 {
		t.Fatal("the mark of a call is no token")
	}
	then := constrain(t, m, "auto", func() (*grammar.Grammar, error) { return f.Continuation(tools, false) })
	free := ask(t, m, q, prompt(1, 12, 300), Options{MaxTokens: 30, IgnoreEnd: true})
	lazy := Options{MaxTokens: 30, IgnoreEnd: true, Grammar: then, After: &trigger, Show: f.Markers()}
	if a := ask(t, m, q, prompt(1, 12, 300), lazy); !slices.Equal(a.IDs, free.IDs) {
		t.Errorf("a grammar that does not hold yet changes %v to %v", free.IDs, a.IDs)
	}
	lazy.MaxTokens, lazy.Bias = 200, map[int32]float32{trigger.Token: 100}
	a := ask(t, m, q, prompt(1, 12, 300), lazy)
	if events := calls(a); len(events) < 2 || events[0].Kind != toolcall.CallStart {
		t.Errorf("a call that was begun became %q", a.Text)
	}
}

func TestConstraintsAreKept(t *testing.T) {
	m := open(t, newCPU(t, ""), "qwen3", LoadOptions{})
	built := 0
	build := func() (*grammar.Grammar, error) {
		built++
		return grammar.CompileChoice([]string{"yes", "no"}, grammar.Options{})
	}
	first := constrain(t, m, "a", build)
	for i := range maxConstraints {
		constrain(t, m, strings.Repeat("b", i+1), build)
		if i < maxConstraints-1 && constrain(t, m, "a", build) != first {
			t.Fatal("a constraint in use was prepared again")
		}
	}
	if built != maxConstraints+1 {
		t.Errorf("%d grammars were built, want %d", built, maxConstraints+1)
	}
}
