package cuda

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ArenaAlign is the alignment of everything that an Arena hands out, in bytes: what cuMemAlloc gives, and what the copy
// engine, vector loads and cuBLASLt want.
const ArenaAlign = 256

// Arena hands out parts of a few large allocations, which never move. Memory is given back all at once, or as a stack:
// after Release of a Mark, the same requests give the same addresses again, which is what recorded graphs need. It is
// used on the device's thread; Used and Held may be read from anywhere.
type Arena struct {
	memory Memory
	slab   int64
	slabs  []slab
	at     int // slab in use; those behind it are empty
	marks  int // open marks
	used   atomic.Int64
	held   atomic.Int64
	peak   int64
}

type slab struct {
	addr       Ptr
	size, used int64
}

// Mark is a point of an Arena to release to.
type Mark struct {
	at, depth int
	used      int64 // of slab at
	total     int64
}

// NewArena makes an empty arena that takes slabs of that many bytes, or of one request where that is larger.
func NewArena(m Memory, slab int64) *Arena {
	return &Arena{memory: m, slab: max(roundUp(slab), ArenaAlign)}
}

func roundUp(n int64) int64 { return (n + ArenaAlign - 1) &^ (ArenaAlign - 1) }

// Alloc returns bytes of undefined contents. An error is ErrOutOfMemory where the device has no slab left; nothing has
// changed then.
func (a *Arena) Alloc(bytes int64) (Ptr, error) {
	if bytes < 0 || bytes > 1<<56 {
		return 0, NewError("arena", InvalidValue, "", fmt.Sprintf("an allocation of %d bytes", bytes))
	}
	bytes = max(roundUp(bytes), ArenaAlign)
	for i := a.at; i < len(a.slabs); i++ {
		if s := &a.slabs[i]; s.size-s.used >= bytes {
			a.at = i
			return a.take(s, bytes), nil
		}
	}
	if err := a.grow(max(bytes, a.slab), bytes); err != nil {
		return 0, err
	}
	a.at = len(a.slabs) - 1
	return a.take(&a.slabs[a.at], bytes), nil
}

func (a *Arena) take(s *slab, bytes int64) Ptr {
	p := s.addr + Ptr(s.used)
	s.used += bytes
	a.peak = max(a.peak, a.used.Add(bytes))
	return p
}

// grow adds a slab, one of only least bytes where the device has not more.
func (a *Arena) grow(size, least int64) error {
	p, err := a.memory.Alloc(size)
	if errors.Is(err, ErrOutOfMemory) && least < size {
		size = least
		p, err = a.memory.Alloc(size)
	}
	if err != nil {
		return err
	}
	a.slabs = append(a.slabs, slab{addr: p, size: size})
	a.held.Add(size)
	return nil
}

// Reserve makes sure that the next bytes come from one slab that is there already.
func (a *Arena) Reserve(bytes int64) error {
	if bytes < 0 || bytes > 1<<56 {
		return NewError("arena", InvalidValue, "", fmt.Sprintf("a reservation of %d bytes", bytes))
	}
	bytes = roundUp(bytes)
	for i := a.at; i < len(a.slabs); i++ {
		if s := &a.slabs[i]; s.size-s.used >= bytes {
			a.at = i
			return nil
		}
	}
	if err := a.grow(max(bytes, a.slab), bytes); err != nil {
		return err
	}
	a.at = len(a.slabs) - 1
	return nil
}

// Mark opens a scope.
func (a *Arena) Mark() Mark {
	a.marks++
	m := Mark{at: a.at, depth: a.marks, total: a.used.Load()}
	if a.at < len(a.slabs) {
		m.used = a.slabs[a.at].used
	}
	return m
}

// Release closes the scope that m opened, and every scope inside it: what was allocated since is free. A mark that is
// closed already is an error.
func (a *Arena) Release(m Mark) error {
	if m.depth < 1 || m.depth > a.marks {
		return NewError("arena", InvalidValue, "", "the mark is of a scope that is closed already")
	}
	for i := m.at; i < len(a.slabs); i++ {
		a.slabs[i].used = 0
	}
	if m.at < len(a.slabs) {
		a.slabs[m.at].used = m.used
	}
	a.at, a.marks = m.at, m.depth-1
	a.used.Store(m.total)
	return nil
}

// Used is the sum of what is handed out, rounded up to ArenaAlign.
func (a *Arena) Used() int64 { return a.used.Load() }

// Held is the sum of the slabs.
func (a *Arena) Held() int64 { return a.held.Load() }

// Peak is the most that was ever handed out at once.
func (a *Arena) Peak() int64 { return a.peak }

// Close gives the slabs back. The arena is empty then and may be used again.
func (a *Arena) Close() error {
	var errs []error
	for _, s := range a.slabs {
		errs = append(errs, a.memory.Free(s.addr))
	}
	a.slabs, a.at, a.marks, a.peak = nil, 0, 0, 0
	a.used.Store(0)
	a.held.Store(0)
	return errors.Join(errs...)
}
