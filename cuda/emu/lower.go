package emu

import (
	"fmt"
	"math"
	"strings"
)

// Lowering turns the nested scopes of a kernel into one flat list of instructions. Names become virtual registers,
// labels become positions, calls are replaced by the callee's body (PTX functions of kernels are small and never
// recursive; a recursive one is refused).

const (
	maxInstructions = 1 << 20
	maxCallDepth    = 32
	sharedBase      = 1024 // shared addresses start behind the KiB that the system keeps for itself on sm_80 and later
)

type argKind uint8

const (
	argReg argKind = iota
	argImm
	argVar  // the address of a variable
	argName // anything else: a special register, a function, a modifier word
	argVec
	argAddr
	argSink
	argPair
)

type arg struct {
	kind  argKind
	reg   int32 // virtual register
	neg   bool
	num   uint64
	float byte // 'f' or 'd' for floating-point literals
	off   int64
	name  string
	v     *variable
	list  []arg
}

// vreg is a virtual register.
type vreg struct {
	name    string
	bank    bank
	bits    int
	fixed   bool // constant or special: filled before the kernel starts
	private bool // keeps a slot of its own
	special string
	val     uint64
	slot    int32
}

// flat is an instruction before decoding.
type flat struct {
	line    int
	op      []string
	guard   int32 // virtual predicate, or -1
	neg     bool
	args    []arg
	targets []int32
}

// frame is one instance of a function: its own registers, local variables and labels.
type frame struct {
	fn     *function
	parent *frame
	regs   map[regKey]int32
	vars   map[*variable]*variable
	labels map[regKey]int32
	fixes  []fix
	exit   []int // branches that stand for the callee's ret
}

type regKey struct {
	sc   *scope
	name string
}

type fix struct {
	at    int
	names []string
	sc    *scope
}

type builder struct {
	k      *Kernel
	regs   []vreg
	consts map[uint64]int32 // 32-bit constants
	wide   map[uint64]int32
	specs  map[string]int32
	code   []flat
	shared map[*variable]bool
	depth  int
}

func (b *builder) errorf(line int, format string, args ...any) error {
	return &SyntaxError{line, fmt.Sprintf(format, args...)}
}

func (b *builder) newReg(r vreg) int32 {
	b.regs = append(b.regs, r)
	return int32(len(b.regs) - 1)
}

// constant is the pseudo register that holds v.
func (b *builder) constant(bk bank, v uint64) int32 {
	pool := b.consts
	if bk == bank64 {
		pool = b.wide
	} else {
		v &= math.MaxUint32
	}
	id, ok := pool[v]
	if !ok {
		bits := 32
		if bk == bank64 {
			bits = 64
		}
		id = b.newReg(vreg{name: fmt.Sprint(v), bank: bk, bits: bits, fixed: true, val: v})
		pool[v] = id
	}
	return id
}

// special is the pseudo register of %tid.x and the like, or of a module variable's address.
func (b *builder) special(bk bank, name string) int32 {
	key := fmt.Sprint(bk, name)
	id, ok := b.specs[key]
	if !ok {
		bits := 32
		if bk == bank64 {
			bits = 64
		}
		id = b.newReg(vreg{name: name, bank: bk, bits: bits, fixed: true, special: name})
		b.specs[key] = id
	}
	return id
}

// lower flattens the kernel's body.
func (b *builder) lower() error {
	f := &frame{fn: b.k.fn, regs: map[regKey]int32{}, vars: map[*variable]*variable{}, labels: map[regKey]int32{}}
	if err := b.scope(f, b.k.fn.body); err != nil {
		return err
	}
	if err := b.resolve(f); err != nil {
		return err
	}
	b.code = append(b.code, flat{line: b.k.fn.line, op: []string{"exit"}, guard: -1})
	return nil
}

func (b *builder) scope(f *frame, sc *scope) error {
	for _, st := range sc.stmts {
		switch {
		case st.block != nil:
			if err := b.scope(f, st.block); err != nil {
				return err
			}
		case st.label != "":
			f.labels[regKey{sc, st.label}] = int32(len(b.code))
		default:
			if err := b.instruction(f, sc, st); err != nil {
				return err
			}
		}
		if len(b.code) > maxInstructions {
			return b.errorf(st.line, "more than %d instructions", maxInstructions)
		}
	}
	return nil
}

