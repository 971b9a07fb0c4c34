// Package contract holds the running server to its own description of itself,
// /openapi.json.
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"remote-client-server/bench/contract/server"
	reception "remote-client-server/http"
	"remote-client-server/http/pages"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func init() {
	for _, kind := range []string{"text/html", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.PlainBodyDecoder)
	}
}

// description loads the document as the server serves it, and checks it
// against the standard.
func description(t *testing.T, s *server.Server) *openapi3.T {
	t.Helper()
	a := s.Do(t, server.Request{Path: "/openapi.json"})
	if a.Status != 200 {
		t.Fatalf("/openapi.json: %d", a.Status)
	}
	doc, err := openapi3.NewLoader().LoadFromData(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// checker compares answers with the description and notes which it has seen.
type checker struct {
	doc  *openapi3.T
	seen map[string]bool // "GET /api/health 200"
}

// check says how the answer to an operation, a method and a path as the
// description writes it, departs from the description.
func (c *checker) check(t *testing.T, operation string, a server.Response) {
	t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	item := c.doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		t.Errorf("%s is not described", operation)
		return
	}
	c.seen[operation+" "+strconv.Itoa(a.Status)] = true
	r, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r,
			Route:   &routers.Route{Spec: c.doc, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)},
		},
		Status: a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		t.Errorf("%s: %d %.300s\n%v", operation, a.Status, a.Body, err)
	}
	if a.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s: no X-Request-Id", operation)
	}
}

