package http

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"remote-client-server/runtime/queue"
)

// Faults of the wire. TestFaultNN is the fault of that number in the table of
// faults (faulttable_test.go beside main.go); each ends with a server that is
// healthy.

// healthy sends what every healthy server answers.
func (h *house) healthy() {
	h.t.Helper()
	if a := h.do("GET", "/api/health", ""); a.status != 200 || a.body != `{"status":"ok"}` {
		h.t.Errorf("health: %d %s", a.status, a.body)
	}
	if a := h.post("/v1/embeddings", one); a.status != 200 || !strings.Contains(a.body, `"embedding":[1,97,0.5,-0.25]`) {
		h.t.Errorf("the next request: %d %s", a.status, a.body)
	}
}

// raw sends bytes and returns all that comes back until the server closes.
func (h *house) raw(bytes string) string {
	h.t.Helper()
	c := h.dial(bytes)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(c)
	if err != nil {
		h.t.Errorf("%v behind %.300s", err, b)
	}
	return string(b)
}

func TestFault01_HugeHeader(t *testing.T) {
	h := open(t)
	for name, head := range map[string]string{
		"a byte past the buffer": "GET /api/health HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", headerBytes),
		"one of a megabyte":      "GET /api/health HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", 1<<20),
		"a megabyte of many":     "GET /api/health HTTP/1.1\r\nHost: x" + strings.Repeat("\r\nX-Many: x", 1<<20/11),
		"a path of a megabyte":   "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x",
		"with a body behind":     "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nX-Big: " + strings.Repeat("x", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			got := h.raw(head + "\r\n\r\n")
			_, body, _ := strings.Cut(got, "\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 431 ") || !strings.HasPrefix(body, `{"detail":"the header is larger than 16384 bytes"`) {
				t.Errorf("%.400s", got)
			}
		})
	}
	h.healthy()
}

// TestFault02_SlowClients has clients that send a byte now and then: the time
// is for the whole, so that does not help.
func TestFault02_SlowClients(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) {
		o.times = times{header: 200 * time.Millisecond, body: 200 * time.Millisecond, idle: 200 * time.Millisecond}
	})
	for name, send := range map[string]string{
		"nothing":            "",
		"a slow method":      "P",
		"a slow header":      "GET /api/health HTTP/1.1\r\nX-Slow: ",
		"a slow body":        "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"slow chunks":        "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"one slow chunk":     "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
		"a slow large body":  "POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 100_000),
		"a body nobody asks": "GET /api/health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := h.dial(send)
			ended := make(chan struct{})
			go func() { // a byte now and then
				drip := "x"
				if name == "slow chunks" {
					drip = "1\r\n \r\n"
				}
				for send != "" {
					select {
					case <-ended:
						return
					case <-time.After(20 * time.Millisecond):
						if _, err := io.WriteString(c, drip); err != nil {
							return
						}
					}
				}
			}()
			c.SetReadDeadline(time.Now().Add(time.Minute))
			b, err := io.ReadAll(c)
			close(ended)
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection stays open")
			}
			// The answer may be lost in the reset that a byte sent after the end causes.
			if len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 408 ")) && name != "a body nobody asks" {
				t.Errorf("%.300s", b)
			}
		})
	}
	t.Cleanup(h.healthy) // runs behind the parallel ones
}

// TestFault04_CompressedBody sends what would be 64 MiB. It is not inflated: no
// body may be compressed.
func TestFault04_CompressedBody(t *testing.T) {
	h := open(t)
	var bomb bytes.Buffer
	w, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	block := bytes.Repeat([]byte{' '}, 1<<20)
	for range 64 {
		w.Write(block)
	}
	w.Close()
	before := allocated()
	for _, path := range []string{"/v1/embeddings", "/api/generate", "/tokenize", "/v2/models/tiny/infer"} {
		for _, coding := range []string{"gzip", "GZIP", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x-gzip"} {
			a := h.do("POST", path, bomb.String(), "Content-Encoding: "+coding)
			if a.status != 415 || !strings.Contains(a.body, "compressed") {
				t.Errorf("%s %s: %d %s", path, coding, a.status, a.body)
			}
		}
		if a := h.post(path, bomb.String()); a.status != 400 { // undeclared, it is no JSON
			t.Errorf("%s, undeclared: %d %s", path, a.status, a.body)
		}
	}
	if n := allocated() - before; n > 256<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
	h.healthy()
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestFault05_OneByteChunks sends a body in a million chunks.
func TestFault05_OneByteChunks(t *testing.T) {
	h := open(t, func(o *Options, _ *queue.Options) { o.MaxBody = 1 << 20 })
	send := func(chunks int) string {
		const head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + one + "\r\n"
		c := h.dial(head)
		go func() {
			some := strings.Repeat("1\r\n \r\n", 1000)
			for range chunks / 1000 {
				if _, err := io.WriteString(c, some); err != nil {
					return
				}
			}
			io.WriteString(c, "0\r\n\r\n")
		}()
		b, _ := io.ReadAll(c)
		return string(b)
	}
	before := allocated()
	if got := send(1_000_000); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("%.300s", got)
	}
	if got := send(2_000_000); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("past the limit: %.300s", got)
	}
	if n := allocated() - before; n > 32<<20 { // all that both took together, freed or not
		t.Errorf("%d MiB were allocated", n>>20)
	}
	eventually(t, "the room is free again", func() bool { return h.bodies.used.Load() == 0 })
	h.healthy()
}

