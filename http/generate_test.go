package http

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"remote-client-server/runtime/queue"
)

const (
	processing = `data: {"status": "processing", "message": "Generating..."}` + "\n\n"
	complete   = `data: {"object":"list","model":"tiny","data":[{"object":"embedding","index":0,"embedding":[1,97,0.5,-0.25]}],` +
		`"usage":{"prompt_tokens":1,"total_tokens":1}, "status": "complete", "message": "Generation complete."}` + "\n\n"
)

func TestGenerate(t *testing.T) {
	h := open(t)
	a := h.post("/api/generate", one)
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || a.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if want := processing + complete; a.body != want {
		t.Errorf("got\n%swant\n%s", a.body, want)
	}
	if len(a.header.Get("X-Job-Id")) != 32 {
		t.Errorf("%v", a.header)
	}
	h.notes.heard(t, "the stream's end", func() bool {
		return len(h.notes.requests) == 1 && h.notes.requests[0] == "generate 200" && len(h.notes.jobs) == 1 && h.notes.jobs[0] == "done"
	})
}

// TestGenerateForAnOldClient speaks HTTP/1.0, which knows no chunks.
func TestGenerateForAnOldClient(t *testing.T) {
	h := open(t)
	c := h.dial(strings.Replace(request("/api/generate", one), "HTTP/1.1", "HTTP/1.0", 1))
	b, err := io.ReadAll(c)
	head, body, _ := strings.Cut(string(b), "\r\n\r\n")
	if err != nil || body != processing+complete {
		t.Errorf("%v\n%s", err, b)
	}
	if !strings.HasPrefix(head, "HTTP/1.0 200 ") || strings.Contains(head, "Transfer-Encoding") || strings.Contains(head, "Content-Length") ||
		!strings.Contains(head, "\r\nContent-Type: text/event-stream; charset=utf-8\r\n") || !strings.Contains(head, "\r\nConnection: close") ||
		!strings.Contains(head, "\r\nX-Job-Id: ") {
		t.Error(head)
	}
	h.notes.heard(t, "the stream's end", func() bool {
		return len(h.notes.requests) == 1 && h.notes.requests[0] == "generate 200"
	})
	eventually(t, "nothing is owed", func() bool { owed, lost := h.answers(); return owed+lost == 0 })
}

func TestGenerateFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"error", errors.New("boom"), `data: {"status": "error", "message": "Job error", "detail": "boom"}`},
		{"cancelled", queue.ErrCancelled, `data: {"status": "cancelled", "message": "Job cancelled", "detail": "the job was cancelled"}`},
		{"timeout", queue.ErrDeadline, `data: {"status": "timeout", "message": "Job timeout", "detail": "the job took too long"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			h.run = func(batch []*queue.Job) { batch[0].Finish(c.err) }
			if a := h.post("/api/generate", one); a.status != 200 || a.body != processing+c.want+"\n\n" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// events sends a request to /api/generate and hands out the stream's events,
// each without its framing, which is checked.
func (h *house) events(body string) <-chan string {
	h.t.Helper()
	res, err := http.Post(h.url+"/api/generate", "application/json", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		defer res.Body.Close()
		r := bufio.NewReader(res.Body)
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				return
			}
			blank, _ := r.ReadString('\n')
			if !strings.HasPrefix(line, "data: ") || blank != "\n" || err != nil {
				out <- "broken: " + line + blank
				return
			}
			out <- strings.TrimSpace(strings.TrimPrefix(line, "data: "))
		}
	}()
	return out
}

func TestPositionsInThreeStreams(t *testing.T) {
	h := open(t)
	started, next := make(chan struct{}, 3), make(chan struct{})
	run := h.run
	h.run = func(batch []*queue.Job) {
		started <- struct{}{}
		<-next
		run(batch)
	}
	expect := func(who string, events <-chan string, want string) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Fatalf("%s: %s, want %s", who, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no event, want %s", who, want)
		}
	}
	waiting := func(n string) string {
		return `{"status": "waiting", "message": "Your position in the queue is: ` + n + `"}`
	}
	// until passes over repeated events.
	until := func(who string, events <-chan string, want string) {
		t.Helper()
		for e := range events {
			if e == want {
				return
			}
		}
		t.Fatalf("%s: never %s", who, want)
	}
	first := h.events(one)
	<-started
	running := strings.TrimSpace(strings.TrimPrefix(processing, "data: "))
	expect("first", first, running)
	second := h.events(one)
	expect("second", second, waiting("1"))
	third := h.events(one)
	expect("third", third, waiting("2"))
	expect("second, a second later", second, waiting("1"))
	expect("first, a second later", first, running)
	next <- struct{}{}
	<-started
	until("first", first, strings.TrimSpace(strings.TrimPrefix(complete, "data: ")))
	until("second", second, running)
	until("third", third, waiting("1"))
	close(next)
	until("second", second, strings.TrimSpace(strings.TrimPrefix(complete, "data: ")))
	until("third", third, running)
	until("third", third, strings.TrimSpace(strings.TrimPrefix(complete, "data: ")))
}
