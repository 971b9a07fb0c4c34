package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
)

// parsePostProcessor reads the section "post_processor".
func parsePostProcessor(b json.RawMessage) (p postProcessor, err error) {
	err = p.parse(b, 0)
	return p, err
}

func (p *postProcessor) parse(b json.RawMessage, depth int) error {
	if isNull(b) {
		return nil
	}
	if depth > maxSteps || len(p.trims) > maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	o, typ, err := typed(b)
	if err != nil {
		return err
	}
	switch typ {
	case "Sequence":
		return parts(o, "processors", func(b json.RawMessage) error { return p.parse(b, depth+1) })
	case "ByteLevel":
		err = p.parseTrim(o)
	case "BertProcessing", "RobertaProcessing":
		var cls, sep templateItem
		var errs [3]error
		cls, errs[0] = parseSpecial(o, "cls")
		sep, errs[1] = parseSpecial(o, "sep")
		a, second := templateItem{sequence: 0}, templateItem{sequence: 1}
		single, pair := []templateItem{cls, a, sep}, []templateItem{cls, a, sep, sep, second, sep}
		if typ == "RobertaProcessing" {
			errs[2] = p.parseTrim(o)
		} else {
			second.typeID = 1
			last := sep
			last.typeID = 1
			pair = []templateItem{cls, a, sep, second, last}
		}
		if err = errors.Join(errs[:]...); err == nil {
			err = p.setTemplates(single, pair)
		}
	case "TemplateProcessing":
		err = p.parseTemplates(o)
	default:
		return fmt.Errorf("type %q is not known", clip(typ))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	return nil
}

func (p *postProcessor) parseTrim(o map[string]json.RawMessage) error {
	trim, err := field[bool](o, "trim_offsets")
	prefix, err2 := field[bool](o, "add_prefix_space")
	if trim {
		p.trims = append(p.trims, trimOffsets{prefix})
	}
	return errors.Join(err, err2)
}

func (p *postProcessor) setTemplates(single, pair []templateItem) error {
	if p.single != nil {
		return errors.New("a second step that adds special tokens is not supported")
	}
	p.single, p.pair = single, pair
	return nil
}

// parseSpecial reads ["token", id].
func parseSpecial(o map[string]json.RawMessage, key string) (it templateItem, err error) {
	pair, err := field[[]json.RawMessage](o, key)
	if err != nil {
		return it, err
	}
	if len(pair) != 2 {
		return it, fmt.Errorf("%s is not a token and its id", key)
	}
	it = templateItem{sequence: -1, ids: make([]int32, 1), tokens: make([]string, 1)}
	if err := json.Unmarshal(pair[0], &it.tokens[0]); err != nil {
		return it, fmt.Errorf("%s: %w", key, err)
	}
	r := &jsonReader{b: pair[1]}
	if it.ids[0], err = r.id(); err != nil {
		return it, fmt.Errorf("%s: %w", key, err)
	}
	return it, nil
}

func (p *postProcessor) parseTemplates(o map[string]json.RawMessage) error {
	special, err := field[map[string]json.RawMessage](o, "special_tokens")
	if err != nil {
		return err
	}
	tokens := map[string]templateItem{}
	for name, b := range special {
		o, err := members(b)
		if err != nil {
			return fmt.Errorf("special_tokens[%q]: %w", clip(name), err)
		}
		it := templateItem{sequence: -1}
		var ids []int64
		var errs [2]error
		ids, errs[0] = field[[]int64](o, "ids")
		it.tokens, errs[1] = field[[]string](o, "tokens")
		err = errors.Join(errs[:]...)
		if err == nil && len(ids) != len(it.tokens) {
			err = fmt.Errorf("%d ids for %d tokens", len(ids), len(it.tokens))
		}
		for _, id := range ids {
			if err == nil && (id < 0 || id > maxTokenID) {
				err = fmt.Errorf("%d is no token id (0 to %d)", id, maxTokenID)
			}
			it.ids = append(it.ids, int32(id))
		}
		if err != nil {
			return fmt.Errorf("special_tokens[%q]: %w", clip(name), err)
		}
		tokens[name] = it
	}
	single, err := parseTemplate(o, "single", tokens)
	if err != nil {
		return err
	}
	pair, err := parseTemplate(o, "pair", tokens)
	if err != nil {
		return err
	}
	return p.setTemplates(single, pair)
}

const maxTemplate = 1 << 10

func parseTemplate(o map[string]json.RawMessage, key string, special map[string]templateItem) ([]templateItem, error) {
	list, err := field[[]map[string]struct {
		ID     string
		TypeID *int32 `json:"type_id"`
	}](o, key)
	if err != nil {
		return nil, err
	}
	if len(list) > maxTemplate {
		return nil, fmt.Errorf("%s has more than %d items", key, maxTemplate)
	}
	out := make([]templateItem, 0, len(list))
	for i, e := range list {
		var it templateItem
		var ok bool
		if x, is := e["Sequence"]; is {
			it.sequence, ok = map[string]int{"A": 0, "B": 1}[x.ID]
			if x.TypeID != nil {
				it.typeID = *x.TypeID
			}
		} else if x, is := e["SpecialToken"]; is {
			it, ok = special[x.ID]
			if x.TypeID != nil {
				it.typeID = *x.TypeID
			}
		}
		if !ok {
			return nil, fmt.Errorf("%s[%d] is neither a sequence nor one of special_tokens", key, i)
		}
		out = append(out, it)
	}
	return out, nil
}

// parseDecoder reads the section "decoder"; nil if there is none.
func parseDecoder(b json.RawMessage) (decoder, error) {
	if isNull(b) {
		return nil, nil
	}
	var steps decoders
	if err := steps.parse(b); err != nil {
		return nil, err
	}
	return steps, nil
}

func (ds *decoders) parse(b json.RawMessage) error {
	if len(*ds) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	o, typ, err := typed(b)
	if err != nil {
		return err
	}
	var d decoder
	var errs [3]error
	switch typ {
	case "Sequence":
		return parts(o, "decoders", ds.parse)
	case "ByteLevel":
		d = byteLevelDecoder{}
	case "ByteFallback":
		d = byteFallbackDecoder{}
	case "Fuse":
		d = decoderFunc(fuse)
	case "WordPiece":
		var prefix string
		var clean bool
		prefix, errs[0] = field[string](o, "prefix")
		clean, errs[1] = field[bool](o, "cleanup")
		d = wordPieceDecoder(prefix, clean)
	case "Metaspace":
		var m metaspace
		m, errs[0] = parseMetaspace(o)
		d = metaspaceDecoder(m.replacement, m.prepend != prependNever)
	case "BPEDecoder":
		var suffix string
		suffix, errs[0] = field[string](o, "suffix")
		d = bpeDecoder(suffix)
	case "CTC":
		var pad, delimiter string
		var clean bool
		pad, errs[0] = field[string](o, "pad_token")
		delimiter, errs[1] = field[string](o, "word_delimiter_token")
		clean, errs[2] = field[bool](o, "cleanup")
		d = ctcDecoder(pad, delimiter, clean)
	case "Strip":
		var content string
		var start, stop int
		content, errs[0] = parseChar(o, "content")
		start, errs[1] = field[int](o, "start")
		stop, errs[2] = field[int](o, "stop")
		d = stripDecoder(content, start, stop)
	case "Replace":
		var m matcher
		var content string
		m, errs[0] = parseMatcher(o["pattern"])
		content, errs[1] = field[string](o, "content")
		d = replaceDecoder(m, content)
	default:
		return fmt.Errorf("type %q is not known", clip(typ))
	}
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	*ds = append(*ds, d)
	return nil
}

// maxLength bounds the lengths that a file may ask for.
const maxLength = 1 << 30

func parseTruncation(b json.RawMessage) (*Truncation, error) {
	if isNull(b) {
		return nil, nil
	}
	o, err := members(b)
	if err != nil {
		return nil, err
	}
	var t Truncation
	var errs [4]error
	var strategy, direction string
	t.MaxLength, errs[0] = field[int](o, "max_length")
	t.Stride, errs[1] = optional(o, "stride", 0)
	strategy, errs[2] = optional(o, "strategy", "LongestFirst")
	direction, errs[3] = optional(o, "direction", "Right")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var ok bool
	if t.Strategy, ok = map[string]Strategy{"LongestFirst": LongestFirst, "OnlyFirst": OnlyFirst, "OnlySecond": OnlySecond}[strategy]; !ok {
		return nil, fmt.Errorf("strategy %q is not known", clip(strategy))
	}
	if t.Left, err = parseDirection(direction); err != nil {
		return nil, err
	}
	if t.MaxLength < 0 || t.Stride < 0 || t.Stride > maxLength {
		return nil, fmt.Errorf("max_length %d or stride %d is out of range", t.MaxLength, t.Stride)
	}
	t.MaxLength = min(t.MaxLength, maxLength)
	return &t, nil
}

func parseDirection(s string) (left bool, err error) {
	switch s {
	case "Left":
		return true, nil
	case "Right":
		return false, nil
	}
	return false, fmt.Errorf("direction %q is not known", clip(s))
}

func parsePadding(b json.RawMessage) (*Padding, error) {
	if isNull(b) {
		return nil, nil
	}
	o, err := members(b)
	if err != nil {
		return nil, err
	}
	var p Padding
	var errs [6]error
	var direction string
	var id, typeID int64
	var strategy json.RawMessage
	direction, errs[0] = optional(o, "direction", "Right")
	p.MultipleOf, errs[1] = optional(o, "pad_to_multiple_of", 0)
	id, errs[2] = field[int64](o, "pad_id")
	typeID, errs[3] = optional[int64](o, "pad_type_id", 0)
	p.Token, errs[4] = field[string](o, "pad_token")
	strategy, errs[5] = field[json.RawMessage](o, "strategy")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if p.Left, err = parseDirection(direction); err != nil {
		return nil, err
	}
	if string(strategy) != `"BatchLongest"` {
		s, err := members(strategy)
		if err == nil {
			p.Fixed, err = field[int](s, "Fixed")
		}
		if err != nil {
			return nil, fmt.Errorf("strategy: %w", err)
		}
	}
	if id < 0 || id > maxTokenID || typeID < 0 || typeID > maxTokenID {
		return nil, fmt.Errorf("pad_id %d or pad_type_id %d is out of range", id, typeID)
	}
	if p.Fixed < 0 || p.Fixed > maxLength || p.MultipleOf < 0 || p.MultipleOf > maxLength {
		return nil, fmt.Errorf("strategy Fixed %d or pad_to_multiple_of %d is out of range", p.Fixed, p.MultipleOf)
	}
	p.ID, p.TypeID = int32(id), int32(typeID)
	return &p, nil
}
