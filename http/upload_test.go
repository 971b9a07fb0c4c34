package http

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

func TestFault03_BodyOverTheLimit(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxBody = 1000 })
	pad := func(n int) string { return one + strings.Repeat(" ", n-len(one)) }
	if a := h.post("/v1/embeddings", pad(1000)); a.status != 200 {
		t.Errorf("at the limit: %d %s", a.status, a.body)
	}
	const want = `{"detail":"the body is larger than 1000 bytes","error":{"message":"the body is larger than 1000 bytes","type":"invalid_request_error","param":null,"code":"request_too_large"}}`
	if a := h.post("/v1/embeddings", pad(1001)); a.status != 413 || a.body != want {
		t.Errorf("with a length: %d %s", a.status, a.body)
	}
	// A client that sends all before it reads must still get to see the answer.
	if a := h.post("/v1/embeddings", pad(8<<20)); a.status != 413 || a.body != want {
		t.Errorf("8 MiB: %d %s", a.status, a.body)
	}
	if a := h.do("POST", "/v1/embeddings", pad(2000), "Expect: 100-continue"); a.status != 413 || a.body != want {
		t.Errorf("asked first: %d %s", a.status, a.body)
	}
	chunked := func(n int) answer {
		req, _ := http.NewRequest("POST", h.url+"/v1/embeddings", io.MultiReader(strings.NewReader(pad(n))))
		req.ContentLength = -1
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return answer{res.StatusCode, res.Header, string(b)}
	}
	if a := chunked(1000); a.status != 200 {
		t.Errorf("chunked at the limit: %d %s", a.status, a.body)
	}
	if a := chunked(1001); a.status != 413 || a.body != want {
		t.Errorf("chunked: %d %s", a.status, a.body)
	}
	h.healthy()
}

// TestBodiesAtOnce fills what all bodies may take together.
func TestBodiesAtOnce(t *testing.T) {
	h := open(t)
	large := one + strings.Repeat(" ", h.opt.MaxBody-len(one))
	var idle []net.Conn
	for range 20 { // a length alone takes nothing
		idle = append(idle, h.dial(request("/v1/embeddings", large)[:200]))
	}
	var busy []net.Conn
	for range bodiesAtOnce {
		b := request("/v1/embeddings", large)
		busy = append(busy, h.dial(b[:len(b)-1]))
	}
	full := int64(bodiesAtOnce * (h.opt.MaxBody - freeBody))
	eventually(t, "all have arrived", func() bool { return h.bodies.used.Load() == full })
	for _, path := range []string{"/v1/embeddings", "/tokenize"} {
		a := h.post(path, large)
		if a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "too many large requests at once") {
			t.Errorf("one more: %d %s", a.status, a.body)
		}
	}
	if a := h.post("/v1/embeddings", one+strings.Repeat(" ", freeBody-len(one))); a.status != 200 {
		t.Errorf("a small one: %d %s", a.status, a.body)
	}
	io.WriteString(busy[0], " ")
	if res, err := http.ReadResponse(bufio.NewReader(busy[0]), nil); err != nil || res.StatusCode != 200 {
		t.Errorf("%v, %v", res, err)
	}
	for _, c := range append(busy[1:], idle...) {
		c.Close()
	}
	eventually(t, "the room is free again", func() bool { return h.bodies.used.Load() == 0 })
	if a := h.post("/v1/embeddings", large); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestWaitingJobsHoldNoBody has a job wait whose body was large.
func TestWaitingJobsHoldNoBody(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	answers := make(chan answer, 1)
	go func() { answers <- h.post("/v1/embeddings", one+strings.Repeat(" ", h.opt.MaxBody-len(one))) }()
	<-entered
	if n := h.bodies.used.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
	release()
	if a := <-answers; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	q := &embedRequest{texts: []string{"a", "b"}, prompt: new(string)}
	w, err := q.prepare(longArrays{h.model}, func() error { return nil })
	if err != nil || q.texts != nil || q.prompt != nil {
		t.Errorf("%+v, %v", q, err)
	}
	for _, text := range w.Texts {
		if len(text.IDs) != 1 || cap(text.IDs) > 16 {
			t.Errorf("%d ids in an array of %d", len(text.IDs), cap(text.IDs))
		}
	}
}

// longArrays is a model whose ids lie in arrays that are much longer.
type longArrays struct{ *fakeModel }

func (longArrays) Encode(string, string, *string) (embed.Text, error) {
	return embed.Text{IDs: make([]int32, 1, 10_000)}, nil
}

// TestAnswersAtOnce fills what answers may take together with those of clients
// that do not read: the next one is refused, small answers never are, and room
// comes back with the clients' end.
func TestAnswersAtOnce(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxBody, o.MaxInputs = 4<<20, 1 })
	wide := make([]float32, 1<<20) // 11 MB as text, more than the system's buffers take
	for i := range wide {
		wide[i] = 0.12345678
	}
	h.run = func(batch []*queue.Job) {
		for _, j := range batch {
			w := j.Task().(*embed.Work)
			if w.Texts[0].IDs[0] != 'L' {
				compute(w)
			} else {
				w.Vectors = [][]float32{wide}
			}
			j.Finish(nil)
		}
	}
	const large = `{"input":"L"}`
	h.healthy() // it listens
	h.mu.Lock()
	answers := &h.ln.answers
	h.mu.Unlock()
	var stuck []net.Conn
	full := func() bool { return answers.used.Load()+int64(len(wide)*floatText) > answers.limit }
	for range 2 * answersAtOnce {
		if full() {
			break
		}
		before := answers.used.Load()
		c := h.dial(request("/v1/embeddings", large))
		stuck = append(stuck, c)
		eventually(t, "the answer is held", func() bool { return answers.used.Load() > before })
	}
	if !full() {
		t.Fatalf("%d of %d bytes are held", answers.used.Load(), answers.limit)
	}
	for _, path := range []string{"/v1/embeddings", "/api/embeddings"} {
		if a := h.post(path, large); a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "too many large answers") {
			t.Errorf("%s: %d %.200s", path, a.status, a.body)
		}
	}
	if a := h.post("/api/generate", large); !strings.Contains(a.body, `"status": "error", "message": "Job error", "detail": "too many large answers`) {
		t.Errorf("stream: %.200s", a.body)
	}
	h.healthy()
	for _, c := range stuck {
		c.Close()
	}
	eventually(t, "the room is back", func() bool { return answers.used.Load() == 0 })
	if a := h.post("/v1/embeddings", large); a.status != 200 {
		t.Errorf("afterwards: %d %.200s", a.status, a.body)
	}
}
