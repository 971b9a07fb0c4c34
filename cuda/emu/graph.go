package emu

import (
	"fmt"

	"remote-client-server/cuda"
)

// node is one piece of recorded work.
type node func() error

// capture is a recording under way. The order in which work was given is one that its dependencies allow.
type capture struct {
	origin  cuda.Stream
	nodes   []node
	open    map[cuda.Stream]int // streams that came in by an event, and the nodes before the end of their last work
	spoiled string              // the call that did
	over    bool
}

func (r *capture) add(s cuda.Stream, work node) {
	r.nodes = append(r.nodes, work)
	if _, ok := r.open[s]; ok {
		r.open[s] = len(r.nodes)
	}
}

// join notes that stream s waits for what stream from had done when its event was recorded, after that many nodes.
func (r *capture) join(s, from cuda.Stream, after int) {
	if last, ok := r.open[from]; ok && s == r.origin && after >= last {
		delete(r.open, from)
	}
}

// spoil ends a recording by a call that it does not allow.
func (r *capture) spoil(call string, s cuda.Stream) error {
	if r.spoiled == "" {
		r.spoiled = call
	}
	return cuda.NewError(call, captureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", fmt.Sprintf("stream %#x is being recorded", uintptr(s)))
}

func (c *gpu) BeginCapture(s cuda.Stream) error {
	const call = "cuStreamBeginCapture_v2"
	if err := c.begin(call); err != nil {
		return err
	}
	if s == 0 {
		return cuda.NewError(call, captureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "the default stream cannot be recorded")
	}
	r, err := c.recording(call, s)
	if err != nil {
		return err
	}
	if r != nil {
		return invalid(call, "stream %#x is being recorded already", uintptr(s))
	}
	c.streams[s] = &capture{origin: s, open: map[cuda.Stream]int{}}
	return nil
}

func (c *gpu) EndCapture(s cuda.Stream) (cuda.Graph, error) {
	const call = "cuStreamEndCapture"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	r, err := c.recording(call, s)
	if err != nil {
		return 0, err
	}
	if r == nil || r.origin != s {
		return 0, invalid(call, "no recording began on stream %#x", uintptr(s))
	}
	r.over = true
	for other, o := range c.streams {
		if o == r {
			c.streams[other] = nil
		}
	}
	if r.spoiled != "" {
		return 0, cuda.NewError(call, captureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", r.spoiled+" is not allowed while a stream is recorded")
	}
	if len(r.open) > 0 {
		return 0, cuda.NewError(call, captureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", fmt.Sprintf("%d streams were not waited for", len(r.open)))
	}
	g := cuda.Graph(c.handle())
	c.graphs[g] = r.nodes
	c.ledger.Graphs.Add(1)
	return g, nil
}

func (c *gpu) Instantiate(g cuda.Graph) (cuda.GraphExec, error) {
	const call = "cuGraphInstantiateWithFlags"
	if err := c.begin(call); err != nil {
		return 0, err
	}
	nodes, ok := c.graphs[g]
	if !ok {
		return 0, badHandle(call, "graph", uintptr(g))
	}
	x := cuda.GraphExec(c.handle())
	c.execs[x] = nodes
	c.ledger.GraphExecs.Add(1)
	return x, nil
}

func (c *gpu) LaunchGraph(x cuda.GraphExec, s cuda.Stream) error {
	const call = "cuGraphLaunch"
	if err := c.begin(call); err != nil {
		return err
	}
	nodes, ok := c.execs[x]
	if !ok {
		return badHandle(call, "instantiated graph", uintptr(x))
	}
	return c.give(call, s, func() error {
		for _, work := range nodes {
			if err := work(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *gpu) DestroyGraph(g cuda.Graph) error {
	const call = "cuGraphDestroy"
	if err := c.begin(call); err != nil {
		return err
	}
	if _, ok := c.graphs[g]; !ok {
		return badHandle(call, "graph", uintptr(g))
	}
	delete(c.graphs, g)
	c.ledger.Graphs.Add(-1)
	return nil
}

func (c *gpu) DestroyGraphExec(x cuda.GraphExec) error {
	const call = "cuGraphExecDestroy"
	if err := c.begin(call); err != nil {
		return err
	}
	if _, ok := c.execs[x]; !ok {
		return badHandle(call, "instantiated graph", uintptr(x))
	}
	delete(c.execs, x)
	c.ledger.GraphExecs.Add(-1)
	return nil
}
