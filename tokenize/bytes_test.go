package tokenize

import (
	"strings"
	"testing"
)

// TestTokenBytesAreTheText joins the bytes of a text's tokens: that is the text which the library decodes, and where
// nothing is normalised the text that was encoded.
func TestTokenBytesAreTheText(t *testing.T) {
	lossless := map[string]bool{"gpt2": true, "llama3": true, "gpt4o": true, "llama2": true, "mistral": true, "phi3": true, "gemma": true, "smollm2": true}
	found := 0
	for _, name := range fixtureNames(t) {
		if lossless[name] {
			found++
		}
		if raceDetector && !lossless[name] {
			continue
		}
		if name == "word-level" { // CTC: what a token adds depends on the one before it
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, _ := loadFixture(t, name)
			for i, s := range texts() {
				if len(s) > 5000 || raceDetector && i%8 != 0 {
					continue
				}
				ids := k.Encode(s, false).IDs
				var b []byte
				for _, id := range ids {
					token, special, ok := k.TokenBytes(id)
					if !ok || special != k.IsSpecial(id) {
						t.Fatalf("text %d: token %d: special %v, exists %v", i, id, special, ok)
					}
					b = append(b, token...)
				}
				same := func(want string) bool { // but for a blank that the decoder leaves out at an end of the text
					return string(b) == want || string(b) == " "+want || string(b) == want+" "
				}
				if want := k.Decode(ids, false); !same(want) && !strings.Contains(want, "\uFFFD") {
					t.Errorf("text %d: bytes %.100q, decoded %.100q", i, b, want)
				}
				if lossless[name] && toValid(s) == s && !strings.ContainsAny(s, "▁<") && !same(s) { // "▁" is decoded as a blank, and one comes behind added tokens
					t.Errorf("text %d %.100q: bytes %.100q", i, s, b)
				}
			}
		})
	}
	if found != len(lossless) {
		t.Errorf("%d of the %d lossless fixtures are there", found, len(lossless))
	}
}

func TestTokenBytesOfSomeTokens(t *testing.T) {
	for _, c := range []struct {
		name, token, want string
		special           bool
	}{
		{"gpt2", "Ġthe", " the", false},
		{"llama2", "▁the", " the", false},
		{"llama2", "<0xE9>", "\xe9", false},
		{"llama2", "</s>", "</s>", true},
		{"bert-uncased", "##ing", "ing", false},
		{"bert-uncased", "the", " the", false},
	} {
		k, _ := loadFixture(t, c.name)
		id, ok := k.TokenToID(c.token)
		if !ok {
			t.Errorf("%s has no token %q", c.name, c.token)
			continue
		}
		if b, special, _ := k.TokenBytes(id); string(b) != c.want || special != c.special {
			t.Errorf("%s: token %q is %q, special %v", c.name, c.token, b, special)
		}
	}
	k, _ := loadFixture(t, "gpt2")
	for _, id := range []int32{-1, 1 << 30} {
		if _, _, ok := k.TokenBytes(id); ok {
			t.Errorf("token %d exists", id)
		}
	}
}

func BenchmarkTokenBytes(b *testing.B) {
	for _, name := range []string{"gpt2", "llama2"} {
		b.Run(name, func(b *testing.B) {
			k, _ := loadFixture(b, name)
			n := int32(k.VocabSize())
			for b.Loop() {
				for id := range n {
					k.TokenBytes(id)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtoken/s")
		})
	}
}
