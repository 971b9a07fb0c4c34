package tokenize

import (
	"fmt"
)

// visibleSpace is how SentencePiece spells a space.
const visibleSpace = "▁"

// convertSentencePiece builds a tokenizer from a SentencePiece model; absent is the class where the repository names
// none.
func convertSentencePiece(absent string) func(*config, [][]byte) (*Tokenizer, error) {
	return func(c *config, files [][]byte) (*Tokenizer, error) {
		class, err := family(c.class, absent)
		if err != nil {
			return nil, err
		}
		sp, err := parseSentencePiece(files[0])
		if err != nil {
			return nil, err
		}
		c.complete(class)
		s := spConverter{config: c, sp: sp, class: class, t: &Tokenizer{}}
		if err := s.convert(); err != nil {
			return nil, err
		}
		s.t.finish()
		return s.t, nil
	}
}

type spConverter struct {
	*config
	sp    *spModel
	class string
	t     *Tokenizer
}

func (s *spConverter) convert() error {
	if s.class == "T5" && len(s.additional) == 0 {
		for i := s.extraIDs - 1; i >= 0; i-- {
			s.additional = append(s.additional, addedToken{content: fmt.Sprintf("<extra_id_%d>", i), special: true})
		}
	}
	if err := s.model(); err != nil {
		return err
	}
	steps, err := s.normalizers()
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		s.t.normalizer = steps
	}
	s.pieces()
	var own []addedToken
	for _, p := range s.sp.pieces {
		if p.kind == spControl || p.kind == spUserDefined {
			own = append(own, addedToken{content: p.text, special: p.kind == spControl || s.class == "Gemma" && (p.text == "<start_of_turn>" || p.text == "<end_of_turn>")})
		}
	}
	s.addTokens(s.t, own)
	s.templates()
	return nil
}

// vocabulary is the list of pieces by id: the class's own arrangement of the model's pieces.
func (s *spConverter) vocabulary() ([]spPiece, error) {
	pieces := s.sp.pieces
	if len(pieces) < 3 {
		return nil, fmt.Errorf("%d pieces are too few", len(pieces))
	}
	head := func(tokens ...string) []spPiece {
		out := make([]spPiece, 0, len(pieces)+2)
		for _, t := range tokens {
			out = append(out, spPiece{text: t})
		}
		return append(out, pieces[3:]...)
	}
	switch s.class {
	case "XLMRoberta": // fairseq's order: SentencePiece's <unk>, <s>, </s> give way to four tokens, so ids are one higher
		return append(head("<s>", "<pad>", "</s>", "<unk>"), spPiece{text: "<mask>"}), nil
	case "T5":
		out := append([]spPiece(nil), pieces...)
		for i := s.extraIDs - 1; i >= 0; i-- {
			out = append(out, spPiece{text: fmt.Sprintf("<extra_id_%d>", i)})
		}
		return out, nil
	case "Llama":
		return head(pieces[0].text, pieces[1].text, pieces[2].text), nil
	case "Gemma":
		out := head(s.special["pad_token"].content, s.special["eos_token"].content, s.special["bos_token"].content)
		at := -1
		for i, p := range out {
			if p.text == "\t" {
				return out, nil
			}
			if p.text == "<0x09>" && at < 0 {
				at = i
			}
		}
		if at >= 0 {
			out[at] = spPiece{text: "\t"}
		}
		return out, nil
	}
	return pieces, nil
}

func (s *spConverter) model() error {
	pieces, err := s.vocabulary()
	if err != nil {
		return err
	}
	v, scores, err := spVocabulary(pieces)
	if err != nil {
		return err
	}
	byteFallback := s.class == "Llama" || s.class == "Gemma"
	switch s.sp.modelType {
	case spUnigram:
		unk := s.sp.unkID
		switch s.class {
		case "XLMRoberta", "Gemma":
			unk = 3
		case "Llama":
			unk = 0
		}
		if unk < 0 || unk >= int64(len(pieces)) {
			return fmt.Errorf("trainer_spec: unk_id %d is not below the %d pieces", unk, len(pieces))
		}
		s.t.model, err = newUnigram(v, scores, int32(unk), byteFallback)
		return err
	case spBPE:
		m := &bpe{vocab: v, unk: -1, fuseUnk: true}
		if id, ok := v.id(s.sp.unkPiece); ok {
			m.unk = id
		}
		if byteFallback {
			b := v.byteTokens()
			m.fallback = &b
		}
		if err := m.spMerges(pieces); err != nil {
			return err
		}
		m.prepare()
		s.t.model = m
		return nil
	}
	return fmt.Errorf("trainer_spec: model_type %d is neither Unigram nor BPE", s.sp.modelType)
}

