package http

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// closeTime is how long connections get at least to take their answers
	// after the last job has ended.
	closeTime = 5 * time.Second
	// drainLook is how often Drain looks whether they have.
	drainLook = 20 * time.Millisecond
)

// Drain ends the server: health turns 503 and new work is refused at once, the
// jobs that were admitted finish, and the connections are closed once their
// clients have taken the answers. When ctx ends first, the jobs that are left
// are cancelled, which their clients are still told within closeTime. The
// error is nil if all jobs were done and their answers written.
func (s *Server) Drain(ctx context.Context) error {
	s.SetPhase(Draining)
	_, before := s.answers()
	err := s.opt.Queue.Drain(ctx)
	s.hangUp(ctx)
	if owed, lost := s.answers(); owed+lost > before {
		n := owed + lost - before
		err = errors.Join(err, fmt.Errorf("http: %d answers were not taken in time", n))
	}
	return err
}

// hangUp closes the listener and then the connections: those that wait for the
// answer of a job when they have it or ctx ends, but not before closeTime, and
// those that do not after closeTime.
func (s *Server) hangUp(ctx context.Context) {
	least := time.Now().Add(s.least)
	over := func(now time.Time) bool { return now.After(least) && ctx.Err() != nil }
	s.mu.Lock()
	if s.ln != nil {
		_ = s.ln.Close() // fasthttp may not know it yet
	}
	s.mu.Unlock()
	shut, cancel := context.WithCancel(context.Background())
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer func() {
			if v := recover(); v != nil {
				s.panicked(v)
			}
		}()
		_ = s.fast.ShutdownWithContext(shut) // it fails for what is left, and that is counted here
	}()
	defer func() {
		cancel()
		<-closed
	}()
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		owed, _ := s.answers()
		now := time.Now()
		if over(now) || owed == 0 && now.After(least) {
			return
		}
		select {
		case <-closed:
			if owed == 0 {
				return
			}
		default:
		}
		<-tick.C
	}
}

// answers counts the clients that wait for the answer of a job, and those that
// were given up because they did not take it.
func (s *Server) answers() (owed, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return 0, 0
	}
	return s.ln.owed.Load(), s.ln.lost.Load()
}
