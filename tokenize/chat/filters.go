package chat

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// function is a filter or method: params are the names of its arguments, "!" behind those that it needs.
type function struct {
	params   []string
	call     func(e *evaluator, v Value, a []Value) (Value, error)
	variadic func(e *evaluator, v Value, a arguments) (Value, error) // instead of call
}

func takes(call func(e *evaluator, v Value, a []Value) (Value, error), params ...string) *function {
	return &function{params: params, call: call}
}

// filters are Jinja's, but for those that write HTML or draw lots; tojson is transformers'.
var filters map[string]*function

func init() {
	filters = map[string]*function{
		"abs":        takes(absolute),
		"attr":       takes(attr, "name!"),
		"batch":      takes(batch, "linecount!", "fill_with"),
		"capitalize": takes(mapped(capitalize)),
		"center":     takes(center, "width"),
		"default":    takes(defaultTo, "default_value", "boolean"),
		"dictsort":   takes(dictsort, "case_sensitive", "by", "reverse"),
		"first":      takes(first),
		"float":      takes(toFloatFilter, "default"),
		"format":     {variadic: formatFilter},
		"groupby":    takes(groupby, "attribute!", "default", "case_sensitive"),
		"indent":     takes(indent, "width", "first", "blank"),
		"int":        takes(toInt, "default", "base"),
		"items":      takes(items),
		"join":       takes(join, "d", "attribute"),
		"last":       takes(last),
		"length":     takes(lengthOf),
		"list": takes(func(e *evaluator, v Value, _ []Value) (Value, error) {
			l, err := e.elements(v)
			return &list{items: l}, err
		}),
		"lower":      takes(mapped(lower)),
		"map":        {variadic: mapFilter},
		"max":        takes(extreme(1), "case_sensitive", "attribute"),
		"min":        takes(extreme(-1), "case_sensitive", "attribute"),
		"reject":     {variadic: selector(false, false)},
		"rejectattr": {variadic: selector(false, true)},
		"replace":    takes(replaceFilter, "old!", "new!", "count"),
		"reverse":    takes(reverse),
		"round":      takes(round, "precision", "method"),
		"select":     {variadic: selector(true, false)},
		"selectattr": {variadic: selector(true, true)},
		"slice":      takes(columns, "slices!", "fill_with"),
		"sort":       takes(sortFilter, "reverse", "case_sensitive", "attribute"),
		"string":     takes(func(e *evaluator, v Value, _ []Value) (Value, error) { t, err := e.str(v); return textValue{t}, err }),
		"sum":        takes(sum, "attribute", "start"),
		"title":      takes(mapped(title)),
		"tojson":     takes(tojson, "ensure_ascii", "indent", "separators", "sort_keys"),
		"trim":       takes(trim, "chars"),
		"truncate":   takes(truncate, "length", "killwords", "end", "leeway"),
		"unique":     takes(unique, "case_sensitive", "attribute"),
		"upper":      takes(mapped(upper)),
		"wordcount":  takes(wordcount),
	}
	filters["count"], filters["d"] = filters["length"], filters["default"]
	filters["safe"] = filters["string"] // nothing is escaped, so there is nothing to keep from it
}

// mapped is a filter that computes a text from a text.
func mapped(f func(string) string) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, _ []Value) (Value, error) {
		t, err := e.str(v)
		if err != nil {
			return nil, err
		}
		if err := e.text(len(t.s)); err != nil {
			return nil, err
		}
		out := f(t.s)
		return textValue{t.as(out)}, e.text(len(out))
	}
}

