package cpu

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// core is the processors of one physical core, of those that this process may use.
type core struct {
	set   unix.CPUSet
	known bool
}

// allCores is the physical cores that the affinity of this process leaves it.
func allCores() []core {
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return []core{{}}
	}
	index := map[string]int{} // by the list of a core's processors
	var cores []core
	for cpu := range len(allowed) * 64 {
		if !allowed.IsSet(cpu) {
			continue
		}
		siblings, err := os.ReadFile("/sys/devices/system/cpu/cpu" + strconv.Itoa(cpu) + "/topology/thread_siblings_list")
		if err != nil {
			siblings = strconv.AppendInt(nil, int64(cpu), 10)
		}
		i, ok := index[string(siblings)]
		if !ok {
			i = len(cores)
			index[string(siblings)] = i
			cores = append(cores, core{known: true})
		}
		cores[i].set.Set(cpu)
	}
	return cores
}

// pin keeps the calling thread on the core, if it can.
func (c core) pin() {
	if c.known {
		unix.SchedSetaffinity(0, &c.set)
	}
}

// attract moves the calling thread to the core if it runs elsewhere, without keeping it there. The goroutine stays on its
// thread meanwhile.
func (c core) attract() {
	if !c.known {
		return
	}
	var cpu uint32
	unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	if c.set.IsSet(int(cpu)) {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if unix.SchedGetaffinity(0, &before) == nil && unix.SchedSetaffinity(0, &c.set) == nil {
		unix.SchedSetaffinity(0, &before)
	}
}

// usable is how many of n cores the quota of the control group pays for.
func usable(n int) int {
	if q := quota(); q > 0 {
		n = min(n, int(math.Round(q)))
	}
	return max(1, n)
}

func yieldThread() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// quota is the number of CPUs that the control group grants, 0 for no limit.
func quota() float64 {
	if b, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); err == nil { // version 2: "max 100000" or "200000 100000"
		if f := strings.Fields(string(b)); len(f) == 2 {
			return ratio(f[0], f[1])
		}
		return 0
	}
	most, err := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
	if err != nil {
		return 0
	}
	period, err := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
	if err != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(most)), strings.TrimSpace(string(period)))
}

func ratio(a, b string) float64 {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err != nil || err2 != nil || x <= 0 || y <= 0 {
		return 0
	}
	return x / y
}
