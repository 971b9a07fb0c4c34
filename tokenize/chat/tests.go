package chat

import (
	"fmt"
	"strings"
	"unicode"
)

// check is a test: what stands behind "is".
type check struct {
	args  int    // how many arguments it takes, at most 1
	arg   string // the argument's name
	holds func(e *evaluator, v, arg Value) (bool, error)
}

// tests are Jinja's.
var tests map[string]*check

func init() {
	is := func(f func(v Value) bool) *check {
		return &check{holds: func(_ *evaluator, v, _ Value) (bool, error) { return f(v), nil }}
	}
	compared := func(op string) *check {
		return &check{args: 1, holds: func(e *evaluator, v, arg Value) (bool, error) { return e.compare(op, v, arg) }}
	}
	remainder := func(by, want intValue) *check {
		return &check{holds: func(e *evaluator, v, _ Value) (bool, error) {
			r, err := e.binary("%", v, by)
			if err != nil {
				return false, err
			}
			return e.equal(r, want)
		}}
	}
	cased := func(f func(s string) bool) *check {
		return &check{holds: func(e *evaluator, v, _ Value) (bool, error) {
			t, err := e.str(v)
			if err == nil {
				err = e.text(len(t.s))
			}
			return err == nil && f(t.s), err
		}}
	}
	tests = map[string]*check{
		"boolean":  is(func(v Value) bool { _, ok := v.(boolValue); return ok }),
		"callable": is(isCallable),
		"defined":  is(func(v Value) bool { _, ok := v.(undefined); return !ok }),
		"divisibleby": {args: 1, arg: "num", holds: func(e *evaluator, v, arg Value) (bool, error) {
			r, err := e.binary("%", v, arg)
			if err != nil {
				return false, err
			}
			return e.equal(r, intValue(0))
		}},
		"escaped": is(func(Value) bool { return false }),
		"even":    remainder(2, 0),
		"false":   is(func(v Value) bool { b, ok := v.(boolValue); return ok && !bool(b) }),
		"filter": {holds: func(_ *evaluator, v, _ Value) (bool, error) {
			t, ok := v.(textValue)
			return ok && filters[t.s] != nil, nil
		}},
		"float":    is(func(v Value) bool { _, ok := v.(floatValue); return ok }),
		"in":       {args: 1, arg: "seq", holds: func(e *evaluator, v, arg Value) (bool, error) { return e.contains(arg, v) }},
		"integer":  is(func(v Value) bool { _, ok := v.(boolValue); return !ok && bigOf(v) != nil }),
		"iterable": is(isIterable),
		"lower":    cased(isLower),
		"mapping":  is(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"none":     is(isNone),
		"number":   is(isNumber),
		"odd":      remainder(2, 1),
		"sameas":   {args: 1, arg: "other", holds: sameAs},
		"sequence": is(isSequence),
		"string":   is(func(v Value) bool { _, ok := v.(textValue); return ok }),
		"test": {holds: func(_ *evaluator, v, _ Value) (bool, error) {
			t, ok := v.(textValue)
			return ok && tests[t.s] != nil, nil
		}},
		"true":      is(func(v Value) bool { b, ok := v.(boolValue); return ok && bool(b) }),
		"undefined": is(func(v Value) bool { _, ok := v.(undefined); return ok }),
		"upper":     cased(isUpper),
	}
	for op, names := range map[string]string{"==": "== eq equalto", "!=": "!= ne", ">": "> gt greaterthan", ">=": ">= ge", "<": "< lt lessthan", "<=": "<= le"} {
		for _, name := range strings.Fields(names) {
			tests[name] = compared(op)
		}
	}
}

func isNone(v Value) bool { _, ok := v.(noneValue); return ok }

func isCallable(v Value) bool {
	switch v.(type) {
	case *callable, *loop, undefined: // a call of undefined is found out when it is made
		return true
	}
	return false
}

func isIterable(v Value) bool {
	switch v.(type) {
	case undefined, textValue, *list, *Dict, view, rangeValue, *iterator, *loop:
		return true
	}
	return false
}

func isSequence(v Value) bool {
	switch v.(type) {
	case undefined, textValue, *list, *Dict, rangeValue:
		return true
	}
	return false
}

// sameAs is Python's is, as far as values here have an identity.
func sameAs(e *evaluator, v, other Value) (bool, error) {
	if v.kind() != other.kind() {
		return false, nil
	}
	switch v := v.(type) {
	case *list, *Dict, *iterator, *namespace, *callable, *loop:
		return v == other, nil
	case view, rangeValue, floatValue:
		return false, nil
	}
	return e.equal(v, other)
}

// isUpper is Python's str.isupper: a cased character, and none in lower case.
func isUpper(s string) bool {
	return strings.ContainsFunc(s, unicode.IsUpper) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLower(r) || unicode.IsTitle(r) })
}

// isLower is Python's str.islower.
func isLower(s string) bool {
	return strings.ContainsFunc(s, unicode.IsLower) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsUpper(r) || unicode.IsTitle(r) })
}

// globals are the names that are there without being set.
var globals map[string]Value

