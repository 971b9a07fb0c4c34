package chat

import (
	"fmt"
	"slices"
)

// parser reads statements; parseexpr.go reads expressions.
type parser struct {
	tokens []token
	at     int
	depth  int
	max    int // of depth
	loops  int // loops around, for break and continue

	// missing are filters and tests that nobody knows. They are an error at once, unless a condition decides whether
	// they are reached at all; so Jinja has it.
	missing []unknown
	// mentions are the special names that the macro around reads.
	mentions map[string]bool
}

type unknown struct {
	line int
	what string
}

// parse reads a whole template.
func parse(source string, l Limits) ([]stmt, error) {
	if len(source) > l.Source {
		return nil, overBudget("a template of %d bytes, more than %d", len(source), l.Source)
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, max: l.Depth, mentions: map[string]bool{}}
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != endToken {
		return nil, p.errorf("unexpected %s", p.tokens[p.at])
	}
	return body, p.known(0)
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.peek().line, fmt.Sprintf(format, args...))
}

// enter counts the nesting; leave comes back.
func (p *parser) enter() error {
	if p.depth++; p.depth > p.max {
		return overBudget("line %d: nested deeper than %d", p.peek().line, p.max)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) isName(name string) bool {
	t := p.peek()
	return t.kind == nameToken && t.text == name
}

func (p *parser) isOp(op string) bool {
	t := p.peek()
	return t.kind == operatorToken && t.text == op
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.at++
		return true
	}
	return false
}

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return p.errorf("%s where '%s' belongs", p.peek(), op)
	}
	return nil
}

func (p *parser) expectName() (string, error) {
	if p.peek().kind != nameToken {
		return "", p.errorf("%s where a name belongs", p.peek())
	}
	return p.next().text, nil
}

func (p *parser) expect(kind tokenKind, what string) error {
	if p.peek().kind != kind {
		return p.errorf("%s where %s belongs", p.peek(), what)
	}
	p.at++
	return nil
}

// known fails if a filter or test since the mark is unknown.
func (p *parser) known(mark int) error {
	if len(p.missing) > mark {
		return fmt.Errorf("line %d: no %s", p.missing[mark].line, p.missing[mark].what)
	}
	return nil
}

// body reads up to a block tag that starts with one of the ends, or the end of the template; the tag's name is next.
func (p *parser) body(ends ...string) ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var out []stmt
	for {
		switch t := p.peek(); t.kind {
		case dataToken:
			p.at++
			out = append(out, &dataStmt{template(t.text)})
		case varBegin:
			p.at++
			e, err := p.tuple(true)
			if err != nil {
				return nil, err
			}
			if err := p.expect(varEnd, "'}}'"); err != nil {
				return nil, err
			}
			out = append(out, &outputStmt{t.line, []expr{e}})
		case blockBegin:
			p.at++
			if name := p.peek(); name.kind == nameToken && slices.Contains(ends, name.text) {
				return out, nil
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			if err := p.expect(blockEnd, "'%}'"); err != nil {
				return nil, err
			}
			out = append(out, s)
		default:
			if len(ends) > 0 {
				return nil, p.errorf("%s where %q belongs", t, ends[len(ends)-1])
			}
			return out, nil
		}
	}
}

// inner reads the body of a statement, behind the rest of its tag.
func (p *parser) inner(ends ...string) ([]stmt, error) {
	p.skipOp(":")
	if err := p.expect(blockEnd, "'%}'"); err != nil {
		return nil, err
	}
	return p.body(ends...)
}

// scope reads a body with variables of its own up to one end tag, and passes over that tag's name.
func (p *parser) scope(end string) ([]stmt, error) {
	mark := len(p.missing)
	body, err := p.inner(end)
	if err != nil {
		return nil, err
	}
	p.at++
	return body, p.known(mark)
}

// function reads a body that is called, so that break and continue do not reach out of it.
func (p *parser) function(end string) ([]stmt, error) {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.scope(end)
}

