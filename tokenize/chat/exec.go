package chat

import "fmt"

// flow is how a statement ends.
type flow uint8

const (
	flowOn flow = iota
	flowBreak
	flowNext
)

func (e *evaluator) exec(body []stmt) (flow, error) {
	if err := e.enter(); err != nil {
		return flowOn, err
	}
	defer e.leave()
	for _, s := range body {
		if f, err := e.statement(s); err != nil || f != flowOn {
			return f, err
		}
	}
	return flowOn, nil
}

func (e *evaluator) statement(s stmt) (flow, error) {
	if err := e.spend(1); err != nil {
		return flowOn, err
	}
	switch s := s.(type) {
	case *dataStmt:
		return flowOn, e.out.add(s.text)
	case *outputStmt:
		for _, item := range s.items {
			v, err := e.eval(item)
			if err == nil {
				err = e.print(e.out, v)
			}
			if err != nil {
				return flowOn, at(s.line, err)
			}
		}
		return flowOn, nil
	case *ifStmt:
		for _, b := range s.branches {
			ok, err := e.holds(b.test)
			if err != nil {
				return flowOn, at(b.line, err)
			}
			if ok {
				return e.exec(b.body)
			}
		}
		return e.exec(s.otherwise)
	case *forStmt:
		over, err := e.eval(s.over)
		if err != nil {
			return flowOn, at(s.line, err)
		}
		return flowOn, at(s.line, e.loop(s, over, 0))
	case *setStmt:
		v, err := e.eval(s.value)
		if err == nil {
			err = e.assign(s.target, v)
		}
		return flowOn, at(s.line, err)
	case *setBlockStmt:
		out, f, err := e.capture(s.body)
		if err != nil || f != flowOn {
			return f, err
		}
		v := Value(textValue{out})
		if s.filter != nil {
			if v, err = e.filterChain(s.filter, v); err != nil {
				return flowOn, at(s.line, err)
			}
		}
		return flowOn, at(s.line, e.assign(s.target, v))
	case *withStmt:
		values, err := e.evalAll(s.values)
		if err != nil {
			return flowOn, at(s.line, err)
		}
		outer := e.scope
		e.scope = &scope{around: outer}
		defer func() { e.scope = outer }()
		for i, t := range s.targets {
			if err := e.assign(t, values[i]); err != nil {
				return flowOn, at(s.line, err)
			}
		}
		return e.exec(s.body)
	case *macroStmt:
		e.scope.set(s.name, e.macro(&s.macroDef))
		return flowOn, nil
	case *callStmt:
		fn, err := e.eval(s.call.fn)
		if err != nil {
			return flowOn, at(s.line, err)
		}
		a, err := e.arguments(s.call.args)
		if err != nil {
			return flowOn, at(s.line, err)
		}
		a.names, a.named = append(append([]string(nil), a.names...), "caller"), append(a.named, e.macro(&s.caller))
		v, err := e.call(fn, a)
		if err == nil {
			err = e.print(e.out, v)
		}
		return flowOn, at(s.line, err)
	case *filterStmt:
		out, f, err := e.capture(s.body)
		if err != nil || f != flowOn {
			return f, err
		}
		v, err := e.filterChain(s.filter, textValue{out})
		if err == nil {
			err = e.print(e.out, v)
		}
		return flowOn, at(s.line, err)
	case *captureStmt:
		out, f, err := e.capture(s.body)
		if err != nil {
			return f, err
		}
		return f, e.out.add(out)
	case *blockStmt:
		outer := e.scope
		e.scope = &scope{around: e.root}
		defer func() { e.scope = outer }()
		return e.exec(s.body)
	case *scopeStmt:
		outer := e.scope
		e.scope = &scope{around: outer}
		defer func() { e.scope = outer }()
		return e.exec(s.body)
	case *breakStmt:
		return flowBreak, nil
	case *nextStmt:
		return flowNext, nil
	}
	return flowOn, fmt.Errorf("%T is no statement", s)
}

// filterChain applies the filters of a block, the innermost one first.
func (e *evaluator) filterChain(f *filterExpr, v Value) (Value, error) {
	if inner, ok := f.of.(*filterExpr); ok {
		var err error
		if v, err = e.filterChain(inner, v); err != nil {
			return nil, err
		}
	}
	return e.applyFilter(f, v)
}

