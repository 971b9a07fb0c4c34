package http

import (
	"bytes"
	"errors"
)

// Two servers that see the end of a request in different places can be made to
// see different requests: what the one in front took for a body is the next
// request for the one behind. fasthttp refuses most headers by which that
// happens. Here go the rest: those of which RFC 9112 leaves a recipient the
// choice between refusing and guessing (sections 2.2, 5.2, 6.1 and 6.3).

var (
	errTwoLengths = errors.New("both Content-Length and Transfer-Encoding")
	errCoding     = errors.New("a Transfer-Encoding other than chunked")
	errFolded     = errors.New("a header field over several lines")
	errLineEnd    = errors.New("a header line that does not end in CR LF")
)

// framing is the error of a header that leaves open where its request ends.
// raw is the header behind the request line, with its empty line.
func framing(raw []byte) error {
	length, coding := false, false
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return errLineEnd
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			return errFolded
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case is(name, "content-length"):
			length = true
		case is(name, "transfer-encoding"):
			coding = true
			if !is(bytes.Trim(value, " \t"), "chunked") {
				return errCoding
			}
		}
	}
	if length && coding {
		return errTwoLengths
	}
	return nil
}

// is compares word, given in lower case, without regard to the case of ASCII
// letters.
func is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
