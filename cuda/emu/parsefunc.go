package emu

import (
	"math"
	"strings"
)

// function parses an .entry or a .func: header, performance directives, body.
func (p *parser) function(entry bool) error {
	f := &function{line: p.tok.line}
	if err := p.advance(); err != nil {
		return err
	}
	var err error
	if !entry && p.is("(") {
		if f.rets, err = p.formals(); err != nil {
			return err
		}
	}
	if f.name, err = p.ident("a function's name"); err != nil {
		return err
	}
	if p.is("(") {
		if f.params, err = p.formals(); err != nil {
			return err
		}
	}
	k := &Kernel{Name: f.name, module: p.m, fn: f}
	for !p.is("{") && !p.is(";") {
		if err := p.performance(k); err != nil {
			return err
		}
	}
	if p.is(";") { // a declaration
		if err := p.advance(); err != nil {
			return err
		}
	} else {
		f.defined = true
		if f.body, err = p.block(nil); err != nil {
			return err
		}
	}
	if entry {
		if p.m.kernels[f.name] != nil {
			return &SyntaxError{f.line, "entry " + f.name + " is defined twice"}
		}
		if !f.defined {
			return &SyntaxError{f.line, "entry " + f.name + " has no body"}
		}
		if err := k.layoutParams(); err != nil {
			return &SyntaxError{f.line, err.Error()}
		}
		p.m.kernels[f.name] = k
		p.m.names = append(p.m.names, f.name)
		return nil
	}
	if old := p.m.funcs[f.name]; old != nil && old.defined && f.defined {
		return &SyntaxError{f.line, "function " + f.name + " is defined twice"}
	} else if old == nil || f.defined {
		p.m.funcs[f.name] = f
	}
	return nil
}

// formals parses `(.param .u64 a, .reg .b32 %r)`.
func (p *parser) formals() ([]*variable, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var vs []*variable
	for !p.is(")") {
		sp := spParam
		switch p.tok.text {
		case ".param":
		case ".reg":
			sp = spReg
		default:
			return nil, p.errorf("expected .param or .reg, found %q", p.found())
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		line := p.tok.line
		v, _, err := p.variable(sp, true, 0, 0)
		if err != nil {
			return nil, err
		}
		v.line, v.fnArg = line, len(vs)
		vs = append(vs, v)
		if ok, err := p.accept(","); err != nil {
			return nil, err
		} else if !ok {
			break
		}
	}
	return vs, p.expect(")")
}

// performance parses one of the directives between a function's header and its body.
func (p *parser) performance(k *Kernel) error {
	d := p.tok.text
	if p.tok.kind != tokIdent {
		return p.errorf("expected a directive or a body, found %q", p.found())
	}
	if err := p.advance(); err != nil {
		return err
	}
	var dims [3]int
	var err error
	switch d {
	case ".maxntid", ".reqntid", ".reqnctapercluster", ".maxnctapersm", ".minnctapersm", ".maxnreg", ".maxclusterrank":
		dims = [3]int{1, 1, 1}
		for i := 0; ; i++ {
			if i == 3 {
				return p.errorf("%s has more than three values", d)
			}
			if dims[i], err = p.integer("a value of "+d, 1<<31-1); err != nil {
				return err
			}
			if ok, err := p.accept(","); err != nil {
				return err
			} else if !ok {
				break
			}
		}
	case ".noreturn", ".explicitcluster", ".blocksareclusters":
		return nil
	case ".pragma":
		return p.line()
	default:
		return p.errorf("directive %q of a function", d)
	}
	switch d {
	case ".maxntid":
		k.maxThread = dims
	case ".reqntid":
		k.reqThread = dims
	case ".reqnctapercluster":
		k.cluster = dims
	case ".minnctapersm":
		k.reqBlocks = dims[0]
	case ".maxnreg":
		k.maxReg = dims[0]
	}
	return nil
}

// block parses `{ … }`.
func (p *parser) block(parent *scope) (*scope, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.errorf("scopes nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	sc := &scope{parent: parent, regs: map[string]*regDecl{}, vars: map[string]*variable{}, labels: map[string]bool{}, tables: map[string][]string{}}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	for !p.is("}") {
		if p.tok.kind == tokEOF {
			return nil, p.errorf("function body is not closed")
		}
		if err := p.statement(sc); err != nil {
			return nil, err
		}
	}
	return sc, p.advance()
}

