package grammar

import (
	"fmt"
	"math/big"
	"slices"
)

// The automaton of multiples keeps the remainder.
const (
	maxMultiple  = 100
	maxMultiples = 1000 // of several together
)

// emit puts the values that satisfy a plain schema between two states.
func (s *schemas) emit(p *plain, from, to int32, at *place) error {
	b := s.b
	switch {
	case p.listed:
		return s.values(p, from, to, at)
	case p.free():
		b.call(from, to, b.value())
		return nil
	case p.empty():
		return contradiction(at, "no type is left")
	}
	types := p.types
	if !p.typed && p.about != 0 {
		types = meet(types, p.about)
	}
	var reason error
	found := false
	put := func(k kinds, f func() error) error {
		if types&k == 0 || k == kindInteger && types&kindNumber != 0 {
			return nil
		}
		err := f()
		if err == nil {
			found = true
		} else if reason = err; !isContradiction(err) {
			return err
		}
		return nil
	}
	for _, part := range []struct {
		kind kinds
		put  func() error
	}{
		{kindNull, func() error { b.literal(from, to, "null"); return nil }},
		{kindBool, func() error { b.literal(from, to, "true"); b.literal(from, to, "false"); return nil }},
		{kindInteger, func() error { return s.number(p, true, from, to, at) }},
		{kindNumber, func() error { return s.number(p, false, from, to, at) }},
		{kindString, func() error { return s.text(p, from, to, at) }},
		{kindArray, func() error { return s.array(p, from, to, at) }},
		{kindObject, func() error { return s.object(p, from, to, at) }},
	} {
		if err := put(part.kind, part.put); err != nil {
			return err
		}
	}
	if !found {
		return reason
	}
	return nil
}

// number is a number or an integer within limits.
func (s *schemas) number(p *plain, integer bool, from, to int32, at *place) error {
	if p.lo == nil && p.hi == nil && len(p.multiples) == 0 {
		if integer {
			s.b.call(from, to, s.b.integer())
		} else {
			s.b.call(from, to, s.b.number())
		}
		return nil
	}
	r := numberRange{lo: p.lo, hi: p.hi, fraction: boundedFraction, multiple: 1}
	if integer {
		r.fraction = 0
	}
	for _, m := range p.multiples {
		switch inverse := new(big.Rat).Inv(m); {
		case m.IsInt() && m.Num().IsInt64() && m.Num().Int64() <= maxMultiple:
			n := int(m.Num().Int64())
			if r.fraction, r.multiple = 0, r.multiple/gcd(r.multiple, n)*n; r.multiple > maxMultiples {
				return fmt.Errorf("%v: multipleOf %d is not supported: it is above %d", at, r.multiple, maxMultiples)
			}
		case inverse.IsInt() && r.fraction == 0: // every integer is a multiple
		case inverse.IsInt() && powerOfTen(inverse.Num()) >= 0:
			r.fraction = min(r.fraction, powerOfTen(inverse.Num()))
		default:
			return fmt.Errorf("%v: multipleOf %s is not supported: it is neither an integer up to %d nor a power of ten", at, clip(m.RatString()), maxMultiple)
		}
	}
	if !s.b.numbers(from, to, r) {
		return contradiction(at, "no number is within its limits")
	}
	return nil
}

// boundedFraction is how many digits stand behind the point of a number with limits: float64 tells them apart below 1.
const boundedFraction = 15

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// powerOfTen is k for 10^k, -1 for other numbers.
func powerOfTen(n *big.Int) int {
	s := n.String()
	for _, c := range s[1:] {
		if c != '0' {
			return -1
		}
	}
	if s[0] != '1' {
		return -1
	}
	return len(s) - 1
}

// text is a string of a length, of patterns and of formats.
func (s *schemas) text(p *plain, from, to int32, at *place) error {
	if p.maxLength >= 0 && p.maxLength < p.minLength {
		return contradiction(at, "minLength %d is above maxLength %d", p.minLength, p.maxLength)
	}
	if len(p.patterns)+len(p.formats) == 0 {
		if p.minLength == 0 && p.maxLength < 0 {
			s.b.call(from, to, s.b.text())
		} else {
			s.b.textOfLength(from, to, p.minLength, p.maxLength)
		}
		return nil
	}
	n, err := p.textPattern(at)
	if err != nil {
		return err
	}
	open, end := s.b.state(), s.b.state()
	s.b.bytes(from, open, '"', '"')
	s.b.runes(open, end, n, true)
	s.b.bytes(end, to, '"', '"')
	return nil
}

// textPattern is the automaton of all that is asked of a string.
func (p *plain) textPattern(at *place) (all *runeNFA, err error) {
	and := func(n *runeNFA, err error) error {
		if err == nil && all != nil {
			n, err = intersect(all, n)
		}
		all = n
		return err
	}
	for _, x := range p.patterns {
		if err := and(compileRunes(x, true)); err != nil {
			return nil, fmt.Errorf("%v: %w", at.at("pattern"), err)
		}
	}
	for _, x := range p.formats {
		pattern, ok := formats[x]
		if !ok {
			return nil, fmt.Errorf("%v: format %q is not supported", at.at("format"), clip(x))
		}
		if err := and(compileRunes(pattern, false)); err != nil {
			return nil, fmt.Errorf("%v: %w", at.at("format"), err)
		}
	}
	if p.minLength > 0 || p.maxLength >= 0 {
		if err := and(ofLength(p.minLength, p.maxLength)); err != nil {
			return nil, fmt.Errorf("%v: pattern, format and length together: %w", at, err)
		}
	}
	return all, nil
}

