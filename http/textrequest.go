package http

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"remote-client-server/models/text"
	"remote-client-server/runtime"
	"remote-client-server/tokenize/grammar"
)

// textRequest is what the two routes that write have in common.
type textRequest struct {
	model      string
	options    text.Options
	lengthBy   int // the field of lengths that counts
	stream     bool
	usage      bool // at the end of a stream
	everyUsage bool // and with each of its chunks
	ids        bool // the answer names the tokens' ids
	grammar    grammar.Expr
	grammarBy  string // the field that asks for it
	grammarKey string // stands for the grammar
	warnings   []string
}

// textFields are the fields of both routes.
var textFields = []string{
	"model", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed",
	"max_tokens", "max_new_tokens", "max_completion_tokens", "min_tokens", "n", "stop", "stop_token_ids", "ignore_eos",
	"include_stop_str_in_output", "skip_special_tokens", "stream", "stream_options", "response_format", "guided_json", "guided_regex",
	"guided_choice", "structured_outputs", "return_token_ids", "user",
}

// lengths are the names of the bound of an answer; the first that is given
// counts.
var lengths = []string{"max_completion_tokens", "max_tokens", "max_new_tokens"}

const (
	maxGuide  = 1 << 20 // bytes of a schema or a regular expression
	maxTokens = 1 << 30
)

// read reads the value of one of textFields.
func (q *textRequest) read(r *jsonReader, l limits, key string) (err error) {
	o := &q.options
	switch key {
	case "model":
		q.model, err = r.name()
	case "temperature":
		o.Temperature, err = r.float(0, 100)
	case "top_p":
		o.TopP, err = r.float(0, 1)
	case "top_k":
		var k int64
		k, err = r.integer(-1, math.MaxInt32)
		o.TopK = int(max(k, 0))
	case "min_p":
		o.MinP, err = r.float(0, 1)
	case "repetition_penalty":
		if o.Repetition, err = r.float(0, 100); err == nil && o.Repetition == 0 {
			err = bad("", "must be above 0")
		}
	case "presence_penalty":
		o.Presence, err = r.float(-2, 2)
	case "frequency_penalty":
		o.Frequency, err = r.float(-2, 2)
	case "logit_bias":
		err = q.readBias(r, l)
	case "seed":
		var seed int64
		seed, err = r.integer(math.MinInt64, math.MaxInt64)
		o.Seed, o.Seeded = uint64(seed), true
	case "max_tokens", "max_new_tokens", "max_completion_tokens":
		var n int64
		n, err = r.integer(1, maxTokens)
		if by := slices.Index(lengths, key); o.MaxTokens == 0 || by < q.lengthBy {
			o.MaxTokens, q.lengthBy = int(n), by
		}
	case "min_tokens":
		var n int64
		n, err = r.integer(0, maxTokens)
		o.MinTokens = int(n)
	case "n":
		var n int64
		n, err = r.integer(1, text.MaxChoices)
		o.Choices = int(n)
	case "stop":
		o.Stop, err = r.texts(text.MaxStops)
	case "stop_token_ids":
		err = r.array(func(i int) error {
			if i == runtime.MaxEnds/2 {
				return bad("", "more than %d ids", runtime.MaxEnds/2)
			}
			id, err := r.integer(0, math.MaxInt32)
			o.StopIDs = append(o.StopIDs, int32(id))
			return err
		})
	case "ignore_eos":
		o.IgnoreEnd, err = r.bool()
	case "include_stop_str_in_output":
		o.IncludeStop, err = r.bool()
	case "skip_special_tokens":
		var skip bool
		skip, err = r.bool()
		o.ShowSpecial = err == nil && !skip
	case "stream":
		q.stream, err = r.bool()
	case "stream_options":
		err = l.object(r, []string{"include_usage", "continuous_usage_stats", "include_obfuscation"}, &q.warnings, func(r *jsonReader, key string) error {
			on, err := r.bool()
			switch key {
			case "include_usage":
				q.usage = on
			case "continuous_usage_stats":
				q.everyUsage = on
			}
			return err
		})
	case "response_format":
		err = q.readFormat(r, l)
	case "guided_json", "guided_regex", "guided_choice":
		err = q.readGuide(r, key, key[len("guided_"):])
	case "structured_outputs":
		err = l.object(r, []string{"json", "regex", "choice", "json_object"}, &q.warnings, func(r *jsonReader, kind string) error {
			return q.readGuide(r, "structured_outputs."+kind, kind)
		})
	case "return_token_ids":
		q.ids, err = r.bool()
	case "user":
		_, err = r.string()
	}
	return err
}

