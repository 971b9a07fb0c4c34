package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// legacyMagic is the first pickle of a file that torch < 1.6 wrote.
var legacyMagic = []byte{0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'}

// isTorch tells torch's containers, and what pretends to be one, from safetensors, whose first eight bytes are a length.
func isTorch(data []byte) bool {
	return bytes.HasPrefix(data, []byte("PK\x03\x04")) || bytes.HasPrefix(data, legacyMagic) ||
		len(data) > 1 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 || isTar(data)
}

func isTar(data []byte) bool {
	return len(data) > 262 && string(data[257:262]) == "ustar"
}

func parseTorch(data []byte) (map[string]Tensor, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return parseZip(data)
	case bytes.HasPrefix(data, legacyMagic):
		return parseLegacy(data)
	case isTar(data):
		return nil, fmt.Errorf("a tar archive of torch before 0.1.10 is not supported: convert it to safetensors")
	}
	return nil, fmt.Errorf("a plain pickle is no torch checkpoint")
}

// parseZip reads the container of torch 1.6 and later: one directory with data.pkl and data/<key>, all stored.
func parseZip(data []byte) (map[string]Tensor, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	entries := make(map[string]*zip.File, len(z.File))
	top, found := "", false
	for _, f := range z.File {
		entries[f.Name] = f
		dir, ok := strings.CutSuffix(f.Name, "data.pkl")
		if ok && (dir == "" || strings.HasSuffix(dir, "/")) {
			if found {
				return nil, fmt.Errorf("two data.pkl entries")
			}
			top, found = dir, true
		}
		if f.Name == "constants.pkl" || strings.HasSuffix(f.Name, "/constants.pkl") {
			return nil, fmt.Errorf("a TorchScript archive is no state dict")
		}
	}
	if !found {
		return nil, fmt.Errorf("no data.pkl in the archive")
	}
	if f := entries[top+"byteorder"]; f != nil {
		order, err := stored(data, f)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("byte order %q is not supported", order)
		}
	}
	pickle, err := stored(data, entries[top+"data.pkl"])
	if err != nil {
		return nil, err
	}
	r := &rebuilder{storages: map[string]*storage{}}
	root, _, err := unpickle(pickle, r.build, r.persist)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	for key, s := range r.storages {
		f := entries[top+"data/"+key]
		if f == nil {
			return nil, fmt.Errorf("storage %s is missing", key)
		}
		if s.data, err = stored(data, f); err != nil {
			return nil, err
		}
		if len(s.data) < s.bytes {
			return nil, fmt.Errorf("storage %s has %d bytes, %d are declared", key, len(s.data), s.bytes)
		}
	}
	return r.stateDict(root)
}

// stored is the bytes of one uncompressed entry, in place; a deflated one is inflated into memory, never beyond its
// declared size.
func stored(data []byte, f *zip.File) ([]byte, error) {
	if f.Method != zip.Store {
		if f.UncompressedSize64 > 100*uint64(len(data)) {
			return nil, fmt.Errorf("entry %s inflates to %d bytes", f.Name, f.UncompressedSize64)
		}
		rc, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", f.Name, err)
		}
		defer rc.Close()
		b, err := io.ReadAll(io.LimitReader(rc, int64(f.UncompressedSize64)))
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", f.Name, err)
		}
		return b, nil
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", f.Name, err)
	}
	if at < 0 || at > int64(len(data)) || f.UncompressedSize64 > uint64(int64(len(data))-at) {
		return nil, fmt.Errorf("entry %s: %d bytes at %d of %d", f.Name, f.UncompressedSize64, at, len(data))
	}
	return data[at:][:f.UncompressedSize64], nil
}

// parseLegacy reads five pickles (magic, version, system, object, storage keys) and then the raw storages in the order
// of the keys, each behind its element count.
func parseLegacy(data []byte) (map[string]Tensor, error) {
	r := &rebuilder{storages: map[string]*storage{}}
	at := 0
	next := func(what string) (any, error) {
		v, n, err := unpickle(data[at:], r.build, r.persist)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		at += n
		return v, nil
	}
	var parts [5]any
	for i, what := range []string{"magic number", "protocol version", "system info", "object", "storage keys"} {
		v, err := next(what)
		if err != nil {
			return nil, err
		}
		parts[i] = v
	}
	if parts[1] != int64(1001) {
		return nil, fmt.Errorf("protocol version %v", parts[1])
	}
	system, ok := parts[2].(*dict)
	if !ok {
		return nil, fmt.Errorf("system info is missing")
	}
	if little, ok := system.get("little_endian"); !ok || little != true {
		return nil, fmt.Errorf("byte order is not little-endian")
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, fmt.Errorf("storage keys are missing")
	}
	for _, k := range keys.items {
		key, _ := k.(string)
		s := r.storages[key]
		if s == nil {
			return nil, fmt.Errorf("storage %v has no type", k)
		}
		if len(data)-at < 8 {
			return nil, fmt.Errorf("storage %s is cut off", key)
		}
		n := binary.LittleEndian.Uint64(data[at:])
		at += 8
		w := uint64(width(s.dtype))
		if n > uint64(len(data)-at)/w || int(n*w) < s.bytes {
			return nil, fmt.Errorf("storage %s has %d elements, %d bytes are left and %d declared", key, n, len(data)-at, s.bytes)
		}
		s.data = data[at:][:n*w]
		at += int(n * w)
	}
	return r.stateDict(parts[3])
}
