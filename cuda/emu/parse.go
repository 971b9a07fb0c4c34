package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bounds on what a text may declare, so that a hostile one costs no more than its own length deserves.
const (
	maxRegisters  = 1 << 20
	maxVariable   = 1 << 28
	maxNesting    = 64
	maxInitialise = 1 << 24
)

// Parse reads PTX text. Errors are *SyntaxError and name the line and the construct. Instructions are checked when
// their kernel is first asked for (Module.Kernel).
func Parse(ptx []byte) (*Module, error) {
	p := &parser{lex: lexer{src: string(ptx), line: 1}, ops: map[string][]string{}}
	p.m = &Module{vars: map[string]*variable{}, funcs: map[string]*function{}, kernels: map[string]*Kernel{}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.module(); err != nil {
		return nil, err
	}
	return p.m, nil
}

type parser struct {
	lex   lexer
	tok   token
	m     *Module
	depth int
	ops   map[string][]string // opcodes so far, split at the dots: a text has few different ones
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{p.tok.line, fmt.Sprintf(format, args...)}
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) is(text string) bool {
	return (p.tok.kind == tokPunct || p.tok.kind == tokIdent) && p.tok.text == text
}

func (p *parser) accept(text string) (bool, error) {
	if !p.is(text) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(text string) error {
	if !p.is(text) {
		return p.errorf("expected %q, found %q", text, p.found())
	}
	return p.advance()
}

func (p *parser) found() string {
	if p.tok.kind == tokEOF {
		return "end of text"
	}
	return p.tok.text
}

func (p *parser) ident(what string) (string, error) {
	if p.tok.kind != tokIdent {
		return "", p.errorf("expected %s, found %q", what, p.found())
	}
	s := p.tok.text
	return s, p.advance()
}

func (p *parser) integer(what string, limit uint64) (int, error) {
	if p.tok.kind != tokInt || p.tok.num > limit {
		return 0, p.errorf("expected %s of at most %d, found %q", what, limit, p.found())
	}
	n := int(p.tok.num)
	return n, p.advance()
}

// line skips to the end of the current source line: .loc and .file have no semicolon.
func (p *parser) line() error {
	for l := p.tok.line; p.tok.line == l && p.tok.kind != tokEOF; {
		if err := p.advance(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) module() error {
	for p.tok.kind != tokEOF {
		if p.tok.kind != tokIdent {
			return p.errorf("expected a directive, found %q", p.found())
		}
		if err := p.directive(); err != nil {
			return err
		}
	}
	switch {
	case p.m.Version == 0:
		return p.errorf(".version is missing")
	case p.m.Target.Arch == 0:
		return p.errorf(".target is missing")
	}
	return nil
}

func (p *parser) directive() error {
	switch d := p.tok.text; d {
	case ".version":
		return p.version()
	case ".target":
		return p.target()
	case ".address_size":
		if err := p.advance(); err != nil {
			return err
		}
		if p.tok.kind != tokInt || p.tok.num != 64 {
			return p.errorf("address size %s: only 64 is supported", p.found())
		}
		return p.advance()
	case ".file", ".loc", ".pragma":
		return p.line()
	case ".section":
		return p.section()
	}
	return p.declaration(nil)
}

func (p *parser) version() error {
	if err := p.advance(); err != nil {
		return err
	}
	major, minor, ok := strings.Cut(p.tok.text, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if !ok || err1 != nil || err2 != nil || a < 1 || a > 99 || b > 9 || b < 0 {
		return p.errorf(".version %q", p.found())
	}
	p.m.Version = a*10 + b
	return p.advance()
}

func (p *parser) target() error {
	if err := p.advance(); err != nil {
		return err
	}
	t, err := parseTarget(p.tok.text)
	if err != nil {
		return p.errorf(".target: %v", err)
	}
	p.m.Target = t
	if err := p.advance(); err != nil {
		return err
	}
	for { // texmode and debug modifiers
		if ok, err := p.accept(","); err != nil || !ok {
			return err
		}
		if _, err := p.ident("a target modifier"); err != nil {
			return err
		}
	}
}

func (p *parser) section() error {
	if err := p.advance(); err != nil {
		return err
	}
	for !p.is("{") {
		if p.tok.kind == tokEOF {
			return p.errorf(".section without a body")
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	for !p.is("}") {
		if p.tok.kind == tokEOF {
			return p.errorf(".section is not closed")
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	return p.advance()
}

// declaration parses linkage, then a function or a variable. sc is nil at module scope.
func (p *parser) declaration(sc *scope) error {
	extern := false
	for {
		switch p.tok.text {
		case ".extern":
			extern = true
		case ".visible", ".weak", ".common":
		default:
			switch p.tok.text {
			case ".entry", ".func":
				if sc != nil {
					return p.errorf("%s inside a function", p.tok.text)
				}
				return p.function(p.tok.text == ".entry")
			case ".global", ".const", ".shared", ".local", ".param":
				return p.variables(sc, extern)
			}
			return p.errorf("directive %q is not supported here", p.found())
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
}

var spaces = map[string]space{".global": spGlobal, ".const": spConst, ".shared": spShared, ".local": spLocal, ".param": spParam}

// variables parses `.shared .align 16 .b8 name[32] = {…}, other;`.
func (p *parser) variables(sc *scope, extern bool) error {
	sp := spaces[p.tok.text]
	if err := p.advance(); err != nil {
		return err
	}
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
		if v.size == 0 && !(extern && sp == spShared) {
			return p.errorf("variable %q has no size", v.name)
		}
		v.dynamic = v.size == 0
		vars := p.m.vars
		if sc != nil {
			vars = sc.vars
		}
		if vars[v.name] != nil {
			return p.errorf("variable %q is declared twice", v.name)
		}
		vars[v.name] = v
		if sc == nil {
			p.m.order = append(p.m.order, v)
		}
		if ok, err := p.accept(","); err != nil {
			return err
		} else if !ok {
			return p.expect(";")
		}
	}
}

// variable parses one declarator; elem and align carry over from the first of a list.
func (p *parser) variable(sp space, first bool, elem, align int) (*variable, int, error) {
	v := &variable{space: sp, line: p.tok.line, align: align, fnArg: -1}
	vec := 1
	for first && p.tok.kind == tokIdent && p.tok.text[0] == '.' {
		t := p.tok.text
		if err := p.advance(); err != nil {
			return nil, 0, err
		}
		switch t {
		case ".align":
			n, err := p.integer("an alignment", 1<<16)
			if err != nil {
				return nil, 0, err
			}
			if n == 0 || n&(n-1) != 0 {
				return nil, 0, p.errorf("alignment %d is no power of two", n)
			}
			v.align = n
		case ".v2":
			vec = 2
		case ".v4":
			vec = 4
		case ".ptr", ".global", ".const", ".shared", ".local", ".generic", ".attribute":
			if t == ".attribute" {
				return nil, 0, p.errorf("attribute on a variable is not supported")
			}
			if t == ".ptr" { // `.ptr .global .align 16` describes what is pointed to
				for p.is(".global") || p.is(".const") || p.is(".shared") || p.is(".local") || p.is(".align") {
					isAlign := p.is(".align")
					if err := p.advance(); err != nil {
						return nil, 0, err
					}
					if isAlign {
						if _, err := p.integer("an alignment", 1<<16); err != nil {
							return nil, 0, err
						}
					}
				}
			}
		default:
			_, bits, ok := typeBits(t[1:])
			if !ok || bits < 8 {
				return nil, 0, p.errorf("type %q of a variable", t)
			}
			elem = bits / 8
		}
	}
	if elem == 0 {
		return nil, 0, p.errorf("variable without a type")
	}
	name, err := p.ident("a variable's name")
	if err != nil {
		return nil, 0, err
	}
	v.name, v.size = name, elem*vec
	for p.is("[") {
		if err := p.advance(); err != nil {
			return nil, 0, err
		}
		if p.is("]") {
			v.size = 0
		} else {
			n, err := p.integer("an array length", maxVariable)
			if err != nil {
				return nil, 0, err
			}
			if v.size *= n; v.size > maxVariable {
				return nil, 0, p.errorf("variable %q is larger than %d bytes", name, maxVariable)
			}
		}
		if err := p.expect("]"); err != nil {
			return nil, 0, err
		}
	}
	if v.align == 0 {
		v.align = elem * vec
	}
	if ok, err := p.accept("="); err != nil {
		return nil, 0, err
	} else if ok {
		if err := p.initialiser(v, elem); err != nil {
			return nil, 0, err
		}
	}
	return v, elem, nil
}

// initialiser parses a value or nested braces of values, each elem bytes long.
func (p *parser) initialiser(v *variable, elem int) error {
	if ok, err := p.accept("{"); err != nil {
		return err
	} else if ok {
		if p.depth++; p.depth > maxNesting {
			return p.errorf("initialiser nested deeper than %d", maxNesting)
		}
		for !p.is("}") {
			if err := p.initialiser(v, elem); err != nil {
				return err
			}
			if ok, err := p.accept(","); err != nil {
				return err
			} else if !ok {
				break
			}
		}
		p.depth--
		return p.expect("}")
	}
	if len(v.init) > maxInitialise {
		return p.errorf("initialiser longer than %d bytes", maxInitialise)
	}
	o, err := p.operand()
	if err != nil {
		return err
	}
	n := o.num
	switch o.kind {
	case opInt:
	case opFloat32:
		if elem == 8 {
			n = math.Float64bits(float64(math.Float32frombits(uint32(n))))
		}
	case opFloat64:
		if elem == 4 {
			n = uint64(math.Float32bits(float32(math.Float64frombits(n))))
		}
	case opName:
		r := reloc{off: len(v.init), name: o.name, add: o.off}
		if o.name == "generic" && p.is("(") {
			if err := p.advance(); err != nil {
				return err
			}
			if r.name, err = p.ident("a variable's name"); err != nil {
				return err
			}
			if err := p.expect(")"); err != nil {
				return err
			}
			r.generic = true
		}
		if elem != 8 {
			return p.errorf("address of %q needs a 64-bit element", r.name)
		}
		v.relocs, n = append(v.relocs, r), 0
	default:
		return p.errorf("initialiser of %q", v.name)
	}
	v.init = binary.LittleEndian.AppendUint64(v.init, n)[:len(v.init)+elem]
	if v.size != 0 && len(v.init) > v.size {
		return p.errorf("initialiser of %q is longer than the variable", v.name)
	}
	return nil
}

// typeBits splits a type name without its dot: class 's', 'u', 'b', 'f' or 'p' (predicate) and width in bits.
func typeBits(t string) (class byte, bits int, ok bool) {
	switch t {
	case "pred":
		return 'p', 1, true
	case "bf16", "bf16x2", "tf32", "f16x2":
		if t == "bf16" {
			return 'f', 16, true
		}
		return 'f', 32, true
	case "b128":
		return 'b', 128, true
	}
	if len(t) < 2 || len(t) > 3 || !strings.Contains("subf", t[:1]) {
		return 0, 0, false
	}
	n, err := strconv.Atoi(t[1:])
	if err != nil || n != 8 && n != 16 && n != 32 && n != 64 || t[0] == 'f' && n == 8 {
		return 0, 0, false
	}
	return t[0], n, true
}
