package chat

import (
	"slices"
	"strings"
)

// The grammar of expressions, loosest first:
//
//	condition   or ["if" or ["else" condition]]
//	or          and {"or" and}
//	and         not {"and" not}
//	not         "not" not | comparison
//	comparison  sum {("==" | "<" | "in" | "not in" ...) sum}
//	sum         concat {("+" | "-") concat}
//	concat      product {"~" product}
//	product     power {("*" | "/" | "//" | "%") power}
//	power       unary {"**" unary}
//	unary       ("-" | "+") unary | primary, then .name [key] (arguments) |filter "is" test

// expression reads one expression.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	mark := len(p.missing)
	e, err := p.or()
	for err == nil && p.skipName("if") {
		c := &condExpr{then: e}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			if c.otherwise, err = p.expression(); err != nil {
				return nil, err
			}
		}
		p.missing = p.missing[:mark]
		e = c
	}
	return e, err
}

// tuple reads one expression, or several with commas between.
func (p *parser) tuple(conditions bool, ends ...string) (expr, error) {
	var items []expr
	comma := false
	for {
		t := p.peek()
		if t.kind == varEnd || t.kind == blockEnd || p.isOp(")") || t.kind == nameToken && slices.Contains(ends, t.text) {
			break
		}
		var e expr
		var err error
		if conditions {
			e, err = p.expression()
		} else {
			e, err = p.or()
		}
		if err != nil {
			return nil, err
		}
		items = append(items, e)
		if !p.skipOp(",") {
			break
		}
		comma = true
	}
	switch {
	case comma:
		return &listExpr{items, true}, nil
	case len(items) == 0:
		return nil, p.errorf("%s where an expression belongs", p.peek())
	}
	return items[0], nil
}

// chain bounds expressions that nest to the left without parentheses.
func (p *parser) chain(length int) error {
	if length > p.max {
		return overBudget("line %d: nested deeper than %d", p.peek().line, p.max)
	}
	return nil
}

func (p *parser) or() (expr, error) {
	left, err := p.and()
	for n := 1; err == nil && p.skipName("or"); n++ {
		var right expr
		if right, err = p.and(); err == nil {
			left, err = &orExpr{left, right}, p.chain(n)
		}
	}
	return left, err
}

func (p *parser) and() (expr, error) {
	left, err := p.not()
	for n := 1; err == nil && p.skipName("and"); n++ {
		var right expr
		if right, err = p.not(); err == nil {
			left, err = &andExpr{left, right}, p.chain(n)
		}
	}
	return left, err
}

func (p *parser) not() (expr, error) {
	if !p.skipName("not") {
		return p.comparison()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	e, err := p.not()
	return &notExpr{e}, err
}

func (p *parser) comparison() (expr, error) {
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{first: first}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == operatorToken && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
			op = t.text
			p.at++
		case p.isName("in"):
			op = "in"
			p.at++
		case p.isName("not") && p.tokens[p.at+1].kind == nameToken && p.tokens[p.at+1].text == "in":
			op = "not in"
			p.at += 2
		}
		if op == "" {
			break
		}
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, e)
	}
	if len(c.ops) == 0 {
		return first, nil
	}
	return c, nil
}

// binary reads operands with operators of one rank between them.
func (p *parser) binary(operand func() (expr, error), ops ...string) (expr, error) {
	left, err := operand()
	for n := 1; err == nil; n++ {
		t := p.peek()
		if t.kind != operatorToken || !slices.Contains(ops, t.text) {
			return left, nil
		}
		p.at++
		var right expr
		if right, err = operand(); err == nil {
			left, err = &binaryExpr{t.text, left, right}, p.chain(n)
		}
	}
	return left, err
}

