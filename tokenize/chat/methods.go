package chat

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is a value's method of that name; hidden is set for those that would change a value, which the sandbox takes
// away.
func method(of Value, name string) (m *function, hidden bool) {
	switch v := of.(type) {
	case textValue:
		return textMethods[name], false
	case *Dict:
		switch name {
		case "clear", "pop", "popitem", "setdefault", "update":
			return nil, true
		}
		return dictMethods[name], false
	case *list:
		if !v.tuple {
			switch name {
			case "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort":
				return nil, true
			}
		}
		if m := listMethods[name]; m != nil && !(v.tuple && name == "copy") {
			return m, false
		}
	case rangeValue:
		if name != "copy" {
			return listMethods[name], false
		}
	}
	return nil, false
}

var dictMethods, listMethods, textMethods map[string]*function

func init() {
	see := func(what string) *function {
		return takes(func(_ *evaluator, v Value, _ []Value) (Value, error) { return view{v.(*Dict), what}, nil })
	}
	dictMethods = map[string]*function{
		"keys": see("keys"), "values": see("values"), "items": see("items"),
		"copy": takes(func(e *evaluator, v Value, _ []Value) (Value, error) {
			d := v.(*Dict)
			return d.copied(), e.list(d.Len())
		}),
		"get": takes(func(e *evaluator, v Value, a []Value) (Value, error) {
			found, ok, err := e.find(v.(*Dict), a[0])
			if err != nil || ok {
				return found, err
			}
			return orNone(a[1]), nil
		}, "key!", "default"),
		"fromkeys": {variadic: func(e *evaluator, _ Value, a arguments) (Value, error) { return fromKeys(e, a) }},
	}
	listMethods = map[string]*function{
		"copy": takes(func(_ *evaluator, v Value, _ []Value) (Value, error) { return v, nil }), // lists never change
		"count": takes(func(e *evaluator, v Value, a []Value) (Value, error) {
			n, err := e.count(v, a[0], false)
			return intValue(n), err
		}, "value!"),
		"index": takes(func(e *evaluator, v Value, a []Value) (Value, error) {
			n, err := e.count(v, a[0], true)
			if err == nil && n < 0 {
				err = fmt.Errorf("the value is not in the %s", v.kind())
			}
			return intValue(n), err
		}, "value!"),
	}
	textMethods = map[string]*function{}
	for name, f := range map[string]func(string) string{
		"capitalize": capitalize, "casefold": lower, "lower": lower, "swapcase": swapCase,
		"title": titleCase, "upper": upper,
	} {
		textMethods[name] = takes(mapped(f))
	}
	for name, f := range map[string]func(string) bool{
		"isalnum":   every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isalpha":   every(unicode.IsLetter),
		"isascii":   func(s string) bool { return text{s: s}.ascii() },
		"isdecimal": every(unicode.IsDigit),
		"isdigit":   every(func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("²³¹", r) }),
		"isnumeric": every(unicode.IsNumber),
		"isspace":   every(isBlank),
		"islower":   isLower,
		"isupper":   isUpper,
		"istitle":   func(s string) bool { return s == titleCase(s) && strings.ContainsFunc(s, unicode.IsUpper) },
		"isidentifier": func(s string) bool {
			return every(isWord)(s) && !unicode.IsDigit([]rune(s)[0])
		},
		"isprintable": func(s string) bool { return s == "" || every(unicode.IsPrint)(s) },
	} {
		textMethods[name] = takes(func(e *evaluator, v Value, _ []Value) (Value, error) {
			t := v.(textValue)
			return boolValue(f(t.s)), e.text(len(t.s))
		})
	}
	strip := func(left, right bool) *function {
		return takes(func(e *evaluator, v Value, a []Value) (Value, error) {
			drop, err := cutset(a[0])
			if err != nil {
				return nil, err
			}
			t := v.(textValue)
			return textValue{t.trim(left, right, drop)}, e.text(len(t.s))
		}, "chars")
	}
	textMethods["strip"], textMethods["lstrip"], textMethods["rstrip"] = strip(true, true), strip(true, false), strip(false, true)
	textMethods["startswith"] = takes(affix(strings.HasPrefix), "prefix!", "start", "end")
	textMethods["endswith"] = takes(affix(strings.HasSuffix), "suffix!", "start", "end")
	textMethods["removeprefix"] = takes(func(_ *evaluator, v Value, a []Value) (Value, error) {
		p, ok := a[0].(textValue)
		if t := v.(textValue); ok && strings.HasPrefix(t.s, p.s) {
			return textValue{t.slice(len(p.s), len(t.s))}, nil
		} else if ok {
			return t, nil
		}
		return nil, unusable(a[0], "a text")
	}, "prefix!")
	textMethods["removesuffix"] = takes(func(_ *evaluator, v Value, a []Value) (Value, error) {
		p, ok := a[0].(textValue)
		if t := v.(textValue); ok && strings.HasSuffix(t.s, p.s) {
			return textValue{t.slice(0, len(t.s)-len(p.s))}, nil
		} else if ok {
			return t, nil
		}
		return nil, unusable(a[0], "a text")
	}, "suffix!")
	textMethods["split"] = takes(splitText(false), "sep", "maxsplit")
	textMethods["rsplit"] = takes(splitText(true), "sep", "maxsplit")
	textMethods["splitlines"] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
		t := v.(textValue)
		if err := e.list(strings.Count(t.s, "\n")); err != nil {
			return nil, err
		}
		return textList(splitLines(t.text, set(a[0]))), e.text(len(t.s))
	}, "keepends")
	textMethods["partition"] = takes(partition(strings.Index, false), "sep!")
	textMethods["rpartition"] = takes(partition(strings.LastIndex, true), "sep!")
	textMethods["replace"] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
		old, ok1 := a[0].(textValue)
		put, ok2 := a[1].(textValue)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("a %s and a %s where texts belong", a[0].kind(), a[1].kind())
		}
		count, err := number(a[2], -1)
		if err != nil {
			return nil, err
		}
		return e.replace(v.(textValue).text, old.text, put.text, count)
	}, "old!", "new!", "count")
	textMethods["join"] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
		all, err := e.elements(a[0])
		if err != nil {
			return nil, err
		}
		for _, one := range all {
			if _, ok := one.(textValue); !ok {
				return nil, unusable(one, "a text")
			}
		}
		return join(e, &list{items: all}, []Value{v, nil})
	}, "iterable!")
	textMethods["count"] = takes(find(func(s, sub string) int { return strings.Count(s, sub) }, false, false), "sub!", "start", "end")
	textMethods["find"] = takes(find(strings.Index, true, false), "sub!", "start", "end")
	textMethods["rfind"] = takes(find(strings.LastIndex, true, false), "sub!", "start", "end")
	textMethods["index"] = takes(find(strings.Index, true, true), "sub!", "start", "end")
	textMethods["rindex"] = takes(find(strings.LastIndex, true, true), "sub!", "start", "end")
	for name, side := range map[string]rune{"ljust": '<', "rjust": '>', "center": '^'} {
		textMethods[name] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
			width, err := number(a[0], 0)
			if err != nil {
				return nil, err
			}
			fill := textValue{template(" ")}
			if a[1] != nil {
				f, ok := a[1].(textValue)
				if !ok || f.count() != 1 {
					return nil, fmt.Errorf("the fill is one character")
				}
				fill = f
			}
			return e.pad(v.(textValue).text, width, fill.text, side)
		}, "width!", "fillchar")
	}
	textMethods["zfill"] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
		width, err := number(a[0], 0)
		if err != nil {
			return nil, err
		}
		t := v.(textValue)
		if sign := signOf(t.s); sign != "" {
			rest, err := e.pad(t.slice(1, len(t.s)), width-1, template("0"), '>')
			if err != nil {
				return nil, err
			}
			return e.binary("+", textValue{t.slice(0, 1)}, rest)
		}
		return e.pad(t.text, width, template("0"), '>')
	}, "width!")
	textMethods["expandtabs"] = takes(expandTabs, "tabsize")
	textMethods["format"] = &function{variadic: func(e *evaluator, v Value, a arguments) (Value, error) {
		return e.format(v.(textValue).text, a)
	}}
	textMethods["format_map"] = takes(func(e *evaluator, v Value, a []Value) (Value, error) {
		d, ok := a[0].(*Dict)
		if !ok {
			return nil, unusable(a[0], "a mapping")
		}
		args := arguments{}
		for i, k := range d.keys {
			if t, ok := k.(textValue); ok {
				args.names, args.named = append(args.names, t.s), append(args.named, d.vals[i])
			}
		}
		return e.format(v.(textValue).text, args)
	}, "mapping!")
}

