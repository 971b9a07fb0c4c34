package chat

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// getter reads an attribute path such as "function.name" or 0 of an element; nil or None: the element itself. Where
// the path leads nowhere the default counts, if there is one.
func (e *evaluator) getter(path, absent Value, fold bool) func(Value) (Value, error) {
	var parts []Value
	switch p := orNone(path).(type) {
	case noneValue:
	case textValue:
		for _, part := range strings.Split(p.s, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil && part[0] >= '0' && part[0] <= '9' {
				parts = append(parts, intValue(n))
			} else {
				parts = append(parts, textValue{p.as(part)})
			}
		}
	default:
		parts = []Value{p}
	}
	return func(v Value) (Value, error) {
		for _, part := range parts {
			var err error
			if v, err = e.item(v, part); err != nil {
				return nil, err
			}
			if _, gone := v.(undefined); gone && absent != nil && !isNone(absent) {
				v = absent
			}
		}
		if t, ok := v.(textValue); ok && fold {
			return textValue{t.as(lower(t.s))}, nil
		}
		return v, nil
	}
}

func set(v Value) bool { return v != nil && truth(v) }

// generate is a generator over a value, with a step between.
func (e *evaluator) generate(v Value, step func(next func() (Value, bool, error)) func() (Value, bool, error)) Value {
	return e.lazily(func() (func() (Value, bool, error), error) {
		next, _, err := e.iterate(v)
		if err != nil {
			return nil, err
		}
		return step(next), nil
	})
}

func mapFilter(e *evaluator, v Value, a arguments) (Value, error) {
	return e.lazily(func() (func() (Value, bool, error), error) {
		if !truth(v) {
			return walk(nil), nil
		}
		apply, err := e.mapper(a)
		if err != nil {
			return nil, err
		}
		next, _, err := e.iterate(v)
		if err != nil {
			return nil, err
		}
		return func() (Value, bool, error) {
			one, ok, err := next()
			if err != nil || !ok {
				return nil, false, err
			}
			one, err = apply(one)
			return one, err == nil, err
		}, nil
	}), nil
}

// mapper is what map does with each element: read an attribute or apply a filter.
func (e *evaluator) mapper(a arguments) (func(Value) (Value, error), error) {
	if len(a.positional) == 0 && slices.Contains(a.names, "attribute") {
		bound, err := a.bind("map", []string{"attribute!", "default"})
		if err != nil {
			return nil, err
		}
		return e.getter(bound[0], bound[1], false), nil
	}
	if len(a.positional) == 0 {
		return nil, fmt.Errorf("map needs a filter or an attribute")
	}
	name, ok := a.positional[0].(textValue)
	if !ok {
		return nil, unusable(a.positional[0], "a filter's name")
	}
	rest := arguments{a.positional[1:], a.names, a.named}
	return func(v Value) (Value, error) { return e.filter(name.s, v, rest) }, nil
}

// selector is select, reject, selectattr or rejectattr.
func selector(want, byAttr bool) func(*evaluator, Value, arguments) (Value, error) {
	return func(e *evaluator, v Value, a arguments) (Value, error) {
		return e.lazily(func() (func() (Value, bool, error), error) {
			if !truth(v) {
				return walk(nil), nil
			}
			get := e.getter(nil, nil, false)
			args := a.positional
			if byAttr {
				if len(args) == 0 {
					return nil, fmt.Errorf("the name of an attribute is missing")
				}
				get = e.getter(args[0], nil, false)
				args = args[1:]
			}
			holds := func(v Value) (bool, error) { return truth(v), nil }
			if len(args) > 0 {
				name, ok := args[0].(textValue)
				if !ok {
					return nil, unusable(args[0], "a test's name")
				}
				rest := arguments{args[1:], a.names, a.named}
				holds = func(v Value) (bool, error) { return e.test(name.s, v, rest) }
			}
			next, _, err := e.iterate(v)
			if err != nil {
				return nil, err
			}
			return func() (Value, bool, error) {
				for {
					one, ok, err := next()
					if err != nil || !ok {
						return nil, false, err
					}
					if err := e.spend(1); err != nil {
						return nil, false, err
					}
					got, err := get(one)
					if err != nil {
						return nil, false, err
					}
					if ok, err := holds(got); err != nil || ok == want {
						return one, err == nil, err
					}
				}
			}, nil
		}), nil
	}
}

