package http

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerGone says whether the client has closed the connection, or only its
// sending side: until something is sent to it, TCP shows no difference. Bytes
// that were not read yet, such as a request behind the one that is answered,
// do not hide it.
func peerGone(raw syscall.RawConn) bool {
	gone := false
	err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		for {
			_, err := unix.Poll(p, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			gone = err == nil && p[0].Revents != 0 // POLLHUP and POLLERR come unasked
			return
		}
	})
	return gone || err != nil
}
