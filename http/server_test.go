package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // panics that tests provoke
	os.Exit(m.Run())
}

// fakeModel answers each input with the vector [tokens, first id, 0.5, -0.25];
// a text's ids are its bytes.
type fakeModel struct {
	info   embed.Info
	panics bool   // in Encode
	encode func() // called by Encode, if set
}

const fakeTokens = 8 // most tokens of a text

func newFake() *fakeModel {
	return &fakeModel{info: embed.Info{
		Family: "fake", Dimensions: 4, MaxTokens: fakeTokens, VocabSize: 256, DType: "float32", Device: "cpu",
		Matryoshka: []int{4, 2}, Prompts: map[string]string{"query": "q:", "passage": "p:"}, Parameters: 12,
	}}
}

func (f *fakeModel) Info() embed.Info { return f.info }

func (f *fakeModel) Encode(text, name string, prompt *string) (embed.Text, error) {
	if f.panics {
		panic("encode")
	}
	if f.encode != nil {
		f.encode()
	}
	before := f.info.Prompts[name]
	if prompt != nil {
		before = *prompt
	}
	ids, cut := f.IDs(before+text, true, fakeTokens)
	return embed.Text{IDs: ids, Cut: cut}, nil
}

func (f *fakeModel) Check(ids []int32) (embed.Text, error) {
	for i, id := range ids {
		if int(id) >= f.info.VocabSize {
			return embed.Text{}, fmt.Errorf("token id %d at %d: the vocabulary has %d", id, i, f.info.VocabSize)
		}
	}
	n := min(len(ids), fakeTokens)
	return embed.Text{IDs: ids[:n], Cut: len(ids) - n}, nil
}

func (f *fakeModel) CheckOptions(o embed.Options) (string, error) {
	if o.Dimensions > f.info.Dimensions {
		return "", fmt.Errorf("dimensions %d: the model has %d", o.Dimensions, f.info.Dimensions)
	}
	if o.Dimensions == 3 {
		return "dimensions 3 is none of the model's sizes", nil
	}
	return "", nil
}

func (f *fakeModel) IDs(text string, _ bool, most int) ([]int32, int) {
	var ids []int32
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	if most > 0 && len(ids) > most {
		return ids[:most], len(ids) - most
	}
	return ids, 0
}

func (f *fakeModel) Decode(ids []int32, _ bool) string {
	var b []byte
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return string(b)
}

func (f *fakeModel) VocabSize() int { return f.info.VocabSize }

// compute fills in a work's vectors.
func compute(w *embed.Work) {
	for _, t := range w.Texts {
		v := []float32{float32(len(t.IDs)), 0, 0.5, -0.25}
		if len(t.IDs) > 0 {
			v[1] = float32(t.IDs[0])
		}
		if d := w.Options.Dimensions; d > 0 {
			v = v[:d]
		}
		w.Vectors = append(w.Vectors, v)
	}
}

// notes is an Observer that keeps what it hears.
type notes struct {
	mu       sync.Mutex
	requests []string // "route status"
	jobs     []string
	inputs   [3]int
	written  [][3]int // tokens: of prompts, cached, of answers
	panics   int
	errors   []string // kinds
	ran      []string // outcomes
	answered int      // generations
}

func (n *notes) Error(kind string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errors = append(n.errors, kind)
}

func (n *notes) Ran(outcome string, _ time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ran = append(n.ran, outcome)
}

func (n *notes) Generation() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answered++
}

func (n *notes) Request(route string, status int, _ time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, fmt.Sprint(route, " ", status))
}

func (n *notes) Job(outcome string, _ time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.jobs = append(n.jobs, outcome)
}

func (n *notes) Written(prompt, cached, completion int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.written = append(n.written, [3]int{prompt, cached, completion})
}

func (n *notes) Inputs(inputs, tokens, cut int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inputs[0] += inputs
	n.inputs[1] += tokens
	n.inputs[2] += cut
}

func (n *notes) Panic() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.panics++
}

func (n *notes) WriteMetrics(w io.Writer) { fmt.Fprintln(w, "modelserver_queue_size 0") }

// heard waits until f is true of what was heard.
func (n *notes) heard(t *testing.T, what string, f func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return f()
	})
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 2000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: ", what)
}

// house is a server on a loopback port with a worker.
type house struct {
	*Server
	t     *testing.T
	url   string
	addr  string
	q     *queue.Queue
	model *fakeModel
	notes *notes
	// run computes a batch; set it before the first request
	run func(batch []*queue.Job)
}

type change func(o *Options, q *queue.Options)

// open starts a house that serves, or one in phase Checking if model is nil.
func open(t *testing.T, changes ...change) *house {
	h := closed(t, changes...)
	h.model = newFake()
	h.Ready(Loaded{Embed: h.model, Tokenizer: h.model})
	return h
}

// closed starts a house without a model.
func closed(t *testing.T, changes ...change) *house { return closedWith(t, nil, changes...) }

