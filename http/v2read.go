package http

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of an inference request, besides those of every body.
const (
	maxTensors  = 64
	maxElements = 1 << 20 // of one tensor
	maxRank     = 8
)

// inferRequest is the body of a V2 inference request.
type inferRequest struct {
	id       string
	inputs   []tensor // the request's parameters stand behind its inputs
	outputs  []string // the names that are wanted; nil: all
	warnings []string
}

// tensor is a named input. Whatever its datatype, its elements are kept as text:
// clients send numbers inside BYTES and numbers as strings.
type tensor struct {
	name     string
	datatype string
	shape    []int64
	data     []element
	path     string // in the request, for errors
}

type element struct {
	kind byte // of the JSON value
	text string
}

// datatypes are those of the protocol, with the kind of JSON value that their
// elements have; BYTES takes what comes.
var datatypes = map[string]byte{
	"BOOL": boolKind, "BYTES": 0,
	"UINT8": numberKind, "UINT16": numberKind, "UINT32": numberKind, "UINT64": numberKind,
	"INT8": numberKind, "INT16": numberKind, "INT32": numberKind, "INT64": numberKind,
	"FP16": numberKind, "FP32": numberKind, "FP64": numberKind,
}

// decodeInfer reads all that is the same for each type of model.
func decodeInfer(body []byte, l limits) (*inferRequest, error) {
	q := new(inferRequest)
	given := false
	err := l.fields(body, []string{"id", "inputs", "outputs", "parameters"}, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "id":
			q.id, err = r.name()
		case "inputs":
			given = true
			err = r.array(func(i int) error {
				t, err := q.readTensor(r, l, fmt.Sprintf("inputs[%d]", i))
				q.inputs = append(q.inputs, t)
				return err
			})
		case "outputs":
			err = r.array(func(i int) error { return q.readOutput(r, l) })
		case "parameters":
			err = q.readParameters(r)
		}
		return err
	})
	if err == nil && !given {
		err = bad("inputs", "is required")
	}
	return q, err
}

func (q *inferRequest) readTensor(r *jsonReader, l limits, path string) (tensor, error) {
	t := tensor{path: path}
	if len(q.inputs) == maxTensors {
		return t, bad("", "more than %d inputs", maxTensors)
	}
	var shaped, filled bool
	err := l.object(r, []string{"name", "shape", "datatype", "data", "parameters"}, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "name":
			t.name, err = r.name()
		case "shape":
			shaped = true
			err = r.array(func(i int) error {
				if i == maxRank {
					return bad("", "more than %d dimensions", maxRank)
				}
				n, err := r.integer(0, maxElements)
				t.shape = append(t.shape, n)
				return err
			})
		case "datatype":
			t.datatype, err = r.name()
		case "data":
			filled = true
			err = t.readData(r, 0)
		case "parameters":
			err = noBinary(r, "binary_data_size", "shared_memory_region")
		}
		return err
	})
	if err != nil {
		return t, err
	}
	kind, known := datatypes[t.datatype]
	elements := int64(1)
	for _, n := range t.shape {
		elements = min(elements*n, maxElements+1)
	}
	switch {
	case t.name == "":
		return t, bad("name", "is required")
	case !filled:
		return t, bad("data", "is required")
	case t.datatype == "":
		return t, bad("datatype", "is required")
	case !known:
		return t, bad("datatype", "%q is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16 to FP64, BYTES", shorten(t.datatype))
	case !shaped:
		return t, bad("shape", "is required")
	case elements != int64(len(t.data)):
		return t, bad("data", "has %d elements, the shape is of another number", len(t.data))
	}
	for i, e := range t.data {
		if kind != 0 && e.kind != kind {
			return t, bad("data["+strconv.Itoa(i)+"]", "must be %s for %s, not %s", kindNames[kind], t.datatype, kindNames[e.kind])
		}
	}
	for _, other := range q.inputs {
		if other.name == t.name {
			return t, bad("name", "%q is given twice", shorten(t.name))
		}
	}
	return t, nil
}

