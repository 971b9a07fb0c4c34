package http

import (
	"fmt"
	"slices"
)

// Bounds of a request's small fields.
const (
	maxWarnings = 16
	maxName     = 1024 // bytes of a model's or a prompt's name
)

// limits are the server's own bounds on a body.
type limits struct {
	inputs  int
	strict  bool // unknown fields are errors
	lenient bool // numeric strings are numbers
}

func (c *call) limits() limits {
	return limits{c.s.opt.MaxInputs, c.s.opt.StrictFields, c.to.prefix == apiPrefix}
}

// fields reads an object of known fields: field reads the value of each. Any
// other field is a warning or, where the limits are strict, an error. null
// stands for a field that is not there. A known field that is given twice is an
// error: two parsers could take one or the other.
func (l limits) fields(body []byte, known []string, warnings *[]string, field func(r *jsonReader, key string) error) error {
	r := &jsonReader{text: body, lenient: l.lenient}
	if err := l.object(r, known, warnings, field); err != nil {
		return err
	}
	return r.end()
}

// object is fields for an object inside a body.
func (l limits) object(r *jsonReader, known []string, warnings *[]string, field func(r *jsonReader, key string) error) error {
	seen := 0 // bits of known
	return r.object(func(key string) error {
		i := slices.Index(known, key)
		if i >= 0 {
			if seen&(1<<i) != 0 {
				return bad("", "given twice")
			}
			seen |= 1 << i
		}
		switch {
		case r.null():
			return nil
		case i >= 0:
			return field(r, key)
		case l.strict:
			return bad("", "unknown field")
		}
		warn(warnings, "unknown field %q was ignored", shorten(key))
		return r.discard()
	})
}

// warn adds a warning, unless it was given already.
func warn(warnings *[]string, format string, args ...any) {
	if len(*warnings) == maxWarnings {
		return
	}
	if w := fmt.Sprintf(format, args...); !slices.Contains(*warnings, w) {
		*warnings = append(*warnings, w)
	}
}

// name reads a short string.
func (r *jsonReader) name() (string, error) {
	s, err := r.string()
	if err == nil && len(s) > maxName {
		err = bad("", "is longer than %d bytes", maxName)
	}
	return s, err
}

// appendWarnings appends the field that tells what was ignored or cut, if
// anything was.
func appendWarnings(b []byte, warnings []string) []byte {
	if len(warnings) == 0 {
		return b
	}
	return appendStrings(append(b, `,"warnings":`...), warnings)
}
