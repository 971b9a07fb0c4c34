package clients

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"remote-client-server/bench/contract/server"
)

// scrape reads the page as Prometheus does.
func scrape(t *testing.T, s *server.Server) map[string]*dto.MetricFamily {
	t.Helper()
	res, err := http.Get(s.Base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if f := expfmt.ResponseFormat(res.Header); f.FormatType() != expfmt.TypeTextPlain {
		t.Fatalf("the content type %q is not that of Prometheus' text", res.Header.Get("Content-Type"))
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// total is the sum of a family's counters with these labels.
func total(f *dto.MetricFamily, labels map[string]string) float64 {
	sum := 0.0
	for _, m := range f.GetMetric() {
		same := 0
		for _, l := range m.GetLabel() {
			if want, ok := labels[l.GetName()]; ok && want == l.GetValue() {
				same++
			}
		}
		if same == len(labels) {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

func TestPrometheus(t *testing.T) {
	s := server.Start(t, true, "--metrics_compat")
	for range 3 {
		res, _, err := post(context.Background(), s.Base+"/v1/embeddings", map[string]any{"input": []string{"a", "b"}})
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	res, _, err := post(context.Background(), s.Base+"/api/generate", map[string]any{"input": 1})
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	families := scrape(t, s)
	for name, f := range families {
		if f.GetHelp() == "" || f.Type == nil || f.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s: help %q, type %v", name, f.GetHelp(), f.GetType())
		}
		if len(f.GetMetric()) == 0 {
			t.Errorf("%s: no samples", name)
		}
		if f.GetType() == dto.MetricType_COUNTER && !strings.HasSuffix(name, "_total") && !strings.HasPrefix(name, "te_") {
			t.Errorf("the counter %s is not called _total", name)
		}
		for _, m := range f.GetMetric() {
			if f.GetType() == dto.MetricType_HISTOGRAM {
				cumulative(t, name, m.GetHistogram())
			}
		}
	}
	for _, c := range []struct {
		family string
		labels map[string]string
		want   float64
	}{
		{"modelserver_requests_total", map[string]string{"route": "embeddings", "status": "2xx"}, 3},
		{"modelserver_requests_total", map[string]string{"route": "generate", "status": "4xx"}, 1},
		{"modelserver_inputs_total", nil, 6},
		{"modelserver_jobs_total", map[string]string{"outcome": "done"}, 3},
		{"modelserver_errors_total", map[string]string{"kind": "bad_request"}, 1},
		{"modelserver_panics_total", nil, 0},
	} {
		if got := total(families[c.family], c.labels); got != c.want {
			t.Errorf("%s%v = %v, want %v", c.family, c.labels, got, c.want)
		}
	}
	if size := families["modelserver_queue_size"]; size.GetType() != dto.MetricType_GAUGE || len(size.GetMetric()) != 1 || len(size.GetMetric()[0].GetLabel()) != 0 {
		t.Errorf("what the scaler reads: %v", size)
	}
}

// cumulative demands bounds and counts that rise, to the number of all samples
// at infinity.
func cumulative(t *testing.T, name string, h *dto.Histogram) {
	t.Helper()
	buckets := h.GetBucket()
	for i := 1; i < len(buckets); i++ {
		if buckets[i].GetUpperBound() <= buckets[i-1].GetUpperBound() || buckets[i].GetCumulativeCount() < buckets[i-1].GetCumulativeCount() {
			t.Errorf("%s: bucket %v after %v", name, buckets[i], buckets[i-1])
		}
	}
	if n := len(buckets); n < 2 || !math.IsInf(buckets[n-1].GetUpperBound(), 1) || buckets[n-1].GetCumulativeCount() != h.GetSampleCount() {
		t.Errorf("%s: %v", name, h)
	}
	if h.GetSampleSum() < 0 || h.GetSampleCount() == 0 && h.GetSampleSum() != 0 {
		t.Errorf("%s: %d samples, sum %v", name, h.GetSampleCount(), h.GetSampleSum())
	}
}
