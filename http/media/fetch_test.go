package media

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// world stands in for the network: names have addresses, and behind addresses
// are test servers. It records who was looked up and dialled; what is dialled
// without being there is an error, and no packet leaves the machine.
type world struct {
	mu      sync.Mutex
	names   map[string][]string // host -> addresses; "then" parts a first answer from later ones
	servers map[string]string   // address:port -> of a listener
	lookups []string
	dials   []string
}

func (w *world) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, host)
	var addrs []netip.Addr
	for i, s := range w.names[host] {
		if s == "then" {
			w.names[host] = w.names[host][i+1:]
			break
		}
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.9.9.9:53", IsNotFound: true}
	}
	return addrs, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, address)
	to := w.servers[address]
	w.mu.Unlock()
	if to == "" {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

const public, second = "93.184.216.34", "93.184.216.35"

// open returns a fetcher in a world where example.com is public and answers
// with h, on port 80 in plain text and on port 443 with TLS.
func open(t *testing.T, o Options, h http.HandlerFunc) (*Fetcher, *world) {
	t.Helper()
	plain, safe := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	safe.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of failed handshakes
	safe.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(safe.Close)
	w := &world{
		names: map[string][]string{"example.com": {public}, "other.example.com": {second}, "internal.corp": {"10.0.0.7"}},
		servers: map[string]string{
			public + ":80": plain.Listener.Addr().String(), public + ":443": safe.Listener.Addr().String(),
			second + ":80": plain.Listener.Addr().String(), second + ":443": safe.Listener.Addr().String(),
		},
	}
	f := New(o)
	f.lookup, f.dial = w.lookup, w.dial
	f.roots = x509.NewCertPool()
	f.roots.AddCert(safe.Certificate())
	return f, w
}

func sendPNG(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(png(3, 4)) }

// discreet checks that an error tells nothing of the network or the URL.
func discreet(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{"10.", "127.", "93.184", "::1", "169.254", "example", "internal", "secret", "dial", "lookup", "9.9"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}

func TestFetch(t *testing.T) {
	var got *http.Request
	f, w := open(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.Header().Set("Content-Type", "text/html") // is not believed
		sendPNG(w, r)
	})
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	for _, raw := range []string{"http://example.com/a%20b.png?sig=x%2Fy#f", "HTTPS://Example.com/a%20b.png?sig=x%2Fy"} {
		b, err := f.Fetch(t.Context(), raw)
		if err != nil || !bytes.Equal(b, png(3, 4)) {
			t.Fatal(raw, len(b), err)
		}
		if got.RequestURI != "/a%20b.png?sig=x%2Fy" || got.Method != "GET" || !strings.EqualFold(got.Host, "example.com") {
			t.Error(got.Method, got.RequestURI, got.Host)
		}
		for _, name := range []string{"Cookie", "Referer", "Authorization"} {
			if v := got.Header.Get(name); v != "" {
				t.Errorf("%s: %s", name, v)
			}
		}
		if v := got.Header.Get("Accept-Encoding"); v != "identity" {
			t.Errorf("Accept-Encoding: %s", v)
		}
	}
	if fmt.Sprint(w.dials) != "["+public+":80 "+public+":443]" || fmt.Sprint(w.lookups) != "[example.com example.com]" {
		t.Error(w.lookups, w.dials)
	}
	w.names["example.com"] = []string{"93.184.216.99", second} // the first does not answer
	if _, err := f.Bytes(t.Context(), "http://example.com/"); err != nil {
		t.Error(err)
	}
}

func TestMaxPixels(t *testing.T) {
	for max, want := range map[int64]error{12: nil, 11: ErrTooLarge} {
		f, _ := open(t, Options{MaxPixels: max}, sendPNG)
		if _, err := f.Fetch(t.Context(), "http://example.com/"); !errors.Is(err, want) {
			t.Errorf("fetched with %d: %v", max, err)
		}
		if _, err := f.Bytes(t.Context(), base64.StdEncoding.EncodeToString(png(3, 4))); !errors.Is(err, want) {
			t.Errorf("inline with %d: %v", max, err)
		}
	}
}

// TestFetchOpened uses the real resolver and dialer.
func TestFetchOpened(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(sendPNG))
	defer s.Close()
	f := New(Options{AllowCIDRs: prefixes("127.0.0.0/8")})
	if b, err := f.Fetch(t.Context(), s.URL); err != nil || !bytes.Equal(b, png(3, 4)) {
		t.Error(len(b), err)
	}
	if _, err := New(Options{AllowCIDRs: prefixes("10.0.0.0/8")}).Fetch(t.Context(), s.URL); !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
}

