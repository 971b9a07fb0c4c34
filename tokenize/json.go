package tokenize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader walks over JSON without building values: a vocabulary of 250,000 entries is read straight into its tables.
// It takes what encoding/json takes; strings come out as valid UTF-8.
type jsonReader struct {
	b     []byte
	at    int
	depth int
}

const maxJSONDepth = 200

func (r *jsonReader) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", r.at, fmt.Sprintf(format, args...))
}

// peek is the next byte that is no blank, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.at < len(r.b) {
		switch c := r.b[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) expect(c byte) error {
	if got := r.peek(); got != c || r.at >= len(r.b) {
		if r.at >= len(r.b) {
			return r.errorf("unexpected end, %q is missing", c)
		}
		return r.errorf("%q where %q belongs", got, c)
	}
	r.at++
	return nil
}

// object calls member for each key; member must read the value.
func (r *jsonReader) object(member func(key []byte) error) error {
	return r.list('{', '}', func() error {
		key, err := r.string(nil)
		if err != nil {
			return err
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		return member(key)
	})
}

// array calls element for each element, which must read it.
func (r *jsonReader) array(element func() error) error { return r.list('[', ']', element) }

func (r *jsonReader) list(open, end byte, item func() error) error {
	if err := r.expect(open); err != nil {
		return err
	}
	if r.depth++; r.depth > maxJSONDepth {
		return r.errorf("nested deeper than %d", maxJSONDepth)
	}
	defer func() { r.depth-- }()
	if r.peek() == end {
		r.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if r.peek() == ',' {
			r.at++
			continue
		}
		return r.expect(end)
	}
}

// string appends the next string to buf.
func (r *jsonReader) string(buf []byte) ([]byte, error) {
	if r.peek() != '"' {
		return nil, r.errorf("a string is missing")
	}
	r.at++
	start := len(buf)
	for {
		from := r.at
		for r.at < len(r.b) && r.b[r.at] != '"' && r.b[r.at] != '\\' && r.b[r.at] >= ' ' {
			r.at++
		}
		buf = append(buf, r.b[from:r.at]...)
		if r.at >= len(r.b) {
			return nil, r.errorf("unclosed string")
		}
		switch c := r.b[r.at]; {
		case c == '"':
			r.at++
			if !utf8.Valid(buf[start:]) {
				buf = append(buf[:start], toValid(string(buf[start:]))...)
			}
			return buf, nil
		case c < ' ':
			return nil, r.errorf("control character in a string")
		}
		r.at++
		if r.at >= len(r.b) {
			return nil, r.errorf("unclosed string")
		}
		c := r.b[r.at]
		r.at++
		switch c {
		case '"', '\\', '/':
			buf = append(buf, c)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			u, err := r.hex()
			if err != nil {
				return nil, err
			}
			if utf16.IsSurrogate(u) {
				low := rune(-1)
				if bytes.HasPrefix(r.b[r.at:], []byte(`\u`)) {
					mark := r.at
					r.at += 2
					if low, err = r.hex(); err != nil {
						return nil, err
					}
					if utf16.DecodeRune(u, low) == utf8.RuneError {
						r.at = mark
					}
				}
				u = utf16.DecodeRune(u, low)
			}
			buf = utf8.AppendRune(buf, u)
		default:
			return nil, r.errorf("unknown escape %q", c)
		}
	}
}

func (r *jsonReader) hex() (rune, error) {
	if r.at+4 > len(r.b) {
		return 0, r.errorf("unclosed string")
	}
	v, err := strconv.ParseUint(string(r.b[r.at:r.at+4]), 16, 32)
	if err != nil {
		return 0, r.errorf("bad \\u escape")
	}
	r.at += 4
	return rune(v), nil
}

// number is the text of the next number.
func (r *jsonReader) number() ([]byte, error) {
	r.peek()
	from := r.at
	for r.at < len(r.b) {
		switch c := r.b[r.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			r.at++
			continue
		}
		break
	}
	if from == r.at {
		return nil, r.errorf("a number is missing")
	}
	return r.b[from:r.at], nil
}

// id is the next number as a token id.
func (r *jsonReader) id() (int32, error) {
	n, err := r.number()
	if err != nil {
		return 0, err
	}
	v := int64(0)
	for _, c := range n {
		if c < '0' || c > '9' || v > maxTokenID {
			return 0, r.errorf("%q is no token id (0 to %d)", clip(string(n)), maxTokenID)
		}
		v = 10*v + int64(c-'0')
	}
	if v > maxTokenID {
		return 0, r.errorf("%q is no token id (0 to %d)", clip(string(n)), maxTokenID)
	}
	return int32(v), nil
}

// maxTokenID is far above any real vocabulary and far below what would overflow.
const maxTokenID = 1<<24 - 1

func (r *jsonReader) float() (float64, error) {
	n, err := r.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return 0, r.errorf("%q is no number", clip(string(n)))
	}
	return v, nil
}

