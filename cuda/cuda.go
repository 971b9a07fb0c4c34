// Package cuda is a GPU without cgo: one interface, Context, over what the CUDA driver does, and what is the same for
// whoever implements it: the thread that owns a device, arenas, kernel arguments, the cache of compiled kernels, errors
// that say what to do. cuda/driver implements Context with libcuda, cuda/emu by executing the PTX.
//
// # Threads
//
// A CUDA context is current to an OS thread, and goroutines move between threads. So one goroutine, locked to its
// thread, owns a device for as long as it is open, and every call of a Context is made on it, in a function that
// Device.Do runs there. Hopping over costs tens of microseconds, a launch a few: one Do holds a whole forward pass.
// Only what says so may be called from anywhere.
//
// # Memory
//
// Device memory is an address, Ptr, that the host cannot follow. Whoever allocates frees; the Ledger counts what is
// out, and Close reports what was not given back. Asynchronous copies take page-locked host memory of AllocHost only:
// anything else would be staged by the driver, and Go memory might be gone before the copy is done.
//
// # Errors
//
// A refused call returns *Error. A kernel that faults shows at a later call as a sticky error, after which the context
// is lost: every later call returns that first error at once, and only a new process helps.
package cuda

import "time"

// Ptr is an address in device memory; 0 is none.
type Ptr uint64

// Handles of a Context; 0 is none, except that the zero Stream is the device's default stream.
type (
	Module    uintptr // loaded code
	Function  uintptr // a kernel of a Module, which it does not outlive
	Stream    uintptr // work done in order
	Event     uintptr // a point in a Stream
	Graph     uintptr // recorded work
	GraphExec uintptr // recorded work that can be launched
)

// Context is one device with its primary context.
type Context interface {
	Properties() *Properties
	// Ledger counts what is allocated and not freed. It may be read from any goroutine.
	Ledger() *Ledger
	// MemInfo is the device's memory in bytes, whoever uses it. It may be called from any goroutine.
	MemInfo() (free, total int64, err error)
	// Synchronize waits until all work is done, and reports the fault of any kernel.
	Synchronize() error
	// Err is the sticky error that lost the context, or nil. It may be called from any goroutine.
	Err() error
	// Lose makes err the context's sticky error unless it has one. Wait does so where a kernel hangs.
	Lose(err *Error)
	// Close releases the context. What the ledger still holds is an error, and freed by the driver.
	Close() error

	Memory
	Modules
	Streams
	Graphs
}

// Memory allocates, sets and copies. Lengths are in bytes unless said otherwise; copies within the device must not
// overlap. A copy without a stream has read its source and written its destination when it returns.
type Memory interface {
	Alloc(bytes int64) (Ptr, error) // aligned to 256 bytes, contents undefined
	Free(p Ptr) error
	AllocHost(bytes int) ([]byte, error) // page-locked; the garbage collector does not know it
	FreeHost(p []byte) error             // p as AllocHost returned it

	Upload(dst Ptr, src []byte) error
	Download(dst []byte, src Ptr) error
	Copy(dst, src Ptr, bytes int64) error

	UploadAsync(dst Ptr, src []byte, s Stream) error   // src within memory of AllocHost, unchanged until s is past
	DownloadAsync(dst []byte, src Ptr, s Stream) error // dst within memory of AllocHost
	CopyAsync(dst, src Ptr, bytes int64, s Stream) error
	Memset(dst Ptr, value byte, bytes int64, s Stream) error
	Memset32(dst Ptr, value uint32, words int64, s Stream) error // dst aligned to 4
}

// Modules loads code and launches it.
type Modules interface {
	// Load takes PTX text or a cubin and returns the compiler's messages, which are there for PTX only.
	Load(image []byte) (m Module, log string, err error)
	// Compile makes a cubin for this device of PTX text. An implementation without a compiler returns an error that is
	// ErrNotSupported.
	Compile(ptx []byte) (cubin []byte, log string, err error)
	Unload(m Module) error
	Function(m Module, name string) (Function, error)
	Global(m Module, name string) (p Ptr, bytes int64, err error)
	FunctionAttribute(f Function, a FunctionAttribute) (int, error)
	SetFunctionAttribute(f Function, a FunctionAttribute, value int) error
	// Occupancy is how many blocks of that many threads and bytes of dynamic shared memory fit a multiprocessor.
	Occupancy(f Function, threads, shared int) (int, error)
	EncodeTensorMap(s *TensorMapSpec) (TensorMap, error)
	// Launch queues a kernel. It allocates nothing and keeps nothing of l.
	Launch(l *Launch) error
}

// Streams orders work and measures it.
type Streams interface {
	NewStream() (Stream, error)
	DestroyStream(s Stream) error
	SynchronizeStream(s Stream) error
	QueryStream(s Stream) (done bool, err error)
	WaitEvent(s Stream, e Event) error // later work of s waits for e

	NewEvent(timing bool) (Event, error)
	DestroyEvent(e Event) error
	Record(e Event, s Stream) error
	QueryEvent(e Event) (done bool, err error)
	SynchronizeEvent(e Event) error
	Elapsed(from, to Event) (time.Duration, error) // both with timing, recorded and done
}

// Graphs records the work of a stream once and launches it many times. Addresses and arguments are recorded with it.
type Graphs interface {
	BeginCapture(s Stream) error // until EndCapture, work given to s is recorded and not done
	EndCapture(s Stream) (Graph, error)
	Instantiate(g Graph) (GraphExec, error) // g may be destroyed then
	LaunchGraph(x GraphExec, s Stream) error
	DestroyGraph(g Graph) error
	DestroyGraphExec(x GraphExec) error
}

// FunctionAttribute is a property of a kernel, numbered as the driver numbers them.
type FunctionAttribute int32

const (
	MaxThreadsPerBlock  FunctionAttribute = 0 // of this kernel, by the registers that it needs
	StaticSharedBytes   FunctionAttribute = 1
	LocalBytes          FunctionAttribute = 3 // per thread; more than 0 means spilled registers or arrays in memory
	Registers           FunctionAttribute = 4 // per thread
	PTXVersion          FunctionAttribute = 5 // ten times major and minor: 80 is sm_80
	BinaryVersion       FunctionAttribute = 6 // likewise
	DynamicSharedBytes  FunctionAttribute = 8 // settable: the most a launch may ask for; above 48 KiB it must be set
	SharedCarveout      FunctionAttribute = 9 // settable: percent of L1 that is shared memory
	NonPortableClusters FunctionAttribute = 14
)

// Properties describe a device.
type Properties struct {
	Ordinal       int
	Name          string
	UUID          [16]byte
	Major, Minor  int // compute capability
	DriverVersion int // CUDA version that the driver supports: 1000 major + 10 minor

	Multiprocessors      int
	WarpSize             int
	ThreadsPerBlock      int
	ThreadsPerMP         int
	RegistersPerMP       int
	SharedPerBlock       int // without asking
	SharedPerBlockOptin  int // with DynamicSharedBytes set
	SharedPerMP          int
	L2Bytes              int
	TotalBytes           int64
	ClockKHz             int
	MemoryClockKHz       int
	MemoryBusBits        int
	Integrated           bool // shares the host's memory
	ProgrammaticLaunch   bool // Launch.Dependent has an effect
	Clusters, TensorMaps bool
	GraphCapture         bool
	CompilesPTX          bool // Compile works
}

// Capability is ten times the compute capability's major number plus its minor one: 90 for 9.0.
func (p *Properties) Capability() int { return p.Major*10 + p.Minor }
