package queue

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var p pace
	check := func(what string, now time.Time, cost int, want time.Duration) {
		t.Helper()
		if got := p.wait(now, cost).Round(time.Microsecond); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("nothing is known", at(0), 100, 0)
	p.begin(at(0), 50)
	check("the first batch runs for 2 s", at(2), 0, 2*time.Second)
	check("as much behind it", at(2), 50, 6*time.Second) // at 50 in 4 s
	p.end(at(5), true)                                   // 10 a second
	check("idle", at(100), 0, 0)
	check("idle, 100 wait", at(100), 100, 10*time.Second)
	p.begin(at(100), 40)
	check("a batch of 4 s has begun", at(100), 0, 4*time.Second)
	check("1 s later", at(101), 0, 3*time.Second)
	check("1 s later, 20 wait", at(101), 20, 5*time.Second)
	p.begin(at(101), 10)
	check("10 joined", at(101), 0, 4*time.Second)
	check("2 s late", at(107), 0, 2*time.Second)
	p.end(at(107), false)
	check("a batch that was given up is no sample", at(107), 10, time.Second)
	check("no end", at(107), 1<<60, maxWait)
}

// TestPaceSeparatesStepsFromUnits gives steps of 0.1 s and 10 ms a unit: many
// small ones do not make a large one look slow.
func TestPaceSeparatesStepsFromUnits(t *testing.T) {
	took := func(cost int) time.Duration { return 100*time.Millisecond + time.Duration(cost)*10*time.Millisecond }
	var p pace
	p.sample(100, took(100)) // as a start measures
	for range 20 {
		p.sample(2, took(2))
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if d := (got - want).Abs(); d > want/50 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	now := time.Now()
	near("a large batch, in steps of 100", p.wait(now, 1000), 10*took(100))
	near("a small one", p.wait(now, 2), took(2))
	p = pace{}
	p.sample(50, took(50))
	p.sample(51, took(51))
	near("costs too close to tell", p.wait(now, 50), took(50))
}

// TestPaceWithinABatch corrects the estimate with each part that is done.
func TestPaceWithinABatch(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var p pace
	p.sample(10, time.Second) // 10 a second; the truth will be 100
	p.begin(at(0), 1000)
	for i := 1; i < 10; i++ {
		p.progress(at(float64(i)), 100)
		want := time.Duration(10-i) * time.Second
		if got := p.wait(at(float64(i)), 0); i > 3 && (got < want*8/10 || got > want*12/10) {
			t.Errorf("%d parts of 10 are done: %v left, want %v", i, got, want)
		}
	}
	p.end(at(10), true)
	if p.cost != 0 || !p.since.IsZero() {
		t.Errorf("after the end: %+v", p)
	}
}
