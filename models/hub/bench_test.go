package hub

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file comes from loopback, is hashed while it is written, and is synced
// before it is renamed.
func BenchmarkDownload256MiB(b *testing.B) {
	f := newFake(b)
	fs := textRepo(256 << 20)
	f.repo(acme, fs)
	content := fs["model.safetensors"]
	list := []map[string]any{{"type": "file", "path": "model.safetensors", "oid": commitA, "lfs": map[string]any{"oid": sha(content), "size": len(content)}}}
	for _, name := range []string{"config.json", "tokenizer.json"} {
		list = append(list, map[string]any{"type": "file", "path": name, "oid": gitID(fs[name]), "size": len(fs[name])})
	}
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool { // the large file is hashed once, not in every answer
		switch {
		case strings.Contains(r.URL.Path, "/tree/"):
			answerJSON(w, list)
		case strings.HasSuffix(r.URL.Path, "/model.safetensors"):
			w.Header().Set("X-Repo-Commit", commitA)
			w.Header().Set("Location", f.store.URL+"/acme/model/model.safetensors?X-Signature="+theSig)
			w.WriteHeader(http.StatusFound)
		default:
			return false
		}
		return true
	}
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprintf("connections=%d", workers), func(b *testing.B) {
			s, top, n := f.settings(), b.TempDir(), 0
			s.hooks.piece = 0
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				n++
				dir := filepath.Join(top, fmt.Sprint(n%2))
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := s.Fetch(b.Context(), Request{Repo: acme, Kind: "text", Dir: dir, Workers: workers}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Hashing alone, the bound of the above.
func BenchmarkSHA256(b *testing.B) {
	block := make([]byte, hashBlock)
	h := newHash(fmt.Sprintf("%064d", 0), 0)
	b.SetBytes(hashBlock)
	for b.Loop() {
		h.Write(block)
	}
}
