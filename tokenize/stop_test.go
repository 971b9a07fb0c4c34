package tokenize

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// pushAll gives the pieces to a matcher.
func pushAll(s *Stops, pieces ...string) (out string, which string) {
	for _, p := range pieces {
		o, stopped, w := s.Push(p)
		out += o
		if stopped {
			return out, w
		}
	}
	return out + s.Flush(), ""
}

func TestStopStringsEndTheText(t *testing.T) {
	for _, c := range []struct {
		name        string
		stops       []string
		include     bool
		pieces      []string
		want, which string
	}{
		{"none", nil, false, []string{"a", "b"}, "ab", ""},
		{"an empty one never matches", []string{""}, false, []string{"ab"}, "ab", ""},
		{"inside one piece", []string{"STOP"}, false, []string{"one STOP two"}, "one ", "STOP"},
		{"over three pieces", []string{"STOP"}, false, []string{"one S", "TO", "P two"}, "one ", "STOP"},
		{"kept with include", []string{"STOP"}, true, []string{"one S", "TO", "P two"}, "one STOP", "STOP"},
		{"at the very first piece", []string{"\n"}, false, []string{"\n", "x"}, "", "\n"},
		{"the whole text", []string{"ab"}, false, []string{"a", "b"}, "", "ab"},
		{"only begun", []string{"STOP"}, false, []string{"one ST", "O"}, "one STO", ""},
		{"begun, then begun again", []string{"aab"}, false, []string{"aaa", "b"}, "a", "aab"},
		{"one is the beginning of another", []string{"ab", "abc"}, false, []string{"xabc"}, "x", "ab"},
		{"one is the end of another", []string{"bc", "abc"}, false, []string{"xabc"}, "x", "abc"},
		{"one is inside of another", []string{"abcd", "bc"}, false, []string{"xabcd"}, "xa", "bc"},
		{"several that end together", []string{"er", "longer"}, false, []string{"we are longer"}, "we are ", "longer"},
		{"overlapping ones", []string{"abab", "bax"}, false, []string{"aba", "x"}, "a", "bax"},
		{"characters of several bytes", []string{"。終"}, false, []string{"はい。", "終わり"}, "はい", "。終"},
		{"characters that share their first byte", []string{"é"}, false, []string{"è", "ê", "é!"}, "èê", "é"},
		{"twice the same string", []string{"x", "x"}, false, []string{"axb"}, "a", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, which := pushAll(NewStops(c.stops, c.include), c.pieces...)
			if out != c.want || which != c.which {
				t.Errorf("%q by %q, want %q by %q", out, which, c.want, c.which)
			}
		})
	}
}

func TestNothingComesBehindAStop(t *testing.T) {
	s := NewStops([]string{"x"}, true)
	s.Push("ax")
	if out, stopped, which := s.Push("more"); out != "" || !stopped || which != "" {
		t.Errorf("%q %v %q", out, stopped, which)
	}
	if out := s.Flush(); out != "" {
		t.Errorf("flushed %q", out)
	}
}

func TestOnlyWhatMayStopIsHeldBack(t *testing.T) {
	s := NewStops([]string{"</end>"}, false)
	for _, step := range [][2]string{{"a <", "a "}, {"/e", ""}, {"x", "</ex"}, {"y", "y"}} {
		if out, _, _ := s.Push(step[0]); out != step[1] {
			t.Errorf("%q gave %q, want %q", step[0], out, step[1])
		}
	}
}

// firstStop is the definition: the stop string whose end comes first, the longest of them.
func firstStop(text string, stops []string) (end int, which string) {
	end = len(text) + 1
	for _, s := range stops {
		if k := strings.Index(text, s); s != "" && k >= 0 {
			if k+len(s) < end || k+len(s) == end && len(s) > len(which) {
				end, which = k+len(s), s
			}
		}
	}
	return end, which
}

func TestStopsFindWhatASearchFindsInEverySplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(most int) string {
		b := make([]byte, rng.IntN(most+1))
		for i := range b {
			b[i] = "ab"[rng.IntN(2)]
		}
		return string(b)
	}
	for range 300 {
		text, stops := word(12), []string{word(4), word(5), word(3)}
		end, which := firstStop(text, stops)
		for _, include := range []bool{false, true} {
			want := text
			switch {
			case which != "" && include:
				want = text[:end]
			case which != "":
				want = text[:end-len(which)]
			}
			for i := range len(text) + 1 {
				for k := i; k <= len(text); k++ {
					out, got := pushAll(NewStops(stops, include), text[:i], text[i:k], text[k:])
					if out != want || got != which {
						t.Fatalf("%q %q: %q by %q, want %q by %q", text, stops, out, got, want, which)
					}
				}
			}
		}
	}
}

func BenchmarkStops(b *testing.B) {
	text := strings.Repeat("the quick brown fox ", 50)
	stops := []string{"\n\n", "</s>", "User:", "the quick red"}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s := NewStops(stops, false)
		for i := 0; i < len(text); i += 4 {
			s.Push(text[i : i+4])
		}
	}
}
