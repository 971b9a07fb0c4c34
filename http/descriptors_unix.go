//go:build unix

package http

import "golang.org/x/sys/unix"

// descriptors is how many files and connections the process may have open; 0
// is not known.
func descriptors() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return uint64(r.Cur)
}