// readBias reads {"token id": bias}.
func (q *textRequest) readBias(r *jsonReader, l limits) error {
	q.options.Bias = map[int32]float32{}
	return r.object(func(key string) error {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			return bad("", "is no token id")
		}
		if len(q.options.Bias) == text.MaxBiases {
			return bad("", "more than %d tokens", text.MaxBiases)
		}
		v, err := r.float(-100, 100)
		q.options.Bias[int32(id)] = float32(v)
		return err
	})
}

// readFormat reads OpenAI's response_format.
func (q *textRequest) readFormat(r *jsonReader, l limits) error {
	kind := ""
	var schema []byte
	err := l.object(r, []string{"type", "json_schema"}, &q.warnings, func(r *jsonReader, key string) (err error) {
		if key == "type" {
			if kind, err = r.name(); err == nil && kind != "text" && kind != "json_object" && kind != "json_schema" {
				err = bad("", "must be text, json_object or json_schema, not %q", shorten(kind))
			}
			return err
		}
		return l.object(r, []string{"name", "description", "schema", "strict"}, &q.warnings, func(r *jsonReader, key string) (err error) {
			switch key {
			case "schema":
				schema, err = r.raw(maxGuide)
			case "strict":
				_, err = r.bool() // an answer always fits its schema
			default:
				_, err = r.string()
			}
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case kind == "":
		return bad("type", "is required")
	case kind == "json_object":
		return q.guide("response_format", "json", grammar.Seq(grammar.Space(), grammar.Object()))
	case kind == "json_schema" && schema == nil:
		return bad("json_schema.schema", "is required")
	case kind == "json_schema":
		return q.guide("response_format.json_schema.schema", "schema "+string(schema), grammar.Schema(schema))
	}
	return nil
}

// readGuide reads a value of vLLM's fields: a schema as an object or as a string, a regular expression, a list of texts.
func (q *textRequest) readGuide(r *jsonReader, field, kind string) error {
	switch kind {
	case "json":
		if r.kind() == stringKind {
			s, err := r.string()
			if err != nil {
				return err
			}
			return q.guide(field, "schema "+s, grammar.Schema([]byte(s)))
		}
		schema, err := r.raw(maxGuide)
		if err != nil {
			return err
		}
		return q.guide(field, "schema "+string(schema), grammar.Schema(schema))
	case "regex":
		s, err := r.string()
		if err != nil {
			return err
		}
		return q.guide(field, "regex "+s, grammar.Regex(s))
	case "choice":
		if r.kind() != arrayKind {
			return r.mismatch("a list of strings")
		}
		list, err := r.texts(maxChoices)
		if err == nil && len(list) == 0 {
			err = bad("", "must not be empty")
		}
		if err != nil {
			return err
		}
		return q.guide(field, fmt.Sprintf("choice %q", list), grammar.Choice(list))
	}
	on, err := r.bool()
	if err != nil || !on {
		return err
	}
	return q.guide(field, "json", grammar.Seq(grammar.Space(), grammar.Object()))
}

const maxChoices = 10000 // texts of guided_choice

// guide sets the form of the answer, which only one field may do.
func (q *textRequest) guide(field, key string, e grammar.Expr) error {
	if q.grammar != nil {
		return bad("", "the form of the answer is given by %s already", q.grammarBy)
	}
	q.grammar, q.grammarBy, q.grammarKey = e, field, key
	return nil
}

// texts reads a string or a list of strings, none of them empty.
func (r *jsonReader) texts(most int) ([]string, error) {
	one := func() (string, error) {
		s, err := r.string()
		if err == nil && s == "" {
			err = bad("", "must not be empty")
		}
		return s, err
	}
	if r.kind() == stringKind {
		s, err := one()
		return []string{s}, err
	}
	if r.kind() != arrayKind {
		return nil, r.mismatch("a string or a list of strings")
	}
	var list []string
	err := r.array(func(i int) error {
		if i == most {
			return bad("", "more than %d", most)
		}
		s, err := one()
		list = append(list, s)
		return err
	})
	return list, err
}

// raw reads a value of any kind as it is written.
func (r *jsonReader) raw(most int) ([]byte, error) {
	r.kind()
	from := r.at
	if err := r.discard(); err != nil {
		return nil, err
	}
	if r.at-from > most {
		return nil, bad("", "is longer than %d bytes", most)
	}
	return append([]byte(nil), r.text[from:r.at]...), nil
}

// float reads a number of at least lo and at most hi; where strings count as numbers, also from one.
func (r *jsonReader) float(lo, hi float64) (float64, error) {
	var s string
	var err error
	if r.lenient && r.kind() == stringKind {
		if s, err = r.string(); err != nil {
			return 0, err
		}
		n := jsonReader{text: []byte(s)}
		if s, err = n.number(); err != nil || n.end() != nil {
			return 0, bad("", "must be a number, not a string")
		}
	} else if s, err = r.number(); err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= lo && v <= hi) {
		return 0, bad("", "must be from %v to %v", lo, hi)
	}
	return v, nil
}
