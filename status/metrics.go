// Package status is the noticeboard: what the server does, as Prometheus reads
// it. The gauge modelserver_queue_size is what autoscalers look at; its name is
// a promise.
package status

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// Bounds of the histograms' buckets: seconds from half a millisecond to the
// job timeout, and powers of two for sizes.
var (
	seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	jobs    = vm.ExponentialBuckets(1, 2, 9)  // to 256
	inputs  = vm.ExponentialBuckets(1, 2, 13) // to 4,096
	tokens  = vm.ExponentialBuckets(8, 4, 10) // to 2 million
)

// classes label requests by the hundred of their status.
var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

// outcomes label jobs by how they ended; Job maps others to failed.
var outcomes = [...]string{"done", "failed", "cancelled", "timeout", "refused"}

// kinds label failures that were answered; Error maps others to "other".
var kinds = [...]string{
	"bad_request", "too_large", "unauthorized", "forbidden", "not_found", "rate_limited", "not_ready",
	"timeout", "cancelled", "media", "job_failed", "internal", "other",
}

// Metrics count what one server does. Its methods are safe for concurrent use
// and take no lock but that of the histogram they add to.
type Metrics struct {
	set         *vm.Set
	sources     Sources
	compat      *compat // nil: not wanted
	requests    map[string]*routeMetrics
	jobs        map[string]*vm.Counter
	ran         map[string]*vm.PrometheusHistogram
	errors      map[string]*vm.Counter
	wait        *vm.PrometheusHistogram
	batchJobs   *vm.PrometheusHistogram
	batchInputs *vm.PrometheusHistogram
	batchCost   *vm.PrometheusHistogram
	inputs      *vm.Counter
	tokens      *vm.Counter
	cut         *vm.Counter
	panics      *vm.Counter
	text        atomic.Pointer[textSource] // nil: no language model
}

type routeMetrics struct {
	classes [len(classes)]*vm.Counter
	took    *vm.PrometheusHistogram
}

// NewMetrics returns the metrics of a server. Sources.Routes must hold "other".
func NewMetrics(s Sources) *Metrics {
	set := vm.NewSet()
	m := &Metrics{
		set:         set,
		sources:     s,
		compat:      newCompat(set, s.Compat),
		requests:    make(map[string]*routeMetrics, len(s.Routes)),
		jobs:        make(map[string]*vm.Counter, len(outcomes)),
		ran:         make(map[string]*vm.PrometheusHistogram, len(outcomes)),
		errors:      make(map[string]*vm.Counter, len(kinds)),
		wait:        set.NewPrometheusHistogramExt("modelserver_queue_wait_seconds", seconds),
		batchJobs:   set.NewPrometheusHistogramExt("modelserver_batch_jobs", jobs),
		batchInputs: set.NewPrometheusHistogramExt("modelserver_batch_inputs", inputs),
		batchCost:   set.NewPrometheusHistogramExt("modelserver_batch_tokens", tokens),
		inputs:      set.NewCounter("modelserver_inputs_total"),
		tokens:      set.NewCounter("modelserver_prompt_tokens_total"),
		cut:         set.NewCounter("modelserver_truncated_inputs_total"),
		panics:      set.NewCounter("modelserver_panics_total"),
	}
	for _, outcome := range outcomes {
		m.jobs[outcome] = set.NewCounter(fmt.Sprintf("modelserver_jobs_total{outcome=%q}", outcome))
		if outcome != "refused" {
			m.ran[outcome] = set.NewPrometheusHistogramExt(fmt.Sprintf("modelserver_job_duration_seconds{outcome=%q}", outcome), seconds)
		}
	}
	for _, kind := range kinds {
		m.errors[kind] = set.NewCounter(fmt.Sprintf("modelserver_errors_total{kind=%q}", kind))
	}
	for _, route := range s.Routes {
		r := &routeMetrics{took: set.NewPrometheusHistogramExt(fmt.Sprintf("modelserver_request_duration_seconds{route=%q}", route), seconds)}
		for i, class := range classes {
			r.classes[i] = set.NewCounter(fmt.Sprintf("modelserver_requests_total{route=%q,status=%q}", route, class))
		}
		m.requests[route] = r
	}
	return m
}

// Request counts an answered request.
func (m *Metrics) Request(route string, status int, took time.Duration) {
	r, ok := m.requests[route]
	if !ok {
		r = m.requests["other"]
	}
	r.classes[min(max(status/100-1, 0), len(classes)-1)].Inc()
	r.took.Update(took.Seconds())
	m.compat.request(route, status, took)
	m.text.Load().request(route, status, took)
}

// Job counts a job that has ended or was refused, and the time it waited.
func (m *Metrics) Job(outcome string, waited time.Duration) {
	c, ok := m.jobs[outcome]
	if !ok {
		c = m.jobs["failed"]
	}
	c.Inc()
	if outcome != "refused" {
		m.wait.Update(waited.Seconds())
	}
	m.compat.job(outcome, waited)
	m.text.Load().job(outcome, waited)
}

// Ran records how long the worker had a job that has ended. It comes beside
// Job, for jobs that the worker had taken.
func (m *Metrics) Ran(outcome string, took time.Duration) {
	h, ok := m.ran[outcome]
	if !ok {
		h = m.ran["failed"]
	}
	h.Update(took.Seconds())
	m.compat.jobRan(outcome, took)
	m.text.Load().ran(outcome, took)
}

// Error counts a failure that a client was told.
func (m *Metrics) Error(kind string) {
	c, ok := m.errors[kind]
	if !ok {
		c = m.errors["other"]
	}
	c.Inc()
}

// Inputs counts answered inputs, their tokens, and how many were cut to the
// model's length.
func (m *Metrics) Inputs(inputs, tokens, cut int) {
	m.inputs.Add(inputs)
	m.tokens.Add(tokens)
	m.cut.Add(cut)
	m.compat.answered(inputs)
}

// Batch records what the worker runs together: jobs and their tokens.
func (m *Metrics) Batch(jobs, tokens int) {
	m.batchJobs.Update(float64(jobs))
	m.batchCost.Update(float64(tokens))
	m.compat.batchTokens(tokens)
}

// BatchInputs records how many inputs the jobs of a batch hold; it comes
// beside Batch.
func (m *Metrics) BatchInputs(inputs int) {
	m.batchInputs.Update(float64(inputs))
	m.compat.batchInputs(inputs)
}

// Panic counts a panic that was caught.
func (m *Metrics) Panic() { m.panics.Inc() }

// Model publishes what is served, as labels of a gauge that is always 1.
func (m *Metrics) Model(name, kind, family, dtype, device, version string) {
	m.set.GetOrCreateGauge(fmt.Sprintf("modelserver_model_info{name=%s,type=%s,family=%s,dtype=%s,device=%s,version=%s}",
		label(name), label(kind), label(family), label(dtype), label(device), label(version)), func() float64 { return 1 })
}

// Started publishes the time from the start to the first moment at which the
// server could answer for its model.
func (m *Metrics) Started(took time.Duration) {
	m.set.GetOrCreateGauge("modelserver_start_seconds", nil).Set(took.Seconds())
}

// WriteMetrics writes the page: this server's metrics and the process's.
func (m *Metrics) WriteMetrics(w io.Writer) {
	p := page{w: w}
	m.text.Load().write(&p, m.sources.write(&p))
	m.set.WritePrometheus(&p)
	vm.WriteProcessMetrics(&p)
	vm.WriteFDMetrics(&p)
	p.flush()
}
