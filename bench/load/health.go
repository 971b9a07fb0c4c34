package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"remote-client-server/bench/load/report"
	"remote-client-server/bench/load/stats"
	"remote-client-server/bench/load/target"
)

// Health is asked every healthPeriod, on time even while earlier questions are
// still open.
const (
	healthPeriod = 5 * time.Millisecond
	healthP99    = 5 // milliseconds
)

// health keeps the model busy with large batches and asks for the server's
// health meanwhile. Questions that this program sends late, because the model
// has all cores, count from when they were sent.
func health(o *options) (all []report.Measure, err error) {
	s, err := o.start()
	if err != nil {
		return nil, err
	}
	defer stop(s, &err)
	var flood sync.WaitGroup
	stopFlood := make(chan struct{})
	faults := make(chan error, floodClients)
	answered := make(chan int, floodClients)
	for range floodClients {
		flood.Go(func() {
			n, err := floodUntil(s, stopFlood)
			answered <- n
			faults <- err
		})
	}
	took, late, askErr := askHealth(s, o.length)
	close(stopFlood)
	flood.Wait()
	batches := 0
	for range floodClients {
		batches += <-answered
		if err := <-faults; err != nil {
			return nil, fmt.Errorf("a large batch: %w", err)
		}
	}
	if askErr != nil {
		return nil, fmt.Errorf("health: %w", askErr)
	}
	return []report.Measure{
		report.Plain("p50", stats.Quantile(took, 0.5), "ms"),
		report.AtMost("p99", stats.Quantile(took, 0.99), "ms", healthP99),
		report.Plain("max", stats.Quantile(took, 1), "ms"),
		report.Plain("asked", float64(len(took)), ""),
		report.Plain("asked late by this program, p99", stats.Quantile(late, 0.99), "ms"),
		report.Plain("large batches meanwhile", float64(batches), ""),
	}, nil
}

// floodClients is how many clients keep the model busy: while the answer of one
// is on its way, the other's batch computes.
const floodClients = 2

// largeBatch is a request that keeps the model busy for long.
func largeBatch(texts, words int) []byte {
	list := make([]string, texts)
	for i := range list {
		list[i] = strings.Repeat("sunflower ", words)
	}
	body, err := json.Marshal(map[string]any{"input": list, "encoding_format": "base64"})
	if err != nil {
		panic(err) // strings are always JSON
	}
	return target.Message("POST", "/v1/embeddings", string(body))
}

// floodUntil sends one large batch after the other and returns how many were
// answered.
func floodUntil(s *target.Server, stop <-chan struct{}) (int, error) {
	c, err := s.Dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	message := largeBatch(256, 120)
	for n := 0; ; n++ {
		select {
		case <-stop:
			return n, nil
		default:
		}
		a, err := c.Do(message)
		if err := a.Want(200, err); err != nil {
			return n, err
		}
	}
}

// askHealth asks on time for as long; took are the answers' times, late those
// from when a question was due until it was sent, in milliseconds.
func askHealth(s *target.Server, length time.Duration) (took, late []float64, err error) {
	message := target.Message("GET", "/api/health", "")
	conns := newPool(s)
	defer conns.close()
	var mu sync.Mutex
	var asking sync.WaitGroup
	everyTick(length, healthPeriod, func(due time.Time) {
		asking.Go(func() {
			c, e := conns.get()
			started := time.Now()
			if e == nil {
				var a target.Answer
				a, e = c.Do(message)
				e = a.Want(200, e)
			}
			ended := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = e
				if c != nil {
					c.Close()
				}
				return
			}
			conns.put(c)
			took = append(took, ended.Sub(started).Seconds()*1e3)
			late = append(late, started.Sub(due).Seconds()*1e3)
		})
	})
	asking.Wait()
	return took, late, err
}

// everyTick calls do once a period for as long, and catches up when it is late:
// the load does not slacken because the machine is busy.
func everyTick(length, period time.Duration, do func(due time.Time)) {
	start := time.Now()
	for due := start; due.Sub(start) < length; due = due.Add(period) {
		time.Sleep(time.Until(due))
		do(due)
	}
}

// pool keeps connections that are free.
type pool struct {
	s    *target.Server
	mu   sync.Mutex
	free []*target.Conn
}

func newPool(s *target.Server) *pool { return &pool{s: s} }

// get returns a free connection, or a new one.
func (p *pool) get() (*target.Conn, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.s.Dial()
}

func (p *pool) put(c *target.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, c)
}

func (p *pool) close() {
	for _, c := range p.free {
		c.Close()
	}
}
