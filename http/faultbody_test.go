package http

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// Faults of bodies, and of the server's own goroutines.

// form is a request with every field that its route knows.
type form struct {
	path   string
	fields map[string]string // values as JSON
	needs  string            // the field that must be there
}

// forms are the requests of all routes that read a body.
var forms = []form{
	{"/v1/embeddings", embedForm, "input"},
	{"/api/embeddings", embedForm, "input"},
	{"/api/generate", embedForm, "input"},
	{"/tokenize", map[string]string{"model": `"tiny"`, "prompt": `"a"`, "add_special_tokens": "true"}, "prompt"},
	{"/detokenize", map[string]string{"model": `"tiny"`, "tokens": "[97]"}, "tokens"},
	{"/v2/models/tiny/infer", map[string]string{
		"id": `"1"`, "inputs": `[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"],"parameters":{"x":1}}]`,
		"outputs": `[{"name":"output","parameters":{"x":1}}]`, "parameters": `{"dimensions":2,"binary_data_output":false}`,
	}, "inputs"},
}

var embedForm = map[string]string{
	"input": `"a"`, "model": `"tiny"`, "encoding_format": `"float"`, "dimensions": "2", "normalize": "true",
	"prompt": `"p"`, "prompt_name": `"query"`, "input_type": `"query"`, "user": `"u"`,
}

// with is the body in which each field of values stands; the others are left
// out, except for the one that is needed.
func (f form) with(values map[string]string) string {
	all := map[string]string{f.needs: f.fields[f.needs]}
	for k, v := range values {
		all[k] = v
	}
	var fields []string
	for k, v := range all {
		fields = append(fields, fmt.Sprintf("%q:%s", k, v))
	}
	slices.Sort(fields)
	return "{" + strings.Join(fields, ",") + "}"
}

// same is a without what differs between two answers to one request.
func same(a answer) string {
	return fmt.Sprint(a.status, " ", strings.ReplaceAll(a.body, a.header.Get("X-Job-Id"), "JOB"))
}

// TestFormsAreComplete keeps the forms in step with the decoders.
func TestFormsAreComplete(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.StrictFields = true })
	for _, f := range forms {
		if a := h.post(f.path, f.with(f.fields)); a.status != 200 {
			t.Errorf("%s: %d %s", f.path, a.status, a.body)
		}
	}
	for _, name := range embedFields {
		if embedForm[name] == "" {
			t.Errorf("no value for %s", name)
		}
	}
}