// readData reads elements in row-major order, in lists of lists or flat.
func (t *tensor) readData(r *jsonReader, depth int) error {
	if depth == maxRank {
		return bad("", "lists are nested deeper than %d", maxRank)
	}
	return r.array(func(int) error {
		if r.kind() == arrayKind {
			return t.readData(r, depth+1)
		}
		if len(t.data) == maxElements {
			return bad("", "more than %d elements", maxElements)
		}
		e, err := r.element()
		t.data = append(t.data, e)
		return err
	})
}

// element reads a value as text: the content of a string, else the JSON.
func (r *jsonReader) element() (element, error) {
	e := element{kind: r.kind()}
	if e.kind == stringKind {
		var err error
		e.text, err = r.string()
		return e, err
	}
	if e.kind == nullKind {
		return e, bad("", "must not be null")
	}
	start := r.at
	err := r.discard()
	e.text = string(r.text[start:r.at])
	return e, err
}

func (q *inferRequest) readOutput(r *jsonReader, l limits) error {
	if len(q.outputs) == maxTensors {
		return bad("", "more than %d outputs", maxTensors)
	}
	name := ""
	err := l.object(r, []string{"name", "parameters"}, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "name":
			name, err = r.name()
		case "parameters":
			err = noBinary(r, "binary_data", "shared_memory_region", "classification")
		}
		return err
	})
	if err == nil && name == "" {
		err = bad("name", "is required")
	}
	q.outputs = append(q.outputs, name)
	return err
}

// readParameters reads each parameter as an input of one element.
func (q *inferRequest) readParameters(r *jsonReader) error {
	return r.object(func(key string) error {
		if r.null() {
			return nil
		}
		if key == "binary_data_output" {
			on, err := r.bool()
			if err == nil && on {
				err = errBinary()
			}
			return err
		}
		if len(q.inputs) >= 2*maxTensors {
			return bad("", "more than %d parameters", maxTensors)
		}
		for _, other := range q.inputs {
			if other.name == key {
				return bad("", "given twice")
			}
		}
		e, err := r.element()
		q.inputs = append(q.inputs, tensor{name: key, datatype: "BYTES", shape: []int64{1}, data: []element{e}, path: "parameters." + shorten(key)})
		return err
	})
}

// errBinary refuses the extensions. An error gets its path on the way up, so
// each is a new one.
func errBinary() error {
	return bad("", "the binary tensor and shared memory extensions are not supported: send data as JSON")
}

// noBinary passes over an object that has none of these keys. What an input or
// output says beside them is metadata without effect.
func noBinary(r *jsonReader, extensions ...string) error {
	return r.object(func(key string) error {
		off := r.kind() == boolKind && r.text[r.at] == 'f'
		if slices.Contains(extensions, key) && !off && r.kind() != nullKind {
			return errBinary()
		}
		return r.discard()
	})
}

// texts are the elements as strings.
func (t *tensor) texts() ([]string, error) {
	list := make([]string, len(t.data))
	for i, e := range t.data {
		if e.kind == objectKind {
			return nil, bad(t.path+".data["+strconv.Itoa(i)+"]", "must be a string, not an object")
		}
		list[i] = e.text
	}
	return list, nil
}

// flag is the one element as a boolean, also as Python writes one.
func (t *tensor) flag() (on bool, err error) {
	word, err := t.word()
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, bad(t.path+".data", "must be a boolean")
}

// value reads the one element with a reader of JSON for which strings of
// numbers are numbers.
func (t *tensor) value(read func(r *jsonReader) error) error {
	if len(t.data) != 1 {
		return bad(t.path+".data", "must hold one value, not %d", len(t.data))
	}
	r := &jsonReader{text: []byte(strings.TrimSpace(t.data[0].text)), lenient: true}
	err := read(r)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return within(t.path+".data", err)
	}
	return nil
}

// word is the one element as a string.
func (t *tensor) word() (string, error) {
	list, err := t.texts()
	if err == nil && len(list) != 1 {
		err = bad(t.path+".data", "must hold one value, not %d", len(list))
	}
	if err != nil {
		return "", err
	}
	return list[0], nil
}
