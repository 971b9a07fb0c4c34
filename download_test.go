package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"remote-client-server/models/hub"
)

// fakeHub serves one repository by the Hub's protocol. Until open is called the
// weights stop after half of their bytes.
type fakeHub struct {
	*httptest.Server
	files    map[string][]byte
	requests atomic.Int64
	open     func()
}

const (
	fakeRepo   = "Org/Tiny-Embedder"
	fakeCommit = "0123456789abcdef0123456789abcdef01234567"
)

func newFakeHub(t *testing.T, dir string) *fakeHub {
	t.Helper()
	h := &fakeHub{files: map[string][]byte{}}
	gate := make(chan struct{})
	h.open = sync.OnceFunc(func() { close(gate) })
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			h.files[filepath.ToSlash(rel)], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.files) == 0 {
		t.Fatal("no files in ", dir)
	}
	h.Server = httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		h.requests.Add(1)
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/api/models/"+fakeRepo+"/tree/"):
			var list []map[string]any
			for name, b := range h.files {
				list = append(list, map[string]any{"type": "file", "path": name, "size": len(b), "oid": blobID(b)})
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(list)
		case strings.HasPrefix(path, "/api/models/"+fakeRepo):
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"sha": fakeCommit})
		case strings.HasPrefix(path, "/"+fakeRepo+"/resolve/"+fakeCommit+"/"):
			b, ok := h.files[strings.TrimPrefix(path, "/"+fakeRepo+"/resolve/"+fakeCommit+"/")]
			if !ok {
				w.Header().Set("X-Error-Code", "EntryNotFound")
				w.WriteHeader(404)
				return
			}
			w.Header().Set("X-Repo-Commit", fakeCommit)
			w.Header().Set("ETag", `"`+blobID(b)+`"`)
			if strings.HasSuffix(path, ".safetensors") && r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				w.Write(b[:len(b)/2])
				w.(nethttp.Flusher).Flush()
				select {
				case <-gate:
				case <-r.Context().Done():
					return
				}
				w.Write(b[len(b)/2:])
				return
			}
			nethttp.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		default:
			w.Header().Set("X-Error-Code", "RepoNotFound")
			w.WriteHeader(404)
		}
	}))
	t.Cleanup(func() { h.open(); h.Close() })
	t.Setenv("HF_ENDPOINT", h.URL)
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	return h
}

// blobID is git's name of a file's content.
func blobID(b []byte) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(b), b))
	return hex.EncodeToString(sum[:])
}

const fixture = "models/embed/testdata/bert-odd"

// TestStartThatDownloads starts on an empty folder: health stays below 200
// until the model answers, and the status tells how far the download is.
func TestStartThatDownloads(t *testing.T) {
	h := newFakeHub(t, fixture)
	dir := t.TempDir()
	s := start(t, "--fail_grace 0 --model Tiny --model_type embed --model_files "+dir+" --model_repo_id "+fakeRepo)
	var status struct {
		Status, Model string
		Progress      *struct {
			Files, FilesDone   int
			Bytes, Total_bytes int64
		}
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, body := get(t, s.url+"/api/status")
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatal(err, body)
		}
		if status.Progress != nil && status.Progress.Bytes > 0 || time.Now().After(limit) {
			break
		}
	}
	if p := status.Progress; status.Status != "Downloading model files..." || status.Model != fakeRepo || p == nil || p.Files < 3 || p.Total_bytes <= p.Bytes {
		t.Errorf("status: %+v, %+v", status, status.Progress)
	}
	for path, want := range map[string]string{
		"/api/health":       `503 {"status":"downloading"}`,
		"/api/model-loaded": `200 false`,
		"/v2/health/live":   `200 {"live":true}`,
		"/v2/health/ready":  `503 {"ready":false}`,
	} {
		if code, body := get(t, s.url+path); fmt.Sprint(code, " ", body) != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if _, body := get(t, s.url+"/metrics"); !strings.Contains(body, "\nmodelserver_download_total_bytes ") || !strings.Contains(body, "\nmodelserver_ready 0\n") {
		t.Error("no download in the metrics")
	}
	if out, err := healthOf(t, s.url).CombinedOutput(); err == nil || string(out) != "{\"ready\":false}\n" {
		t.Errorf("health while downloading: %v %s", err, out)
	}
	h.open()
	s.until(t, "downloaded")
	s.until(t, "try it")
	if out, err := healthOf(t, s.url).CombinedOutput(); err != nil || string(out) != "{\"ready\":true}\n" {
		t.Errorf("health: %v %s", err, out)
	}
	for path, want := range map[string]string{
		"/api/health":                 `200 {"status":"ok"}`,
		"/api/model-loaded":           `200 true`,
		"/api/status":                 `200 {"status":"ready","gpu":false,"queue":0,"model":"` + fakeRepo + `","type":"embed"}`,
		"/v2/models/tiny/ready":       `200 {"name":"Tiny","ready":true}`,
		"/v2/models/" + fakeRepo:      "200 ",
		"/v1/models/" + fakeRepo:      "200 ",
		"/Tiny/api/model-loaded":      `200 true`,
		"/openai/v1/models/" + "TINY": "200 ",
	} {
		code, body := get(t, s.url+path)
		if got := fmt.Sprint(code, " ", body); got != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(got, want)) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tiny", "config.json")); err != nil {
		t.Error("the folder is not the name in lower case: ", err)
	}
	s.end(t)

	// Complete now: the Hub is not asked again.
	before := h.requests.Load()
	again := start(t, "--fail_grace 0 --model Tiny --model_type embed --model_files "+dir+" --model_repo_id "+fakeRepo)
	again.until(t, "try it")
	again.end(t)
	if n := h.requests.Load() - before; n != 0 {
		t.Errorf("%d requests for a complete folder", n)
	}
}

