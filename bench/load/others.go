package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// usage is processor time: of the whole machine, and of this program with the
// servers that it ran, which have ended.
type usage struct {
	at            time.Time
	machine, ours time.Duration
	known         bool
}

// usageNow reads /proc/stat, which not every system has.
func usageNow() usage {
	u := usage{at: time.Now()}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) != nil {
			return u
		}
		u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line) // cpu user nice system idle iowait irq softirq steal ...
	if len(fields) < 9 {
		return u
	}
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		ticks, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return u
		}
		const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
		u.machine += time.Duration(ticks) * tick
	}
	u.known = true
	return u
}

// others is how many cores somebody else kept busy since before: what makes a
// run unfit to be quoted.
func (before usage) others() (cores float64, known bool) {
	now := usageNow()
	if !before.known || !now.known {
		return 0, false
	}
	rest := (now.machine - before.machine) - (now.ours - before.ours)
	return max(rest.Seconds()/now.at.Sub(before.at).Seconds(), 0), true
}
