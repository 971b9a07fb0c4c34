package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// reference is the embeddings request as encoding/json reads it, where input is
// left as it is written.
type reference struct {
	Input          json.RawMessage `json:"input"`
	Model          *string         `json:"model"`
	EncodingFormat *string         `json:"encoding_format"`
	Dimensions     *json.Number    `json:"dimensions"`
	Normalize      *bool           `json:"normalize"`
	Prompt         *string         `json:"prompt"`
	PromptName     *string         `json:"prompt_name"`
	InputType      *string         `json:"input_type"`
	User           *string         `json:"user"`
}

// FuzzEmbedDecoder compares the decoder with encoding/json on any text: what
// one accepts, the other accepts with equal values. The exceptions are on
// purpose and tell themselves by the error: bounds, duplicate keys, half
// surrogate pairs. What encoding/json is too generous with is sorted out before:
// invalid UTF-8, and keys that differ in case.
func FuzzEmbedDecoder(f *testing.F) {
	for _, s := range []string{
		one, `{"input":["a","b"],"model":"m","user":"u"}`, `{"input":[1,2.0,3e0]}`, `{"input":[[1],[2,3]]}`, `{"input":"a","dimensions":2.0}`, `{"input":"\ud83d\ude00\u0000"}`,
		`{"input":"a","encoding_format":"base64","normalize":false,"prompt":"","prompt_name":"n","input_type":"query"}`, `{"input":null}`, `{"input":"a","normalize":null,"x":[{}]}`,
		`{"input":"a","dimensions":12e-1}`, `{"input":"a","dimensions":"2"}`, `{"input":{}}`, `{"input":[]}`, `{"input":[[]]}`, `{"input":["a",1]}`, `{"input":"a"}x`, `[]`, `null`,
	} {
		f.Add([]byte(s))
	}
	l := limits{inputs: 4}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeEmbed(body, l)
		if err == nil && (!utf8.Valid(body) || !json.Valid(body)) {
			t.Fatalf("%q is no JSON, and was accepted", body)
		}
		want, ok := readReference(body)
		switch {
		case err == nil && !ok:
			t.Fatalf("%q was accepted", body)
		case err == nil:
			compareRequests(t, body, got, want)
		case ok:
			for _, why := range []string{"given twice", "surrogate", "nested deeper", "more than", "longer than", "must be from", "must be float or base64", "must not be empty"} {
				if strings.Contains(err.Error(), why) {
					return
				}
			}
			t.Fatalf("%q was refused: %v", body, err)
		}
	})
}

// readReference reads a body as encoding/json does, as far as that is strict.
func readReference(body []byte) (*embedRequest, bool) {
	var keys map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &keys) != nil || keys == nil {
		return nil, false
	}
	exact := map[string]json.RawMessage{} // encoding/json would take "Input" as well
	for _, name := range embedFields {
		if v, ok := keys[name]; ok {
			exact[name] = v
		}
	}
	b, err := json.Marshal(exact)
	var r reference
	if err != nil || json.Unmarshal(b, &r) != nil {
		return nil, false
	}
	str := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	q := &embedRequest{model: str(r.Model), base64: str(r.EncodingFormat) == "base64", prompt: r.Prompt, promptName: str(r.PromptName), inputType: str(r.InputType)}
	q.raw = r.Normalize != nil && !*r.Normalize
	if r.Dimensions != nil {
		if bytes.HasPrefix(bytes.TrimSpace(exact["dimensions"]), []byte{'"'}) { // json.Number takes strings
			return nil, false
		}
		n, ok := wholeReference(r.Dimensions.String())
		if !ok {
			return nil, false
		}
		q.dimensions = n
	}
	var text string
	var texts []string
	var ids []json.Number
	var lists [][]json.Number
	raw := bytes.TrimSpace(r.Input)
	switch {
	case len(raw) == 0 || raw[0] == 'n' || bytes.Contains(raw, []byte("null")) && raw[0] != '"' && hasNull(raw):
		return nil, false
	case json.Unmarshal(raw, &text) == nil:
		q.texts = []string{text}
	case json.Unmarshal(raw, &texts) == nil:
		q.texts = texts
	case json.Unmarshal(raw, &ids) == nil && !hasString(raw):
		list, ok := idsReference(ids)
		if !ok {
			return nil, false
		}
		q.ids = [][]int32{list}
	case json.Unmarshal(raw, &lists) == nil && !hasString(raw):
		for _, l := range lists {
			list, ok := idsReference(l)
			if !ok {
				return nil, false
			}
			q.ids = append(q.ids, list)
		}
	default:
		return nil, false
	}
	return q, true
}

