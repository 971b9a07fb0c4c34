package emu

import (
	"fmt"
	"strconv"
	"strings"
)

// Target is a GPU, as far as a kernel can tell.
type Target struct {
	Arch    int  // compute capability times ten: 75, 80, 90
	Feature byte // 'a' for the architecture-specific set of sm_90a, else 0

	SMs             int   // multiprocessors: %nsmid; 0 means the usual number of the architecture
	SharedBytes     int   // the most shared memory of one block; 0 means the architecture's
	RegistersPerSM  int   // 32-bit registers of a multiprocessor; 0 means 65536
	ThreadsPerBlock int   // 0 means 1024
	MemoryBytes     int64 // device memory; 0 means 16 GiB
}

// ParseTarget reads a name like sm_80 or sm_90a and fills in the architecture's limits.
func ParseTarget(name string) (Target, error) {
	t, err := parseTarget(name)
	return t.withDefaults(), err
}

func parseTarget(name string) (Target, error) {
	digits, ok := strings.CutPrefix(name, "sm_")
	var t Target
	if ok && strings.HasSuffix(digits, "a") {
		digits, t.Feature = digits[:len(digits)-1], 'a'
	}
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 10 || n > 999 || digits[0] == '+' {
		return Target{}, fmt.Errorf("target %q: want sm_75, sm_80, sm_90a …", name)
	}
	t.Arch = n
	return t, nil
}

func (t Target) String() string {
	s := "sm_" + strconv.Itoa(t.Arch)
	if t.Feature != 0 {
		s += string(rune(t.Feature))
	}
	return s
}

func (t Target) withDefaults() Target {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	sms, shared := 40, 64<<10 // T4
	switch {
	case t.Arch >= 90:
		sms, shared = 132, 227<<10
	case t.Arch == 80 || t.Arch == 87:
		sms, shared = 108, 163<<10
	case t.Arch > 80:
		sms, shared = 84, 99<<10
	}
	def(&t.SMs, sms)
	def(&t.SharedBytes, shared)
	def(&t.RegistersPerSM, 65536)
	def(&t.ThreadsPerBlock, 1024)
	if t.MemoryBytes == 0 {
		t.MemoryBytes = 16 << 30
	}
	return t
}

// runs reports whether code for module target m runs on t: plain targets on every later GPU, 'a' ones on their own.
func (t Target) runs(m Target) bool {
	if m.Feature != 0 {
		return t.Arch == m.Arch && t.Feature == m.Feature
	}
	return t.Arch >= m.Arch
}

// need is the lowest PTX version and architecture that has an instruction or modifier.
type need struct {
	match    string // dot-separated parts that must all be in the opcode; the first is the base opcode, or * for any
	ptx      int
	arch     int
	specific bool // only the architecture-specific targets
}

