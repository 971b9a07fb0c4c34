package tokenize

import (
	"strings"
	"testing"
)

// benchmarkTexts are one short and some long texts, about 100 kB each.
func benchmarkTexts() map[string]string {
	var english, mixed []string
	for _, s := range texts() {
		if isASCII(s) && strings.Count(s, " ") > 5 {
			english = append(english, s)
		}
		if len(s) < 200 {
			mixed = append(mixed, s)
		}
	}
	long := func(s string) string { return strings.Repeat(s, 1+100_000/len(s)) }
	return map[string]string{
		"short":   "How does a search engine find the page that answers a question?",
		"english": long(strings.Join(english, "\n")),
		"mixed":   long(strings.Join(mixed, " ")),
		"chinese": long("的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"),
		"oneword": strings.Repeat("a", 100_000),
		"blanks":  strings.Repeat(" ", 100_000),
	}
}

func BenchmarkIDs(b *testing.B) {
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta", "qwen3-embedding", "gpt4o", "llama2", "deberta-v3"} {
		k, _ := loadFixture(b, name)
		for what, s := range benchmarkTexts() {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.SetBytes(int64(len(s)))
				for b.Loop() {
					k.IDs(s, true, 512)
				}
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta"} {
		k, _ := loadFixture(b, name)
		s := benchmarkTexts()["english"]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				k.Encode(s, true)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta"} {
		k, _ := loadFixture(b, name)
		s := benchmarkTexts()["english"]
		ids, _ := k.IDs(s, true, 0)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				k.Decode(ids, true)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	var f fixture
	readJSON(b, "xlm-roberta.json.gz", &f)
	file := withCharsmap(b, f.Tokenizer)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Parse(file); err != nil {
			b.Fatal(err)
		}
	}
}
