package grammar

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"remote-client-server/tokenize/grammar"
)

var patterns = []string{
	`abc`, `a|b|cd`, `(a|bc)*d?`, `[a-c]+[^a-c]`, `\d{2,4}-\w+`, `.{0,3}x`, `(?:ab){1,3}`, `a*?b+?c??`, `[[:alpha:]_][[:word:]]*`,
	`\s*\S+\s*`, `(?i)hello`, `(?i:ab)c`, `(?s).b.`, `\p{Greek}+`, `\pL\PL`, `[\p{Lu}\d]{3}`, `é+😀?`, `[à-ü]{2}`, `\x41\x{42}`,
	`^ab$`, `^a|b$`, `(^a|b$)`, `a{0}b`, `a{3}`, `a{2,}`, `()|a`, `a||b`, `[\]\-^]+`, `[^\n]{2}`, `\.\*\+\?\(\)\[\]\{\}\\\|\^\$`, `(?P<n>a)b`,
	`(a|ab)(c|bcd)(d*)`, `(a|b)*a(a|b){4}`, `[^\x00-\x{10FFFF}]|x`, `a{2}{`, `\W\D`, `(?i)[k-ſ]`, `[\s\d]+`, `[^\S]a`, `\A\d\z`,
}

// randomPattern is a pattern over few characters.
func randomPattern(r *rand.Rand, depth int) string {
	atoms := []string{"a", "b", "ab", "[ab]", "[^a]", ".", `\d`, `\w`, "é", "[a-é]", `\n`, `\s`}
	if depth == 0 {
		return atoms[r.IntN(len(atoms))]
	}
	sub := func() string { return randomPattern(r, depth-1) }
	switch r.IntN(6) {
	case 0:
		return sub() + sub()
	case 1:
		return "(" + sub() + "|" + sub() + ")"
	case 2:
		return "(?:" + sub() + ")" + []string{"*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?"}[r.IntN(7)]
	case 3:
		return sub() + "|" + sub()
	case 4:
		return "(^" + sub() + "|" + sub() + "$)" + sub()
	}
	return sub() + atoms[r.IntN(len(atoms))] + sub()
}

func randomString(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString([]string{"a", "b", "é", "1", "\n", " ", "x", "😀", "α", "A", "_", "-", "ab", "c", "d"}[r.IntN(15)])
	}
	return b.String()
}

func TestPatternsAreThoseOfRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 7))
	all := append([]string{}, patterns...)
	for range 400 {
		all = append(all, randomPattern(r, 1+r.IntN(4)))
	}
	m := tiny(t, r)
	for _, p := range all {
		judge, err := regexp.Compile(`\A(?:` + p + `)\z`)
		if err != nil {
			t.Fatal(err)
		}
		g, err := grammar.CompileRegex(p, grammar.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "nothing satisfies") {
				t.Errorf("%q: %v", p, err)
			}
			for range 200 {
				if s := randomString(r); judge.MatchString(s) {
					t.Errorf("%q: nothing is said to match, regexp matches %q", p, s)
				}
			}
			continue
		}
		c := m.constraint(t, g)
		for range 10 {
			text, complete := m.write(t, c, c.Least()+r.IntN(12), r)
			if !complete || !judge.Match(text) {
				t.Errorf("%q: %q was written, complete %v", p, text, complete)
				break
			}
		}
		for range 30 {
			s := randomString(r)
			if got, want := m.takes(t, c, s, r), judge.MatchString(s); got != want {
				t.Errorf("%q: %q: taken %v, regexp %v", p, s, got, want)
				break
			}
		}
	}
}

func TestASchemasPatternIsSearchedForLikeRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	m := tiny(t, r)
	for range 150 {
		p := strings.NewReplacer(".", "[^\n\r\u2028\u2029]").Replace(randomPattern(r, 1+r.IntN(3)))
		judge := regexp.MustCompile(p)
		quoted := `{"type": "string", "pattern": "` + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(p) + `"}`
		g, err := grammar.CompileSchema([]byte(quoted), grammar.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "nothing satisfies") {
				t.Errorf("%q: %v", p, err)
			}
			continue
		}
		c := m.constraint(t, g)
		for range 20 {
			s := randomString(r)
			text := `"` + strings.NewReplacer("\n", `\n`).Replace(s) + `"`
			if got, want := m.takes(t, c, text, r), judge.MatchString(s); got != want {
				t.Errorf("%q: %q: taken %v, regexp %v", p, s, got, want)
				break
			}
		}
	}
}
