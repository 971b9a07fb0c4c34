// Package pages holds what a browser is shown: a page on which a person tries
// the loaded model, and the API's description as a document, in Swagger UI and
// in ReDoc. All of it is in the binary; no page loads anything from another
// host, which each page's policy makes the browser enforce.
//
// Every address in the pages is relative to the page, so they work under any
// prefix that a proxy puts in front. generate.sh fetches and packs the parts that
// are other people's; openapi.json is written by hand.
package pages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed *.html openapi.json assets thirdparty
var files embed.FS

// File is one static answer. Its fields are shared and must not be changed.
type File struct {
	Type string // Content-Type
	Gzip []byte // the body, gzipped
	Size int    // bytes of the body as it is
	// ETag is weak: both encodings of the body share it. Nothing in an address
	// tells versions apart, so clients should ask each time (no-cache).
	ETag   string
	Policy string // Content-Security-Policy
}

// Find returns the file that answers GET path; path begins with a slash.
func Find(path string) (*File, bool) {
	f, ok := all()[path]
	return f, ok
}

// Paths lists the paths of all files in alphabetical order.
func Paths() []string { return slices.Sorted(maps.Keys(all())) }

// Policies. Swagger UI and ReDoc write style elements, hold their icons in
// data: addresses, and ReDoc searches in a worker that it makes of a blob. Our
// own page needs none of that; there the browser also refuses any text that a
// script puts in as HTML.
const (
	policy     = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
	tryPolicy  = policy + "style-src 'self'; img-src 'self'; require-trusted-types-for 'script'"
	docsPolicy = policy + "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
	filePolicy = "default-src 'none'; frame-ancestors 'none'"
)

// documents are the pages that have a path of their own.
var documents = map[string]struct{ path, policy string }{
	"index.html":   {"/", tryPolicy},
	"docs.html":    {"/docs", docsPolicy},
	"redoc.html":   {"/redoc", docsPolicy},
	"openapi.json": {"/openapi.json", filePolicy},
}

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// all packs the files on the first request for one, which takes milliseconds.
// The large ones, which are other people's, are packed in the binary.
var all = sync.OnceValue(func() map[string]*File {
	found := map[string]*File{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		plain, packed := strings.CutSuffix(name, ".gz")
		at, rules := "/assets/"+strings.TrimPrefix(strings.TrimPrefix(plain, "assets/"), "thirdparty/"), filePolicy
		if doc, ok := documents[name]; ok {
			at, rules = doc.path, doc.policy
		}
		if !packed {
			body = pack(body)
		}
		sum := sha256.Sum256(body)
		found[at] = &File{
			Type: types[path.Ext(plain)], Gzip: body, Policy: rules,
			Size: int(binary.LittleEndian.Uint32(body[len(body)-4:])), // RFC 1952, section 2.3.1
			ETag: `W/"` + hex.EncodeToString(sum[:12]) + `"`,
		}
		return nil
	})
	if err != nil { // of files in the binary: none is possible
		panic(err)
	}
	return found
})

// pack compresses b. Writing to memory does not fail.
func pack(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}
