//go:build darwin || freebsd

package http

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerGone says whether the client has closed the connection, or only its
// sending side: until something is sent to it, TCP shows no difference. Where
// poll does not tell, it looks at the next byte without taking it: no data and
// no error is the end of the stream, no data "yet" a client that waits.
func peerGone(raw syscall.RawConn) bool {
	gone := false
	err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 0); err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			gone = true
			return
		}
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
