package http

import (
	"sync"
	"time"

	"remote-client-server/runtime/queue"
)

// watchTime is how often waiting connections are looked at.
const watchTime = 50 * time.Millisecond

// watch cancels the jobs of clients that have gone: fasthttp does not read
// from a connection while its request is handled, so it cannot tell. One timer
// looks at all connections that wait, and it runs only while some do.
type watch struct {
	mu    sync.Mutex
	jobs  map[*conn]*queue.Job
	timer *time.Timer
	armed bool
	// reused from one look to the next
	look []watched
	// told of a panic, which would end the process
	panicked func(v any)
}

type watched struct {
	c *conn
	j *queue.Job
}

func newWatch(panicked func(v any)) *watch {
	w := &watch{jobs: make(map[*conn]*queue.Job), panicked: panicked}
	w.timer = time.AfterFunc(time.Hour, w.poll)
	w.timer.Stop()
	return w
}

// add watches c until remove; the job is cancelled when c's client goes.
func (w *watch) add(c *conn, j *queue.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs[c] = j
	if !w.armed {
		w.armed = true
		w.timer.Reset(watchTime)
	}
}

func (w *watch) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.jobs, c)
}

// poll looks at every connection once. The system calls run outside the lock;
// a connection that is removed meanwhile may be looked at once more, which can
// only cancel a job that has ended.
func (w *watch) poll() {
	defer func() {
		if v := recover(); v != nil {
			w.panicked(v)
		}
	}()
	w.mu.Lock()
	look := w.look[:0]
	for c, j := range w.jobs {
		look = append(look, watched{c, j})
	}
	w.mu.Unlock()

	for _, e := range look {
		if e.c.gone() {
			e.j.Cancel()
		}
	}
	clear(look) // hold on to nothing
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look = look[:0]
	if w.armed = len(w.jobs) > 0; w.armed {
		w.timer.Reset(watchTime)
	}
}
