package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	nethttp "net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSIGTERMLosesNoRequest ends the program when it has taken the requests of
// 200 clients: all of them are answered, and the program ends with code 0.
func TestSIGTERMLosesNoRequest(t *testing.T) {
	s := start(t, "")
	s.until(t, "try it")
	if code, body := get(t, s.url+"/api/health"); code != 200 || body != `{"status":"ok"}` {
		t.Fatalf("health: %d %s", code, body)
	}
	body, _ := json.Marshal(map[string]any{"input": strings.Split(strings.Repeat("how long is the day\n", 100), "\n")})
	const clients = 200
	results := make(chan string, clients)
	for range clients {
		go func() {
			res, err := nethttp.Post(s.url+"/v1/embeddings", "application/json", bytes.NewReader(body))
			if err != nil {
				results <- err.Error()
				return
			}
			defer res.Body.Close()
			if _, err := io.ReadAll(res.Body); err != nil {
				results <- "lost: " + err.Error()
				return
			}
			results <- res.Status
		}()
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until all are taken or answered
		var jobs struct{ Waiting, Running int }
		_, list := get(t, s.url+"/api/jobs")
		if err := json.Unmarshal([]byte(list), &jobs); err != nil {
			t.Fatal(err)
		}
		if len(results)+jobs.Waiting+jobs.Running >= clients {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("only %d answered, %d running, %d waiting", len(results), jobs.Running, jobs.Waiting)
		}
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range clients {
		if r := <-results; r != "200 OK" {
			t.Error(r)
		}
	}
	s.until(t, "ended")
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := "curl " + s.url + `/v1/embeddings -H 'Content-Type: application/json' -d '{"input": "Where is the library?"}'` + "\n"
	if got := s.stdout.String(); got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
}

// busy occupies the worker with a job that would take minutes, and returns its
// stream behind the first event.
func (s *started) busy(t *testing.T) *bufio.Reader {
	t.Helper()
	text := strings.Repeat("how long is the day ", 200)
	return s.stream(t, strings.Split(strings.Repeat(text+"\n", 2000)+text, "\n"), "processing")
}

// stream sends texts and reads the first event, which must hold a word.
func (s *started) stream(t *testing.T, texts []string, word string) *bufio.Reader {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"input": texts})
	res, err := nethttp.Post(s.url+"/api/generate", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	r := bufio.NewReader(res.Body)
	for { // a worker that wakes late is first announced as one that is busy
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, word) {
			return r
		}
	}
}

// TestDrainCutShort ends the program while a job runs, and gives it no time.
// TestSecondSignal cuts the wait short: the jobs are cancelled and their clients
// are told.
func TestSecondSignal(t *testing.T) {
	s := start(t, "--drain_timeout 1h")
	s.until(t, "try it")
	r := s.busy(t)
	for _, said := range []string{"draining", "some requests were cut short"} {
		if err := s.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s.until(t, said)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), `"status": "cancelled"`) {
		t.Errorf("%v %s", err, rest)
	}
	s.until(t, "ended")
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitCut {
		t.Errorf("exit code %d", code)
	}
}

func TestDrainCutShort(t *testing.T) {
	s := start(t, "--drain_timeout 0")
	s.until(t, "try it")
	r := s.busy(t)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), `"status": "cancelled"`) {
		t.Errorf("%v %s", err, rest)
	}
	s.until(t, "ended")
	s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitCut {
		t.Errorf("exit code %d", code)
	}
}