func TestFault34_NoPacketToRefusedAddresses(t *testing.T) {
	f, w := open(t, Options{}, sendPNG)
	w.names["one-of-two.example"] = []string{public, "10.0.0.1"}
	w.names["mapped.example"] = []string{"::ffff:10.0.0.1"}
	w.names["metadata.example"] = []string{"169.254.169.254"}
	w.names["zone.example"] = []string{"fe80::1%eth0"}
	w.names["localhost"] = []string{"127.0.0.1", "::1"}
	urls := append([]string{
		"http://127.0.0.1/", "http://[::1]/", "http://0.0.0.0/", "http://[::]/", "http://169.254.169.254/latest/meta-data?secret=1", "http://[::ffff:10.0.0.1]/",
		"http://100.64.0.1/", "http://10.0.0.1:8080/", "http://192.168.0.1/", "http://[fd00::1]/", "http://[64:ff9b::7f00:1]/", "http://224.0.0.1/",
		"http://localhost/", "https://internal.corp/secret", "http://one-of-two.example/", "http://mapped.example/", "http://metadata.example/", "http://zone.example/",
		"http://no-such-name.internal/",
	}, bad...)
	for _, raw := range urls {
		_, err := f.Fetch(t.Context(), raw)
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("%.80q: %v", raw, err)
		}
		discreet(t, err)
	}
	if len(w.dials) > 0 {
		t.Errorf("dialled: %v", w.dials)
	}
	_, exist := f.Fetch(t.Context(), "http://internal.corp/")
	_, missing := f.Fetch(t.Context(), "http://missing.corp/")
	if exist.Error() != missing.Error() {
		t.Error("one can tell which internal names exist")
	}
}

// The second wall: whatever a caller does, the dialer itself looks.
func TestFault34_DialerRefuses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f := New(Options{})
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0"} {
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if c, err := f.dial(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, %v", host, c, err)
		}
	}
}

