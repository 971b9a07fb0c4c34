package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var whole = []string{"config.json", "tokenizer.json", "README.md", "model.safetensors"}

func TestFault43Answers(t *testing.T) {
	for _, c := range []struct {
		name          string
		status        int
		code, message string
		want          error
		says          []string
	}{
		{"no token for a gated repository", 401, "GatedRepo", "", ErrGated, []string{"accept its licence", "HF_TOKEN"}},
		{"a gated repository", 403, "GatedRepo", "you are not in the list", ErrGated, []string{"accept its licence", "HF_TOKEN", "not in the list"}},
		{"a missing repository", 404, "RepoNotFound", "", ErrNotFound, []string{"does not exist", "private"}},
		{"a missing repository for strangers", 401, "", "", ErrNotFound, []string{"private"}},
		{"a wrong token", 401, "", "Invalid credentials in Authorization header", ErrToken, []string{"wrong or expired"}},
		{"a disabled repository", 403, "", "Access to this resource is disabled.", ErrDenied, []string{"disabled"}},
		{"a weak token", 403, "", "needs scope read", ErrDenied, []string{"permission", "needs scope read"}},
		{"a missing revision", 404, "RevisionNotFound", "", ErrRevision, []string{"branch, tag or commit"}},
		{"a plain 404", 404, "", "", ErrNotFound, nil},
		{"a lasting 500", 500, "", "", ErrUnreachable, []string{"6 attempts"}},
		{"a lasting 429", 429, "", "", ErrRateLimited, []string{"6 attempts"}},
		{"a teapot", 418, "", "", ErrUnreachable, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.api2 = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("X-Error-Code", c.code)
				w.Header().Set("X-Error-Message", c.message)
				w.WriteHeader(c.status)
				return true
			}
			s := f.settings()
			s.Token = theToken
			_, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
			if !errors.Is(err, c.want) {
				t.Fatalf("%v", err)
			}
			for _, says := range append(c.says, "req-42", fmt.Sprint(c.status)) {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
			if strings.Contains(err.Error(), theToken) {
				t.Error("the token is in the error")
			}
			want := 1
			if c.want == ErrRateLimited || c.status == 500 {
				want = 6
			}
			if n := len(f.requests()); n != want {
				t.Errorf("%d requests, not %d", n, want)
			}
		})
	}
}

func TestFault43WaitsBetweenAttempts(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		want   []time.Duration
	}{
		{"a server that fails", 503, nil, []time.Duration{1e9, 2e9, 4e9, 8e9, 8e9}},
		{"a quota", 429, map[string]string{"RateLimit": `"api";r=0;t=55`}, []time.Duration{56e9, 56e9, 56e9, 56e9, 56e9}},
		{"Retry-After", 429, map[string]string{"Retry-After": "7"}, []time.Duration{7e9, 7e9, 7e9, 7e9, 7e9}},
		{"both", 429, map[string]string{"RateLimit": `"resolvers";r=0;t=3`, "Retry-After": "7"}, []time.Duration{4e9, 4e9, 4e9, 4e9, 4e9}},
		{"nonsense", 429, map[string]string{"RateLimit": `"api";t=-4`, "Retry-After": "soon"}, []time.Duration{1e9, 2e9, 4e9, 8e9, 8e9}},
		{"a year", 429, map[string]string{"Retry-After": "31536000"}, slices.Repeat([]time.Duration{maxWait}, 5)},
	} {
		f := newFake(t)
		f.api2 = func(w http.ResponseWriter, _ *http.Request) bool {
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(c.status)
			return true
		}
		s := f.settings()
		var waits []time.Duration
		s.hooks.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
		if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); err == nil {
			t.Error("no error")
		}
		if !slices.Equal(waits, c.want) {
			t.Errorf("%s: waits %v", c.name, waits)
		}
	}
}

func TestFault43ACutAt99PercentGoesOn(t *testing.T) {
	f := newFake(t)
	fs := textRepo(40_000)
	f.repo(acme, fs)
	size := len(fs["model.safetensors"])
	var n atomic.Int32
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, _ *http.Request) bool {
		if n.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:len(b)*99/100])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, whole...)
	if want := []string{"", fmt.Sprintf("bytes=%d-%d", size*99/100, size-1)}; !slices.Equal(f.ranges, want) {
		t.Errorf("ranges %q, not %q", f.ranges, want)
	}
}

