package tokenize

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
)

// This file builds tokenizers from the files of slow ones, as transformers' convert_slow_tokenizer does for the same
// classes.

// defaultRoles are the special tokens of a class where the repository does not name them.
var defaultRoles = map[string]map[string]addedToken{
	"Bert":       plainRoles("unk_token", "[UNK]", "sep_token", "[SEP]", "pad_token", "[PAD]", "cls_token", "[CLS]", "mask_token", "[MASK]"),
	"MPNet":      withMask(plainRoles("bos_token", "<s>", "eos_token", "</s>", "unk_token", "[UNK]", "sep_token", "</s>", "pad_token", "<pad>", "cls_token", "<s>")),
	"Roberta":    withMask(plainRoles("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>", "sep_token", "</s>", "pad_token", "<pad>", "cls_token", "<s>")),
	"XLMRoberta": withMask(plainRoles("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>", "sep_token", "</s>", "pad_token", "<pad>", "cls_token", "<s>")),
	"DebertaV2":  plainRoles("bos_token", "[CLS]", "eos_token", "[SEP]", "unk_token", "[UNK]", "sep_token", "[SEP]", "pad_token", "[PAD]", "cls_token", "[CLS]", "mask_token", "[MASK]"),
	"T5":         plainRoles("eos_token", "</s>", "unk_token", "<unk>", "pad_token", "<pad>"),
	"Llama":      plainRoles("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>"),
	"Gemma":      plainRoles("bos_token", "<bos>", "eos_token", "<eos>", "unk_token", "<unk>", "pad_token", "<pad>"),
	"GPT2":       plainRoles("bos_token", "<|endoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>"),
	"Qwen2":      plainRoles("eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>", "pad_token", "<|endoftext|>"),
	"CLIP":       plainRoles("bos_token", "<|startoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>", "pad_token", "<|endoftext|>"),
}

func plainRoles(pairs ...string) map[string]addedToken {
	m := map[string]addedToken{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = addedToken{content: pairs[i+1], special: true}
	}
	return m
}

func withMask(m map[string]addedToken) map[string]addedToken {
	m["mask_token"] = addedToken{content: "<mask>", special: true, lstrip: true}
	return m
}

// family maps a tokenizer class to the one that it behaves like.
func family(class, absent string) (string, error) {
	same := map[string]string{"": absent, "DistilBert": "Bert", "Electra": "Bert", "LayoutLM": "Bert", "MobileBert": "Bert", "ConvBert": "Bert", "Bart": "Roberta", "Longformer": "Roberta", "LED": "Roberta", "MT5": "T5", "CodeLlama": "Llama"}
	if f, ok := same[class]; ok {
		class = f
	}
	if _, ok := defaultRoles[class]; !ok {
		return "", fmt.Errorf("tokenizer_class %q has no conversion; the repository needs a tokenizer.json", clip(class))
	}
	return class, nil
}

// complete fills in the special tokens that the repository does not name.
func (c *config) complete(family string) {
	for role, a := range defaultRoles[family] {
		named, ok := c.special[role]
		if !ok {
			c.special[role] = a
			continue
		}
		if named.content == a.content && role == "mask_token" {
			named.lstrip = named.lstrip || a.lstrip
			c.special[role] = named
		}
	}
	if family == "DebertaV2" {
		unk := c.special["unk_token"]
		unk.normalized = true
		c.special["unk_token"] = unk
	}
}

// addTokens makes the added vocabulary: the model's own control pieces, the tokens with ids in their order, then the
// special tokens.
// Ids follow from the order, so special tokens that the repository gives no id fill the gaps between those it does.
func (c *config) addTokens(t *Tokenizer, own []addedToken) {
	v := t.model.vocabulary()
	tokens := append([]addedToken(nil), own...)
	listed := map[string]bool{}
	for _, a := range c.added {
		listed[a.content] = true
	}
	var unlisted []addedToken
	for _, role := range roles {
		if a, ok := c.special[role]; ok && !listed[a.content] {
			unlisted = append(unlisted, a)
			listed[a.content] = true
		}
	}
	for _, a := range c.additional {
		if !listed[a.content] {
			unlisted = append(unlisted, a)
			listed[a.content] = true
		}
	}
	next := int32(v.count)
	add := func(a addedToken) {
		if _, ok := v.id(a.content); !ok {
			next++
		}
		tokens = append(tokens, a)
	}
	ids := make([]int32, 0, len(c.added))
	for id := range c.added {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		for id > next && len(unlisted) > 0 {
			add(unlisted[0])
			unlisted = unlisted[1:]
		}
		add(c.added[id])
	}
	for _, a := range unlisted {
		add(a)
	}
	t.added = newAddedVocab(tokens, v, t.normalizer)
}

// mark is a special token as part of a template.
func (c *config) mark(t *Tokenizer, role string, typeID int32) templateItem {
	token := c.special[role].content
	id, _ := t.TokenToID(token)
	return templateItem{sequence: -1, ids: []int32{id}, tokens: []string{token}, typeID: typeID}
}

func isSet(b *bool, absent bool) bool {
	if b == nil {
		return absent
	}
	return *b
}

