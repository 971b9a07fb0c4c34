package main

import (
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// corpus is a set of texts and what longer ones are made of. All that it makes follows from its texts and a seed.
type corpus struct {
	texts  []string
	pieces []string // the short texts
	words  []string // English
	han    []rune   // and the other letters of Chinese, Japanese and Korean
}

// readCorpus reads a gzipped JSON list of texts.
func readCorpus(file string) (*corpus, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	c := &corpus{}
	if err := json.NewDecoder(z).Decode(&c.texts); err != nil {
		return nil, err
	}
	word := regexp.MustCompile(`^[a-z]{1,14}$`)
	for _, text := range c.texts {
		if len(text) <= 40 {
			c.pieces = append(c.pieces, text)
		}
		for _, w := range strings.Fields(text) {
			if word.MatchString(w) {
				c.words = append(c.words, w)
			}
		}
		for _, r := range text {
			if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) {
				c.han = append(c.han, r)
			}
		}
	}
	return c, nil
}

func pick[T any](r *rand.Rand, a []T) T { return a[r.IntN(len(a))] }

// mixtures are n new texts: short ones strung together, every fifth of random code points.
func (c *corpus) mixtures(n int) []string {
	r, out := rand.New(rand.NewPCG(1, 1)), make([]string, n)
	for i := range out {
		for range 2 + r.IntN(12) {
			if i%5 == 0 {
				out[i] += string(rune(r.IntN(pick(r, []int{0x250, 0x3100, 0xd800, unicode.MaxRune})))) // a surrogate becomes U+FFFD
			} else {
				out[i] += pick(r, c.pieces) + pick(r, []string{"", "", " "})
			}
		}
	}
	return out
}

// kinds are the texts for timing.
var kinds = []string{"english", "cjk", "letters", "blanks", "mixed"}

// long gives a text of about n bytes, another one for every seed, so that no library remembers it.
func (c *corpus) long(kind string, n int, seed uint64) string {
	r := rand.New(rand.NewPCG(2, seed))
	var b strings.Builder
	for b.Len() < n {
		switch kind {
		case "english": // one word in eight is a compound, so that there are thousands of words, as in prose
			if r.IntN(8) == 0 {
				b.WriteString(pick(r, c.words))
			}
			b.WriteString(pick(r, c.words) + pick(r, []string{" ", " ", " ", " ", " ", " ", ", ", ". "}))
		case "cjk":
			b.WriteRune(pick(r, c.han))
		case "letters":
			b.WriteByte('a' + byte(seed%26))
		case "blanks":
			b.WriteByte(' ')
		case "mixed":
			b.WriteString(pick(r, c.pieces) + " ")
		}
	}
	return strings.ToValidUTF8(b.String()[:n-int(seed%8)], "")
}
