package cuda

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// Device is an open GPU and the goroutine that owns it, locked to one OS thread.
type Device struct {
	context Context
	jobs    chan job
	gone    chan struct{} // closed when the goroutine is
}

type job struct {
	run  func(Context) error // nil closes the device
	done chan<- error        // has room for one
}

// PanicError is a panic in a function that Do ran.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("cuda: panic: %v", e.Value) }

// Unwrap is the value, where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Start opens a device on a thread of its own. open is called there.
func Start(open func() (Context, error)) (*Device, error) {
	d := &Device{jobs: make(chan job), gone: make(chan struct{})}
	opened := make(chan error, 1)
	go d.own(open, opened)
	if err := <-opened; err != nil {
		return nil, err
	}
	return d, nil
}

// own is the device's goroutine. The thread is never unlocked, so that it ends with it: no other goroutine gets a thread
// to which the context is current.
func (d *Device) own(open func() (Context, error), opened chan<- error) {
	runtime.LockOSThread()
	defer close(d.gone)
	closed := true // nothing is open yet
	defer func() { // one who called runtime.Goexit
		if !closed {
			_ = guard(d.context.Close)
		}
	}()
	err := guard(func() (err error) {
		d.context, err = open()
		return err
	})
	opened <- err
	if err != nil {
		return
	}
	closed = false
	for j := range d.jobs {
		if j.run == nil {
			closed = true
			j.done <- guard(d.context.Close)
			return
		}
		if err := d.context.Err(); err != nil {
			j.done <- err
			continue
		}
		// The answer is given in a deferred call, so that one who calls runtime.Goexit, as a test that fails does, takes
		// the device with him but leaves nobody waiting.
		func() {
			err := ErrClosed
			defer func() { j.done <- err }()
			err = guard(func() error { return j.run(d.context) })
		}()
	}
}

// guard turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}

// Do runs f on the device's thread and waits for it. Calls are run one at a time, in the order in which they come. f
// must not call Do. A panic in f is its error; a device that was lost before gives its sticky error, and f is not run.
func (d *Device) Do(f func(Context) error) error {
	if f == nil {
		return NewError("do", InvalidValue, "", "no function")
	}
	return d.do(f)
}

func (d *Device) do(f func(Context) error) error {
	done := make(chan error, 1)
	select {
	case d.jobs <- job{f, done}:
		return <-done
	case <-d.gone:
		return ErrClosed
	}
}

// Properties describe the device.
func (d *Device) Properties() *Properties { return d.context.Properties() }

// Ledger counts what is allocated on the device.
func (d *Device) Ledger() *Ledger { return d.context.Ledger() }

// MemInfo is the device's memory in bytes, whoever uses it. It does not wait for Do.
func (d *Device) MemInfo() (free, total int64, err error) {
	select {
	case <-d.gone:
		return 0, 0, ErrClosed
	default:
		return d.context.MemInfo()
	}
}

// Err is the sticky error that lost the device, or nil. It does not wait for Do.
func (d *Device) Err() error { return d.context.Err() }

// Close waits for the call of Do under way and releases the device. What was not given back is an error. A second Close
// returns ErrClosed.
func (d *Device) Close() error { return d.do(nil) }

// Wait returns when the work of s is done, with the error of ctx when that ends first: the work then goes on. Where the
// work takes longer than limit, the context is lost: a kernel that hangs cannot be stopped, and what waits for it would
// wait for good. A limit of 0 is none.
func Wait(ctx context.Context, c Context, s Stream, limit time.Duration) error {
	const (
		spin  = 100 * time.Microsecond // a wait this short is not worth a sleep
		sleep = 50 * time.Microsecond
	)
	start := time.Now()
	for {
		done, err := c.QueryStream(s)
		if done || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		waited := time.Since(start)
		if limit > 0 && waited > limit {
			err := NewError("wait", Hung, "", fmt.Sprintf("the GPU's work has not ended after %v", limit))
			c.Lose(err)
			return err
		}
		if waited < spin {
			runtime.Gosched()
		} else {
			time.Sleep(sleep)
		}
	}
}