// count is how often a value is in a sequence, or where it is first, -1 if nowhere.
func (e *evaluator) count(in, v Value, where bool) (int, error) {
	next, _, err := e.iterate(in)
	if err != nil {
		return 0, err
	}
	n := 0
	for i := 0; ; i++ {
		one, ok, err := next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		same, err := e.equal(one, v)
		if err != nil {
			return 0, err
		}
		if same && where {
			return i, nil
		}
		if same {
			n++
		}
	}
	if where {
		return -1, nil
	}
	return n, nil
}

// every is Python's way of asking about all characters: of none, it is false.
func every(test func(rune) bool) func(string) bool {
	return func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !test(r) })
	}
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// titleCase is str.title: a word is a run of letters.
func titleCase(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		was := inside
		inside = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

// part is the slice of a text that the start and end arguments of its methods name.
func (e *evaluator) part(t text, start, end Value) (part text, from int, inside bool, err error) {
	if start == nil && end == nil {
		return t, 0, true, e.text(len(t.s))
	}
	n, err := number(valueOr(start, intValue(0)), 0)
	if err != nil {
		return t, 0, false, err
	}
	size := int64(t.count())
	v, err := e.slice(textValue{t}, [3]Value{valueOr(start, None), valueOr(end, None), nil})
	if err != nil {
		return t, 0, false, err
	}
	if n < 0 {
		n = max(n+size, 0)
	}
	return v.(textValue).text, int(min(n, size)), n <= size, nil
}

func valueOr(v, absent Value) Value {
	if v == nil || isNone(v) {
		return absent
	}
	return v
}

// affix is startswith or endswith: of one text, or of any text of a tuple.
func affix(has func(s, fix string) bool) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, a []Value) (Value, error) {
		t, _, inside, err := e.part(v.(textValue).text, a[1], a[2])
		if err != nil {
			return nil, err
		}
		fixes := []Value{a[0]}
		if l, ok := a[0].(*list); ok && l.tuple {
			fixes = l.items
		}
		found := false
		for _, f := range fixes {
			fix, ok := f.(textValue)
			if !ok {
				return nil, unusable(f, "a text")
			}
			found = found || inside && has(t.s, fix.s)
		}
		return boolValue(found), nil
	}
}

