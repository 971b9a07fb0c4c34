package queue

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestStatusesFollowTheLine(t *testing.T) {
	q := New(Options{})
	first, second, third := submit(t, q, 10), submit(t, q, 50), submit(t, q, 100)
	q.TryTake(0) // takes the head alone
	q.pace = pace{}
	q.pace.sample(100, time.Second)
	list := q.Statuses()
	if len(list) != 3 {
		t.Fatalf("%d jobs are live, want 3", len(list))
	}
	for i, want := range []struct {
		job      *Job
		state    State
		position int
		left     time.Duration
	}{
		{first, Running, 0, 0},
		{second, Waiting, 1, 500 * time.Millisecond},
		{third, Waiting, 2, 1500 * time.Millisecond},
	} {
		for name, got := range map[string]Status{"in the list": list[i], "alone": want.job.Status()} {
			if got.ID != want.job.ID() || got.State != want.state || got.Position != want.position || got.Left != want.left || !got.Known {
				t.Errorf("job %d %s: %+v, want %v at %d, %v left", i, name, got, want.state, want.position, want.left)
			}
		}
	}
	second.Cancel()
	if s := third.Status(); s.Position != 1 || s.Left != time.Second {
		t.Errorf("after the one before left: position %d, %v left", s.Position, s.Left)
	}
	if s := second.Status(); s.State != Cancelled || s.Position != 0 || s.Known || s.Ran != 0 {
		t.Errorf("the cancelled job: %+v", s)
	}
	if running, cost := q.Load(); running != 1 || cost != 100 {
		t.Errorf("load: %d running, cost %d waits", running, cost)
	}
}

func TestStatusClaimsNothingUnmeasured(t *testing.T) {
	if s := submit(t, New(Options{}), 1).Status(); s.Known {
		t.Errorf("before anything was measured: %+v", s)
	}
}

func TestTimesOfAnEndedJobStand(t *testing.T) {
	q := New(Options{})
	ran, left := submit(t, q, 1), submit(t, q, 1)
	q.TryTake(0)
	ran.Finish(nil)
	left.Cancel()
	a, b := ran.Status(), left.Status()
	time.Sleep(5 * time.Millisecond)
	if c, d := ran.Status(), left.Status(); a != c || b != d {
		t.Errorf("%+v became %+v, %+v became %+v", a, c, b, d)
	}
}

func TestFullAsSubmitSees(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		costs   []int
		full    bool
	}{
		{"empty", Options{Jobs: 1, Cost: 1}, nil, false},
		{"jobs", Options{Jobs: 2}, []int{0, 0}, true},
		{"room for one", Options{Jobs: 3}, []int{0, 0}, false},
		{"cost", Options{Cost: 10}, []int{4, 6}, true},
		{"cost not reached", Options{Cost: 10}, []int{4, 5}, false},
	} {
		q := New(c.options)
		for _, cost := range c.costs {
			submit(t, q, cost)
		}
		if got := q.Full(); got != c.full {
			t.Errorf("%s: full %v", c.name, got)
		}
		_, err := q.Submit(context.Background(), task(1))
		if got := errors.Is(err, ErrFull); got != c.full {
			t.Errorf("%s: Submit says %v", c.name, err)
		}
	}
}
