package cpu

import (
	"sync/atomic"
	"unsafe"

	"remote-client-server/runtime"
)

const hugePage = 2 << 20

// obtain maps memory and counts it; it panics with OutOfMemory where the system has none left.
func obtain(what string, bytes int64, count *atomic.Int64) unsafe.Pointer {
	if bytes >= hugePage {
		bytes = (bytes + hugePage - 1) &^ (hugePage - 1)
	}
	addr, err := allocate(bytes)
	if err != nil {
		panic(runtime.OutOfMemory{What: what, Want: bytes, Free: -1})
	}
	count.Add(bytes)
	return pointer(addr)
}

// buffer is memory of one worker that grows as it is asked for more and is kept.
type buffer struct {
	p    unsafe.Pointer
	size int64
}

// need returns at least n bytes, with the old contents lost if it had to grow.
func (b *buffer) need(what string, n int, count *atomic.Int64) unsafe.Pointer {
	if int64(n) > b.size {
		b.free(count)
		size := max(int64(n)+int64(n)/4, 1<<16)
		size = (size + 4095) &^ 4095
		if size >= hugePage {
			size = (size + hugePage - 1) &^ (hugePage - 1)
		}
		b.p = obtain(what, size, count)
		b.size = size
	}
	return b.p
}

func (b *buffer) free(count *atomic.Int64) {
	if b.p != nil {
		release(uintptr(b.p))
		count.Add(-b.size)
	}
	*b = buffer{}
}
