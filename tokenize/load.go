package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds the files of a tokenizer; the largest in use has 35 MB.
const maxFile = 1 << 29

// Load reads the tokenizer of a model repository folder: tokenizer.json where there is one, else the files of a slow
// tokenizer (convert.go).
func Load(dir string) (*Tokenizer, error) {
	b, err := readFile(dir, "tokenizer.json")
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if b != nil {
		return Parse(b)
	}
	c, err := readConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for _, format := range []struct {
		files []string
		build func(c *config, files [][]byte) (*Tokenizer, error)
	}{
		{[]string{"sentencepiece.bpe.model"}, convertSentencePiece("XLMRoberta")},
		{[]string{"spm.model"}, convertSentencePiece("DebertaV2")},
		{[]string{"spiece.model"}, convertSentencePiece("T5")},
		{[]string{"tokenizer.model"}, convertSentencePiece("Llama")},
		{[]string{"vocab.json", "merges.txt"}, convertByteLevel},
		{[]string{"vocab.txt"}, convertWordPiece},
	} {
		files := make([][]byte, len(format.files))
		found := true
		for i, name := range format.files {
			if files[i], err = readFile(dir, name); err != nil {
				return nil, fmt.Errorf("tokenizer: %w", err)
			}
			found = found && files[i] != nil
		}
		if !found {
			continue
		}
		t, err := format.build(c, files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", format.files[0], err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("tokenizer: %s has neither tokenizer.json nor vocab.txt, vocab.json with merges.txt, or a SentencePiece model", dir)
}

// readFile is nil without error if there is no such file.
func readFile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// config is what tokenizer_config.json, special_tokens_map.json and added_tokens.json say about a slow tokenizer.
type config struct {
	class          string // without Tokenizer and Fast: "Bert", "XLMRoberta"; empty if unknown
	lower          *bool
	stripAccents   *bool
	chineseChars   *bool
	prefixSpace    *bool
	splitByPunct   bool
	legacy         bool
	addBOS, addEOS *bool
	extraIDs       int

	special    map[string]addedToken // by role: "unk_token"
	additional []addedToken
	added      map[int32]addedToken // by id
}

// roles of special tokens, in the order in which missing ones get their ids.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

func readConfig(dir string) (*config, error) {
	c := &config{legacy: true, extraIDs: 100, special: map[string]addedToken{}, added: map[int32]addedToken{}}
	for _, file := range []struct {
		name string
		read func(map[string]json.RawMessage) error
	}{
		{"config.json", c.readModelConfig},
		{"special_tokens_map.json", c.readRoles},
		{"tokenizer_config.json", c.readTokenizerConfig},
		{"added_tokens.json", c.readAdded},
	} {
		b, err := readFile(dir, file.name)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		o, err := members(b)
		if err == nil {
			err = file.read(o)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.name, err)
		}
	}
	return c, nil
}

// readModelConfig takes the class from the model's type where tokenizer_config.json does not name one.
func (c *config) readModelConfig(o map[string]json.RawMessage) error {
	typ, err := optional(o, "model_type", "")
	c.class = map[string]string{"bert": "Bert", "distilbert": "Bert", "electra": "Bert", "nomic_bert": "Bert", "mpnet": "MPNet", "roberta": "Roberta", "bart": "Roberta", "xlm-roberta": "XLMRoberta",
		"deberta-v2": "DebertaV2", "t5": "T5", "mt5": "T5", "llama": "Llama", "mistral": "Llama", "gemma": "Gemma", "gemma2": "Gemma", "gpt2": "GPT2", "qwen2": "Qwen2", "qwen3": "Qwen2", "clip": "CLIP"}[typ]
	return err
}

func (c *config) readTokenizerConfig(o map[string]json.RawMessage) error {
	var errs [11]error
	var class string
	class, errs[0] = optional(o, "tokenizer_class", "")
	if class = strings.TrimSuffix(strings.TrimSuffix(class, "Fast"), "Tokenizer"); class != "" && class != "PreTrained" {
		c.class = class
	}
	c.lower, errs[1] = optional[*bool](o, "do_lower_case", nil)
	c.stripAccents, errs[2] = optional[*bool](o, "strip_accents", nil)
	c.chineseChars, errs[3] = optional[*bool](o, "tokenize_chinese_chars", nil)
	c.prefixSpace, errs[4] = optional[*bool](o, "add_prefix_space", nil)
	c.splitByPunct, errs[5] = optional(o, "split_by_punct", false)
	c.legacy, errs[6] = optional(o, "legacy", true)
	c.addBOS, errs[7] = optional[*bool](o, "add_bos_token", nil)
	c.addEOS, errs[8] = optional[*bool](o, "add_eos_token", nil)
	c.extraIDs, errs[9] = optional(o, "extra_ids", 100)
	if c.extraIDs < 0 || c.extraIDs > 1<<16 {
		errs[10] = fmt.Errorf("extra_ids %d is out of range", c.extraIDs)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	byID, err := optional[map[int32]json.RawMessage](o, "added_tokens_decoder", nil)
	if err != nil {
		return err
	}
	for id, b := range byID {
		a, err := parseTokenSpec(b)
		if err == nil && (id < 0 || id > maxTokenID) {
			err = errors.New("no token id")
		}
		if err != nil {
			return fmt.Errorf("added_tokens_decoder[%d]: %w", id, err)
		}
		c.added[id] = a
	}
	return c.readRoles(o)
}

func (c *config) readRoles(o map[string]json.RawMessage) error {
	for _, role := range roles {
		if isNull(o[role]) {
			continue
		}
		a, err := parseTokenSpec(o[role])
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		a.special = true
		c.special[role] = a
	}
	list, err := optional[[]json.RawMessage](o, "additional_special_tokens", nil)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		c.additional = nil
	}
	for i, b := range list {
		a, err := parseTokenSpec(b)
		if err != nil {
			return fmt.Errorf("additional_special_tokens[%d]: %w", i, err)
		}
		a.special = true
		c.additional = append(c.additional, a)
	}
	return nil
}

func (c *config) readAdded(o map[string]json.RawMessage) error {
	for content, b := range o {
		r := &jsonReader{b: b}
		id, err := r.id()
		if err != nil {
			return fmt.Errorf("%q: %w", clip(content), err)
		}
		if _, ok := c.added[id]; !ok {
			c.added[id] = addedToken{content: content, normalized: true}
		}
	}
	return nil
}

// parseTokenSpec reads a token given as a string, or as an object with its flags.
func parseTokenSpec(b json.RawMessage) (a addedToken, err error) {
	if len(b) > 0 && b[0] == '"' {
		err = json.Unmarshal(b, &a.content)
		return a, err
	}
	o, err := members(b)
	if err != nil {
		return a, err
	}
	var errs [6]error
	a.content, errs[0] = field[string](o, "content")
	a.singleWord, errs[1] = optional(o, "single_word", false)
	a.lstrip, errs[2] = optional(o, "lstrip", false)
	a.rstrip, errs[3] = optional(o, "rstrip", false)
	a.special, errs[4] = optional(o, "special", false)
	a.normalized, errs[5] = optional(o, "normalized", false)
	return a, errors.Join(errs[:]...)
}
