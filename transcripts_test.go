package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The contract with the clients that there are, word for word, against the
// program itself: with the built-in model and with one from files. What these
// clients read is written here as they read it.

// reply is an answer as a client sees it.
type reply struct {
	status int
	header nethttp.Header
	body   string
}

// ask sends a request; headers are "Name: value". It follows no redirect.
func (s *started) ask(t *testing.T, request, body string, headers ...string) reply {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := nethttp.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	client := nethttp.Client{Timeout: time.Minute, CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

// vectors are those of an embeddings answer.
func vectors(t *testing.T, body string) [][]float64 {
	t.Helper()
	var a struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	var list [][]float64
	for _, d := range a.Data {
		list = append(list, d.Embedding)
	}
	return list
}

func length(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// models are the programs that the transcripts are taken from.
var models = []struct{ title, args, name, id string }{
	{"built in", "--threads 1", "builtin-embed", "builtin-embed"},
	{"from files", "--model Odd --model_repo_id org/Odd --model_type embed --model_files " + fixture, "Odd", "org/Odd"},
}

const (
	notFound   = `{"detail":"Not Found"}`
	notAllowed = `{"detail":"Method Not Allowed"}`
)

// openaiError is the nested object that stands beside detail.
func openaiError(message string) string {
	return `{"detail":"` + message + `","error":{"message":"` + message + `","type":"invalid_request_error","param":null,"code":null}}`
}

func TestTranscripts(t *testing.T) {
	for _, m := range models {
		t.Run(m.title, func(t *testing.T) {
			s := start(t, m.args)
			s.until(t, "try it")
			t.Run("routes", func(t *testing.T) { routeTranscripts(t, s, m.name, m.id) })
			t.Run("embeddings", func(t *testing.T) { embeddingTranscripts(t, s, m.name) })
			t.Run("events", func(t *testing.T) { eventTranscripts(t, s, m.name) })
			t.Run("V2", func(t *testing.T) { inferTranscripts(t, s, m.name, m.id) })
			if m.title == "built in" { // the other is done too soon to be looked at
				t.Run("line", func(t *testing.T) { lineTranscripts(t, s) })
				t.Run("jobs", func(t *testing.T) { jobTranscripts(t, s) })
			}
			s.healthy(t)
		})
	}
}

// routeTranscripts are the routes, the framework's defaults and CORS.
func routeTranscripts(t *testing.T, s *started, name, id string) {
	const jsonType, text = "application/json", "text/plain; charset=utf-8"
	for _, c := range []struct {
		request string
		status  int
		kind    string
		body    string
	}{
		{"GET /api/health", 200, jsonType, `{"status":"ok"}`},
		{"GET /api/status", 200, jsonType, `{"status":"ready","gpu":false,"queue":0,"model":"` + id + `","type":"embed"}`},
		{"GET /api/queue", 200, text, "queue_size 0"},
		{"GET /api/model-loaded", 200, jsonType, "true"},
		{"GET /api/gpu/status", 400, jsonType, `{"detail":"CUDA is not available on this system"}`},
		{"GET /v2", 200, jsonType, `{"name":"remote-client-server","version":"dev","extensions":[]}`},
		{"GET /v2/health/live", 200, jsonType, `{"live":true}`},
		{"GET /v2/health/ready", 200, jsonType, `{"ready":true}`},
		{"GET /v2/models", 200, jsonType, `{"models":["` + name + `"]}`},
		{"GET /v2/models/" + strings.ToUpper(name) + "/ready", 200, jsonType, `{"name":"` + name + `","ready":true}`},
		{"GET /v2/models/" + id + "/ready", 200, jsonType, `{"name":"` + name + `","ready":true}`},
		{"GET /v2/models/X/ready", 404, jsonType, `{"error":"Model with name X does not exist."}`},
		{"GET /" + name + "/api/health", 200, jsonType, `{"status":"ok"}`}, // an ingress left its segment

		{"GET /nothing", 404, jsonType, notFound},
		{"GET /api/nothing", 404, jsonType, notFound},
		{"GET /v1/nothing", 404, jsonType, openaiError("Not Found")},
		{"GET /openai/v1/nothing", 404, jsonType, openaiError("Not Found")},
		{"POST /api/health", 405, jsonType, notAllowed},
		{"GET /api/generate", 405, jsonType, notAllowed},
		{"GET /v1/embeddings", 405, jsonType, openaiError("Method Not Allowed")},
		{"GET /openai/v1/embeddings", 405, jsonType, openaiError("Method Not Allowed")},

		{"POST /api/chat/completions", 400, jsonType, `{"detail":"a model of type embed does not answer /api/chat/completions: use POST /api/embeddings"}`},
	} {
		r := s.ask(t, c.request, "")
		if r.status != c.status || r.header.Get("Content-Type") != c.kind || r.body != c.body {
			t.Errorf("%s: %d %s %s\nwant %d %s %s", c.request, r.status, r.header.Get("Content-Type"), r.body, c.status, c.kind, c.body)
		}
		if r.header.Get("Access-Control-Allow-Origin") != "*" || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s, CORS: %v", c.request, r.header)
		}
		if method, path, _ := strings.Cut(c.request, " "); method == "GET" && c.status == 200 {
			if r := s.ask(t, "HEAD "+path, ""); r.status != 200 || r.body != "" || r.header.Get("Content-Length") != fmt.Sprint(len(c.body)) {
				t.Errorf("HEAD %s: %d %q %v", path, r.status, r.body, r.header)
			}
			if r := s.ask(t, "GET "+path+"/?a=b", ""); r.status != 307 || r.header.Get("Location") != "../"+path[strings.LastIndexByte(path, '/')+1:]+"?a=b" {
				t.Errorf("GET %s/: %d %q", path, r.status, r.header.Get("Location"))
			}
		}
	}
	if r := s.ask(t, "GET /metrics", ""); r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain; version=0.0.4") ||
		!strings.Contains(r.body, "\n# TYPE modelserver_queue_size gauge\nmodelserver_queue_size 0\n") || !strings.Contains("\n"+r.body, "\n# HELP modelserver_queue_size ") {
		t.Errorf("metrics: %d %s %.300s", r.status, r.header.Get("Content-Type"), r.body)
	}
	for path, kind := range map[string]string{"/": "text/html", "/docs": "text/html", "/redoc": "text/html", "/openapi.json": "application/json"} {
		if r := s.ask(t, "GET "+path, ""); r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), kind) || strings.Contains(r.body, "<script src=\"http") {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
	}
	models := s.ask(t, "GET /v1/models", "")
	if models.status != 200 || !strings.HasPrefix(models.body, `{"object":"list","data":[{"id":"`+name+`","object":"model","created":`) {
		t.Errorf("models: %d %s", models.status, models.body)
	}
	for _, base := range []string{"/openai/v1", "/api"} {
		if r := s.ask(t, "GET "+base+"/models", ""); r.body != models.body {
			t.Errorf("%s/models: %s", base, r.body)
		}
	}
	r := s.ask(t, "OPTIONS /api/generate", "", "Origin: http://a.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: X-Any, Authorization")
	if h := r.header; r.status != 200 || h.Get("Access-Control-Allow-Origin") != "http://a.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
		!strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") || h.Get("Access-Control-Allow-Headers") != "X-Any, Authorization" || h.Get("Vary") != "Origin" {
		t.Errorf("preflight: %d %v", r.status, h)
	}
	r = s.ask(t, "GET /api/health", "", "Origin: http://a.example")
	if r.header.Get("Access-Control-Allow-Origin") != "http://a.example" || r.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("an origin: %v", r.header)
	}
	bodyLimitTranscripts(t, s)
}

