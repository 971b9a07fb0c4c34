package http

import "strconv"

// tokenize answers {"prompt", "add_special_tokens"} with token ids.
func (c *call) tokenize(t Tokenizer) {
	body, ok := c.body()
	if !ok {
		return
	}
	var prompt *string
	special := true
	var warnings []string
	known := []string{"model", "prompt", "add_special_tokens"}
	err := c.limits().fields(body, known, &warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "model":
			_, err = r.name()
		case "prompt":
			var s string
			s, err = r.string()
			prompt = &s
		case "add_special_tokens":
			special, err = r.bool()
		}
		return err
	})
	if err == nil && prompt == nil {
		err = bad("prompt", "is required")
	}
	if err != nil {
		c.fail(c.s.invalid(err))
		return
	}
	ids, _ := t.IDs(*prompt, special, 0)
	b := append(make([]byte, 0, 64+8*len(ids)), `{"tokens":`...)
	b = appendInts(b, ids)
	b = append(b, `,"count":`...)
	b = strconv.AppendInt(b, int64(len(ids)), 10)
	b = append(b, `,"max_model_len":`...)
	b = strconv.AppendInt(b, int64(c.state.loaded.maxTokens()), 10)
	c.json(append(appendWarnings(b, warnings), '}'))
}

// detokenize answers {"tokens"} with the text they stand for.
func (c *call) detokenize(t Tokenizer) {
	body, ok := c.body()
	if !ok {
		return
	}
	var ids []int32
	given := false
	var warnings []string
	top := int64(t.VocabSize()) - 1
	known := []string{"model", "tokens"}
	err := c.limits().fields(body, known, &warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "model":
			_, err = r.name()
		case "tokens":
			given = true
			err = r.array(func(n int) error {
				if n == maxIDs {
					return bad("", "more than %d token ids", maxIDs)
				}
				id, err := r.integer(0, top)
				ids = append(ids, int32(id))
				return err
			})
		}
		return err
	})
	if err == nil && !given {
		err = bad("tokens", "is required")
	}
	if err != nil {
		c.fail(c.s.invalid(err))
		return
	}
	b := appendString([]byte(`{"prompt":`), t.Decode(ids, false))
	c.json(append(appendWarnings(b, warnings), '}'))
}

// maxTokens is the most tokens of one input.
func (m *Loaded) maxTokens() int {
	if m.Embed != nil {
		return m.Embed.Info().MaxTokens
	}
	return 0
}