// sort brings numbers of elements into the order of their keys; equal ones keep theirs.
func (e *evaluator) sort(numbers []int, key func(i int) Value, reverse bool) error {
	if err := e.list(len(numbers)); err != nil {
		return err
	}
	var problem error
	slices.SortStableFunc(numbers, func(i, j int) int {
		if problem != nil {
			return 0
		}
		c, _, err := e.order(key(i), key(j))
		if err != nil {
			problem = err
		}
		if reverse {
			return -c
		}
		return c
	})
	return problem
}

// sorted is the elements in the order of their keys.
func (e *evaluator) sorted(all, keys []Value, reverse bool) ([]Value, error) {
	numbers := make([]int, len(all))
	for i := range numbers {
		numbers[i] = i
	}
	if err := e.sort(numbers, func(i int) Value { return keys[i] }, reverse); err != nil {
		return nil, err
	}
	out := make([]Value, len(all))
	for i, n := range numbers {
		out[i] = all[n]
	}
	return out, nil
}

func sortFilter(e *evaluator, v Value, a []Value) (Value, error) {
	all, err := e.elements(v)
	if err != nil {
		return nil, err
	}
	paths := []Value{a[2]}
	if t, ok := orNone(a[2]).(textValue); ok {
		paths = nil
		for _, p := range strings.Split(t.s, ",") {
			paths = append(paths, textValue{t.as(p)})
		}
	}
	keys := make([]Value, len(all))
	for i, one := range all {
		key := &list{}
		for _, p := range paths {
			k, err := e.getter(p, nil, !set(a[1]))(one)
			if err != nil {
				return nil, err
			}
			key.items = append(key.items, k)
		}
		keys[i] = key
	}
	out, err := e.sorted(all, keys, set(a[0]))
	return &list{items: out}, err
}

func dictsort(e *evaluator, v Value, a []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, unusable(v, "a mapping")
	}
	if err := e.list(d.Len()); err != nil {
		return nil, err
	}
	by := d.keys
	if a[1] != nil {
		switch t, _ := a[1].(textValue); t.s {
		case "key":
		case "value":
			by = d.vals
		default:
			return nil, fmt.Errorf("a mapping is sorted by key or value")
		}
	}
	keys := make([]Value, len(by))
	for i, k := range by {
		keys[i], _ = e.getter(nil, nil, !set(a[0]))(k)
	}
	out, err := e.sorted(view{d, "items"}.elements(), keys, set(a[2]))
	return &list{items: out}, err
}

func unique(e *evaluator, v Value, a []Value) (Value, error) {
	return e.generate(v, func(next func() (Value, bool, error)) func() (Value, bool, error) {
		get := e.getter(a[1], nil, !set(a[0]))
		seen := map[hashKey]bool{}
		return func() (Value, bool, error) {
			for {
				one, ok, err := next()
				if err != nil || !ok {
					return nil, false, err
				}
				if err := e.spend(1); err != nil {
					return nil, false, err
				}
				k, err := get(one)
				if err != nil {
					return nil, false, err
				}
				if err := e.hashing(k); err != nil {
					return nil, false, err
				}
				h, err := hash(k)
				if err != nil {
					return nil, false, err
				}
				if !seen[h] {
					seen[h] = true
					return one, true, nil
				}
			}
		}
	}), nil
}

// extreme is min (sign -1) or max (sign 1).
func extreme(sign int) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, a []Value) (Value, error) {
		all, err := e.elements(v)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return undefined{what: "the extreme of nothing"}, nil
		}
		get := e.getter(a[1], nil, !set(a[0]))
		best := all[0]
		bestKey, err := get(best)
		if err != nil {
			return nil, err
		}
		for _, one := range all[1:] {
			key, err := get(one)
			if err != nil {
				return nil, err
			}
			c, _, err := e.order(key, bestKey)
			if err != nil {
				return nil, err
			}
			if c*sign > 0 {
				best, bestKey = one, key
			}
		}
		return best, nil
	}
}

