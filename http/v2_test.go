package http

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"remote-client-server/runtime/queue"
)

const inferOne = `{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}]}`

// v2Read reads outputs as the protocol's client in SEMOSS does: no data is an
// empty list, one string in braces or brackets is JSON, one other value is
// itself, several are a list.
func v2Read(t *testing.T, body string) map[string]any {
	t.Helper()
	var a struct {
		ModelName string `json:"model_name"`
		ID        string
		Outputs   []struct {
			Name, Datatype string
			Shape          []int
			Data           []any
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err, body)
	}
	out := map[string]any{"model_name": a.ModelName, "id": a.ID}
	for _, o := range a.Outputs {
		n := 1
		for _, d := range o.Shape {
			n *= d
		}
		if n != len(o.Data) {
			t.Errorf("output %s: shape %v, %d elements", o.Name, o.Shape, len(o.Data))
		}
		switch len(o.Data) {
		case 0:
			out[o.Name] = []any{}
		case 1:
			out[o.Name] = o.Data[0]
			if s, ok := o.Data[0].(string); ok && len(s) > 1 && (s[0] == '{' && s[len(s)-1] == '}' || s[0] == '[' && s[len(s)-1] == ']') {
				var v any
				if err := json.Unmarshal([]byte(s), &v); err != nil {
					t.Fatal(err, s)
				}
				out[o.Name] = v
			}
		default:
			out[o.Name] = o.Data
		}
	}
	return out
}

func input(name, datatype, shape, data string) string {
	return `{"name":"` + name + `","shape":` + shape + `,"datatype":"` + datatype + `","data":` + data + `}`
}

func infer(inputs ...string) string { return `{"inputs":[` + strings.Join(inputs, ",") + `]}` }

func TestInfer(t *testing.T) {
	h := open(t)
	text := input("text", "BYTES", "[1]", `["ab"]`)
	for _, c := range []struct {
		name, body string
		want       string // the output as JSON
		warnings   string
	}{
		{"one text", infer(text), `[[2,97,0.5,-0.25]]`, ""},
		{"the other name", infer(input("input", "BYTES", "[2]", `["a","bb"]`)), `[[1,97,0.5,-0.25],[2,98,0.5,-0.25]]`, ""},
		{"a column", infer(input("text", "BYTES", "[2,1]", `[["a"],["b"]]`)), `[[1,97,0.5,-0.25],[1,98,0.5,-0.25]]`, ""},
		{"a column, flat", infer(input("text", "BYTES", "[2,1]", `["a","b"]`)), `[[1,97,0.5,-0.25],[1,98,0.5,-0.25]]`, ""},
		{"numbers inside BYTES", infer(input("text", "BYTES", "[2]", `[12,true]`)), `[[2,49,0.5,-0.25],[4,116,0.5,-0.25]]`, ""},
		{"scalars are strings", infer(text, input("dimensions", "BYTES", "[1]", `["2"]`), input("normalize", "BYTES", "[1]", `["True"]`)), `[[2,97]]`, ""},
		{"scalars of their type", infer(text, input("dimensions", "INT32", "[1]", `[2]`), input("normalize", "BOOL", "[1]", `[false]`)), `[[2,97]]`, ""},
		{"a prompt", infer(text, input("prompt", "BYTES", "[1]", `["z"]`)), `[[3,122,0.5,-0.25]]`, ""},
		{"a prompt's name", infer(text, input("prompt_name", "BYTES", "[1]", `["passage"]`)), `[[4,112,0.5,-0.25]]`, ""},
		{"an input type", infer(text, input("input_type", "BYTES", "[1]", `["query"]`)), `[[4,113,0.5,-0.25]]`, ""},
		{"parameters", `{"parameters":{"dimensions":2,"binary_data_output":false},"inputs":[` + text + `]}`, `[[2,97]]`, ""},
		{"null parameters", `{"id":null,"parameters":{"dimensions":null},"outputs":null,"inputs":[` + text + `]}`, `[[2,97,0.5,-0.25]]`, ""},
		{"an output by name", `{"inputs":[` + text + `],"outputs":[{"name":"output","parameters":{"binary_data":false}}]}`, `[[2,97,0.5,-0.25]]`, ""},
		{"unknown inputs", infer(text, input("temperature", "FP32", "[1]", `[0.5]`)), `[[2,97,0.5,-0.25]]`, `unknown input "temperature" was ignored`},
		{"unknown fields", `{"inputs":[` + text + `],"foo":1}`, `[[2,97,0.5,-0.25]]`, `unknown field "foo" was ignored`},
		{"unusual shortening", infer(text, input("dimensions", "INT32", "[1]", `[3]`)), `[[2,97,0.5]]`, `dimensions 3 is none of the model's sizes`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/v2/models/tiny/infer", "/v2/models/TINY/infer", "/v2/models/org/Tiny/infer", "/v2/models/org%2FTiny/infer", "/tiny/v2/models/tiny/infer"} {
				// What SEMOSS sends along, the false length included.
				a := h.do("POST", path, c.body, "Accept: text/event-stream", "Content-Type: application/json", "Inference-Header-Content-Length: 2000")
				if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
					t.Fatalf("%s: %d %s", path, a.status, a.body)
				}
				got := v2Read(t, a.body)
				output, _ := got["output"].(map[string]any)
				vectors, err := json.Marshal(output["embeddings"])
				if err != nil || string(vectors) != c.want {
					t.Errorf("%s, want %s", a.body, c.want)
				}
				var want [][]float64
				if err := json.Unmarshal([]byte(c.want), &want); err != nil {
					t.Fatal(err)
				}
				shape, _ := output["shape"].([]any)
				if output["model_id"] != "org/Tiny" || output["embedding_dim"] != float64(len(want[0])) ||
					len(shape) != 2 || shape[0] != float64(len(want)) || shape[1] != float64(len(want[0])) {
					t.Errorf("%v", output)
				}
				if got["model_name"] != "tiny" || got["id"] != a.header.Get("X-Job-Id") {
					t.Errorf("model %v, id %v", got["model_name"], got["id"])
				}
				if quoted, _ := json.Marshal(c.warnings); (c.warnings != "") != strings.Contains(a.body, `"parameters":{"warnings":`+string(quoted)+`}`) {
					t.Errorf("warnings of %s", a.body)
				}
			}
		})
	}
}

