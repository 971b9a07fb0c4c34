package media

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// dataURL returns the base64 of a data URL of an image; rest is what follows
// "data:". A missing type is passed over: the bytes say what they are.
func dataURL(rest string) (string, error) {
	// The head is short, so a missing comma is noticed without a long search.
	head, _, found := strings.Cut(rest[:min(len(rest), maxDataHead)], ",")
	if !found {
		return "", fmt.Errorf("%w: a data URL has a comma after its type", ErrBadBase64)
	}
	data := rest[len(head)+1:]
	head = strings.ToLower(head)
	kind, found := strings.CutSuffix(head, ";base64")
	if !found {
		return "", fmt.Errorf("%w: the data URL is not ;base64", ErrBadBase64)
	}
	if kind != "" && !strings.HasPrefix(kind, "image/") {
		return "", fmt.Errorf("%w: the data URL's type is not that of an image", ErrNotImage)
	}
	return data, nil
}

// maxDataHead bounds a data URL's type with its parameters.
const maxDataHead = 256

// decode reads base64 of the standard or the URL-safe alphabet, padded or not;
// line breaks are passed over. The result has at most max bytes.
func decode(s string, max int64) ([]byte, error) {
	breaks := strings.Count(s, "\n") + strings.Count(s, "\r")
	n := len(s) - breaks
	if n == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrBadBase64)
	}
	if int64(n)/4*3 > max+2 { // padding hides at most two bytes
		return nil, tooManyBytes(max)
	}
	e := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		e = base64.URLEncoding
	}
	if !strings.HasSuffix(strings.TrimRight(s, "\r\n"), "=") {
		e = e.WithPadding(base64.NoPadding)
	}
	b := make([]byte, e.DecodedLen(n)+2)
	var err error
	if breaks == 0 {
		n, err = e.Decode(b, []byte(s))
	} else {
		n, err = e.Decode(b, []byte(strings.NewReplacer("\r", "", "\n", "").Replace(s)))
	}
	if at, ok := err.(base64.CorruptInputError); ok {
		return nil, fmt.Errorf("%w: at byte %d", ErrBadBase64, int64(at))
	}
	if err != nil {
		return nil, ErrBadBase64
	}
	if int64(n) > max {
		return nil, tooManyBytes(max)
	}
	return b[:n], nil
}

func tooManyBytes(max int64) error {
	return fmt.Errorf("%w: an image may have %d bytes", ErrTooLarge, max)
}
