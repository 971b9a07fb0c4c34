package chat

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// evaluator renders one template once.
type evaluator struct {
	*meter
	out   *builder
	scope *scope
	root  *scope // the outermost variables
	calls int    // of macros, around each other
	now   func() time.Time
}

// scope holds the variables of a block; those around it are seen through it.
type scope struct {
	names  []string
	values []Value
	index  map[string]int // nil while there are few
	around *scope
}

// fewNames is how many names are searched one by one.
const fewNames = 16

// find is the place of a name in this scope itself, -1 if it is not there.
func (s *scope) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return i
		}
		return -1
	}
	return slices.Index(s.names, name)
}

func (s *scope) set(name string, v Value) {
	if i := s.find(name); i >= 0 {
		s.values[i] = v
		return
	}
	s.names, s.values = append(s.names, name), append(s.values, v)
	switch {
	case s.index != nil:
		s.index[name] = len(s.names) - 1
	case len(s.names) > fewNames:
		s.index = make(map[string]int, 2*len(s.names))
		for i, n := range s.names {
			s.index[n] = i
		}
	}
}

func (s *scope) get(name string) (Value, bool) {
	for ; s != nil; s = s.around {
		if i := s.find(name); i >= 0 {
			return s.values[i], true
		}
	}
	return nil, false
}

// lineError is an error with its place in the template.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// at adds the line to an error that has none.
func at(line int, err error) error {
	var l *lineError
	if err == nil || errors.As(err, &l) {
		return err
	}
	return &lineError{line, err}
}

// undefinedError is what using an undefined value gives.
func (u undefined) err() error {
	if u.unsafe {
		return fmt.Errorf("access to %s is unsafe", u.what)
	}
	return fmt.Errorf("%s is undefined", u.what)
}

// missing is the undefined value of an attribute or key.
func missing(of Value, name string) Value {
	return undefined{what: fmt.Sprintf("%q of a %s", clip(name), of.kind())}
}

func (e *evaluator) eval(x expr) (Value, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	switch x := x.(type) {
	case *constExpr:
		return x.value, nil
	case *nameExpr:
		if v, ok := e.scope.get(x.name); ok {
			return v, nil
		}
		if v, ok := globals[x.name]; ok {
			return v, nil
		}
		return undefined{what: fmt.Sprintf("%q", clip(x.name))}, nil
	case *attrExpr:
		of, err := e.eval(x.of)
		if err != nil {
			return nil, err
		}
		return e.attribute(of, x.name)
	case *itemExpr:
		return e.evalItem(x)
	case *listExpr:
		items, err := e.evalAll(x.items)
		return &list{items, x.tuple}, err
	case *dictExpr:
		d := NewDict()
		for i := range x.keys {
			k, err := e.eval(x.keys[i])
			if err != nil {
				return nil, err
			}
			v, err := e.eval(x.vals[i])
			if err != nil {
				return nil, err
			}
			if err := e.hashing(k); err != nil {
				return nil, err
			}
			if err := d.put(k, v); err != nil {
				return nil, err
			}
		}
		return d, nil
	case *callExpr:
		fn, err := e.eval(x.fn)
		if err != nil {
			return nil, err
		}
		a, err := e.arguments(x.args)
		if err != nil {
			return nil, err
		}
		return e.call(fn, a)
	case *filterExpr:
		of, err := e.eval(x.of)
		if err != nil {
			return nil, err
		}
		return e.applyFilter(x, of)
	case *testExpr:
		of, err := e.eval(x.of)
		if err != nil {
			return nil, err
		}
		a, err := e.arguments(x.args)
		if err != nil {
			return nil, err
		}
		ok, err := e.test(x.name, of, a)
		return boolValue(ok), err
	case *unaryExpr:
		of, err := e.eval(x.of)
		if err != nil {
			return nil, err
		}
		return negate(x.op, of)
	case *binaryExpr:
		left, err := e.eval(x.left)
		if err != nil {
			return nil, err
		}
		right, err := e.eval(x.right)
		if err != nil {
			return nil, err
		}
		return e.binary(x.op, left, right)
	case *concatExpr:
		b := builder{m: e.meter}
		for _, item := range x.items {
			v, err := e.eval(item)
			if err != nil {
				return nil, err
			}
			if err := e.print(&b, v); err != nil {
				return nil, err
			}
		}
		return textValue{b.done()}, nil
	case *compareExpr:
		return e.evalComparison(x)
	case *notExpr:
		ok, err := e.holds(x.of)
		return boolValue(!ok), err
	case *andExpr:
		return e.either(x.left, x.right, false)
	case *orExpr:
		return e.either(x.left, x.right, true)
	case *condExpr:
		ok, err := e.holds(x.test)
		switch {
		case err != nil:
			return nil, err
		case ok:
			return e.eval(x.then)
		case x.otherwise != nil:
			return e.eval(x.otherwise)
		}
		return undefined{what: "an if-expression without else whose condition is false"}, nil
	}
	return nil, fmt.Errorf("%T has no value", x)
}