// bodyLimitTranscripts send more than 64 MiB, with and without a length.
func bodyLimitTranscripts(t *testing.T, s *started) {
	const want = `{"detail":"the body is larger than 67108864 bytes"}`
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, "POST /api/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n"+strings.Repeat(" ", 64<<10))
	res, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 413 || string(b) != want {
		t.Errorf("with a length: %d %s", res.StatusCode, b)
	}
	c.Close()
	req, _ := nethttp.NewRequest("POST", s.url+"/api/embeddings", io.LimitReader(blanks{}, 64<<20+1))
	req.ContentLength = -1
	if res, err = nethttp.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 413 || string(b) != want {
		t.Errorf("in chunks: %d %s", res.StatusCode, b)
	}
}

type blanks struct{}

func (blanks) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// embeddingTranscripts are the embeddings routes: three prefixes, one answer.
func embeddingTranscripts(t *testing.T, s *started, name string) {
	prefixes := []string{"/v1", "/openai/v1", "/api"}
	same := func(body string) reply {
		t.Helper()
		first := s.ask(t, "POST "+prefixes[0]+"/embeddings", body)
		for _, p := range prefixes[1:] {
			if r := s.ask(t, "POST "+p+"/embeddings", body); r.status != first.status || r.body != first.body {
				t.Errorf("%s %s: %d %.200s\n/v1: %d %.200s", p, body, r.status, r.body, first.status, first.body)
			}
		}
		return first
	}
	r := same(`{"input":"Where is the library?","encoding_format":"float"}`)
	want := regexp.MustCompile(`^\{"object":"list","model":"` + name + `","data":\[\{"object":"embedding","index":0,"embedding":\[[-0-9.e,]+\]\}\],"usage":\{"prompt_tokens":(\d+),"total_tokens":(\d+)\}\}$`)
	if m := want.FindStringSubmatch(r.body); r.status != 200 || m == nil || m[1] != m[2] || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	dim := len(vectors(t, r.body)[0])
	for _, c := range []struct{ name, body, has string }{
		{"a list", `{"input":["a","b"]}`, `"index":1,`},
		{"the model is echoed", `{"input":"a","model":"` + name + `"}`, `"model":"` + name + `"`},
		{"unknown fields", `{"input":"a","use_cache":true,"n":1}`, `"warnings":["unknown field \"use_cache\" was ignored","unknown field \"n\" was ignored"]`},
		{"an empty text", `{"input":""}`, `"index":0`},
		{"token ids as given", `{"input":[[5,6,7],[8]]}`, `"usage":{"prompt_tokens":4,"total_tokens":4}`},
		{"base64", `{"input":"a","encoding_format":"base64"}`, `"embedding":"`},
		{"a cut text", `{"input":"` + strings.Repeat("word ", 10_000) + `"}`, `"truncated":1},"warnings":["1 of 1 inputs were cut to the model's `},
		{"shortened", `{"input":"a","dimensions":` + fmt.Sprint(dim/2) + `}`, `"index":0`},
	} {
		r := same(c.body)
		if r.status != 200 || !strings.Contains(r.body, c.has) || len(r.header.Get("X-Job-Id")) != 32 {
			t.Errorf("%s: %d %.400s", c.name, r.status, r.body)
			continue
		}
		if c.name == "base64" {
			continue
		}
		for _, v := range vectors(t, r.body) {
			if n := length(v); math.Abs(n-1) > 1e-5 || c.name == "shortened" && len(v) != dim/2 || c.name != "shortened" && len(v) != dim {
				t.Errorf("%s: %d values of length %v", c.name, len(v), n)
			}
		}
	}
	raw, unit := vectors(t, same(`{"input":"a","normalize":false}`).body)[0], vectors(t, same(`{"input":"a"}`).body)[0]
	for i := range raw {
		if math.Abs(raw[i]/length(raw)-unit[i]) > 1e-5 {
			t.Errorf("value %d: raw %v of length %v, unit %v", i, raw[i], length(raw), unit[i])
			break
		}
	}
	for body, param := range map[string]string{`{"input":[]}`: "input", `{}`: "input", `{"input":5}`: "input", `{"input":"a","dimensions":0}`: "dimensions", `{`: ""} {
		r := s.ask(t, "POST /v1/embeddings", body)
		var e struct {
			Detail string
			Error  struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil || r.status != 400 || e.Error.Type != "invalid_request_error" || e.Detail != "Invalid request format: "+e.Error.Message || (e.Error.Param == nil) != (param == "") || e.Error.Param != nil && *e.Error.Param != param {
			t.Errorf("/v1 %s: %d %s", body, r.status, r.body)
		}
		for _, path := range []string{"/api/embeddings", "/api/generate"} { // before any event
			if a := s.ask(t, "POST "+path, body); a.status != 400 || a.body != strings.Split(r.body, `,"error":`)[0]+"}" {
				t.Errorf("%s %s: %d %s", path, body, a.status, a.body)
			}
		}
	}
	number := `{"input":"a","dimensions":"` + fmt.Sprint(dim/2) + `"}`
	if a := s.ask(t, "POST /api/embeddings", number); a.status != 200 || len(vectors(t, a.body)[0]) != dim/2 {
		t.Errorf("a numeric string under /api: %d %s", a.status, a.body)
	}
	for _, p := range prefixes[:2] {
		if a := s.ask(t, "POST "+p+"/embeddings", number); a.status != 400 || !strings.Contains(a.body, "dimensions: must be a number, not a string") {
			t.Errorf("a numeric string under %s: %d %s", p, a.status, a.body)
		}
	}
}

const (
	isProcessing = `data: {"status": "processing", "message": "Generating..."}` + "\n\n"
	isComplete   = `, "status": "complete", "message": "Generation complete."}` + "\n\n"
	isCancelled  = `data: {"status": "cancelled", "message": "Job cancelled", "detail": "the job was cancelled"}` + "\n\n"
)

func isWaiting(n int) string {
	return fmt.Sprintf(`data: {"status": "waiting", "message": "Your position in the queue is: %d"}`+"\n\n", n)
}

// eventTranscripts are the bytes of /api/generate.
func eventTranscripts(t *testing.T, s *started, name string) {
	const body = `{"input":"hello","model":null}`
	r := s.ask(t, "POST /api/generate", body)
	plain := s.ask(t, "POST /api/embeddings", body)
	if want := isProcessing + "data: " + strings.TrimSuffix(plain.body, "}") + isComplete; r.status != 200 || r.body != want {
		t.Errorf("%d\n%s\nwant\n%s", r.status, r.body, want)
	}
	if r.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || r.header.Get("Cache-Control") != "no-cache" || len(r.header.Get("X-Job-Id")) != 32 {
		t.Errorf("headers %v", r.header)
	}
	// The readers of both clients come to the same object.
	var object map[string]any
	for who, read := range map[string]func(io.Reader) (map[string]any, []string){"Java": javaReader, "Python": pythonReader} {
		got, log := read(strings.NewReader(r.body))
		if got["object"] != "list" || got["model"] != name || got["status"] != "complete" || len(log) != 1 || log[0] != "processing" {
			t.Errorf("%s: %v, log %v", who, got, log)
		}
		if object != nil && fmt.Sprint(object) != fmt.Sprint(got) {
			t.Errorf("two readers read %v and %v", object, got)
		}
		object = got
	}
}

// lineTranscripts are the bytes of /api/generate for three jobs at once.
func lineTranscripts(t *testing.T, s *started) {
	const body = `{"input":"hello","model":null}`
	first, job := s.open(t, work(t))
	expect(t, first, isProcessing)
	second, _ := s.open(t, body)
	expect(t, second, isWaiting(1))
	third, _ := s.open(t, body)
	expect(t, third, isWaiting(2))
	expect(t, second, isWaiting(1)) // a second later
	expect(t, third, isWaiting(2))
	expect(t, first, isProcessing)
	if r := s.ask(t, "GET /api/health", ""); r.body != `{"status":"ok"}` { // while they compute and wait
		t.Errorf("health while a job computes: %s", r.body)
	}
	if r := s.ask(t, "GET /api/queue", ""); r.body != "queue_size 2" {
		t.Errorf("%s", r.body)
	}
	if r := s.ask(t, "DELETE /api/jobs/"+job, ""); r.status != 200 || !strings.Contains(r.body, `"state":"cancelled"`) {
		t.Errorf("cancelling: %d %s", r.status, r.body)
	}
	rest, err := io.ReadAll(first)
	if err != nil || !strings.HasSuffix(string(rest), isCancelled) {
		t.Errorf("the cancelled one: %v %s", err, rest)
	}
	for who, read := range map[string]func(io.Reader) (map[string]any, []string){"Java": javaReader, "Python": pythonReader} {
		if got, _ := read(bytes.NewReader(rest)); got != nil {
			t.Errorf("%s takes a cancelled job for %v", who, got)
		}
	}
	shape := regexp.MustCompile(`^(data: \{"status": "waiting", "message": "Your position in the queue is: [12]"\}\n\n)*(data: \{"status": "processing", "message": "Generating\.\.\."\}\n\n)+data: \{"object":"list",[^\n]*, "status": "complete", "message": "Generation complete\."\}\n\n$`)
	for _, r := range []*bufio.Reader{second, third} {
		if rest, err := io.ReadAll(r); err != nil || !shape.Match(rest) {
			t.Errorf("%v\n%s", err, rest)
		}
	}
}

// work is a request whose job takes long enough to be looked at.
func work(t *testing.T) string {
	t.Helper()
	text := strings.Repeat("how long is the day ", 200)
	body, err := json.Marshal(map[string]any{"input": strings.Split(strings.Repeat(text+"\n", 399)+text, "\n")})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// open sends a request to /api/generate and hands out its stream.
func (s *started) open(t *testing.T, body string) (events *bufio.Reader, job string) {
	t.Helper()
	res, err := nethttp.Post(s.url+"/api/generate", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return bufio.NewReader(res.Body), res.Header.Get("X-Job-Id")
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("%v %q\nwant %q", err, b, want)
	}
}

// inferTranscripts are what SEMOSS sends to V2, and how it reads the answer.
func inferTranscripts(t *testing.T, s *started, name, id string) {
	const body = `{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["a","b"]}]}`
	sent := []string{"Accept: text/event-stream", "Content-Type: application/json", "Inference-Header-Content-Length: 2000"}
	r := s.ask(t, "POST /v2/models/"+strings.ToLower(name)+"/infer", body, sent...)
	shape := regexp.MustCompile(`^\{"model_name":"` + name + `","id":"` + r.header.Get("X-Job-Id") + `","outputs":\[\{"name":"output","shape":\[1\],"datatype":"BYTES","data":\["\{\\"embedding_dim\\":\d+,\\"embeddings\\":\[\[.*\]\],\\"model_id\\":\\"` + id + `\\",\\"shape\\":\[2,\d+\]\}"\]\}\]\}$`)
	if r.status != 200 || r.header.Get("Content-Type") != "application/json" || !shape.MatchString(r.body) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	output := semossRead(t, r.body)["output"].(map[string]any)
	plain := vectors(t, s.ask(t, "POST /v1/embeddings", `{"input":["a","b"]}`).body)
	if got := fmt.Sprint(output["embeddings"]); got != fmt.Sprint(plain) || output["embedding_dim"] != float64(len(plain[0])) {
		t.Errorf("%s\nwant %v", got, plain)
	}
	if r := s.ask(t, "POST /v2/models/X/infer", body); r.status != 404 || r.body != `{"error":"Model with name X does not exist."}` {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.ask(t, "POST /v2/models/"+name+"/infer", `{"inputs":5}`); r.status != 400 || r.body != `{"error":"inputs: must be a list, not a number"}` {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// jobTranscripts cancel a request by the id that its client gave it.
func jobTranscripts(t *testing.T, s *started) {
	done := make(chan reply, 1)
	go func() { done <- s.ask(t, "POST /api/embeddings", work(t), "X-Request-Id: mine-1") }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if r := s.ask(t, "GET /api/jobs", ""); strings.Contains(r.body, `"request_id":"mine-1"`) && strings.HasSuffix(r.body, `"waiting":0,"running":1}`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job is never listed")
		}
	}
	if r := s.ask(t, "DELETE /api/jobs/mine-1", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	r := <-done
	if r.status != 503 || !strings.HasPrefix(r.body, `{"status":"cancelled","detail":"the job was cancelled"`) || len(r.header.Get("X-Job-Id")) != 32 || r.header.Get("X-Request-Id") != "mine-1" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
}

// phase checks every cell of a phase's row.
func (s *started) phase(t *testing.T, health, status, name string) {
	t.Helper()
	ready := health == "ok"
	code, infer := 503, 503
	if ready {
		code, infer = 200, 200
	}
	const one = `{"input":"a"}`
	for _, c := range []struct {
		request, body string
		status        int
		want          string // the body's beginning
	}{
		{"GET /api/health", "", code, `{"status":"` + health + `"}`},
		{"GET /api/model-loaded", "", 200, fmt.Sprint(ready)},
		{"GET /api/status", "", 200, `{"status":"` + status + `",`},
		{"GET /v2/health/live", "", 200, `{"live":true}`},
		{"GET /v2/health/ready", "", code, fmt.Sprintf(`{"ready":%v}`, ready)},
		{"GET /v2/models/" + name + "/ready", "", code, fmt.Sprintf(`{"name":"%s","ready":%v}`, name, ready)},
		{"GET /v1/models", "", code, "{"}, {"GET /metrics", "", 200, "#"}, {"GET /docs", "", 200, "<!doctype html>"},
		{"GET /openapi.json", "", 200, "{"}, {"GET /", "", 200, "<!doctype html>"},
		{"POST /api/embeddings", one, infer, "{"}, {"POST /v1/embeddings", one, infer, "{"}, {"POST /openai/v1/embeddings", one, infer, "{"},
		{"POST /api/generate", one, infer, ""}, {"POST /v2/models/" + name + "/infer", `{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}]}`, infer, "{"},
	} {
		r := s.ask(t, c.request, c.body)
		if r.status != c.status || !strings.HasPrefix(r.body, c.want) {
			t.Errorf("%s, %s: %d %.300s\nwant %d %s", health, c.request, r.status, r.body, c.status, c.want)
		}
		if got := r.header.Get("Retry-After"); (got == "5") != (c.status == 503) {
			t.Errorf("%s, %s: Retry-After %q", health, c.request, got)
		}
	}
}

// TestTranscriptsOfTheStart goes through the rows of the table of phases, as
// the deployer does. The row of loading passes too quickly to be seen here; it
// is TestPhases in package http.
func TestTranscriptsOfTheStart(t *testing.T) {
	h := newFakeHub(t, fixture)
	files := t.TempDir()
	// Flags win over variables; the folder is the name in lower case.
	cmd := program(t, quiet+"--model TINY --fail_grace 1h --model_files "+files)
	cmd.Env = append(cmd.Env, "MODEL=other", "MODEL_TYPE=EMBED", "MODEL_REPO_ID="+fakeRepo, "PORT=1", "HOST=0.0.0.0", "NO_REDIS=False", "USE_VLLM=true", "LOCAL_FILES=", "SEMOSS_ID=")
	s := begin(t, cmd)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, body := get(t, s.url+"/api/status"); strings.Contains(body, `"progress":`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no download")
		}
	}
	s.phase(t, "downloading", "Downloading model files...", "TINY")
	h.open()
	s.until(t, "try it")
	s.phase(t, "ok", "ready", "TINY")
	if _, err := os.Stat(filepath.Join(files, "tiny", "config.json")); err != nil {
		t.Error(err)
	}
	s.end(t)

	s = start(t, "--fail_grace 1h --model gone --model_type embed --model_files "+t.TempDir()+" --model_repo_id Org/gone")
	s.until(t, "the start failed")
	s.phase(t, "error", "Error downloading model files", "gone")
	s = start(t, "--fail_grace 1h --model gone --model_type embed --model_files "+t.TempDir())
	s.until(t, "the start failed")
	s.phase(t, "error", "Model configuration not found", "gone")
}
