package pages

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// body unpacks a file.
func body(t *testing.T, at string) string {
	t.Helper()
	f, ok := Find(at)
	if !ok {
		t.Fatalf("%s is not there", at)
	}
	r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	return string(b)
}

func TestFiles(t *testing.T) {
	want := []string{
		"/", "/assets/api.js", "/assets/app.css", "/assets/app.js", "/assets/docs.css", "/assets/docs.js", "/assets/dom.js",
		"/assets/icon.svg", "/assets/panels/embed.js", "/assets/panels/heatmap.js", "/assets/panels/text.js", "/assets/redoc-start.js",
		"/assets/redoc.LICENSE.txt", "/assets/redoc.js", "/assets/swagger-ui.LICENSE.txt", "/assets/swagger-ui.css",
		"/assets/swagger-ui.js", "/docs", "/openapi.json", "/redoc",
	}
	if got := Paths(); !slices.Equal(got, want) {
		t.Errorf("paths\n%q, not\n%q", got, want)
	}
	tags := map[string]string{}
	for _, at := range Paths() {
		f, _ := Find(at)
		if n := len(body(t, at)); n != f.Size || n == 0 {
			t.Errorf("%s: %d bytes, Size %d", at, n, f.Size)
		}
		if f.Type == "" {
			t.Errorf("%s has no type", at)
		}
		if other, taken := tags[f.ETag]; taken || !strings.HasPrefix(f.ETag, `W/"`) {
			t.Errorf("%s has the ETag %s of %s", at, f.ETag, other)
		}
		tags[f.ETag] = at
		if !strings.HasPrefix(f.Policy, "default-src 'none'; ") || !strings.Contains(f.Policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", at, f.Policy)
		}
		if strings.Contains(f.Policy, "script-src") && strings.Contains(f.Policy, "script-src 'self' 'unsafe") {
			t.Errorf("%s: policy %q lets scripts stand in the page", at, f.Policy)
		}
	}
	for _, at := range []string{"", "docs", "/docs/", "/assets", "/assets/", "/generate.sh", "/assets/../openapi.json", "/thirdparty/redoc.js.gz"} {
		if _, ok := Find(at); ok {
			t.Errorf("%q is there", at)
		}
	}
}

// TestSize bounds what the pages add to the binary.
func TestSize(t *testing.T) {
	const most = 900e3
	sum := 0
	for _, at := range Paths() {
		f, _ := Find(at)
		sum += len(f.Gzip)
	}
	if sum > most {
		t.Errorf("%d bytes, more than %g", sum, most)
	}
}

// others are the files that are not ours.
func others(at string) bool {
	name, _, _ := strings.Cut(path.Base(at), ".")
	return name == "redoc" && at != "/redoc" || name == "swagger-ui"
}

// TestNothingFromElsewhere: what ours load is of this server, and relative, so
// that a prefix in front does no harm.
func TestNothingFromElsewhere(t *testing.T) {
	scheme := regexp.MustCompile(`https?:|//[a-z]`)
	namespace := "http://www.w3.org/2000/svg" // a name; nothing is loaded from there
	addresses := map[string]*regexp.Regexp{
		"text/html; charset=utf-8":       regexp.MustCompile(`(?:src|href|action)="([^"]*)"`),
		"text/css; charset=utf-8":        regexp.MustCompile(`(?:url\(|@import )["']?([^)"']*)`),
		"text/javascript; charset=utf-8": regexp.MustCompile(`(?m)(?:^import .*from |import\()"([^"]*)"`),
	}
	comment := regexp.MustCompile(`(?m)^\s*//.*$`)
	for _, at := range Paths() {
		if others(at) || at == "/openapi.json" {
			continue
		}
		text := strings.ReplaceAll(comment.ReplaceAllString(body(t, at), ""), namespace, "")
		if found := scheme.FindString(text); found != "" {
			t.Errorf("%s holds %q", at, found)
		}
		f, _ := Find(at)
		address := addresses[f.Type]
		if address == nil {
			continue
		}
		for _, m := range address.FindAllStringSubmatch(text, -1) {
			to := m[1]
			if strings.HasPrefix(to, "/") {
				t.Errorf("%s: %q is not relative", at, to)
			}
			if strings.HasPrefix(to, "#") || to == "." {
				continue
			}
			if there := path.Join(path.Dir(at), to); !slices.Contains(Paths(), there) {
				t.Errorf("%s: %q is not there", at, to)
			}
		}
	}
	for _, at := range []string{"/assets/redoc.js", "/assets/swagger-ui.js"} {
		for _, host := range []string{"cdn.redoc.ly", "fonts.googleapis.com", "# sourceMappingURL=redoc", "# sourceMappingURL=swagger"} {
			if strings.Contains(body(t, at), host) {
				t.Errorf("%s names %s", at, host)
			}
		}
	}
}

// TestNoTextBecomesHTML: what users and models write is never read as HTML.
func TestNoTextBecomesHTML(t *testing.T) {
	sinks := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function|srcdoc`)
	inline := regexp.MustCompile(`<script(?:[^>]*)>[^<]|<style| on[a-z]+=| style=|javascript:`)
	for _, at := range Paths() {
		if others(at) {
			continue
		}
		text := body(t, at)
		if found := sinks.FindString(text); found != "" && strings.HasSuffix(at, ".js") {
			t.Errorf("%s uses %s", at, found)
		}
		if found := inline.FindString(text); found != "" && strings.HasPrefix(text, "<!doctype") {
			t.Errorf("%s holds %q", at, found)
		}
	}
	if f, _ := Find("/"); !strings.Contains(f.Policy, "require-trusted-types-for 'script'") || strings.Contains(f.Policy, "unsafe") {
		t.Errorf("policy %q", f.Policy)
	}
}

func TestDescription(t *testing.T) {
	text := body(t, "/openapi.json")
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	root := doc.(map[string]any)
	if root["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", root["openapi"])
	}
	t.Run("every reference resolves", func(t *testing.T) {
		walk(doc, func(key string, value any) {
			if ref, ok := value.(string); ok && key == "$ref" && !resolves(root, ref) {
				t.Errorf("%s leads nowhere", ref)
			}
		})
	})
	t.Run("every route is there once", func(t *testing.T) {
		ids := map[string]string{}
		for route, item := range root["paths"].(map[string]any) {
			if n := strings.Count(text, "\n    \""+route+"\": {"); n != 1 {
				t.Errorf("%s is there %d times", route, n)
			}
			for method, op := range item.(map[string]any) {
				o := op.(map[string]any)
				id := o["operationId"].(string)
				if ids[id] != "" {
					t.Errorf("%s %s has the operationId of %s", method, route, ids[id])
				}
				ids[id] = route
				for _, field := range []string{"summary", "description", "tags", "responses"} {
					if o[field] == nil || o[field] == "" {
						t.Errorf("%s %s has no %s", method, route, field)
					}
				}
			}
		}
	})
	t.Run("every page is described", func(t *testing.T) {
		for _, at := range []string{"/", "/docs", "/redoc", "/openapi.json"} {
			if root["paths"].(map[string]any)[at] == nil {
				t.Errorf("%s is missing", at)
			}
		}
	})
}

// walk calls f for each field in v.
func walk(v any, f func(key string, value any)) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			f(k, x)
			walk(x, f)
		}
	case []any:
		for _, x := range v {
			walk(x, f)
		}
	}
}

// resolves says whether a reference within the document leads somewhere.
func resolves(doc map[string]any, ref string) bool {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return false
	}
	var at any = doc
	for _, step := range strings.Split(pointer, "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return false
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	return at != nil
}