// hasNull and hasString look into a list of lists.
func hasNull(raw []byte) bool   { return has(raw, nil) }
func hasString(raw []byte) bool { return has(raw, "") }

func has(raw []byte, kind any) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if reflect.TypeOf(token) == reflect.TypeOf(kind) {
			return true
		}
	}
}

// wholeReference is a number that is whole; the value counts only within the
// range of int32, beyond which the decoder refuses it.
func wholeReference(s string) (int, bool) {
	if len(s) > 12 || strings.ContainsAny(s, "eE") && len(s) > 8 { // beyond what float64 tells exactly: leave it to TestIntegers
		text, ok := whole(s)
		n, err := strconv.ParseInt(text, 10, 32)
		return int(n), ok && err == nil
	}
	v, err := strconv.ParseFloat(s, 64)
	return int(v), err == nil && v == float64(int(v))
}

func idsReference(list []json.Number) ([]int32, bool) {
	out := []int32{}
	for _, n := range list {
		v, ok := wholeReference(n.String())
		if !ok || v < 0 {
			return nil, false
		}
		out = append(out, int32(v))
	}
	return out, true
}

func compareRequests(t *testing.T, body []byte, got, want *embedRequest) {
	t.Helper()
	got.warnings = nil
	if (got.prompt == nil) != (want.prompt == nil) || got.prompt != nil && *got.prompt != *want.prompt {
		t.Fatalf("%q: prompts differ", body)
	}
	got.prompt, want.prompt = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q was read as %+v, want %+v", body, got, want)
	}
}

// FuzzTokens gives any body to /tokenize and /detokenize: an answer that is
// JSON, of one of three statuses.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{`{"prompt":"a"}`, `{"prompt":"","add_special_tokens":false,"model":"m"}`, `{"tokens":[97,0]}`, `{"tokens":[]}`, `{"prompt":"a","prompt":"b"}`, `{"tokens":[1e1]}`, "{\"prompt\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	s := bare()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/tokenize", "/api/detokenize", "/v1/detokenize"} {
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.SetRequestURI(path)
			ctx.Request.SetBody(body)
			s.handle(&ctx)
			if code := ctx.Response.StatusCode(); code != 200 && code != 400 || !json.Valid(ctx.Response.Body()) || !utf8.Valid(ctx.Response.Body()) {
				t.Fatalf("%s %q: %d %q", path, body, code, ctx.Response.Body())
			}
		}
	})
}

// bare is a server that is called without a connection.
func bare() *Server {
	s := New(Options{Name: "tiny", RepoID: "org/Tiny", Type: "embed", Observer: &silent{}, Queue: nil, MaxBody: 1 << 20, MaxInputs: 8})
	m := newFake()
	s.Ready(Loaded{Embed: m, Tokenizer: m})
	return s
}

