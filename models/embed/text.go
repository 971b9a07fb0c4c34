package embed

import (
	"fmt"
	"slices"
	"sync"
)

// Text is one input, ready for the worker.
type Text struct {
	IDs    []int32
	Prompt int // leading tokens of a prompt, which pooling may leave out
	Cut    int // tokens beyond the model's limit, which are not in IDs
}

// Encode tokenizes a text behind a prompt: the given one, even an empty one; where that is nil, the repository's prompt
// of that name, and where there is no name its default one. A prompt is prepended as it is. Special tokens are added;
// what exceeds MaxTokens is cut and counted.
func (m *Model) Encode(text, promptName string, prompt *string) (Text, error) {
	before, err := m.prompt(promptName, prompt)
	if err != nil {
		return Text{}, err
	}
	ids, cut := m.tokens.IDs(before+text, true, m.info.MaxTokens)
	t := Text{IDs: ids, Cut: cut}
	if before != "" && !m.pipe.includePrompt {
		t.Prompt = min(m.prompts.length(before), len(ids))
	}
	return m.fit(t)
}

// prompt settles which text comes first. Every repository has the prompts "query" and "document", empty where it stores
// no others (sentence-transformers 6).
func (m *Model) prompt(name string, given *string) (string, error) {
	if given != nil {
		return *given, nil
	}
	if name == "" {
		name = m.info.DefaultPrompt
	}
	p, ok := m.info.Prompts[name]
	if !ok && name != "" && name != "query" && name != "document" {
		return "", fmt.Errorf("prompt %q is not known: %s", name, m.info.promptNames())
	}
	return p, nil
}

// fit refuses ids that the network has no rows for: a tokenizer may know more tokens than the model.
func (m *Model) fit(t Text) (Text, error) {
	for i, id := range t.IDs {
		if id < 0 || int(id) >= m.info.VocabSize {
			return Text{}, fmt.Errorf("token %d has id %d, the model has %d", i, id, m.info.VocabSize)
		}
	}
	return t, nil
}

// Check takes token ids as they are, nothing added: the caller's own tokenizer made them.
func (m *Model) Check(ids []int32) (Text, error) {
	if len(ids) == 0 {
		return Text{}, fmt.Errorf("no token ids")
	}
	n := min(len(ids), m.info.MaxTokens)
	return m.fit(Text{IDs: slices.Clone(ids[:n]), Cut: len(ids) - n}) // not the request's list, which may be long
}

// prompts remembers the length in tokens of the prompts that were used.
type prompts struct {
	model *Model
	mu    sync.Mutex
	known map[string]int
}

// promptLimit bounds what clients can make the server remember.
const promptLimit = 1024

// length is the number of tokens of a prompt alone with its special tokens, without a special token at its end
// (sentence_transformers/base/modules/transformer.py, _get_prompt_length).
func (p *prompts) length(prompt string) int {
	p.mu.Lock()
	n, ok := p.known[prompt]
	p.mu.Unlock()
	if ok {
		return n
	}
	ids, _ := p.model.tokens.IDs(prompt, true, p.model.info.MaxTokens)
	n = len(ids)
	if n > 0 && p.model.tokens.IsSpecial(ids[n-1]) {
		n--
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) < promptLimit {
		p.known[prompt] = n
	}
	return n
}
