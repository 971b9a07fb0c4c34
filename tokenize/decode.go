package tokenize

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns tokens back into text; its output is joined without anything between.
type decoder interface {
	decode(tokens []string) []string
}

type decoders []decoder

func (ds decoders) decode(tokens []string) []string {
	limit := 0
	for i, d := range ds {
		if i == 0 {
			limit = grown(totalLen(tokens)) + 16*len(tokens)
		}
		tokens = d.decode(tokens)
		if i+1 < len(ds) && totalLen(tokens) > limit {
			return nil // only a file that is after the memory gets here
		}
	}
	return tokens
}

func totalLen(tokens []string) (n int) {
	for _, t := range tokens {
		n += len(t)
	}
	return n
}

// eachToken rewrites every token on its own.
type eachToken func(i int, token string) string

func (f eachToken) decode(tokens []string) []string {
	for i, t := range tokens {
		tokens[i] = f(i, t)
	}
	return tokens
}

// byteLevelDecoder reads GPT-2's spelling of bytes; a token that is not in that spelling stands for itself.
type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(tokens []string) []string {
	var b []byte
next:
	for _, t := range tokens {
		start := len(b)
		for _, r := range t {
			if int(r) >= len(runeByte) || runeByte[r] < 0 {
				b = append(b[:start], t...)
				continue next
			}
			b = append(b, byte(runeByte[r]))
		}
	}
	return []string{toValid(string(b))}
}

// byteFallbackDecoder reads runs of <0xHH>; a run that is not UTF-8 becomes one U+FFFD a byte.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) decode(tokens []string) []string {
	var out []string
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' {
			if v, err := strconv.ParseUint(strings.TrimPrefix(t[3:5], "+"), 16, 8); err == nil {
				run = append(run, byte(v))
				continue
			}
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

func fuse(tokens []string) []string { return []string{strings.Join(tokens, "")} }

type decoderFunc func([]string) []string

func (f decoderFunc) decode(tokens []string) []string { return f(tokens) }

// wordPieceDecoder joins continuations and puts a space before the other tokens.
func wordPieceDecoder(prefix string, clean bool) decoder {
	return eachToken(func(i int, t string) string {
		if i > 0 {
			if rest, ok := strings.CutPrefix(t, prefix); ok {
				t = rest
			} else {
				t = " " + t
			}
		}
		if clean {
			t = cleanUp(t)
		}
		return t
	})
}

// metaspaceDecoder turns the visible blank back into a space, and drops it in the first token if it was put there.
func metaspaceDecoder(replacement string, prepended bool) decoder {
	return eachToken(func(i int, t string) string {
		if i == 0 && prepended {
			return strings.ReplaceAll(t, replacement, "")
		}
		return strings.ReplaceAll(t, replacement, " ")
	})
}

// bpeDecoder turns the end-of-word suffix into a space.
func bpeDecoder(suffix string) decoder {
	return decoderFunc(func(tokens []string) []string {
		for i, t := range tokens {
			space := " "
			if i == len(tokens)-1 {
				space = ""
			}
			if suffix != "" {
				tokens[i] = strings.ReplaceAll(t, suffix, space)
			}
		}
		return tokens
	})
}

// ctcDecoder joins repeated tokens, drops padding and turns the word delimiter into a space (Graves et al. 2006).
func ctcDecoder(pad, delimiter string, clean bool) decoder {
	return decoderFunc(func(tokens []string) []string {
		out := make([]string, 0, len(tokens))
		for i, t := range tokens {
			if i > 0 && t == tokens[i-1] {
				continue
			}
			if pad != "" {
				t = strings.ReplaceAll(t, pad, "")
			}
			if clean {
				t = cleanUp(t)
				if delimiter != "" {
					t = strings.ReplaceAll(t, delimiter, " ")
				}
			}
			if t != "" {
				out = append(out, t)
			}
		}
		return out
	})
}

// stripDecoder takes up to start and stop characters off the ends of each token.
func stripDecoder(content string, start, stop int) decoder {
	return eachToken(func(_ int, t string) string {
		for k := 0; k < start && strings.HasPrefix(t, content); k++ {
			t = t[len(content):]
		}
		for k := 0; k < stop && strings.HasSuffix(t, content); k++ {
			t = t[:len(t)-len(content)]
		}
		return t
	})
}

func replaceDecoder(m matcher, content string) decoder {
	return eachToken(func(_ int, t string) string {
		x := text{s: t}
		x.substitute(m, content)
		return x.s
	})
}

// cleanUp takes back the spaces that tokenisation put around English punctuation.
var cleanUp = func() func(string) string {
	pairs := [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}}
	return func(s string) string {
		if !strings.Contains(s, " ") {
			return s
		}
		for _, p := range pairs {
			s = strings.ReplaceAll(s, p[0], p[1])
		}
		return s
	}
}()
