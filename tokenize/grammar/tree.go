package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// kinds is a set of JSON's types.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBool
	kindInteger
	kindNumber // every number
	kindString
	kindArray
	kindObject

	kindAll = kindNull | kindBool | kindNumber | kindString | kindArray | kindObject
)

var kindNames = map[string]kinds{
	"null": kindNull, "boolean": kindBool, "integer": kindInteger, "number": kindNumber,
	"string": kindString, "array": kindArray, "object": kindObject,
}

// tree is a JSON value with its keys in the order of the text.
type tree struct {
	kind  kinds  // one of null, bool, number, string, array, object
	text  string // of a string its value, of a number or a boolean its spelling
	keys  []string
	items []*tree // of an array, or the values of keys
	index map[string]int
	both  bool // no value of a document: a schema that is both of items
}

// Bounds on a document.
const (
	maxTreeNodes = 1 << 17
	maxTreeDepth = 64
)

// parseTree reads a document.
func parseTree(raw []byte) (*tree, error) {
	if len(raw) > MaxSource {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(raw), MaxSource)
	}
	p := treeParser{d: json.NewDecoder(bytes.NewReader(raw))}
	p.d.UseNumber()
	t, err := p.value(0)
	if err != nil {
		return nil, fmt.Errorf("not read as JSON: %w", err)
	}
	if _, err := p.d.Token(); err != io.EOF {
		return nil, errors.New("not read as JSON: something follows the value")
	}
	return t, nil
}

type treeParser struct {
	d     *json.Decoder
	nodes int
}

func (p *treeParser) value(depth int) (*tree, error) {
	token, err := p.d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if p.nodes++; p.nodes > maxTreeNodes {
		return nil, fmt.Errorf("more than %d values", maxTreeNodes)
	}
	if depth > maxTreeDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxTreeDepth)
	}
	switch v := token.(type) {
	case nil:
		return &tree{kind: kindNull, text: "null"}, nil
	case bool:
		return &tree{kind: kindBool, text: strconv.FormatBool(v)}, nil
	case json.Number:
		return &tree{kind: kindNumber, text: string(v)}, nil
	case string:
		return &tree{kind: kindString, text: v}, nil
	case json.Delim:
		t := &tree{kind: kindArray}
		if v == '{' {
			t.kind = kindObject
		}
		for p.d.More() {
			if t.kind == kindObject {
				key, err := p.d.Token()
				if err != nil {
					return nil, err
				}
				name, ok := key.(string)
				if !ok {
					return nil, errors.New("a key is no string")
				}
				if t.find(name) >= 0 {
					return nil, fmt.Errorf("key %q comes twice", clip(name))
				}
				t.key(name)
			}
			item, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
		if _, err := p.d.Token(); err != nil {
			return nil, err
		}
		return t, nil
	}
	return nil, fmt.Errorf("unexpected %v", token)
}

// fewKeys are looked through without an index.
const fewKeys = 8

// key adds a key; its value comes next.
func (t *tree) key(name string) {
	t.keys = append(t.keys, name)
	if len(t.keys) == fewKeys+1 {
		t.index = make(map[string]int, 2*len(t.keys))
		for i, k := range t.keys {
			t.index[k] = i
		}
	}
	if t.index != nil {
		t.index[name] = len(t.keys) - 1
	}
}

// find is the place of a key, -1 if it is not there.
func (t *tree) find(name string) int {
	if t.index == nil {
		return slices.Index(t.keys, name)
	}
	if i, ok := t.index[name]; ok {
		return i
	}
	return -1
}

// get is a member of an object, nil if it is not there.
func (t *tree) get(name string) *tree {
	if i := t.find(name); i >= 0 && i < len(t.items) {
		return t.items[i]
	}
	return nil
}

// scalar is the JSON of anything but arrays and objects.
func (t *tree) scalar() string {
	if t.kind == kindString {
		return quote(t.text)
	}
	return t.text
}

// canonical is the same text for values that JSON Schema takes for equal: numbers by value, objects whatever the order
// of their keys.
func (t *tree) canonical(out []byte) []byte {
	switch t.kind {
	case kindNumber:
		if x, err := decimal(t.text); err == nil {
			return append(out, x.RatString()...)
		}
	case kindArray:
		out = append(out, '[')
		for _, x := range t.items {
			out = append(x.canonical(out), ',')
		}
		return append(out, ']')
	case kindObject:
		order := make([]int, len(t.keys))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return strings.Compare(t.keys[a], t.keys[b]) })
		out = append(out, '{')
		for _, i := range order {
			out = append(out, quote(t.keys[i])+":"...)
			out = append(t.items[i].canonical(out), ',')
		}
		return append(out, '}')
	}
	return append(out, t.scalar()...)
}

// decimal is a number exactly. Numbers of more than 64 characters or beyond 1e±64 are refused: nothing that a schema
// needs, and an exponent can ask for any amount of memory.
func decimal(s string) (*big.Rat, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	if exponent != "" {
		if n, err := strconv.Atoi(exponent); err != nil || n < -64 || n > 64 {
			return nil, fmt.Errorf("number %s is out of range", clip(s))
		}
	}
	r, ok := new(big.Rat), len(mantissa) <= 64
	if ok {
		r, ok = r.SetString(s)
	}
	if !ok {
		return nil, fmt.Errorf("number %s is out of range", clip(s))
	}
	return r, nil
}

// place is where in a schema something stands; it is spelt as a JSON pointer only for errors.
type place struct {
	up  *place
	key string
}

func (p *place) at(key string) *place { return &place{p, key} }

func (p *place) String() string {
	var keys []string
	for ; p != nil && p.up != nil; p = p.up {
		keys = append(keys, strings.NewReplacer("~", "~0", "/", "~1").Replace(clip(p.key)))
	}
	var b strings.Builder
	b.WriteByte('#')
	for i := len(keys) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(keys[i])
	}
	return b.String()
}

// clip shortens what a stranger wrote for an error's text.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
