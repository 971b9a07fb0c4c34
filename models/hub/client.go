package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const maxRedirects = 10

// client asks one Hub. It follows redirects itself, because the token must
// leave the request at the first other origin: another host, another port, or
// http instead of https.
type client struct {
	s        Settings
	base     *url.URL
	http     *http.Client
	transfer time.Duration // a body may stand still so long
}

func newClient(s Settings, connections int) (*client, error) {
	base, err := parseEndpoint(s.endpoint())
	if err != nil {
		return nil, err
	}
	if err := checkToken(s.Token); err != nil {
		return nil, err
	}
	find := s.hooks.proxy
	if find == nil {
		find = http.ProxyFromEnvironment
	}
	if _, err := find(&http.Request{URL: base}); err != nil { // its text would show the variable, which may hold a password
		return nil, fmt.Errorf("%w: the proxy's variable (HTTPS_PROXY, HTTP_PROXY) is no URL", ErrRequest)
	}
	// HTTP/1.1 only: over HTTP/2 all ranges would share one connection to the
	// storage and its one congestion window.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	connect := orDefault(s.EtagTimeout)
	return &client{
		s: s, base: base, transfer: orDefault(s.DownloadTimeout),
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  find,
				DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
				TLSHandshakeTimeout:    connect,
				ResponseHeaderTimeout:  max(connect, orDefault(s.DownloadTimeout)),
				MaxIdleConnsPerHost:    connections + 1,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 256 << 10,
				DisableCompression:     true, // sizes and ranges are those of the file
				Protocols:              &protocols,
				ReadBufferSize:         64 << 10,
			},
		},
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// api is the URL of an API call about a repository.
func (c *client) api(repo string, parts ...string) *url.URL {
	return c.url("/api/models/" + repo + strings.Join(parts, ""))
}

// resolve is the URL of a file.
func (c *client) resolve(repo, commit, name string) *url.URL {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return c.url("/" + repo + "/resolve/" + url.PathEscape(commit) + "/" + strings.Join(parts, "/"))
}

// url is the endpoint with an escaped path behind it.
func (c *client) url(escaped string) *url.URL {
	u, err := url.Parse(c.base.String() + escaped)
	if err != nil { // the parts were escaped
		return c.base
	}
	return u
}

// where is a URL as it may be shown: the query of a storage URL is a signature.
func where(u *url.URL) string { return u.Host + u.EscapedPath() }

// sameOrigin says whether two URLs have scheme, host and port in common.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// ask is what one request wants.
type ask struct {
	method string
	url    *url.URL
	repo   string // for errors
	header http.Header
	stop   bool // at a redirect to another host: it is the answer (HEAD of a file)
}

// answer is a response after redirects. Its body ends with the request's
// context or when nothing arrives for the transfer time.
type answer struct {
	*http.Response
	at     *url.URL // the last URL
	commit string   // X-Repo-Commit of any hop
}

