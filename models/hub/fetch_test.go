package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const acme = "acme/model"

func TestAFreshFolderGetsExactlyTheSelection(t *testing.T) {
	f := newFake(t)
	fs := textRepo(300_000)
	f.repo(acme, fs)
	f.page = 2
	dir := filepath.Join(t.TempDir(), "deep", "model")
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	s := f.settings()
	s.Token = theToken
	var last Progress
	var inside atomic.Int32
	res, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir, Report: func(p Progress) {
		if inside.Add(1) != 1 {
			t.Error("two reports at once")
		}
		last = p
		inside.Add(-1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
	total := int64(len(fs["config.json"]) + len(fs["tokenizer.json"]) + len(fs["README.md"]) + len(fs["model.safetensors"]))
	if res.Source != "hub" || res.Commit != commitA || res.Files != 4 || res.Dir != dir || res.Bytes != total {
		t.Errorf("%+v, want %d bytes", res, total)
	}
	if last.Phase != Done || last.Bytes != total || last.Total != total || last.Files != 4 || last.FilesDone != 4 {
		t.Errorf("the last report: %+v, want %d bytes", last, total)
	}
	if len(f.leaks) > 0 {
		t.Errorf("the storage saw %q", f.leaks)
	}
	if len(leftovers(t, dir)) > 0 {
		t.Error("partial files are left")
	}
	if n := strings.Count(log.String(), "file downloaded"); n != 4 {
		t.Errorf("%d lines of files", n)
	}
	for _, secret := range []string{theToken, theSig} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
	m, err := ReadManifest(dir)
	if err != nil || m.Files["model.safetensors"].ETag != sha(fs["model.safetensors"]) || m.Commit != commitA {
		t.Errorf("manifest %+v, %v", m, err)
	}
	meta, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(metadataName("config.json"))))
	if lines := strings.Split(string(meta), "\n"); err != nil || len(lines) != 4 || lines[0] != commitA || lines[1] != gitID(fs["config.json"]) {
		t.Errorf("metadata %q, %v", meta, err)
	}

	f.forget()
	res, err = f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir})
	if err != nil || res.Source != "local" || res.Commit != commitA || len(f.requests()) != 0 {
		t.Errorf("the second time: %+v, %v, requests %q", res, err, f.requests())
	}
	if err := Complete(dir, "text"); err != nil {
		t.Error(err)
	}
}

func TestTheAPIGetsTheTokenAndTheAgent(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	var calls atomic.Int32
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		calls.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+theToken || r.Header.Get("User-Agent") != "probe/3; a/b" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("headers %v", r.Header)
		}
		return false
	}
	s := f.settings()
	s.Token, s.UserAgent = theToken, "probe/3; a/b"
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if calls.Load() < 4 {
		t.Errorf("%d calls", calls.Load())
	}
}

// The storage makes eight requests wait for each other: fewer connections
// would never get an answer.
func TestEightConnectionsAreUsed(t *testing.T) {
	f := newFake(t)
	fs := textRepo(16 * 64 << 10)
	f.repo(acme, fs)
	var in atomic.Int32
	all := make(chan struct{})
	f.store2 = func(_ http.ResponseWriter, _ string, _ []byte, r *http.Request) bool {
		if in.Add(1) == 8 {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		}
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	if _, err := f.fetch(ctx, f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if f.most != 8 {
		t.Errorf("%d requests at once", f.most)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
}

func TestRevisions(t *testing.T) {
	for _, c := range []struct {
		name, rev, first string
		want             error
	}{
		{"the default branch", "", "GET /api/models/acme/model", nil},
		{"a tag with a slash", "v1/x", "GET /api/models/acme/model/revision/v1%2Fx", nil},
		{"a commit needs no resolving", commitA, "GET /api/models/acme/model/tree/" + commitA, nil},
		{"an unknown branch", "nope", "GET /api/models/acme/model/revision/nope", ErrRevision},
		{"an unknown commit", commitB, "GET /api/models/acme/model/tree/" + commitB, ErrRevision},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.repo(acme, textRepo(10))
			_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Revision: c.rev, Kind: "text", Dir: t.TempDir()})
			if !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			if got := f.requests(); got[0] != c.first {
				t.Errorf("the first request is %s", got[0])
			}
		})
	}
}

