package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "remote-client-server"

// floors lists the parts of the house, the upper ones first, each with the
// parts that it may import. A part is a folder with what is below it; the most
// specific one counts. Tests may also import what testsMay says.
var floors = []struct {
	part string
	may  []string
}{
	{".", []string{"http", "http/media", "status", "models", "models/hub", "tokenize", "runtime", "cuda"}},
	{"http", []string{"http/pages", "http/media", "models", "tokenize", "runtime"}}, // not status: main connects the two
	{"http/pages", nil},
	{"http/media", nil},
	{"status", []string{"models", "tokenize", "runtime"}},
	{"models", []string{"models", "tokenize", "runtime"}},
	{"models/hub", nil},
	{"tokenize", nil},
	{"runtime/optest", []string{"runtime/ref", "runtime"}},
	{"runtime/cpu", []string{"runtime"}},
	{"runtime/ref", []string{"runtime"}},
	{"runtime/gpu", []string{"kernels", "cuda", "runtime"}},
	{"runtime/checkpoint", []string{"runtime"}},
	{"runtime/queue", nil},
	{"runtime", nil},
	{"kernels", []string{"cuda"}},
	{"kernels/kerneltest", []string{"kernels", "cuda", "runtime"}}, // the types of elements
	{"cuda", nil}, // it knows nothing of tensors
}

// testsMay are imports that only tests have.
var testsMay = map[string][]string{
	"runtime/cpu": {"runtime/optest", "runtime/ref"},
	"runtime/ref": {"runtime/optest"},
	"runtime/gpu": {"runtime/optest", "runtime/ref"},
	"models":      {"cuda"},
	"kernels":     {"kernels/kerneltest"},
}

// partOf is the most specific part that holds a folder, or "".
func partOf(folder string) string {
	best := ""
	for _, f := range floors {
		if folder == f.part || f.part != "." && strings.HasPrefix(folder, f.part+"/") {
			if len(f.part) > len(best) {
				best = f.part
			}
		}
	}
	return best
}

// allowed says whether a file in folder may import a package of this module.
func allowed(folder, imported string, test bool) bool {
	from, to := partOf(folder), partOf(imported)
	if folder == imported || from == "" || to == "" {
		return folder == imported
	}
	if from == to && from != "models" { // a part's own subfolders
		return true
	}
	for _, f := range floors {
		if f.part != from {
			continue
		}
		may := f.may
		if test {
			may = append(append([]string{}, may...), testsMay[from]...)
		}
		for _, m := range may {
			// "runtime" stands for all below it only to the floors above.
			if to == m || m == "runtime" && strings.HasPrefix(to, "runtime/") && !strings.HasPrefix(from, "runtime/") {
				return true
			}
		}
	}
	return false
}

func TestImportsRunDownward(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bench") {
				return fs.SkipDir // bench is a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		folder := filepath.ToSlash(filepath.Dir(p))
		if partOf(folder) == "" {
			t.Errorf("%s: the folder belongs to no part of the house: add it to floors", folder)
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			inside, ok := strings.CutPrefix(imported, module+"/")
			if ok && !allowed(folder, path.Clean(inside), strings.HasSuffix(name, "_test.go")) {
				t.Errorf("%s imports %s, which is not below it", p, inside)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("only %d files were looked at", files)
	}
}

func TestTheImportRuleItself(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		want     bool
	}{
		{".", "http", false, true},
		{"http", "models/embed", false, true},
		{"http", "runtime/queue", false, true},
		{"http", "status", false, false},
		{"status", "http", false, false},
		{"models/embed", "models/nn", false, true},
		{"models/embed", "runtime/checkpoint", false, true},
		{"models/embed", "http", false, false},
		{"tokenize", "runtime", false, false},
		{"runtime", "runtime/queue", false, false},
		{"runtime/cpu", "runtime", false, true},
		{"runtime/cpu", "runtime/ref", false, false},
		{"runtime/cpu", "runtime/optest", true, true},
		{"runtime/cpu/gen", "runtime/cpu", false, true},
		{"runtime/queue", "runtime", false, false},
		{"runtime/checkpoint", "runtime/queue", false, false},
		{"util", "runtime", false, false},
	} {
		if got := allowed(c.from, c.to, c.test); got != c.want {
			t.Errorf("%s may import %s (test %v): %v", c.from, c.to, c.test, got)
		}
	}
}
