package chat

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is what a piece of the source is.
type tokenKind uint8

const (
	endToken      tokenKind = iota
	dataToken               // text outside of tags
	varBegin                // {{
	varEnd                  // }}
	blockBegin              // {%
	blockEnd                // %}
	nameToken               // also keywords
	stringToken             // unescaped
	numberToken             // value has the number
	operatorToken           // text has the operator
)

type token struct {
	kind  tokenKind
	line  int
	text  string
	value Value
}

func (t token) String() string {
	switch t.kind {
	case endToken:
		return "the end of the template"
	case dataToken:
		return "text"
	case varBegin:
		return "'{{'"
	case varEnd:
		return "'}}'"
	case blockBegin:
		return "'{%'"
	case blockEnd:
		return "'%}'"
	case stringToken:
		return "a string"
	case numberToken:
		return "a number"
	}
	return fmt.Sprintf("'%s'", clip(t.text))
}

// clip keeps quotes of strangers' text in errors short.
func clip(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// lexer cuts a template into tokens, with trim_blocks (the line break behind a block tag goes) and lstrip_blocks (the
// blanks before a block tag that begins its line go).
type lexer struct {
	src     string
	at      int
	line    int
	fresh   bool // what was read last ended a line
	open    []byte
	tokens  []token
	problem error
}

// lex reads a whole template. Line breaks are \n, and one at the end is dropped.
func lex(source string) ([]token, error) {
	if strings.Contains(source, "\r") {
		source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	}
	l := &lexer{src: valid(strings.TrimSuffix(source, "\n")), line: 1, fresh: true}
	for l.at < len(l.src) && l.problem == nil {
		l.data()
	}
	l.emit(endToken, "")
	return l.tokens, l.problem
}

// valid is s with what is no UTF-8 replaced.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (l *lexer) fail(format string, args ...any) {
	if l.problem == nil {
		l.problem = fmt.Errorf("line %d: %s", l.line, fmt.Sprintf(format, args...))
	}
}

func (l *lexer) emit(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind: kind, line: l.line, text: text})
}

// advance passes over n bytes.
func (l *lexer) advance(n int) {
	if n > 0 {
		l.line += strings.Count(l.src[l.at:l.at+n], "\n")
		l.fresh = l.src[l.at+n-1] == '\n'
		l.at += n
	}
}

// data reads the text before the next tag, then the tag.
func (l *lexer) data() {
	rest := l.src[l.at:]
	n := tagStart(rest)
	if n < 0 {
		l.emit(dataToken, rest)
		l.advance(len(rest))
		return
	}
	tag := rest[n : n+2]
	sign := signOf(rest[n+2:])
	if text := leftStrip(rest[:n], sign, tag != "{{", l.fresh); text != "" {
		l.emit(dataToken, text)
	}
	l.advance(n)
	if tag == "{%" {
		if size := rawBegin(l.src[l.at:]); size > 0 {
			l.advance(size)
			l.raw()
			return
		}
	}
	l.advance(2 + len(sign))
	switch tag {
	case "{#":
		l.comment()
	case "{{":
		l.emit(varBegin, tag)
		l.tag(varEnd)
	default:
		l.emit(blockBegin, tag)
		l.tag(blockEnd)
	}
}

// tagStart is where the next tag begins, -1 if there is none.
func tagStart(s string) int {
	for i := 0; ; {
		k := strings.IndexByte(s[i:], '{')
		if k < 0 || i+k+1 >= len(s) {
			return -1
		}
		i += k
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
		i++
	}
}

func signOf(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[:1]
	}
	return ""
}

// leftStrip is the text that stays before a tag.
func leftStrip(text, sign string, block, fresh bool) string {
	if sign == "-" {
		return strings.TrimRightFunc(text, isBlank)
	}
	if sign == "" && block {
		from := strings.LastIndexByte(text, '\n') + 1
		if (from > 0 || fresh) && strings.TrimLeftFunc(text[from:], isBlank) == "" {
			return text[:from]
		}
	}
	return text
}

func blanks(s string) int { return len(s) - len(strings.TrimLeftFunc(s, isBlank)) }

