package http

import "context"

// tokenize answers {"prompt", "add_special_tokens"} with token ids, and for a
// language model also {"messages", "tools", ...}: those that a conversation
// becomes.
func (c *call) tokenize(m *Loaded) {
	body, ok := c.body()
	if !ok {
		return
	}
	var prompt *string
	var special *bool
	q := &chatRequest{parallel: true}
	q.conversation.AddGenerationPrompt = true
	known := []string{"model", "prompt", "add_special_tokens"}
	if m.Text != nil {
		known = append(known, "messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "chat_template_kwargs")
	}
	err := c.limits().fields(body, known, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "model":
			_, err = r.name()
		case "prompt":
			var s string
			s, err = r.string()
			prompt = &s
		case "add_special_tokens":
			var on bool
			on, err = r.bool()
			special = &on
		case "tools":
			err = q.readTools(r)
		default:
			err = q.readConversation(r, key)
		}
		return err
	})
	if err == nil {
		switch chats := q.conversation.Messages != nil; {
		case prompt == nil && !chats && m.Text != nil:
			err = bad("prompt", "or messages is required")
		case prompt == nil && !chats:
			err = bad("prompt", "is required")
		case prompt != nil && chats:
			err = bad("messages", "is given beside prompt")
		}
	}
	var ids []int32
	switch {
	case err != nil:
	case prompt != nil:
		ids, _ = m.Tokenizer.IDs(*prompt, special == nil || *special, 0)
	default:
		if special != nil && *special {
			err = bad("add_special_tokens", "is not supported with messages: the template writes them")
			break
		}
		if q.conversation.ContinueFinalMessage {
			q.conversation.AddGenerationPrompt = false
		}
		if ids, err = m.Text.Chat(context.Background(), q.conversation); err != nil {
			err = badRequest(err)
		}
	}
	if err != nil {
		c.fail(c.s.invalid(err))
		return
	}
	b := append(make([]byte, 0, 64+8*len(ids)), `{"tokens":`...)
	b = appendInts(b, ids)
	b = appendInt(append(b, `,"count":`...), len(ids))
	b = appendInt(append(b, `,"max_model_len":`...), m.maxTokens())
	c.json(append(appendWarnings(b, q.warnings), '}'))
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
	switch {
	case m.Embed != nil:
		return m.Embed.Info().MaxTokens
	case m.Text != nil:
		return m.Text.Info().MaxTokens
	}
	return 0
}
