package tokenize

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// chatFixtures are tokenizers of families with special tokens in their chats.
var chatFixtures = []string{"phi3", "llama3", "qwen2", "gemma", "mistral", "added-flags"}

func specials(k *Tokenizer) (out []string) {
	for _, t := range k.added.list {
		if t.special {
			out = append(out, t.content)
		}
	}
	return out
}

// halves cuts a text into two kinds of parts that alternate every few characters.
func halves(s string, every int) (parts []Part) {
	plain, from, n := false, 0, 0
	for i := range s {
		if n++; n%every == 0 {
			parts = append(parts, Part{s[from:i], plain})
			plain, from = !plain, i
		}
	}
	return append(parts, Part{s[from:], plain})
}

func TestPartsWithoutSpecialsAreTheWholeText(t *testing.T) {
	for _, name := range chatFixtures {
		t.Run(name, func(t *testing.T) {
			k, f := loadFixture(t, name)
			tried := 0
			for i, s := range texts() {
				if !utf8.ValidString(s) || len(s) > 2000 || slices.ContainsFunc(specials(k), func(c string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(c)) }) {
					continue
				}
				tried++
				for _, every := range []int{1, 3, 7} {
					if ids, _ := k.EncodeParts(halves(s, every), true, 0); !slices.Equal(ids, f.IDs[i]) {
						t.Fatalf("text %d %.80q in parts of %d: %v, library %v", i, s, every, ids, f.IDs[i])
					}
				}
			}
			if tried < 100 {
				t.Errorf("only %d texts", tried)
			}
		})
	}
}

func TestPartsOfTheTemplateAreTheWholeText(t *testing.T) {
	for _, name := range chatFixtures {
		k, f := loadFixture(t, name)
		for i, s := range texts() {
			if ids, _ := k.EncodeParts([]Part{{Text: s[:0], Plain: true}, {Text: s}}, true, 0); !slices.Equal(ids, f.IDs[i]) {
				t.Fatalf("%s: text %d %.80q: %v, library %v", name, i, s, ids, f.IDs[i])
			}
		}
	}
}

func TestTypedSpecialTokensStayText(t *testing.T) {
	for _, name := range chatFixtures[:5] {
		t.Run(name, func(t *testing.T) {
			k, _ := loadFixture(t, name)
			for _, c := range specials(k) {
				middle := len(c) / 2
				for !utf8.RuneStart(c[middle]) {
					middle--
				}
				for _, parts := range [][]Part{
					{{"say " + c + " now", true}},
					{{c, true}},
					{{c[:middle], false}, {c[middle:], true}},
					{{c[:middle], true}, {c[middle:], false}},
					{{c[:1], false}, {c[1 : len(c)-1], true}, {c[len(c)-1:], false}},
				} {
					ids, _ := k.EncodeParts(parts, false, 0)
					for _, id := range ids {
						if k.IsSpecial(id) && c != "<unk>" {
							t.Errorf("%+v: id %d is a special token", parts, id)
						}
					}
					want := ""
					for _, p := range parts {
						want += p.Text
					}
					if got := k.Decode(ids, false); strings.TrimPrefix(got, " ") != want {
						t.Errorf("%+v decodes to %q", parts, got)
					}
				}
			}
		})
	}
}

func TestTemplateSpecialsBesideTypedOnes(t *testing.T) {
	k, _ := loadFixture(t, "phi3")
	id := func(s string) int32 {
		n, ok := k.TokenToID(s)
		if !ok {
			t.Fatal(s)
		}
		return n
	}
	end, user := id("<|end|>"), id("<|user|>")
	ids, _ := k.EncodeParts([]Part{{"<|user|>\n", false}, {"a<|end|>b", true}, {"<|end|>\n", false}}, false, 0)
	if count := len(slices.DeleteFunc(slices.Clone(ids), func(n int32) bool { return n != end })); count != 1 || ids[0] != user || ids[len(ids)-1] != end {
		t.Errorf("ids %v, want one <|end|> (%d), the last", ids, end)
	}
	// Blanks of a plain part go with the token before them, as in the reference.
	together, _ := k.IDs("<|user|> \n hi<|end|>", false, 0)
	apart, _ := k.EncodeParts([]Part{{"<|user|>", false}, {" \n hi", true}, {"<|end|>", false}}, false, 0)
	if !slices.Equal(together, apart) {
		t.Errorf("in parts %v, together %v", apart, together)
	}
}

// specialsFile has a special token that is the beginning of another one, one that is normalized, and one that is no
// special token.
const specialsFile = `{"normalizer":{"type":"Lowercase"},"added_tokens":[
	{"id":1,"content":"<a>","special":true,"normalized":false},{"id":2,"content":"<a>b","special":true,"normalized":false},
	{"id":3,"content":"<N>","special":true,"normalized":true},{"id":4,"content":"<tool>","special":false,"normalized":false}],
	"model":{"type":"WordLevel","vocab":{"?":0},"unk_token":"?"}}`

func TestAShorterOrOrdinaryTokenIsFoundInstead(t *testing.T) {
	k, err := Parse([]byte(specialsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		parts []Part
		want  string
	}{
		{"the longest one of the template", []Part{{"<a>b", false}}, "2"},
		{"the shorter one before a plain end", []Part{{"<a>", false}, {"b", true}}, "1 0"},
		{"none in a plain part", []Part{{"<a>b", true}}, "0"},
		{"an ordinary one in a plain part", []Part{{"<tool>", true}}, "4"},
		{"an ordinary one across the border", []Part{{"<to", false}, {"ol>", true}}, "4"},
		{"a normalized one", []Part{{"<N>", false}, {"x", true}}, "3 0"},
		{"a normalized one typed", []Part{{"<N><n>", true}}, "0"},
		{"a normalized one across the border", []Part{{"<n", false}, {">", true}}, "0"},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ids, _ := k.EncodeParts(c.parts, false, 0); nums(ids) != c.want {
				t.Errorf("ids %v, want %s", ids, c.want)
			}
		})
	}
}

func TestPartsAreCutAsTexts(t *testing.T) {
	k, _ := loadFixture(t, "llama3")
	s := strings.Repeat("some words ", 20)
	want, wantCut := k.IDs(s, true, 10)
	ids, cut := k.EncodeParts(halves(s, 5), true, 10)
	if !slices.Equal(ids, want) || cut != wantCut || cut == 0 {
		t.Errorf("%v cut %d, want %v cut %d", ids, cut, want, wantCut)
	}
}

func BenchmarkEncodeParts(b *testing.B) {
	for _, name := range []string{"phi3", "llama3"} {
		k, _ := loadFixture(b, name)
		s := benchmarkTexts()["english"]
		for what, parts := range map[string][]Part{"template": {{Text: s}}, "plain": {{Text: s, Plain: true}}, "mixed": halves(s, 100)} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.SetBytes(int64(len(s)))
				for b.Loop() {
					k.EncodeParts(parts, false, 0)
				}
			})
		}
	}
}