// skip passes over a value of any kind. Inside of objects and arrays it looks at strings and brackets only; who reads
// them later finds the other mistakes.
func (r *jsonReader) skip() error {
	switch c := r.peek(); {
	case c == '{' || c == '[':
		return r.skipNested()
	case c == '"':
		return r.skipString()
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.number()
		return err
	}
	for _, word := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(r.b[r.at:], []byte(word)) {
			r.at += len(word)
			return nil
		}
	}
	if r.at >= len(r.b) {
		return r.errorf("unexpected end")
	}
	return r.errorf("unexpected %q", r.b[r.at])
}

func (r *jsonReader) skipNested() error {
	var open [maxJSONDepth]byte
	depth := 0
	for r.at < len(r.b) {
		switch c := r.b[r.at]; c {
		case '"':
			if err := r.skipString(); err != nil {
				return err
			}
			continue
		case '{', '[':
			if r.depth+depth >= maxJSONDepth {
				return r.errorf("nested deeper than %d", maxJSONDepth)
			}
			open[depth] = c + 2 // the closing bracket
			depth++
		case '}', ']':
			if depth--; open[depth] != c {
				return r.errorf("%q where %q belongs", c, open[depth])
			}
			if depth == 0 {
				r.at++
				return nil
			}
		}
		r.at++
	}
	return r.errorf("unexpected end")
}

func (r *jsonReader) skipString() error {
	for r.at++; r.at < len(r.b); r.at++ {
		switch r.b[r.at] {
		case '"':
			r.at++
			return nil
		case '\\':
			r.at++
		}
	}
	return r.errorf("unclosed string")
}

// raw passes over a value and gives its text.
func (r *jsonReader) raw() (json.RawMessage, error) {
	r.peek()
	from := r.at
	err := r.skip()
	return json.RawMessage(r.b[from:r.at]), err
}

// members splits an object into its members' texts; of equal keys the last one counts.
func members(b []byte) (map[string]json.RawMessage, error) {
	r := &jsonReader{b: b}
	out := map[string]json.RawMessage{}
	err := r.object(func(key []byte) error {
		if len(out) > maxMembers {
			return r.errorf("more than %d members", maxMembers)
		}
		v, err := r.raw()
		out[string(key)] = v
		return err
	})
	if err == nil && r.peek() != 0 {
		err = r.errorf("text behind the end")
	}
	return out, err
}

// maxMembers bounds the objects other than vocabularies.
const maxMembers = 1 << 16

// isNull tells whether a member is absent or null.
func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// field reads a member that must be there.
func field[T any](o map[string]json.RawMessage, key string) (v T, err error) {
	if _, ok := o[key]; !ok {
		return v, fmt.Errorf("%s is missing", key)
	}
	return optional(o, key, v)
}

// optional reads a member that may be absent or null.
func optional[T any](o map[string]json.RawMessage, key string, absent T) (T, error) {
	if isNull(o[key]) {
		return absent, nil
	}
	var v T
	if err := json.Unmarshal(o[key], &v); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return absent, fmt.Errorf("%s: %s where %s belongs", key, typ.Value, typ.Type)
		}
		return absent, fmt.Errorf("%s: %w", key, err)
	}
	return v, nil
}
