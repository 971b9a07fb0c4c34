package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"remote-client-server/cuda"
	"remote-client-server/runtime"
)

// landing is page-locked memory that one Fetch copies to, and the event behind its copy.
type landing struct {
	host []byte
	done cuda.Event
}

// landings are those that exist. One is taken until its Wait; there are as many as copies were ever under way together.
type landings struct{ all, free []*landing }

// leastLanding is what a landing has at least: the tokens and log-probabilities of any step.
const leastLanding = 64 << 10

// take is a landing for so many bytes.
func (l *landings) take(b *Backend, bytes int) (*landing, error) {
	for i, x := range l.free {
		if len(x.host) >= bytes {
			l.free = append(l.free[:i], l.free[i+1:]...)
			return x, nil
		}
	}
	e, err := b.context.NewEvent(false)
	if err != nil {
		return nil, err
	}
	host, err := b.context.AllocHost(max(bytes, leastLanding))
	if err != nil {
		return nil, errors.Join(err, b.context.DestroyEvent(e))
	}
	x := &landing{host, e}
	l.all = append(l.all, x)
	return x, nil
}

func (l *landings) close(b *Backend) error {
	var errs []error
	for _, x := range l.all {
		errs = append(errs, b.context.FreeHost(x.host), b.context.DestroyEvent(x.done))
	}
	l.all, l.free = nil, nil
	return errors.Join(errs...)
}

// Fetch queues a copy of float32 or int32 values to memory of its own. Its Wait waits for the copy's event alone, and is
// asked for once.
func (b *Backend) Fetch(src runtime.Tensor) *runtime.Fetched {
	const op = "Fetch"
	b.stack.Check(op, src)
	b.unrecorded(op)
	if src.DType != runtime.F32 && src.DType != runtime.I32 {
		fail(op, "of %v", src)
	}
	n := src.Rows * src.Cols
	var x *landing
	err := b.Err()
	if b.abandoned {
		err = errors.Join(err, runtime.ErrAbandoned)
	}
	if err == nil && n > 0 {
		m := b.Mark()
		defer b.Release(m)
		if !src.Contiguous() {
			src = b.converted(src, src.Cols, src.DType)
		}
		var taken error
		if x, taken = b.landings.take(b, 4*n); b.check(taken) && b.check(b.context.DownloadAsync(x.host[:4*n], ptr(src), b.stream)) {
			b.check(b.context.Record(x.done, b.stream))
		}
		err = b.Err()
	}
	return &runtime.Fetched{Finish: func(dst any) error {
		var into int
		switch d := dst.(type) {
		case []float32:
			into = len(d)
			if src.DType != runtime.F32 {
				into = -1
			}
		case []int32:
			into = len(d)
			if src.DType != runtime.I32 {
				into = -1
			}
		default:
			into = -1
		}
		if into != n {
			panic(runtime.ShapeError{Op: "Wait", Detail: fmt.Sprintf("%v into %T", src, dst)})
		}
		if err != nil || n == 0 {
			return err
		}
		if x == nil {
			return errors.New("a fetch is waited for twice")
		}
		from := x
		if err = b.Err(); err == nil && b.check(b.await(from.done)) {
			switch d := dst.(type) {
			case []float32:
				for i := range d {
					d[i] = math.Float32frombits(binary.LittleEndian.Uint32(from.host[4*i:]))
				}
			case []int32:
				for i := range d {
					d[i] = int32(binary.LittleEndian.Uint32(from.host[4*i:]))
				}
			}
		}
		b.landings.free = append(b.landings.free, from)
		x, err = nil, b.Err()
		return err
	}}
}
