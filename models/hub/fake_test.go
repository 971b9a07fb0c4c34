package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	theToken = "hf_SECRETtokenSECRET"
	theSig   = "SECRETsignature"
	commitA  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	commitB  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// files are a repository's, by name.
type files map[string][]byte

// fakeRepo is a repository at one commit; weights lie in the storage.
type fakeRepo struct {
	commit string
	files  files
	hide   map[string]string // refused with this X-Error-Code
}

// fakeHub is the API on one port and the storage on another.
type fakeHub struct {
	tb         testing.TB
	api, store *httptest.Server

	mu      sync.Mutex
	repos   map[string]*fakeRepo // by id
	renamed map[string]string
	asked   []string // method and path of every request, "store" before those of the storage
	ranges  []string // of the storage
	leaks   []string // Authorization headers that the storage saw
	busy    int      // handlers
	flight  int      // requests in the storage
	most    int

	page     int                                               // entries of a /tree page, 0 for all
	noTree   int                                               // status of /tree
	noRange  bool                                              // the storage answers 200 to ranges
	zip      bool                                              // files come compressed unless identity is asked for
	forceZip bool                                              // even then
	noCommit bool                                              // no X-Repo-Commit
	lie      func(name string, e map[string]any)               // changes a /tree entry
	api2     func(w http.ResponseWriter, r *http.Request) bool // answers instead of the API
	store2   func(w http.ResponseWriter, name string, rest []byte, r *http.Request) bool
}

func newFake(tb testing.TB) *fakeHub {
	f := &fakeHub{tb: tb, repos: map[string]*fakeRepo{}, renamed: map[string]string{}}
	f.api = httptest.NewServer(http.HandlerFunc(f.serveAPI))
	f.store = httptest.NewServer(http.HandlerFunc(f.serveStore))
	tb.Cleanup(func() {
		f.api.CloseClientConnections()
		f.store.CloseClientConnections()
		f.api.Close()
		f.store.Close()
	})
	return f
}

func (f *fakeHub) repo(id string, fs files) *fakeRepo {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &fakeRepo{commit: commitA, files: fs, hide: map[string]string{}}
	f.repos[id] = r
	return r
}

// settings ask this Hub without waiting between attempts.
func (f *fakeHub) settings() Settings {
	return Settings{Endpoint: f.api.URL, hooks: hooks{
		sleep: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
		piece: 64 << 10,
	}}
}

// fetch is s.Fetch that also waits for the handlers of requests that were given
// up, so that the test may change this Hub afterwards.
func (f *fakeHub) fetch(ctx context.Context, s Settings, q Request) (*Result, error) {
	res, err := s.Fetch(ctx, q)
	for {
		f.mu.Lock()
		busy := f.busy
		f.mu.Unlock()
		if busy == 0 {
			return res, err
		}
		time.Sleep(time.Millisecond)
	}
}

// begin counts a handler; what it returns ends it.
func (f *fakeHub) begin() func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy--
	}
}

func (f *fakeHub) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeHub) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.ranges = nil, nil
}

func inStorage(name string) bool {
	return strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".bin")
}

func sha(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }

func gitID(b []byte) string {
	h := newHash("", int64(len(b)))
	h.Write(b)
	return sum(h)
}

func (f *fakeHub) serveAPI(w http.ResponseWriter, r *http.Request) {
	defer f.begin()()
	f.mu.Lock()
	f.asked = append(f.asked, r.Method+" "+r.URL.EscapedPath())
	hook := f.api2
	f.mu.Unlock()
	w.Header().Set("X-Request-Id", "req-42")
	if hook != nil && hook(w, r) {
		return
	}
	refuse := func(status int, code string) {
		w.Header().Set("X-Error-Code", code)
		w.WriteHeader(status)
	}
	p := strings.Trim(r.URL.EscapedPath(), "/")
	api := strings.HasPrefix(p, "api/models/")
	parts := strings.SplitN(strings.TrimPrefix(p, "api/models/"), "/", 3)
	if len(parts) < 2 {
		refuse(404, "RepoNotFound")
		return
	}
	id, rest := parts[0]+"/"+parts[1], ""
	if len(parts) == 3 {
		rest = parts[2]
	}
	if to := f.renamed[id]; to != "" {
		w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), id, to, 1))
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	repo := f.repos[id]
	if repo == nil {
		refuse(404, "RepoNotFound")
		return
	}
	verb, arg, _ := strings.Cut(rest, "/")
	arg, _ = url.PathUnescape(arg)
	switch {
	case api && (rest == "" || verb == "revision"):
		if verb == "revision" && arg != "v1/x" && arg != repo.commit {
			refuse(404, "RevisionNotFound")
			return
		}
		var siblings []map[string]string
		for _, name := range sortedNames(repo.files) {
			siblings = append(siblings, map[string]string{"rfilename": name})
		}
		answerJSON(w, map[string]any{"sha": repo.commit, "siblings": siblings})
	case api && verb == "tree":
		if f.noTree != 0 {
			w.WriteHeader(f.noTree)
			return
		}
		if arg != repo.commit {
			refuse(404, "RevisionNotFound")
			return
		}
		f.tree(w, r, repo)
	case !api && verb == "resolve":
		commit, name, _ := strings.Cut(arg, "/")
		if commit != repo.commit {
			refuse(404, "RevisionNotFound")
			return
		}
		f.resolve(w, r, id, repo, name)
	default:
		w.WriteHeader(404)
	}
}

