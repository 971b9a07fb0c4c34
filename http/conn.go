package http

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits on a connection in both directions.
const (
	headerTime  = 15 * time.Second // for the whole header of a request
	bodyTime    = 2 * time.Minute  // for the whole body after it
	idleTime    = 2 * time.Minute  // between two requests
	stallTime   = 30 * time.Second // for the client to take writeChunk bytes
	lingerTime  = 5 * time.Second  // for a refused body to arrive unread
	writeChunk  = 64 << 10
	headerBytes = 16 << 10
)

// maxConns is the most connections at a time; the next one gets a 503.
const maxConns = 16 << 10

// listener hands out connections of the type below.
type listener struct {
	net.Listener
	stall time.Duration // stallTime, or less in a test
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &conn{Conn: c, stall: l.stall}
	if s, ok := c.(syscall.Conn); ok {
		w.raw, _ = s.SyscallConn()
	}
	return w, nil
}

// conn is a client's connection. A write fails once the client has not taken
// writeChunk bytes within stall: unlike a limit on the whole answer, that ends a reader
// that has stopped and spares one that is slow, or a stream that is long.
type conn struct {
	net.Conn
	stall  time.Duration   // see Write
	raw    syscall.RawConn // nil where the system has none
	unread atomic.Bool     // a body was refused before it was read
}

func (c *conn) Write(b []byte) (int, error) {
	written := 0
	for {
		n := min(len(b), writeChunk)
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return written, err
		}
		m, err := c.Conn.Write(b[:n])
		written += m
		if err != nil || n == len(b) {
			return written, err
		}
		b = b[n:]
	}
}

// Close reads what is left of a refused body first. Closing at once would
// reset the connection, and the client, still sending, would see that instead
// of the answer that says why.
func (c *conn) Close() error {
	if c.unread.Load() {
		if t, ok := c.Conn.(interface{ CloseWrite() error }); ok && t.CloseWrite() == nil {
			if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
				_, _ = io.Copy(io.Discard, c.Conn)
			}
		}
	}
	return c.Conn.Close()
}

// gone says whether the client has closed the connection.
func (c *conn) gone() bool { return c.raw != nil && peerGone(c.raw) }
