package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/target"
)

// binary is the server's program, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == parkedServer {
		main()
		return
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "load")
		if err == nil {
			defer os.RemoveAll(dir)
			binary, err = target.Build(dir)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		return m.Run()
	}())
}

// TestModes runs each measurement for a moment. The tool itself fails on a wrong
// answer or a lost connection; times are only looked at for being there.
func TestModes(t *testing.T) {
	for what, names := range map[string][]string{
		"overhead": {"1 client, round trip without the model, p99", "8 clients, round trip, p99.9", "connections that idled"},
		"idle":     {"1 client, round trip, p99", "open streams", "events on the streams each second"},
		"health":   {"p99", "large batches meanwhile"},
		"overload": {"sustainable", "refused with 429", "admitted, p99", "came back after it", "memory at the end"},
	} {
		t.Run(what, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if err := run([]string{"-what", what, "-for", "3s", "-idle", "200", "-goals=false", "-binary", binary}, &stdout, &stderr); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			t.Logf("\n%s", stderr.String())
			values := map[string]float64{}
			for line := range strings.Lines(stdout.String()) {
				var m report.Measure
				if err := json.Unmarshal([]byte(line), &m); err != nil || m.What != what {
					t.Fatalf("%v: %s", err, line)
				}
				values[m.Name] = m.Value
			}
			for _, name := range names {
				if values[name] <= 0 {
					t.Errorf("%s: %v", name, values[name])
				}
			}
			if what == "overload" && values["memory at most"] > 1000 {
				t.Errorf("the server took %v MB", values["memory at most"])
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing":                 {},
		"an unknown measurement":  {"-what", "speed"},
		"no time":                 {"-what", "idle", "-for", "0s"},
		"an argument too many":    {"-what", "idle", "idle"},
		"less than no connection": {"-what", "idle", "-idle", "-1"},
		"no such program":         {"-what", "health", "-binary", filepath.Join(t.TempDir(), "none")},
	} {
		var stdout, stderr bytes.Buffer
		if err := run(args, &stdout, &stderr); err == nil || stdout.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, stdout.String())
		}
	}
}

func TestPassed(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct {
		spans [][2]int // ms
		want  []float64
	}{
		"nobody":                        {nil, []float64{}},
		"one alone":                     {[][2]int{{0, 5}}, []float64{1}},
		"one after the other":           {[][2]int{{0, 5}, {6, 9}}, []float64{1, 1}},
		"all at once, in order":         {[][2]int{{0, 5}, {0, 6}, {0, 7}}, []float64{1, 2, 3}},
		"a late one that is overtaking": {[][2]int{{0, 9}, {4, 5}}, []float64{2, 1}},
	} {
		f := new(flood)
		for _, s := range c.spans {
			f.accepted = append(f.accepted, span{at(s[0]), at(s[1])})
		}
		if got := f.passed(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
