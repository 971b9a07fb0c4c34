//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ebitengine/purego"

	"remote-client-server/cuda"
)

// oldestDriver is the CUDA version of R450, the first to read PTX 7.0.
const oldestDriver = 11000

// context is a device's primary context.
type context struct {
	api
	device     int32
	handle     uintptr
	properties cuda.Properties
	ledger     cuda.Ledger
	lost       atomic.Pointer[cuda.Error]

	open sync.Mutex // held by MemInfo while it uses handle, and by Close
	gone bool

	host      []hostRange // page-locked memory, by address
	sizes     map[cuda.Ptr]int64
	functions map[cuda.Function]function

	// What a call hands to C is in memory of this struct, pinned as long as the context lives. Nothing of a stack may
	// be, because stacks move.
	pin    runtime.Pinner
	args   [12]uintptr
	packet packet
}

type function struct {
	name   string
	module cuda.Module
}

// Open opens the GPU with that ordinal of those that the driver shows, and starts the goroutine that owns it.
func Open(ordinal int, o Options) (*cuda.Device, error) {
	return cuda.Start(func() (cuda.Context, error) { return OpenHere(ordinal, o) })
}

// OpenHere opens a GPU on the calling goroutine, which is locked to its thread and stays so until the context is closed.
func OpenHere(ordinal int, o Options) (cuda.Context, error) {
	c, err := open(ordinal, o)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Count is how many GPUs the driver shows: those that CUDA_VISIBLE_DEVICES leaves.
func Count(o Options) (int, error) {
	a, err := start(o)
	if err != nil {
		return 0, err
	}
	return a.count()
}

// start loads and initialises the driver.
func start(o Options) (*api, error) {
	a, err := loadAPI(o.Libraries)
	if err != nil {
		return nil, err
	}
	if o.CacheFolder != "" && os.Getenv("CUDA_CACHE_PATH") == "" {
		// The driver reads both when it is initialised, with getenv, which sees what os.Setenv did.
		os.Setenv("CUDA_CACHE_PATH", o.CacheFolder)
		if os.Getenv("CUDA_CACHE_MAXSIZE") == "" {
			os.Setenv("CUDA_CACHE_MAXSIZE", "268435456")
		}
	}
	if r := a.cuInit(0); r != 0 {
		text := ""
		if v, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set && cuda.Code(r) == cuda.NoDevice {
			text = fmt.Sprintf("CUDA_VISIBLE_DEVICES is %q and hides every GPU: unset it, or name one that nvidia-smi -L lists", v)
		}
		return nil, a.fault("cuInit", r, text)
	}
	return a, nil
}

func (a *api) count() (int, error) {
	var n int32
	if r := a.cuDeviceGetCount(&n); r != 0 {
		return 0, a.fault("cuDeviceGetCount", r, "")
	}
	return int(n), nil
}

func open(ordinal int, o Options) (*context, error) {
	a, err := start(o)
	if err != nil {
		return nil, err
	}
	c := &context{api: *a, sizes: map[cuda.Ptr]int64{}, functions: map[cuda.Function]function{}}
	var version int32
	if r := c.cuDriverGetVersion(&version); r != 0 {
		return nil, c.fault("cuDriverGetVersion", r, "")
	}
	if version < oldestDriver {
		return nil, cuda.NewError("cuDriverGetVersion", cuda.DriverTooOld, "", fmt.Sprintf("the driver supports CUDA %s; driver >= R450 (CUDA 11.0) is needed", cuda.CUDAVersion(int(version))))
	}
	n, err := c.count()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, c.fault("cuDeviceGetCount", int32(cuda.NoDevice), visible())
	}
	if ordinal < 0 || ordinal >= n {
		return nil, c.fault("cuDeviceGet", int32(cuda.InvalidDevice), fmt.Sprintf("cuda:%d is asked for, and there are cuda:0 to cuda:%d%s", ordinal, n-1, visible()))
	}
	if r := c.cuDeviceGet(&c.device, int32(ordinal)); r != 0 {
		return nil, c.fault("cuDeviceGet", r, "")
	}
	if err := c.describe(ordinal, int(version)); err != nil {
		return nil, err
	}
	if r := c.cuDevicePrimaryCtxRetain(&c.handle, c.device); r != 0 {
		return nil, c.fault("cuDevicePrimaryCtxRetain", r, "")
	}
	if r := c.cuCtxSetCurrent(c.handle); r != 0 {
		c.cuDevicePrimaryCtxRelease(c.device)
		return nil, c.fault("cuCtxSetCurrent", r, "")
	}
	c.pin.Pin(c)
	c.packet.lay()
	if o.Log != nil {
		p := &c.properties
		o.Log.Info("GPU opened", "device", ordinal, "name", p.Name, "capability", fmt.Sprintf("%d.%d", p.Major, p.Minor),
			"cuda", cuda.CUDAVersion(p.DriverVersion), "memory_bytes", p.TotalBytes)
	}
	return c, nil
}

// visible reminds of a variable that hides GPUs.
func visible() string {
	if v, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set {
		return fmt.Sprintf(" (CUDA_VISIBLE_DEVICES is %q)", v)
	}
	return ""
}

