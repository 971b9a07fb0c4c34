package text

import (
	"math"
	"slices"

	"remote-client-server/models/nn"
	"remote-client-server/runtime"
)

// state is what a decode step reads and writes, at fixed addresses: so the step can be recorded once for each number of
// rows and run again.
type state struct {
	m        *Model
	arena    *runtime.Arena
	sampling *runtime.Sampling
	cache    *runtime.Cache
	rotaries []*runtime.Rotary
	freqs    runtime.Tensor // of a dynamic rotary: F32 [slots, half]
	most     int            // rows of a step
	width    int            // blocks of a sequence

	cum, pos, freq, past, table runtime.Tensor
	buckets                     []int
	allowed                     []uint32 // a row of the mask
	words                       []int32
}

func newState(m *Model, c *runtime.Cache) (*state, error) {
	b, vocab := m.backend, m.info.VocabSize
	s := &state{m: m, cache: c, most: m.slots, buckets: b.Props().Buckets, words: make([]int32, runtime.MaskWords(vocab)), allowed: make([]uint32, runtime.MaskWords(vocab))}
	for i, n := range s.buckets {
		if n >= s.most {
			s.most, s.buckets = n, s.buckets[:i+1]
			break
		}
	}
	s.width = (m.info.MaxTokens+c.BlockRows-1)/c.BlockRows + 1
	bytes := runtime.SamplingBytes(m.slots, s.most, vocab, MaxLogprobs)
	bytes += 2*runtime.ArenaBytes(s.most+1, 1, runtime.I32) + 2*runtime.ArenaBytes(s.most, 1, runtime.I32) + runtime.ArenaBytes(s.most, s.width, runtime.I32)
	dynamic := m.net.dynamic()
	if dynamic != nil {
		bytes += runtime.ArenaBytes(m.slots, dynamic.Dim/2, runtime.F32)
	}
	var err error
	if s.arena, err = b.NewArena("text", bytes); err != nil {
		return nil, err
	}
	a := s.arena
	s.sampling = runtime.NewSampling(a, m.slots, s.most, vocab, MaxLogprobs)
	s.cum, s.pos = a.Tensor(s.most+1, 1, runtime.I32), a.Tensor(s.most, 1, runtime.I32)
	s.freq, s.past = a.Tensor(s.most, 1, runtime.I32), a.Tensor(s.most, 1, runtime.I32)
	s.table = a.Tensor(s.most, s.width, runtime.I32)
	cum := make([]int32, s.most+1)
	for i := range cum {
		cum[i] = int32(i)
	}
	b.Upload(s.cum, cum)
	if dynamic != nil {
		s.freqs = a.Tensor(m.slots, dynamic.Dim/2, runtime.F32)
		s.rotaries = []*runtime.Rotary{{Freqs: s.freqs, Factor: float32(dynamic.Attention)}}
	} else {
		s.rotaries = m.rotaries
	}
	return s, nil
}

// dynamic is the rotary embedding whose frequencies follow a sequence's length, nil where there is none.
func (n *network) dynamic() *nn.Rotary {
	if len(n.rotaries) == 1 && n.rotaries[0].Kind == "dynamic" {
		return &n.rotaries[0]
	}
	return nil
}

// variant is the row of the frequencies for sequences of that length.
func (n *network) variant(length int) int {
	v := 0
	for i := range n.rotaries {
		v = max(v, n.rotaries[i].Variant(length))
	}
	return v
}

// stretch is the length for which a prompt's keys are rotated, where that matters to whoever might share them.
func (n *network) stretch(length int) int {
	if d := n.dynamic(); d != nil && length > d.Positions {
		return length
	}
	return 0
}

// bucket is the number of rows of a step in which n sequences write.
func (s *state) bucket(n int) int {
	for _, b := range s.buckets {
		if b >= n {
			return b
		}
	}
	return n
}

// first is the view of the state for a step of n rows.
func (s *state) first(n int) (*runtime.Sequences, *runtime.Sampling) {
	q := &runtime.Sequences{
		Lens: slices.Repeat([]int{1}, n), Cum: s.cum.Slice(0, n+1), Pos: s.pos.Slice(0, n), Freq: s.freq.Slice(0, n), Past: s.past.Slice(0, n),
		Table: s.table.Slice(0, n), Cache: s.cache, Phase: runtime.Decode,
	}
	return q, s.sampling.First(n)
}

