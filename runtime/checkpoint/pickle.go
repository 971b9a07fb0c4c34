package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// The limits of what a state dict's pickle may ask for.
const (
	pickleLimit = 64 << 20 // bytes of pickle
	stackLimit  = 10_000
	memoLimit   = 10_000_000
	stringLimit = 16 << 20
)

// The values that a pickle can build. Everything else that it builds is inert.
type (
	dict struct{ keys, values []any } // in insertion order
	list struct{ items []any }
	// tuple is immutable: []any
	global struct{ module, name string }
	opaque struct{} // a value that nobody looks at
	mark   struct{}
)

// machine runs the subset of pickle that torch.save writes (torch/serialization.py). A REDUCE goes to rebuild, which
// knows the few constructors by name; nothing is ever called.
type machine struct {
	in      []byte
	at      int
	stack   []any
	memo    map[int]any
	build   func(fn global, args []any) (any, error)
	persist func(id []any) (any, error)
}

// unpickle runs one pickle and returns its value and its length in bytes.
func unpickle(in []byte, build func(global, []any) (any, error), persist func([]any) (any, error)) (any, int, error) {
	m := &machine{in: in, memo: map[int]any{}, build: build, persist: persist}
	for {
		start := m.at
		op, err := m.bytes(1)
		if err == nil && m.at > pickleLimit {
			err = fmt.Errorf("longer than %d bytes", pickleLimit)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("pickle at byte %d: %w", start, err)
		}
		if op[0] == '.' {
			v, err := m.pop()
			if err != nil {
				return nil, 0, fmt.Errorf("pickle at byte %d: %w", start, err)
			}
			return v, m.at, nil
		}
		if err := m.step(op[0]); err != nil {
			return nil, 0, fmt.Errorf("pickle at byte %d: %w", start, err)
		}
		if len(m.stack) > stackLimit {
			return nil, 0, fmt.Errorf("pickle at byte %d: more than %d values on the stack", start, stackLimit)
		}
	}
}

func (m *machine) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(m.in)-m.at {
		return nil, fmt.Errorf("%d bytes wanted, %d left", n, len(m.in)-m.at)
	}
	b := m.in[m.at : m.at+n]
	m.at += n
	return b, nil
}

// number reads an unsigned little-endian argument of n bytes.
func (m *machine) number(n int) (uint64, error) {
	b, err := m.bytes(n)
	if err != nil {
		return 0, err
	}
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:]), nil
}

func (m *machine) text(lengthBytes int) (string, error) {
	n, err := m.number(lengthBytes)
	if err != nil {
		return "", err
	}
	if n > stringLimit {
		return "", fmt.Errorf("string of %d bytes", n)
	}
	b, err := m.bytes(int(n))
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("string is not UTF-8")
	}
	return string(b), nil
}

func (m *machine) line() (string, error) {
	n := strings.IndexByte(string(m.in[m.at:min(len(m.in), m.at+512)]), '\n')
	if n < 0 {
		return "", fmt.Errorf("name without an end")
	}
	s := string(m.in[m.at : m.at+n])
	m.at += n + 1
	return s, nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	n := len(m.stack)
	if n == 0 {
		return nil, fmt.Errorf("stack is empty")
	}
	v := m.stack[n-1]
	if _, ok := v.(mark); ok {
		return nil, fmt.Errorf("mark where a value is wanted")
	}
	m.stack = m.stack[:n-1]
	return v, nil
}

// take pops n values, in order.
func (m *machine) take(n int) ([]any, error) {
	out := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// sinceMark pops everything down to the last mark.
func (m *machine) sinceMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			out := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return out, nil
		}
	}
	return nil, fmt.Errorf("no mark on the stack")
}

func (m *machine) store(i int) error {
	if len(m.stack) == 0 {
		return fmt.Errorf("stack is empty")
	}
	if i < 0 || i > memoLimit {
		return fmt.Errorf("memo slot %d", i)
	}
	m.memo[i] = m.stack[len(m.stack)-1]
	return nil
}

func (m *machine) load(i int) error {
	v, ok := m.memo[i]
	if !ok {
		return fmt.Errorf("memo slot %d is empty", i)
	}
	m.push(v)
	return nil
}

// step executes one opcode. The names are those of CPython's pickletools.
func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("protocol %d", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.number(8)
		return err
	case '(': // MARK
		m.push(mark{})
	case '0': // POP
		if n := len(m.stack); n > 0 {
			m.stack = m.stack[:n-1]
			return nil
		}
		return fmt.Errorf("stack is empty")
	case '1': // POP_MARK
		_, err := m.sinceMark()
		return err
	case 'N': // NONE
		m.push(nil)
	case 0x88: // NEWTRUE
		m.push(true)
	case 0x89: // NEWFALSE
		m.push(false)
	case 'J', 'K', 'M', 0x8a, 'G': // BININT, BININT1, BININT2, LONG1, BINFLOAT
		return m.numeric(op)
	case 'X', 0x8c, 0x8d, 'U', 'T': // BINUNICODE, SHORT_, 8, SHORT_BINSTRING, BINSTRING
		size := map[byte]int{'X': 4, 0x8c: 1, 0x8d: 8, 'U': 1, 'T': 4}[op]
		s, err := m.text(size)
		if err != nil {
			return err
		}
		m.push(s)
	case ')', 0x85, 0x86, 0x87, 't', ']', '}', 0x8f, 'a', 'e', 's', 'u': // containers
		return m.container(op)
	case 'c', 0x93, 'Q', 'R', 0x81, 'b': // names and objects
		return m.object(op)
	case 'q', 'r', 'h', 'j': // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
		n := 1
		if op == 'r' || op == 'j' {
			n = 4
		}
		i, err := m.number(n)
		if err != nil {
			return err
		}
		if op == 'q' || op == 'r' {
			return m.store(int(i))
		}
		return m.load(int(i))
	case 0x94: // MEMOIZE
		return m.store(len(m.memo))
	default:
		return fmt.Errorf("opcode %#02x is not one that a state dict needs", op)
	}
	return nil
}

