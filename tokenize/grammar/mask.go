package grammar

import (
	"math"
	"math/bits"
	"slices"
)

// Masks are kept with the least number of tokens that a text still needs behind each token, because that is what the
// number of tokens left is compared with. Most tokens lead to about the same number: up to near they need no entry of
// their own.
const (
	nearSlack = 8
	maxFar    = 4096
	// maxWork bounds what a mask looks at. Behind it only tokens of one byte are tried, which is enough to go on, and
	// to end in time: a pattern whose sets of states explode costs its own text long tokens, and others no time.
	maxWork = 2 << 20
	// localRoom is the room of a frame that is looked at without those below it.
	localRoom = 1 << 20
)

// reached is a token, and the least number of tokens behind it.
type reached struct{ id, dist int32 }

// walked is what a walk over the trie has found.
type walked struct {
	tokens []reached
	leaves []int32 // nodes where the lowest frame has ended and that go on
	reach  int32
}

// fullMask is the tokens that may come.
type fullMask struct {
	bits []uint32
	far  []reached // those with a dist above near, the farthest first
	near int32
	low  int32 // the nearest, unreachable if there is none
	high int32 // the farthest
}

// topMask is the tokens that one frame takes, whatever lies below it; dists are to the frame's end.
type topMask struct {
	fullMask
	leaves []int32 // trie nodes where the frame has ended; what follows them depends on the frames below
	reach  int32   // levels of nesting that the walk opened or needed
}

// walk follows the trie's nodes from lo to hi, which lie below a node of that depth, from s on.
func (c *Constraint) walk(s *stacks, lo, hi int32, depth uint8, leaves bool, w *walked) {
	v := c.v
	var path [maxToken + 1]*stacks
	path[depth] = s
	for i := lo; i < hi; {
		d, b := v.depth[i], v.label[i]
		from := path[d-1]
		var to *stacks
		if from.next.all != nil {
			to = from.next.all[b]
		}
		if to == nil {
			if !has(&from.takes, b) || d > 1 && c.work > maxWork {
				i = v.skip[i]
				continue
			}
			if to = c.step(from, b); to == nil {
				i = v.skip[i]
				continue
			}
		}
		path[d] = to
		if to.dist < unreachable {
			for k := v.first[i]; k < v.first[i+1]; k++ {
				w.tokens = append(w.tokens, reached{v.ids[k], to.dist})
			}
		}
		w.reach = max(w.reach, to.reach)
		if leaves && to.done && v.skip[i] > i+1 {
			w.leaves = append(w.leaves, i)
		}
		i++
	}
}

// scratch is an emptied walk.
func (c *Constraint) scratch() *walked {
	c.found.tokens, c.found.leaves, c.found.reach = c.found.tokens[:0], c.found.leaves[:0], math.MinInt32
	return &c.found
}

// collect makes a mask of tokens.
func (c *Constraint) collect(tokens []reached) (m fullMask) {
	m.bits = make([]uint32, (c.v.size+31)/32)
	m.low = unreachable
	if len(tokens) == 0 {
		return m
	}
	for _, t := range tokens {
		m.bits[t.id>>5] |= 1 << (t.id & 31)
		m.low = min(m.low, t.dist)
		m.high = max(m.high, t.dist)
	}
	var count [1024]int32 // of tokens by their dist above low
	for _, t := range tokens {
		count[min(int(t.dist-m.low), len(count)-1)]++
	}
	m.near = m.high
	above := int32(0)
	for k := len(count) - 1; k > nearSlack; k-- {
		if above += count[k]; above > maxFar {
			break
		}
		m.near = min(m.near, m.low+int32(k)-1)
	}
	for _, t := range tokens {
		if t.dist > m.near {
			m.far = append(m.far, t)
		}
	}
	farthestFirst(m.far)
	return m
}

func farthestFirst(far []reached) {
	slices.SortFunc(far, func(a, b reached) int {
		if a.dist != b.dist {
			return int(b.dist - a.dist)
		}
		return int(a.id - b.id)
	})
}

// top is the mask of a frame's states.
func (c *Constraint) top(s *states) *topMask {
	if s.mask != nil {
		return s.mask
	}
	if left := c.g.charsLeft(s); left >= 0 {
		s.mask = c.counted(left)
	} else {
		s.mask = c.walkTop(s)
	}
	c.took(4*len(s.mask.bits) + 8*len(s.mask.far) + 4*len(s.mask.leaves))
	return s.mask
}

// walkTop finds a mask by a walk over all tokens.
func (c *Constraint) walkTop(s *states) *topMask {
	w := c.scratch()
	if f := c.frame(s, nil, localRoom); f != nil {
		base := c.stacks([]*frame{f}, false)
		w.reach = base.reach
		c.walk(base, 0, int32(len(c.v.label)), 0, true, w)
	}
	return &topMask{c.collect(w.tokens), slices.Clone(w.leaves), w.reach + localRoom}
}