// needs follows the target notes of the PTX ISA; the entries were compared with what ptxas 12.9 accepts.
var needs = []need{
	{"shfl.sync", 60, 30, false}, {"vote.sync", 60, 30, false}, {"match", 60, 70, false}, {"bar.warp", 60, 30, false},
	{"barrier", 60, 30, false}, {"activemask", 62, 30, false}, {"redux", 70, 80, false}, {"elect", 80, 90, false},
	{"ldmatrix", 65, 75, false}, {"stmatrix", 78, 90, false}, {"movmatrix", 78, 75, false},
	{"mma", 64, 70, false}, {"mma.m16n8k8", 65, 75, false}, {"mma.m8n8k16", 65, 75, false}, {"mma.m16n8k16", 70, 80, false},
	{"mma.m16n8k32", 70, 80, false}, {"mma.m16n8k4", 70, 80, false}, {"mma.bf16", 70, 80, false}, {"mma.tf32", 70, 80, false},
	{"mma.e4m3", 84, 89, false}, {"mma.e5m2", 84, 89, false},
	{"cp.async", 70, 80, false}, {"cp.async.bulk", 80, 90, false}, {"cp.reduce", 80, 90, false},
	{"mbarrier", 70, 80, false}, {"mbarrier.try_wait", 78, 90, false}, {"mbarrier.expect_tx", 80, 90, false},
	{"mbarrier.complete_tx", 80, 90, false}, {"wgmma", 80, 90, true}, {"setmaxnreg", 80, 90, true},
	{"griddepcontrol", 78, 90, false}, {"fence", 60, 70, false}, {"fence.proxy", 75, 70, false}, {"fence.async", 80, 90, false},
	{"fence.mbarrier_init", 80, 90, false}, {"barrier.cluster", 78, 90, false}, {"mapa", 78, 90, false}, {"getctarank", 78, 90, false},
	{"prefetch.tensormap", 80, 90, false}, {"cvta.param", 77, 70, false}, {"tanh", 70, 75, false}, {"ex2.f16", 70, 75, false},
	{"ex2.f16x2", 70, 75, false}, {"ex2.bf16", 78, 90, false}, {"ex2.bf16x2", 78, 90, false}, {"tanh.bf16", 78, 90, false},
	{"tanh.bf16x2", 78, 90, false}, {"fma.bf16", 70, 80, false}, {"fma.bf16x2", 70, 80, false}, {"add.bf16", 78, 90, false},
	{"add.bf16x2", 78, 90, false}, {"sub.bf16", 78, 90, false}, {"sub.bf16x2", 78, 90, false}, {"mul.bf16", 78, 90, false},
	{"mul.bf16x2", 78, 90, false}, {"min.bf16", 70, 80, false}, {"max.bf16", 70, 80, false}, {"min.bf16x2", 70, 80, false},
	{"max.bf16x2", 70, 80, false}, {"min.f16", 70, 80, false}, {"max.f16", 70, 80, false}, {"min.f16x2", 70, 80, false},
	{"max.f16x2", 70, 80, false}, {"min.NaN", 70, 80, false}, {"max.NaN", 70, 80, false}, {"fma.relu", 70, 80, false},
	{"cvt.bf16", 70, 80, false}, {"cvt.bf16x2", 70, 80, false}, {"cvt.tf32", 70, 80, false}, {"cvt.relu", 70, 80, false},
	{"cvt.e4m3x2", 81, 89, false}, {"cvt.e5m2x2", 81, 89, false}, {"cvt.pack", 65, 72, false},
	{"*.L1::no_allocate", 74, 75, false}, {"*.L1::evict_last", 74, 75, false}, {"*.L1::evict_first", 74, 75, false},
	{"*.L2::128B", 74, 75, false}, {"*.L2::256B", 74, 75, false}, {"*.L2::64B", 74, 75, false}, {"*.L2::cache_hint", 74, 80, false},
	{"createpolicy", 74, 80, false}, {"*.shared::cta", 78, 30, false}, {"*.shared::cluster", 78, 90, false},
	{"red.bf16x2", 78, 90, false}, {"atom.bf16x2", 78, 90, false}, {"red.v2", 81, 90, false}, {"red.v4", 81, 90, false},
	{"atom.v2", 81, 90, false}, {"atom.v4", 81, 90, false}, {"red.f16x2", 62, 60, false}, {"atom.f16x2", 62, 60, false},
	{"dp4a", 50, 61, false}, {"dp2a", 50, 61, false}, {"lop3", 43, 50, false}, {"nanosleep", 63, 70, false}, {"brx", 60, 30, false},
	{"ld.v8", 88, 100, false}, {"st.v8", 88, 100, false}, {"ld.acquire", 60, 70, false}, {"ld.relaxed", 60, 70, false},
	{"st.release", 60, 70, false}, {"st.relaxed", 60, 70, false}, {"discard", 74, 80, false}, {"applypriority", 74, 80, false},
}

var needParts = func() [][]string {
	r := make([][]string, len(needs))
	for i, n := range needs {
		r[i] = strings.Split(n.match, ".")
	}
	return r
}()

// available checks an opcode against the module's .version and .target.
func (m *Module) available(op []string) error {
	for i, parts := range needParts {
		if parts[0] != "*" && parts[0] != op[0] || !hasAll(op, parts[1:]) {
			continue
		}
		n := &needs[i]
		switch {
		case m.Version < n.ptx:
			return fmt.Errorf("%s needs PTX %d.%d, the module has .version %d.%d", strings.Join(op, "."), n.ptx/10, n.ptx%10, m.Version/10, m.Version%10)
		case m.Target.Arch < n.arch:
			return fmt.Errorf("%s needs sm_%d, the module has .target %v", strings.Join(op, "."), n.arch, m.Target)
		case n.specific && m.Target.Feature == 0:
			return fmt.Errorf("%s needs sm_%da, the module has .target %v", strings.Join(op, "."), n.arch, m.Target)
		}
	}
	if op[0] == "cvt" && has(op, "f16x2") && has(op, "f32") && m.Target.Arch < 80 {
		return fmt.Errorf("%s needs sm_80, the module has .target %v", strings.Join(op, "."), m.Target)
	}
	return nil
}

func has(op []string, part string) bool {
	for _, o := range op {
		if o == part {
			return true
		}
	}
	return false
}

func hasAll(op, parts []string) bool {
	for _, p := range parts {
		if !has(op, p) {
			return false
		}
	}
	return true
}
