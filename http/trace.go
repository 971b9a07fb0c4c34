package http

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// trace is by what a request is told from others: the client's X-Request-Id or
// a new one, and the trace of a traceparent (W3C Trace Context, level 1).
type trace struct {
	request string
	id      string // of the trace, 32 hexadecimal digits, or ""
}

// follow reads who the request is and writes it into the answer. This server's
// part of a trace gets a span of its own.
func follow(ctx *fasthttp.RequestCtx) trace {
	in, out := &ctx.Request.Header, &ctx.Response.Header
	var t trace
	if id := in.Peek("X-Request-Id"); printable(id) {
		t.request = string(id)
	} else {
		t.request = randomHex(16)
	}
	out.Set("X-Request-Id", t.request)
	if id, flags, ok := parseTraceparent(string(in.Peek("traceparent"))); ok {
		t.id = id
		out.Set("traceparent", "00-"+id+"-"+randomHex(8)+"-"+flags)
	}
	return t
}

// parseTraceparent reads version-traceid-parentid-flags. A later version may
// have more behind; one with a fault counts as absent, as the standard says.
func parseTraceparent(s string) (id, flags string, ok bool) {
	const size = 55
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", "", false
	}
	version, id, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	for _, part := range []string{version, id, parent, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return "", "", false
		}
	}
	switch {
	case version == "ff", version == "00" && len(s) > size, len(s) > size && s[size] != '-':
		return "", "", false
	case strings.Trim(id, "0") == "", strings.Trim(parent, "0") == "":
		return "", "", false
	}
	return id, flags, true
}

// printable says whether a client's id may be repeated in headers and logs.
func printable(id []byte) bool {
	for _, b := range id {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 128
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}

// tell logs an answer: faults of the server as warnings, the rest for those who
// look closely. No line holds a path, a header or a body, which may be secret:
// the route is one of a fixed set.
func (c *call) tell(status int) {
	level := slog.LevelDebug
	if status >= 500 && status != fasthttp.StatusServiceUnavailable {
		level = slog.LevelWarn
	}
	if !slog.Default().Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("route", c.to.route.String()), slog.Int("status", status),
		slog.Duration("took", time.Since(c.started)), slog.String("request", c.trace.request),
	}
	if c.job != "" {
		attrs = append(attrs, slog.String("job", c.job))
	}
	if c.trace.id != "" {
		attrs = append(attrs, slog.String("trace", c.trace.id))
	}
	slog.LogAttrs(context.Background(), level, "answered", attrs...)
}

// maxTimeout is the longest time that a client may set.
const maxTimeout = 24 * time.Hour

// deadline reads the header X-Request-Timeout: within how many seconds of its
// arrival the client wants the answer, waiting included; 0 is not given.
func (c *call) deadline() (time.Time, error) {
	word := strings.TrimSpace(string(c.ctx.Request.Header.Peek("X-Request-Timeout")))
	if word == "" {
		return time.Time{}, nil
	}
	s, err := strconv.ParseFloat(word, 64)
	if err != nil || !(s > 0 && s <= maxTimeout.Seconds()) {
		return time.Time{}, bad("X-Request-Timeout", "must be seconds above 0, at most %.0f", maxTimeout.Seconds())
	}
	return c.started.Add(time.Duration(s * float64(time.Second))), nil
}
