package emu_test

import (
	"bytes"
	"testing"

	"remote-client-server/cuda"
	"remote-client-server/cuda/emu"
)

func newStream(t *testing.T, c cuda.Context) cuda.Stream {
	t.Helper()
	s, err := c.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.DestroyStream(s) })
	return s
}

func newEvent(t *testing.T, c cuda.Context) cuda.Event {
	t.Helper()
	e, err := c.NewEvent(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.DestroyEvent(e) })
	return e
}

func TestEventsMeasure(t *testing.T) {
	c, double := open(t, emu.Options{})
	s, from, to := newStream(t, c), newEvent(t, c), newEvent(t, c)
	if _, err := c.Elapsed(from, to); code(err) != 400 {
		t.Errorf("events that were not recorded: %v", err)
	}
	x := place(t, c, words(1))
	for _, err := range []error{c.Record(from, s), c.Launch(call(double, s, x, 1)), c.Record(to, s), c.SynchronizeEvent(to), c.WaitEvent(s, to), c.SynchronizeStream(s)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if d, err := c.Elapsed(from, to); d <= 0 || err != nil {
		t.Errorf("%v, %v", d, err)
	}
	if done, err := c.QueryStream(s); !done || err != nil {
		t.Errorf("%v, %v", done, err)
	}
}

func TestGraphReplaysWhatWasRecorded(t *testing.T) {
	c, double := open(t, emu.Options{})
	s, other, fork, join := newStream(t, c), newStream(t, c), newEvent(t, c), newEvent(t, c)
	x, y := place(t, c, words(1, 2, 3)), place(t, c, words(0, 0, 0))
	l := call(double, s, x, 3)
	for _, err := range []error{
		c.BeginCapture(s), c.Launch(l), c.Record(fork, s), c.WaitEvent(other, fork), c.CopyAsync(y, x, 12, other), c.Record(join, other), c.WaitEvent(s, join),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.Args.Reset() // the recording has its own arguments
	g, err := c.EndCapture(s)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	if c.Download(got, x); !bytes.Equal(got, words(1, 2, 3)) {
		t.Error("recorded work was done")
	}
	exec, err := c.Instantiate(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DestroyGraph(g); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.LaunchGraph(exec, s); err != nil {
			t.Fatal(err)
		}
	}
	if c.Download(got, y); !bytes.Equal(got, words(4, 8, 12)) {
		t.Errorf("after two replays %v", got)
	}
	if err := c.DestroyGraphExec(exec); err != nil {
		t.Fatal(err)
	}
	if err := c.LaunchGraph(exec, s); code(err) != 400 {
		t.Errorf("a graph that is gone: %v", err)
	}
}

func TestRecordingsThatTheDriverRefuses(t *testing.T) {
	c, _ := open(t, emu.Options{})
	s, other, fork := newStream(t, c), newStream(t, c), newEvent(t, c)
	x := place(t, c, words(1))
	if err := c.BeginCapture(0); code(err) != 900 {
		t.Errorf("the default stream: %v", err)
	}
	if _, err := c.EndCapture(s); code(err) != cuda.InvalidValue {
		t.Errorf("an end without a beginning: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"synchronising":  func() error { return c.SynchronizeStream(s) },
		"allocating":     func() error { _, err := c.Alloc(4); return err },
		"a plain upload": func() error { return c.Upload(x, words(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.BeginCapture(s); err != nil {
				t.Fatal(err)
			}
			if err := spoil(); code(err) != 900 {
				t.Errorf("%v", err)
			}
			if _, err := c.EndCapture(s); code(err) != 901 {
				t.Errorf("the end: %v", err)
			}
		})
	}
	for _, err := range []error{c.BeginCapture(s), c.Record(fork, s), c.WaitEvent(other, fork), c.Memset(x, 0, 4, other)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.EndCapture(s); code(err) != 904 {
		t.Errorf("a stream that was not waited for: %v", err)
	}
}
