package chat

import (
	"math/big"
	"slices"
)

// Value is what a template computes with: the values of JSON and those that only templates make. It is one of the
// types of this package, never a value of the program around it.
type Value interface{ kind() string } // kind is the name of Python's type, for error texts

type (
	noneValue  struct{}
	boolValue  bool
	intValue   int64
	bigValue   struct{ n *big.Int } // what intValue cannot hold
	floatValue float64
	textValue  struct{ text }
	// undefined is what a name, key or attribute that is not there gives: nothing when printed, an error when used.
	undefined struct {
		what   string // for the error text
		unsafe bool   // an attribute that the sandbox hides
	}
)

// list is a Python list, or a tuple.
type list struct {
	items []Value
	tuple bool
}

// rangeValue is what range() gives.
type rangeValue struct{ start, stop, step, count int64 }

// Dict is a mapping that keeps the order of its keys.
type Dict struct {
	keys, vals []Value
	index      map[hashKey]int // nil while the mapping is small
}

// view is what keys(), values() and items() of a mapping give.
type view struct {
	of   *Dict
	what string // "keys", "values", "items"
}

// iterator is a Python iterator: it can be run through once and has no length.
type iterator struct {
	name string // "generator", "list_reverseiterator"
	next func() (Value, bool, error)
}

// namespace is the object whose attributes {% set %} may change from inner scopes.
type namespace struct{ attrs *Dict }

// callable is a function, method or macro.
type callable struct {
	name string
	def  *macroDef // of a macro, else nil
	call func(e *evaluator, a arguments) (Value, error)
	attr func(name string) (Value, bool) // nil: it has no attributes
}

func (noneValue) kind() string    { return "NoneType" }
func (boolValue) kind() string    { return "bool" }
func (intValue) kind() string     { return "int" }
func (*bigValue) kind() string    { return "int" }
func (floatValue) kind() string   { return "float" }
func (textValue) kind() string    { return "str" }
func (undefined) kind() string    { return "Undefined" }
func (rangeValue) kind() string   { return "range" }
func (*Dict) kind() string        { return "dict" }
func (v view) kind() string       { return "dict_" + v.what }
func (it *iterator) kind() string { return it.name }
func (*namespace) kind() string   { return "Namespace" }
func (*callable) kind() string    { return "function" }

func (l *list) kind() string {
	if l.tuple {
		return "tuple"
	}
	return "list"
}

// None is Python's None, JSON's null.
var None Value = noneValue{}

// Bool is a truth value.
func Bool(b bool) Value { return boolValue(b) }

// Int is a whole number.
func Int(n int64) Value { return intValue(n) }

// Float is a number with a fraction, also where that is zero.
func Float(f float64) Value { return floatValue(f) }

// String is a text of the request: special tokens in it stay text.
func String(s string) Value { return textValue{request(valid(s))} }

// Trusted is a text of the program or the model's files: special tokens in it are special.
func Trusted(s string) Value { return textValue{template(valid(s))} }

// List is a list of values.
func List(items ...Value) Value { return &list{items: items} }

func tuple(items ...Value) Value { return &list{items: items, tuple: true} }

// hashKey identifies a key of a mapping; numbers that are equal have equal ones.
type hashKey struct {
	kind byte
	text string
}

// smallDict is how many keys are searched one by one.
const smallDict = 8

// NewDict is an empty mapping.
func NewDict() *Dict { return &Dict{} }

// Len counts the members.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.keys)
}

// Set stores a member under a name that is the program's own; the name of an old member keeps its place.
func (d *Dict) Set(name string, v Value) { d.put(Trusted(name), v) }

// Get is the member of that name.
func (d *Dict) Get(name string) (Value, bool) {
	if d == nil {
		return nil, false
	}
	if i := d.find(hashKey{'s', name}); i >= 0 {
		return d.vals[i], true
	}
	return nil, false
}

// Names are the members' names in order; keys that are no strings are left out.
func (d *Dict) Names() []string {
	var out []string
	if d != nil {
		for _, k := range d.keys {
			if s, ok := k.(textValue); ok {
				out = append(out, s.s)
			}
		}
	}
	return out
}

// put stores a member; the key must be hashable.
func (d *Dict) put(k, v Value) error {
	h, err := hash(k)
	if err != nil {
		return err
	}
	if i := d.find(h); i >= 0 {
		d.vals[i] = v
		return nil
	}
	d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	switch {
	case d.index != nil:
		d.index[h] = len(d.keys) - 1
	case len(d.keys) > smallDict:
		d.index = make(map[hashKey]int, 2*len(d.keys))
		for i, k := range d.keys {
			h, _ := hash(k)
			d.index[h] = i
		}
	}
	return nil
}

// get looks a member up; ok is false where it is missing, err tells of keys that cannot be looked up.
func (d *Dict) get(k Value) (v Value, ok bool, err error) {
	h, err := hash(k)
	if err != nil {
		return nil, false, err
	}
	if i := d.find(h); i >= 0 {
		return d.vals[i], true, nil
	}
	return nil, false, nil
}

func (d *Dict) find(h hashKey) int {
	if d.index != nil {
		if i, ok := d.index[h]; ok {
			return i
		}
		return -1
	}
	for i, k := range d.keys {
		if s, ok := k.(textValue); ok {
			if h.kind == 's' && s.s == h.text {
				return i
			}
			continue
		}
		if h.kind == 's' {
			continue
		}
		if other, err := hash(k); err == nil && other == h {
			return i
		}
	}
	return -1
}

// copied is a mapping of its own with the same members.
func (d *Dict) copied() *Dict {
	c := &Dict{keys: slices.Clone(d.keys), vals: slices.Clone(d.vals)}
	if d.index != nil {
		c.index = make(map[hashKey]int, len(d.index))
		for k, v := range d.index {
			c.index[k] = v
		}
	}
	return c
}

// elements of a view.
func (v view) elements() []Value {
	switch v.what {
	case "keys":
		return v.of.keys
	case "values":
		return v.of.vals
	}
	out := make([]Value, len(v.of.keys))
	for i, k := range v.of.keys {
		out[i] = tuple(k, v.of.vals[i])
	}
	return out
}

func (r rangeValue) at(i int64) Value { return intValue(r.start + i*r.step) }
