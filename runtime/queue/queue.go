// Package queue holds the jobs that wait for the one worker of a model.
//
// Jobs start strictly in the order of their admission. The waiting line is a
// linked list under one mutex, and the worker sleeps on a channel of capacity
// one that says "the line has changed". A plain channel of jobs would carry
// them as well, but a job in a channel cannot be looked at, counted or taken
// out: with the list a waiting job knows its position, leaves the moment its
// client does, and the worker can see how much of the line fits one batch. No
// goroutine stands between the two sides, so a job costs two wake-ups, one of
// the worker and one of the waiting request.
//
// Every job has a context that ends when it is cancelled, when its client's
// context ends, and when it has been processed for longer than the timeout.
// A job that ends early is over for its client at once; the worker learns of
// it from the context and what it still computes for that job is dropped.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Errors by which a caller tells why a job was refused or ended early. They
// are matched with errors.Is; a panic in the worker is a *PanicError.
var (
	ErrFull      = errors.New("queue: full")
	ErrClosed    = errors.New("queue: closed")
	ErrCancelled = errors.New("queue: job cancelled")
	ErrDeadline  = errors.New("queue: job timed out")
)

// PanicError is the end of a job whose worker panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("queue: panic in the worker: %v", e.Value) }

// Task is the work of one job.
type Task interface {
	// Cost is the job's share of a batch, in the unit of the budget that the
	// worker takes with (tokens). It must not change after Submit.
	Cost() int
}

// Options bound a queue.
type Options struct {
	// Jobs is the most jobs that wait at a time; 0 means 512.
	Jobs int
	// Cost is the most cost that waits at a time; 0 means no bound. A job that
	// alone costs more is admitted when nothing else waits.
	Cost int
	// Timeout ends a job that has been processed for longer, counted from the
	// moment the worker takes it; 0 means never.
	Timeout time.Duration
	// OnTake, if set, is told of every batch that the worker takes. It runs on
	// the worker before the batch does and must be quick.
	OnTake func(batch []*Job)
}

const defaultJobs = 512

// Queue is a bounded first-in-first-out line of jobs. Its methods are safe for
// concurrent use.
type Queue struct {
	opt  Options
	wake chan struct{} // capacity 1: the line has grown
	shut chan struct{} // closed by Close

	mu      sync.Mutex
	head    *Job // the line, linked by Job.next and Job.prev
	tail    *Job
	waiting int
	cost    int // of the waiting jobs
	live    map[*Job]struct{}
	closed  bool
	drained chan struct{} // closed when the queue is closed and no job is live
	pace    pace
}

// New returns an empty queue.
func New(opt Options) *Queue {
	if opt.Jobs <= 0 {
		opt.Jobs = defaultJobs
	}
	return &Queue{
		opt:     opt,
		wake:    make(chan struct{}, 1),
		shut:    make(chan struct{}),
		live:    make(map[*Job]struct{}),
		drained: make(chan struct{}),
	}
}

// Submit puts t at the end of the line. It returns ErrFull or ErrClosed when t
// is not admitted, and the context's own error when that has already ended.
// When ctx ends later, the job is cancelled: a waiting one leaves the line at
// once.
func (q *Queue) Submit(ctx context.Context, t Task) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, endOf(ctx)
	}
	j := &Job{q: q, id: newID(), task: t, cost: max(t.Cost(), 0), done: make(chan struct{}), created: time.Now()}
	j.ctx, j.cancel = context.WithCancelCause(ctx)

	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		j.cancel(ErrClosed)
		return nil, ErrClosed
	case q.waiting >= q.opt.Jobs, q.opt.Cost > 0 && q.waiting > 0 && q.cost+j.cost > q.opt.Cost:
		q.mu.Unlock()
		j.cancel(ErrFull)
		return nil, ErrFull
	}
	q.push(j)
	q.live[j] = struct{}{}
	// Registered under the lock, so that no one can finish the job before it
	// knows how to let go of ctx. The function runs on its own goroutine.
	if ctx.Done() != nil {
		j.release = context.AfterFunc(ctx, func() { j.Finish(endOf(ctx)) })
	}
	q.mu.Unlock()

	q.signal()
	return j, nil
}

// Take blocks until jobs wait and returns the head of the line together with
// those right behind it whose costs fit the budget; the head comes whatever it
// costs. It returns false when the queue is closed and empty.
func (q *Queue) Take(budget int) ([]*Job, bool) {
	for {
		if batch := q.TryTake(budget); batch != nil {
			return batch, true
		}
		q.mu.Lock()
		over := q.closed && q.waiting == 0
		q.mu.Unlock()
		if over {
			return nil, false
		}
		select {
		case <-q.wake:
		case <-q.shut: // look once more: what was admitted before is still run
		}
	}
}

// TryTake is Take without waiting: nil when no job waits. A worker that lets
// jobs join while others run calls it between two steps.
func (q *Queue) TryTake(budget int) []*Job {
	q.mu.Lock()
	var batch []*Job
	cost := 0
	for j := q.head; j != nil && (len(batch) == 0 || cost+j.cost <= budget); j = q.head {
		q.unlink(j)
		j.begin()
		batch = append(batch, j)
		cost += j.cost
	}
	if batch != nil {
		q.pace.begin(time.Now(), cost)
	}
	more := q.waiting > 0
	q.mu.Unlock()

	if more {
		q.signal() // a second worker may be asleep
	}
	if batch != nil && q.opt.OnTake != nil {
		q.onTake(batch)
	}
	return batch
}

