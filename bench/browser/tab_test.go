// Package browser drives a real Chromium against the real server: the page on
// which a person tries the model, and the two forms of the API's description.
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"remote-client-server/bench/contract/server"
)

func TestMain(m *testing.M) {
	code := server.Main(m)
	closeBrowser()
	os.Exit(code)
}

var closeBrowser = func() {}

// browser is the one Chromium of all tests, each of which has a tab of its own.
var browser = sync.OnceValues(func() (context.Context, error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, errors.New("there is no Chromium on this machine")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 { // where Chromium's sandbox does not work
		options = append(options, chromedp.NoSandbox)
	}
	ctx, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(ctx)
	closeBrowser = func() {
		_ = chromedp.Cancel(ctx) // waits until its files are gone
		endBrowser()
		endAllocator()
	}
	return ctx, chromedp.Do(ctx, chromedp.Navigate("about:blank"))
})

// view is how a person looks at the page.
type view struct {
	width, height int64
	scheme        string // light or dark
}

var desk = view{1280, 900, "light"}

// tab is one tab; when its test ends, nothing may have left the server's
// origin, and the console must be clean but for what was expected.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string // addresses
	console  []string // errors and warnings
	expected []string // parts of console lines that are no fault
}

// open shows an address in a new tab.
func open(t *testing.T, address string, v view) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: run .ci/tools", err)
		}
		t.Skip(err)
	}
	ctx, cancel := chromedp.NewContext(parent)
	ctx, late := context.WithTimeout(ctx, 2*time.Minute)
	p := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for m, err := range messages {
			if err != nil {
				return
			}
			if kind := fmt.Sprint(m.Type); m.IsException() || kind == "error" || kind == "warning" || kind == "assert" {
				p.mu.Lock()
				p.console = append(p.console, fmt.Sprintf("%s: %s %s", kind, m.Text, m.URL))
				p.mu.Unlock()
			}
		}
	}()
	err = chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*network.EventRequestWillBeSent); ok {
			p.mu.Lock()
			p.requests = append(p.requests, e.Request.URL)
			p.mu.Unlock()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(v.width, v.height), chromedp.Navigate(address))
	t.Cleanup(func() {
		late()
		cancel()
		<-heard
		p.judge(address)
	})
	return p
}

// expect names parts of console lines that are no fault.
func (p *tab) expect(parts ...string) { p.expected = append(p.expected, parts...) }

// judge checks what the tab has sent and said.
func (p *tab) judge(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(p.requests) == 0 {
		p.t.Error("no request was seen")
	}
	for _, r := range p.requests {
		to, err := url.Parse(strings.TrimPrefix(r, "blob:"))
		if err != nil || to.Scheme != "data" && to.Host != at.Host {
			p.t.Errorf("a request to %s", r)
		}
	}
lines:
	for _, line := range p.console {
		for _, part := range p.expected {
			if strings.Contains(line, part) {
				continue lines
			}
		}
		p.t.Errorf("console: %s", line)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// sent counts the requests whose address ends so.
func (p *tab) sent(end string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if strings.HasSuffix(r, end) {
			n++
		}
	}
	return n
}

// eval runs a script in the page.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// wait returns when a script's value is true.
func (p *tab) wait(what, script string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !eval[bool](p, "Boolean("+script+")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %s; the page says:\n%s", what, eval[string](p, "document.body.innerText"))
		}
	}
}

// click clicks the button with this text.
func (p *tab) click(text string) {
	p.t.Helper()
	mark := fmt.Sprintf(`(() => {
		const b = [...document.querySelectorAll("button, summary")].find((e) => e.textContent === %q && !e.disabled && e.checkVisibility());
		if (!b) return false;
		document.querySelectorAll("[data-test]").forEach((e) => e.removeAttribute("data-test"));
		b.setAttribute("data-test", "");
		return true;
	})()`, text)
	p.wait("the button "+text, mark)
	p.do(chromedp.Click(chromedp.CSS("[data-test]")))
}

// pressEnter presses the key as a keyboard does: unlike chromedp.KeyEvent, which
// types a line break even where the page has taken the key for itself.
func (p *tab) pressEnter() {
	p.t.Helper()
	key := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, Text: "\r"}
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		key.Type = kind
		if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, key); err != nil {
			p.t.Fatal(err)
		}
		key.Text = ""
	}
}

// says waits until an element holds this text.
func (p *tab) says(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%s to say %q", selector, text), fmt.Sprintf(`document.querySelector(%q)?.textContent.includes(%q)`, selector, text))
}

// between is a proxy in front of the server; what intercept does not answer
// (false) is the server's to answer. It returns the proxy's address.
func between(t *testing.T, s *server.Server, intercept func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(s.Base)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !intercept(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h.URL
}
