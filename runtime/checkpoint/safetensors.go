package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
)

// headerLimit is what the reference implementation accepts.
const headerLimit = 100_000_000

// width is the size of one element in bytes, 0 for an unknown type.
func width(dtype string) int {
	switch dtype {
	case "F64", "I64", "U64":
		return 8
	case "F32", "I32", "U32":
		return 4
	case "F16", "BF16", "I16", "U16":
		return 2
	case "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2":
		return 1
	}
	return 0
}

// parseSafetensors reads the header (u64 length, JSON, then the data) and checks every range against the shape, against
// the other ranges and against the end of the file.
func parseSafetensors(data []byte) (map[string]Tensor, error) {
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return nil, fmt.Errorf("this is a git-lfs pointer, not the file that it points to")
	}
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes are no safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > headerLimit || n > uint64(len(data)-8) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", n, len(data))
	}
	header, err := readHeader(data[8 : 8+n])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	body := data[8+n:]
	tensors := make(map[string]Tensor, len(header))
	ranges := make([][2]uint64, 0, len(header))
	for name, raw := range header {
		if name == "__metadata__" {
			continue
		}
		var e struct {
			DType       string    `json:"dtype"`
			Shape       *[]uint64 `json:"shape"`
			DataOffsets []uint64  `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		if e.Shape == nil || len(e.DataOffsets) != 2 {
			return nil, fmt.Errorf("tensor %s: shape or data_offsets are missing", name)
		}
		w := width(e.DType)
		if w == 0 {
			return nil, fmt.Errorf("tensor %s: dtype %q is not known", name, e.DType)
		}
		from, to := e.DataOffsets[0], e.DataOffsets[1]
		if from > to || to > uint64(len(body)) {
			return nil, fmt.Errorf("tensor %s: bytes [%d,%d) of %d", name, from, to, len(body))
		}
		shape := make([]int, len(*e.Shape))
		for i, d := range *e.Shape {
			if d > math.MaxInt32*uint64(w) {
				return nil, fmt.Errorf("tensor %s: shape %v", name, *e.Shape)
			}
			shape[i] = int(d)
		}
		size, ok := elements(shape)
		if !ok || uint64(size) > uint64(len(body)) || uint64(size*w) != to-from {
			return nil, fmt.Errorf("tensor %s: shape %v of %s in %d bytes", name, shape, e.DType, to-from)
		}
		tensors[name] = Tensor{name, e.DType, shape, body[from:to]}
		ranges = append(ranges, [2]uint64{from, to})
	}
	sort.Slice(ranges, func(i, j int) bool {
		return ranges[i][0] < ranges[j][0] || ranges[i][0] == ranges[j][0] && ranges[i][1] < ranges[j][1]
	})
	end := uint64(0)
	for _, r := range ranges {
		if r[0] != end {
			return nil, fmt.Errorf("tensors overlap or leave a gap at byte %d", min(r[0], end))
		}
		end = r[1]
	}
	if end != uint64(len(body)) {
		return nil, fmt.Errorf("tensors end at byte %d of %d", end, len(body))
	}
	return tensors, nil
}

// readHeader reads a JSON object; a name that is given twice would let two readers see different tensors.
func readHeader(text []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(text) {
		return nil, errors.New("not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	header := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if _, twice := header[name]; twice {
			return nil, fmt.Errorf("tensor %s is there twice", name)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		header[name] = raw
	}
	return header, nil
}

// elements is the product of a shape; false where it overflows or a size is negative.
func elements(shape []int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d > 0 && n > math.MaxInt64/16/d { // 16: more than any element's width
			return 0, false
		}
		n *= d
	}
	return n, true
}
