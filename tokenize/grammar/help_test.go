package grammar

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

const endToken = 256

// tokensOf is a vocabulary of all single bytes, an end token, an added token "<call>", and the texts given.
func tokensOf(t testing.TB, texts ...string) *Vocabulary {
	t.Helper()
	v, err := NewVocabulary(258+len(texts), func(id int32) ([]byte, bool, bool) {
		switch {
		case id < 256:
			return []byte{byte(id)}, false, true
		case id == endToken:
			return []byte("</s>"), true, true
		case id == 257:
			return []byte("<call>"), true, true
		}
		return []byte(texts[id-258]), false, true
	}, []int32{endToken})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// jsonTokens are tokens that cross the borders of JSON's parts.
var jsonTokens = []string{
	`{"`, `"}`, `":`, `": `, `", "`, `,"`, `"]`, `]}`, `}}`, `}]`, `[[`, `[[[[`, `{"a":`, `\"`, `\u00`, `\ud83d`, `\ude00`,
	"  ", "\n  ", "\n\n", "true", "tr", "null", "ull", "12", "123", "0.", "e+", `""`, `"a`, `a"`, "é", "\xc3", "\xa9x", "名前",
	"ab", "abc", "hello world", "-1", "1}", "2]", `1,`, ", ", ": ", "{}", "[]", "{{",
}

// constrained is a grammar for a vocabulary.
func constrained(t testing.TB, g *Grammar, v *Vocabulary) *Constraint {
	t.Helper()
	c, err := NewConstraint(g, v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bytesOf(v *Vocabulary, ids []int32) (out []byte) {
	for _, id := range ids {
		out = append(out, v.bytes(id)...)
	}
	return out
}

// randomText lets a random model write at most left tokens.
func randomText(t testing.TB, c *Constraint, left int, r *rand.Rand) (ids []int32, m *Matcher) {
	t.Helper()
	m = c.Matcher()
	mask := make([]uint32, c.MaskSize())
	for ; left > 0; left-- {
		m.Mask(mask, left)
		var may []int32
		for i, w := range mask {
			for b := range 32 {
				if w>>b&1 != 0 {
					may = append(may, int32(32*i+b))
				}
			}
		}
		if len(may) == 0 {
			t.Fatalf("no token may follow %q with %d left", bytesOf(c.v, ids), left)
		}
		id := may[r.IntN(len(may))]
		if err := m.Accept(id); err != nil {
			t.Fatalf("behind %q: %v, which the mask allows", bytesOf(c.v, ids), err)
		}
		if id == endToken {
			break
		}
		ids = append(ids, id)
	}
	return ids, m
}

// accepts feeds a text in random pieces, and says whether it may end there.
func accepts(c *Constraint, text string, r *rand.Rand) bool {
	m := c.Matcher()
	for rest := text; rest != ""; {
		var may []int32
		for id := range int32(c.v.size) {
			if b := c.v.bytes(id); len(b) > 0 && len(b) <= len(rest) && string(b) == rest[:len(b)] {
				may = append(may, id)
			}
		}
		id := may[r.IntN(len(may))]
		if m.Accept(id) != nil {
			return false
		}
		rest = rest[len(c.v.bytes(id)):]
	}
	return m.Complete() && m.Accept(endToken) == nil && m.Finished()
}

func must(t testing.TB) func(g *Grammar, err error) *Grammar {
	return func(g *Grammar, err error) *Grammar {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
}

// writeShortest lets the first token of each mask be written, with as few tokens left as suffice.
func writeShortest(t testing.TB, c *Constraint) {
	t.Helper()
	m := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	var text []byte
	for left := c.Least(); left > 0 && len(text) < 5000; left-- {
		m.Mask(mask, left)
		at := -1
		for i, w := range mask {
			if w != 0 {
				at = 32*i + bits.TrailingZeros32(w)
				break
			}
		}
		if at < 0 || m.Accept(int32(at)) != nil {
			t.Fatalf("token %d behind %q, %d left", at, text, left)
		}
		if at == endToken {
			return
		}
		text = append(text, c.v.bytes(int32(at))...)
	}
	if !m.Complete() && len(text) < 5000 {
		t.Fatalf("%q is not complete", text)
	}
}