// Next takes the head of the line alone, if there is one and fits says so of its task: for a worker that lets jobs join
// while others run, and knows only then whether there is room. fits must be quick and must not call the queue.
func (q *Queue) Next(fits func(Task) bool) *Job {
	q.mu.Lock()
	j := q.head
	if j == nil || !fits(j.task) {
		q.mu.Unlock()
		return nil
	}
	q.unlink(j)
	j.begin()
	q.pace.begin(time.Now(), j.cost)
	q.mu.Unlock()
	if q.opt.OnTake != nil {
		q.onTake([]*Job{j})
	}
	return j
}

// Await blocks until a job waits; it returns false when the queue is closed and empty.
func (q *Queue) Await() bool {
	for {
		q.mu.Lock()
		waiting, closed := q.waiting > 0, q.closed
		q.mu.Unlock()
		switch {
		case waiting:
			return true
		case closed:
			return false
		}
		select {
		case <-q.wake:
		case <-q.shut:
		}
	}
}

// Rest tells the queue that a worker that takes with Next has nothing to do.
func (q *Queue) Rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pace.end(time.Now(), false)
}

// onTake calls the hook; the jobs run even if it panics.
func (q *Queue) onTake(batch []*Job) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("panic in the queue's OnTake", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	q.opt.OnTake(batch)
}

// Work is the worker: it locks its goroutine to one OS thread and hands one
// batch after the other to run, until the queue is closed and empty. Jobs that
// run leaves unfinished fail; a panic in run fails those of its batch, and the
// next batch is taken as usual.
func (q *Queue) Work(budget int, run func(batch []*Job)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		batch, ok := q.Take(budget)
		if !ok {
			return
		}
		err := runBatch(batch, run)
		q.rest(batch)
		for _, j := range batch {
			j.Finish(err)
		}
	}
}

// rest notes that the worker is done with a batch. One of which no job was
// completed may have been given up half-way and says nothing of the pace.
func (q *Queue) rest(batch []*Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pace.end(time.Now(), slices.ContainsFunc(batch, func(j *Job) bool { return j.state == Done }))
}

var errUnfinished = errors.New("queue: the worker left the job unfinished")

func runBatch(batch []*Job, run func([]*Job)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			e := &PanicError{Value: v, Stack: debug.Stack()}
			slog.Error("panic in the worker", "panic", fmt.Sprint(v), "jobs", len(batch), "stack", string(e.Stack))
			err = e
		}
	}()
	run(batch)
	return errUnfinished
}

// Waiting is the number of jobs in the line, without those being processed.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// Wait estimates how long a job admitted now would wait: what is left of the
// running batch and all that waits, at the measured pace of the worker, or,
// while nothing was measured, by how long the running batch has taken. It is 0
// when the worker is idle and nothing waits.
func (q *Queue) Wait() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pace.wait(time.Now(), q.cost)
}

// Close stops admission. Jobs that were admitted are still processed.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	close(q.shut)
	if len(q.live) == 0 {
		close(q.drained)
	}
}

// Drain closes the queue and waits until every admitted job has ended. When
// ctx ends first, the jobs that are left are cancelled and ctx's error is
// returned.
func (q *Queue) Drain(ctx context.Context) error {
	q.Close()
	select {
	case <-q.drained:
		return nil
	case <-ctx.Done():
	}
	q.endAll(fmt.Errorf("%w: the server is shutting down", ErrCancelled))
	return ctx.Err()
}

// Fail closes the queue and ends every job with err: the worker cannot go on.
func (q *Queue) Fail(err error) {
	q.Close()
	q.endAll(err)
}

func (q *Queue) endAll(err error) {
	q.mu.Lock()
	left := make([]*Job, 0, len(q.live))
	for j := range q.live {
		left = append(left, j)
	}
	q.mu.Unlock()
	for _, j := range left {
		j.Finish(err)
	}
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a signal is already there
	}
}

// push appends j to the line. q.mu is held.
func (q *Queue) push(j *Job) {
	j.prev = q.tail
	if q.tail != nil {
		q.tail.next = j
	} else {
		q.head = j
	}
	q.tail = j
	q.waiting++
	q.cost += j.cost
}

// unlink takes j out of the line. q.mu is held.
func (q *Queue) unlink(j *Job) {
	if j.prev != nil {
		j.prev.next = j.next
	} else {
		q.head = j.next
	}
	if j.next != nil {
		j.next.prev = j.prev
	} else {
		q.tail = j.prev
	}
	j.next, j.prev = nil, nil
	q.waiting--
	q.cost -= j.cost
}

// endOf says how a finished context ends a job.
func endOf(ctx context.Context) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrCancelled), errors.Is(cause, ErrDeadline):
		return cause
	case errors.Is(cause, context.DeadlineExceeded):
		return ErrDeadline
	case cause == nil, errors.Is(cause, context.Canceled):
		return ErrCancelled
	}
	return fmt.Errorf("%w: %w", ErrCancelled, cause)
}
