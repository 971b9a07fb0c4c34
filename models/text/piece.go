package text

import (
	"errors"
	"slices"

	"remote-client-server/runtime"
)

// piece is rows of several sequences that are computed together: parts of prompts, or, in phase Decode, one token each.
type piece struct {
	phase runtime.Phase
	seqs  []*sequence
	takes []int
}

func (p *piece) total() int {
	n := 0
	for _, t := range p.takes {
		n += t
	}
	return n
}

// compute runs a piece through the network. Sequences that are whole choose their first token and begin to write.
func (e *engine) compute(p *piece) error {
	b := e.b
	m := b.Mark()
	defer b.Release(m)
	wanted := func() bool { return slices.ContainsFunc(p.seqs, func(s *sequence) bool { return !s.over() }) }
	b.While(wanted)
	defer b.While(nil)

	var ids, positions []int32
	for i, s := range p.seqs {
		for at := s.computed; at < s.computed+p.takes[i]; at++ {
			ids, positions = append(ids, s.tokens[at]), append(positions, int32(at))
		}
	}
	q := runtime.Pack(b, p.takes, positions)
	q.Phase = p.phase
	e.place(q, p.seqs)
	in := b.Scratch(len(ids), 1, runtime.I32)
	b.Upload(in, ids)
	x := e.m.net.begin(b, in, q, e.state.rotaries)
	if !e.m.net.run(b, x, q, wanted) {
		return nil
	}
	ask := e.ask(p, x)
	defer func() { // choices that branched off and did not get their first token
		for _, s := range ask.seqs {
			if !slices.Contains(e.writing, s) && !slices.Contains(e.filling, s) {
				e.drop(s)
			}
		}
	}()
	if err := ask.wait(b); err != nil {
		if errors.Is(err, runtime.ErrAbandoned) {
			return nil
		}
		return err
	}
	for i, s := range p.seqs {
		s.computed += p.takes[i]
		s.job.Progress(p.takes[i])
		s.name(e.pool, e.shareable(s))
		if !s.over() && s.complete() {
			e.join(s)
		}
	}
	for i, s := range ask.seqs {
		if s.over() {
			continue
		}
		e.chosen(s, ask.token(i))
		if !s.done {
			e.join(s)
		}
	}
	return nil
}

// place says where the rows of sequences lie in the cache and which frequencies they use.
func (e *engine) place(q *runtime.Sequences, seqs []*sequence) {
	b := e.b
	width := 1
	for _, s := range seqs {
		width = max(width, len(s.blocks))
	}
	table, past, freq := make([]int32, len(seqs)*width), make([]int32, len(seqs)), make([]int32, len(seqs))
	for i, s := range seqs {
		copy(table[i*width:], s.blocks)
		past[i] = int32(s.computed)
		length := s.until
		if q.Phase == runtime.Decode {
			length = s.computed + 1
		}
		freq[i] = e.state.frequency(b, s, length)
	}
	q.Cache = e.cache
	q.Table, q.Past, q.Freq = b.Scratch(len(seqs), width, runtime.I32), b.Scratch(len(seqs), 1, runtime.I32), b.Scratch(len(seqs), 1, runtime.I32)
	b.Upload(q.Table, table)
	b.Upload(q.Past, past)
	b.Upload(q.Freq, freq)
}

// shareable is how many tokens of a sequence lie in blocks that another may read: where the phases of a device differ in
// their bits, only what was computed as a prompt.
func (e *engine) shareable(s *sequence) int {
	if e.props.OnePhase && e.m.net.dynamic() == nil {
		return s.computed
	}
	return min(s.computed, s.until)
}

// join adds a sequence to those that write.
func (e *engine) join(s *sequence) {
	if i := slices.Index(e.filling, s); i >= 0 {
		e.filling = slices.Delete(e.filling, i, i+1)
	}
	e.writing = append(e.writing, s)
	e.rows = nil
}

// asked are the sequences that choose a token at the end of a piece.
type asked struct {
	seqs     []*sequence
	top      int
	tokens   []int32
	logprobs []float32
	from     *runtime.Sampling
}

// ask computes the logits behind the sequences that are whole and chooses a token for each; forks choose theirs from the
// same row, and get blocks of their own where they differ.
func (e *engine) ask(p *piece, x runtime.Tensor) *asked {
	b := e.b
	a := &asked{top: e.state.sampling.Top}
	var last, slots []int32
	end := 0
	for i, s := range p.seqs {
		end += p.takes[i]
		if s.computed+p.takes[i] < len(s.tokens) || s.until < len(s.tokens) {
			continue
		}
		s.forks = slices.DeleteFunc(s.forks, func(f *sequence) bool { return !e.fork(s, f) })
		for _, c := range append([]*sequence{s}, s.forks...) {
			e.state.mask(b, c)
			a.seqs = append(a.seqs, c)
			last, slots = append(last, int32(end-1)), append(slots, int32(c.slot))
		}
		s.forks = nil
	}
	if len(a.seqs) == 0 {
		return a
	}
	n := len(a.seqs)
	rows := b.Scratch(n, 1, runtime.I32)
	b.Upload(rows, last)
	z := e.m.net.logits(b, b.Gather(x, rows))
	from := *e.state.sampling
	from.Rows, from.IDs = b.Scratch(n, 1, runtime.I32), b.Scratch(n, 1, runtime.I32)
	from.Tokens, from.Logprobs = b.Scratch(n, 1+a.top, runtime.I32), b.Scratch(n, 1+a.top, runtime.F32)
	b.Upload(from.Rows, slots)
	b.Sample(z, nil, &from)
	a.from = &from
	return a
}

// wait brings the tokens to the host, or waits for the piece.
func (a *asked) wait(b runtime.Backend) error {
	if a.from == nil {
		return b.Sync()
	}
	a.tokens, a.logprobs = make([]int32, len(a.seqs)*(1+a.top)), make([]float32, len(a.seqs)*(1+a.top))
	if err := b.Download(a.tokens, a.from.Tokens); err != nil {
		return err
	}
	return b.Download(a.logprobs, a.from.Logprobs)
}

func (a *asked) token(i int) choice {
	w := 1 + a.top
	return choice{a.tokens[i*w : (i+1)*w], a.logprobs[i*w : (i+1)*w]}
}

// fork lets a choice share the prompt of the first: full blocks are held by both, of the last one it gets a copy. Where
// there is no block for that, the choice computes the prompt itself.
func (e *engine) fork(s, f *sequence) bool {
	full := len(s.tokens) / e.pool.rows
	f.computed = len(s.tokens)
	for _, i := range s.blocks[:full] {
		e.pool.hold(i)
	}
	f.blocks = slices.Clone(s.blocks[:full])
	f.names = slices.Clone(s.names[:min(full, len(s.names))])
	if full < len(s.blocks) {
		i, ok := e.pool.take(f.last())
		if !ok {
			f.release(e.pool)
			e.wait(f)
			return false
		}
		f.blocks = append(f.blocks, i)
		e.b.CopyBlocks(e.cache, []int32{s.blocks[full]}, []int32{i})
	}
	return true
}
