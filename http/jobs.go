package http

import (
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"

	"remote-client-server/runtime/queue"
)

// remembered is how many jobs can still be asked for after their end.
const remembered = 1024

// entry is a job as its client may ask for it. Once it has ended only its last
// status is kept, without its work.
type entry struct {
	request string // the id of its request
	route   string
	job     *queue.Job // nil once it has ended
	last    queue.Status
	turn    uint64 // counts entries
}

func (e *entry) status() queue.Status {
	if e.job != nil {
		return e.job.Status()
	}
	return e.last
}

// register finds jobs by their ids and by those of their requests.
type register struct {
	mu    sync.Mutex
	live  map[string]*entry // by the job's id
	ended []*entry          // a ring
	next  int               // of ended
	turns uint64            // entries so far
}

func newRegister() *register {
	return &register{live: make(map[string]*entry)}
}

func (r *register) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns++
	e.turn = r.turns
	r.live[e.job.ID()] = e
}

// end remembers the job's last status. It is called once for each job.
func (r *register) end(j *queue.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.live[j.ID()]
	if e == nil {
		return
	}
	delete(r.live, j.ID())
	e = &entry{request: e.request, route: e.route, last: j.Status()}
	if len(r.ended) < remembered {
		r.ended = append(r.ended, e)
		return
	}
	r.ended[r.next] = e
	r.next = (r.next + 1) % remembered
}

// find looks a job up by its own or its request's id. A live one wins over one
// that has ended, and then the latest wins.
func (r *register) find(id string) (entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.live[id]
	if found == nil {
		for _, e := range r.live {
			if e.request == id && (found == nil || e.turn > found.turn) {
				found = e
			}
		}
	}
	if found != nil {
		return *found, true
	}
	for i := range r.ended { // the newest first
		e := r.ended[(r.next+len(r.ended)-1-i)%len(r.ended)]
		if e.last.ID == id || e.request == id {
			return *e, true
		}
	}
	return entry{}, false
}

// jobs lists the jobs that have not ended, in the order in which they run.
func (c *call) jobs() {
	list := c.s.opt.Queue.Statuses()
	running := slices.IndexFunc(list, func(s queue.Status) bool { return s.State == queue.Waiting })
	if running < 0 {
		running = len(list)
	}
	b := make([]byte, 0, 256*len(list)+64)
	b = append(b, `{"jobs":[`...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		c.s.jobs.mu.Lock()
		e := c.s.jobs.live[s.ID]
		c.s.jobs.mu.Unlock()
		if e == nil { // admitted, but not entered yet
			e = new(entry)
		}
		b = appendJob(b, e, s)
	}
	b = append(b, `],"waiting":`...)
	b = strconv.AppendInt(b, int64(len(list)-running), 10)
	b = append(b, `,"running":`...)
	b = strconv.AppendInt(b, int64(running), 10)
	c.json(append(b, '}'))
}

// oneJob tells of a job, and on DELETE cancels it.
func (c *call) oneJob() {
	e, ok := c.s.jobs.find(c.to.id)
	if !ok {
		c.fail(failure{status: fasthttp.StatusNotFound, code: "job_not_found", message: "no such job"})
		return
	}
	if c.ctx.IsDelete() {
		if e.job != nil {
			e.job.Cancel() // a no-op if it has ended just now
		}
		if s := e.status(); e.job == nil || s.State != queue.Cancelled {
			c.fail(failure{status: fasthttp.StatusConflict, code: "job_ended", message: "the job has ended: " + s.State.String()})
			return
		}
	}
	c.json(appendJob(nil, &e, e.status()))
}

func appendJob(b []byte, e *entry, s queue.Status) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, s.ID)
	b = append(b, `,"request_id":`...)
	b = appendString(b, e.request)
	b = append(b, `,"route":`...)
	b = appendString(b, e.route)
	b = append(b, `,"state":`...)
	b = appendString(b, s.State.String())
	b = append(b, `,"position":`...)
	b = strconv.AppendInt(b, int64(s.Position), 10)
	b = append(b, `,"eta_seconds":`...)
	if s.Known {
		b = appendSeconds(b, s.Left.Seconds())
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"waited_seconds":`...)
	b = appendSeconds(b, s.Waited.Seconds())
	b = append(b, `,"running_seconds":`...)
	b = appendSeconds(b, s.Ran.Seconds())
	b = append(b, `,"cost":`...)
	b = strconv.AppendInt(b, int64(s.Cost), 10)
	return append(b, '}')
}

// appendSeconds appends a time to the millisecond.
func appendSeconds(b []byte, s float64) []byte {
	return strconv.AppendFloat(b, math.Round(s*1e3)/1e3, 'f', -1, 64)
}
