package chat

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// formatSpec is how one value is written: the common part of % and str.format.
type formatSpec struct {
	fill      string
	align     byte // '<', '>', '^', '=', 0: as the kind of value has it
	sign      byte // '+', ' ' or 0
	alternate bool // 0x before hexadecimal numbers
	width     int64
	grouping  string // "," or "_"
	precision int64  // -1: not given
	verb      byte
}

// fieldSize reads digits; sizes far beyond every budget stay there.
func fieldSize(s string) (n int64, rest string) {
	for rest = s; rest != "" && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
		n = min(10*n+int64(rest[0]-'0'), 1<<40)
	}
	return n, rest
}

// percent is Python's printf-style formatting.
func (e *evaluator) percent(t text, v Value) (Value, error) {
	values, many := []Value{v}, false
	if l, ok := v.(*list); ok && l.tuple {
		values, many = l.items, true
	}
	mapping, _ := v.(*Dict)
	used := 0
	next := func() (Value, error) {
		if used >= len(values) {
			return nil, fmt.Errorf("not enough values for the format")
		}
		used++
		return values[used-1], nil
	}
	size := func(s string) (int64, string, error) {
		if !strings.HasPrefix(s, "*") {
			n, rest := fieldSize(s)
			return n, rest, nil
		}
		v, err := next()
		if err != nil {
			return 0, "", err
		}
		n, ok := small(v)
		if !ok {
			return 0, "", unusable(v, "a whole number")
		}
		return n, s[1:], nil
	}
	b := builder{m: e.meter}
	at := 0
	for {
		k := strings.IndexByte(t.s[at:], '%')
		if k < 0 {
			break
		}
		if err := b.add(t.slice(at, at+k)); err != nil {
			return nil, err
		}
		rest := t.s[at+k+1:]
		var named Value
		if mapping != nil && strings.HasPrefix(rest, "(") {
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				return nil, fmt.Errorf("the format's key has no end")
			}
			var ok bool
			if named, ok = mapping.Get(rest[1:end]); !ok {
				return nil, fmt.Errorf("no value %q for the format", clip(rest[1:end]))
			}
			rest = rest[end+1:]
		}
		f := formatSpec{fill: " ", align: '>', precision: -1}
		for rest != "" && strings.IndexByte("#0- +", rest[0]) >= 0 {
			switch rest[0] {
			case '#':
				f.alternate = true
			case '0':
				if f.align == '>' {
					f.fill, f.align = "0", '='
				}
			case '-':
				f.fill, f.align = " ", '<'
			case '+':
				f.sign = '+'
			case ' ':
				if f.sign == 0 {
					f.sign = ' '
				}
			}
			rest = rest[1:]
		}
		var err error
		if f.width, rest, err = size(rest); err != nil {
			return nil, err
		}
		if f.width < 0 {
			f.fill, f.align, f.width = " ", '<', -f.width
		}
		if strings.HasPrefix(rest, ".") {
			if f.precision, rest, err = size(rest[1:]); err != nil {
				return nil, err
			}
			f.precision = max(f.precision, 0)
		}
		rest = strings.TrimLeft(rest, "hlL")
		if rest == "" {
			return nil, fmt.Errorf("the format ends in a field")
		}
		f.verb = rest[0]
		at = len(t.s) - len(rest) + 1
		if f.verb == '%' {
			if err := b.add(t.slice(at-1, at)); err != nil {
				return nil, err
			}
			continue
		}
		one := named
		if one == nil {
			if one, err = next(); err != nil {
				return nil, err
			}
		}
		out, err := e.percentField(f, one)
		if err != nil {
			return nil, err
		}
		if err := b.add(out); err != nil {
			return nil, err
		}
	}
	if used < len(values) && mapping == nil && (many || !isContainer(v)) {
		return nil, fmt.Errorf("not all values are used by the format")
	}
	err := b.add(t.slice(at, len(t.s)))
	return textValue{b.done()}, err
}

// isContainer tells of the values that % takes without a field for them.
func isContainer(v Value) bool {
	switch v.(type) {
	case *list, *Dict, rangeValue, view, undefined:
		return true
	}
	return false
}

