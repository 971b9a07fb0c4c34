package main

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"remote-client-server/kernels"
)

// multiprocessor is what one multiprocessor of a GPU has (CUDA C++ Programming Guide, technical specifications per
// compute capability).
type multiprocessor struct {
	warps, blocks, registers int
	shared, reserved         int // bytes, and those that the system keeps for each block
}

var multiprocessors = map[kernels.Target]multiprocessor{
	"sm_75":  {32, 16, 65536, 64 << 10, 0},
	"sm_80":  {64, 32, 65536, 164 << 10, 1 << 10},
	"sm_86":  {48, 16, 65536, 100 << 10, 1 << 10},
	"sm_89":  {48, 24, 65536, 100 << 10, 1 << 10},
	"sm_90a": {64, 32, 65536, 228 << 10, 1 << 10},
}

// reported are the GPUs for which ptxas is asked, in the order of the table.
var reported = []kernels.Target{"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"}

// Blocks is how many blocks of the kernel a multiprocessor holds at once. Registers are given to a warp by 256, and warps
// are dealt out to four schedulers.
func (a *Assembled) Blocks() int {
	m := multiprocessors[a.GPU]
	warps := (a.Kernel.Threads + 31) / 32
	n := min(m.blocks, m.warps/warps)
	if a.Registers > 0 {
		n = min(n, m.registers/((32*a.Registers+255)/256*256*((warps+3)/4*4)))
	}
	if bytes := a.Shared + a.Kernel.Shared + m.reserved; bytes > 0 {
		n = min(n, m.shared/((bytes+127)/128*128))
	}
	return n
}

// Problems are what makes a kernel unfit.
func (a *Assembled) Problems() []string {
	var p []string
	bad := func(format string, args ...any) { p = append(p, fmt.Sprintf(format, args...)) }
	if a.Registers == 0 {
		bad("ptxas says nothing of its registers")
	}
	if a.Spills > 0 {
		bad("%d bytes of spills", a.Spills)
	}
	if a.Stack > 0 {
		bad("%d bytes of stack", a.Stack)
	}
	if n := a.Blocks(); n < a.Kernel.Blocks && !a.scarce() {
		bad("%d blocks fit a multiprocessor, the table says %d", n, a.Kernel.Blocks)
	}
	for _, c := range a.Complaints {
		bad("%s", c)
	}
	return p
}

// scarce reports a GPU that has fewer blocks of the kernel for want of threads or shared memory, which the bound on
// registers does not speak of.
func (a *Assembled) scarce() bool {
	unlimited := *a
	unlimited.Registers = 1
	return unlimited.Blocks() < a.Kernel.Blocks
}

// source is the build of a module whose PTX a GPU's cubin is made of, by CubinTargets' rule.
func source(module string, gpu kernels.Target) (kernels.Build, bool) {
	of := []kernels.Target{kernels.SM80} // sm_89, which takes sm_86's cubins
	for _, c := range kernels.CubinTargets {
		if c.GPU == gpu {
			of = c.Of
		}
	}
	for _, t := range of {
		for _, b := range kernels.Builds() {
			if b.Module == module && b.Target == t {
				return b, true
			}
		}
	}
	return kernels.Build{}, false
}

// modules are the names of all modules, in the order of the launch table.
func modules() []string {
	var all []string
	for _, b := range kernels.Builds() {
		if !slices.Contains(all, b.Module) {
			all = append(all, b.Module)
		}
	}
	return all
}

// assembleAll runs ptxas for modules and every GPU. cubins are by their paths.
func (t *tools) assembleAll(ptx map[string][]byte, modules []string) (cubins map[string][]byte, made []*Assembled, err error) {
	type job struct {
		module string
		gpu    kernels.Target
		from   kernels.Build
		cubin  []byte
		made   []*Assembled
		err    error
	}
	var jobs []*job
	for _, module := range modules {
		for _, gpu := range reported {
			if b, ok := source(module, gpu); ok {
				jobs = append(jobs, &job{module: module, gpu: gpu, from: b})
			}
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, j := range jobs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			j.cubin, j.made, j.err = t.assemble(ptx[kernels.PTXPath(j.module, j.from.Target)], j.gpu)
		})
	}
	wg.Wait()
	cubins = map[string][]byte{}
	for _, j := range jobs {
		if j.err != nil {
			return nil, nil, fmt.Errorf("module %s: %w", j.module, j.err)
		}
		made = append(made, j.made...)
		if j.gpu != "sm_89" { // which takes sm_86's
			cubins[kernels.CubinPath(j.module, j.gpu)] = j.cubin
		}
	}
	return cubins, made, nil
}

// table is the report in Markdown, one line a kernel in the order of the launch table.
func table(made []*Assembled) string {
	by := map[string]map[kernels.Target]*Assembled{}
	for _, a := range made {
		if by[a.Kernel.Name] == nil {
			by[a.Kernel.Name] = map[kernels.Target]*Assembled{}
		}
		by[a.Kernel.Name][a.GPU] = a
	}
	var s strings.Builder
	s.WriteString("| kernel | threads | shared bytes |")
	for _, gpu := range reported {
		fmt.Fprintf(&s, " %s |", gpu)
	}
	s.WriteString(" SASS | its loop | loads in flight |\n|---|--:|--:|" + strings.Repeat("--:|", len(reported)) + "--:|--:|--:|\n")
	for _, k := range kernels.All() {
		of := by[k.Name]
		if len(of) == 0 {
			continue
		}
		last := of[slices.MaxFunc(slices.Collect(maps.Keys(of)), func(a, b kernels.Target) int { return strings.Compare(string(a), string(b)) })]
		shown := of["sm_80"]
		if shown == nil {
			shown = last
		}
		fmt.Fprintf(&s, "| `%s` | %d | %d |", k.Name, k.Threads, shown.Shared+k.Shared)
		for _, gpu := range reported {
			if a := of[gpu]; a != nil {
				fmt.Fprintf(&s, " %d × %d |", a.Registers, a.Blocks())
			} else {
				s.WriteString(" |")
			}
		}
		if c := shown.Code; c != nil {
			fmt.Fprintf(&s, " %d | %s | %d |\n", c.Instructions, c.loop(), c.Flight)
		} else {
			s.WriteString(" | | |\n")
		}
	}
	return s.String()
}

func (c *Code) loop() string {
	switch {
	case c.Loop == 0:
		return "none"
	case c.Tensor > 0:
		return fmt.Sprintf("%d / %d", c.Loop, c.Tensor)
	}
	return fmt.Sprint(c.Loop)
}

const (
	tableBegin = "<!-- The table is written by make ptx. -->\n"
	tableEnd   = "<!-- End of the table. -->\n"
)

// withTable is the README with the table between its marks.
func withTable(readme []byte, table string) ([]byte, error) {
	before, rest, ok := bytes.Cut(readme, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("README.md: the marks %q and %q are not there", strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return slices.Concat(before, []byte(tableBegin), []byte("\n"), []byte(table), []byte("\n"), []byte(tableEnd), after), nil
}
