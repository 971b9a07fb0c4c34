//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"remote-client-server/cuda"
)

// blasLibraries are the releases of cuBLASLt that are known, the newest first. One is taken if the driver supports its
// CUDA release.
var blasLibraries = []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"}

// oldestBlas is 11.0, as cublasLtGetVersion writes it from release 11 on: 10000 major + 100 minor + patch.
const oldestBlas = 110000

// BlasLt is cuBLASLt: NVIDIA's matrix products. It is an extra; nothing needs it. Its methods are called on the device's
// thread, as a Context's are.
type BlasLt struct {
	cublasLtGetVersion                   func() uint64
	cublasLtGetStatusName                func(status int32) string
	cublasLtCreate                       func(handle *uintptr) int32
	cublasLtDestroy                      func(handle uintptr) int32
	cublasLtMatmulDescCreate             func(desc *uintptr, compute, scale int32) int32
	cublasLtMatmulDescDestroy            func(desc uintptr) int32
	cublasLtMatmulDescSetAttribute       func(desc uintptr, attribute int32, value unsafe.Pointer, size uint64) int32
	cublasLtMatrixLayoutCreate           func(layout *uintptr, kind int32, rows, cols uint64, ld int64) int32
	cublasLtMatrixLayoutDestroy          func(layout uintptr) int32
	cublasLtMatmulPreferenceCreate       func(pref *uintptr) int32
	cublasLtMatmulPreferenceDestroy      func(pref uintptr) int32
	cublasLtMatmulPreferenceSetAttribute func(pref uintptr, attribute int32, value unsafe.Pointer, size uint64) int32
	cublasLtMatmulAlgoGetHeuristic       func(handle, desc, a, b, c, d, pref uintptr, want int32, results *heuristic, found *int32) int32
	matmul, setAttribute                 uintptr

	context        cuda.Context
	handle         uintptr
	version        int
	workspace      cuda.Ptr
	workspaceBytes int64
}

// heuristic is cublasLtMatmulHeuristicResult_t.
type heuristic struct {
	algo  [8]uint64
	_     uint64 // bytes of workspace, within those of the preference
	state int32
	_     float32 // waves
	_     [4]int32
}

const (
	computeFloat32 = 68 // CUBLAS_COMPUTE_32F

	descTransA      = 3 // CUBLASLT_MATMUL_DESC_...
	descEpilogue    = 7
	descBiasPointer = 8

	prefWorkspace  = 1 // CUBLASLT_MATMUL_PREF_..., bytes
	prefAlignmentA = 5 // and those of B, C and D

	epilogueDefault = 1 // CUBLASLT_EPILOGUE_...
	epilogueBias    = 4
	epilogueGELU    = 32 // by tanh

	blasAlignment = 16 // bytes that a matrix's address and rows are multiples of
)

// OpenBlasLt opens the newest library that the context's driver supports, with a workspace of its own on the device.
// 32 MiB is what Hopper wants. An error is cuda.ErrNotSupported where there is none.
func OpenBlasLt(c cuda.Context, libraries []string, workspace int64) (*BlasLt, error) {
	if libraries == nil {
		libraries = blasLibraries
	}
	errs := []error{errors.New("nothing newer is there that this driver supports")}
	for _, name := range libraries {
		b, err := bindBlasLt(name, c.Properties().DriverVersion)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.context, b.workspaceBytes = c, workspace
		if r := b.cublasLtCreate(&b.handle); r != 0 {
			return nil, b.fault("cublasLtCreate", r, "")
		}
		if workspace > 0 {
			if b.workspace, err = c.Alloc(workspace); err != nil {
				b.cublasLtDestroy(b.handle)
				return nil, err
			}
		}
		return b, nil
	}
	return nil, cuda.NewError("cublasLt", cuda.NoSuchLibrary, "", errors.Join(errs...).Error())
}

func bindBlasLt(name string, driver int) (*BlasLt, error) {
	handle, _, err := openLibrary([]string{name})
	if err != nil {
		return nil, err
	}
	b := &BlasLt{}
	r := &resolver{handle: handle}
	missing := r.bind([]symbol{
		{export: "cublasLtGetVersion", fn: &b.cublasLtGetVersion},
		{export: "cublasLtGetStatusName", fn: &b.cublasLtGetStatusName, optional: true},
		{export: "cublasLtCreate", fn: &b.cublasLtCreate},
		{export: "cublasLtDestroy", fn: &b.cublasLtDestroy},
		{export: "cublasLtMatmulDescCreate", fn: &b.cublasLtMatmulDescCreate},
		{export: "cublasLtMatmulDescDestroy", fn: &b.cublasLtMatmulDescDestroy},
		{export: "cublasLtMatmulDescSetAttribute", fn: &b.cublasLtMatmulDescSetAttribute},
		{export: "cublasLtMatmulDescSetAttribute", fn: &b.setAttribute},
		{export: "cublasLtMatrixLayoutCreate", fn: &b.cublasLtMatrixLayoutCreate},
		{export: "cublasLtMatrixLayoutDestroy", fn: &b.cublasLtMatrixLayoutDestroy},
		{export: "cublasLtMatmulPreferenceCreate", fn: &b.cublasLtMatmulPreferenceCreate},
		{export: "cublasLtMatmulPreferenceDestroy", fn: &b.cublasLtMatmulPreferenceDestroy},
		{export: "cublasLtMatmulPreferenceSetAttribute", fn: &b.cublasLtMatmulPreferenceSetAttribute},
		{export: "cublasLtMatmulAlgoGetHeuristic", fn: &b.cublasLtMatmulAlgoGetHeuristic},
		{export: "cublasLtMatmul", fn: &b.matmul},
	})
	if missing != nil {
		return nil, fmt.Errorf("%s has no %s", name, strings.Join(missing, ", "))
	}
	b.version = int(b.cublasLtGetVersion())
	if b.version < oldestBlas {
		return nil, fmt.Errorf("%s is version %d: 11.0 or newer is needed", name, b.version)
	}
	if major := b.version / 10000; major > driver/1000 {
		return nil, fmt.Errorf("%s is of CUDA %d, and the driver supports CUDA %s", name, major, cuda.CUDAVersion(driver))
	}
	return b, nil
}

