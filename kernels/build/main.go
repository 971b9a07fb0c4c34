// Command build makes what kernels embeds: PTX of the sources in src by the pinned clang, cubins of the PTX by the pinned
// ptxas, and the table in README.md of what ptxas says. The same tools make the same bytes on every machine.
//
//	go run ./kernels/build            # or make ptx
//	go run ./kernels/build -check     # changes nothing; an error where a file is not what the sources give
//	go run ./kernels/build gemm norm  # these modules only, and not the table
//	go run ./kernels/build -install   # fetches ptxas and nvdisasm, NVIDIA's packages on PyPI, into the user's cache folder
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"remote-client-server/kernels"
	"remote-client-server/kernels/clang"
)

func main() {
	check := flag.Bool("check", false, "compare with the committed files and write nothing")
	force := flag.Bool("force", false, "build with another version of clang than the pinned one")
	install := flag.Bool("install", false, "fetch ptxas and nvdisasm, and do nothing else")
	folder := flag.String("folder", "", "the folder kernels; found from the working directory if empty")
	flag.Parse()
	if err := run(*folder, *check, *force, *install, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kernels/build:", err)
		os.Exit(1)
	}
}

func run(folder string, check, force, install bool, only []string) error {
	if install {
		if _, err := findTools(); err == nil {
			return nil
		}
		return installTools()
	}
	if folder == "" {
		var err error
		if folder, err = findFolder(); err != nil {
			return err
		}
	}
	if err := clang.Find(); err != nil && !(force && !check) {
		return err
	}
	chosen := modules()
	if len(only) > 0 {
		chosen = only
	}
	ptx, err := compileAll(filepath.Join(folder, "src"), chosen)
	if err != nil {
		return err
	}
	t, err := findTools()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetching ptxas")
		if err := installTools(); err != nil {
			return err
		}
		if t, err = findTools(); err != nil {
			return err
		}
	}
	cubins, made, err := t.assembleAll(ptx, chosen)
	if err != nil {
		return err
	}
	for _, a := range made {
		for _, p := range a.Problems() {
			err = errors.Join(err, fmt.Errorf("%s on %s: %s", a.Kernel.Name, a.GPU, p))
		}
	}
	if err != nil {
		return err
	}
	whole := len(only) == 0
	if check {
		err := compare(folder, ptx, cubins, whole)
		if whole {
			err = errors.Join(err, compareTable(folder, table(made)))
		}
		return err
	}
	if err := write(folder, ptx, cubins); err != nil || !whole {
		return err
	}
	if err := clean(folder, ptx, cubins); err != nil {
		return err
	}
	return writeTable(folder, table(made))
}

// findFolder is the folder kernels, seen from the repository's root or from itself.
func findFolder() (string, error) {
	for _, f := range []string{"kernels", ".", ".."} {
		if _, err := os.Stat(filepath.Join(f, "src", "args.h")); err == nil {
			return f, nil
		}
	}
	return "", errors.New("the folder kernels is not here: run it in the repository, or say -folder")
}

// compileAll makes the PTX of modules for all their targets, by their paths.
func compileAll(src string, modules []string) (map[string][]byte, error) {
	var mu sync.Mutex
	ptx, errs := map[string][]byte{}, []error{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, b := range kernels.Builds() {
		if !slices.Contains(modules, b.Module) {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			text, err := clang.Compile(src, b)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			ptx[kernels.PTXPath(b.Module, b.Target)] = text
		})
	}
	wg.Wait()
	return ptx, errors.Join(errs...)
}

// compare is an error for each file that is missing or another or, where everything was built, left over.
func compare(folder string, ptx, cubins map[string][]byte, whole bool) error {
	var errs []error
	for path, want := range ptx {
		got, err := os.ReadFile(filepath.Join(folder, path))
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%s is not what the sources give: make ptx", path)
		}
		errs = append(errs, err)
	}
	for path, want := range cubins {
		got, err := readZipped(filepath.Join(folder, path))
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%s is not what ptxas makes: make ptx", path)
		}
		errs = append(errs, err)
	}
	for _, path := range present(folder) {
		if whole && ptx[path] == nil && cubins[path] == nil {
			errs = append(errs, fmt.Errorf("%s is of no build: make ptx removes it", path))
		}
	}
	return errors.Join(errs...)
}

func compareTable(folder, table string) error {
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return err
	}
	want, err := withTable(readme, table)
	if err == nil && !bytes.Equal(readme, want) {
		err = errors.New("README.md: the table is not what ptxas says: make ptx")
	}
	return err
}

// present are the paths of the files that builds have written.
func present(folder string) []string {
	var all []string
	for _, pattern := range []string{"ptx/*/*.ptx", "cubin/*/*.cubin.gz"} {
		found, _ := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		for _, f := range found {
			if rel, err := filepath.Rel(folder, f); err == nil {
				all = append(all, filepath.ToSlash(rel))
			}
		}
	}
	slices.Sort(all)
	return all
}

func put(folder, path string, b []byte) error {
	path = filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// write puts what was built into the folder.
func write(folder string, ptx, cubins map[string][]byte) error {
	for path, b := range ptx {
		if err := put(folder, path, b); err != nil {
			return err
		}
	}
	for path, b := range cubins {
		if old, err := readZipped(filepath.Join(folder, path)); err == nil && bytes.Equal(old, b) {
			continue // another version of Go may compress otherwise
		}
		zipped, err := zip(b)
		if err != nil {
			return err
		}
		if err := put(folder, path, zipped); err != nil {
			return err
		}
	}
	return nil
}

// clean removes files that no build makes any more.
func clean(folder string, ptx, cubins map[string][]byte) error {
	var errs []error
	for _, path := range present(folder) {
		if ptx[path] == nil && cubins[path] == nil {
			errs = append(errs, os.Remove(filepath.Join(folder, path)))
		}
	}
	return errors.Join(errs...)
}

func writeTable(folder, table string) error {
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return err
	}
	if readme, err = withTable(readme, table); err != nil {
		return err
	}
	return put(folder, "README.md", readme)
}

func readZipped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func zip(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}
