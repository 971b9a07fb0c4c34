package main

import (
	"fmt"
	"math"
	"strings"
)

// isa is an instruction set that has its own family of kernels.
type isa int

const (
	avx512 isa = iota
	avx2
	neon
)

func (i isa) String() string { return [...]string{"avx512", "avx2", "neon"}[i] }

func (i isa) file() string {
	return "kernels_" + i.String() + [...]string{"_amd64.s", "_amd64.s", "_arm64.s"}[i]
}

func (i isa) lanes() int { return [...]int{16, 8, 4}[i] }

func (i isa) x86() bool { return i != neon }

// K is a float32 constant as an operand; I is an int32 one.
type (
	K float32
	I int32
)

// assembler writes functions of one instruction set. Vector registers are plain numbers; an operand that may also be a
// constant has type any. The body of a function is written before its prologue, because the constants that it keeps in
// registers are known only then.
type assembler struct {
	isa   isa
	text  strings.Builder // finished functions
	decls strings.Builder
	names map[string][]string // table -> functions

	pool []uint32 // constants

	body   strings.Builder // the function being written
	name   string
	sig    string
	args   []arg
	size   int
	ret    int // offset of the float32 result, -1 for none
	kept   []keptConst
	labels int
}

type arg struct {
	name   string
	kind   byte // p pointer, i int, f float32
	offset int
	reg    string
}

type keptConst struct {
	bits uint32
	reg  int
}

func newAssembler(i isa) *assembler { return &assembler{isa: i, names: map[string][]string{}} }

func (a *assembler) p(format string, v ...any) {
	a.body.WriteByte('\t')
	fmt.Fprintf(&a.body, format, v...)
	a.body.WriteByte('\n')
}

func (a *assembler) label(name string) { fmt.Fprintf(&a.body, "%s:\n", name) }

func (a *assembler) unique(name string) string {
	a.labels++
	return fmt.Sprintf("%s%d", name, a.labels)
}

// general purpose registers: arguments in order, then free ones.
func (a *assembler) gpr(i int) string {
	if a.isa.x86() {
		return [...]string{"DI", "SI", "DX", "BX", "CX", "R8", "R9", "R10", "R11", "R12", "R13", "AX"}[i]
	}
	return fmt.Sprintf("R%d", i)
}

const (
	free0 = 8 + iota // registers that no argument takes
	free1
	free2
	free3
)

// begin starts a function. params are "dst p", "n i", "c f"; result tells whether it returns a float32.
func (a *assembler) begin(name string, result bool, params ...string) {
	a.name, a.args, a.kept, a.labels, a.ret = name, nil, nil, 0, -1
	a.body.Reset()
	off, g := 0, 0
	var sig []string
	for _, p := range params {
		n, kind, _ := strings.Cut(p, " ")
		ar := arg{name: n, kind: kind[0], offset: off}
		switch kind {
		case "f":
			off += 4
			sig = append(sig, n+" float32")
		default:
			ar.reg = a.gpr(g)
			g++
			off += 8
			sig = append(sig, n+map[string]string{"p": " unsafe.Pointer", "i": " int"}[kind])
		}
		a.args = append(a.args, ar)
	}
	a.sig = strings.Join(sig, ", ")
	a.size = off
	if result {
		a.ret = (off + 7) &^ 7
		a.size = a.ret + 4
	}
}

// reg is the register that holds a pointer or integer argument.
func (a *assembler) reg(name string) string {
	for _, ar := range a.args {
		if ar.name == name {
			return ar.reg
		}
	}
	panic("no argument " + name)
}

// end writes the function and files it in a table ("" for none).
func (a *assembler) end(table string) {
	t := &a.text
	result := ""
	if a.ret >= 0 {
		result = " float32"
	}
	fmt.Fprintf(t, "// func %s(%s)%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", a.name, a.sig, result, a.name, a.size)
	for _, ar := range a.args {
		if ar.kind != 'f' {
			fmt.Fprintf(t, "\t%s %s+%d(FP), %s\n", map[bool]string{true: "MOVQ", false: "MOVD"}[a.isa.x86()], ar.name, ar.offset, ar.reg)
		}
	}
	if len(a.kept) > 0 && !a.isa.x86() {
		fmt.Fprintf(t, "\tMOVD $constants%s<>(SB), R16\n", a.isa)
	}
	for _, k := range a.kept {
		if a.isa.x86() {
			fmt.Fprintf(t, "\tVBROADCASTSS %s, %s\n", a.mem(k.bits), a.v(k.reg))
		} else {
			fmt.Fprintf(t, "\tFMOVQ %d(R16), F%d\n", a.constant(k.bits)*16, k.reg)
		}
	}
	t.WriteString(a.body.String())
	if a.isa.x86() {
		t.WriteString("\tVZEROUPPER\n")
	}
	t.WriteString("\tRET\n\n")
	fmt.Fprintf(&a.decls, "//go:noescape\nfunc %s(%s)%s\n\n", a.name, a.sig, result)
	if table != "" {
		a.names[table] = append(a.names[table], a.name)
	}
}

// v names a vector register as an operand.
func (a *assembler) v(r int) string {
	return fmt.Sprintf([...]string{"Z%d", "Y%d", "V%d.S4"}[a.isa], r)
}

// constant is the index of bits in the pool.
func (a *assembler) constant(bits uint32) int {
	for i, c := range a.pool {
		if c == bits {
			return i
		}
	}
	a.pool = append(a.pool, bits)
	return len(a.pool) - 1
}

// mem is a constant as a memory operand of x86: eight copies, of which AVX-512 broadcasts the first.
func (a *assembler) mem(bits uint32) string {
	return fmt.Sprintf("constants%s<>+%d(SB)", a.isa, a.constant(bits)*32)
}

// keep is the register that holds a constant through the whole function.
func (a *assembler) keep(c any) int {
	bits := bitsOf(c)
	for _, k := range a.kept {
		if k.bits == bits {
			return k.reg
		}
	}
	top := 31
	if a.isa == avx2 {
		top = 15
	}
	k := keptConst{bits, top - len(a.kept)}
	a.kept = append(a.kept, k)
	return k.reg
}

func bitsOf(c any) uint32 {
	switch c := c.(type) {
	case K:
		return math.Float32bits(float32(c))
	case I:
		return uint32(c)
	}
	panic(fmt.Sprintf("constant of type %T", c))
}

// constants is the read-only data of the file.
func (a *assembler) constants() string {
	var t strings.Builder
	copies := 16
	if !a.isa.x86() {
		copies = 8
	}
	per := copies / 4 // 8-byte words: 32 bytes a constant on x86, 16 on arm64
	for i, c := range a.pool {
		for j := range per {
			fmt.Fprintf(&t, "DATA constants%s<>+%d(SB)/8, $0x%08x%08x\n", a.isa, (i*per+j)*8, c, c)
		}
	}
	fmt.Fprintf(&t, "GLOBL constants%s<>(SB), RODATA|NOPTR, $%d\n\n", a.isa, len(a.pool)*per*8)
	return t.String()
}
