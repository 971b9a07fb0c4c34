package emu

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// instKind says how the warp's loop treats an instruction; everything that only changes registers or memory is kindPlain.
type instKind uint8

const (
	kindPlain   instKind = iota
	kindBranch           // bra, brx.idx
	kindExit             // exit, ret of the kernel
	kindAligned          // needs all 32 lanes together
	kindSync             // needs the lanes of a member mask together
	kindBarrier          // bar.sync and its relatives: may park the lanes
	kindWait             // may fail and be tried again: mbarrier waits
	kindGroup            // waits for the other warps of the warpgroup: wgmma.wait_group
	kindCluster          // barrier.cluster.wait
)

// inst is a decoded instruction. Register fields are slots of the warp's register files once the kernel is built.
type inst struct {
	exec       func(w *warp, in *inst, m uint32)
	d, a, b, c int32
	p, q       int32 // predicate slots; -1 where absent
	guard      int32 // predicate slot, -1 when unconditional
	target     int32
	rpc        int32 // where diverging lanes meet again: the branch's immediate post-dominator
	line       int32
	kind       instKind
	class      Class
	whole      bool // all live lanes must be here
	neg        bool // the guard is negated
	pneg       bool // the operand p is negated
	accTouch   bool // touches a register that is an accumulator of some wgmma
	imm        uint64
	off        int64
	vec        []int32
	lane       *laneOp
	mem        *memOp
	x          any // the rest of what rarer instructions need
	targets    []int32
	track      *tracking
	regs       []int32 // slots of the 32-bit registers it touches, in kernels with wgmma
}

// tracking lists the registers of an instruction that could not be proven to be written first.
type tracking struct {
	guard  []trackRef // read by the guard: every active lane
	reads  []trackRef
	writes []int32
}

type trackRef struct {
	id   int32
	name string
}

// ref is a register operand: where its slot belongs, and which virtual register it is.
type ref struct {
	p     *int32
	reg   int32
	write bool
}

// decoder decodes one instruction after the other.
type decoder struct {
	b    *builder
	f    *flat
	in   *inst
	refs []ref
	err  error
}

func (d *decoder) errorf(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) opcode() string { return strings.Join(d.f.op, ".") }

func (d *decoder) has(part string) bool { return has(d.f.op, part) }

// last is the last part of the opcode: the type.
func (d *decoder) last() string { return d.f.op[len(d.f.op)-1] }

// arg is operand i, or a sink when there are too few.
func (d *decoder) arg(i int) arg {
	if i >= len(d.f.args) {
		d.errorf("%s needs more than %d operands", d.opcode(), len(d.f.args))
		return arg{kind: argSink}
	}
	return d.f.args[i]
}

func (d *decoder) count(lo, hi int) {
	if n := len(d.f.args); n < lo || n > hi {
		d.errorf("%s with %d operands", d.opcode(), n)
	}
}

func (d *decoder) add(p *int32, reg int32, write bool) {
	*p = reg
	d.refs = append(d.refs, ref{p, reg, write})
}

func bankOf(bits int) bank {
	if bits == 64 {
		return bank64
	}
	return bank32
}

// dst makes *p the register of a destination.
func (d *decoder) dst(a arg, bk bank, p *int32) {
	if a.kind != argReg || d.b.regs[a.reg].bank != bk || d.b.regs[a.reg].fixed || a.neg {
		d.errorf("destination of %s is no register of %d bits", d.opcode(), map[bank]int{bankPred: 1, bank32: 32, bank64: 64}[bk])
		return
	}
	d.add(p, a.reg, true)
}

// src makes *p the register of a source: a register, a literal, a special register or an address. typ is the operand's
// type and says how a literal is written into the register.
func (d *decoder) src(a arg, typ string, p *int32) {
	class, bits, ok := typeBits(typ)
	if !ok {
		d.errorf("type %q of %s", typ, d.opcode())
		return
	}
	if class == 'p' {
		d.pred(a, p, new(bool))
		return
	}
	d.source(a, bankOf(bits), class == 'f', bits, p)
}

func (d *decoder) source(a arg, bk bank, float bool, bits int, p *int32) {
	switch a.kind {
	case argReg:
		if r := &d.b.regs[a.reg]; r.bank != bk || a.off != 0 {
			d.errorf("operand %s of %s has the wrong width", r.name, d.opcode())
			return
		}
		d.add(p, a.reg, false)
	case argImm:
		v := a.num
		switch {
		case a.float == 'd' && bits == 32 && float:
			v = uint64(math.Float32bits(float32(math.Float64frombits(v))))
		case a.float == 'f' && bits == 64 && float:
			v = math.Float64bits(float64(math.Float32frombits(uint32(v))))
		case a.float == 0 && float && bits == 64 && v != 0:
			d.errorf("integer literal for a floating-point operand of %s", d.opcode())
		}
		if bits < 32 {
			v &= 1<<bits - 1
		}
		d.add(p, d.b.constant(bk, v), false)
	case argVar:
		d.add(p, d.address(a, bk), false)
	case argName:
		if !knownSpecial(a.name) {
			d.errorf("operand %q of %s is not known", a.name, d.opcode())
			return
		}
		d.add(p, d.b.special(bk, a.name), false)
	default:
		d.errorf("operand of %s is no single value", d.opcode())
	}
}

