package cuda

import (
	"errors"
	"testing"
)

// heap is a Memory of that many bytes, which hands out addresses and keeps nothing in them.
type heap struct {
	Memory
	left  int64
	next  Ptr
	sizes map[Ptr]int64
}

func newHeap(bytes int64) *heap { return &heap{left: bytes, next: 1 << 40, sizes: map[Ptr]int64{}} }

func (h *heap) Alloc(n int64) (Ptr, error) {
	if n > h.left {
		return 0, NewError("alloc", OutOfMemory, "", "")
	}
	p := h.next
	h.left -= n
	h.next += Ptr(n) + 1<<20
	h.sizes[p] = n
	return p, nil
}

func (h *heap) Free(p Ptr) error {
	n, ok := h.sizes[p]
	if !ok {
		return NewError("free", InvalidValue, "", "")
	}
	delete(h.sizes, p)
	h.left += n
	return nil
}

func allocate(t *testing.T, a *Arena, sizes ...int64) []Ptr {
	t.Helper()
	var at []Ptr
	for _, n := range sizes {
		p, err := a.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if p%ArenaAlign != 0 {
			t.Errorf("%d bytes at %#x", n, p)
		}
		at = append(at, p)
	}
	return at
}

func TestArenaGivesBackAll(t *testing.T) {
	h := newHeap(1 << 30)
	a := NewArena(h, 4096)
	for range 2 { // a closed arena may be used again
		allocate(t, a, 100, 1, 256, 257, 4000, 9000, 0, 77)
		if want := int64(256 + 256 + 256 + 512 + 4096 + 9216 + 256 + 256); a.Used() != want {
			t.Errorf("%d bytes used, want %d", a.Used(), want)
		}
		if held := a.Held(); held != 1<<30-h.left || held < a.Used() {
			t.Errorf("holds %d, the heap misses %d", held, 1<<30-h.left)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if h.left != 1<<30 || len(h.sizes) != 0 || a.Held() != 0 || a.Used() != 0 {
			t.Errorf("after close: %d bytes are out in %d slabs", 1<<30-h.left, len(h.sizes))
		}
	}
}

func TestArenaRegionsDoNotOverlap(t *testing.T) {
	h := newHeap(1 << 30)
	a := NewArena(h, 1<<16)
	type region struct{ from, to Ptr }
	var all []region
	for i := range int64(200) {
		n := i*i%5000 + 1
		p := allocate(t, a, n)[0]
		for _, r := range all {
			if p < r.to && r.from < p+Ptr(n) {
				t.Fatalf("%#x of %d bytes overlaps %#x to %#x", p, n, r.from, r.to)
			}
		}
		inside := false
		for base, size := range h.sizes {
			inside = inside || p >= base && p+Ptr(n) <= base+Ptr(size)
		}
		if !inside {
			t.Fatalf("%#x of %d bytes is in no slab", p, n)
		}
		all = append(all, region{p, p + Ptr(n)})
	}
}

func TestArenaWithoutMemory(t *testing.T) {
	h := newHeap(10 << 10)
	a := NewArena(h, 8<<10)
	allocate(t, a, 8<<10)
	p := allocate(t, a, 1000)[0] // no second slab of 8 KiB fits, one of 1 KiB does
	if h.sizes[p] != 1024 {
		t.Errorf("the slab has %d bytes", h.sizes[p])
	}
	used := a.Used()
	for _, n := range []int64{4 << 10, 1 << 50} {
		if _, err := a.Alloc(n); !errors.Is(err, ErrOutOfMemory) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, n := range []int64{-1, 1<<63 - 1} {
		if _, err := a.Alloc(n); err == nil {
			t.Errorf("%d bytes were given", n)
		}
	}
	if a.Used() != used {
		t.Errorf("a failed allocation took %d bytes", a.Used()-used)
	}
	allocate(t, a, 1000) // and the arena goes on
	if err := a.Close(); err != nil || h.left != 10<<10 {
		t.Errorf("%v, %d bytes left", err, h.left)
	}
}
