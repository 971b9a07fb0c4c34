package checkpoint

import (
	"fmt"
	"math"
)

// storage is one block of a torch file; data is filled in once the pickle has been read.
type storage struct {
	key, dtype string // dtype "" for an untyped one: then the tensor brings it
	bytes      int
	data       []byte
}

// storedTensor is a view of a storage: offset, shape and strides in elements.
type storedTensor struct {
	storage       *storage
	dtype         string
	offset        int
	shape, stride []int
}

// rebuilder turns the calls and references in a pickle into storages and views (torch/_utils.py).
type rebuilder struct {
	storages map[string]*storage
}

// persist resolves ("storage", type, key, location, numel[, view]).
func (r *rebuilder) persist(id []any) (any, error) {
	if len(id) < 5 || id[0] != "storage" {
		return nil, fmt.Errorf("persistent id of %d parts is no storage", len(id))
	}
	kind, ok1 := id[1].(global)
	key, ok2 := id[2].(string)
	n, ok3 := id[4].(int64)
	if !ok1 || !ok2 || !ok3 || n < 0 {
		return nil, fmt.Errorf("storage reference of %T, %T, %T", id[1], id[2], id[4])
	}
	dtype, w := storageTypes[kind.name], 1
	if dtype != "" {
		w = width(dtype)
	} else if kind.name != "UntypedStorage" {
		return nil, fmt.Errorf("%s.%s is no storage", kind.module, kind.name)
	}
	if n > math.MaxInt64/16 {
		return nil, fmt.Errorf("storage %s of %d elements", key, n)
	}
	s := r.storages[key]
	if s == nil {
		s = &storage{key: key, dtype: dtype}
		r.storages[key] = s
	}
	if s.dtype != dtype {
		return nil, fmt.Errorf("storage %s is %s and %s", key, s.dtype, dtype)
	}
	offset := 0
	if len(id) > 5 && id[5] != nil { // legacy: (view key, offset, numel) in elements of the root storage
		v, ok := id[5].([]any)
		if !ok || len(v) != 3 {
			return nil, fmt.Errorf("storage %s has an odd view", key)
		}
		o, ok1 := v[1].(int64)
		size, ok2 := v[2].(int64)
		if !ok1 || !ok2 || o < 0 || size < 0 || o > n || size > n-o {
			return nil, fmt.Errorf("storage %s has a view outside it", key)
		}
		offset = int(o)
	}
	s.bytes = max(s.bytes, int(n)*w)
	return persistentStorage{s, offset}, nil
}

type persistentStorage struct {
	*storage
	offset int
}

