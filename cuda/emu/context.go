package emu

import (
	"errors"
	"fmt"
	"sync/atomic"

	"remote-client-server/cuda"
)

// Options are how a context is emulated. The zero value makes every check and counts no sectors.
type Options struct {
	MemoryBytes int64 // of the device; 0 means 16 GiB
	NoRaceCheck bool  // leave the race checks out, for speed
	Profile     bool  // count sectors and bank wavefronts too, at some cost
	Workers     int   // goroutines of a launch; 0 means GOMAXPROCS
	Budget      int64 // warp instructions that one warp may execute in a launch; 0 means 1<<28
	// OnLaunch is told of every kernel that ran, also of one that faulted.
	OnLaunch func(kernel string, grid [3]uint32, s *Stats)
	// Fail is asked before every call, named as the driver names it. An error other than nil is the call's; a sticky one
	// loses the context.
	Fail func(call string) error
}

// driverVersion is the CUDA version whose driver is emulated, and ptxLimit the newest PTX that it reads.
const (
	driverVersion = 12090
	ptxLimit      = 88
)

// gpu is a cuda.Context on an emulated device. Work is done when it is given: a stream is never behind.
type gpu struct {
	device     *Device
	options    Options
	properties cuda.Properties
	ledger     cuda.Ledger
	lost       atomic.Pointer[lostError]
	closed     atomic.Bool

	last      uintptr // handle given out
	host      [][]byte
	sizes     map[cuda.Ptr]int64
	modules   map[cuda.Module]*Module
	functions map[cuda.Function]*loadedKernel
	streams   map[cuda.Stream]*capture // nil where the stream is not being recorded
	events    map[cuda.Event]*event
	graphs    map[cuda.Graph][]node
	execs     map[cuda.GraphExec][]node
}

// lostError is the sticky error of a context, and the fault of the kernel where it was one.
type lostError struct {
	err   *cuda.Error
	fault *Fault
}

func (e *lostError) Error() string { return e.err.Error() }

// Unwrap lets errors.As find both.
func (e *lostError) Unwrap() []error {
	if e.fault == nil {
		return []error{e.err}
	}
	return []error{e.err, e.fault}
}

// Open makes a context on a new device of that target: sm_75, sm_80, sm_90a or another from sm_75 on. It has no compiler,
// and takes PTX text only: a cubin is refused as one for another GPU is, which makes a loader go on to its PTX. A kernel's
// *Fault is at once the launch's error, and sticky, with the code that hardware would give it, or LaunchFailed where
// hardware would notice nothing. The context also has the method
//
//	Poison(p cuda.Ptr, bytes int64) error
//
// which makes memory uninitialised again, for an arena that hands it out anew.
func Open(target string, o Options) (cuda.Context, error) {
	t, err := ParseTarget(target)
	if err != nil || t.Arch < 75 {
		return nil, cuda.NewError("cuDeviceGet", cuda.InvalidDevice, "", fmt.Sprintf("no emulated GPU %q: want sm_75, sm_80, sm_90a …", target))
	}
	if o.MemoryBytes > 0 {
		t.MemoryBytes = o.MemoryBytes
	}
	c := &gpu{
		device: NewDevice(t), options: o, properties: properties(t),
		sizes:     map[cuda.Ptr]int64{},
		modules:   map[cuda.Module]*Module{},
		functions: map[cuda.Function]*loadedKernel{},
		streams:   map[cuda.Stream]*capture{},
		events:    map[cuda.Event]*event{},
		graphs:    map[cuda.Graph][]node{},
		execs:     map[cuda.GraphExec][]node{},
	}
	return c, nil
}

// limits are what an architecture has, beside what a Target says of it, and the clocks and bus of a usual board: T4, A100,
// A10, L4 and H100.
type limits struct {
	threads, blocks, shared int // of a multiprocessor
	l2                      int
	clock, memory, bus      int // kHz, kHz, bits
}

