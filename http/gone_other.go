//go:build !(linux || darwin || freebsd)

package http

import "syscall"

// peerGone cannot tell here: a client that has gone is noticed when its answer
// is written.
func peerGone(syscall.RawConn) bool { return false }
