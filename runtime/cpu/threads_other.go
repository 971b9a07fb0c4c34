//go:build !linux

package cpu

import "runtime"

// core is a core of the processor; here nothing is known about it.
type core struct{}

func allCores() []core { return make([]core, runtime.NumCPU()) }

func (core) pin() {}

func (core) attract() {}

func usable(n int) int { return max(1, n) }

func yieldThread() {}
