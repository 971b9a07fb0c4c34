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

// DataType is the type of a matrix's elements in a product of cuBLASLt, numbered as CUDA numbers them.
type DataType int32

const (
	Float32  DataType = 0
	Float16  DataType = 2
	BFloat16 DataType = 14
)

// MatmulSpec is the product y = x·wᵀ of row-major matrices, accumulated in float32: x is [Rows, Depth], w is
// [Cols, Depth] as a Linear's weight is stored, y is [Rows, Cols].
type MatmulSpec struct {
	Rows, Cols, Depth int
	In, Out           DataType
	// Strides between rows in elements; 0 means that rows lie one behind the other. Those of x, w and y are multiples
	// of 16 bytes, as their addresses are.
	StrideX, StrideW, StrideY int
	Bias                      bool // y += bias [Cols], of type Out
	GELU                      bool // y = gelu(y), by tanh, after the bias
	Add                       bool // the product is added to y; then without Bias and GELU
}
