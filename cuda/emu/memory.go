package emu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

// Device addresses. Every allocation starts 256 bytes into a fresh 2 MiB page (aligned to 256 and to no more, as
// cuMemAlloc promises) and is followed by an unused page, so that an overrun meets nothing. Pages are never used again:
// a stale pointer stays recognisable. Shared, local and parameter memory appear in windows of the generic space.
const (
	globalBase   = 0x7f0000000000
	sharedWindow = 0x7e0000000000
	localWindow  = 0x7e1000000000
	paramWindow  = 0x7e2000000000
	windowSize   = 1 << 32
	pageShift    = 21
	pageOffset   = 256
	maxPages     = 1 << 19 // 1 TiB of addresses
)

// Memory is a device's global memory. Its methods may be called at any time; while kernels run they wait.
type Memory struct {
	mu    sync.RWMutex // held for reading by every running launch
	pages []*allocation
	live  map[uint64]*allocation
	used  int64
	limit int64
}

type allocation struct {
	base     uint64
	size     uint64
	data     []byte
	shadow   []byte // one byte each: 1 when written; nil when all are
	readOnly bool
	freed    bool
	name     string // of a module variable

	written atomic.Uint64 // the last launch that wrote here with several blocks
	stamps  []atomic.Pointer[stampChunk]
}

// stampChunk remembers which block wrote a 4-byte word last: launch, block + 1 and the bytes' mask.
type stampChunk [stampWords]atomic.Uint64

const stampWords = 8192

// AccessError is a host access or a Free that no allocation allows.
type AccessError struct {
	Op   string
	Addr uint64
	Size int
	Kind FaultKind
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("emu: %s of %d bytes at %#x: %v", e.Op, e.Size, e.Addr, e.Kind)
}

// OutOfMemory is the error of an Alloc beyond the target's memory.
type OutOfMemory struct{ Size, Used, Limit int64 }

func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("emu: out of memory: %d bytes asked for, %d of %d in use", e.Size, e.Used, e.Limit)
}

// Alloc returns the address of n uninitialised bytes.
func (m *Memory) Alloc(n int) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.alloc(n)
	if err != nil {
		return 0, err
	}
	return a.base, nil
}

func (m *Memory) alloc(n int) (*allocation, error) {
	if n <= 0 {
		return nil, fmt.Errorf("emu: allocation of %d bytes", n)
	}
	pages := (n+pageOffset)>>pageShift + 2
	if int64(n) > m.limit-m.used || len(m.pages)+pages > maxPages {
		return nil, &OutOfMemory{int64(n), m.used, m.limit}
	}
	a := &allocation{base: globalBase + uint64(len(m.pages))<<pageShift + pageOffset, size: uint64(n)}
	a.data, a.shadow = make([]byte, n), make([]byte, n)
	a.stamps = make([]atomic.Pointer[stampChunk], (n+4*stampWords-1)/(4*stampWords))
	for range pages - 1 {
		m.pages = append(m.pages, a)
	}
	m.pages = append(m.pages, nil)
	m.used += int64(n)
	m.live[a.base] = a
	return a, nil
}

// Free gives the allocation at addr back. Kernels that still use it fault with UseAfterFree.
func (m *Memory) Free(addr uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.live[addr]
	if a == nil || a.readOnly {
		return &AccessError{"free", addr, 0, m.why(addr)}
	}
	delete(m.live, addr)
	m.used -= int64(a.size)
	a.freed, a.data, a.shadow, a.stamps = true, nil, nil, nil
	return nil
}

// InUse is the sum of all live allocations in bytes.
func (m *Memory) InUse() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.used
}

func (m *Memory) why(addr uint64) FaultKind {
	if a := m.at(addr); a != nil && a.freed {
		return UseAfterFree
	}
	return OutOfBounds
}

// at is the allocation whose pages hold addr, whether or not addr lies inside it.
func (m *Memory) at(addr uint64) *allocation {
	if p := (addr - globalBase) >> pageShift; addr >= globalBase && p < uint64(len(m.pages)) {
		return m.pages[p]
	}
	return nil
}

func (m *Memory) host(op string, addr uint64, n int) (*allocation, uint64, error) {
	a := m.at(addr)
	if a == nil || a.freed || addr-a.base > a.size || uint64(n) > a.size-(addr-a.base) {
		return nil, 0, &AccessError{op, addr, n, m.why(addr)}
	}
	return a, addr - a.base, nil
}