// full is the mask of a set of stacks: what their tops take, and behind the leaves what the frames below take.
func (c *Constraint) full(s *stacks) *fullMask {
	if s.mask != nil {
		return s.mask
	}
	parts := make([]*topMask, len(s.frames))
	fits := true
	for i, f := range s.frames {
		parts[i] = c.top(f.top)
		fits = fits && parts[i].reach <= f.room
	}
	m := mixed{low: unreachable}
	w := c.scratch()
	if fits {
		for i, f := range s.frames {
			m.near = max(m.near, parts[i].near+f.below.left())
		}
		for i, f := range s.frames {
			m.join(&parts[i].fullMask, f.below.left())
			if f.below == nil {
				continue
			}
			below := c.back(f.below)
			if below == nil {
				continue
			}
			for _, leaf := range parts[i].leaves {
				c.walk(below, leaf+1, c.v.skip[leaf], c.v.depth[leaf], false, w)
			}
		}
	} else { // near the bound on nesting
		c.walk(s, 0, int32(len(c.v.label)), 0, false, w)
		all := c.collect(w.tokens)
		m.near = all.near
		m.join(&all, 0)
		w.tokens = w.tokens[:0]
	}
	w.tokens = c.addSymbols(s, w.tokens)
	for _, t := range w.tokens {
		m.add(t)
	}
	s.mask = m.mask()
	c.took(8 * len(s.mask.far))
	if m.own {
		c.took(4 * len(s.mask.bits))
	}
	return s.mask
}

// left is how much a text still needs when the frames above have ended.
func (f *frame) left() int32 {
	if f == nil {
		return 0
	}
	return f.dist
}

// addSymbols appends the added tokens that the grammar names here.
func (c *Constraint) addSymbols(s *stacks, out []reached) []reached {
	for _, f := range s.tops {
		for _, symbol := range f.top.tokens {
			if to := c.symbol(s, symbol); to != nil && to.dist < unreachable {
				out = append(out, reached{c.g.tokens[symbol-firstToken], to.dist})
			}
		}
	}
	return out
}

// mixed is a mask in the making.
type mixed struct {
	bits []uint32
	own  bool // bits are not another mask's
	far  map[int32]int32
	near int32
	low  int32
}

func (m *mixed) write() {
	if !m.own {
		m.bits, m.own = slices.Clone(m.bits), true
	}
}

// join adds a mask, further by dist. What it has near must be near in m too.
func (m *mixed) join(p *fullMask, dist int32) {
	m.low = min(m.low, p.low+dist)
	isNew := func(id int32) bool { return true }
	if m.bits == nil {
		m.bits = p.bits
	} else {
		m.write()
		before := slices.Clone(m.bits)
		isNew = func(id int32) bool { return before[id>>5]>>(id&31)&1 == 0 }
		far := make(map[int32]bool, len(p.far))
		for _, t := range p.far {
			far[t.id] = true
		}
		for id := range m.far {
			if p.bits[id>>5]>>(id&31)&1 != 0 && !far[id] {
				delete(m.far, id)
			}
		}
		for i, w := range p.bits {
			m.bits[i] |= w
		}
	}
	for _, t := range p.far {
		if _, far := m.far[t.id]; far || isNew(t.id) { // else it is near already
			m.setFar(reached{t.id, min(t.dist+dist, unreachable-1)})
		}
	}
}

// setFar notes a token that is not near by another way.
func (m *mixed) setFar(t reached) {
	if t.dist <= m.near {
		delete(m.far, t.id)
		return
	}
	if m.far == nil {
		m.far = map[int32]int32{}
	}
	if before, ok := m.far[t.id]; !ok || t.dist < before {
		m.far[t.id] = t.dist
	}
}

// add adds a token.
func (m *mixed) add(t reached) {
	m.low = min(m.low, t.dist)
	set := m.bits[t.id>>5]>>(t.id&31)&1 != 0
	if _, far := m.far[t.id]; set && !far {
		return
	}
	if !set {
		m.write()
		m.bits[t.id>>5] |= 1 << (t.id & 31)
	}
	m.setFar(t)
}

func (m *mixed) mask() *fullMask {
	out := &fullMask{bits: m.bits, near: m.near, low: m.low, high: m.near}
	for id, dist := range m.far {
		out.high = max(out.high, dist)
		if len(m.far) <= 2*maxFar {
			out.far = append(out.far, reached{id, dist})
		}
	}
	if len(m.far) > 2*maxFar {
		out.near = out.high
	}
	farthestFirst(out.far)
	return out
}

// within writes the tokens behind which a text can still be complete with the tokens left, this one included; cut
// says that the bound has taken some away that are not out of the ordinary.
func (c *Constraint) within(s *stacks, dst []uint32, left int) (cut bool) {
	m := c.full(s)
	copy(dst, m.bits)
	bound := int32(min(left-1, unreachable-1))
	switch {
	case left <= 0 || m.high <= bound:
		return false
	case max(m.near, m.low) <= bound:
		for _, t := range m.far {
			if t.dist <= bound {
				break
			}
			dst[t.id>>5] &^= 1 << (t.id & 31)
		}
		return false
	}
	w := c.scratch()
	c.walk(s, 0, int32(len(c.v.label)), 0, false, w)
	tokens := c.addSymbols(s, w.tokens)
	low := int32(unreachable)
	for _, t := range tokens {
		low = min(low, t.dist)
	}
	if !s.done {
		bound = max(bound, low) // too late to be complete in time: the shortest way out
	}
	before := 0
	for i := range dst {
		before += bits.OnesCount32(dst[i])
		dst[i] = 0
	}
	for _, t := range tokens {
		if t.dist <= bound {
			dst[t.id>>5] |= 1 << (t.id & 31)
		}
	}
	after := 0
	for _, w := range dst {
		after += bits.OnesCount32(w)
	}
	return after < before
}
