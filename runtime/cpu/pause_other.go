//go:build !amd64 && !arm64

package cpu

// pause passes a little time.
func pause(n int) {
	for range n {
	}
}