// find is one of the methods that look for a text in a text. The result of those that tell where is a number of
// characters.
func find(look func(s, sub string) int, where, must bool) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, a []Value) (Value, error) {
		sub, ok := a[0].(textValue)
		if !ok {
			return nil, unusable(a[0], "a text")
		}
		t, from, inside, err := e.part(v.(textValue).text, a[1], a[2])
		if err != nil {
			return nil, err
		}
		n := 0
		switch {
		case inside:
			n = look(t.s, sub.s)
		case where:
			n = -1
		}
		if where && n >= 0 {
			n = from + utf8.RuneCountInString(t.s[:n])
		}
		if n < 0 && must {
			return nil, fmt.Errorf("the text is not in it")
		}
		return intValue(n), nil
	}
}

func partition(look func(s, sep string) int, fromRight bool) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, a []Value) (Value, error) {
		t := v.(textValue)
		sep, ok := a[0].(textValue)
		if !ok {
			return nil, unusable(a[0], "a text")
		}
		if sep.s == "" {
			return nil, fmt.Errorf("an empty separator")
		}
		k := look(t.s, sep.s)
		switch {
		case k >= 0:
			end := k + len(sep.s)
			return tuple(textValue{t.slice(0, k)}, textValue{t.slice(k, end)}, textValue{t.slice(end, len(t.s))}), e.text(len(t.s))
		case fromRight:
			return tuple(textValue{}, textValue{}, t), nil
		}
		return tuple(t, textValue{}, textValue{}), nil
	}
}

func textList(parts []text) Value {
	out := &list{items: make([]Value, len(parts))}
	for i, p := range parts {
		out.items[i] = textValue{p}
	}
	return out
}

