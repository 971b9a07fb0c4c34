package tokenize

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxSteps bounds the length of a normalizer, pre-tokenizer or decoder sequence, nesting included.
const maxSteps = 64

// Parse builds a tokenizer from the text of a tokenizer.json.
func Parse(tokenizerJSON []byte) (*Tokenizer, error) {
	o, err := members(tokenizerJSON)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	t := &Tokenizer{}
	for _, section := range []struct {
		key   string
		parse func(json.RawMessage) error
	}{
		{"model", func(b json.RawMessage) (err error) { t.model, err = parseModel(b); return }},
		{"normalizer", t.parseNormalizer},
		{"pre_tokenizer", t.parsePreTokenizer},
		{"post_processor", func(b json.RawMessage) (err error) { t.post, err = parsePostProcessor(b); return }},
		{"decoder", func(b json.RawMessage) (err error) { t.decoder, err = parseDecoder(b); return }},
		{"truncation", func(b json.RawMessage) (err error) { t.truncation, err = parseTruncation(b); return }},
		{"padding", func(b json.RawMessage) (err error) { t.padding, err = parsePadding(b); return }},
		{"added_tokens", t.parseAddedTokens},
	} {
		if err := section.parse(o[section.key]); err != nil {
			return nil, fmt.Errorf("tokenizer.json: %s: %w", section.key, err)
		}
	}
	t.readBytes()
	t.finish()
	return t, nil
}

// readBytes lets a byte-level BPE read bytes where the last pre-tokenizer would only spell them.
func (t *Tokenizer) readBytes() {
	n := len(t.pre)
	m, ok := t.model.(*bpe)
	if n == 0 || !ok {
		return
	}
	if p, ok := t.pre[n-1].(byteLevelSplit); ok && m.readRaw() {
		p.raw = true
		t.pre[n-1] = p
	}
}

