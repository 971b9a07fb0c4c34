package emu

import (
	"math/bits"
	"slices"
)

// A warp runs in lockstep over lane masks. Where lanes part at a branch, each side becomes a fragment of its own (a
// position and a mask), and a join remembers where the sides meet: at the branch's immediate post-dominator. A fragment
// that gets there is absorbed; when the last one has come, the lanes go on as one. A fragment that waits (on a barrier,
// on an mbarrier, for the rest of a member mask) does not keep the others from running, so a lane may wait for what
// another lane of its warp will do, as on hardware since Volta. Of the fragments that can run, the one with the lowest
// position goes first.

type fragState uint8

const (
	fragReady   fragState = iota
	fragSpin              // tried in vain: again in the next round
	fragBarrier           // at a block barrier
	fragSync              // at a warp-wide instruction, waiting for other lanes
	fragHeld              // at an instruction for the whole warp, while lanes elsewhere may still exit
)

type fragment struct {
	pc    int32
	mask  uint32
	join  int32 // index into warp.joins, -1 at the top
	state fragState
}

// join is where lanes that parted meet again.
type join struct {
	at      int32  // position
	waitFor uint32 // lanes still on their way
	arrived uint32
	parent  int32
	used    bool
}

type warp struct {
	k   *Kernel
	cta *cta
	id  int // in its block, and as an actor of the race check

	r32    [][32]uint32
	r64    [][32]uint64
	pred   []uint32
	carry  uint32
	init   []uint32 // lanes of tracked registers that have been written
	local  []byte   // 32 lanes, one after the other
	localS []byte
	counts []Counts // of the worker

	live     uint32
	heldLive uint32 // live when held fragments last tried
	pc       int32
	frags    []fragment
	joins    []join
	spin     bool // set by an instruction that failed and shall be tried again: the position moves on
	retry    bool // the same, but the position stays
	park     bool // set by a barrier: the lanes wait
	steps    int64

	clock, proxy clock
	seg, prev    uint32 // the present segment and the one before
	floor        uint32 // segments up to this one are all in the past

	copies       []asyncCopy // cp.async not yet committed
	groups       [][]asyncCopy
	spare        [][]asyncCopy // for reuse
	bulkOpen     int           // bulk stores not yet committed
	bulkGroups   []int
	clusterPhase int
	addr32       [32]uint32 // scratch
	addr64       [32]uint64
	offs         [32]uint64
	touches      [32]touch
	wg           warpgroupState
	tileA        [16][16]float32 // the last product's A, unpacked
}

func first(m uint32) int { return bits.TrailingZeros32(m) & 31 }

// quantum is how many instructions a warp runs before the next one has its turn.
const quantum = 1 << 14

// run executes the warp until every lane waits or has exited, or its turn is over. It reports whether it did more than
// fail to wait.
func (w *warp) run() bool {
	for i := range w.frags {
		if w.frags[i].state == fragSpin {
			w.frags[i].state = fragReady
		}
	}
	left, progress := int64(quantum), false
	for left > 0 {
		best := -1
		for i := range w.frags {
			if f := &w.frags[i]; f.state == fragReady && (best < 0 || f.pc < w.frags[best].pc) {
				best = i
			}
		}
		if best < 0 {
			if w.wakeHeld() {
				continue
			}
			w.checkStuck()
			return progress
		}
		f := w.frags[best]
		w.frags = slices.Delete(w.frags, best, best+1)
		n, moved := w.runFragment(f, left)
		left -= n
		w.steps += n
		progress = progress || moved
		if w.steps > w.cta.cl.budget {
			w.fail(InstructionBudget, first(f.mask), "warp %d has executed %d instructions", w.id, w.steps)
		}
	}
	return true
}

