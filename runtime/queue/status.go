package queue

import (
	"slices"
	"strings"
	"time"
)

// Status is what can be told of a job at one moment.
type Status struct {
	ID       string
	State    State
	Position int // in the line: 1 is next, 0 is not waiting
	Cost     int
	Waited   time.Duration // in the line, so far or in all
	Ran      time.Duration // with the worker, so far or in all
	// Left estimates how long it takes until the job has ended, at the pace
	// that was measured. Known is false while nothing was measured.
	Left  time.Duration
	Known bool
}

// Status looks at the job.
func (j *Job) Status() Status {
	q := j.q
	q.mu.Lock()
	defer q.mu.Unlock()
	position, ahead := 0, 0
	if j.state == Waiting {
		for p := j; p != nil; p = p.prev {
			position++
			ahead += p.cost
		}
	}
	return j.status(time.Now(), position, ahead)
}

// Statuses lists the jobs that have not ended: those with the worker, then the
// line from its head.
func (q *Queue) Statuses() []Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	list := make([]Status, 0, len(q.live))
	for j := range q.live {
		if j.state == Running {
			list = append(list, j.status(now, 0, 0))
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	position, ahead := 0, 0
	for j := q.head; j != nil; j = j.next {
		position++
		ahead += j.cost
		list = append(list, j.status(now, position, ahead))
	}
	return list
}

// status is the job's status; ahead is the cost of the line up to and with a
// waiting job. q.mu is held.
func (j *Job) status(now time.Time, position, ahead int) Status {
	s := Status{ID: j.id, State: j.state, Position: position, Cost: j.cost, Waited: j.waited}
	switch {
	case j.started && j.state == Running:
		s.Ran = now.Sub(j.created) - j.waited
	case j.started:
		s.Ran = j.ended.Sub(j.created) - j.waited
	case j.state == Waiting:
		s.Waited = now.Sub(j.created)
	default:
		s.Waited = j.ended.Sub(j.created)
	}
	if p := &j.q.pace; j.state <= Running && p.known() {
		s.Left, s.Known = p.wait(now, ahead), true
	}
	return s
}

// Measured tells the queue how long work of this cost took outside of it, so
// that the first estimates have something to rest on.
func (q *Queue) Measured(cost int, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pace.sample(cost, took)
}

// Full says whether a job that comes now is refused, whatever it costs. A
// caller that asks first is spared the preparation of a job in vain; Submit
// still decides.
func (q *Queue) Full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting >= q.opt.Jobs || q.opt.Cost > 0 && q.waiting > 0 && q.cost >= q.opt.Cost
}

// Load is the number of jobs that are being processed, and the cost of those
// that wait.
func (q *Queue) Load() (running, cost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.live) - q.waiting, q.cost
}