// parts reads a member that lists further sections, and calls each with its place.
func parts(o map[string]json.RawMessage, key string, each func(json.RawMessage) error) error {
	list, err := field[[]json.RawMessage](o, key)
	if err != nil {
		return err
	}
	for i, b := range list {
		if err := each(b); err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return nil
}

// typed splits a section and gives its type.
func typed(b json.RawMessage) (map[string]json.RawMessage, string, error) {
	o, err := members(b)
	if err != nil {
		return nil, "", err
	}
	typ, err := field[string](o, "type")
	return o, typ, err
}

func (t *Tokenizer) parseNormalizer(b json.RawMessage) error {
	var steps normalizers
	if err := t.appendNormalizers(&steps, b); err != nil {
		return err
	}
	if len(steps) > 0 {
		t.normalizer = steps
	}
	return nil
}

func (t *Tokenizer) appendNormalizers(steps *normalizers, b json.RawMessage) error {
	if isNull(b) {
		return nil
	}
	if len(*steps) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	o, typ, err := typed(b)
	if err != nil {
		return err
	}
	var n normalizer
	switch typ {
	case "Sequence":
		return parts(o, "normalizers", func(b json.RawMessage) error { return t.appendNormalizers(steps, b) })
	case "BertNormalizer", "Bert":
		n, err = parseBertNormalizer(o)
		if err == nil && n.(bertNormalizer).lowercase {
			t.lowercases = true
		}
	case "NFC":
		n = nfc
	case "NFD":
		n = nfd
	case "NFKC":
		n = nfkc
	case "NFKD":
		n = nfkd
	case "Lowercase":
		n = normalizerFunc(lowercase)
		t.lowercases = true
	case "StripAccents":
		n = normalizerFunc(stripAccents)
	case "Nmt":
		n = normalizerFunc(nmt)
	case "ByteLevel":
		n = normalizerFunc(byteLevel)
	case "Strip":
		var s strip
		var err2 error
		s.left, err = field[bool](o, "strip_left")
		s.right, err2 = field[bool](o, "strip_right")
		n, err = s, errors.Join(err, err2)
	case "Prepend":
		var s string
		s, err = field[string](o, "prepend")
		n = prepend(s)
	case "Replace":
		var r replace
		var err2 error
		r.pattern, err = parseMatcher(o["pattern"])
		r.content, err2 = field[string](o, "content")
		n, err = r, errors.Join(err, err2)
	case "Precompiled":
		var m *charsmap
		if m, err = parseCharsmap(o); m == nil {
			return err
		}
		n = precompiled{m}
	default:
		return fmt.Errorf("type %q is not known", clip(typ))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	*steps = append(*steps, n)
	return nil
}

func parseBertNormalizer(o map[string]json.RawMessage) (n bertNormalizer, err error) {
	var errs [4]error
	n.cleanText, errs[0] = field[bool](o, "clean_text")
	n.chineseChars, errs[1] = field[bool](o, "handle_chinese_chars")
	n.lowercase, errs[2] = field[bool](o, "lowercase")
	n.stripAccents, errs[3] = optional(o, "strip_accents", n.lowercase)
	return n, errors.Join(errs[:]...)
}

// parseCharsmap is nil without error for an empty map, which changes nothing.
func parseCharsmap(o map[string]json.RawMessage) (*charsmap, error) {
	s, err := optional(o, "precompiled_charsmap", "")
	if err != nil || s == "" {
		return nil, err
	}
	blob, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		var m *charsmap
		if m, err = newCharsmap(blob); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("precompiled_charsmap: %w", err)
}

// parseMatcher reads {"String": …} or {"Regex": …}.
func parseMatcher(b json.RawMessage) (matcher, error) {
	o, err := members(b)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if _, ok := o["Regex"]; ok {
		src, err := field[string](o, "Regex")
		if err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
		return compilePattern(src)
	}
	s, err := field[string](o, "String")
	if err == nil && s == "" {
		err = errors.New("an empty String")
	}
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return literalMatcher(s), nil
}

func (t *Tokenizer) parsePreTokenizer(b json.RawMessage) error {
	if isNull(b) {
		return nil
	}
	if len(t.pre) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	o, typ, err := typed(b)
	if err != nil {
		return err
	}
	u := unicodeData()
	var p preTokenizer
	switch typ {
	case "Sequence":
		return parts(o, "pretokenizers", t.parsePreTokenizer)
	case "BertPreTokenizer":
		p = bertPreTokenizer{}
	case "WhitespaceSplit":
		p = splitter{runeMatcher(isSpace), removed, false}
	case "Whitespace":
		p = splitter{whitespacePattern{}, removed, true}
	case "Punctuation":
		var b behavior
		b, err = parseBehavior(o, "Isolated")
		p = splitter{runeMatcher(u.bertPunctuation.has), b, false}
	case "Digits":
		var individual bool
		individual, err = field[bool](o, "individual_digits")
		b := contiguous
		if individual {
			b = isolated
		}
		p = splitter{runeMatcher(u.charNumeric.has), b, false}
	case "Split":
		var s splitter
		var errs [3]error
		s.pattern, errs[0] = parseMatcher(o["pattern"])
		s.behavior, errs[1] = parseBehavior(o, "")
		s.invert, errs[2] = field[bool](o, "invert")
		p, err = s, errors.Join(errs[:]...)
	case "CharDelimiterSplit", "Delimiter":
		var d string
		d, err = parseChar(o, "delimiter")
		p = splitter{literalMatcher(d), removed, false}
	case "ByteLevel":
		p, err = parseByteLevel(o)
		spelled := 0
		for _, before := range t.pre {
			if _, ok := before.(byteLevelSplit); ok {
				spelled++
			}
		}
		if err == nil && spelled >= 2 {
			err = errors.New("a third one, each doubles the text")
		}
	case "Metaspace":
		var m metaspace
		m, err = parseMetaspace(o)
		p = m
	case "UnicodeScripts":
		p = unicodeScripts{}
	case "FixedLength":
		var n int
		if n, err = optional(o, "length", 5); err == nil && n < 1 {
			err = fmt.Errorf("length %d is below 1", n)
		}
		p = fixedLength(n)
	default:
		return fmt.Errorf("type %q is not known", clip(typ))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	t.pre = append(t.pre, p)
	return nil
}

func parseBehavior(o map[string]json.RawMessage, absent string) (behavior, error) {
	name, err := optional(o, "behavior", absent)
	if err != nil {
		return 0, err
	}
	b, ok := behaviors[name]
	if !ok {
		return 0, fmt.Errorf("behavior %q is not known", clip(name))
	}
	return b, nil
}

// parseChar reads a string of one character.
func parseChar(o map[string]json.RawMessage, key string) (string, error) {
	s, err := field[string](o, key)
	if err == nil && utf8.RuneCountInString(s) != 1 {
		err = fmt.Errorf("%s %q is not one character", key, clip(s))
	}
	return s, err
}

func parseByteLevel(o map[string]json.RawMessage) (p byteLevelSplit, err error) {
	p.prefixSpace, err = field[bool](o, "add_prefix_space")
	cut, err2 := optional(o, "use_regex", true)
	if cut {
		p.pattern = gpt2Matcher()
	}
	return p, errors.Join(err, err2)
}

func parseMetaspace(o map[string]json.RawMessage) (m metaspace, err error) {
	var scheme string
	var prefix bool
	var errs [4]error
	m.replacement, errs[0] = parseChar(o, "replacement")
	scheme, errs[1] = optional(o, "prepend_scheme", "always")
	prefix, errs[2] = optional(o, "add_prefix_space", true)
	m.cut, errs[3] = optional(o, "split", true)
	if err = errors.Join(errs[:]...); err != nil {
		return m, err
	}
	switch scheme {
	case "always":
		m.prepend = prependAlways
	case "first":
		m.prepend = prependFirst
	case "never":
		m.prepend = prependNever
	default:
		return m, fmt.Errorf("prepend_scheme %q is not known", clip(scheme))
	}
	if !prefix {
		m.prepend = prependNever
	}
	return m, nil
}

func (t *Tokenizer) parseAddedTokens(b json.RawMessage) error {
	var tokens []addedToken
	if !isNull(b) {
		r := &jsonReader{b: b}
		err := r.array(func() error {
			raw, err := r.raw()
			if err != nil {
				return err
			}
			a, err := parseAddedToken(raw)
			if err != nil {
				return fmt.Errorf("[%d]: %w", len(tokens), err)
			}
			tokens = append(tokens, a)
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.added = newAddedVocab(tokens, t.model.vocabulary(), t.normalizer)
	return nil
}

// parseAddedToken reads one entry; its id is checked but does not count (newAddedVocab).
func parseAddedToken(b []byte) (a addedToken, err error) {
	o, err := members(b)
	if err != nil {
		return a, err
	}
	var errs [7]error
	var id int64
	a.content, errs[0] = field[string](o, "content")
	id, errs[1] = field[int64](o, "id")
	a.singleWord, errs[2] = optional(o, "single_word", false)
	a.lstrip, errs[3] = optional(o, "lstrip", false)
	a.rstrip, errs[4] = optional(o, "rstrip", false)
	a.special, errs[5] = optional(o, "special", false)
	a.normalized, errs[6] = optional(o, "normalized", !a.special)
	if err = errors.Join(errs[:]...); err == nil && (id < 0 || id > maxTokenID) {
		err = fmt.Errorf("id %d is no token id (0 to %d)", id, maxTokenID)
	}
	return a, err
}