// prepare sets a sequence's slot.
func (s *state) prepare(b runtime.Backend, q *sequence) {
	o := &q.work.Options
	v := runtime.Slot{
		Temperature: float32(o.Temperature), TopP: float32(o.TopP), MinP: float32(o.MinP), Repetition: 1, Frequency: float32(o.Frequency), Presence: float32(o.Presence),
		TopK: o.TopK, Seed: q.seed, MinTokens: o.MinTokens, BiasOn: len(o.Bias) > 0, MaskRequired: o.Grammar != nil,
	}
	if o.Temperature < 1e-5 { // as vLLM has it: what is that cold is frozen
		v.Temperature = 0
	}
	if o.Repetition > 0 {
		v.Repetition = float32(o.Repetition)
	}
	v.Top = -1
	if o.Logprobs {
		v.Top = o.Top
	}
	if v.MinTokens > 0 {
		v.Ends = append(slices.Clone(o.StopIDs), s.m.info.Ends...)
	}
	v.PenaltiesOn = v.Repetition != 1 || v.Frequency != 0 || v.Presence != 0
	s.sampling.Set(b, q.slot, v)
	vocab := s.m.info.VocabSize
	if v.PenaltiesOn {
		counts := make([]int32, vocab)
		for _, id := range q.work.Prompt {
			counts[id] |= runtime.PromptToken
		}
		b.Upload(s.sampling.Counts.Slice(q.slot, q.slot+1), counts)
	}
	if v.BiasOn {
		bias := make([]float32, vocab)
		for id, x := range o.Bias {
			bias[id] = x
		}
		b.Upload(s.sampling.Bias.Slice(q.slot, q.slot+1), bias)
	}
}

// mask tells the device which tokens a sequence's grammar lets come next: all, while it does not hold.
func (s *state) mask(b runtime.Backend, q *sequence) {
	switch {
	case q.work.Options.Grammar == nil:
		return
	case q.match == nil:
		for i := range s.allowed {
			s.allowed[i] = math.MaxUint32
		}
	default:
		q.match.Mask(s.allowed, q.left())
	}
	for i, w := range s.allowed {
		s.words[i] = int32(w)
	}
	b.Upload(s.sampling.Mask.Slice(q.slot, q.slot+1), s.words)
}

// frequency is the row of frequencies for a sequence when it has length tokens.
func (s *state) frequency(b runtime.Backend, q *sequence, length int) int32 {
	d := s.m.net.dynamic()
	if d == nil {
		return int32(q.variant)
	}
	b.Upload(s.freqs.Slice(q.slot, q.slot+1), d.Frequencies(length))
	return int32(q.slot)
}

// retune gives a sequence that writes the frequencies of its next length.
func (s *state) retune(b runtime.Backend, q *sequence) {
	if d := s.m.net.dynamic(); d != nil {
		s.frequency(b, q, q.computed+1)
	}
}

// arrange sets the rows of a step from what the host knows, and the spare rows of its bucket to nobody's.
func (s *state) arrange(b runtime.Backend, seqs []*sequence) {
	n := s.bucket(len(seqs))
	ids, pos, past, freq, rows := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n), slices.Repeat([]int32{-1}, n)
	table := make([]int32, n*s.width) // block 0 for nobody
	for i, q := range seqs {
		ids[i], pos[i], past[i], rows[i] = q.tokens[len(q.tokens)-1], int32(q.computed), int32(q.computed), int32(q.slot)
		freq[i] = s.frequency(b, q, q.computed+1)
		copy(table[i*s.width:(i+1)*s.width], q.blocks)
	}
	b.Upload(s.sampling.IDs.Slice(0, n), ids)
	b.Upload(s.sampling.Rows.Slice(0, n), rows)
	b.Upload(s.pos.Slice(0, n), pos)
	b.Upload(s.past.Slice(0, n), past)
	b.Upload(s.freq.Slice(0, n), freq)
	b.Upload(s.table.Slice(0, n), table)
}

// extend tells the device of the blocks that a row got beyond the had it knows.
func (s *state) extend(b runtime.Backend, q *sequence, had int) {
	b.Upload(s.table.Slice(q.row, q.row+1).Columns(had, len(q.blocks)), q.blocks[had:])
}
