package grammar

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// maxMemory is how much a constraint's states and masks may take before they are dropped and made anew as needed.
const maxMemory = 48 << 20

// Constraint is a grammar for the tokens of one vocabulary. It is safe for use by several goroutines, which wait for
// each other; what one matcher has found out serves all.
//
// Sets of stacks are followed at once, as a deterministic automaton that is built when it is met: a set is made once,
// remembers where each byte led, and the mask of the tokens that may come.
type Constraint struct {
	g *Grammar
	v *Vocabulary

	mu      sync.Mutex
	least   distances // in tokens of one byte
	memory  int       // estimate, in bytes
	serial  int64
	age     int // how often all was dropped
	sets    map[string]*states
	frames  map[frameKey]*frame
	heads   map[string]*stacks
	starts  map[int32]*states
	strings *countedMask // of strings with a maxLength
	mark    []int32      // scratch of closures: the round in which a state was seen
	round   int32
	work    int    // edges looked at since the mask was asked for
	found   walked // scratch of walks
}

// states is a set of states of rules, closed under empty moves.
type states struct {
	set     []int32
	accepts bool      // a rule may end here
	takes   [4]uint64 // the bytes that may come
	calls   []call
	tokens  []int16 // symbols of added tokens that may come
	dist    int32   // to the end of the rule
	need    int32   // most levels of nesting that a state of set still opens on its shortest way
	next    table[states]
	mask    *topMask
	fits    map[int32]*states // the subset for a number of levels left
}

// call is a rule that may begin, and the states behind it.
type call struct {
	rule int32
	to   []int32
	then *states // to, closed; made when first needed
}

// frame is a stack: the states of the rule on top, and the frame that goes on when it ends. The lowest has none below.
type frame struct {
	serial int64
	top    *states
	below  *frame
	room   int32 // levels of nesting that may still open above
	dist   int32 // to the end of the whole text
	back   *stacks
}

type frameKey struct {
	top   *states
	below *frame
	room  int32
}

// stacks is a set of stacks, after a byte and before the calls of the next one.
type stacks struct {
	frames []*frame
	done   bool     // the lowest frame has ended: the text may end
	tops   []*frame // frames, and those that calls open on them: where the next byte is looked for
	takes  [4]uint64
	dist   int32
	reach  int32 // most levels that a frame needs beyond its room; not above 0
	next   table[stacks]
	mask   *fullMask
}

// table holds successors by byte: few in lists, many in an array.
type table[T any] struct {
	keys []byte
	to   []*T
	all  *[256]*T
}

func (t *table[T]) get(c byte) *T {
	if t.all != nil {
		return t.all[c]
	}
	for i, k := range t.keys {
		if k == c {
			return t.to[i]
		}
	}
	return nil
}

// put returns the bytes of memory that it took.
func (t *table[T]) put(c byte, to *T) int {
	switch {
	case t.all != nil:
		t.all[c] = to
		return 0
	case len(t.keys) < 8:
		t.keys = append(t.keys, c)
		t.to = append(t.to, to)
		return 16
	}
	t.all = new([256]*T)
	for i, k := range t.keys {
		t.all[k] = t.to[i]
	}
	t.keys, t.to = nil, nil
	t.all[c] = to
	return int(unsafe.Sizeof(*t.all))
}

// NewConstraint brings a grammar and a vocabulary together. It fails where tokens cannot spell the grammar: the end of
// a text must be reachable by tokens of one byte, which is what keeps texts within their number of tokens.
func NewConstraint(g *Grammar, v *Vocabulary) (*Constraint, error) {
	c := &Constraint{g: g, v: v, least: g.least, mark: make([]int32, len(g.first)-1)}
	if slices.Contains(v.single[:], false) {
		c.least = g.measure(&v.single)
	}
	for _, id := range g.tokens {
		if int(id) >= v.size {
			return nil, fmt.Errorf("grammar: token %d is not below the %d of the vocabulary", id, v.size)
		}
	}
	if len(v.end) == 0 {
		return nil, errors.New("grammar: the vocabulary has no token that ends a text")
	}
	c.forget()
	if c.start().dist >= unreachable {
		return nil, errors.New("grammar: the vocabulary lacks single bytes to spell it")
	}
	return c, nil
}

