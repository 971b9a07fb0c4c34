package tokenize

import (
	"strings"
	"unicode/utf8"
)

// DecodeStream decodes tokens as they come. It gives only text that later tokens do not change: never a part of a
// character, and a blank only when it is known to stay.
type DecodeStream struct {
	t           *Tokenizer
	skipSpecial bool
	ids         []int32 // a window: the tokens of prefix, then those behind it
	prefix      string  // the text of the window's first known tokens, given out before
	known       int     // how many tokens prefix stands for
}

const (
	// maxBroken is how many tokens may wait for the end of a character; no character needs more, so what is broken
	// then stays broken.
	maxBroken = 16
	// maxSilent is how many tokens may add nothing to the text before the window moves on.
	maxSilent = 256
)

// DecodeStream starts decoding a sequence of tokens.
func (t *Tokenizer) DecodeStream(skipSpecial bool) *DecodeStream {
	return &DecodeStream{t: t, skipSpecial: skipSpecial}
}

// Next takes the next token and gives the text that has become certain, often none.
func (d *DecodeStream) Next(id int32) string {
	if s, ok := d.t.decodable(id); !ok || d.skipSpecial && d.t.added.special[s] {
		return ""
	}
	d.ids = append(d.ids, id)
	s := d.t.Decode(d.ids, d.skipSpecial)
	waiting := len(d.ids) - d.known
	if len(s) <= len(d.prefix) && waiting < maxSilent || strings.HasSuffix(s, "\uFFFD") && waiting < maxBroken {
		return ""
	}
	return d.advance(s)
}

// Flush gives what is left when no more tokens come, broken characters as U+FFFD.
func (d *DecodeStream) Flush() string {
	return d.advance(d.t.Decode(d.ids, d.skipSpecial))
}

// advance gives out what s has beyond prefix and moves the window: the tokens given out now become the new prefix.
func (d *DecodeStream) advance(s string) string {
	n := 0
	for n < len(s) && n < len(d.prefix) && s[n] == d.prefix[n] {
		n++
	}
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	d.ids = append(d.ids[:0], d.ids[d.known:]...)
	d.known = len(d.ids)
	d.prefix = d.t.Decode(d.ids, d.skipSpecial)
	return s[n:]
}
