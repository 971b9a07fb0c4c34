package status

import (
	"fmt"
	"io"
)

// Sources are what a page asks when it is written. Each function is called
// once a page, from the goroutine of the one who reads it, and must not wait
// for a job; a nil one leaves its metrics out.
type Sources struct {
	Routes []string // the names that Request hears; one must be "other"
	// Compat are the routes of inference. If there are any, the page repeats
	// what it can under the names of text-embeddings-inference.
	Compat   []string
	Queue    func() Queue
	Ready    func() bool
	Download func() Download
	Device   func() Device
	Redis    func() RedisState
}

// Queue is the line before the worker.
type Queue struct {
	Waiting, Running int // jobs
	Limit            int // of jobs that wait; 0: not known
	Cost, CostLimit  int // tokens that wait and their limit; 0: no limit
}

// Download is how far the model's files have come.
type Download struct {
	Bytes, Total int64   // Total 0: not known yet
	Rate         float64 // bytes per second, smoothed
}

// Device is what the model runs on; the zero value is none yet.
type Device struct {
	Device string // cpu, cuda:0
	Name   string // NVIDIA L4
	Driver string // its version, or ""
	// MemoryUsed is what this server takes of the device's MemoryTotal bytes;
	// without a total both are left out.
	MemoryUsed, MemoryTotal int64
}

// write writes the gauges of all sources as samples; it returns the jobs that
// wait.
func (s *Sources) write(w io.Writer) (waiting int) {
	one := func(name string, v any) { fmt.Fprintf(w, "modelserver_%s %v\n", name, v) }
	var q Queue
	if s.Queue != nil {
		q = s.Queue()
	}
	one("queue_size", q.Waiting)
	if s.Queue != nil {
		one("queue_cost", q.Cost)
		one("queue_limit", q.Limit)
		if q.CostLimit > 0 {
			one("queue_cost_limit", q.CostLimit)
		}
		one("running_jobs", q.Running)
	}
	if len(s.Compat) > 0 {
		fmt.Fprintf(w, "te_queue_size %d\n", q.Waiting)
	}
	if s.Ready != nil {
		one("ready", bit(s.Ready()))
	}
	if s.Download != nil {
		d := s.Download()
		one("download_bytes", d.Bytes)
		one("download_total_bytes", d.Total)
		one("download_bytes_per_second", d.Rate)
	}
	if d := s.device(); d != (Device{}) {
		one(fmt.Sprintf("device_info{device=%s,name=%s,driver=%s}", label(d.Device), label(d.Name), label(d.Driver)), 1)
		if d.MemoryTotal > 0 {
			of := "{device=" + label(d.Device) + "}"
			one("device_memory_used_bytes"+of, d.MemoryUsed)
			one("device_memory_total_bytes"+of, d.MemoryTotal)
		}
	}
	if s.Redis != nil {
		r := s.Redis()
		one("redis_up", bit(r.Up))
		one("redis_pending_generations", r.Pending)
	}
	return q.Waiting
}

// device is the zero Device as long as there is none.
func (s *Sources) device() Device {
	if s.Device == nil {
		return Device{}
	}
	return s.Device()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