// Least is how many tokens suffice for a text, if each is one byte.
func (c *Constraint) Least() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.start().dist)
}

// forget drops all that was made. Sets in use stay valid; they are only not found again.
func (c *Constraint) forget() {
	c.memory = 0
	c.age++
	c.sets, c.frames, c.heads, c.starts = map[string]*states{}, map[frameKey]*frame{}, map[string]*stacks{}, map[int32]*states{}
	c.strings = nil
}

func (c *Constraint) took(n int) {
	if c.memory += n; c.memory > maxMemory {
		c.forget()
	}
}

// start is the empty text.
func (c *Constraint) start() *stacks {
	top := c.ruleStart(c.g.root)
	f := c.frame(top, nil, c.g.depth)
	if f == nil {
		return &stacks{dist: unreachable}
	}
	return c.stacks(settle(nil, f))
}

// key spells numbers as a map's key.
func key[T int32 | int64](numbers []T) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(numbers))), len(numbers)*int(unsafe.Sizeof(numbers[0]))))
}

// closed is the set of states that empty moves reach from those given, nil for none. States from which no rule ends
// are left out.
func (c *Constraint) closed(from []int32) *states {
	if c.round++; c.round < 0 {
		clear(c.mark)
		c.round = 1
	}
	var set []int32
	visit := func(s int32) {
		if c.mark[s] != c.round && c.g.least.dist[s] < unreachable {
			c.mark[s] = c.round
			set = append(set, s)
		}
	}
	for _, s := range from {
		visit(s)
	}
	for i := 0; i < len(set); i++ {
		edges := c.g.edges[c.g.first[set[i]]:c.g.first[set[i]+1]]
		c.work += len(edges) + 1
		for _, e := range edges {
			if e.lo > e.hi && e.call < 0 {
				visit(e.to)
			}
		}
	}
	return c.states(set)
}

// states interns a closed set.
func (c *Constraint) states(set []int32) *states {
	if len(set) == 0 {
		return nil
	}
	slices.Sort(set)
	k := key(set)
	if s, ok := c.sets[k]; ok {
		return s
	}
	s := &states{set: set, dist: unreachable}
	c.sets[k] = s
	then := map[int32][]int32{}
	for _, q := range set {
		s.dist = min(s.dist, c.least.dist[q])
		s.need = max(s.need, c.need(q))
		s.accepts = s.accepts || c.g.accepts(q)
		for _, e := range c.g.edges[c.g.first[q]:c.g.first[q+1]] {
			switch {
			case e.call >= 0:
				if c.g.least.dist[e.to] < unreachable && c.g.least.dist[c.g.rules[e.call].start] < unreachable {
					then[e.call] = append(then[e.call], e.to)
				}
			case e.lo > e.hi || c.g.least.dist[e.to] >= unreachable:
			case e.lo >= firstToken:
				if !slices.Contains(s.tokens, e.lo) {
					s.tokens = append(s.tokens, e.lo)
				}
			default:
				addBytes(&s.takes, e.lo, e.hi)
			}
		}
	}
	for r, to := range then {
		s.calls = append(s.calls, call{rule: r, to: to})
	}
	slices.SortFunc(s.calls, func(a, b call) int { return int(a.rule - b.rule) })
	c.took(200 + 8*len(set) + 16*len(s.calls))
	return s
}

// need is how many levels of nesting the shortest way from q opens, of those that tokens of one byte spell if any do.
func (c *Constraint) need(q int32) int32 {
	if c.least.dist[q] < unreachable {
		return c.least.need[q]
	}
	return c.g.least.need[q]
}