// operations lists "METHOD /path" of all that is described.
func operations(doc *openapi3.T) []string {
	var list []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			list = append(list, method+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// example is the body of an operation's first example, or "".
func example(t *testing.T, doc *openapi3.T, operation string) string {
	t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	body := doc.Paths.Value(path).GetOperation(method).RequestBody
	if body == nil {
		return ""
	}
	examples := body.Value.Content["application/json"].Examples
	names := slices.Sorted(maps.Keys(examples))
	if len(names) == 0 {
		return "{}"
	}
	b, err := json.Marshal(examples[names[0]].Value.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// place puts names into a path.
func place(path, name string) string { return hole.ReplaceAllString(path, name) }

var hole = regexp.MustCompile(`\{[a-z]+\}`)

// kind is a model type, served by the model of that type in the binary.
type kind struct {
	name  string
	works []string // the operations that the queue takes jobs from
	// bodies are what else of these is worth asking for, by the end of the path.
	bodies map[string][]string
}

// served is the name of the type's model.
func (k kind) served() string { return "builtin-" + k.name }

var embedder = kind{
	name: "embed",
	works: []string{
		"POST /api/embeddings", "POST /v1/embeddings", "POST /openai/v1/embeddings", "POST /api/generate", "POST /v2/models/{model}/infer",
	},
	bodies: map[string][]string{"/embeddings": embedBodies, "/generate": embedBodies},
}

var embedBodies = []string{
	`{"input":"a","colour":1}`, `{"input":"a","encoding_format":"base64"}`, `{"input":[3,4,5]}`, `{"input":[[3],[4,5]],"dimensions":8}`,
	`{"input":["` + strings.Repeat("word ", 2000) + `",""],"normalize":false}`,
}

var writer = kind{
	name: "text",
	works: []string{
		"POST /api/chat/completions", "POST /v1/chat/completions", "POST /openai/v1/chat/completions",
		"POST /api/completions", "POST /v1/completions", "POST /openai/v1/completions",
	},
	bodies: map[string][]string{
		"/chat/completions": {
			`{"messages":[{"role":"user","content":"hi"}],"logprobs":true,"top_logprobs":2,"n":2,"max_tokens":3,"return_token_ids":true,"colour":1}`,
			`{"messages":[{"role":"user","content":"What is the weather in Oslo?"}],"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}],"tool_choice":"required"}`,
			`{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_object"},"max_tokens":30}`,
			`{"messages":[{"role":"user","content":"hi"}],"stream":true}`,
		},
		"/completions": {`{"prompt":["a","b"],"max_tokens":2,"logprobs":1}`, `{"prompt":[5,6],"echo":true,"max_tokens":1}`, `{"prompt":"a","stream":true,"max_tokens":2}`},
	},
}

// TestDescriptionHolds asks for every answer that is described and can be
// provoked, and compares them with the description.
func TestDescriptionHolds(t *testing.T) {
	plain, writes := server.Start(t, true), server.Start(t, true, "--model_type", "text")
	c := &checker{doc: description(t, plain), seen: map[string]bool{}}
	t.Run("success", func(t *testing.T) { c.success(t, plain, embedder) })
	t.Run("success in writing", func(t *testing.T) { c.success(t, writes, writer) })
	t.Run("wrong requests", func(t *testing.T) { c.refusals(t, plain, embedder, operations(c.doc)) })
	t.Run("wrong requests to write", func(t *testing.T) { c.refusals(t, writes, writer, writer.works) })
	t.Run("an api key", func(t *testing.T) { c.locked(t, server.Start(t, true, "--api_key", "open-sesame")) })
	t.Run("no model", func(t *testing.T) {
		c.unready(t, server.Start(t, false, "--model", "absent", "--model_type", "embed", "--model_files", t.TempDir(), "--fail_grace", "60"))
	})
	t.Run("a full queue", func(t *testing.T) {
		c.busy(t, server.Start(t, true, "--queue_size", "1", "--threads", "1", "--max_body", "4MiB"), embedder)
	})
	t.Run("a full queue of writing", func(t *testing.T) {
		c.pressed(t, server.Start(t, true, "--model_type", "text", "--queue_size", "1", "--max_sequences", "16", "--threads", "1"), writer)
	})
	t.Run("nothing is left out", c.complete)
}

func (c *checker) success(t *testing.T, s *server.Server, k kind) {
	for _, operation := range operations(c.doc) {
		method, path, _ := strings.Cut(operation, " ")
		if strings.Contains(path, "/jobs/") {
			continue // see busy
		}
		q := server.Request{Method: method, Path: place(path, k.served()), Body: example(t, c.doc, operation)}
		a := s.Do(t, q)
		c.check(t, operation, a)
		if slices.Contains(k.works, operation) && a.Status != 200 {
			t.Errorf("%s: the example: %d %.200s", operation, a.Status, a.Body)
		}
		if method == "GET" {
			q.Method = "HEAD"
			if a := s.Do(t, q); len(a.Body) > 0 {
				t.Errorf("HEAD %s has a body", path)
			}
		}
	}
	for _, path := range []string{"/", "/docs", "/redoc", "/openapi.json"} {
		tag := s.Do(t, server.Request{Path: path}).Header.Get("ETag")
		a := s.Do(t, server.Request{Path: path, Header: "If-None-Match: " + tag})
		if a.Status != 304 || len(a.Body) > 0 {
			t.Errorf("%s: %d for a known ETag", path, a.Status)
		}
		c.check(t, "GET "+path, a)
	}
	for _, operation := range k.works {
		method, path, _ := strings.Cut(operation, " ")
		for end, bodies := range k.bodies {
			if !strings.HasSuffix(path, end) || end == "/completions" && strings.HasSuffix(path, "/chat/completions") {
				continue
			}
			for _, body := range bodies {
				a := s.Do(t, server.Request{Method: method, Path: path, Body: body})
				c.check(t, operation, a)
				if a.Status != 200 {
					t.Errorf("%s %.200s: %d %.200s", operation, body, a.Status, a.Body)
				}
			}
		}
	}
	if k.name != "embed" {
		return
	}
	events := string(s.Do(t, server.Request{Method: "POST", Path: "/api/generate", Body: `{"input":"a"}`}).Body)
	schema := c.doc.Components.Schemas["GenerateEvent"].Value
	for event := range strings.SplitSeq(strings.TrimSpace(events), "\n\n") {
		var v any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(event, "data: ")), &v); err != nil {
			t.Errorf("%v: %.200s", err, event)
		} else if err := schema.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%v: %.200s", err, event)
		}
	}
}

func (c *checker) refusals(t *testing.T, s *server.Server, k kind, of []string) {
	large := `{"input":"` + strings.Repeat("x", 65<<20) + `"}`
	for _, operation := range of {
		method, path, _ := strings.Cut(operation, " ")
		responses := c.doc.Paths.Value(path).GetOperation(method).Responses
		here := place(path, k.served())
		if responses.Status(404) != nil {
			c.check(t, operation, s.Do(t, server.Request{Method: method, Path: place(path, "nobody"), Body: example(t, c.doc, operation)}))
		}
		if method != "POST" {
			continue
		}
		c.check(t, operation, s.Do(t, server.Request{Method: method, Path: here, Body: `{"`}))
		c.check(t, operation, s.Do(t, server.Request{Method: method, Path: here, Body: `{}`, Header: "Content-Encoding: gzip"}))
		if responses.Status(413) != nil {
			a, err := s.Try(server.Request{Method: method, Path: here, Body: large})
			if err != nil {
				t.Errorf("%s: %v", operation, err)
				continue
			}
			c.check(t, operation, a)
		}
	}
	if k.name != "embed" {
		return
	}
	binary := `{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"],"parameters":{"binary_data_size":3}}]}`
	again := server.Request{Method: "POST", Path: "/v2/models/" + k.served() + "/infer", Body: binary}
	first, second := s.Do(t, again), s.Do(t, again)
	if first.Status != 400 || !bytes.Equal(first.Body, second.Body) {
		t.Errorf("the same refusal twice: %d %s, then %s", first.Status, first.Body, second.Body)
	}
	for _, id := range []string{"none", "0123456789abcdef0123456789abcdef"} {
		for _, method := range []string{"GET", "DELETE"} {
			c.check(t, method+" /api/jobs/{id}", s.Do(t, server.Request{Method: method, Path: "/api/jobs/" + id}))
		}
	}
}

// locked: what is described to need a key needs it, and nothing else.
func (c *checker) locked(t *testing.T, s *server.Server) {
	for _, operation := range operations(c.doc) {
		method, path, _ := strings.Cut(operation, " ")
		o := c.doc.Paths.Value(path).GetOperation(method)
		q := server.Request{Method: method, Path: place(path, embedder.served()), Body: example(t, c.doc, operation)}
		open := o.Security != nil && len(*o.Security) == 0
		for _, header := range []string{"", "Authorization: Bearer close-sesame", "Authorization: Basic open-sesame"} {
			q.Header = header
			a := s.Do(t, q)
			c.check(t, operation, a)
			if (a.Status == 401) == open {
				t.Errorf("%s with %q: %d, described as open: %t", operation, header, a.Status, open)
			}
			if a.Status == 401 && a.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", operation, a.Header.Get("WWW-Authenticate"))
			}
		}
		q.Header = "Authorization: Bearer open-sesame"
		if a := s.Do(t, q); a.Status == 401 {
			t.Errorf("%s: the right key is refused", operation)
		}
	}
}