// array is a list: positions up to the last one that differs from those behind it, then a loop.
func (s *schemas) array(p *plain, from, to int32, at *place) error {
	b := s.b
	last := max(len(p.prefix), p.minItems)
	most := p.maxItems
	if p.rest != nil && p.rest.kind == kindBool && p.rest.text == "false" {
		most = least(most, len(p.prefix))
	}
	bounded := most >= 0
	if bounded {
		if most < p.minItems {
			return contradiction(at, "minItems %d is above maxItems %d", p.minItems, most)
		}
		last = most
	} else {
		last = max(last, 1)
	}
	if p.prefix == nil && p.rest == nil && p.minItems == 0 && !bounded {
		b.call(from, to, b.freeArray())
		return nil
	}
	r := b.rule(true)
	b.call(from, to, r)
	from, to = b.rules[r].start, b.rules[r].accept
	open, here, end := b.state(), b.state(), b.state()
	b.bytes(from, open, '[', '[')
	b.space(open, here)
	b.bytes(end, to, ']', ']')
	restAt := at.at("items")
	put := func(i int, from, to int32) {
		if i < len(p.prefix) {
			s.value(p.prefix[i], from, to, at.at("prefixItems").at(fmt.Sprint(i)))
		} else {
			s.value(p.rest, from, to, restAt)
		}
	}
	next := func(from int32) int32 {
		item := b.state()
		comma := b.state()
		b.bytes(from, comma, ',', ',')
		b.space(comma, item)
		return item
	}
	for i := 0; b.err == nil; i++ {
		if i >= p.minItems {
			if i == 0 {
				b.empty(here, end)
			} else {
				b.space(here, end)
			}
		}
		if i == last {
			break
		}
		item, after := here, b.state()
		if i > 0 {
			item = next(here)
		}
		put(i, item, after)
		here = after
	}
	if !bounded {
		put(last, next(here), here)
	}
	return nil
}

// values is one of the listed values that the other keywords allow.
func (s *schemas) values(p *plain, from, to int32, at *place) error {
	var scalars []string
	found := false
	var pattern *runeNFA
	if len(p.patterns)+len(p.formats) > 0 {
		var err error
		if pattern, err = p.textPattern(at); err != nil {
			return err
		}
	}
	for _, v := range p.values {
		ok, err := p.allows(v, pattern)
		switch {
		case err != nil:
			return fmt.Errorf("%v: %w", at, err)
		case !ok:
		case v.kind&(kindArray|kindObject) == 0:
			scalars = append(scalars, v.scalar())
		default:
			found = true
			s.constant(v, from, to)
		}
	}
	if len(scalars) > 0 {
		found = true
		slices.Sort(scalars)
		s.b.trie(from, to, slices.Compact(scalars))
	}
	if !found {
		return contradiction(at, "none of its values is allowed")
	}
	return nil
}

// allows says whether a listed value satisfies the other keywords.
func (p *plain) allows(v *tree, pattern *runeNFA) (bool, error) {
	if p.typed {
		kind := v.kind
		if kind == kindNumber {
			x, err := decimal(v.text)
			if err != nil {
				return false, err
			}
			if x.IsInt() {
				kind |= kindInteger
			}
		}
		if kind&p.types == 0 {
			return false, nil
		}
	}
	switch v.kind {
	case kindNumber:
		x, err := decimal(v.text)
		if err != nil {
			return false, err
		}
		for _, m := range p.multiples {
			if !new(big.Rat).Quo(x, m).IsInt() {
				return false, nil
			}
		}
		within := func(l *limit, sign int) bool {
			if l == nil {
				return true
			}
			c := x.Cmp(l.value) * sign
			return c > 0 || c == 0 && !l.exceeded
		}
		return within(p.lo, 1) && within(p.hi, -1), nil
	case kindString:
		n := len([]rune(v.text))
		return n >= p.minLength && (p.maxLength < 0 || n <= p.maxLength) && (pattern == nil || pattern.matches(v.text)), nil
	case kindArray, kindObject:
		if p.about&v.kind != 0 {
			return false, fmt.Errorf("a listed array or object beside keywords that constrain it is not supported")
		}
	}
	return true, nil
}

// constant is the value itself, with white space between its parts.
func (s *schemas) constant(v *tree, from, to int32) {
	b := s.b
	if v.kind&(kindArray|kindObject) == 0 {
		b.literal(from, to, v.scalar())
		return
	}
	brackets := "[]"
	if v.kind == kindObject {
		brackets = "{}"
	}
	here := b.state()
	b.literal(from, here, brackets[:1])
	for i, item := range v.items {
		if i > 0 {
			comma := b.state()
			b.literal(here, comma, ",")
			here = comma
		}
		next := b.state()
		b.space(here, next)
		here = next
		if v.kind == kindObject {
			colon, value := b.state(), b.state()
			b.literal(here, colon, quote(v.keys[i])+":")
			b.space(colon, value)
			here = value
		}
		next = b.state()
		s.constant(item, here, next)
		here = next
	}
	b.close(here, to, brackets[1])
}
