package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"remote-client-server/bench/load/target"
)

// TestSoak runs the load for a moment, against a server that is built for it.
func TestSoak(t *testing.T) {
	var stdout, stderr bytes.Buffer
	err := run([]string{"-for", "6s"}, &stdout, &stderr)
	t.Logf("\n%s", stderr.String())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), `"measure":"descriptors after"`) {
		t.Error(stdout.String())
	}
}

func TestLimit(t *testing.T) {
	for length, want := range map[time.Duration]float64{3 * time.Minute: 60e6, 10 * time.Minute: 18e6, time.Hour: 1e6, 8 * time.Hour: 1e6} {
		if got := limit(length); got < want*0.999 || got > want*1.001 {
			t.Errorf("%v: %v, want %v", length, got, want)
		}
	}
}

// pageOf are metrics of a server that has served this.
func pageOf(lines ...string) target.Metrics { return target.Metrics(strings.Join(lines, "\n") + "\n") }

// TestMemory judges samples that rise so many bytes a second, with a saw-tooth
// of 4 MB on top.
func TestMemory(t *testing.T) {
	for name, c := range map[string]struct {
		rise float64
		met  bool
	}{"flat": {0, true}, "10 MB an hour": {10e6 / 3600.0, true}, "200 MB an hour": {200e6 / 3600.0, false}} {
		w := new(watcher)
		start := time.Now()
		for i := range 180 {
			w.samples = append(w.samples, sample{at: start.Add(time.Duration(i) * time.Second), rss: 50e6 + c.rise*float64(i) + 4e6*float64(i%7)/7})
		}
		for _, m := range w.memory(3 * time.Minute) {
			if m.Met != nil && *m.Met != c.met {
				t.Errorf("%s: %s %v, limit %v", name, m.Name, m.Value, *m.Goal)
			}
		}
	}
}

// TestLedger has metrics that agree with the clients, and such that do not.
func TestLedger(t *testing.T) {
	good := []string{
		`modelserver_requests_total{route="metrics",status="2xx"} 3`, `modelserver_request_duration_seconds_count{route="metrics"} 3`,
		`modelserver_requests_total{route="embeddings",status="2xx"} 2`, `modelserver_requests_total{route="embeddings",status="5xx"} 1`,
		`modelserver_request_duration_seconds_count{route="embeddings"} 3`,
		`modelserver_jobs_total{outcome="done"} 2`, `modelserver_jobs_total{outcome="cancelled"} 1`,
		`modelserver_job_duration_seconds_count{outcome="done"} 2`, `modelserver_queue_wait_seconds_count 3`,
		`modelserver_queue_size 0`, `modelserver_running_jobs 0`, `modelserver_panics_total 0`,
	}
	for name, c := range map[string]struct {
		from, to string // what is changed
		faults   int
	}{
		"all agree":              {"", "", 0},
		"a lost request":         {`"embeddings",status="2xx"} 2`, `"embeddings",status="2xx"} 1`, 2},
		"a request too many":     {`"embeddings",status="5xx"} 1`, `"embeddings",status="5xx"} 3`, 2},
		"a route never asked":    {`modelserver_queue_size 0`, `modelserver_requests_total{route="chat",status="2xx"} 1`, 1},
		"a job that did not run": {`_count{outcome="done"} 2`, `_count{outcome="done"} 1`, 1},
		"a failed job":           {`_total{outcome="cancelled"} 1`, `_total{outcome="failed"} 1`, 2},
		"a job without a wait":   {"wait_seconds_count 3", "wait_seconds_count 2", 1},
		"a job that still runs":  {"running_jobs 0", "running_jobs 1", 1},
		"a panic":                {"panics_total 0", "panics_total 1", 1},
	} {
		l := newLedger()
		l.saw("embeddings", 200)
		l.saw("embeddings", 200)
		l.cutOff("embeddings")
		faults := l.check(pageOf(), pageOf(strings.Split(strings.Replace(strings.Join(good, "\n"), c.from, c.to, 1), "\n")...), 3)
		if len(faults) != c.faults {
			t.Errorf("%s: %s", name, fmt.Sprint(faults))
		}
	}
}
