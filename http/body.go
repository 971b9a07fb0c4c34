package http

import "fmt"

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

// fields reads an object whose fields are known by name: field returns false
// for one that is not, which then is an error or a warning. null stands for a
// field that is not there.
func (l limits) fields(body []byte, warnings *[]string, field func(r *jsonReader, key string) (bool, error)) error {
	r := &jsonReader{text: body, lenient: l.lenient}
	err := r.object(func(key string) error {
		if r.null() {
			return nil
		}
		known, err := field(r, key)
		if known || err != nil {
			return err
		}
		if l.strict {
			return bad("", "unknown field")
		}
		warn(warnings, "unknown field %q was ignored", shorten(key))
		return r.discard()
	})
	if err != nil {
		return err
	}
	return r.end()
}

func warn(warnings *[]string, format string, args ...any) {
	if len(*warnings) < maxWarnings {
		*warnings = append(*warnings, fmt.Sprintf(format, args...))
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
