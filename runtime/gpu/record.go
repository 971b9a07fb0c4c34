package gpu

import (
	"errors"

	"remote-client-server/cuda"
	"remote-client-server/runtime"
)

// recording is a recorded step.
type recording struct {
	exec     cuda.GraphExec
	launches []*kernel // counted each time that it runs
}

// Record runs the step once, which loads its kernels and takes the scratch that it needs, and then once more for the
// stream to note what it queues. Where a context records nothing the step is kept as it is.
func (b *Backend) Record(step func()) (*runtime.Graph, error) {
	g := &runtime.Graph{Step: step}
	b.play(step)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if b.abandoned {
		return nil, runtime.ErrAbandoned
	}
	if !b.context.Properties().GraphCapture {
		return g, nil
	}
	r := &recording{}
	graph, err := b.capture(step, r)
	if err == nil {
		r.exec, err = b.context.Instantiate(graph)
		err = errors.Join(err, b.context.DestroyGraph(graph))
	}
	if err != nil {
		b.check(err)
		return nil, err
	}
	g.Packed = r
	g.Free = func() error {
		if b.closed || b.failed.Load() != nil { // it went with the device
			return nil
		}
		b.wait()
		return b.context.DestroyGraphExec(r.exec)
	}
	return g, nil
}

// capture plays the step for the stream to note it.
func (b *Backend) capture(step func(), r *recording) (cuda.Graph, error) {
	if err := b.context.BeginCapture(b.stream); err != nil {
		return 0, err
	}
	b.recorded = r
	ended := false
	defer func() {
		b.recorded = nil
		if !ended { // a panic: the stream must not stay a recorded one
			if g, err := b.context.EndCapture(b.stream); err == nil {
				b.check(b.context.DestroyGraph(g))
			}
		}
	}()
	b.play(step)
	ended = true
	return b.context.EndCapture(b.stream)
}

// unrecorded panics where a stream notes a step: what passes through the host would happen once, and not in every run.
func (b *Backend) unrecorded(op string) {
	if b.recorded != nil {
		fail(op, "in a recorded step")
	}
}

// play calls a step with scratch that all recorded steps share, and nobody else uses: they run one after the other, at any
// depth of scopes, and find their addresses as they left them.
func (b *Backend) play(step func()) {
	outer, shadows := b.stack, b.shadows
	b.stack, b.shadows = b.steps, nil
	defer func() {
		b.steps, b.stack, b.shadows = b.stack, outer, shadows
		b.used.Store(b.stack.Used())
	}()
	m := b.stack.Mark()
	defer func() { b.stack.Release(m) }()
	step()
}

// Run queues a recorded step.
func (b *Backend) Run(g *runtime.Graph) {
	r, ok := g.Packed.(*recording)
	if !ok {
		b.play(g.Step)
		return
	}
	if b.idle() {
		return
	}
	if g.Free == nil {
		fail("Run", "a graph that is closed")
	}
	b.pace.launching(b)
	if b.check(b.context.LaunchGraph(r.exec, b.stream)) {
		for _, k := range r.launches {
			k.count.Add(1)
		}
	}
	b.pace.launched(b)
}
