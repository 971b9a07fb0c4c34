//go:build unix

package cpu

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped keeps the slice of each mapping, which is what unmapping wants back.
var mapped sync.Map // uintptr -> []byte

// allocate maps zeroed memory outside the Go heap, in huge pages where the system has them.
func allocate(bytes int64) (uintptr, error) {
	b, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return 0, err
	}
	if bytes >= hugePage {
		adviseHuge(b)
	}
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	mapped.Store(addr, b)
	return addr, nil
}

func release(addr uintptr) {
	if b, ok := mapped.LoadAndDelete(addr); ok {
		unix.Munmap(b.([]byte))
	}
}