func (p *parser) statement() (stmt, error) {
	line := p.peek().line
	name, err := p.expectName()
	if err != nil {
		return nil, err
	}
	switch name {
	case "if":
		return p.ifStatement(line)
	case "for":
		return p.forStatement(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro(line)
	case "call":
		return p.call(line)
	case "with":
		return p.with(line)
	case "print":
		out := &outputStmt{line: line}
		for p.peek().kind != blockEnd {
			if len(out.items) > 0 {
				if err := p.expectOp(","); err != nil {
					return nil, err
				}
			}
			e, err := p.expression()
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, e)
		}
		return out, nil
	case "filter":
		f, err := p.filter(nil)
		for n := 1; err == nil && p.skipOp("|"); n++ {
			if f, err = p.filter(f); err == nil {
				err = p.chain(n)
			}
		}
		if err != nil {
			return nil, err
		}
		body, err := p.scope("endfilter")
		return &filterStmt{line, f.(*filterExpr), body}, err
	case "block":
		return p.block()
	case "generation":
		body, err := p.function("endgeneration")
		return &captureStmt{body}, err
	case "autoescape":
		if _, err := p.expression(); err != nil {
			return nil, err
		}
		body, err := p.scope("endautoescape")
		return &scopeStmt{body}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, fmt.Errorf("line %d: %s outside of a loop", line, name)
		}
		if name == "break" {
			return &breakStmt{}, nil
		}
		return &nextStmt{}, nil
	case "include", "import", "from", "extends":
		return nil, fmt.Errorf("line %d: %s is not available to chat templates", line, name)
	}
	return nil, fmt.Errorf("line %d: unknown tag %q", line, clip(name))
}

func (p *parser) ifStatement(line int) (stmt, error) {
	mark := len(p.missing)
	out := &ifStmt{}
	for {
		test, err := p.tuple(false)
		if err != nil {
			return nil, err
		}
		body, err := p.inner("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		out.branches = append(out.branches, branch{line, test, body})
		line = p.peek().line
		if end := p.next().text; end == "elif" {
			continue
		} else if end == "else" {
			if out.otherwise, err = p.inner("endif"); err != nil {
				return nil, err
			}
			p.at++
		}
		p.missing = p.missing[:mark]
		return out, nil
	}
}

func (p *parser) forStatement(line int) (stmt, error) {
	out := &forStmt{line: line}
	var err error
	if out.target, err = p.target(false, "in"); err != nil {
		return nil, err
	}
	if !p.skipName("in") {
		return nil, p.errorf("%s where 'in' belongs", p.peek())
	}
	if out.over, err = p.tuple(false, "recursive"); err != nil {
		return nil, err
	}
	mark := len(p.missing)
	if p.skipName("if") {
		if out.test, err = p.expression(); err != nil {
			return nil, err
		}
	}
	out.recursive = p.skipName("recursive")
	p.loops++
	out.body, err = p.inner("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		if out.otherwise, err = p.inner("endfor"); err != nil {
			return nil, err
		}
		p.at++
	}
	return out, p.known(mark)
}

func (p *parser) set(line int) (stmt, error) {
	t, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		v, err := p.tuple(true)
		return &setStmt{line, t, v}, err
	}
	out := &setBlockStmt{line: line, target: t}
	var f expr
	for n := 1; p.skipOp("|"); n++ {
		if f, err = p.filter(f); err == nil {
			err = p.chain(n)
		}
		if err != nil {
			return nil, err
		}
	}
	out.filter, _ = f.(*filterExpr)
	out.body, err = p.scope("endset")
	return out, err
}

func (p *parser) with(line int) (stmt, error) {
	out := &withStmt{line: line}
	for p.peek().kind != blockEnd {
		if len(out.targets) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		t, err := p.target(false)
		if err != nil {
			return nil, err
		}
		if err := p.expectOp("="); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		out.targets, out.values = append(out.targets, t), append(out.values, v)
	}
	var err error
	out.body, err = p.scope("endwith")
	return out, err
}

