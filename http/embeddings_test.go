package http

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// TestEmbeddings gives requests and the parts of the answer that they change.
func TestEmbeddings(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		name, body string
		data       string // of the answer, as [vector, ...]
		tokens     int
		warnings   string
	}{
		{"a string", `{"input":"abc"}`, `[[3,97,0.5,-0.25]]`, 3, ""},
		{"an empty string", `{"input":""}`, `[[0,0,0.5,-0.25]]`, 0, ""},
		{"strings", `{"input":["b","cc"]}`, `[[1,98,0.5,-0.25],[2,99,0.5,-0.25]]`, 3, ""},
		{"token ids", `{"input":[7,8,9]}`, `[[3,7,0.5,-0.25]]`, 3, ""},
		{"lists of token ids", `{"input":[[7],[8,9]]}`, `[[1,7,0.5,-0.25],[2,8,0.5,-0.25]]`, 3, ""},
		{"ids that are whole but not written so", `{"input":[7.0,8e0]}`, `[[2,7,0.5,-0.25]]`, 2, ""},
		{"blanks everywhere", " {\n\"input\" :\t[ \"b\" , \"cc\" ] }\r\n", `[[1,98,0.5,-0.25],[2,99,0.5,-0.25]]`, 3, ""},
		{"escapes", `{"\u0069nput":"\u00e9\"\ud83d\ude00"}`, `[[7,195,0.5,-0.25]]`, 7, ""},
		{"a NUL", `{"input":"a\u0000"}`, `[[2,97,0.5,-0.25]]`, 2, ""},
		{"dimensions", `{"input":"a","dimensions":2}`, `[[1,97]]`, 1, ""},
		{"dimensions with a warning", `{"input":"a","dimensions":3}`, `[[1,97,0.5]]`, 1, `["dimensions 3 is none of the model's sizes"]`},
		{"float said aloud", `{"input":"a","encoding_format":"float","user":"u","normalize":true}`, `[[1,97,0.5,-0.25]]`, 1, ""},
		{"null is absent", `{"input":"a","dimensions":null,"encoding_format":null,"user":null,"model":null,"normalize":null,"prompt":null}`, `[[1,97,0.5,-0.25]]`, 1, ""},
		{"a prompt", `{"input":"a","prompt":"zz"}`, `[[3,122,0.5,-0.25]]`, 3, ""},
		{"a prompt's name", `{"input":"a","prompt_name":"passage"}`, `[[3,112,0.5,-0.25]]`, 3, ""},
		{"an empty prompt wins", `{"input":"a","prompt":"","prompt_name":"query"}`, `[[1,97,0.5,-0.25]]`, 1, ""},
		{"a name that every model has", `{"input":"a","prompt_name":"document"}`, `[[1,97,0.5,-0.25]]`, 1, ""},
		{"an unknown field twice", `{"input":"a","foo":1,"foo":{"x":1,"x":2}}`, `[[1,97,0.5,-0.25]]`, 1, `["unknown field \"foo\" was ignored"]`},
		{"an explicit prompt wins", `{"input":"a","prompt":"z","prompt_name":"nobody"}`, `[[2,122,0.5,-0.25]]`, 2, ""},
		{"input type query", `{"input":"a","input_type":"query"}`, `[[3,113,0.5,-0.25]]`, 3, ""},
		{"input type document", `{"input":"a","input_type":"document"}`, `[[3,112,0.5,-0.25]]`, 3, ""},
		{"Cohere's input type", `{"input":"a","input_type":"search_query"}`, `[[3,113,0.5,-0.25]]`, 3, ""},
		{"a prompt beats the input type", `{"input":"a","input_type":"query","prompt":"z"}`, `[[2,122,0.5,-0.25]]`, 2, `["input_type was ignored: the request names its prompt"]`},
		{"no prompt for ids", `{"input":[1],"prompt_name":"query"}`, `[[1,1,0.5,-0.25]]`, 1, `["no prompt was added: token ids are used as given"]`},
		{"another model", `{"input":"a","model":"gpt"}`, `[[1,97,0.5,-0.25]]`, 1, `["this server runs \"tiny\", whatever model a request names"]`},
		{"the repository", `{"input":"a","model":"ORG/tiny"}`, `[[1,97,0.5,-0.25]]`, 1, ""},
		{"unknown fields", `{"input":"a","foo":{"bar":[1,{"x":null}]},"b\"":1}`, `[[1,97,0.5,-0.25]]`, 1, `["unknown field \"foo\" was ignored","unknown field \"b\\\"\" was ignored"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/api/embeddings", "/v1/embeddings", "/openai/v1/embeddings"} {
				a := h.post(path, c.body)
				var vectors []string
				var raw struct {
					Data []struct {
						Embedding json.RawMessage
						Index     int
						Object    string
					}
					Usage    map[string]int
					Warnings json.RawMessage
				}
				if err := json.Unmarshal([]byte(a.body), &raw); err != nil || a.status != 200 {
					t.Fatalf("%s: %d %s (%v)", path, a.status, a.body, err)
				}
				for i, d := range raw.Data {
					if d.Index != i || d.Object != "embedding" {
						t.Errorf("entry %d: %+v", i, d)
					}
					vectors = append(vectors, string(d.Embedding))
				}
				if got := "[" + strings.Join(vectors, ",") + "]"; got != c.data {
					t.Errorf("%s: vectors %s, want %s", path, got, c.data)
				}
				if raw.Usage["prompt_tokens"] != c.tokens || raw.Usage["total_tokens"] != c.tokens {
					t.Errorf("%s: usage %v, want %d", path, raw.Usage, c.tokens)
				}
				if string(raw.Warnings) != c.warnings {
					t.Errorf("%s: warnings %s, want %s", path, raw.Warnings, c.warnings)
				}
			}
		})
	}
}

func TestModelIsEchoed(t *testing.T) {
	h := open(t)
	for body, want := range map[string]string{
		one:                        `"model":"tiny"`,
		`{"input":"a","model":""}`: `"model":"tiny"`,
		`{"input":"a","model":"text-embedding-3-small"}`: `"model":"text-embedding-3-small"`,
	} {
		if a := h.post("/v1/embeddings", body); !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
}

func TestTruncationIsReported(t *testing.T) {
	h := open(t)
	const want = `],"usage":{"prompt_tokens":17,"total_tokens":17,"truncated":2},"warnings":["2 of 3 inputs were cut to the model's 8 tokens"]}`
	for _, body := range []string{
		`{"input":["123456789","1234567890","1"]}`,
		`{"input":[[1,2,3,4,5,6,7,8,9],[1,2,3,4,5,6,7,8,9,10],[1]]}`,
	} {
		if a := h.post("/v1/embeddings", body); !strings.HasSuffix(a.body, want) {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	if h.notes.inputs != [3]int{6, 34, 4} {
		t.Errorf("counted %v", h.notes.inputs)
	}
}

func TestBase64(t *testing.T) {
	h := open(t)
	for _, path := range []string{"/api/embeddings", "/v1/embeddings"} {
		a := h.post(path, `{"input":["a","bb"],"encoding_format":"base64"}`)
		var got struct{ Data []struct{ Embedding string } }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Data) != 2 {
			t.Fatal(err, a.body)
		}
		b, err := base64.StdEncoding.DecodeString(got.Data[1].Embedding)
		if err != nil {
			t.Fatal(err)
		}
		var v []float32
		for ; len(b) >= 4; b = b[4:] {
			v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		if fmt.Sprint(v) != "[2 98 0.5 -0.25]" {
			t.Errorf("%s: %v", path, v)
		}
	}
}

func TestNormalizeReachesTheModel(t *testing.T) {
	h := open(t)
	var raw []bool
	h.run = func(batch []*queue.Job) {
		w := batch[0].Task().(*embed.Work)
		raw = append(raw, w.Options.Raw)
		compute(w)
		batch[0].Finish(nil)
	}
	h.post("/v1/embeddings", `{"input":"a"}`)
	h.post("/v1/embeddings", `{"input":"a","normalize":false}`)
	if fmt.Sprint(raw) != "[false true]" {
		t.Error(raw)
	}
}

func TestNumericStrings(t *testing.T) {
	h := open(t)
	for _, body := range []string{`{"input":"a","dimensions":"2"}`, `{"input":"a","dimensions":" 2.0 "}`} {
		if a := h.post("/api/embeddings", body); a.status != 200 || !strings.Contains(a.body, `"embedding":[1,97]`) {
			t.Errorf("/api %s: %d %s", body, a.status, a.body)
		}
		for _, path := range []string{"/v1/embeddings", "/openai/v1/embeddings"} {
			a := h.post(path, body)
			if a.status != 400 || !strings.Contains(a.body, `"message":"dimensions: must be a number, not a string"`) {
				t.Errorf("%s %s: %d %s", path, body, a.status, a.body)
			}
		}
	}
	if a := h.post("/api/embeddings", `{"input":"a","dimensions":"two"}`); a.status != 400 || !strings.Contains(a.body, "dimensions: must be a number, not a string") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestBadRequests gives bodies that must be refused, and how.
func TestBadRequests(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ name, body, param, message string }{
		{"nothing", ``, "", "not valid JSON: the text ends where an object should be"},
		{"no JSON", `input=a`, "", "not valid JSON: byte 0 should be an object"},
		{"a list", `[]`, "", "must be an object, not a list"},
		{"cut short", `{"input":"a"`, "", "not valid JSON: the text ends where ',' or '}' should be"},
		{"cut in a string", `{"input":"a`, "input", "input: not valid JSON: the text ends where the end of a string should be"},
		{"more behind", `{"input":"a"}{}`, "", "not valid JSON: byte 13 should be the end"},
		{"a comma too many", `{"input":"a",}`, "", "not valid JSON: byte 13 should be a key"},
		{"a bare word", `{"input":nope}`, "input", "input: not valid JSON: byte 9 should be a string, a list of strings or token ids"},
		{"half a word", `{"input":"a","normalize":tru}`, "normalize", "normalize: not valid JSON: byte 25 should be a boolean"},
		{"a bare newline", "{\"input\":\"a\nb\"}", "input", "input: not valid JSON: byte 11 should be an escaped control character"},
		{"an escape that is none", `{"input":"\x"}`, "input", "input: not valid JSON: byte 11 should be an escape"},
		{"half an escape", `{"input":"\u00`, "input", "input: not valid JSON: the text ends where four hexadecimal digits should be"},
		{"half a surrogate pair", `{"input":"\ud83d"}`, "input", "input: holds half of a surrogate pair"},
		{"halves in the wrong order", `{"input":"\ude00\ud83d"}`, "input", "input: holds half of a surrogate pair"},
		{"invalid UTF-8", "{\"input\":\"a\xff\"}", "input", "input: is not valid UTF-8"},
		{"invalid UTF-8 behind an escape", "{\"input\":[\"a\",\"\\n\xc3\"]}", "input[1]", "input[1]: is not valid UTF-8"},
		{"a key twice", `{"input":"a","input":"b"}`, "input", "input: given twice"},
		{"a key twice, once null", `{"input":"a","input":null}`, "input", "input: given twice"},
		{"a long prompt", `{"input":"a","prompt":"` + strings.Repeat("x", maxPrompt+1) + `"}`, "prompt", "prompt: is longer than 65536 bytes"},
		{"a key twice, once escaped", `{"input":"a","\u0069nput":"b"}`, "input", "input: given twice"},

		{"no input", `{}`, "input", "input: is required"},
		{"null", `{"input":null}`, "input", "input: is required"},
		{"a number", `{"input":1}`, "input", "input: must be a string, a list of strings or token ids, not a number"},
		{"a boolean", `{"input":true}`, "input", "input: must be a string, a list of strings or token ids, not a boolean"},
		{"an object", `{"input":{}}`, "input", "input: must be a string, a list of strings or token ids, not an object"},
		{"an empty list", `{"input":[]}`, "input", "input: must not be empty"},
		{"an empty list of ids", `{"input":[[1],[]]}`, "input[1]", "input[1]: must not be empty"},
		{"a null among strings", `{"input":["a",null]}`, "input[1]", "input[1]: is null, where the list began with a string"},
		{"a list of nulls", `{"input":[null]}`, "input[0]", "input[0]: must be a string or a list of token ids, not null"},
		{"a string among ids", `{"input":[1,"a"]}`, "input[1]", "input[1]: is a string, where the list began with a number"},
		{"a list among strings", `{"input":["a",[1]]}`, "input[1]", "input[1]: is a list, where the list began with a string"},
		{"a string in a list of ids", `{"input":[[1,"a"]]}`, "input[0][1]", "input[0][1]: must be a number, not a string"},
		{"a negative id", `{"input":[-1]}`, "input[0]", "input[0]: must be from 0 to 2147483647"},
		{"an id past the vocabulary", `{"input":[[1],[1,256]]}`, "input[1]", "input[1]: token id 256 at 1: the vocabulary has 256"},
		{"an id of 2^31", `{"input":[2147483648]}`, "input[0]", "input[0]: must be from 0 to 2147483647"},
		{"an id of 2^63", `{"input":[9223372036854775808]}`, "input[0]", "input[0]: must be from 0 to 2147483647"},
		{"an id of 1e999", `{"input":[1e999]}`, "input[0]", "input[0]: must be from 0 to 2147483647"},
		{"half an id", `{"input":[1.5]}`, "input[0]", "input[0]: must be a whole number"},
		{"NaN", `{"input":[NaN]}`, "input[0]", "input[0]: not valid JSON: byte 10 should be a string or a list of token ids"},
		{"a leading zero", `{"input":[01]}`, "input", "input: not valid JSON: byte 11 should be ',' or ']'"},
		{"too many inputs", `{"input":["1","2","3","4","5","6","7","8","9"]}`, "input[8]", "input[8]: more than 8 inputs"},
		{"10,000 inputs", `{"input":["a"` + strings.Repeat(`,"a"`, 9_999) + `]}`, "input[8]", "input[8]: more than 8 inputs"},
		{"too many lists", `{"input":[[1],[2],[3],[4],[5],[6],[7],[8],[9]]}`, "input[8]", "input[8]: more than 8 inputs"},

		{"a model that is a number", `{"input":"a","model":5}`, "model", "model: must be a string, not a number"},
		{"a model of a kilobyte", `{"input":"a","model":"` + strings.Repeat("m", 1025) + `"}`, "model", "model: is longer than 1024 bytes"},
		{"another format", `{"input":"a","encoding_format":"hex"}`, "encoding_format", `encoding_format: must be float or base64, not "hex"`},
		{"a format that is a list", `{"input":"a","encoding_format":[]}`, "encoding_format", "encoding_format: must be a string, not a list"},
		{"dimensions 0", `{"input":"a","dimensions":0}`, "dimensions", "dimensions: must be from 1 to 1048576"},
		{"dimensions -1", `{"input":"a","dimensions":-1}`, "dimensions", "dimensions: must be from 1 to 1048576"},
		{"dimensions -0", `{"input":"a","dimensions":-0}`, "dimensions", "dimensions: must be from 1 to 1048576"},
		{"dimensions past the model", `{"input":"a","dimensions":5}`, "dimensions", "dimensions: 5: the model has 4"},
		{"dimensions that are a list", `{"input":"a","dimensions":[4]}`, "dimensions", "dimensions: must be a number, not a list"},
		{"normalize that is a number", `{"input":"a","normalize":1}`, "normalize", "normalize: must be a boolean, not a number"},
		{"a user that is an object", `{"input":"a","user":{}}`, "user", "user: must be a string, not an object"},
		{"a prompt that is a list", `{"input":"a","prompt":[]}`, "prompt", "prompt: must be a string, not a list"},
		{"a name that is a number", `{"input":"a","prompt_name":1}`, "prompt_name", "prompt_name: must be a string, not a number"},
		{"an unknown name", `{"input":"a","prompt_name":"x"}`, "prompt_name", `prompt_name: no prompt is called "x": this model has passage, query`},
		{"an unknown kind", `{"input":"a","input_type":"x"}`, "input_type", `input_type: must be query, document or the name of a prompt, not "x": this model has passage, query`},
		{"a kind that is a boolean", `{"input":"a","input_type":true}`, "input_type", "input_type: must be a string, not a boolean"},
	} {
		t.Run(c.name, func(t *testing.T) {
			message, _ := json.Marshal(c.message)
			detail, _ := json.Marshal("Invalid request format: " + c.message)
			param, _ := json.Marshal(c.param)
			if c.param == "" {
				param = []byte("null")
			}
			plain := func(b []byte) string { // encoding/json escapes for HTML
				return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
			}
			want := map[string]string{
				"/api/embeddings": fmt.Sprintf(`{"detail":%s}`, plain(detail)),
				"/api/generate":   fmt.Sprintf(`{"detail":%s}`, plain(detail)),
				"/v1/embeddings": fmt.Sprintf(`{"detail":%s,"error":{"message":%s,"type":"invalid_request_error","param":%s,"code":null}}`,
					plain(detail), plain(message), param),
			}
			for path, body := range want {
				a := h.post(path, c.body)
				if a.status != 400 || a.body != body {
					t.Errorf("%s: %d %s\nwant %s", path, a.status, a.body, body)
				}
			}
		})
	}
	if a := h.post("/v1/embeddings", one); a.status != 200 {
		t.Errorf("after it all: %d", a.status)
	}
}

