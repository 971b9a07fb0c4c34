// Package checkpoint opens the weights of a model folder: safetensors (one file or shards) and torch's pickled state
// dicts, all mapped into memory and checked before use. Nothing in a file is ever executed, and no length in a file is
// believed before it is compared with the file's own size.
package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"

	"remote-client-server/runtime"
)

// Tensor is one stored tensor: little-endian elements, row-major, in the mapped file or copied from it.
type Tensor struct {
	Name  string
	DType string // safetensors' spelling: F32, F16, BF16, F64, I64, ...
	Shape []int
	Data  []byte
}

// Checkpoint is the tensors of one component by name.
type Checkpoint struct {
	tensors map[string]Tensor
	files   []*mapping
}

// ErrNone is returned, wrapped, by Open for a folder without weights.
var ErrNone = errors.New("no model.safetensors, model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json")

// Open maps the weights in dir. Where a folder has both formats, safetensors are read.
func Open(dir string) (*Checkpoint, error) {
	for _, c := range []struct {
		name string
		open func(string) (*Checkpoint, error)
	}{
		{"model.safetensors", File},
		{"model.safetensors.index.json", sharded},
		{"pytorch_model.bin", File},
		{"pytorch_model.bin.index.json", sharded},
	} {
		path := filepath.Join(dir, c.name)
		if _, err := os.Stat(path); err == nil {
			return c.open(path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: %w", dir, ErrNone)
}

// File maps one file, told apart by its first bytes.
func File(path string) (*Checkpoint, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	tensors, err := parse(m.data)
	if err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Checkpoint{tensors, []*mapping{m}}, nil
}

// Bytes reads a safetensors or torch file that is in memory already.
func Bytes(data []byte) (*Checkpoint, error) {
	tensors, err := parse(data)
	if err != nil {
		return nil, err
	}
	return &Checkpoint{tensors: tensors}, nil
}

func parse(data []byte) (map[string]Tensor, error) {
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	if isTorch(data) {
		return parseTorch(data)
	}
	return parseSafetensors(data)
}

// indexLimit is far above the index of any checkpoint.
const indexLimit = 64 << 20

func readIndex(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > indexLimit {
		return nil, fmt.Errorf("%s: no regular file of at most %d bytes", path, indexLimit)
	}
	return os.ReadFile(path)
}

// sharded reads an index ("weight_map": tensor -> file) and every shard that it names.
func sharded(path string) (*Checkpoint, error) {
	raw, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("%s: weight_map is empty", path)
	}
	c := &Checkpoint{tensors: map[string]Tensor{}}
	shards := map[string]*Checkpoint{}
	for name, file := range index.WeightMap {
		s := shards[file]
		if s == nil {
			if file != filepath.Base(file) || file == "." || file == ".." {
				c.Close()
				return nil, fmt.Errorf("%s: %q is no file of this folder", path, file)
			}
			if s, err = File(filepath.Join(filepath.Dir(path), file)); err != nil {
				c.Close()
				return nil, err
			}
			shards[file] = s
			c.files = append(c.files, s.files...)
		}
		t, ok := s.tensors[name]
		if !ok {
			c.Close()
			return nil, fmt.Errorf("%s: %s is not in %s", path, name, file)
		}
		c.tensors[name] = t
	}
	return c, nil
}

// Names lists the tensors in alphabetical order.
func (c *Checkpoint) Names() []string {
	names := make([]string, 0, len(c.tensors))
	for n := range c.tensors {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Lookup finds a tensor.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Source is the tensor as a matrix: its last dimension are the columns, all others the rows. A negative rows or cols
// takes what is stored.
func (c *Checkpoint) Source(name string, rows, cols int) (runtime.Source, error) {
	t, ok := c.tensors[name]
	if !ok {
		return runtime.Source{}, fmt.Errorf("tensor %s is missing", name)
	}
	return t.Source(rows, cols)
}

// Source is Checkpoint.Source of one tensor. float64 is rounded to float32.
func (t Tensor) Source(rows, cols int) (runtime.Source, error) {
	r, n := 1, 1
	for i, d := range t.Shape {
		if i == len(t.Shape)-1 {
			n = d
		} else {
			r *= d
		}
	}
	if rows >= 0 && rows != r || cols >= 0 && cols != n {
		want := "[" + dimension(rows) + " " + dimension(cols) + "]"
		if len(t.Shape) == 1 && rows == 1 {
			want = "[" + dimension(cols) + "]"
		}
		return runtime.Source{}, fmt.Errorf("tensor %s has shape %v, want %s", t.Name, t.Shape, want)
	}
	switch t.DType {
	case "F32":
		return runtime.NewSource(t.Name, r, n, runtime.F32, t.Data)
	case "F16":
		return runtime.NewSource(t.Name, r, n, runtime.F16, t.Data)
	case "BF16":
		return runtime.NewSource(t.Name, r, n, runtime.BF16, t.Data)
	case "F64":
		v := make([]float32, r*n)
		for i := range v {
			v[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
		s := runtime.FloatSource(t.Name, r, v)
		if r == 0 {
			s.Cols = n
		}
		return s, nil
	}
	return runtime.Source{}, fmt.Errorf("tensor %s has type %s: a weight is F32, F16, BF16 or F64", t.Name, t.DType)
}

func dimension(n int) string {
	if n < 0 {
		return "any"
	}
	return fmt.Sprint(n)
}

// Stored is the float type that most elements have.
func (c *Checkpoint) Stored() runtime.DType {
	n := map[string]int{}
	for _, t := range c.tensors {
		n[t.DType] += len(t.Data)
	}
	switch {
	case n["BF16"] > n["F32"] && n["BF16"] >= n["F16"]:
		return runtime.BF16
	case n["F16"] > n["F32"]:
		return runtime.F16
	}
	return runtime.F32
}

// Parameters is the number of elements of all float tensors.
func (c *Checkpoint) Parameters() int64 {
	total := int64(0)
	for _, t := range c.tensors {
		if w := width(t.DType); t.DType[0] == 'F' || t.DType[0] == 'B' && t.DType != "BOOL" {
			total += int64(len(t.Data) / w)
		}
	}
	return total
}

// Drop tells the system that the pages read so far are not needed soon: packed weights have copies elsewhere.
func (c *Checkpoint) Drop() {
	for _, m := range c.files {
		m.drop()
	}
}

// Close unmaps the files; Sources made from them must not be read afterwards.
func (c *Checkpoint) Close() error {
	var err error
	for _, m := range c.files {
		err = errors.Join(err, m.close())
	}
	c.files, c.tensors = nil, nil
	return err
}