// unready: a server without a model answers 503 wherever that is described, and
// nowhere else.
func (c *checker) unready(t *testing.T, s *server.Server) {
	server.Until(t, "the start has failed", func() bool {
		return strings.Contains(string(s.Do(t, server.Request{Path: "/api/health"}).Body), "error")
	})
	for _, operation := range operations(c.doc) {
		method, path, _ := strings.Cut(operation, " ")
		a := s.Do(t, server.Request{Method: method, Path: place(path, "absent"), Body: example(t, c.doc, operation)})
		c.check(t, operation, a)
		if described := c.doc.Paths.Value(path).GetOperation(method).Responses.Status(503) != nil; (a.Status == 503) != described {
			t.Errorf("%s: %d, 503 is described: %t", operation, a.Status, described)
		}
		if a.Status == 503 && a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", operation)
		}
	}
}

// busy fills the queue of a slow server, and ends what waits there in all ways.
func (c *checker) busy(t *testing.T, s *server.Server, k kind) {
	text := `"` + strings.Repeat("a long text that takes its time ", 60) + `"`
	long := `{"input":[` + strings.TrimSuffix(strings.Repeat(text+",", 2000), ",") + `]}`
	infer := fmt.Sprintf(`{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":[%s]}]}`, text)
	answers := make(chan server.Response)
	submit := func(operation, body, id string) {
		method, path, _ := strings.Cut(operation, " ")
		go func() {
			a, err := s.Try(server.Request{Method: method, Path: place(path, k.served()), Body: body, Header: "X-Request-Id: " + id})
			if err != nil {
				t.Errorf("%s: %v", operation, err)
			}
			answers <- a
		}()
		server.Until(t, "the job is there", func() bool { return s.Do(t, server.Request{Path: "/api/jobs/" + id}).Status == 200 })
	}
	cancel := func(id string) {
		a := s.Do(t, server.Request{Method: "DELETE", Path: "/api/jobs/" + id})
		c.check(t, "DELETE /api/jobs/{id}", a)
		if a.Status != 200 {
			t.Errorf("cancelling %s: %d %s", id, a.Status, a.Body)
		}
	}
	submit("POST /v1/embeddings", long, "runs")
	server.Until(t, "the job runs", func() bool {
		return strings.Contains(string(s.Do(t, server.Request{Path: "/api/jobs/runs"}).Body), `"state":"running"`)
	})
	for _, operation := range k.works {
		method, path, _ := strings.Cut(operation, " ")
		body := `{"input":"a"}`
		if strings.HasPrefix(path, "/v2") {
			body = infer
		}
		q := server.Request{Method: method, Path: place(path, k.served()), Body: body}
		q.Header = "X-Request-Timeout: 0.05"
		c.check(t, operation, s.Do(t, q))
		q.Header = "X-Request-Timeout: soon"
		c.check(t, operation, s.Do(t, q))
		submit(operation, body, "waits")
		c.check(t, "GET /api/jobs", s.Do(t, server.Request{Path: "/api/jobs"}))
		c.check(t, "GET /api/jobs/{id}", s.Do(t, server.Request{Path: "/api/jobs/waits"}))
		q.Header = ""
		full := s.Do(t, q)
		c.check(t, operation, full)
		if full.Status != 429 || full.Header.Get("Retry-After") == "" {
			t.Errorf("%s on a full queue: %d, Retry-After %q", operation, full.Status, full.Header.Get("Retry-After"))
		}
		cancel("waits")
		c.check(t, operation, <-answers)
	}
	cancel("runs")
	a := <-answers
	c.check(t, "POST /v1/embeddings", a)
	if a.Status != 503 {
		t.Errorf("a cancelled job: %d %.200s", a.Status, a.Body)
	}
	c.check(t, "DELETE /api/jobs/{id}", s.Do(t, server.Request{Method: "DELETE", Path: "/api/jobs/runs"}))
}

