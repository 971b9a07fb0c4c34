package hub

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The fixture was written by huggingface_hub itself (testdata/make.py).
const (
	pythonRepo   = "acme/tiny-embed"
	pythonCommit = "0123456789abcdef0123456789abcdef01234567"
)

// python unpacks what huggingface_hub left, with links and times, and returns
// its local_dir and its cache.
func python(t *testing.T) (local, cache string) {
	t.Helper()
	f, err := os.Open("testdata/python.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return filepath.Join(top, "local"), filepath.Join(top, "cache")
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(top, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeSymlink {
			if err := os.Symlink(h.Linkname, at); err != nil {
				t.Skip("no links here: ", err)
			}
			continue
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(at, b, 0o644)
		}
		if err == nil {
			err = os.Chtimes(at, h.ModTime, h.ModTime)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// age makes a file newer by seconds than now.
func age(t *testing.T, dir, name string, seconds int) {
	t.Helper()
	at := time.Now().Add(time.Duration(seconds) * time.Second)
	if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(name)), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderMadeByPythonLoadsWithoutARequest(t *testing.T) {
	local, _ := python(t)
	f := newFake(t)
	before := dirFiles(t, local)
	for _, rev := range []string{"", pythonCommit} {
		res, err := f.fetch(t.Context(), f.settings(), Request{Repo: pythonRepo, Revision: rev, Kind: "embed", Dir: local})
		if err != nil || res.Source != "local" || res.Commit != pythonCommit || len(f.requests()) > 0 {
			t.Fatalf("%+v %v %q", res, err, f.requests())
		}
	}
	holds(t, local, before, sortedNames(before)...)
	if _, err := os.Stat(filepath.Join(local, filepath.FromSlash(manifestName))); err == nil {
		t.Error("something was written")
	}
	for name := range before {
		if m, ok := readMetadata(local, name); !ok || m.commit != pythonCommit {
			t.Errorf("%s: its record does not count: %+v", name, m)
		}
	}
	// Without its records it loads as well.
	remove(t, local, ".cache")
	if res, err := f.fetch(t.Context(), f.settings(), Request{Repo: pythonRepo, Kind: "embed", Dir: local}); err != nil || res.Source != "local" || res.Commit != "" {
		t.Errorf("%+v %v", res, err)
	}
}

// Its records say what a folder needs, and which files are right as they are.
func TestAFolderMadeByPythonIsCompletedAndUpdated(t *testing.T) {
	local, _ := python(t)
	f := newFake(t)
	fs := dirFiles(t, local)
	r := f.repo(pythonRepo, fs)
	r.commit = pythonCommit
	for _, lost := range []string{"1_Pooling/config.json", "model.safetensors"} {
		remove(t, local, lost)
		if err := Complete(local, "embed"); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), lost) {
			t.Errorf("without %s: %v", lost, err)
		}
		res, err := f.fetch(t.Context(), f.settings(), Request{Repo: pythonRepo, Kind: "embed", Dir: local})
		if err != nil || res.Bytes != int64(len(fs[lost])) {
			t.Errorf("%+v %v", res, err)
		}
	}
	r.commit = commitB
	fs["tokenizer.json"] = []byte(`{"version": "2.0"}`)
	res, err := f.fetch(t.Context(), f.settings(), Request{Repo: pythonRepo, Kind: "embed", Dir: local, Update: true})
	if err != nil || res.Bytes != int64(len(fs["tokenizer.json"])) || res.Commit != commitB {
		t.Fatalf("%+v %v", res, err)
	}
	holds(t, local, fs, sortedNames(fs)...)
	for name := range fs {
		if m, ok := readMetadata(local, name); !ok || m.commit != commitB {
			t.Errorf("%s: %+v %v", name, m, ok)
		}
	}
}

func TestTheCacheOfPythonIsASource(t *testing.T) {
	_, cache := python(t)
	f := newFake(t)
	s := f.settings()
	s.Cache = cache
	dir := filepath.Join(t.TempDir(), "model")
	snapshot := filepath.Join(cache, "models--acme--tiny-embed", "snapshots", pythonCommit)
	for _, rev := range []string{"", "main", pythonCommit} {
		for _, offline := range []bool{false, true} {
			s.Offline = offline
			res, err := f.fetch(t.Context(), s, Request{Repo: pythonRepo, Revision: rev, Kind: "embed", Dir: dir, Verify: offline})
			if err != nil || res.Source != "cache" || res.Dir != snapshot || res.Commit != pythonCommit || len(res.Warnings) > 0 {
				t.Fatalf("%q: %+v %v", rev, res, err)
			}
		}
	}
	if len(f.requests()) > 0 {
		t.Errorf("requests %q", f.requests())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a folder was made for nothing")
	}
	// The Hub is asked for what refs does not know; the commit may be there all
	// the same.
	s.Offline = false
	fs := dirFiles(t, snapshot)
	f.repo(pythonRepo, fs).commit = pythonCommit
	if res, err := f.fetch(t.Context(), s, Request{Repo: pythonRepo, Revision: "v1/x", Kind: "embed", Dir: dir}); err != nil || res.Source != "cache" || res.Dir != snapshot {
		t.Errorf("%+v %v", res, err)
	}
	// A snapshot that lacks a file is none.
	remove(t, snapshot, "1_Pooling/config.json")
	res, err := f.fetch(t.Context(), s, Request{Repo: pythonRepo, Kind: "embed", Dir: dir})
	if err != nil || res.Source != "hub" {
		t.Fatalf("%+v %v", res, err)
	}
	holds(t, dir, fs, sortedNames(fs)...)
}

// A damaged blob is found by its name.
func TestTheCacheIsVerifiedByItsBlobs(t *testing.T) {
	_, cache := python(t)
	s := Settings{Cache: cache, Offline: true}
	repo := filepath.Join(cache, "models--acme--tiny-embed")
	blob, err := os.Readlink(filepath.Join(repo, "snapshots", pythonCommit, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(repo, "blobs", filepath.Base(blob))
	b, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(at, b, 0o644); err != nil {
		t.Fatal(err)
	}
	q := Request{Repo: pythonRepo, Kind: "embed", Dir: filepath.Join(t.TempDir(), "model")}
	if _, err := s.Fetch(t.Context(), q); err != nil {
		t.Error(err)
	}
	q.Verify = true
	if _, err := s.Fetch(t.Context(), q); !errors.Is(err, ErrIntegrity) {
		t.Error(err)
	}
}

// What this package writes is what Python writes: the same record files, line
// for line but the time, and the same listing.
func TestRecordsAreThoseOfPython(t *testing.T) {
	local, _ := python(t)
	f := newFake(t)
	fs := dirFiles(t, local)
	f.repo(pythonRepo, fs).commit = pythonCommit
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: pythonRepo, Kind: "embed", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	for name := range fs {
		theirs, err1 := diskSource(local).read(metadataName(name))
		ours, err2 := diskSource(dir).read(metadataName(name))
		a, b := strings.Split(string(theirs), "\n"), strings.Split(string(ours), "\n")
		if err1 != nil || err2 != nil || len(a) != len(b) || !slices.Equal(a[:2], b[:2]) {
			t.Errorf("%s: %q, Python has %q", name, ours, theirs)
		}
	}
	theirs := readTree(filepath.Join(local, filepath.FromSlash(recordsDir)), pythonCommit)
	ours := readTree(filepath.Join(dir, filepath.FromSlash(recordsDir)), pythonCommit)
	if len(theirs) != len(fs) || len(ours) != len(fs) {
		t.Fatalf("%d and %d files listed", len(ours), len(theirs))
	}
	for name, e := range theirs {
		o := ours[name]
		if o.Size != e.Size || o.etag() != e.etag() {
			t.Errorf("%s: %+v, Python has %+v", name, o, e)
		}
	}
}