func init() {
	function := func(name string, f func(e *evaluator, a arguments) (Value, error)) Value {
		return &callable{name: name, call: f}
	}
	makeDict := func(e *evaluator, a arguments) (Value, error) {
		if len(a.positional) > 1 {
			return nil, fmt.Errorf("dict takes one mapping, not %d", len(a.positional))
		}
		d := NewDict()
		if len(a.positional) == 1 {
			if err := e.update(d, a.positional[0]); err != nil {
				return nil, err
			}
		}
		for i, name := range a.names {
			d.Set(name, a.named[i])
		}
		return d, nil
	}
	globals = map[string]Value{
		"range": function("range", makeRange),
		"dict": &callable{name: "dict", call: makeDict, attr: func(name string) (Value, bool) {
			if name != "fromkeys" {
				return nil, false
			}
			return function(name, fromKeys), true
		}},
		"namespace": function("namespace", func(e *evaluator, a arguments) (Value, error) {
			v, err := makeDict(e, a)
			if err != nil {
				return nil, err
			}
			d := v.(*Dict)
			for _, name := range d.Names() {
				if strings.HasPrefix(name, "_") {
					return nil, fmt.Errorf("attribute %q of a namespace begins with _", clip(name))
				}
			}
			return &namespace{d}, nil
		}),
		"raise_exception": function("raise_exception", func(e *evaluator, a arguments) (Value, error) {
			bound, err := a.bind("raise_exception", []string{"message!"})
			if err != nil {
				return nil, err
			}
			t, err := e.str(bound[0])
			if err != nil {
				return nil, err
			}
			return nil, &Raised{t.s}
		}),
		"strftime_now": function("strftime_now", func(e *evaluator, a arguments) (Value, error) {
			bound, err := a.bind("strftime_now", []string{"format!"})
			if err != nil {
				return nil, err
			}
			t, ok := bound[0].(textValue)
			if !ok {
				return nil, unusable(bound[0], "a text")
			}
			if err := e.text(16 * len(t.s)); err != nil {
				return nil, err
			}
			return textValue{t.as(strftime(e.now(), t.s))}, nil
		}),
		"cycler": function("cycler", cycler),
		"joiner": function("joiner", joiner),
	}
}

// Raised is the error of a template that calls raise_exception: its author's message for the caller.
type Raised struct{ Message string }

func (r *Raised) Error() string { return r.Message }

// maxRange is how long a range the sandbox allows.
const maxRange = 100_000

func makeRange(_ *evaluator, a arguments) (Value, error) {
	if len(a.positional) < 1 || len(a.positional) > 3 || len(a.names) > 0 {
		return nil, fmt.Errorf("range takes 1 to 3 whole numbers")
	}
	r := rangeValue{step: 1}
	for i, v := range a.positional {
		n, ok := small(v)
		if !ok || n > 1<<31 || n < -1<<31 {
			return nil, unusable(v, "a whole number of 32 bits")
		}
		switch i {
		case 0:
			r.stop = n
		case 1:
			r.start, r.stop = r.stop, n
		case 2:
			r.step = n
		}
	}
	switch {
	case r.step == 0:
		return nil, fmt.Errorf("a range with a step of 0")
	case r.step > 0 && r.start < r.stop:
		r.count = (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		r.count = (r.start-r.stop-1)/-r.step + 1
	}
	if r.count > maxRange {
		return nil, overBudget("a range of more than %d numbers", maxRange)
	}
	return r, nil
}

// update puts the members of a mapping, or pairs, into a dict.
func (e *evaluator) update(d *Dict, from Value) error {
	switch from := from.(type) {
	case *Dict:
		if err := e.list(from.Len()); err != nil {
			return err
		}
		*d = *from.copied()
		return nil
	case *namespace:
		return e.update(d, from.attrs)
	}
	pairs, err := e.elements(from)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		kv, err := e.elements(p)
		if err != nil {
			return err
		}
		if len(kv) != 2 {
			return fmt.Errorf("a member of %d values, not a key and its value", len(kv))
		}
		if err := e.hashing(kv[0]); err != nil {
			return err
		}
		if err := d.put(kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

func fromKeys(e *evaluator, a arguments) (Value, error) {
	bound, err := a.bind("fromkeys", []string{"iterable!", "value"})
	if err != nil {
		return nil, err
	}
	keys, err := e.elements(bound[0])
	if err != nil {
		return nil, err
	}
	d := NewDict()
	for _, k := range keys {
		if err := e.hashing(k); err != nil {
			return nil, err
		}
		if err := d.put(k, orNone(bound[1])); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// cycler gives its values in turn.
func cycler(_ *evaluator, a arguments) (Value, error) {
	if len(a.positional) == 0 || len(a.names) > 0 {
		return nil, fmt.Errorf("cycler needs values")
	}
	i := 0
	attr := func(name string) (Value, bool) {
		switch name {
		case "current":
			return a.positional[i], true
		case "next":
			return &callable{name: name, call: func(*evaluator, arguments) (Value, error) {
				v := a.positional[i]
				i = (i + 1) % len(a.positional)
				return v, nil
			}}, true
		case "reset":
			return &callable{name: name, call: func(*evaluator, arguments) (Value, error) {
				i = 0
				return None, nil
			}}, true
		}
		return nil, false
	}
	return &callable{name: "cycler", attr: attr, call: func(*evaluator, arguments) (Value, error) {
		return nil, fmt.Errorf("a Cycler cannot be called")
	}}, nil
}

// joiner gives nothing at first, then its separator.
func joiner(_ *evaluator, a arguments) (Value, error) {
	bound, err := a.bind("joiner", []string{"sep"})
	if err != nil {
		return nil, err
	}
	sep := bound[0]
	if sep == nil {
		sep = Trusted(", ")
	}
	used := false
	return &callable{name: "joiner", call: func(*evaluator, arguments) (Value, error) {
		if !used {
			used = true
			return textValue{}, nil
		}
		return sep, nil
	}}, nil
}
