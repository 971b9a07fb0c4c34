package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// State is where a job is in its life.
type State int

const (
	Waiting State = iota
	Running
	Done      // finished without an error
	Failed    // finished with an error
	Cancelled // by its client or by the server's shutdown
	TimedOut
)

func (s State) String() string {
	return [...]string{"waiting", "running", "done", "failed", "cancelled", "timeout"}[s]
}

// Event is a piece of news from the worker about a running job, such as a step
// that is done. What it holds is between the worker and the reader.
type Event any

// Job is one task in the queue. Its methods are safe for concurrent use.
type Job struct {
	q       *Queue
	id      string
	task    Task
	cost    int
	ctx     context.Context
	cancel  context.CancelCauseFunc
	release func() bool // lets go of the client's context; nil if that never ends
	done    chan struct{}
	created time.Time

	// Guarded by q.mu.
	next, prev *Job
	state      State
	err        error
	started    bool
	waited     time.Duration
	ended      time.Time
	timer      *time.Timer // the timeout of a running job
	events     []Event
	updates    chan struct{} // made by Updates
}

// ID is the job's name: 32 hexadecimal digits that no one can guess, in order
// of creation.
func (j *Job) ID() string { return j.id }

// Task is the work itself. The worker owns its results until Done, and for
// good when the job ended with an error.
func (j *Job) Task() Task { return j.task }

// Context ends with the job: on success, failure, cancellation and timeout.
// The worker stops working on a job whose context has ended.
func (j *Job) Context() context.Context { return j.ctx }

// Done is closed when the job has ended.
func (j *Job) Done() <-chan struct{} { return j.done }

// Err is nil until the job has ended and after a success. It matches
// ErrCancelled or ErrDeadline for a job that was ended early.
func (j *Job) Err() error {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.err
}

// State says where the job is in its life.
func (j *Job) State() State {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.state
}

// Position is the job's place in the line: 1 is next, 0 is not waiting.
func (j *Job) Position() int {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if j.state != Waiting {
		return 0
	}
	n := 1
	for p := j.prev; p != nil; p = p.prev {
		n++
	}
	return n
}

// Started says whether the worker has taken the job, also after its end.
func (j *Job) Started() bool {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.started
}

// Waited is the time between admission and the start of processing, or, for a
// job that has not started, until now or its end.
func (j *Job) Waited() time.Duration {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	switch {
	case j.started:
		return j.waited
	case j.state > Running:
		return j.ended.Sub(j.created)
	}
	return time.Since(j.created)
}

// Emit tells the reader of the job something. It never blocks and nothing is
// lost: events are kept until they are read, so a task bounds how many it
// emits. Events after the job's end are dropped.
func (j *Job) Emit(e Event) {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if j.state == Running {
		j.events = append(j.events, e)
		j.update()
	}
}

// Events returns what was emitted since the last call, oldest first.
func (j *Job) Events() []Event {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	e := j.events
	j.events = nil
	return e
}

// Updates receives a value after the job has started and after events were
// emitted; several such changes may share one value. It is for one reader.
func (j *Job) Updates() <-chan struct{} {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if j.updates == nil {
		j.updates = make(chan struct{}, 1)
		if j.state != Waiting {
			j.update()
		}
	}
	return j.updates
}

// Progress tells the queue that the worker has done so much of the cost of the
// batch that this job runs in. What a batch tells of its parts makes estimates
// true from its first part on.
func (j *Job) Progress(cost int) {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if j.started {
		j.q.pace.progress(time.Now(), cost)
	}
}

// Spare tells the queue that so much of the job's cost will not be needed: it was an estimate.
func (j *Job) Spare(cost int) {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if p := &j.q.pace; j.started {
		p.cost = max(0, p.cost-cost)
	}
}

// Cancel ends the job with ErrCancelled. A waiting job leaves the line at
// once; the worker learns of a running one's end from its context.
func (j *Job) Cancel() { j.Finish(ErrCancelled) }

// Finish ends the job; the first call wins and the others do nothing. The
// worker calls it with nil once the task's results are complete, or with the
// error of the job's context.
func (j *Job) Finish(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = endOf(j.ctx) // the worker has seen the context's end before the queue has
	}
	q := j.q
	q.mu.Lock()
	if j.state > Running {
		q.mu.Unlock()
		return
	}
	if j.state == Waiting {
		q.unlink(j)
	}
	j.err, j.ended = err, time.Now()
	switch {
	case err == nil:
		j.state = Done
	case errors.Is(err, ErrCancelled):
		j.state = Cancelled
	case errors.Is(err, ErrDeadline):
		j.state = TimedOut
	default:
		j.state = Failed
	}
	if j.timer != nil {
		j.timer.Stop()
	}
	if j.release != nil {
		j.release()
	}
	delete(q.live, j)
	last := q.closed && len(q.live) == 0
	q.mu.Unlock()

	j.cancel(err)
	close(j.done)
	if last {
		close(q.drained)
	}
}

// begin makes a job that left the line a running one. q.mu is held.
func (j *Job) begin() {
	j.state = Running
	j.started = true
	j.waited = time.Since(j.created)
	if t := j.q.opt.Timeout; t > 0 {
		j.timer = time.AfterFunc(t, func() { j.Finish(ErrDeadline) })
	}
	j.update()
}

// update tells the reader, if there is one. q.mu is held.
func (j *Job) update() {
	if j.updates == nil {
		return
	}
	select {
	case j.updates <- struct{}{}:
	default:
	}
}

// newID is 48 bits of Unix milliseconds and 80 random bits.
func newID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(b[6:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
