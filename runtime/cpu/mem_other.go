//go:build !unix

package cpu

import (
	"errors"
	"sync"
	"unsafe"
)

// held keeps the memory alive: tensors know it by its address only.
var held sync.Map // uintptr -> []byte

func allocate(bytes int64) (uintptr, error) {
	if int64(int(bytes)) != bytes {
		return 0, errors.New("larger than the address space")
	}
	b := make([]byte, bytes+4096)
	p := unsafe.Pointer(unsafe.SliceData(b))
	addr := (uintptr(p) + 4095) &^ 4095
	held.Store(addr, b)
	return addr, nil
}

func release(addr uintptr) { held.Delete(addr) }

func memoryTotal() int64 { return 0 }

func memoryFree() int64 { return 0 }
