package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"remote-client-server/bench/load/target"
)

// actions are what clients do, and how often.
var actions = []struct {
	name   string
	weight int
	do     func(*client) error
}{
	{"embeddings", 20, embeddings},
	{"stream", 8, stream},
	{"V2", 8, infer},
	{"tokenize", 4, tokenize},
	{"look", 20, look},
	{"wrong", 10, wrong},
	{"too large", 1, tooLarge},
	{"slow reader", 2, slowReader},
	{"cancel", 4, cancel},
	{"leave", 4, leave},
	{"leave a stream", 3, leaveStream},
	{"leave while sending", 2, leaveWhileSending},
	{"deadline", 3, deadline},
}

// prefixes are where OpenAI's routes are.
var prefixes = []string{"/v1", "/openai/v1", "/api"}

func embeddings(c *client) error {
	fields := pick(c, "", `,"encoding_format":"base64"`, `,"dimensions":64`, `,"normalize":false`, `,"model":"another"`, `,"unknown":[{}]`)
	_, err := c.ask("embeddings", target.Message("POST", pick(c, prefixes...)+"/embeddings", c.body(1+c.rng.IntN(8), 1+c.rng.IntN(60), fields)), 200, 429)
	return err
}

func stream(c *client) error {
	return c.stream(target.Message("POST", "/api/generate", c.body(1+c.rng.IntN(8), 40)), []int{429}, "complete")
}

// stream reads a stream of events to its end, which must be one of these, if it
// is not refused with one of the statuses.
func (c *client) stream(message []byte, statuses []int, ends ...string) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	if err := conn.Send(message); err != nil {
		c.ledger.cutOff("generate")
		return err
	}
	res, err := conn.Head()
	if err != nil {
		c.ledger.cutOff("generate")
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		b, _ := io.ReadAll(res.Body) // for the message alone
		return c.judge("generate", res.StatusCode, b, statuses)
	}
	last, err := readEvents(res.Body, 0)
	c.ledger.saw("generate", 200)
	c.ledger.streamEnded(last)
	if err != nil {
		return err
	}
	for _, end := range ends {
		if last == end {
			return nil
		}
	}
	return fmt.Errorf("a stream ended with %q instead of %q", last, ends)
}

// model is the name of the built-in model.
const model = "builtin-embed"

func infer(c *client) error {
	texts := pick(c, `["a"]`, `["a","b","c"]`, `["a",12]`)
	n := strings.Count(texts, ",") + 1
	body := fmt.Sprintf(`{"inputs":[{"name":"text","shape":[%d],"datatype":"BYTES","data":%s}]}`, n, texts)
	_, err := c.ask("v2/models/{id}/infer", target.Message("POST", "/v2/models/"+model+"/infer", body,
		"Accept: text/event-stream", "Inference-Header-Content-Length: 2000"), 200, 429)
	return err
}

func tokenize(c *client) error {
	if c.rng.IntN(2) == 0 {
		_, err := c.ask("tokenize", target.Message("POST", "/tokenize", `{"prompt":"`+c.text(30)+`"}`), 200)
		return err
	}
	_, err := c.ask("detokenize", target.Message("POST", "/detokenize", `{"tokens":[2,5,6,3]}`), 200)
	return err
}

// look asks a route that computes nothing.
func look(c *client) error {
	q := pick(c, looks...)
	_, err := c.ask(q.route, target.Message(q.method, q.path, "", q.header...), q.status)
	return err
}

var looks = []struct {
	route, method, path string
	status              int
	header              []string
}{
	{"health", "GET", "/api/health", 200, nil},
	{"health", "HEAD", "/health", 200, nil},
	{"status", "GET", "/api/status", 200, nil},
	{"queue", "GET", "/api/queue", 200, nil},
	{"model-loaded", "GET", "/api/model-loaded", 200, nil},
	{"gpu/status", "GET", "/api/gpu/status", 400, nil},
	{"metrics", "GET", "/metrics", 200, nil},
	{"models", "GET", "/v1/models", 200, nil},
	{"models/{id}", "GET", "/v1/models/" + model, 200, nil},
	{"models/{id}", "GET", "/v1/models/nobody", 404, nil},
	{"jobs", "GET", "/api/jobs", 200, nil},
	{"jobs/{id}", "GET", "/api/jobs/nobody", 404, nil},
	{"page", "GET", "/", 200, nil},
	{"page", "GET", "/docs", 200, nil},
	{"page", "GET", "/openapi.json", 200, []string{"Accept-Encoding: gzip"}},
	{"v2", "GET", "/v2", 200, nil},
	{"v2/health/live", "GET", "/v2/health/live", 200, nil},
	{"v2/health/ready", "GET", "/v2/health/ready", 200, nil},
	{"v2/models", "GET", "/v2/models", 200, nil},
	{"v2/models/{id}", "GET", "/v2/models/" + model, 200, nil},
	{"v2/models/{id}/ready", "GET", "/v2/models/" + model + "/ready", 200, nil},
	{"preflight", "OPTIONS", "/v1/embeddings", 200, []string{"Origin: http://example.com", "Access-Control-Request-Method: POST"}},
	{"other", "GET", "/nowhere", 404, nil},
	{"embeddings", "GET", "/v1/embeddings", 405, nil},
}

// wrong sends a body that cannot be right.
func wrong(c *client) error {
	q := pick(c, wrongs...)
	_, err := c.ask(q.route, target.Message("POST", q.path, q.body), 400)
	return err
}

