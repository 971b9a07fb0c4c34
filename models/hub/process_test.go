package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// childVar makes the test binary a process that fetches; its value is the
// endpoint and the folder.
const childVar = "HUB_TEST_FETCH"

func TestMain(m *testing.M) {
	if v, ok := os.LookupEnv(childVar); ok {
		child(v)
		return
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

// child fetches and prints its result as JSON, or the error.
func child(v string) {
	endpoint, dir, _ := strings.Cut(v, " ")
	s := Settings{Endpoint: endpoint, hooks: hooks{piece: 64 << 10}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := s.Fetch(ctx, Request{Repo: acme, Kind: "text", Dir: dir, Workers: 4})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(res)
}

// output is what a process writes, also while it runs.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) count(s string) int { return strings.Count(o.String(), s) }

// process is a child that runs.
type process struct {
	*exec.Cmd
	out io.ReadCloser
	err *output
}

func start(t *testing.T, f *fakeHub, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{exec.Command(exe), nil, new(output)}
	p.Env = append(os.Environ(), childVar+"="+f.api.URL+" "+dir)
	p.Stderr = p.err
	if p.out, err = p.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

func (p *process) result(t *testing.T) Result {
	t.Helper()
	line, _ := bufio.NewReader(p.out).ReadString('\n')
	var res Result
	if err := json.Unmarshal([]byte(line), &res); err != nil {
		t.Errorf("the process says %q, and\n%s", line, p.err)
	}
	_ = p.Wait()
	return res
}

// gate holds the storage's answers after half of each range until it opens.
type gate struct {
	open    chan struct{}
	reached chan struct{} // closed when n answers are at their half
	n       atomic.Int32
}

func newGate() *gate { return &gate{open: make(chan struct{}), reached: make(chan struct{})} }

func (g *gate) hold(after int32) func(http.ResponseWriter, string, []byte, *http.Request) bool {
	return func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
		a, z := 0, len(b)-1
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &a, &z); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, z, len(b)))
			w.Header().Set("Content-Length", fmt.Sprint(z-a+1))
			w.WriteHeader(206)
		}
		half := a + (z-a)/2
		_, _ = w.Write(b[a:half])
		w.(http.Flusher).Flush()
		if g.n.Add(1) == after {
			close(g.reached)
		}
		select {
		case <-g.open:
			_, _ = w.Write(b[half : z+1])
		case <-r.Context().Done():
		}
		return true
	}
}

func TestFault43TwoProcessesDownloadOnce(t *testing.T) {
	f := newFake(t)
	fs := textRepo(8 * 64 << 10)
	f.repo(acme, fs)
	g := newGate()
	f.mu.Lock() // the requests come from other processes
	f.store2 = g.hold(4)
	f.mu.Unlock()
	dir := t.TempDir()
	first := start(t, f, dir)
	<-g.reached
	before := len(f.requests())
	second := start(t, f, dir)
	// The second says that it waits, and asks nobody.
	const says = "waiting for another process"
	for deadline := time.Now().Add(time.Minute); second.err.count(says) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the second process does not wait: %s", second.err)
		}
	}
	if n := len(f.requests()); n != before {
		t.Errorf("%d requests while it waited", n-before)
	}
	close(g.open)
	a, b := first.result(t), second.result(t)
	if a.Source != "hub" || b.Source != "local" || b.Bytes != 0 || b.Commit != commitA {
		t.Errorf("the first %+v, the second %+v", a, b)
	}
	if n := second.err.count(says); n != 1 {
		t.Errorf("it said %d times that it waits", n)
	}
	holds(t, dir, fs, whole...)
	seen := map[string]bool{}
	for _, r := range f.ranges {
		if seen[r] {
			t.Errorf("the range %q came twice", r)
		}
		seen[r] = true
	}
}

func TestFault43AKilledProcessIsResumed(t *testing.T) {
	f := newFake(t)
	fs := textRepo(16 * 64 << 10)
	f.repo(acme, fs)
	g := newGate()
	f.mu.Lock() // the requests come from other processes
	f.store2 = g.hold(4)
	f.mu.Unlock()
	dir := t.TempDir()
	p := start(t, f, dir)
	<-g.reached
	// Let the first four pieces be whole and kill it in the midst of the next.
	g2 := newGate()
	f.mu.Lock()
	f.store2 = g2.hold(1)
	f.mu.Unlock()
	close(g.open)
	<-g2.reached
	if err := p.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = p.Wait()
	if left := leftovers(t, dir); !slices.ContainsFunc(left, func(s string) bool { return strings.HasSuffix(s, journalEnd) }) {
		t.Fatalf("left %q", left)
	}
	if err := Complete(dir, "text"); !errors.Is(err, ErrIncomplete) {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.store2 = nil
	f.mu.Unlock()
	res, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if all := int64(len(fs["model.safetensors"])); res.Bytes > all-64<<10 {
		t.Errorf("%d of %d bytes came again", res.Bytes, all)
	}
	holds(t, dir, fs, whole...)
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// A journal that says more than is there, as after a power cut, is found out by
// the hash.
func TestFault43AJournalThatLies(t *testing.T) {
	f := newFake(t)
	fs := textRepo(4 * 64 << 10)
	f.repo(acme, fs)
	dir := t.TempDir()
	tg, err := openTarget(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.close()
	b := fs["model.safetensors"]
	p, err := tg.openPartial("model.safetensors", entry{Size: int64(len(b)), LFS: sha(b)}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.append(1, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	p.close()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, whole...)
}

func TestALockIsFreeAgainAfterItsHolder(t *testing.T) {
	at := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	release, err := lock(t.Context(), open(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, open(), "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	if release, err = lock(t.Context(), open(), "x"); err != nil {
		t.Fatal(err)
	}
	release()
}