func (p *parser) statement(sc *scope) error {
	st := &stmt{line: p.tok.line}
	switch {
	case p.is("{"):
		b, err := p.block(sc)
		if err != nil {
			return err
		}
		st.block = b
		sc.stmts = append(sc.stmts, st)
		return nil
	case p.is(";"):
		return p.advance()
	case p.is("@"):
		if err := p.advance(); err != nil {
			return err
		}
		var err error
		if st.neg, err = p.accept("!"); err != nil {
			return err
		}
		if st.guard, err = p.ident("a predicate"); err != nil {
			return err
		}
	}
	name, err := p.ident("an instruction")
	if err != nil {
		return err
	}
	switch {
	case name == ".reg":
		return p.registers(sc)
	case name == ".loc", name == ".file":
		return p.line()
	case name == ".pragma":
		for !p.is(";") {
			if p.tok.kind == tokEOF {
				return p.errorf(".pragma is not closed")
			}
			if err := p.advance(); err != nil {
				return err
			}
		}
		return p.advance()
	case spaces[name] != 0:
		return p.scopedVariables(sc, spaces[name])
	case name[0] == '.':
		return &SyntaxError{st.line, "directive " + name + " inside a function"}
	}
	if p.is(":") {
		if st.guard != "" {
			return p.errorf("label %q after a guard", name)
		}
		if sc.labels[name] {
			return p.errorf("label %q is defined twice", name)
		}
		sc.labels[name] = true
		if err := p.advance(); err != nil {
			return err
		}
		if p.is(".branchtargets") {
			return p.branchTargets(sc, name)
		}
		if p.is(".callprototype") || p.is(".calltargets") {
			return p.errorf("%s: indirect calls are not supported", p.tok.text)
		}
		st.label = name
		sc.stmts = append(sc.stmts, st)
		return nil
	}
	if st.op = p.ops[name]; st.op == nil {
		st.op = strings.Split(name, ".")
		p.ops[name] = st.op
	}
	st.args = make([]operand, 0, 4)
	for !p.is(";") {
		o, err := p.operand()
		if err != nil {
			return err
		}
		st.args = append(st.args, o)
		if ok, err := p.accept(","); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	if !p.is(";") {
		return p.errorf("expected %q after %s, found %q", ";", name, p.found())
	}
	sc.stmts = append(sc.stmts, st)
	return p.advance()
}

func (p *parser) branchTargets(sc *scope, name string) error {
	if err := p.advance(); err != nil {
		return err
	}
	for {
		l, err := p.ident("a label")
		if err != nil {
			return err
		}
		sc.tables[name] = append(sc.tables[name], l)
		if ok, err := p.accept(","); err != nil {
			return err
		} else if !ok {
			return p.expect(";")
		}
	}
}

// scopedVariables parses a declaration whose state space has already been read.
func (p *parser) scopedVariables(sc *scope, sp space) error {
	first := true
	var elem, align int
	for {
		v, e, err := p.variable(sp, first, elem, align)
		if err != nil {
			return err
		}
		if first {
			elem, align, first = e, v.align, false
		}
		if v.size == 0 {
			return p.errorf("variable %q has no size", v.name)
		}
		if len(v.init) != 0 && sp != spGlobal && sp != spConst {
			return p.errorf("variable %q of the %v space cannot be initialised", v.name, sp)
		}
		if sc.vars[v.name] != nil {
			return p.errorf("variable %q is declared twice", v.name)
		}
		sc.vars[v.name] = v
		if ok, err := p.accept(","); err != nil {
			return err
		} else if !ok {
			return p.expect(";")
		}
	}
}

// registers parses `.reg .b32 %r<10>, x, y;`.
func (p *parser) registers(sc *scope) error {
	t, err := p.ident("a register type")
	if err != nil {
		return err
	}
	class, bits, ok := typeBits(strings.TrimPrefix(t, "."))
	if !ok || bits > 64 {
		return p.errorf("register type %q", t)
	}
	b := bank32
	if class == 'p' {
		b = bankPred
	} else if bits == 64 {
		b = bank64
	}
	for {
		name, err := p.ident("a register's name")
		if err != nil {
			return err
		}
		if p.is("<") {
			if err := p.advance(); err != nil {
				return err
			}
			n, err := p.integer("a register count", maxRegisters)
			if err != nil {
				return err
			}
			sc.ranges = append(sc.ranges, regRange{name, n, b, bits})
			if err := p.expect(">"); err != nil {
				return err
			}
		} else {
			if sc.regs[name] != nil {
				return p.errorf("register %q is declared twice", name)
			}
			sc.regs[name] = &regDecl{name, b, bits}
		}
		if ok, err := p.accept(","); err != nil {
			return err
		} else if !ok {
			return p.expect(";")
		}
	}
}

// operand parses one operand of an instruction or one element of a list.
func (p *parser) operand() (operand, error) {
	var o operand
	if p.depth++; p.depth > maxNesting {
		return o, p.errorf("operand nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	if neg, err := p.accept("!"); err != nil {
		return o, err
	} else if neg {
		name, err := p.ident("a predicate")
		return operand{kind: opName, name: name, neg: true}, err
	}
	minus, err := p.accept("-")
	if err != nil {
		return o, err
	}
	switch {
	case p.tok.kind == tokInt:
		o = operand{kind: opInt, num: p.tok.num}
		if minus {
			o.num = -o.num
		}
		return o, p.advance()
	case p.tok.kind == tokFloat32:
		o = operand{kind: opFloat32, num: p.tok.num}
		if minus {
			o.num ^= 1 << 31
		}
		return o, p.advance()
	case p.tok.kind == tokFloat64:
		f := math.Float64frombits(p.tok.num)
		if minus {
			f = -f
		}
		return operand{kind: opFloat64, num: math.Float64bits(f)}, p.advance()
	case p.tok.kind == tokIdent:
		o = operand{kind: opName, name: p.tok.text, neg: minus}
		if o.name == "_" {
			o.kind = opSink
		}
		if err := p.advance(); err != nil {
			return o, err
		}
		if p.is("|") {
			if err := p.advance(); err != nil {
				return o, err
			}
			second, err := p.operand()
			return operand{kind: opPair, list: []operand{o, second}}, err
		}
		if p.is("+") || p.is("-") {
			o.off, err = p.offset()
		}
		return o, err
	case p.is("{"):
		o.kind = opVec
		o.list, err = p.list("}")
		return o, err
	case p.is("("):
		o.kind = opParens
		o.list, err = p.list(")")
		return o, err
	case p.is("["):
		o.kind = opAddr
		if o.list, err = p.list("]"); err != nil {
			return o, err
		}
		if len(o.list) == 0 {
			return o, p.errorf("empty address")
		}
		o.off, o.list[0].off = o.list[0].off, 0
		return o, nil
	}
	return o, p.errorf("expected an operand, found %q", p.found())
}

// offset parses the `+8` or `+-8` after a name.
func (p *parser) offset() (int64, error) {
	sign := int64(1)
	for p.is("+") || p.is("-") {
		if p.is("-") {
			sign = -sign
		}
		if err := p.advance(); err != nil {
			return 0, err
		}
	}
	if p.tok.kind != tokInt {
		return 0, p.errorf("expected an offset, found %q", p.found())
	}
	n := int64(p.tok.num) * sign
	return n, p.advance()
}

// list parses operands up to the closing character; the opening one is the current token.
func (p *parser) list(end string) ([]operand, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	var r []operand
	for !p.is(end) {
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		r = append(r, o)
		if ok, err := p.accept(","); err != nil {
			return nil, err
		} else if !ok {
			break
		}
	}
	return r, p.expect(end)
}