func (b *builder) instruction(f *frame, sc *scope, st *stmt) error {
	if err := b.k.module.available(st.op); err != nil {
		return b.errorf(st.line, "%v", err)
	}
	in := flat{line: st.line, op: st.op, guard: -1, neg: st.neg}
	if st.guard != "" {
		a, err := b.operand(f, sc, st.line, &operand{kind: opName, name: st.guard})
		if err != nil {
			return err
		}
		if a.kind != argReg || b.regs[a.reg].bank != bankPred {
			return b.errorf(st.line, "guard %q is no predicate", st.guard)
		}
		in.guard = a.reg
	}
	switch st.op[0] {
	case "call":
		return b.call(f, sc, st, in)
	case "bra", "brx":
		return b.branch(f, sc, st, in)
	case "ret":
		if f.parent != nil {
			in.op = []string{"bra"}
			in.targets = []int32{-1}
			f.exit = append(f.exit, len(b.code))
			b.code = append(b.code, in)
			return nil
		}
		in.op = []string{"exit"}
	}
	for i := range st.args {
		a, err := b.operand(f, sc, st.line, &st.args[i])
		if err != nil {
			return err
		}
		in.args = append(in.args, a)
	}
	b.code = append(b.code, in)
	return nil
}

func (b *builder) branch(f *frame, sc *scope, st *stmt, in flat) error {
	fx := fix{at: len(b.code), sc: sc}
	switch {
	case st.op[0] == "bra" && len(st.args) == 1 && st.args[0].kind == opName:
		fx.names = []string{st.args[0].name}
	case st.op[0] == "brx" && len(st.args) == 2 && st.args[1].kind == opName:
		for s := sc; s != nil && fx.names == nil; s = s.parent {
			fx.names = s.tables[st.args[1].name]
		}
		if fx.names == nil {
			return b.errorf(st.line, "branch table %q is not defined", st.args[1].name)
		}
		a, err := b.operand(f, sc, st.line, &st.args[0])
		if err != nil {
			return err
		}
		in.args = []arg{a}
	default:
		return b.errorf(st.line, "operands of %s", strings.Join(st.op, "."))
	}
	f.fixes = append(f.fixes, fx)
	b.code = append(b.code, in)
	return nil
}

// resolve turns label names into positions.
func (b *builder) resolve(f *frame) error {
	for _, fx := range f.fixes {
		for _, name := range fx.names {
			pos, ok := int32(0), false
			for s := fx.sc; s != nil && !ok; s = s.parent {
				pos, ok = f.labels[regKey{s, name}]
			}
			if !ok {
				return b.errorf(b.code[fx.at].line, "label %q is not defined", name)
			}
			b.code[fx.at].targets = append(b.code[fx.at].targets, pos)
		}
	}
	return nil
}

// call inlines `call (ret), f, (args);`.
func (b *builder) call(f *frame, sc *scope, st *stmt, in flat) error {
	args := st.args
	var rets, actuals []operand
	if len(args) > 0 && args[0].kind == opParens {
		rets, args = args[0].list, args[1:]
	}
	if len(args) == 0 || args[0].kind != opName {
		return b.errorf(st.line, "call without a function")
	}
	if len(args) > 1 && args[1].kind == opParens {
		actuals = args[1].list
	}
	fn := b.k.module.funcs[args[0].name]
	switch {
	case fn == nil || !fn.defined:
		return b.errorf(st.line, "call of %q, which the module does not define", args[0].name)
	case len(rets) != len(fn.rets) || len(actuals) != len(fn.params):
		return b.errorf(st.line, "call of %s with %d results and %d arguments, it has %d and %d", fn.name, len(rets), len(actuals), len(fn.rets), len(fn.params))
	}
	for p := f; p != nil; p = p.parent {
		if p.fn == fn {
			return b.errorf(st.line, "call of %s is recursive", fn.name)
		}
	}
	if b.depth++; b.depth > maxCallDepth {
		return b.errorf(st.line, "calls nested deeper than %d", maxCallDepth)
	}
	defer func() { b.depth-- }()
	skip := -1
	if in.guard >= 0 { // jump over the body when the guard is false
		skip = len(b.code)
		b.code = append(b.code, flat{line: st.line, op: []string{"bra"}, guard: in.guard, neg: !in.neg, targets: []int32{-1}})
	}
	g := &frame{fn: fn, parent: f, regs: map[regKey]int32{}, vars: map[*variable]*variable{}, labels: map[regKey]int32{}}
	bind := func(formal *variable, actual *operand) error {
		a, err := b.operand(f, sc, st.line, actual)
		if err != nil {
			return err
		}
		if formal.space == spReg {
			bk := bank32
			if formal.size == 8 {
				bk = bank64
			}
			if a.kind == argImm {
				a = arg{kind: argReg, reg: b.constant(bk, a.num)}
			}
			if a.kind != argReg || b.regs[a.reg].bank != bk {
				return b.errorf(st.line, "argument %q of %s", actual.name, fn.name)
			}
			g.regs[regKey{fn.body, formal.name}] = a.reg
			return nil
		}
		if a.kind != argVar || a.v.space != spLocal || a.v.size < formal.size {
			return b.errorf(st.line, "argument %q of %s is no parameter variable of %d bytes", actual.name, fn.name, formal.size)
		}
		g.vars[formal] = a.v
		return nil
	}
	for i := range rets {
		if err := bind(fn.rets[i], &rets[i]); err != nil {
			return err
		}
	}
	for i := range actuals {
		if err := bind(fn.params[i], &actuals[i]); err != nil {
			return err
		}
	}
	if err := b.scope(g, fn.body); err != nil {
		return err
	}
	if err := b.resolve(g); err != nil {
		return err
	}
	for _, at := range g.exit {
		b.code[at].targets[0] = int32(len(b.code))
	}
	if skip >= 0 {
		b.code[skip].targets[0] = int32(len(b.code))
	}
	return nil
}

