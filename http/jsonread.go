package http

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a request body, besides its size.
const (
	maxDepth  = 256     // objects and lists inside each other
	maxFields = 1 << 16 // of one object
)

// badField is what is wrong with a request: the field's path, as in
// "input[3]", and what it should have been. An empty path means the body as a
// whole.
type badField struct {
	Path   string
	Reason string
}

func (e *badField) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

func bad(path, format string, args ...any) error {
	return &badField{Path: path, Reason: fmt.Sprintf(format, args...)}
}

// within puts step in front of the path of an error on its way up.
func within(step string, err error) error {
	step = shorten(step)
	if e, ok := err.(*badField); ok {
		switch {
		case e.Path == "":
			e.Path = step
		case e.Path[0] == '[':
			e.Path = step + e.Path
		default:
			e.Path = step + "." + e.Path
		}
	}
	return err
}

// shorten bounds what an answer repeats of a request.
func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// jsonReader reads one JSON text (RFC 8259) from front to back. Unlike
// encoding/json it names the path of every fault, refuses what would change
// its meaning silently (invalid UTF-8, half a surrogate pair) and nests no
// deeper than maxDepth. What it returns does not alias the text.
type jsonReader struct {
	text []byte
	at   int
	deep int
	// numeric strings count as numbers
	lenient bool
}

// Kinds of a value, told by its first byte.
const (
	endKind    = 0
	objectKind = '{'
	arrayKind  = '['
	stringKind = '"'
	numberKind = '0'
	boolKind   = 't'
	nullKind   = 'n'
	wrongKind  = '?'
)

var kindNames = map[byte]string{
	endKind: "nothing", objectKind: "an object", arrayKind: "a list", stringKind: "a string",
	numberKind: "a number", boolKind: "a boolean", nullKind: "null", wrongKind: "something that is not JSON",
}

// kind passes over blanks and says what comes next.
func (r *jsonReader) kind() byte {
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			continue
		case '{', '[', '"':
			return c
		case 't', 'f', 'n':
			return r.literal()
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			return numberKind
		default:
			return wrongKind
		}
	}
	return endKind
}

// literal is the kind of the word that comes next.
func (r *jsonReader) literal() byte {
	rest := r.text[r.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")), bytes.HasPrefix(rest, []byte("false")):
		return boolKind
	case bytes.HasPrefix(rest, []byte("null")):
		return nullKind
	}
	return wrongKind
}

// syntax is the error of a text that is not JSON at the current byte.
func (r *jsonReader) syntax(want string) error {
	if r.at >= len(r.text) {
		return bad("", "not valid JSON: the text ends where %s should be", want)
	}
	return bad("", "not valid JSON: byte %d should be %s", r.at, want)
}

// mismatch is the error of a value of the wrong kind.
func (r *jsonReader) mismatch(want string) error {
	switch k := r.kind(); k {
	case endKind, wrongKind:
		return r.syntax(want)
	default:
		return bad("", "must be %s, not %s", want, kindNames[k])
	}
}

// end checks that nothing follows.
func (r *jsonReader) end() error {
	if r.kind() != endKind {
		return r.syntax("the end")
	}
	return nil
}

// skip passes over c, after blanks.
func (r *jsonReader) skip(c byte) bool {
	r.kind()
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) enter() error {
	if r.deep++; r.deep > maxDepth {
		return bad("", "nested deeper than %d levels", maxDepth)
	}
	return nil
}

// object reads an object and calls field for each key; field reads the value.
func (r *jsonReader) object(field func(key string) error) error {
	if r.kind() != objectKind {
		return r.mismatch("an object")
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.deep-- }()
	r.at++
	if r.skip('}') {
		return nil
	}
	for n := 0; ; n++ {
		if r.kind() != stringKind {
			return r.syntax("a key")
		}
		key, err := r.string()
		if err != nil {
			return err
		}
		if n == maxFields {
			return bad("", "more than %d fields in one object", maxFields)
		}
		if !r.skip(':') {
			return r.syntax("':'")
		}
		if err := field(key); err != nil {
			return within(key, err)
		}
		if r.skip('}') {
			return nil
		}
		if !r.skip(',') {
			return r.syntax("',' or '}'")
		}
	}
}

// array reads a list and calls item for each index; item reads the value.
func (r *jsonReader) array(item func(i int) error) error {
	if r.kind() != arrayKind {
		return r.mismatch("a list")
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.deep-- }()
	r.at++
	if r.skip(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := item(i); err != nil {
			return within("["+strconv.Itoa(i)+"]", err)
		}
		if r.skip(']') {
			return nil
		}
		if !r.skip(',') {
			return r.syntax("',' or ']'")
		}
	}
}

// discard passes over a value of any kind.
func (r *jsonReader) discard() error {
	switch r.kind() {
	case objectKind:
		return r.object(func(string) error { return r.discard() })
	case arrayKind:
		return r.array(func(int) error { return r.discard() })
	case stringKind:
		_, err := r.string()
		return err
	case numberKind:
		_, err := r.number()
		return err
	case boolKind:
		_, err := r.bool()
		return err
	}
	if r.null() {
		return nil
	}
	return r.syntax("a value")
}

// null passes over null, if that comes next.
func (r *jsonReader) null() bool {
	if r.kind() != nullKind {
		return false
	}
	r.at += len("null")
	return true
}

func (r *jsonReader) bool() (bool, error) {
	if r.kind() != boolKind {
		return false, r.mismatch("a boolean")
	}
	if r.text[r.at] == 't' {
		r.at += len("true")
		return true, nil
	}
	r.at += len("false")
	return false, nil
}

