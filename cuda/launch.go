package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Launch is one kernel launch. It is meant to be kept and filled anew: the arguments alone are 4 KiB.
type Launch struct {
	Function Function
	Grid     [3]uint32 // blocks
	Block    [3]uint32 // threads
	Cluster  [3]uint32 // blocks of a cluster; the zero value is no cluster
	Shared   uint32    // bytes of dynamic shared memory
	Stream   Stream
	// Dependent lets the kernel begin while the one before it ends (programmatic dependent launch); it must then wait
	// with griddepcontrol.wait before it touches what that one wrote. Without effect where Properties says so.
	Dependent bool
	Args      Args
}

// Limits of a kernel's parameters on every device and driver.
const (
	MaxArgs     = 32
	MaxArgBytes = 4096
)

// Args are the arguments of a kernel, packed as its parameters are in PTX: each at the next multiple of its alignment.
// The zero value is empty. An argument too many is an error of the launch.
type Args struct {
	data    [MaxArgBytes]byte
	offsets [MaxArgs]uint16
	count   int
	used    int
	fault   string
}

// Reset empties a.
func (a *Args) Reset() { a.count, a.used, a.fault = 0, 0, "" }

// place is the offset of the next argument, or -1 if there is no room.
func (a *Args) place(size, align int) int {
	at := (a.used + align - 1) &^ (align - 1)
	if a.count == MaxArgs || at+size > MaxArgBytes {
		a.refuse(size)
		return -1
	}
	if at > a.used {
		clear(a.data[a.used:at])
	}
	a.offsets[a.count] = uint16(at)
	a.count++
	a.used = at + size
	return at
}

func (a *Args) refuse(size int) {
	if a.fault == "" {
		a.fault = fmt.Sprintf("argument %d of %d bytes: a kernel takes at most %d arguments and %d bytes", a.count, size, MaxArgs, MaxArgBytes)
	}
}

// Uint8 appends a parameter of type .u8 or .b8.
func (a *Args) Uint8(v uint8) {
	if at := a.place(1, 1); at >= 0 {
		a.data[at] = v
	}
}

// Uint16 appends a parameter of 2 bytes.
func (a *Args) Uint16(v uint16) {
	if at := a.place(2, 2); at >= 0 {
		binary.LittleEndian.PutUint16(a.data[at:], v)
	}
}

// Uint32 appends a parameter of 4 bytes.
func (a *Args) Uint32(v uint32) {
	if a.used&3 == 0 && uint(a.used) <= MaxArgBytes-4 && uint(a.count) < MaxArgs { // nearly always
		binary.LittleEndian.PutUint32(a.data[a.used:a.used+4], v)
		a.offsets[a.count] = uint16(a.used)
		a.count++
		a.used += 4
		return
	}
	if at := a.place(4, 4); at >= 0 {
		binary.LittleEndian.PutUint32(a.data[at:], v)
	}
}

// Uint64 appends a parameter of 8 bytes.
func (a *Args) Uint64(v uint64) {
	if a.used&7 == 0 && uint(a.used) <= MaxArgBytes-8 && uint(a.count) < MaxArgs {
		binary.LittleEndian.PutUint64(a.data[a.used:a.used+8], v)
		a.offsets[a.count] = uint16(a.used)
		a.count++
		a.used += 8
		return
	}
	if at := a.place(8, 8); at >= 0 {
		binary.LittleEndian.PutUint64(a.data[at:], v)
	}
}

// Int32 appends an int.
func (a *Args) Int32(v int32) { a.Uint32(uint32(v)) }

// Int64 appends a long long.
func (a *Args) Int64(v int64) { a.Uint64(uint64(v)) }

// Float32 appends a float.
func (a *Args) Float32(v float32) { a.Uint32(math.Float32bits(v)) }

// Ptr appends a pointer.
func (a *Args) Ptr(p Ptr) { a.Uint64(uint64(p)) }

// Struct appends a struct passed by value, as the bytes that it has in C. Its alignment is a power of two up to 128.
func (a *Args) Struct(b []byte, align int) {
	if align < 1 || align > 128 || align&(align-1) != 0 || len(b) == 0 {
		if a.fault == "" {
			a.fault = fmt.Sprintf("argument %d: a struct of %d bytes aligned to %d", a.count, len(b), align)
		}
		return
	}
	if at := a.place(len(b), align); at >= 0 {
		copy(a.data[at:], b)
	}
}

// TensorMap appends a __grid_constant__ CUtensorMap.
func (a *Args) TensorMap(m *TensorMap) {
	if at := a.place(len(m), 64); at >= 0 {
		copy(a.data[at:], m[:])
	}
}

// Packed is the parameter block, valid until a changes.
func (a *Args) Packed() []byte { return a.data[:a.used] }

// Offsets are where the arguments begin in Packed, valid until a changes.
func (a *Args) Offsets() []uint16 { return a.offsets[:a.count] }

// Check is the error of an argument that found no place.
func (a *Args) Check() error {
	if a.fault == "" {
		return nil
	}
	return NewError("launch", InvalidValue, "", a.fault)
}
