package cpu

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"
)

// pool runs tasks on its workers and waits for them: fork and join in about a microsecond. The caller is worker 0. The
// others are goroutines locked to OS threads that spin while a forward pass is under way and sleep otherwise; the Go
// scheduler, which takes up to milliseconds to start a parked goroutine on a busy machine, has no part in it. Nobody waits
// for a thread that has not begun: where another process has its core, the others do its tasks.
type pool struct {
	workers []*worker
	scratch *atomic.Int64 // bytes of the workers' buffers

	job atomic.Pointer[job]

	wanted    func() bool // see Backend.While
	asked     time.Time   // when it was asked last
	abandoned atomic.Bool // it was false

	stop  atomic.Bool
	hot   atomic.Bool   // a forward pass is under way
	alive atomic.Uint32 // threads that have not ended
	_     [64]byte
	epoch atomic.Uint32 // counts jobs; also what sleepers wait on
	_     [60]byte
	sleep sleeper // of workers, on epoch

	joined sleeper // of the caller, on the left of a job
}

// job is n calls of f.
type job struct {
	f     func(w *worker, i int)
	n     int64
	each  bool // call i is worker i's
	panic atomic.Pointer[workerPanic]
	_     [64]byte
	next  atomic.Int64 // who takes a call
	_     [56]byte
	left  atomic.Uint32 // calls that have not returned
	_     [60]byte
}

type workerPanic struct{ value any }

// worker is one thread and its buffers.
type worker struct {
	id   int
	pool *pool

	own, a, c, row, panel, keys, values, scores buffer
	home                                        core           // where its thread stays, the zero value for anywhere
	last                                        *job           // that was done
	group                                       int            // whose tiles are in a, for product
	tail                                        unsafe.Pointer // 64 floats of own
}

// How long a thread spins before it sleeps. Within a forward pass the next job comes in microseconds, unless another
// process has the caller's core; then a thread that sleeps is not charged for the wait and comes back sooner. A sleep
// costs tens of microseconds to wake from.
const (
	spinHot  = 500 * time.Microsecond
	spinCold = 50 * time.Microsecond
)

// newPool starts n-1 threads. It raises GOMAXPROCS to leave one processor for everything that does not compute.
//
// A pool that takes all cores there are keeps each thread on its own: a scheduler under load puts two that spin onto one
// core and leaves them there. The caller's thread is not the pool's: it is only moved to the core that is left for it.
func newPool(n int, homes []core, scratch *atomic.Int64) *pool {
	p := &pool{scratch: scratch}
	p.sleep.init()
	p.joined.init()
	for i := range n {
		w := &worker{id: i, pool: p}
		if len(homes) == n {
			w.home = homes[i]
		}
		w.tail = w.own.need("worker", 4096, scratch)
		p.workers = append(p.workers, w)
	}
	if n > 1 && runtime.GOMAXPROCS(0) < n+1 {
		runtime.GOMAXPROCS(n + 1)
	}
	p.alive.Store(uint32(n - 1))
	for _, w := range p.workers[1:] {
		go w.loop()
	}
	return p
}

func (w *worker) loop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	// Weights are packed out of mapped files: if one shrinks meanwhile, that is an error of the load, not the process's end.
	debug.SetPanicOnFault(true)
	w.home.pin()
	p := w.pool
	seen := uint32(0)
	for {
		limit := spinCold
		if p.hot.Load() {
			limit = spinHot
		}
		spin(&p.epoch, seen, limit)
		for p.epoch.Load() == seen {
			p.sleep.wait(&p.epoch, seen)
		}
		seen = p.epoch.Load()
		if p.stop.Load() {
			if p.alive.Add(^uint32(0)) == 0 {
				p.joined.wake(&p.alive)
			}
			return
		}
		if j := p.job.Load(); j != nil {
			w.work(j)
		}
	}
}