// accepts says whether a rule ends in q.
func (g *Grammar) accepts(q int32) bool { return g.accepting[q>>6]>>(q&63)&1 != 0 }

func addBytes(set *[4]uint64, lo, hi int16) {
	for b := lo; b <= hi; b++ {
		set[b>>6] |= 1 << (b & 63)
	}
}

func has(set *[4]uint64, c byte) bool { return set[c>>6]>>(c&63)&1 != 0 }

func (c *Constraint) ruleStart(r int32) *states {
	s, ok := c.starts[r]
	if !ok {
		s = c.closed([]int32{c.g.rules[r].start})
		c.starts[r] = s
	}
	return s
}

// after is where a symbol leads within a rule, nil for nowhere.
func (c *Constraint) after(s *states, symbol int16) *states {
	if symbol < firstToken {
		if to := s.next.get(byte(symbol)); to != nil {
			return to
		}
	}
	var to []int32
	c.work += len(s.set)
	for _, q := range s.set {
		for _, e := range c.g.edges[c.g.first[q]:c.g.first[q+1]] {
			if e.lo <= symbol && symbol <= e.hi {
				to = append(to, e.to)
			}
		}
	}
	t := c.closed(to)
	if t != nil && symbol < firstToken {
		c.took(s.next.put(byte(symbol), t))
	}
	return t
}

// frame interns a stack. States that need more levels of nesting than are left are taken out first; nil if none stays.
// On the shortest way of a state that stays no state needs more, so it can be gone.
func (c *Constraint) frame(top *states, below *frame, room int32) *frame {
	if room < 0 {
		return nil
	}
	if top.need > room {
		if top = c.fitting(top, room); top == nil {
			return nil
		}
	}
	k := frameKey{top, below, room}
	if f, ok := c.frames[k]; ok {
		return f
	}
	f := &frame{serial: c.serial, top: top, below: below, room: room, dist: top.dist}
	c.serial++
	if below != nil {
		f.dist = min(f.dist+below.dist, unreachable)
	}
	c.frames[k] = f
	c.took(150)
	return f
}

func (c *Constraint) fitting(s *states, room int32) *states {
	if t, ok := s.fits[room]; ok {
		return t
	}
	var set []int32
	for _, q := range s.set {
		if c.need(q) <= room {
			set = append(set, q)
		}
	}
	t := c.states(set)
	if s.fits == nil {
		s.fits = map[int32]*states{}
	}
	s.fits[room] = t
	return t
}

// open pushes a call; nil where nesting has no room.
func (c *Constraint) open(f *frame, k *call) *frame {
	if k.then == nil {
		k.then = c.closed(k.to)
	}
	room := f.room
	if c.g.rules[k.rule].nests {
		room--
	}
	below := f.below
	if !k.then.ends() { // a call at the end of a rule takes the place of its frame
		if below = c.frame(k.then, f.below, f.room); below == nil {
			return nil
		}
	}
	return c.frame(c.ruleStart(k.rule), below, room)
}

// ends says that nothing comes behind.
func (s *states) ends() bool {
	return s.accepts && s.takes == [4]uint64{} && len(s.calls) == 0 && len(s.tokens) == 0
}

