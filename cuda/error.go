package cuda

import (
	"errors"
	"fmt"
)

// Classes of errors, for errors.Is.
var (
	ErrNoDriver     = errors.New("no NVIDIA driver")
	ErrNoDevice     = errors.New("no such GPU")
	ErrDriverTooOld = errors.New("the NVIDIA driver is too old")
	ErrOutOfMemory  = errors.New("out of device memory")
	ErrNotSupported = errors.New("not supported")
	// ErrSticky is a context that is lost: only a new process helps.
	ErrSticky = errors.New("the GPU's context is lost")
	// ErrClosed is a Device after Close.
	ErrClosed = errors.New("cuda: the device is closed")
)

// Code is the driver's number for an error; negative ones are this package's.
type Code int32

const (
	NoDriver      Code = -1 // no library, or one without the functions that are needed
	DriverTooOld  Code = -2
	Hung          Code = -3 // a kernel that does not end
	NoSuchLibrary Code = -4 // an optional library
)

// Statuses of the optional libraries, which count for themselves, begin here.
const (
	BlasStatus Code = 10000
	NVMLStatus Code = 20000

	blasAllocFailed  = BlasStatus + 3
	blasNotSupported = BlasStatus + 15
)

// The driver's codes that somebody decides by.
const (
	InvalidValue          Code = 1
	OutOfMemory           Code = 2
	Deinitialized         Code = 4
	StubLibrary           Code = 34
	NewerDriver           Code = 36
	DeviceUnavailable     Code = 46
	NoDevice              Code = 100
	InvalidDevice         Code = 101
	NoBinaryForGPU        Code = 209
	ECCUncorrectable      Code = 214
	InvalidPTX            Code = 218
	NVLinkUncorrectable   Code = 220
	JITCompilerNotFound   Code = 221
	UnsupportedPTXVersion Code = 222
	JITDisabled           Code = 223
	Contained             Code = 226
	NotFound              Code = 500
	NotReady              Code = 600
	IllegalAddress        Code = 700
	LaunchTimeout         Code = 702
	ContextDestroyed      Code = 709
	Assert                Code = 710
	HardwareStack         Code = 714
	IllegalInstruction    Code = 715
	MisalignedAddress     Code = 716
	InvalidAddressSpace   Code = 717
	InvalidPC             Code = 718
	LaunchFailed          Code = 719
	TensorMemoryLeak      Code = 721
	NotSupported          Code = 801
	SystemNotReady        Code = 802
	DriverMismatch        Code = 803
	CompatNotSupported    Code = 804
	MPSConnectionFailed   Code = 805
	MPSClientTerminated   Code = 810
	Unknown               Code = 999
)

// names are for implementations without a driver to ask.
var names = map[Code]string{
	NoDriver: "no driver", DriverTooOld: "driver too old", Hung: "hung", NoSuchLibrary: "no such library",
	InvalidValue: "CUDA_ERROR_INVALID_VALUE", OutOfMemory: "CUDA_ERROR_OUT_OF_MEMORY", NoDevice: "CUDA_ERROR_NO_DEVICE",
	InvalidDevice: "CUDA_ERROR_INVALID_DEVICE", InvalidPTX: "CUDA_ERROR_INVALID_PTX", NotFound: "CUDA_ERROR_NOT_FOUND",
	NoBinaryForGPU: "CUDA_ERROR_NO_BINARY_FOR_GPU", NotSupported: "CUDA_ERROR_NOT_SUPPORTED",
	IllegalAddress: "CUDA_ERROR_ILLEGAL_ADDRESS", MisalignedAddress: "CUDA_ERROR_MISALIGNED_ADDRESS",
	LaunchFailed: "CUDA_ERROR_LAUNCH_FAILED", LaunchTimeout: "CUDA_ERROR_LAUNCH_TIMEOUT",
}

// Error is a call that was refused, or a kernel that failed before it.
type Error struct {
	Call string // the function in CUDA's spelling, or what was done
	Code Code
	Name string // CUDA's name of the code
	Text string // what happened, and what to do about it
}