// Write copies p to the device.
func (m *Memory) Write(addr uint64, p []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, off, err := m.host("write", addr, len(p))
	if err != nil {
		return err
	}
	copy(a.data[off:], p)
	a.mark(off, len(p))
	return nil
}

// Fill sets n bytes to b.
func (m *Memory) Fill(addr uint64, b byte, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, off, err := m.host("fill", addr, n)
	if err != nil {
		return err
	}
	d := a.data[off : off+uint64(n)]
	for i := range d {
		d[i] = b
	}
	a.mark(off, n)
	return nil
}

// Fill32 sets n words of 4 bytes to v, little-endian.
func (m *Memory) Fill32(addr uint64, v uint32, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, off, err := m.host("fill", addr, 4*n)
	if err != nil {
		return err
	}
	for d := a.data[off : off+uint64(4*n)]; len(d) > 0; d = d[4:] {
		binary.LittleEndian.PutUint32(d, v)
	}
	a.mark(off, 4*n)
	return nil
}

func (a *allocation) mark(off uint64, n int) {
	switch {
	case a.shadow == nil:
	case off == 0 && uint64(n) == a.size:
		a.shadow = nil
	default:
		s := a.shadow[off : off+uint64(n)]
		for i := range s {
			s[i] = 1
		}
	}
}

// Read copies from the device. Bytes that nobody has written are an error of kind Uninitialised.
func (m *Memory) Read(addr uint64, p []byte) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a, off, err := m.host("read", addr, len(p))
	if err != nil {
		return err
	}
	if a.shadow != nil {
		if i := bytes.IndexByte(a.shadow[off:off+uint64(len(p))], 0); i >= 0 {
			return &AccessError{"read", addr + uint64(i), len(p), Uninitialised}
		}
	}
	copy(p, a.data[off:])
	return nil
}

// Poison makes n bytes uninitialised again: an arena calls it for what it hands out anew.
func (m *Memory) Poison(addr uint64, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, off, err := m.host("poison", addr, n)
	if err != nil {
		return err
	}
	if a.shadow == nil {
		a.shadow = bytes.Repeat([]byte{1}, int(a.size))
	}
	clear(a.shadow[off : off+uint64(n)])
	return nil
}

// Copy moves n bytes within the device, their initialised state included. The ranges may overlap.
func (m *Memory) Copy(dst, src uint64, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, do, err := m.host("copy to", dst, n)
	if err != nil {
		return err
	}
	s, so, err := m.host("copy from", src, n)
	if err != nil {
		return err
	}
	copy(d.data[do:do+uint64(n)], s.data[so:so+uint64(n)])
	if d.shadow != nil && s.shadow != nil {
		copy(d.shadow[do:do+uint64(n)], s.shadow[so:so+uint64(n)])
	} else if s.shadow == nil {
		d.mark(do, n)
	} else {
		d.shadow = bytes.Repeat([]byte{1}, int(d.size))
		copy(d.shadow[do:do+uint64(n)], s.shadow[so:so+uint64(n)])
	}
	return nil
}

// stampWrite records that a block wrote bytes, and reports another block that wrote them in the same launch; 0 if none.
func (a *allocation) stampWrite(launch uint64, block uint64, off, n uint64) (other uint64) {
	if a.written.Load() != launch {
		a.written.Store(launch)
	}
	for end := off + n; off < end; {
		next := min(off&^3+4, end)
		mask := maskOf(int(next-off)) << (off & 3)
		c := &a.stamps[off/(4*stampWords)]
		chunk := c.Load()
		if chunk == nil {
			c.CompareAndSwap(nil, new(stampChunk))
			chunk = c.Load()
		}
		old := chunk[off>>2%stampWords].Swap(launch<<36 | block<<4 | mask)
		if old>>36 == launch && old>>4&(1<<32-1) != block && old&mask != 0 {
			other = old >> 4 & (1<<32 - 1)
		}
		off = next
	}
	return other
}

// stampRead reports another block that wrote the bytes in the same launch.
func (a *allocation) stampRead(launch uint64, block uint64, off, n uint64) (other uint64) {
	for end := off + n; off < end; {
		next := min(off&^3+4, end)
		if chunk := a.stamps[off/(4*stampWords)].Load(); chunk != nil {
			old := chunk[off>>2%stampWords].Load()
			if old>>36 == launch && old>>4&(1<<32-1) != block && old&(maskOf(int(next-off))<<(off&3)) != 0 {
				return old >> 4 & (1<<32 - 1)
			}
		}
		off = next
	}
	return 0
}
