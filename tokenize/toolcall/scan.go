package toolcall

import "encoding/json"

// stage is a place in the JSON object of a call.
type stage uint8

const (
	beforeObject stage = iota
	beforeKey          // or the end of the object, if it is empty
	wantKey            // behind a comma
	inKey
	beforeColon
	beforeValue
	inValue
	afterValue
	ended
)

// objectScan reads the JSON object of a call byte by byte. It looks for what it needs and leaves the values
// themselves as they are: brackets must match, scalars are not checked.
type objectScan struct {
	stage    stage
	key      []byte // with its quotes
	value    []byte // of "name", with its quotes
	brackets []byte // open within the value
	kind     byte   // the value's first byte
	quoted   bool   // within a string
	escaped  bool   // behind a backslash
	naming   bool   // the value is the name
	arguing  bool   // the value is the arguments
}

// step is what a byte of the object means.
type step uint8

const (
	wrong       step = iota // no call
	on                      // nothing to report
	nameEnds                // the name is known
	argument                // the byte belongs to the arguments
	argumentEnd             // and is their last one
	objectEnds
)

const maxBrackets = 128

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (s *objectScan) step(c byte) step {
	if isBlank(c) && s.stage != inKey && s.stage != inValue {
		return on
	}
	switch s.stage {
	case beforeObject:
		return s.expect(c == '{', beforeKey)
	case beforeKey, wantKey:
		if c == '}' && s.stage == beforeKey {
			s.stage = ended
			return objectEnds
		}
		s.key, s.escaped = append(s.key[:0], c), false
		return s.expect(c == '"', inKey)
	case inKey:
		s.key = append(s.key, c)
		if s.stringEnds(c) {
			s.stage = beforeColon
		}
		return s.expect(len(s.key) <= 2*MaxName, s.stage)
	case beforeColon:
		return s.expect(c == ':', beforeValue)
	case beforeValue:
		return s.begin(c)
	case inValue:
		return s.within(c)
	case afterValue:
		if c == '}' {
			s.stage = ended
			return objectEnds
		}
		return s.expect(c == ',', wantKey)
	}
	return wrong
}

func (s *objectScan) expect(ok bool, next stage) step {
	if !ok {
		return wrong
	}
	s.stage = next
	return on
}

// stringEnds follows a string's bytes.
func (s *objectScan) stringEnds(c byte) bool {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		return true
	}
	return false
}

func (s *objectScan) begin(c byte) step {
	s.kind, s.stage = c, inValue
	s.brackets, s.quoted, s.escaped = s.brackets[:0], false, false
	key := unquote(s.key)
	s.naming = key == "name"
	s.arguing = key == "arguments" || key == "parameters"
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.brackets = append(s.brackets, c)
	case ',', ':', '}', ']':
		return wrong
	}
	if s.naming {
		s.value = append(s.value[:0], c)
		return s.expect(c == '"', inValue)
	}
	if s.arguing {
		if c != '{' && c != '"' {
			return wrong
		}
		return argument
	}
	return on
}

func (s *objectScan) within(c byte) step {
	ends := false
	switch {
	case s.quoted:
		if s.stringEnds(c) {
			s.quoted = false
			ends = len(s.brackets) == 0
		}
	case c == '"' && len(s.brackets) > 0:
		s.quoted, s.escaped = true, false
	case c == '{' || c == '[':
		if len(s.brackets) == 0 || len(s.brackets) == maxBrackets {
			return wrong
		}
		s.brackets = append(s.brackets, c)
	case (c == '}' || c == ']') && len(s.brackets) > 0:
		if open := s.brackets[len(s.brackets)-1]; open != c-2 { // '{' and '}', '[' and ']' are two apart
			return wrong
		}
		s.brackets = s.brackets[:len(s.brackets)-1]
		ends = len(s.brackets) == 0
	case len(s.brackets) == 0 && (isBlank(c) || c == ',' || c == '}'): // behind a number or a word
		s.stage = afterValue
		return s.step(c)
	}
	if ends {
		s.stage = afterValue
	}
	switch {
	case s.naming:
		if s.value = append(s.value, c); len(s.value) > 2*MaxName {
			return wrong
		}
		if ends {
			return nameEnds
		}
	case s.arguing && ends:
		return argumentEnd
	case s.arguing:
		return argument
	}
	return on
}

// unquote is a JSON string's value, "" if it is none.
func unquote(b []byte) (s string) {
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}