func (m *machine) numeric(op byte) error {
	switch op {
	case 'J':
		v, err := m.number(4)
		m.push(int64(int32(v)))
		return err
	case 'K':
		v, err := m.number(1)
		m.push(int64(v))
		return err
	case 'M':
		v, err := m.number(2)
		m.push(int64(v))
		return err
	case 'G':
		b, err := m.bytes(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		return nil
	}
	n, err := m.number(1)
	if err != nil {
		return err
	}
	b, err := m.bytes(int(n))
	if err != nil {
		return err
	}
	if n > 8 {
		m.push(opaque{}) // only the legacy magic number is that long, and it is checked as bytes
		return nil
	}
	v := int64(0)
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | int64(b[i])
	}
	if n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v -= 1 << (8 * n)
	}
	m.push(v)
	return nil
}

func (m *machine) container(op byte) error {
	switch op {
	case ')', 0x85, 0x86, 0x87: // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3
		n := 0
		if op != ')' {
			n = int(op) - 0x84
		}
		v, err := m.take(n)
		if err != nil {
			return err
		}
		m.push(v)
	case 't': // TUPLE
		v, err := m.sinceMark()
		if err != nil {
			return err
		}
		m.push(v)
	case ']': // EMPTY_LIST
		m.push(&list{})
	case '}': // EMPTY_DICT
		m.push(&dict{})
	case 0x8f: // EMPTY_SET
		m.push(opaque{})
	case 'a', 'e': // APPEND, APPENDS
		items, err := m.args(op == 'e', 1)
		if err != nil {
			return err
		}
		l, ok := m.top().(*list)
		if !ok {
			return fmt.Errorf("append to %T", m.top())
		}
		l.items = append(l.items, items...)
	case 's', 'u': // SETITEM, SETITEMS
		items, err := m.args(op == 'u', 2)
		if err != nil {
			return err
		}
		d, ok := m.top().(*dict)
		if !ok || len(items)%2 != 0 {
			return fmt.Errorf("%d items set in %T", len(items), m.top())
		}
		for i := 0; i < len(items); i += 2 {
			d.keys = append(d.keys, items[i])
			d.values = append(d.values, items[i+1])
		}
	}
	return nil
}

func (m *machine) args(marked bool, n int) ([]any, error) {
	if marked {
		return m.sinceMark()
	}
	return m.take(n)
}

func (m *machine) top() any {
	if n := len(m.stack); n > 0 {
		return m.stack[n-1]
	}
	return nil
}

func (m *machine) object(op byte) error {
	switch op {
	case 'c': // GLOBAL
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case 0x93: // STACK_GLOBAL
		v, err := m.take(2)
		if err != nil {
			return err
		}
		module, ok1 := v[0].(string)
		name, ok2 := v[1].(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("name of %T and %T", v[0], v[1])
		}
		return m.global(module, name)
	case 'Q': // BINPERSID
		v, err := m.pop()
		if err != nil {
			return err
		}
		id, ok := v.([]any)
		if !ok {
			return fmt.Errorf("persistent id of type %T", v)
		}
		r, err := m.persist(id)
		if err != nil {
			return err
		}
		m.push(r)
	case 'R', 0x81: // REDUCE, NEWOBJ
		v, err := m.take(2)
		if err != nil {
			return err
		}
		fn, ok1 := v[0].(global)
		args, ok2 := v[1].([]any)
		if !ok1 || !ok2 {
			return fmt.Errorf("call of %T with %T", v[0], v[1])
		}
		r, err := m.build(fn, args)
		if err != nil {
			return err
		}
		m.push(r)
	case 'b': // BUILD: attributes of a container, such as a state dict's _metadata
		if _, err := m.pop(); err != nil {
			return err
		}
		switch m.top().(type) {
		case *dict, *list, opaque, *storedTensor:
		default:
			return fmt.Errorf("state set on %T", m.top())
		}
	}
	return nil
}

func (m *machine) global(module, name string) error {
	if !allowed(module, name) {
		return fmt.Errorf("the file wants to use %s.%s, which no state dict needs; refused (a conversion to safetensors helps)", module, name)
	}
	m.push(global{module, name})
	return nil
}

// allowed is the list of names that a state dict may mention.
func allowed(module, name string) bool {
	switch module {
	case "collections":
		return name == "OrderedDict" || name == "Counter" || name == "defaultdict"
	case "torch._utils":
		switch name {
		case "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_parameter_with_state":
			return true
		}
	case "torch._tensor":
		return name == "_rebuild_from_type_v2"
	case "torch.nn.parameter":
		return name == "Parameter"
	case "torch.storage":
		return name == "UntypedStorage" || name == "TypedStorage"
	case "torch.serialization":
		return name == "_get_layout"
	case "_codecs":
		return name == "encode"
	case "__builtin__", "builtins":
		return name == "set" || name == "bytearray" || name == "complex" || name == "long"
	case "torch":
		if name == "Size" || name == "device" {
			return true
		}
		if _, ok := storageTypes[name]; ok {
			return true
		}
		_, ok := torchTypes[name]
		return ok
	}
	return false
}

// storageTypes are torch's typed storages in safetensors' spelling.
var storageTypes = map[string]string{
	"FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64",
	"IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}

// torchTypes are torch's dtypes in safetensors' spelling.
var torchTypes = map[string]string{
	"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16",
	"int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
	"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}
