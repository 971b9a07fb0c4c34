// Package kerneltest judges kernels: cases that give a kernel awkward operands and compare what it makes of them with the
// formula in float64. They run on any cuda.Context, so on the emulator of every target as well as on a GPU, and a case
// says in an error what it found, so that one can also count which planted bugs the cases notice.
package kerneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// Case is one launch, or a few, and its judgement.
type Case struct {
	Name   string
	Kernel string // of the launch table
	Run    func(m *Machine) error
}

// Cases are those of the whole launch table.
func Cases() []Case { return slices.Concat(gemmCases(), attentionCases(), rowCases(), sampleCases()) }

// Machine is a device with one build of the kernels.
type Machine struct {
	Context cuda.Context
	Target  kernels.Target
	Rand    *rand.Rand
	// Load is asked for the module that holds a kernel.
	Load func(k *kernels.Kernel) (cuda.Module, error)

	taken []cuda.Ptr
}

// Reset gives back what a case has taken.
func (m *Machine) Reset() error {
	var errs []error
	for _, p := range m.taken {
		errs = append(errs, m.Context.Free(p))
	}
	m.taken = nil
	return errors.Join(errs...)
}

// Launch runs one kernel to its end. args are the bytes of its struct.
func (m *Machine) Launch(k *kernels.Kernel, grid [3]uint32, args []byte, maps ...*cuda.TensorMap) error {
	module, err := m.Load(k)
	if err != nil {
		return err
	}
	f, err := m.Context.Function(module, k.Name)
	if err != nil {
		return err
	}
	if k.Shared > 48<<10 {
		if err := m.Context.SetFunctionAttribute(f, cuda.DynamicSharedBytes, k.Shared); err != nil {
			return err
		}
	}
	l := cuda.Launch{Function: f, Grid: grid, Block: [3]uint32{uint32(k.Threads), 1, 1}, Shared: uint32(k.Shared), Dependent: k.Dependent}
	l.Args.Struct(args, 8)
	for _, t := range maps {
		l.Args.TensorMap(t)
	}
	if err := m.Context.Launch(&l); err != nil {
		return err
	}
	return m.Context.Synchronize()
}

// Bytes places bytes in a new allocation of exactly their length, so that whoever reads past them is caught.
func (m *Machine) Bytes(b []byte) (cuda.Ptr, error) {
	p, err := m.Context.Alloc(max(int64(len(b)), 1))
	if err != nil {
		return 0, err
	}
	m.taken = append(m.taken, p)
	if len(b) == 0 {
		return p, nil
	}
	return p, m.Context.Upload(p, b)
}

// Ints places int32 values.
func (m *Machine) Ints(v []int32) (cuda.Ptr, error) {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return m.Bytes(b)
}

// Matrix is a matrix in device memory with its values as the device has them.
type Matrix struct {
	Ptr        cuda.Ptr // of the first element
	Rows, Cols int
	LD         int // elements from row to row
	Type       runtime.DType
	V          []float64 // [Rows, Cols], as rounded to Type
	base       cuda.Ptr
	bytes      int
	offset     int // of the first element, in bytes
}

// At is element [r, c] as it was placed.
func (x *Matrix) At(r, c int) float64 { return x.V[r*x.Cols+c] }

// Place puts values into a matrix whose rows are ld elements apart and whose first element lies before elements behind
// the start of its allocation. What lies between the rows is NaN: a kernel that computes with it is noticed.
func (m *Machine) Place(rows, cols, ld, before int, t runtime.DType, v []float64) (*Matrix, error) {
	if ld < cols || len(v) != rows*cols {
		return nil, fmt.Errorf("%d values for [%d,%d] with stride %d", len(v), rows, cols, ld)
	}
	x := &Matrix{Rows: rows, Cols: cols, LD: ld, Type: t, V: make([]float64, len(v)), offset: before * t.Size()}
	n := before + rows*ld
	if rows > 0 {
		n -= ld - cols
	}
	b := make([]byte, n*t.Size())
	for i := range n {
		put(b[i*t.Size():], t, math.NaN())
	}
	for r := range rows {
		for c := range cols {
			x.V[r*cols+c] = put(b[(before+r*ld+c)*t.Size():], t, v[r*cols+c])
		}
	}
	p, err := m.Bytes(b)
	x.base, x.Ptr, x.bytes = p, p+cuda.Ptr(x.offset), len(b)
	return x, err
}

// Random places normal values of the given deviation.
func (m *Machine) Random(rows, cols, ld, before int, t runtime.DType, deviation float64) (*Matrix, error) {
	v := make([]float64, rows*cols)
	for i := range v {
		v[i] = m.Rand.NormFloat64() * deviation
	}
	return m.Place(rows, cols, ld, before, t, v)
}

// Read is what the device has in x now. An element between the rows, or before the first, that is a NaN no more is an
// error: the kernel wrote where it must not.
func (m *Machine) Read(x *Matrix) ([]float64, error) {
	b := make([]byte, x.bytes)
	if len(b) > 0 {
		if err := m.Context.Download(b, x.base); err != nil {
			return nil, err
		}
	}
	size := x.Type.Size()
	v := make([]float64, x.Rows*x.Cols)
	for i := 0; i < x.bytes/size; i++ {
		at := i - x.offset/size
		got := get(b[i*size:], x.Type)
		if at < 0 || at%x.LD >= x.Cols {
			if !math.IsNaN(got) {
				return nil, fmt.Errorf("element %d from the first of a matrix with stride %d was written", at, x.LD)
			}
			continue
		}
		v[at/x.LD*x.Cols+at%x.LD] = got
	}
	return v, nil
}

// Close compares what the device has in y with want, element by element, as a share of scale or of the largest wanted
// value, whichever is larger.
func (m *Machine) Close(y *Matrix, want []float64, tolerance, scale float64) error {
	got, err := m.Read(y)
	if err != nil {
		return err
	}
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i := range want {
		if e := math.Abs(got[i]-want[i]) / scale; !(e <= tolerance) {
			return fmt.Errorf("element [%d,%d] is %g, want %g: error %.2g of the largest value, allowed %.2g",
				i/y.Cols, i%y.Cols, got[i], want[i], e, tolerance)
		}
	}
	return nil
}

// put writes v as a t and returns what was written.
func put(b []byte, t runtime.DType, v float64) float64 {
	switch t {
	case runtime.F16:
		h := runtime.F32ToF16(float32(v))
		binary.LittleEndian.PutUint16(b, h)
		return float64(runtime.F16ToF32(h))
	case runtime.BF16:
		h := runtime.F32ToBF16(float32(v))
		binary.LittleEndian.PutUint16(b, h)
		return float64(runtime.BF16ToF32(h))
	}
	binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
	return float64(float32(v))
}

func get(b []byte, t runtime.DType) float64 {
	switch t {
	case runtime.F16:
		return float64(runtime.F16ToF32(binary.LittleEndian.Uint16(b)))
	case runtime.BF16:
		return float64(runtime.BF16ToF32(binary.LittleEndian.Uint16(b)))
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}