func (p *parser) sum() (expr, error) { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() (expr, error) {
	first, err := p.product()
	if err != nil || !p.isOp("~") {
		return first, err
	}
	c := &concatExpr{[]expr{first}}
	for p.skipOp("~") {
		e, err := p.product()
		if err != nil {
			return nil, err
		}
		c.items = append(c.items, e)
	}
	return c, nil
}

func (p *parser) product() (expr, error) { return p.binary(p.power, "*", "/", "//", "%") }

func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) (e expr, err error) {
	if p.isOp("-") || p.isOp("+") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		op := p.next().text
		e, err = p.unary(false)
		p.leave()
		e = &unaryExpr{op, e}
	} else {
		e, err = p.primary()
	}
	if err != nil {
		return nil, err
	}
	e, n, err := p.postfix(e)
	if err != nil || !filters {
		return e, err
	}
	return p.filters(e, n)
}

// postfix reads the attributes, keys and calls behind e and counts them.
func (p *parser) postfix(e expr) (_ expr, n int, err error) {
	for ; err == nil; n++ {
		if err = p.chain(n); err != nil {
			break
		}
		switch {
		case p.skipOp("."):
			e, err = p.attribute(e)
		case p.skipOp("["):
			e, err = p.subscript(e)
		case p.isOp("("):
			c := &callExpr{fn: e}
			c.args, err = p.arguments()
			e = c
		default:
			return e, n, nil
		}
	}
	return nil, n, err
}

// filters reads filters, tests and calls of their results.
func (p *parser) filters(e expr, n int) (_ expr, err error) {
	for ; err == nil; n++ {
		if err = p.chain(n); err != nil {
			return nil, err
		}
		switch {
		case p.skipOp("|"):
			e, err = p.filter(e)
		case p.skipName("is"):
			e, err = p.test(e)
		case p.isOp("("):
			c := &callExpr{fn: e}
			c.args, err = p.arguments()
			e = c
		default:
			return e, nil
		}
	}
	return nil, err
}

func (p *parser) primary() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch t := p.peek(); t.kind {
	case nameToken:
		p.at++
		switch t.text {
		case "true", "True":
			return &constExpr{Bool(true)}, nil
		case "false", "False":
			return &constExpr{Bool(false)}, nil
		case "none", "None":
			return &constExpr{None}, nil
		}
		if t.text == "varargs" || t.text == "kwargs" || t.text == "caller" {
			p.mentions[t.text] = true
		}
		return &nameExpr{t.text, t.line}, nil
	case stringToken:
		var s strings.Builder
		for p.peek().kind == stringToken {
			s.WriteString(p.next().text)
		}
		return &constExpr{Trusted(s.String())}, nil
	case numberToken:
		p.at++
		return &constExpr{t.value}, nil
	}
	switch {
	case p.skipOp("("):
		if p.skipOp(")") {
			return &listExpr{nil, true}, nil
		}
		e, err := p.tuple(true)
		if err != nil {
			return nil, err
		}
		return e, p.expectOp(")")
	case p.skipOp("["):
		items, err := p.items("]")
		return &listExpr{items, false}, err
	case p.skipOp("{"):
		return p.dict()
	}
	return nil, p.errorf("unexpected %s", p.peek())
}