// As long as bytes arrive a broken transfer goes on, more often than five times.
func TestFault43ManyCutsThatBringSomething(t *testing.T) {
	f := newFake(t)
	fs := textRepo(10_000)
	f.repo(acme, fs)
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
		from := 0
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
		if from > 0 {
			w.WriteHeader(206)
		}
		_, _ = w.Write(b[from:min(from+1000, len(b))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, whole...)
	if len(f.ranges) < 10 {
		t.Errorf("ranges %q", f.ranges)
	}
	// A server that only cuts is given up.
	f.store2 = func(http.ResponseWriter, string, []byte, *http.Request) bool { panic(http.ErrAbortHandler) }
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestFault43AServerWithoutRanges(t *testing.T) {
	f := newFake(t)
	fs := textRepo(5 * 64 << 10)
	f.repo(acme, fs)
	f.noRange = true
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, whole...)
	// With a cut it begins again, a bounded number of times.
	var n atomic.Int32
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
		if r.Header.Get("Range") != "" || n.Add(1) > 2 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	dir = t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, whole...)
	n.Store(-1 << 20)
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestFault43SizesThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		by   int
	}{{"the listing promises more", 5}, {"the listing promises less", -5}} {
		for _, n := range []int{1000, 5 * 64 << 10} { // one request, and ranges
			f := newFake(t)
			fs := textRepo(n)
			f.repo(acme, fs)
			f.lie = func(name string, e map[string]any) {
				if name == "model.safetensors" {
					lfs := e["lfs"].(map[string]any)
					lfs["size"] = lfs["size"].(int) + c.by
				}
			}
			dir := t.TempDir()
			_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
			if !errors.Is(err, ErrIntegrity) || !strings.Contains(err.Error(), fmt.Sprint(len(fs["model.safetensors"])+c.by)) {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err == nil {
				t.Errorf("%s: the file is in place", c.name)
			}
		}
	}
	// A chunked answer has no length; what is too much is noticed all the same.
	f := newFake(t)
	f.repo(acme, textRepo(1000))
	f.store2 = func(w http.ResponseWriter, _ string, b []byte, _ *http.Request) bool {
		_, _ = w.Write(b)
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte("more"))
		return true
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrIntegrity) {
		t.Error(err)
	}
}

// 416 says that the storage has fewer bytes than the listing: the file comes
// once more from the start.
func TestFault43RangesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int32
		want  error
	}{{"once", 1, nil}, {"always", 1 << 30, ErrIntegrity}} {
		f := newFake(t)
		fs := textRepo(3 * 64 << 10)
		f.repo(acme, fs)
		var n atomic.Int32
		f.store2 = func(w http.ResponseWriter, _ string, b []byte, r *http.Request) bool {
			if !strings.HasPrefix(r.Header.Get("Range"), "bytes=65536-") || n.Add(1) > c.times {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", 65536))
			w.WriteHeader(416)
			return true
		}
		dir := t.TempDir()
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			holds(t, dir, fs, whole...)
		}
	}
}

func TestFault43WrongBytes(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int32
		want  error
	}{{"once", 1, nil}, {"twice", 2, ErrIntegrity}} {
		for _, file := range []string{"model.safetensors", "config.json"} {
			t.Run(c.name+" "+file, func(t *testing.T) {
				f := newFake(t)
				fs := textRepo(1000)
				f.repo(acme, fs)
				var n atomic.Int32
				spoil := func(w http.ResponseWriter, b []byte) bool {
					if n.Add(1) > c.times {
						return false
					}
					b = slices.Clone(b)
					b[len(b)-1] ^= 1
					_, _ = w.Write(b)
					return true
				}
				if file == "config.json" {
					f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
						if !strings.HasSuffix(r.URL.Path, "/"+file) {
							return false
						}
						w.Header().Set("X-Repo-Commit", commitA)
						return spoil(w, fs[file])
					}
				} else {
					f.store2 = func(w http.ResponseWriter, _ string, b []byte, _ *http.Request) bool { return spoil(w, b) }
				}
				dir := t.TempDir()
				_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir})
				if !errors.Is(err, c.want) {
					t.Fatal(err)
				}
				if err == nil {
					holds(t, dir, fs, whole...)
					return
				}
				if good := map[string]string{"model.safetensors": sha(fs[file]), "config.json": gitID(fs[file])}[file]; !strings.Contains(err.Error(), good) || strings.Count(err.Error(), "hash") < 1 {
					t.Errorf("%q does not show the hash %s", err, good)
				}
				if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
					t.Error("the wrong file is in place")
				}
			})
		}
	}
}