func (p *parser) macro(line int) (stmt, error) {
	out := &macroStmt{line: line}
	name, err := p.targetName()
	if err != nil {
		return nil, err
	}
	if out.macroDef, err = p.macroRest(name, "endmacro", true); err != nil {
		return nil, err
	}
	return out, nil
}

// macroRest reads the parameters and the body of a macro.
func (p *parser) macroRest(name, end string, signature bool) (d macroDef, err error) {
	outer := p.mentions
	p.mentions = map[string]bool{}
	defer func() {
		for m := range p.mentions {
			outer[m] = true
		}
		p.mentions = outer
	}()
	d.name = name
	if signature {
		if err := p.signature(&d); err != nil {
			return d, err
		}
	}
	if d.body, err = p.function(end); err != nil {
		return d, err
	}
	free := func(name string) bool { return p.mentions[name] && !slices.Contains(d.params, name) }
	d.varargs, d.kwargs, d.caller = free("varargs"), free("kwargs"), free("caller")
	return d, nil
}

func (p *parser) signature(d *macroDef) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if len(d.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
		}
		name, err := p.targetName()
		if err != nil {
			return err
		}
		if slices.Contains(d.params, name) {
			return p.errorf("parameter %q twice", clip(name))
		}
		if len(d.params) == maxNames {
			return p.errorf("more than %d parameters", maxNames)
		}
		d.params = append(d.params, name)
		if p.skipOp("=") {
			e, err := p.expression()
			if err != nil {
				return err
			}
			d.defaults = append(d.defaults, e)
		} else if len(d.defaults) > 0 {
			return p.errorf("a parameter without default behind one with a default")
		}
	}
	return p.expectOp(")")
}

func (p *parser) call(line int) (stmt, error) {
	out := &callStmt{line: line}
	var d macroDef
	if p.isOp("(") {
		if err := p.signature(&d); err != nil {
			return nil, err
		}
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := e.(*callExpr)
	if !ok {
		return nil, fmt.Errorf("line %d: call needs a call", line)
	}
	out.call = call
	body, err := p.macroRest("caller", "endcall", false)
	if err != nil {
		return nil, err
	}
	body.params, body.defaults = d.params, d.defaults
	out.caller = body
	return out, nil
}

func (p *parser) block() (stmt, error) {
	name, err := p.expectName()
	if err != nil {
		return nil, err
	}
	p.skipName("scoped")
	if p.skipName("required") {
		return nil, p.errorf("a required block is not available to chat templates")
	}
	body, err := p.function("endblock")
	p.skipName(name)
	return &blockStmt{body}, err
}

// targetName reads a name that is set.
func (p *parser) targetName() (string, error) {
	name, err := p.expectName()
	if err == nil && isConstant(name) {
		err = p.errorf("can't assign to %q", name)
	}
	return name, err
}

func isConstant(name string) bool {
	switch name {
	case "true", "false", "none", "True", "False", "None":
		return true
	}
	return false
}

// target reads what is set: one or more of a name, an attribute where allowed, or targets in parentheses.
func (p *parser) target(attributes bool, ends ...string) (target, error) {
	var items []target
	comma := false
	for {
		t := p.peek()
		if len(items) > 0 && (t.kind == blockEnd || p.isOp(")") || p.isOp("=") || t.kind == nameToken && slices.Contains(ends, t.text)) {
			break
		}
		one, err := p.oneTarget(attributes)
		if err != nil {
			return target{}, err
		}
		items = append(items, one)
		if !p.skipOp(",") {
			break
		}
		comma = true
	}
	if !comma {
		return items[0], nil
	}
	return target{items: items, tuple: true}, nil
}

func (p *parser) oneTarget(attributes bool) (target, error) {
	if p.skipOp("(") {
		if err := p.enter(); err != nil {
			return target{}, err
		}
		defer p.leave()
		t, err := p.target(false)
		if err != nil {
			return target{}, err
		}
		return t, p.expectOp(")")
	}
	name, err := p.targetName()
	if err != nil {
		return target{}, err
	}
	if attributes && p.skipOp(".") {
		attr, err := p.expectName()
		return target{name: name, attr: attr}, err
	}
	return target{name: name}, nil
}