func TestFault34_DomainsAndSwitch(t *testing.T) {
	f, w := open(t, Options{AllowDomains: []string{"example.com", "internal.corp", "*.example.com"}}, sendPNG)
	w.names["evil.net"] = []string{public}
	for raw, ok := range map[string]bool{
		"http://example.com/": true, "http://other.example.com/": true, "http://EXAMPLE.COM:80/": true,
		"http://evil.net/": false, "http://" + public + "/": false, "http://internal.corp/": false, // a named host opens no range
	} {
		if _, err := f.Fetch(t.Context(), raw); (err == nil) != ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	f, w = open(t, Options{NoURLs: true}, sendPNG)
	if _, err := f.Bytes(t.Context(), "http://example.com/"); !errors.Is(err, ErrForbidden) || len(w.lookups) > 0 {
		t.Error(err, w.lookups)
	}
}

func TestFault35_Redirects(t *testing.T) {
	to := ""
	visits := 0
	f, w := open(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		visits++
		switch {
		case r.URL.Path == "/image":
			if v := r.Header.Get("Referer") + r.Header.Get("Cookie"); v != "" {
				t.Error("sent along:", v)
			}
			sendPNG(w, r)
		case strings.HasPrefix(r.URL.Path, "/hop"):
			n, _ := strconv.Atoi(r.URL.Path[4:])
			next := "/image"
			if n > 1 {
				next = "/hop" + strconv.Itoa(n-1)
			}
			w.Header()["Location"] = []string{next}
			w.WriteHeader([]int{301, 302, 303, 307, 308}[n%5])
		default:
			w.Header()["Set-Cookie"] = []string{"a=b"}
			w.Header()["Location"] = []string{to}
			w.WriteHeader(302)
		}
	})
	w.names["two-faced.example"] = []string{public, "then", "10.0.0.1"}
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"http://example.com/", "/image", nil},
		{"http://example.com/a/b", "../image", nil},
		{"http://example.com/", "//other.example.com/image", nil},
		{"http://example.com/", "https://other.example.com/image", nil},
		{"https://example.com/", "https://other.example.com/image", nil},
		{"https://example.com/", "//example.com/image", nil},
		{"http://example.com/hop1", "", nil},
		{"http://example.com/hop3", "", nil},
		{"http://example.com/hop4", "", ErrForbidden},
		{"http://example.com/", "http://example.com/", ErrForbidden}, // a loop
		{"http://example.com/", "?again", ErrForbidden},
		{"https://example.com/", "http://example.com/image", ErrForbidden},
		{"http://example.com/", "http://10.0.0.1/secret", ErrForbidden},
		{"http://example.com/", "//127.0.0.1/image", ErrForbidden},
		{"http://example.com/", "http://[::1]/", ErrForbidden},
		{"http://example.com/", "http://2130706433/", ErrForbidden},
		{"http://example.com/", "http://internal.corp/secret", ErrForbidden},
		{"http://example.com/", "http://user:secret@example.com/image", ErrForbidden},
		{"http://example.com/", "file:///etc/passwd", ErrForbidden},
		{"http://example.com/", "gopher://example.com/", ErrForbidden},
		{"http://example.com/", `\\127.0.0.1\image`, ErrForbidden},
		{"http://example.com/", `/\127.0.0.1`, ErrForbidden},
		{"http://example.com/", "/bü", ErrForbidden},
		{"http://example.com/", "/%zz", ErrForbidden},
		{"http://example.com/", "http://example.com:0/", ErrForbidden},
		{"http://example.com/", "/" + strings.Repeat("a", maxURL), ErrForbidden},
		{"http://example.com/", "", ErrUpstream},
		{"http://two-faced.example/", "http://two-faced.example/image", ErrForbidden}, // the second look-up leads inside
	} {
		to, visits, w.dials = c.to, 0, nil
		b, err := f.Fetch(t.Context(), c.from)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && !bytes.Equal(b, png(3, 4)) {
			t.Errorf("%s to %q: %v, want %v", c.from, c.to, err, c.want)
		}
		discreet(t, err)
		if visits > maxRedirects+1 {
			t.Errorf("%d visits", visits)
		}
		for _, d := range w.dials {
			if !strings.HasPrefix(d, "93.184.216.3") {
				t.Errorf("%s to %q: dialled %s", c.from, c.to, d)
			}
		}
	}
}

// A name that is looked up a second time between check and connection could
// lead elsewhere: there is no second time.
func TestFault35_DNSAnswerThatChanges(t *testing.T) {
	f, w := open(t, Options{}, sendPNG)
	w.names["rebinding.example"] = []string{public, "then", "127.0.0.1"}
	if _, err := f.Fetch(t.Context(), "http://rebinding.example/"); err != nil {
		t.Fatal(err)
	}
	if len(w.lookups) != 1 || fmt.Sprint(w.dials) != "["+public+":80]" {
		t.Error(w.lookups, w.dials)
	}
	if _, err := f.Fetch(t.Context(), "http://rebinding.example/"); !errors.Is(err, ErrForbidden) || len(w.dials) != 1 {
		t.Error(err, w.dials)
	}
}

// raw answers every connection with f.
func raw(t *testing.T, w *world, f func(c net.Conn)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				f(c)
			})
		}
	})
	w.servers[public+":80"] = ln.Addr().String()
}

