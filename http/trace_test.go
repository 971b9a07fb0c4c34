package http

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"remote-client-server/runtime/queue"
)

func TestRequestIDs(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ name, given, want string }{
		{"the client's", "order-66/a:b", "^order-66/a:b$"},
		{"none", "", "^[0-9a-f]{32}$"},
		{"with a blank", "a b", "^[0-9a-f]{32}$"},
		{"not ASCII", "é", "^[0-9a-f]{32}$"},
		{"too long", strings.Repeat("x", 129), "^[0-9a-f]{32}$"},
	} {
		for _, path := range []string{"/api/health", "/v1/embeddings", "/nothing"} {
			if got := h.do("POST", path, one, "X-Request-Id: "+c.given).header.Get("X-Request-Id"); !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("%s: %q", c.name, got)
			}
		}
	}
}

// TestTraceparent takes its cases from W3C Trace Context, section 3.2.
func TestTraceparent(t *testing.T) {
	h := open(t)
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, c := range []struct {
		name, given string
		ok          bool
	}{
		{"as in the standard", "00-" + id + "-" + span + "-01", true},
		{"not sampled", "00-" + id + "-" + span + "-00", true},
		{"a later version with more", "01-" + id + "-" + span + "-01-more", true},
		{"version 00 with more", "00-" + id + "-" + span + "-01-more", false},
		{"a later version without its dash", "01-" + id + "-" + span + "-01more", false},
		{"the forbidden version", "ff-" + id + "-" + span + "-01", false},
		{"capitals", "00-" + strings.ToUpper(id) + "-" + span + "-01", false},
		{"no trace", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", false},
		{"no span", "00-" + id + "-" + strings.Repeat("0", 16) + "-01", false},
		{"short", "00-" + id + "-" + span + "-0", false},
		{"nonsense", "hello", false},
		{"none", "", false},
	} {
		got := h.do("GET", "/api/health", "", "traceparent: "+c.given).header.Get("traceparent")
		if !c.ok {
			if got != "" {
				t.Errorf("%s: %q", c.name, got)
			}
			continue
		}
		if !regexp.MustCompile("^00-"+id+"-[0-9a-f]{16}-0[01]$").MatchString(got) || strings.Contains(got, span) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestLogsKeepSecrets sends one in every place of a request and looks for it in
// the log at its most talkative.
func TestLogsKeepSecrets(t *testing.T) {
	var log locked
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	h := open(t, func(o *Options, _ *queue.Options) { o.Keys = []string{"key"} })
	const secret = "hunter2"
	h.run = func(batch []*queue.Job) { panic("worker") }
	for _, auth := range []string{"Bearer key", "Bearer " + secret} {
		for _, path := range []string{"/v1/embeddings", "/api/generate", "/v2/models/tiny/infer", "/v1/" + secret, "/v1/models/" + secret, "/api/jobs/" + secret, "/v1/embeddings?key=" + secret} {
			for _, body := range []string{`{"input":"` + secret + `"}`, `{"` + secret + `":1,"input":"a"}`, secret} {
				h.do("POST", path, body, "Authorization: "+auth, "Cookie: "+secret, "User-Agent: "+secret)
			}
		}
	}
	h.dial("GET /" + secret + " HTTP/1.1\r\nHost: " + secret + "\r\nContent-Length: x\r\n\r\n")
	h.notes.heard(t, "the last request", func() bool { return len(h.notes.requests) >= 2*7*3 })
	slog.SetDefault(before)
	if log.String() == "" {
		t.Fatal("nothing was logged")
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, secret) {
			t.Error(line)
		}
	}
}

// locked is a buffer for several goroutines.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
