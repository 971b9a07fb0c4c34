package toolcall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"remote-client-server/tokenize/grammar"
)

const (
	// MaxTools bounds the tools of a request.
	MaxTools = 128
	// MaxName bounds the name of a tool, in bytes.
	MaxName = 64
)

// Tool is a function that a model may call.
type Tool struct {
	Name       string
	Parameters json.RawMessage // JSON schema of an object; empty: no parameters
}

// Check refuses tools that cannot be offered; the error names the place in the request.
func Check(tools []Tool) error {
	if len(tools) == 0 {
		return fmt.Errorf("tools: none are given")
	}
	if len(tools) > MaxTools {
		return fmt.Errorf("tools: %d, at most %d are allowed", len(tools), MaxTools)
	}
	seen := map[string]int{}
	size := 0
	for i, t := range tools {
		if err := checkName(t.Name); err != nil {
			return fmt.Errorf("tools[%d].function.name: %w", i, err)
		}
		if j, twice := seen[t.Name]; twice {
			return fmt.Errorf("tools[%d].function.name: %q is the name of tools[%d] too", i, t.Name, j)
		}
		seen[t.Name] = i
		if size += len(t.Parameters); size > grammar.MaxSource {
			return fmt.Errorf("tools: the parameters exceed %d bytes", grammar.MaxSource)
		}
		schema, err := t.schema()
		if err == nil {
			_, err = grammar.CompileSchema(schema, grammar.Options{})
		}
		if err != nil {
			return fmt.Errorf("tools[%d].function.parameters: %w", i, err)
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("is missing")
	case len(name) > MaxName:
		return fmt.Errorf("%d bytes, at most %d are allowed", len(name), MaxName)
	case strings.ContainsFunc(name, func(c rune) bool {
		return !(c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z')
	}):
		return fmt.Errorf("%q has characters other than letters, digits, _ and -", name)
	}
	return nil
}

// schema is the schema of the tool's arguments, which are an object whatever else it says.
func (t Tool) schema() (json.RawMessage, error) {
	raw := bytes.TrimSpace(t.Parameters)
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage(`{"type": "object", "properties": {}, "additionalProperties": false}`), nil
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		return nil, fmt.Errorf("not a JSON schema of an object")
	}
	kind, ok := o["type"]
	if !ok {
		rest := bytes.TrimSpace(raw[1:])
		if rest[0] == '}' {
			return json.RawMessage(`{"type": "object"}`), nil
		}
		return append([]byte(`{"type": "object", `), rest...), nil
	}
	var name string
	if err := json.Unmarshal(kind, &name); err != nil || name != "object" {
		return nil, fmt.Errorf(`type: %.80s is not "object"`, kind)
	}
	return raw, nil
}
