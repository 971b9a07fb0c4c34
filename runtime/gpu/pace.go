package gpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"remote-client-server/cuda"
)

// pace keeps little work in flight. A launch returns at once, so a forward pass could be queued whole, seconds ahead of
// the device, and nobody could stop it. Launches are cut into groups that take the device a few milliseconds each; with
// two of them under way, the next waits for the first. While is asked between groups, and now and then within one.
type pace struct {
	begin, end []cuda.Event // of groups, oldest first; the one being filled has no end
	free       []cuda.Event
	launches   int // of the group that is being filled
	size       int // launches that make a group
	asked      time.Time
}

const (
	groupsUnderWay = 2
	groupTime      = 10 * time.Millisecond
	askTime        = 2 * time.Millisecond
	firstGroup     = 8
	largestGroup   = 256
)

func (p *pace) open(b *Backend) error {
	p.size = firstGroup
	for range 2*(groupsUnderWay+1) + 2 { // two for whoever measures
		e, err := b.context.NewEvent(true)
		if err != nil {
			return err
		}
		p.free = append(p.free, e)
	}
	return nil
}

func (p *pace) close(b *Backend) error {
	var errs []error
	for _, list := range [][]cuda.Event{p.begin, p.end, p.free} {
		for _, e := range list {
			errs = append(errs, b.context.DestroyEvent(e))
		}
	}
	p.begin, p.end, p.free = nil, nil, nil
	return errors.Join(errs...)
}

// mark records an event here and notes it in list.
func (p *pace) mark(b *Backend, list *[]cuda.Event) {
	e := p.free[len(p.free)-1]
	b.check(b.context.Record(e, b.stream)) // running out of memory here leaves the event free
	p.free = p.free[:len(p.free)-1]
	*list = append(*list, e)
}

// launching is called before a launch, and waits where too much is under way. A launch that was refused, or an event that
// was not recorded, left the group open: then the next launch goes on with it.
func (p *pace) launching(b *Backend) {
	if len(p.begin) > len(p.end) {
		return
	}
	for len(p.end) > groupsUnderWay {
		if p.retire(b); b.failed.Load() != nil {
			return
		}
	}
	p.mark(b, &p.begin)
}

// launched is called after it.
func (p *pace) launched(b *Backend) {
	if b.failed.Load() != nil {
		return
	}
	if p.launches++; p.launches < p.size {
		if b.wanted != nil && time.Since(p.asked) > askTime {
			b.ask()
		}
		return
	}
	p.mark(b, &p.end)
	p.launches = 0
	b.ask()
}

// retire waits for the oldest group and fits the size of the next to the time that it took.
func (p *pace) retire(b *Backend) {
	from, to := p.begin[0], p.end[0]
	if !b.check(b.await(to)) {
		return
	}
	took, err := b.context.Elapsed(from, to)
	if !b.check(err) {
		return
	}
	p.free = append(p.free, from, to)
	p.begin = p.begin[:copy(p.begin, p.begin[1:])]
	p.end = p.end[:copy(p.end, p.end[1:])]
	switch {
	case took > groupTime:
		p.size = max(2, p.size/2)
	case took < groupTime/4:
		p.size = min(largestGroup, p.size*2)
	}
}

// await polls an event: whoever waits for a kernel that hangs would wait for good.
func (b *Backend) await(e cuda.Event) error {
	for start := time.Now(); ; {
		done, err := b.context.QueryEvent(e)
		if done || err != nil {
			return err
		}
		if time.Since(start) > b.o.Limit {
			err := cuda.NewError("wait", cuda.Hung, "", fmt.Sprintf("the GPU's work has not ended after %v", b.o.Limit))
			b.context.Lose(err)
			return err
		}
		time.Sleep(100 * time.Microsecond)
		if time.Since(b.pace.asked) > askTime {
			b.ask()
		}
	}
}

// ask looks whether someone still wants what is being computed.
func (b *Backend) ask() {
	if b.wanted == nil || b.abandoned {
		return
	}
	b.pace.asked = time.Now()
	b.abandoned = !b.wanted()
}

// wait returns when all that was queued is done, or the device is lost.
func (b *Backend) wait() {
	if b.failed.Load() != nil {
		return
	}
	b.check(cuda.Wait(context.Background(), b.context, b.stream, b.o.Limit))
	p := &b.pace
	p.free = append(append(p.free, p.begin...), p.end...)
	p.begin, p.end, p.launches = p.begin[:0], p.end[:0], 0
	b.staging.used = 0
}
