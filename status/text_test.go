package status

import (
	"strings"
	"testing"
	"time"
)

// writes is the metrics of a server whose language model has done something.
func writes(m *Metrics, compat bool) *Text {
	t := m.Text("tiny", func() TextState {
		return TextState{Writing: 3, Filling: 1, BlocksUsed: 25, Blocks: 100, Preemptions: 2, Finished: map[string]int64{"stop": 7, "length": 1}}
	}, compat)
	t.FirstToken(30 * time.Millisecond)
	t.NextToken(3 * time.Millisecond)
	t.NextToken(time.Second)
	t.Step(200, 0, time.Second)
	t.Step(0, 4, time.Second)
	m.Written(40, 32, 9)
	m.Job("done", time.Millisecond)
	m.Ran("done", 2*time.Second)
	m.Request("chat/completions", 200, 3*time.Second)
	m.Request("chat/completions", 400, time.Second)
	return t
}

func TestWhatALanguageModelDoes(t *testing.T) {
	s := full()
	s.Routes = append(s.Routes, "chat/completions")
	m := NewMetrics(s)
	m.Written(5, 0, 5) // before there is a model: nothing to count
	writes(m, false)
	got := text(m)
	for _, line := range []string{
		"modelserver_prompt_tokens_total 40",
		"modelserver_cached_prompt_tokens_total 32",
		"modelserver_generation_tokens_total 9",
		`modelserver_time_to_first_token_seconds_bucket{le="0.04"} 1`,
		`modelserver_inter_token_seconds_bucket{le="0.005"} 1`,
		"modelserver_inter_token_seconds_count 2",
		`modelserver_step_sequences_bucket{le="4"} 1`,
		`modelserver_step_prompt_rows_bucket{le="256"} 1`,
		"modelserver_sequences_writing 3",
		"modelserver_sequences_prefilling 1",
		"modelserver_kv_cache_blocks 100",
		"modelserver_kv_cache_usage_ratio 0.25",
		"modelserver_preemptions_total 2",
		`modelserver_answers_total{reason="stop"} 7`,
		`modelserver_answers_total{reason="length"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if strings.Contains(got, "vllm:") {
		t.Error("vLLM's names are there unasked")
	}
}

func TestVLLMNames(t *testing.T) {
	s := full()
	s.Routes = append(s.Routes, "chat/completions")
	m := NewMetrics(s)
	writes(m, true)
	got := text(m)
	for _, line := range []string{
		`vllm:num_requests_running{model_name="tiny"} 4`,
		`vllm:num_requests_waiting{model_name="tiny"} 3`,
		`vllm:kv_cache_usage_perc{model_name="tiny"} 0.25`,
		`vllm:num_preemptions_total{model_name="tiny"} 2`,
		`vllm:prompt_tokens_total{model_name="tiny"} 40`,
		`vllm:prompt_tokens_cached_total{model_name="tiny"} 32`,
		`vllm:generation_tokens_total{model_name="tiny"} 9`,
		`vllm:request_success_total{model_name="tiny",finished_reason="stop"} 7`,
		`vllm:time_to_first_token_seconds_bucket{model_name="tiny",le="0.04"} 1`,
		`vllm:inter_token_latency_seconds_count{model_name="tiny"} 2`,
		`vllm:request_queue_time_seconds_count{model_name="tiny"} 1`,
		`vllm:request_inference_time_seconds_bucket{model_name="tiny",le="2.5"} 1`,
		`vllm:e2e_request_latency_seconds_bucket{model_name="tiny",le="5"} 1`,
		`vllm:e2e_request_latency_seconds_count{model_name="tiny"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
