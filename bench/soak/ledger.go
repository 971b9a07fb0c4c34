package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"remote-client-server/bench/load/target"
)

// answer is a kind of answer as the metrics count them.
type answer struct {
	route string
	class int // of the status: 2 for 200 to 299
}

// ledger is what the clients have sent and seen. A request that its client cut
// off may or may not have reached the server: it is kept apart, as unsure.
type ledger struct {
	mu     sync.Mutex
	seen   map[answer]int
	unsure map[string]int // by route
	ended  map[string]int // streams of events by their last status
	broken map[int]int    // answers of 5xx by status
	faults []error
}

func newLedger() *ledger {
	return &ledger{seen: map[answer]int{}, unsure: map[string]int{}, ended: map[string]int{}, broken: map[int]int{}}
}

// maxFaults is how many faults are told; the rest is like them.
const maxFaults = 20

func (l *ledger) saw(route string, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[answer{route, status / 100}]++
	if status >= 500 {
		l.broken[status]++
	}
}

func (l *ledger) cutOff(route string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure[route]++
}

func (l *ledger) streamEnded(status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[status]++
}

func (l *ledger) fault(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < maxFaults {
		l.faults = append(l.faults, err)
	}
}

// totals are all requests, and those of them that are unsure.
func (l *ledger) totals() (requests, unsure int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.seen {
		requests += n
	}
	for _, n := range l.unsure {
		unsure += n
	}
	return requests + unsure, unsure
}

// inference are the routes whose requests become jobs.
var inference = []string{"embeddings", "generate", "v2/models/{id}/infer"}

// check compares the metrics at the end with what the clients saw; before is
// the page from the beginning, and scrapes how many pages were read between,
// that one included.
func (l *ledger) check(before, after target.Metrics, scrapes int) (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	grown := func(sample string) int { return int(after.Value(sample) - before.Value(sample)) }
	sum := func(prefix string) int { return int(after.Sum(prefix) - before.Sum(prefix)) }
	l.seen[answer{"metrics", 2}] += scrapes

	// every request is counted under its route and the class of its status
	routes := map[string]bool{}
	for a := range l.seen {
		routes[a.route] = true
	}
	all := 0
	for _, route := range slices.Sorted(maps.Keys(routes)) {
		total := 0
		for class := 1; class <= 5; class++ {
			seen, unsure := l.seen[answer{route, class}], l.unsure[route]
			got := grown(fmt.Sprintf(`modelserver_requests_total{route=%q,status="%dxx"}`, route, class))
			if got < seen || got > seen+unsure {
				wrong("%s: the metrics count %d of %dxx, the clients saw %d, and %d were cut off", route, got, class, seen, unsure)
			}
			total += got
		}
		if n := grown(fmt.Sprintf(`modelserver_request_duration_seconds_count{route=%q}`, route)); n != total {
			wrong("%s: %d requests, but %d times", route, total, n)
		}
		all += total
	}
	if n := sum("modelserver_requests_total{"); n != all {
		wrong("%d requests in all, %d on the routes that were asked", n, all)
	}

	// every job that was admitted has ended, and its times were noted
	outcomes := map[string]int{}
	jobs := 0
	for _, outcome := range []string{"done", "failed", "cancelled", "timeout", "refused"} {
		n := grown(fmt.Sprintf("modelserver_jobs_total{outcome=%q}", outcome))
		outcomes[outcome] = n
		if outcome == "refused" {
			continue
		}
		jobs += n
		ran := grown(fmt.Sprintf("modelserver_job_duration_seconds_count{outcome=%q}", outcome))
		if ran > n || ran < n && (outcome == "done" || outcome == "failed") {
			wrong("%d jobs are %s, %d of them ran", n, outcome, ran)
		}
	}
	if n := sum("modelserver_jobs_total{"); n != jobs+outcomes["refused"] {
		wrong("%d jobs in all, %d of known outcomes", n, jobs+outcomes["refused"])
	}
	if n := grown("modelserver_queue_wait_seconds_count"); n != jobs {
		wrong("%d jobs, but %d waits", jobs, n)
	}
	for _, gauge := range []string{"modelserver_queue_size", "modelserver_queue_cost", "modelserver_running_jobs"} {
		if v := after.Value(gauge); v != 0 {
			wrong("%s is %v after the load", gauge, v)
		}
	}

	// what the clients were answered are the jobs that were done
	answered, unsure := l.ended["complete"], 0
	for _, route := range inference {
		unsure += l.unsure[route]
		if route != "generate" {
			answered += l.seen[answer{route, 2}]
		}
	}
	if n := outcomes["done"]; n < answered || n > answered+unsure {
		wrong("%d jobs were done, %d were answered, and %d clients have left", n, answered, unsure)
	}
	if n := outcomes["failed"]; n != 0 {
		wrong("%d jobs have failed", n)
	}
	if n := grown("modelserver_panics_total"); n != 0 {
		wrong("%d panics", n)
	}
	if n := sum(`modelserver_errors_total{kind="internal"`); n != 0 {
		wrong("%d internal errors", n)
	}
	return faults
}