func TestFault43AProxyThatIsDown(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	down := httptest.NewServer(nil)
	down.Close()
	s := f.settings()
	s.hooks.proxy = func(*http.Request) (*url.URL, error) {
		u, err := url.Parse(down.URL)
		u.User = url.UserPassword("me", "SECRETpassword")
		return u, err
	}
	_, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
	if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
	if len(f.requests()) > 0 {
		t.Error("the Hub was asked around the proxy")
	}
	s.hooks.proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("bad http://me:SECRETpassword@x") }
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrRequest) || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
}

func TestFault43ACaptivePortal(t *testing.T) {
	f := newFake(t)
	f.api2 = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>please log in"))
		return true
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrNotHub) {
		t.Error(err)
	}
	f = newFake(t)
	f.repo(acme, textRepo(10))
	f.noCommit = true
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrNotHub) || !strings.Contains(err.Error(), "X-Repo-Commit") {
		t.Error(err)
	}
}

// The token is for the endpoint's scheme, host and port, and does not come back
// once it was dropped.
func TestFault43TheTokenStaysWithItsOrigin(t *testing.T) {
	type seen struct{ at, auth string }
	var mu sync.Mutex
	var got []seen
	note := func(at string, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, seen{at, r.Header.Get("Authorization")})
	}
	f := newFake(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note("other", r)
		http.Redirect(w, r, f.api.URL+"/back", http.StatusFound)
	}))
	defer other.Close()
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		note("hub "+r.URL.Path, r)
		if r.URL.Path == "/back" {
			w.WriteHeader(404)
			return true
		}
		http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
		return true
	}
	s := f.settings()
	s.Token = theToken
	_, _ = f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
	want := []seen{{"hub /api/models/acme/model", "Bearer " + theToken}, {"other", ""}, {"hub /back", ""}}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	parse := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://h/x", "https://h:443/y", true}, {"https://H/x", "https://h/", true}, {"http://h", "http://h:80", true},
		{"https://h", "http://h", false}, {"https://h", "http://h:443", false}, {"https://h", "https://h:8443", false},
		{"https://h", "https://h.evil", false}, {"https://h", "https://cdn.h", false},
	} {
		if sameOrigin(parse(c.a), parse(c.b)) != c.same {
			t.Errorf("%s and %s: same origin %v", c.a, c.b, !c.same)
		}
	}
}

func TestFault43RedirectsAreBounded(t *testing.T) {
	f := newFake(t)
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		return true
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrNotHub) || len(f.requests()) != maxRedirects+1 {
		t.Error(err, len(f.requests()))
	}
	f.api2 = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(302)
		return true
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrNotHub) {
		t.Error(err)
	}
}

// No error shows the query of a signed URL or the token.
func TestFault43ErrorsShowNoSecrets(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(1000))
	s := f.settings()
	s.Token = theToken
	for name, hook := range map[string]func(http.ResponseWriter, string, []byte, *http.Request) bool{
		"403":   func(w http.ResponseWriter, _ string, _ []byte, _ *http.Request) bool { w.WriteHeader(403); return true },
		"503":   func(w http.ResponseWriter, _ string, _ []byte, _ *http.Request) bool { w.WriteHeader(503); return true },
		"abort": func(http.ResponseWriter, string, []byte, *http.Request) bool { panic(http.ErrAbortHandler) },
		"nonsense": func(w http.ResponseWriter, _ string, _ []byte, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes */*")
			w.WriteHeader(206)
			return true
		},
	} {
		f.store2 = hook
		_, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()})
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.store2 = nil
	f.store.Close()
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Error(err)
	}
}

func TestFault43ListingsWithoutEnd(t *testing.T) {
	f := newFake(t)
	f.repo(acme, textRepo(10))
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/tree/") {
			return false
		}
		w.Header().Set("Link", `<?round>; rel="next"`)
		answerJSON(w, []int{})
		return true
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrListing) {
		t.Error(err)
	}
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/tree/") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		block := []byte("[" + strings.Repeat(" ", 1<<20))
		for {
			if _, err := w.Write(block); err != nil {
				return true
			}
		}
	}
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrListing) {
		t.Error(err)
	}
}

func TestFault43HiddenAndMissingFiles(t *testing.T) {
	f := newFake(t)
	r := f.repo(acme, textRepo(10))
	r.hide["model.safetensors"] = "GatedRepo"
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: t.TempDir()}); !errors.Is(err, ErrGated) || !strings.Contains(err.Error(), "model.safetensors") {
		t.Error(err)
	}
	// A mirror without /tree lists a README that is not there: never mind.
	f = newFake(t)
	fs := textRepo(10)
	f.repo(acme, fs)
	f.noTree = 404
	f.api2 = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/README.md") {
			return false
		}
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
		return true
	}
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "model.safetensors")
}