func TestFault35_HostileAnswers(t *testing.T) {
	zeros := make([]byte, 1<<20)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(zeros)
	_ = z.Close()
	const ok = "HTTP/1.1 200 OK\r\n"
	drip := func(c net.Conn, b []byte, each time.Duration) {
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
			time.Sleep(each)
		}
	}
	for _, c := range []struct {
		name string
		send func(c net.Conn)
		want error
		text string
	}{
		{"endless body", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n"+string(png(3, 4)))
			drip(c, zeros, 0)
		}, ErrTooLarge, ""},
		{"endless chunks", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			drip(c, []byte("10000\r\n"+string(zeros[:1<<16])+"\r\n"), 0)
		}, ErrTooLarge, ""},
		{"announced too large", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 1000000000000\r\n\r\n") }, ErrTooLarge, ""},
		{"more announced than sent", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 90000\r\n\r\n"+string(png(3, 4))) }, ErrUpstream, "ended early"},
		{"less announced than sent", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 20\r\n\r\n"+string(png(3, 4))) }, ErrNotImage, "cut off"},
		{"nonsense announced", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: -5\r\n\r\n"+string(png(3, 4))) }, ErrUpstream, ""},
		{"two lengths", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 33\r\nContent-Length: 34\r\n\r\n"+string(png(3, 4)))
		}, ErrUpstream, ""},
		{"one byte at a time", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n"+string(png(3, 4)))
			drip(c, zeros[:1], 10*time.Millisecond)
		}, ErrTimeout, "too slowly"},
		{"no end, steadily", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n"+string(png(3, 4)))
			drip(c, zeros[:512], 10*time.Millisecond)
		}, ErrTimeout, "in time"},
		{"silence", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ErrTimeout, "in time"},
		{"slow header", func(c net.Conn) { drip(c, []byte("H"), 10*time.Millisecond) }, ErrTimeout, "in time"},
		{"endless header", func(c net.Conn) {
			_, _ = io.WriteString(c, ok)
			drip(c, []byte("A: "+string(bytes.Repeat([]byte("a"), 1000))+"\r\n"), 0)
		}, ErrUpstream, ""},
		{"gzip bomb", func(c net.Conn) {
			fmt.Fprintf(c, "%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, bomb.Len(), bomb.Bytes())
		}, ErrUpstream, "compressed"},
		{"twice compressed", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Encoding: identity\r\nContent-Encoding: br\r\n\r\n"+string(png(3, 4)))
		}, ErrUpstream, "compressed"},
		{"gzip unannounced", func(c net.Conn) { fmt.Fprintf(c, "%s\r\n%s", ok, bomb.Bytes()) }, ErrNotImage, "compressed"},
		{"huge image", func(c net.Conn) { fmt.Fprintf(c, "%s\r\n%s", ok, png(60000, 60000)) }, ErrTooLarge, "60000 x 60000"},
		{"page", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Type: image/png\r\n\r\n<html>") }, ErrNotImage, "HTML"},
		{"not found", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 404 secret\r\n\r\n") }, ErrUpstream, "404"},
		{"partial", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 206 OK\r\n\r\n"+string(png(3, 4))) }, ErrUpstream, "206"},
		{"no HTTP", func(c net.Conn) { _, _ = io.WriteString(c, "-ERR secret\r\n") }, ErrUpstream, "no proper answer"},
		{"hangs up", func(c net.Conn) {}, ErrUpstream, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := Options{MaxBytes: 100_000, Timeout: time.Minute, Stall: time.Minute}
			switch c.text {
			case "in time":
				o.Timeout = 300 * time.Millisecond
			case "too slowly":
				o.Stall = 100 * time.Millisecond
			}
			f, w := open(t, o, sendPNG)
			raw(t, w, c.send)
			b, err := f.Fetch(t.Context(), "http://example.com/?secret")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || b != nil {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			discreet(t, err)
		})
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	f, w := open(t, Options{}, sendPNG)
	w.names["elsewhere.net"] = []string{public}
	_, err := f.Fetch(t.Context(), "https://elsewhere.net/")
	if !errors.Is(err, ErrUpstream) || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	f.roots = x509.NewCertPool()
	if _, err = f.Fetch(t.Context(), "https://example.com/"); !errors.Is(err, ErrUpstream) || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestFetchesAreBounded(t *testing.T) {
	begun, gate := make(chan struct{}, 10), make(chan struct{})
	f, _ := open(t, Options{MaxFetches: 2}, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-gate
		sendPNG(w, r)
	})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := f.Fetch(t.Context(), "http://example.com/"); err != nil {
				t.Error(err)
			}
		})
	}
	<-begun
	<-begun
	hasty := *f // at the same slots
	hasty.opt.Timeout = 30 * time.Millisecond
	if _, err := hasty.Fetch(t.Context(), "http://example.com/"); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
	if len(begun) > 0 {
		t.Error("more than two fetches at a time")
	}
	close(gate)
	wg.Wait()
}