// closing is the length of a tag's end at the start of s with what it eats, 0 if there is none.
func closing(s, end string, trim bool) int {
	switch {
	case strings.HasPrefix(s, "-"+end):
		return 1 + len(end) + blanks(s[1+len(end):])
	case trim && strings.HasPrefix(s, "+"+end):
		return 1 + len(end)
	case strings.HasPrefix(s, end):
		if trim && strings.HasPrefix(s[len(end):], "\n") {
			return len(end) + 1
		}
		return len(end)
	}
	return 0
}

// rawBegin is the length of a {% raw %} at the start of s; the line break behind it stays.
func rawBegin(s string) int {
	i := 2 + len(signOf(s[2:]))
	i += blanks(s[i:])
	if !strings.HasPrefix(s[i:], "raw") {
		return 0
	}
	i += len("raw")
	i += blanks(s[i:])
	if strings.HasPrefix(s[i:], "+") {
		return 0
	}
	if n := closing(s[i:], "%}", false); n > 0 {
		return i + n
	}
	return 0
}

// raw reads text up to {% endraw %}.
func (l *lexer) raw() {
	rest := l.src[l.at:]
	for i := 0; ; i += 2 {
		k := strings.Index(rest[i:], "{%")
		if k < 0 {
			l.fail("raw has no endraw")
			return
		}
		i += k
		sign := signOf(rest[i+2:])
		j := i + 2 + len(sign)
		j += blanks(rest[j:])
		if !strings.HasPrefix(rest[j:], "endraw") {
			continue
		}
		j += len("endraw")
		j += blanks(rest[j:])
		n := closing(rest[j:], "%}", true)
		if n == 0 {
			continue
		}
		if text := leftStrip(rest[:i], sign, true, l.fresh); text != "" {
			l.emit(dataToken, text)
		}
		l.advance(j + n)
		return
	}
}

func (l *lexer) comment() {
	rest := l.src[l.at:]
	k := strings.Index(rest, "#}")
	if k < 0 {
		l.fail("a comment has no end")
		return
	}
	if k > 0 && (rest[k-1] == '-' || rest[k-1] == '+') {
		k--
	}
	l.advance(k + closing(rest[k:], "#}", true))
}

// tag reads the tokens of a tag up to its end.
func (l *lexer) tag(end tokenKind) {
	mark, trim := "}}", false
	if end == blockEnd {
		mark, trim = "%}", true
	}
	for l.problem == nil {
		rest := l.src[l.at:]
		if rest == "" {
			return // the parser says what is missing
		}
		if len(l.open) == 0 {
			if n := closing(rest, mark, trim); n > 0 {
				l.emit(end, mark)
				l.advance(n)
				return
			}
		}
		l.token(rest)
	}
}

var operators = []string{"**", "//", "==", "!=", ">=", "<="}

// token reads one token, or blanks.
func (l *lexer) token(rest string) {
	if n := blanks(rest); n > 0 {
		l.advance(n)
		return
	}
	switch c := rest[0]; {
	case c >= '0' && c <= '9':
		l.number(rest)
		return
	case c == '\'' || c == '"':
		l.string(rest)
		return
	}
	if n := len(rest) - len(strings.TrimLeftFunc(rest, isWord)); n > 0 {
		l.emit(nameToken, rest[:n])
		l.advance(n)
		return
	}
	op := ""
	for _, o := range operators {
		if strings.HasPrefix(rest, o) {
			op = o
		}
	}
	if op == "" {
		if !strings.Contains("+-/*%~[](){}><=.:|,;", rest[:1]) {
			r, _ := utf8.DecodeRuneInString(rest)
			l.fail("unexpected character %q", r)
			return
		}
		op = rest[:1]
	}
	switch op {
	case "(":
		l.open = append(l.open, ')')
	case "[":
		l.open = append(l.open, ']')
	case "{":
		l.open = append(l.open, '}')
	case ")", "]", "}":
		n := len(l.open)
		if n == 0 || l.open[n-1] != op[0] {
			l.fail("unexpected '%s'", op)
			return
		}
		l.open = l.open[:n-1]
	}
	l.emit(operatorToken, op)
	l.advance(len(op))
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || r >= utf8.RuneSelf && unicode.Is(unicode.M, r)
}

