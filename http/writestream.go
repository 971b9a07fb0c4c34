package http

import (
	"bufio"
	"errors"

	"remote-client-server/runtime/queue"
)

// flow answers with chunks, as the choices grow, and [DONE] behind the last.
func (a *writing) flow() {
	s := &chunks{writing: a}
	a.c.ctx.Response.Header.Set("Connection", "keep-alive")
	a.c.flow(a.jobs, func(w *bufio.Writer) {
		s.w = w
		s.run()
	}, s.broken)
}

// chunks is a running stream.
type chunks struct {
	*writing
	w     *bufio.Writer
	buf   []byte
	ended bool
}

// run sends the prompts' choices, one prompt after the other; those behind are
// computed meanwhile.
func (s *chunks) run() {
	for i, j := range s.jobs {
		if !s.one(i, j) {
			return
		}
	}
	s.c.s.opt.Observer.Generation()
	s.count()
	if s.usage || s.everyUsage {
		b := append(s.begin(), `,"choices":[],`...)
		s.put(append(s.appendUsage(b), '}'))
	}
	s.done()
}

// one sends what becomes known of a prompt's choices until all of them have
// ended; false means that the stream is over.
func (s *chunks) one(i int, j *queue.Job) bool {
	for {
		over := false
		select {
		case <-j.Updates():
		case <-j.Done():
			over = true
		}
		for _, p := range s.take(i) {
			s.chunk(p)
		}
		if over {
			if err := s.c.outcome(j); err != nil {
				s.fail(err)
				return false
			}
			return s.w.Flush() == nil
		}
		if s.w.Flush() != nil {
			return false
		}
	}
}

// begin starts a chunk.
func (s *chunks) begin() []byte {
	object := "text_completion"
	if s.chats {
		object = "chat.completion.chunk"
	}
	return s.head(append(s.buf[:0], "data: "...), object)
}

// put writes a chunk; an error stays with the writer until the flush.
func (s *chunks) put(b []byte) {
	b = append(b, "\n\n"...)
	s.buf = b
	_, _ = s.w.Write(b)
}

// chunk sends a piece, if it holds anything that a client can see. The reason
// of an end comes in a chunk of its own.
func (s *chunks) chunk(p piece) {
	logprobs := s.options.Logprobs && len(p.tokens) > 0
	if p.text != "" || len(p.calls) > 0 || logprobs || s.ids && len(p.tokens) > 0 || p.finish != "" && !p.n.begun {
		s.choice(p, "")
	}
	if p.finish != "" {
		s.choice(piece{n: p.n}, p.finish)
	}
}

func (s *chunks) choice(p piece, finish string) {
	b := append(s.begin(), `,"choices":[{"index":`...)
	b = appendInt(b, p.n.index)
	if s.chats {
		b = append(b, `,"delta":{`...)
		comma := false
		field := func(name string) {
			if comma {
				b = append(b, ',')
			}
			comma = true
			b = append(append(append(b, '"'), name...), '"', ':')
		}
		if !p.n.begun {
			field("role")
			b = append(b, `"assistant"`...)
		}
		if p.text != "" || !p.n.begun && len(p.calls) == 0 {
			field("content")
			b = appendString(b, p.text)
		}
		if len(p.calls) > 0 {
			field("tool_calls")
			b = appendCalls(b, p.calls)
		}
		b = append(b, '}')
	} else {
		said := p.text
		if !p.n.begun {
			said = s.repeated(p.n) + said
		}
		b = appendString(append(b, `,"text":`...), said)
	}
	p.n.begun = true
	b = s.appendLogprobs(b, p.n, p.tokens)
	b = appendOrNull(append(b, `,"finish_reason":`...), finish)
	if s.ids {
		b = appendTokenIDs(b, p.tokens)
	}
	b = append(b, "}]"...)
	switch {
	case s.everyUsage:
		b = s.appendUsage(append(b, ','))
	case s.usage:
		b = append(b, `,"usage":null`...)
	}
	if finish != "" {
		b = appendWarnings(b, s.warnings)
	}
	s.put(append(b, '}'))
}

func appendCalls(b []byte, calls []callPiece) []byte {
	b = append(b, '[')
	for i, c := range calls {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInt(append(b, `{"index":`...), c.index)
		if c.id != "" {
			b = appendString(append(b, `,"id":`...), c.id)
			b = appendString(append(b, `,"type":"function","function":{"name":`...), c.name)
			b = append(b, `,"arguments":""}}`...)
			continue
		}
		b = appendString(append(b, `,"function":{"arguments":`...), c.arguments)
		b = append(b, "}}"...)
	}
	return append(b, ']')
}

// fail ends the stream with an error in the shape that the path's clients read.
func (s *chunks) fail(err error) {
	f := jobFailed(err)
	s.c.s.opt.Observer.Error(f.name())
	b := append(s.buf[:0], `data: {"error":`...)
	if s.c.to.prefix == apiPrefix {
		word := "Job error"
		switch {
		case errors.Is(err, queue.ErrCancelled):
			word = "Job cancelled"
		case errors.Is(err, queue.ErrDeadline):
			word = "Job timeout"
		}
		b = appendString(b, word)
		b = appendString(append(b, `,"detail":`...), f.message)
	} else {
		b = appendString(append(b, `{"message":`...), f.message)
		b = appendString(append(b, `,"type":`...), f.kind())
		b = append(b, `,"param":null,"code":`...)
		b = append(appendOrNull(b, f.code), '}')
	}
	s.put(append(b, '}'))
	s.done()
}

func (s *chunks) done() {
	s.ended = true
	_, _ = s.w.WriteString("data: [DONE]\n\n")
	_ = s.w.Flush()
}

// broken ends a stream in which a panic was caught; if that panics as well, the
// stream ends without.
func (s *chunks) broken() {
	defer func() { _ = recover() }()
	if s.w != nil && !s.ended {
		s.fail(errInternal)
	}
}

var errInternal = errors.New("internal error")
