package chat

import (
	"fmt"
	"unicode/utf8"
)

// walk iterates over a slice.
func walk(items []Value) func() (Value, bool, error) {
	i := 0
	return func() (Value, bool, error) {
		if i >= len(items) {
			return nil, false, nil
		}
		i++
		return items[i-1], true, nil
	}
}

// iterate goes through a value as Python's for does; size is -1 where it is not known.
func (e *evaluator) iterate(v Value) (next func() (Value, bool, error), size int, err error) {
	switch v := v.(type) {
	case undefined:
		return walk(nil), 0, nil
	case *list:
		return walk(v.items), len(v.items), nil
	case *Dict:
		return walk(v.keys), len(v.keys), nil
	case view:
		if err := e.list(v.of.Len()); err != nil {
			return nil, 0, err
		}
		return walk(v.elements()), v.of.Len(), nil
	case textValue:
		at := 0
		return func() (Value, bool, error) {
			if at >= len(v.s) {
				return nil, false, nil
			}
			_, w := utf8.DecodeRuneInString(v.s[at:])
			at += w
			return textValue{v.slice(at-w, at)}, true, e.spend(1)
		}, v.count(), nil
	case rangeValue:
		i := int64(0)
		return func() (Value, bool, error) {
			if i >= v.count {
				return nil, false, nil
			}
			i++
			return v.at(i - 1), true, nil
		}, int(v.count), nil
	case *iterator:
		return v.next, -1, nil
	}
	return nil, 0, fmt.Errorf("a %s is not iterable", v.kind())
}

// elements are all elements of an iterable value.
func (e *evaluator) elements(v Value) ([]Value, error) {
	if l, ok := v.(*list); ok {
		return l.items, nil // lists never change
	}
	next, size, err := e.iterate(v)
	if err != nil {
		return nil, err
	}
	if size >= 0 {
		if err := e.list(size); err != nil {
			return nil, err
		}
	}
	out := make([]Value, 0, max(size, 0))
	for {
		one, ok, err := next()
		if err != nil || !ok {
			return out, err
		}
		if len(out) >= e.limits.Bytes/elementBytes {
			return nil, e.list(len(out) + 1)
		}
		if err := e.spend(1); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
}

// length is Python's len().
func length(v Value) (int, error) {
	switch v := v.(type) {
	case undefined:
		return 0, nil
	case textValue:
		return v.count(), nil
	case *list:
		return len(v.items), nil
	case *Dict:
		return len(v.keys), nil
	case view:
		return len(v.of.keys), nil
	case rangeValue:
		return int(v.count), nil
	case *loop:
		return v.size()
	}
	return 0, fmt.Errorf("a %s has no length", v.kind())
}

// item is of[key]: the element, else the attribute of that name, else undefined.
func (e *evaluator) item(of, key Value) (Value, error) {
	switch v := of.(type) {
	case undefined:
		return nil, v.err()
	case *Dict:
		if err := e.hashing(key); err != nil {
			return nil, err
		}
		if found, ok, err := v.get(key); err == nil && ok {
			return found, nil
		}
	case *list, textValue, rangeValue:
		if i, ok := small(key); ok {
			found, err := e.index(of, i)
			if err != nil || found != nil {
				return found, err
			}
		}
	}
	if name, ok := key.(textValue); ok {
		if v, ok, err := e.named(of, name.s); err != nil || ok {
			return v, err
		}
		return missing(of, name.s), nil
	}
	return missing(of, "an element"), nil
}

// index is an element of a sequence by its number, nil if there is none.
func (e *evaluator) index(of Value, i int64) (Value, error) {
	n, err := length(of)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, nil
	}
	switch v := of.(type) {
	case *list:
		return v.items[i], nil
	case rangeValue:
		return v.at(i), nil
	case textValue:
		if err := e.text(len(v.s)); err != nil {
			return nil, err
		}
		if n == len(v.s) {
			return textValue{v.slice(int(i), int(i)+1)}, nil
		}
		for at := range v.s {
			if i--; i < 0 {
				_, w := utf8.DecodeRuneInString(v.s[at:])
				return textValue{v.slice(at, at+w)}, nil
			}
		}
	}
	return nil, nil
}

// attribute is of.name: the attribute, else the element with that key, else undefined.
func (e *evaluator) attribute(of Value, name string) (Value, error) {
	if u, ok := of.(undefined); ok {
		return nil, u.err()
	}
	if v, ok, err := e.named(of, name); err != nil || ok {
		return v, err
	}
	if d, ok := of.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v, nil
		}
	}
	return missing(of, name), nil
}

