package http

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"remote-client-server/http/pages"
)

func TestPages(t *testing.T) {
	h := closed(t) // they are there before the model is
	for _, path := range pages.Paths() {
		f, _ := pages.Find(path)
		plain := h.do("GET", path, "", "Accept-Encoding: identity")
		if plain.status != 200 || len(plain.body) != f.Size || plain.header.Get("Content-Encoding") != "" || plain.header.Get("Content-Type") != f.Type {
			t.Errorf("%s: %d, %d bytes of %d, %v", path, plain.status, len(plain.body), f.Size, plain.header)
		}
		if p := plain.header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, p)
		}
		packed := h.do("GET", path, "", "Accept-Encoding: br, gzip")
		r, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil || packed.header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v, %v", path, err, packed.header)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, []byte(plain.body)) {
			t.Errorf("%s: the two forms differ (%v)", path, err)
		}
		tag := plain.header.Get("ETag")
		for _, match := range []string{tag, "*", `"x", ` + tag, strings.TrimPrefix(tag, "W/")} {
			if a := h.do("GET", path, "", "If-None-Match: "+match); a.status != 304 || a.body != "" || a.header.Get("ETag") != tag {
				t.Errorf("%s: If-None-Match %s: %d", path, match, a.status)
			}
		}
		if a := h.do("GET", path, "", `If-None-Match: "x"`); a.status != 200 {
			t.Errorf("%s: another tag: %d", path, a.status)
		}
		if a := h.do("HEAD", path, ""); a.status != 200 || a.body != "" {
			t.Errorf("%s: HEAD: %d", path, a.status)
		}
		if a := h.do("GET", "/tiny"+path, "", "Accept-Encoding: identity"); a.body != plain.body {
			t.Errorf("%s: not behind the model's name: %d", path, a.status)
		}
	}
}
