package chat

import (
	"fmt"
	"strings"
)

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case noneValue, undefined:
		return false
	case boolValue:
		return bool(v)
	case intValue:
		return v != 0
	case floatValue:
		return v != 0
	case textValue:
		return v.s != ""
	case *list:
		return len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	case view:
		return len(v.of.keys) > 0
	case rangeValue:
		return v.count > 0
	}
	return true
}

func (e *evaluator) binary(op string, a, b Value) (Value, error) {
	if isNumber(a) && isNumber(b) {
		v, err := arithmetic(op, a, b)
		if err != nil {
			return nil, err
		}
		return v, e.digits(v)
	}
	if u, ok := a.(undefined); ok {
		return nil, u.err()
	}
	if t, ok := a.(textValue); ok && op == "%" {
		return e.percent(t.text, b)
	}
	if u, ok := b.(undefined); ok {
		return nil, u.err()
	}
	switch op {
	case "+":
		switch x := a.(type) {
		case textValue:
			if y, ok := b.(textValue); ok {
				out := builder{m: e.meter}
				if err := e.text(len(x.s) + len(y.s)); err != nil {
					return nil, err
				}
				out.s.Grow(len(x.s) + len(y.s))
				_ = out.add(x.text) // fits: it was asked for above
				err := out.add(y.text)
				return textValue{out.done()}, err
			}
		case *list:
			if y, ok := b.(*list); ok && x.tuple == y.tuple {
				n := len(x.items) + len(y.items)
				if err := e.list(n); err != nil {
					return nil, err
				}
				return &list{append(append(make([]Value, 0, n), x.items...), y.items...), x.tuple}, nil
			}
		}
	case "*":
		if n, ok := small(a); ok {
			return e.repeat(b, n)
		}
		if n, ok := small(b); ok {
			return e.repeat(a, n)
		}
	}
	return nil, fmt.Errorf("%s does not work between a %s and a %s", op, a.kind(), b.kind())
}

// repeat is a text or list n times.
func (e *evaluator) repeat(v Value, n int64) (Value, error) {
	n = max(n, 0)
	times := func(size int) int { // more than any limit where the product could overflow
		if size == 0 {
			return 0
		}
		return size * int(min(n, int64(e.limits.Bytes)/int64(size)+1))
	}
	switch v := v.(type) {
	case textValue:
		if err := e.text(times(len(v.s))); err != nil {
			return nil, err
		}
		if v.s == "" || n == 0 {
			return textValue{}, nil
		}
		t := text{s: strings.Repeat(v.s, int(n))}
		if len(v.user) == 1 && v.user[0] == (span{0, len(v.s)}) {
			t = request(t.s)
		} else if v.marked() {
			if err := e.list(times(len(v.user))); err != nil {
				return nil, err
			}
			for i := range int(n) {
				for _, u := range v.user {
					t.user = append(t.user, span{i*len(v.s) + u.lo, i*len(v.s) + u.hi})
				}
			}
		}
		return textValue{t}, nil
	case *list:
		if err := e.list(times(len(v.items))); err != nil {
			return nil, err
		}
		out := &list{tuple: v.tuple}
		if len(v.items) > 0 {
			for range n {
				out.items = append(out.items, v.items...)
			}
		}
		return out, nil
	}
	return nil, unusable(v, "a text or list")
}

// compare is one of == != < <= > >= in, not in.
func (e *evaluator) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==":
		return e.equal(a, b)
	case "!=":
		ok, err := e.equal(a, b)
		return !ok, err
	case "in":
		return e.contains(b, a)
	case "not in":
		ok, err := e.contains(b, a)
		return !ok, err
	}
	c, ok, err := e.order(a, b)
	if err != nil || !ok {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// equal compares by value.
func (e *evaluator) equal(a, b Value) (bool, error) {
	if err := e.enter(); err != nil {
		return false, err
	}
	defer e.leave()
	if isNumber(a) && isNumber(b) {
		c, ok := order(a, b)
		return ok && c == 0, nil
	}
	switch a := a.(type) {
	case noneValue:
		_, ok := b.(noneValue)
		return ok, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case textValue:
		b, ok := b.(textValue)
		return ok && a.s == b.s, e.text(len(a.s))
	case *list:
		b, ok := b.(*list)
		if !ok || a.tuple != b.tuple {
			return false, nil
		}
		return e.equalLists(a.items, b.items)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false, nil
		}
		if a == b {
			return true, nil
		}
		for i, k := range a.keys {
			other, ok, err := b.get(k)
			if err != nil || !ok {
				return false, err
			}
			if same, err := e.equal(a.vals[i], other); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case rangeValue:
		b, ok := b.(rangeValue)
		return ok && a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step)), nil
	case view:
		b, ok := b.(view)
		return ok && a == b && a.what != "values", nil
	}
	return a == b, nil // the others are what they are
}

