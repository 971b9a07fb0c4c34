package text

import (
	"errors"
	"slices"
	"time"
)

// choice is what the device reports of a row: the id chosen, then the likeliest ones, with their log-probabilities.
type choice struct {
	ids      []int32
	logprobs []float32
}

// write computes the next token of every sequence that writes.
func (e *engine) write() error {
	if len(e.writing) == 0 {
		return e.settle()
	}
	if e.rows == nil || slices.ContainsFunc(e.rows, e.halts) {
		if err := e.settle(); err != nil {
			return err
		}
		e.sweep()
		e.cross()
	}
	if err := e.arrange(); err != nil || len(e.rows) == 0 {
		return err
	}
	began := time.Now()
	n := len(e.rows)
	err := e.guarded(e.rows, func() error { return e.run(e.state.bucket(n)) })
	if err != nil {
		return err
	}
	if e.rows == nil { // there was no memory
		return nil
	}
	f := &flight{rows: slices.Clone(e.rows), tokens: e.b.Fetch(e.state.sampling.Tokens.Slice(0, n)), logprobs: e.b.Fetch(e.state.sampling.Logprobs.Slice(0, n))}
	for _, s := range e.rows {
		s.computed++
	}
	if err := e.settle(); err != nil { // the step before
		return err
	}
	e.flight = f
	if !e.props.Behind {
		err = e.settle()
	}
	e.m.observe(func(o Observer) { o.Step(0, n, time.Since(began)) })
	return err
}

// halts reports whether the host must see a sequence's token before the next step: it decides what may come, or the
// sequence ends there, or goes on with other frequencies.
func (e *engine) halts(s *sequence) bool {
	length := s.computed + 1 // of the sequence in the next step
	return s.done || s.work.Options.Grammar != nil || length-len(s.work.Prompt) >= s.work.Options.MaxTokens || e.m.net.variant(length) != s.variant
}

// cross sends sequences that have grown beyond the reach of their frequencies back to be computed with others.
func (e *engine) cross() {
	for _, s := range slices.Clone(e.writing) {
		if v := e.m.net.variant(len(s.tokens)); v != s.variant {
			e.again(s)
			s.variant, s.until = v, len(s.tokens)
		}
	}
}

// arrange makes the device's rows those of the sequences that write, with room for one more token each.
func (e *engine) arrange() error {
	for _, s := range slices.Clone(e.writing) {
		if !slices.Contains(e.writing, s) { // it made room
			continue
		}
		had := len(s.blocks)
		if !e.room(s, s.computed+1) { // the youngest waits for the others
			if err := e.settle(); err != nil {
				return err
			}
			e.again(s)
			continue
		}
		if e.rows != nil && len(s.blocks) != had {
			e.state.extend(e.b, s, had)
		}
	}
	e.writing = slices.DeleteFunc(e.writing, func(s *sequence) bool {
		if s.done {
			e.drop(s)
		}
		return s.done
	})
	if e.rows == nil {
		if err := e.settle(); err != nil {
			return err
		}
		e.rows = slices.Clone(e.writing)
		for i, s := range e.rows {
			s.row = i
		}
		e.state.arrange(e.b, e.rows)
	}
	for _, s := range e.rows {
		e.state.mask(e.b, s)
		e.state.retune(e.b, s)
	}
	return nil
}

// run computes a step of n rows, recorded at its first time.
func (e *engine) run(n int) error {
	if g := e.graphs[n]; g != nil {
		e.b.Run(g)
		return nil
	}
	s, p := e.state.first(n)
	g, err := e.b.Record(func() {
		m := e.b.Mark()
		defer e.b.Release(m)
		x := e.m.net.begin(e.b, p.IDs, s, e.state.rotaries)
		e.m.net.run(e.b, x, s, nil)
		e.b.Sample(e.m.net.logits(e.b, x), s, p)
	})
	if err == nil {
		e.graphs[n] = g
	}
	return err
}

