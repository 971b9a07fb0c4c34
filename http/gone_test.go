package http

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

func TestFault44_ClientGone(t *testing.T) {
	for path, body := range map[string]string{"/v1/embeddings": one, "/api/generate": one, "/v2/models/tiny/infer": inferOne} {
		t.Run(path, func(t *testing.T) {
			h := open(t)
			entered, release := h.gate()
			defer release()
			running := h.dial(request(path, body) + "\r\n") // what follows a request hides nothing
			<-entered
			waiting := h.dial(request(path, body) + request(path, body)[:20])
			eventually(t, "one waits", func() bool { return h.q.Waiting() == 1 })
			waiting.Close()
			eventually(t, "the waiting job left the queue", func() bool { return h.q.Waiting() == 0 })
			running.Close()
			h.notes.heard(t, "both jobs are cancelled", func() bool {
				return slices.Equal(h.notes.jobs, []string{"cancelled", "cancelled"})
			})
			release()
			h.healthy()
			eventually(t, "nothing is watched", func() bool {
				h.watch.mu.Lock()
				defer h.watch.mu.Unlock()
				return len(h.watch.clients) == 0 && !h.watch.armed
			})
		})
	}
}

// TestHalfClosed has clients that end only their sending side, which TCP does
// not tell from leaving: they are told that their job was cancelled.
func TestHalfClosed(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	c := h.dial(request("/api/embeddings", one))
	<-entered
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 503 ")) || !bytes.Contains(b, []byte(`{"status":"cancelled",`)) {
		t.Errorf("%v %s", err, b)
	}
}

// TestHalfClosedInTheLastMoment has the client's end noticed by nothing but the
// look before the answer.
func TestHalfClosedInTheLastMoment(t *testing.T) {
	h := open(t)
	var c net.Conn
	sent := make(chan struct{})
	h.run = func(batch []*queue.Job) {
		<-sent
		compute(batch[0].Task().(*embed.Work))
		c.(*net.TCPConn).CloseWrite()
		h.watch.mu.Lock() // and so the watch is busy
		eventually(t, "the end has arrived", func() bool {
			for w := range h.watch.clients {
				return w.gone()
			}
			return false
		})
		batch[0].Finish(nil)
		h.watch.mu.Unlock()
	}
	c = h.dial(request("/v1/embeddings", one))
	close(sent)
	if b, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 503 ")) {
		t.Errorf("%v %s", err, b)
	}
}

func TestClientGoneWhileItsTextsAreEncoded(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxInputs = 1000 })
	var calls atomic.Int64
	entered := make(chan struct{}, 1000)
	h.model.encode = func() {
		calls.Add(1)
		entered <- struct{}{}
		time.Sleep(5 * time.Millisecond)
	}
	c := h.dial(request("/v1/embeddings", `{"input":["a"`+strings.Repeat(`,"a"`, 999)+`]}`))
	<-entered
	c.Close()
	h.notes.heard(t, "an answer", func() bool { return slices.Equal(h.notes.requests, []string{"embeddings 503"}) })
	if n := calls.Load(); n == 1000 {
		t.Errorf("all %d texts were encoded", n)
	}
	if len(h.notes.jobs) > 0 {
		t.Errorf("jobs %v", h.notes.jobs)
	}
}
