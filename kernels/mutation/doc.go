// Package mutation measures the kernels' cases: it plants bugs, one at a time, and counts how many are noticed.
//
// A planted bug is an edit of the committed PTX, such as a barrier taken out or a wait for one group of copies too few,
// or of a source, which is then compiled: a bound off by one, a tail dropped, a factor forgotten. The kernel's own cases
// of kerneltest run on the emulator until one of them fails, be it by a wrong value or by a fault. What survives all
// cases is a kind of mistake that the tests do not see.
//
// It has tests only.
package mutation
