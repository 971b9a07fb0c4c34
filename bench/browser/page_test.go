package browser

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"remote-client-server/bench/contract/server"
)

// loaded waits until the panel of the model is there.
func (p *tab) loaded() {
	p.t.Helper()
	p.wait("the panel", `document.querySelector("#panel form")`)
}

// enter types texts into the panel with the keyboard.
func (p *tab) enter(texts ...string) {
	p.t.Helper()
	p.click("Clear")
	for i, text := range texts {
		if i > 0 {
			p.pressEnter()
		}
		p.do(chromedp.KeyEvent(text))
	}
	if n := eval[int](p, `document.querySelectorAll(".texts li").length`); n != len(texts) {
		p.t.Fatalf("%d texts were typed, the page has %d", len(texts), n)
	}
}

// matrix reads the map of similarities.
func (p *tab) matrix() [][]float64 {
	p.t.Helper()
	rows := eval[[][]string](p, `[...document.querySelectorAll("tbody tr")].map((r) => [...r.querySelectorAll("td")].map((c) => c.textContent))`)
	values := make([][]float64, len(rows))
	for i, row := range rows {
		for _, word := range row {
			v, err := strconv.ParseFloat(strings.Replace(word, "\u2212", "-", 1), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			values[i] = append(values[i], v)
		}
	}
	return values
}

func TestTextsAreCompared(t *testing.T) {
	s := server.Start(t, true)
	p := open(t, s.Base+"/", desk)
	p.loaded()
	p.enter("I forgot my password.", "How do I reset my login?", "Fry the onions in butter.", `<img src=x onerror="alert(1)">`)
	p.click("Compare")
	p.wait("the map", `document.querySelector("table")`)
	m := p.matrix()
	if len(m) != 4 {
		t.Fatalf("%d rows", len(m))
	}
	for i := range m {
		if len(m[i]) != 4 || m[i][i] != 1 {
			t.Errorf("row %d: %v", i+1, m[i])
		}
		for j := range m[i] {
			if m[i][j] != m[j][i] {
				t.Errorf("%d and %d: %v, the other way round %v", i+1, j+1, m[i][j], m[j][i])
			}
		}
	}
	if m[0][1] < m[0][2]+0.2 || m[0][1] < m[1][2]+0.2 {
		t.Errorf("paraphrases at %.2f, strangers at %.2f and %.2f", m[0][1], m[0][2], m[1][2])
	}
	for _, part := range []string{"4 texts", "tokens", "128 dimensions", " ms"} {
		p.says(".figures", part)
	}
	if eval[int](p, `document.querySelectorAll("main img").length`) != 0 {
		t.Error("a text became HTML")
	}
	p.says("tbody tr:nth-child(4) th", `<img src=x onerror="alert(1)">`)

	t.Run("by keyboard", func(t *testing.T) {
		eval[chromedp.Void](p, `document.querySelector("tbody td").focus()`)
		p.do(chromedp.KeyEvent(kb.ArrowRight + kb.ArrowDown + kb.ArrowDown + kb.ArrowUp))
		if at := eval[string](p, `document.activeElement.closest("tr").rowIndex + "," + document.activeElement.cellIndex`); at != "2,2" {
			t.Errorf("the focus is at %s", at)
		}
		p.says(".about", "How do I reset my login?")
	})
	t.Run("the command", func(t *testing.T) {
		p.click("The same with curl")
		p.says(".curl code", s.Base+"/v1/embeddings")
		p.says(".curl code", `"How do I reset my login?"`)
		p.says(".curl code", `<img src=x onerror=\"alert(1)\">`)
	})
	t.Run("a warning", func(t *testing.T) {
		p.click("Options")
		p.do(chromedp.SendKeys(chromedp.CSS("#size"), "9"))
		p.click("Compare")
		p.says(".warnings", "dimensions 9")
		p.says(".figures", "9 dimensions")
	})
	t.Run("a refusal names its field", func(t *testing.T) {
		p.expect("status of 400")
		eval[chromedp.Void](p, `document.querySelector("#size").removeAttribute("max"); document.querySelector("#size").value = "4096"`)
		p.click("Compare")
		p.says(".wrong[role=alert]", "The server refuses this: dimensions")
		p.wait("the mark", `document.querySelector("#size[aria-invalid=true]") === document.activeElement`)
	})
}

func TestManyTextsArePasted(t *testing.T) {
	p := open(t, server.Start(t, true).Base+"/", desk)
	p.loaded()
	p.click("Clear")
	eval[chromedp.Void](p, `(() => {
		const clip = new DataTransfer();
		clip.setData("text", Array.from({length: 40}, (_, i) => "text " + i).join("\n"));
		document.querySelector(".texts input").dispatchEvent(new ClipboardEvent("paste", {clipboardData: clip, bubbles: true, cancelable: true}));
	})()`)
	p.says(".wrong[role=alert]", "at most 32 texts")
	p.click("Compare")
	p.wait("the map", `document.querySelectorAll("tbody tr").length === 32`)
	if eval[bool](p, `document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page scrolls sideways")
	}
}

func TestTroubleIsPutInWords(t *testing.T) {
	s := server.Start(t, true)
	var answer atomic.Value // of type http.HandlerFunc
	hang := make(chan struct{})
	base := between(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		f, _ := answer.Load().(http.HandlerFunc)
		if r.Method != "POST" || f == nil {
			return false
		}
		f(w, r)
		return true
	})
	t.Cleanup(func() { close(hang) })
	p := open(t, base+"/", desk)
	p.expect("Failed to load resource")
	p.loaded()
	for _, c := range []struct {
		name, says string
		answer     http.HandlerFunc
	}{
		{"a full queue", "The queue is full. Try again in 7 seconds.", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
			fmt.Fprint(w, `{"detail":"the queue is full"}`)
		}},
		{"a cancelled job", "The job was cancelled by someone.", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			fmt.Fprint(w, `{"status":"cancelled","detail":"the job was cancelled"}`)
		}},
		{"a fault", "The server failed: internal error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"detail":"internal error"}`)
		}},
		{"another server's page", "The server failed (HTTP 502).", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			fmt.Fprint(w, `<html>Bad Gateway</html>`)
		}},
		{"no connection", "The server cannot be reached.", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer.Store(c.answer)
			p.click("Compare")
			p.says(".wrong[role=alert]", c.says)
		})
	}
	t.Run("second thoughts", func(t *testing.T) {
		answer.Store(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}))
		p.click("Compare")
		p.click("Cancel")
		p.says(".wrong[role=alert]", "Cancelled.")
	})
	t.Run("and then it works", func(t *testing.T) {
		answer.Store(http.HandlerFunc(nil))
		p.click("Compare")
		p.wait("the map", `document.querySelector("table")`)
		if said := eval[string](p, `document.querySelector(".wrong[role=alert]").textContent`); said != "" {
			t.Errorf("the page still says %q", said)
		}
	})
}

