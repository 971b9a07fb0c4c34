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
	"modelserver_queue_size":               {"gauge", "Jobs that wait in the queue, without those being processed."},
	"modelserver_ready":                    {"gauge", "1 while the server can answer for its model, else 0."},
	"modelserver_model_info":               {"gauge", "The served model, as labels; always 1."},
	"modelserver_requests_total":           {"counter", "Answered HTTP requests by route and class of status."},
	"modelserver_request_duration_seconds": {"histogram", "Time from a request's last byte to its answer, by route."},
	"modelserver_jobs_total":               {"counter", "Jobs by how they ended; refused ones were never in the queue."},
	"modelserver_queue_wait_seconds":       {"histogram", "Time that jobs waited before they were processed."},
	"modelserver_batch_jobs":               {"histogram", "Jobs that the worker ran together."},
	"modelserver_batch_tokens":             {"histogram", "Tokens that the worker ran together."},
	"modelserver_inputs_total":             {"counter", "Inputs that were answered."},
	"modelserver_prompt_tokens_total":      {"counter", "Tokens of the inputs that were answered."},
	"modelserver_truncated_inputs_total":   {"counter", "Answered inputs that were cut to the model's length."},
	"modelserver_panics_total":             {"counter", "Panics that were caught; each is a defect."},

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
