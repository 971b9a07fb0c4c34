//go:build !linux || !(amd64 || arm64) || nocuda

package driver

import "remote-client-server/cuda"

func noCUDA(call string) error {
	return &cuda.Error{Call: call, Code: cuda.NoDriver, Name: "no driver", Text: "no CUDA on this system: it needs Linux on amd64 or arm64 and a build without the tag nocuda"}
}

// Open fails: this system has no CUDA.
func Open(ordinal int, o Options) (*cuda.Device, error) { return nil, noCUDA("open") }

// OpenHere fails: this system has no CUDA.
func OpenHere(ordinal int, o Options) (cuda.Context, error) { return nil, noCUDA("open") }

// Count fails: this system has no CUDA.
func Count(o Options) (int, error) { return 0, noCUDA("count") }

// NVML is never there on this system.
type NVML struct{}

// OpenNVML fails: this system has no CUDA.
func OpenNVML(libraries []string) (*NVML, error) { return nil, noCUDA("nvml") }

// DriverVersion is empty.
func (n *NVML) DriverVersion() string { return "" }

// Sample fails.
func (n *NVML) Sample(uuid [16]byte, s *cuda.Status) error { return noCUDA("nvml") }

// Close does nothing.
func (n *NVML) Close() error { return nil }

// BlasLt is never there on this system.
type BlasLt struct{}

// OpenBlasLt fails: this system has no CUDA.
func OpenBlasLt(c cuda.Context, libraries []string, workspace int64) (*BlasLt, error) {
	return nil, noCUDA("cublasLt")
}

// Version is empty.
func (b *BlasLt) Version() string { return "" }

// Plan fails.
func (b *BlasLt) Plan(s cuda.MatmulSpec) (cuda.Product, error) { return nil, noCUDA("cublasLt") }

// Close does nothing.
func (b *BlasLt) Close() error { return nil }