func (e *evaluator) equalLists(a, b []Value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if same, err := e.equal(a[i], b[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// order compares numbers, texts, and lists of them.
func (e *evaluator) order(a, b Value) (c int, ok bool, err error) {
	if err := e.enter(); err != nil {
		return 0, false, err
	}
	defer e.leave()
	if isNumber(a) && isNumber(b) {
		c, ok = order(a, b)
		return c, ok, nil
	}
	switch a := a.(type) {
	case undefined:
		return 0, false, a.err()
	case textValue:
		if b, ok := b.(textValue); ok {
			return strings.Compare(a.s, b.s), true, e.text(len(a.s))
		}
	case *list:
		b, ok := b.(*list)
		if !ok || a.tuple != b.tuple {
			break
		}
		for i := range min(len(a.items), len(b.items)) {
			same, err := e.equal(a.items[i], b.items[i])
			if err != nil {
				return 0, false, err
			}
			if !same {
				return e.order(a.items[i], b.items[i])
			}
		}
		return len(a.items) - len(b.items), true, nil
	}
	if u, ok := b.(undefined); ok {
		return 0, false, u.err()
	}
	return 0, false, fmt.Errorf("a %s and a %s have no order", a.kind(), b.kind())
}

// contains is Python's in.
func (e *evaluator) contains(in, v Value) (bool, error) {
	switch in := in.(type) {
	case textValue:
		t, ok := v.(textValue)
		if !ok {
			return false, unusable(v, "a text")
		}
		return strings.Contains(in.s, t.s), e.text(len(in.s))
	case *Dict:
		_, ok, err := e.find(in, v)
		return ok, err
	case view:
		if in.what == "keys" {
			_, ok, err := e.find(in.of, v)
			return ok, err
		}
	}
	next, _, err := e.iterate(in)
	if err != nil {
		return false, err
	}
	for {
		one, ok, err := next()
		if err != nil || !ok {
			return false, err
		}
		if same, err := e.equal(one, v); err != nil || same {
			return same, err
		}
	}
}

// digits spends what handling a large number costs.
func (e *evaluator) digits(v Value) error {
	if big, ok := v.(*bigValue); ok {
		return e.spend(big.n.BitLen() / 16)
	}
	return nil
}

// find looks a key up in a mapping.
func (e *evaluator) find(d *Dict, k Value) (Value, bool, error) {
	if err := e.hashing(k); err != nil {
		return nil, false, err
	}
	return d.get(k)
}

// hashing spends what the hash of a value costs.
func (e *evaluator) hashing(k Value) error {
	switch k := k.(type) {
	case textValue:
		return e.text(len(k.s))
	case *list:
		return e.spend(len(k.items))
	}
	return e.digits(k)
}

// hash is the identity of a value as a key. It is an error for values that can change.
func hash(v Value) (hashKey, error) {
	switch v := v.(type) {
	case textValue:
		return hashKey{'s', v.s}, nil
	case *list, rangeValue:
		b, err := hashTuple(nil, v, 0)
		return hashKey{'t', string(b)}, err
	}
	s, err := hashOne(v)
	return hashKey{'v', s}, err
}

func hashOne(v Value) (string, error) {
	switch v := v.(type) {
	case noneValue:
		return "none", nil
	case boolValue, intValue, *bigValue:
		return bigOf(v).String(), nil
	case floatValue:
		if f := float64(v); f == float64(int64(f)) && f > -1e15 && f < 1e15 {
			return fmt.Sprint(int64(f)), nil
		}
		return formatFloat(float64(v)), nil
	case undefined:
		return "undefined", nil
	case *callable, *namespace, *loop, *iterator:
		return fmt.Sprintf("%p", v), nil
	}
	return "", fmt.Errorf("a %s cannot be a key", v.kind())
}

// maxKey bounds the hash of tuples of tuples.
const maxKey = 1 << 16

func hashTuple(b []byte, v Value, depth int) ([]byte, error) {
	if depth > DefaultLimits.Depth || len(b) > maxKey {
		return nil, overBudget("a key that is too large")
	}
	switch v := v.(type) {
	case textValue:
		if len(v.s) > maxKey {
			return nil, overBudget("a key that is too large")
		}
		return fmt.Appendf(b, "%q,", v.s), nil
	case rangeValue:
		return fmt.Appendf(b, "range%v,", v), nil
	case *list:
		if !v.tuple {
			break
		}
		b = append(b, '(')
		for _, item := range v.items {
			var err error
			if b, err = hashTuple(b, item, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, "),"...), nil
	}
	one, err := hashOne(v)
	return append(append(b, one...), ','), err
}