// items reads expressions up to the closing bracket.
func (p *parser) items(end string) (out []expr, err error) {
	for !p.skipOp(end) {
		if len(out) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.skipOp(end) {
				break
			}
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (p *parser) dict() (expr, error) {
	d := &dictExpr{}
	for !p.skipOp("}") {
		if len(d.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.skipOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expectOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	}
	return d, nil
}

// attribute reads what follows a dot: a name, or a whole number, which is a key.
func (p *parser) attribute(of expr) (expr, error) {
	switch t := p.next(); t.kind {
	case nameToken:
		return &attrExpr{of, t.text}, nil
	case numberToken:
		if _, ok := t.value.(floatValue); !ok {
			return &itemExpr{of, &constExpr{t.value}}, nil
		}
	}
	return nil, p.errorf("a name or number is missing behind the dot")
}

// subscript reads a key or slice behind its bracket.
func (p *parser) subscript(of expr) (expr, error) {
	var keys []expr
	for !p.skipOp("]") {
		if len(keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		k, err := p.subscribed()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 1 {
		return &itemExpr{of, keys[0]}, nil
	}
	return &itemExpr{of, &listExpr{keys, true}}, nil
}

func (p *parser) subscribed() (expr, error) {
	var part [3]expr
	n := 0
	for {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			e, err := p.expression()
			if err != nil {
				return nil, err
			}
			if n == 0 && !p.isOp(":") {
				return e, nil
			}
			part[n] = e
		} else if n == 0 && !p.isOp(":") {
			return nil, p.errorf("%s where a key belongs", p.peek())
		}
		if n == 2 || !p.skipOp(":") {
			return &sliceExpr{part[0], part[1], part[2]}, nil
		}
		n++
	}
}

// maxNames bounds the named arguments of a call and the parameters of a macro.
const maxNames = 255

// arguments reads a call's arguments with their parentheses.
func (p *parser) arguments() (a argList, err error) {
	if err := p.expectOp("("); err != nil {
		return a, err
	}
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return a, err
			}
			if p.skipOp(")") {
				break
			}
		}
		late := a.star != nil || a.starStar != nil
		var e *expr
		switch {
		case p.isOp("*") && !late:
			p.at++
			e = &a.star
		case p.isOp("**") && a.starStar == nil:
			p.at++
			e = &a.starStar
		case p.peek().kind == nameToken && p.tokens[p.at+1].kind == operatorToken && p.tokens[p.at+1].text == "=" && a.starStar == nil:
			name := p.next().text
			if slices.Contains(a.names, name) {
				return a, p.errorf("argument %q twice", clip(name))
			}
			if len(a.names) == maxNames {
				return a, p.errorf("more than %d named arguments", maxNames)
			}
			p.at++
			a.names, a.named = append(a.names, name), append(a.named, nil)
			e = &a.named[len(a.named)-1]
		case !late && len(a.names) == 0:
			a.positional = append(a.positional, nil)
			e = &a.positional[len(a.positional)-1]
		default:
			return a, p.errorf("arguments in a wrong order")
		}
		if *e, err = p.expression(); err != nil {
			return a, err
		}
	}
	return a, nil
}

// dotted reads the name of a filter or test.
func (p *parser) dotted() (string, error) {
	name, err := p.expectName()
	for err == nil && p.skipOp(".") {
		var part string
		part, err = p.expectName()
		name += "." + part
	}
	return name, err
}

// filter reads a filter behind its bar.
func (p *parser) filter(of expr) (expr, error) {
	line := p.peek().line
	name, err := p.dotted()
	if err != nil {
		return nil, err
	}
	f := &filterExpr{of: of, name: name}
	if p.isOp("(") {
		if f.args, err = p.arguments(); err != nil {
			return nil, err
		}
	}
	if filters[name] == nil {
		p.missing = append(p.missing, unknown{line, "filter named " + clip(name)})
	}
	return f, nil
}

// test reads a test behind "is".
func (p *parser) test(of expr) (expr, error) {
	line := p.peek().line
	negated := p.skipName("not")
	name, err := p.dotted()
	if err != nil {
		return nil, err
	}
	t := &testExpr{of: of, name: name}
	switch next := p.peek(); {
	case p.isOp("("):
		t.args, err = p.arguments()
	case next.kind == stringToken, next.kind == numberToken, p.isOp("["), p.isOp("{"),
		next.kind == nameToken && !slices.Contains([]string{"else", "or", "and"}, next.text):
		if next.text == "is" && next.kind == nameToken {
			return nil, p.errorf("tests cannot be chained with is")
		}
		var e expr
		if e, err = p.primary(); err == nil {
			e, _, err = p.postfix(e)
		}
		t.args.positional = []expr{e}
	}
	if err != nil {
		return nil, err
	}
	if tests[name] == nil {
		p.missing = append(p.missing, unknown{line, "test named " + clip(name)})
	}
	if negated {
		return &notExpr{t}, nil
	}
	return t, nil
}