func (e *evaluator) percentField(f formatSpec, v Value) (text, error) {
	switch f.verb {
	case 's':
		t, err := e.str(v)
		if err != nil {
			return t, err
		}
		return e.fit(f, t)
	case 'r', 'a':
		b := builder{m: e.meter}
		if err := e.repr(&b, v); err != nil {
			return text{}, err
		}
		return e.fit(f, b.done())
	case 'c':
		if t, ok := v.(textValue); ok && t.count() == 1 {
			return e.fit(f, t.text)
		}
		n, ok := small(v)
		if !ok || n < 0 || n > utf8.MaxRune {
			return text{}, unusable(v, "a character")
		}
		return e.fit(f, template(string(rune(n))))
	case 'd', 'i', 'u':
		if x, ok := v.(floatValue); ok {
			var err error
			if v, err = floatToInt(float64(x), nil, true); err != nil || v == nil {
				return text{}, fmt.Errorf("%s has no whole part", formatFloat(float64(x)))
			}
		}
		f.verb = 'd'
		if f.precision > 0 { // at least so many digits
			n := bigOf(v)
			if n == nil {
				return text{}, unusable(v, "a number")
			}
			digits, err := e.pad(template(new(big.Int).Abs(n).String()), f.precision, template("0"), '>')
			if err != nil {
				return text{}, err
			}
			return e.number(f, signString(n.Sign() < 0, f.sign), "", digits.(textValue).s)
		}
	case 'x', 'X', 'o', 'e', 'E', 'f', 'F', 'g', 'G':
	default:
		return text{}, fmt.Errorf("unknown format %%%c", f.verb)
	}
	if !isNumber(v) {
		return text{}, unusable(v, "a number")
	}
	return e.formatNumber(f, v)
}

// fit cuts a text to the precision and fills it to the width.
func (e *evaluator) fit(f formatSpec, t text) (text, error) {
	if f.precision >= 0 && f.precision < int64(t.count()) {
		t = t.slice(0, t.offsets()[f.precision])
	}
	side := rune(f.align)
	if side == '=' {
		side = '>'
	}
	fill := f.fill
	if f.align == '=' {
		fill = " " // zeros are for numbers
	}
	if side == '^' { // str.format has the larger half behind
		n := f.width - int64(t.count())
		if n <= 0 {
			return t, nil
		}
		v, err := e.pad(t, f.width-(n-n/2), template(fill), '>')
		if err != nil {
			return t, err
		}
		t, side = v.(textValue).text, '<'
	}
	v, err := e.pad(t, f.width, template(fill), side)
	if err != nil {
		return t, err
	}
	return v.(textValue).text, nil
}

func signString(negative bool, sign byte) string {
	switch {
	case negative:
		return "-"
	case sign != 0:
		return string(sign)
	}
	return ""
}

// number puts sign, prefix and digits together at the width.
func (e *evaluator) number(f formatSpec, sign, prefix, digits string) (text, error) {
	if f.grouping != "" {
		digits = grouped(digits, f.grouping)
	}
	f.precision = -1
	if f.align == '=' {
		v, err := e.pad(template(digits), f.width-int64(len(sign)+len(prefix)), template(f.fill), '>')
		if err != nil {
			return text{}, err
		}
		return template(sign + prefix + v.(textValue).s), nil
	}
	return e.fit(f, template(sign+prefix+digits))
}