func (r *jsonReader) string() (string, error) {
	if r.kind() != stringKind {
		return "", r.mismatch("a string")
	}
	start := r.at + 1
	end := start
	for end < len(r.text) && r.text[end] != '"' && r.text[end] != '\\' && r.text[end] >= ' ' {
		end++
	}
	if end < len(r.text) && r.text[end] == '"' { // nothing to unescape
		r.at = end + 1
		s := r.text[start:end]
		if !utf8.Valid(s) {
			return "", bad("", "is not valid UTF-8")
		}
		return string(s), nil
	}
	return r.escaped(start, end)
}

// escaped reads the rest of a string from at on, where an escape may stand.
func (r *jsonReader) escaped(start, at int) (string, error) {
	out := append(make([]byte, 0, 2*(at-start)+16), r.text[start:at]...)
	for r.at = at; r.at < len(r.text); {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			if !utf8.Valid(out) {
				return "", bad("", "is not valid UTF-8")
			}
			return string(out), nil
		case c < ' ':
			return "", r.syntax("an escaped control character")
		case c != '\\':
			run := r.at
			for run < len(r.text) && r.text[run] != '"' && r.text[run] != '\\' && r.text[run] >= ' ' {
				run++
			}
			out = append(out, r.text[r.at:run]...)
			r.at = run
		default:
			r.at++
			if r.at == len(r.text) {
				return "", r.syntax("an escape")
			}
			e := r.text[r.at]
			if e == 'u' {
				u, err := r.unicode()
				if err != nil {
					return "", err
				}
				out = utf8.AppendRune(out, u)
				continue
			}
			i := strings.IndexByte(`"\/bfnrt`, e)
			if i < 0 {
				return "", r.syntax("an escape")
			}
			out = append(out, "\"\\/\b\f\n\r\t"[i])
			r.at++
		}
	}
	return "", r.syntax("the end of a string")
}

// unicode reads an escape from its 'u' on, the second half of a surrogate pair
// included.
func (r *jsonReader) unicode() (rune, error) {
	hi, err := r.hex4()
	if err != nil || !utf16.IsSurrogate(hi) {
		return hi, err
	}
	if bytes.HasPrefix(r.text[r.at:], []byte(`\u`)) {
		r.at++
		lo, err := r.hex4()
		if err != nil {
			return 0, err
		}
		if u := utf16.DecodeRune(hi, lo); u != utf8.RuneError {
			return u, nil
		}
	}
	return 0, bad("", "holds half of a surrogate pair")
}

func (r *jsonReader) hex4() (rune, error) {
	if r.at+5 > len(r.text) {
		r.at = len(r.text)
		return 0, r.syntax("four hexadecimal digits")
	}
	u, err := strconv.ParseUint(string(r.text[r.at+1:r.at+5]), 16, 16)
	if err != nil {
		return 0, r.syntax("'u' and four hexadecimal digits")
	}
	r.at += 5
	return rune(u), nil
}

// number reads a number's text.
func (r *jsonReader) number() (string, error) {
	if r.kind() != numberKind {
		return "", r.mismatch("a number")
	}
	start := r.at
	if r.text[r.at] == '-' {
		r.at++
	}
	if r.at < len(r.text) && r.text[r.at] == '0' {
		r.at++
	} else if !r.digits() {
		return "", r.syntax("a digit")
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		if !r.digits() {
			return "", r.syntax("a digit")
		}
	}
	if r.at < len(r.text) && r.text[r.at]|0x20 == 'e' {
		r.at++
		if r.at < len(r.text) && (r.text[r.at] == '+' || r.text[r.at] == '-') {
			r.at++
		}
		if !r.digits() {
			return "", r.syntax("a digit")
		}
	}
	return string(r.text[start:r.at]), nil
}

// digits passes over at least one digit.
func (r *jsonReader) digits() bool {
	start := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

// integer reads a whole number of at least lo and at most hi. 3.0 and 3e0 are
// whole; where strings count as numbers, so is "3".
func (r *jsonReader) integer(lo, hi int64) (int64, error) {
	var text string
	var err error
	if r.lenient && r.kind() == stringKind {
		if text, err = r.string(); err != nil {
			return 0, err
		}
		n := jsonReader{text: []byte(text)}
		if text, err = n.number(); err != nil || n.end() != nil {
			return 0, bad("", "must be a number, not a string")
		}
	} else if text, err = r.number(); err != nil {
		return 0, err
	}
	plain, isWhole := whole(text)
	if !isWhole {
		return 0, bad("", "must be a whole number")
	}
	v, err := strconv.ParseInt(plain, 10, 64)
	if err != nil || v < lo || v > hi {
		return 0, outside(lo, hi)
	}
	return v, nil
}

// whole writes a JSON number without point and exponent, exactly, and says
// whether that is possible. What is too large for an int64 stays too large, but
// is not written out.
func whole(number string) (string, bool) {
	i := strings.IndexAny(number, ".eE")
	if i < 0 {
		return number, true
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	sign := ""
	if mantissa[0] == '-' {
		sign, mantissa = "-", mantissa[1:]
	}
	before, behind, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(before+behind, "0")
	zeros := len(before) - len(digits) // to be appended, but for the exponent
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return "0", true
	}
	const most = 1 << 40 // further than any text could make up for
	if exponent != "" {
		e, _ := strconv.ParseInt(exponent, 10, 64) // at its bound where it overflows
		zeros += int(min(max(e, -most), most))
	}
	if zeros < 0 {
		return "", false
	}
	return sign + digits + strings.Repeat("0", min(zeros, len("9223372036854775807"))), true
}

func outside(lo, hi int64) error { return bad("", "must be from %d to %d", lo, hi) }
