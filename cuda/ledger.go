package cuda

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// Ledger counts what a Context handed out and did not get back. Its zero value is empty.
type Ledger struct {
	DeviceBytes, HostBytes                       atomic.Int64
	Allocations, HostAllocations                 atomic.Int64
	Modules, Streams, Events, Graphs, GraphExecs atomic.Int64
}

// Check is an error that lists what is still out, or nil.
func (l *Ledger) Check() error {
	var out []string
	add := func(n *atomic.Int64, what string, bytes *atomic.Int64) {
		switch {
		case n.Load() == 0:
		case bytes != nil:
			out = append(out, fmt.Sprintf("%d %s of %d bytes", n.Load(), what, bytes.Load()))
		default:
			out = append(out, fmt.Sprintf("%d %s", n.Load(), what))
		}
	}
	add(&l.Allocations, "device allocations", &l.DeviceBytes)
	add(&l.HostAllocations, "host allocations", &l.HostBytes)
	add(&l.Modules, "modules", nil)
	add(&l.Streams, "streams", nil)
	add(&l.Events, "events", nil)
	add(&l.Graphs, "graphs", nil)
	add(&l.GraphExecs, "instantiated graphs", nil)
	if out == nil {
		return nil
	}
	return fmt.Errorf("cuda: not given back: %s", strings.Join(out, ", "))
}