// runFragment executes one fragment until it parts, waits, ends, or has used its turn.
func (w *warp) runFragment(f fragment, left int64) (n int64, moved bool) {
	code, counts := w.k.code, w.counts
	pc, act := f.pc, f.mask
	meet := int32(-1)
	if f.join >= 0 {
		meet = w.joins[f.join].at
	}
	for ; n < left; n++ {
		if pc == meet {
			w.absorb(f.join, act)
			return n, moved
		}
		in := &code[pc]
		w.pc = pc
		m := act
		if in.guard >= 0 {
			if in.track != nil {
				w.checkReads(in.track.guard, act)
			}
			g := w.pred[in.guard]
			if in.neg {
				g = ^g
			}
			m &= g
		}
		c := &counts[pc]
		c.Warp++
		c.Thread += int64(bits.OnesCount32(m))
		if in.track != nil && m != 0 {
			w.checkReads(in.track.reads, m)
			for _, id := range in.track.writes {
				w.init[id] |= m
			}
		}
		if in.accTouch && m != 0 {
			w.touchAccumulator(in, m)
		}
		switch in.kind {
		case kindPlain:
			if m != 0 {
				in.exec(w, in, m)
			}
			pc++
			continue
		case kindBranch:
			if in.target < 0 {
				w.branchTable(f, in, m)
				return n + 1, moved
			}
			switch m {
			case act:
				pc = in.target
			case 0:
				pc++
			default:
				w.part(f.join, in.rpc, act, fragment{pc: in.target, mask: m}, fragment{pc: pc + 1, mask: act &^ m})
				return n + 1, moved
			}
			continue
		case kindExit:
			moved = true
			if m != 0 {
				w.exit(f.join, m)
			}
			if act &^= m; act == 0 {
				return n + 1, true
			}
			pc++
			continue
		}
		// The rest needs lanes together, or may wait.
		if m == 0 {
			pc++
			continue
		}
		if in.whole && m != w.live && w.moving() {
			w.frags = append(w.frags, fragment{pc, act, f.join, fragHeld})
			return n + 1, moved
		}
		if in.kind == kindAligned {
			if m != allLanes {
				w.fail(DivergentBarrier, first(m), "the instruction needs all 32 lanes of the warp, the mask is %08x", m)
			}
			in.exec(w, in, m)
			moved = true
			pc++
			continue
		}
		if m != act { // lanes with a false guard go ahead
			w.part(f.join, pc+1, act, fragment{pc: pc, mask: m}, fragment{pc: pc + 1, mask: act &^ m})
			return n + 1, moved
		}
		if in.kind == kindSync && !w.gather(in, f, pc, m) {
			return n + 1, moved
		}
		w.spin, w.retry, w.park = false, false, false
		in.exec(w, in, m)
		switch {
		case w.retry:
			w.frags = append(w.frags, fragment{pc, act, f.join, fragSpin})
			return n + 1, moved
		case w.spin:
			w.frags = append(w.frags, fragment{pc + 1, act, f.join, fragSpin})
			return n + 1, moved
		case w.park:
			w.frags = append(w.frags, fragment{pc + 1, act, f.join, fragBarrier})
			return n + 1, true
		}
		moved = true
		pc++
	}
	w.frags = append(w.frags, fragment{pc, act, f.join, fragReady})
	return n, true
}

func (w *warp) checkReads(refs []trackRef, m uint32) {
	for _, r := range refs {
		if bad := m &^ w.init[r.id]; bad != 0 {
			w.fail(Uninitialised, first(bad), "register %s is read before it is written", r.name)
		}
	}
}

// part splits a fragment in two or more that meet at position at.
func (w *warp) part(parent, at int32, mask uint32, sides ...fragment) {
	j := parent
	if parent < 0 || w.joins[parent].at != at {
		j = -1
		for i := range w.joins {
			if !w.joins[i].used {
				j = int32(i)
				break
			}
		}
		if j < 0 {
			j = int32(len(w.joins))
			w.joins = append(w.joins, join{})
		}
		w.joins[j] = join{at: at, waitFor: mask, parent: parent, used: true}
	}
	for _, s := range sides {
		s.join = j
		w.frags = append(w.frags, s)
	}
}

// branchTable is brx.idx: one fragment for every target that some lane takes.
func (w *warp) branchTable(f fragment, in *inst, m uint32) {
	sides := map[int32]uint32{}
	idx := &w.r32[in.a]
	var order []fragment
	for k := m; k != 0; k &= k - 1 {
		l := first(k)
		if int(idx[l]) >= len(in.targets) {
			w.fail(BadOperand, l, "branch index %d of %d targets", idx[l], len(in.targets))
		}
		sides[in.targets[idx[l]]] |= 1 << l
	}
	for _, t := range in.targets {
		if s := sides[t]; s != 0 {
			order = append(order, fragment{pc: t, mask: s})
			delete(sides, t)
		}
	}
	if len(order) == 1 {
		order[0].join = f.join
		w.frags = append(w.frags, order[0])
		return
	}
	w.part(f.join, in.rpc, m, order...)
}

