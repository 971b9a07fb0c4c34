package http

import (
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Bounds of request bodies, besides the size of one.
const (
	// bodiesAtOnce times the largest body is the most that bodies may take
	// together between their arrival and the end of decoding.
	bodiesAtOnce = 4
	// answersAtOnce times the largest body is the most that answers may take
	// together between their making and the moment that their clients have
	// taken them.
	answersAtOnce = 8
	// freeBody bytes of each body and answer do not count, so that large requests cannot
	// shut out small ones. Up to this size an unread body is read to its end
	// instead of closing the connection.
	freeBody = 64 << 10
	// uploadRetry is when to ask again after bodiesAtOnce.
	uploadRetry = time.Second
)

// budget is a number of bytes that requests share.
type budget struct {
	used  atomic.Int64
	limit int64
}

// take takes n bytes, or none if there are not so many. Who comes alone gets as
// much as it needs.
func (b *budget) take(n int64) bool {
	if n <= 0 {
		return true
	}
	if used := b.used.Add(n); used > b.limit && used > n {
		b.used.Add(-n)
		return false
	}
	return true
}

var (
	errBusy  = errors.New("too many large requests at once")
	errSlow  = errors.New("too many large answers wait for their clients")
	errLarge = errors.New("the body is too large")
)

// body reads the request's body; it answers itself when that fails. The room
// for it grows as bytes arrive, whatever length was announced, and is returned
// by dropBody.
func (c *call) body() ([]byte, bool) {
	c.read = true
	in := c.ctx.RequestBodyStream()
	if in == nil {
		return c.ctx.PostBody(), true
	}
	b, err := c.receive(in, c.ctx.Request.Header.ContentLength())
	if err == nil {
		return b, true
	}
	c.fail(c.unreceived(err))
	c.hangUp(err)
	return nil, false
}

// receive reads a body of this length; -1 is not known.
func (c *call) receive(in io.Reader, length int) ([]byte, error) {
	most := length
	if length < 0 {
		most = c.s.opt.MaxBody + 1 // one more shows that it is too large
	} else if length > c.s.opt.MaxBody {
		return nil, errLarge
	}
	b := make([]byte, 0, min(most, 4<<10))
	for len(b) < most {
		if len(b) == cap(b) {
			size := min(most, 2*cap(b))
			if !c.grow(size) {
				return nil, errBusy
			}
			b = append(make([]byte, 0, size), b...)
		}
		n, err := in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF) && len(b) < length:
			return nil, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		case c.s.Phase() == Draining:
			return nil, errDraining
		}
	}
	if len(b) > c.s.opt.MaxBody {
		return nil, errLarge
	}
	return b, nil
}

var errDraining = errors.New("the server is ending")

// grow takes from the budget what a buffer of this size counts.
func (c *call) grow(size int) bool {
	more := max(int64(size)-freeBody, 0) - c.taken
	if !c.s.bodies.take(more) {
		return false
	}
	c.taken += more
	return true
}

// dropBody gives back the room of the body, which is not used any more.
func (c *call) dropBody() {
	c.s.bodies.used.Add(-c.taken)
	c.taken = 0
}

// unreceived is the failure of a request of which not all could be read.
func (c *call) unreceived(err error) failure {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, errBusy):
		return failure{status: fasthttp.StatusServiceUnavailable, message: err.Error(), code: "server_busy", retry: uploadRetry}
	case errors.Is(err, errDraining):
		return notServing(Draining)
	case errors.Is(err, errLarge), errors.Is(err, fasthttp.ErrBodyTooLarge):
		return failure{
			status: fasthttp.StatusRequestEntityTooLarge, code: "request_too_large",
			message: "the body is larger than " + strconv.Itoa(c.s.opt.MaxBody) + " bytes",
		}
	case errors.As(err, &small):
		return failure{
			status:  fasthttp.StatusRequestHeaderFieldsTooLarge,
			message: "the header is larger than " + strconv.Itoa(headerBytes) + " bytes",
		}
	case late(err):
		return failure{status: fasthttp.StatusRequestTimeout, message: "the request did not arrive in time"}
	}
	return failure{status: fasthttp.StatusBadRequest, message: "not a valid HTTP request"}
}

// late says whether a read ended by its deadline.
func late(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// hangUp closes the connection behind the answer to a request of which not all
// was read, and why; nil is for want of interest.
func (c *call) hangUp(why error) {
	c.ctx.SetConnectionClose()
	if w, ok := c.ctx.Conn().(*conn); ok && !late(why) {
		w.unread.Store(true)
	}
}

// leaveBody is for a request that was answered without its body: a large one
// ends the connection.
func (c *call) leaveBody() {
	n := c.ctx.Request.Header.ContentLength()
	if !c.read && c.ctx.RequestBodyStream() != nil && (n == -1 || n > freeBody) {
		c.hangUp(nil)
	}
}
