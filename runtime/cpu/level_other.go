//go:build !amd64 && !arm64

package cpu

func nativeLevels() []*level { return nil }
