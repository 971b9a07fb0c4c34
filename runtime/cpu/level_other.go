//go:build !amd64 && !arm64

package cpu

const bestLevel = "generic"

func nativeLevels() []*level { return nil }
