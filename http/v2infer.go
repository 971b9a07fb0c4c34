package http

import (
	"cmp"
	"mime"
	"strconv"
	"strings"

	"remote-client-server/models/embed"
)

// embedInputs and embedOutputs are the tensors of an embedding model.
var (
	embedInputs = []tensorInfo{
		{"text", "BYTES", -1}, {"dimensions", "INT32", 1}, {"normalize", "BOOL", 1},
		{"prompt", "BYTES", 1}, {"prompt_name", "BYTES", 1}, {"input_type", "BYTES", 1},
	}
	embedOutputs = []tensorInfo{{"output", "BYTES", 1}}
)

// inferBody is the JSON of an inference request. The protocol's binary form
// puts its length in a header, which counts only under the binary content type:
// some clients send a wrong one along with plain JSON.
func (c *call) inferBody(body []byte) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(string(c.ctx.Request.Header.ContentType()))
	word := string(c.ctx.Request.Header.Peek("Inference-Header-Content-Length"))
	if kind != "application/octet-stream" || word == "" {
		return body, nil
	}
	n, err := strconv.Atoi(word)
	switch {
	case err != nil || n < 0 || n > len(body):
		return nil, bad("Inference-Header-Content-Length", "must be the length of the JSON in front of the tensors")
	case n < len(body):
		return nil, errBinary()
	}
	return body, nil
}

// embedRequest makes the inputs of a V2 request those of an embeddings request.
func (q *inferRequest) embedRequest(l limits) (*embedRequest, error) {
	e := &embedRequest{warnings: q.warnings}
	for i := range q.inputs {
		t := &q.inputs[i]
		var err error
		switch t.name {
		case "text", "input", "inputs", "texts":
			if e.texts != nil {
				return nil, bad(t.path+".name", "the texts are given twice")
			}
			if len(t.data) > l.inputs {
				return nil, bad(t.path+".data", "more than %d inputs", l.inputs)
			}
			e.texts, err = t.texts()
		case "dimensions":
			err = t.value(func(r *jsonReader) error {
				d, err := r.integer(1, maxDimension)
				e.dimensions = int(d)
				return err
			})
		case "normalize":
			var on bool
			on, err = t.flag()
			e.raw = err == nil && !on
		case "prompt":
			var s string
			if s, err = t.word(); len(s) > maxPrompt {
				err = bad(t.path+".data", "is longer than %d bytes", maxPrompt)
			}
			e.prompt = &s
		case "prompt_name":
			e.promptName, err = t.word()
		case "input_type":
			e.inputType, err = t.word()
		default:
			if l.strict {
				return nil, bad(t.path+".name", "unknown input %q", shorten(t.name))
			}
			warn(&e.warnings, "unknown input %q was ignored", shorten(t.name))
		}
		if err != nil {
			return nil, err
		}
	}
	if len(e.texts) == 0 {
		return nil, bad("inputs", "one named text with at least one element is required")
	}
	for _, name := range q.outputs {
		if name != "output" {
			return nil, bad("outputs", "there is no output %q: this model has output", shorten(name))
		}
	}
	return e, nil
}

// infer answers a V2 inference request.
func (c *call) infer(m Embedder) {
	if !c.named() {
		return
	}
	var id string
	q, w, ok := c.readWork(m, func(body []byte) (*embedRequest, error) {
		body, err := c.inferBody(body)
		if err != nil {
			return nil, err
		}
		v2, err := decodeInfer(body, c.limits())
		if err != nil {
			return nil, err
		}
		id = v2.id
		return v2.embedRequest(c.limits())
	})
	if !ok || !c.run(w) {
		return
	}
	b, err := c.appendInferred(q, w, id)
	if err != nil {
		c.fail(unanswered(err))
		return
	}
	c.s.opt.Observer.Generation()
	c.json(b)
}

// appendInferred writes the answer: the vectors as JSON inside a string, as the
// protocol's clients here read them.
func (c *call) appendInferred(q *embedRequest, w *embed.Work, id string) ([]byte, error) {
	if len(w.Vectors) != len(w.Texts) {
		return nil, errVectors
	}
	b, err := c.buffer(q, w)
	if err != nil {
		return nil, err
	}
	b = appendString(append(b, `{"model_name":`...), c.s.opt.Name)
	b = append(b, `,"id":`...)
	b = appendString(b, cmp.Or(id, c.job))
	if len(q.warnings) > 0 {
		b = append(b, `,"parameters":{"warnings":`...)
		b = append(appendString(b, strings.Join(q.warnings, "; ")), '}')
	}
	dim := 0
	if len(w.Vectors) > 0 {
		dim = len(w.Vectors[0])
	}
	b = append(b, `,"outputs":[{"name":"output","shape":[1],"datatype":"BYTES","data":["{\"embedding_dim\":`...)
	b = strconv.AppendInt(b, int64(dim), 10)
	b = append(b, `,\"embeddings\":[`...)
	tokens, cut := 0, 0
	for i, v := range w.Vectors {
		if i > 0 {
			b = append(b, ',')
		}
		var finite bool
		if b, finite = appendFloats(b, v); !finite {
			return nil, errNotFinite
		}
		tokens += len(w.Texts[i].IDs)
		if w.Texts[i].Cut > 0 {
			cut++
		}
	}
	c.s.opt.Observer.Inputs(len(w.Texts), tokens, cut)
	b = append(b, `],\"model_id\":`...)
	quoted := appendString(nil, string(appendString(nil, c.s.modelID()))) // a string inside a string
	b = append(b, quoted[1:len(quoted)-1]...)
	b = append(b, `,\"shape\":[`...)
	b = strconv.AppendInt(b, int64(len(w.Vectors)), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(dim), 10)
	return append(b, `]}"]}]}`...), nil
}
