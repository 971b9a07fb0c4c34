//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"strings"
	"unsafe"

	"remote-client-server/cuda"
)

// api is the driver, in CUDA's spelling. Functions of set-up are Go functions, which cost about a microsecond a call and
// allocate; those on the way of every kernel are addresses for call, which does not.
type api struct {
	cuInit             func(flags uint32) int32
	cuDriverGetVersion func(version *int32) int32
	cuGetErrorName     func(code int32, name *unsafe.Pointer) int32
	cuGetErrorString   func(code int32, text *unsafe.Pointer) int32

	cuDeviceGetCount            func(count *int32) int32
	cuDeviceGet                 func(device *int32, ordinal int32) int32
	cuDeviceGetName             func(name *byte, size int32, device int32) int32
	cuDeviceGetAttribute        func(value *int32, attribute int32, device int32) int32
	cuDeviceTotalMem            func(bytes *uint64, device int32) int32
	cuDeviceGetUuid             func(uuid *[16]byte, device int32) int32 // of the physical GPU
	cuDeviceGetUuidMIG          func(uuid *[16]byte, device int32) int32 // of the slice of it
	cuDevicePrimaryCtxRetain    func(context *uintptr, device int32) int32
	cuDevicePrimaryCtxRelease   func(device int32) int32
	cuCtxSetCurrent             func(context uintptr) int32
	cuCtxGetCurrent             func(context *uintptr) int32
	cuCtxSynchronize            func() int32
	cuMemGetInfo                func(free, total *uint64) int32
	cuMemAlloc                  func(p *uint64, bytes uint64) int32
	cuMemFree                   func(p uint64) int32
	cuMemHostAlloc              func(p *unsafe.Pointer, bytes uint64, flags uint32) int32
	cuMemFreeHost               func(p unsafe.Pointer) int32
	cuMemcpyHtoD                func(dst uint64, src unsafe.Pointer, bytes uint64) int32
	cuMemcpyDtoH                func(dst unsafe.Pointer, src uint64, bytes uint64) int32
	cuMemcpyDtoD                func(dst, src uint64, bytes uint64) int32
	cuModuleLoadDataEx          func(module *uintptr, image unsafe.Pointer, n uint32, options *int32, values *uintptr) int32
	cuModuleUnload              func(module uintptr) int32
	cuModuleGetFunction         func(function *uintptr, module uintptr, name string) int32
	cuModuleGetGlobal           func(p, bytes *uint64, module uintptr, name string) int32
	cuFuncGetAttribute          func(value *int32, attribute int32, function uintptr) int32
	cuFuncSetAttribute          func(function uintptr, attribute, value int32) int32
	cuOccupancyMaxActiveBlocks  func(blocks *int32, function uintptr, threads int32, shared uint64) int32
	cuLinkCreate                func(n uint32, options *int32, values *uintptr, state *uintptr) int32
	cuLinkAddData               func(state uintptr, kind int32, data unsafe.Pointer, size uint64, name string, n uint32, options *int32, values *uintptr) int32
	cuLinkComplete              func(state uintptr, cubin *unsafe.Pointer, size *uint64) int32
	cuLinkDestroy               func(state uintptr) int32
	cuStreamCreate              func(stream *uintptr, flags uint32) int32
	cuStreamDestroy             func(stream uintptr) int32
	cuStreamSynchronize         func(stream uintptr) int32
	cuStreamBeginCapture        func(stream uintptr, mode int32) int32
	cuStreamEndCapture          func(stream uintptr, graph *uintptr) int32
	cuGraphInstantiateWithFlags func(exec *uintptr, graph uintptr, flags uint64) int32
	cuGraphDestroy              func(graph uintptr) int32
	cuGraphExecDestroy          func(exec uintptr) int32
	cuEventCreate               func(event *uintptr, flags uint32) int32
	cuEventDestroy              func(event uintptr) int32
	cuEventSynchronize          func(event uintptr) int32
	cuEventElapsedTime          func(ms *float32, from, to uintptr) int32
	cuTensorMapEncodeTiled      func(m *cuda.TensorMap, kind, rank uint32, addr uint64, dims, strides *uint64, box, elementStrides *uint32, interleave, swizzle, promotion, fill uint32) int32

	cuLaunchKernel, cuLaunchKernelEx                        uintptr
	cuMemcpyHtoDAsync, cuMemcpyDtoHAsync, cuMemcpyDtoDAsync uintptr
	cuMemsetD8Async, cuMemsetD32Async                       uintptr
	cuStreamQuery, cuStreamWaitEvent                        uintptr
	cuEventRecord, cuEventQuery, cuGraphLaunch              uintptr
}