func TestKeyIsAskedFor(t *testing.T) {
	const key = "open-sesame"
	s := server.Start(t, true, "--api_key", key)
	p := open(t, s.Base+"/", desk)
	p.expect("status of 401")
	p.wait("the field", `document.querySelector("#key[type=password]") === document.activeElement`)
	p.do(chromedp.SendKeys(chromedp.CSS("#key"), "close-sesame"))
	p.click("Unlock")
	p.says("#key-wrong", "not accepted")
	eval[chromedp.Void](p, `document.querySelector("#key").value = ""`)
	p.do(chromedp.SendKeys(chromedp.CSS("#key"), key+"\r"))
	p.loaded()
	p.click("Compare")
	p.wait("the map", `document.querySelector("table")`)
	p.click("The same with curl")
	p.says(".curl code", "Authorization: Bearer $API_KEY")
	if strings.Contains(eval[string](p, "document.documentElement.outerHTML"), key) {
		t.Error("the key stands in the page")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if strings.Contains(r, key) {
			t.Errorf("the key stands in %s", r)
		}
	}
}

// TestStart shows a server that fetches its model, and then has it.
func TestStart(t *testing.T) {
	var status atomic.Value
	status.Store(`{"status":"Checking model files...","gpu":false,"queue":0,"model":"org/Tiny","type":"embed"}`)
	base := between(t, server.Start(t, true), func(w http.ResponseWriter, r *http.Request) bool {
		word := status.Load().(string)
		if r.URL.Path != "/api/status" || word == "" {
			return false
		}
		fmt.Fprint(w, word)
		return true
	})
	p := open(t, base+"/", desk)
	p.says("#notice", "Checking model files...")
	progress := `{"status":"Downloading model files...","gpu":false,"queue":0,"model":"org/Tiny","type":"embed",
		"progress":{"files":8,"files_done":5,"bytes":%d,"total_bytes":500000000,"bytes_per_second":48000000,"eta_seconds":%s}}`
	status.Store(fmt.Sprintf(progress, 125000000, "7.8"))
	p.says("#notice", "125 MB of 500 MB · 5 of 8 files · 48.0 MB a second · 8 seconds left")
	if at := eval[float64](p, `document.querySelector("progress").position`); at != 0.25 {
		t.Errorf("the bar is at %g", at)
	}
	status.Store(fmt.Sprintf(progress, 250000000, "null"))
	p.wait("the bar to move", `document.querySelector("progress").position === 0.5`)

	t.Run("an unseen page asks nothing", func(t *testing.T) {
		see := func(hidden bool) {
			eval[chromedp.Void](p, fmt.Sprintf(`Object.defineProperty(document, "hidden", {value: %t, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`, hidden))
		}
		see(true)
		time.Sleep(200 * time.Millisecond) // for one that is on its way
		before := p.sent("/api/status")
		time.Sleep(1500 * time.Millisecond)
		if after := p.sent("/api/status"); after != before {
			t.Errorf("%d requests", after-before)
		}
		see(false)
		p.wait("the next look", "true")
	})
	status.Store(`{"status":"Model configuration not found","gpu":false,"queue":0,"model":"org/Tiny","type":"embed"}`)
	p.says("#notice .bad", "Model configuration not found")
	status.Store(`{"status":"ready","gpu":false,"queue":3,"model":"org/Tiny","type":"embed"}`)
	p.loaded()
	p.says("#state", "Ready, 3 jobs waiting")
	if eval[string](p, `document.querySelector("#notice").textContent`) != "" {
		t.Error("the page still tells of the start")
	}
}

