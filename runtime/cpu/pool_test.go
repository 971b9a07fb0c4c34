package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func testPool(t *testing.T, n int) *pool {
	t.Helper()
	var scratch atomic.Int64
	p := newPool(n, nil, &scratch)
	t.Cleanup(func() {
		p.close()
		if scratch.Load() != 0 {
			t.Errorf("%d bytes of buffers are left", scratch.Load())
		}
	})
	return p
}

func TestEveryTaskRunsOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := testPool(t, threads)
		for _, n := range []int{0, 1, 2, 7, 1000} {
			ran := make([]atomic.Int32, n)
			p.tasks(n, func(_ *worker, i int) { ran[i].Add(1) })
			for i := range ran {
				if ran[i].Load() != 1 {
					t.Fatalf("%d threads: task %d of %d ran %d times", threads, i, n, ran[i].Load())
				}
			}
		}
	}
}

func TestPanicOfAWorkerReachesTheCaller(t *testing.T) {
	p := testPool(t, 3)
	for range 20 {
		func() {
			defer func() {
				if v := recover(); v != "task 5" {
					t.Fatalf("recovered %v", v)
				}
			}()
			p.tasks(100, func(_ *worker, i int) {
				if i == 5 {
					panic("task 5")
				}
			})
			t.Fatal("no panic")
		}()
		var n atomic.Int32
		p.tasks(50, func(*worker, int) { n.Add(1) }) // and the pool goes on
		if n.Load() != 50 {
			t.Fatalf("%d of 50 tasks after a panic", n.Load())
		}
	}
}

// A thread that another process keeps from its core holds nobody up, as long as it has not begun.
func TestNobodyWaitsForAThreadThatDoesNotCome(t *testing.T) {
	p := &pool{scratch: new(atomic.Int64)}
	p.sleep.init()
	p.joined.init()
	p.workers = []*worker{{pool: p}, {id: 1, pool: p}} // without their threads
	ran := 0
	for range 3 {
		p.tasks(10, func(*worker, int) { ran++ })
	}
	if ran != 30 {
		t.Errorf("%d of 30 tasks ran", ran)
	}
	late := &job{f: func(*worker, int) { t.Error("a call too many") }}
	p.workers[1].work(late) // it finds a job that is over
	calls := 0
	each := &job{f: func(*worker, int) { calls++ }, n: 2, each: true}
	each.left.Store(2)
	p.workers[1].work(each)
	p.workers[1].work(each)
	if calls != 1 {
		t.Errorf("a worker that saw a job twice made %d calls", calls)
	}
}

func TestOneProcessorIsEnough(t *testing.T) {
	p := testPool(t, 3)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var n atomic.Int32
	for range 50 {
		p.tasks(20, func(*worker, int) { n.Add(1) })
	}
	if n.Load() != 1000 {
		t.Errorf("%d of 1000 tasks", n.Load())
	}
}

func TestWorkersWakeFromSleep(t *testing.T) {
	p := testPool(t, 2)
	for range 3 {
		var n atomic.Int32
		p.all(func(*worker) { n.Add(1) })
		if n.Load() != 2 {
			t.Fatalf("%d of 2 workers ran", n.Load())
		}
		p.rest()
		time.Sleep(30 * time.Millisecond)
	}
}

func BenchmarkForkJoin(b *testing.B) {
	back := benchBackend(b, "")
	for b.Loop() {
		back.pool.all(func(*worker) {})
	}
}