func TestFault11_NumbersAndDuplicates(t *testing.T) {
	h := open(t)
	for _, f := range forms {
		for name, value := range f.fields { // null once does not make two out of one
			for _, twice := range []string{
				fmt.Sprintf(`{"%s":%s,"%[1]s":%[2]s}`, name, value),
				fmt.Sprintf(`{"%s":null,"%[1]s":%s}`, name, value),
				fmt.Sprintf(`{"%s":%s,"\u00%02x%s":%[2]s}`, name, value, name[0], name[1:]),
			} {
				if a := h.post(f.path, twice); a.status != 400 || !strings.Contains(a.body, name+": given twice") {
					t.Errorf("%s %s: %d %s", f.path, twice, a.status, a.body)
				}
			}
		}
		for _, word := range []string{"NaN", "Infinity", "-Infinity", "nan", "0x10", "1_000", "+1", ".5", "5.", "1e", "--1", "01", "1e+"} {
			for name, value := range map[string]string{"unknown": word, f.needs: word, "model": "[" + word + "]"} {
				a := h.post(f.path, f.with(map[string]string{name: value}))
				if a.status != 400 || name == "unknown" && !strings.Contains(a.body, "not valid JSON") {
					t.Errorf("%s %s: %d %s", f.path, word, a.status, a.body)
				}
			}
		}
		// Any number is JSON: where nothing reads it, it does no harm.
		for _, number := range []string{"1e999", "-1e999", "-0", "9223372036854775808", "1e-999", "-0.0", strings.Repeat("9", 10_000), "0." + strings.Repeat("0", 10_000) + "1"} {
			if a := h.post(f.path, f.with(map[string]string{"unknown": number})); a.status != 200 {
				t.Errorf("%s with an unknown %.20s: %d %s", f.path, number, a.status, a.body)
			}
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/v1/embeddings", `{"input":[-0]}`, 200, `[1,0,0.5,-0.25]`},
		{"/v1/embeddings", `{"input":[-0.0]}`, 200, `[1,0,0.5,-0.25]`},
		{"/v1/embeddings", `{"input":[1e999]}`, 400, "input[0]: must be from 0 to 2147483647"},
		{"/v1/embeddings", `{"input":[9223372036854775808]}`, 400, "input[0]: must be from 0 to 2147483647"},
		{"/v1/embeddings", `{"input":[9223372036854775807]}`, 400, "input[0]: must be from 0 to 2147483647"},
		{"/v1/embeddings", `{"input":[-9223372036854775809]}`, 400, "input[0]: must be from 0 to 2147483647"},
		{"/v1/embeddings", `{"input":[9007199254740993.0]}`, 400, "input[0]: must be from 0 to 2147483647"},
		{"/v1/embeddings", `{"input":[1e-999]}`, 400, "input[0]: must be a whole number"},
		{"/v1/embeddings", `{"input":"a","dimensions":1e999}`, 400, "dimensions: must be from 1 to 1048576"},
		{"/v1/embeddings", `{"input":"a","dimensions":-0}`, 400, "dimensions: must be from 1 to 1048576"},
		{"/v1/embeddings", `{"input":"a","dimensions":4.0}`, 200, `[1,97,0.5,-0.25]`},
		{"/api/embeddings", `{"input":"a","dimensions":"1e999"}`, 400, "dimensions: must be from 1 to 1048576"},
		{"/api/embeddings", `{"input":"a","dimensions":"NaN"}`, 400, "dimensions: must be a number, not a string"},
		{"/detokenize", `{"tokens":[-0]}`, 200, `{"prompt":"\u0000"}`},
		{"/detokenize", `{"tokens":[9223372036854775808]}`, 400, "tokens[0]: must be from 0 to 255"},
		{"/detokenize", `{"tokens":[1e999]}`, 400, "tokens[0]: must be from 0 to 255"},
		{"/v2/models/tiny/infer", `{"inputs":[{"name":"text","shape":[1e999],"datatype":"BYTES","data":["a"]}]}`, 400, "inputs[0].shape[0]: must be from 0 to 1048576"},
		{"/v2/models/tiny/infer", `{"inputs":[{"name":"text","shape":[9223372036854775808],"datatype":"BYTES","data":["a"]}]}`, 400, "inputs[0].shape[0]: must be from 0 to 1048576"},
		{"/v2/models/tiny/infer", `{"inputs":[{"name":"text","shape":[1],"name":"text","datatype":"BYTES","data":["a"]}]}`, 400, "inputs[0].name: given twice"},
		{"/v2/models/tiny/infer", `{"parameters":{"dimensions":2,"dimensions":2},"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}]}`, 400, "given twice"},
	} {
		if a := h.post(c.path, c.body); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s\nwant %d %s", c.path, c.body, a.status, a.body, c.status, c.want)
		}
	}
	h.healthy()
}

func TestFault12_TextThatIsNone(t *testing.T) {
	h := open(t)
	for _, f := range forms {
		for name, text := range map[string]string{
			"a byte alone": "\"\xff\"", "a cut sequence": "\"\xe2\x82\"", "a surrogate in UTF-8": "\"\xed\xa0\x80\"", "an overlong NUL": "\"\xc0\x80\"",
			"past Unicode": "\"\xf4\x90\x80\x80\"", "a high half": `"\ud800"`, "a low half": `"\udc00"`, "a half and text": `"\ud800a"`, "two high halves": `"\ud800\ud800"`,
			"a bare NUL": "\"\x00\"", "a bare line end": "\"a\nb\"",
		} {
			for _, body := range []string{
				f.with(map[string]string{"model": text}), f.with(map[string]string{"unknown": text}), f.with(map[string]string{"unknown": "[" + text + "]"}),
				`{` + text + `:1,` + f.with(nil)[1:],
			} {
				if f.path == "/v2/models/tiny/infer" {
					body = strings.Replace(body, `"model":`, `"id":`, 1)
				}
				a := h.post(f.path, body)
				if a.status != 400 || !json.Valid([]byte(a.body)) {
					t.Errorf("%s, %s in %q: %d %s", f.path, name, body, a.status, a.body)
				}
			}
		}
		for name, bytes := range map[string]string{"a byte order mark": "\xef\xbb\xbf" + f.with(nil), "UTF-16": "{\x00}\x00", "NULs": "\x00\x00", "a NUL behind": f.with(nil) + "\x00"} {
			if a := h.post(f.path, bytes); a.status != 400 {
				t.Errorf("%s, %s: %d %s", f.path, name, a.status, a.body)
			}
		}
	}
	for text, want := range map[string]string{ // kept as they are
		`"\u0000"`: "[1,0,0.5,-0.25]", `"\ud83d\ude00"`: "[4,240,0.5,-0.25]", `"\uffff"`: "[3,239,0.5,-0.25]", `"\u202e"`: "[3,226,0.5,-0.25]",
	} {
		if a := h.post("/v1/embeddings", `{"input":`+text+`}`); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", text, a.status, a.body)
		}
	}
	h.healthy()
}