// splitText is split or rsplit: at a separator, or at runs of blanks.
func splitText(fromRight bool) func(*evaluator, Value, []Value) (Value, error) {
	return func(e *evaluator, v Value, a []Value) (Value, error) {
		t := v.(textValue).text
		most, err := number(a[1], -1)
		if err != nil {
			return nil, err
		}
		var cuts [][2]int // what lies between the parts
		switch sep := orNone(a[0]).(type) {
		case textValue:
			if sep.s == "" {
				return nil, fmt.Errorf("an empty separator")
			}
			if err := e.list(strings.Count(t.s, sep.s) + 1); err != nil {
				return nil, err
			}
			cuts = separators(t.s, sep.s, fromRight)
		case noneValue:
			t = t.trim(!fromRight, fromRight, isBlank)
			if t.s == "" {
				return &list{}, e.text(len(v.(textValue).s))
			}
			cuts = blankRuns(t.s)
			if err := e.list(len(cuts) + 1); err != nil {
				return nil, err
			}
			if most < 0 || int64(len(cuts)) <= most { // else the blanks of the other end belong to the last part
				t = t.trim(true, true, isBlank)
				cuts = blankRuns(t.s)
			}
		default:
			return nil, unusable(sep, "a text")
		}
		if most >= 0 && int64(len(cuts)) > most {
			if fromRight {
				cuts = cuts[int64(len(cuts))-most:]
			} else {
				cuts = cuts[:most]
			}
		}
		var parts []text
		at := 0
		for _, c := range cuts {
			parts = append(parts, t.slice(at, c[0]))
			at = c[1]
		}
		parts = append(parts, t.slice(at, len(t.s)))
		return textList(parts), e.text(len(t.s))
	}
}

// separators are the places of a separator, without overlap, counted from the left or the right.
func separators(s, sep string, fromRight bool) (cuts [][2]int) {
	if fromRight {
		for end := len(s); ; {
			k := strings.LastIndex(s[:end], sep)
			if k < 0 {
				slices.Reverse(cuts)
				return cuts
			}
			cuts = append(cuts, [2]int{k, k + len(sep)})
			end = k
		}
	}
	for at := 0; ; {
		k := strings.Index(s[at:], sep)
		if k < 0 {
			return cuts
		}
		cuts = append(cuts, [2]int{at + k, at + k + len(sep)})
		at += k + len(sep)
	}
}

// blankRuns are the runs of blanks.
func blankRuns(s string) (cuts [][2]int) {
	from := -1
	for i, r := range s {
		switch {
		case isBlank(r) && from < 0:
			from = i
		case !isBlank(r) && from >= 0:
			cuts = append(cuts, [2]int{from, i})
			from = -1
		}
	}
	if from >= 0 {
		cuts = append(cuts, [2]int{from, len(s)})
	}
	return cuts
}

// splitLines cuts where Python's str.splitlines does.
func splitLines(t text, keep bool) (out []text) {
	at := 0
	for i := 0; i < len(t.s); {
		r, w := utf8.DecodeRuneInString(t.s[i:])
		switch r {
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		case '\r':
			if strings.HasPrefix(t.s[i+1:], "\n") {
				w = 2
			}
		default:
			i += w
			continue
		}
		end := i
		if keep {
			end = i + w
		}
		out = append(out, t.slice(at, end))
		i += w
		at = i
	}
	if at < len(t.s) {
		out = append(out, t.slice(at, len(t.s)))
	}
	return out
}

func expandTabs(e *evaluator, v Value, a []Value) (Value, error) {
	size, err := number(a[0], 8)
	if err != nil {
		return nil, err
	}
	t := v.(textValue)
	b := builder{m: e.meter}
	column := int64(0)
	from := 0
	for i, r := range t.s {
		switch r {
		case '\t':
			if err := b.add(t.slice(from, i)); err != nil {
				return nil, err
			}
			from = i + 1
			if size > 0 {
				fill, err := e.repeat(Trusted(" "), size-column%size)
				if err != nil {
					return nil, err
				}
				if err := b.add(fill.(textValue).text); err != nil {
					return nil, err
				}
				column = 0
			}
		case '\n', '\r':
			column = 0
		default:
			column++
		}
	}
	err = b.add(t.slice(from, len(t.s)))
	return textValue{b.done()}, err
}
