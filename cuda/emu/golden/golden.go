// Package golden pins instructions whose result the emulator only claims to know: matrix products, conversions, the
// approximate functions, shuffles, and the copies that place tiles in shared memory. Each Vector is one instruction in a
// kernel of a few lines, with its operands and what the PTX ISA says of its result. The same vectors run on an emulated
// GPU and on a real one; what a real one answered is recorded in testdata, so that the emulator is compared with it also
// where there is none:
//
//	go test -tags gpu ./cuda/emu/golden -record
package golden

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"remote-client-server/cuda"
)

// Vector is one instruction with operands and what comes of them.
type Vector struct {
	Name    string // the instruction
	Target  string // lowest GPU that has it: sm_75, sm_80, sm_90, sm_90a
	PTX     string // of a module with the entry golden(in, out) or, with a tensor, golden(in, out, tensor map)
	Blocks  int
	Threads int // of a block
	Input   []byte
	Tensor  *Tensor
	Format  Format  // of the output's elements
	Want    []Value // the output
	Bound   string  // what the allowed errors are
}

// Tensor is what a copy by tensor map reads. The address in Spec is filled in by Run.
type Tensor struct {
	Spec cuda.TensorMapSpec
	Data []byte
}

// Value is an element of an output: the exact result, and how far a GPU may be from it. Where Error is 0 the result is
// rounded correctly, and its bits are given but for those of a NaN.
type Value struct{ Want, Error float64 }

// RunsOn reports whether a GPU of that compute capability has the instruction.
func (v *Vector) RunsOn(capability int) bool {
	number, specific := strings.CutSuffix(strings.TrimPrefix(v.Target, "sm_"), "a")
	n, err := strconv.Atoi(number)
	return err == nil && (capability == n || capability > n && !specific)
}

// Digest tells apart vectors whose answers cannot be compared: those with another text or other operands.
func (v *Vector) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%d %d\n", v.PTX, v.Blocks, v.Threads)
	h.Write(v.Input)
	if v.Tensor != nil {
		fmt.Fprintf(h, "%+v", v.Tensor.Spec)
		h.Write(v.Tensor.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Run executes a vector and returns its output. It gives back what it takes, except where the context is lost.
func Run(c cuda.Context, v *Vector) (output []byte, err error) {
	var undo []func() error
	defer func() {
		for _, f := range slices.Backward(undo) {
			err = errors.Join(err, f())
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", v.Name, err)
		}
	}()
	module, log, err := c.Load([]byte(v.PTX))
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	undo = append(undo, func() error { return c.Unload(module) })
	f, err := c.Function(module, "golden")
	if err != nil {
		return nil, err
	}
	place := func(b []byte) (cuda.Ptr, error) {
		p, err := c.Alloc(int64(len(b)))
		if err != nil {
			return 0, err
		}
		undo = append(undo, func() error { return c.Free(p) })
		return p, c.Upload(p, b)
	}
	l := cuda.Launch{Function: f, Grid: [3]uint32{uint32(v.Blocks), 1, 1}, Block: [3]uint32{uint32(v.Threads), 1, 1}}
	in, err := place(v.Input)
	if err != nil {
		return nil, err
	}
	output = slices.Repeat([]byte{0xa5}, len(v.Want)*v.Format.size()) // what a kernel leaves out is seen
	out, err := place(output)
	if err != nil {
		return nil, err
	}
	l.Args.Ptr(in)
	l.Args.Ptr(out)
	if v.Tensor != nil {
		spec := v.Tensor.Spec
		if spec.Address, err = place(v.Tensor.Data); err != nil {
			return nil, err
		}
		tensor, err := c.EncodeTensorMap(&spec)
		if err != nil {
			return nil, err
		}
		l.Args.TensorMap(&tensor)
	}
	if err := c.Launch(&l); err != nil {
		return nil, err
	}
	if err := c.Synchronize(); err != nil {
		return nil, err
	}
	return output, c.Download(output, out)
}

// Check compares an output with what the ISA says, and reports the first element that is too far off.
func (v *Vector) Check(output []byte) error {
	if want := len(v.Want) * v.Format.size(); len(output) != want {
		return fmt.Errorf("%s: output of %d bytes, want %d", v.Name, len(output), want)
	}
	for i, w := range v.Want {
		got := v.Format.value(output, i)
		if w.near(got) {
			continue
		}
		return fmt.Errorf("%s: element %d is %v (%#x), want %v within %.3g (%s)", v.Name, i, got, v.Format.bits(output, i), w.Want, w.Error, v.Bound)
	}
	return nil
}

func (w Value) near(got float64) bool {
	switch {
	case math.IsNaN(w.Want):
		return math.IsNaN(got)
	case w.Error == 0 || math.IsInf(w.Want, 0):
		return got == w.Want && math.Signbit(got) == math.Signbit(w.Want)
	}
	return math.Abs(got-w.Want) <= w.Error
}

// Equal counts the elements of two outputs that are the same, whatever bits their NaNs have.
func (v *Vector) Equal(a, b []byte) int {
	n := 0
	for i := range v.Want {
		if v.Format.bits(a, i) == v.Format.bits(b, i) || math.IsNaN(v.Format.value(a, i)) && math.IsNaN(v.Format.value(b, i)) {
			n++
		}
	}
	return n
}

// Vectors are all of them. They are the same at every call and on every machine.
func Vectors() []Vector {
	return slices.Concat(conversions(), arithmetic(), approximations(), warps(), products(), tiles(), groupProducts())
}