// TestPromptsMultiplied gives prompts that make much of a small body.
func TestPromptsMultiplied(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxBody, o.MaxInputs = 100_000, 10 })
	calls := 0
	h.model.encode = func() { calls++ }
	body := func(inputs int) string {
		return `{"input":["a"` + strings.Repeat(`,"a"`, inputs-1) + `],"prompt":"` + strings.Repeat("x", 39_999) + `"}`
	}
	if a := h.post("/v1/embeddings", body(5)); a.status != 200 {
		t.Errorf("200,000 bytes: %d %s", a.status, a.body)
	}
	calls = 0
	const want = "prompt: makes 240000 bytes of the inputs, more than 200000"
	if a := h.post("/v1/embeddings", body(6)); a.status != 400 || !strings.Contains(a.body, want) || calls > 0 {
		t.Errorf("240,000 bytes: %d %s, %d texts encoded", a.status, a.body, calls)
	}
}

func TestModelWithoutPrompts(t *testing.T) {
	h := open(t)
	h.model.info.Prompts = nil
	for _, name := range []string{"query", "document"} {
		if a := h.post("/v1/embeddings", `{"input":"a","prompt_name":"`+name+`"}`); a.status != 200 || !strings.Contains(a.body, "[1,97,") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, field := range []string{"prompt_name", "input_type"} {
		if a := h.post("/v1/embeddings", `{"input":"a","`+field+`":"passages"}`); a.status != 400 || !strings.Contains(a.body, ": this model has no prompts") {
			t.Errorf("%s: %d %s", field, a.status, a.body)
		}
	}
}

// TestFault10_Depth gives bodies that would overflow the stack of a reader
// without a limit. The error's path is as deep as the limit and no deeper.
func TestFault10_Depth(t *testing.T) {
	h := open(t)
	const deep = 100_000
	for name, body := range map[string]string{
		"lists":            `{"x":` + strings.Repeat("[", deep),
		"objects":          strings.Repeat(`{"x":`, deep),
		"both, and closed": `{"x":` + strings.Repeat(`{"x":[`, deep/2) + strings.Repeat("]}", deep/2) + "}",
		"the input":        `{"input":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			a := h.post("/v1/embeddings", body)
			want := "nested deeper than 256 levels"
			if name == "the input" {
				want = "input[0][0]: must be a number, not a list"
			}
			if a.status != 400 || !strings.Contains(a.body, want) || len(a.body) > 4096 {
				t.Errorf("%d %.300s", a.status, a.body)
			}
			for _, path := range []string{"/api/generate", "/tokenize", "/detokenize", "/v2/models/tiny/infer"} {
				if a := h.post(path, body); a.status != 400 || len(a.body) > 4096 {
					t.Errorf("%s: %d %.300s", path, a.status, a.body)
				}
			}
		})
	}
	h.healthy()
}

func TestStrictFields(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.StrictFields = true })
	if a := h.post("/v1/embeddings", `{"input":"a","foo":1}`); a.status != 400 || !strings.Contains(a.body, `"param":"foo"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	h := open(t)
	var b strings.Builder
	b.WriteString(`{"input":"a"`)
	for i := range 1000 {
		fmt.Fprintf(&b, `,"%s%d":0`, strings.Repeat("x", 500), i)
	}
	a := h.post("/v1/embeddings", b.String()+"}")
	if a.status != 200 || len(a.body) > 4096 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
}

func TestInputTypeWithoutSuchAPrompt(t *testing.T) {
	h := open(t)
	h.model.info.Prompts = nil
	a := h.post("/v1/embeddings", `{"input":"a","input_type":"query"}`)
	if a.status != 200 || !strings.Contains(a.body, `"warnings":["input_type \"query\" added nothing: the model has no prompt for it"]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestValuesThatJSONCannotHold(t *testing.T) {
	h := open(t)
	nan := float32(math.NaN())
	h.run = func(batch []*queue.Job) {
		batch[0].Task().(*embed.Work).Vectors = [][]float32{{1, nan}}
		batch[0].Finish(nil)
	}
	for _, body := range []string{one, `{"input":"a","encoding_format":"base64"}`} {
		if a := h.post("/v1/embeddings", body); a.status != 500 || !strings.Contains(a.body, "not finite") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}
