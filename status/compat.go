package status

import (
	"fmt"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// compat keeps metrics under the names that text-embeddings-inference gives
// them, for dashboards that know only those. Names, types and units are that
// server's; they break Prometheus' own naming rules in places, and linters say
// so. What cannot be known here is not written: the method label (single or
// batch) and the durations of one input within its request.
type compat struct {
	routes    map[string]bool
	count     *vm.Counter
	success   *vm.Counter
	failures  map[string]*vm.Counter
	took      *vm.PrometheusHistogram
	waited    *vm.PrometheusHistogram
	ran       *vm.PrometheusHistogram
	embedded  *vm.Counter
	succeeded *vm.Counter
	inputs    *vm.PrometheusHistogram
	tokens    *vm.PrometheusHistogram
}

// newCompat returns nil without routes; a nil *compat counts nothing.
func newCompat(set *vm.Set, routes []string) *compat {
	if len(routes) == 0 {
		return nil
	}
	c := &compat{
		routes:    make(map[string]bool, len(routes)),
		count:     set.NewCounter("te_request_count"),
		success:   set.NewCounter("te_request_success"),
		failures:  make(map[string]*vm.Counter),
		took:      set.NewPrometheusHistogramExt("te_request_duration", seconds),
		waited:    set.NewPrometheusHistogramExt("te_request_queue_duration", seconds),
		ran:       set.NewPrometheusHistogramExt("te_request_inference_duration", seconds),
		embedded:  set.NewCounter("te_embed_count"),
		succeeded: set.NewCounter("te_embed_success"),
		inputs:    set.NewPrometheusHistogramExt("te_batch_next_size", inputs),
		tokens:    set.NewPrometheusHistogramExt("te_batch_next_tokens", tokens),
	}
	for _, r := range routes {
		c.routes[r] = true
	}
	for _, err := range []string{"validation", "overloaded", "unhealthy", "backend"} {
		c.failures[err] = set.NewCounter(fmt.Sprintf("te_request_failure{err=%q}", err))
	}
	return c
}

func (c *compat) request(route string, status int, took time.Duration) {
	if c == nil || !c.routes[route] {
		return
	}
	c.count.Inc()
	switch {
	case status < 300:
		c.success.Inc()
		c.took.Update(took.Seconds())
	case status == 429:
		c.failures["overloaded"].Inc()
	case status == 503:
		c.failures["unhealthy"].Inc()
	case status >= 500:
		c.failures["backend"].Inc()
	default:
		c.failures["validation"].Inc()
	}
}

func (c *compat) job(outcome string, waited time.Duration) {
	if c != nil && outcome == "done" {
		c.waited.Update(waited.Seconds())
	}
}

func (c *compat) jobRan(outcome string, took time.Duration) {
	if c != nil && outcome == "done" {
		c.ran.Update(took.Seconds())
	}
}

func (c *compat) answered(inputs int) {
	if c != nil {
		c.succeeded.Add(inputs)
	}
}

func (c *compat) batchTokens(n int) {
	if c != nil {
		c.tokens.Update(float64(n))
	}
}

func (c *compat) batchInputs(n int) {
	if c != nil {
		c.embedded.Add(n)
		c.inputs.Update(float64(n))
	}
}