// NewError makes an error and adds what to do about it. An empty name is filled in where it is known.
func NewError(call string, code Code, name, text string) *Error {
	if name == "" {
		if name = names[code]; name == "" {
			name = "error"
		}
	}
	if a := advice[code]; a != "" {
		if text != "" {
			text += ": "
		}
		text += a
	}
	return &Error{call, code, name, text}
}

func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// Sticky reports an error after which no call succeeds.
func (e *Error) Sticky() bool {
	switch e.Code {
	case Hung, Deinitialized, ECCUncorrectable, NVLinkUncorrectable, Contained, IllegalAddress, LaunchTimeout,
		ContextDestroyed, Assert, HardwareStack, IllegalInstruction, MisalignedAddress, InvalidAddressSpace, InvalidPC,
		LaunchFailed, TensorMemoryLeak, MPSClientTerminated, Unknown:
		return true
	}
	return false
}

// Is says which classes the error belongs to.
func (e *Error) Is(class error) bool {
	switch class {
	case ErrNoDriver:
		return e.Code == NoDriver || e.Code == StubLibrary
	case ErrNoDevice:
		return e.Code == NoDevice || e.Code == InvalidDevice
	case ErrDriverTooOld:
		return e.Code == DriverTooOld || e.Code == NewerDriver || e.Code == UnsupportedPTXVersion
	case ErrOutOfMemory:
		return e.Code == OutOfMemory || e.Code == blasAllocFailed
	case ErrNotSupported:
		return e.Code == NotSupported || e.Code == NoSuchLibrary || e.Code == blasNotSupported
	case ErrSticky:
		return e.Sticky()
	}
	return false
}

// advice is what a person can do about a code.
var advice = map[Code]string{
	NoDriver:              "install the NVIDIA driver (R450 or newer); in a container, start it with the NVIDIA container toolkit (docker run --gpus all)",
	DriverTooOld:          "install a newer NVIDIA driver",
	Hung:                  "the process must be started again; nvidia-smi and dmesg (Xid) may say why",
	StubLibrary:           "the libcuda found is the CUDA toolkit's stub: take its folder out of LD_LIBRARY_PATH",
	NewerDriver:           "install a newer NVIDIA driver",
	OutOfMemory:           "the model, its batch or another process takes what there is: see nvidia-smi; use a smaller batch or --dtype, or another GPU",
	DeviceUnavailable:     "another process holds the GPU in exclusive mode: end it, or set nvidia-smi -c DEFAULT",
	NoDevice:              "nvidia-smi must list a GPU; in a container, start it with the NVIDIA container toolkit (docker run --gpus all)",
	NoBinaryForGPU:        "the GPU is of another architecture than the kernel",
	ECCUncorrectable:      "the GPU's memory has an error: reset the GPU or start the host again",
	NVLinkUncorrectable:   "the GPU's link has an error: reset the GPU or start the host again",
	JITCompilerNotFound:   "install libnvidia-ptxjitcompiler.so.1, which belongs to the NVIDIA driver; in a container, add compute to NVIDIA_DRIVER_CAPABILITIES",
	UnsupportedPTXVersion: "install a newer NVIDIA driver",
	JITDisabled:           "unset CUDA_DISABLE_PTX_JIT",
	IllegalAddress:        "a kernel went outside its memory; the process must be started again",
	MisalignedAddress:     "a kernel's address was not aligned; the process must be started again",
	LaunchTimeout:         "a kernel ran longer than the display's watchdog lets it; the process must be started again",
	LaunchFailed:          "a kernel failed; the process must be started again",
	ContextDestroyed:      "the process must be started again",
	SystemNotReady:        "the NVIDIA fabric manager (nvidia-fabricmanager) must run on this host, or the driver is still starting",
	DriverMismatch:        "the kernel module and libcuda are of different driver versions: start the host again, or make the container's driver files match",
	CompatNotSupported:    "the CUDA compatibility package does not support this GPU: take its folder out of LD_LIBRARY_PATH",
	MPSConnectionFailed:   "the MPS daemon does not answer: start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY",
	Unknown:               "the driver does not say more: see dmesg (Xid); where it is at the start, the module nvidia-uvm may be missing (nvidia-modprobe -u)",
}
