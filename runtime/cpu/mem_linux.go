package cpu

import (
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func adviseHuge(b []byte) { unix.Madvise(b, unix.MADV_HUGEPAGE) } // a hint: without it all works, slower

// memoryTotal is the machine's memory in bytes, 0 if unknown.
func memoryTotal() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}

// memoryFree is what this process may still use without swapping, in bytes: of the machine's memory, and of what the
// control group grants it. 0 if unknown.
func memoryFree() int64 {
	free := int64(math.MaxInt64)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "MemAvailable:"); ok {
			if kilobytes, ok := integer(strings.TrimSuffix(firstLine(rest), "kB")); ok {
				free = kilobytes << 10
			}
		}
	}
	for _, group := range []struct{ limit, used string }{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},                                 // version 2
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"}, // version 1
	} {
		limit, ok := fileInteger(group.limit)
		used, ok2 := fileInteger(group.used)
		if ok && ok2 {
			free = min(free, max(0, limit-used))
		}
	}
	if free == math.MaxInt64 {
		return 0
	}
	return free
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func integer(s string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return n, err == nil
}

func fileInteger(name string) (int64, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	return integer(string(b)) // "max" is none
}
