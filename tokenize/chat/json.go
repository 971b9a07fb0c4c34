package chat

import (
	"bytes"
	"fmt"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting of what a request sends.
const maxJSONDepth = 200

// ParseJSON reads the JSON of a request: objects keep the order of their members (of equal names the last value
// counts, at the first one's place), whole numbers stay whole and may have 4,300 digits, other numbers beyond the range
// of a float are infinite, as in Python's json. All texts in it, names included, are the request's.
func ParseJSON(raw []byte) (Value, error) {
	r := &jsonReader{b: raw}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.blanks(); r.at < len(raw) {
		return nil, r.errorf("text behind the end")
	}
	return v, nil
}

type jsonReader struct {
	b  []byte
	at int
}

func (r *jsonReader) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", r.at, fmt.Sprintf(format, args...))
}

func (r *jsonReader) blanks() {
	for r.at < len(r.b) && (r.b[r.at] == ' ' || r.b[r.at] == '\t' || r.b[r.at] == '\n' || r.b[r.at] == '\r') {
		r.at++
	}
}

// peek is the next byte that is no blank, 0 at the end.
func (r *jsonReader) peek() byte {
	if r.blanks(); r.at < len(r.b) {
		return r.b[r.at]
	}
	return 0
}

func (r *jsonReader) value(depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, r.errorf("nested deeper than %d", maxJSONDepth)
	}
	switch c := r.peek(); {
	case c == '"':
		s, err := r.string()
		return textValue{request(s)}, err
	case c == '{':
		return r.object(depth)
	case c == '[':
		l := &list{}
		err := r.members('[', ']', func() error {
			v, err := r.value(depth + 1)
			l.items = append(l.items, v)
			return err
		})
		return l, err
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	for word, v := range map[string]Value{"null": None, "true": Bool(true), "false": Bool(false)} {
		if bytes.HasPrefix(r.b[r.at:], []byte(word)) {
			r.at += len(word)
			return v, nil
		}
	}
	if r.at >= len(r.b) {
		return nil, r.errorf("unexpected end")
	}
	return nil, r.errorf("unexpected %q", r.b[r.at])
}

func (r *jsonReader) object(depth int) (Value, error) {
	d := NewDict()
	err := r.members('{', '}', func() error {
		if r.peek() != '"' {
			return r.errorf("a name is missing")
		}
		name, err := r.string()
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return r.errorf("':' is missing")
		}
		r.at++
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		return d.put(textValue{request(name)}, v)
	})
	return d, err
}

// members reads what stands between brackets, with commas between.
func (r *jsonReader) members(open, end byte, one func() error) error {
	r.at++
	if r.peek() == end {
		r.at++
		return nil
	}
	for {
		if err := one(); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.at++
		case end:
			r.at++
			return nil
		default:
			return r.errorf("',' or '%c' is missing", end)
		}
	}
}

func (r *jsonReader) string() (string, error) {
	r.at++
	var buf []byte
	for {
		from := r.at
		for r.at < len(r.b) && r.b[r.at] != '"' && r.b[r.at] != '\\' && r.b[r.at] >= ' ' {
			r.at++
		}
		buf = append(buf, r.b[from:r.at]...)
		if r.at >= len(r.b) {
			return "", r.errorf("unclosed string")
		}
		c := r.b[r.at]
		if c < ' ' {
			return "", r.errorf("control character in a string")
		}
		r.at++
		if c == '"' {
			return valid(string(buf)), nil
		}
		if r.at >= len(r.b) {
			return "", r.errorf("unclosed string")
		}
		c = r.b[r.at]
		r.at++
		if k := bytes.IndexByte([]byte(`"\/bfnrt`), c); k >= 0 {
			buf = append(buf, "\"\\/\b\f\n\r\t"[k])
			continue
		}
		if c != 'u' {
			return "", r.errorf("unknown escape %q", c)
		}
		u, ok := r.hex()
		if !ok {
			return "", r.errorf("bad \\u escape")
		}
		if utf16.IsSurrogate(u) {
			low, mark := rune(-1), r.at
			if bytes.HasPrefix(r.b[r.at:], []byte(`\u`)) {
				r.at += 2
				low, _ = r.hex()
			}
			if u = utf16.DecodeRune(u, low); u == utf8.RuneError {
				r.at = mark // half a pair: U+FFFD
			}
		}
		buf = utf8.AppendRune(buf, u)
	}
}

func (r *jsonReader) hex() (rune, bool) {
	if r.at+4 > len(r.b) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(r.b[r.at:r.at+4]), 16, 32)
	if err != nil {
		return 0, false
	}
	r.at += 4
	return rune(v), true
}

func (r *jsonReader) digits() (n int) {
	for r.at < len(r.b) && r.b[r.at] >= '0' && r.b[r.at] <= '9' {
		r.at++
		n++
	}
	return n
}

func (r *jsonReader) number() (Value, error) {
	from := r.at
	if r.b[r.at] == '-' {
		r.at++
	}
	zero := r.at < len(r.b) && r.b[r.at] == '0'
	n := r.digits()
	if n == 0 || zero && n > 1 {
		return nil, r.errorf("bad number")
	}
	isWhole := true
	if r.at < len(r.b) && r.b[r.at] == '.' {
		isWhole = false
		r.at++
		if r.digits() == 0 {
			return nil, r.errorf("bad number")
		}
	}
	if r.at < len(r.b) && r.b[r.at]|0x20 == 'e' {
		isWhole = false
		r.at++
		if r.at < len(r.b) && (r.b[r.at] == '+' || r.b[r.at] == '-') {
			r.at++
		}
		if r.digits() == 0 {
			return nil, r.errorf("bad number")
		}
	}
	s := string(r.b[from:r.at])
	if !isWhole {
		f, _ := strconv.ParseFloat(s, 64) // beyond the range it is infinite
		return floatValue(f), nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return intValue(i), nil
	}
	if n > maxDigits {
		return nil, r.errorf("a whole number of more than %d digits", maxDigits)
	}
	i, _ := new(big.Int).SetString(s, 10)
	return whole(i), nil
}
