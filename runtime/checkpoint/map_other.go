//go:build !unix

package checkpoint

import "os"

// mapping is a file read whole, on systems without mmap.
type mapping struct{ data []byte }

func mapFile(path string) (*mapping, error) {
	data, err := os.ReadFile(path)
	return &mapping{data}, err
}

func (m *mapping) drop() {}

func (m *mapping) close() error {
	m.data = nil
	return nil
}
