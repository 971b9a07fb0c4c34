package cpu

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// sleeper parks threads on a futex, from which they wake in tens of microseconds.
type sleeper struct{ asleep atomic.Int32 }

const (
	futexWait    = 0
	futexWake    = 1
	futexPrivate = 128
)

func (s *sleeper) init() {}

// wait sleeps while *word is seen.
func (s *sleeper) wait(word *atomic.Uint32, seen uint32) {
	s.asleep.Add(1)
	syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait|futexPrivate, uintptr(seen), 0, 0, 0)
	s.asleep.Add(-1)
}

// wake is called after the word has changed.
func (s *sleeper) wake(word *atomic.Uint32) {
	if s.asleep.Load() > 0 {
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake|futexPrivate, 1<<30, 0, 0, 0)
	}
}