func (b *BlasLt) fault(call string, status int32, text string) error {
	name := "status " + strconv.Itoa(int(status))
	if b.cublasLtGetStatusName != nil {
		name = b.cublasLtGetStatusName(status)
	}
	if text == "" {
		text = "cuBLASLt " + b.Version()
	}
	return cuda.NewError(call, cuda.BlasStatus+cuda.Code(status), name, text)
}

// Version is the library's, 12.8.4.
func (b *BlasLt) Version() string {
	return fmt.Sprintf("%d.%d.%d", b.version/10000, b.version%10000/100, b.version%100)
}

// Close frees the workspace and the handle. The products are closed before.
func (b *BlasLt) Close() error {
	var errs []error
	if b.workspace != 0 {
		errs = append(errs, b.context.Free(b.workspace))
		b.workspace = 0
	}
	if b.handle != 0 {
		if r := b.cublasLtDestroy(b.handle); r != 0 {
			errs = append(errs, b.fault("cublasLtDestroy", r, ""))
		}
		b.handle = 0
	}
	return errors.Join(errs...)
}

// Matmul is a product that is ready to run.
type Matmul struct {
	blas    *BlasLt
	spec    cuda.MatmulSpec
	desc    uintptr
	w, x, y uintptr // layouts
	pin     runtime.Pinner
	algo    [8]uint64
	alpha   float32
	beta    float32
	bias    uint64 // the address that desc holds
	args    [16]uintptr
}

