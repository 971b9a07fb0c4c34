package text

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// engine runs many sequences at once on the worker's goroutine: continuous batching (Yu et al. 2022, "Orca") over a paged
// cache, with prompts computed in pieces between the steps that write (Agrawal et al. 2023, "Sarathi").
//
// Admission is in the queue's order: the head of the line waits until there is a slot for each of its choices and room in
// the cache for its prompt. When the cache is full in the middle of writing, the sequence admitted last gives its blocks
// back and is computed again later. None of this changes what is chosen: a row's bits do not depend on what runs beside
// it or on how its prompt was cut, and a token depends on its own seed and step.
//
// On a device that works behind the host's back, a step is started before the host has seen the tokens of the one before
// (they are on the device already). So a sequence that ends by one of its tokens runs a step too long; what that chooses
// is dropped. A step that the host has a say in, by a grammar's mask, waits.
type engine struct {
	m     *Model
	b     runtime.Backend
	props runtime.Props
	pool  *pool
	cache *runtime.Cache
	state *state
	chunk int // rows of a prompt's piece

	slots   []bool      // taken
	filling []*sequence // in order of admission: those with tokens that are not computed yet
	writing []*sequence // those that only wait for their next token
	rows    []*sequence // what the device's rows are now; nil when they must be set anew
	flight  *flight     // a step whose tokens were not looked at yet
	graphs  map[int]*runtime.Graph
	serial  uint64
}

// flight is a step under way.
type flight struct {
	rows             []*sequence
	tokens, logprobs *runtime.Fetched
}

func newEngine(m *Model) (*engine, error) {
	e := &engine{m: m, b: m.backend, props: m.backend.Props(), graphs: map[int]*runtime.Graph{}}
	e.chunk = cmp.Or(m.chunk, max(e.props.BatchTokens, 64))
	spec := m.cacheSpec
	var err error
	if e.cache, err = m.backend.NewCache(spec); err != nil {
		return nil, err
	}
	e.pool = newPool(spec.Blocks, e.cache.BlockRows)
	e.pool.take(-1) // block 0 is where rows that stand for nobody write
	e.slots = make([]bool, m.slots)
	if e.state, err = newState(m, e.cache); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *engine) close() {
	for _, g := range e.graphs {
		g.Close()
	}
	if e.state != nil {
		e.state.arena.Close()
	}
	e.cache.Close()
}

// idle reports whether there is nothing to compute.
func (e *engine) idle() bool { return len(e.filling)+len(e.writing) == 0 }

// admit takes jobs from the line while there is room for them.
func (e *engine) admit(q *queue.Queue) {
	for {
		j := q.Next(e.fits)
		if j == nil {
			return
		}
		w, ok := j.Task().(*Work)
		if !ok {
			j.Finish(fmt.Errorf("a %T is no work of a language model", j.Task()))
			continue
		}
		e.begin(j, w)
	}
}

// fits reports whether a job's prompt can be begun now. A block for each running sequence is left to them.
func (e *engine) fits(t queue.Task) bool {
	w, ok := t.(*Work)
	if !ok {
		return true
	}
	free := 0
	for _, taken := range e.slots {
		if !taken {
			free++
		}
	}
	running := len(e.writing) + len(e.filling)
	need := len(w.Prompt)/e.pool.rows + w.Options.Choices
	return free >= w.Options.Choices && (running == 0 || need+running <= e.pool.idle)
}

// begin makes the sequences of a job.
func (e *engine) begin(j *queue.Job, w *Work) {
	var all []*sequence
	for i := range w.Options.Choices {
		e.serial++
		s := &sequence{
			job: j, work: w, choice: i, order: e.serial, tokens: slices.Clone(w.Prompt), until: len(w.Prompt),
			variant: e.m.net.variant(len(w.Prompt)), stretch: e.m.net.stretch(len(w.Prompt)), slot: slices.Index(e.slots, false), row: -1,
		}
		e.slots[s.slot] = true
		e.m.read(s)
		e.state.prepare(e.b, s)
		all = append(all, s)
	}
	all[0].forks = all[1:]
	w.open = len(all)
	e.m.count(func(s *Stats) { s.PromptTokens += int64(len(w.Prompt)) })
	e.filling = append(e.filling, all[0])
}

// step computes a piece of the prompts and one token of every sequence that writes.
func (e *engine) step() error {
	e.sweep()
	if err := e.fill(); err != nil {
		return err
	}
	return e.write()
}

// safely is a step whose panic is the end of the jobs that were running, and of nothing else.
func (e *engine) safely() (err error) {
	m := e.b.Mark()
	defer func() {
		if p := recover(); p != nil {
			failed := &queue.PanicError{Value: p, Stack: debug.Stack()}
			e.m.log.Error("panic in the worker", "panic", fmt.Sprint(p), "stack", string(failed.Stack))
			for _, s := range slices.Concat(e.filling, e.writing) {
				e.fail(s, failed)
			}
			// Where it was in the middle of something is not known: everything is given back.
			e.flight, e.rows, e.filling, e.writing = nil, nil, nil, nil
			e.pool = newPool(e.cache.Blocks, e.cache.BlockRows)
			e.pool.take(-1)
			clear(e.slots)
			err = e.b.Sync()
		}
		e.b.Release(m)
	}()
	return e.step()
}

