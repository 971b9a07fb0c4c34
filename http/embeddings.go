package http

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// prepare turns the request into work for the model m. Between two inputs it
// looks whether that is still wanted. What it has read of the request it lets
// go of.
func (q *embedRequest) prepare(m Embedder, wanted func() error) (*embed.Work, error) {
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
	if q.ids != nil && (q.prompt != nil || q.promptName != "") {
		warn(&q.warnings, "no prompt was added: token ids are used as given")
	}
	texts := make([]embed.Text, 0, max(len(q.texts), len(q.ids)))
	cut := 0
	add := func(i int, encode func() (embed.Text, error)) error {
		if err := wanted(); err != nil {
			return err
		}
		t, err := encode()
		if err != nil {
			return bad("input["+strconv.Itoa(i)+"]", "%v", err)
		}
		t.IDs = compact(t.IDs)
		if t.Cut > 0 {
			cut++
		}
		texts = append(texts, t)
		return nil
	}
	for i, s := range q.texts {
		if err := add(i, func() (embed.Text, error) { return m.Encode(s, q.promptName, q.prompt) }); err != nil {
			return nil, err
		}
	}
	for i, ids := range q.ids {
		if err := add(i, func() (embed.Text, error) { return m.Check(ids) }); err != nil {
			return nil, err
		}
	}
	q.texts, q.ids, q.prompt = nil, nil, nil
	if cut > 0 {
		warn(&q.warnings, "%d of %d inputs were cut to the model's %d tokens", cut, len(texts), m.Info().MaxTokens)
	}
	return embed.NewWork(texts, o), nil
}

// compact moves ids out of an array that is much larger than they are, which
// would stay in memory while a job waits.
func compact(ids []int32) []int32 {
	if cap(ids) > 2*len(ids)+16 {
		return slices.Clone(ids)
	}
	return ids
}

// readEmbed reads the body of an embeddings request.
func (c *call) readEmbed(m Embedder) (*embedRequest, *embed.Work, bool) {
	return c.readWork(m, func(body []byte) (*embedRequest, error) { return decodeEmbed(body, c.limits()) })
}

// readWork reads and decodes the body and prepares its work; it answers itself
// when that fails.
func (c *call) readWork(m Embedder, decode func(body []byte) (*embedRequest, error)) (q *embedRequest, w *embed.Work, ok bool) {
	ok = c.prepare(func(body []byte) error {
		var err error
		if q, err = decode(body); err != nil {
			return err
		}
		if err = q.checkSize(maxPrompted * c.s.opt.MaxBody); err != nil {
			return err
		}
		w, err = q.prepare(m, c.wanted)
		return err
	})
	if ok {
		c.name(&q.model, &q.warnings)
	}
	return q, w, ok
}

// prepare reads the body and has its work prepared; it answers itself when that
// fails. Afterwards nothing holds the body any more. Where the queue is full
// none of that is done.
func (c *call) prepare(work func(body []byte) error) bool {
	if c.s.opt.Queue.Full() {
		c.refuse(queue.ErrFull)
		return false
	}
	body, ok := c.body()
	if !ok {
		return false
	}
	err := c.enter()
	if err == nil {
		err = work(body)
	}
	c.dropBody()
	if err != nil {
		c.fail(c.s.invalid(err))
		return false
	}
	return true
}

// name is what an answer calls the model: what the request called it.
func (c *call) name(model *string, warnings *[]string) {
	o := &c.s.opt
	switch {
	case *model == "":
		*model = o.Name
	case !strings.EqualFold(*model, o.Name) && !strings.EqualFold(*model, o.RepoID):
		warn(warnings, "this server runs %q, whatever model a request names", o.Name)
	}
}

// enter begins to watch the client: its context ends when it goes or when the
// time it set is over, and with it what is done for it, before and in the
// queue. leave ends the watch.
func (c *call) enter() error {
	end, err := c.deadline()
	if err != nil {
		return err
	}
	c.client = context.Background()
	if w, ok := c.ctx.Conn().(*conn); ok {
		c.client = c.s.watch.add(w)
		c.watched = w
	}
	if !end.IsZero() {
		c.client, c.expired = context.WithDeadlineCause(c.client, end, queue.ErrDeadline)
	}
	return nil
}

