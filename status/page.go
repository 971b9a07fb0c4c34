package status

import (
	"bytes"
	"io"
	"strings"
)

// family is what a page says of a metric above its samples.
type family struct{ kind, help string }

// families are all metrics of the page. The library writes no help texts and
// far more process metrics than anyone reads: a page holds the families that
// are documented here and no others.
var families = map[string]family{
	"modelserver_queue_size":                {"gauge", "Jobs that wait in the queue, without those being processed."},
	"modelserver_queue_limit":               {"gauge", "Most jobs that may wait in the queue."},
	"modelserver_queue_cost":                {"gauge", "Tokens of the jobs that wait in the queue."},
	"modelserver_queue_cost_limit":          {"gauge", "Most tokens that may wait in the queue."},
	"modelserver_running_jobs":              {"gauge", "Jobs that are being processed."},
	"modelserver_ready":                     {"gauge", "1 while the server can answer for its model, else 0."},
	"modelserver_start_seconds":             {"gauge", "Time from the start until the server could answer for its model."},
	"modelserver_model_info":                {"gauge", "The served model, as labels; always 1."},
	"modelserver_device_info":               {"gauge", "The device that the model runs on, as labels; always 1."},
	"modelserver_device_memory_used_bytes":  {"gauge", "Memory of the device that this server takes."},
	"modelserver_device_memory_total_bytes": {"gauge", "Memory of the device."},
	"modelserver_download_bytes":            {"gauge", "Bytes of the model's files that are there."},
	"modelserver_download_total_bytes":      {"gauge", "Bytes of all files that the model needs; 0 until they are known."},
	"modelserver_download_bytes_per_second": {"gauge", "Speed of the download."},
	"modelserver_requests_total":            {"counter", "Answered HTTP requests by route and class of status."},
	"modelserver_request_duration_seconds":  {"histogram", "Time from a request's last byte to its answer, by route."},
	"modelserver_errors_total":              {"counter", "Failures that clients were told, by kind."},
	"modelserver_jobs_total":                {"counter", "Jobs by how they ended; refused ones were never in the queue."},
	"modelserver_job_duration_seconds":      {"histogram", "Time that the worker had a job, by how the job ended."},
	"modelserver_queue_wait_seconds":        {"histogram", "Time that jobs waited before they were processed."},
	"modelserver_batch_jobs":                {"histogram", "Jobs that the worker ran together."},
	"modelserver_batch_inputs":              {"histogram", "Inputs that the worker ran together."},
	"modelserver_batch_tokens":              {"histogram", "Tokens that the worker ran together."},
	"modelserver_inputs_total":              {"counter", "Inputs that were answered."},
	"modelserver_prompt_tokens_total":       {"counter", "Tokens of the inputs that were answered."},
	"modelserver_truncated_inputs_total":    {"counter", "Answered inputs that were cut to the model's length."},
	"modelserver_panics_total":              {"counter", "Panics that were caught; each is a defect."},
	"modelserver_redis_up":                  {"gauge", "1 if Redis took the last thing it was told, else 0."},
	"modelserver_redis_pending_generations": {"gauge", "Generations that Redis has not been told yet."},

	"modelserver_cached_prompt_tokens_total":  {"counter", "Tokens of prompts that were not computed again."},
	"modelserver_generation_tokens_total":     {"counter", "Tokens that the language model has written."},
	"modelserver_time_to_first_token_seconds": {"histogram", "Time from a job's admission to its first token."},
	"modelserver_inter_token_seconds":         {"histogram", "Time between two tokens of an answer."},
	"modelserver_step_sequences":              {"histogram", "Sequences that got a token in one step."},
	"modelserver_step_prompt_rows":            {"histogram", "Tokens of prompts that were computed in one step."},
	"modelserver_sequences_writing":           {"gauge", "Sequences that write."},
	"modelserver_sequences_prefilling":        {"gauge", "Sequences whose prompts are being computed."},
	"modelserver_kv_cache_blocks":             {"gauge", "Blocks of the cache of keys and values."},
	"modelserver_kv_cache_usage_ratio":        {"gauge", "Share of these blocks that running sequences hold."},
	"modelserver_preemptions_total":           {"counter", "Sequences that gave their blocks back to older ones."},
	"modelserver_answers_total":               {"counter", "Answers by the reason of their end."},

	"vllm:num_requests_running":           {"gauge", "Sequences that are being processed."},
	"vllm:num_requests_waiting":           {"gauge", "As modelserver_queue_size."},
	"vllm:kv_cache_usage_perc":            {"gauge", "As modelserver_kv_cache_usage_ratio: 1 is all."},
	"vllm:num_preemptions_total":          {"counter", "As modelserver_preemptions_total."},
	"vllm:prompt_tokens_total":            {"counter", "Tokens of answered prompts."},
	"vllm:prompt_tokens_cached_total":     {"counter", "As modelserver_cached_prompt_tokens_total."},
	"vllm:generation_tokens_total":        {"counter", "As modelserver_generation_tokens_total."},
	"vllm:request_success_total":          {"counter", "As modelserver_answers_total."},
	"vllm:time_to_first_token_seconds":    {"histogram", "As modelserver_time_to_first_token_seconds."},
	"vllm:inter_token_latency_seconds":    {"histogram", "As modelserver_inter_token_seconds."},
	"vllm:request_queue_time_seconds":     {"histogram", "Seconds that successful jobs waited."},
	"vllm:request_inference_time_seconds": {"histogram", "Seconds that the worker had successful jobs."},
	"vllm:e2e_request_latency_seconds":    {"histogram", "Seconds from a request's last byte to its answer, of successful requests."},

	"te_queue_size":                 {"gauge", "As modelserver_queue_size."},
	"te_request_count":              {"counter", "Answered requests for inference."},
	"te_request_success":            {"counter", "Successful requests for inference."},
	"te_request_failure":            {"counter", "Failed requests for inference, by reason."},
	"te_request_duration":           {"histogram", "Seconds from a request's last byte to its answer, of successful requests."},
	"te_request_queue_duration":     {"histogram", "Seconds that successful jobs waited."},
	"te_request_inference_duration": {"histogram", "Seconds that the worker had successful jobs."},
	"te_embed_count":                {"counter", "Inputs that the worker has taken."},
	"te_embed_success":              {"counter", "Inputs that were answered."},
	"te_batch_next_size":            {"histogram", "As modelserver_batch_inputs."},
	"te_batch_next_tokens":          {"histogram", "As modelserver_batch_tokens."},

	"process_cpu_seconds_total":     {"counter", "User and system CPU time of the process."},
	"process_resident_memory_bytes": {"gauge", "Resident memory of the process."},
	"process_virtual_memory_bytes":  {"gauge", "Virtual memory of the process."},
	"process_start_time_seconds":    {"gauge", "Start of the process, in Unix time."},
	"process_open_fds":              {"gauge", "Open file descriptors of the process."},
	"process_max_fds":               {"gauge", "Most file descriptors that the process may open."},
	"go_goroutines":                 {"gauge", "Goroutines that exist."},
	"go_threads":                    {"gauge", "OS threads that were created."},
	"go_memstats_heap_alloc_bytes":  {"gauge", "Bytes of live and not yet collected heap objects."},
	"go_memstats_heap_inuse_bytes":  {"gauge", "Bytes of heap spans in use."},
	"go_memstats_stack_inuse_bytes": {"gauge", "Bytes of goroutine stacks in use."},
	"go_memstats_sys_bytes":         {"gauge", "Bytes that the Go runtime obtained from the system."},
	"go_memstats_alloc_bytes_total": {"counter", "Bytes that were ever allocated on the heap."},
	"go_memstats_mallocs_total":     {"counter", "Heap objects that were ever allocated."},
	"go_memstats_next_gc_bytes":     {"gauge", "Heap size at which the next collection starts."},
	"go_gc_cpu_seconds_total":       {"counter", "CPU time of garbage collection."},
}

// page turns samples into a page: it puts the family's help and type in front
// of its first sample and leaves undocumented families out.
type page struct {
	w    io.Writer
	last string       // the family of the sample before
	rest []byte       // an unfinished line
	out  bytes.Buffer // what is to be written
}

func (p *page) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		p.line(p.rest[:i+1])
		p.rest = p.rest[i+1:]
	}
}

func (p *page) line(line []byte) {
	end := bytes.IndexAny(line, "{ ")
	if end <= 0 || line[0] == '#' {
		return
	}
	name := string(line[:end])
	f, ok := families[name]
	if !ok { // a histogram's samples have suffixes
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, found := strings.CutSuffix(name, suffix); found && families[base].kind == "histogram" {
				name, f, ok = base, families[base], true
			}
		}
	}
	if !ok {
		return
	}
	if name != p.last {
		p.last = name
		p.out.WriteString("# HELP " + name + " " + f.help + "\n# TYPE " + name + " " + f.kind + "\n")
	}
	p.out.Write(line)
}

// flush writes the page. An error means that the scraper has gone.
func (p *page) flush() { _, _ = p.w.Write(p.out.Bytes()) }

// label quotes a label's value as the text format wants it.
func label(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}
