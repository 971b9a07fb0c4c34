//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"time"

	"remote-client-server/cuda"
)

const (
	streamNonBlocking  = 1 // CU_STREAM_NON_BLOCKING: not ordered with the default stream
	eventBlockingSync  = 1 // CU_EVENT_BLOCKING_SYNC: waiting for it takes no processor
	eventNoTiming      = 2 // CU_EVENT_DISABLE_TIMING
	captureThreadLocal = 1 // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
)

func (c *context) NewStream() (cuda.Stream, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var s uintptr
	if err := c.check("cuStreamCreate", c.cuStreamCreate(&s, streamNonBlocking)); err != nil {
		return 0, err
	}
	c.ledger.Streams.Add(1)
	return cuda.Stream(s), nil
}

func (c *context) DestroyStream(s cuda.Stream) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.check("cuStreamDestroy_v2", c.cuStreamDestroy(uintptr(s))); err != nil {
		return err
	}
	c.ledger.Streams.Add(-1)
	return nil
}

func (c *context) SynchronizeStream(s cuda.Stream) error {
	if err := c.Err(); err != nil {
		return err
	}
	return c.check("cuStreamSynchronize", c.cuStreamSynchronize(uintptr(s)))
}

func (c *context) QueryStream(s cuda.Stream) (bool, error) {
	if err := c.Err(); err != nil {
		return false, err
	}
	c.args[0] = uintptr(s)
	return c.ready("cuStreamQuery", c.call(c.cuStreamQuery, 1))
}

// ready is the answer of a query, for which one code is no error.
func (c *context) ready(call string, code int32) (bool, error) {
	if cuda.Code(code) == cuda.NotReady {
		return false, nil
	}
	err := c.check(call, code)
	return err == nil, err
}

func (c *context) WaitEvent(s cuda.Stream, e cuda.Event) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.args[0], c.args[1], c.args[2] = uintptr(s), uintptr(e), 0
	return c.check("cuStreamWaitEvent", c.call(c.cuStreamWaitEvent, 3))
}

func (c *context) NewEvent(timing bool) (cuda.Event, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	flags := uint32(eventBlockingSync)
	if !timing {
		flags |= eventNoTiming
	}
	var e uintptr
	if err := c.check("cuEventCreate", c.cuEventCreate(&e, flags)); err != nil {
		return 0, err
	}
	c.ledger.Events.Add(1)
	return cuda.Event(e), nil
}

func (c *context) DestroyEvent(e cuda.Event) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.check("cuEventDestroy_v2", c.cuEventDestroy(uintptr(e))); err != nil {
		return err
	}
	c.ledger.Events.Add(-1)
	return nil
}

func (c *context) Record(e cuda.Event, s cuda.Stream) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.args[0], c.args[1] = uintptr(e), uintptr(s)
	return c.check("cuEventRecord", c.call(c.cuEventRecord, 2))
}

func (c *context) QueryEvent(e cuda.Event) (bool, error) {
	if err := c.Err(); err != nil {
		return false, err
	}
	c.args[0] = uintptr(e)
	return c.ready("cuEventQuery", c.call(c.cuEventQuery, 1))
}

func (c *context) SynchronizeEvent(e cuda.Event) error {
	if err := c.Err(); err != nil {
		return err
	}
	return c.check("cuEventSynchronize", c.cuEventSynchronize(uintptr(e)))
}

func (c *context) Elapsed(from, to cuda.Event) (time.Duration, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var ms float32
	err := c.check("cuEventElapsedTime", c.cuEventElapsedTime(&ms, uintptr(from), uintptr(to)))
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

func (c *context) BeginCapture(s cuda.Stream) error {
	if err := c.Err(); err != nil {
		return err
	}
	if c.cuGraphInstantiateWithFlags == nil {
		return cuda.NewError("cuGraphInstantiateWithFlags", cuda.DriverTooOld, "", "graphs need driver >= R470")
	}
	// Thread-local: what other threads call meanwhile, MemInfo for one, does not spoil the recording.
	return c.check("cuStreamBeginCapture_v2", c.cuStreamBeginCapture(uintptr(s), captureThreadLocal))
}

func (c *context) EndCapture(s cuda.Stream) (cuda.Graph, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	var g uintptr
	if err := c.check("cuStreamEndCapture", c.cuStreamEndCapture(uintptr(s), &g)); err != nil {
		return 0, err
	}
	c.ledger.Graphs.Add(1)
	return cuda.Graph(g), nil
}

func (c *context) Instantiate(g cuda.Graph) (cuda.GraphExec, error) {
	if err := c.Err(); err != nil {
		return 0, err
	}
	if c.cuGraphInstantiateWithFlags == nil {
		return 0, cuda.NewError("cuGraphInstantiateWithFlags", cuda.DriverTooOld, "", "graphs need driver >= R470")
	}
	var x uintptr
	if err := c.check("cuGraphInstantiateWithFlags", c.cuGraphInstantiateWithFlags(&x, uintptr(g), 0)); err != nil {
		return 0, err
	}
	c.ledger.GraphExecs.Add(1)
	return cuda.GraphExec(x), nil
}

func (c *context) LaunchGraph(x cuda.GraphExec, s cuda.Stream) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.args[0], c.args[1] = uintptr(x), uintptr(s)
	return c.check("cuGraphLaunch", c.call(c.cuGraphLaunch, 2))
}

func (c *context) DestroyGraph(g cuda.Graph) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.check("cuGraphDestroy", c.cuGraphDestroy(uintptr(g))); err != nil {
		return err
	}
	c.ledger.Graphs.Add(-1)
	return nil
}

func (c *context) DestroyGraphExec(x cuda.GraphExec) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.check("cuGraphExecDestroy", c.cuGraphExecDestroy(uintptr(x))); err != nil {
		return err
	}
	c.ledger.GraphExecs.Add(-1)
	return nil
}