func TestARenamedRepositoryIsFollowed(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	f.renamed["old/name"] = acme
	s := f.settings()
	s.Token = theToken
	if _, err := f.fetch(t.Context(), s, Request{Repo: "old/name", Kind: "text", Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
}

func TestASimpleMirrorWithoutTree(t *testing.T) {
	for _, status := range []int{404, 405} {
		f := newFake(t)
		fs := textRepo(1000)
		f.repo(acme, fs)
		f.noTree = status
		dir := t.TempDir()
		if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
		if f.store.URL != "" && !slices.Contains(f.requests(), "HEAD /acme/model/resolve/"+commitA+"/model.safetensors") {
			t.Errorf("requests %q", f.requests())
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(recordsDir), "trees")); err == nil {
			t.Error("a listing without sizes was recorded for other clients")
		}
	}
}

func TestCompressedAnswersAreNotTaken(t *testing.T) {
	f := newFake(t)
	fs := textRepo(10)
	f.repo(acme, fs)
	f.zip = true
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
	f.forceZip = true
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrNotHub) {
		t.Error(err)
	}
}

func TestUpdateBringsANewCommitOnlyWhenAsked(t *testing.T) {
	f := newFake(t)
	fs := textRepo(1000)
	r := f.repo(acme, fs)
	s, dir := f.settings(), t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir}
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	// The new commit has other weights of the same length, in shards' place.
	r.commit = commitB
	fs["model.safetensors"] = weights(1000, 2)
	delete(fs, "README.md")
	fs["chat_template.jinja"] = []byte("{{ x }}")
	f.forget()
	if res, err := f.fetch(t.Context(), s, q); err != nil || res.Commit != commitA || len(f.requests()) != 0 {
		t.Fatalf("a surprise: %+v %v %q", res, err, f.requests())
	}
	q.Update = true
	res, err := f.fetch(t.Context(), s, q)
	if err != nil || res.Commit != commitB || res.Source != "hub" {
		t.Fatalf("%+v %v", res, err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja")
	for _, a := range f.requests() {
		if strings.HasSuffix(a, "/config.json") || strings.HasSuffix(a, "/tokenizer.json") {
			t.Errorf("what did not change came again: %s", a)
		}
	}
	// Another revision than the folder's is a reason to ask, too.
	f.forget()
	q.Update, q.Revision = false, "v1/x"
	if res, err := f.fetch(t.Context(), s, q); err != nil || res.Bytes != 0 || len(f.requests()) != 2 {
		t.Errorf("%+v %v %q", res, err, f.requests())
	}
}

func TestAnUpdateThatFailsLeavesTheOldStateWhole(t *testing.T) {
	f := newFake(t)
	fs := textRepo(1000)
	r := f.repo(acme, fs)
	s, dir := f.settings(), t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir}
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	before := dirFiles(t, dir)
	r.commit = commitB
	r.files = textRepo(2000)
	r.files["config.json"] = []byte(`{"model_type":"other"}`)
	f.store2 = func(w http.ResponseWriter, _ string, _ []byte, _ *http.Request) bool { w.WriteHeader(503); return true }
	q.Update = true
	res, err := f.fetch(t.Context(), s, q)
	if err != nil || res.Source != "local" || len(res.Warnings) != 1 || res.Commit != commitA {
		t.Fatalf("%+v %v", res, err)
	}
	holds(t, dir, before, "config.json", "tokenizer.json", "README.md", "model.safetensors")
}

