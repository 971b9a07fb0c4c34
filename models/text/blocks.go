package text

import (
	"crypto/sha256"
	"encoding/binary"
)

// pool shares the blocks of the key-value cache out (Kwon et al. 2023, "PagedAttention"). A block that is full is known
// by all tokens up to its end, so that another sequence that begins with them reads it instead of computing it again.
// Blocks that nobody holds keep what they hold until they are needed for something else, the longest unused first.
type pool struct {
	rows  int // of a block
	held  []int32
	names []name
	known map[name]int32
	// Blocks that nobody holds, in a ring through next and prev; index len(held) is its head. Those with nothing worth
	// keeping go to the front.
	next, prev []int32
	idle       int
}

// name stands for the tokens up to the end of a block and for what the block's keys depend on besides. The zero name is
// none.
type name [sha256.Size]byte

// newPool shares out blocks of so many rows.
func newPool(blocks, rows int) *pool {
	p := &pool{
		rows: rows, held: make([]int32, blocks), names: make([]name, blocks), known: map[name]int32{},
		next: make([]int32, blocks+1), prev: make([]int32, blocks+1), idle: blocks,
	}
	for i := range p.next {
		p.next[i] = int32((i + 1) % len(p.next))
		p.prev[i] = int32((i + blocks) % len(p.prev))
	}
	return p
}

// after names the block that follows the one called before.
func after(before name, tokens []int32, variant int) name {
	b := make([]byte, 0, len(before)+4*len(tokens)+4)
	b = append(b, before[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(variant))
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	return sha256.Sum256(b)
}

func (p *pool) unlink(i int32) {
	p.next[p.prev[i]], p.prev[p.next[i]] = p.next[i], p.prev[i]
	p.idle--
}

// link puts a block that nobody holds behind at.
func (p *pool) link(i, at int32) {
	n := p.next[at]
	p.next[at], p.prev[i], p.next[i], p.prev[n] = i, at, n, i
	p.idle++
}

// take is a block to write to, held once: the one behind last if that is as good as any, so that a sequence is read as
// one stream; last is -1 for the first.
func (p *pool) take(last int32) (int32, bool) {
	head := int32(len(p.held))
	i := p.next[head]
	if i == head {
		return 0, false
	}
	if n := last + 1; last >= 0 && n < head && p.held[n] == 0 && (p.names[n] == name{} || p.names[i] != name{}) {
		i = n
	}
	p.unlink(i)
	if p.names[i] != (name{}) {
		delete(p.known, p.names[i])
		p.names[i] = name{}
	}
	p.held[i] = 1
	return i, true
}

// find holds the block of that name.
func (p *pool) find(n name) (int32, bool) {
	i, ok := p.known[n]
	if ok {
		p.hold(i)
	}
	return i, ok
}

// hold holds a block once more.
func (p *pool) hold(i int32) {
	if p.held[i] == 0 {
		p.unlink(i)
	}
	p.held[i]++
}

// call gives a full block its name; of two blocks of one name the first stays known.
func (p *pool) call(i int32, n name) {
	if _, ok := p.known[n]; !ok && p.names[i] == (name{}) {
		p.known[n], p.names[i] = i, n
	}
}

// drop lets go of a block.
func (p *pool) drop(i int32) {
	if p.held[i]--; p.held[i] > 0 {
		return
	}
	head := int32(len(p.held))
	if p.names[i] == (name{}) {
		p.link(i, head)
	} else {
		p.link(i, p.prev[head])
	}
}

// used is how many blocks are held.
func (p *pool) used() int { return len(p.held) - p.idle }
