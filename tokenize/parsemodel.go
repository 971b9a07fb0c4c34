package tokenize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// parseModel reads the section "model" of a tokenizer.json.
func parseModel(b json.RawMessage) (model, error) {
	if isNull(b) {
		return nil, errors.New("is missing")
	}
	o, err := members(b)
	if err != nil {
		return nil, err
	}
	typ, err := optional(o, "type", "")
	if err != nil {
		return nil, err
	}
	if typ == "" { // files of 2020 leave it out
		has := func(key string) bool { _, ok := o[key]; return ok }
		switch {
		case has("merges"):
			typ = "BPE"
		case has("max_input_chars_per_word") && has("continuing_subword_prefix"):
			typ = "WordPiece"
		case has("unk_token"):
			typ = "WordLevel"
		default:
			typ = "Unigram"
		}
	}
	if isNull(o["vocab"]) {
		return nil, fmt.Errorf("%s: vocab is missing", clip(typ))
	}
	var m model
	switch typ {
	case "BPE":
		m, err = parseBPE(o)
	case "WordPiece":
		m, err = parseWordPiece(o)
	case "WordLevel":
		m, err = parseWordLevel(o)
	case "Unigram":
		m, err = parseUnigram(o)
	default:
		return nil, fmt.Errorf("type %q is not known", clip(typ))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", typ, err)
	}
	return m, nil
}

