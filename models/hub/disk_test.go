package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFault43NoDiskSpace(t *testing.T) {
	f := newFake(t)
	fs := textRepo(1 << 20)
	f.repo(acme, fs)
	need := uint64(0)
	for _, name := range whole {
		need += uint64(len(fs[name]))
	}
	s := f.settings()
	dir := t.TempDir()
	s.hooks.free = func(string) (uint64, error) { return need + diskMargin - 1, nil }
	_, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir})
	if !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "1.0 MB") {
		t.Errorf("%v", err)
	}
	for _, a := range f.requests() {
		if strings.HasPrefix(a, "store") {
			t.Error("the download began: ", a)
		}
	}
	s.hooks.free = func(string) (uint64, error) { return need + diskMargin, nil }
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Error(err)
	}
}

func TestFault43AFolderThatCannotBeWritten(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	// A file stands where the folder should be: not even root can write there.
	top := t.TempDir()
	put(t, top, files{"file": nil})
	for _, dir := range []string{filepath.Join(top, "file"), filepath.Join(top, "file", "model")} {
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
		if !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), filepath.Join(top, "file")) {
			t.Errorf("%v", err)
		}
	}
	t.Run("by its mode", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root writes into read-only folders")
		}
		if runtime.GOOS == "windows" {
			t.Skip("a folder's mode means nothing on Windows")
		}
		dir := t.TempDir()
		readOnly := func(mode fs.FileMode) {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		readOnly(0o555)
		defer readOnly(0o755)
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
		if !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), dir) {
			t.Error(err)
		}
	})
}

// What is complete is only read: also where nothing can be written, which here
// is a file in place of the records' folder.
func TestFault43ACompleteFolderThatCannotBeWrittenLoads(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	dir := t.TempDir()
	put(t, dir, files{".cache": nil, "config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "model.safetensors": weights(10, 1)})
	if res, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil || len(f.requests()) > 0 {
		t.Error(res, err)
	}
	res, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir, Update: true})
	if err != nil || len(res.Warnings) != 1 {
		t.Error(res, err)
	}
}

func TestFault43ClockSkew(t *testing.T) {
	for name, skew := range map[string]time.Duration{"this machine is a day behind": -24 * time.Hour, "a day ahead": 24 * time.Hour} {
		f := newFake(t)
		fs := textRepo(1000)
		r := f.repo(acme, fs)
		s, dir := f.settings(), t.TempDir()
		s.hooks.now = func() time.Time { return time.Now().Add(skew) }
		if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
			t.Fatal(err)
		}
		for _, file := range whole {
			if m, ok := readMetadata(dir, file); !ok || m.commit != commitA {
				t.Errorf("%s: the record of %s does not count", name, file)
			}
		}
		// A record that is older than its file is void: the content decides.
		later := time.Now().Add(48 * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, "model.safetensors"), later, later); err != nil {
			t.Fatal(err)
		}
		if _, ok := readMetadata(dir, "model.safetensors"); ok {
			t.Errorf("%s: a record from before the file counts", name)
		}
		if err := Complete(dir, "text"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.forget()
		r.commit = commitB
		if res, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir, Update: true}); err != nil || res.Bytes != 0 {
			t.Errorf("%s: %+v %v", name, res, err)
		}
	}
}
