package grammar

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// plain is a schema without references and alternatives: what its keywords ask of a value.
type plain struct {
	types  kinds
	typed  bool
	values []*tree // enum and const
	listed bool    // values says all

	properties         []property
	byName             map[string]int
	required           []string
	additional         *tree // nil: anything
	minProps, maxProps int   // max below 0: no bound, as below

	prefix             []*tree
	rest               *tree // items behind the prefix, nil: anything
	minItems, maxItems int

	minLength, maxLength int
	patterns, formats    []string

	lo, hi    *limit
	multiples []*big.Rat

	about kinds // the types that keywords speak of
}

type property struct {
	name string
	node *tree // nil: anything
}

func newPlain() *plain {
	return &plain{types: kindAll, maxProps: -1, maxItems: -1, maxLength: -1}
}

// free says that nothing is asked.
func (p *plain) free() bool { return !p.typed && !p.listed && p.about == 0 }

// empty says that a merge has left nothing, where that is plain to see.
func (p *plain) empty() bool { return p.types == 0 || p.listed && len(p.values) == 0 }

// refused are the keywords that constrain values and that no automaton here follows.
var refused = map[string]bool{
	"not": true, "if": true, "then": true, "else": true, "patternProperties": true, "propertyNames": true,
	"dependentRequired": true, "dependentSchemas": true, "dependencies": true, "unevaluatedProperties": true,
	"unevaluatedItems": true, "contains": true, "minContains": true, "maxContains": true, "uniqueItems": true,
	"$dynamicRef": true, "$recursiveRef": true, "extends": true, "disallow": true, "divisibleBy": true,
}

// read takes a schema's keywords apart. Keywords that no version of JSON Schema constrains values by are annotations,
// as the specification says of unknown ones (2020-12 core, section 6.5).
func (s *schemas) read(node *tree, at *place) (combined, error) {
	if node.kind != kindObject {
		return combined{}, fmt.Errorf("%v: a schema is an object or a boolean", at)
	}
	k := combined{plain: newPlain()}
	r := schemaReader{s: s, node: node, k: &k}
	for i, key := range node.keys {
		if err := r.keyword(key, node.items[i], at.at(key)); err != nil {
			return combined{}, err
		}
	}
	p := k.plain
	if r.nullable && p.typed {
		p.types |= kindNull
	}
	if r.nullable && p.listed && !slices.ContainsFunc(p.values, func(v *tree) bool { return v.kind == kindNull }) {
		p.values = append(p.values, &tree{kind: kindNull, text: "null"})
	}
	return k, nil
}

type schemaReader struct {
	s        *schemas
	node     *tree
	k        *combined
	nullable bool
}