func (f *fakeHub) tree(w http.ResponseWriter, r *http.Request, repo *fakeRepo) {
	list := []map[string]any{{"type": "directory", "oid": gitID(nil), "size": 0, "path": "some"}}
	for _, name := range sortedNames(repo.files) {
		b := repo.files[name]
		e := map[string]any{"type": "file", "oid": gitID(b), "size": len(b), "path": name}
		if inStorage(name) {
			e["oid"], e["size"] = gitID([]byte("pointer")), 7
			e["lfs"] = map[string]any{"oid": sha(b), "size": len(b), "pointerSize": 7}
		}
		if f.lie != nil {
			f.lie(name, e)
		}
		list = append(list, e)
	}
	if f.page > 0 {
		at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		end := min(at+f.page, len(list))
		if end < len(list) {
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&expand=false&cursor=%d>; rel="next"`, f.api.URL, r.URL.Path, end))
		}
		list = list[at:end]
	}
	answerJSON(w, list)
}

func (f *fakeHub) resolve(w http.ResponseWriter, r *http.Request, id string, repo *fakeRepo, name string) {
	b, ok := repo.files[name]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
		return
	}
	if code := repo.hide[name]; code != "" {
		w.Header().Set("X-Error-Code", code)
		w.WriteHeader(403)
		return
	}
	if !f.noCommit {
		w.Header().Set("X-Repo-Commit", repo.commit)
	}
	if inStorage(name) {
		w.Header().Set("X-Linked-Etag", `"`+sha(b)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(b)))
		w.Header().Set("Location", f.store.URL+"/"+id+"/"+name+"?X-Signature="+theSig)
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+gitID(b)+`"`)
	if f.forceZip || f.zip && r.Header.Get("Accept-Encoding") != "identity" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(b)
		z.Close()
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (f *fakeHub) serveStore(w http.ResponseWriter, r *http.Request) {
	defer f.begin()()
	f.mu.Lock()
	f.asked = append(f.asked, "store "+r.URL.Path)
	f.ranges = append(f.ranges, r.Header.Get("Range"))
	if v := r.Header.Get("Authorization"); v != "" {
		f.leaks = append(f.leaks, v)
	}
	f.flight++
	f.most = max(f.most, f.flight)
	hook := f.store2
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.flight--
		f.mu.Unlock()
	}()
	if r.URL.Query().Get("X-Signature") != theSig {
		w.WriteHeader(403)
		return
	}
	parts := strings.SplitN(strings.Trim(r.URL.Path, "/"), "/", 3)
	b := f.repos[parts[0]+"/"+parts[1]].files[parts[2]]
	if hook != nil && hook(w, parts[2], b, r) {
		return
	}
	if f.noRange {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func sortedNames(fs files) []string {
	var names []string
	for name := range fs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// weights is a safetensors file of at least n bytes, by seed.
func weights(n int, seed int64) []byte {
	data := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(data)
	header := fmt.Sprintf(`{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, n, n)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

// textRepo is a small language model of one weights file.
func textRepo(n int) files {
	return files{
		"config.json": []byte(`{"model_type":"llama"}`), "tokenizer.json": []byte(`{"version":"1.0"}`),
		"README.md": []byte("# hello\n"), ".gitattributes": []byte("x"), "model.safetensors": weights(n, 1),
		"onnx/model.onnx": []byte("skip"), "pytorch_model.bin": []byte("never both"),
	}
}

// dirFiles are the files of a folder but its records, by name.
func dirFiles(tb testing.TB, dir string) files {
	got := files{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		if name = filepath.ToSlash(name); !slices.Contains(strings.Split(name, "/"), ".cache") {
			got[name], err = os.ReadFile(p)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// holds checks that a folder has exactly the named files, with the
// repository's content.
func holds(tb testing.TB, dir string, fs files, names ...string) {
	tb.Helper()
	got := dirFiles(tb, dir)
	slices.Sort(names)
	if g := sortedNames(got); !slices.Equal(g, names) {
		tb.Errorf("the folder holds\n%q, not\n%q", g, names)
	}
	for _, name := range names {
		if !bytes.Equal(got[name], fs[name]) {
			tb.Errorf("%s has another content (%d bytes, not %d)", name, len(got[name]), len(fs[name]))
		}
	}
}

func leftovers(tb testing.TB, dir string) (partials []string) {
	entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(downloadDir)))
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partialEnd) || strings.HasSuffix(e.Name(), journalEnd) || strings.HasSuffix(e.Name(), ".tmp") {
			partials = append(partials, e.Name())
		}
	}
	return partials
}

func put(tb testing.TB, dir string, fs files) {
	tb.Helper()
	for name, b := range fs {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(at, b, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}
