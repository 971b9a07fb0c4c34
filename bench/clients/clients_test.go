// Package clients runs real clients against the real binary: openai-go in this
// process, openai-python, openai-node, curl and a Python reader of event
// streams in their own.
package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"remote-client-server/bench/contract/server"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// key is the only API key of the servers that ask for one.
const key = "sk-correct-horse"

// missing ends a test for want of a program: under CI that is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("there is no " + what + ": run .ci/tools")
	}
	t.Skip("there is no " + what + ": `make test` installs it where it can")
}

// driver is a client in another language: a program that is told the address of
// a server and which of its parts to play, and fails with a trace.
type driver struct {
	name string
	find func(t *testing.T) []string
}

var drivers = []driver{
	{"openai-python", func(t *testing.T) []string {
		python, err := filepath.Abs("../../.venv/bin/python")
		if err != nil {
			t.Fatal(err)
		}
		if exec.Command(python, "-c", "import openai").Run() != nil {
			missing(t, "Python with the openai package in .venv")
		}
		return []string{python, "client.py"}
	}},
	{"openai-node", func(t *testing.T) []string {
		node, err := exec.LookPath("node")
		if err != nil {
			missing(t, "node")
		}
		if _, err := os.Stat("node_modules/openai"); err != nil {
			missing(t, "openai-node in bench/clients/node_modules")
		}
		return []string{node, "client.cjs"}
	}},
}

// play lets the client play its part against a server; heard, if set, is given
// each line that the client prints.
func (d *driver) play(t *testing.T, part, base string, heard func(line string)) {
	t.Helper()
	args := d.find(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], part, base, key)...)
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if heard != nil {
			heard(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", d.name, err, told.String())
	}
}

// parts are what every client of OpenAI's API does, and on which server.
// "loading" is played in TestLoading.
var parts = []struct {
	name  string
	flags []string
}{
	{"answers", nil},
	{"errors", nil},
	{"cancel", []string{"--threads", "1"}},
	{"key", []string{"--api_key", key}},
	{"busy", []string{"--queue_size", "1", "--threads", "1"}},
	{"timeout", []string{"--job_timeout", "0.2", "--threads", "1"}},
	{"chats", []string{"--model_type", "text"}},
}

// TestOpenAI plays every part with every client of OpenAI's API.
func TestOpenAI(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			s := server.Start(t, true, p.flags...)
			t.Run("openai-go", func(t *testing.T) { inGo[p.name](t, s) })
			for _, d := range drivers {
				t.Run(d.name, func(t *testing.T) { d.play(t, p.name, s.Base, nil) })
			}
		})
	}
}

// long is work that takes seconds: tokens enough for the client's next step to
// come while it runs.
func long() []string {
	texts := make([]string, 2048)
	for i := range texts {
		texts[i] = strings.Repeat("the quick brown fox ", 30)
	}
	return texts
}

// job is what /api/jobs/{id} tells.
type job struct {
	ID      string
	Request string `json:"request_id"`
	State   string
	Waited  float64 `json:"waited_seconds"`
}

// find asks for a job by the id of its request; without a state it is unknown.
func find(t *testing.T, s *server.Server, request string) job {
	t.Helper()
	var j job
	if a := s.Do(t, server.Request{Path: "/api/jobs/" + request}); a.Status == 200 {
		if err := json.Unmarshal(a.Body, &j); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// live lists the jobs that have not ended.
func live(t *testing.T, s *server.Server) []job {
	t.Helper()
	var list struct{ Jobs []job }
	if err := json.Unmarshal(s.Do(t, server.Request{Path: "/api/jobs"}).Body, &list); err != nil {
		t.Fatal(err)
	}
	return list.Jobs
}

// post sends JSON and returns the answer's body as a stream.
func post(ctx context.Context, url string, body any, header ...string) (*http.Response, *bufio.Scanner, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, nil, fmt.Errorf("%q is no header", line)
		}
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	return res, bufio.NewScanner(res.Body), nil
}

// read returns an answer's body.
func read(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
