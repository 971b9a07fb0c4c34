package chat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fuzzLimits keep one input short.
var fuzzLimits = Limits{Steps: 20_000, Depth: 100, Bytes: 1 << 18, Source: 1 << 16}

func seeds(f *testing.F) (sources []string, variables string) {
	var fixture struct {
		Variables string
		Cases     [][2]*string
	}
	readFixture(f, "cases.json.gz", &fixture)
	for _, c := range fixture.Cases {
		sources = append(sources, *c[0])
	}
	var all families
	readFixture(f, "families.json.gz", &all)
	for _, family := range all.Families {
		sources = append(sources, family.Source)
	}
	return sources, fixture.Variables
}

// FuzzRender asks of any template that it ends, within its budget and with valid text or an error.
func FuzzRender(f *testing.F) {
	sources, variables := seeds(f)
	for _, s := range sources {
		f.Add(s)
	}
	vars := dict(f, variables)
	f.Fuzz(func(t *testing.T, source string) {
		k, err := Parse(source)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		parts, err := k.Render(ctx, vars, Options{Limits: fuzzLimits, Now: noon})
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the budget did not end it")
		}
		out := joined(parts)
		if len(out) > fuzzLimits.Bytes || !utf8.ValidString(out) {
			t.Errorf("%d bytes, valid %v", len(out), utf8.ValidString(out))
		}
		for i, p := range parts {
			if p.Text == "" || i > 0 && p.Plain == parts[i-1].Plain {
				t.Errorf("part %d %+v", i, p)
			}
		}
	})
}

// FuzzParseJSON asks of any JSON that what is read can be written and read again.
func FuzzParseJSON(f *testing.F) {
	_, variables := seeds(f)
	for _, s := range []string{variables, `[1e999, -0.0, 12345678901234567890, "\ud83d\ude42"]`, `{"a": {"a": [null]}}`, `"\u0000"`} {
		f.Add([]byte(s))
	}
	k, err := Parse("{{ v|tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := ParseJSON(raw)
		if err != nil {
			return
		}
		write := func(v Value) string {
			vars := NewDict()
			vars.Set("v", v)
			parts, err := k.Render(context.Background(), vars, Options{})
			if err != nil && !errors.Is(err, ErrBudget) {
				t.Fatal(err)
			}
			return joined(parts)
		}
		first := write(v)
		if strings.Contains(first, "Infinity") || first == "" {
			return // Python's own word for it, which is no JSON
		}
		again, err := ParseJSON([]byte(first))
		if err != nil {
			t.Fatalf("%q: %v", first, err)
		}
		if second := write(again); second != first {
			t.Errorf("%q, then %q", first, second)
		}
	})
}

// llama is the Llama-3-like template of the fixtures and a conversation with tools for it.
func llama(b *testing.B) (source string, c Conversation) {
	var f families
	readFixture(b, "families.json.gz", &f)
	for _, family := range f.Families {
		if family.Name == "llama3" {
			source = family.Source
		}
	}
	for _, one := range f.Conversations {
		if one.Name == "tool answer" {
			c = conversation(b, one.Body)
		}
	}
	if source == "" || c.Messages == nil {
		b.Fatal("the fixtures have no llama3 or tool answer")
	}
	return source, c
}

func BenchmarkParse(b *testing.B) {
	source, _ := llama(b)
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(source); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	source, c := llama(b)
	k := repository(b, map[string]string{"chat_template.jinja": source, "tokenizer_config.json": `{"bos_token": "<s>"}`})
	parts, err := k.Render(context.Background(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(joined(parts))))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Render(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
