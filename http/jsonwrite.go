package http

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// Answers are appended to a byte slice by hand: most of an answer is numbers,
// and writing those through encoding/json costs an allocation a vector and
// tells nothing of the values JSON cannot hold.

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

func appendInt(b []byte, v int) []byte { return strconv.AppendInt(b, int64(v), 10) }

// appendStrings appends list as a JSON list of strings.
func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendInts appends list as a JSON list of numbers.
func appendInts[T int | int32](b []byte, list []T) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return append(b, ']')
}

// Bytes that one value of a vector takes at most, or nearly so, as text
// ("-0.12345678,") and in base64.
const (
	floatText   = 13
	floatBase64 = 6
)

// infinite says whether v is an infinity or not a number.
func infinite(v float32) bool { return math.Float32bits(v)&0x7f800000 == 0x7f800000 }

// appendFloats appends v as a JSON list, each value as the shortest decimal
// that reads back as the same float32. It reports whether all values are
// finite; JSON cannot hold the others.
func appendFloats(b []byte, v []float32) ([]byte, bool) {
	b = append(b, '[')
	for i, x := range v {
		if infinite(x) {
			return b, false
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']'), true
}

// appendBase64 appends v as a JSON string: its little-endian float32 bytes in
// base64. It reports whether all values are finite.
func appendBase64(b []byte, v []float32) ([]byte, bool) {
	var chunk [768]byte // a multiple of 3: only the last chunk is padded
	b = append(b, '"')
	for len(v) > 0 {
		n := min(len(v), len(chunk)/4)
		for i, x := range v[:n] {
			if infinite(x) {
				return b, false
			}
			binary.LittleEndian.PutUint32(chunk[4*i:], math.Float32bits(x))
		}
		b = base64.StdEncoding.AppendEncode(b, chunk[:4*n])
		v = v[n:]
	}
	return append(b, '"'), true
}
