package http

import (
	"strconv"
	"strings"
	"testing"

	"remote-client-server/runtime/queue"
)

func TestPhases(t *testing.T) {
	for _, c := range []struct {
		phase          Phase
		health, status string
	}{
		{Checking, `{"status":"loading"}`, "Checking model files..."},
		{Downloading, `{"status":"downloading"}`, "Downloading model files..."},
		{DownloadFailed, `{"status":"error"}`, "Error downloading model files"},
		{Loading, `{"status":"loading"}`, "initializing server"},
		{FilesUnfit, `{"status":"error"}`, "Model configuration not found"},
		{LoadFailed, `{"status":"error"}`, "Model initialization FAILED"},
		{DeviceLost, `{"status":"error"}`, "the GPU failed"},
	} {
		t.Run(c.status, func(t *testing.T) {
			h := closed(t)
			h.SetPhase(c.phase)
			if a := h.do("GET", "/api/health", ""); a.status != 503 || a.body != c.health || a.header.Get("Retry-After") != "5" {
				t.Errorf("health: %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
			}
			if a := h.do("GET", "/api/model-loaded", ""); a.status != 200 || a.body != "false" {
				t.Errorf("model-loaded: %d %s", a.status, a.body)
			}
			want := `{"status":"` + c.status + `","gpu":false,"queue":0,"model":"org/Tiny","type":"embed"}`
			if a := h.do("GET", "/api/status", ""); a.status != 200 || a.body != want {
				t.Errorf("status: %d %s", a.status, a.body)
			}
			if a := h.do("GET", "/metrics", ""); a.status != 200 {
				t.Errorf("metrics: %d", a.status)
			}
			for _, path := range []string{"/v1/models", "/v1/models/tiny"} {
				if a := h.do("GET", path, ""); a.status != 503 || a.header.Get("Retry-After") != "5" {
					t.Errorf("%s: %d", path, a.status)
				}
			}
			for path, want := range map[string]string{
				"GET /v2/health/live":            `200 {"live":true}`,
				"GET /v2/health/ready":           `503 {"ready":false}`,
				"GET /v2/models/tiny/ready":      `503 {"name":"tiny","ready":false}`,
				"POST /v2/models/tiny/infer":     `503 {"error":"the model is not ready: ` + c.status + `"}`,
				"GET /api/jobs":                  `200 {"jobs":[],"waiting":0,"running":0}`,
				"GET /api/jobs/0123456789abcdef": `404 {"detail":"no such job"}`,
				"GET /v2/models/somebody-elses":  `404 {"error":"Model with name somebody-elses does not exist."}`,
			} {
				method, path, _ := strings.Cut(path, " ")
				if a := h.do(method, path, ""); strconv.Itoa(a.status)+" "+a.body != want {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
			for _, path := range []string{"/", "/docs", "/redoc", "/openapi.json"} {
				if a := h.do("GET", path, ""); a.status != 200 {
					t.Errorf("%s: %d", path, a.status)
				}
			}
			for _, path := range []string{"/api/embeddings", "/v1/embeddings", "/api/generate", "/v1/chat/completions", "/tokenize", "/detokenize"} {
				a := h.post(path, one)
				if a.status != 503 || !strings.Contains(a.body, `"detail":"the model is not ready: `+c.status) {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
		})
	}
}

// TestAnswers is a table of requests and their exact answers.
func TestAnswers(t *testing.T) {
	h := open(t)
	const (
		vector  = `{"object":"list","model":"tiny","data":[{"object":"embedding","index":0,"embedding":[1,97,0.5,-0.25]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`
		model   = `"object":"model","created":CREATED,"owned_by":"org","root":"org/Tiny","type":"embed","max_model_len":8,"dimensions":4,"matryoshka":[4,2],"family":"fake","dtype":"float32","device":"cpu","parameters":12,"prompts":["passage","query"]}`
		noPath  = `{"detail":"Not Found"}`
		noPath1 = `{"detail":"Not Found","error":{"message":"Not Found","type":"invalid_request_error","param":null,"code":null}}`
		noVerb  = `{"detail":"Method Not Allowed"}`
	)
	for _, c := range []struct {
		request string
		body    string
		status  int
		want    string
		header  string // one that must be there
	}{
		{"GET /api/health", "", 200, `{"status":"ok"}`, "Content-Type: application/json"},
		{"HEAD /api/health", "", 200, "", "Content-Length: 15"},
		{"GET /api/status", "", 200, `{"status":"ready","gpu":false,"queue":0,"model":"org/Tiny","type":"embed"}`, ""},
		{"GET /api/queue", "", 200, "queue_size 0", "Content-Type: text/plain; charset=utf-8"},
		{"GET /api/model-loaded", "", 200, "true", "Content-Type: application/json"},
		{"GET /api/gpu/status", "", 400, `{"detail":"CUDA is not available on this system"}`, ""},
		{"GET /metrics", "", 200, "modelserver_queue_size 0\n", "Content-Type: text/plain; version=0.0.4; charset=utf-8"},
		{"GET /v1/models", "", 200, `{"object":"list","data":[{"id":"tiny",` + model + `]}`, ""},
		{"GET /openai/v1/models", "", 200, `{"object":"list","data":[{"id":"tiny",` + model + `]}`, ""},
		{"GET /api/models", "", 200, `{"object":"list","data":[{"id":"tiny",` + model + `]}`, ""},
		{"GET /v1/models/TINY", "", 200, `{"id":"tiny",` + model, ""},
		{"GET /v1/models/org/tiny", "", 200, `{"id":"tiny",` + model, ""},
		{"GET /v1/models/org%2FTiny", "", 200, `{"id":"tiny",` + model, ""},
		{"GET /v1/models/gpt-4", "", 404, `{"detail":"the model \"gpt-4\" does not exist","error":{"message":"the model \"gpt-4\" does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}`, ""},

		{"POST /api/embeddings", one, 200, vector, "Content-Type: application/json"},
		{"POST /v1/embeddings", one, 200, vector, ""},
		{"POST /openai/v1/embeddings", one, 200, vector, ""},
		{"POST /tiny/v1/embeddings", one, 200, vector, ""},
		{"POST /Tiny/api/embeddings", one, 200, vector, ""},

		{"POST /tokenize", `{"model":"tiny","prompt":"ab"}`, 200, `{"tokens":[97,98],"count":2,"max_model_len":8}`, ""},
		{"POST /v1/tokenize", `{"prompt":"","add_special_tokens":false}`, 200, `{"tokens":[],"count":0,"max_model_len":8}`, ""},
		{"POST /api/tokenize", `{"prompt":"a","x":1}`, 200, `{"tokens":[97],"count":1,"max_model_len":8,"warnings":["unknown field \"x\" was ignored"]}`, ""},
		{"POST /tokenize", `{"prompt":5}`, 400, `{"detail":"Invalid request format: prompt: must be a string, not a number"}`, ""},
		{"POST /tokenize", `{}`, 400, `{"detail":"Invalid request format: prompt: is required"}`, ""},
		{"POST /detokenize", `{"tokens":[97,34]}`, 200, `{"prompt":"a\""}`, ""},
		{"POST /v1/detokenize", `{"tokens":[]}`, 200, `{"prompt":""}`, ""},
		{"POST /detokenize", `{"tokens":[97,256]}`, 400, `{"detail":"Invalid request format: tokens[1]: must be from 0 to 255"}`, ""},
		{"POST /detokenize", `{"tokens":"a"}`, 400, `{"detail":"Invalid request format: tokens: must be a list, not a string"}`, ""},
		{"POST /detokenize", `{}`, 400, `{"detail":"Invalid request format: tokens: is required"}`, ""},

		{"POST /api/chat/completions", `{"messages":[]}`, 400, `{"detail":"a model of type embed does not answer /api/chat/completions: use POST /api/embeddings"}`, ""},
		{"POST /v1/completions", `{}`, 400, `{"detail":"a model of type embed does not answer /v1/completions: use POST /v1/embeddings","error":{"message":"a model of type embed does not answer /v1/completions: use POST /v1/embeddings","type":"invalid_request_error","param":null,"code":"wrong_model_type"}}`, ""},
		{"POST /api/images/generations", `{}`, 400, `{"detail":"a model of type embed does not answer /api/images/generations: use POST /api/embeddings"}`, ""},

		{"GET /health", "", 200, `{"status":"ok"}`, ""},
		{"GET /ping", "", 200, `{"status":"ok"}`, ""},
		{"GET /tiny/v2/health/ready", "", 200, `{"ready":true}`, ""},
		{"GET /v2/nothing", "", 404, noPath, ""},
		{"GET /v2/models/tiny/infer", "", 405, noVerb, "Allow: POST"},
		{"POST /api/jobs/1", "", 405, noVerb, "Allow: GET, DELETE"},
		{"GET /assets/../auth.go", "", 404, noPath, ""},
		{"GET /api", "", 404, noPath, ""},
		{"GET /apiary/health", "", 404, noPath, ""},
		{"GET /v1/health", "", 404, noPath1, ""},
		{"GET /v1/nothing", "", 404, noPath1, ""},
		{"GET /openai/v1/nothing", "", 404, noPath1, ""},
		{"GET /other/api/health", "", 404, noPath, ""},
		{"GET /../../etc/passwd", "", 404, noPath, ""},
		{"POST /api/health", "", 405, noVerb, "Allow: GET"},
		{"GET /api/embeddings", "", 405, noVerb, "Allow: POST"},
		{"DELETE /v1/embeddings", "", 405, `{"detail":"Method Not Allowed","error":{"message":"Method Not Allowed","type":"invalid_request_error","param":null,"code":null}}`, "Allow: POST"},
		{"OPTIONS /api/embeddings", "", 405, noVerb, ""}, // no preflight: the headers are missing
		{"GET /api/health/?a=b", "", 307, "", "Location: ../health?a=b"},
		{"POST /tiny/v1/embeddings/", one, 307, "", "Location: ../embeddings"},
		{"GET /v1/models/", "", 307, "", "Location: ../models"},
		{"GET /api/nothing/", "", 404, noPath, ""},
	} {
		t.Run(c.request+" "+c.body, func(t *testing.T) {
			method, path, _ := strings.Cut(c.request, " ")
			a := h.do(method, path, c.body)
			got := a.body
			if i := strings.Index(got, `"created":`); i >= 0 { // the time of the start
				j := strings.IndexByte(got[i:], ',')
				got = got[:i] + `"created":CREATED` + got[i+j:]
			}
			if a.status != c.status || got != c.want {
				t.Errorf("%d %s\nwant %d %s", a.status, got, c.status, c.want)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && a.header.Get(name) != value {
				t.Errorf("%s is %q", name, a.header.Get(name))
			}
			if a.header.Get("X-Request-Id") == "" || a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	h := open(t)
	t.Run("ids", func(t *testing.T) {
		a := h.do("POST", "/v1/embeddings", one, "X-Request-Id: abc-1")
		if a.header.Get("X-Request-Id") != "abc-1" || len(a.header.Get("X-Job-Id")) != 32 {
			t.Errorf("%v", a.header)
		}
		for _, bad := range []string{strings.Repeat("x", 129), "a b", "ä"} {
			if id := h.do("GET", "/api/health", "", "X-Request-Id: "+bad).header.Get("X-Request-Id"); len(id) != 32 {
				t.Errorf("%q became %q", bad, id)
			}
		}
	})
	t.Run("an origin", func(t *testing.T) {
		for _, path := range []string{"/api/health", "/nothing"} {
			a := h.do("GET", path, "", "Origin: http://a.example")
			if a.header.Get("Access-Control-Allow-Origin") != "http://a.example" ||
				a.header.Get("Access-Control-Allow-Credentials") != "true" || a.header.Get("Vary") != "Origin" {
				t.Errorf("%s: %v", path, a.header)
			}
		}
		if a := h.do("GET", "/api/health", ""); a.header.Get("Access-Control-Allow-Credentials") != "" || a.header.Get("Vary") != "Origin" {
			t.Errorf("without one: %v", a.header)
		}
	})
	t.Run("a preflight", func(t *testing.T) {
		a := h.do("OPTIONS", "/v1/embeddings", "", "Origin: http://a.example",
			"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-mine")
		if a.status != 200 || a.body != "OK" ||
			a.header.Get("Access-Control-Allow-Origin") != "http://a.example" ||
			a.header.Get("Access-Control-Allow-Headers") != "authorization,x-mine" ||
			a.header.Get("Access-Control-Allow-Methods") != "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	})
	t.Run("a compressed body", func(t *testing.T) {
		if a := h.do("POST", "/v1/embeddings", one, "Content-Encoding: gzip"); a.status != 415 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := h.do("POST", "/v1/embeddings", one, "Content-Encoding: identity"); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("an api key that no one asked for", func(t *testing.T) {
		if a := h.do("POST", "/v1/embeddings", one, "Authorization: Bearer EMPTY"); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestObserverHearsRoutesNotPaths(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) {})
	h.post("/api/embeddings", one)
	h.do("GET", "/secret/path?token=1", "")
	h.do("GET", "/v1/models/x", "")
	h.notes.heard(t, "three requests", func() bool { return len(h.notes.requests) == 3 })
	if got := strings.Join(h.notes.requests, ", "); got != "embeddings 200, other 404, models/{id} 404" {
		t.Error(got)
	}
	if h.notes.inputs != [3]int{1, 1, 0} {
		t.Errorf("inputs %v", h.notes.inputs)
	}
	known := map[string]bool{}
	for _, r := range Routes() {
		known[r] = true
	}
	if !known["embeddings"] || !known["other"] || len(known) != len(routes) {
		t.Errorf("routes %v", Routes())
	}
}
