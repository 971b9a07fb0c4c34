package http

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"strings"

	"github.com/valyala/fasthttp"

	"remote-client-server/http/pages"
)

// page answers with one of the embedded files. They are stored compressed and
// sent so to whoever takes that.
func (c *call) page() {
	f, ok := pages.Find(c.to.id)
	if !ok { // the router found it
		c.fail(failure{status: fasthttp.StatusNotFound, message: "Not Found"})
		return
	}
	h := &c.ctx.Response.Header
	h.Set("ETag", f.ETag)
	h.Set("Cache-Control", "no-cache") // ask each time: a new version has the same addresses
	h.Set("Vary", "Origin, Accept-Encoding")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", f.Policy)
	if matches(string(c.ctx.Request.Header.Peek("If-None-Match")), f.ETag) {
		c.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	c.ctx.SetContentType(f.Type)
	if c.ctx.Request.Header.HasAcceptEncoding("gzip") {
		h.Set("Content-Encoding", "gzip")
		c.ctx.Response.SetBodyRaw(f.Gzip)
		return
	}
	b, err := unpack(f)
	if err != nil { // of a file in the binary
		slog.Error("a page cannot be unpacked", "error", err)
		c.fail(failure{status: fasthttp.StatusInternalServerError, code: "internal_error", message: "internal error"})
		return
	}
	c.ctx.Response.SetBodyRaw(b)
}

// matches says whether an If-None-Match names the tag, compared weakly (RFC
// 9110, section 13.1.2).
func matches(header, tag string) bool {
	opaque := func(s string) string { return strings.TrimPrefix(strings.TrimSpace(s), "W/") }
	for word := range strings.SplitSeq(header, ",") {
		if w := opaque(word); w == "*" || w != "" && w == opaque(tag) {
			return true
		}
	}
	return false
}

func unpack(f *pages.File) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, f.Size)
	out := bytes.NewBuffer(b)
	_, err = io.Copy(out, r)
	return out.Bytes(), err
}
