package chat

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str(): texts keep their origin.
func (e *evaluator) str(v Value) (text, error) {
	switch v := v.(type) {
	case textValue:
		return v.text, nil
	case undefined:
		return text{}, nil
	}
	b := builder{m: e.meter}
	err := e.repr(&b, v)
	return b.done(), err
}

// print appends str(v).
func (e *evaluator) print(b *builder, v Value) error {
	switch v := v.(type) {
	case textValue:
		return b.add(v.text)
	case undefined:
		return nil
	}
	return e.repr(b, v)
}

// repr appends Python's repr().
func (e *evaluator) repr(b *builder, v Value) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	switch v := v.(type) {
	case noneValue:
		return b.add(template("None"))
	case boolValue:
		if v {
			return b.add(template("True"))
		}
		return b.add(template("False"))
	case intValue:
		return b.add(template(strconv.FormatInt(int64(v), 10)))
	case *bigValue:
		if err := e.digits(v); err != nil {
			return err
		}
		s, err := formatBig(v.n)
		if err != nil {
			return err
		}
		return b.add(template(s))
	case floatValue:
		return b.add(template(formatFloat(float64(v))))
	case textValue:
		if err := e.text(len(v.s)); err != nil {
			return err
		}
		return b.add(v.as(quote(v.s)))
	case undefined:
		return b.add(template("Undefined"))
	case *list:
		open, end := "[", "]"
		if v.tuple {
			open, end = "(", ")"
			if len(v.items) == 1 {
				end = ",)"
			}
		}
		return e.reprAll(b, open, v.items, end)
	case *Dict:
		if err := b.add(template("{")); err != nil {
			return err
		}
		for i, k := range v.keys {
			if i > 0 {
				if err := b.add(template(", ")); err != nil {
					return err
				}
			}
			if err := e.repr(b, k); err != nil {
				return err
			}
			if err := b.add(template(": ")); err != nil {
				return err
			}
			if err := e.repr(b, v.vals[i]); err != nil {
				return err
			}
		}
		return b.add(template("}"))
	case view:
		return e.reprAll(b, v.kind()+"([", v.elements(), "])")
	case rangeValue:
		s := fmt.Sprintf("range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			s += fmt.Sprintf(", %d", v.step)
		}
		return b.add(template(s + ")"))
	case *callable:
		if v.def != nil {
			return b.add(template("<Macro " + quote(v.def.name) + ">"))
		}
	case *loop:
		n, err := v.size()
		if err != nil {
			return err
		}
		return b.add(template(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, n)))
	case *namespace:
		if err := b.add(template("<Namespace ")); err != nil {
			return err
		}
		if err := e.repr(b, v.attrs); err != nil {
			return err
		}
		return b.add(template(">"))
	}
	return b.add(template("<" + v.kind() + ">"))
}

func (e *evaluator) reprAll(b *builder, open string, items []Value, end string) error {
	for i, item := range items {
		sep := open
		if i > 0 {
			sep = ", "
		}
		if err := b.add(template(sep)); err != nil {
			return err
		}
		if err := e.repr(b, item); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		end = open + end
	}
	return b.add(template(end))
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		q = '"'
	}
	b := make([]byte, 0, len(s)+2)
	b = append(b, q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0x100 && !unicode.IsPrint(r):
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < utf8.RuneSelf || unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			b = fmt.Appendf(b, `\U%08x`, r)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return string(append(b, q))
}

// dumper writes JSON as Python's json.dumps does.
type dumper struct {
	e        *evaluator
	b        builder
	ascii    bool
	indented bool
	indent   string
	item     string // between elements
	key      string // between a key and its value
	sorted   bool
	marked   bool // a text of the request is in it
}

// dump appends the JSON of a value at a depth of indentation.
func (d *dumper) dump(v Value, depth int) error {
	if err := d.e.enter(); err != nil {
		return err
	}
	defer d.e.leave()
	switch v := v.(type) {
	case noneValue:
		return d.put("null")
	case boolValue:
		return d.put(strconv.FormatBool(bool(v)))
	case intValue:
		return d.put(strconv.FormatInt(int64(v), 10))
	case *bigValue:
		s, err := formatBig(v.n)
		if err != nil {
			return err
		}
		return d.put(s)
	case floatValue:
		return d.put(jsonFloat(v))
	case textValue:
		return d.string(v.text)
	case *list:
		if len(v.items) == 0 {
			return d.put("[]")
		}
		return d.group("[", "]", len(v.items), depth, func(i int) error { return d.dump(v.items[i], depth+1) })
	case *Dict:
		return d.object(v, depth)
	}
	return fmt.Errorf("a %s has no JSON form", v.kind())
}