func limitsOf(arch int) limits {
	switch {
	case arch < 80:
		return limits{1024, 16, 64 << 10, 4 << 20, 1590000, 5001000, 256}
	case arch == 80 || arch == 87:
		return limits{2048, 32, 164 << 10, 40 << 20, 1410000, 1215000, 5120}
	case arch < 89:
		return limits{1536, 16, 100 << 10, 6 << 20, 1695000, 6251000, 384}
	case arch < 90:
		return limits{1536, 24, 100 << 10, 48 << 20, 2040000, 6251000, 192}
	}
	return limits{2048, 32, 228 << 10, 50 << 20, 1980000, 2619000, 5120}
}

func properties(t Target) cuda.Properties {
	l := limitsOf(t.Arch)
	hopper := t.Arch >= 90
	p := cuda.Properties{
		Name:  fmt.Sprintf("NVIDIA emulated %v", t),
		Major: t.Arch / 10, Minor: t.Arch % 10,
		DriverVersion:       driverVersion,
		Multiprocessors:     t.SMs,
		WarpSize:            32,
		ThreadsPerBlock:     t.ThreadsPerBlock,
		ThreadsPerMP:        l.threads,
		RegistersPerMP:      t.RegistersPerSM,
		SharedPerBlock:      48 << 10,
		SharedPerBlockOptin: t.SharedBytes,
		SharedPerMP:         l.shared,
		L2Bytes:             l.l2,
		TotalBytes:          t.MemoryBytes,
		ClockKHz:            l.clock,
		MemoryClockKHz:      l.memory,
		MemoryBusBits:       l.bus,
		ProgrammaticLaunch:  hopper,
		Clusters:            hopper,
		TensorMaps:          hopper,
		GraphCapture:        true,
	}
	copy(p.UUID[:], p.Name)
	return p
}

func (c *gpu) Properties() *cuda.Properties { return &c.properties }

func (c *gpu) Ledger() *cuda.Ledger { return &c.ledger }

func (c *gpu) Err() error {
	if e := c.lost.Load(); e != nil {
		return e
	}
	return nil
}

func (c *gpu) Lose(err *cuda.Error) { c.lost.CompareAndSwap(nil, &lostError{err: err}) }

// begin opens a call: one on a context that is closed or lost, or that Options.Fail wants to fail, goes no further.
func (c *gpu) begin(call string) error {
	if c.closed.Load() {
		return cuda.ErrClosed
	}
	if e := c.lost.Load(); e != nil {
		return e
	}
	if c.options.Fail == nil {
		return nil
	}
	err := c.options.Fail(call)
	var e *cuda.Error
	if errors.As(err, &e) && e.Sticky() {
		c.Lose(e)
		return c.lost.Load()
	}
	return err
}

// handle is a number that was never given out before.
func (c *gpu) handle() uintptr {
	c.last += 16
	return c.last
}

// invalid is the error of a call with a wrong argument.
func invalid(call, format string, args ...any) error {
	return cuda.NewError(call, cuda.InvalidValue, "", fmt.Sprintf(format, args...))
}

// Codes that nobody decides by, in the driver's numbering.
const (
	invalidHandle        cuda.Code = 400
	launchOutOfResources cuda.Code = 701
	captureUnsupported   cuda.Code = 900
	captureInvalidated   cuda.Code = 901
	captureUnjoined      cuda.Code = 904
)

func badHandle(call, what string, h uintptr) error {
	return cuda.NewError(call, invalidHandle, "CUDA_ERROR_INVALID_HANDLE", fmt.Sprintf("no %s %#x", what, h))
}

func (c *gpu) MemInfo() (free, total int64, err error) {
	if err := c.begin("cuMemGetInfo_v2"); err != nil {
		return 0, 0, err
	}
	total = c.properties.TotalBytes
	return total - c.device.InUse(), total, nil
}

func (c *gpu) Synchronize() error { return c.outside("cuCtxSynchronize") }

// Close gives everything back. What the ledger still holds is an error, unless the context was lost before.
func (c *gpu) Close() error {
	if c.closed.Swap(true) {
		return cuda.ErrClosed
	}
	if err := c.Err(); err != nil {
		return err
	}
	return c.ledger.Check()
}