// stacks interns a set of stacks; nil if it is empty. Frames above the same one are joined.
func (c *Constraint) stacks(frames []*frame, done bool) *stacks {
	slices.SortFunc(frames, func(a, b *frame) int { return int(a.serial - b.serial) })
	frames = slices.Compact(frames)
	for i := 0; i < len(frames); i++ {
		for j := i + 1; j < len(frames); j++ {
			if a, b := frames[i], frames[j]; a.below == b.below && a.room == b.room {
				set := append(slices.Clone(a.top.set), b.top.set...)
				slices.Sort(set)
				frames[i] = c.frame(c.states(slices.Compact(set)), a.below, a.room)
				frames = slices.Delete(frames, j, j+1)
				j--
			}
		}
	}
	if len(frames) == 0 && !done {
		return nil
	}
	slices.SortFunc(frames, func(a, b *frame) int { return int(a.serial - b.serial) })
	serials := make([]int64, len(frames), len(frames)+1)
	for i, f := range frames {
		serials[i] = f.serial
	}
	if done {
		serials = append(serials, -1)
	}
	k := key(serials)
	if s, ok := c.heads[k]; ok {
		return s
	}
	s := &stacks{frames: slices.Clone(frames), done: done, dist: unreachable, reach: math.MinInt32}
	c.heads[k] = s
	if done {
		s.dist = 0
	}
	for _, f := range s.frames {
		s.dist = min(s.dist, f.dist)
	}
	s.tops = slices.Clone(s.frames)
	for i := 0; i < len(s.tops); i++ { // ends, because no rule begins with itself
		f := s.tops[i]
		s.reach = max(s.reach, f.top.need-f.room)
		if i >= len(s.frames) && f.below != nil { // made by the same call
			s.reach = max(s.reach, f.below.top.need-f.below.room)
		}
		for b := range s.takes {
			s.takes[b] |= f.top.takes[b]
		}
		for k := range f.top.calls {
			if opened := c.open(f, &f.top.calls[k]); opened != nil && !slices.Contains(s.tops, opened) {
				s.tops = append(s.tops, opened)
			}
		}
	}
	c.took(300 + 16*(len(s.frames)+len(s.tops)))
	return s
}

// settle adds a frame, and those below it as far as rules have ended.
func settle(frames []*frame, f *frame) (out []*frame, done bool) {
	for {
		if !f.top.ends() && !slices.Contains(frames, f) {
			frames = append(frames, f)
		}
		if !f.top.accepts {
			return frames, false
		}
		if f.below == nil {
			return frames, true
		}
		f = f.below
	}
}

// step is where a byte leads, nil for nowhere.
func (c *Constraint) step(s *stacks, b byte) *stacks {
	if !has(&s.takes, b) {
		return nil
	}
	if to := s.next.get(b); to != nil {
		return to
	}
	to := c.symbol(s, int16(b))
	if to != nil {
		c.took(s.next.put(b, to))
	}
	return to
}

// symbol is step for any symbol, without memory.
func (c *Constraint) symbol(s *stacks, symbol int16) *stacks {
	var frames []*frame
	done := false
	for _, f := range s.tops {
		if symbol < firstToken && !has(&f.top.takes, byte(symbol)) || symbol >= firstToken && !slices.Contains(f.top.tokens, symbol) {
			continue
		}
		top := c.after(f.top, symbol)
		if top == nil {
			continue
		}
		if moved := c.frame(top, f.below, f.room); moved != nil {
			var ended bool
			frames, ended = settle(frames, moved)
			done = done || ended
		}
	}
	return c.stacks(frames, done)
}

// back is what goes on when the frames above f have ended.
func (c *Constraint) back(f *frame) *stacks {
	if f.back == nil {
		frames, done := settle(nil, f)
		f.back = c.stacks(frames, done)
	}
	return f.back
}

// renew makes stacks anew that were made before all was dropped, so that nothing holds on to what was.
func (c *Constraint) renew(s *stacks) *stacks {
	var anew func(f *frame) *frame
	anew = func(f *frame) *frame {
		if f == nil {
			return nil
		}
		return c.frame(c.states(slices.Clone(f.top.set)), anew(f.below), f.room)
	}
	frames := make([]*frame, len(s.frames))
	for i, f := range s.frames {
		frames[i] = anew(f)
	}
	return c.stacks(frames, s.done)
}

// only is the one byte that may come, if there is but one.
func (s *stacks) only() (byte, bool) {
	n, at := 0, 0
	for i, w := range s.takes {
		if w != 0 {
			n += bits.OnesCount64(w)
			at = 64*i + bits.TrailingZeros64(w)
		}
	}
	return byte(at), n == 1
}