// FuzzFind looks up any path: what is found is one of the routes, by a path
// that says its prefix, and with the id of a route that has one.
func FuzzFind(f *testing.F) {
	for _, s := range []string{
		"/", "/api/health", "/v1/models/org/Tiny", "/tiny/v1/embeddings", "/v2/models/a/b/infer", "/v2/models//infer", "/v2", "/v2x", "/api/jobs/1", "/api/jobs/1/2", "/openai/v1", "//", "", "/tiny", "/tiny/tiny/api/health", "/docs", "/assets/../x", "/v1/models/",
	} {
		f.Add(s, "tiny")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, path, model string) {
		if path == "" || path[0] != '/' { // fasthttp's paths begin so
			return
		}
		got := find(path, model)
		if got.route < otherRoute || int(got.route) >= len(routes) || got.route == preflightRoute {
			t.Fatalf("%q: route %d", path, got.route)
		}
		if got.route == otherRoute {
			return
		}
		if !strings.Contains(path, got.base) || (got.prefix == noPrefix) != (got.base == "") {
			t.Fatalf("%q: prefix %d, base %q", path, got.prefix, got.base)
		}
		switch got.route {
		case modelRoute, jobRoute, pageRoute, v2ModelRoute, v2ReadyRoute, v2InferRoute:
			if got.id == "" || !strings.Contains(path, got.id) {
				t.Fatalf("%q: id %q", path, got.id)
			}
		default:
			if got.id != "" {
				t.Fatalf("%q: id %q", path, got.id)
			}
		}
		// The model's segment in front changes nothing.
		if again := find("/some-model"+path, "Some-Model"); lookup("/some-model"+path).route == otherRoute && lookup(path) == got && again != got {
			t.Fatalf("%q: %+v, behind the model's name %+v", path, got, again)
		}
	})
}

// FuzzHeaders gives any value to the headers that are read.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", "ff--", `W/"a"`, `"a", W/"b", *`, `*`, ",,", `"`,
		"1", "0.5", "1e3", "-1", "NaN", "Inf", "0x1p4", "1e999", " 5 ", "86401", "1_0",
	} {
		f.Add(s)
	}
	s := bare()
	f.Fuzz(func(t *testing.T, word string) {
		if id, flags, ok := parseTraceparent(word); ok {
			if len(id) != 32 || len(flags) != 2 || strings.Trim(id+flags, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" || word[3:35] != id || word[53:55] != flags {
				t.Fatalf("traceparent %q: %q %q", word, id, flags)
			}
		}
		const tag = `W/"0123"`
		if matches(word, tag) && !strings.Contains(word, `"0123"`) && !strings.Contains(word, "*") {
			t.Fatalf("If-None-Match %q names %s", word, tag)
		}
		if !matches(word+","+tag, tag) || !matches(`"0123" , `+word, tag) {
			t.Fatalf("If-None-Match %q hides the tag beside it", word)
		}
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.Set("X-Request-Timeout", word)
		ctx.Request.Header.Set("X-Request-Id", word)
		c := &call{s: s, ctx: &ctx, started: time.Now()}
		end, err := c.deadline()
		var field *badField
		if err != nil && !errors.As(err, &field) {
			t.Fatalf("X-Request-Timeout %q: an error of type %T", word, err)
		}
		if d := end.Sub(c.started); err == nil && !end.IsZero() && (d < 0 || d > maxTimeout) {
			t.Fatalf("X-Request-Timeout %q: %v", word, d)
		}
		if id := follow(&ctx).request; !printable([]byte(id)) {
			t.Fatalf("X-Request-Id %q became %q", word, id)
		}
	})
}

// FuzzFraming gives any header: what is accepted has no line that two servers
// could see differently.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{"Host: x\r\n\r\n", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "A: b\r\n c\r\n\r\n", "A: b\n\r\n", "\r\n", "", "Transfer-Encoding: Chunked \r\n\r\n", "A\rB: c\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if framing(raw) != nil {
			return
		}
		lower := strings.ToLower("\r\n" + string(raw))
		if strings.Contains(lower, "\r\ncontent-length:") && strings.Contains(lower, "\r\ntransfer-encoding:") {
			t.Fatalf("%q has two lengths", raw)
		}
		if strings.Contains(lower, "\n ") || strings.Contains(lower, "\n\t") || strings.Count(lower, "\n") != strings.Count(lower, "\r\n") {
			t.Fatalf("%q", raw)
		}
	})
}
