package clients

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"remote-client-server/bench/contract/server"
)

// curl runs curl, with body as its standard input, and returns what it printed
// and, on standard error, told.
func curl(t *testing.T, body string, args ...string) (out, told string) {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		missing(t, "curl")
	}
	cmd := exec.Command(path, append([]string{"-sS", "--max-time", "50"}, args...)...)
	var b, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(body), &b, &e
	if err := cmd.Run(); err != nil {
		t.Fatalf("curl %q: %v\n%s", args, err, e.String())
	}
	return b.String(), e.String()
}

const asJSON = "Content-Type: application/json"

func TestCurl(t *testing.T) {
	s := server.Start(t, true, "--max_body", "4MiB")

	t.Run("the line that the README gives", func(t *testing.T) {
		out, _ := curl(t, "", s.Base+"/v1/embeddings", "-H", asJSON, "-d", `{"input": ["How do I reset my password?", "I forgot my login"]}`)
		if !strings.Contains(out, `"object":"embedding"`) {
			t.Errorf("%.200s", out)
		}
	})
	t.Run("with the headers", func(t *testing.T) {
		out, _ := curl(t, "", "-i", s.Base+"/v1/embeddings", "-H", asJSON, "-H", "X-Request-Id: from-curl", "-d", `{"input": "x"}`)
		head, _, _ := strings.Cut(out, "\r\n\r\n")
		lines := strings.Split(strings.ToLower(head), "\r\n")
		for _, want := range []string{"content-type: application/json", "x-request-id: from-curl", "x-job-id: ", "access-control-allow-origin: *", "content-length: "} {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
				t.Errorf("no %q in\n%s", want, head)
			}
		}
		if lines[0] != "http/1.1 200 ok" || strings.Contains(head, "Server:") {
			t.Error(head)
		}
	})
	t.Run("a form's content type, which is curl's own", func(t *testing.T) {
		if out, _ := curl(t, "", s.Base+"/api/embeddings", "-d", `{"input": "x"}`); !strings.HasPrefix(out, `{"object":"list"`) {
			t.Errorf("%.200s", out)
		}
	})
	for _, version := range []string{"--http1.1", "--http1.0"} {
		t.Run("a stream of events over "+version, func(t *testing.T) {
			out, _ := curl(t, "", "-N", version, s.Base+"/api/generate", "-H", asJSON, "-d", `{"input": "x"}`)
			events := strings.Split(strings.TrimSuffix(out, "\n\n"), "\n\n")
			for _, e := range events {
				data, ok := strings.CutPrefix(e, "data: ")
				if !ok || !json.Valid([]byte(data)) {
					t.Errorf("%q is no event", e)
				}
			}
			if last := events[len(events)-1]; !strings.HasSuffix(last, `"status": "complete", "message": "Generation complete."}`) {
				t.Errorf("it ends with %q", last)
			}
		})
	}
	t.Run("100 Continue", func(t *testing.T) {
		texts, err := json.Marshal(map[string]any{"input": strings.Repeat("the quick brown fox ", 75_000)}) // curl asks above 1 MiB
		if err != nil {
			t.Fatal(err)
		}
		ask := []string{"-v", "-o", "/dev/null", "-w", "%{http_code}", s.Base + "/v1/embeddings", "-H", asJSON, "-H", "Expect: 100-continue", "--expect100-timeout", "40", "--data-binary", "@-"}
		status, told := curl(t, string(texts), ask...)
		if status != "200" || !strings.Contains(told, "< HTTP/1.1 100 Continue") {
			t.Errorf("%s\n%s", status, told)
		}
		status, told = curl(t, strings.Repeat(" ", 5<<20), ask...)
		if status != "413" || strings.Contains(told, "< HTTP/1.1 100 Continue") {
			t.Errorf("a body that is too large: %s\n%s", status, told)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		for _, path := range []string{"/api/health", "/metrics", "/v1/models", "/docs"} {
			out, _ := curl(t, "", "--head", s.Base+path)
			if !strings.HasPrefix(out, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(out, "\r\n\r\n") {
				t.Errorf("%s: %q", path, out)
			}
		}
		// without its body, the connection serves the next
		_, told := curl(t, "", "-v", "--head", s.Base+"/api/health", s.Base+"/api/status")
		if !strings.Contains(strings.ToLower(told), "re-using existing connection") {
			t.Errorf("a connection each:\n%s", told)
		}
	})
}
