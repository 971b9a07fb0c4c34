package emu

import (
	"time"

	"remote-client-server/cuda"
)

// event is a point of a stream.
type event struct {
	timing   bool
	recorded bool
	at       time.Time
	capture  *capture // that recorded it, and where
	from     cuda.Stream
	after    int // nodes before it
}

// recording finds what records a stream's work, nil where it is done at once.
func (c *gpu) recording(call string, s cuda.Stream) (*capture, error) {
	if s == 0 {
		return nil, nil
	}
	r, ok := c.streams[s]
	if !ok {
		return nil, badHandle(call, "stream", uintptr(s))
	}
	return r, nil
}

// give does a stream's work, or records it.
func (c *gpu) give(call string, s cuda.Stream, work node) error {
	r, err := c.recording(call, s)
	if err != nil {
		return err
	}
	if r == nil {
		return work()
	}
	r.add(s, work)
	return nil
}

// outside opens a call that is not allowed while a stream is recorded: it spoils the recording.
func (c *gpu) outside(call string) error {
	if err := c.begin(call); err != nil {
		return err
	}
	for s, r := range c.streams {
		if r != nil {
			return r.spoil(call, s)
		}
	}
	return nil
}

func (c *gpu) NewStream() (cuda.Stream, error) {
	if err := c.begin("cuStreamCreate"); err != nil {
		return 0, err
	}
	s := cuda.Stream(c.handle())
	c.streams[s] = nil
	c.ledger.Streams.Add(1)
	return s, nil
}

func (c *gpu) DestroyStream(s cuda.Stream) error {
	const call = "cuStreamDestroy_v2"
	if err := c.begin(call); err != nil {
		return err
	}
	if _, ok := c.streams[s]; !ok {
		return badHandle(call, "stream", uintptr(s))
	}
	delete(c.streams, s)
	c.ledger.Streams.Add(-1)
	return nil
}

func (c *gpu) SynchronizeStream(s cuda.Stream) error {
	const call = "cuStreamSynchronize"
	if err := c.begin(call); err != nil {
		return err
	}
	return c.idle(call, s)
}

func (c *gpu) QueryStream(s cuda.Stream) (bool, error) {
	const call = "cuStreamQuery"
	if err := c.begin(call); err != nil {
		return false, err
	}
	err := c.idle(call, s)
	return err == nil, err
}

// idle is nil for a stream that is not recorded: its work is done.
func (c *gpu) idle(call string, s cuda.Stream) error {
	r, err := c.recording(call, s)
	if r != nil {
		return r.spoil(call, s)
	}
	return err
}

// WaitEvent has an effect only while streams are recorded: a stream that waits for an event of a recorded one is recorded
// with it.
func (c *gpu) WaitEvent(s cuda.Stream, h cuda.Event) error {
	const call = "cuStreamWaitEvent"
	if err := c.begin(call); err != nil {
		return err
	}
	e := c.events[h]
	if e == nil {
		return badHandle(call, "event", uintptr(h))
	}
	r, err := c.recording(call, s)
	switch {
	case err != nil || e.capture == nil || e.capture.over:
		return err
	case s == 0 || r != nil && r != e.capture:
		return e.capture.spoil(call, s)
	case r == nil:
		c.streams[s] = e.capture
		e.capture.open[s] = len(e.capture.nodes)
	}
	e.capture.join(s, e.from, e.after)
	return nil
}

func (c *gpu) NewEvent(timing bool) (cuda.Event, error) {
	if err := c.begin("cuEventCreate"); err != nil {
		return 0, err
	}
	e := cuda.Event(c.handle())
	c.events[e] = &event{timing: timing}
	c.ledger.Events.Add(1)
	return e, nil
}

func (c *gpu) DestroyEvent(h cuda.Event) error {
	const call = "cuEventDestroy_v2"
	if err := c.begin(call); err != nil {
		return err
	}
	if c.events[h] == nil {
		return badHandle(call, "event", uintptr(h))
	}
	delete(c.events, h)
	c.ledger.Events.Add(-1)
	return nil
}

func (c *gpu) Record(h cuda.Event, s cuda.Stream) error {
	const call = "cuEventRecord"
	if err := c.begin(call); err != nil {
		return err
	}
	e := c.events[h]
	if e == nil {
		return badHandle(call, "event", uintptr(h))
	}
	r, err := c.recording(call, s)
	if err != nil {
		return err
	}
	e.capture = r
	if r != nil {
		e.recorded, e.from, e.after = false, s, len(r.nodes)
		return nil
	}
	e.recorded, e.at = true, time.Now()
	return nil
}

func (c *gpu) QueryEvent(h cuda.Event) (bool, error) {
	err := c.past("cuEventQuery", h)
	return err == nil, err
}

func (c *gpu) SynchronizeEvent(h cuda.Event) error { return c.past("cuEventSynchronize", h) }

// past is nil for an event: all work before it is done, unless it stands in a recording.
func (c *gpu) past(call string, h cuda.Event) error {
	if err := c.begin(call); err != nil {
		return err
	}
	e := c.events[h]
	if e == nil {
		return badHandle(call, "event", uintptr(h))
	}
	if e.capture != nil && !e.capture.over {
		return e.capture.spoil(call, e.from)
	}
	return nil
}

// Elapsed is the time that the emulator took.
func (c *gpu) Elapsed(from, to cuda.Event) (time.Duration, error) {
	const call = "cuEventElapsedTime"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	a, b := c.events[from], c.events[to]
	for h, e := range map[cuda.Event]*event{from: a, to: b} {
		if e == nil || !e.timing || !e.recorded {
			return 0, badHandle(call, "recorded event with timing", uintptr(h))
		}
	}
	return b.at.Sub(a.at), nil
}
