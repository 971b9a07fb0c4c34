package http

import (
	"maps"
	"slices"
	"strings"
)

// Bounds of an embeddings request, besides those of every body.
const (
	maxIDs       = 1 << 20 // token ids of one input
	maxDimension = 1 << 20
	maxPrompt    = 64 << 10 // bytes of a prompt
	// maxPrompted times the largest body is the most bytes that the texts of a
	// request may have together, each with the request's prompt.
	maxPrompted = 2
)

// embedRequest is the body of an embeddings request. Either texts or ids is
// set.
type embedRequest struct {
	texts      []string
	ids        [][]int32
	model      string
	base64     bool
	dimensions int // 0: all
	raw        bool
	prompt     *string // nil: not given
	promptName string
	inputType  string
	warnings   []string
}

// embedFields are the fields of an embeddings request.
var embedFields = []string{"input", "model", "encoding_format", "dimensions", "normalize", "prompt", "prompt_name", "input_type", "user"}

// decodeEmbed reads and checks all that can be known without the model.
func decodeEmbed(body []byte, l limits) (*embedRequest, error) {
	q := new(embedRequest)
	err := l.fields(body, embedFields, &q.warnings, func(r *jsonReader, key string) (err error) {
		switch key {
		case "input":
			err = q.readInput(r, l.inputs)
		case "model":
			q.model, err = r.name()
		case "encoding_format":
			var format string
			if format, err = r.name(); err == nil && format != "float" && format != "base64" {
				err = bad("", "must be float or base64, not %q", shorten(format))
			}
			q.base64 = format == "base64"
		case "dimensions":
			var d int64
			d, err = r.integer(1, maxDimension)
			q.dimensions = int(d)
		case "normalize":
			var normalize bool
			normalize, err = r.bool()
			q.raw = err == nil && !normalize
		case "prompt":
			err = q.readPrompt(r)
		case "prompt_name":
			q.promptName, err = r.name()
		case "input_type":
			q.inputType, err = r.name()
		case "user":
			_, err = r.string()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if q.texts == nil && q.ids == nil {
		return nil, bad("input", "is required")
	}
	return q, nil
}

func (q *embedRequest) readPrompt(r *jsonReader) error {
	s, err := r.string()
	if err == nil && len(s) > maxPrompt {
		err = bad("", "is longer than %d bytes", maxPrompt)
	}
	q.prompt = &s
	return err
}

// checkSize bounds what a prompt makes of the texts: no more than most bytes.
func (q *embedRequest) checkSize(most int) error {
	if q.prompt == nil {
		return nil // no longer than the body
	}
	size := len(q.texts) * len(*q.prompt)
	for _, s := range q.texts {
		size += len(s)
	}
	if size > most {
		return bad("prompt", "makes %d bytes of the inputs, more than %d", size, most)
	}
	return nil
}

// readInput reads a text, token ids, or a list of either.
func (q *embedRequest) readInput(r *jsonReader, most int) error {
	if r.kind() == stringKind {
		s, err := r.string()
		q.texts = []string{s}
		return err
	}
	if r.kind() != arrayKind {
		return r.mismatch("a string, a list of strings or token ids")
	}
	first := byte(endKind)
	var single []int32
	err := r.array(func(i int) error {
		k := r.kind()
		if i == 0 {
			first = k
		}
		if k != first {
			if k == wrongKind || k == endKind {
				return r.syntax("a value")
			}
			return bad("", "is %s, where the list began with %s", kindNames[k], kindNames[first])
		}
		if i >= most && k != numberKind {
			return bad("", "more than %d inputs", most)
		}
		switch k {
		case stringKind:
			s, err := r.string()
			q.texts = append(q.texts, s)
			return err
		case arrayKind:
			var ids []int32
			err := r.array(func(n int) error { return readID(r, n, &ids) })
			if err == nil && len(ids) == 0 {
				err = bad("", "must not be empty")
			}
			q.ids = append(q.ids, ids)
			return err
		case numberKind:
			return readID(r, i, &single)
		}
		return r.mismatch("a string or a list of token ids")
	})
	switch {
	case err != nil:
		return err
	case first == endKind:
		return bad("", "must not be empty")
	case first == numberKind:
		q.ids = [][]int32{single}
	}
	return nil
}

// readID reads the n-th token id of an input. Ids that no model can have fail
// here, those that this one does not have in Embedder.Check.
func readID(r *jsonReader, n int, ids *[]int32) error {
	if n == maxIDs {
		return bad("", "more than %d token ids", maxIDs)
	}
	id, err := r.integer(0, 1<<31-1)
	*ids = append(*ids, int32(id))
	return err
}

// promptNames lists the names in alphabetical order.
func promptNames(prompts map[string]string) []string { return slices.Sorted(maps.Keys(prompts)) }

// choices lists the names for an error.
func choices(prompts map[string]string) string {
	if len(prompts) == 0 {
		return "this model has no prompts"
	}
	return "this model has " + strings.Join(promptNames(prompts), ", ")
}

// everywhere says whether each model has the prompt, empty if its repository
// stores none of that name; so it is in sentence-transformers since version 6.
func everywhere(name string) bool { return name == "query" || name == "document" }

// sides are the prompt names of each input_type, the first that the repository
// has counts. The second spelling of a side is Cohere's.
var sides = map[string][]string{
	"query":           {"query"},
	"search_query":    {"search_query", "query"},
	"document":        {"document", "passage", "corpus"},
	"passage":         {"passage", "document", "corpus"},
	"search_document": {"search_document", "document", "passage", "corpus"},
}

// choosePrompt settles which prompt goes in front of the texts. An explicit
// text wins over a name, and a name over the kind of input.
func (q *embedRequest) choosePrompt(prompts map[string]string) error {
	if _, has := prompts[q.promptName]; q.promptName != "" && q.prompt == nil && !has && !everywhere(q.promptName) {
		return bad("prompt_name", "no prompt is called %q: %s", shorten(q.promptName), choices(prompts))
	}
	if q.inputType == "" {
		return nil
	}
	names, known := sides[q.inputType]
	if _, has := prompts[q.inputType]; has {
		names = []string{q.inputType}
	} else if !known {
		return bad("input_type", "must be query, document or the name of a prompt, not %q: %s", shorten(q.inputType), choices(prompts))
	}
	if q.prompt != nil || q.promptName != "" {
		warn(&q.warnings, "input_type was ignored: the request names its prompt")
		return nil
	}
	for _, name := range names {
		if _, has := prompts[name]; has {
			q.promptName = name
			return nil
		}
	}
	warn(&q.warnings, "input_type %q added nothing: the model has no prompt for it", q.inputType)
	return nil
}
