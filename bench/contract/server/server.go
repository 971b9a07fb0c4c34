// Package server runs the real binary for tests that are its clients.
package server

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var binary string // built by Main

// Main is for TestMain: it builds the binary, runs the tests and returns the
// exit code. It expects to run two folders below the root of the repository.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "server")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "remote-client-server")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Server is a running binary.
type Server struct {
	Base string // http://127.0.0.1:port
}

// listening finds the address in the log's line.
var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// Start runs the binary with these flags until the test ends. With ready, it
// waits until the model answers.
func Start(t *testing.T, ready bool, flags ...string) *Server {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"--host", "127.0.0.1", "--port", "0", "--no_redis", "--log_format", "text"}, flags...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, read := make(chan string, 1), make(chan struct{})
	var tail strings.Builder // read after the log has ended
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
			if tail.Len() < 16<<10 {
				fmt.Fprintln(&tail, lines.Text())
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-read
		_ = cmd.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail.String())
		}
	})
	s := new(Server)
	select {
	case a := <-address:
		s.Base = "http://" + a
	case <-read:
		t.Fatal("the server has ended")
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not say where it listens")
	}
	if ready {
		Until(t, "the server is ready", func() bool { return s.Do(t, Request{Path: "/api/health"}).Status == 200 })
	}
	return s
}

// Until waits for what has to come.
func Until(t *testing.T, what string, come func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !come(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Request is what Do sends.
type Request struct {
	Method, Path string // "": GET
	Body         string // JSON
	Header       string // one or more lines
}

// Response is an answer that was read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request; that it is answered at all is demanded.
func (s *Server) Do(t *testing.T, q Request) Response {
	t.Helper()
	a, err := s.Try(q)
	if err != nil {
		t.Fatalf("%s %s: %v", q.Method, q.Path, err)
	}
	return a
}

// client does not follow redirects, nor keep connections that one test leaves
// to another.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// Try sends a request.
func (s *Server) Try(q Request) (Response, error) {
	r, err := http.NewRequest(q.Method, s.Base+q.Path, strings.NewReader(q.Body))
	if err != nil {
		return Response{}, err
	}
	if q.Body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for line := range strings.Lines(q.Header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		return Response{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Response{res.StatusCode, res.Header, b}, err
}
