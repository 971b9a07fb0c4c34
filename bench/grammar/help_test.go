package grammar

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"remote-client-server/tokenize"
	"remote-client-server/tokenize/grammar"
)

// model is a vocabulary and what its tokens mean.
type model struct {
	name   string
	vocab  *grammar.Vocabulary
	tokens [][]byte
	end    int32
}

// tiny is a random vocabulary: all bytes, and pieces of the texts that grammars are about.
func tiny(t testing.TB, r *rand.Rand) *model {
	const source = `{"name": "value", "a": [1, 2.5, -3e+10, true, false, null], "b": {"c": "\u00e9\n\"x\""}} 2024-02-29T23:59:59Z é名前😀 aab ABC_19 ,,  ` + "\n\t\n  "
	tokens := [][]byte{}
	for b := range 256 {
		tokens = append(tokens, []byte{byte(b)})
	}
	for range 300 {
		at := r.IntN(len(source) - 1)
		n := min(1+r.IntN(6), len(source)-at)
		tokens = append(tokens, []byte(source[at:at+n]))
	}
	return newModel(t, "tiny", tokens)
}

func newModel(t testing.TB, name string, tokens [][]byte) *model {
	t.Helper()
	end := int32(len(tokens))
	v, err := grammar.NewVocabulary(len(tokens)+1, func(id int32) ([]byte, bool, bool) {
		if id == end {
			return []byte("</s>"), true, true
		}
		return tokens[id], false, tokens[id] != nil
	}, []int32{end})
	if err != nil {
		t.Fatal(err)
	}
	return &model{name, v, append(tokens, nil), end}
}

// fixture is a tokenizer of the fixtures.
func fixture(t testing.TB, name string) *model {
	t.Helper()
	f, err := os.Open("../../tokenize/testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Tokenizer json.RawMessage }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	k, err := tokenize.Parse(file.Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	var tokens [][]byte
	for id := range int32(k.VocabSize()) {
		text, special, ok := k.TokenBytes(id)
		if special || !ok {
			text = nil
		}
		tokens = append(tokens, text)
	}
	return newModel(t, name, tokens)
}

func models(t testing.TB, r *rand.Rand) []*model {
	return []*model{tiny(t, r), tiny(t, r), fixture(t, "gpt2"), fixture(t, "llama3"), fixture(t, "llama2")}
}

func (m *model) constraint(t testing.TB, g *grammar.Grammar) *grammar.Constraint {
	t.Helper()
	c, err := grammar.NewConstraint(g, m.vocab)
	if err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	return c
}

// write lets a random model write at most left tokens.
func (m *model) write(t testing.TB, c *grammar.Constraint, left int, r *rand.Rand) (text []byte, complete bool) {
	t.Helper()
	follow := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	var may []int32
	for ; left > 0; left-- {
		follow.Mask(mask, left)
		may = may[:0]
		for i, w := range mask {
			for b := range 32 {
				if w>>b&1 != 0 {
					may = append(may, int32(32*i+b))
				}
			}
		}
		if len(may) == 0 {
			t.Fatalf("%s: no token may follow %q with %d left", m.name, text, left)
		}
		id := may[r.IntN(len(may))]
		if follow.Complete() && r.IntN(3) == 0 {
			id = m.end
		}
		if err := follow.Accept(id); err != nil {
			t.Fatalf("%s: behind %q: %v", m.name, text, err)
		}
		if id == m.end {
			break
		}
		text = append(text, m.tokens[id]...)
	}
	return text, follow.Complete()
}

// takes feeds a text in random tokens; each token must be in the mask exactly if it is accepted.
func (m *model) takes(t testing.TB, c *grammar.Constraint, text string, r *rand.Rand) bool {
	t.Helper()
	follow := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	for rest := []byte(text); len(rest) > 0; {
		var may []int32
		for id, b := range m.tokens {
			if len(b) > 0 && bytes.HasPrefix(rest, b) {
				may = append(may, int32(id))
			}
		}
		if len(may) == 0 {
			t.Fatalf("%s cannot spell %q", m.name, text)
		}
		follow.Mask(mask, 0)
		id := may[r.IntN(len(may))]
		masked := mask[id>>5]>>(id&31)&1 != 0
		err := follow.Accept(id)
		if masked != (err == nil) {
			t.Fatalf("%s: %q before %q: the mask says %v, Accept %v", m.name, m.tokens[id], rest, masked, err)
		}
		if err != nil {
			return false
		}
		rest = rest[len(m.tokens[id]):]
	}
	return follow.Complete()
}
