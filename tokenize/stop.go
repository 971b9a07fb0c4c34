package tokenize

import "strings"

// Stops looks for stop strings in a text that comes in pieces, as DecodeStream gives it.
//
// It is the automaton of Aho and Corasick (1975): a state is the longest end of the text so far that begins a stop
// string, so each byte is looked at once, however many strings there are.
type Stops struct {
	strings []string
	include bool
	next    map[stopEdge]int32
	fail    []int32 // the state of the next shorter beginning
	depth   []int32 // bytes that a state stands for
	found   []int32 // the string that ends in a state, -1 for none; of several the longest

	state   int32
	held    string // may be the beginning of a stop string: depth[state] bytes at least
	stopped bool
}

type stopEdge struct {
	state int32
	c     byte
}

// NewStops makes a matcher; empty strings are left out. With include set the stop string that was found stays in the
// text. Memory is in proportion to the strings, whose number and length the caller bounds.
func NewStops(stops []string, include bool) *Stops {
	s := &Stops{strings: stops, include: include, next: map[stopEdge]int32{}, fail: []int32{0}, depth: []int32{0}, found: []int32{-1}}
	for i, stop := range stops {
		if stop == "" {
			continue
		}
		state := int32(0)
		for k := range len(stop) {
			edge := stopEdge{state, stop[k]}
			child, ok := s.next[edge]
			if !ok {
				child = int32(len(s.fail))
				s.next[edge] = child
				s.fail, s.depth, s.found = append(s.fail, 0), append(s.depth, int32(k+1)), append(s.found, -1)
			}
			state = child
		}
		if s.found[state] < 0 {
			s.found[state] = int32(i)
		}
	}
	s.link()
	return s
}

// link sets the failures, shorter states first.
func (s *Stops) link() {
	byDepth := make([][]stopEdge, 0, 16)
	for edge := range s.next {
		d := int(s.depth[edge.state])
		for len(byDepth) <= d {
			byDepth = append(byDepth, nil)
		}
		byDepth[d] = append(byDepth[d], edge)
	}
	for d, edges := range byDepth {
		for _, edge := range edges {
			child := s.next[edge]
			if d > 0 {
				s.fail[child] = s.step(s.fail[edge.state], edge.c)
			}
			if s.found[child] < 0 {
				s.found[child] = s.found[s.fail[child]]
			}
		}
	}
}

// step is the state after one more byte.
func (s *Stops) step(state int32, c byte) int32 {
	for {
		if next, ok := s.next[stopEdge{state, c}]; ok {
			return next
		}
		if state == 0 {
			return 0
		}
		state = s.fail[state]
	}
}

// Push takes the next piece of the text and gives out what cannot be the beginning of a stop string any more. The first
// stop string to be complete ends the text, the longest where several are complete at once: which is that string, and
// out ends before it, or behind it with include. Behind the end of the text Push gives nothing.
func (s *Stops) Push(text string) (out string, stopped bool, which string) {
	if s.stopped {
		return "", true, ""
	}
	all := s.held + text
	for i := len(s.held); i < len(all); i++ {
		s.state = s.step(s.state, all[i])
		found := s.found[s.state]
		if found < 0 {
			continue
		}
		which = s.strings[found]
		end := i + 1
		if !s.include {
			end -= len(which)
		}
		s.held, s.stopped = "", true
		return all[:end], true, which
	}
	keep := len(all) - int(s.depth[s.state])
	s.held = strings.Clone(all[keep:]) // the whole text must not stay in memory for its end
	return all[:keep], false, ""
}

// Flush gives what was held back when no more text comes.
func (s *Stops) Flush() string {
	out := s.held
	s.held, s.state = "", 0
	return out
}