// settle looks at the tokens of the step under way.
func (e *engine) settle() error {
	f := e.flight
	if f == nil {
		return nil
	}
	e.flight = nil
	w := 1 + e.state.sampling.Top
	tokens, logprobs := make([]int32, len(f.rows)*w), make([]float32, len(f.rows)*w)
	if err := f.tokens.Wait(tokens); err != nil {
		return err
	}
	if err := f.logprobs.Wait(logprobs); err != nil {
		return err
	}
	for i, s := range f.rows {
		if s.over() || s.row < 0 { // it ended, or lost its blocks, while the step was under way
			continue
		}
		e.chosen(s, choice{tokens[i*w : (i+1)*w], logprobs[i*w : (i+1)*w]})
		s.name(e.pool, min(e.shareable(s), len(s.tokens)-1))
		if s.done {
			e.rows = nil
		}
	}
	return nil
}

var errNotFinite = errors.New("the model computed logits that are not finite")

// chosen adds a token to a sequence, tells the reader and ends what ends there.
func (e *engine) chosen(s *sequence, c choice) {
	id := c.ids[0]
	if id < 0 {
		e.fail(s, errNotFinite)
		return
	}
	o := &s.work.Options
	s.tokens = append(s.tokens, id)
	s.job.Progress(1)
	d := &Delta{Choice: s.choice, Tokens: []Token{e.token(o, c)}}
	e.told(s)

	if s.match != nil {
		if err := s.match.Accept(id); err != nil {
			e.fail(s, err)
			return
		}
	} else if o.After != nil {
		b, _, _ := e.m.tokens.TokenBytes(id)
		s.watch(id, b)
	}
	ends := slices.Contains(o.StopIDs, id) || (!o.IgnoreEnd || s.match != nil) && slices.Contains(e.m.info.Ends, id)
	reason := ""
	if ends {
		reason = Stopped
	} else {
		d.Text, d.Stop = s.show(e.m, id)
		switch {
		case d.Stop != "":
			reason = Stopped
		case s.match != nil && s.match.Finished():
			reason = Stopped
			if s.match.Closing() {
				reason = Length
			}
		case s.left() <= 0:
			reason = Length
		}
	}
	if reason != "" {
		if d.Stop == "" {
			d.Text += s.rest()
		}
		d.Finish = reason
		s.done = true
	}
	s.job.Emit(d)
	if reason == "" {
		return
	}
	e.m.count(func(n *Stats) { n.Finished[reason]++ })
	if s.work.open--; s.work.open == 0 {
		s.job.Spare(s.work.Cost())
		s.job.Finish(nil)
	}
}

// token is a chosen token as its reader wants it.
func (e *engine) token(o *Options, c choice) Token {
	t := Token{ID: c.ids[0]}
	if !o.Logprobs {
		return t
	}
	t.Logprob = c.logprobs[0]
	for i := 1; i <= o.Top && i < len(c.ids) && c.ids[i] >= 0; i++ {
		t.Top = append(t.Top, Alternative{c.ids[i], c.logprobs[i]})
	}
	return t
}

// told measures the times between tokens.
func (e *engine) told(s *sequence) {
	now := time.Now()
	e.m.observe(func(o Observer) {
		if s.when.IsZero() {
			o.FirstToken(s.job.Status().Waited + s.job.Status().Ran)
		} else {
			o.NextToken(now.Sub(s.when))
		}
	})
	s.when = now
}

// show is the text that a token makes certain, and the stop string that it completes.
func (s *sequence) show(m *Model, id int32) (string, string) {
	said := ""
	if o := &s.work.Options; !o.ShowSpecial && slices.Contains(o.Show, id) {
		mark, _, _ := m.tokens.TokenBytes(id)
		said = s.text.Flush() + string(mark)
		s.text = m.tokens.DecodeStream(true)
	} else {
		said = s.text.Next(id)
	}
	text, stopped, which := s.stops.Push(said)
	if !stopped {
		return text, ""
	}
	return text, which
}

// rest is the text that was held back.
func (s *sequence) rest() string {
	text, stopped, _ := s.stops.Push(s.text.Flush())
	if stopped {
		return text
	}
	return text + s.stops.Flush()
}