func (c *call) leave() {
	if c.expired != nil {
		c.expired()
		c.expired = nil
	}
	if c.watched != nil {
		c.s.watch.remove(c.watched)
		c.watched = nil
	}
}

// wanted is an error once the request's work would be in vain.
func (c *call) wanted() error {
	if c.client.Err() != nil {
		return context.Cause(c.client)
	}
	if c.s.Phase() == Draining {
		return queue.ErrClosed
	}
	return nil
}

// submit puts work into the queue; it answers itself when that fails.
func (c *call) submit(t queue.Task) (*queue.Job, bool) {
	j, err := c.s.opt.Queue.Submit(c.client, t)
	if err != nil {
		c.refuse(err)
		return nil, false
	}
	if c.watched != nil {
		c.watched.owe()
	}
	c.job = j.ID()
	c.s.jobs.add(&entry{request: c.trace.request, route: c.to.route.String(), job: j})
	c.ctx.Response.Header.Set("X-Job-Id", c.job)
	return j, true
}

// refuse answers a request whose job was not admitted.
func (c *call) refuse(err error) {
	outcome := "refused"
	switch {
	case errors.Is(err, queue.ErrCancelled):
		outcome = queue.Cancelled.String()
	case errors.Is(err, queue.ErrDeadline):
		outcome = queue.TimedOut.String()
	}
	c.s.opt.Observer.Job(outcome, 0)
	c.fail(c.s.refused(err))
}

// run sees work through the queue; it answers itself when that fails.
func (c *call) run(t queue.Task) bool {
	j, ok := c.submit(t)
	if !ok {
		return false
	}
	if err := c.wait(j); err != nil {
		c.fail(jobFailed(err))
		return false
	}
	return true
}

// wait returns when the job has ended, which it also does when its client
// goes away.
func (c *call) wait(j *queue.Job) error {
	<-j.Done()
	c.s.ended(j)
	return c.outcome(j)
}

// outcome is how a job that has ended ended for its client: one that closed
// its side in the last moment is gone as well.
func (c *call) outcome(j *queue.Job) error {
	if err := j.Err(); err != nil {
		return err
	}
	if c.watched != nil && c.watched.gone() {
		return errGone
	}
	return nil
}

// ended reports a job that has ended.
func (s *Server) ended(j *queue.Job) {
	s.jobs.end(j)
	last, o := j.Status(), s.opt.Observer
	outcome := last.State.String()
	o.Job(outcome, last.Waited)
	if j.Started() {
		o.Ran(outcome, last.Ran)
	}
	if last.State == queue.Failed {
		var panicked *queue.PanicError
		if errors.As(j.Err(), &panicked) {
			o.Panic()
		}
		slog.Error("job failed", "job", j.ID(), "error", j.Err())
	}
}

// embeddings answers the embeddings route.
func (c *call) embeddings(m Embedder) {
	q, w, ok := c.readEmbed(m)
	if !ok || !c.run(w) {
		return
	}
	b, err := c.buffer(q, w)
	if err == nil {
		b, err = c.appendAnswer(append(b, '{'), q, w)
	}
	if err != nil {
		c.fail(unanswered(err))
		return
	}
	c.s.opt.Observer.Generation()
	c.json(append(b, '}'))
}

var (
	errNotFinite = errors.New("the model computed a value that is not finite")
	errVectors   = errors.New("the model did not compute a vector for each input")
)

// buffer returns room for the answer, or an error if those that are not taken
// yet leave none.
func (c *call) buffer(q *embedRequest, w *embed.Work) ([]byte, error) {
	size := floatText
	if q.base64 {
		size = floatBase64
	}
	n := 512
	for _, v := range w.Vectors {
		n += 64 + size*len(v)
	}
	if c.watched != nil && !c.watched.hold(n) {
		return nil, errSlow
	}
	return make([]byte, 0, n), nil
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
