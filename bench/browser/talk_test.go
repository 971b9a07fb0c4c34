package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"remote-client-server/bench/contract/server"
)

// answered waits until the model has given so many answers.
func (p *tab) answered(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf("answer %d", n), fmt.Sprintf(`document.querySelectorAll(".talk .assistant").length === %d && !document.querySelector(".talk [aria-busy]")`, n))
}

// last is the text of the newest answer.
const last = ".talk li:last-child .said"

func TestAConversation(t *testing.T) {
	s := server.Start(t, true, "--model_type", "text")
	p := open(t, s.Base+"/", desk)
	p.loaded()
	p.do(chromedp.KeyEvent("Count from 3 to 9.")) // the focus is where one writes
	p.pressEnter()
	p.answered(1)
	p.says(last, "3, 4, 5, 6, 7, 8, 9.")
	for _, part := range []string{"tokens behind", "first after", "tokens a second"} {
		p.says(".figures", part)
	}
	p.do(chromedp.KeyEvent("My name is Olga."))
	p.click("Send")
	p.answered(2)
	p.says(last, "Olga")
	p.do(chromedp.KeyEvent("What is my name?"))
	p.pressEnter()
	p.answered(3)
	p.says(last, "Your name is Olga.")
	p.click("Answer again")
	p.answered(3)
	p.says(last, "Olga")

	t.Run("HTML stays text", func(t *testing.T) {
		const html = `<img src=x onerror="alert(1)">`
		p.do(chromedp.KeyEvent(html))
		p.pressEnter()
		p.answered(4)
		p.says(".talk .user:nth-last-child(2) .said", html)
		if eval[int](p, `document.querySelectorAll("main img").length`) != 0 {
			t.Error("a text became HTML")
		}
	})
	t.Run("the command", func(t *testing.T) {
		p.click("The same with curl")
		p.says(".curl code", s.Base+"/v1/chat/completions")
		p.says(".curl code", "What is my name?")
	})
	t.Run("begun anew", func(t *testing.T) {
		p.click("New conversation")
		p.wait("an empty conversation", `document.querySelectorAll(".talk li").length === 0`)
		p.click("What is the capital of Norway?")
		p.answered(1)
		p.says(last, "The capital of Norway is Oslo.")
	})
	t.Run("a refusal names its field", func(t *testing.T) {
		p.expect("status of 400")
		p.click("Options")
		eval[chromedp.Void](p, `document.querySelector("form").noValidate = true`)
		p.do(chromedp.SendKeys(chromedp.CSS("#top-p"), "7"))
		p.click("Hello!")
		p.wait("the field", `document.querySelector("#top-p[aria-invalid]")`)
		p.says(".wrong", "top_p")
	})
}

func TestTheConversationOnEveryScreen(t *testing.T) {
	s := server.Start(t, true, "--model_type", "text")
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				p := open(t, s.Base+"/", view{width, 800, scheme})
				p.loaded()
				p.click("Options")
				p.click("The same with curl")
				p.click("What is 17 plus 25?")
				p.answered(1)
				if wide := eval[string](p, `document.documentElement.scrollWidth > innerWidth ? String(document.documentElement.scrollWidth) : ""`); wide != "" {
					t.Errorf("the page is %s pixels wide", wide)
				}
				for _, fault := range eval[[]string](p, contrast) {
					t.Error("too little contrast: ", fault)
				}
				for _, fault := range eval[[]string](p, nameless) {
					t.Error("without a name: ", fault)
				}
			})
		}
	}
}
