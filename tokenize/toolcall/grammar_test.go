package toolcall

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"remote-client-server/tokenize/grammar"
)

// Added tokens of the vocabulary of these tests stand at 1000 and above, as addedTokens says.
const endToken = 256

// write lets a random model write an answer; shown are the added tokens.
func write(t *testing.T, g *grammar.Grammar, left int, shown map[int32]string, r *rand.Rand) string {
	t.Helper()
	pieces := []string{`{"`, `"}`, `}}`, "}\n", `", "`, `": `, `[[`, `]}`, "\n</", "<tool_call>", "</tool_call>", `{"name": "`, "name", `"arguments": {`}
	token := func(id int32) ([]byte, bool, bool) {
		switch {
		case id < 256:
			return []byte{byte(id)}, false, true
		case id > 256 && int(id) < 257+len(pieces):
			return []byte(pieces[id-257]), false, true
		case shown[id] != "":
			return []byte(shown[id]), true, true
		}
		return nil, id == endToken, id == endToken
	}
	v, err := grammar.NewVocabulary(1002, token, []int32{endToken})
	if err != nil {
		t.Fatal(err)
	}
	c, err := grammar.NewConstraint(g, v)
	if err != nil {
		t.Fatal(err)
	}
	left += c.Least()
	m := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	var out strings.Builder
	for ; left > 0; left-- {
		m.Mask(mask, left)
		var may []int32
		for id := range int32(v.Size()) {
			if mask[id>>5]>>(id&31)&1 != 0 {
				may = append(may, id)
			}
		}
		if len(may) == 0 {
			t.Fatalf("nothing may follow %q", out.String())
		}
		id := may[r.IntN(len(may))]
		if err := m.Accept(id); err != nil {
			t.Fatal(err)
		}
		if id == endToken {
			break
		}
		b, _, _ := token(id)
		out.Write(b)
	}
	if !m.Complete() {
		t.Fatalf("%q is not complete", out.String())
	}
	return out.String()
}

func TestARandomModelWritesCallsThatParse(t *testing.T) {
	tools := []Tool{
		{"weather", json.RawMessage(`{"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["city"], "additionalProperties": false}`)},
		{"now", nil},
		{"free", json.RawMessage(`{}`)},
	}
	r := rand.New(rand.NewPCG(4, 4))
	for _, c := range []struct {
		name  string
		f     Format
		shown map[int32]string
	}{
		{"Hermes", hermes, map[int32]string{1000: "<tool_call>", 1001: "</tool_call>"}},
		{"Hermes without tokens", Detect("<tool_call>\n{}", addedTokens()), nil},
		{"Llama", llama, map[int32]string{1000: "<|python_tag|>"}},
		{"Mistral", mistral, map[int32]string{1000: "[TOOL_CALLS]"}},
		{"Phi-4-mini", phi, map[int32]string{1000: "<|tool_call|>", 1001: "<|/tool_call|>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, err := c.f.Grammar(tools, true)
			if err != nil {
				t.Fatal(err)
			}
			rest, err := c.f.Continuation(tools, false)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 40 {
				text := ""
				if i%2 == 0 {
					text = write(t, whole, r.IntN(80), c.shown, r)
				} else {
					text = c.f.Trigger().Text + write(t, rest, r.IntN(80), c.shown, r)
				}
				p := c.f.Parser(tools)
				events := append(p.Push(text), p.Close()...)
				calls := 0
				arguments, name := "", ""
				for _, e := range events {
					switch e.Kind {
					case Content:
						t.Fatalf("%q has content %q", text, e.Text)
					case CallStart:
						calls++
						arguments, name = "", e.Name
					case CallArguments:
						arguments += e.Text
					case CallEnd:
						var a map[string]any
						if err := json.Unmarshal([]byte(arguments), &a); err != nil {
							t.Fatalf("%q: arguments %q: %v", text, arguments, err)
						}
						days, given := a["days"].(float64)
						_, city := a["city"].(string)
						if name == "weather" && (!city || given && (days < 1 || days > 9)) || name == "now" && len(a) > 0 {
							t.Fatalf("%q: %s is called with %q", text, name, arguments)
						}
					}
				}
				if calls == 0 || i%2 == 1 && calls > 1 {
					t.Fatalf("%q has %d calls", text, calls)
				}
			}
		})
	}
}
