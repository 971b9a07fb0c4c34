package http

import (
	"strings"
	"testing"

	"remote-client-server/runtime/queue"
)

func TestKeys(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.Keys = []string{"first-key", "second-key"} })
	for _, c := range []struct {
		name, header string
		status       int
	}{
		{"the first", "Bearer first-key", 200},
		{"the second", "Bearer second-key", 200},
		{"another case of the scheme", "bearer  first-key ", 200},
		{"none", "", 401},
		{"an empty one", "Bearer ", 401},
		{"the beginning of one", "Bearer first-ke", 401},
		{"one and more", "Bearer first-keys", 401},
		{"without a scheme", "first-key", 401},
		{"another scheme", "Basic first-key", 401},
		{"what clients send for want of a key", "Bearer EMPTY", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			for path, shape := range map[string]string{
				"/v1/embeddings":        `{"detail":"MESSAGE","error":{"message":"MESSAGE","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`,
				"/api/embeddings":       `{"detail":"MESSAGE"}`,
				"/v2/models/tiny/infer": `{"error":"MESSAGE"}`,
			} {
				body := one
				if strings.HasPrefix(path, "/v2") {
					body = inferOne
				}
				a := h.do("POST", path, body, "Authorization: "+c.header)
				if a.status != c.status {
					t.Fatalf("%s: %d %s", path, a.status, a.body)
				}
				if c.status == 200 {
					continue
				}
				message := "the API key is wrong"
				if c.header == "" || c.header == "Bearer " || c.header == "first-key" {
					message = "an API key is needed, as in Authorization: Bearer KEY"
				}
				if want := strings.ReplaceAll(shape, "MESSAGE", message); a.body != want || a.header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s: %s, WWW-Authenticate %q", path, a.body, a.header.Get("WWW-Authenticate"))
				}
			}
		})
	}
}

// TestKeysGuardEveryRouteButTheOpenOnes asks every path there is.
func TestKeysGuardEveryRouteButTheOpenOnes(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.Keys = []string{"key"} })
	open := map[string]bool{}
	for _, path := range []string{"/api/health", "/health", "/ping", "/api/model-loaded", "/metrics", "/v2/health/live", "/v2/health/ready",
		"/v2/models/tiny/ready", "/", "/docs", "/redoc", "/openapi.json"} {
		open[path] = true
	}
	guarded := []string{"/api/status", "/api/queue", "/api/gpu/status", "/api/jobs", "/api/jobs/x", "/v1/models", "/v1/models/tiny", "/v2", "/v2/models",
		"/v2/models/tiny", "POST /v1/embeddings", "POST /api/generate", "POST /tokenize", "POST /detokenize", "POST /v1/chat/completions",
		"POST /v1/completions", "POST /v1/images/generations", "POST /v2/models/tiny/infer", "DELETE /api/jobs/x"}
	for path := range open {
		if a := h.do("GET", path, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range guarded {
		method, rest, cut := strings.Cut(path, " ")
		if !cut {
			method, rest = "GET", path
		}
		if a := h.do(method, rest, "{}"); a.status != 401 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	// What the lists above do not name is not there.
	asked := map[route]bool{otherRoute: true, preflightRoute: true}
	for path := range open {
		asked[find(path, "tiny").route] = true
	}
	for _, path := range guarded {
		_, rest, cut := strings.Cut(path, " ")
		if !cut {
			rest = path
		}
		asked[find(rest, "tiny").route] = true
	}
	for r := range routes {
		if !asked[route(r)] {
			t.Errorf("no one asked for route %v", route(r))
		}
	}
}
