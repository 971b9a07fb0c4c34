package http

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// times are a connection's limits; those of a test are shorter.
type times struct {
	header time.Duration // for the whole header of a request
	body   time.Duration // for the whole body after it
	idle   time.Duration // between two requests
}

// settle puts the usual times where none are given.
func (t *times) settle() {
	t.header = cmp.Or(t.header, 15*time.Second)
	t.body = cmp.Or(t.body, 2*time.Minute)
	t.idle = cmp.Or(t.idle, 2*time.Minute)
}

// Limits on a connection in both directions.
const (
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
	held   atomic.Int64    // bytes of listener.answers
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
	c.ln.answers.used.Add(-c.held.Swap(0))
}

// hold takes the room of an answer until the client has taken that.
func (c *conn) hold(size int) bool {
	n := max(int64(size)-freeBody, 0)
	if !c.ln.answers.take(n) {
		return false
	}
	c.held.Add(n)
	return true
}

// gone says whether the client has closed the connection.
func (c *conn) gone() bool { return c.raw != nil && peerGone(c.raw) }