func TestVerifyHashesEverything(t *testing.T) {
	f := newFake(t)
	fs := textRepo(1000)
	f.repo(acme, fs)
	s, dir := f.settings(), t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir}
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	// One bit flips, and the time is as before: only a hash can tell.
	at := filepath.Join(dir, "model.safetensors")
	info, _ := os.Stat(at)
	b := slices.Clone(fs["model.safetensors"])
	b[900] ^= 1
	put(t, dir, files{"model.safetensors": b})
	if err := os.Chtimes(at, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	q.Verify = true
	offline := s
	offline.Offline = true
	if _, err := f.fetch(t.Context(), offline, q); !errors.Is(err, ErrIntegrity) || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("offline: %v", err)
	}
	res, err := f.fetch(t.Context(), s, q)
	if err != nil || res.Bytes != int64(len(b)) {
		t.Fatalf("%+v %v", res, err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
}

func TestOfflineAsksNobody(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	s := f.settings()
	s.Offline = true
	dir := t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir, Update: true}
	_, err := f.fetch(t.Context(), s, q)
	if !errors.Is(err, ErrOffline) || !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "config.json") {
		t.Error(err)
	}
	put(t, dir, files{"config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "model.safetensors": weights(10, 1)})
	if res, err := f.fetch(t.Context(), s, q); err != nil || res.Source != "local" {
		t.Error(res, err)
	}
	if len(f.requests()) != 0 {
		t.Errorf("requests %q", f.requests())
	}
}

func TestAnUnreachableHub(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	s := f.settings()
	f.api.Close()
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	put(t, dir, files{"config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "model.safetensors": weights(10, 1)})
	res, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir, Update: true})
	if err != nil || res.Source != "local" || len(res.Warnings) != 1 {
		t.Errorf("%+v %v", res, err)
	}
}

func TestARefusalIsAWarningForACompleteFolder(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	put(t, dir, files{"config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "model.safetensors": weights(10, 1)})
	res, err := f.fetch(t.Context(), f.settings(), Request{Repo: "no/body", Kind: "text", Dir: dir, Update: true})
	if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "does not exist") {
		t.Errorf("%+v %v", res, err)
	}
}

func TestCancelEndsAtOnceAndTheNextGoesOn(t *testing.T) {
	f := newFake(t)
	fs := textRepo(10 * 64 << 10)
	f.repo(acme, fs)
	half := make(chan struct{})
	var n atomic.Int32
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
		var a, z int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &a, &z)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, z, len(b)))
		w.Header().Set("Content-Length", fmt.Sprint(z-a+1))
		w.WriteHeader(206)
		_, _ = w.Write(b[a : a+(z-a)/2])
		w.(http.Flusher).Flush()
		if n.Add(1) == 4 {
			close(half)
		}
		<-r.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-half; cancel() }()
	s, dir := f.settings(), t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir, Workers: 4}
	if _, err := f.fetch(ctx, s, q); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if name := filepath.Base(partialName("model.safetensors", sha(fs["model.safetensors"]))); !slices.Contains(leftovers(t, dir), name+partialEnd) || !slices.Contains(leftovers(t, dir), name+journalEnd) {
		t.Fatalf("left %q", leftovers(t, dir))
	}
	if err := Complete(dir, "text"); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "model.safetensors") {
		t.Error(err)
	}
	f.store2 = nil
	res, err := f.fetch(t.Context(), s, q)
	if err != nil {
		t.Fatal(err)
	}
	if all := int64(len(fs["model.safetensors"])); res.Bytes >= all || res.Bytes < all/2 {
		t.Errorf("%d of %d bytes came again", res.Bytes, all)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
}

func TestAStalledTransferIsGivenUpAndResumed(t *testing.T) {
	f := newFake(t)
	fs := textRepo(1000)
	f.repo(acme, fs)
	var n atomic.Int32
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
		if n.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:100])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	s, dir := f.settings(), t.TempDir()
	s.DownloadTimeout = 200 * time.Millisecond
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
	if f.ranges[1] != fmt.Sprintf("bytes=100-%d", len(fs["model.safetensors"])-1) {
		t.Errorf("ranges %q", f.ranges)
	}
}