// TestFault13_Null gives each field of each request as null, and compares with
// the answer to a request without it.
func TestFault13_Null(t *testing.T) {
	h := open(t)
	for _, f := range forms {
		nulls := map[string]string{"unknown": "null"}
		for name := range f.fields {
			if name == f.needs {
				if a := h.post(f.path, `{"`+name+`":null}`); a.status != 400 || !strings.Contains(a.body, name+": is required") {
					t.Errorf("%s without %s: %d %s", f.path, name, a.status, a.body)
				}
				continue
			}
			nulls[name] = "null"
			without, null := h.post(f.path, f.with(nil)), h.post(f.path, f.with(map[string]string{name: "null"}))
			if without.status != 200 || same(without) != same(null) {
				t.Errorf("%s, %s null: %d %s\nwithout: %s", f.path, name, null.status, null.body, without.body)
			}
		}
		if a := h.post(f.path, f.with(nulls)); same(a) != same(h.post(f.path, f.with(nil))) {
			t.Errorf("%s, all null: %d %s", f.path, a.status, a.body)
		}
	}
	for body, want := range map[string]string{ // inside a V2 request
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"],"parameters":null}]}`:                                          "",
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":"output","parameters":null}]}`:            "",
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"],"parameters":{"binary_data_size":null}}]}`:                     "",
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}],"parameters":{"dimensions":null,"binary_data_output":null}}`: "",
		`{"inputs":[{"name":null,"shape":[1],"datatype":"BYTES","data":["a"]}]}`:                                                              "inputs[0].name: is required",
		`{"inputs":[{"name":"text","shape":null,"datatype":"BYTES","data":["a"]}]}`:                                                           "inputs[0].shape: is required",
		`{"inputs":[{"name":"text","shape":[1],"datatype":null,"data":["a"]}]}`:                                                               "inputs[0].datatype: is required",
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":null}]}`:                                                             "inputs[0].data: is required",
		`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":null}]}`:                                  "name: is required",
	} {
		a := h.post("/v2/models/tiny/infer", body)
		if want == "" && same(a) != same(h.post("/v2/models/tiny/infer", inferOne)) || want != "" && (a.status != 400 || !strings.Contains(a.body, want)) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	h.healthy()
}

func TestFault27_Inputs(t *testing.T) {
	h := open(t)
	many := `["a"` + strings.Repeat(`,"a"`, 9_999) + `]`
	for _, c := range []struct {
		name, input string
		status      int
		want        string
	}{
		{"none", `[]`, 400, "input: must not be empty"},
		{"an empty text", `""`, 200, "[[0,0,0.5,-0.25]]"},
		{"a list of an empty text", `[""]`, 200, "[[0,0,0.5,-0.25]]"},
		{"10,000", many, 400, "input[8]: more than 8 inputs"},
		{"10,000 lists", strings.ReplaceAll(many, `"a"`, "[1]"), 400, "input[8]: more than 8 inputs"},
		{"a list of an empty list", `[[]]`, 400, "input[0]: must not be empty"},
		{"text and number", `["a",1]`, 400, "input[1]: is a number, where the list began with a string"},
		{"text and list", `["a",[1]]`, 400, "input[1]: is a list, where the list began with a string"},
		{"list and text", `[[1],"a"]`, 400, "input[1]: is a string, where the list began with a list"},
		{"number and null", `[1,null]`, 400, "input[1]: is null, where the list began with a number"},
		{"an id past the vocabulary", `[255,256]`, 400, "input[0]: token id 256 at 1: the vocabulary has 256"},
		{"an id past the vocabulary in a list", `[[1],[256]]`, 400, "input[1]: token id 256 at 0: the vocabulary has 256"},
		{"the last id of the vocabulary", `[255]`, 200, "[[1,255,0.5,-0.25]]"},
		{"a negative id", `[-1]`, 400, "input[0]: must be from 0 to 2147483647"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/v1/embeddings", "/api/embeddings", "/api/generate"} {
				a := h.post(path, `{"input":`+c.input+`}`)
				want := c.want
				if a.status == 200 {
					want = strings.ReplaceAll(strings.Trim(c.want, "[]"), "],[", `]},{"object":"embedding","index":1,"embedding":[`)
				}
				if a.status != c.status || !strings.Contains(a.body, want) {
					t.Errorf("%s: %d %.300s\nwant %d %s", path, a.status, a.body, c.status, want)
				}
			}
		})
	}
	for body, want := range map[string]string{
		infer(input("text", "BYTES", "[0]", "[]")):                                                  "inputs: one named text with at least one element is required",
		infer(input("text", "BYTES", "[10000]", many)):                                              "inputs[0].data: more than 8 inputs",
		infer(input("text", "BYTES", "[2]", `["a",{}]`)):                                            "inputs[0].data[1]: must be a string, not an object",
		`{"inputs":[` + strings.Repeat(input("x", "BYTES", "[1]", `["a"]`)+",", 99) + inferOne[11:]: "more than 64 inputs",
	} {
		if a := h.post("/v2/models/tiny/infer", body); a.status != 400 || !strings.Contains(a.body, want) && want != "more than 64 inputs" {
			t.Errorf("%.200s: %d %s", body, a.status, a.body)
		}
	}
	h.healthy()
}

