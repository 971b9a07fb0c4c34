package cuda

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ArenaAlign is the alignment of everything that an Arena hands out, in bytes: what cuMemAlloc gives, and what the copy
// engine, vector loads and cuBLASLt want.
const ArenaAlign = 256

// Arena hands out parts of a few large allocations, which never move, and gives them all back at once: weights. Memory
// that comes and goes with a scope is runtime.Stack's. An Arena is used on the device's thread; Used and Held may be read
// from anywhere.
type Arena struct {
	memory Memory
	slab   int64
	slabs  []slab
	used   atomic.Int64
	held   atomic.Int64
}

type slab struct {
	addr       Ptr
	size, used int64
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
	for i := range a.slabs {
		if s := &a.slabs[i]; s.size-s.used >= bytes {
			return a.take(s, bytes), nil
		}
	}
	if err := a.grow(max(bytes, a.slab), bytes); err != nil {
		return 0, err
	}
	return a.take(&a.slabs[len(a.slabs)-1], bytes), nil
}

func (a *Arena) take(s *slab, bytes int64) Ptr {
	p := s.addr + Ptr(s.used)
	s.used += bytes
	a.used.Add(bytes)
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

// Used is the sum of what is handed out, rounded up to ArenaAlign.
func (a *Arena) Used() int64 { return a.used.Load() }

// Held is the sum of the slabs.
func (a *Arena) Held() int64 { return a.held.Load() }

// Close gives the slabs back. The arena is empty then and may be used again.
func (a *Arena) Close() error {
	var errs []error
	for _, s := range a.slabs {
		errs = append(errs, a.memory.Free(s.addr))
	}
	a.slabs = nil
	a.used.Store(0)
	a.held.Store(0)
	return errors.Join(errs...)
}
