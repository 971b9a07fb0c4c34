package http

import (
	"bufio"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"remote-client-server/runtime/queue"
)

// Times of a stream of events.
const (
	// eventTime is how often a stream repeats where its job is.
	eventTime = time.Second
	// startGrace is how long a new job may take to start without being
	// announced as waiting: the worker is idle and about to wake.
	startGrace = 20 * time.Millisecond
)

// generateEmbeddings answers /api/generate for an embedding model.
func (c *call) generateEmbeddings(m Embedder) {
	q, w, ok := c.readEmbed(m)
	if !ok {
		return
	}
	j, ok := c.submit(w)
	if !ok {
		return
	}
	c.stream(j, func() ([]byte, error) {
		b, err := c.buffer(q, w)
		if err != nil {
			return nil, err
		}
		return c.appendAnswer(b, q, w)
	})
}

// stream answers with a stream of events: where the job is, each second, and
// then its end. result writes the fields of a job that succeeded.
//
// The stream runs on a goroutine of its own after the handler has returned.
// Until it ends fasthttp keeps the request, but the state of the connection is
// its writer's alone: a client that has gone is found by the watch.
func (c *call) stream(j *queue.Job, result func() ([]byte, error)) {
	var s *stream
	c.flow([]*queue.Job{j}, func(w *bufio.Writer) {
		s = &stream{call: c, job: j, w: w}
		s.run(result)
	}, func() { s.broken() })
}

// flow answers with what write writes, as it comes. However that ends, the jobs
// end with it. broken is called, if write has begun, when it has panicked.
func (c *call) flow(jobs []*queue.Job, write func(w *bufio.Writer), broken func()) {
	c.streams = true
	h := &c.ctx.Response.Header
	c.ctx.SetContentType(sseType)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // of nginx
	run := func(w *bufio.Writer) {
		defer func() {
			if v := recover(); v != nil {
				c.s.panicked(v)
				broken()
			}
			for _, j := range jobs {
				j.Cancel() // a no-op unless the stream broke
			}
			c.leave()
			for _, j := range jobs {
				c.s.ended(j)
			}
			c.report(fasthttp.StatusOK)
		}()
		write(w)
	}
	if c.ctx.Request.Header.IsHTTP11() {
		c.ctx.SetBodyStreamWriter(run)
		return
	}
	// Older clients know no chunks: the end of the connection ends the stream.
	// fasthttp has no such answers, so the connection is taken over.
	h.SetContentLength(-2)
	h.SetProtocol([]byte("HTTP/1.0"))
	head := h.AppendBytes(nil)
	c.ctx.HijackSetNoResponse(true)
	c.ctx.Hijack(func(conn net.Conn) {
		w := bufio.NewWriter(conn)
		_, _ = w.Write(head) // an error stays with w
		run(w)
	})
}

// stream is one running stream of events.
type stream struct {
	call *call
	job  *queue.Job
	w    *bufio.Writer
	buf  []byte
}

func (s *stream) run(result func() ([]byte, error)) {
	grace := time.NewTimer(startGrace)
	defer grace.Stop()
	tick := time.NewTicker(eventTime)
	defer tick.Stop()
	announced := false // the job is known to have started
	// tell sends where the job is now.
	tell := func() error {
		if p := s.job.Position(); p > 0 {
			return s.send("", "waiting", "Your position in the queue is: "+strconv.Itoa(p), "")
		}
		if !s.job.Started() {
			return nil // it ended in the line
		}
		announced = true
		return s.send("", "processing", "Generating...", "")
	}
	for {
		var err error
		select {
		case <-s.job.Done():
			if !announced && s.job.Started() {
				if tell() != nil {
					return
				}
			}
			s.end(result)
			return
		case <-s.job.Updates():
			if !announced {
				err = tell()
			}
		case <-grace.C:
			if !announced {
				err = tell()
			}
		case <-tick.C:
			err = tell()
		}
		if err != nil {
			return
		}
	}
}

// end sends the last event.
func (s *stream) end(result func() ([]byte, error)) {
	err := s.call.outcome(s.job)
	if err == nil {
		var fields []byte
		if fields, err = result(); err == nil {
			s.call.s.opt.Observer.Generation()
			_ = s.send(string(fields), "complete", "Generation complete.", "")
			return
		}
	}
	f := unanswered(err)
	s.call.s.opt.Observer.Error(f.name())
	message := "Job error"
	switch {
	case errors.Is(err, queue.ErrCancelled):
		message = "Job cancelled"
	case errors.Is(err, queue.ErrDeadline):
		message = "Job timeout"
	}
	_ = s.send("", f.word, message, f.message)
}

// broken ends a stream in which a panic was caught. The client is told as of a
// job that failed; if that panics as well, the stream ends without.
func (s *stream) broken() {
	defer func() { _ = recover() }()
	_ = s.send("", "error", "Job error", "internal error")
}

// send writes one event: the fields, then status, message and, unless empty,
// detail. The spacing is that of Python's json.dumps.
func (s *stream) send(fields, status, message, detail string) error {
	b := append(s.buf[:0], "data: {"...)
	if fields != "" {
		b = append(append(b, fields...), ", "...)
	}
	b = append(b, `"status": `...)
	b = appendString(b, status)
	b = append(b, `, "message": `...)
	b = appendString(b, message)
	if detail != "" {
		b = append(b, `, "detail": `...)
		b = appendString(b, detail)
	}
	b = append(b, "}\n\n"...)
	s.buf = b
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.w.Flush()
}