// healthOf is the command that asks the server at url.
func healthOf(t *testing.T, url string) *exec.Cmd {
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	return program(t, "health --port "+port)
}

func TestHealthOfAStranger(t *testing.T) {
	s := httptest.NewServer(nethttp.NotFoundHandler())
	defer s.Close()
	if out, err := healthOf(t, s.URL).CombinedOutput(); err == nil || !strings.Contains(string(out), "is not this server") || strings.Contains(string(out), "page not found") {
		t.Errorf("%v %s", err, out)
	}
}

// end stops the program in order.
func (s *started) end(t *testing.T) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSIGTERMWhileDownloading ends at once and in order; the next start goes on.
func TestSIGTERMWhileDownloading(t *testing.T) {
	h := newFakeHub(t, fixture)
	dir := t.TempDir()
	args := "--model Tiny --model_type embed --model_files " + dir + " --model_repo_id " + fakeRepo
	s := start(t, args)
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if _, body := get(t, s.url+"/api/status"); strings.Contains(body, `"progress":`) {
			break
		}
	}
	s.end(t)
	h.open()
	s = start(t, args)
	s.until(t, "try it")
	s.end(t)
}

func TestFailedDownload(t *testing.T) {
	newFakeHub(t, fixture)
	s := start(t, "--fail_grace 1h --model gone --model_type embed --model_files "+t.TempDir()+" --model_repo_id Org/gone")
	line := s.until(t, "the start failed")
	if text := fmt.Sprint(line["error"]); !strings.Contains(text, "Org/gone does not exist, or it is private") {
		t.Error(text)
	}
	if code, body := get(t, s.url+"/api/status"); code != 200 || !strings.Contains(body, `"status":"Error downloading model files"`) {
		t.Errorf("status: %d %s", code, body)
	}
	if code, body := get(t, s.url+"/api/health"); code != 503 || body != `{"status":"error"}` {
		t.Errorf("health: %d %s", code, body)
	}
}

// TestDownloadCommand fetches, prints the folder and ends.
func TestDownloadCommand(t *testing.T) {
	h := newFakeHub(t, fixture)
	h.open()
	dir := t.TempDir()
	args := "download --model_type embed --model_files " + dir + " --model_repo_id " + fakeRepo
	want := filepath.Join(dir, strings.ToLower("Tiny-Embedder"))
	for _, env := range []string{"HF_HUB_OFFLINE=0", "HF_HUB_OFFLINE=1"} { // the second time needs no Hub
		cmd := program(t, args)
		cmd.Env = append(cmd.Env, env)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Fatalf("%s: %v %q\n%s", env, err, out, stderr.String())
		}
	}
	if err := hub.Complete(want, "embed"); err != nil {
		t.Error(err)
	}
	out, err := program(t, "check --model_type embed --model Tiny-Embedder --model_files "+dir).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\nok\n") || !strings.Contains(string(out), "family ") {
		t.Errorf("check: %v\n%s", err, out)
	}
	cmd := program(t, "download --model_type embed --model_files "+t.TempDir()+" --model_repo_id "+fakeRepo)
	cmd.Env = append(cmd.Env, "HF_HUB_OFFLINE=1")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitStart || !strings.Contains(string(out), "offline mode is on") {
		t.Errorf("offline: %v\n%s", err, out)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		p    hub.Progress
		want string
	}{
		{hub.Progress{}, "[..........] 0 B of 0 B, 0 of 0 files, 0 B/s"},
		{hub.Progress{Files: 9, FilesDone: 4, Bytes: 500e6, Total: 1e9, Rate: 25e6, ETA: 20 * time.Second}, "[#####.....] 500.0 MB of 1.0 GB, 4 of 9 files, 25.0 MB/s, 20s left"},
		{hub.Progress{Bytes: 2e9, Total: 1e9}, "[##########] 2.0 GB of 1.0 GB, 0 of 0 files, 0 B/s"},
	} {
		if got := bar(c.p, 10); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

// TestCompletion asks the shells themselves whether they can read the scripts.
func TestCompletion(t *testing.T) {
	for _, shell := range shells {
		var out bytes.Buffer
		if code := run([]string{"completion", shell}, &out, &out); code != exitOK {
			t.Fatalf("%s: %d %s", shell, code, out.String())
		}
		for _, word := range []string{"model_repo_id", "vision-embed", "download", "bfloat16"} {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%s: no %s", shell, word)
			}
		}
		if strings.Contains(out.String(), "model_id") != strings.Contains(strings.ReplaceAll(out.String(), "model_repo_id", ""), "model_id") {
			t.Errorf("%s completes a hidden flag", shell)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here: its script was not parsed", shell)
			continue
		}
		cmd := exec.Command(path, "-n", "/dev/stdin")
		cmd.Stdin = &out
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", shell, err, msg)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not here: its completions were not asked for")
	}
	var script bytes.Buffer
	run([]string{"completion", "bash"}, &script, &script)
	for words, want := range map[string]string{
		"remote-client-server dow":                      "download",
		"remote-client-server --model_ty":               "--model_type",
		"remote-client-server --model_type vision-":     "vision-embed",
		"remote-client-server completion f":             "fish",
		"remote-client-server serve --log_format = j":   "json",
		"remote-client-server --log_format=j --dtype q": "q4\nq8",
	} {
		ask := fmt.Sprintf("%s\nCOMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _remote_client_server; printf '%%s\\n' \"${COMPREPLY[@]}\"", script.String(), words)
		out, err := exec.Command(bash, "-c", ask).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q %v", words, got, err)
		}
	}
}