// upper and lower follow Unicode's special cases, as Python does: "ß" becomes "SS".
func upper(s string) string {
	if (text{s: s}).ascii() {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if (text{s: s}).ascii() {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

func capitalize(s string) string {
	for i, r := range s {
		n := i + len(string(r))
		return string(unicode.ToTitle(r)) + lower(s[n:])
	}
	return ""
}

// title is Jinja's: words begin behind blanks, hyphens and opening brackets.
func title(s string) string {
	var b strings.Builder
	begins := true
	separator := func(r rune) bool { return isBlank(r) || strings.ContainsRune("-({[<", r) }
	for _, word := range splitKeep(s, separator) {
		if begins = !separator([]rune(word)[0]); begins {
			r := []rune(word)
			word = upper(string(r[:1])) + lower(string(r[1:]))
		}
		b.WriteString(word)
	}
	return b.String()
}

// splitKeep cuts s into runs of characters that are separators and runs of those that are not.
func splitKeep(s string, separator func(rune) bool) (out []string) {
	from, was := 0, false
	for i, r := range s {
		is := separator(r)
		if i > 0 && is != was {
			out = append(out, s[from:i])
			from = i
		}
		was = is
	}
	if s != "" {
		out = append(out, s[from:])
	}
	return out
}

// number is a whole number argument, or what is taken where it was not given.
func number(v Value, absent int64) (int64, error) {
	if v == nil {
		return absent, nil
	}
	if n, ok := small(v); ok {
		return n, nil
	}
	return 0, unusable(v, "a whole number")
}

func lengthOf(e *evaluator, v Value, _ []Value) (Value, error) {
	if t, ok := v.(textValue); ok {
		if err := e.text(len(t.s)); err != nil {
			return nil, err
		}
	}
	n, err := length(v)
	return intValue(n), err
}

func attr(e *evaluator, v Value, a []Value) (Value, error) {
	name, ok := a[0].(textValue)
	if !ok {
		return nil, unusable(a[0], "a text")
	}
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	found, ok, err := e.named(v, name.s)
	if err != nil || ok {
		return found, err
	}
	return missing(v, name.s), nil
}

func defaultTo(_ *evaluator, v Value, a []Value) (Value, error) {
	if _, ok := v.(undefined); ok || a[1] != nil && truth(a[1]) && !truth(v) {
		if a[0] == nil {
			return textValue{}, nil
		}
		return a[0], nil
	}
	return v, nil
}

func first(e *evaluator, v Value, _ []Value) (Value, error) {
	next, _, err := e.iterate(v)
	if err != nil {
		return nil, err
	}
	one, ok, err := next()
	if err != nil || ok {
		return one, err
	}
	return undefined{what: "the first item of nothing"}, nil
}

func last(e *evaluator, v Value, _ []Value) (Value, error) {
	var items []Value
	switch v := v.(type) {
	case textValue, *list, rangeValue:
		one, err := e.index(v, -1)
		if err != nil || one != nil {
			return one, err
		}
	case *Dict:
		items = v.keys
	case view:
		items = v.elements()
	case undefined: // as an empty list
	default:
		return nil, fmt.Errorf("a %s cannot be reversed", v.kind())
	}
	if len(items) > 0 {
		return items[len(items)-1], nil
	}
	return undefined{what: "the last item of nothing"}, nil
}

func reverse(e *evaluator, v Value, _ []Value) (Value, error) {
	if t, ok := v.(textValue); ok {
		return textValue{t.reverse()}, e.text(len(t.s))
	}
	name := "list_reverseiterator"
	if _, ok := v.(*iterator); ok {
		name = ""
	}
	all, err := e.elements(v)
	if err != nil {
		return nil, err
	}
	if err := e.list(len(all)); err != nil {
		return nil, err
	}
	all = slices.Clone(all)
	slices.Reverse(all)
	if name == "" {
		return &list{items: all}, nil
	}
	return &iterator{name: name, next: walk(all)}, nil
}

func items(e *evaluator, v Value, _ []Value) (Value, error) {
	return e.lazily(func() (func() (Value, bool, error), error) {
		switch v := v.(type) {
		case undefined:
			return walk(nil), nil
		case *Dict:
			next, _, err := e.iterate(view{v, "items"})
			return next, err
		}
		return nil, fmt.Errorf("items needs a mapping, not a %s", v.kind())
	}), nil
}

// lazily is a generator: what start does happens when the first element is asked for.
func (e *evaluator) lazily(start func() (func() (Value, bool, error), error)) *iterator {
	var next func() (Value, bool, error)
	return &iterator{name: "generator", next: func() (Value, bool, error) {
		if err := e.enter(); err != nil { // a generator may read from a generator that reads from a generator
			return nil, false, err
		}
		defer e.leave()
		if next == nil {
			var err error
			if next, err = start(); err != nil {
				return nil, false, err
			}
		}
		return next()
	}}
}

func join(e *evaluator, v Value, a []Value) (Value, error) {
	sep := text{}
	var err error
	if a[0] != nil {
		if sep, err = e.str(a[0]); err != nil {
			return nil, err
		}
	}
	next, _, err := e.iterate(v)
	if err != nil {
		return nil, err
	}
	get := e.getter(a[1], nil, false)
	b := builder{m: e.meter}
	for first := true; ; first = false {
		one, ok, err := next()
		if err != nil || !ok {
			return textValue{b.done()}, err
		}
		if !first {
			if err := b.add(sep); err != nil {
				return nil, err
			}
		}
		if err := e.spend(1); err != nil {
			return nil, err
		}
		if one, err = get(one); err != nil {
			return nil, err
		}
		if err := e.print(&b, one); err != nil {
			return nil, err
		}
	}
}

func replaceFilter(e *evaluator, v Value, a []Value) (Value, error) {
	t, err := e.str(v)
	if err != nil {
		return nil, err
	}
	old, err := e.str(a[0])
	if err != nil {
		return nil, err
	}
	put, err := e.str(a[1])
	if err != nil {
		return nil, err
	}
	count := int64(-1)
	if a[2] != nil && a[2] != None {
		if count, err = number(a[2], -1); err != nil {
			return nil, err
		}
	}
	return e.replace(t, old, put, count)
}

// replace puts another text for each occurrence of old, or for the first count ones.
func (e *evaluator) replace(t, old, put text, count int64) (Value, error) {
	if err := e.text(len(t.s)); err != nil {
		return nil, err
	}
	b := builder{m: e.meter}
	at := 0
	add := func(x text) error {
		if err := e.spend(1); err != nil {
			return err
		}
		return b.add(x)
	}
	if old.s == "" {
		for _, end := range append(t.offsets()[1:], len(t.s)) {
			if count == 0 {
				break
			}
			count--
			if err := add(put); err != nil {
				return nil, err
			}
			if err := add(t.slice(at, end)); err != nil {
				return nil, err
			}
			at = end
		}
		err := add(t.slice(at, len(t.s)))
		return textValue{b.done()}, err
	}
	for ; count != 0; count-- {
		k := strings.Index(t.s[at:], old.s)
		if k < 0 {
			break
		}
		if err := add(t.slice(at, at+k)); err != nil {
			return nil, err
		}
		if err := add(put); err != nil {
			return nil, err
		}
		at += k + len(old.s)
	}
	err := add(t.slice(at, len(t.s)))
	return textValue{b.done()}, err
}

func trim(e *evaluator, v Value, a []Value) (Value, error) {
	t, err := e.str(v)
	if err != nil {
		return nil, err
	}
	drop, err := cutset(a[0])
	if err != nil {
		return nil, err
	}
	return textValue{t.trim(true, true, drop)}, e.text(len(t.s))
}

// cutset is the test for what strip drops.
func cutset(v Value) (func(rune) bool, error) {
	switch v := orNone(v).(type) {
	case noneValue:
		return isBlank, nil
	case textValue:
		return func(r rune) bool { return strings.ContainsRune(v.s, r) }, nil
	default:
		return nil, unusable(v, "a text")
	}
}

func indent(e *evaluator, v Value, a []Value) (Value, error) {
	t, ok := v.(textValue)
	if !ok {
		return nil, unusable(v, "a text")
	}
	by, ok := orNone(a[0]).(textValue)
	if !ok {
		n, err := number(a[0], 4)
		if err != nil {
			return nil, err
		}
		if err := e.text(int(min(n, int64(e.limits.Bytes)+1))); n > 0 && err != nil {
			return nil, err
		}
		by.s = strings.Repeat(" ", int(max(n, 0)))
	}
	onFirst, onBlank := a[1] != nil && truth(a[1]), a[2] != nil && truth(a[2])
	b := builder{m: e.meter}
	for i, line := range splitLines(text{s: t.s + "\n", user: t.user}, false) {
		if i > 0 {
			if err := b.add(template("\n")); err != nil {
				return nil, err
			}
		}
		if i == 0 && onFirst || i > 0 && (onBlank || line.s != "") {
			if err := b.add(by.text); err != nil {
				return nil, err
			}
		}
		if err := b.add(line); err != nil {
			return nil, err
		}
	}
	return textValue{b.done()}, nil
}

func wordcount(e *evaluator, v Value, _ []Value) (Value, error) {
	t, err := e.str(v)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, run := range splitKeep(t.s, isWord) {
		if isWord([]rune(run)[0]) {
			n++
		}
	}
	return intValue(n), e.text(len(t.s))
}

func truncate(e *evaluator, v Value, a []Value) (Value, error) {
	n, err := lengthOf(e, v, nil)
	if err != nil {
		return nil, err
	}
	most, err := number(a[0], 255)
	if err != nil {
		return nil, err
	}
	end := template("...")
	if a[2] != nil {
		if end, err = e.str(a[2]); err != nil {
			return nil, err
		}
	}
	leeway := int64(5)
	if a[3] != nil && a[3] != None {
		if leeway, err = number(a[3], 5); err != nil {
			return nil, err
		}
	}
	if most < int64(end.count()) || leeway < 0 {
		return nil, fmt.Errorf("a length of %d is too short", most)
	}
	if size, _ := small(n); size <= most+leeway {
		return v, nil
	}
	t, ok := v.(textValue)
	if !ok {
		return nil, unusable(v, "a text")
	}
	cut := t.slice(0, t.offsets()[most-int64(end.count())])
	if a[1] == nil || !truth(a[1]) {
		if k := strings.LastIndexByte(cut.s, ' '); k >= 0 {
			cut = cut.slice(0, k)
		}
	}
	return e.binary("+", textValue{cut}, textValue{end})
}

func center(e *evaluator, v Value, a []Value) (Value, error) {
	t, err := e.str(v)
	if err != nil {
		return nil, err
	}
	width, err := number(a[0], 80)
	if err != nil {
		return nil, err
	}
	return e.pad(t, width, template(" "), '^')
}

// pad fills a text up to a width: '<' at its end, '>' before it, '^' on both sides as Python's str.center does.
func (e *evaluator) pad(t text, width int64, fill text, side rune) (Value, error) {
	if err := e.text(len(t.s)); err != nil {
		return nil, err
	}
	n := width - int64(t.count())
	if n <= 0 {
		return textValue{t}, nil
	}
	left := int64(0)
	switch side {
	case '>':
		left = n
	case '^':
		left = n/2 + n&width&1
	}
	before, err := e.repeat(textValue{fill}, left)
	if err != nil {
		return nil, err
	}
	after, err := e.repeat(textValue{fill}, n-left)
	if err != nil {
		return nil, err
	}
	b := builder{m: e.meter}
	for _, part := range []text{before.(textValue).text, t, after.(textValue).text} {
		if err := b.add(part); err != nil {
			return nil, err
		}
	}
	return textValue{b.done()}, nil
}
