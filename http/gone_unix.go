//go:build linux || darwin || freebsd

package http

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerGone looks at the connection's next byte without taking it. No data and
// no error is the end of the stream; no data "yet" is a client that waits.
func peerGone(raw syscall.RawConn) bool {
	gone := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		for {
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				gone = !errors.Is(err, unix.EAGAIN)
			default:
				gone = n == 0
			}
			return
		}
	})
	return gone || err != nil
}