// named is the attribute of a value, a method or property.
func (e *evaluator) named(of Value, name string) (Value, bool, error) {
	if len(name) > 4 && name[:2] == "__" && name[len(name)-2:] == "__" {
		return undefined{what: fmt.Sprintf("attribute %q of a %s", clip(name), of.kind()), unsafe: true}, true, nil
	}
	switch v := of.(type) {
	case *namespace:
		found, ok := v.attrs.Get(name)
		return found, ok, nil
	case *loop:
		found, err := v.attribute(name)
		if _, gone := found.(undefined); gone && name != "previtem" && name != "nextitem" {
			return nil, false, err
		}
		return found, true, err
	case *callable:
		if v.attr != nil {
			found, ok := v.attr(name)
			return found, ok, nil
		}
		return nil, false, nil
	}
	m, hidden := method(of, name)
	if hidden {
		return undefined{what: fmt.Sprintf("attribute %q of a %s", name, of.kind()), unsafe: true}, true, nil
	}
	if m == nil {
		return nil, false, nil
	}
	return &callable{name: name, call: func(e *evaluator, a arguments) (Value, error) {
		if m.variadic != nil {
			return m.variadic(e, of, a)
		}
		bound, err := a.bind(name, m.params)
		if err != nil {
			return nil, err
		}
		v, err := m.call(e, of, bound)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return v, nil
	}}, true, nil
}

// slice is of[lo:hi:step].
func (e *evaluator) slice(of Value, bounds [3]Value) (Value, error) {
	var at [3]int64
	var given [3]bool
	for i, b := range bounds {
		if b == nil || b == None {
			continue
		}
		n, ok := small(b)
		if !ok {
			if big := bigOf(b); big != nil { // far outside of any sequence
				n, ok = int64(big.Sign())<<40, true
			}
		}
		if !ok {
			return nil, unusable(b, "a whole number")
		}
		at[i], given[i] = n, true
	}
	step := int64(1)
	if given[2] {
		step = at[2]
	}
	if u, ok := of.(undefined); ok {
		return nil, u.err()
	}
	switch of.(type) {
	case textValue, *list, rangeValue:
	default:
		return nil, fmt.Errorf("a %s cannot be sliced", of.kind())
	}
	if step == 0 {
		return nil, fmt.Errorf("a slice with a step of 0")
	}
	size, err := length(of)
	if err != nil {
		return nil, err
	}
	n := int64(size)
	least, most := int64(0), n // where an end may lie
	if step < 0 {
		least, most = -1, n-1
	}
	limit := func(i int, absent int64) int64 {
		v := at[i]
		if !given[i] {
			return absent
		}
		if v < 0 {
			v += n
		}
		return min(max(v, least), most)
	}
	lo, hi := limit(0, least), limit(1, most)
	if step < 0 {
		lo, hi = limit(0, most), limit(1, least)
	}
	count := int64(0)
	switch {
	case step > 0 && lo < hi:
		count = (hi-lo-1)/step + 1
	case step < 0 && lo > hi:
		if step < -n-1 {
			step = -n - 1
		}
		count = (lo-hi-1)/-step + 1
	}
	switch v := of.(type) {
	case rangeValue:
		return rangeValue{v.start + lo*v.step, v.start + hi*v.step, v.step * step, count}, nil
	case *list:
		if err := e.list(int(count)); err != nil {
			return nil, err
		}
		if step == 1 {
			return &list{v.items[lo : lo+count : lo+count], v.tuple}, nil
		}
		out := make([]Value, 0, count)
		for i := range count {
			out = append(out, v.items[lo+i*step])
		}
		return &list{out, v.tuple}, nil
	}
	t := of.(textValue)
	return e.sliceText(t.text, lo, count, step)
}

// sliceText takes count characters from the one with number lo on.
func (e *evaluator) sliceText(t text, lo, count, step int64) (Value, error) {
	if err := e.text(len(t.s)); err != nil {
		return nil, err
	}
	if count == 0 {
		return textValue{}, nil
	}
	if t.ascii() && step == 1 {
		return textValue{t.slice(int(lo), int(lo+count))}, nil
	}
	offsets := t.offsets()
	if step == 1 {
		return textValue{t.slice(offsets[lo], offsets[lo+count])}, nil
	}
	if step == -1 && count == int64(len(offsets)-1) {
		return textValue{t.reverse()}, nil
	}
	b := builder{m: e.meter}
	for i := range count {
		k := lo + i*step
		if err := b.add(t.slice(offsets[k], offsets[k+1])); err != nil {
			return nil, err
		}
	}
	return textValue{b.done()}, nil
}
