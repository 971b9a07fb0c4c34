package runtime

import (
	"errors"
	"fmt"
)

// Stack hands out scratch memory of a device in slabs that never move. A scope opened by Mark is closed by Release,
// after which the same calls give the same addresses again.
type Stack struct {
	// Alloc gets a slab from the device and Free returns it.
	Alloc func(bytes int64) (uintptr, error)
	Free  func(addr uintptr, bytes int64)
	// Poison, in tests, overwrites memory that was released.
	Poison func(addr uintptr, bytes int64)

	slabs  []slab
	at     int      // slab in use
	scopes []uint32 // open scopes, innermost last
	serial uint32
}

type slab struct {
	addr       uintptr
	size, used int64
}

// Mark is a point of a Stack to release to.
type Mark struct {
	at, depth int
	used      int64
}

const (
	slabBytes = 8 << 20
	alignment = 256 // bytes: rows of any dtype start on a cache line, and on what a GPU's copy engine wants
)

// Push reserves bytes in the current scope. It panics with OutOfMemory where the device has none left.
func (s *Stack) Push(what string, bytes int64) uintptr {
	bytes = (bytes + alignment - 1) &^ (alignment - 1)
	for i := s.at; i < len(s.slabs); i++ { // slabs behind the one in use are empty
		b := &s.slabs[i]
		if b.size-b.used >= bytes {
			addr := b.addr + uintptr(b.used)
			b.used += bytes
			s.at = i
			return addr
		}
	}
	size := max(bytes, slabBytes)
	addr, err := s.Alloc(size)
	if err != nil {
		e := OutOfMemory{What: what, Want: size, Free: -1}
		if errors.As(err, &e) { // the device knows how much is free
			e.What = what
		}
		panic(e)
	}
	s.slabs = append(s.slabs, slab{addr, size, bytes})
	s.at = len(s.slabs) - 1
	return addr
}

// Life is the number of the innermost scope, for NewTensor.
func (s *Stack) Life() uint32 {
	if len(s.scopes) == 0 {
		s.serial++
		s.scopes = append(s.scopes, s.serial)
	}
	return s.scopes[len(s.scopes)-1]
}

// Mark opens a scope.
func (s *Stack) Mark() Mark {
	s.Life() // the outermost scope exists before any inner one
	m := Mark{at: s.at, depth: len(s.scopes)}
	if s.at < len(s.slabs) {
		m.used = s.slabs[s.at].used
	}
	s.serial++
	s.scopes = append(s.scopes, s.serial)
	return m
}

// Release closes the scope that m opened, and every scope inside it.
func (s *Stack) Release(m Mark) {
	if m.depth < 1 || m.depth > len(s.scopes) {
		panic(ShapeError{"Release", "the mark is of a scope that is closed already"})
	}
	for i := m.at; i < len(s.slabs); i++ {
		b := &s.slabs[i]
		from := int64(0)
		if i == m.at {
			from = m.used
		}
		if s.Poison != nil && b.used > from && i <= s.at {
			s.Poison(b.addr+uintptr(from), b.used-from)
		}
		b.used = from
	}
	s.at = m.at
	s.scopes = s.scopes[:m.depth]
}

// Check panics if t is scratch of a scope that was released.
func (s *Stack) Check(op string, ts ...Tensor) {
	for _, t := range ts {
		if t.life == 0 {
			continue
		}
		live := false
		for i := len(s.scopes) - 1; i >= 0 && !live; i-- {
			live = s.scopes[i] == t.life
		}
		if !live {
			panic(ShapeError{op, fmt.Sprintf("%v is used after its release", t)})
		}
	}
}

// Used is the memory handed out and not released.
func (s *Stack) Used() int64 {
	n := int64(0)
	for _, b := range s.slabs {
		n += b.used
	}
	return n
}

// Bytes is the memory held in slabs.
func (s *Stack) Bytes() int64 {
	n := int64(0)
	for _, b := range s.slabs {
		n += b.size
	}
	return n
}

// Close returns every slab.
func (s *Stack) Close() {
	for _, b := range s.slabs {
		s.Free(b.addr, b.size)
	}
	s.slabs, s.scopes, s.at = nil, nil, 0
}
