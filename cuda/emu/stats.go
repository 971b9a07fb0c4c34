package emu

import "math/bits"

// Class sorts instructions for the counters.
type Class uint8

const (
	ClassControl Class = iota
	ClassMove
	ClassInt
	ClassFloat
	ClassSpecial // ex2, rcp and their kin: the special-function unit
	ClassConvert
	ClassCompare
	ClassGlobal
	ClassShared
	ClassLocal
	ClassParam
	ClassAtomic
	ClassWarp    // shuffles and votes
	ClassBarrier // block, cluster and memory barriers
	ClassMatrix  // mma, wgmma, ldmatrix, stmatrix
	ClassAsync   // cp.async, bulk and tensor copies
	classCount
)

var classNames = [classCount]string{"control", "move", "integer", "float", "special", "convert", "compare", "global", "shared", "local",
	"parameter", "atomic", "warp", "barrier", "matrix", "async"}

func (c Class) String() string { return classNames[c] }

// Counts are the counters of one PTX line or of a whole launch. A warp instruction counts once however many lanes are
// active. Sectors and wavefronts are counted only with Launch.Profile.
type Counts struct {
	Warp       int64 // warp instructions
	Thread     int64 // the same times active lanes
	Requests   int64 // global loads, stores and atomics of warps
	Bytes      int64 // that they asked for
	Sectors    int64 // 32-byte sectors that they touched
	Accesses   int64 // shared loads and stores of warps
	Wavefronts int64 // cycles of the 32 banks that they took
	Ideal      int64 // cycles without bank conflicts
	Flops      int64 // of mma and wgmma, two for a product and its sum
}

func (c *Counts) add(o *Counts) {
	c.Warp += o.Warp
	c.Thread += o.Thread
	c.Requests += o.Requests
	c.Bytes += o.Bytes
	c.Sectors += o.Sectors
	c.Accesses += o.Accesses
	c.Wavefronts += o.Wavefronts
	c.Ideal += o.Ideal
	c.Flops += o.Flops
}

// LineCounts are the counters of one instruction.
type LineCounts struct {
	Line  int // of the PTX text
	Class Class
	Counts
}

// Stats are the counters of one launch.
type Stats struct {
	Counts
	Class    [classCount]int64 // warp instructions by class
	Barriers int64             // completed block-wide barriers
	InFlight int64             // the most bytes that asynchronous copies of one block had under way
	Lines    []LineCounts      // every instruction of the kernel that ran at least once, in the order of the text
}

// Add adds the counters of another launch of the same kernel; of different kernels, the lines are dropped.
func (s *Stats) Add(o *Stats) {
	s.Counts.add(&o.Counts)
	for i, n := range o.Class {
		s.Class[i] += n
	}
	s.Barriers += o.Barriers
	s.InFlight = max(s.InFlight, o.InFlight)
	if len(s.Lines) != len(o.Lines) {
		s.Lines = nil
		return
	}
	for i := range s.Lines {
		if s.Lines[i].Line != o.Lines[i].Line {
			s.Lines = nil
			return
		}
		s.Lines[i].Counts.add(&o.Lines[i].Counts)
	}
}

// profileGlobal counts the 32-byte sectors that one warp's access touches.
func (w *warp) profileGlobal(addr *[32]uint64, m uint32, size uint64) {
	c := &w.counts[w.pc]
	c.Requests++
	c.Bytes += int64(size) * int64(bits.OnesCount32(m))
	var seen [64]uint64
	n := 0
	for ; m != 0; m &= m - 1 {
		a := addr[bits.TrailingZeros32(m)&31]
	sectors:
		for s := a >> 5; s <= (a+size-1)>>5; s++ {
			for i := n - 1; i >= 0; i-- {
				if seen[i] == s {
					continue sectors
				}
			}
			if n < len(seen) {
				seen[n] = s
				n++
			} else {
				c.Sectors++
			}
		}
	}
	c.Sectors += int64(n)
}

// profileShared counts bank cycles: a phase is the lanes that move 128 bytes together (32 of 4 bytes, 8 of 16); in a
// phase, every bank delivers one 4-byte word a cycle, and the same word to any number of lanes.
func (w *warp) profileShared(addr *[32]uint32, m uint32, size uint32) {
	c := &w.counts[w.pc]
	c.Accesses++
	lanes := 32
	if size > 4 {
		lanes = int(128 / size)
	}
	for from := 0; from < 32; from += lanes {
		phase := m >> from & uint32(maskOf(lanes))
		if phase == 0 {
			continue
		}
		c.Wavefronts += int64(bankCycles(addr, from, phase, size))
		c.Ideal++
	}
}

// bankCycles counts the cycles of one phase: the most words that its lanes want of any one bank.
func bankCycles(addr *[32]uint32, from int, phase, size uint32) int {
	var words [65]uint32         // from 1; misaligned accesses touch more words than banks
	var latest [32]uint8         // each bank's list of words, by position in words
	var before [len(words)]uint8 // the next in the list
	n, deepest := uint8(0), 0
	for ; phase != 0; phase &= phase - 1 {
		a := addr[(from+bits.TrailingZeros32(phase))&31]
	next:
		for word := a >> 2; word <= (a+size-1)>>2; word++ {
			depth := 1
			for i := latest[word&31]; i != 0; i = before[i] {
				if words[i] == word {
					continue next
				}
				depth++
			}
			n++
			words[n], before[n] = word, latest[word&31]
			latest[word&31] = n
			deepest = max(deepest, depth)
		}
	}
	return deepest
}
