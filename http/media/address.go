package media

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// rule says which addresses may be reached: public ones, and those in the
// ranges that were opened.
type rule struct{ open []netip.Prefix }

func newRule(open []netip.Prefix) rule {
	var r rule
	for _, p := range open {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // addresses are compared unmapped
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		r.open = append(r.open, p.Masked())
	}
	return r
}

// closed are the ranges within what netip calls global unicast that lead to no
// public host, or to one that the address itself does not show: IANA's registries
// of special-purpose addresses (RFC 6890), translators and tunnels.
var closed = prefixes(
	"0.0.0.0/8",       // this network
	"100.64.0.0/10",   // carriers' NAT
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved
	"2001::/23",       // protocol assignments, Teredo
	"2001:db8::/32",   // documentation
	"2002::/16",       // 6to4
	"3fff::/20",       // documentation
)

// public6 is all of IPv6 that is given out; NAT64, IPv4-compatible and
// site-local addresses lie outside.
var public6 = netip.MustParsePrefix("2000::/3")

func prefixes(s ...string) []netip.Prefix {
	p := make([]netip.Prefix, len(s))
	for i := range s {
		p[i] = netip.MustParsePrefix(s[i])
	}
	return p
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (r rule) allows(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if contains(r.open, a) {
		return true
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && (a.Is4() || public6.Contains(a)) && !contains(closed, a)
}

// control is the second wall: it sees the address of every connection just
// before it is made.
func (r rule) control(_, address string, _ syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(address); err != nil || !r.allows(a.Addr()) {
		return errAddress
	}
	return nil
}

// errAddress is also the error of a host that does not exist: whoever asks
// should not learn the names that only this network knows.
var errAddress = fmt.Errorf("%w: the host has no address that may be reached", ErrForbidden)

// domains are the hosts that may be named, in lower case; none means all.
type domains []string

func newDomains(list []string) domains {
	var d domains
	for _, name := range list {
		d = append(d, strings.ToLower(strings.TrimSpace(name)))
	}
	return d
}

func (d domains) allows(host string) bool {
	for _, name := range d {
		if suffix, wild := strings.CutPrefix(name, "*"); name == host ||
			wild && len(suffix) > 1 && suffix[0] == '.' && len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return len(d) == 0
}

// target is a URL that may be asked for.
type target struct {
	url  *url.URL
	host string     // lower case, without port and brackets
	addr netip.Addr // of a host that is an address
	port uint16
}

// maxURL bounds a URL; signed ones are long.
const maxURL = 8 << 10

func badURL(what string) error { return fmt.Errorf("%w: the URL %s", ErrForbidden, what) }

// parse reads an absolute http or https URL. Whatever two parsers could
// understand differently is refused: the host is a plain name or an address in
// its one canonical spelling, and nothing needs a second look to be an address.
func parse(raw string) (target, error) {
	var t target
	if len(raw) > maxURL {
		return t, badURL("is too long")
	}
	if !plain(raw) {
		return t, badURL("holds a blank, a control character, a backslash or a character that is not ASCII")
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if scheme = strings.ToLower(scheme); !found || scheme != "http" && scheme != "https" {
		return t, badURL("does not begin with http:// or https://")
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if strings.Contains(authority, "@") {
		return t, badURL("holds a user name")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host != authority || u.Scheme != scheme || u.User != nil || u.Opaque != "" {
		return t, badURL("cannot be understood")
	}
	u.Fragment, u.RawFragment = "", ""
	t.url = u
	host, port, bracketed := authority, "", false
	if strings.HasPrefix(host, "[") {
		bracketed = true
		if host, port, found = strings.Cut(host[1:], "]"); !found {
			return t, badURL("has no host")
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		host, port = host[:i], host[i:]
	}
	t.host = strings.ToLower(host)
	if t.port, err = portOf(scheme, port); err != nil {
		return t, err
	}
	return t, t.readHost(bracketed)
}

// plain says whether s is visible ASCII without a backslash.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// portOf reads what follows the host: nothing or a colon with a port.
func portOf(scheme, s string) (uint16, error) {
	if s == "" {
		if scheme == "http" {
			return 80, nil
		}
		return 443, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, ":"), 10, 16)
	if err != nil || n == 0 || s[0] != ':' || s[1] == '+' || s[1] == '0' {
		return 0, badURL("has a port that is none")
	}
	return uint16(n), nil
}

// readHost checks t.host: an address or a name.
func (t *target) readHost(bracketed bool) error {
	addr, err := netip.ParseAddr(t.host)
	if bracketed || err == nil {
		if err != nil || addr.Is4() == bracketed || addr.Zone() != "" || addr.String() != t.host {
			return badURL("has an address in an odd spelling")
		}
		t.addr = addr
		return nil
	}
	if len(t.host) > 253 {
		return badURL("has a host that is too long")
	}
	last := ""
	for label := range strings.SplitSeq(t.host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return badURL("has a host that is no plain name (an international one in its xn-- form)")
		}
		last = label
	}
	// What ends in a number is an address to some parsers: 2130706433,
	// 0x7f000001, 127.1, 0177.0.0.1.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return badURL("has an address in an odd spelling")
	}
	return nil
}