func TestSignedURLsAreResolvedAgain(t *testing.T) {
	f := newFake(t)
	fs := textRepo(10 * 64 << 10)
	f.repo(acme, fs)
	var n atomic.Int32
	f.store2 = func(w http.ResponseWriter, _ string, _ []byte, _ *http.Request) bool {
		if n.Add(1)%3 == 0 { // it has expired
			w.WriteHeader(403)
			return true
		}
		return false
	}
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "README.md", "model.safetensors")
	resolved := 0
	for _, a := range f.requests() {
		if strings.HasSuffix(a, "/model.safetensors") && strings.HasPrefix(a, "GET") {
			resolved++
		}
	}
	if resolved < 2 || resolved > 6 {
		t.Errorf("resolved %d times for 11 ranges", resolved)
	}
}

func TestRequestsThatCannotBeRight(t *testing.T) {
	ok := Request{Repo: acme, Kind: "text", Dir: t.TempDir()}
	f := newFake(t)
	for name, change := range map[string]func(*Request){
		"no repository": func(r *Request) { r.Repo = "" }, "a path": func(r *Request) { r.Repo = "a/b/c" },
		"a way up": func(r *Request) { r.Repo = "../x" }, "dashes": func(r *Request) { r.Repo = "a/b--c" },
		"git": func(r *Request) { r.Repo = "a/b.git" }, "a long name": func(r *Request) { r.Repo = "a/" + strings.Repeat("b", 97) },
		"a query": func(r *Request) { r.Repo = "a/b?x" }, "a dot at the end": func(r *Request) { r.Repo = "a/b." },
		"a revision with a way up": func(r *Request) { r.Revision = "a/../b" }, "a revision with a space": func(r *Request) { r.Revision = "a b" },
		"a kind": func(r *Request) { r.Kind = "poem" }, "no folder": func(r *Request) { r.Dir = "" },
		"connections": func(r *Request) { r.Workers = 1000 }, "a variant": func(r *Request) { r.Variant = "../x" },
	} {
		r := ok
		change(&r)
		if _, err := f.fetch(t.Context(), f.settings(), r); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.requests()) > 0 {
		t.Errorf("requests %q", f.requests())
	}
}

// A crash between the manifest and the removal of what it replaces leaves an
// index that would be taken instead of the new weights.
func TestWhatIsReplacedGoesAlsoAfterACrash(t *testing.T) {
	f := newFake(t)
	r := f.repo(acme, treeOf("config.json", "tokenizer.json", "model.safetensors.index.json="+index2, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"))
	s, dir := f.settings(), t.TempDir()
	q := Request{Repo: acme, Kind: "text", Dir: dir, Update: true}
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	r.commit = commitB
	r.files = treeOf("config.json", "tokenizer.json", "model.safetensors")
	stale := t.TempDir()
	put(t, stale, dirFiles(t, dir))
	copyRecords(t, dir, stale)
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, r.files, sortedNames(r.files)...)
	// The crash: the new manifest and the new files, and the old ones still there.
	put(t, stale, dirFiles(t, dir))
	put(t, stale, files{manifestName: must(os.ReadFile(filepath.Join(dir, filepath.FromSlash(manifestName))))})
	if err := Complete(stale, "text"); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "index.json") {
		t.Error(err)
	}
	q.Dir, q.Update = stale, false
	if res, err := f.fetch(t.Context(), s, q); err != nil || res.Bytes != 0 {
		t.Fatal(res, err)
	}
	holds(t, stale, r.files, sortedNames(r.files)...)
	// A folder of Python has no manifest; weights that its records know go, too.
	q.Update = true
	remove(t, stale, manifestName)
	r.files = treeOf("config.json", "tokenizer.json", "pytorch_model.bin")
	r.commit = commitA
	if _, err := f.fetch(t.Context(), s, q); err != nil {
		t.Fatal(err)
	}
	holds(t, stale, r.files, sortedNames(r.files)...)
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func copyRecords(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(to, ".cache"), os.DirFS(filepath.Join(from, ".cache"))); err != nil {
		t.Fatal(err)
	}
}