func sum(e *evaluator, v Value, a []Value) (Value, error) {
	next, _, err := e.iterate(v)
	if err != nil {
		return nil, err
	}
	get := e.getter(a[0], nil, false)
	total := Value(intValue(0))
	if a[1] != nil {
		total = a[1]
	}
	if _, ok := total.(textValue); ok {
		return nil, errors.New("texts are joined, not summed")
	}
	for {
		one, ok, err := next()
		if err != nil || !ok {
			return total, err
		}
		if one, err = get(one); err != nil {
			return nil, err
		}
		if total, err = e.binary("+", total, one); err != nil {
			return nil, err
		}
	}
}

// groupby is a list of pairs of a key and the elements with that key.
func groupby(e *evaluator, v Value, a []Value) (Value, error) {
	all, err := e.elements(v)
	if err != nil {
		return nil, err
	}
	get := e.getter(a[0], a[1], !set(a[2]))
	keyed := make([]Value, len(all))
	keys := make([]Value, len(all))
	for i, one := range all {
		k, err := get(one)
		if err != nil {
			return nil, err
		}
		keyed[i], keys[i] = tuple(k, one), k
	}
	if keyed, err = e.sorted(keyed, keys, false); err != nil {
		return nil, err
	}
	out := &list{}
	real := e.getter(a[0], a[1], false)
	var group *list
	var current Value
	for _, pair := range keyed {
		k, one := pair.(*list).items[0], pair.(*list).items[1]
		same := false
		if group != nil {
			if same, err = e.equal(current, k); err != nil {
				return nil, err
			}
		}
		if !same {
			name, err := real(one)
			if err != nil {
				return nil, err
			}
			group, current = &list{}, k
			out.items = append(out.items, tuple(name, group))
		}
		group.items = append(group.items, one)
	}
	return out, nil
}

// batch cuts a sequence into lists of one length.
func batch(e *evaluator, v Value, a []Value) (Value, error) {
	return e.generate(v, func(next func() (Value, bool, error)) func() (Value, bool, error) {
		return func() (Value, bool, error) {
			n, err := number(a[0], 0)
			if err != nil {
				return nil, false, err
			}
			out := &list{}
			for int64(len(out.items)) < max(n, 1) {
				one, ok, err := next()
				if err != nil {
					return nil, false, err
				}
				if !ok {
					break
				}
				out.items = append(out.items, one)
			}
			if len(out.items) == 0 {
				return nil, false, nil
			}
			if fill := orNone(a[1]); !isNone(fill) && int64(len(out.items)) < n {
				if err := e.list(int(min(n, int64(e.limits.Bytes)))); err != nil {
					return nil, false, err
				}
				for int64(len(out.items)) < n {
					out.items = append(out.items, fill)
				}
			}
			return out, true, nil
		}
	}), nil
}

// columns is Jinja's slice: a sequence in a number of lists of nearly one length.
func columns(e *evaluator, v Value, a []Value) (Value, error) {
	return e.lazily(func() (func() (Value, bool, error), error) {
		all, err := e.elements(v)
		if err != nil {
			return nil, err
		}
		count, err := number(a[0], 0)
		if err != nil {
			return nil, err
		}
		if count == 0 {
			return nil, fmt.Errorf("a slice into 0 parts")
		}
		if err := e.list(int(min(count, int64(e.limits.Bytes)))); count > 0 && err != nil {
			return nil, err
		}
		var out []Value
		per, extra := 0, int64(0)
		if count > 0 {
			per, extra = len(all)/int(count), int64(len(all))%count
		}
		at := 0
		for i := int64(0); i < count; i++ {
			end := at + per
			if i < extra {
				end++
			}
			part := slices.Clone(all[at:end])
			if fill := orNone(a[1]); !isNone(fill) && i >= extra {
				part = append(part, fill)
			}
			out = append(out, &list{items: part})
			at = end
		}
		return walk(out), nil
	}), nil
}
