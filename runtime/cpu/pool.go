package cpu

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"
)

// pool runs one function on all its workers and waits for them: fork and join in about a microsecond. The caller is
// worker 0. The others are goroutines locked to OS threads that spin while a forward pass is under way and sleep
// otherwise; the Go scheduler, which takes up to milliseconds to start a parked goroutine on a busy machine, has no
// part in it.
type pool struct {
	workers []*worker
	scratch *atomic.Int64 // bytes of the workers' buffers

	job func(*worker)

	wanted    func() bool // see Backend.While
	asked     time.Time   // when it was asked last
	abandoned atomic.Bool // it was false

	panic atomic.Pointer[workerPanic]
	stop  atomic.Bool
	hot   atomic.Bool // a forward pass is under way
	_     [64]byte
	epoch atomic.Uint32 // counts jobs; also what sleepers wait on
	_     [60]byte
	left  atomic.Uint32 // workers still at the job
	_     [60]byte
	next  atomic.Int64 // the next task of each
	_     [56]byte
	sleep sleeper // of workers, on epoch

	joined sleeper // of the caller, on left
}

type workerPanic struct{ value any }

// worker is one thread and its buffers.
type worker struct {
	id   int
	pool *pool

	own, a, c, row, panel, keys, values, scores buffer
	home                                        core           // where its thread stays, the zero value for anywhere
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
		stop := p.stop.Load()
		if !stop {
			w.run()
		}
		if p.left.Add(^uint32(0)) == 0 {
			p.joined.wake(&p.left)
		}
		if stop {
			return
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

// run does the job and keeps a panic for the caller.
func (w *worker) run() {
	defer func() {
		if v := recover(); v != nil {
			w.pool.panic.CompareAndSwap(nil, &workerPanic{v})
		}
	}()
	w.pool.job(w)
}

// all runs job on every worker and returns when all are done. A panic of any of them is raised again here.
func (p *pool) all(job func(*worker)) {
	if len(p.workers) == 1 {
		job(p.workers[0])
		return
	}
	p.hot.Store(true)
	p.job = job
	p.left.Store(uint32(len(p.workers) - 1))
	p.epoch.Add(1)
	p.sleep.wake(&p.epoch)
	p.workers[0].home.attract()
	p.workers[0].run()
	p.join()
	p.job = nil
	if v := p.panic.Swap(nil); v != nil {
		panic(v.value)
	}
}

// join waits for the workers.
func (p *pool) join() {
	for {
		left := p.left.Load()
		if left == 0 {
			return
		}
		spin(&p.left, left, spinHot)
		if p.left.Load() == left {
			runtime.Gosched() // where GOMAXPROCS is 1, a worker needs the processor
			p.joined.wait(&p.left, left)
		}
	}
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
	p.next.Store(0)
	p.all(func(w *worker) {
		for p.goesOn(w) {
			i := int(p.next.Add(1)) - 1
			if i >= n {
				return
			}
			f(w, i)
		}
	})
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
	p.left.Store(uint32(len(p.workers) - 1))
	p.epoch.Add(1)
	p.sleep.wake(&p.epoch)
	p.join()
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
