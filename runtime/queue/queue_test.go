package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type task int

func (t task) Cost() int { return int(t) }

func submit(t *testing.T, q *Queue, cost int) *Job {
	t.Helper()
	j, err := q.Submit(context.Background(), task(cost))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// wait fails the test if c stays open; the limit is only there so that a
// broken queue ends the test.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still waiting", what)
	}
}

func costs(batch []*Job) []int {
	var c []int
	for _, j := range batch {
		c = append(c, j.Task().Cost())
	}
	return c
}

func TestTakeFillsTheBudgetFromTheHead(t *testing.T) {
	for _, c := range []struct {
		name   string
		line   []int
		budget int
		want   [][]int
	}{
		{"all fit", []int{1, 2, 3}, 10, [][]int{{1, 2, 3}}},
		{"exactly full", []int{4, 6, 1}, 10, [][]int{{4, 6}, {1}}},
		{"never past one that does not fit", []int{4, 9, 1}, 10, [][]int{{4}, {9, 1}}},
		{"a head above the budget goes alone", []int{50, 1, 1}, 10, [][]int{{50}, {1, 1}}},
		{"no budget means one at a time", []int{1, 1, 1}, 0, [][]int{{1}, {1}, {1}}},
		{"jobs without cost", []int{0, 0, 5, 0}, 5, [][]int{{0, 0, 5, 0}}},
		{"a negative cost counts as none", []int{-5, 10, 1}, 10, [][]int{{-5, 10}, {1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := New(Options{})
			for _, cost := range c.line {
				submit(t, q, cost)
			}
			q.Close()
			var got [][]int
			for {
				batch, ok := q.Take(c.budget)
				if !ok {
					break
				}
				got = append(got, costs(batch))
			}
			if !slices.EqualFunc(got, c.want, slices.Equal[[]int]) {
				t.Errorf("batches %v, want %v", got, c.want)
			}
		})
	}
}

func TestTryTakeOnAnEmptyLine(t *testing.T) {
	if b := New(Options{}).TryTake(10); b != nil {
		t.Errorf("TryTake = %v, want nothing", b)
	}
}

func TestPositions(t *testing.T) {
	q := New(Options{})
	var jobs []*Job
	for range 4 {
		jobs = append(jobs, submit(t, q, 1))
	}
	check := func(when string, want ...int) {
		t.Helper()
		var got []int
		for _, j := range jobs {
			got = append(got, j.Position())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: positions %v, want %v", when, got, want)
		}
		waiting := 0
		for _, p := range want {
			waiting = max(waiting, p)
		}
		if q.Waiting() != waiting {
			t.Errorf("%s: %d waiting, want %d", when, q.Waiting(), waiting)
		}
	}
	check("admitted", 1, 2, 3, 4)
	jobs[1].Cancel()
	check("the second cancelled", 1, 0, 2, 3)
	q.TryTake(1)
	check("the first taken", 0, 0, 1, 2)
	jobs[3].Cancel()
	check("the last cancelled", 0, 0, 1, 0)
	jobs = append(jobs, submit(t, q, 1))
	check("one more", 0, 0, 1, 0, 2)
	q.TryTake(2)
	check("all taken", 0, 0, 0, 0, 0)
}

func TestLimits(t *testing.T) {
	t.Run("jobs", func(t *testing.T) {
		q := New(Options{Jobs: 2})
		submit(t, q, 1)
		second := submit(t, q, 1)
		if _, err := q.Submit(context.Background(), task(1)); !errors.Is(err, ErrFull) {
			t.Fatalf("third job: %v, want ErrFull", err)
		}
		second.Cancel()
		submit(t, q, 1)
		q.TryTake(1)
		submit(t, q, 1)
	})
	t.Run("cost", func(t *testing.T) {
		q := New(Options{Cost: 10})
		first := submit(t, q, 25) // alone in the line: let in
		if _, err := q.Submit(context.Background(), task(1)); !errors.Is(err, ErrFull) {
			t.Fatalf("behind a large job: %v, want ErrFull", err)
		}
		first.Cancel()
		submit(t, q, 6)
		submit(t, q, 4)
		if _, err := q.Submit(context.Background(), task(1)); !errors.Is(err, ErrFull) {
			t.Fatalf("past the cost: %v, want ErrFull", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		q := New(Options{})
		q.Close()
		q.Close()
		if _, err := q.Submit(context.Background(), task(1)); !errors.Is(err, ErrClosed) {
			t.Fatalf("after Close: %v, want ErrClosed", err)
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := New(Options{}).Submit(ctx, task(1)); !errors.Is(err, ErrCancelled) {
			t.Fatalf("%v, want ErrCancelled", err)
		}
	})
}

func TestEndsOfAJob(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		end   func(j *Job, cancel context.CancelCauseFunc)
		run   bool // while running instead of waiting
		is    error
		state State
	}{
		{"cancelled while waiting", func(j *Job, _ context.CancelCauseFunc) { j.Cancel() }, false, ErrCancelled, Cancelled},
		{"cancelled while running", func(j *Job, _ context.CancelCauseFunc) { j.Cancel() }, true, ErrCancelled, Cancelled},
		{"client gone while waiting", func(_ *Job, c context.CancelCauseFunc) { c(nil) }, false, ErrCancelled, Cancelled},
		{"client gone while running", func(_ *Job, c context.CancelCauseFunc) { c(nil) }, true, ErrCancelled, Cancelled},
		{"client gone with a cause", func(_ *Job, c context.CancelCauseFunc) { c(boom) }, true, boom, Cancelled},
		{"client's own deadline", func(_ *Job, c context.CancelCauseFunc) { c(context.DeadlineExceeded) }, false, ErrDeadline, TimedOut},
		{"success", func(j *Job, _ context.CancelCauseFunc) { j.Finish(nil) }, true, nil, Done},
		{"failure", func(j *Job, _ context.CancelCauseFunc) { j.Finish(boom) }, true, boom, Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := New(Options{})
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			j, err := q.Submit(ctx, task(1))
			if err != nil {
				t.Fatal(err)
			}
			if j.State() != Waiting || j.Err() != nil || j.Started() {
				t.Fatalf("a new job: %v, %v, started %v", j.State(), j.Err(), j.Started())
			}
			if c.run {
				q.TryTake(1)
				if j.State() != Running {
					t.Fatalf("a taken job is %v", j.State())
				}
			}
			c.end(j, cancel)
			wait(t, "end", j.Done())
			wait(t, "context", j.Context().Done())
			if !errors.Is(j.Err(), c.is) || (c.is == nil) != (j.Err() == nil) {
				t.Errorf("error %v, want %v", j.Err(), c.is)
			}
			if j.State() != c.state {
				t.Errorf("state %v, want %v", j.State(), c.state)
			}
			if q.Waiting() != 0 || q.TryTake(1) != nil {
				t.Error("the job is still in the line")
			}
			j.Finish(errors.New("a second end"))
			if !errors.Is(j.Err(), c.is) {
				t.Errorf("a second Finish won: %v", j.Err())
			}
		})
	}
}

func TestTimeoutRunsFromTheStartOfProcessing(t *testing.T) {
	q := New(Options{Timeout: time.Millisecond})
	j := submit(t, q, 1)
	time.Sleep(10 * time.Millisecond)
	if j.State() != Waiting {
		t.Fatalf("a job in the line is %v", j.State())
	}
	q.TryTake(1)
	wait(t, "timeout", j.Done())
	if !errors.Is(j.Err(), ErrDeadline) || j.State() != TimedOut {
		t.Errorf("%v, %v; want ErrDeadline", j.Err(), j.State())
	}
}

func TestWorkSurvivesPanicsAndForgottenJobs(t *testing.T) {
	q := New(Options{OnTake: func([]*Job) { panic("in the hook") }})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Work(2, func(batch []*Job) {
			switch batch[0].Task().Cost() {
			case 1:
				batch[0].Finish(nil)
				panic("kernel: wrong shape")
			case 2: // forgotten
			default:
				batch[0].Finish(nil)
			}
		})
	}()
	a, b := submit(t, q, 1), submit(t, q, 1) // may or may not share a batch
	wait(t, "first", a.Done())
	wait(t, "second", b.Done())
	c, d := submit(t, q, 2), submit(t, q, 3)
	wait(t, "forgotten", c.Done())
	wait(t, "the next", d.Done())
	q.Close()
	wait(t, "worker", ended)

	var p *PanicError
	if b.Err() != nil && (!errors.As(b.Err(), &p) || !strings.Contains(string(p.Stack), "queue_test.go")) {
		t.Errorf("second of a batch that panicked: %v", b.Err())
	}
	if c.Err() == nil || c.State() != Failed {
		t.Errorf("forgotten job: %v, %v", c.Err(), c.State())
	}
	if a.Err() != nil || d.Err() != nil {
		t.Errorf("finished jobs: %v, %v", a.Err(), d.Err())
	}
}

func TestPanicFailsTheWholeBatch(t *testing.T) {
	q := New(Options{})
	jobs := []*Job{submit(t, q, 1), submit(t, q, 1), submit(t, q, 1)}
	q.Close()
	q.Work(3, func([]*Job) { panic("boom") })
	for i, j := range jobs {
		var p *PanicError
		if !errors.As(j.Err(), &p) || p.Value != "boom" || j.State() != Failed {
			t.Errorf("job %d: %v, %v", i, j.Err(), j.State())
		}
	}
}

func TestDrain(t *testing.T) {
	t.Run("an empty queue", func(t *testing.T) {
		if err := New(Options{}).Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("admitted jobs are finished", func(t *testing.T) {
		q := New(Options{})
		var jobs []*Job
		for range 20 {
			jobs = append(jobs, submit(t, q, 1))
		}
		go q.Work(3, func(batch []*Job) {
			for _, j := range batch {
				j.Finish(nil)
			}
		})
		if err := q.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, j := range jobs {
			if j.State() != Done {
				t.Errorf("job %d is %v", i, j.State())
			}
		}
	})
	t.Run("the rest is cancelled at the deadline", func(t *testing.T) {
		q := New(Options{})
		running, waiting := submit(t, q, 1), submit(t, q, 1)
		q.TryTake(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := q.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Drain: %v", err)
		}
		for _, j := range []*Job{running, waiting} {
			wait(t, "cancelled", j.Done())
			if !errors.Is(j.Err(), ErrCancelled) {
				t.Errorf("%v, want ErrCancelled", j.Err())
			}
		}
		if _, ok := q.Take(1); ok {
			t.Error("a job is left")
		}
	})
}

func TestEventsArriveInOrder(t *testing.T) {
	q := New(Options{})
	j := submit(t, q, 1)
	j.Emit("too early")
	up := j.Updates()
	q.TryTake(1)
	wait(t, "the start", up)
	for i := range 3 {
		j.Emit(i)
	}
	wait(t, "the events", up)
	if got := j.Events(); !slices.Equal(got, []Event{0, 1, 2}) {
		t.Errorf("events %v", got)
	}
	j.Finish(nil)
	j.Emit("too late")
	if got := j.Events(); got != nil {
		t.Errorf("events after the end: %v", got)
	}
	wait(t, "an end looked at late", submitted(t, q).Updates())
}

func submitted(t *testing.T, q *Queue) *Job {
	j := submit(t, q, 1)
	q.TryTake(1)
	return j
}

// TestWaitCountsTheRunningBatch has nothing waiting behind a batch.
func TestWaitCountsTheRunningBatch(t *testing.T) {
	q := New(Options{})
	worker := make(chan struct{})
	release := make(chan struct{})
	go func() {
		defer close(worker)
		q.Work(1<<30, func(batch []*Job) {
			if batch[0].Task().Cost() > 1 {
				<-release
			}
			batch[0].Finish(nil)
		})
	}()
	if q.Wait() != 0 {
		t.Errorf("an idle queue: %v", q.Wait())
	}
	j := submit(t, q, 1) // some pace
	wait(t, "the first", j.Done())
	j = submit(t, q, 1<<30)
	for j.State() == Waiting {
		runtime.Gosched()
	}
	if q.Waiting() != 0 || q.Wait() <= 0 {
		t.Errorf("a large batch runs: %d waiting, %v", q.Waiting(), q.Wait())
	}
	close(release)
	wait(t, "the second", j.Done())
	q.Close()
	wait(t, "the worker", worker)
	if q.Wait() != 0 {
		t.Errorf("after the end: %v", q.Wait())
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		if len(id) != 32 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// TestOrderUnderLoad lets many clients come, cancel and vanish at once while
// one worker runs, and checks what must hold all the same: jobs start in the
// order of admission, each ends exactly once, nothing is left behind.
func TestOrderUnderLoad(t *testing.T) {
	const clients, each = 16, 200
	q := New(Options{Jobs: clients * each, Timeout: time.Minute})
	var admitted sync.Mutex // makes the order of admission known
	var order []*Job
	var started []*Job
	worker := make(chan struct{})
	go func() {
		defer close(worker)
		q.Work(7, func(batch []*Job) {
			started = append(started, batch...)
			for _, j := range batch {
				j.Emit("step")
				j.Finish(nil)
			}
		})
	}()
	var ok, cancelled atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(context.Background())
				admitted.Lock()
				j, err := q.Submit(ctx, task(i%5))
				order = append(order, j)
				admitted.Unlock()
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				switch (c + i) % 4 {
				case 0:
					j.Cancel()
				case 1:
					cancel()
				}
				_ = j.Position()
				<-j.Done()
				cancel()
				switch err := j.Err(); {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, ErrCancelled):
					cancelled.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := q.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-worker
	if n := ok.Load() + cancelled.Load(); n != clients*each {
		t.Errorf("%d jobs ended, want %d", n, clients*each)
	}
	at := make(map[*Job]int, len(order))
	for i, j := range order {
		at[j] = i
	}
	if !slices.IsSortedFunc(started, func(a, b *Job) int { return at[a] - at[b] }) {
		t.Error("jobs started out of order")
	}
	if q.Waiting() != 0 || len(q.live) != 0 {
		t.Errorf("%d waiting, %d live", q.Waiting(), len(q.live))
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	q := New(Options{Timeout: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 100 {
		j, err := q.Submit(ctx, task(1))
		if err != nil {
			t.Fatal(err)
		}
		q.TryTake(1)
		j.Finish(nil)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func ExampleQueue() {
	q := New(Options{Jobs: 8, Timeout: time.Minute})
	go q.Work(16, func(batch []*Job) {
		for _, j := range batch {
			j.Finish(nil)
		}
	})
	j, err := q.Submit(context.Background(), task(3))
	if err != nil {
		fmt.Println(err)
		return
	}
	<-j.Done()
	fmt.Println(j.State())
	// Output: done
}

// BenchmarkJob is the way of one job past an idle worker: two wake-ups.
func BenchmarkJob(b *testing.B) {
	q := New(Options{Timeout: time.Minute})
	defer q.Close()
	go q.Work(1, func(batch []*Job) { batch[0].Finish(nil) })
	b.ReportAllocs()
	for b.Loop() {
		j, err := q.Submit(context.Background(), task(1))
		if err != nil {
			b.Fatal(err)
		}
		<-j.Done()
	}
}

// TestTheWorkerMaySeeTheEndFirst finishes jobs with their context's error, as a
// worker does that looks at it before the queue has heard of the end.
func TestTheWorkerMaySeeTheEndFirst(t *testing.T) {
	gone := fmt.Errorf("%w: gone", ErrCancelled)
	for _, c := range []struct {
		name  string
		cause error
		want  error
		state State
	}{
		{"the client's own word", gone, gone, Cancelled},
		{"a deadline by its cause", ErrDeadline, ErrDeadline, TimedOut},
		{"a deadline", context.DeadlineExceeded, ErrDeadline, TimedOut},
		{"a plain end", nil, ErrCancelled, Cancelled},
	} {
		for _, finish := range []func(*Job) error{
			func(j *Job) error { return j.Context().Err() },
			func(j *Job) error { return context.Cause(j.Context()) },
		} {
			q := New(Options{})
			ctx, end := context.WithCancelCause(context.Background())
			j, err := q.Submit(ctx, task(1))
			if err != nil {
				t.Fatal(err)
			}
			q.TryTake(1)
			j.release() // the queue does not hear of it
			end(c.cause)
			j.Finish(finish(j))
			if !errors.Is(j.Err(), c.want) || j.State() != c.state {
				t.Errorf("%s: %v, %v", c.name, j.State(), j.Err())
			}
		}
	}
}
