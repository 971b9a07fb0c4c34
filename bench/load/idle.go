package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/stats"
	"remote-client-server/bench/load/target"
)

// idle measures beside streams of events that stay open. The embedding model
// has none that last, so this server is not the real binary: its worker parks
// some jobs for good and answers the others at once, and all of a round trip
// is overhead. It runs in a process of its own.
func idle(o *options) (all []report.Measure, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s, err := target.Start(self, parkedServer)
	if err != nil {
		return nil, err
	}
	defer stop(s, &err)
	streams, events, err := openStreams(s, o.idlers)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range streams {
			c.Close()
		}
	}()
	if _, err := closedLoop(s, 1, o.length/20, embedOne); err != nil { // warm-up
		return nil, err
	}
	before := events.Load()
	one, err := closedLoop(s, 1, o.length/2, embedOne)
	if err != nil {
		return nil, err
	}
	eight, err := closedLoop(s, 8, o.length/2, embedOne)
	if err != nil {
		return nil, err
	}
	heard := float64(events.Load()-before) / o.length.Seconds()
	running, err := parked(s)
	if err != nil {
		return nil, err
	}
	if running != o.idlers {
		return nil, fmt.Errorf("%d streams of %d are still open", running, o.idlers)
	}
	return []report.Measure{
		report.AtMost("1 client, round trip, p50", stats.Quantile(one, 0.5), "ms", overheadP50),
		report.AtMost("1 client, round trip, p99", stats.Quantile(one, 0.99), "ms", overheadP99),
		report.Plain("1 client, round trip, p99.9", stats.Quantile(one, 0.999), "ms"),
		report.Plain("1 client, requests", float64(len(one)), ""),
		report.Plain("8 clients, round trip, p50", stats.Quantile(eight, 0.5), "ms"),
		report.Plain("8 clients, round trip, p99", stats.Quantile(eight, 0.99), "ms"),
		report.Plain("8 clients, round trip, p99.9", stats.Quantile(eight, 0.999), "ms"),
		report.Plain("8 clients, requests", float64(len(eight)), ""),
		report.Plain("open streams", float64(running), ""),
		report.Plain("events on the streams each second", heard, ""),
	}, nil
}

// openStreams opens streams whose jobs are parked, and reads what comes.
func openStreams(s *target.Server, n int) (conns []*target.Conn, events *atomic.Int64, err error) {
	events = new(atomic.Int64)
	message := target.Message("POST", "/api/generate", `{"input":"`+parkedText+`"}`)
	for range n {
		c, err := s.Dial()
		if err == nil {
			err = c.Send(message)
		}
		if err != nil {
			return conns, events, err
		}
		conns = append(conns, c)
	}
	var faults sync.Map
	var open sync.WaitGroup
	for i, c := range conns {
		open.Add(1)
		go func() { // until the connection is closed
			res, err := c.Head()
			if err != nil || res.StatusCode != 200 {
				faults.Store(i, fmt.Errorf("stream %d: %w", i, err))
				open.Done()
				return
			}
			opened := sync.OnceFunc(open.Done)
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data: ") {
					events.Add(1)
					opened()
				}
			}
			opened()
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { open.Wait(); cancel() }()
	<-ctx.Done()
	faults.Range(func(_, e any) bool { err = e.(error); return false })
	if err == nil && events.Load() < int64(n) {
		err = fmt.Errorf("%d streams of %d have begun", events.Load(), n)
	}
	return conns, events, err
}

// parked is how many jobs the worker has.
func parked(s *target.Server) (int, error) {
	c, err := s.Dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	page, err := c.Metrics()
	return int(page.Value("modelserver_running_jobs")), err
}
