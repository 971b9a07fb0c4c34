// Package target runs the server that is measured and talks to it.
package target

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Build compiles the program of this repository into dir and returns its path.
// The working directory is in the repository.
func Build(dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err == nil && bytes.HasPrefix(mod, []byte("module remote-client-server\n")) {
			break
		}
		up := filepath.Dir(root)
		if up == root {
			return "", errors.New("not in the repository: name a -binary")
		}
		root = up
	}
	binary := filepath.Join(dir, "remote-client-server")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// Server is a running process that serves.
type Server struct {
	Address string // host:port
	cmd     *exec.Cmd
	ended   chan struct{}
	tail    *tail
	err     error // of the process; set when ended is closed
}

// Flags make the real binary listen where Start finds it.
var Flags = []string{"--host", "127.0.0.1", "--port", "0", "--no_redis", "--log_format", "text"}

// listening finds the address in the log's line.
var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// Start runs a program that logs where it listens, and waits until its health
// is good.
func Start(program string, args ...string) (*Server, error) {
	s := &Server{cmd: exec.Command(program, args...), ended: make(chan struct{}), tail: new(tail)}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
			s.tail.add(lines.Text())
		}
		_, _ = io.Copy(io.Discard, log) // behind a line that is too long
		s.err = s.cmd.Wait()
	}()
	const startTime = 20 * time.Second
	late := time.After(startTime)
	select {
	case s.Address = <-address:
	case <-s.ended:
		return nil, fmt.Errorf("the server has ended: %v\n%s", s.err, s.tail)
	case <-late:
		_ = s.cmd.Process.Kill()
		return nil, errors.New("the server does not say where it listens")
	}
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		a, err := s.Ask("GET", "/api/health", "")
		if err == nil && a.Status == 200 {
			return s, nil
		}
		if time.Now().After(end) {
			_ = s.cmd.Process.Kill()
			return nil, fmt.Errorf("the server does not become ready: %v", err)
		}
	}
}

// Stop ends the server as an orchestrator does.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended: then that is the error
	kill := time.AfterFunc(40*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	<-s.ended
	if s.err != nil {
		return fmt.Errorf("the server ended with %w\n%s", s.err, s.tail)
	}
	return nil
}

// RSS is the process's resident memory in bytes.
func (s *Server) RSS() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm is %q", b)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// tail keeps the last lines of a log.
type tail []string

const tailLines = 20

func (t *tail) add(line string) {
	if *t = append(*t, line); len(*t) > tailLines {
		*t = (*t)[1:]
	}
}

func (t *tail) String() string { return strings.Join(*t, "\n") }