func (r *schemaReader) keyword(key string, v *tree, at *place) (err error) {
	p := r.k.plain
	counted := func(n *int, about kinds) {
		p.about |= about
		*n, err = count(v, at)
	}
	switch key {
	case "type":
		p.typed = true
		p.types, err = readTypes(v, at)
	case "nullable":
		r.nullable = v.text == "true"
	case "enum":
		if v.kind != kindArray || len(v.items) == 0 {
			return fmt.Errorf("%v: not a list of at least one value", at)
		}
		r.list(v.items)
	case "const":
		r.list([]*tree{v})
	case "$ref":
		var target part
		target, err = r.s.resolve(v, at)
		r.k.all = append(r.k.all, []part{target})
	case "allOf", "anyOf", "oneOf":
		if v.kind != kindArray || len(v.items) == 0 {
			return fmt.Errorf("%v: not a list of at least one schema", at)
		}
		var group []part
		for i, n := range v.items {
			group = append(group, part{n, at.at(fmt.Sprint(i))})
		}
		if key != "allOf" {
			r.k.any = append(r.k.any, group)
			break
		}
		for _, one := range group {
			r.k.all = append(r.k.all, []part{one})
		}
	case "properties":
		return r.properties(v, at)
	case "required":
		p.about |= kindObject
		if v.kind != kindArray {
			return fmt.Errorf("%v: not a list of strings", at)
		}
		for _, n := range v.items {
			if n.kind != kindString {
				return fmt.Errorf("%v: not a list of strings", at)
			}
			p.required = append(p.required, n.text)
		}
		slices.Sort(p.required)
		p.required = slices.Compact(p.required)
	case "additionalProperties":
		p.about |= kindObject
		p.additional, err = subschema(v, at)
	case "minProperties":
		counted(&p.minProps, kindObject)
	case "maxProperties":
		counted(&p.maxProps, kindObject)
	case "prefixItems":
		err = r.prefix(v, at)
	case "items":
		if v.kind == kindArray { // draft 7
			return r.prefix(v, at)
		}
		p.about |= kindArray
		p.rest, err = subschema(v, at)
	case "additionalItems":
		if items := r.node.get("items"); items != nil && items.kind == kindArray {
			p.about |= kindArray
			p.rest, err = subschema(v, at)
		}
	case "minItems":
		counted(&p.minItems, kindArray)
	case "maxItems":
		counted(&p.maxItems, kindArray)
	case "minLength":
		counted(&p.minLength, kindString)
	case "maxLength":
		counted(&p.maxLength, kindString)
	case "pattern", "format":
		if v.kind != kindString {
			return fmt.Errorf("%v: not a string", at)
		}
		if key == "pattern" {
			p.about |= kindString
			p.patterns = append(p.patterns, v.text)
		} else if !annotated[v.text] {
			p.about |= kindString
			p.formats = append(p.formats, v.text)
		}
	case "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf":
		return r.numeric(key, v, at)
	case "$id", "id":
		if r.node != r.s.root {
			return fmt.Errorf("%v: not supported within a document", at)
		}
	default:
		trivial := v.text == "false" && v.kind == kindBool || key == "patternProperties" && v.kind == kindObject && len(v.keys) == 0
		if refused[key] && !(trivial && (key == "uniqueItems" || key == "patternProperties")) {
			return fmt.Errorf("%v: %s is not supported", at, key)
		}
	}
	return err
}

// list narrows the values that are allowed.
func (r *schemaReader) list(values []*tree) {
	p := r.k.plain
	if p.listed {
		values = common(p.values, values)
	}
	p.values, p.listed = values, true
}

// common is the values that are in both lists.
func common(a, b []*tree) (out []*tree) {
	texts := make(map[string]bool, len(b))
	for _, v := range b {
		texts[string(v.canonical(nil))] = true
	}
	for _, v := range a {
		if texts[string(v.canonical(nil))] {
			out = append(out, v)
		}
	}
	return out
}

func (r *schemaReader) properties(v *tree, at *place) error {
	p := r.k.plain
	p.about |= kindObject
	if v.kind != kindObject {
		return fmt.Errorf("%v: not an object", at)
	}
	p.byName = make(map[string]int, len(v.keys))
	for i, name := range v.keys {
		n, err := subschema(v.items[i], at.at(name))
		if err != nil {
			return err
		}
		p.byName[name] = len(p.properties)
		p.properties = append(p.properties, property{name, n})
	}
	return nil
}

func (r *schemaReader) prefix(v *tree, at *place) error {
	p := r.k.plain
	p.about |= kindArray
	if v.kind != kindArray {
		return fmt.Errorf("%v: not a list of schemas", at)
	}
	for i, n := range v.items {
		if _, err := subschema(n, at.at(fmt.Sprint(i))); err != nil {
			return err
		}
		p.prefix = append(p.prefix, n)
	}
	return nil
}

func (r *schemaReader) numeric(key string, v *tree, at *place) error {
	p := r.k.plain
	if v.kind != kindNumber {
		return fmt.Errorf("%v: not a number", at)
	}
	x, err := decimal(v.text)
	if err != nil {
		return fmt.Errorf("%v: %w", at, err)
	}
	p.about |= kindNumber
	exceeded := strings.HasPrefix(key, "exclusive")
	switch {
	case key == "multipleOf":
		if x.Sign() <= 0 {
			return fmt.Errorf("%v: not above 0", at)
		}
		p.multiples = append(p.multiples, x)
	case strings.HasSuffix(strings.ToLower(key), "minimum"):
		p.lo = tighter(p.lo, &limit{x, exceeded}, 1)
	default:
		p.hi = tighter(p.hi, &limit{x, exceeded}, -1)
	}
	return nil
}

// tighter is the limit that leaves less; sign is 1 for lower limits, -1 for upper ones.
func tighter(a, b *limit, sign int) *limit {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	if c := a.value.Cmp(b.value) * sign; c > 0 || c == 0 && a.exceeded {
		return a
	}
	return b
}

