package cuda

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// plain is a Context that does nothing but answer.
type plain struct {
	Context
	ledger     Ledger
	properties Properties
	lost       atomic.Pointer[Error]
	closed     atomic.Int32
	busy       int // queries until the stream is done; negative for never
}

func (p *plain) Properties() *Properties { return &p.properties }
func (p *plain) Ledger() *Ledger         { return &p.ledger }
func (p *plain) Lose(e *Error)           { p.lost.CompareAndSwap(nil, e) }
func (p *plain) Close() error            { p.closed.Add(1); return p.ledger.Check() }

func (p *plain) Err() error {
	if e := p.lost.Load(); e != nil {
		return e
	}
	return nil
}

func (p *plain) MemInfo() (free, total int64, err error) { return 3 << 20, 10 << 20, nil }

func (p *plain) QueryStream(Stream) (bool, error) {
	if err := p.Err(); err != nil {
		return false, err
	}
	p.busy--
	return p.busy == -1, nil
}

func started(t *testing.T) (*plain, *Device) {
	t.Helper()
	p := &plain{}
	d, err := Start(func() (Context, error) { return p, nil })
	if err != nil {
		t.Fatal(err)
	}
	return p, d
}

func TestDoRunsOneAtATimeInOrder(t *testing.T) {
	_, d := started(t)
	defer d.Close()
	var inside atomic.Int32
	var wg sync.WaitGroup
	total := 0 // only the device's goroutine touches it
	for range 50 {
		wg.Go(func() {
			err := d.Do(func(Context) error {
				if inside.Add(1) != 1 {
					t.Error("two at a time")
				}
				runtime.Gosched()
				total++
				inside.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if total != 50 {
		t.Errorf("%d of 50 ran", total)
	}
}

func TestAPanicIsAnError(t *testing.T) {
	p, d := started(t)
	reason := errors.New("a reason")
	err := d.Do(func(Context) error { panic(reason) })
	var pe *PanicError
	if !errors.As(err, &pe) || !errors.Is(err, reason) || !strings.Contains(string(pe.Stack), "TestAPanicIsAnError") {
		t.Errorf("%v", err)
	}
	if err := d.Do(func(Context) error { var none []int; _ = none[len(none)]; return nil }); err == nil {
		t.Error("an index out of range went well")
	}
	if err := d.Do(nil); err == nil {
		t.Error("nothing was run")
	}
	if err := d.Do(func(Context) error { return reason }); err != reason {
		t.Errorf("an error came back as %v", err)
	}
	if err := d.Close(); err != nil || p.closed.Load() != 1 {
		t.Errorf("%v, closed %d times", err, p.closed.Load())
	}
	for range 2 {
		if err := d.Do(func(Context) error { return nil }); err != ErrClosed {
			t.Errorf("after close: %v", err)
		}
		if err := d.Close(); err != ErrClosed {
			t.Errorf("a second close: %v", err)
		}
		if _, _, err := d.MemInfo(); err != ErrClosed {
			t.Errorf("memory after close: %v", err)
		}
	}
}

func TestGoexitLeavesNobodyWaiting(t *testing.T) {
	p, d := started(t)
	if err := d.Do(func(Context) error { runtime.Goexit(); return nil }); err != ErrClosed {
		t.Errorf("%v", err)
	}
	if err := d.Do(func(Context) error { return nil }); err != ErrClosed {
		t.Errorf("then: %v", err)
	}
	if p.closed.Load() != 1 {
		t.Errorf("closed %d times", p.closed.Load())
	}
}

func TestStartThatFails(t *testing.T) {
	reason := errors.New("no GPU")
	if _, err := Start(func() (Context, error) { return nil, reason }); err != reason {
		t.Error(err)
	}
	var pe *PanicError
	if _, err := Start(func() (Context, error) { panic("in open") }); !errors.As(err, &pe) {
		t.Error(err)
	}
}

func TestALostDeviceRunsNothing(t *testing.T) {
	p, d := started(t)
	defer d.Close()
	lost := NewError("cuLaunchKernel", IllegalAddress, "", "")
	p.Lose(lost)
	p.Lose(NewError("later", LaunchFailed, "", ""))
	ran := false
	if err := d.Do(func(Context) error { ran = true; return nil }); err != error(lost) || ran {
		t.Errorf("%v, ran: %v", err, ran)
	}
	if d.Err() != error(lost) {
		t.Error(d.Err())
	}
}

func TestCloseTellsOfALeak(t *testing.T) {
	p, d := started(t)
	p.ledger.Streams.Add(1)
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "1 streams") {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	p := &plain{busy: 20}
	if err := Wait(t.Context(), p, 0, time.Hour); err != nil || p.busy != -1 {
		t.Errorf("%v after %d more queries", err, p.busy)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = &plain{busy: -1000}
	if err := Wait(ctx, p, 0, 0); err != context.Canceled || p.Err() != nil {
		t.Errorf("cancelled: %v, the device: %v", err, p.Err())
	}
}

// TestFault48_AKernelThatHangs is a kernel that never ends: who waits is told, and the device is lost.
func TestFault48_AKernelThatHangs(t *testing.T) {
	p, d := started(t)
	defer d.Close()
	p.busy = -1000
	err := d.Do(func(c Context) error { return Wait(t.Context(), c, 0, time.Millisecond) })
	var e *Error
	if !errors.As(err, &e) || e.Code != Hung || !errors.Is(err, ErrSticky) || !strings.Contains(err.Error(), "after 1ms") {
		t.Errorf("%v", err)
	}
	if again := d.Do(func(Context) error { return nil }); again != err {
		t.Errorf("then: %v", again)
	}
}

type monitor struct{ err error }

func (m monitor) Sample(uuid [16]byte, s *Status) error {
	s.Used, s.Total, s.Utilization, s.Temperature = 7, 9, 37, 51
	return m.err
}

func TestStatus(t *testing.T) {
	p, d := started(t)
	defer d.Close()
	p.properties.Name, p.properties.DriverVersion = "A GPU", 12040
	p.ledger.DeviceBytes.Add(2 << 20)
	defer p.ledger.DeviceBytes.Add(-2 << 20)
	base := Status{DeviceName: "A GPU", DeviceCount: 3, CUDAVersion: "12.4", Allocated: 5, Reserved: 2 << 20}
	without := base
	without.Used, without.Total = 7<<20, 10<<20
	with := base
	with.Used, with.Total, with.Utilization, with.Temperature = 7, 9, 37, 51
	for _, c := range []struct {
		name string
		m    Monitor
		want Status
	}{{"no NVML", nil, without}, {"NVML", monitor{}, with}, {"NVML that fails", monitor{errors.New("lost")}, without}} {
		if got, err := d.Status(c.m, 3, 5); got != c.want || err != nil {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	p.Lose(NewError("x", IllegalAddress, "", ""))
	if _, err := d.Status(nil, 3, 5); !errors.Is(err, ErrSticky) {
		t.Errorf("lost: %v", err)
	}
}
