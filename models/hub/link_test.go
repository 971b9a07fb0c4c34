package hub

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestNextLink(t *testing.T) {
	for _, c := range []struct {
		name, want string
		values     []string
	}{
		{"none", "", nil},
		{"one", "https://h/x?cursor=a", []string{`<https://h/x?cursor=a>; rel="next"`}},
		{"no quotes", "/y", []string{`</y>;rel=next`}},
		{"the second of a list", "/b", []string{`</a>; rel="prev", </b>; rel="next"`}},
		{"the second header", "/b", []string{`</a>; rel="xet-auth"`, `</b>; rel="next"`}},
		{"commas inside", "/a,b;c", []string{`</z>; title="x, <no>; rel=next", </a,b;c>; rel="next"`}},
		{"several relations", "/a", []string{`</a>; rel="last next"`}},
		{"other parameters", "/a", []string{`</a>; title="\"; rel=prev"; REL="Next"`}},
		{"no target", "", []string{`; rel="next"`, `<`, `<a; rel=next`}},
	} {
		if got := nextLink(c.values); got != c.want {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
}

// The two etags of Git and of the Hub, from git hash-object and sha256sum.
func TestHashes(t *testing.T) {
	for etag, content := range map[string]string{
		"b45ef6fec89518d314f546fd6c3025367b721684":                         "Hello, World!",
		"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391":                         "",
		"dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f": "Hello, World!",
	} {
		h := newHash(etag, int64(len(content)))
		h.Write([]byte(content))
		if sum(h) != etag {
			t.Errorf("%q: %s, not %s", content, sum(h), etag)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{`<https://h/x?cursor=a>; rel="next"`, `</a>; rel="prev", </b>; rel="next"`, `<a`, `<>;;;rel`, `"\`, `<a>; t="\"";rel=next`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := nextLink([]string{s}); got != "" && !strings.Contains(s, "<"+got+">") {
			t.Errorf("%q gives %q", s, got)
		}
	})
}

// A name that passes stays inside of any folder, by the rules of this system
// and of the others.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"config.json", "a/b", "../x", "a/../../b", "/abs", `C:\x`, "C:/x", "a\x00", "a//b", "NUL.txt", "com¹", "a.", ".cache/x", "é/ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		raw, err := json.Marshal([]map[string]any{{"type": "file", "path": name, "size": 1, "oid": commitA}})
		if err != nil {
			t.Skip("not a name that JSON holds")
		}
		l := &listing{files: map[string]entry{}}
		if l.page(raw) != nil {
			return
		}
		for name := range l.files {
			at := filepath.Join("/top/model", filepath.FromSlash(name))
			if !strings.HasPrefix(at, "/top/model/") || strings.ContainsAny(name, "\\\x00") || filepath.ToSlash(at) != "/top/model/"+name {
				t.Errorf("%q goes to %q", name, at)
			}
			if unfitName(name) == "" {
				for _, p := range strings.Split(name, "/") {
					if strings.ContainsAny(p, `:*?"<>|`) || strings.TrimRight(p, ". ") != p {
						t.Errorf("%q is said to fit", name)
					}
				}
			}
		}
	})
}

func FuzzListingPage(f *testing.F) {
	f.Add([]byte(`[{"type":"file","path":"a","size":1,"oid":"` + commitA + `"}]`))
	f.Add([]byte(`[{"type":"file","path":"a","size":-1,"oid":"x","lfs":{"oid":"y","size":1e9}}]`))
	f.Add([]byte(`[{"type":"directory","path":"../a"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := &listing{files: map[string]entry{}}
		if l.page(raw) != nil {
			return
		}
		for name, e := range l.files {
			if unsafeName(name) != "" || e.Size < 0 || e.Size > maxSize || !isHex(e.etag()) {
				t.Errorf("%q: %+v", name, e)
			}
		}
	})
}