// grouped puts a separator between the thousands.
func grouped(digits, sep string) string {
	whole := len(digits)
	if k := strings.IndexAny(digits, ".e%"); k >= 0 {
		whole = k
	}
	var b strings.Builder
	for i := range whole {
		if i > 0 && (whole-i)%3 == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[whole:]
}

// formatNumber writes a number by its verb; 0 stands for none.
func (e *evaluator) formatNumber(f formatSpec, v Value) (text, error) {
	bases := map[byte]int{'d': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2, 'n': 10}
	n := bigOf(v)
	if base := bases[f.verb]; base != 0 || f.verb == 0 && n != nil {
		if n == nil {
			return text{}, unusable(v, "a whole number")
		}
		base = max(base, 2)
		if f.verb == 0 {
			base = 10
		}
		digits, prefix := new(big.Int).Abs(n).Text(base), ""
		if f.alternate && base != 10 {
			prefix = "0" + string(f.verb)
		}
		if f.verb == 'X' {
			digits = strings.ToUpper(digits)
		}
		return e.number(f, signString(n.Sign() < 0, f.sign), prefix, digits)
	}
	x, err := toFloat(v)
	if err != nil {
		return text{}, err
	}
	digits, err := e.floatDigits(f, math.Abs(x))
	if err != nil {
		return text{}, err
	}
	return e.number(f, signString(math.Signbit(x) && !math.IsNaN(x), f.sign), "", digits)
}

// floatDigits writes a float that is not negative.
func (e *evaluator) floatDigits(f formatSpec, x float64) (string, error) {
	if f.precision > 1<<12 {
		return "", overBudget("a precision of more than %d digits", 1<<12)
	}
	if f.verb == 0 && f.precision < 0 {
		return formatFloat(x), nil
	}
	precision := 6
	if f.precision >= 0 {
		precision = int(f.precision)
	}
	if math.IsInf(x, 0) || math.IsNaN(x) {
		s := formatFloat(x)
		if f.verb >= 'A' && f.verb <= 'Z' {
			s = strings.ToUpper(s)
		}
		if f.verb == '%' {
			s += "%"
		}
		return s, nil
	}
	switch f.verb {
	case 'f', 'F':
		return strconv.FormatFloat(x, 'f', precision, 64), nil
	case '%':
		return strconv.FormatFloat(100*x, 'f', precision, 64) + "%", nil
	case 'e', 'E':
		return strconv.FormatFloat(x, f.verb, precision, 64), nil
	case 'g', 'G', 'n', 0:
		return general(x, max(precision, 1), f.verb), nil
	}
	return "", fmt.Errorf("unknown format code %q", f.verb)
}

// general is the format g: precision counts significant digits, and small and large numbers get an exponent.
func general(x float64, precision int, verb byte) string {
	s := strconv.FormatFloat(x, 'e', precision-1, 64)
	k := strings.IndexByte(s, 'e')
	exp, _ := strconv.Atoi(s[k+1:])
	strip := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	limit := precision
	if verb == 0 {
		limit = precision - 1 // without a verb one digit stays behind the point
	}
	var out string
	if exp < -4 || exp >= limit {
		out = strip(s[:k]) + s[k:]
	} else {
		out = strip(strconv.FormatFloat(x, 'f', precision-1-exp, 64))
		if verb == 0 && !strings.Contains(out, ".") {
			out += ".0"
		}
	}
	if verb == 'G' {
		out = strings.ToUpper(out)
	}
	return out
}

func formatFilter(e *evaluator, v Value, a arguments) (Value, error) {
	t, err := e.str(v)
	if err != nil {
		return nil, err
	}
	if len(a.names) == 0 {
		return e.percent(t, tuple(a.positional...))
	}
	if len(a.positional) > 0 {
		return nil, fmt.Errorf("format takes values by place or by name, not both")
	}
	d := NewDict()
	for i, name := range a.names {
		d.Set(name, a.named[i])
	}
	return e.percent(t, d)
}

// format is str.format.
func (e *evaluator) format(t text, a arguments) (Value, error) {
	b := builder{m: e.meter}
	auto := 0
	for at := 0; ; {
		k := strings.IndexAny(t.s[at:], "{}")
		if k < 0 {
			err := b.add(t.slice(at, len(t.s)))
			return textValue{b.done()}, err
		}
		k += at
		if k+1 < len(t.s) && t.s[k+1] == t.s[k] {
			if err := b.add(t.slice(at, k+1)); err != nil {
				return nil, err
			}
			at = k + 2
			continue
		}
		if err := b.add(t.slice(at, k)); err != nil {
			return nil, err
		}
		end := strings.IndexByte(t.s[k:], '}')
		if t.s[k] == '}' || end < 0 {
			return nil, fmt.Errorf("single '%c' in the format", t.s[k])
		}
		out, err := e.formatField(t.s[k+1:k+end], a, &auto)
		if err != nil {
			return nil, err
		}
		if err := b.add(out); err != nil {
			return nil, err
		}
		at = k + end + 1
	}
}

// formatField writes one {name!conversion:spec}.
func (e *evaluator) formatField(field string, a arguments, auto *int) (text, error) {
	field, spec, _ := strings.Cut(field, ":")
	field, conversion, _ := strings.Cut(field, "!")
	if strings.ContainsAny(field+spec, "{}") {
		return text{}, fmt.Errorf("fields inside of fields are not supported")
	}
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	v, err := a.lookup(field[:end], auto)
	if err != nil {
		return text{}, err
	}
	for rest := field[end:]; rest != ""; {
		var key string
		if rest[0] == '.' {
			n := strings.IndexAny(rest[1:], ".[")
			if n < 0 {
				n = len(rest) - 1
			}
			key, rest = rest[1:1+n], rest[1+n:]
			v, err = e.attribute(v, key)
		} else {
			n := strings.IndexByte(rest, ']')
			if n < 0 {
				return text{}, fmt.Errorf("']' is missing in a format field")
			}
			key, rest = rest[1:n], rest[n+1:]
			if i, bad := strconv.ParseInt(key, 10, 64); bad == nil {
				v, err = e.item(v, intValue(i))
			} else {
				v, err = e.item(v, Trusted(key))
			}
		}
		if err != nil {
			return text{}, err
		}
	}
	switch conversion {
	case "":
	case "s", "r", "a":
		b := builder{m: e.meter}
		if conversion == "s" {
			err = e.print(&b, v)
		} else {
			err = e.repr(&b, v)
		}
		if err != nil {
			return text{}, err
		}
		v = textValue{b.done()}
	default:
		return text{}, fmt.Errorf("unknown conversion %q", clip(conversion))
	}
	return e.formatValue(v, spec)
}

// lookup is the argument that a field names: by a number, by a name, or the next one.
func (a arguments) lookup(name string, auto *int) (Value, error) {
	if name == "" {
		name = strconv.Itoa(*auto)
		*auto++
	}
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(a.positional) {
			return nil, fmt.Errorf("no value %d for the format", i)
		}
		return a.positional[i], nil
	}
	for i, n := range a.names {
		if n == name {
			return a.named[i], nil
		}
	}
	return nil, fmt.Errorf("no value %q for the format", clip(name))
}

