package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"remote-client-server/bench/contract/server"
)

// heard is what remote.py made of a stream.
type heard struct {
	Result map[string]any
	Logged []struct{ Status, Message string }
	End    any
}

// generate asks as remote.py does; the function waits for its end.
func generate(t *testing.T, s *server.Server, request string, body any) func() heard {
	t.Helper()
	python := drivers[0].find(t)
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python[0], "remote.py", s.Base, request)
	var out, told strings.Builder
	cmd.Stdin = bytes.NewReader(b)
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() heard {
		t.Helper()
		var h heard
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, told.String())
		}
		if err := json.Unmarshal([]byte(out.String()), &h); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		return h
	}
}

// TestRemoteClient reads the events of jobs that succeed, wait, are cancelled
// and take too long.
func TestRemoteClient(t *testing.T) {
	one := map[string]any{"input": "x"}
	texts := long()
	for i, text := range texts {
		texts[i] = strings.Repeat(text, 4)
	}
	heavy := map[string]any{"input": texts} // longer than three programs need to start
	t.Run("complete", func(t *testing.T) {
		s := server.Start(t, true)
		h := generate(t, s, "one", one)()
		if h.End != "complete" || h.Result["message"] != "Generation complete." || len(h.Result["data"].([]any)) != 1 {
			t.Errorf("%+v", h)
		}
	})
	t.Run("waiting and cancelled", func(t *testing.T) {
		s := server.Start(t, true, "--threads", "1")
		first := generate(t, s, "first", heavy)
		server.Until(t, "the first runs", func() bool { return find(t, s, "first").State == "running" })
		second := generate(t, s, "second", heavy)
		server.Until(t, "the second waits", func() bool { return find(t, s, "second").State == "waiting" })
		third := generate(t, s, "third", one)
		server.Until(t, "the third waits", func() bool { return find(t, s, "third").State == "waiting" })
		server.Until(t, "the third has waited", func() bool { return find(t, s, "third").Waited > 0.5 })
		for _, id := range []string{"second", "first"} {
			if a := s.Do(t, server.Request{Method: "DELETE", Path: "/api/jobs/" + id}); a.Status != 200 {
				t.Errorf("DELETE: %d %s", a.Status, a.Body)
			}
		}
		if h := first(); h.End != "cancelled" || len(h.Logged) == 0 || h.Logged[0].Status != "processing" || h.Logged[0].Message != "Generating..." {
			t.Errorf("the first: %+v", h)
		}
		if h := second(); h.End != "cancelled" || h.Result != nil || len(h.Logged) == 0 || h.Logged[0].Message != "Your position in the queue is: 1" {
			t.Errorf("the second: %+v", h)
		}
		h := third()
		if h.End != "complete" || len(h.Logged) < 2 || h.Logged[0].Status != "waiting" || h.Logged[len(h.Logged)-1].Status != "processing" {
			t.Errorf("the third: %+v", h)
		}
		place := regexp.MustCompile(`^Your position in the queue is: [12]$`)
		for _, e := range h.Logged[:max(len(h.Logged)-1, 0)] {
			if e.Status == "waiting" && !place.MatchString(e.Message) {
				t.Errorf("the third: %+v", e)
			}
		}
	})
	t.Run("timeout", func(t *testing.T) {
		s := server.Start(t, true, "--threads", "1", "--job_timeout", "0.1")
		if h := generate(t, s, "late", heavy)(); h.End != "timeout" || h.Result != nil {
			t.Errorf("%+v", h)
		}
	})
	t.Run("refused before the stream begins", func(t *testing.T) {
		s := server.Start(t, true)
		if h := generate(t, s, "bad", map[string]any{"input": 1})(); fmt.Sprint(h.End) != "400" {
			t.Errorf("%+v", h)
		}
	})
}