// pressed does so with a language model, whose jobs run side by side: some of
// many are refused, one times out and one is cancelled.
func (c *checker) pressed(t *testing.T, s *server.Server, k kind) {
	for _, operation := range k.works {
		method, path, _ := strings.Cut(operation, " ")
		long := `"n":16,"ignore_eos":true,"max_tokens":900}`
		body := `{"prompt":"a",` + long
		if strings.HasSuffix(path, "/chat/completions") {
			body = `{"messages":[{"role":"user","content":"a"}],` + long
		}
		q := server.Request{Method: method, Path: path, Body: body, Header: "X-Request-Timeout: 0.05"}
		c.check(t, operation, s.Do(t, q))
		q.Header = "X-Request-Id: gone"
		answers := make(chan server.Response)
		for range 6 { // all slots, the only place in the line, and those for whom there is none
			go func() {
				a, err := s.Try(q)
				if err != nil {
					t.Errorf("%s: %v", operation, err)
				}
				answers <- a
			}()
		}
		refused := 0
		cancelled := false
		for range 6 {
			a := <-answers
			c.check(t, operation, a)
			if a.Status == 429 {
				refused++
			}
			if !cancelled && refused > 0 { // those that are left run or wait
				cancelled = s.Do(t, server.Request{Method: "DELETE", Path: "/api/jobs/gone"}).Status == 200
			}
		}
		if refused == 0 || !cancelled {
			t.Errorf("%s: %d of 6 were refused, one cancelled: %t", operation, refused, cancelled)
		}
	}
}

