//go:build unix && !linux

package cpu

func adviseHuge([]byte) {}

func memoryTotal() int64 { return 0 }

func memoryFree() int64 { return 0 }
