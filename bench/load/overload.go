package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/stats"
	"remote-client-server/bench/load/target"
)

// The overload and what it may do.
const (
	overloadTimes = 10  // the sustainable rate
	overloadQueue = 64  // jobs that may wait
	overloadP99   = 1.3 // of the unloaded queue's bound
	// overloadShare is how many of those who wait as long as they were told are
	// then to be admitted.
	overloadShare = 0.99
	// overloadGrowth is the growth of memory that still counts as flat: from the
	// first quarter of the overload, when all its connections are there, to its
	// end, as a share; overloadSlack, in bytes, is the garbage collector's.
	overloadGrowth = 0.10
	overloadSlack  = 4 << 20
)

// overload first measures what the server sustains, then sends ten times as
// much without waiting for answers, and last lets some of those who were
// refused come back when they were told to.
func overload(o *options) (all []report.Measure, err error) {
	s, err := o.start("--queue_size", fmt.Sprint(overloadQueue))
	if err != nil {
		return nil, err
	}
	defer stop(s, &err)
	message := largeBatch(16, 60)
	calm := max(o.length/4, time.Second)
	if _, err := closedLoop(s, 8, calm/4, message); err != nil { // warm-up
		return nil, err
	}
	rate, err := sustained(s, calm, message)
	if err != nil {
		return nil, err
	}
	bound := (overloadQueue + 1) / rate * 1e3 // ms: a full queue and the job that runs

	w, err := watchMemory(s)
	if err != nil {
		return nil, err
	}
	f := &flood{conns: newPool(s), message: message}
	defer f.conns.close()
	started := time.Now()
	everyTick(o.length, time.Duration(float64(time.Second)/(overloadTimes*rate)), func(time.Time) { f.asking.Go(f.ask) })
	came := time.Since(started)
	recent := f.refusedSince(time.Now().Add(-time.Second))
	memory, err := w.end()
	f.asking.Wait() // and with them the polite ones who came back meanwhile
	if err != nil {
		return nil, err
	}
	if len(f.faults) > 0 {
		return nil, fmt.Errorf("%d of %d failed, the first: %w", len(f.faults), f.sent, f.faults[0])
	}
	if f.sent != len(f.accepted)+len(f.refused) {
		return nil, fmt.Errorf("%d were sent, %d admitted and %d refused", f.sent, len(f.accepted), len(f.refused))
	}
	var took, waits []float64
	for _, a := range f.accepted {
		took = append(took, a.took())
	}
	for _, r := range f.refused {
		waits = append(waits, r.retry.Seconds())
	}
	all = []report.Measure{
		report.Plain("sustainable", rate, "requests/s"),
		report.Plain("sent", float64(f.sent)/came.Seconds(), "requests/s"),
		report.Plain("admitted", float64(len(f.accepted))/came.Seconds(), "requests/s"),
		report.Plain("refused with 429", float64(len(f.refused))/came.Seconds(), "requests/s"),
		report.Plain("bound of the unloaded queue", bound, "ms"),
		report.Plain("admitted, p50", stats.Quantile(took, 0.5), "ms"),
		report.AtMost("admitted, p99", stats.Quantile(took, 0.99), "ms", overloadP99*bound),
		report.Plain("admitted, p99 over the bound", stats.Quantile(took, 0.99)/bound, ""),
		report.Plain("answers while one was awaited, p99", stats.Quantile(f.passed(), 0.99), ""),
		report.Plain("refused, p50", stats.Quantile(f.refusals(), 0.5), "ms"),
		report.Plain("refused, p99", stats.Quantile(f.refusals(), 0.99), "ms"),
		report.Plain("Retry-After, p50", stats.Quantile(waits, 0.5), "s"),
		report.Plain("Retry-After, max", stats.Quantile(waits, 1), "s"),
		report.Plain("came back under the overload", float64(f.polite), ""),
		report.Plain("came back under the overload, admitted", float64(f.politeIn)/max(float64(f.polite), 1), "of 1"),
		report.Plain("memory before", memory.start/1e6, "MB"),
		report.Plain("memory at a quarter of the time", memory.quarter/1e6, "MB"),
		report.Plain("memory at most", memory.most/1e6, "MB"),
		report.AtMost("memory at the end", memory.end/1e6, "MB", (memory.quarter*(1+overloadGrowth)+overloadSlack)/1e6),
	}
	back, admitted, err := f.comeBack(recent)
	if err != nil {
		return nil, err
	}
	again, err := sustained(s, calm, message)
	if err != nil {
		return nil, err
	}
	share := 1.0
	if back > 0 {
		share = float64(admitted) / float64(back)
	}
	return append(all,
		report.Plain("came back after it", float64(back), ""),
		report.AtLeast("came back after it, admitted", share, "of 1", overloadShare),
		report.Plain("sustainable, measured again", again, "requests/s")), nil
}