func (s *spConverter) normalizers() (normalizers, error) {
	var steps normalizers
	switch s.class {
	case "Llama":
		if s.legacy {
			if isSet(s.prefixSpace, true) {
				steps = append(steps, prepend(visibleSpace))
			}
			steps = append(steps, replace{literalMatcher(" "), visibleSpace})
		}
		return steps, nil
	case "Gemma":
		return normalizers{replace{literalMatcher(" "), visibleSpace}}, nil
	}
	blanks, err := compilePattern(" {2,}")
	if err != nil {
		return nil, err
	}
	if s.class == "DebertaV2" {
		if isSet(s.lower, false) {
			steps = append(steps, normalizerFunc(lowercase))
			s.t.lowercases = true
		}
		steps = append(steps, strip{true, true})
	}
	if len(s.sp.charsmap) > 0 {
		m, err := newCharsmap(s.sp.charsmap)
		if err != nil {
			return nil, fmt.Errorf("normalizer_spec: precompiled_charsmap: %w", err)
		}
		steps = append(steps, precompiled{m})
	}
	if s.class == "DebertaV2" {
		return append(steps, replace{blanks, " "}), nil
	}
	return append(steps, strip{false, true}, replace{blanks, visibleSpace}), nil
}

// pieces sets the pre-tokenizer and the decoder.
func (s *spConverter) pieces() {
	prefix := isSet(s.prefixSpace, true)
	scheme := prependNever
	if prefix {
		scheme = prependAlways
	}
	bytes := decoders{replaceDecoder(literalMatcher(visibleSpace), " "), byteFallbackDecoder{}, decoderFunc(fuse)}
	switch s.class {
	case "Llama":
		if !s.legacy {
			if prefix {
				scheme = prependFirst
			}
			s.t.pre = []preTokenizer{metaspace{visibleSpace, scheme, false}}
		}
		if prefix {
			bytes = append(bytes, stripDecoder(" ", 1, 0))
		}
		s.t.decoder = bytes
		return
	case "Gemma":
		s.t.pre = []preTokenizer{splitter{literalMatcher(" "), mergedWithPrevious, false}}
		s.t.decoder = bytes
		return
	case "DebertaV2":
		if s.splitByPunct {
			s.t.pre = append(s.t.pre, splitter{runeMatcher(unicodeData().bertPunctuation.has), isolated, false})
		}
	}
	s.t.pre = append(s.t.pre, metaspace{visibleSpace, scheme, true})
	s.t.decoder = metaspaceDecoder(visibleSpace, prefix)
}

func (s *spConverter) templates() {
	t := s.t
	a, second := templateItem{sequence: 0}, templateItem{sequence: 1}
	switch s.class {
	case "XLMRoberta":
		cls, sep := s.mark(t, "cls_token", 0), s.mark(t, "sep_token", 0)
		t.post = postProcessor{nil, []templateItem{cls, a, sep}, []templateItem{cls, a, sep, sep, second, sep}}
	case "DebertaV2":
		cls, sep, last := s.mark(t, "cls_token", 0), s.mark(t, "sep_token", 0), s.mark(t, "sep_token", 1)
		second.typeID = 1
		t.post = postProcessor{nil, []templateItem{cls, a, sep}, []templateItem{cls, a, sep, second, last}}
	case "T5":
		eos := s.mark(t, "eos_token", 0)
		t.post = postProcessor{nil, []templateItem{a, eos}, []templateItem{a, eos, second, eos}}
	case "Llama", "Gemma":
		second.typeID = 1
		single, pair := []templateItem{a}, []templateItem{a, second}
		if isSet(s.addBOS, true) {
			single = append([]templateItem{s.mark(t, "bos_token", 0)}, single...)
			pair = []templateItem{single[0], a, s.mark(t, "bos_token", 1), second}
		}
		if isSet(s.addEOS, false) {
			single = append(single, s.mark(t, "eos_token", 0))
			withEOS := make([]templateItem, 0, len(pair)+2)
			for _, it := range pair {
				withEOS = append(withEOS, it)
				if it.sequence >= 0 {
					withEOS = append(withEOS, s.mark(t, "eos_token", it.typeID))
				}
			}
			pair = withEOS
		}
		t.post = postProcessor{nil, single, pair}
	}
}