func (e *evaluator) evalAll(xs []expr) ([]Value, error) {
	out := make([]Value, len(xs))
	for i, x := range xs {
		var err error
		if out[i], err = e.eval(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *evaluator) holds(x expr) (bool, error) {
	v, err := e.eval(x)
	return err == nil && truth(v), err
}

// either is left where its truth is the one asked for, else right.
func (e *evaluator) either(left, right expr, want bool) (Value, error) {
	v, err := e.eval(left)
	if err != nil || truth(v) == want {
		return v, err
	}
	return e.eval(right)
}

func (e *evaluator) evalItem(x *itemExpr) (Value, error) {
	of, err := e.eval(x.of)
	if err != nil {
		return nil, err
	}
	s, ok := x.key.(*sliceExpr)
	if !ok {
		key, err := e.eval(x.key)
		if err != nil {
			return nil, err
		}
		return e.item(of, key)
	}
	var bounds [3]Value
	for i, b := range []expr{s.lo, s.hi, s.step} {
		if b == nil {
			continue
		}
		if bounds[i], err = e.eval(b); err != nil {
			return nil, err
		}
	}
	return e.slice(of, bounds)
}

func (e *evaluator) evalComparison(x *compareExpr) (Value, error) {
	left, err := e.eval(x.first)
	if err != nil {
		return nil, err
	}
	for i, op := range x.ops {
		right, err := e.eval(x.rest[i])
		if err != nil {
			return nil, err
		}
		ok, err := e.compare(op, left, right)
		if err != nil || !ok {
			return boolValue(false), err
		}
		left = right
	}
	return boolValue(true), nil
}

// arguments are the evaluated arguments of a call.
type arguments struct {
	positional []Value
	names      []string
	named      []Value
}

func (e *evaluator) arguments(l argList) (a arguments, err error) {
	if a.positional, err = e.evalAll(l.positional); err != nil {
		return a, err
	}
	a.names = l.names
	if a.named, err = e.evalAll(l.named); err != nil {
		return a, err
	}
	if l.star != nil {
		v, err := e.eval(l.star)
		if err != nil {
			return a, err
		}
		more, err := e.elements(v)
		if err != nil {
			return a, err
		}
		a.positional = append(a.positional, more...)
	}
	if l.starStar != nil {
		v, err := e.eval(l.starStar)
		if err != nil {
			return a, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return a, fmt.Errorf("the argument after ** is a %s, not a dict", v.kind())
		}
		a.names = append([]string(nil), a.names...)
		for i, k := range d.keys {
			s, ok := k.(textValue)
			if !ok {
				return a, fmt.Errorf("a keyword that is a %s", k.kind())
			}
			for _, n := range a.names {
				if n == s.s {
					return a, fmt.Errorf("argument %q twice", clip(n))
				}
			}
			a.names, a.named = append(a.names, s.s), append(a.named, d.vals[i])
			if err := e.spend(len(a.names)); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

// bind puts the arguments into the order of the parameters, nil for those that were not given. A parameter with "!" at
// its end must be given.
func (a arguments) bind(what string, params []string) ([]Value, error) {
	if len(a.positional) > len(params) {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", what, len(params), len(a.positional))
	}
	out := make([]Value, len(params))
	copy(out, a.positional)
next:
	for i, name := range a.names {
		for k, p := range params {
			if p == name || p == name+"!" {
				if out[k] != nil {
					return nil, fmt.Errorf("%s: argument %q twice", what, name)
				}
				out[k] = a.named[i]
				continue next
			}
		}
		return nil, fmt.Errorf("%s has no argument %q", what, clip(name))
	}
	for k, p := range params {
		if out[k] == nil && p[len(p)-1] == '!' {
			return nil, fmt.Errorf("%s: argument %q is missing", what, p[:len(p)-1])
		}
	}
	return out, nil
}

// call calls a function, method or macro.
func (e *evaluator) call(fn Value, a arguments) (Value, error) {
	switch fn := fn.(type) {
	case *callable:
		return fn.call(e, a)
	case *loop:
		return fn.recurse(e, a)
	case undefined:
		return nil, fn.err()
	}
	return nil, fmt.Errorf("a %s cannot be called", fn.kind())
}

func (e *evaluator) applyFilter(x *filterExpr, of Value) (Value, error) {
	a, err := e.arguments(x.args)
	if err != nil {
		return nil, err
	}
	return e.filter(x.name, of, a)
}

// filter applies a filter by its name.
func (e *evaluator) filter(name string, of Value, a arguments) (Value, error) {
	f := filters[name]
	if f == nil {
		return nil, fmt.Errorf("no filter named %q", clip(name))
	}
	if f.variadic != nil {
		return f.variadic(e, of, a)
	}
	bound, err := a.bind(name, f.params)
	if err != nil {
		return nil, err
	}
	v, err := f.call(e, of, bound)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// test applies a test by its name.
func (e *evaluator) test(name string, of Value, a arguments) (bool, error) {
	t := tests[name]
	if t == nil {
		return false, fmt.Errorf("no test named %q", clip(name))
	}
	if len(a.positional)+len(a.names) != t.args {
		return false, fmt.Errorf("%s takes %d arguments", name, t.args)
	}
	var arg Value
	if t.args == 1 {
		if len(a.names) == 1 {
			if a.names[0] != t.arg {
				return false, fmt.Errorf("%s has no argument %q", name, clip(a.names[0]))
			}
			arg = a.named[0]
		} else {
			arg = a.positional[0]
		}
	}
	return t.holds(e, of, arg)
}
