package hub

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func newPartial(tb testing.TB, dir string, e entry, piece int64) *partial {
	tb.Helper()
	t, err := openTarget(dir, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(t.close)
	p, err := t.openPartial("x", e, piece)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.close)
	return p
}

func TestPiecesArriveInAnyOrder(t *testing.T) {
	content := []byte("0123456789abcdefghij-")
	e := entry{Size: int64(len(content)), LFS: sha(content)}
	dir := t.TempDir()
	p := newPartial(t, dir, e, 8)
	if len(p.have) != 3 || p.length(2) != 5 {
		t.Fatalf("%d pieces, the last of %d", len(p.have), p.length(2))
	}
	got := make(chan string, 1)
	go func() {
		s, err := p.digest(t.Context(), e.etag())
		got <- fmt.Sprint(s, err)
	}()
	for _, s := range []struct {
		piece    int
		from, to int
		frontier int64
	}{{2, 16, 19, 0}, {0, 0, 5, 5}, {1, 8, 16, 5}, {0, 5, 8, 19}, {2, 19, 21, 21}} {
		if err := p.append(s.piece, content[s.from:s.to]); err != nil {
			t.Fatal(err)
		}
		if p.frontier() != s.frontier {
			t.Errorf("the frontier is at %d, not %d", p.frontier(), s.frontier)
		}
		// Another process would find the same.
		q := newPartial(t, dir, e, 1<<20)
		if q.there() != p.there() || q.frontier() != p.frontier() || q.piece != 8 {
			t.Errorf("%d bytes, frontier %d are read again as %d, %d", p.there(), p.frontier(), q.there(), q.frontier())
		}
	}
	if s := <-got; s != e.LFS+"<nil>" {
		t.Errorf("the hash is %s, not %s", s, e.LFS)
	}
	if err := p.append(2, []byte("x")); err == nil {
		t.Error("a byte too many was taken")
	}
	if b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(p.name+partialEnd))); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%q %v", b, err)
	}
}

func FuzzJournal(f *testing.F) {
	e := entry{Size: 21, LFS: strings.Repeat("a", 64)}
	p := newPartial(f, f.TempDir(), e, 8)
	if err := p.append(1, []byte("12345")); err != nil {
		f.Fatal(err)
	}
	good := make([]byte, journalHeader+24)
	if _, err := p.journal.ReadAt(good, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte("hub ranges 2\n"))
	f.Add(append(bytes.Clone(good[:len(good)-1]), 0xff))
	dir := f.TempDir()
	at := filepath.Join(dir, filepath.FromSlash(partialName("x", e.etag())+journalEnd))
	newPartial(f, dir, e, 8)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(at, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		p := newPartial(t, dir, e, 8)
		if p.there() < 0 || p.there() > 21 || p.frontier() > 21 || len(p.have) > 21 {
			t.Errorf("%d bytes, frontier %d, %d pieces", p.there(), p.frontier(), len(p.have))
		}
	})
}

func TestSettingsFilesThatBreakOnTheirWay(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int32
		want  error
	}{{"some times", 3, nil}, {"always", 1 << 30, ErrUnreachable}} {
		f := newFake(t)
		fs := treeOf("config.json", "tokenizer.json", "model.safetensors.index.json="+index2, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
		f.repo(acme, fs)
		var n atomic.Int32
		f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/model.safetensors.index.json") || n.Add(1) > c.times {
				return false
			}
			w.Header().Set("X-Repo-Commit", commitA)
			w.Header().Set("Content-Length", fmt.Sprint(len(index2)))
			_, _ = w.Write([]byte(index2[:10]))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		dir := t.TempDir()
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			holds(t, dir, fs, sortedNames(fs)...)
		}
	}
	f := newFake(t)
	f.repo(acme, treeOf("config.json", "tokenizer.json", "model.safetensors.index.json="+index2))
	f.lie = func(name string, e map[string]any) {
		if strings.HasSuffix(name, ".index.json") {
			e["size"] = maxSettings + 1
		}
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrListing) {
		t.Error(err)
	}
}

func TestFault43TheDiskFillsUp(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full here: ", err)
	}
	defer full.Close()
	dir := t.TempDir()
	p := newPartial(t, dir, entry{Size: 21, LFS: strings.Repeat("a", 64)}, 8)
	file := p.file
	p.file = full
	err = (&target{dir: dir}).failed(p.append(0, []byte("x")))
	p.file = file
	if !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), dir) || p.there() != 0 {
		t.Errorf("%v, %d bytes counted", err, p.there())
	}
}
