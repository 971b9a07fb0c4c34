// Package tokenize turns text into the token ids that a model was trained on, and back.
//
// It exists because an embedding or an answer is right only if every id is: the package reproduces Hugging Face's
// tokenizers library (0.23) to the id, the offset and the decoded byte, from the same files, in pure Go.
// The library's behaviour is the specification, its oddities included; testdata holds its answers for small
// tokenizers of every family, and the tests ask for all of them.
//
// A text goes through five stages, one file each:
//
//	added.go        added tokens ("[MASK]", "<|im_end|>") are cut out of the raw text, others out of the normalised text
//	normalize.go    the rest is normalised: lower case, Unicode forms (form.go), SentencePiece's map (precompiled.go)
//	pretokenize.go  and cut into pieces: by white space, by a pattern (pattern.go reads it, scan.go matches it)
//	model.go        each piece becomes tokens: WordPiece, bpe.go, unigram.go
//	postprocess.go  special tokens go around it; truncate.go shortens it before
//
// A piece is pushed through the stages as soon as it is cut, so a long text costs memory for its tokens only, and
// time in proportion to its length (n log n within one unbroken word).
// Where offsets are wanted, text.go keeps for every byte the part of the input that it came from; where only ids are
// wanted, it keeps nothing.
// decode.go and stream.go go the other way; stop.go ends a stream at a stop string.
// parts.go keeps special tokens out of text that a user wrote.
//
// Load reads a repository folder: tokenizer.json (json.go, parse.go), or the older files of a slow tokenizer
// (convert.go, sentencepiece.go).
// Files are data of strangers: sizes, ids and nesting are checked before anything is allocated, and errors name the
// key.
//
// Character properties come from unicode.tab, which holds what the library answers for each of the 1,112,064 code
// points; no two of its parts agree on a version of Unicode.
package tokenize

import (
	"math"
	"strings"
	"sync"
)

// Tokenizer is immutable after it is loaded and safe for use by several goroutines.
type Tokenizer struct {
	model      model
	normalizer normalizer // nil: none
	pre        []preTokenizer
	post       postProcessor
	decoder    decoder // nil: tokens joined by spaces
	added      *addedVocab

	truncation *Truncation
	padding    *Padding

	lowercases bool // the normalizer lower-cases
	needsStart bool // a piece must know whether it starts the input, even where no offsets are wanted
	encoders   sync.Pool
}

// Encoding is an encoded text, one entry a token.
type Encoding struct {
	IDs     []int32
	TypeIDs []int32  // which text of a pair the token belongs to, as the model counts
	Special []bool   // put there by the post-processor
	Tokens  []string // the token's spelling
	Offsets [][2]int // bytes of the input text, [0,0] for special tokens; of a text that is not UTF-8, bytes of the text with its broken parts replaced by U+FFFD
	// Overflow is what truncation cut off, where that was asked for.
	Overflow []*Encoding
	// Cut is how many tokens truncation took away.
	Cut int
}

func (e *Encoding) add(id, typeID int32, special bool, token string, offsets [2]int) {
	e.IDs = append(e.IDs, id)
	e.TypeIDs = append(e.TypeIDs, typeID)
	e.Special = append(e.Special, special)
	e.Tokens = append(e.Tokens, token)
	e.Offsets = append(e.Offsets, offsets)
}

// Encode gives the tokens of a text, with the model's special tokens around them if addSpecial is set.
func (t *Tokenizer) Encode(text string, addSpecial bool) *Encoding {
	return t.post.apply([]*Encoding{t.sequence(text)}, addSpecial)
}

// EncodePair gives the tokens of two texts in one sequence.
func (t *Tokenizer) EncodePair(a, b string, addSpecial bool) *Encoding {
	return t.post.apply([]*Encoding{t.sequence(a), t.sequence(b)}, addSpecial)
}

// IDs is the short way for embedders: the ids of Encode alone, at most max of them (0: no bound) with the special
// tokens kept and the text cut at its end, and how many tokens were cut.
func (t *Tokenizer) IDs(text string, addSpecial bool, max int) (ids []int32, cut int) {
	e := t.encoder(t.needsStart)
	defer t.release(e)
	e.ids = e.ids[:0]
	e.run(text)
	return t.finished(e.ids, addSpecial, max)
}

// finished puts the special tokens around a text's ids, cut to max.
func (t *Tokenizer) finished(text []int32, addSpecial bool, max int) (ids []int32, cut int) {
	items := t.post.template(false)
	special := 0
	if addSpecial {
		special = specialCount(items)
	}
	n := len(text)
	if max > 0 && n+special > max {
		n = max - special
		if n < 0 {
			n = 0
		}
		cut = len(text) - n
	}
	ids = make([]int32, 0, n+special)
	for _, it := range items {
		switch {
		case it.sequence == 0:
			ids = append(ids, text[:n]...)
		case it.sequence < 0 && addSpecial:
			ids = append(ids, it.ids...)
		}
	}
	if max > 0 && len(ids) > max {
		ids = ids[:max]
	}
	return ids, cut
}

// Decode gives the text of tokens; ids that do not exist are skipped, special tokens if skipSpecial is set.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		s, ok := t.decodable(id)
		if !ok || skipSpecial && t.added.special[s] {
			continue
		}
		tokens = append(tokens, s)
	}
	sep := ""
	if t.decoder == nil {
		sep = " "
	} else {
		tokens = t.decoder.decode(tokens)
	}
	return strings.Join(tokens, sep)
}

// decodable is the spelling of a token that decoding starts from.
func (t *Tokenizer) decodable(id int32) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.decoded, true
	}
	return t.model.vocabulary().token(id)
}

