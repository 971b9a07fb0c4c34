package http

import (
	"errors"
	"io"
	"net"
	"os"
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

// conn is a client's connection. A write fails once the client has not taken
// writeChunk bytes within stall: unlike a limit on the whole answer, that ends a reader
// that has stopped and spares one that is slow, or a stream that is long.
type conn struct {
	net.Conn
	ln     *listener
	raw    syscall.RawConn // nil where the system has none
	unread atomic.Bool     // a body was refused before it was read
	owed   atomic.Bool     // the answer of an admitted job is not out yet
	closed atomic.Bool
}

// Read is called for the next request when the last answer has been flushed.
func (c *conn) Read(b []byte) (int, error) {
	c.settle()
	return c.Conn.Read(b)
}

func (c *conn) Write(b []byte) (int, error) {
	written := 0
	for {
		n := min(len(b), writeChunk)
		if err := c.SetWriteDeadline(time.Now().Add(c.ln.stall)); err != nil {
			return written, err
		}
		m, err := c.Conn.Write(b[:n])
		written += m
		if errors.Is(err, os.ErrDeadlineExceeded) && c.owed.CompareAndSwap(true, false) {
			c.ln.owed.Add(-1)
			c.ln.lost.Add(1)
		}
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
	c.settle()
	err := c.Conn.Close()
	if c.closed.CompareAndSwap(false, true) {
		c.ln.open.Add(-1)
	}
	return err
}

// owe notes that a job of this client was admitted: the server does not end
// before the answer is out, or the time for it is over.
func (c *conn) owe() {
	if c.owed.CompareAndSwap(false, true) {
		c.ln.owed.Add(1)
	}
}

func (c *conn) settle() {
	if c.owed.CompareAndSwap(true, false) {
		c.ln.owed.Add(-1)
	}
}

// gone says whether the client has closed the connection.
func (c *conn) gone() bool { return c.raw != nil && peerGone(c.raw) }
