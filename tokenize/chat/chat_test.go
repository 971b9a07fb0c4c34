package chat

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"remote-client-server/tokenize"
)

// The expected texts are those of transformers (testdata/make.py).

func readFixture(t testing.TB, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(name, err)
	}
	if err := json.NewDecoder(z).Decode(v); err != nil {
		t.Fatal(name, err)
	}
}

// noon is the time that the fixtures were made at.
func noon() time.Time { return time.Date(2025, 3, 7, 9, 5, 3, 7_000_000, time.UTC) }

func joined(parts []tokenize.Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

func dict(t testing.TB, body string) *Dict {
	t.Helper()
	v, err := ParseJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Dict)
}

// render parses and renders with the variables of a JSON object.
func render(t testing.TB, source string, vars *Dict) ([]tokenize.Part, error) {
	t.Helper()
	k, err := Parse(source)
	if err != nil {
		return nil, err
	}
	return k.Render(context.Background(), vars, Options{Now: noon})
}

func TestEveryFeatureRendersAsTheReference(t *testing.T) {
	var f struct {
		Variables string
		Cases     [][2]*string
	}
	readFixture(t, "cases.json.gz", &f)
	vars := dict(t, f.Variables)
	for _, c := range f.Cases {
		source, want := *c[0], c[1]
		parts, err := render(t, source, vars)
		switch got := joined(parts); {
		case want == nil && err == nil:
			t.Errorf("%s\nrendered %q, which the reference refuses", source, got)
		case want != nil && err != nil:
			t.Errorf("%s\nrefused: %v\nwant %q", source, err, *want)
		case want != nil && got != *want:
			t.Errorf("%s\ngot  %q\nwant %q", source, got, *want)
		}
		if errors.Is(err, ErrBudget) && !strings.Contains(source, "range(100001)") {
			t.Errorf("%s\nran out of its budget: %v", source, err)
		}
	}
	if len(f.Cases) < 500 {
		t.Errorf("only %d cases", len(f.Cases))
	}
}

// families are templates in the manner of each family.
type families struct {
	Special       map[string]string
	Conversations []struct{ Name, Body string }
	Families      []struct {
		Name, Source string
		Texts        []*string
	}
}

// repository is a model's files in memory.
func repository(t testing.TB, files map[string]string) *Templates {
	t.Helper()
	k, err := Load(func(name string) ([]byte, error) {
		if s, ok := files[name]; ok {
			return []byte(s), nil
		}
		return nil, os.ErrNotExist
	}, func(dir string) (names []string) {
		for name := range files {
			if d, base := filepath.Split(name); d == dir+"/" {
				names = append(names, base)
			}
		}
		return names
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// conversation reads the form that the fixtures keep conversations in.
func conversation(t testing.TB, body string) Conversation {
	t.Helper()
	d := dict(t, body)
	get := func(name string) Value { v, _ := d.Get(name); return v }
	c := Conversation{Messages: get("messages"), Tools: get("tools"), Documents: get("documents"), Now: noon}
	c.AddGenerationPrompt = get("add_generation_prompt") == Bool(true)
	c.ContinueFinalMessage = get("continue_final_message") == Bool(true)
	c.Kwargs, _ = get("kwargs").(*Dict)
	return c
}

func TestEveryFamilyRendersAsTheReference(t *testing.T) {
	var f families
	readFixture(t, "families.json.gz", &f)
	config, err := json.Marshal(f.Special)
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range f.Families {
		t.Run(family.Name, func(t *testing.T) {
			k := repository(t, map[string]string{"tokenizer_config.json": string(config), "chat_template.jinja": family.Source})
			for i, c := range f.Conversations {
				want := family.Texts[i]
				parts, err := k.Render(context.Background(), conversation(t, c.Body))
				switch got := joined(parts); {
				case want == nil && err == nil:
					t.Errorf("%s: rendered %q, which the reference refuses", c.Name, got)
				case want != nil && err != nil:
					t.Errorf("%s: refused: %v", c.Name, err)
				case want != nil && got != *want:
					t.Errorf("%s:\ngot  %q\nwant %q", c.Name, got, *want)
				}
			}
		})
	}
}