// sustained is the rate at which requests are answered when there are always
// some that wait, but never too many.
func sustained(s *target.Server, length time.Duration, message []byte) (float64, error) {
	started := time.Now()
	trips, err := closedLoop(s, 8, length, message)
	return float64(len(trips)) / time.Since(started).Seconds(), err
}

// flood is an open loop: requests that come whether or not others were
// answered.
type flood struct {
	conns   *pool
	message []byte
	asking  sync.WaitGroup

	mu       sync.Mutex
	sent     int
	accepted []span
	refused  []refusal
	polite   int // refused ones who came back in time
	politeIn int // and were admitted
	faults   []error
}

// span is the time from sending to the answer.
type span struct{ from, to time.Time }

func (s span) took() float64 { return s.to.Sub(s.from).Seconds() * 1e3 }

// passed is, for each admitted request, how many were answered while it was
// under way, itself included. With a line that keeps its order and its limit
// that is no more than the places of the queue and the job that runs, however
// slow the machine is; only what had been computed but not yet read may come on
// top.
func (f *flood) passed() []float64 {
	var ends []time.Time
	for _, a := range f.accepted {
		ends = append(ends, a.to)
	}
	slices.SortFunc(ends, time.Time.Compare)
	rank := func(t time.Time) int {
		i, _ := slices.BinarySearchFunc(ends, t, time.Time.Compare)
		return i
	}
	counts := make([]float64, len(f.accepted))
	for i, a := range f.accepted {
		counts[i] = float64(rank(a.to) - rank(a.from) + 1)
	}
	return counts
}

// refusal is a 429.
type refusal struct {
	at    time.Time
	took  float64 // ms
	retry time.Duration
}

// ask sends one request. One in a hundred of those who are refused comes back
// when it was told to.
func (f *flood) ask() {
	status, retry := f.try()
	if status != 429 || rand.IntN(100) != 0 {
		return
	}
	time.Sleep(retry)
	status, _ = f.try()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polite++
	if status == 200 {
		f.politeIn++
	}
}

// try sends a request and keeps what came of it.
func (f *flood) try() (status int, retry time.Duration) {
	c, err := f.conns.get()
	started := time.Now()
	var a target.Answer
	if err == nil {
		a, err = c.Do(f.message)
	}
	took := span{started, time.Now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
	switch {
	case err != nil:
		f.faults = append(f.faults, err)
		if c != nil {
			c.Close()
		}
		return 0, 0
	case a.Status == 200:
		f.accepted = append(f.accepted, took)
	case a.Status == 429 && a.Retry > 0:
		f.refused = append(f.refused, refusal{took.to, took.took(), a.Retry})
	default:
		f.faults = append(f.faults, fmt.Errorf("answered %d, Retry-After %v: %.200s", a.Status, a.Retry, a.Body))
	}
	if a.Close {
		c.Close()
	} else {
		f.conns.put(c)
	}
	return a.Status, a.Retry
}

func (f *flood) refusals() []float64 {
	var took []float64
	for _, r := range f.refused {
		took = append(took, r.took)
	}
	return took
}

// refusedSince returns the latest refusals, as many as the queue has places.
func (f *flood) refusedSince(t time.Time) []refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	var recent []refusal
	for i := len(f.refused) - 1; i >= 0 && f.refused[i].at.After(t) && len(recent) < overloadQueue; i-- {
		recent = append(recent, f.refused[i])
	}
	return recent
}

// comeBack asks again for each refusal, when the time that it named is over.
// It is called when the overload has ended: the queue that they were refused
// for is then all that is before them.
func (f *flood) comeBack(list []refusal) (came, admitted int, err error) {
	var asking sync.WaitGroup
	var mu sync.Mutex
	for _, r := range list {
		asking.Go(func() {
			time.Sleep(time.Until(r.at.Add(r.retry)))
			status, _ := f.try()
			mu.Lock()
			defer mu.Unlock()
			came++
			if status == 200 {
				admitted++
			}
		})
	}
	asking.Wait()
	if len(f.faults) > 0 {
		err = f.faults[0]
	}
	return came, admitted, err
}

// memory is a process's resident memory over some time, in bytes.
type memory struct{ start, quarter, end, most float64 }

type memoryWatch struct {
	stop    chan struct{}
	done    chan struct{}
	samples []float64
	err     error
}

// watchMemory looks at the server's memory ten times a second until end.
func watchMemory(s *target.Server) (*memoryWatch, error) {
	w := &memoryWatch{stop: make(chan struct{}), done: make(chan struct{})}
	first, err := s.RSS()
	if err != nil {
		return nil, err
	}
	w.samples = append(w.samples, first)
	go func() {
		defer close(w.done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for w.err == nil {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			var rss float64
			rss, w.err = s.RSS()
			w.samples = append(w.samples, rss)
		}
	}()
	return w, nil
}

func (w *memoryWatch) end() (memory, error) {
	close(w.stop)
	<-w.done
	n := len(w.samples)
	return memory{w.samples[0], w.samples[n/4], w.samples[n-1], slices.Max(w.samples)}, w.err
}
