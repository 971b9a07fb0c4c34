//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"remote-client-server/cuda"
)

var nvmlLibraries = []string{
	"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/usr/local/nvidia/lib64/libnvidia-ml.so.1", "libnvidia-ml.so",
}

// NVML is NVIDIA's management library: what the driver's API does not tell of a GPU. Its methods may be called from any
// goroutine.
type NVML struct {
	nvmlInit                      func() int32
	nvmlShutdown                  func() int32
	nvmlErrorString               func(code int32) string
	nvmlSystemGetDriverVersion    func(version *byte, length uint32) int32
	nvmlDeviceGetHandleByUUID     func(uuid string, device *uintptr) int32
	nvmlDeviceGetUtilizationRates func(device uintptr, u *utilization) int32
	nvmlDeviceGetMemoryInfo       func(device uintptr, m *memoryInfo) int32
	nvmlDeviceGetTemperature      func(device uintptr, sensor int32, degrees *uint32) int32
	nvmlDeviceGetPowerUsage       func(device uintptr, milliwatts *uint32) int32

	version string

	mu      sync.Mutex
	devices map[[16]byte]uintptr
	closed  bool
}

type utilization struct{ GPU, Memory uint32 }      // nvmlUtilization_t, in percent
type memoryInfo struct{ Total, Free, Used uint64 } // nvmlMemory_t, in bytes

// OpenNVML opens the library. An error is cuda.ErrNotSupported where there is none; nothing needs it.
func OpenNVML(libraries []string) (*NVML, error) {
	if libraries == nil {
		libraries = nvmlLibraries
	}
	handle, name, err := openLibrary(libraries)
	if err != nil {
		return nil, cuda.NewError("dlopen", cuda.NoSuchLibrary, "", err.Error())
	}
	n := &NVML{devices: map[[16]byte]uintptr{}}
	r := &resolver{handle: handle}
	missing := r.bind([]symbol{
		{export: "nvmlInit_v2", fn: &n.nvmlInit},
		{export: "nvmlShutdown", fn: &n.nvmlShutdown},
		{export: "nvmlErrorString", fn: &n.nvmlErrorString},
		{export: "nvmlSystemGetDriverVersion", fn: &n.nvmlSystemGetDriverVersion},
		{export: "nvmlDeviceGetHandleByUUID", fn: &n.nvmlDeviceGetHandleByUUID},
		{export: "nvmlDeviceGetUtilizationRates", fn: &n.nvmlDeviceGetUtilizationRates},
		{export: "nvmlDeviceGetMemoryInfo", fn: &n.nvmlDeviceGetMemoryInfo},
		{export: "nvmlDeviceGetTemperature", fn: &n.nvmlDeviceGetTemperature},
		{export: "nvmlDeviceGetPowerUsage", fn: &n.nvmlDeviceGetPowerUsage},
	})
	if missing != nil {
		return nil, cuda.NewError("dlsym", cuda.NoSuchLibrary, "", name+" has no "+strings.Join(missing, ", "))
	}
	if r := n.nvmlInit(); r != 0 {
		return nil, n.fault("nvmlInit_v2", r)
	}
	version := make([]byte, 96)
	if r := n.nvmlSystemGetDriverVersion(&version[0], uint32(len(version))); r != 0 {
		err := n.fault("nvmlSystemGetDriverVersion", r)
		n.nvmlShutdown()
		return nil, err
	}
	n.version = cString(version)
	return n, nil
}

func (n *NVML) fault(call string, code int32) error {
	return cuda.NewError(call, cuda.NVMLStatus+cuda.Code(code), "NVML", n.nvmlErrorString(code))
}

// DriverVersion is the driver's release, 570.86.10.
func (n *NVML) DriverVersion() string { return n.version }

// device finds a GPU by its UUID: its number may be another than CUDA's. A slice of a GPU has a UUID of its own kind.
func (n *NVML) device(uuid [16]byte) (uintptr, error) {
	if d, ok := n.devices[uuid]; ok {
		return d, nil
	}
	h := hex.EncodeToString(uuid[:])
	name := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	var d uintptr
	r := n.nvmlDeviceGetHandleByUUID("GPU-"+name, &d)
	if r != 0 && n.nvmlDeviceGetHandleByUUID("MIG-"+name, &d) != 0 {
		return 0, n.fault("nvmlDeviceGetHandleByUUID", r)
	}
	n.devices[uuid] = d
	return d, nil
}

// Sample fills in what NVML knows of a GPU. What a GPU does not measure, as slices and some boards do not, stays 0; only
// without the memory in use it is an error.
func (n *NVML) Sample(uuid [16]byte, s *cuda.Status) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("cuda: NVML is closed")
	}
	d, err := n.device(uuid)
	if err != nil {
		return err
	}
	var m memoryInfo
	if r := n.nvmlDeviceGetMemoryInfo(d, &m); r != 0 {
		delete(n.devices, uuid) // a GPU that was reset has another handle
		return n.fault("nvmlDeviceGetMemoryInfo", r)
	}
	s.Used, s.Total, s.DriverVersion = int64(m.Used), int64(m.Total), n.version
	var u utilization
	if n.nvmlDeviceGetUtilizationRates(d, &u) == 0 {
		s.Utilization = float64(u.GPU)
	}
	var v uint32
	if n.nvmlDeviceGetTemperature(d, 0, &v) == 0 {
		s.Temperature = int(v)
	}
	if n.nvmlDeviceGetPowerUsage(d, &v) == 0 {
		s.PowerWatts = float64(v) / 1000
	}
	return nil
}

// Close ends the use of the library.
func (n *NVML) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	if r := n.nvmlShutdown(); r != 0 {
		return n.fault("nvmlShutdown", r)
	}
	return nil
}
