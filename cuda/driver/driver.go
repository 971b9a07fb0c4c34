// Package driver is the CUDA driver's API, bound without cgo: libcuda.so.1, and optionally NVML and cuBLASLt, are opened
// at run time by dlopen. Nothing else of CUDA is needed on a host than NVIDIA's driver.
//
// Where there is no CUDA, on macOS and Windows and in builds with the tag nocuda, Open and its like return an error that
// is cuda.ErrNoDriver. Such a build is static; any other links glibc, because dlopen is glibc's.
package driver

import "log/slog"

// Options are how the driver is opened. The zero value is good.
type Options struct {
	// Libraries are the names that dlopen is tried with; nil means the usual ones.
	Libraries []string
	// CacheFolder becomes the driver's own cache of compiled PTX, unless CUDA_CACHE_PATH says another. It has an effect
	// on the first Open of a process only.
	CacheFolder string
	Log         *slog.Logger
}