// describe fills in the properties.
func (c *context) describe(ordinal, version int) error {
	p := &c.properties
	p.Ordinal, p.DriverVersion = ordinal, version
	name := make([]byte, 256)
	if r := c.cuDeviceGetName(&name[0], int32(len(name)), c.device); r != 0 {
		return c.fault("cuDeviceGetName", r, "")
	}
	p.Name = cString(name)
	uuid, call := c.cuDeviceGetUuidMIG, "cuDeviceGetUuid_v2"
	if uuid == nil {
		uuid, call = c.cuDeviceGetUuid, "cuDeviceGetUuid"
	}
	if r := uuid(&p.UUID, c.device); r != 0 {
		return c.fault(call, r, "")
	}
	var total uint64
	if r := c.cuDeviceTotalMem(&total, c.device); r != 0 {
		return c.fault("cuDeviceTotalMem_v2", r, "")
	}
	p.TotalBytes = int64(total)
	var integrated int
	for _, a := range []struct {
		number int32 // CU_DEVICE_ATTRIBUTE_...
		to     *int
	}{
		{1, &p.ThreadsPerBlock}, {8, &p.SharedPerBlock}, {10, &p.WarpSize}, {13, &p.ClockKHz}, {16, &p.Multiprocessors},
		{18, &integrated}, {36, &p.MemoryClockKHz}, {37, &p.MemoryBusBits}, {38, &p.L2Bytes}, {39, &p.ThreadsPerMP},
		{75, &p.Major}, {76, &p.Minor}, {81, &p.SharedPerMP}, {82, &p.RegistersPerMP}, {97, &p.SharedPerBlockOptin},
	} {
		var v int32
		if r := c.cuDeviceGetAttribute(&v, a.number, c.device); r != 0 {
			return c.fault("cuDeviceGetAttribute", r, fmt.Sprintf("attribute %d", a.number))
		}
		*a.to = int(v)
	}
	p.Integrated = integrated != 0
	p.ProgrammaticLaunch = p.Major >= 9 && c.cuLaunchKernelEx != 0
	p.Clusters = p.ProgrammaticLaunch
	p.TensorMaps = p.Major >= 9 && c.cuTensorMapEncodeTiled != nil
	p.GraphCapture = c.cuGraphInstantiateWithFlags != nil
	p.CompilesPTX = true
	return nil
}

// cString is what stands before the first zero byte.
func cString(b []byte) string {
	for i, v := range b {
		if v == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func (c *context) Properties() *cuda.Properties { return &c.properties }

func (c *context) Ledger() *cuda.Ledger { return &c.ledger }

func (c *context) Err() error {
	if e := c.lost.Load(); e != nil {
		return e
	}
	return nil
}

func (c *context) Lose(err *cuda.Error) { c.lost.CompareAndSwap(nil, err) }

// check turns a call's result into an error, and remembers one that lost the context.
func (c *context) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	return c.failed(call, code, "")
}

func (c *context) failed(call string, code int32, text string) error {
	e := c.fault(call, code, text)
	if e.Sticky() {
		c.Lose(e)
		return c.lost.Load()
	}
	return e
}

// call calls a function with the first n of c.args. It allocates nothing.
func (c *context) call(fn uintptr, n int) int32 {
	r, _, _ := purego.SyscallN(fn, c.args[:n]...)
	return int32(r)
}

func (c *context) Synchronize() error {
	if err := c.Err(); err != nil {
		return err
	}
	return c.check("cuCtxSynchronize", c.cuCtxSynchronize())
}

func (c *context) MemInfo() (free, total int64, err error) {
	c.open.Lock()
	defer c.open.Unlock()
	if c.gone {
		return 0, 0, cuda.ErrClosed
	}
	if err := c.Err(); err != nil {
		return 0, 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before uintptr
	if err := c.check("cuCtxGetCurrent", c.cuCtxGetCurrent(&before)); err != nil {
		return 0, 0, err
	}
	if before != c.handle { // the thread goes back as it came, to whichever goroutine is next
		if err := c.check("cuCtxSetCurrent", c.cuCtxSetCurrent(c.handle)); err != nil {
			return 0, 0, err
		}
		defer c.cuCtxSetCurrent(before)
	}
	var f, t uint64
	err = c.check("cuMemGetInfo_v2", c.cuMemGetInfo(&f, &t))
	return int64(f), int64(t), err
}

// Close releases the primary context, and with it whatever was not given back. A lost one is left to the end of the
// process: each call on it would fail, or wait for a kernel that never ends.
func (c *context) Close() error {
	c.open.Lock()
	defer c.open.Unlock()
	if c.gone {
		return cuda.ErrClosed
	}
	c.gone = true
	defer c.pin.Unpin()
	if err := c.Err(); err != nil {
		return err
	}
	leak := c.ledger.Check()
	err := c.check("cuCtxSetCurrent", c.cuCtxSetCurrent(0))
	if e := c.check("cuDevicePrimaryCtxRelease_v2", c.cuDevicePrimaryCtxRelease(c.device)); err == nil {
		err = e
	}
	if err == nil {
		err = leak
	}
	return err
}
