package browser

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"remote-client-server/bench/contract/server"
)

// contrast lists the visible texts whose colour is too close to what is behind
// it: below 4.5 to 1, or 3 to 1 for large ones (WCAG 2.2, 1.4.3).
const contrast = `(() => {
	const rgb = (s) => s.match(/[\d.]+/g).map(Number);
	const light = (c) => {
		const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = rgb(getComputedStyle(e).backgroundColor);
			if (c.length < 4 || c[3] === 1) return c.slice(0, 3);
		}
		return [255, 255, 255];
	};
	const found = [];
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "") || e.matches("input");
		if (!own || !e.checkVisibility() || e.matches(":disabled")) continue;
		const style = getComputedStyle(e);
		const size = parseFloat(style.fontSize);
		const [a, b] = [light(rgb(style.color).slice(0, 3)), light(behind(e))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 600) ? 3 : 4.5)) found.push(e.tagName + " " + ratio.toFixed(2) + " " + e.textContent.slice(0, 40));
	}
	return found;
})()`

// nameless lists controls that a screen reader could not name.
const nameless = `[...document.querySelectorAll("button, input, select, a, progress, table")]
	.filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.title))
	.map((e) => e.outerHTML.slice(0, 80))`

func TestEveryScreenAndScheme(t *testing.T) {
	s := server.Start(t, true)
	for _, width := range []int64{360, 768, 1280, 1600} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				p := open(t, s.Base+"/", view{width, 800, scheme})
				p.loaded()
				p.click("Options")
				p.click("The same with curl")
				p.click("Compare")
				p.wait("the map", `document.querySelector("table")`)
				if wide := eval[string](p, `document.documentElement.scrollWidth > innerWidth ? String(document.documentElement.scrollWidth) : ""`); wide != "" {
					t.Errorf("the page is %s pixels wide", wide)
				}
				for _, fault := range eval[[]string](p, contrast) {
					t.Errorf("contrast: %s", fault)
				}
				for _, fault := range eval[[]string](p, nameless) {
					t.Errorf("no name: %s", fault)
				}
			})
		}
	}
}

func TestSwaggerUI(t *testing.T) {
	s := server.Start(t, true)
	p := open(t, s.Base+"/docs", desk)
	p.wait("the operations", `document.querySelector(".opblock")`)
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(s.Do(t, server.Request{Path: "/openapi.json"}).Body, &doc); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, item := range doc.Paths {
		want += len(item)
	}
	if got := eval[int](p, `document.querySelectorAll(".opblock").length`); got != want {
		t.Errorf("%d operations, the description has %d", got, want)
	}
	for _, operation := range []string{"Embeddings-embeddingsV1", "Status-status", "KServe_V2-v2Infer"} {
		t.Run(operation, func(t *testing.T) {
			within := "#operations-" + operation + " "
			p.do(chromedp.Click(chromedp.CSS(within+".opblock-summary-control")), chromedp.Click(chromedp.CSS(within+".try-out__btn")))
			if eval[bool](p, fmt.Sprintf(`document.querySelector(%q + "input[placeholder=model]") !== null`, within)) {
				p.do(chromedp.SendKeys(chromedp.CSS(within+"input[placeholder=model]"), "builtin-embed"))
			}
			p.do(chromedp.Click(chromedp.CSS(within + ".execute")))
			p.says(within+".live-responses-table tbody .response-col_status", "200")
		})
	}
	if eval[bool](p, `document.querySelector(".errors-wrapper") !== null`) {
		t.Error(eval[string](p, `document.querySelector(".errors-wrapper").innerText`))
	}
}

func TestReDoc(t *testing.T) {
	p := open(t, server.Start(t, true).Base+"/redoc", desk)
	p.wait("the document", `document.querySelectorAll("[data-section-id*='/operation/']").length > 40`)
	p.says("h1", "Model server")
	p.says("#redoc", "Turn texts into vectors")
}

func TestNarrowDescription(t *testing.T) {
	s := server.Start(t, true)
	for path, there := range map[string]string{"/docs": ".opblock", "/redoc": "[data-section-id*='/operation/']"} {
		p := open(t, s.Base+path, view{360, 740, "light"})
		p.wait("the operations", fmt.Sprintf("document.querySelector(%q)", there))
		if eval[bool](p, `document.documentElement.scrollWidth > innerWidth`) {
			t.Errorf("%s scrolls sideways", path)
		}
	}
}
