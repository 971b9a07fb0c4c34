package text

import (
	"bytes"
	"time"

	"remote-client-server/runtime/queue"
	"remote-client-server/tokenize"
	"remote-client-server/tokenize/grammar"
)

// sequence is one choice of a job on its way: the prompt, what has been chosen behind it, and where its keys are.
type sequence struct {
	job    *queue.Job
	work   *Work
	choice int
	forks  []*sequence // other choices of the prompt, which join when it is computed
	order  uint64      // of admission

	tokens   []int32 // the prompt, then what was chosen
	until    int     // tokens that are computed as a prompt; the others one by one, as they were chosen
	computed int     // tokens whose keys are in the cache
	blocks   []int32
	names    []name // of the full blocks that are named
	variant  int    // of the rotary frequencies
	stretch  int    // the length that a dynamic rotary's frequencies of the prompt are for
	seed     uint64
	slot     int
	row      int // in the decode step, -1 for none

	text  *tokenize.DecodeStream
	stops *tokenize.Stops
	match *grammar.Matcher // nil while no grammar holds
	said  []byte           // the beginning of the output, while a trigger may come there
	when  time.Time        // of the last token
	done  bool
}

// watch lets the grammar hold from behind its trigger, which ends in the token of that id.
func (s *sequence) watch(id int32, token []byte) {
	after := s.work.Options.After
	var behind []byte // of the trigger, in the same token
	switch {
	case after.Token >= 0:
		if id != after.Token {
			return
		}
	case after.Start:
		s.said = append(s.said, token...)
		var found bool
		if behind, found = bytes.CutPrefix(bytes.TrimLeft(s.said, " \n"), []byte(after.Text)); !found {
			return
		}
	default:
		s.said = append(s.said, token...)
		var found bool
		if _, behind, found = bytes.Cut(s.said, []byte(after.Text)); !found {
			s.said = s.said[max(0, len(s.said)-len(after.Text)):]
			return
		}
	}
	m := s.work.Options.Grammar.Matcher()
	if m.AcceptText(behind) == nil {
		s.match = m
	}
	s.said = nil
}

// output is how many tokens were chosen.
func (s *sequence) output() int { return len(s.tokens) - len(s.work.Prompt) }

// left is how many tokens may still be chosen.
func (s *sequence) left() int { return s.work.Options.MaxTokens - s.output() }

// over reports whether nobody waits for the sequence.
func (s *sequence) over() bool { return s.done || s.job.Context().Err() != nil }

// name names the full blocks up to computed tokens that have no name yet.
func (s *sequence) name(p *pool, upTo int) {
	for i := len(s.names); (i+1)*p.rows <= upTo; i++ {
		var before name
		if i > 0 {
			before = s.names[i-1]
		}
		n := after(before, s.tokens[i*p.rows:(i+1)*p.rows], s.variant|s.stretch<<1)
		s.names = append(s.names, n)
		p.call(s.blocks[i], n)
	}
}

// complete reports whether a sequence only waits for its next token: the keys of all tokens but the last are there.
func (s *sequence) complete() bool { return s.until < len(s.tokens) && s.computed == len(s.tokens)-1 }

// reuse holds the blocks that have been computed for the beginning of the sequence, by itself or by others, but for the
// last token of the prompt, whose logits are wanted.
func (s *sequence) reuse(p *pool) {
	for i := 0; (i+1)*p.rows <= min(s.until, len(s.tokens)-1); i++ {
		var before name
		if i > 0 {
			before = s.names[i-1]
		}
		n := after(before, s.tokens[i*p.rows:(i+1)*p.rows], s.variant|s.stretch<<1)
		block, ok := p.find(n)
		if !ok {
			break
		}
		s.blocks, s.names = append(s.blocks, block), append(s.names, n)
	}
	s.computed = len(s.blocks) * p.rows
}

// grow takes blocks for so many tokens; it reports false, and takes none, where there are not enough.
func (s *sequence) grow(p *pool, tokens int) bool {
	want := (tokens+p.rows-1)/p.rows - len(s.blocks)
	if want > p.idle {
		return false
	}
	for range want {
		i, _ := p.take(s.last())
		s.blocks = append(s.blocks, i)
	}
	return true
}

// last is the sequence's last block, -1 if it has none.
func (s *sequence) last() int32 {
	if len(s.blocks) == 0 {
		return -1
	}
	return s.blocks[len(s.blocks)-1]
}

// release lets go of all blocks.
func (s *sequence) release(p *pool) {
	for i := len(s.blocks) - 1; i >= 0; i-- { // ends of prompts are needed less often than beginnings
		p.drop(s.blocks[i])
	}
	s.blocks, s.names, s.computed = nil, nil, 0
}
