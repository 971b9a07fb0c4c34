package cuda

// Status is a GPU at one moment, as GET /api/gpu/status shows it.
type Status struct {
	DeviceName    string
	DeviceCount   int     // GPUs that this process sees
	CUDAVersion   string  // that the driver supports: 12.8
	DriverVersion string  // 570.86.10; empty without NVML
	Allocated     int64   // bytes in use by this process, as far as its caller counts inside its arenas
	Reserved      int64   // bytes that this process took from the driver
	Used, Total   int64   // bytes of the device, whoever uses them
	Utilization   float64 // percent of the last sampling period in which a kernel ran; 0 without NVML
	Temperature   int     // degrees Celsius; 0 without NVML
	PowerWatts    float64 // 0 without NVML
}

// Monitor reads what the driver's API does not know. driver.NVML is one.
type Monitor interface {
	// Sample adds to s what is known of the device of that UUID. It may be called from any goroutine.
	Sample(uuid [16]byte, s *Status) error
}

// Status looks at the device without waiting for its work. m may be nil, and an error of it leaves its values out; the
// driver's own error, of a device that is lost or closed, is returned. allocated is the sum of what the caller's arenas
// hand out.
func (d *Device) Status(m Monitor, devices int, allocated int64) (Status, error) {
	p := d.Properties()
	s := Status{
		DeviceName: p.Name, DeviceCount: devices, CUDAVersion: CUDAVersion(p.DriverVersion),
		Allocated: allocated, Reserved: d.Ledger().DeviceBytes.Load(),
	}
	if err := d.Err(); err != nil {
		return s, err
	}
	if m != nil {
		sampled := s
		if err := m.Sample(p.UUID, &sampled); err == nil && sampled.Total > 0 {
			return sampled, nil
		}
	}
	free, total, err := d.MemInfo()
	s.Used, s.Total = total-free, total
	return s, err
}