// table lists every function with the release that brought the arguments bound here (cudaTypedefs.h) and its exported
// name (the macros of cuda.h).
func (a *api) table() []symbol {
	return []symbol{
		{"cuInit", 2000, "cuInit", &a.cuInit, false},
		{"cuDriverGetVersion", 2020, "cuDriverGetVersion", &a.cuDriverGetVersion, false},
		{"cuGetErrorName", 6000, "cuGetErrorName", &a.cuGetErrorName, false},
		{"cuGetErrorString", 6000, "cuGetErrorString", &a.cuGetErrorString, false},
		{"cuDeviceGetCount", 2000, "cuDeviceGetCount", &a.cuDeviceGetCount, false},
		{"cuDeviceGet", 2000, "cuDeviceGet", &a.cuDeviceGet, false},
		{"cuDeviceGetName", 2000, "cuDeviceGetName", &a.cuDeviceGetName, false},
		{"cuDeviceGetAttribute", 2000, "cuDeviceGetAttribute", &a.cuDeviceGetAttribute, false},
		{"cuDeviceTotalMem", 3020, "cuDeviceTotalMem_v2", &a.cuDeviceTotalMem, false},
		{"cuDeviceGetUuid", 9020, "cuDeviceGetUuid", &a.cuDeviceGetUuid, false},
		{"cuDeviceGetUuid", 11040, "cuDeviceGetUuid_v2", &a.cuDeviceGetUuidMIG, true},
		{"cuDevicePrimaryCtxRetain", 7000, "cuDevicePrimaryCtxRetain", &a.cuDevicePrimaryCtxRetain, false},
		{"cuDevicePrimaryCtxRelease", 11000, "cuDevicePrimaryCtxRelease_v2", &a.cuDevicePrimaryCtxRelease, false},
		{"cuCtxSetCurrent", 4000, "cuCtxSetCurrent", &a.cuCtxSetCurrent, false},
		{"cuCtxGetCurrent", 4000, "cuCtxGetCurrent", &a.cuCtxGetCurrent, false},
		{"cuCtxSynchronize", 2000, "cuCtxSynchronize", &a.cuCtxSynchronize, false},
		{"cuMemGetInfo", 3020, "cuMemGetInfo_v2", &a.cuMemGetInfo, false},
		{"cuMemAlloc", 3020, "cuMemAlloc_v2", &a.cuMemAlloc, false},
		{"cuMemFree", 3020, "cuMemFree_v2", &a.cuMemFree, false},
		{"cuMemHostAlloc", 2020, "cuMemHostAlloc", &a.cuMemHostAlloc, false},
		{"cuMemFreeHost", 2000, "cuMemFreeHost", &a.cuMemFreeHost, false},
		{"cuMemcpyHtoD", 3020, "cuMemcpyHtoD_v2", &a.cuMemcpyHtoD, false},
		{"cuMemcpyDtoH", 3020, "cuMemcpyDtoH_v2", &a.cuMemcpyDtoH, false},
		{"cuMemcpyDtoD", 3020, "cuMemcpyDtoD_v2", &a.cuMemcpyDtoD, false},
		{"cuModuleLoadDataEx", 2010, "cuModuleLoadDataEx", &a.cuModuleLoadDataEx, false},
		{"cuModuleUnload", 2000, "cuModuleUnload", &a.cuModuleUnload, false},
		{"cuModuleGetFunction", 2000, "cuModuleGetFunction", &a.cuModuleGetFunction, false},
		{"cuModuleGetGlobal", 3020, "cuModuleGetGlobal_v2", &a.cuModuleGetGlobal, false},
		{"cuFuncGetAttribute", 2020, "cuFuncGetAttribute", &a.cuFuncGetAttribute, false},
		{"cuFuncSetAttribute", 9000, "cuFuncSetAttribute", &a.cuFuncSetAttribute, false},
		{"cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050, "cuOccupancyMaxActiveBlocksPerMultiprocessor", &a.cuOccupancyMaxActiveBlocks, false},
		{"cuLinkCreate", 6050, "cuLinkCreate_v2", &a.cuLinkCreate, false},
		{"cuLinkAddData", 6050, "cuLinkAddData_v2", &a.cuLinkAddData, false},
		{"cuLinkComplete", 5050, "cuLinkComplete", &a.cuLinkComplete, false},
		{"cuLinkDestroy", 5050, "cuLinkDestroy", &a.cuLinkDestroy, false},
		{"cuStreamCreate", 2000, "cuStreamCreate", &a.cuStreamCreate, false},
		{"cuStreamDestroy", 4000, "cuStreamDestroy_v2", &a.cuStreamDestroy, false},
		{"cuStreamSynchronize", 2000, "cuStreamSynchronize", &a.cuStreamSynchronize, false},
		{"cuStreamBeginCapture", 10010, "cuStreamBeginCapture_v2", &a.cuStreamBeginCapture, false},
		{"cuStreamEndCapture", 10000, "cuStreamEndCapture", &a.cuStreamEndCapture, false},
		{"cuGraphInstantiateWithFlags", 11040, "cuGraphInstantiateWithFlags", &a.cuGraphInstantiateWithFlags, true},
		{"cuGraphDestroy", 10000, "cuGraphDestroy", &a.cuGraphDestroy, false},
		{"cuGraphExecDestroy", 10000, "cuGraphExecDestroy", &a.cuGraphExecDestroy, false},
		{"cuEventCreate", 2000, "cuEventCreate", &a.cuEventCreate, false},
		{"cuEventDestroy", 4000, "cuEventDestroy_v2", &a.cuEventDestroy, false},
		{"cuEventSynchronize", 2000, "cuEventSynchronize", &a.cuEventSynchronize, false},
		{"cuEventElapsedTime", 2000, "cuEventElapsedTime", &a.cuEventElapsedTime, false},
		{"cuTensorMapEncodeTiled", 12000, "cuTensorMapEncodeTiled", &a.cuTensorMapEncodeTiled, true},

		{"cuLaunchKernel", 4000, "cuLaunchKernel", &a.cuLaunchKernel, false},
		{"cuLaunchKernelEx", 11060, "cuLaunchKernelEx", &a.cuLaunchKernelEx, true},
		{"cuMemcpyHtoDAsync", 3020, "cuMemcpyHtoDAsync_v2", &a.cuMemcpyHtoDAsync, false},
		{"cuMemcpyDtoHAsync", 3020, "cuMemcpyDtoHAsync_v2", &a.cuMemcpyDtoHAsync, false},
		{"cuMemcpyDtoDAsync", 3020, "cuMemcpyDtoDAsync_v2", &a.cuMemcpyDtoDAsync, false},
		{"cuMemsetD8Async", 3020, "cuMemsetD8Async", &a.cuMemsetD8Async, false},
		{"cuMemsetD32Async", 3020, "cuMemsetD32Async", &a.cuMemsetD32Async, false},
		{"cuStreamQuery", 2000, "cuStreamQuery", &a.cuStreamQuery, false},
		{"cuStreamWaitEvent", 3020, "cuStreamWaitEvent", &a.cuStreamWaitEvent, false},
		{"cuEventRecord", 2000, "cuEventRecord", &a.cuEventRecord, false},
		{"cuEventQuery", 2000, "cuEventQuery", &a.cuEventQuery, false},
		{"cuGraphLaunch", 10000, "cuGraphLaunch", &a.cuGraphLaunch, false},
	}
}

// loadAPI opens the driver's library and binds it.
func loadAPI(libraries []string) (*api, error) {
	if libraries == nil {
		libraries = cudaLibraries
	}
	handle, name, err := openLibrary(libraries)
	if err != nil {
		return nil, cuda.NewError("dlopen", cuda.NoDriver, "", err.Error())
	}
	a := &api{}
	if missing := newResolver(handle).bind(a.table()); missing != nil {
		return nil, cuda.NewError("dlsym", cuda.DriverTooOld, "", name+" has no "+strings.Join(missing, ", ")+"; driver >= R450 is needed")
	}
	return a, nil
}

// fault is the error of a code, with the driver's words for it.
func (a *api) fault(call string, code int32, text string) *cuda.Error {
	var name, words unsafe.Pointer
	if a.cuGetErrorName(code, &name) != 0 {
		name = nil
	}
	if a.cuGetErrorString(code, &words) != 0 {
		words = nil
	}
	if w := goString(words, 256); text == "" {
		text = w
	} else if w != "" {
		text = w + ": " + text
	}
	return cuda.NewError(call, cuda.Code(code), goString(name, 128), text)
}

// goString copies a C string, at most limit bytes of it.
func goString(p unsafe.Pointer, limit int) string {
	if p == nil {
		return ""
	}
	var b []byte
	for i := range limit {
		c := *(*byte)(unsafe.Add(p, i))
		if c == 0 {
			break
		}
		b = append(b, c)
	}
	return string(b)
}