func TestFault28_Dimensions(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ value, want string }{ // the model has 4
		{"0", "dimensions: must be from 1 to 1048576"}, {"-1", "dimensions: must be from 1 to 1048576"}, {"1048577", "dimensions: must be from 1 to 1048576"},
		{"5", "dimensions: 5: the model has 4"}, {"1048576", "dimensions: 1048576: the model has 4"}, {"1.5", "dimensions: must be a whole number"},
		{"4", ""}, {"1", ""},
	} {
		for _, path := range []string{"/v1/embeddings", "/api/embeddings", "/api/generate", "/v2/models/tiny/infer"} {
			body := `{"input":"a","dimensions":` + c.value + `}`
			if strings.HasPrefix(path, "/v2") {
				body = `{"parameters":{"dimensions":` + c.value + `},` + inferOne[1:]
			}
			a := h.post(path, body)
			want := c.want
			if strings.HasPrefix(path, "/v2") { // there the path is the parameter's
				_, want, _ = strings.Cut(want, ": ")
			}
			if c.want == "" && a.status != 200 || c.want != "" && (a.status != 400 || !strings.Contains(a.body, want)) {
				t.Errorf("%s %s: %d %s", path, c.value, a.status, a.body)
			}
		}
	}
	h.healthy()
}

// TestFault49_Handler and those behind it put a panic into every kind of
// goroutine that this package starts or is called on: one request is lost, the
// panic is counted, the server lives.
func TestFault49_Handler(t *testing.T) {
	h := open(t)
	h.model.panics = true
	for _, path := range []string{"/api/embeddings", "/v1/embeddings", "/api/generate"} {
		a := h.post(path, one)
		if a.status != 500 || !strings.Contains(a.body, `"detail":"internal error"`) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := h.post("/v2/models/tiny/infer", inferOne); a.status != 500 || a.body != `{"error":"internal error"}` {
		t.Errorf("V2: %d %s", a.status, a.body)
	}
	h.counted(4)
	h.model.panics = false
	h.healthy()
}

// counted waits until n panics were counted.
func (h *house) counted(n int) {
	h.t.Helper()
	h.notes.heard(h.t, fmt.Sprint(n, " panics"), func() bool { return h.notes.panics == n })
}

func TestFault49_Worker(t *testing.T) {
	h := open(t)
	run := h.run
	h.run = func(batch []*queue.Job) {
		if w := batch[0].Task().(*embed.Work); len(w.Texts[0].IDs) == 2 {
			panic("worker")
		}
		run(batch)
	}
	if a := h.post("/v1/embeddings", `{"input":"ab"}`); a.status != 500 || !strings.Contains(a.body, `"detail":"internal error"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.post("/api/generate", `{"input":"ab"}`); !strings.HasSuffix(a.body, `data: {"status": "error", "message": "Job error", "detail": "internal error"}`+"\n\n") {
		t.Errorf("%s", a.body)
	}
	if a := h.post("/v2/models/tiny/infer", infer(input("text", "BYTES", "[1]", `["ab"]`))); a.status != 500 {
		t.Errorf("V2: %d %s", a.status, a.body)
	}
	h.counted(3)
	h.healthy()
}

// TestFault49_StreamWriter has the writer of a stream panic over a job that
// ended without its result.
func TestFault49_StreamWriter(t *testing.T) {
	h := open(t)
	var broken atomic.Bool
	run := h.run
	h.run = func(batch []*queue.Job) {
		if w := batch[0].Task().(*embed.Work); broken.CompareAndSwap(true, false) {
			w.Texts = append(w.Texts, embed.Text{}) // one more than is answered below
			w.Vectors = make([][]float32, len(w.Texts))
			batch[0].Finish(panicking{})
			return
		}
		run(batch)
	}
	broken.Store(true)
	a := h.post("/api/generate", one)
	if want := `data: {"status": "error", "message": "Job error", "detail": "internal error"}` + "\n\n"; a.status != 200 || !strings.HasSuffix(a.body, want) {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.counted(1)
	h.healthy()
}

// panicking is an error that cannot be put into words.
type panicking struct{}

func (panicking) Error() string { panic("error") }

// TestFault49_Observer has every call of the observer panic.
func TestFault49_Observer(t *testing.T) {
	angry := &angryObserver{}
	h := open(t)
	h.opt.Observer = shielded{angry}
	for path, want := range map[string]int{"/v1/embeddings": 200, "/api/generate": 200, "/nothing": 404} {
		if a := h.post(path, one); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := h.do("GET", "/metrics", ""); a.status != 500 {
		t.Errorf("metrics: %d %s", a.status, a.body)
	}
	h.healthy()
	eventually(t, "every call was tried", func() bool { return angry.calls.Load() > 10 })
}

type angryObserver struct{ calls atomic.Int64 }

func (o *angryObserver) panic()                             { o.calls.Add(1); panic("observer") }
func (o *angryObserver) Request(string, int, time.Duration) { o.panic() }
func (o *angryObserver) Error(string)                       { o.panic() }
func (o *angryObserver) Job(string, time.Duration)          { o.panic() }
func (o *angryObserver) Ran(string, time.Duration)          { o.panic() }
func (o *angryObserver) Inputs(int, int, int)               { o.panic() }
func (o *angryObserver) Written(int, int, int)              { o.panic() }
func (o *angryObserver) Generation()                        { o.panic() }
func (o *angryObserver) Panic()                             { o.panic() }
func (o *angryObserver) WriteMetrics(io.Writer)             { o.panic() }

// TestFault49_WatchPoll has the watch panic over one connection; it goes on
// watching the others.
func TestFault49_WatchPoll(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	lost := h.watch.add(&conn{raw: nil})
	h.watch.mu.Lock()
	for c, end := range h.watch.clients { // a nil connection panics when looked at
		delete(h.watch.clients, c)
		h.watch.clients[nil] = end
	}
	h.watch.mu.Unlock()
	<-lost.Done()
	h.watch.remove(nil)
	h.notes.heard(t, "a panic", func() bool { return h.notes.panics > 0 })
	c := h.dial(request("/v1/embeddings", one))
	<-entered
	c.Close()
	h.notes.heard(t, "the watch still sees who goes", func() bool { return slices.Equal(h.notes.jobs, []string{"cancelled"}) })
	release()
	h.healthy()
}

// TestFault49_Refusal has the goroutine panic that turns a connection away.
func TestFault49_Refusal(t *testing.T) {
	ln := listen(t)
	panics := make(chan any, 10)
	l := newListener(brittle{ln}, func(v any) { panics <- v })
	l.max = 0
	go l.Accept()
	c := dial(t, ln)
	if v := <-panics; v != "write" {
		t.Errorf("panic %v", v)
	}
	io.ReadAll(c) // it is closed nevertheless
	eventually(t, "the connection is not counted any more", func() bool { return l.open.Load() == 0 && len(l.slots) == 0 })
}

// brittle is a listener whose connections panic when written to.
type brittle struct{ net.Listener }

func (b brittle) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return brittleConn{c}, nil
}

type brittleConn struct{ net.Conn }

func (brittleConn) Write([]byte) (int, error) { panic("write") }

// TestFault49_Drain has the goroutine panic that shuts fasthttp down.
func TestFault49_Drain(t *testing.T) {
	n := &notes{}
	s := New(Options{Name: "x", Type: "embed", Queue: queue.New(queue.Options{}), Observer: n, MaxBody: 1, MaxInputs: 1})
	s.least = 0
	ln := &closesOnce{Listener: listen(t)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c := dial(t, ln.Listener)
	io.WriteString(c, "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
	io.ReadFull(c, make([]byte, 10)) // fasthttp knows the listener now
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n.panics != 1 {
		t.Errorf("%d panics", n.panics)
	}
}

// closesOnce is a listener that panics when closed a second time.
type closesOnce struct {
	net.Listener
	closed atomic.Bool
}

func (l *closesOnce) Close() error {
	if l.closed.Swap(true) {
		panic("closed twice")
	}
	return l.Listener.Close()
}
