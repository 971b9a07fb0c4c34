package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"remote-client-server/runtime/cpu"
)

// fact is a line of the start-up report.
type fact struct {
	name  string
	value any
}

// report is what an operator wants to know of a model that was loaded.
func (c *config) report(b *device, m workshop) []fact {
	i, p := m.identity(), b.Props()
	folder := c.dir
	if c.builtin {
		folder = "built in"
	}
	facts := []fact{{"model", c.name}, {"type", c.kind}, {"folder", folder}}
	if c.repoID != "" {
		facts = append(facts, fact{"repository", c.repoID})
	}
	if c.commit != "" {
		facts = append(facts, fact{"commit", c.commit})
	}
	facts = append(facts, fact{"family", i.family}, fact{"parameters", i.parameters})
	facts = append(facts, m.facts()...)
	return append(facts,
		fact{"max_tokens", i.maxTokens}, fact{"dtype", i.dtype}, fact{"device", i.device}, fact{"computes_with", p.Name},
		fact{"weights", bytesText(b.Ledger().Weights)}, fact{"resident", bytesText(resident())}, fact{"memory", bytesText(p.Memory)},
		fact{"unused_tensors", len(i.unused)})
}

// hints say why a faster path is not taken, and what would take it.
func (c *config) hints(b *device, m workshop) []string {
	if b.gpu != nil {
		return nil
	}
	var hints []string
	best, all := cpu.Best(), cpu.Levels()
	if all[0] != best {
		hints = append(hints, fmt.Sprintf("the processor lacks the instructions of %s: kernels of %s are used", best, all[0]))
	}
	if level := os.Getenv(cpu.LevelVariable); level != "" && level != all[0] {
		hints = append(hints, fmt.Sprintf("%s=%s keeps it from the kernels of %s", cpu.LevelVariable, level, all[0]))
	}
	if c.dtype == "auto" && m.identity().dtype != "bfloat16" && all[0] == "avx512bf16" && !c.builtin {
		hints = append(hints, "weights are used exactly as they are stored; --dtype bfloat16 computes about twice as fast here, to three digits")
	}
	if c.threads > 0 {
		hints = append(hints, fmt.Sprintf("--threads=%d: without it all cores compute", c.threads))
	}
	return hints
}

// resident is the memory of this process in bytes, 0 where that is not known.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
