package status

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func newTest() *Metrics {
	return New([]string{"other", "embeddings"}, func() int { return 3 }, func() bool { return true })
}

func text(m *Metrics) string {
	var b bytes.Buffer
	m.WriteMetrics(&b)
	return b.String()
}

func TestPageShowsWhatHappened(t *testing.T) {
	m := newTest()
	m.Request("embeddings", 200, 2*time.Millisecond)
	m.Request("embeddings", 200, 70*time.Second)
	m.Request("embeddings", 429, time.Millisecond)
	m.Request("no such route", 404, 0)
	m.Job("done", 30*time.Millisecond)
	m.Job("refused", 0)
	m.Job("something new", 0)
	m.Inputs(3, 40, 1)
	m.Batch(2, 100)
	m.Panic()
	m.Model("a\"b", "embed", "bert", "float32", "cpu", "v1")
	got := text(m)
	for _, line := range []string{
		"modelserver_queue_size 3",
		"modelserver_ready 1",
		`modelserver_model_info{name="a\"b",type="embed",family="bert",dtype="float32",device="cpu",version="v1"} 1`,
		`modelserver_requests_total{route="embeddings",status="2xx"} 2`,
		`modelserver_requests_total{route="embeddings",status="4xx"} 1`,
		`modelserver_requests_total{route="other",status="4xx"} 1`,
		`modelserver_request_duration_seconds_bucket{route="embeddings",le="0.001"} 1`,
		`modelserver_request_duration_seconds_bucket{route="embeddings",le="0.0025"} 2`,
		`modelserver_request_duration_seconds_bucket{route="embeddings",le="60"} 2`,
		`modelserver_request_duration_seconds_bucket{route="embeddings",le="+Inf"} 3`,
		`modelserver_request_duration_seconds_count{route="embeddings"} 3`,
		`modelserver_jobs_total{outcome="done"} 1`,
		`modelserver_jobs_total{outcome="failed"} 1`,
		`modelserver_jobs_total{outcome="refused"} 1`,
		`modelserver_queue_wait_seconds_bucket{le="0.05"} 2`,
		`modelserver_queue_wait_seconds_count 2`,
		`modelserver_batch_jobs_bucket{le="1"} 0`,
		`modelserver_batch_jobs_bucket{le="2"} 1`,
		`modelserver_batch_tokens_sum 100`,
		"modelserver_inputs_total 3",
		"modelserver_prompt_tokens_total 40",
		"modelserver_truncated_inputs_total 1",
		"modelserver_panics_total 1",
		"# HELP modelserver_queue_size Jobs that wait in the queue, without those being processed.",
		"# TYPE modelserver_queue_size gauge",
		"# TYPE modelserver_queue_wait_seconds histogram",
	} {
		if !strings.Contains(got, "\n"+line+"\n") && !strings.HasPrefix(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// TestPageKeepsTheRules checks what a scraper and its linter ask of a page:
// every family once, with help and type in front of all its samples, counters
// named _total, and histograms that are cumulative up to their count.
func TestPageKeepsTheRules(t *testing.T) {
	sample := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-z_]+="([^"\\\n]|\\.)*",?)*\})? [-+0-9.eE]+$`)
	head := regexp.MustCompile(`^# (HELP|TYPE) (\S+) (.+)$`)
	kinds := map[string]string{}
	help, current := "", ""
	var bucket struct {
		series string
		count  float64
	}
	for line := range strings.Lines(text(newTest())) {
		line = strings.TrimSuffix(line, "\n")
		if h := head.FindStringSubmatch(line); h != nil {
			switch name := h[2]; {
			case h[1] == "HELP":
				help = name
			case help != name:
				t.Errorf("type without help: %s", line)
			case kinds[name] != "":
				t.Errorf("family %s twice", name)
			default:
				kinds[name], current = h[3], name
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a sample: %s", line)
			continue
		}
		name := m[1]
		if kinds[current] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		if name != current {
			t.Errorf("%s stands under family %s", line, current)
		}
		if (kinds[current] == "counter") != strings.HasSuffix(current, "_total") {
			t.Errorf("%s is a %s", current, kinds[current])
		}
		if strings.HasSuffix(m[1], "_bucket") && kinds[current] == "histogram" {
			series, _, _ := strings.Cut(line, "le=")
			var v float64
			fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v)
			if series == bucket.series && v < bucket.count {
				t.Errorf("buckets fall at %s", line)
			}
			bucket.series, bucket.count = series, v
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "modelserver_") && name != "modelserver_model_info" && kinds[name] == "" {
			t.Errorf("family %s is documented but not there", name)
		}
	}
	if kinds["go_goroutines"] != "gauge" {
		t.Error("the process's metrics are missing")
	}
}

// TestPromtool asks the real linter where it is installed.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no promtool: run .ci/tools")
		}
		t.Skip("there is no promtool on this machine: make test installs it where it can")
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text(newTest()))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestConcurrentUse(t *testing.T) {
	m := newTest()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				m.Request("embeddings", 200, time.Millisecond)
				m.Job("done", time.Millisecond)
				m.Batch(1, 1)
			}
			_ = text(m)
		})
	}
	wg.Wait()
	if want := `modelserver_requests_total{route="embeddings",status="2xx"} 1600`; !strings.Contains(text(m), want) {
		t.Error("no line", want)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := newTest()
	b.ReportAllocs()
	for b.Loop() {
		m.Request("embeddings", 200, time.Millisecond)
	}
}
