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

// full are sources that know everything.
func full(compat ...string) Sources {
	return Sources{
		Routes:   []string{"other", "embeddings"},
		Compat:   compat,
		Queue:    func() Queue { return Queue{Waiting: 3, Running: 2, Limit: 512, Cost: 700, CostLimit: 9000} },
		Ready:    func() bool { return true },
		Download: func() Download { return Download{Bytes: 1 << 40, Total: 2 << 40, Rate: 12.5e6} },
		Device:   func() Device { return Device{"cuda:0", "NVIDIA \"L4\"", "570.1", 5 << 30, 24 << 30} },
		Redis:    func() RedisState { return RedisState{Up: true, Pending: 7} },
	}
}

func newTest() *Metrics {
	m := NewMetrics(full())
	m.Started(1500 * time.Millisecond)
	return m
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
	m.Ran("done", 20*time.Millisecond)
	m.Ran("something new", time.Hour)
	m.BatchInputs(5)
	m.Error("too_large")
	m.Error("something new")
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
		`modelserver_job_duration_seconds_bucket{outcome="done",le="0.025"} 1`,
		`modelserver_job_duration_seconds_bucket{outcome="failed",le="300"} 0`,
		`modelserver_job_duration_seconds_count{outcome="failed"} 1`,
		`modelserver_batch_inputs_sum 5`,
		`modelserver_errors_total{kind="too_large"} 1`,
		`modelserver_errors_total{kind="other"} 1`,
		`modelserver_errors_total{kind="timeout"} 0`,
		"modelserver_queue_limit 512",
		"modelserver_queue_cost 700",
		"modelserver_queue_cost_limit 9000",
		"modelserver_running_jobs 2",
		"modelserver_start_seconds 1.5",
		"modelserver_download_bytes 1099511627776",
		"modelserver_download_total_bytes 2199023255552",
		"modelserver_download_bytes_per_second 1.25e+07",
		`modelserver_device_info{device="cuda:0",name="NVIDIA \"L4\"",driver="570.1"} 1`,
		`modelserver_device_memory_used_bytes{device="cuda:0"} 5368709120`,
		"modelserver_redis_up 1",
		"modelserver_redis_pending_generations 7",
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

func TestPageLeavesOutWhatNobodyTells(t *testing.T) {
	got := text(NewMetrics(Sources{Routes: []string{"other"}}))
	if !strings.HasPrefix(got, "# HELP modelserver_queue_size ") || !strings.Contains(got, "\nmodelserver_queue_size 0\n") {
		t.Error("the promised modelserver_queue_size is not there")
	}
	for _, name := range []string{
		"modelserver_queue_limit", "modelserver_ready", "modelserver_start_seconds", "modelserver_download",
		"modelserver_device", "modelserver_redis", "te_",
	} {
		if strings.Contains(got, "\n"+name) {
			t.Errorf("%s has nothing to tell", name)
		}
	}
	s := full()
	s.Device = func() Device { return Device{Device: "cpu", Name: "EPYC"} }
	if got := text(NewMetrics(s)); strings.Contains(got, "modelserver_device_memory") {
		t.Error("memory of a device that does not say how much it has")
	}
	s.Device = func() Device { return Device{} }
	if got := text(NewMetrics(s)); strings.Contains(got, "modelserver_device") {
		t.Error("a device although there is none yet")
	}
}

// TestCompatNames counts under the names of text-embeddings-inference.
func TestCompatNames(t *testing.T) {
	m := NewMetrics(full("embeddings"))
	for _, status := range []int{200, 200, 400, 413, 429, 503, 500, 504} {
		m.Request("embeddings", status, 3*time.Millisecond)
	}
	m.Request("other", 404, 0)
	m.Job("done", 4*time.Millisecond)
	m.Ran("done", 40*time.Millisecond)
	m.Job("timeout", time.Second)
	m.Ran("timeout", time.Second)
	m.Batch(2, 100)
	m.BatchInputs(6)
	m.Inputs(4, 60, 0)
	got := text(m)
	for _, line := range []string{
		"te_queue_size 3",
		"te_request_count 8",
		"te_request_success 2",
		`te_request_failure{err="validation"} 2`,
		`te_request_failure{err="overloaded"} 1`,
		`te_request_failure{err="unhealthy"} 1`,
		`te_request_failure{err="backend"} 2`,
		`te_request_duration_bucket{le="0.0025"} 0`,
		`te_request_duration_bucket{le="0.005"} 2`,
		"te_request_duration_count 2",
		`te_request_queue_duration_bucket{le="0.005"} 1`,
		"te_request_queue_duration_count 1",
		`te_request_inference_duration_bucket{le="0.05"} 1`,
		"te_request_inference_duration_count 1",
		"te_embed_count 6",
		"te_embed_success 4",
		"te_batch_next_size_sum 6",
		"te_batch_next_tokens_sum 100",
		"# TYPE te_request_duration histogram",
	} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
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
	page := newTest()
	writes(page, false)
	for line := range strings.Lines(text(page)) {
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

// promtool is the path of Prometheus' own tool.
func promtool(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no promtool: run .ci/tools")
		}
		t.Skip("there is no promtool on this machine: make test installs it where it can")
	}
	return tool
}

// TestPromtool asks the real linter where it is installed.
func TestPromtool(t *testing.T) {
	cmd := exec.Command(promtool(t), "check", "metrics")
	m := newTest()
	m.Model("nomic", "embed", "nomic_bert", "float32", "cpu", "v1")
	cmd.Stdin = strings.NewReader(text(m))
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
				m.Ran("done", time.Millisecond)
				m.Error("timeout")
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
