package http

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"remote-client-server/runtime/queue"
)

func TestDrainFinishesWhatWasAdmitted(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	// The keep-alive connection is there before the end begins.
	probe := h.dial("GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
	read := bufio.NewReader(probe)
	if res, err := http.ReadResponse(read, nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	} else {
		io.Copy(io.Discard, res.Body)
	}
	const clients = 5
	answers := make(chan answer, clients)
	for range clients {
		go func() { answers <- h.post("/v1/embeddings", one) }()
	}
	<-entered
	eventually(t, "four wait", func() bool { return h.q.Waiting() == clients-1 })

	drained := make(chan error, 1)
	go func() { drained <- h.Drain(context.Background()) }()
	eventually(t, "draining", func() bool { return h.Phase() == Draining })
	io.WriteString(probe, "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(read, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 503 || string(b) != `{"status":"draining"}` {
		t.Errorf("health while draining: %d %s", res.StatusCode, b)
	}
	if a := h.post("/v1/embeddings", one); a.status != 503 || a.header.Get("Retry-After") != "5" {
		t.Errorf("new work while draining: %d %s", a.status, a.body)
	}
	release()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for range clients {
		if a := <-answers; a.status != 200 {
			t.Errorf("an admitted job: %d %s", a.status, a.body)
		}
	}
	h.Ready(Loaded{}) // too late
	if h.Phase() != Draining {
		t.Error("the server came back")
	}
}

func TestDrainTellsThoseItMustCancel(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	answers := make(chan answer, 2)
	go func() { answers <- h.post("/api/embeddings", one) }()
	<-entered
	go func() { answers <- h.post("/api/embeddings", one) }()
	eventually(t, "one waits", func() bool { return h.q.Waiting() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	for range 2 {
		if a := <-answers; a.status != 503 || !strings.HasPrefix(a.body, `{"status":"cancelled",`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func TestDrainStopsEncoding(t *testing.T) {
	h := open(t)
	calls := 0
	h.model.encode = func() {
		calls++
		h.SetPhase(Draining)
	}
	if a := h.post("/v1/embeddings", `{"input":["a","b","c"]}`); a.status != 503 || !strings.Contains(a.body, "shutting down") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if calls != 1 {
		t.Errorf("%d texts were encoded", calls)
	}
}

// slow asks for an answer that no socket holds and does not read it.
func (h *house) slow() net.Conn {
	h.t.Helper()
	c := h.dial(request("/v1/embeddings", `{"input":["a"`+strings.Repeat(`,"a"`, 200_000)+`]}`))
	h.notes.heard(h.t, "the job is done", func() bool { return slices.Equal(h.notes.jobs, []string{"done"}) })
	return c
}

func TestDrainWaitsForASlowReader(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxInputs = 1 << 20 })
	h.least = time.Millisecond
	c := h.slow()
	stalled := h.dial("POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{") // nothing is owed to it
	defer stalled.Close()
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(context.Background()) }()
	eventually(t, "draining", func() bool { return h.Phase() == Draining })
	time.Sleep(10 * drainLook)
	select {
	case err := <-drained:
		t.Fatal("ended before the answer was taken: ", err)
	default:
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != res.ContentLength {
		t.Errorf("%d of %d bytes, %v", n, res.ContentLength, err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainEndsForAReaderThatStopped(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxInputs = 1 << 20 })
	h.least = time.Millisecond
	c := h.slow()
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(ctx) }()
	eventually(t, "draining", func() bool { return h.Phase() == Draining })
	time.Sleep(2 * drainLook) // the queue is empty, so only the answer is waited for
	cancel()
	if err := <-drained; err == nil || !strings.Contains(err.Error(), "1 answers were not taken in time") {
		t.Errorf("Drain: %v", err)
	}
	c.Close()
}

// TestDrainBeforeServe ends whichever of the two comes first.
func TestDrainBeforeServe(t *testing.T) {
	for range 50 {
		s := New(Options{Name: "x", Type: "embed", Queue: queue.New(queue.Options{}), Observer: &notes{}, MaxBody: 1, MaxInputs: 1})
		s.least = 0
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
}