// parseVocab reads {"token": id, …}.
func parseVocab(b []byte) (*vocab, error) {
	r := &jsonReader{b: b}
	var v vocabBuilder
	if err := r.expect('{'); err != nil {
		return nil, fmt.Errorf("vocab: %w", err)
	}
	r.at = 0
	err := r.list('{', '}', func() (err error) {
		if v.tokens, err = r.string(v.tokens); err != nil {
			return err
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		id, err := r.id()
		if err != nil {
			return err
		}
		return v.add(id)
	})
	if err != nil {
		return nil, fmt.Errorf("vocab: %w", err)
	}
	built, err := v.build()
	if err != nil {
		return nil, fmt.Errorf("vocab: %w", err)
	}
	return built, nil
}

func parseBPE(o map[string]json.RawMessage) (model, error) {
	v, err := parseVocab(o["vocab"])
	if err != nil {
		return nil, err
	}
	m := &bpe{vocab: v, unk: -1}
	var errs [7]error
	var unk string
	var fallback bool
	var dropout float64
	unk, errs[0] = optional(o, "unk_token", "")
	m.prefix, errs[1] = optional(o, "continuing_subword_prefix", "")
	m.suffix, errs[2] = optional(o, "end_of_word_suffix", "")
	m.fuseUnk, errs[3] = optional(o, "fuse_unk", false)
	fallback, errs[4] = optional(o, "byte_fallback", false)
	m.ignoreMerges, errs[5] = optional(o, "ignore_merges", false)
	dropout, errs[6] = optional(o, "dropout", 0.0)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if dropout != 0 {
		return nil, fmt.Errorf("dropout %g makes tokens random", dropout)
	}
	if id, ok := v.id(unk); ok && unk != "" {
		m.unk = id
	}
	if fallback {
		b := v.byteTokens()
		m.fallback = &b
	}
	if isNull(o["merges"]) {
		return nil, errors.New("merges is missing")
	}
	if err := m.parseMerges(o["merges"]); err != nil {
		return nil, fmt.Errorf("merges%w", err)
	}
	m.prepare()
	return m, nil
}

// parseMerges reads ["left right", …] or [["left", "right"], …].
func (m *bpe) parseMerges(b []byte) error {
	count := 0
	counter := &jsonReader{b: b}
	if err := counter.array(func() error { count++; return counter.skip() }); err != nil {
		return fmt.Errorf(": %w", err)
	}
	if count > math.MaxInt32/4 {
		return errors.New(": too many")
	}
	m.merges = newMergeTable(count)
	r := &jsonReader{b: b}
	var left, right, key []byte
	rank := 0
	return r.array(func() (err error) {
		at := rank
		fail := func(err error) error { return fmt.Errorf("[%d]: %w", at, err) }
		if r.peek() == '[' {
			n := 0
			err := r.array(func() (err error) {
				switch n++; n {
				case 1:
					left, err = r.string(left[:0])
				case 2:
					right, err = r.string(right[:0])
				default:
					err = r.errorf("a pair is missing")
				}
				return err
			})
			if err == nil && n != 2 {
				err = r.errorf("a pair is missing")
			}
			if err != nil {
				return fail(err)
			}
			if key, err = m.addMerge(left, right, rank, key); err != nil {
				return fail(err)
			}
			rank++
			return nil
		}
		if left, err = r.string(left[:0]); err != nil {
			return fail(err)
		}
		if bytes.HasPrefix(left, []byte("#version")) {
			return nil
		}
		a, b, ok := splitMerge(left)
		if !ok {
			return fail(fmt.Errorf("%q is not two tokens", clip(string(left))))
		}
		if key, err = m.addMerge(a, b, rank, key); err != nil {
			return fail(err)
		}
		rank++
		return nil
	})
}

func parseWordPiece(o map[string]json.RawMessage) (model, error) {
	v, err := parseVocab(o["vocab"])
	if err != nil {
		return nil, err
	}
	var errs [3]error
	var unk, prefix string
	var maxChars int
	unk, errs[0] = field[string](o, "unk_token")
	prefix, errs[1] = field[string](o, "continuing_subword_prefix")
	maxChars, errs[2] = field[int](o, "max_input_chars_per_word")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if maxChars < 0 {
		return nil, fmt.Errorf("max_input_chars_per_word %d is negative", maxChars)
	}
	if _, ok := v.id(unk); !ok {
		return nil, fmt.Errorf("unk_token %q is not in the vocabulary", clip(unk))
	}
	return newWordPiece(v, unk, prefix, maxChars), nil
}

func parseWordLevel(o map[string]json.RawMessage) (model, error) {
	v, err := parseVocab(o["vocab"])
	if err != nil {
		return nil, err
	}
	unk, err := field[string](o, "unk_token")
	if err != nil {
		return nil, err
	}
	return newWordLevel(v, unk), nil
}

// parseUnigram reads the vocabulary [["token", score], …], in which the place is the id.
func parseUnigram(o map[string]json.RawMessage) (model, error) {
	var v vocabBuilder
	var scores []float64
	r := &jsonReader{b: o["vocab"]}
	err := r.array(func() error {
		n := 0
		err := r.array(func() (err error) {
			switch n++; n {
			case 1:
				v.tokens, err = r.string(v.tokens)
			case 2:
				var s float64
				s, err = r.float()
				scores = append(scores, s)
			default:
				err = r.errorf("a pair is missing")
			}
			return err
		})
		if err == nil && n != 2 {
			err = r.errorf("a pair is missing")
		}
		if err == nil && len(scores) > maxTokenID {
			err = errors.New("too many tokens")
		}
		if err != nil {
			return fmt.Errorf("vocab[%d]: %w", len(v.ids), err)
		}
		return v.add(int32(len(v.ids)))
	})
	if err != nil {
		return nil, err
	}
	built, err := v.build()
	if err != nil {
		return nil, fmt.Errorf("vocab: %w", err)
	}
	unk, err := optional[*int64](o, "unk_id", nil)
	if err != nil {
		return nil, err
	}
	unkID := int32(-1)
	if unk != nil {
		if *unk < 0 || *unk >= int64(len(scores)) {
			return nil, fmt.Errorf("unk_id %d is not below the vocabulary's size %d", *unk, len(scores))
		}
		unkID = int32(*unk)
	}
	fallback, err := optional(o, "byte_fallback", false)
	if err != nil {
		return nil, err
	}
	return newUnigram(built, scores, unkID, fallback)
}
