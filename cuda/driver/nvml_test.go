//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"testing"

	"remote-client-server/cuda"
)

var fakeUUID = [16]byte{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}

func TestNVML(t *testing.T) {
	f := compiled(t, "nvml.c")
	n, err := OpenNVML([]string{"/nowhere/libnvidia-ml.so.1", f.path})
	if err != nil {
		t.Fatal(err)
	}
	f.expect(t, "nvmlInit_v2", "nvmlSystemGetDriverVersion n=96")
	want := cuda.Status{DriverVersion: "570.86.10", Used: 1530 << 20, Total: 23034 << 20, Utilization: 37, Temperature: 51, PowerWatts: 71.5}
	calls := []string{
		"nvmlDeviceGetMemoryInfo device=0x77", "nvmlDeviceGetUtilizationRates device=0x77",
		"nvmlDeviceGetTemperature device=0x77 sensor=0", "nvmlDeviceGetPowerUsage device=0x77",
	}
	for round := range 2 {
		var s cuda.Status
		if err := n.Sample(fakeUUID, &s); err != nil || s != want {
			t.Errorf("%+v, %v", s, err)
		}
		if round == 0 {
			f.expect(t, append([]string{"nvmlDeviceGetHandleByUUID uuid=GPU-10111213-1415-1617-1819-1a1b1c1d1e1f"}, calls...)...)
		} else {
			f.expect(t, calls...)
		}
	}
	if err := n.Sample([16]byte{1}, &cuda.Status{}); err == nil {
		t.Error("a GPU that is not there was sampled")
	}
	f.fail("nvmlDeviceGetMemoryInfo", 1, 15)
	err = n.Sample(fakeUUID, &cuda.Status{})
	says(t, err, nil, "nvmlDeviceGetMemoryInfo", "GPU is lost")
	if n.DriverVersion() != "570.86.10" {
		t.Error(n.DriverVersion())
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := n.Sample(fakeUUID, &cuda.Status{}); err == nil {
		t.Error("a closed library answers")
	}
}

func TestNVMLOfASliceOfAGPU(t *testing.T) {
	f := compiled(t, "nvml.c")
	f.set("mig", 1)
	n, err := OpenNVML([]string{f.path})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var s cuda.Status
	if err := n.Sample(fakeUUID, &s); err != nil || s.Total != 23034<<20 || s.Utilization != 0 || s.PowerWatts != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNVMLThatIsNotThere(t *testing.T) {
	_, err := OpenNVML([]string{"/nowhere/libnvidia-ml.so.1"})
	says(t, err, cuda.ErrNotSupported, "/nowhere")
	f := compiled(t, "cuda.c")
	_, err = OpenNVML([]string{f.path})
	says(t, err, cuda.ErrNotSupported, "has no nvmlInit_v2")
	f = compiled(t, "nvml.c")
	f.fail("nvmlInit_v2", 1, 15)
	_, err = OpenNVML([]string{f.path})
	says(t, err, nil, "nvmlInit_v2", "GPU is lost")
}

func TestStatusOfAGPU(t *testing.T) {
	_, d := opened(t)
	n, err := OpenNVML([]string{compiled(t, "nvml.c").path})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	want := cuda.Status{DeviceName: "Fake GPU 41", DeviceCount: 2, CUDAVersion: "12.8", Used: 19 << 30, Total: 24 << 30}
	if s, err := d.Status(nil, 2, 0); s != want || err != nil {
		t.Errorf("without NVML: %+v, %v", s, err)
	}
	want.Used, want.Total, want.DriverVersion = 1530<<20, 23034<<20, "570.86.10"
	want.Utilization, want.Temperature, want.PowerWatts = 37, 51, 71.5
	if s, err := d.Status(n, 2, 0); s != want || err != nil {
		t.Errorf("with NVML: %+v, %v", s, err)
	}
}