func jsonFloat(v floatValue) string {
	switch s := formatFloat(float64(v)); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

func (d *dumper) put(s string) error { return d.b.add(template(s)) }

// group writes n elements in brackets.
func (d *dumper) group(open, end string, n, depth int, element func(i int) error) error {
	if err := d.put(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := d.put(d.item); err != nil {
				return err
			}
		}
		if err := d.newline(depth + 1); err != nil {
			return err
		}
		if err := element(i); err != nil {
			return err
		}
	}
	if err := d.newline(depth); err != nil {
		return err
	}
	return d.put(end)
}

func (d *dumper) newline(depth int) error {
	if !d.indented {
		return nil
	}
	if len(d.indent) > 0 && depth > d.e.limits.Bytes/len(d.indent) {
		return d.e.text(-1)
	}
	return d.put("\n" + strings.Repeat(d.indent, depth))
}

func (d *dumper) object(v *Dict, depth int) error {
	if len(v.keys) == 0 {
		return d.put("{}")
	}
	order := make([]int, len(v.keys))
	for i := range order {
		order[i] = i
	}
	if d.sorted {
		if err := d.e.sort(order, func(i int) Value { return v.keys[i] }, false); err != nil {
			return err
		}
	}
	return d.group("{", "}", len(order), depth, func(i int) error {
		key := text{}
		switch k := v.keys[order[i]].(type) {
		case textValue:
			key = k.text
		case noneValue:
			key.s = "null"
		case boolValue:
			key.s = strconv.FormatBool(bool(k))
		case floatValue:
			key.s = jsonFloat(k)
		case intValue:
			key.s = strconv.FormatInt(int64(k), 10)
		default:
			return fmt.Errorf("a %s cannot be a key in JSON", k.kind())
		}
		if err := d.string(key); err != nil {
			return err
		}
		if err := d.put(d.key); err != nil {
			return err
		}
		return d.dump(v.vals[order[i]], depth+1)
	})
}

func (d *dumper) string(t text) error {
	d.marked = d.marked || t.marked()
	if err := d.e.text(len(t.s)); err != nil {
		return err
	}
	return d.put(string(appendJSON(make([]byte, 0, len(t.s)+2), t.s, d.ascii)))
}

// appendJSON appends a string in quotes, with the escapes that Python's json writes.
func appendJSON(b []byte, s string, ascii bool) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r == '\b':
			b = append(b, '\\', 'b')
		case r == '\f':
			b = append(b, '\\', 'f')
		case r < ' ' || ascii && r > 0x7f && r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		case ascii && r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// tojson is transformers' filter of that name.
func tojson(e *evaluator, v Value, a []Value) (Value, error) {
	d := dumper{e: e, b: builder{m: e.meter}, item: ", ", key: ": "}
	d.ascii = a[0] != nil && truth(a[0])
	switch indent := orNone(a[1]).(type) {
	case noneValue:
	case textValue:
		d.indented, d.indent, d.item = true, indent.s, ","
		d.marked = indent.marked()
	default:
		n, ok := small(indent)
		if !ok {
			return nil, unusable(indent, "a whole number")
		}
		if err := e.text(int(min(n, int64(e.limits.Bytes)+1))); n > 0 && err != nil {
			return nil, err
		}
		d.indented, d.indent, d.item = true, strings.Repeat(" ", int(max(n, 0))), ","
	}
	if _, absent := orNone(a[2]).(noneValue); !absent {
		sep := a[2]
		pair, err := e.elements(sep)
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("separators are two texts, not %d", len(pair))
		}
		item, ok1 := pair[0].(textValue)
		key, ok2 := pair[1].(textValue)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("separators are texts")
		}
		d.item, d.key = item.s, key.s
		d.marked = d.marked || item.marked() || key.marked()
	}
	d.sorted = a[3] != nil && truth(a[3])
	if err := d.dump(v, 0); err != nil {
		return nil, err
	}
	out := d.b.done()
	if d.marked {
		out = request(out.s)
	}
	return textValue{out}, nil
}

// orNone is None for an argument that was not given.
func orNone(v Value) Value {
	if v == nil {
		return None
	}
	return v
}
