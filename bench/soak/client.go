package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"remote-client-server/bench/load/target"
)

// client does one thing after the other, over a connection that it keeps.
type client struct {
	s      *target.Server
	ledger *ledger
	rng    *rand.Rand
	name   string
	jobs   int // that were named so far
	conn   *target.Conn
}

func newClient(s *target.Server, l *ledger, seed, number uint64) *client {
	return &client{s: s, ledger: l, rng: rand.New(rand.NewPCG(seed, number)), name: fmt.Sprintf("soak-%d-%d", seed, number)}
}

// run chooses actions until stop is closed, and pauses between them.
func (c *client) run(stop <-chan struct{}) {
	defer c.hangUp()
	all := 0
	for _, a := range actions {
		all += a.weight
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(c.rng.IntN(20)) * time.Millisecond):
		}
		at := c.rng.IntN(all)
		for _, a := range actions {
			if at -= a.weight; at >= 0 {
				continue
			}
			if err := a.do(c); err != nil {
				c.ledger.fault(fmt.Errorf("%s: %w", a.name, err))
				c.hangUp()
			}
			break
		}
	}
}

// dial returns the connection, a new one if there is none.
func (c *client) dial() (*target.Conn, error) {
	if c.conn == nil {
		conn, err := c.s.Dial()
		if err != nil {
			return nil, err
		}
		c.conn = conn
	}
	return c.conn, nil
}

// hangUp closes the connection, whatever is under way on it.
func (c *client) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// ask sends a request to a route, which the metrics call so, and demands one of
// the statuses.
func (c *client) ask(route string, message []byte, statuses ...int) (target.Answer, error) {
	conn, err := c.dial()
	if err != nil {
		return target.Answer{}, err
	}
	a, err := conn.Do(message)
	if err != nil {
		c.ledger.cutOff(route)
		return a, err
	}
	if a.Close {
		c.hangUp()
	}
	return a, c.judge(route, a.Status, a.Body, statuses)
}

// judge notes an answer and says whether it may be.
func (c *client) judge(route string, status int, body []byte, statuses []int) error {
	c.ledger.saw(route, status)
	for _, s := range statuses {
		if s == status {
			return nil
		}
	}
	return fmt.Errorf("%s: answered %d instead of %v: %.200s", route, status, statuses, body)
}

// job is a name for a request that its job can be found by.
func (c *client) job() string {
	c.jobs++
	return fmt.Sprintf("%s-%d", c.name, c.jobs)
}

var words = strings.Fields("a train leaves the old station at noon while rain falls softly over gardens of red tomatoes and nobody remembers which key opened that door")

// text makes a text of some words.
func (c *client) text(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = words[c.rng.IntN(len(words))]
	}
	return strings.Join(list, " ")
}

// body makes the body of an embeddings request.
func (c *client) body(texts, words int, fields ...string) string {
	list := make([]string, texts)
	for i := range list {
		list[i] = c.text(words)
	}
	input, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return `{"input":` + string(input) + strings.Join(fields, "") + `}`
}

// pick chooses one of several.
func pick[T any](c *client, list ...T) T { return list[c.rng.IntN(len(list))] }

// readEvents reads a stream of events to its end and returns the last status;
// after most events, if that is above 0, it stops.
func readEvents(body io.Reader, most int) (last string, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<20)
	for n := 0; lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			if lines.Text() != "" {
				return last, fmt.Errorf("the line %.100q is no event", lines.Text())
			}
			continue
		}
		var event struct{ Status string }
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return last, fmt.Errorf("%w: %.200s", err, data)
		}
		last = event.Status
		if n++; n == most {
			return last, nil
		}
	}
	if lines.Err() != nil {
		return last, lines.Err()
	}
	if last == "" {
		return last, errors.New("a stream without events")
	}
	return last, nil
}