// TokenToID is the id of a token by its spelling.
func (t *Tokenizer) TokenToID(token string) (int32, bool) {
	if id, ok := t.added.byContent[token]; ok {
		return id, true
	}
	return t.model.vocabulary().id(token)
}

// IDToToken is the spelling of a token.
func (t *Tokenizer) IDToToken(id int32) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.content, true
	}
	return t.model.vocabulary().token(id)
}

// VocabSize counts the tokens, added ones included. Ids can be higher where the vocabulary has holes.
func (t *Tokenizer) VocabSize() int {
	v := t.model.vocabulary()
	n := v.count
	for content := range t.added.byContent {
		if _, ok := v.id(content); !ok {
			n++
		}
	}
	return n
}

// IsSpecial tells whether decoding can leave the token out.
func (t *Tokenizer) IsSpecial(id int32) bool {
	a, ok := t.added.byID[id]
	return ok && a.special
}

// SpecialCount is how many special tokens go around one text, or around a pair.
func (t *Tokenizer) SpecialCount(pair bool) int { return specialCount(t.post.template(pair)) }

// Truncation is what tokenizer.json says about truncation, nil if nothing; it is not applied by Encode.
func (t *Tokenizer) Truncation() *Truncation { return t.truncation }

// Padding is what tokenizer.json says about padding, nil if nothing; it is not applied by Encode.
func (t *Tokenizer) Padding() *Padding { return t.padding }

// LowercaseFirst is the tokenizer with a lower-casing step before its own normalizer, as sentence-transformers'
// do_lower_case asks for; itself if it lower-cases already.
func (t *Tokenizer) LowercaseFirst() *Tokenizer {
	if t.lowercases {
		return t
	}
	n := normalizers{normalizerFunc(lowercase)}
	if t.normalizer != nil {
		n = append(n, t.normalizer)
	}
	c := &Tokenizer{model: t.model, normalizer: n, pre: t.pre, post: t.post, decoder: t.decoder, added: t.added.clone(n), truncation: t.truncation, padding: t.padding, lowercases: true}
	c.finish()
	return c
}

// finish sets what follows from the parts.
func (t *Tokenizer) finish() {
	for i, p := range t.pre {
		if m, ok := p.(metaspace); ok && m.prepend == prependFirst && (i > 0 || t.normalizer != nil) {
			t.needsStart = true
		}
	}
	t.encoders.New = func() any { return newEncoder(t) }
}

// encoder carries one text through the stages.
type encoder struct {
	t     *Tokenizer
	track bool
	guard *guard    // nil: special tokens are found anywhere
	out   *Encoding // nil: only ids are wanted
	ids   []int32
	sc    scratch

	afterPlain, afterNormalized func(text, *addedToken)
	stages                      []func(text) // stage i feeds a piece to pre-tokenizer i, the last one to the model
}

func newEncoder(t *Tokenizer) *encoder {
	e := &encoder{t: t}
	e.stages = make([]func(text), len(t.pre)+1)
	e.stages[len(t.pre)] = e.tokenize
	for i := len(t.pre) - 1; i >= 0; i-- {
		p, next := t.pre[i], e.stages[i+1]
		e.stages[i] = func(x text) { p.split(x, next) }
	}
	e.afterNormalized = func(x text, a *addedToken) {
		if a != nil {
			e.emit(x, a)
		} else {
			e.stages[0](x)
		}
	}
	e.afterPlain = func(x text, a *addedToken) {
		if a != nil {
			e.emit(x, a)
			return
		}
		if t.normalizer != nil {
			t.normalizer.normalize(&x)
		}
		t.added.normalized.split(x, e.guard, e.afterNormalized)
	}
	return e
}

func (t *Tokenizer) encoder(track bool) *encoder {
	e := t.encoders.Get().(*encoder)
	e.track = track
	return e
}

func (t *Tokenizer) release(e *encoder) {
	e.out, e.guard = nil, nil
	if cap(e.ids) > maxScratch {
		e.ids = nil
	}
	if cap(e.sc.tokens) > maxScratch {
		e.sc.tokens = nil
	}
	t.encoders.Put(e)
}

// run feeds the stages; what it finds lands in out or ids.
func (e *encoder) run(s string) {
	if len(s) > math.MaxInt32/4 {
		s = s[:math.MaxInt32/4] // offsets are 32 bits wide inside
	}
	e.t.added.plain.split(text{s: toValid(s), track: e.track}, e.guard, e.afterPlain)
}

// emit takes an added token found in the text.
func (e *encoder) emit(x text, a *addedToken) {
	if e.out == nil {
		e.ids = append(e.ids, a.id)
		return
	}
	lo, hi := x.origin(0, len(x.s))
	e.out.add(a.id, 0, false, x.s, [2]int{int(lo), int(hi)})
}

// tokenize gives a piece to the model.
func (e *encoder) tokenize(x text) {
	if x.s == "" {
		return
	}
	e.sc.tokens = e.t.model.tokenize(x.s, e.sc.tokens[:0], &e.sc)
	if e.out == nil {
		for _, k := range e.sc.tokens {
			e.ids = append(e.ids, k.id)
		}
		return
	}
	for _, k := range e.sc.tokens {
		lo, hi := x.origin(int(k.lo), int(k.hi))
		e.out.add(k.id, 0, false, e.t.model.spelling(k, x.s), [2]int{int(lo), int(hi)})
	}
}

// sequence encodes one text without special tokens.
func (t *Tokenizer) sequence(s string) *Encoding {
	e := t.encoder(true)
	defer t.release(e)
	out := &Encoding{}
	e.out = out
	e.run(s)
	for _, p := range t.post.trims {
		p.apply(out, toValid(s))
	}
	return out
}
