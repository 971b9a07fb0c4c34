package status

import (
	"fmt"
	"io"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// Buckets of a language model's histograms.
var (
	firstToken = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160}
	nextToken  = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5}
	sequences  = vm.ExponentialBuckets(1, 2, 8)  // to 128
	rows       = vm.ExponentialBuckets(1, 4, 10) // to 262,144
)

// TextState is what a language model holds now and has done so far.
type TextState struct {
	Writing, Filling   int // sequences: that write, and whose prompts are computed
	BlocksUsed, Blocks int // of the cache of keys and values
	Preemptions        int64
	Finished           map[string]int64 // answers by the reason of their end: stop, length
}

// Text counts what a language model does, beside Metrics. Its methods are safe for concurrent use.
type Text struct {
	prompt, cached, written *vm.Counter
	first, next             *vm.PrometheusHistogram
	sequences, rows         *vm.PrometheusHistogram

	vllm *vllm // nil: not wanted
}

// vllm repeats metrics under the names that vLLM gives them (vllm/v1/metrics/loggers.py), for dashboards and gateways
// that know only those.
type vllm struct {
	prompt, cached, written         *vm.Counter
	first, next, queued, whole, ran *vm.PrometheusHistogram
}

// Text publishes the metrics of a language model, whose state is asked for each page. Where compat is set, they are
// repeated under vLLM's names.
func (m *Metrics) Text(model string, state func() TextState, compat bool) *Text {
	set := m.set
	t := &Text{
		prompt:    m.tokens,
		cached:    set.NewCounter("modelserver_cached_prompt_tokens_total"),
		written:   set.NewCounter("modelserver_generation_tokens_total"),
		first:     set.NewPrometheusHistogramExt("modelserver_time_to_first_token_seconds", firstToken),
		next:      set.NewPrometheusHistogramExt("modelserver_inter_token_seconds", nextToken),
		sequences: set.NewPrometheusHistogramExt("modelserver_step_sequences", sequences),
		rows:      set.NewPrometheusHistogramExt("modelserver_step_prompt_rows", rows),
	}
	if compat {
		name := func(s string) string { return fmt.Sprintf("vllm:%s{model_name=%s}", s, label(model)) }
		t.vllm = &vllm{
			prompt: set.NewCounter(name("prompt_tokens_total")), cached: set.NewCounter(name("prompt_tokens_cached_total")),
			written: set.NewCounter(name("generation_tokens_total")),
			first:   set.NewPrometheusHistogramExt(name("time_to_first_token_seconds"), firstToken),
			next:    set.NewPrometheusHistogramExt(name("inter_token_latency_seconds"), nextToken),
			queued:  set.NewPrometheusHistogramExt(name("request_queue_time_seconds"), seconds),
			ran:     set.NewPrometheusHistogramExt(name("request_inference_time_seconds"), seconds),
			whole:   set.NewPrometheusHistogramExt(name("e2e_request_latency_seconds"), seconds),
		}
	}
	m.text.Store(&textSource{t, model, state})
	return t
}

// textSource is where a page finds the gauges of a language model.
type textSource struct {
	*Text
	model string
	state func() TextState
}

// Written counts an answered prompt, in tokens.
func (m *Metrics) Written(prompt, cached, completion int) {
	s := m.text.Load()
	if s == nil {
		return
	}
	s.prompt.Add(prompt)
	s.cached.Add(cached)
	s.written.Add(completion)
	if v := s.vllm; v != nil {
		v.prompt.Add(prompt)
		v.cached.Add(cached)
		v.written.Add(completion)
	}
}

// FirstToken records the time from a job's admission to its first token.
func (t *Text) FirstToken(d time.Duration) {
	t.first.Update(d.Seconds())
	if t.vllm != nil {
		t.vllm.first.Update(d.Seconds())
	}
}

// NextToken records the time between two tokens of an answer.
func (t *Text) NextToken(d time.Duration) {
	t.next.Update(d.Seconds())
	if t.vllm != nil {
		t.vllm.next.Update(d.Seconds())
	}
}

// Step records a pass of the model: rows of prompts, or a token for each of so many sequences.
func (t *Text) Step(prompt, writing int, _ time.Duration) {
	if prompt > 0 {
		t.rows.Update(float64(prompt))
	}
	if writing > 0 {
		t.sequences.Update(float64(writing))
	}
}

// job and ran record a job of a language model under vLLM's names.
func (s *textSource) job(outcome string, waited time.Duration) {
	if s != nil && s.vllm != nil && outcome == "done" {
		s.vllm.queued.Update(waited.Seconds())
	}
}

func (s *textSource) ran(outcome string, took time.Duration) {
	if s != nil && s.vllm != nil && outcome == "done" {
		s.vllm.ran.Update(took.Seconds())
	}
}

// request records an answer of one of the routes that write.
func (s *textSource) request(route string, status int, took time.Duration) {
	if s != nil && s.vllm != nil && status < 300 && (route == "chat/completions" || route == "completions") {
		s.vllm.whole.Update(took.Seconds())
	}
}

// write writes the gauges, and the counters that the model itself keeps.
func (s *textSource) write(w io.Writer, waiting int) {
	if s == nil {
		return
	}
	x := s.state()
	one := func(name string, v any) { fmt.Fprintf(w, "modelserver_%s %v\n", name, v) }
	usage := 0.0
	if x.Blocks > 0 {
		usage = float64(x.BlocksUsed) / float64(x.Blocks)
	}
	one("sequences_writing", x.Writing)
	one("sequences_prefilling", x.Filling)
	one("kv_cache_blocks", x.Blocks)
	one("kv_cache_usage_ratio", usage)
	one("preemptions_total", x.Preemptions)
	for _, reason := range []string{"stop", "length"} {
		one(fmt.Sprintf("answers_total{reason=%q}", reason), x.Finished[reason])
	}
	if s.vllm == nil {
		return
	}
	of := "{model_name=" + label(s.model) + "}"
	fmt.Fprintf(w, "vllm:num_requests_running%s %d\n", of, x.Writing+x.Filling)
	fmt.Fprintf(w, "vllm:num_requests_waiting%s %d\n", of, waiting)
	fmt.Fprintf(w, "vllm:kv_cache_usage_perc%s %v\n", of, usage)
	fmt.Fprintf(w, "vllm:num_preemptions_total%s %d\n", of, x.Preemptions)
	for _, reason := range []string{"stop", "length"} {
		fmt.Fprintf(w, "vllm:request_success_total{model_name=%s,finished_reason=%q} %d\n", label(s.model), reason, x.Finished[reason])
	}
}
