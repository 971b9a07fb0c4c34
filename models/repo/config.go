// Package repo is a model repository as its files: settings, weights and tokenizer, on disk or in the binary.
//
// Of the small JSON files (config.json, sentence-transformers' settings and their kin) keys are asked for by all
// their spellings, every number is checked against what a model can be, and all that is
// wrong with a file is reported at once.
package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Config is one JSON object of keys that may have several spellings. Getters take the first spelling that is present
// and not null, and the default where there is none. What does not fit is kept for Err.
type Config struct {
	name string
	keys map[string]json.RawMessage
	errs *[]error
}

// ParseConfig reads an object; name is for errors.
func ParseConfig(name string, raw []byte) (*Config, error) {
	c := &Config{name: name, errs: new([]error)}
	if err := decode(name, raw, &c.keys); err != nil {
		return nil, err
	}
	return c, nil
}

// Err is everything that the getters found wrong.
func (c *Config) Err() error { return errors.Join(*c.errs...) }

// Fail adds an error about a key.
func (c *Config) Fail(key, format string, args ...any) {
	*c.errs = append(*c.errs, fmt.Errorf("%s: %s: %s", c.name, key, fmt.Sprintf(format, args...)))
}

func (c *Config) find(names []string) (string, json.RawMessage) {
	for _, n := range names {
		if v, ok := c.keys[n]; ok && !bytes.Equal(v, []byte("null")) {
			return n, v
		}
	}
	return names[0], nil
}

// Has reports whether a key is present and not null.
func (c *Config) Has(names ...string) bool {
	_, v := c.find(names)
	return v != nil
}

// IsNull reports whether a key is present and null.
func (c *Config) IsNull(name string) bool {
	return bytes.Equal(c.keys[name], []byte("null"))
}

func get[T any](c *Config, def T, what string, names []string) T {
	key, raw := c.find(names)
	if raw == nil {
		return def
	}
	v := def
	if err := json.Unmarshal(raw, &v); err != nil {
		c.Fail(key, "%.40s is no %s", raw, what)
		return def
	}
	return v
}

// Int is an integer in [low, high].
func (c *Config) Int(def, low, high int, names ...string) int {
	key, raw := c.find(names)
	if raw == nil {
		return def
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil || v != math.Trunc(v) {
		c.Fail(key, "%.40s is no integer", raw)
		return def
	}
	if v < float64(low) || v > float64(high) {
		c.Fail(key, "%.40s is outside [%d, %d]", raw, low, high)
		return def
	}
	return int(v)
}

// Float is a finite number.
func (c *Config) Float(def float64, names ...string) float64 { return get(c, def, "number", names) }

// Bool is a boolean.
func (c *Config) Bool(def bool, names ...string) bool { return get(c, def, "boolean", names) }

// String is a string.
func (c *Config) String(def string, names ...string) string { return get(c, def, "string", names) }

// Strings is a list of strings.
func (c *Config) Strings(names ...string) []string {
	return get(c, []string(nil), "list of strings", names)
}

// StringOrList is a list of strings, or one string as a list.
func (c *Config) StringOrList(names ...string) []string {
	if _, raw := c.find(names); len(raw) > 0 && raw[0] == '"' {
		return []string{c.String("", names...)}
	}
	return c.Strings(names...)
}

// Floats is a list of finite numbers.
func (c *Config) Floats(names ...string) []float64 {
	return get(c, []float64(nil), "list of numbers", names)
}

// Ints is a list of integers.
func (c *Config) Ints(names ...string) []int { return get(c, []int(nil), "list of integers", names) }

// IntOrList is a list of integers, or one integer as a list.
func (c *Config) IntOrList(names ...string) []int {
	if _, raw := c.find(names); len(raw) > 0 && raw[0] != '[' {
		return []int{get(c, 0, "integer", names)}
	}
	return c.Ints(names...)
}

// Sub is the object below a key; an empty one where the key is absent. Its errors are reported by c.
func (c *Config) Sub(names ...string) *Config {
	key, raw := c.find(names)
	s := &Config{name: c.name + ": " + key, errs: c.errs}
	if raw != nil {
		if err := json.Unmarshal(raw, &s.keys); err != nil {
			c.Fail(key, "%.40s is no object", raw)
		}
	}
	return s
}

// Choice is a string of which only some values are supported.
func (c *Config) Choice(def string, supported []string, names ...string) string {
	v := c.String(def, names...)
	for _, s := range supported {
		if v == s {
			return v
		}
	}
	key, _ := c.find(names)
	c.Fail(key, "%q is not supported (%s)", v, strings.Join(supported, ", "))
	return def
}
