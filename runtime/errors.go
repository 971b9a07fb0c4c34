package runtime

import (
	"errors"
	"fmt"
)

// ShapeError is the panic of an op whose operands do not fit: a mistake in a forward pass, never in a request. The
// edge of the job recovers it.
type ShapeError struct{ Op, Detail string }

func (e ShapeError) Error() string { return e.Op + ": " + e.Detail }

// OutOfMemory is the panic of an allocation that the device refused. It is not sticky: the edge of the job recovers
// it, splits the batch and tries once more.
type OutOfMemory struct {
	What       string
	Want, Free int64 // bytes; Free is -1 where the device does not tell
}

func (e OutOfMemory) Error() string {
	return fmt.Sprintf("out of memory: %s wants %d bytes, %d free", e.What, e.Want, e.Free)
}

// DeviceError is a failed call of the device. It is sticky: later ops do nothing, and Sync, Download and Wait return it.
type DeviceError struct {
	Call string
	Code int
	Name string
	Err  error // the device's own, or nil
}

func (e DeviceError) Unwrap() error { return e.Err }

func (e DeviceError) Error() string { return fmt.Sprintf("%s: %s (%d)", e.Call, e.Name, e.Code) }

// ErrAbandoned is the end of work that is not wanted any more (see Backend.While).
var ErrAbandoned = errors.New("the work was abandoned")
