package media

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxRedirects = 3
	maxHeader    = 64 << 10
	maxDials     = 4 // addresses of a host that are tried
	// minProgress is how many bytes a host must send in each Stall, or come to
	// the end.
	minProgress = 1 << 10
)

// Fetch returns the image behind an http or https URL. It is an image that
// Inspect accepts.
func (f *Fetcher) Fetch(ctx context.Context, url string) ([]byte, error) {
	if f.opt.NoURLs {
		return nil, fmt.Errorf("%w: URLs are switched off; send the image as base64", ErrForbidden)
	}
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, f.opt.Timeout, errLate)
	defer cancel()
	b, err := f.follow(limited, t)
	if err != nil {
		if ctx.Err() != nil { // the caller's own end
			return nil, fmt.Errorf("media: %w", context.Cause(ctx))
		}
		return nil, err
	}
	if _, _, _, err := Inspect(b, f.opt.MaxPixels); err != nil {
		return nil, err
	}
	return b, nil
}

var errLate = fmt.Errorf("%w: the image did not come in time", ErrTimeout)

// follow makes the hops from t to an answer that is no redirect.
func (f *Fetcher) follow(ctx context.Context, t target) ([]byte, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many images are being fetched", ErrTimeout)
	}
	for range maxRedirects + 1 {
		b, location, err := f.hop(ctx, t)
		if err != nil || location == "" {
			return b, err
		}
		next, err := redirect(t, location)
		if err != nil {
			return nil, err
		}
		t = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects", ErrForbidden, maxRedirects)
}

// redirect is where an answer of t sends to.
func redirect(t target, location string) (target, error) {
	if len(location) > maxURL || !plain(location) {
		return target{}, fmt.Errorf("%w: a redirect that cannot be understood", ErrForbidden)
	}
	u, err := t.url.Parse(location)
	if err != nil {
		return target{}, fmt.Errorf("%w: a redirect that cannot be understood", ErrForbidden)
	}
	next, err := parse(u.String())
	if err != nil {
		return target{}, fmt.Errorf("%w (after a redirect)", err)
	}
	if t.url.Scheme == "https" && next.url.Scheme != "https" {
		return target{}, fmt.Errorf("%w: a redirect from https to http", ErrForbidden)
	}
	return next, nil
}

// hop asks for one URL and returns the body or the location of a redirect.
func (f *Fetcher) hop(ctx context.Context, t target) (body []byte, location string, err error) {
	addrs, err := f.resolve(ctx, t)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    t.url,
		Host:   t.url.Host,
		Header: http.Header{
			"Accept":          {"image/*"},
			"Accept-Encoding": {"identity"},
			"User-Agent":      {"remote-client-server"},
		},
	}).WithContext(ctx)
	var got atomic.Int64
	stop := f.watch(&got, cancel)
	defer stop()
	resp, err := f.transport(addrs).RoundTrip(req)
	if err != nil {
		return nil, "", troubleOf(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if location = resp.Header.Get("Location"); location == "" {
			return nil, "", fmt.Errorf("%w: a redirect to nowhere", ErrUpstream)
		}
		return nil, location, nil
	default:
		return nil, "", fmt.Errorf("%w: it answered %d", ErrUpstream, resp.StatusCode)
	}
	for _, e := range resp.Header.Values("Content-Encoding") {
		if e != "" && !strings.EqualFold(e, "identity") {
			return nil, "", fmt.Errorf("%w: it answered with a compressed body", ErrUpstream)
		}
	}
	if resp.ContentLength > f.opt.MaxBytes {
		return nil, "", tooManyBytes(f.opt.MaxBytes)
	}
	// The buffer grows with what has come, whatever was announced.
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(counted{resp.Body, &got}, f.opt.MaxBytes+1))
	if err != nil {
		return nil, "", troubleOf(ctx, err)
	}
	if n > f.opt.MaxBytes {
		return nil, "", tooManyBytes(f.opt.MaxBytes)
	}
	return b.Bytes(), "", nil
}

// resolve looks a host up, once, and returns its addresses if all of them may
// be reached.
func (f *Fetcher) resolve(ctx context.Context, t target) ([]netip.AddrPort, error) {
	if !f.domains.allows(t.host) {
		return nil, fmt.Errorf("%w: images of this host are not allowed", ErrForbidden)
	}
	addrs := []netip.Addr{t.addr}
	if !t.addr.IsValid() {
		var err error
		if addrs, err = f.lookup(ctx, t.host); err != nil {
			var dns *net.DNSError
			if ctx.Err() == nil && errors.As(err, &dns) && dns.IsNotFound {
				return nil, errAddress
			}
			return nil, troubleOf(ctx, err)
		}
	}
	ports := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		if !f.rule.allows(a) {
			return nil, errAddress
		}
		ports[i] = netip.AddrPortFrom(a.Unmap(), t.port)
	}
	if len(ports) == 0 {
		return nil, errAddress
	}
	return ports[:min(len(ports), maxDials)], nil
}

// transport returns a transport for one request that can reach these addresses
// and no others, whatever it is asked for.
func (f *Fetcher) transport(addrs []netip.AddrPort) *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &http1,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig:        &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var last error
			for _, a := range addrs {
				one, cancel := context.WithTimeout(ctx, f.opt.Stall)
				c, err := f.dial(one, "tcp", a.String())
				cancel()
				if err == nil {
					return c, nil
				}
				last = err
			}
			return nil, last
		},
	}
}

// watch ends a hop whose body has begun and then comes too slowly. Until then
// the fetch's timeout counts.
func (f *Fetcher) watch(got *atomic.Int64, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer func() {
			if recover() != nil {
				cancel(errSlow)
			}
		}()
		t := time.NewTicker(f.opt.Stall)
		defer t.Stop()
		for before := int64(0); ; {
			select {
			case <-done:
				return
			case <-t.C:
			}
			now := got.Load()
			if now > 0 && now-before < minProgress {
				cancel(errSlow)
				return
			}
			before = now
		}
	}()
	return func() { close(done) }
}

var errSlow = fmt.Errorf("%w: the host sends too slowly", ErrTimeout)

// counted counts what is read.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// troubleOf is what a client may know of a failure: texts of the network's
// errors hold addresses.
func troubleOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrTimeout) {
			return cause
		}
		return errLate
	}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.Is(err, ErrForbidden):
		return errAddress
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &name):
		return fmt.Errorf("%w: its certificate is not valid", ErrUpstream)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: its answer ended early", ErrUpstream)
	}
	return fmt.Errorf("%w: no connection or no proper answer", ErrUpstream)
}
