package emu

import (
	"fmt"
	"math"
	"strconv"
)

// SyntaxError says where and why a PTX text was refused.
type SyntaxError struct {
	Line int    // 1-based line of the text
	Text string // the construct and what is wrong with it
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("ptx line %d: %s", e.Line, e.Text) }

type tokenKind uint8

const (
	tokEOF     tokenKind = iota
	tokIdent             // names, opcodes and directives: letters, digits, _ $ % . and "::"
	tokInt               // integer literal, value in token.num
	tokFloat32           // 0f3F800000: the bits are in token.num
	tokFloat64           // 0d3FF0000000000000 and decimal literals: the bits are in token.num
	tokString
	tokPunct // one character
)

type token struct {
	kind tokenKind
	text string
	num  uint64
	line int
}

// lexer cuts PTX text into tokens; comments and white space go.
type lexer struct {
	src  string
	pos  int
	line int
}

func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '%' || c == '.'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) errorf(format string, args ...any) error {
	return &SyntaxError{l.line, fmt.Sprintf(format, args...)}
}

// space skips white space and comments.
func (l *lexer) space() error {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '\n':
			l.line++
			l.pos++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' || c == 0:
			l.pos++
		case c == '/' && l.pos+1 < len(l.src) && l.src[l.pos+1] == '/':
			for l.pos < len(l.src) && l.src[l.pos] != '\n' {
				l.pos++
			}
		case c == '/' && l.pos+1 < len(l.src) && l.src[l.pos+1] == '*':
			start := l.line
			for l.pos += 2; ; l.pos++ {
				if l.pos+1 >= len(l.src) {
					return &SyntaxError{start, "comment is not closed"}
				}
				if l.src[l.pos] == '\n' {
					l.line++
				}
				if l.src[l.pos] == '*' && l.src[l.pos+1] == '/' {
					break
				}
			}
			l.pos += 2
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{line: l.line}
	if l.pos >= len(l.src) {
		return t, nil
	}
	start, c := l.pos, l.src[l.pos]
	switch {
	case isNameStart(c):
		for l.pos++; l.pos < len(l.src); l.pos++ {
			c := l.src[l.pos]
			if c == ':' && l.pos+2 < len(l.src) && l.src[l.pos+1] == ':' && (isNameStart(l.src[l.pos+2]) || isDigit(l.src[l.pos+2])) {
				l.pos++
				continue
			}
			if !isNameStart(c) && !isDigit(c) {
				break
			}
		}
		t.kind, t.text = tokIdent, l.src[start:l.pos]
		return t, nil
	case isDigit(c):
		return l.number(t)
	case c == '"':
		for l.pos++; l.pos < len(l.src) && l.src[l.pos] != '"'; l.pos++ {
			if l.src[l.pos] == '\n' {
				return t, l.errorf("string is not closed")
			}
		}
		if l.pos >= len(l.src) {
			return t, l.errorf("string is not closed")
		}
		l.pos++
		t.kind, t.text = tokString, l.src[start+1:l.pos-1]
		return t, nil
	}
	l.pos++
	t.kind, t.text = tokPunct, l.src[start:l.pos]
	return t, nil
}

func (l *lexer) number(t token) (token, error) {
	start := l.pos
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		exponent := (c == '+' || c == '-') && (l.src[l.pos-1] == 'e' || l.src[l.pos-1] == 'E') && isDecimal(l.src[start:l.pos-1])
		if !isDigit(c) && !isNameStart(c) && !exponent || c == '%' || c == '$' {
			break
		}
		l.pos++
	}
	s := l.src[start:l.pos]
	t.text = s
	if len(s) > 2 && s[0] == '0' && (s[1]|0x20 == 'f' || s[1]|0x20 == 'd') {
		bits := 32
		t.kind = tokFloat32
		if s[1]|0x20 == 'd' {
			bits, t.kind = 64, tokFloat64
		}
		v, err := strconv.ParseUint(s[2:], 16, bits)
		if err != nil || len(s) != 2+bits/4 {
			return t, l.errorf("floating-point literal %q", s)
		}
		t.num = v
		return t, nil
	}
	digits := s
	if n := len(digits); n > 1 && digits[n-1] == 'U' {
		digits = digits[:n-1]
	}
	if v, err := strconv.ParseUint(digits, 0, 64); err == nil {
		t.kind, t.num = tokInt, v
		return t, nil
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil && isDecimal(s) {
		t.kind, t.num = tokFloat64, math.Float64bits(v)
		return t, nil
	}
	return t, l.errorf("number %q", s)
}

// isDecimal reports whether s has only the characters of a decimal literal.
func isDecimal(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isDigit(c) && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
			return false
		}
	}
	return s != ""
}