// once sends a request and follows its redirects. The error is the context's,
// or matches ErrUnreachable, or is final.
func (c *client) once(ctx context.Context, a ask) (*answer, error) {
	u, trusted, commit := a.url, true, ""
	for range maxRedirects + 1 {
		ctx, cancel := context.WithCancelCause(ctx)
		req, err := http.NewRequestWithContext(ctx, a.method, u.String(), nil)
		if err != nil {
			cancel(nil)
			return nil, fmt.Errorf("%w: a URL that cannot be asked for", ErrNotHub)
		}
		for k, v := range a.header {
			req.Header[k] = v
		}
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("User-Agent", c.agent())
		trusted = trusted && sameOrigin(u, c.base)
		if trusted && c.s.Token != "" {
			req.Header.Set("Authorization", "Bearer "+c.s.Token)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			cause := context.Cause(ctx)
			cancel(nil)
			if cause != nil {
				return nil, cause
			}
			return nil, fmt.Errorf("%w: %s: %s", ErrUnreachable, where(u), c.plain(err))
		}
		if v := resp.Header.Get("X-Repo-Commit"); v != "" {
			commit = v
		}
		location := resp.Header.Get("Location")
		if resp.StatusCode < 300 || resp.StatusCode >= 400 || location == "" || resp.StatusCode == http.StatusNotModified {
			resp.Body = newPatient(ctx, cancel, resp.Body, c.transfer)
			return &answer{resp, u, commit}, nil
		}
		next, err := u.Parse(location)
		if err != nil || (next.Scheme != "http" && next.Scheme != "https") || next.Hostname() == "" {
			resp.Body.Close()
			cancel(nil)
			return nil, fmt.Errorf("%w: %s redirects to what is no http URL", ErrNotHub, where(u))
		}
		if a.stop && next.Host != u.Host {
			resp.Body = newPatient(ctx, cancel, resp.Body, c.transfer)
			return &answer{resp, u, commit}, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		resp.Body.Close()
		cancel(nil)
		next.Fragment = ""
		u = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects from %s", ErrNotHub, maxRedirects, where(a.url))
}

// do is once with retries of what may pass. The answer is a success; a
// redirect where the ask stops; or, for a range, a 416.
func (c *client) do(ctx context.Context, a ask) (*answer, error) {
	for n := 0; ; n++ {
		ans, err := c.once(ctx, a)
		var resp *http.Response
		if err == nil {
			resp = ans.Response
			if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
				return ans, nil
			}
			storage := !sameOrigin(ans.at, c.base)
			if err = refusal(resp, a.repo, ans.at, storage); err == nil {
				return ans, nil
			}
			resp.Body.Close()
			// The storage's 403 is a signature that has expired meanwhile.
			if !retriable(resp.StatusCode) && !(storage && resp.StatusCode == http.StatusForbidden) {
				return nil, err
			}
		} else if !errors.Is(err, ErrUnreachable) {
			return nil, err
		}
		if n == maxRetries {
			return nil, fmt.Errorf("%w (after %d attempts)", err, n+1)
		}
		if err := c.s.hooks.wait(ctx, waitFor(resp, n)); err != nil {
			return nil, err
		}
	}
}

// json reads a bounded JSON answer whole.
func (c *client) json(ctx context.Context, a ask, limit int64) ([]byte, *answer, error) {
	a.method = http.MethodGet
	for n := 0; ; n++ {
		ans, err := c.do(ctx, a)
		if err != nil {
			return nil, nil, err
		}
		if t := ans.Header.Get("Content-Type"); ans.StatusCode != http.StatusOK || t != "" && !strings.Contains(t, "json") {
			ans.Body.Close()
			return nil, nil, fmt.Errorf("%w: %s answers %d %q instead of JSON; is there a captive portal or a proxy between?", ErrNotHub, where(ans.at), ans.StatusCode, clip(t))
		}
		raw, err := io.ReadAll(io.LimitReader(ans.Body, limit+1))
		ans.Body.Close()
		switch {
		case err == nil && int64(len(raw)) > limit:
			return nil, nil, fmt.Errorf("%w: %s answers more than %d bytes", ErrListing, where(ans.at), limit)
		case err == nil:
			return raw, ans, nil
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case n == maxRetries:
			return nil, nil, fmt.Errorf("%w: %s: %s", ErrUnreachable, where(ans.at), c.plain(err))
		}
		if err := c.s.hooks.wait(ctx, backoff(n)); err != nil {
			return nil, nil, err
		}
	}
}

func (c *client) agent() string {
	if c.s.UserAgent == "" {
		return "remote-client-server"
	}
	return c.s.UserAgent
}

// plain is an error's text without the URL that net/http puts around it, whose
// query may be a signature, and without the token.
func (c *client) plain(err error) string {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	text := err.Error()
	if c.s.Token != "" {
		text = strings.ReplaceAll(text, c.s.Token, "(token)")
	}
	return clip(text)
}

// errStill ends a request of which nothing more arrives.
var errStill = errors.New("nothing arrived for too long")

// patient is a body that is given up when nothing arrives for a time.
type patient struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
}

func newPatient(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, limit time.Duration) *patient {
	p := &patient{body, ctx, cancel, limit, time.AfterFunc(limit, func() { cancel(errStill) })}
	p.timer.Stop()
	return p
}

// Read stops the clock between reads: the caller's own work is not the
// server's delay.
func (p *patient) Read(b []byte) (int, error) {
	p.timer.Reset(p.limit)
	n, err := p.ReadCloser.Read(b)
	p.timer.Stop()
	if err != nil && err != io.EOF && p.ctx.Err() != nil {
		err = context.Cause(p.ctx)
	}
	return n, err
}

func (p *patient) Close() error {
	p.timer.Stop()
	p.cancel(nil)
	return p.ReadCloser.Close()
}