func readTypes(v *tree, at *place) (kinds, error) {
	names := []*tree{v}
	if v.kind == kindArray {
		names = v.items
	}
	var out kinds
	for _, n := range names {
		k := kindNames[n.text]
		if n.kind != kindString || k == 0 {
			return 0, fmt.Errorf("%v: type %q is not known", at, clip(n.text))
		}
		out |= k
	}
	if out == 0 {
		return 0, fmt.Errorf("%v: no type", at)
	}
	return out, nil
}

func subschema(v *tree, at *place) (*tree, error) {
	if v.kind != kindObject && v.kind != kindBool {
		return nil, fmt.Errorf("%v: a schema is an object or a boolean", at)
	}
	return v, nil
}

func count(v *tree, at *place) (int, error) {
	if v.kind == kindNumber {
		if x, err := decimal(v.text); err == nil && x.IsInt() && x.Sign() >= 0 {
			if n := x.Num(); n.IsInt64() && n.Int64() <= maxStates {
				return int(n.Int64()), nil
			}
			return maxStates, nil // beyond every bound here
		}
	}
	return 0, fmt.Errorf("%v: not a number of things", at)
}

// meet is the types in both sets: an integer is a number.
func meet(a, b kinds) kinds {
	out := a & b
	if a&kindNumber != 0 && b&kindInteger != 0 || a&kindInteger != 0 && b&kindNumber != 0 {
		out |= kindInteger
	}
	return out
}

// merge is the schema that is satisfied by what satisfies both.
func (s *schemas) merge(a, b *plain, at *place) (*plain, error) {
	p := newPlain()
	p.typed = a.typed || b.typed
	p.types = meet(a.types, b.types)
	p.about = a.about | b.about
	p.listed = a.listed || b.listed
	if s.merges += (len(a.properties) + len(b.properties) + len(a.values) + len(b.values) + len(a.prefix) + len(b.prefix)) / 16; s.merges > maxMerges {
		return nil, fmt.Errorf("%v: too many combinations", at)
	}
	switch {
	case a.listed && b.listed:
		p.values = common(a.values, b.values)
	case a.listed:
		p.values = a.values
	default:
		p.values = b.values
	}

	p.byName = make(map[string]int, len(a.properties)+len(b.properties))
	for _, x := range a.properties {
		other := b.additional
		if i, ok := b.byName[x.name]; ok {
			other = b.properties[i].node
		}
		p.byName[x.name] = len(p.properties)
		p.properties = append(p.properties, property{x.name, s.both(x.node, other)})
	}
	for _, y := range b.properties {
		if _, ok := a.byName[y.name]; !ok {
			p.byName[y.name] = len(p.properties)
			p.properties = append(p.properties, property{y.name, s.both(a.additional, y.node)})
		}
	}
	p.required = append(slices.Clone(a.required), b.required...)
	slices.Sort(p.required)
	p.required = slices.Compact(p.required)
	p.additional = s.both(a.additional, b.additional)
	p.minProps, p.maxProps = max(a.minProps, b.minProps), least(a.maxProps, b.maxProps)

	for i := range max(len(a.prefix), len(b.prefix)) {
		x, y := a.rest, b.rest
		if i < len(a.prefix) {
			x = a.prefix[i]
		}
		if i < len(b.prefix) {
			y = b.prefix[i]
		}
		both := s.both(x, y)
		if both == nil {
			both = &tree{kind: kindBool, text: "true"}
		}
		p.prefix = append(p.prefix, both)
	}
	p.rest = s.both(a.rest, b.rest)
	p.minItems, p.maxItems = max(a.minItems, b.minItems), least(a.maxItems, b.maxItems)

	p.minLength, p.maxLength = max(a.minLength, b.minLength), least(a.maxLength, b.maxLength)
	p.patterns = union(a.patterns, b.patterns)
	p.formats = union(a.formats, b.formats)
	p.lo, p.hi = tighter(a.lo, b.lo, 1), tighter(a.hi, b.hi, -1)
	p.multiples = append(slices.Clone(a.multiples), b.multiples...)
	return p, nil
}

// least is the lower of two bounds, where a negative one is none.
func least(a, b int) int {
	if a < 0 || b < 0 {
		return max(a, b)
	}
	return min(a, b)
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
