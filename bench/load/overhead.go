package main

import (
	"fmt"
	"sync"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/stats"
	"remote-client-server/bench/load/target"
)

// Goals of what the server adds to its model's time, in milliseconds.
const (
	overheadP50 = 0.5
	overheadP99 = 3
)

// embedOne is the request that is timed.
var embedOne = target.Message("POST", "/v1/embeddings", `{"input":"hello there","encoding_format":"base64"}`)

// overhead measures the real binary with its built-in model. A client alone can
// tell a request's own model time, by the metrics before and after it; what is
// left of the round trip is the server's, the kernel's and the client's. Of
// eight at once only the means can be told apart.
func overhead(o *options) (all []report.Measure, err error) {
	s, err := o.start()
	if err != nil {
		return nil, err
	}
	defer stop(s, &err)
	idlers, err := idleConns(s, o.idlers)
	if err != nil {
		return nil, err
	}
	one, err := overheadOfOne(s, o.length/2)
	if err != nil {
		return nil, err
	}
	eight, err := overheadOfEight(s, o.length/2)
	if err != nil {
		return nil, err
	}
	open, err := closeAll(idlers)
	if err != nil {
		return nil, err
	}
	return append(append(one, eight...), report.Plain("connections that idled", float64(open), "")), nil
}

// idleConns opens connections that ask something once and keep still.
func idleConns(s *target.Server, n int) ([]*target.Conn, error) {
	health := target.Message("GET", "/api/health", "")
	conns := make([]*target.Conn, n)
	for i := range conns {
		c, err := s.Dial()
		if err != nil {
			return nil, err
		}
		a, err := c.Do(health)
		if err := a.Want(200, err); err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		conns[i] = c
	}
	return conns, nil
}

// closeAll closes the connections, all of which must still be open.
func closeAll(conns []*target.Conn) (open int, err error) {
	health := target.Message("GET", "/api/health", "")
	for _, c := range conns {
		a, err := c.Do(health)
		if err := a.Want(200, err); err != nil {
			return 0, fmt.Errorf("an idle connection: %w", err)
		}
		open++
		c.Close()
	}
	return open, nil
}

// stop ends the server; that it ends well belongs to the measurement.
func stop(s *target.Server, err *error) {
	if e := s.Stop(); *err == nil {
		*err = e
	}
}

// warmUp is how many requests go ahead of those that count.
const warmUp = 200

func overheadOfOne(s *target.Server, length time.Duration) ([]report.Measure, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	const (
		model = `modelserver_job_duration_seconds_sum{outcome="done"}`
		wait  = `modelserver_queue_wait_seconds_sum`
		took  = `modelserver_request_duration_seconds_sum{route="embeddings"}`
	)
	var trips, over, inside, waited []float64 // milliseconds
	before, err := c.Metrics()
	var end time.Time // the length counts from the first request that does
	for n := 0; err == nil && (n <= warmUp+1 || time.Now().Before(end)); n++ {
		started := time.Now()
		if n == warmUp {
			end = started.Add(length)
		}
		var a target.Answer
		a, err = c.Do(embedOne)
		trip := time.Since(started).Seconds() * 1e3
		if err := a.Want(200, err); err != nil {
			return nil, err
		}
		var after target.Metrics
		if after, err = c.Metrics(); err != nil {
			return nil, err
		}
		if n > warmUp {
			own := (after.Value(model) - before.Value(model)) * 1e3
			trips, over = append(trips, trip), append(over, trip-own)
			inside = append(inside, (after.Value(took)-before.Value(took))*1e3-own)
			waited = append(waited, (after.Value(wait)-before.Value(wait))*1e3)
		}
		before = after
	}
	if err != nil {
		return nil, err
	}
	return []report.Measure{
		report.AtMost("1 client, round trip without the model, p50", stats.Quantile(over, 0.5), "ms", overheadP50),
		report.AtMost("1 client, round trip without the model, p99", stats.Quantile(over, 0.99), "ms", overheadP99),
		report.Plain("1 client, round trip without the model, p99.9", stats.Quantile(over, 0.999), "ms"),
		report.Plain("1 client, the server's part of it, p50", stats.Quantile(inside, 0.5), "ms"),
		report.Plain("1 client, the server's part of it, p99", stats.Quantile(inside, 0.99), "ms"),
		report.Plain("1 client, until the worker has the job, p50", stats.Quantile(waited, 0.5), "ms"),
		report.Plain("1 client, until the worker has the job, p99", stats.Quantile(waited, 0.99), "ms"),
		report.Plain("1 client, round trip, p50", stats.Quantile(trips, 0.5), "ms"),
		report.Plain("1 client, round trip, p99", stats.Quantile(trips, 0.99), "ms"),
		report.Plain("1 client, requests", float64(len(trips)), ""),
	}, nil
}

func overheadOfEight(s *target.Server, length time.Duration) ([]report.Measure, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	before, err := c.Metrics()
	if err != nil {
		return nil, err
	}
	trips, err := closedLoop(s, 8, length, embedOne)
	if err != nil {
		return nil, err
	}
	after, err := c.Metrics()
	if err != nil {
		return nil, err
	}
	n := float64(len(trips))
	mean := func(sample string) float64 { return (after.Value(sample) - before.Value(sample)) / n * 1e3 }
	model, wait := mean(`modelserver_job_duration_seconds_sum{outcome="done"}`), mean(`modelserver_queue_wait_seconds_sum`)
	return []report.Measure{
		report.Plain("8 clients, round trip without model and queue, mean", stats.Mean(trips)-model-wait, "ms"),
		report.Plain("8 clients, round trip, p50", stats.Quantile(trips, 0.5), "ms"),
		report.Plain("8 clients, round trip, p99", stats.Quantile(trips, 0.99), "ms"),
		report.Plain("8 clients, round trip, p99.9", stats.Quantile(trips, 0.999), "ms"),
		report.Plain("8 clients, requests", n, ""),
	}, nil
}

// closedLoop has n clients that each ask again when they are answered, and
// returns the times of all round trips in milliseconds. Each answer must be a
// 200.
func closedLoop(s *target.Server, n int, length time.Duration, message []byte) ([]float64, error) {
	trips := make([][]float64, n)
	faults := make([]error, n)
	var clients sync.WaitGroup
	end := time.Now().Add(length)
	for i := range n {
		clients.Go(func() {
			c, err := s.Dial()
			if err != nil {
				faults[i] = err
				return
			}
			defer c.Close()
			for first := true; first || time.Now().Before(end); first = false {
				started := time.Now()
				a, err := c.Do(message)
				if faults[i] = a.Want(200, err); faults[i] != nil {
					return
				}
				trips[i] = append(trips[i], time.Since(started).Seconds()*1e3)
			}
		})
	}
	clients.Wait()
	var all []float64
	for i := range n {
		if faults[i] != nil {
			return nil, faults[i]
		}
		all = append(all, trips[i]...)
	}
	return all, nil
}