func TestTheCallersEndIsTheFetchs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f, _ := open(t, Options{}, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := f.Fetch(ctx, "http://example.com/"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
}

// oldAddress reads an IPv4 address as inet_aton does: one to four parts, each
// decimal, octal or hexadecimal, the last one filling what is left.
func oldAddress(host string) bool {
	parts := strings.Split(host, ".")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 0, 64); err != nil || strings.ContainsAny(p, "_oO") || strings.HasPrefix(strings.ToLower(p), "0b") {
			return false
		}
	}
	return len(parts) <= 4
}

// FuzzURL: what passes is a URL to every parser alike, its host is a name or an
// address as netip writes it, and nothing is dialled that was not checked.
func FuzzURL(f *testing.F) {
	for raw := range good {
		f.Add(raw)
	}
	for _, raw := range bad {
		f.Add(raw)
	}
	var dialled []string
	inside := netip.MustParseAddr("10.1.1.1")
	fetcher := New(Options{})
	fetcher.lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{inside}, nil }
	fetcher.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, errors.New("no")
	}
	f.Fuzz(func(t *testing.T, raw string) {
		dialled = nil
		_, err := fetcher.Fetch(t.Context(), raw)
		if err == nil {
			t.Fatal("an image came out of nothing")
		}
		for _, d := range dialled {
			if a := netip.MustParseAddrPort(d); !newRule(nil).allows(a.Addr()) {
				t.Fatalf("dialled %s", d)
			}
		}
		got, err := parse(raw)
		if err != nil {
			if !errors.Is(err, ErrForbidden) || len(dialled) > 0 {
				t.Fatal(err, dialled)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil || !strings.EqualFold(u.Hostname(), got.host) || u.User != nil {
			t.Fatalf("host %q, net/url has %q (%v)", got.host, u.Hostname(), err)
		}
		if p := u.Port(); p != "" && p != port(got) || got.port == 0 {
			t.Fatalf("port %d, net/url has %q", got.port, p)
		}
		a, err := netip.ParseAddr(got.host)
		if (err == nil) != got.addr.IsValid() || err == nil && (a != got.addr || a.String() != got.host) {
			t.Fatalf("host %q is the address %v (%v)", got.host, a, err)
		}
		if err != nil && oldAddress(got.host) {
			t.Fatalf("host %q is an address to inet_aton", got.host)
		}
		again, err := parse(got.url.String())
		if len(got.url.String()) <= maxURL && (err != nil || again.host != got.host || again.port != got.port) {
			t.Fatalf("%q becomes %q: %v", raw, got.url, err)
		}
	})
}

func BenchmarkFetch(b *testing.B) {
	image := append(png(3, 4), make([]byte, 1<<20)...)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image) }))
	defer s.Close()
	f := New(Options{AllowCIDRs: prefixes("127.0.0.0/8")})
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		if _, err := f.Fetch(b.Context(), s.URL); err != nil {
			b.Fatal(err)
		}
	}
}
