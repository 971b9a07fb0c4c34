package http

import (
	"math"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// GPU is the device that computes, at one moment. Sizes are in bytes.
type GPU struct {
	Name                string
	Count               int     // GPUs that the process sees
	CUDA                string  // the version that the driver supports
	Allocated, Reserved int64   // by this process: what holds something, and what it took from the driver
	Used, Total         int64   // of the device, whoever uses it
	Utilization         float64 // percent; 0 where the driver's management library is absent
}

// gpuTime is how nvidia-smi writes a time.
const gpuTime = "2006/01/02 15:04:05.000"

// gpu tells of the GPU in the Python server's words. Without one the request is at fault, as it is there.
func (c *call) gpu() {
	read := c.state.loaded.GPU
	if read == nil {
		c.fail(failure{status: fasthttp.StatusBadRequest, message: "CUDA is not available on this system"})
		return
	}
	g, err := read()
	if err != nil {
		c.fail(failure{status: fasthttp.StatusInternalServerError, message: err.Error(), code: "gpu_unreadable"})
		return
	}
	b := appendString([]byte(`{"timestamp":`), time.Now().Format(gpuTime))
	for _, m := range []struct {
		name  string
		bytes int64
	}{{"memory_allocated_mb", g.Allocated}, {"memory_reserved_mb", g.Reserved}, {"memory_used_mb", g.Used}, {"memory_total_mb", g.Total}} {
		b = append(append(append(b, `,"`...), m.name...), `":`...)
		b = appendMegabytes(b, m.bytes)
	}
	b = append(b, `,"gpu_utilization":`...)
	b = appendTenths(b, g.Utilization)
	b = appendString(append(b, `,"device_name":`...), g.Name)
	b = strconv.AppendInt(append(b, `,"device_count":`...), int64(g.Count), 10)
	b = appendString(append(b, `,"cuda_version":`...), g.CUDA)
	c.json(append(b, `,"error":null}`...))
}

// appendMegabytes writes bytes in units of 2^20, as PyTorch's server does.
func appendMegabytes(b []byte, bytes int64) []byte { return appendTenths(b, float64(bytes)/(1<<20)) }

// appendTenths writes a number with a fraction, one digit where it needs no more, at most two.
func appendTenths(b []byte, v float64) []byte {
	v = math.Round(v*100) / 100
	if v == math.Trunc(v*10)/10 {
		return strconv.AppendFloat(b, v, 'f', 1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', 2, 64)
}