// address is the pseudo register with a variable's address in its own state space.
func (d *decoder) address(a arg, bk bank) int32 {
	switch a.v.space {
	case spShared:
		off := a.v.off
		if a.v.dynamic {
			off = sharedBase + d.b.k.dynOff
		}
		if a.off == 0 {
			return d.b.special(bk, fmt.Sprintf("&shared %d", off)) // the block's rank in its cluster is added at the start
		}
		return d.b.special(bk, fmt.Sprintf("&shared %d", int64(off)+a.off))
	case spLocal:
		return d.b.constant(bk, uint64(int64(a.v.off)+a.off))
	case spParam:
		return d.b.constant(bk, uint64(int64(a.v.off)+a.off))
	}
	return d.b.special(bk, fmt.Sprintf("&%d %s", a.off, a.v.name))
}

// pred makes *p the predicate of a source and *neg whether it is negated; the literals 0, 1 and -1 (true as LLVM writes
// it) are constants.
func (d *decoder) pred(a arg, p *int32, neg *bool) {
	if a.kind == argImm && a.num+1 <= 2 {
		d.add(p, d.b.special(bankPred, fmt.Sprintf("#%d", min(a.num, 1))), false)
		return
	}
	if a.kind != argReg || d.b.regs[a.reg].bank != bankPred {
		d.errorf("operand of %s is no predicate", d.opcode())
		return
	}
	*neg = a.neg
	d.add(p, a.reg, false)
}

// vec makes the list of registers of a vector operand (or of one plain register) the instruction's vec[from:].
func (d *decoder) vec(a arg, bk bank, write bool, regs []int32) {
	list := []arg{a}
	if a.kind == argVec {
		list = a.list
	}
	if len(list) != len(regs) {
		d.errorf("%s wants a vector of %d, has %d", d.opcode(), len(regs), len(list))
		return
	}
	for i, e := range list {
		switch {
		case e.kind == argSink && write:
			regs[i] = -1
		case write:
			d.dst(e, bk, &regs[i])
		default:
			bits := 32
			if bk == bank64 {
				bits = 64
			}
			d.source(e, bk, true, bits, &regs[i])
		}
	}
}

// immediate is an operand that must be a literal.
func (d *decoder) immediate(a arg) uint64 {
	if a.kind != argImm || a.float != 0 {
		d.errorf("operand of %s must be an integer literal", d.opcode())
	}
	return a.num
}

// bitsOf is the declared width of a register operand; literals and names count as 32.
func (d *decoder) bitsOf(a arg) int {
	if a.kind == argReg {
		return d.b.regs[a.reg].bits
	}
	if a.kind == argVar {
		return 64
	}
	return 32
}

var specialNames = []string{"%tid", "%ntid", "%ctaid", "%nctaid", "%clusterid", "%nclusterid", "%cluster_ctaid", "%cluster_nctaid"}

var scalarSpecials = []string{"%laneid", "%warpid", "%nwarpid", "%smid", "%nsmid", "%gridid", "%clock", "%clock64", "%clock_hi", "%globaltimer",
	"%globaltimer_lo", "%globaltimer_hi", "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge",
	"%dynamic_smem_size", "%total_smem_size", "%aggr_smem_size", "%is_explicit_cluster", "%cluster_ctarank", "%cluster_nctarank"}

// knownSpecial reports whether name is a special register that the emulator has.
func knownSpecial(name string) bool {
	if slices.Contains(scalarSpecials, name) {
		return true
	}
	base, ok := strings.CutSuffix(name, name[max(0, len(name)-2):])
	return ok && slices.Contains([]string{".x", ".y", ".z"}, name[max(0, len(name)-2):]) && slices.Contains(specialNames, base)
}

// maxFlowBits bounds the sets of the flow analysis: blocks times registers.
const maxFlowBits = 1 << 31

// build decodes the kernel: flatten, decode, find where branches meet, give registers their slots.
func (k *Kernel) build() error {
	b := &builder{k: k, consts: map[uint64]int32{}, wide: map[uint64]int32{}, specs: map[string]int32{}, shared: map[*variable]bool{}}
	k.staticBytes, k.localBytes = 0, 0
	if err := b.lower(); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	k.dynOff = alignUp(k.staticBytes, max(k.dynAlign, 16))
	k.code = make([]inst, len(b.code))
	refs := make([][]ref, len(b.code))
	d := &decoder{b: b}
	for i := range b.code {
		in := &k.code[i]
		d.f, d.in, d.refs, d.err = &b.code[i], in, nil, nil
		*in = inst{line: int32(d.f.line), guard: -1, p: -1, q: -1, rpc: int32(len(b.code)), neg: d.f.neg}
		if d.f.guard >= 0 {
			d.add(&in.guard, d.f.guard, false)
		}
		d.decode()
		if d.err != nil {
			return fmt.Errorf("kernel %s: %w", k.Name, &SyntaxError{d.f.line, d.err.Error()})
		}
		b, isBarrier := in.x.(*barrierOp)
		in.whole = in.kind == kindAligned || in.kind == kindGroup || in.kind == kindCluster || isBarrier && b.aligned
		refs[i] = d.refs
	}
	g := newGraph(k.code)
	if len(g.blocks)*len(b.regs) > maxFlowBits {
		return fmt.Errorf("kernel %s: %d basic blocks with %d registers are too many to analyse", k.Name, len(g.blocks), len(b.regs))
	}
	g.postDominators(k.code)
	allocate(b, g, refs)
	k.findKeptOperands(g, refs)
	return nil
}
