package chat

import "fmt"

// loop is the variable of that name inside of a for statement.
type loop struct {
	stmt   *forStmt
	scope  *scope // around the loop
	next   func() (Value, bool, error)
	length int // -1: not known yet
	index0 int
	depth0 int

	current, before Value
	after           Value // read ahead
	ahead, ended    bool  // after is set; nothing comes after
	changed         []Value
}

func (*loop) kind() string { return "LoopContext" }

// loop runs a for statement over the elements of a value.
func (e *evaluator) loop(s *forStmt, over Value, depth int) error {
	next, size, err := e.iterate(over)
	if err != nil {
		return err
	}
	outer := e.scope
	defer func() { e.scope = outer }()
	if s.test != nil {
		next, size = e.filtered(s, next), -1
	}
	l := &loop{stmt: s, scope: outer, next: next, length: size, index0: -1, depth0: depth}
	completed := false
	for {
		v, ok, err := l.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := e.spend(1); err != nil {
			return err
		}
		e.scope = &scope{around: outer}
		e.scope.set("loop", l)
		if err := e.assign(s.target, v); err != nil {
			return err
		}
		f, err := e.exec(s.body)
		if err != nil {
			return err
		}
		if f == flowOn {
			completed = true
		}
		if f == flowBreak {
			break
		}
	}
	e.scope = outer
	// Jinja notes that a loop has run when the end of its body is reached: a break in the first round still leads here.
	if completed || len(s.otherwise) == 0 {
		return nil
	}
	e.scope = &scope{around: outer}
	_, err = e.exec(s.otherwise)
	return err
}

// filtered leaves out the elements that fail the loop's test.
func (e *evaluator) filtered(s *forStmt, next func() (Value, bool, error)) func() (Value, bool, error) {
	around := e.scope
	return func() (Value, bool, error) {
		outer := e.scope
		defer func() { e.scope = outer }()
		for {
			v, ok, err := next()
			if err != nil || !ok {
				return nil, false, err
			}
			e.scope = &scope{around: around}
			if err := e.assign(s.target, v); err != nil {
				return nil, false, err
			}
			if ok, err := e.holds(s.test); err != nil || ok {
				return v, ok, err
			}
		}
	}
}

// advance goes to the next element.
func (l *loop) advance() (Value, bool, error) {
	if ok, err := l.peek(); err != nil || !ok {
		return nil, false, err
	}
	l.ahead = false
	l.index0++
	l.before, l.current = l.current, l.after
	return l.current, true, nil
}

// peek reads one element ahead and tells whether there is one.
func (l *loop) peek() (bool, error) {
	if l.ahead || l.ended {
		return l.ahead, nil
	}
	v, ok, err := l.next()
	if err != nil {
		return false, err
	}
	l.after, l.ahead, l.ended = v, ok, !ok
	return ok, nil
}

// size reads all elements where it must, to count them.
func (l *loop) size() (int, error) {
	if l.length >= 0 {
		return l.length, nil
	}
	n := l.index0 + 1
	if l.ahead {
		n++
	}
	var rest []Value
	for !l.ended {
		v, ok, err := l.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		rest = append(rest, v)
	}
	l.next = walk(rest)
	l.length = n + len(rest)
	return l.length, nil
}

func (l *loop) attribute(name string) (Value, error) {
	switch name {
	case "index":
		return intValue(l.index0 + 1), nil
	case "index0":
		return intValue(l.index0), nil
	case "first":
		return boolValue(l.index0 == 0), nil
	case "last":
		more, err := l.peek()
		return boolValue(!more), err
	case "length":
		n, err := l.size()
		return intValue(n), err
	case "revindex":
		n, err := l.size()
		return intValue(n - l.index0), err
	case "revindex0":
		n, err := l.size()
		return intValue(n - l.index0 - 1), err
	case "depth":
		return intValue(l.depth0 + 1), nil
	case "depth0":
		return intValue(l.depth0), nil
	case "previtem":
		if l.index0 == 0 {
			return undefined{what: "the item before the first"}, nil
		}
		return l.before, nil
	case "nextitem":
		more, err := l.peek()
		if err != nil || more {
			return l.after, err
		}
		return undefined{what: "the item after the last"}, nil
	case "cycle":
		return &callable{name: name, call: func(_ *evaluator, a arguments) (Value, error) {
			if len(a.positional) == 0 || len(a.names) > 0 {
				return nil, fmt.Errorf("cycle needs items")
			}
			return a.positional[l.index0%len(a.positional)], nil
		}}, nil
	case "changed":
		return &callable{name: name, call: func(e *evaluator, a arguments) (Value, error) {
			if l.changed != nil {
				same, err := e.equalLists(l.changed, a.positional)
				if err != nil || same {
					return boolValue(false), err
				}
			}
			l.changed = append([]Value{}, a.positional...)
			return boolValue(true), nil
		}}, nil
	}
	return missing(l, name), nil
}

// recurse is loop(...): the same loop over other elements, rendered into a text.
func (l *loop) recurse(e *evaluator, a arguments) (Value, error) {
	if !l.stmt.recursive {
		return nil, fmt.Errorf("a loop must be marked recursive to be called")
	}
	bound, err := a.bind("loop", []string{"iterable!"})
	if err != nil {
		return nil, err
	}
	if e.calls++; e.calls > e.limits.Depth {
		return nil, overBudget("a loop calls itself deeper than %d", e.limits.Depth)
	}
	outer, out := e.scope, e.out
	e.scope, e.out = l.scope, &builder{m: e.meter}
	err = e.loop(l.stmt, bound[0], l.depth0+1)
	t := e.out.done()
	e.scope, e.out = outer, out
	e.calls--
	return textValue{t}, err
}
