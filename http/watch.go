package http

import (
	"context"
	"fmt"
	"sync"
	"time"

	"remote-client-server/runtime/queue"
)

// watchTime is how often waiting connections are looked at.
const watchTime = 50 * time.Millisecond

// errGone ends what a client wanted that has gone.
var errGone = fmt.Errorf("%w: the client closed the connection", queue.ErrCancelled)

// watch notices clients that have gone: fasthttp does not read from a
// connection while its request is handled, so it cannot tell. One timer looks
// at all connections that wait, and it runs only while some do.
type watch struct {
	mu      sync.Mutex
	clients map[*conn]context.CancelCauseFunc
	timer   *time.Timer
	armed   bool
	// reused from one look to the next
	look []watched
	// told of a panic, which would end the process
	panicked func(v any)
}

type watched struct {
	c   *conn
	end context.CancelCauseFunc
}

func newWatch(panicked func(v any)) *watch {
	w := &watch{clients: make(map[*conn]context.CancelCauseFunc), panicked: panicked}
	w.timer = time.AfterFunc(time.Hour, w.poll)
	w.timer.Stop()
	return w
}

// add watches c until remove. The context ends with errGone when c's client
// goes, at once if it has gone already.
func (w *watch) add(c *conn) context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	if c.gone() {
		end(errGone)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients[c] = end
	if !w.armed {
		w.armed = true
		w.timer.Reset(watchTime)
	}
	return ctx
}

// remove ends the context of c.
func (w *watch) remove(c *conn) {
	w.mu.Lock()
	end := w.clients[c]
	delete(w.clients, c)
	w.mu.Unlock()
	if end != nil {
		end(nil)
	}
}

// poll looks at every connection once. The system calls run outside the lock;
// a connection that is removed meanwhile may be looked at once more, which can
// only end a context that has ended.
func (w *watch) poll() {
	w.mu.Lock()
	look := w.look[:0]
	for c, end := range w.clients {
		look = append(look, watched{c, end})
	}
	w.mu.Unlock()

	for _, e := range look {
		w.one(e)
	}
	clear(look) // hold on to nothing
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look = look[:0]
	if w.armed = len(w.clients) > 0; w.armed {
		w.timer.Reset(watchTime)
	}
}

// one looks at one connection. A panic ends what that client wanted; the watch
// of the others goes on.
func (w *watch) one(e watched) {
	defer func() {
		if v := recover(); v != nil {
			w.panicked(v)
			e.end(errGone)
		}
	}()
	if e.c.gone() {
		e.end(errGone)
	}
}
