package media

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestFault34_AddressesThatMayNotBeReached(t *testing.T) {
	r := newRule(nil)
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
		"169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
		"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8", "64:ff9b::8.8.8.8",
		"64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:a00:1::1", "2002:808:808::1",
		"3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1111%x",
	} {
		if r.allows(netip.MustParseAddr(s)) {
			t.Error(s, "may be reached")
		}
	}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1", "172.15.0.1", "172.32.0.1",
		"192.0.1.1", "192.167.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888",
	} {
		if !r.allows(netip.MustParseAddr(s)) {
			t.Error(s, "may not be reached")
		}
	}
	if r.allows(netip.Addr{}) {
		t.Error("no address may be reached")
	}
}

func TestOpenedRanges(t *testing.T) {
	r := newRule(prefixes("10.1.0.0/16", "::ffff:192.168.0.0/112", "fd00::/64", "127.0.0.1/8"))
	for s, want := range map[string]bool{
		"10.1.2.3": true, "10.2.0.1": false, "::ffff:10.1.2.3": true, "192.168.9.9": true, "192.169.0.1": true, "192.167.0.1": true,
		"192.168.255.255": true, "172.16.0.1": false, "fd00::5": true, "fd00:0:0:1::5": false, "127.9.9.9": true, "::1": false, "8.8.8.8": true,
	} {
		if got := r.allows(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

func TestDomains(t *testing.T) {
	d := newDomains([]string{"example.com", " *.Images.example.org ", "*", "*com", ""})
	for host, want := range map[string]bool{
		"example.com": true, "a.example.com": false, "example.com.evil.net": false, "evilexample.com": false,
		"a.images.example.org": true, "a.b.images.example.org": true, "images.example.org": false, "evilimages.example.org": false,
		"x.com": false, "com": false, "": true,
	} {
		if got := d.allows(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	if !newDomains(nil).allows("anything") {
		t.Error("no list forbids")
	}
}

// good are URLs with their host and port.
var good = map[string][2]string{
	"http://example.com":                       {"example.com", "80"},
	"https://example.com/a.png?b=c#d":          {"example.com", "443"},
	"HTTPS://EXAMPLE.com:8443/%C3%A4?x=@:\"<>": {"example.com", "8443"},
	"http://example.com:1?@127.0.0.1":          {"example.com", "1"},
	"http://example.com#@127.0.0.1/":           {"example.com", "80"},
	"http://xn--bcher-kva.example/":            {"xn--bcher-kva.example", "80"},
	"http://my_bucket.s3-x.example.com/":       {"my_bucket.s3-x.example.com", "80"},
	"http://1.example/":                        {"1.example", "80"},
	"http://0x7f.example/":                     {"0x7f.example", "80"},
	"http://a/":                                {"a", "80"},
	"http://93.184.216.34:65535/":              {"93.184.216.34", "65535"},
	"http://127.0.0.1/":                        {"127.0.0.1", "80"}, // refused by its address
	"http://[::1]:80/":                         {"::1", "80"},
	"http://[2606:4700::1111]/":                {"2606:4700::1111", "80"},
	"http://[::FFFF:10.0.0.1]/":                {"::ffff:10.0.0.1", "80"},
}

// bad are URLs that are refused by their looks.
var bad = []string{
	"", "http", "http:", "http://", "http:///", "http:///a", "//example.com", "example.com", "http:example.com", "http:/example.com",
	"ftp://example.com", "file:///etc/passwd", "gopher://example.com", "data:image/png;base64,", "javascript://x", "httpx://example.com",
	`http:\\example.com`, `http://example.com\@127.0.0.1/`, `http://127.0.0.1\.example.com`, "http://example.com\\",
	"http://user@example.com/", "http://user:word@example.com/", "http://@example.com/", "http://example.com@127.0.0.1/", "http://a:80@b/",
	" http://example.com", "http://example.com ", "http://exa mple.com", "http://example.com/\n", "http://example.com/\r\nHost: x", "http://example.com/\x00", "http://exam\tple.com", "http://example.com/\x7f",
	"http://bücher.example/", "http://example.com/ä", "http://ｅxample.com", "http://127。0。0。1/",
	"http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://017700000001/", "http://127.1/", "http://127.0.1/",
	"http://127.0.0.01/", "http://127.0.0.0x1/", "http://0/", "http://1.2.3.4.5/", "http://256.256.256.256/", "http://example.1/", "http://example.0x/", "http://example.0xff/",
	"http://127.0.0.1./", "http://example.com./", "http://.example.com/", "http://a..b/", "http://.", "http://ex%61mple.com/", "http://example.com%00/", "http://a,b/", "http://a*b/", "http://a;b/", "http://a$/",
	"http://[::1", "http://::1/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:a00:1]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[127.0.0.1]/", "http://[]/", "http://[::1]x/", "http://[::01]/", "http://[example.com]/", "http://x[::1]/",
	"http://example.com:/", "http://example.com:0/", "http://example.com:00080/", "http://example.com:65536/", "http://example.com:+80/", "http://example.com:-1/", "http://example.com:http/", "http://example.com:80:80/", "http://:80/", "http://a:8０/",
	"http://" + strings.Repeat("a", 64) + ".com/", "http://" + strings.Repeat("a.", 130) + "com/", "http://example.com/" + strings.Repeat("a", maxURL),
	"http://example.com/%zz", "http://example.com/%",
}

func TestFault34_HowAURLMayLook(t *testing.T) {
	for raw, want := range good {
		u, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if u.host != want[0] || u.url.Fragment != "" || net.JoinHostPort(u.host, want[1]) != net.JoinHostPort(u.host, port(u)) {
			t.Errorf("%s: host %s, port %d", raw, u.host, u.port)
		}
	}
	for _, raw := range bad {
		if u, err := parse(raw); !errors.Is(err, ErrForbidden) {
			t.Errorf("%.100q is host %q, %v", raw, u.host, err)
		}
	}
}

func port(t target) string {
	_, p, _ := net.SplitHostPort(netip.AddrPortFrom(netip.IPv4Unspecified(), t.port).String())
	return p
}
