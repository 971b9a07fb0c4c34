package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// linked checks that the binary and every library are of the machine and that
// the image holds the loader and the libraries that they name.
func linked(m machine, base, top tree) error {
	whole := maps.Clone(base)
	maps.Copy(whole, top)
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		n := whole[name]
		library := strings.HasPrefix(name, "usr/lib/"+m.triplet+"/")
		if n.kind != tar.TypeReg || !library && name != binaryPath {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(n.body))
		if err != nil {
			return fmt.Errorf("/%s is no program for Linux: %w", name, err)
		}
		if f.Machine != m.elf {
			return fmt.Errorf("/%s is built for %v, not %v", name, f.Machine, m.elf)
		}
		if i, err := interpreter(f); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		} else if i != "" {
			if _, err := whole.resolve(i[1:]); err != nil {
				return fmt.Errorf("/%s: loader: %w", name, err)
			}
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
		for _, lib := range needed {
			if _, err := whole.resolve("usr/lib/" + m.triplet + "/" + lib); err != nil {
				return fmt.Errorf("/%s needs %s: %w", name, lib, err)
			}
		}
	}
	return nil
}

// interpreter is the absolute path of the loader that a program names, or "".
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		const most = 4096 // bytes of a path
		b, err := io.ReadAll(io.LimitReader(p.Open(), most))
		if err != nil {
			return "", err
		}
		s := strings.TrimRight(string(b), "\x00")
		if !strings.HasPrefix(s, "/") {
			return "", fmt.Errorf("loader %q is no absolute path", s)
		}
		return s, nil
	}
	return "", nil
}
