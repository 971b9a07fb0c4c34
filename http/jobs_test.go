package http

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"remote-client-server/runtime/queue"
)

// jobAnswer is a job as clients read it.
type jobAnswer struct {
	ID        string   `json:"id"`
	RequestID string   `json:"request_id"`
	Route     string   `json:"route"`
	State     string   `json:"state"`
	Position  int      `json:"position"`
	ETA       *float64 `json:"eta_seconds"`
	Waited    float64  `json:"waited_seconds"`
	Ran       float64  `json:"running_seconds"`
	Cost      int      `json:"cost"`
}

func (h *house) jobNow(id string) (j jobAnswer, status int) {
	h.t.Helper()
	a := h.do("GET", "/api/jobs/"+id, "")
	if a.status == 200 {
		d := json.NewDecoder(strings.NewReader(a.body))
		d.DisallowUnknownFields()
		if err := d.Decode(&j); err != nil {
			h.t.Fatal(err, a.body)
		}
	}
	return j, a.status
}

// later sends a request in the background.
func (h *house) later(path, body string, headers ...string) chan answer {
	c := make(chan answer, 1)
	go func() { c <- h.do("POST", path, body, headers...) }()
	return c
}

func TestJobs(t *testing.T) {
	h := open(t)
	h.q.Measured(10, 10*time.Millisecond)
	entered, release := h.gate()
	defer release()
	running := h.later("/v1/embeddings", `{"input":"abc"}`, "X-Request-Id: runs")
	<-entered
	waiting := h.later("/api/embeddings", `{"input":"ab"}`, "X-Request-Id: waits")
	eventually(t, "a job waits", func() bool { return h.q.Waiting() == 1 })
	third := h.later("/v2/models/tiny/infer", inferOne, "X-Request-Id: third")
	eventually(t, "two jobs wait", func() bool { return h.q.Waiting() == 2 })

	var list struct {
		Jobs             []jobAnswer
		Waiting, Running int
	}
	eventually(t, "all jobs are entered", func() bool { // they are a moment after their admission
		if err := json.Unmarshal([]byte(h.do("GET", "/api/jobs", "").body), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Jobs) == 3 && list.Jobs[2].RequestID != ""
	})
	if list.Waiting != 2 || list.Running != 1 {
		t.Errorf("%d wait, %d run", list.Waiting, list.Running)
	}
	for i, want := range []jobAnswer{
		{RequestID: "runs", Route: "embeddings", State: "running", Cost: 3},
		{RequestID: "waits", Route: "embeddings", State: "waiting", Position: 1, Cost: 2},
		{RequestID: "third", Route: "v2/models/{id}/infer", State: "waiting", Position: 2, Cost: 1},
	} {
		got := list.Jobs[i]
		if len(got.ID) != 32 || got.ETA == nil {
			t.Errorf("job %d: %+v", i, got)
		}
		for _, id := range []string{got.ID, want.RequestID} {
			if j, _ := h.jobNow(id); j.ID != got.ID || j.Position != want.Position || j.State != want.State {
				t.Errorf("asked for %s: %+v", id, j)
			}
		}
		got.ID, got.ETA, got.Waited, got.Ran = "", nil, 0, 0
		if got != want {
			t.Errorf("job %d: %+v, want %+v", i, got, want)
		}
	}

	// Cancelled in the line.
	a := h.do("DELETE", "/api/jobs/waits", "")
	if a.status != 200 || !strings.Contains(a.body, `"state":"cancelled","position":0`) {
		t.Errorf("cancel: %d %s", a.status, a.body)
	}
	const cancelled = `{"status":"cancelled","detail":"the job was cancelled","error":{"message":"the job was cancelled","type":"server_error","param":null,"code":"cancelled"}}`
	if a := <-waiting; a.status != 503 || a.body != cancelled {
		t.Errorf("the cancelled request: %d %s", a.status, a.body)
	}
	if j, _ := h.jobNow("third"); j.Position != 1 {
		t.Errorf("the one behind is at %d", j.Position)
	}
	// Cancelled while it runs: the client does not wait for the worker.
	if a := h.do("DELETE", "/api/jobs/"+list.Jobs[0].ID, ""); a.status != 200 {
		t.Errorf("cancel: %d %s", a.status, a.body)
	}
	if a := <-running; a.status != 503 || a.header.Get("X-Job-Id") != list.Jobs[0].ID {
		t.Errorf("the running request: %d %s", a.status, a.body)
	}
	release()
	if a := <-third; a.status != 200 {
		t.Errorf("the third: %d %s", a.status, a.body)
	}

	// Ended ones are remembered, and cannot be cancelled.
	for id, want := range map[string]string{"runs": "cancelled", "waits": "cancelled", "third": "done"} {
		eventually(t, id+" has ended", func() bool { j, _ := h.jobNow(id); return j.State == want && j.ETA == nil })
		if a := h.do("DELETE", "/api/jobs/"+id, ""); a.status != 409 || a.body != `{"detail":"the job has ended: `+want+`"}` {
			t.Errorf("cancel %s: %d %s", id, a.status, a.body)
		}
	}
	if a := h.do("DELETE", "/api/jobs/nobody", ""); a.status != 404 || a.body != `{"detail":"no such job"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.notes.heard(t, "one generation, two that ran and were cancelled or done", func() bool {
		return h.notes.answered == 1 && len(h.notes.ran) == 2
	})
}

func TestCancelledStream(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	stream := h.later("/api/generate", one, "X-Request-Id: s")
	<-entered
	eventually(t, "the job is entered", func() bool { _, status := h.jobNow("s"); return status == 200 })
	h.do("DELETE", "/api/jobs/s", "")
	if a := <-stream; !strings.HasSuffix(a.body, `data: {"status": "cancelled", "message": "Job cancelled", "detail": "the job was cancelled"}`+"\n\n") {
		t.Errorf("%s", a.body)
	}
}

// TestRegisterForgets keeps the last ended jobs only, and none of their work.
func TestRegisterForgets(t *testing.T) {
	r, q := newRegister(), queue.New(queue.Options{Jobs: 2 * remembered})
	var ids []string
	for range remembered + 10 {
		j, err := q.Submit(t.Context(), unit{})
		if err != nil {
			t.Fatal(err)
		}
		r.add(&entry{request: "r" + j.ID(), job: j})
		j.Cancel()
		r.end(j)
		r.end(j) // a second time changes nothing
		ids = append(ids, j.ID())
	}
	for i, id := range ids {
		e, ok := r.find(id)
		if byName, _ := r.find("r" + id); byName != e {
			t.Fatalf("job %d by its request: %+v, %+v", i, byName, e)
		}
		if ok != (i >= 10) {
			t.Fatalf("job %d of %d is remembered: %v", i, len(ids), ok)
		}
		if ok && (e.job != nil || e.last.State != queue.Cancelled) {
			t.Fatalf("job %d: %+v", i, e)
		}
	}
	if len(r.live) > 0 {
		t.Errorf("%d live", len(r.live))
	}
}

// TestOneIDForSeveralRequests cancels them one after the other, the latest
// first.
func TestOneIDForSeveralRequests(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	first := h.later("/v1/embeddings", one, "X-Request-Id: same")
	<-entered
	second := h.later("/v1/embeddings", one, "X-Request-Id: same")
	eventually(t, "both are entered", func() bool { j, _ := h.jobNow("same"); return j.State == "waiting" })
	for _, c := range []chan answer{second, first} {
		if a := h.do("DELETE", "/api/jobs/same", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := <-c; a.status != 503 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := h.do("DELETE", "/api/jobs/same", ""); a.status != 409 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

type unit struct{}

func (unit) Cost() int { return 1 }

func TestClientsOwnTimeout(t *testing.T) {
	h := open(t)
	entered, release := h.gate()
	defer release()
	first := h.later("/v1/embeddings", one)
	<-entered
	const late = `{"status":"timeout","detail":"the job took too long","error":{"message":"the job took too long","type":"server_error","param":null,"code":"timeout"}}`
	if a := h.do("POST", "/v1/embeddings", one, "X-Request-Timeout: 0.05"); a.status != 504 || a.body != late {
		t.Errorf("in the line: %d %s", a.status, a.body)
	}
	for _, word := range []string{"0", "-1", "soon", "NaN", "Inf", "1e9", "1s"} {
		if a := h.do("POST", "/v1/embeddings", one, "X-Request-Timeout: "+word); a.status != 400 || !strings.Contains(a.body, `"param":"X-Request-Timeout"`) {
			t.Errorf("%s: %d %s", word, a.status, a.body)
		}
	}
	release()
	if a := <-first; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.do("POST", "/v1/embeddings", one, "X-Request-Timeout: 20"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestFullQueueReadsNoBody refuses before the body is looked at: a wrong one
// gets the same answer.
func TestFullQueueReadsNoBody(t *testing.T) {
	h := open(t, func(_ *Options, q *queue.Options) { q.Jobs = 1 })
	encoded := 0
	h.model.encode = func() { encoded++ }
	entered, release := h.gate()
	defer release()
	first := h.later("/v1/embeddings", one)
	<-entered
	second := h.later("/v1/embeddings", one)
	eventually(t, "the queue is full", h.q.Full)
	before := encoded
	for _, path := range []string{"/v1/embeddings", "/api/embeddings", "/api/generate", "/v2/models/tiny/infer"} {
		for _, body := range []string{one, "nonsense"} {
			if a := h.post(path, body); a.status != 429 || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	}
	if encoded != before {
		t.Error("a refused request was tokenised")
	}
	release()
	for _, c := range []chan answer{first, second} {
		if a := <-c; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}