// build does what the named constructor would do, for those that make tensors and containers.
func (r *rebuilder) build(fn global, args []any) (any, error) {
	switch fn.name {
	case "OrderedDict", "Counter", "defaultdict":
		d := &dict{}
		if len(args) == 1 {
			if l, ok := args[0].(*list); ok {
				for _, e := range l.items {
					pair := sequence(e)
					if len(pair) != 2 {
						return nil, fmt.Errorf("%s of items that are no pairs", fn.name)
					}
					d.keys, d.values = append(d.keys, pair[0]), append(d.values, pair[1])
				}
			}
		}
		return d, nil
	case "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3":
		return rebuildTensor(fn.name, args)
	case "_rebuild_parameter", "_rebuild_parameter_with_state":
		if len(args) > 0 {
			if t, ok := args[0].(*storedTensor); ok {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%s of no tensor", fn.name)
	case "_rebuild_from_type_v2":
		if len(args) >= 3 {
			if f, ok := args[0].(global); ok {
				if a, ok := args[2].([]any); ok && f.name != "_rebuild_from_type_v2" {
					return r.build(f, a)
				}
			}
		}
		return nil, fmt.Errorf("%s with odd arguments", fn.name)
	case "Size":
		if len(args) == 1 {
			if l := sequence(args[0]); l != nil {
				return l, nil
			}
		}
		return []any{}, nil
	}
	return opaque{}, nil
}

func sequence(v any) []any {
	switch s := v.(type) {
	case []any:
		return s
	case *list:
		return s.items
	}
	return nil
}

func integers(v any) ([]int, error) {
	s := sequence(v)
	out := make([]int, len(s))
	for i, x := range s {
		n, ok := x.(int64)
		if !ok || n < 0 || n > math.MaxInt64/16 {
			return nil, fmt.Errorf("size %v", x)
		}
		out[i] = int(n)
	}
	return out, nil
}

// rebuildTensor reads (storage, offset, size, stride, requires_grad, hooks[, dtype]).
func rebuildTensor(name string, args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("%s of %d arguments", name, len(args))
	}
	s, ok := args[0].(persistentStorage)
	if !ok {
		return nil, fmt.Errorf("%s of %T", name, args[0])
	}
	offset, ok := args[1].(int64)
	if !ok || offset < 0 || offset > math.MaxInt64/16 {
		return nil, fmt.Errorf("%s at offset %v", name, args[1])
	}
	t := &storedTensor{storage: s.storage, dtype: s.dtype, offset: int(offset) + s.offset}
	var err error
	if t.shape, err = integers(args[2]); err != nil {
		return nil, err
	}
	if t.stride, err = integers(args[3]); err != nil {
		return nil, err
	}
	if len(t.shape) != len(t.stride) {
		return nil, fmt.Errorf("%s of shape %v and strides %v", name, t.shape, t.stride)
	}
	if name == "_rebuild_tensor_v3" {
		if len(args) < 7 {
			return nil, fmt.Errorf("%s of %d arguments", name, len(args))
		}
		d, _ := args[6].(global)
		if t.dtype = torchTypes[d.name]; t.dtype == "" {
			return nil, fmt.Errorf("%s of dtype %s.%s", name, d.module, d.name)
		}
	}
	if t.dtype == "" {
		return nil, fmt.Errorf("%s of an untyped storage", name)
	}
	return t, nil
}

// wrappers are the keys under which trainers put the state dict.
var wrappers = []string{"state_dict", "model_state_dict", "model", "module", "params"}

// stateDict finds the map of tensors in the root object and reads every tensor.
func (r *rebuilder) stateDict(root any) (map[string]Tensor, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("the file holds %T, not a state dict", root)
	}
	for range 2 {
		for _, k := range wrappers {
			if inner, ok := d.get(k); ok {
				if id, ok := inner.(*dict); ok && id.hasTensor() {
					d = id
					break
				}
			}
		}
	}
	out := make(map[string]Tensor, len(d.keys))
	copied := 0
	for i, k := range d.keys {
		name, ok1 := k.(string)
		t, ok2 := d.values[i].(*storedTensor)
		if !ok1 || !ok2 {
			continue // an epoch, a learning rate
		}
		data, fresh, err := t.bytes()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		if fresh {
			// gathered views are copies: a small file must not make many of one storage
			if copied += len(data); copied > 4*r.total()+1<<20 {
				return nil, fmt.Errorf("tensor %s: the views in this file are many times larger than its data", name)
			}
		}
		out[name] = Tensor{name, t.dtype, t.shape, data}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no tensors in the state dict")
	}
	return out, nil
}

func (r *rebuilder) total() int {
	n := 0
	for _, s := range r.storages {
		n += len(s.data)
	}
	return n
}

func (d *dict) get(key string) (any, bool) {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == key {
			return d.values[i], true
		}
	}
	return nil, false
}

func (d *dict) hasTensor() bool {
	for _, v := range d.values {
		if _, ok := v.(*storedTensor); ok {
			return true
		}
	}
	return false
}

// bytes is the tensor's elements in row-major order: a piece of the file where they lie so, else a gathered copy.
func (t *storedTensor) bytes() (data []byte, fresh bool, err error) {
	w := width(t.dtype)
	n, ok := elements(t.shape)
	if !ok {
		return nil, false, fmt.Errorf("shape %v", t.shape)
	}
	if n == 0 {
		return []byte{}, false, nil
	}
	last, dense := t.offset, true
	for i, expect := len(t.shape)-1, 1; i >= 0; i-- {
		steps, s := t.shape[i]-1, t.stride[i]
		if s > 0 && steps > (math.MaxInt64/32-last)/s {
			return nil, false, fmt.Errorf("strides %v", t.stride)
		}
		last += steps * s
		if t.shape[i] > 1 && s != expect {
			dense = false
		}
		expect *= t.shape[i]
	}
	if last >= len(t.storage.data)/w {
		return nil, false, fmt.Errorf("shape %v, strides %v at %d reach past the %d bytes of storage %s", t.shape, t.stride, t.offset, len(t.storage.data), t.storage.key)
	}
	if dense {
		return t.storage.data[t.offset*w:][:n*w], false, nil
	}
	if n > 4*len(t.storage.data)+1<<20 {
		return nil, false, fmt.Errorf("shape %v is expanded from %d bytes", t.shape, len(t.storage.data))
	}
	out := make([]byte, n*w)
	index := make([]int, len(t.shape))
	for i := range n {
		at := t.offset
		for d, k := range index {
			at += k * t.stride[d]
		}
		copy(out[i*w:][:w], t.storage.data[at*w:])
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < t.shape[d] {
				break
			}
			index[d] = 0
		}
	}
	return out, true, nil
}