func TestFault06_TruncatedBody(t *testing.T) {
	h := open(t)
	for name, send := range map[string]string{
		"shorter than its length": "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + one,
		"no byte of it":           "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"large":                   "POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 500_000),
		"no last chunk":           "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + one + "\r\n",
		"half a chunk":            "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + one[:5],
		"half a chunk's size":     "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"a chunk that is none":    "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial(send)
			c.(*net.TCPConn).CloseWrite()
			b, err := io.ReadAll(c)
			if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) {
				t.Errorf("%v %.300s", err, b)
			}
		})
	}
	if len(h.notes.jobs) > 0 {
		t.Errorf("jobs were made: %v", h.notes.jobs)
	}
	h.healthy()
}

func TestFault07_WrongMethodRouteOrType(t *testing.T) {
	h := open(t)
	for _, path := range []string{"/api/embeddings", "/v1/embeddings", "/openai/v1/embeddings", "/api/generate", "/tokenize", "/detokenize", "/v2/models/tiny/infer"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"} {
			if a := h.do(method, path, ""); a.status != 405 || a.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: %d %v", method, path, a.status, a.header)
			}
		}
		for _, kind := range []string{"image/png", "multipart/form-data; boundary=x", "application/xml", "application/grpc", "text/html", "application/jsonp"} {
			a := h.do("POST", path, one, "Content-Type: "+kind)
			if a.status != 415 || !strings.Contains(a.body, "the content type must be application/json") {
				t.Errorf("%s as %s: %d %s", path, kind, a.status, a.body)
			}
		}
		for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"} {
			if a := h.do("POST", path, one, "Content-Type: "+kind); a.status == 415 {
				t.Errorf("%s as %s: %d", path, kind, a.status)
			}
		}
	}
	for _, path := range []string{"/", "/api/health", "/api/status", "/metrics", "/v1/models", "/v2", "/openapi.json"} {
		if a := h.do("POST", path, one); a.status != 405 || a.header.Get("Allow") != "GET" {
			t.Errorf("POST %s: %d %v", path, a.status, a.header)
		}
	}
	for _, path := range []string{"/nothing", "/api", "/api/nothing", "/v1/nothing", "/v3/models", "//api/nothing", "/api/embeddings/1", "/%00", "/api/health%00"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if a := h.do(method, path, ""); a.status != 404 || !strings.HasPrefix(a.body, `{"detail":"Not Found"`) {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	h.healthy()
}

// TestFault08_Smuggling sends requests whose end two servers could see in two
// places. None is answered but with 400, and what stands behind is never taken
// for a request: it would be a DELETE, which the observer would hear of.
func TestFault08_Smuggling(t *testing.T) {
	const behind = "DELETE /v1/embeddings HTTP/1.1\r\nHost: x\r\n\r\n"
	chunks := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	for _, c := range []struct{ name, head, body string }{
		{"a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked", chunks(one)},
		{"chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 4", chunks(one)},
		{"chunks and the length of their text", fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d", len(chunks(one))), chunks(one)},
		{"a length of 0 and chunks", "Content-Length: 0\r\nTransfer-Encoding: chunked", chunks(one)},
		{"two lengths", "Content-Length: 13\r\nContent-Length: 0", one},
		{"one length twice", "Content-Length: 13\r\nContent-Length: 13", one},
		{"two lengths in one", "Content-Length: 13, 13", one},
		{"a length with a sign", "Content-Length: +13", one},
		{"a negative length", "Content-Length: -13", one},
		{"a hexadecimal length", "Content-Length: 0xd", one},
		{"a length with a blank in it", "Content-Length: 1 3", one},
		{"an empty length", "Content-Length: ", one},
		{"a length past all integers", "Content-Length: 18446744073709551629", one},
		{"two codings", "Transfer-Encoding: chunked, identity", chunks(one)},
		{"two codings, chunked last", "Transfer-Encoding: gzip, chunked", chunks(one)},
		{"two codings in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", chunks(one)},
		{"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks(one)},
		{"identity", "Transfer-Encoding: identity\r\nContent-Length: 13", one},
		{"identity alone", "Transfer-Encoding: identity", one},
		{"an unknown coding", "Transfer-Encoding: xchunked", chunks(one)},
		{"a coding in quotes", `Transfer-Encoding: "chunked"`, chunks(one)},
		{"an empty coding", "Transfer-Encoding: ", chunks(one)},
		{"a coding behind a vertical tab", "Transfer-Encoding: \vchunked", chunks(one)},
		{"a coding with a parameter", "Transfer-Encoding: chunked;x=1", chunks(one)},
		{"a blank before the colon", "Content-Length : 13", one},
		{"a blank before the coding's colon", "Transfer-Encoding : chunked", chunks(one)},
		{"a tab before the colon", "Transfer-Encoding\t: chunked", chunks(one)},
		{"a folded field", "X-A: b\r\n Content-Length: 0\r\nContent-Length: 13", one},
		{"a folded coding", "Transfer-Encoding:\r\n chunked", chunks(one)},
		{"a folded length", "Content-Length:\r\n\t13", one},
		{"a bare LF", "X-A: b\nTransfer-Encoding: chunked", chunks(one)},
		{"a bare LF before a length", "X-A: b\nContent-Length: 13", one},
		{"a bare CR", "X-A: b\rTransfer-Encoding: chunked", chunks(one)},
		{"a NUL in a value", "X-A: b\x00\r\nContent-Length: 13", one},
		{"no colon", "Content-Length 13", one},
		{"an empty name", ": x\r\nContent-Length: 13", one},
		{"a coding of HTTP/1.0", "HTTP/1.0", chunks(one)},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			send := "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + c.head + "\r\n\r\n" + c.body + behind
			if c.head == "HTTP/1.0" {
				send = "POST /v1/embeddings HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + c.body + behind
			}
			got := h.raw(send)
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.") != 1 || !strings.Contains(got, `"detail":"not a valid HTTP request"`) {
				t.Errorf("%s", got)
			}
			h.healthy()
			h.notes.mu.Lock()
			defer h.notes.mu.Unlock()
			for _, r := range h.notes.requests {
				if strings.HasSuffix(r, " 405") {
					t.Errorf("the request behind was executed: %v", h.notes.requests)
				}
			}
		})
	}
}