// unprovoked are described answers that no client can ask for.
var unprovoked = map[string]string{
	"GET /api/gpu/status 200": "there is no GPU",
	"GET /api/gpu/status 500": "there is no GPU",
	"408":                     "the server waits long for a slow request; its own tests shorten that",
	"500":                     "it takes a fault in the server",
}

func (c *checker) complete(t *testing.T) {
	for _, operation := range operations(c.doc) {
		method, path, _ := strings.Cut(operation, " ")
		for status := range c.doc.Paths.Value(path).GetOperation(method).Responses.Map() {
			if unprovoked[operation+" "+status] == "" && unprovoked[status] == "" && !c.seen[operation+" "+status] {
				t.Errorf("%s: the answer %s is described but was not seen", operation, status)
			}
		}
	}
}

// TestEveryRouteIsDescribed: the router's names and the described paths are the
// same, and each path is there under just the prefixes that are described.
func TestEveryRouteIsDescribed(t *testing.T) {
	s := server.Start(t, true)
	doc := description(t, s)
	prefixes := []string{"/openai/v1", "/v1", "/api", ""}
	special := map[string]string{"/ping": "health", "/": "page", "/docs": "page", "/redoc": "page", "/openapi.json": "page"}
	// name is what the router calls a described path.
	name := func(path string) string {
		if known := special[path]; known != "" {
			return known
		}
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(path, p+"/"); ok {
				return hole.ReplaceAllString(rest, "{id}")
			}
		}
		return path
	}
	described := map[string]bool{}
	for path := range doc.Paths.Map() {
		described[name(path)] = true
	}
	for _, route := range reception.Routes() {
		if route != "other" && route != "preflight" && !described[route] {
			t.Errorf("the route %q is not described", route)
		}
		delete(described, route)
	}
	for route := range described {
		t.Errorf("%q is described, but the router has no such route", route)
	}
	holes := strings.NewReplacer("{id}", embedder.served())
	for _, route := range reception.Routes() {
		for _, prefix := range prefixes {
			path := prefix + "/" + route
			there := s.Do(t, server.Request{Path: holes.Replace(path)}).Status
			if route == "jobs/{id}" { // 404 for a job that is not there
				there = s.Do(t, server.Request{Method: "POST", Path: holes.Replace(path)}).Status
			}
			is := false
			for known := range doc.Paths.Map() {
				is = is || hole.ReplaceAllString(known, "{id}") == path
			}
			if (there != 404) != is {
				t.Errorf("%s: %d, described: %t", path, there, is)
			}
		}
	}
	for _, operation := range operations(doc) {
		method, path, _ := strings.Cut(operation, " ")
		if strings.Contains(path, "/jobs/") {
			continue
		}
		if a := s.Do(t, server.Request{Method: method, Path: place(path, embedder.served()), Body: example(t, doc, operation)}); a.Status == 404 || a.Status == 405 {
			t.Errorf("%s: %d", operation, a.Status)
		}
		wrong := "PUT"
		if a := s.Do(t, server.Request{Method: wrong, Path: place(path, embedder.served())}); a.Status != 405 || !strings.Contains(a.Header.Get("Allow"), method) {
			t.Errorf("%s %s: %d, Allow %q", wrong, path, a.Status, a.Header.Get("Allow"))
		}
	}
	for _, path := range pages.Paths() {
		if a := s.Do(t, server.Request{Path: path}); a.Status != 200 {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}
