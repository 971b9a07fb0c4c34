package clients

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"remote-client-server/bench/contract/server"
)

// slowHub is a Hub with one repository, whose weights come when gate is closed.
type slowHub struct {
	files map[string][]byte
	gate  chan struct{}
}

const (
	repo   = "org/tiny"
	commit = "0123456789abcdef0123456789abcdef01234567"
)

func newSlowHub(t *testing.T, dir string) *slowHub {
	t.Helper()
	h := &slowHub{files: map[string][]byte{}, gate: make(chan struct{})}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			h.files[filepath.ToSlash(name)], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(h.files) == 0 {
		t.Fatal("no files in ", dir, err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	return h
}

// gitID is git's name of a file's content, by which the Hub tells files.
func gitID(b []byte) string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(b), b)))
}

func (h *slowHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	name, isFile := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/"+commit+"/")
	b, known := h.files[name]
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/models/"+repo+"/tree/"):
		var list []map[string]any
		for name, b := range h.files {
			list = append(list, map[string]any{"type": "file", "path": name, "size": len(b), "oid": gitID(b)})
		}
		_ = json.NewEncoder(w).Encode(list) // an error is the client's
	case strings.HasPrefix(r.URL.Path, "/api/models/"+repo):
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit})
	case isFile && known:
		if strings.HasSuffix(name, ".safetensors") {
			select {
			case <-h.gate:
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("ETag", `"`+gitID(b)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	default:
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestLoading asks a server that still waits for its model's files: each client
// of OpenAI's API comes again by itself until the model is there.
func TestLoading(t *testing.T) {
	h := newSlowHub(t, "../../models/embed/testdata/bert-odd")
	s := server.Start(t, false, "--model", "tiny", "--model_type", "embed", "--model_files", t.TempDir(), "--model_repo_id", repo)
	v2 := v2Client{s.Base, "tiny"}
	if _, err := v2.infer(map[string]any{"text": "x"}); err == nil || err.Error() != "status 503" {
		t.Errorf("V2: %v", err)
	}
	var clients, refused sync.WaitGroup
	// wait runs a client that calls answered after each answer, of which the
	// first is a refusal.
	wait := func(name string, client func(t *testing.T, answered func())) {
		once := sync.OnceFunc(refused.Done)
		refused.Add(1)
		clients.Go(func() {
			defer once() // if it fails before
			t.Run(name, func(t *testing.T) { client(t, once) })
		})
	}
	wait("openai-go", func(t *testing.T, answered func()) {
		seen := statuses{answered: answered}
		client := newClient(s.Base+"/v1", option.WithMaxRetries(5), seen.option())
		if _, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "any", Input: strs("x")}); err != nil {
			t.Error(err)
		}
		seen.retried(t, 503)
	})
	for _, d := range drivers {
		wait(d.name, func(t *testing.T, answered func()) { d.play(t, "loading", s.Base, func(string) { answered() }) })
	}
	refused.Wait()
	close(h.gate)
	clients.Wait()
	if _, err := v2.infer(map[string]any{"text": "x"}); err != nil {
		t.Errorf("V2: %v", err)
	}
}