func TestTypeWithoutPanel(t *testing.T) {
	base := between(t, server.Start(t, true), func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/status" {
			fmt.Fprint(w, `{"status":"ready","gpu":false,"queue":0,"model":"org/Tiny","type":"ner"}`)
		}
		return r.URL.Path == "/api/status"
	})
	p := open(t, base+"/", desk)
	p.says("#panel", "No panel for type ner")
	p.says("#panel a[href=docs]", "API documentation")
}

func TestLostServerComesBack(t *testing.T) {
	var lost atomic.Bool
	lost.Store(true)
	base := between(t, server.Start(t, true), func(_ http.ResponseWriter, r *http.Request) bool {
		if lost.Load() && r.URL.Path == "/api/status" {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	p := open(t, base+"/", desk)
	p.expect("Failed to load resource")
	p.says("#notice", "The server cannot be reached.")
	lost.Store(false)
	p.loaded()
}

// TestPrefix: an ingress may leave the model's name in front of every path.
func TestPrefix(t *testing.T) {
	s := server.Start(t, true)
	p := open(t, s.Base+"/builtin-embed/", desk)
	p.loaded()
	p.click("Compare")
	p.wait("the map", `document.querySelector("table")`)
	if p.sent("/builtin-embed/v1/embeddings") != 1 {
		t.Error("the request lost the prefix")
	}
	p.click("The same with curl")
	p.says(".curl code", s.Base+"/builtin-embed/v1/embeddings")
}
