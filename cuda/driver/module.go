//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"remote-client-server/cuda"
)

// Options of the compiler: CU_JIT_...
const (
	jitInfoLog       = 3
	jitInfoLogBytes  = 4
	jitErrorLog      = 5
	jitErrorLogBytes = 6
	jitLogVerbose    = 12 // registers and spills of each kernel

	jitInputPTX = 1 // CU_JIT_INPUT_PTX
	logBytes    = 16 << 10
)

// jit is what the compiler is asked for: two logs. Its buffers are pinned until release.
type jit struct {
	pin     runtime.Pinner
	options [5]int32
	values  [5]uintptr // integers stand in the place of the pointer
	info    [logBytes]byte
	errors  [logBytes]byte
}

func newJIT() *jit {
	j := &jit{options: [5]int32{jitInfoLog, jitInfoLogBytes, jitErrorLog, jitErrorLogBytes, jitLogVerbose}}
	j.pin.Pin(j)
	j.values = [5]uintptr{uintptr(unsafe.Pointer(&j.info)), logBytes, uintptr(unsafe.Pointer(&j.errors)), logBytes, 1}
	return j
}

func (j *jit) log() string { return strings.TrimSpace(cString(j.info[:])) }

func (j *jit) complaint() string {
	s := strings.TrimSpace(cString(j.errors[:]))
	if len(s) > 2000 {
		s = s[:2000] + " ..."
	}
	return s
}

// terminated is PTX with the zero byte that ends it.
func terminated(ptx []byte) []byte {
	if len(ptx) > 0 && ptx[len(ptx)-1] == 0 {
		return ptx
	}
	return append(bytes.Clone(ptx), 0)
}

// refused is the error of a module that did not load.
func (c *context) refused(call string, code int32, image []byte, complaint string) error {
	text := complaint
	if cuda.Code(code) == cuda.UnsupportedPTXVersion {
		text = strings.TrimSpace(cuda.TooNewPTX(image, c.properties.DriverVersion) + " " + complaint)
	} else if cuda.Code(code) == cuda.NoBinaryForGPU || cuda.Code(code) == cuda.InvalidPTX {
		text = strings.TrimSpace(fmt.Sprintf("this GPU is sm_%d. %s", c.properties.Capability(), complaint))
	}
	return c.failed(call, code, text)
}

func (c *context) Load(image []byte) (cuda.Module, string, error) {
	if err := c.Err(); err != nil {
		return 0, "", err
	}
	if len(image) == 0 {
		return 0, "", c.fault("cuModuleLoadDataEx", int32(cuda.InvalidValue), "an empty image")
	}
	var module uintptr
	var log string
	if !cuda.IsPTX(image) {
		r := c.cuModuleLoadDataEx(&module, unsafe.Pointer(unsafe.SliceData(image)), 0, nil, nil)
		runtime.KeepAlive(image)
		if r != 0 {
			return 0, "", c.refused("cuModuleLoadDataEx", r, image, "")
		}
	} else {
		image = terminated(image)
		j := newJIT()
		defer j.pin.Unpin()
		r := c.cuModuleLoadDataEx(&module, unsafe.Pointer(unsafe.SliceData(image)), uint32(len(j.options)), &j.options[0], &j.values[0])
		runtime.KeepAlive(image)
		log = j.log()
		if r != 0 {
			return 0, log, c.refused("cuModuleLoadDataEx", r, image, j.complaint())
		}
	}
	c.ledger.Modules.Add(1)
	return cuda.Module(module), log, nil
}

func (c *context) Compile(ptx []byte) (cubin []byte, log string, err error) {
	if err := c.Err(); err != nil {
		return nil, "", err
	}
	if len(ptx) == 0 || !cuda.IsPTX(ptx) {
		return nil, "", c.fault("cuLinkAddData_v2", int32(cuda.InvalidValue), "not PTX text")
	}
	ptx = terminated(ptx)
	j := newJIT()
	defer j.pin.Unpin() // after cuLinkDestroy: the link writes to the logs until then
	var state uintptr
	if r := c.cuLinkCreate(uint32(len(j.options)), &j.options[0], &j.values[0], &state); r != 0 {
		return nil, "", c.refused("cuLinkCreate_v2", r, ptx, "")
	}
	defer c.cuLinkDestroy(state)
	r := c.cuLinkAddData(state, jitInputPTX, unsafe.Pointer(unsafe.SliceData(ptx)), uint64(len(ptx)), "ptx", 0, nil, nil)
	runtime.KeepAlive(ptx)
	if r != 0 {
		return nil, j.log(), c.refused("cuLinkAddData_v2", r, ptx, j.complaint())
	}
	var p unsafe.Pointer // of the link
	var size uint64
	if r := c.cuLinkComplete(state, &p, &size); r != 0 {
		return nil, j.log(), c.refused("cuLinkComplete", r, ptx, j.complaint())
	}
	if p == nil || size == 0 || size > 1<<30 {
		return nil, j.log(), c.fault("cuLinkComplete", int32(cuda.InvalidValue), fmt.Sprintf("a cubin of %d bytes", size))
	}
	return bytes.Clone(unsafe.Slice((*byte)(p), int(size))), j.log(), nil
}

