package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"remote-client-server/bench/contract/server"
)

// values are of every type, and some are what a client may take for right.
var values = []string{
	`"text"`, `""`, `-1`, `0`, `1.5`, `1e30`, `true`, `{}`, `{"a":1}`, `[]`, `[{}]`, `[true]`, `[1.5]`, `[-1]`, `[[]]`, `[["text"]]`,
	`["text",1]`, `[1,"text"]`, `[[1],2]`, `[null]`,
}

// trial is a body that is wrong in one field.
type trial struct{ field, value, body string }

// trials puts every value that a field's schema excludes into every field of a
// valid body, in turn. null is not among them: it stands for no field.
func trials(t *testing.T, schema *openapi3.Schema, valid string) []trial {
	t.Helper()
	var list []trial
	var descend func(s *openapi3.Schema, v any, path string, put func(any) any)
	descend = func(s *openapi3.Schema, v any, path string, put func(any) any) {
		object, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			field := s.Properties[name].Value
			at := name
			if path != "" {
				at = path + "." + name
			}
			set := func(x any) any {
				changed := maps.Clone(object)
				changed[name] = x
				return put(changed)
			}
			wrong := slices.Clone(values)
			if n := field.MaxLength; n != nil {
				wrong = append(wrong, `"`+strings.Repeat("x", int(*n)+1)+`"`)
			}
			if field.Max != nil {
				wrong = append(wrong, fmt.Sprintf("%.0f", *field.Max+1))
			}
			for _, word := range wrong {
				var x any
				if err := json.Unmarshal([]byte(word), &x); err != nil {
					t.Fatal(err)
				}
				if field.VisitJSON(x, openapi3.EnableJSONSchema2020()) == nil {
					continue
				}
				body, err := json.Marshal(set(x))
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, trial{at, word, string(body)})
			}
			items, given := object[name].([]any)
			if given && len(items) > 0 && field.Items != nil && len(field.Items.Value.Properties) > 0 {
				descend(field.Items.Value, items[0], at+"[0]", func(x any) any {
					return set(append([]any{x}, items[1:]...))
				})
			}
		}
	}
	var v any
	if err := json.Unmarshal([]byte(valid), &v); err != nil {
		t.Fatal(err)
	}
	descend(schema, v, "", func(x any) any { return x })
	return list
}

// TestFault14WrongTypes sends values of wrong types and out of range in every
// described field of every request: each is a 400 that names the field.
func TestFault14WrongTypes(t *testing.T) {
	embeds, writes := server.Start(t, true), server.Start(t, true, "--model_type", "text")
	doc := description(t, embeds)
	for _, operation := range operations(doc) {
		method, path, _ := strings.Cut(operation, " ")
		s, served := embeds, embedder.served()
		if strings.HasSuffix(path, "completions") || strings.HasSuffix(path, "/tokenize") {
			s, served = writes, writer.served()
		}
		body := doc.Paths.Value(path).GetOperation(method).RequestBody
		if body == nil {
			continue
		}
		schema := body.Value.Content["application/json"].Schema.Value
		if len(schema.Properties) == 0 {
			continue // of another type of model
		}
		t.Run(operation, func(t *testing.T) {
			valid := example(t, doc, operation)
			if a := s.Do(t, server.Request{Method: method, Path: place(path, served), Body: valid}); a.Status != 200 {
				t.Fatalf("the example: %d %s", a.Status, a.Body)
			}
			list := trials(t, schema, valid)
			t.Logf("%d wrong bodies", len(list))
			if len(list) < 10*len(schema.Properties) {
				t.Errorf("only %d trials for %d fields", len(list), len(schema.Properties))
			}
			for _, c := range list {
				a := s.Do(t, server.Request{Method: method, Path: place(path, served), Body: c.body})
				if a.Status != 400 {
					t.Errorf("%s = %.40s: %d %.200s", c.field, c.value, a.Status, a.Body)
					continue
				}
				var said struct {
					Detail string
					Error  json.RawMessage
				}
				if err := json.Unmarshal(a.Body, &said); err != nil {
					t.Errorf("%s = %.40s: %v: %s", c.field, c.value, err, a.Body)
					continue
				}
				named := strings.TrimPrefix(said.Detail, "Invalid request format: ")
				switch {
				case strings.Contains(path, "/v1/"):
					var e struct{ Param string }
					_ = json.Unmarshal(said.Error, &e)
					named = e.Param
				case strings.HasPrefix(path, "/v2/"):
					_ = json.Unmarshal(said.Error, &named)
				}
				if !strings.HasPrefix(named, c.field) {
					t.Errorf("%s = %.40s: the answer names another field: %s", c.field, c.value, a.Body)
				}
			}
		})
	}
	for _, s := range []*server.Server{embeds, writes} {
		if a := s.Do(t, server.Request{Path: "/api/health"}); a.Status != 200 {
			t.Errorf("health afterwards: %d", a.Status)
		}
	}
}