// absorb takes lanes that have reached a join.
func (w *warp) absorb(j int32, mask uint32) {
	n := &w.joins[j]
	n.waitFor &^= mask
	n.arrived |= mask
	w.rejoin(j)
}

// rejoin lets the lanes of a join go on when nobody is missing any more.
func (w *warp) rejoin(j int32) {
	for j >= 0 {
		n := &w.joins[j]
		if n.waitFor != 0 {
			return
		}
		n.used = false
		if n.arrived != 0 {
			if p := n.parent; p >= 0 && w.joins[p].at == n.at {
				w.absorb(p, n.arrived)
				return
			}
			w.frags = append(w.frags, fragment{n.at, n.arrived, n.parent, fragReady})
			return
		}
		j = n.parent
	}
}

// exit ends lanes: no join waits for them any more.
func (w *warp) exit(j int32, m uint32) {
	w.live &^= m
	w.steps++
	for p := j; p >= 0; p = w.joins[p].parent {
		w.joins[p].waitFor &^= m
	}
	w.rejoin(j)
	w.cta.exited(w)
}

// gather waits until all lanes of the member mask are at the instruction. It reports whether the instruction may run
// now; the lanes that waited here then have run with it.
func (w *warp) gather(in *inst, f fragment, pc int32, m uint32) bool {
	want := w.members(in, m) & w.live
	total := m
	for _, g := range w.frags {
		if g.state == fragSync && g.pc == pc {
			total |= g.mask
		}
	}
	if total&want != want {
		w.frags = append(w.frags, fragment{pc, m, f.join, fragSync})
		return false
	}
	if total == m {
		return true
	}
	in.exec(w, in, total)
	for i := range w.frags {
		if g := &w.frags[i]; g.state == fragSync && g.pc == pc {
			g.state, g.pc = fragReady, pc+1
		}
	}
	w.frags = append(w.frags, fragment{pc + 1, m, f.join, fragReady})
	return false
}

// moving reports whether some other fragment of the warp may still go on by itself.
func (w *warp) moving() bool {
	for i := range w.frags {
		if s := w.frags[i].state; s == fragReady || s == fragSpin {
			return true
		}
	}
	return false
}

// wakeHeld lets fragments try again that waited for lanes which have exited since, or for which nothing is left to wait.
func (w *warp) wakeHeld() (woken bool) {
	exited := w.live != w.heldLive
	w.heldLive = w.live
	moving := w.moving()
	for i := range w.frags {
		f := &w.frags[i]
		if f.state == fragSync && exited || f.state == fragHeld && (exited || !moving) {
			f.state = fragReady
			woken = true
		}
	}
	return woken
}

// members is the member mask of a warp-wide instruction, which every executing lane must state alike and be in.
func (w *warp) members(in *inst, m uint32) uint32 {
	masks := &w.r32[in.vec[0]]
	want := masks[first(m)]
	for k := m; k != 0; k &= k - 1 {
		switch l := first(k); {
		case masks[l] != want:
			w.fail(InvalidMask, l, "the lanes state different member masks: %08x and %08x", masks[l], want)
		case want>>l&1 == 0:
			w.fail(InvalidMask, l, "lane %d executes with member mask %08x, which does not have it", l, want)
		}
	}
	return want
}

// checkStuck faults when lanes wait for others of their warp that will never come.
func (w *warp) checkStuck() {
	for _, f := range w.frags {
		if f.state != fragSync {
			return
		}
	}
	if len(w.frags) == 0 {
		return
	}
	f := w.frags[0]
	w.pc = f.pc
	in := &w.k.code[f.pc]
	w.fail(InvalidMask, first(f.mask), "lanes %08x wait here for lanes %08x, which do not come", f.mask, w.members(in, f.mask)&w.live&^f.mask)
}
