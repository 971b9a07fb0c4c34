package emu

import (
	"encoding/binary"
	"fmt"
)

// Swizzle is how a tensor copy permutes 16-byte chunks in shared memory: the chunk number within 32, 64 or 128 bytes is
// combined (xor) with the number of the 128-byte line, so that a column of chunks spreads over all banks.
type Swizzle uint8

const (
	SwizzleNone Swizzle = iota
	Swizzle32
	Swizzle64
	Swizzle128
)

func (s Swizzle) apply(a uint32) uint32 { return a ^ (a >> 7 & (1<<s - 1) << 4) }

func (s Swizzle) span() int {
	if s == SwizzleNone {
		return 0
	}
	return 16 << s
}

// TensorMap is what cuTensorMapEncodeTiled writes, in the emulator's own layout. It is opaque to a kernel, which only
// passes its address on.
type TensorMap [128]byte

// Tile describes a tensor in global memory and the box that one copy moves, innermost dimension first, as the arguments
// of cuTensorMapEncodeTiled do.
type Tile struct {
	Base    uint64
	Element int      // bytes of an element: 1, 2, 4 or 8
	Dims    []uint64 // elements, 1 to 5 dimensions
	Strides []uint64 // bytes from one index of dimensions 1, 2 … to the next
	Box     []uint32 // elements of a copy
	Swizzle Swizzle
	NaNFill bool // elements outside are NaNs instead of zeros
}

const tensorMagic = 0x70616d54

// EncodeTiled checks a description by the driver's rules and packs it.
func EncodeTiled(t Tile) (TensorMap, error) {
	var m TensorMap
	bad := func(format string, args ...any) (TensorMap, error) {
		return m, fmt.Errorf("emu: tensor map: "+format, args...)
	}
	rank := len(t.Dims)
	switch {
	case rank < 1 || rank > 5 || len(t.Strides) != rank-1 || len(t.Box) != rank:
		return bad("%d dimensions, %d strides, box of %d", rank, len(t.Strides), len(t.Box))
	case t.Base%16 != 0:
		return bad("address %#x is no multiple of 16", t.Base)
	case t.Element != 1 && t.Element != 2 && t.Element != 4 && t.Element != 8:
		return bad("elements of %d bytes", t.Element)
	case t.Swizzle > Swizzle128:
		return bad("swizzle mode %d", t.Swizzle)
	}
	inner := int(t.Box[0]) * t.Element
	if inner%16 != 0 {
		return bad("the box's inner dimension has %d bytes, no multiple of 16", inner)
	}
	if s := t.Swizzle.span(); s != 0 && inner > s {
		return bad("the box's inner dimension has %d bytes, the swizzle spans %d", inner, s)
	}
	le := binary.LittleEndian
	le.PutUint32(m[0:], tensorMagic)
	m[4], m[5], m[6] = byte(rank), byte(t.Element), byte(t.Swizzle)
	if t.NaNFill {
		m[7] = 1
	}
	le.PutUint64(m[8:], t.Base)
	for i := range rank {
		if t.Dims[i] < 1 || t.Dims[i] > 1<<32 {
			return bad("dimension %d has %d elements", i, t.Dims[i])
		}
		if t.Box[i] < 1 || t.Box[i] > 256 {
			return bad("the box has %d elements in dimension %d, the limit is 256", t.Box[i], i)
		}
		le.PutUint32(m[16+4*i:], uint32(t.Dims[i]-1))
		le.PutUint16(m[36+2*i:], uint16(t.Box[i]))
		if i > 0 {
			s := t.Strides[i-1]
			if s%16 != 0 || s >= 1<<40 {
				return bad("stride %d of dimension %d: want a multiple of 16 below 2^40", s, i)
			}
			le.PutUint64(m[48+8*(i-1):], s)
		}
	}
	return m, nil
}

// decodeTile unpacks a tensor map that a kernel uses.
func decodeTile(m []byte) (t Tile, ok bool) {
	le := binary.LittleEndian
	rank := int(m[4])
	if le.Uint32(m) != tensorMagic || rank < 1 || rank > 5 {
		return t, false
	}
	t = Tile{Base: le.Uint64(m[8:]), Element: int(m[5]), Swizzle: Swizzle(m[6]), NaNFill: m[7] != 0}
	for i := range rank {
		t.Dims = append(t.Dims, uint64(le.Uint32(m[16+4*i:]))+1)
		t.Box = append(t.Box, uint32(le.Uint16(m[36+2*i:])))
		if i > 0 {
			t.Strides = append(t.Strides, le.Uint64(m[48+8*(i-1):]))
		}
	}
	return t, true
}