// Plan prepares a product and has the library choose how to compute it.
//
// cuBLASLt counts columns first. A row-major matrix read so is its transpose, and y = x·wᵀ is yᵀ = w·xᵀ: the library's A
// is w, read as [Depth, Cols] and transposed back, its B is x, read as [Depth, Rows], its D is y, read as [Cols, Rows].
// The bias then belongs to D's rows, which is where the library adds it.
func (b *BlasLt) Plan(s cuda.MatmulSpec) (cuda.Product, error) {
	in, out := elementBytes(s.In), elementBytes(s.Out)
	switch {
	case in == 0 || out == 0:
		return nil, cuda.NewError("cublasLt", cuda.InvalidValue, "", fmt.Sprintf("matrices of types %d and %d", s.In, s.Out))
	case s.Rows < 1 || s.Cols < 1 || s.Depth < 1 || max(s.Rows, s.Cols, s.Depth) > 1<<30:
		return nil, cuda.NewError("cublasLt", cuda.InvalidValue, "", fmt.Sprintf("a product of %d x %d x %d", s.Rows, s.Cols, s.Depth))
	case s.Add && (s.Bias || s.GELU):
		return nil, cuda.NewError("cublasLt", cuda.InvalidValue, "", "a product that is added has no bias and no GELU")
	}
	for _, v := range []struct {
		stride      *int
		cols, bytes int
	}{{&s.StrideX, s.Depth, in}, {&s.StrideW, s.Depth, in}, {&s.StrideY, s.Cols, out}} {
		if *v.stride == 0 {
			*v.stride = v.cols
		}
		if *v.stride < v.cols || *v.stride*v.bytes%blasAlignment != 0 {
			return nil, cuda.NewError("cublasLt", cuda.NotSupported, "", fmt.Sprintf("a stride of %d elements of %d bytes for rows of %d", *v.stride, v.bytes, v.cols))
		}
	}
	m := &Matmul{blas: b, spec: s, alpha: 1}
	if s.Add {
		m.beta = 1
	}
	m.pin.Pin(m)
	if err := m.prepare(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func elementBytes(t cuda.DataType) int {
	switch t {
	case cuda.Float32:
		return 4
	case cuda.Float16, cuda.BFloat16:
		return 2
	}
	return 0
}

func (m *Matmul) prepare() error {
	b, s := m.blas, &m.spec
	if r := b.cublasLtMatmulDescCreate(&m.desc, computeFloat32, int32(cuda.Float32)); r != 0 {
		return b.fault("cublasLtMatmulDescCreate", r, "")
	}
	epilogue := int32(epilogueDefault)
	if s.Bias || s.GELU {
		epilogue = 0
	}
	if s.Bias {
		epilogue |= epilogueBias
	}
	if s.GELU {
		epilogue |= epilogueGELU
	}
	for _, a := range []struct{ attribute, value int32 }{{descTransA, 1}, {descEpilogue, epilogue}} {
		if r := b.cublasLtMatmulDescSetAttribute(m.desc, a.attribute, unsafe.Pointer(&a.value), 4); r != 0 {
			return b.fault("cublasLtMatmulDescSetAttribute", r, fmt.Sprintf("attribute %d", a.attribute))
		}
	}
	for _, l := range []struct {
		layout           *uintptr
		kind             cuda.DataType
		rows, cols, lead int
	}{{&m.w, s.In, s.Depth, s.Cols, s.StrideW}, {&m.x, s.In, s.Depth, s.Rows, s.StrideX}, {&m.y, s.Out, s.Cols, s.Rows, s.StrideY}} {
		if r := b.cublasLtMatrixLayoutCreate(l.layout, int32(l.kind), uint64(l.rows), uint64(l.cols), int64(l.lead)); r != 0 {
			return b.fault("cublasLtMatrixLayoutCreate", r, "")
		}
	}
	return m.choose()
}

// choose takes the first of the library's suggestions.
func (m *Matmul) choose() error {
	b := m.blas
	var pref uintptr
	if r := b.cublasLtMatmulPreferenceCreate(&pref); r != 0 {
		return b.fault("cublasLtMatmulPreferenceCreate", r, "")
	}
	defer b.cublasLtMatmulPreferenceDestroy(pref)
	workspace := uint64(b.workspaceBytes)
	if r := b.cublasLtMatmulPreferenceSetAttribute(pref, prefWorkspace, unsafe.Pointer(&workspace), 8); r != 0 {
		return b.fault("cublasLtMatmulPreferenceSetAttribute", r, "")
	}
	alignment := uint32(blasAlignment)
	for i := range int32(4) {
		if r := b.cublasLtMatmulPreferenceSetAttribute(pref, prefAlignmentA+i, unsafe.Pointer(&alignment), 4); r != 0 {
			return b.fault("cublasLtMatmulPreferenceSetAttribute", r, "")
		}
	}
	var h heuristic
	var found int32
	r := b.cublasLtMatmulAlgoGetHeuristic(b.handle, m.desc, m.w, m.x, m.y, m.y, pref, 1, &h, &found)
	if r == 0 && (found < 1 || h.state != 0) {
		r = 15 // CUBLAS_STATUS_NOT_SUPPORTED
	}
	if r != 0 {
		return b.fault("cublasLtMatmulAlgoGetHeuristic", r, fmt.Sprintf("no way to compute %+v", m.spec))
	}
	m.algo = h.algo
	return nil
}

// Run queues the product. bias is 0 without one. It allocates nothing.
func (m *Matmul) Run(s cuda.Stream, x, w, bias, y cuda.Ptr) error {
	b := m.blas
	if err := b.context.Err(); err != nil {
		return err
	}
	if m.spec.Bias && m.bias != uint64(bias) {
		m.bias = uint64(bias)
		m.args[0], m.args[1], m.args[2], m.args[3] = m.desc, descBiasPointer, uintptr(unsafe.Pointer(&m.bias)), 8
		if r, _, _ := purego.SyscallN(b.setAttribute, m.args[:4]...); int32(r) != 0 {
			m.bias = 0
			return b.fault("cublasLtMatmulDescSetAttribute", int32(r), "the bias")
		}
	}
	m.args = [16]uintptr{
		b.handle, m.desc, uintptr(unsafe.Pointer(&m.alpha)), uintptr(w), m.w, uintptr(x), m.x,
		uintptr(unsafe.Pointer(&m.beta)), uintptr(y), m.y, uintptr(y), m.y,
		uintptr(unsafe.Pointer(&m.algo)), uintptr(b.workspace), uintptr(b.workspaceBytes), uintptr(s),
	}
	if r, _, _ := purego.SyscallN(b.matmul, m.args[:]...); int32(r) != 0 {
		return b.fault("cublasLtMatmul", int32(r), fmt.Sprintf("%+v", m.spec))
	}
	return nil
}

// Close frees the descriptors.
func (m *Matmul) Close() error {
	b := m.blas
	var errs []error
	for _, l := range []*uintptr{&m.w, &m.x, &m.y} {
		if *l != 0 {
			if r := b.cublasLtMatrixLayoutDestroy(*l); r != 0 {
				errs = append(errs, b.fault("cublasLtMatrixLayoutDestroy", r, ""))
			}
			*l = 0
		}
	}
	if m.desc != 0 {
		if r := b.cublasLtMatmulDescDestroy(m.desc); r != 0 {
			errs = append(errs, b.fault("cublasLtMatmulDescDestroy", r, ""))
		}
		m.desc = 0
	}
	m.pin.Unpin()
	return errors.Join(errs...)
}
