package http

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// prepare turns the request into work for the model m.
func (q *embedRequest) prepare(m Embedder) (*embed.Work, error) {
	o := embed.Options{Dimensions: q.dimensions, Raw: q.raw}
	warning, err := m.CheckOptions(o)
	if err != nil {
		return nil, bad("dimensions", "%s", strings.TrimPrefix(err.Error(), "dimensions "))
	}
	if warning != "" {
		warn(&q.warnings, "%s", warning)
	}
	if err := q.choosePrompt(m.Info().Prompts); err != nil {
		return nil, err
	}
	texts := make([]embed.Text, 0, max(len(q.texts), len(q.ids)))
	cut := 0
	for i, s := range q.texts {
		t, err := m.Encode(s, q.promptName, q.prompt)
		if err != nil {
			return nil, bad("input["+strconv.Itoa(i)+"]", "%v", err)
		}
		texts = append(texts, t)
	}
	for i, ids := range q.ids {
		t, err := m.Check(ids)
		if err != nil {
			return nil, bad("input["+strconv.Itoa(i)+"]", "%v", err)
		}
		texts = append(texts, t)
	}
	if q.ids != nil && (q.prompt != "" || q.promptName != "") {
		warn(&q.warnings, "no prompt was added: token ids are used as given")
	}
	for _, t := range texts {
		if t.Cut > 0 {
			cut++
		}
	}
	if cut > 0 {
		warn(&q.warnings, "%d of %d inputs were cut to the model's %d tokens", cut, len(texts), m.Info().MaxTokens)
	}
	return embed.NewWork(texts, o), nil
}

// readEmbed decodes the body and prepares its work; it answers itself when
// that fails.
func (c *call) readEmbed(m Embedder) (*embedRequest, *embed.Work, bool) {
	q, err := decodeEmbed(c.ctx.PostBody(), c.limits())
	var w *embed.Work
	if err == nil {
		w, err = q.prepare(m)
	}
	if err != nil {
		c.fail(invalid(err))
		return nil, nil, false
	}
	if q.model == "" {
		q.model = c.s.opt.Name
	} else if o := &c.s.opt; !strings.EqualFold(q.model, o.Name) && !strings.EqualFold(q.model, o.RepoID) {
		warn(&q.warnings, "this server runs %q, whatever model a request names", o.Name)
	}
	return q, w, true
}

// submit puts work into the queue; it answers itself when that fails.
func (c *call) submit(t queue.Task) (*queue.Job, bool) {
	j, err := c.s.opt.Queue.Submit(context.Background(), t)
	if err != nil {
		c.s.opt.Observer.Job("refused", 0)
		c.fail(c.s.refused(err))
		return nil, false
	}
	c.ctx.Response.Header.Set("X-Job-Id", j.ID())
	return j, true
}

// wait returns when the job has ended, which it also does when its client
// goes away.
func (c *call) wait(j *queue.Job) error {
	if w, ok := c.ctx.Conn().(*conn); ok {
		c.s.watch.add(w, j)
		defer c.s.watch.remove(w)
	}
	<-j.Done()
	c.s.ended(j)
	return j.Err()
}

// ended reports a job that has ended.
func (s *Server) ended(j *queue.Job) {
	s.opt.Observer.Job(j.State().String(), j.Waited())
	if j.State() == queue.Failed {
		slog.Error("job failed", "job", j.ID(), "error", j.Err())
	}
}

// embeddings answers the embeddings route.
func (c *call) embeddings(m Embedder) {
	q, w, ok := c.readEmbed(m)
	if !ok {
		return
	}
	j, ok := c.submit(w)
	if !ok {
		return
	}
	if err := c.wait(j); err != nil {
		c.fail(jobFailed(err))
		return
	}
	b, err := c.appendAnswer(append(q.buffer(w), '{'), q, w)
	if err != nil {
		c.fail(jobFailed(err))
		return
	}
	c.json(append(b, '}'))
}

var (
	errNotFinite = errors.New("the model computed a value that is not finite")
	errVectors   = errors.New("the model did not compute a vector for each input")
)

// buffer returns room for the answer.
func (q *embedRequest) buffer(w *embed.Work) []byte {
	size := floatText
	if q.base64 {
		size = floatBase64
	}
	n := 512
	for _, v := range w.Vectors {
		n += 64 + size*len(v)
	}
	return make([]byte, 0, n)
}

// appendAnswer appends the fields of an answer, without the braces, and counts
// what was answered.
func (c *call) appendAnswer(b []byte, q *embedRequest, w *embed.Work) ([]byte, error) {
	if len(w.Vectors) != len(w.Texts) {
		return nil, errVectors
	}
	b = append(b, `"object":"list","model":`...)
	b = appendString(b, q.model)
	b = append(b, `,"data":[`...)
	for i, v := range w.Vectors {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":`...)
		finite := false
		if q.base64 {
			b, finite = appendBase64(b, v)
		} else {
			b, finite = appendFloats(b, v)
		}
		if !finite {
			return nil, errNotFinite
		}
		b = append(b, '}')
	}
	tokens, cut := 0, 0
	for _, t := range w.Texts {
		tokens += len(t.IDs)
		if t.Cut > 0 {
			cut++
		}
	}
	c.s.opt.Observer.Inputs(len(w.Texts), tokens, cut)
	b = append(b, `],"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	if cut > 0 {
		b = append(b, `,"truncated":`...)
		b = strconv.AppendInt(b, int64(cut), 10)
	}
	return appendWarnings(append(b, '}'), q.warnings), nil
}