// formatValue is Python's format(v, spec): [[fill]align][sign][#][0][width][grouping][.precision][type].
func (e *evaluator) formatValue(v Value, spec string) (text, error) {
	if spec == "" {
		return e.str(v)
	}
	f := formatSpec{fill: " ", precision: -1}
	rest := spec
	_, w := utf8.DecodeRuneInString(rest)
	aligns := "<>=^"
	switch {
	case len(rest) > w && strings.IndexByte(aligns, rest[w]) >= 0:
		f.fill, f.align, rest = rest[:w], rest[w], rest[w+1:]
	case strings.IndexByte(aligns, rest[0]) >= 0:
		f.align, rest = rest[0], rest[1:]
	}
	if rest != "" && strings.IndexByte("+- ", rest[0]) >= 0 {
		if rest[0] != '-' {
			f.sign = rest[0]
		}
		rest = rest[1:]
	}
	if strings.HasPrefix(rest, "#") {
		f.alternate, rest = true, rest[1:]
	}
	if strings.HasPrefix(rest, "0") {
		if f.align == 0 {
			f.fill, f.align = "0", '='
		}
		rest = rest[1:]
	}
	f.width, rest = fieldSize(rest)
	if rest != "" && (rest[0] == ',' || rest[0] == '_') {
		f.grouping, rest = rest[:1], rest[1:]
	}
	if strings.HasPrefix(rest, ".") {
		digits := rest[1:]
		if f.precision, rest = fieldSize(digits); rest == digits {
			return text{}, fmt.Errorf("the format %q has no precision", clip(spec))
		}
	}
	if rest != "" {
		f.verb, rest = rest[0], rest[1:]
	}
	if rest != "" {
		return text{}, fmt.Errorf("bad format %q", clip(spec))
	}
	if t, ok := v.(textValue); ok {
		if f.verb != 0 && f.verb != 's' || f.sign != 0 || f.grouping != "" || f.alternate || f.align == '=' && f.fill != "0" {
			return text{}, fmt.Errorf("bad format %q for a text", clip(spec))
		}
		if f.align == 0 || f.align == '=' {
			f.align = '<'
		}
		return e.fit(f, t.text)
	}
	_, isBool := v.(boolValue)
	if !isNumber(v) || isBool && f.verb == 's' {
		return text{}, unusable(v, "a text or number")
	}
	if f.align == 0 {
		f.align = '>'
	}
	if f.verb == 'c' {
		return e.percentField(f, v)
	}
	return e.formatNumber(f, v)
}