// TestFault08_SmuggledChunks hides the end of a body in its chunks.
func TestFault08_SmuggledChunks(t *testing.T) {
	const behind = "DELETE /v1/embeddings HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, chunks := range map[string]string{
		"a size with a sign":        "+d\r\n" + one + "\r\n0\r\n\r\n",
		"a size in Go's notation":   "0xd\r\n" + one + "\r\n0\r\n\r\n",
		"a size with an underscore": "0_d\r\n" + one + "\r\n0\r\n\r\n",
		"a blank before a size":     " d\r\n" + one + "\r\n0\r\n\r\n",
		"a negative size":           "-1\r\n" + one + "\r\n0\r\n\r\n",
		"a size past all integers":  "10000000000000000d\r\n" + one + "\r\n0\r\n\r\n",
		"a chunk longer than said":  "c\r\n" + one + "\r\n0\r\n\r\n",
		"no size":                   "\r\n" + one + "\r\n0\r\n\r\n",
		"a size that ends in LF":    "d\n" + one + "\r\n0\r\n\r\n",
		"a chunk that ends in LF":   "d\r\n" + one + "\n0\r\n\r\n",
		"a chunk that ends in two":  "d\r\n" + one + "xx0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			got := h.raw("POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + behind)
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.") != 1 {
				t.Errorf("%s", got)
			}
			h.healthy()
		})
	}
}

// TestFault08_BodyNobodyReads has a request hidden in a body that the route
// does not ask for.
func TestFault08_BodyNobodyReads(t *testing.T) {
	h := open(t)
	const hidden = "DELETE /v1/embeddings HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, path := range []string{"/api/health", "/nothing", "/v1/models/"} {
		c := h.dial(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%sGET /api/queue HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path, len(hidden), hidden))
		r := bufio.NewReader(c)
		for _, want := range []string{"", "queue_size 0"} {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(path, err)
			}
			b, _ := io.ReadAll(res.Body)
			if res.StatusCode == 405 || want != "" && string(b) != want {
				t.Errorf("%s: %d %s", path, res.StatusCode, b)
			}
		}
	}
	h.healthy()
}