// number reads a number as Python writes it: 1_000, 0x1f, 1.5e3.
func (l *lexer) number(rest string) {
	digits := func(s string, test func(byte) bool) (n int) {
		for n < len(s) && (test(s[n]) || s[n] == '_' && n > 0 && s[n-1] != '_' && n+1 < len(s) && test(s[n+1])) {
			n++
		}
		return n
	}
	decimal := func(c byte) bool { return c >= '0' && c <= '9' }
	n := digits(rest, decimal)
	size, float := n, false
	if size < len(rest) && rest[size] == '.' {
		if k := digits(rest[size+1:], decimal); k > 0 {
			size, float = size+1+k, true
		}
	}
	if size < len(rest) && (rest[size] == 'e' || rest[size] == 'E') {
		k := size + 1
		if k < len(rest) && (rest[k] == '+' || rest[k] == '-') {
			k++
		}
		if d := digits(rest[k:], decimal); d > 0 {
			size, float = k+d, true
		}
	}
	t := token{kind: numberToken, line: l.line}
	if float && !(len(l.tokens) > 0 && l.src[l.at-1] == '.') {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(rest[:size], "_", ""), 64) // beyond the range: infinite, as in Python
		t.value = floatValue(f)
		l.tokens = append(l.tokens, t)
		l.advance(size)
		return
	}
	base := 10
	if rest[0] == '0' {
		if n = digits(rest, func(c byte) bool { return c == '0' }); n == 1 && len(rest) > 2 {
			var k int
			switch rest[1] | 0x20 {
			case 'x':
				k = digits(rest[2:], func(c byte) bool { return decimal(c) || c|0x20 >= 'a' && c|0x20 <= 'f' })
				base = 16
			case 'o':
				k = digits(rest[2:], func(c byte) bool { return c >= '0' && c <= '7' })
				base = 8
			case 'b':
				k = digits(rest[2:], func(c byte) bool { return c == '0' || c == '1' })
				base = 2
			}
			if k > 0 {
				n = 2 + k
			} else {
				base = 10
			}
		}
	}
	s := strings.ReplaceAll(rest[:n], "_", "")
	if base != 10 {
		s = s[2:]
	}
	if len(s) > maxDigits {
		l.fail("a number of more than %d digits", maxDigits)
		return
	}
	i, ok := new(big.Int).SetString(s, base)
	if !ok {
		l.fail("bad number %q", clip(rest[:n]))
		return
	}
	t.value = whole(i)
	l.tokens = append(l.tokens, t)
	l.advance(n)
}

// string reads a quoted string.
func (l *lexer) string(rest string) {
	end := 1
	for end < len(rest) && rest[end] != rest[0] {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(rest) {
		l.fail("unexpected character %q: the string has no end", rest[0])
		return
	}
	s, err := unescape(rest[1:end])
	if err != nil {
		l.fail("%v", err)
		return
	}
	l.emit(stringToken, s)
	l.advance(end + 1)
}

// unescape reads the escapes of a Python string; unknown ones stay as they are.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if k := strings.IndexByte(`abfnrtv\'"`, c); k >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[k])
			continue
		}
		digits := 0
		switch c {
		case '\n':
			continue
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case 'N':
			return "", fmt.Errorf(`\N escapes are not supported`)
		}
		switch {
		case digits > 0:
			if i+digits > len(s)-1 {
				return "", fmt.Errorf(`truncated \%c escape`, c)
			}
			v, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
			if err != nil || v > utf8.MaxRune {
				return "", fmt.Errorf(`bad \%c escape`, c)
			}
			b.WriteRune(rune(v))
			i += digits
		case c >= '0' && c <= '7':
			v := rune(0)
			k := i
			for ; k < len(s) && k < i+3 && s[k] >= '0' && s[k] <= '7'; k++ {
				v = 8*v + rune(s[k]-'0')
			}
			b.WriteRune(v)
			i = k - 1
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
