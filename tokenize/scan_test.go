package tokenize

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func matches(m matcher, s string) (out [][]int) {
	m.find(s, func(a, b int) { out = append(out, []int{a, b}) })
	return out
}

// TestScannerMatchesAsRE2Does compares with package regexp, which has the same preference among matches, on random
// patterns of the scanner's shape.
func TestScannerMatchesAsRE2Does(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	scanned := 0
	for range 3000 {
		var branches []string
		for range 1 + r.IntN(3) {
			var b strings.Builder
			for range 1 + r.IntN(3) {
				b.WriteString(pick("a", "b", "[ab]", "[^a]", "[b-d]", "[^b\\n]", "é"))
				b.WriteString(pick("", "", "?", "*", "+", "{1,3}", "{2}"))
			}
			b.WriteString(pick("", "", "", "(?:ab|a|c)", "(?:ab|b)?"))
			branches = append(branches, b.String())
		}
		pattern := strings.Join(branches, "|")
		n, err := parsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		m := newScanner(n)
		if m == nil {
			continue
		}
		scanned++
		re := regexp.MustCompile(pattern)
		for range 20 {
			var s strings.Builder
			for range r.IntN(12) {
				s.WriteString(pick("a", "a", "b", "c", "d", "é", "\n"))
			}
			want := re.FindAllStringIndex(s.String(), -1)
			got := matches(m, s.String())
			if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("pattern %q in %q: %v, package regexp %v", pattern, s.String(), got, want)
			}
		}
	}
	if scanned < 500 {
		t.Errorf("only %d patterns had the scanner's shape", scanned)
	}
}

func TestKnownPatternsNeedNoFallback(t *testing.T) {
	for _, p := range []string{gpt2Pattern, qwen2Pattern, clipPattern, ` {2,}`, `\s+`, `\s{2,}|[\n\r\t]`, ` ?[^(\s|[.,!?…。，、।۔،])]+`, `[0-9][0-9][0-9]`, `\p{N}{1,3}`,
		`[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`} {
		m, err := compilePattern(p)
		if err != nil {
			t.Error(err)
		} else if _, ok := m.(*scanner); !ok {
			t.Errorf("pattern %q is matched by %T", p, m)
		}
	}
}

func TestPatternsBeyondTheScannersShapeMatchToo(t *testing.T) {
	for _, c := range []struct{ pattern, text, want string }{
		{`^ +`, "  a\n b", "[[0 2] [4 5]]"},
		{`(?:ab)+c`, "ababc abc", "[[0 5] [6 9]]"},
		{`a+?b`, "aab", "[[0 3]]"},
		{`(?i)^rot`, "Rot\nrOT", "[[0 3] [4 7]]"},
		{`[^\P{Lu}A]`, "aAB", "[[2 3]]"},
	} {
		m, err := compilePattern(c.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprint(matches(m, c.text)); got != c.want {
			t.Errorf("pattern %q in %q: %s, want %s", c.pattern, c.text, got, c.want)
		}
	}
}

// TestLongTextsTakeLinearWork reads megabytes of what makes bad algorithms quadratic; at quadratic cost it would not
// end.
func TestLongTextsTakeLinearWork(t *testing.T) {
	long := []string{strings.Repeat("a", 1<<20), strings.Repeat(" ", 1<<20), strings.Repeat("你", 1<<18), strings.Repeat("\u0301", 1<<18), strings.Repeat("\u0323\u0301", 1<<17), strings.Repeat("Ab", 1<<19), strings.Repeat("!", 1<<20), strings.Repeat("\n ", 1<<19), strings.Repeat("ﷺ", 1<<16)}
	if raceDetector {
		long = []string{strings.Repeat("a", 1<<16), strings.Repeat("\u0323\u0301", 1<<15)}
	}
	for _, name := range []string{"bert-uncased", "roberta", "xlm-roberta", "qwen3-embedding", "gpt4o", "llama2", "deberta-v3", "modernbert", "bpe-affixes"} {
		t.Run(name, func(t *testing.T) {
			k, _ := loadFixture(t, name)
			for _, s := range long {
				ids, cut := k.IDs(s, true, 512)
				if len(ids) > 512 || cut < 0 {
					t.Errorf("%d ids, %d cut", len(ids), cut)
				}
			}
		})
	}
}
