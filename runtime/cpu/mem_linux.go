package cpu

import "golang.org/x/sys/unix"

func adviseHuge(b []byte) { unix.Madvise(b, unix.MADV_HUGEPAGE) } // a hint: without it all works, slower

// memoryTotal is the machine's memory in bytes, 0 if unknown.
func memoryTotal() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}
