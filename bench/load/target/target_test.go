package target

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestMetrics(t *testing.T) {
	page := Metrics(`# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{outcome="done"} 12
jobs_total{outcome="failed"} 3
jobs_total_other 5
more_jobs_total{outcome="done"} 7
seconds_sum 0.125
`)
	for sample, want := range map[string]float64{
		`jobs_total{outcome="done"}`: 12, `jobs_total{outcome="lost"}`: 0, "seconds_sum": 0.125, "jobs_total": 0, "": 0,
	} {
		if got := page.Value(sample); got != want {
			t.Errorf("%s = %v, want %v", sample, got, want)
		}
	}
	if got := page.Sum("jobs_total{"); got != 15 {
		t.Errorf("the sum is %v, want 15", got)
	}
}

func TestMessage(t *testing.T) {
	m := string(Message("POST", "/v1/embeddings", `{"input":"é"}`, "X-Request-Id: 7"))
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(m)))
	if err != nil || r.ContentLength != 14 || r.Header.Get("X-Request-Id") != "7" || r.URL.Path != "/v1/embeddings" || r.Host == "" {
		t.Errorf("%v: %q", err, m)
	}
	if m := string(Message("GET", "/", "")); m != "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" {
		t.Errorf("%q", m)
	}
}

func TestRetryAfter(t *testing.T) {
	for word, want := range map[string]time.Duration{"3": 3 * time.Second, "": 0} {
		a, err := refusal(word)
		if err != nil || a.Retry != want || a.Status != 429 || string(a.Body) != "no" {
			t.Errorf("%q: %+v, %v", word, a, err)
		}
	}
	for _, word := range []string{"soon", "-1"} {
		if _, err := refusal(word); err == nil {
			t.Errorf("%q is taken for a time", word)
		}
	}
}

// refusal reads a 429 with this Retry-After.
func refusal(word string) (Answer, error) {
	text := "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\nRetry-After: " + word + "\r\n\r\nno"
	return read(bufio.NewReader(strings.NewReader(text)), "POST")
}