var wrongs = []struct{ route, path, body string }{
	{"embeddings", "/v1/embeddings", `{`},
	{"embeddings", "/v1/embeddings", `[]`},
	{"embeddings", "/v1/embeddings", `{"input":[]}`},
	{"embeddings", "/api/embeddings", `{"input":[1,"a"]}`},
	{"embeddings", "/openai/v1/embeddings", `{"input":"x","dimensions":-1}`},
	{"embeddings", "/v1/embeddings", `{"input":"x","encoding_format":"hex"}`},
	{"embeddings", "/v1/embeddings", "{\"input\":\"\xff\xfe\"}"},
	{"embeddings", "/v1/embeddings", `{"input":"\ud800"`},
	{"embeddings", "/v1/embeddings", strings.Repeat("[", 10_000)},
	{"generate", "/api/generate", `{"input":null}`},
	{"generate", "/api/generate", `{"text":"x"}`},
	{"v2/models/{id}/infer", "/v2/models/" + model + "/infer", `{"inputs":[{"name":"text"}]}`},
	{"v2/models/{id}/infer", "/v2/models/" + model + "/infer", `{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["a"]}]}`},
	{"chat/completions", "/v1/chat/completions", `{"messages":[{"role":"user","content":"hello"}]}`},
	{"tokenize", "/tokenize", `{"prompt":1}`},
	{"detokenize", "/detokenize", `{"tokens":[-1]}`},
}

// tooLarge announces or sends more than the server takes.
func tooLarge(c *client) error {
	_, err := c.ask("embeddings", target.Message("POST", "/v1/embeddings", `{"input":"`+strings.Repeat("x", 1<<20)+`"}`), 413)
	return err
}

// slowReader takes a large answer in small pieces.
func slowReader(c *client) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	if err := conn.Send(target.Message("POST", "/v1/embeddings", c.body(64, 3))); err != nil {
		c.ledger.cutOff("embeddings")
		return err
	}
	res, err := conn.Head()
	if err != nil {
		c.ledger.cutOff("embeddings")
		return err
	}
	defer res.Body.Close()
	for piece := make([]byte, 4<<10); err == nil; {
		time.Sleep(2 * time.Millisecond)
		_, err = io.ReadFull(res.Body, piece)
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF { // the last piece is shorter
		return err
	}
	return c.judge("embeddings", res.StatusCode, nil, []int{200, 429})
}

// heavy is a request that the model needs a moment for.
func (c *client) heavy(path string, header ...string) []byte {
	return target.Message("POST", path, c.body(64, 100), header...)
}

// cancel ends its own job over another connection. The job may be done before.
func cancel(c *client) error {
	id := c.job()
	conn, err := c.dial()
	if err != nil {
		return err
	}
	if err := conn.Send(c.heavy("/v1/embeddings", "X-Request-Id: "+id)); err != nil {
		c.ledger.cutOff("embeddings")
		return err
	}
	other := &client{s: c.s, ledger: c.ledger, rng: c.rng}
	defer other.hangUp()
	cancelled := target.Answer{Status: 404}
	for try := 0; cancelled.Status == 404 && try < 200; try++ { // until it is admitted
		time.Sleep(time.Duration(c.rng.IntN(5)) * time.Millisecond)
		if cancelled, err = other.ask("jobs/{id}", target.Message("DELETE", "/api/jobs/"+id, ""), 200, 404, 409); err != nil {
			return err
		}
	}
	res, err := conn.Head()
	if err != nil {
		c.ledger.cutOff("embeddings")
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.ledger.cutOff("embeddings")
		return err
	}
	want := map[int][]int{200: {503}, 409: {200}, 404: {200, 429}}[cancelled.Status] // 404: refused, or not admitted for long
	return c.judge("embeddings", res.StatusCode, b, want)
}

// leave closes the connection while its request is under way.
func leave(c *client) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer c.hangUp()
	path, route := "/v1/embeddings", "embeddings"
	if c.rng.IntN(2) == 0 {
		path, route = "/api/generate", "generate"
	}
	c.ledger.cutOff(route)
	err = conn.Send(c.heavy(path))
	time.Sleep(time.Duration(c.rng.IntN(40)) * time.Millisecond)
	return err
}

// leaveStream closes the connection after the first event.
func leaveStream(c *client) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer c.hangUp()
	c.ledger.cutOff("generate")
	if err := conn.Send(c.heavy("/api/generate")); err != nil {
		return err
	}
	res, err := conn.Head()
	if err != nil || res.StatusCode != 200 {
		return err
	}
	_, err = readEvents(res.Body, 1)
	return err
}

// leaveWhileSending closes the connection in the middle of a body.
func leaveWhileSending(c *client) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer c.hangUp()
	c.ledger.cutOff("embeddings")
	message := c.heavy("/v1/embeddings")
	return conn.Send(message[:len(message)/2])
}

// deadline wants an answer sooner than there can be one.
func deadline(c *client) error {
	header := fmt.Sprintf("X-Request-Timeout: 0.%03d", 1+c.rng.IntN(20))
	if c.rng.IntN(2) == 0 {
		_, err := c.ask("embeddings", c.heavy("/v1/embeddings", header), 200, 429, 504)
		return err
	}
	return c.stream(c.heavy("/api/generate", header), []int{429, 504}, "complete", "timeout")
}
