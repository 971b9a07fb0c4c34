package target

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Message is a request as it goes over the wire. The header lines are written
// as they are.
func Message(method, path, body string, header ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for _, line := range header {
		b.WriteString(line + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// Conn is one connection, with as little between it and the clock as there can
// be.
type Conn struct {
	net.Conn
	r *bufio.Reader
}

// Answer is an answer that was read to its end.
type Answer struct {
	Status int
	Retry  time.Duration // of Retry-After
	Close  bool          // the server will close the connection
	Body   []byte
}

// Want is err, or what is wrong when the answer is not one of this status.
func (a Answer) Want(status int, err error) error {
	if err == nil && a.Status != status {
		err = fmt.Errorf("answered %d instead of %d: %.300s", a.Status, status, a.Body)
	}
	return err
}

// answerTime bounds an exchange: a server that hangs must not hang the tool.
const answerTime = 2 * time.Minute

// Dial opens a connection.
func (s *Server) Dial() (*Conn, error) {
	c, err := net.Dial("tcp", s.Address)
	if err != nil {
		return nil, err
	}
	return &Conn{c, bufio.NewReader(c)}, nil
}

// Send writes a request.
func (c *Conn) Send(message []byte) error {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err := c.Write(message)
	return err
}

// Head reads the header of the answer to a GET or POST; the body is still to be
// read.
func (c *Conn) Head() (*http.Response, error) { return http.ReadResponse(c.r, nil) }

// Do sends a request and reads the answer.
func (c *Conn) Do(message []byte) (Answer, error) {
	if err := c.Send(message); err != nil {
		return Answer{}, err
	}
	method, _, _ := bytes.Cut(message, []byte(" "))
	return read(c.r, string(method))
}

// read reads the answer to a request.
func read(r *bufio.Reader, method string) (Answer, error) {
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	a := Answer{Status: res.StatusCode, Close: res.Close}
	if word := res.Header.Get("Retry-After"); word != "" {
		seconds, err := strconv.Atoi(word)
		if err != nil || seconds < 0 {
			return a, fmt.Errorf("the header Retry-After is %q", word)
		}
		a.Retry = time.Duration(seconds) * time.Second
	}
	a.Body, err = io.ReadAll(res.Body)
	return a, err
}

// Ask sends one request over a connection of its own.
func (s *Server) Ask(method, path, body string, header ...string) (Answer, error) {
	c, err := s.Dial()
	if err != nil {
		return Answer{}, err
	}
	defer c.Close()
	return c.Do(Message(method, path, body, header...))
}

// Metrics is a page of metrics.
type Metrics []byte

// Metrics reads the server's page over this connection.
func (c *Conn) Metrics() (Metrics, error) {
	a, err := c.Do(metricsMessage)
	if err == nil && a.Status != 200 {
		err = fmt.Errorf("/metrics answers %d", a.Status)
	}
	return a.Body, err
}

var metricsMessage = Message("GET", "/metrics", "")

// Value is the value of one sample, named with its labels as the page has it; 0
// if it is not there.
func (m Metrics) Value(sample string) float64 {
	if v := m.with(sample + " "); len(v) > 0 {
		return v[0]
	}
	return 0
}

// Sum is the sum over all samples that begin so.
func (m Metrics) Sum(prefix string) float64 {
	sum := 0.0
	for _, v := range m.with(prefix) {
		sum += v
	}
	return sum
}

// with are the values of the samples that begin so.
func (m Metrics) with(prefix string) []float64 {
	var values []float64
	for rest := []byte(m); ; {
		i := bytes.Index(rest, []byte(prefix))
		if i < 0 {
			return values
		}
		begins := i == 0 || rest[i-1] == '\n'
		line, after, _ := bytes.Cut(rest[i:], []byte("\n"))
		rest = after
		if !begins {
			continue
		}
		s := string(line)
		if v, err := strconv.ParseFloat(s[strings.LastIndexByte(s, ' ')+1:], 64); err == nil {
			values = append(values, v)
		}
	}
}
