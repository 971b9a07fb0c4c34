package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFault40UnsafeNamesAreRefused(t *testing.T) {
	for _, name := range []string{
		"../../x", "/abs", `C:\x`, "C:/x", "d:x", "a/../../b", "a/..", "..", "a\x00b", `a\b`, `\\host\share`, "a//b", "./a", "",
		strings.Repeat("a", 5000),
	} {
		for _, noTree := range []int{0, 404} {
			f := newFake(t)
			files := textRepo(10)
			files[name] = []byte("evil")
			f.repo(acme, files)
			f.noTree = noTree
			top := t.TempDir()
			dir := filepath.Join(top, "a", "b", "model")
			_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
			if !errors.Is(err, ErrListing) {
				t.Errorf("%.40q: %v", name, err)
			}
			if strings.ContainsRune(fmt.Sprint(err), 0) {
				t.Errorf("%.40q: a NUL in the error", name)
			}
			holds(t, top, nil)
		}
	}
}

func TestFault40UnsafeNamesInsideFilesAreRefused(t *testing.T) {
	for name, change := range map[string]func(files){
		"a shard above":    func(f files) { f["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"../../x"}}`) },
		"an absolute path": func(f files) { f["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"/etc/passwd"}}`) },
		"a module above":   func(f files) { f["modules.json"] = []byte(`[{"type":"x.Transformer","path":"../x"}]`) },
		"a module in the records": func(f files) {
			f["modules.json"] = []byte(`[{"type":"x.Transformer","path":".cache/huggingface"}]`)
		},
		"a component above": func(f files) { f["model_index.json"] = []byte(`{"../x":["a","b"]}`) },
	} {
		f := newFake(t)
		fs := textRepo(10)
		change(fs)
		f.repo(acme, fs)
		kind := "embed"
		if fs["model_index.json"] != nil {
			kind = "image"
		}
		if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: kind, Dir: t.TempDir()}); !errors.Is(err, ErrListing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names that some system cannot take may stand in the listing, as long as
// nobody wants them.
func TestFault40ReservedNamesAreNeverFetched(t *testing.T) {
	for _, name := range []string{"con.json", "NUL.json", "aux.json", "com1.json", "LPT9.x.json", "ab:c.json", "LICENSE.", "LICENSE ", "what?.json", "CONFIG.JSON.json", "a\x01.json"} {
		f := newFake(t)
		fs := textRepo(10)
		fs[name] = []byte("{}")
		f.repo(acme, fs)
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
		if want := name != "CONFIG.JSON.json"; errors.Is(err, ErrListing) != want {
			t.Errorf("%q: %v", name, err)
		}
		delete(fs, name)
		fs["runs/"+name] = []byte("{}") // not selected
		if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); err != nil {
			t.Errorf("%q, not wanted: %v", name, err)
		}
	}
	f := newFake(t)
	fs := textRepo(10)
	fs["Config.json"] = []byte("{}")
	f.repo(acme, fs)
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrListing) {
		t.Errorf("names that differ in case: %v", err)
	}
}

func TestFault40LinksInTheTargetAreNotFollowed(t *testing.T) {
	f := newFake(t)
	repo := textRepo(1000)
	repo["1_Pooling/config.json"] = []byte(`{"pool":1}`)
	repo["modules.json"] = []byte(`[{"type":"m.Transformer","path":""},{"type":"m.Pooling","path":"1_Pooling"}]`)
	f.repo(acme, repo)
	link := func(to, at string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	outside := t.TempDir()
	put(t, outside, files{"victim": []byte("mine"), "dir/keep": []byte("mine too")})

	dir := t.TempDir()
	link(filepath.Join(outside, "victim"), filepath.Join(dir, "config.json"))
	link(filepath.Join(outside, "nowhere"), filepath.Join(dir, "model.safetensors"))
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "embed", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, repo, append([]string{"1_Pooling/config.json", "modules.json"}, whole...)...)
	if info, err := os.Lstat(filepath.Join(dir, "config.json")); err != nil || !info.Mode().IsRegular() {
		t.Error("the link is still there")
	}

	for _, at := range []string{"1_Pooling", ".cache", ".cache/huggingface/download"} {
		dir := t.TempDir()
		link(filepath.Join(outside, "dir"), filepath.Join(dir, at))
		if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "embed", Dir: dir}); !errors.Is(err, ErrFolder) {
			t.Errorf("%s: %v", at, err)
		}
	}
	dir = t.TempDir()
	link(filepath.Join(outside, "victim"), filepath.Join(dir, filepath.FromSlash(partialName("model.safetensors", sha(repo["model.safetensors"]))+partialEnd)))
	link(filepath.Join(outside, "victim"), filepath.Join(dir, filepath.FromSlash(manifestName)))
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "embed", Dir: dir}); err != nil {
		t.Error(err)
	}
	holds(t, outside, files{"victim": []byte("mine"), "dir/keep": []byte("mine too")}, "victim", "dir/keep")
}
