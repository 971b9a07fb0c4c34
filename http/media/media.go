// Package media brings in the images that a request names: by URL, as a data
// URL or as base64.
//
// A URL comes from a stranger, and the server stands where the stranger does
// not: so a fetch may reach nothing but public addresses. One place decides
// what an address may be (rule), one what a URL may look like (parse), and a
// fetch is a sequence of hops, each of which looks its host up once, has all
// addresses checked, and gets a transport that can dial those and nothing else.
// There are no proxies, cookies, credentials or kept connections that could
// lead elsewhere. What is returned has the header of an image of a bounded
// size; it has not been decoded.
//
// Any port is allowed but 0: behind a public address the port decides nothing.
package media

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// What can be wrong with an image, matched with errors.Is. The texts name no
// address, host or query.
var (
	ErrForbidden = errors.New("media: forbidden")              // a URL, address or redirect that is not allowed
	ErrTooLarge  = errors.New("media: too large")              // in bytes or pixels
	ErrTimeout   = errors.New("media: timeout")                // in all, or without progress
	ErrNotImage  = errors.New("media: not an image")           // or none of the accepted formats
	ErrBadBase64 = errors.New("media: bad base64")             // or a data URL that is none
	ErrUpstream  = errors.New("media: the image's host erred") // or cannot be reached
)

// Options bound a Fetcher. The zero value fetches from all public addresses.
type Options struct {
	// AllowCIDRs are ranges that may be reached although they are not public.
	AllowCIDRs []netip.Prefix
	// AllowDomains, if any, are the only hosts that may be named: exactly, or
	// with "*.example.com" all below example.com. They open no addresses.
	AllowDomains []string
	NoURLs       bool          // fetch nothing
	MaxBytes     int64         // of an image; 0 means 20 MiB
	MaxPixels    int64         // of an image; 0 means 64 Mi
	Timeout      time.Duration // of a fetch, waiting included; 0 means 10 s
	Stall        time.Duration // in which a host must send some progress; 0 means 3 s
	MaxFetches   int           // at a time; 0 means 16
}

const (
	defaultBytes   = 20 << 20
	defaultPixels  = 64 << 20
	defaultTimeout = 10 * time.Second
	defaultStall   = 3 * time.Second
	defaultFetches = 16
)

// Fetcher brings in images. Its methods are safe for concurrent use.
type Fetcher struct {
	opt     Options
	rule    rule
	domains domains
	slots   chan struct{}

	// What a test replaces.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	roots  *x509.CertPool // nil: the system's
}

// New returns a Fetcher with these bounds.
func New(o Options) *Fetcher {
	orInt := func(v *int64, other int64) {
		if *v <= 0 {
			*v = other
		}
	}
	orInt(&o.MaxBytes, defaultBytes)
	orInt(&o.MaxPixels, defaultPixels)
	orInt((*int64)(&o.Timeout), int64(defaultTimeout))
	orInt((*int64)(&o.Stall), int64(defaultStall))
	if o.MaxFetches <= 0 {
		o.MaxFetches = defaultFetches
	}
	f := &Fetcher{
		opt:     o,
		rule:    newRule(o.AllowCIDRs),
		domains: newDomains(o.AllowDomains),
		slots:   make(chan struct{}, o.MaxFetches),
	}
	f.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	f.dial = (&net.Dialer{Control: f.rule.control}).DialContext
	return f
}

// Bytes returns the image that source is: an http or https URL, a data URL
// data:image/...;base64,..., base64:..., or base64 alone. It is an image that
// Inspect accepts.
func (f *Fetcher) Bytes(ctx context.Context, source string) ([]byte, error) {
	scheme, rest, found := strings.Cut(source, ":")
	if !found { // base64 has no colon
		return f.inline(source)
	}
	switch strings.ToLower(scheme) {
	case "http", "https":
		return f.Fetch(ctx, source)
	case "data":
		data, err := dataURL(rest)
		if err != nil {
			return nil, err
		}
		return f.inline(data)
	case "base64":
		return f.inline(rest)
	}
	return nil, fmt.Errorf("%w: an image is an http or https URL, a data URL or base64", ErrForbidden)
}

// inline decodes base64.
func (f *Fetcher) inline(data string) ([]byte, error) {
	b, err := decode(data, f.opt.MaxBytes)
	if err != nil {
		return nil, err
	}
	if _, _, _, err := Inspect(b, f.opt.MaxPixels); err != nil {
		return nil, err
	}
	return b, nil
}
