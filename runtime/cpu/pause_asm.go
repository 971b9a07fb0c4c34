//go:build amd64 || arm64

package cpu

// pause tells the core n times that this thread spins.
//
//go:noescape
func pause(n int)
