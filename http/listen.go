package http

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of accepting.
const (
	maxConns = 16 << 10 // connections at a time, where descriptors allow so many
	refusals = 8        // connections at a time that are only told to go
	spare    = 1 << 10  // workers of fasthttp above maxConns: it frees one a little after its connection

	acceptPause    = 5 * time.Millisecond // after a first failure; doubles up to the next
	acceptPauseMax = time.Second
	acceptLogEvery = time.Second
)

// connLimit is the most connections for a process that may hold this many
// descriptors; 0 is not known. A part stays free for the listener, files, and
// connections that are being refused.
func connLimit(descriptors uint64) int64 {
	if descriptors == 0 {
		return maxConns
	}
	return int64(min(maxConns, max(descriptors-min(128, descriptors/4), refusals+1)-refusals))
}

// listener hands out connections of type conn, at most max at a time; the next
// ones get a 503. A failure to accept, such as a lack of descriptors, is
// waited out: only closing ends a listener.
type listener struct {
	net.Listener
	max   int64
	stall time.Duration // stallTime, or less in a test
	open  atomic.Int64  // connections that are not closed
	owed  atomic.Int64  // those that wait for the answer of an admitted job
	lost  atomic.Int64  // such answers that were not taken in time
	// of answers that are being made and sent
	answers budget
	slots   chan struct{} // one for each connection that is being refused
	done    chan struct{} // closed by Close
	close   sync.Once
	logged  time.Time // when a failure was last told
	// told of a panic, which would end the process
	panicked func(v any)
}

func newListener(ln net.Listener, panicked func(v any)) *listener {
	return &listener{
		Listener: ln, max: connLimit(descriptors()), stall: stallTime, panicked: panicked,
		slots: make(chan struct{}, refusals), done: make(chan struct{}),
	}
}

func (l *listener) Accept() (net.Conn, error) {
	pause := acceptPause
	for {
		c, err := l.Listener.Accept()
		switch {
		case err != nil && (l.over() || errors.Is(err, net.ErrClosed)):
			return nil, net.ErrClosed
		case err != nil:
			l.tell(err)
			select {
			case <-time.After(pause):
			case <-l.done:
			}
			pause = min(2*pause, acceptPauseMax)
			continue
		}
		pause = acceptPause
		w := l.wrap(c)
		if l.open.Load() <= l.max {
			return w, nil
		}
		l.refuse(w)
	}
}

func (l *listener) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// tell logs a failure, unless one was logged just now.
func (l *listener) tell(err error) {
	if now := time.Now(); now.Sub(l.logged) >= acceptLogEvery {
		l.logged = now
		slog.Warn("connections cannot be accepted", "error", err, "open", l.open.Load())
	}
}

func (l *listener) wrap(c net.Conn) *conn {
	l.open.Add(1)
	w := &conn{Conn: c, ln: l}
	if s, ok := c.(syscall.Conn); ok {
		w.raw, _ = s.SyscallConn()
	}
	return w
}

// tooMany is the whole answer to one connection too many.
var tooMany = func() []byte {
	const body = `{"detail":"too many connections","error":{"message":"too many connections","type":"server_error","param":null,"code":"too_many_connections"}}`
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
		jsonType, len(body), body)
}()

// refuse answers without reading. The client may still be sending, so closing
// takes time (see conn.Close), which few connections get; the others may see a
// reset instead of the answer.
func (l *listener) refuse(c *conn) {
	select {
	case l.slots <- struct{}{}:
	default:
		_, _ = c.Write(tooMany) // a new socket has room for it
		_ = c.Close()
		return
	}
	c.unread.Store(true)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				l.panicked(v)
			}
			_ = c.Close()
			<-l.slots
		}()
		_, _ = c.Write(tooMany)
	}()
}
