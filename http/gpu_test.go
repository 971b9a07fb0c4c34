package http

import (
	"errors"
	"regexp"
	"testing"

	"remote-client-server/runtime"
)

func TestGPUStatus(t *testing.T) {
	h := open(t)
	state := GPU{
		Name: `NVIDIA "L4"`, Count: 2, CUDA: "12.8", Allocated: 812<<20 + 1<<19, Reserved: 1 << 30, Used: 1530 << 20, Total: 23034 << 20,
		Utilization: 37,
	}
	var failed error
	m := h.now.Load().loaded
	m.GPU = func() (GPU, error) { return state, failed }
	h.Ready(m)
	want := regexp.MustCompile(`^\{"timestamp":"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}","memory_allocated_mb":812\.5,"memory_reserved_mb":1024\.0,` +
		`"memory_used_mb":1530\.0,"memory_total_mb":23034\.0,"gpu_utilization":37\.0,"device_name":"NVIDIA \\"L4\\"","device_count":2,` +
		`"cuda_version":"12\.8","error":null\}$`)
	if a := h.do("GET", "/api/gpu/status", ""); a.status != 200 || !want.MatchString(a.body) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.do("GET", "/api/status", ""); a.body != `{"status":"ready","gpu":true,"queue":0,"model":"org/Tiny","type":"embed"}` {
		t.Errorf("status: %s", a.body)
	}
	state.Allocated, state.Utilization = 1, 99.96
	if a := h.do("GET", "/api/gpu/status", ""); !regexp.MustCompile(`"memory_allocated_mb":0\.0,.*"gpu_utilization":99\.96,`).MatchString(a.body) {
		t.Errorf("small numbers: %s", a.body)
	}
	failed = errors.New("the GPU is lost")
	if a := h.do("GET", "/api/gpu/status", ""); a.status != 500 || a.body != `{"detail":"the GPU is lost"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A job on a device that was lost is answered as one that came too early: another try finds a new process.
func TestJobOnALostDevice(t *testing.T) {
	f := jobFailed(runtime.DeviceError{Call: "launch", Name: "CUDA_ERROR_ILLEGAL_ADDRESS", Code: 700})
	if f.status != 503 || f.code != "device_lost" || f.retry == 0 {
		t.Errorf("%+v", f)
	}
}