// closedWith does so with another worker; nil is the usual one.
func closedWith(t *testing.T, work func(q *queue.Queue), changes ...change) *house {
	t.Helper()
	o := Options{Name: "tiny", RepoID: "org/Tiny", Type: "embed", MaxBody: 1 << 20, MaxInputs: 8}
	qo := queue.Options{Timeout: time.Minute}
	for _, c := range changes {
		c(&o, &qo)
	}
	h := &house{t: t, notes: &notes{}, q: queue.New(qo)}
	if work == nil {
		work = func(q *queue.Queue) { q.Work(1, func(batch []*queue.Job) { h.run(batch) }) }
	}
	h.run = func(batch []*queue.Job) {
		for _, j := range batch {
			compute(j.Task().(*embed.Work))
			j.Finish(nil)
		}
	}
	o.Queue, o.Observer = h.q, h.notes
	h.Server = New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	h.url = "http://" + h.addr
	served, worked := make(chan error, 1), make(chan struct{})
	go func() { served <- h.Serve(ln) }()
	go func() {
		defer close(worked)
		work(h.q)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Drain(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error("drain: ", err)
		}
		if err := <-served; err != nil {
			t.Error("serve: ", err)
		}
		<-worked
	})
	return h
}

// gate makes the worker stop at each batch until the returned function is
// called; entered receives a value at each stop.
func (h *house) gate() (entered chan struct{}, release func()) {
	entered = make(chan struct{}, 100)
	gate := make(chan struct{})
	run := h.run
	h.run = func(batch []*queue.Job) {
		entered <- struct{}{}
		<-gate
		run(batch)
	}
	return entered, sync.OnceFunc(func() { close(gate) })
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are "Name: value".
func (h *house) do(method, path, body string, headers ...string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range headers {
		k, v, _ := strings.Cut(s, ": ")
		req.Header.Set(k, v)
	}
	client := http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	res, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (h *house) post(path, body string) answer { h.t.Helper(); return h.do("POST", path, body) }

// dial sends raw bytes.
func (h *house) dial(bytes string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, bytes); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// request is the bytes of a POST.
func request(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

const one = `{"input":"a"}`

func TestUnreadableRequests(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ name, send, want string }{
		{"no HTTP", "hello\r\n\r\n", "HTTP/1.1 400 "},
		{"a chunk that is none", "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := io.ReadAll(h.dial(c.send))
			if err != nil || !bytes.HasPrefix(b, []byte(c.want)) {
				t.Fatalf("%v\n%.400s", err, b)
			}
			if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); !strings.HasPrefix(body, `{"detail":"`) || strings.Contains(body, "xxx") {
				t.Errorf("body %s", body)
			}
		})
	}
	if a := h.do("GET", "/api/health", ""); a.status != 200 {
		t.Errorf("health after it all: %d", a.status)
	}
}

func TestPipelinedRequests(t *testing.T) {
	h := open(t)
	r := bufio.NewReader(h.dial(request("/v1/embeddings", `{"input":"aa"}`) + request("/v1/embeddings", `{"input":"b"}`)))
	for _, want := range []string{"[2,97,", "[1,98,"} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s, want %s", b, want)
		}
	}
}

func TestFailedJobs(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(j *queue.Job)
		status int
		body   string
	}{
		{"error", func(j *queue.Job) { j.Finish(errors.New("embed: no memory")) }, 500,
			`{"status":"error","detail":"embed: no memory","error":{"message":"embed: no memory","type":"server_error","param":null,"code":"job_failed"}}`},
		{"panic", func(*queue.Job) { panic("secret") }, 500,
			`{"status":"error","detail":"internal error","error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`},
		{"cancelled", func(j *queue.Job) { j.Cancel() }, 503,
			`{"status":"cancelled","detail":"the job was cancelled","error":{"message":"the job was cancelled","type":"server_error","param":null,"code":"cancelled"}}`},
		{"timeout", func(j *queue.Job) { j.Finish(queue.ErrDeadline) }, 504,
			`{"status":"timeout","detail":"the job took too long","error":{"message":"the job took too long","type":"server_error","param":null,"code":"timeout"}}`},
		{"no vectors", func(j *queue.Job) { j.Finish(nil) }, 500,
			`{"status":"error","detail":"the model did not compute a vector for each input","error":{"message":"the model did not compute a vector for each input","type":"server_error","param":null,"code":"job_failed"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			h.run = func(batch []*queue.Job) { c.end(batch[0]) }
			for _, path := range []string{"/api/embeddings", "/v1/embeddings", "/openai/v1/embeddings"} {
				if a := h.post(path, one); a.status != c.status || a.body != c.body {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
		})
	}
}

func TestTimeoutFreesTheClient(t *testing.T) {
	h := open(t, func(_ *Options, q *queue.Options) { q.Timeout = time.Millisecond })
	entered, release := h.gate()
	defer release()
	if a := h.post("/v1/embeddings", one); a.status != 504 {
		t.Errorf("%d %s", a.status, a.body)
	}
	<-entered
}

func TestFullQueue(t *testing.T) {
	h := open(t, func(_ *Options, q *queue.Options) { q.Jobs = 1 })
	entered, release := h.gate()
	defer release()
	done := make(chan answer, 2)
	go func() { done <- h.post("/v1/embeddings", one) }()
	<-entered
	go func() { done <- h.post("/v1/embeddings", one) }()
	eventually(t, "one waits", func() bool { return h.q.Waiting() == 1 })
	for _, path := range []string{"/v1/embeddings", "/api/generate"} {
		a := h.post(path, one)
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || n < 1 || !strings.Contains(a.body, "the queue is full") {
			t.Errorf("%s: %d %q %s", path, a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	if a := h.do("GET", "/api/health", ""); a.status != 200 || a.body != `{"status":"ok"}` {
		t.Errorf("health under load: %d %s", a.status, a.body)
	}
	if a := h.do("GET", "/api/queue", ""); a.body != "queue_size 1" {
		t.Errorf("queue: %s", a.body)
	}
	release()
	for range 2 {
		if a := <-done; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}