// sweep lets go of the sequences that have ended or that nobody waits for.
func (e *engine) sweep() {
	for _, list := range []*[]*sequence{&e.filling, &e.writing} {
		*list = slices.DeleteFunc(*list, func(s *sequence) bool {
			if s.over() {
				e.drop(s)
			}
			return s.done
		})
	}
}

// drop gives back what a sequence and its forks hold. The step under way may still write to its blocks: whoever takes them
// writes later.
func (e *engine) drop(s *sequence) {
	s.done = true
	s.release(e.pool)
	e.slots[s.slot] = false
	if s.row >= 0 {
		s.row, e.rows = -1, nil
	}
	for _, f := range s.forks {
		f.done = true
		e.slots[f.slot] = false
	}
	s.forks = nil
}

// fail ends a job that cannot go on; its sequences are swept.
func (e *engine) fail(s *sequence, err error) {
	s.done = true
	s.job.Finish(err)
}

// fill computes the next rows of the oldest sequences that lack some, as many as a piece holds, and chooses the first
// token of those that are whole by then.
func (e *engine) fill() error {
	prompts, again := piece{phase: runtime.Prefill}, piece{phase: runtime.Decode}
	room := e.budget()
	for _, s := range slices.Clone(e.filling) {
		if len(s.blocks) == 0 {
			e.reuse(s)
		}
		if s.complete() {
			e.join(s)
			continue
		}
		p, take := &prompts, min(s.until-s.computed, room)
		if s.computed >= s.until { // tokens that were chosen and lost: computed as they were
			p, take = &again, 1
		}
		if take <= 0 || !e.room(s, s.computed+take) {
			break
		}
		p.seqs, p.takes = append(p.seqs, s), append(p.takes, take)
		room -= take
	}
	for _, p := range []*piece{&prompts, &again} {
		if len(p.seqs) == 0 {
			continue
		}
		began := time.Now()
		if err := e.guarded(p.seqs, func() error { return e.compute(p) }); err != nil {
			return err
		}
		e.m.observe(func(o Observer) { o.Step(p.total(), 0, time.Since(began)) })
	}
	return nil
}

// budget is how many rows of prompts are computed at once: fewer beside sequences that write, so that those do not wait
// long.
func (e *engine) budget() int {
	if len(e.writing) == 0 {
		return e.chunk
	}
	return max(e.chunk/4, min(e.chunk, 32))
}

// room takes blocks for so many tokens of a sequence, from younger ones if it must.
func (e *engine) room(s *sequence, tokens int) bool {
	for !s.grow(e.pool, tokens) {
		if !e.preempt(s) {
			return false
		}
	}
	return true
}

// preempt takes the blocks of the sequence admitted last, if it is younger than s; it is computed again when there is
// room.
func (e *engine) preempt(s *sequence) bool {
	if e.settle() != nil {
		return false // the error is sticky and comes again
	}
	var last *sequence
	for _, list := range [][]*sequence{e.writing, e.filling} {
		for _, x := range list {
			if !x.done && x.order > s.order && len(x.blocks) > 0 && (last == nil || x.order > last.order) {
				last = x
			}
		}
	}
	if last == nil {
		return false
	}
	e.m.count(func(s *Stats) { s.Preemptions++ })
	e.again(last)
	return true
}

// again has all tokens of a sequence computed anew: as they were, or, where the device gives a row the same bits in either
// phase, as one prompt.
func (e *engine) again(s *sequence) {
	s.release(e.pool)
	if s.row >= 0 {
		s.row, e.rows = -1, nil
	}
	if i := slices.Index(e.writing, s); i >= 0 {
		e.writing = slices.Delete(e.writing, i, i+1)
		if e.props.OnePhase && e.m.net.dynamic() == nil {
			s.until = len(s.tokens) - 1
		}
		e.wait(s)
	}
}

// wait puts a sequence among those that lack tokens, at its place in the order of admission.
func (e *engine) wait(s *sequence) {
	at, _ := slices.BinarySearchFunc(e.filling, s.order, func(x *sequence, order uint64) int { return cmp.Compare(x.order, order) })
	e.filling = slices.Insert(e.filling, at, s)
}

// reuse lets a sequence begin with the blocks that are in the cache already.
func (e *engine) reuse(s *sequence) {
	s.reuse(e.pool)
	if s.output() == 0 {
		s.job.Emit(&Delta{Choice: s.choice, Cached: s.computed})
		e.m.count(func(n *Stats) { n.CachedTokens += int64(s.computed) })
	}
}

// guarded runs a pass over sequences. Where the device has no memory for it, the passes to come are made smaller; what
// cannot be smaller fails.
func (e *engine) guarded(seqs []*sequence, f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		memory, ok := p.(runtime.OutOfMemory)
		if !ok {
			panic(p)
		}
		e.m.log.Warn("out of memory", "what", memory.What, "bytes", memory.Want, "sequences", len(seqs), "rows", e.chunk)
		if e.chunk > 32 {
			e.chunk /= 2
			return
		}
		e.fail(seqs[len(seqs)-1], memory)
	}()
	return f()
}
