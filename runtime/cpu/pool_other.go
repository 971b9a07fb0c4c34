//go:build !linux

package cpu

import (
	"sync"
	"sync/atomic"
)

// sleeper parks goroutines on a condition.
type sleeper struct {
	mu     sync.Mutex
	change *sync.Cond
}

func (s *sleeper) init() { s.change = sync.NewCond(&s.mu) }

// wait sleeps while *word is seen.
func (s *sleeper) wait(word *atomic.Uint32, seen uint32) {
	s.mu.Lock()
	for word.Load() == seen {
		s.change.Wait()
	}
	s.mu.Unlock()
}

// wake is called after the word has changed.
func (s *sleeper) wake(*atomic.Uint32) {
	s.mu.Lock()
	s.change.Broadcast()
	s.mu.Unlock()
}
