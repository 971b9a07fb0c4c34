// Command soak runs the server under a mixture of all that clients do, and
// demands at the end that nothing has grown, nothing was lost and every counter
// adds up:
//
//   - resident memory does not rise after the first sixth of the time (see limit);
//   - goroutines and file descriptors are back where they began;
//   - every answer had a status that its request may have, 5xx included;
//   - the requests, jobs and failures of /metrics are those that the clients saw, and no panic was caught.
//
// It prints one JSON object a measure on standard output and a table on
// standard error, and exits with 1 when something is wrong.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/target"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	binary  string
	length  time.Duration
	clients int
	seed    uint64
}

// serverFlags make what clients provoke come soon: a queue that fills, bodies
// that are too large.
var serverFlags = append([]string{"--queue_size", "64", "--max_body", "1MiB"}, target.Flags...)

func run(args []string, stdout, stderr io.Writer) (err error) {
	var o options
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "binary", "", "the server's program; it is built when none is named")
	f.DurationVar(&o.length, "for", time.Hour, "length of the load")
	f.IntVar(&o.clients, "clients", 8, "clients at once")
	f.Uint64Var(&o.seed, "seed", 1, "of the clients' choices")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.length <= 0 || o.clients < 1 {
		f.Usage()
		return errors.New("-for and -clients must be above 0")
	}
	if o.binary == "" {
		dir, err := os.MkdirTemp("", "soak")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if o.binary, err = target.Build(dir); err != nil {
			return err
		}
	}
	s, err := target.Start(o.binary, serverFlags...)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.Stop(); err == nil {
			err = e
		}
	}()
	measures, faults, err := soak(s, &o, stderr)
	if err != nil {
		return err
	}
	if err := report.Write("soak", measures, stdout, stderr); err != nil {
		return err
	}
	for _, e := range faults {
		fmt.Fprintln(stderr, "fault:", e)
	}
	if len(faults) > 0 || report.Missed(measures) {
		return errors.New("the soak has failed")
	}
	return nil
}

// soak runs the load and looks at what is left. The faults are what no figure
// tells.
func soak(s *target.Server, o *options, log io.Writer) (measures []report.Measure, faults []error, err error) {
	w, err := newWatcher(s)
	if err != nil {
		return nil, nil, err
	}
	defer w.conn.Close()
	l := newLedger()
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range o.clients {
		clients.Go(func() { newClient(s, l, o.seed, uint64(i)).run(stop) })
	}
	start := time.Now()
	err = w.watch(o.length, func(last sample) {
		if n := len(w.samples); n%60 == 0 {
			requests, _ := l.totals()
			fmt.Fprintf(log, "%v: %d requests, %.1f MB resident, %d goroutines, %d descriptors\n",
				time.Since(start).Round(time.Second), requests, last.rss/1e6, last.goroutines, last.descriptors)
		}
	})
	close(stop)
	clients.Wait()
	if err != nil {
		return nil, nil, fmt.Errorf("%w (the clients: %w)", err, errors.Join(l.faults...))
	}
	requests, unsure := l.totals()
	measures = []report.Measure{report.Plain("requests", float64(requests), ""), report.Plain("of them cut off by their clients", float64(unsure), "")}
	for _, status := range slices.Sorted(maps.Keys(l.broken)) {
		measures = append(measures, report.Plain(fmt.Sprintf("answered %d", status), float64(l.broken[status]), ""))
	}
	measures = append(measures, w.memory(o.length)...)
	left, err := w.settle()
	if err != nil {
		return nil, nil, err
	}
	measures = append(measures, left...)
	page, err := w.conn.Metrics()
	if err != nil {
		return nil, nil, err
	}
	faults = append(l.faults, l.check(w.first, page, w.scrapes)...)
	return append(measures, report.AtMost("faults", float64(len(faults)), "", 0)), faults, nil
}