func (c *context) Unload(m cuda.Module) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.check("cuModuleUnload", c.cuModuleUnload(uintptr(m))); err != nil {
		return err
	}
	for f, v := range c.functions {
		if v.module == m {
			delete(c.functions, f)
		}
	}
	c.ledger.Modules.Add(-1)
	return nil
}

func (c *context) Function(m cuda.Module, name string) (cuda.Function, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var f uintptr
	if r := c.cuModuleGetFunction(&f, uintptr(m), name); r != 0 {
		return 0, c.failed("cuModuleGetFunction", r, "kernel "+name)
	}
	c.functions[cuda.Function(f)] = function{name, m}
	return cuda.Function(f), nil
}

func (c *context) Global(m cuda.Module, name string) (cuda.Ptr, int64, error) {
	if err := c.Err(); err != nil {
		return 0, 0, err
	}
	var p, size uint64
	if r := c.cuModuleGetGlobal(&p, &size, uintptr(m), name); r != 0 {
		return 0, 0, c.failed("cuModuleGetGlobal_v2", r, "variable "+name)
	}
	return cuda.Ptr(p), int64(size), nil
}

func (c *context) FunctionAttribute(f cuda.Function, a cuda.FunctionAttribute) (int, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var v int32
	if r := c.cuFuncGetAttribute(&v, int32(a), uintptr(f)); r != 0 {
		return 0, c.failed("cuFuncGetAttribute", r, fmt.Sprintf("attribute %d of kernel %s", a, c.functions[f].name))
	}
	return int(v), nil
}

func (c *context) SetFunctionAttribute(f cuda.Function, a cuda.FunctionAttribute, value int) error {
	if err := c.Err(); err != nil {
		return err
	}
	if r := c.cuFuncSetAttribute(uintptr(f), int32(a), int32(value)); r != 0 {
		return c.failed("cuFuncSetAttribute", r, fmt.Sprintf("attribute %d of kernel %s to %d", a, c.functions[f].name, value))
	}
	return nil
}

func (c *context) Occupancy(f cuda.Function, threads, shared int) (int, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var n int32
	r := c.cuOccupancyMaxActiveBlocks(&n, uintptr(f), int32(threads), uint64(shared))
	return int(n), c.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", r)
}

func (c *context) EncodeTensorMap(s *cuda.TensorMapSpec) (cuda.TensorMap, error) {
	if err := c.Err(); err != nil {
		return cuda.TensorMap{}, err
	}
	if c.cuTensorMapEncodeTiled == nil {
		return cuda.TensorMap{}, cuda.NewError("cuTensorMapEncodeTiled", cuda.DriverTooOld, "", "tensor maps need driver >= R525")
	}
	if s.Rank < 1 || s.Rank > len(s.Dims) {
		return cuda.TensorMap{}, c.fault("cuTensorMapEncodeTiled", int32(cuda.InvalidValue), fmt.Sprintf("rank %d", s.Rank))
	}
	// The map must be aligned to 64 bytes, by newer headers to 128, which Go promises of nothing.
	room := new([3]cuda.TensorMap)
	at := (*cuda.TensorMap)(unsafe.Add(unsafe.Pointer(room), -uintptr(unsafe.Pointer(room))&127))
	steps := s.ElementStrides
	for i := range steps {
		steps[i] = max(steps[i], 1)
	}
	r := c.cuTensorMapEncodeTiled(at, uint32(s.Type), uint32(s.Rank), uint64(s.Address), &s.Dims[0], &s.Strides[0], &s.Box[0], &steps[0], 0, uint32(s.Swizzle), s.L2Promotion, 0)
	if r != 0 {
		return cuda.TensorMap{}, c.failed("cuTensorMapEncodeTiled", r, fmt.Sprintf("%+v", *s))
	}
	return *at, nil
}