func TestInferEchoesTheID(t *testing.T) {
	h := open(t)
	if a := h.post("/v2/models/tiny/infer", `{"id":"b0\"c1",`+inferOne[1:]); !strings.HasPrefix(a.body, `{"model_name":"tiny","id":"b0\"c1","outputs":[`) {
		t.Error(a.body)
	}
}

func TestInferRefuses(t *testing.T) {
	h := open(t)
	text := input("text", "BYTES", "[1]", `["ab"]`)
	for _, c := range []struct{ name, body, want string }{
		{"no JSON", `{`, "not valid JSON: the text ends where a key should be"},
		{"no inputs", `{}`, "inputs: is required"},
		{"empty inputs", `{"inputs":[]}`, "inputs: one named text with at least one element is required"},
		{"inputs of another kind", `{"inputs":{}}`, "inputs: must be a list, not an object"},
		{"an input of another kind", `{"inputs":[1]}`, "inputs[0]: must be an object, not a number"},
		{"no text", infer(input("dimensions", "INT32", "[1]", "[2]")), "inputs: one named text with at least one element is required"},
		{"no name", `{"inputs":[{"shape":[1],"datatype":"BYTES","data":["a"]}]}`, "inputs[0].name: is required"},
		{"no shape", `{"inputs":[{"name":"text","datatype":"BYTES","data":["a"]}]}`, "inputs[0].shape: is required"},
		{"no datatype", `{"inputs":[{"name":"text","shape":[1],"data":["a"]}]}`, "inputs[0].datatype: is required"},
		{"no data", `{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES"}]}`, "inputs[0].data: is required"},
		{"no element", infer(input("text", "BYTES", "[0]", `[]`)), "inputs: one named text with at least one element is required"},
		{"another datatype", infer(input("text", "STRING", "[1]", `["a"]`)), `inputs[0].datatype: "STRING" is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16 to FP64, BYTES`},
		{"more than the shape", infer(input("text", "BYTES", "[1]", `["a","b"]`)), "inputs[0].data: has 2 elements, the shape is of another number"},
		{"a shape past all bounds", infer(input("text", "BYTES", "[1048576,1048576,1048576,1048576]", `["a"]`)), "inputs[0].data: has 1 elements, the shape is of another number"},
		{"a negative shape", infer(input("text", "BYTES", "[-1]", `["a"]`)), "inputs[0].shape[0]: must be from 0 to 1048576"},
		{"elements of another kind", infer(text, input("dimensions", "INT32", "[1]", `["2"]`)), "inputs[1].data[0]: must be a number for INT32, not a string"},
		{"a null element", infer(input("text", "BYTES", "[1]", `[null]`)), "inputs[0].data[0]: must not be null"},
		{"an object for a text", infer(input("text", "BYTES", "[1]", `[{}]`)), "inputs[0].data[0]: must be a string, not an object"},
		{"lists in lists in lists", infer(input("text", "BYTES", "[1]", `[[[[[[[[["a"]]]]]]]]]`)), "lists are nested deeper than 8"},
		{"twice", infer(text, text), `inputs[1].name: "text" is given twice`},
		{"both names", infer(text, input("input", "BYTES", "[1]", `["a"]`)), "inputs[1].name: the texts are given twice"},
		{"too many texts", infer(input("text", "BYTES", "[9]", `["","","","","","","","",""]`)), "inputs[0].data: more than 8 inputs"},
		{"dimensions too many", infer(text, input("dimensions", "INT32", "[1]", `[5]`)), "dimensions: 5: the model has 4"},
		{"dimensions no number", infer(text, input("dimensions", "BYTES", "[1]", `["two"]`)), "inputs[1].data: not valid JSON"},
		{"two dimensions", infer(text, input("dimensions", "INT32", "[2]", `[1,2]`)), "inputs[1].data: must hold one value, not 2"},
		{"normalize maybe", infer(text, input("normalize", "BYTES", "[1]", `["maybe"]`)), "inputs[1].data: must be a boolean"},
		{"an unknown prompt", infer(text, input("prompt_name", "BYTES", "[1]", `["nobody"]`)), `prompt_name: no prompt is called "nobody": this model has passage, query`},
		{"an unknown output", `{"inputs":[` + text + `],"outputs":[{"name":"logits"}]}`, `outputs: there is no output "logits": this model has output`},
		{"binary input", `{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"],"parameters":{"binary_data_size":9}}]}`, "send data as JSON"},
		{"binary output", `{"inputs":[` + text + `],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`, "send data as JSON"},
		{"all output binary", `{"inputs":[` + text + `],"parameters":{"binary_data_output":true}}`, "send data as JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.post("/v2/models/tiny/infer", c.body)
			var e struct{ Error string }
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 400 || !strings.Contains(e.Error, c.want) {
				t.Errorf("%d %s\nwant %s", a.status, a.body, c.want)
			}
		})
	}
	strict := open(t, func(o *Options, _ *queue.Options) { o.StrictFields = true })
	if a := strict.post("/v2/models/tiny/infer", infer(text, input("foo", "BYTES", "[1]", `["a"]`))); a.status != 400 || a.body != `{"error":"inputs[1].name: unknown input \"foo\""}` {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestInferBinaryForm counts the length header only under the content type it
// belongs to.
func TestInferBinaryForm(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		length, tail string
		status       int
	}{
		{"JSON", "", 200}, {"JSON", "\x01\x00\x00\x00a", 400}, {"2000", "", 400}, {"-1", "", 400}, {"x", "", 400}, {"", "", 200},
	} {
		length := strings.ReplaceAll(c.length, "JSON", strconv.Itoa(len(inferOne)))
		a := h.do("POST", "/v2/models/tiny/infer", inferOne+c.tail, "Content-Type: application/octet-stream", "Inference-Header-Content-Length: "+length)
		if a.status != c.status {
			t.Errorf("length %q: %d %s", length, a.status, a.body)
		}
	}
}

