package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// Code is the machine code of one kernel, as far as it can be judged without a GPU.
type Code struct {
	Instructions int
	// Of the loop that does the work: the one with the densest tensor instructions or, in a kernel without them, the
	// innermost one with the most. Loop 0 is a kernel without a loop.
	Loop, Tensor int
	// Flight is the most bytes of global loads that a thread has issued in any straight piece of code before it uses the
	// first of them.
	Flight int
}

// instruction is one line of nvdisasm.
type instruction struct {
	op, args string
}

var (
	sectionLine     = regexp.MustCompile(`^\s*\.text\.(\S+):`)
	labelLine       = regexp.MustCompile(`^(\.L_x?_?\w+):`)
	instructionLine = regexp.MustCompile(`^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);`)
	branchTarget    = regexp.MustCompile(`\.L_x?_?\w+`)
	register        = regexp.MustCompile(`\bR(\d+)(\.64)?\b`)
)

// disassemble reads a cubin's code, by kernel.
func (t *tools) disassemble(cubin string) (map[string]*Code, error) {
	text, err := exec.Command(t.nvdisasm, "-c", cubin).Output()
	if err != nil {
		return nil, fmt.Errorf("nvdisasm: %w", err)
	}
	return codeOf(string(text)), nil
}

// codeOf understands what nvdisasm prints.
func codeOf(text string) map[string]*Code {
	all := map[string]*Code{}
	var name string
	var body []instruction
	labels := map[string]int{}
	end := func() {
		if name != "" {
			all[name] = judge(body, labels)
		}
		body, labels = nil, map[string]int{}
	}
	for _, line := range strings.Split(text, "\n") {
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			end()
			name = m[1]
		} else if m := labelLine.FindStringSubmatch(line); m != nil {
			labels[m[1]] = len(body)
		} else if m := instructionLine.FindStringSubmatch(line); m != nil && m[1] != "NOP" {
			body = append(body, instruction{m[1], strings.TrimSpace(m[2])})
		}
	}
	end()
	return all
}

// judge finds loops as pieces of code that a branch at their end repeats, which is how ptxas lays them out.
func judge(body []instruction, labels map[string]int) *Code {
	c := &Code{Instructions: len(body), Flight: flight(body, labels)}
	density := 0.0
	for i, in := range body {
		if !strings.HasPrefix(in.op, "BRA") {
			continue
		}
		start, ok := labels[branchTarget.FindString(in.args)]
		if !ok || start >= i { // forward, or the endless loop behind the end
			continue
		}
		tensor, inner := 0, true
		for j := start; j < i; j++ {
			op, _, _ := strings.Cut(body[j].op, ".")
			if strings.HasSuffix(op, "MMA") {
				tensor++
			}
			if from, ok := labels[branchTarget.FindString(body[j].args)]; ok && strings.HasPrefix(body[j].op, "BRA") && from < j && from >= start {
				inner = false
			}
		}
		n := i - start + 1
		d := float64(tensor) / float64(n)
		if d > density || tensor == 0 && density == 0 && inner && n > c.Loop {
			density, c.Loop, c.Tensor = d, n, tensor
		}
	}
	return c
}

// flight follows global loads through straight code. Loads come back in order, so the use of one means that those before
// it are back too.
func flight(body []instruction, labels map[string]int) int {
	starts := map[int]bool{}
	for _, at := range labels {
		starts[at] = true
	}
	type load struct{ from, to, bytes int }
	var out []load
	most := 0
	for i, in := range body {
		op, _, _ := strings.Cut(in.op, ".")
		if starts[i] || op == "BAR" {
			out = nil
		}
		for _, m := range register.FindAllStringSubmatch(in.args, -1) {
			r := number(m[1])
			for j := len(out) - 1; j >= 0; j-- {
				if r >= out[j].from && r < out[j].to {
					out = out[j+1:]
					break
				}
			}
		}
		if op != "LDG" {
			continue
		}
		bytes := 4
		switch {
		case strings.Contains(in.op, ".128"):
			bytes = 16
		case strings.Contains(in.op, ".64"):
			bytes = 8
		case strings.Contains(in.op, ".U16"), strings.Contains(in.op, ".S16"):
			bytes = 2
		}
		m := register.FindStringSubmatch(in.args)
		if m == nil {
			continue
		}
		r, sum := number(m[1]), bytes
		out = append(out, load{r, r + (bytes+3)/4, bytes})
		for _, o := range out[:len(out)-1] {
			sum += o.bytes
		}
		most = max(most, sum)
	}
	return most
}