// register finds a register by name in the enclosing scopes.
func (b *builder) register(f *frame, sc *scope, name string) (int32, bool) {
	for s := sc; s != nil; s = s.parent {
		key := regKey{s, name}
		if id, ok := f.regs[key]; ok {
			return id, true
		}
		bk, bits, ok := s.find(name)
		if !ok {
			continue
		}
		id := b.newReg(vreg{name: name, bank: bk, bits: bits})
		f.regs[key] = id
		return id, true
	}
	return 0, false
}

// find looks a register up among the declarations of one scope.
func (s *scope) find(name string) (bank, int, bool) {
	if r := s.regs[name]; r != nil {
		return r.bank, r.bits, true
	}
	for _, r := range s.ranges {
		digits, ok := strings.CutPrefix(name, r.prefix)
		if !ok || digits == "" || len(digits) > 7 || len(digits) > 1 && digits[0] == '0' {
			continue
		}
		n := 0
		for _, c := range []byte(digits) {
			if !isDigit(c) {
				n = r.n
				break
			}
			n = n*10 + int(c-'0')
		}
		if n < r.n {
			return r.bank, r.bits, true
		}
	}
	return 0, 0, false
}

func (b *builder) variable(f *frame, sc *scope, name string) *variable {
	for s := sc; s != nil; s = s.parent {
		if v := s.vars[name]; v != nil {
			return b.place(f, v)
		}
	}
	for _, p := range f.fn.params {
		if p.name == name && p.space == spParam {
			if f.parent == nil {
				return p
			}
			return f.vars[p]
		}
	}
	for _, p := range f.fn.rets {
		if p.name == name && p.space == spParam {
			return f.vars[p]
		}
	}
	if v := b.k.module.vars[name]; v != nil {
		return b.place(f, v)
	}
	return nil
}

// place gives a shared variable its address, and a local one (or a call's parameter) its place in local memory.
func (b *builder) place(f *frame, v *variable) *variable {
	switch v.space {
	case spShared:
		if b.shared[v] {
			return v
		}
		b.shared[v] = true
		if v.dynamic {
			b.k.dynAlign = max(b.k.dynAlign, v.align)
			return v
		}
		b.k.staticBytes = alignUp(b.k.staticBytes, v.align)
		v.off = sharedBase + b.k.staticBytes
		b.k.staticBytes += v.size
	case spLocal, spParam:
		p := f.vars[v]
		if p == nil {
			c := *v
			c.space = spLocal
			b.k.localBytes = alignUp(b.k.localBytes, v.align)
			c.off = b.k.localBytes
			b.k.localBytes += v.size
			p = &c
			f.vars[v] = p
		}
		return p
	}
	return v
}

func alignUp(n, align int) int { return (n + align - 1) &^ (align - 1) }

func (b *builder) operand(f *frame, sc *scope, line int, o *operand) (arg, error) {
	switch o.kind {
	case opInt:
		return arg{kind: argImm, num: o.num}, nil
	case opFloat32:
		return arg{kind: argImm, num: o.num, float: 'f'}, nil
	case opFloat64:
		return arg{kind: argImm, num: o.num, float: 'd'}, nil
	case opSink:
		return arg{kind: argSink}, nil
	case opVec, opAddr, opPair, opParens:
		a := arg{kind: argVec, off: o.off}
		switch o.kind {
		case opAddr:
			a.kind = argAddr
		case opPair:
			a.kind = argPair
		}
		for i := range o.list {
			e, err := b.operand(f, sc, line, &o.list[i])
			if err != nil {
				return a, err
			}
			a.list = append(a.list, e)
		}
		return a, nil
	}
	if id, ok := b.register(f, sc, o.name); ok {
		return arg{kind: argReg, reg: id, neg: o.neg, off: o.off}, nil
	}
	if v := b.variable(f, sc, o.name); v != nil {
		return arg{kind: argVar, v: v, off: o.off, name: o.name}, nil
	}
	if o.name[0] == '%' && !knownSpecial(o.name) {
		return arg{}, b.errorf(line, "register %q is not declared", o.name)
	}
	switch o.name {
	case "WARP_SZ":
		return arg{kind: argImm, num: 32}, nil
	}
	return arg{kind: argName, name: o.name, neg: o.neg}, nil
}