func TestV2Metadata(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.Version = "1.2.3" })
	const model = `{"name":"tiny","versions":[],"platform":"remote-client-server_embed","inputs":[{"name":"text","datatype":"BYTES","shape":[-1]},` +
		`{"name":"dimensions","datatype":"INT32","shape":[1]},{"name":"normalize","datatype":"BOOL","shape":[1]},{"name":"prompt","datatype":"BYTES","shape":[1]},` +
		`{"name":"prompt_name","datatype":"BYTES","shape":[1]},{"name":"input_type","datatype":"BYTES","shape":[1]}],"outputs":[{"name":"output","datatype":"BYTES","shape":[1]}]}`
	for path, want := range map[string]string{
		"/v2":                       `{"name":"remote-client-server","version":"1.2.3","extensions":[]}`,
		"/v2/health/live":           `{"live":true}`,
		"/v2/health/ready":          `{"ready":true}`,
		"/v2/models":                `{"models":["tiny"]}`,
		"/v2/models/tiny":           model,
		"/v2/models/Org/tiny":       model,
		"/v2/models/tiny/ready":     `{"name":"tiny","ready":true}`,
		"/v2/models/org/Tiny/ready": `{"name":"tiny","ready":true}`,
	} {
		if a := h.do("GET", path, ""); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"GET /v2/models/x", "GET /v2/models/x/ready", "POST /v2/models/x/infer"} {
		method, path, _ := strings.Cut(path, " ")
		if a := h.do(method, path, inferOne); a.status != 404 || a.body != `{"error":"Model with name x does not exist."}` {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func FuzzInfer(f *testing.F) {
	f.Add([]byte(inferOne))
	f.Add([]byte(`{"id":"x","parameters":{"a":1},"inputs":[{"name":"text","shape":[2,1],"datatype":"BYTES","data":[["a"],[{}]],"parameters":{}}],"outputs":[{"name":"output"}]}`))
	f.Add([]byte(infer(input("dimensions", "INT32", "[1]", "[1e99]"))))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, strict := range []bool{false, true} {
			l := limits{inputs: 4, strict: strict}
			q, err := decodeInfer(body, l)
			if err != nil {
				continue
			}
			e, err := q.embedRequest(l)
			if err == nil && (len(e.texts) == 0 || len(e.texts) > l.inputs) {
				t.Errorf("%d texts", len(e.texts))
			}
		}
	})
}