// capture renders a body with variables of its own into a text.
func (e *evaluator) capture(body []stmt) (text, flow, error) {
	outer, out := e.scope, e.out
	e.scope, e.out = &scope{around: outer}, &builder{m: e.meter}
	f, err := e.exec(body)
	t := e.out.done()
	e.scope, e.out = outer, out
	return t, f, err
}

func (e *evaluator) assign(t target, v Value) error {
	switch {
	case t.tuple:
		items, err := e.elements(v)
		if err != nil {
			return err
		}
		if len(items) != len(t.items) {
			return fmt.Errorf("%d values for %d names", len(items), len(t.items))
		}
		for i, one := range t.items {
			if err := e.assign(one, items[i]); err != nil {
				return err
			}
		}
		return nil
	case t.attr != "":
		of, _ := e.scope.get(t.name)
		ns, ok := of.(*namespace)
		if !ok {
			return fmt.Errorf("%s.%s is set, but %s is no namespace", clip(t.name), clip(t.attr), clip(t.name))
		}
		if t.attr[0] == '_' {
			return fmt.Errorf("attribute %q of a namespace begins with _", clip(t.attr))
		}
		ns.attrs.Set(t.attr, v)
		return nil
	}
	e.scope.set(t.name, v)
	return nil
}

// macro makes a macro that sees the variables around its definition.
func (e *evaluator) macro(d *macroDef) Value {
	around := e.scope
	return &callable{
		name: d.name,
		def:  d,
		call: func(e *evaluator, a arguments) (Value, error) {
			if e.calls++; e.calls > e.limits.Depth {
				return nil, overBudget("macros call each other deeper than %d", e.limits.Depth)
			}
			outer, out := e.scope, e.out
			e.scope, e.out = &scope{around: around}, &builder{m: e.meter}
			err := e.parameters(d, a)
			if err == nil {
				_, err = e.exec(d.body)
			}
			t := e.out.done()
			e.scope, e.out = outer, out
			e.calls--
			return textValue{t}, err
		},
		attr: func(name string) (Value, bool) {
			switch name {
			case "name":
				return Trusted(d.name), true
			case "arguments":
				items := make([]Value, len(d.params))
				for i, p := range d.params {
					items[i] = Trusted(p)
				}
				return tuple(items...), true
			case "catch_varargs":
				return boolValue(d.varargs), true
			case "catch_kwargs":
				return boolValue(d.kwargs), true
			case "caller":
				return boolValue(d.caller), true
			}
			return nil, false
		},
	}
}

// parameters sets a macro's parameters in its scope.
func (e *evaluator) parameters(d *macroDef, a arguments) error {
	for i, v := range a.positional {
		if i < len(d.params) {
			e.scope.set(d.params[i], v)
		}
	}
	if n := len(d.params); len(a.positional) > n && !d.varargs {
		return fmt.Errorf("macro %q takes %d arguments, not %d", clip(d.name), n, len(a.positional))
	}
	more := NewDict()
	caller := Value(undefined{what: "caller"})
next:
	for i, name := range a.names {
		for k, p := range d.params {
			if p == name {
				if k < len(a.positional) {
					return fmt.Errorf("macro %q: argument %q twice", clip(d.name), clip(name))
				}
				e.scope.set(p, a.named[i])
				continue next
			}
		}
		switch {
		case name == "caller" && d.caller:
			caller = a.named[i]
		case d.kwargs && name != "caller":
			more.Set(name, a.named[i])
		default:
			return fmt.Errorf("macro %q has no argument %q", clip(d.name), clip(name))
		}
	}
	if d.caller {
		e.scope.set("caller", caller)
	}
	if d.kwargs {
		e.scope.set("kwargs", more)
	}
	if d.varargs {
		e.scope.set("varargs", tuple(a.positional[min(len(a.positional), len(d.params)):]...))
	}
	for i, p := range d.params {
		if e.scope.find(p) >= 0 {
			continue
		}
		v := Value(undefined{what: fmt.Sprintf("parameter %q, which was not given,", clip(p))})
		if k := i - (len(d.params) - len(d.defaults)); k >= 0 {
			var err error
			if v, err = e.eval(d.defaults[k]); err != nil {
				return err
			}
		}
		e.scope.set(p, v)
	}
	return nil
}
