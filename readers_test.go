package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

// javaReader reads a stream as the Java client of the Python server does: lines
// that start with data:, and JSON behind it. A job that failed is nil.
func javaReader(stream io.Reader) (object map[string]any, log []string) {
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var v map[string]any
		if json.Unmarshal([]byte(strings.TrimSpace(rest)), &v) != nil {
			continue
		}
		switch v["status"] {
		case "complete":
			return v, log
		case "error", "cancelled", "timeout":
			return nil, log
		}
		log = append(log, fmt.Sprint(v["status"]))
	}
	return nil, log
}

// pythonReader reads a stream as RemoteClient does: every line that is not
// empty must be "data: " and JSON; anything else ends it.
func pythonReader(stream io.Reader) (object map[string]any, log []string) {
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		if lines.Text() == "" {
			continue
		}
		rest, ok := strings.CutPrefix(lines.Text(), "data: ")
		var v map[string]any
		if !ok || json.Unmarshal([]byte(rest), &v) != nil {
			return nil, append(log, "broken: "+lines.Text())
		}
		switch v["status"] {
		case "complete":
			return v, log
		case "error", "cancelled", "timeout":
			return nil, log
		}
		log = append(log, fmt.Sprint(v["status"]))
	}
	return nil, log
}

// semossRead reads outputs by the client's rules: no data is an empty list, one
// string in braces or brackets is JSON, one other value is itself, several are
// a list.
func semossRead(t *testing.T, body string) map[string]any {
	t.Helper()
	var a struct {
		Outputs []struct {
			Name string
			Data []any
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, o := range a.Outputs {
		switch len(o.Data) {
		case 0:
			out[o.Name] = []any{}
		case 1:
			out[o.Name] = o.Data[0]
			if s, ok := o.Data[0].(string); ok && regexp.MustCompile(`^(\{.*\}|\[.*\])$`).MatchString(s) {
				var v any
				if err := json.Unmarshal([]byte(s), &v); err != nil {
					t.Fatal(err)
				}
				out[o.Name] = v
			}
		default:
			out[o.Name] = o.Data
		}
	}
	return out
}