// convertWordPiece reads vocab.txt, a token a line.
func convertWordPiece(c *config, files [][]byte) (*Tokenizer, error) {
	class, err := family(c.class, "Bert")
	if err != nil {
		return nil, err
	}
	c.complete(class)
	var b vocabBuilder
	lines := strings.Split(toValid(string(files[0])), "\n")
	if n := len(lines); lines[n-1] == "" {
		lines = lines[:n-1]
	}
	if len(lines) > maxTokenID {
		return nil, fmt.Errorf("more than %d lines", maxTokenID)
	}
	for i, line := range lines {
		if err := b.addString(strings.TrimRightFunc(line, isSpace), int32(i)); err != nil {
			return nil, err
		}
	}
	v, err := b.build()
	if err != nil {
		return nil, err
	}
	unk := c.special["unk_token"].content
	if _, ok := v.id(unk); !ok {
		return nil, fmt.Errorf("unk_token %q is not in the vocabulary", clip(unk))
	}
	lower := isSet(c.lower, true)
	t := &Tokenizer{
		model:      newWordPiece(v, unk, "##", 100),
		normalizer: bertNormalizer{true, isSet(c.chineseChars, true), isSet(c.stripAccents, lower), lower},
		lowercases: lower,
		pre:        []preTokenizer{bertPreTokenizer{}},
		decoder:    wordPieceDecoder("##", true),
	}
	c.addTokens(t, nil)
	cls, sep, last := c.mark(t, "cls_token", 0), c.mark(t, "sep_token", 0), c.mark(t, "sep_token", 1)
	a, second := templateItem{sequence: 0}, templateItem{sequence: 1, typeID: 1}
	t.post.single = []templateItem{cls, a, sep}
	t.post.pair = []templateItem{cls, a, sep, second, last}
	if class == "MPNet" {
		t.post.pair = []templateItem{cls, a, sep, sep, second, last}
	}
	t.finish()
	return t, nil
}

// Patterns of the byte-level tokenizers that have their own.
const (
	qwen2Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	clipPattern  = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
)

// convertByteLevel reads vocab.json and merges.txt.
func convertByteLevel(c *config, files [][]byte) (*Tokenizer, error) {
	class, err := family(c.class, "GPT2")
	if err != nil {
		return nil, err
	}
	c.complete(class)
	v, err := parseVocab(files[0])
	if err != nil {
		return nil, err
	}
	m := &bpe{vocab: v, unk: -1}
	if class == "CLIP" {
		m.suffix = "</w>"
		if id, ok := v.id(c.special["unk_token"].content); ok {
			m.unk = id
		}
	}
	if err := m.readMerges(files[1]); err != nil {
		return nil, fmt.Errorf("merges.txt: %w", err)
	}
	m.prepare()
	prefixSpace := isSet(c.prefixSpace, false)
	t := &Tokenizer{model: m, decoder: byteLevelDecoder{}}
	cut := byteLevelSplit{prefixSpace: prefixSpace, pattern: gpt2Matcher()}
	switch class {
	case "Qwen2":
		t.normalizer = nfc
		p, err := compilePattern(qwen2Pattern)
		if err != nil {
			return nil, err
		}
		t.pre = append(t.pre, splitter{p, isolated, false})
		cut.pattern = nil
	case "CLIP":
		blanks, err := compilePattern(`\s+`)
		if err != nil {
			return nil, err
		}
		t.normalizer = normalizers{nfc, replace{blanks, " "}, normalizerFunc(lowercase)}
		t.lowercases = true
		p, err := compilePattern(clipPattern)
		if err != nil {
			return nil, err
		}
		t.pre = append(t.pre, splitter{p, removed, true})
		cut.prefixSpace = false
	}
	t.pre = append(t.pre, cut)
	c.addTokens(t, nil)
	a, second := templateItem{sequence: 0}, templateItem{sequence: 1}
	switch class {
	case "Roberta":
		cls, sep := c.mark(t, "cls_token", 0), c.mark(t, "sep_token", 0)
		t.post = postProcessor{[]trimOffsets{{prefixSpace}}, []templateItem{cls, a, sep}, []templateItem{cls, a, sep, sep, second, sep}}
	case "CLIP":
		bos, eos := c.mark(t, "bos_token", 0), c.mark(t, "eos_token", 0)
		t.post = postProcessor{nil, []templateItem{bos, a, eos}, []templateItem{bos, a, eos, eos, second, eos}}
	case "GPT2":
		if isSet(c.addBOS, false) {
			bos := c.mark(t, "bos_token", 0)
			second.typeID = 1
			t.post = postProcessor{nil, []templateItem{bos, a}, []templateItem{bos, a, second}}
		}
	}
	t.readBytes()
	t.finish()
	return t, nil
}

// readMerges reads merges.txt, "left right" a line.
func (m *bpe) readMerges(b []byte) error {
	lines := bytes.Split(b, []byte("\n"))
	m.merges = newMergeTable(len(lines))
	var key []byte
	rank := 0
	for i, line := range lines {
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 || bytes.HasPrefix(line, []byte("#version")) {
			continue
		}
		left, right, ok := splitMerge(line)
		if !ok {
			return fmt.Errorf("line %d: %q is not two tokens", i+1, clip(string(line)))
		}
		var err error
		if key, err = m.addMerge(left, right, rank, key); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		rank++
	}
	return nil
}
