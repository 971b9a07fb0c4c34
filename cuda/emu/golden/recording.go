package golden

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Recording is what one GPU answered.
type Recording struct {
	GPU        string   `json:"gpu"`
	Driver     string   `json:"driver"`
	Capability int      `json:"capability"`
	Answers    []Answer `json:"answers"`
}

// Answer is the output of one vector.
type Answer struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // Vector.Digest
	Output []byte `json:"output"`
}

// Answer is the one to a vector, or nil where it was not asked in this form.
func (r *Recording) Answer(v *Vector) *Answer {
	for i, a := range r.Answers {
		if a.Name == v.Name && a.Digest == v.Digest() {
			return &r.Answers[i]
		}
	}
	return nil
}

// Path is where the recording of a GPU of that compute capability lies in this folder.
func Path(capability int) string {
	return filepath.Join("testdata", fmt.Sprintf("sm_%d.json.gz", capability))
}

// mostRecorded bounds a recording, in bytes of JSON.
const mostRecorded = 64 << 20

// Read reads a recording.
func Read(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func decode(f io.Reader) (*Recording, error) {
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(z, mostRecorded+1))
	if err != nil {
		return nil, err
	}
	if len(b) > mostRecorded {
		return nil, fmt.Errorf("more than %d bytes", mostRecorded)
	}
	r := &Recording{}
	return r, json.Unmarshal(b, r)
}

// Write writes a recording in the place of an older one.
func (r *Recording) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "*.part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left of it after the rename
	err = errors.Join(r.encode(f), f.Chmod(0o644), f.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func (r *Recording) encode(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(z).Encode(r), z.Close())
}