// spin waits until *word is no longer seen, or for some time.
func spin(word *atomic.Uint32, seen uint32, limit time.Duration) {
	start := time.Now()
	for turn := 1; word.Load() == seen; turn++ {
		pause(8)
		if turn%64 == 0 {
			if time.Since(start) > limit {
				return
			}
			yieldThread() // whoever else waits for this core
		}
	}
}

// work does what there is to do of a job. A thread that comes late may see a job for the second time, or one that is
// over: then there is nothing.
func (w *worker) work(j *job) {
	if j.each {
		if w.last != j {
			w.last = j
			w.call(j, w.id)
		}
		return
	}
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		w.call(j, int(i))
	}
}

// call makes one call, unless the pass is abandoned or another has panicked, and keeps a panic for the caller.
func (w *worker) call(j *job, i int) {
	defer func() {
		if v := recover(); v != nil {
			j.panic.CompareAndSwap(nil, &workerPanic{v})
		}
		if j.left.Add(^uint32(0)) == 0 && w.id != 0 {
			w.pool.joined.wake(&j.left)
		}
	}()
	if j.panic.Load() == nil && w.pool.goesOn(w) {
		j.f(w, i)
	}
}

// run does a job and returns when all its calls have. A panic of any of them is raised again here.
func (p *pool) run(j *job) {
	p.hot.Store(true)
	j.left.Store(uint32(j.n))
	p.job.Store(j)
	p.epoch.Add(1)
	p.sleep.wake(&p.epoch)
	p.workers[0].home.attract()
	p.workers[0].work(j)
	p.join(&j.left)
	p.job.Store(nil)
	if v := j.panic.Load(); v != nil {
		panic(v.value)
	}
}

// join waits until a counter is zero.
func (p *pool) join(counter *atomic.Uint32) {
	for {
		left := counter.Load()
		if left == 0 {
			return
		}
		spin(counter, left, spinHot)
		if counter.Load() == left {
			runtime.Gosched() // where GOMAXPROCS is 1, a worker needs the processor
			p.joined.wait(counter, left)
		}
	}
}

// all runs f once on every worker.
func (p *pool) all(f func(*worker)) {
	if len(p.workers) == 1 {
		f(p.workers[0])
		return
	}
	p.run(&job{f: func(w *worker, _ int) { f(w) }, n: int64(len(p.workers)), each: true})
}

// tasks runs f for 0 to n-1, each on whichever worker comes first.
func (p *pool) tasks(n int, f func(w *worker, i int)) {
	switch {
	case n <= 0:
		return
	case n == 1 || len(p.workers) == 1:
		for i := 0; i < n && p.goesOn(p.workers[0]); i++ {
			f(p.workers[0], i)
		}
		return
	}
	p.run(&job{f: f, n: int64(n)})
}

// askEvery is how often a pass looks whether it is still wanted.
const askEvery = 2 * time.Millisecond

// goesOn says whether the pass is still wanted. The caller's own worker asks, from time to time; the others look at what
// it has found.
func (p *pool) goesOn(w *worker) bool {
	if w.id == 0 && p.wanted != nil && !p.abandoned.Load() {
		if now := time.Now(); now.Sub(p.asked) >= askEvery {
			p.asked = now
			if !p.wanted() {
				p.abandoned.Store(true)
			}
		}
	}
	return !p.abandoned.Load()
}

// rest tells the workers that no job will follow soon.
func (p *pool) rest() { p.hot.Store(false) }

// close ends the threads and frees their buffers.
func (p *pool) close() {
	if p.stop.Swap(true) {
		return
	}
	p.epoch.Add(1)
	p.sleep.wake(&p.epoch)
	p.join(&p.alive)
	for _, w := range p.workers {
		for _, b := range []*buffer{&w.own, &w.a, &w.c, &w.row, &w.panel, &w.keys, &w.values, &w.scores} {
			b.free(p.scratch)
		}
	}
}

// need grows a buffer of the worker.
func (w *worker) need(b *buffer, what string, bytes int) unsafe.Pointer {
	return b.need(what, bytes, w.pool.scratch)
}
