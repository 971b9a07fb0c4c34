package emu

// Shared-memory races by vector clocks. The actors are the block's warps and the agents of asynchronous work: one for
// each warpgroup's wgmma reads, one for bulk stores, one for the copies that each mbarrier announces. Time is a counter
// of the block; a warp's life is cut into segments at every synchronisation, and a segment's number is the time of its
// start. clock[a] of a warp is the last segment of actor a that happened before the warp's present. An access is ordered
// after an earlier one if that one's segment is no later than the clock says, or if the same thread made both.
//
// Synchronisation is: bar, barrier and barrier.cluster among their warps; bar.warp.sync within a warp; mbarrier arrivals
// towards those who see the phase complete; shared atomics among each other. Ordering within a warp is by thread: two
// lanes that touch the same bytes need a bar.warp.sync between, even though the emulator runs them together. A single
// lane's arrival on an mbarrier vouches for its whole warp (too lenient where the other lanes did not come together
// before).
//
// Async accesses need their own order: what a thread wrote with ordinary stores is seen by wgmma and bulk copies only
// behind a fence.proxy.async, so there is a second clock, proxy, that ordinary writes enter only through that fence.

const (
	pending     = 1<<26 - 1 // the segment of an access that is still in flight
	maxTime     = 1 << 25
	manyLanes   = 63
	maxMbarrier = 24 // agents of mbarriers; further ones share the last
)

type clock []uint32

func (c clock) join(o clock) {
	for i, v := range o {
		c[i] = max(c[i], v)
	}
}

// wordRecord is the last write of a 4-byte word, and the latest segment in which anyone read it.
type wordRecord struct {
	seg      uint32
	line     int32
	actor    uint8
	lane     uint8
	mask     uint8 // which bytes
	kind     uint8
	lastRead uint32
	readLine int32
}

// write replaces the record of the last write.
func (r *wordRecord) write(seg uint32, line int32, actor, lane int, mask, kind uint8) {
	r.seg, r.line, r.actor, r.lane, r.mask, r.kind = seg, line, uint8(actor), uint8(lane), mask, kind
}

const (
	writeGeneric uint8 = iota
	writeAtomic
	writeAsync // cp.async, bulk copies
)

// races is the record of one block's shared memory.
type races struct {
	on      bool
	time    uint32
	warps   int
	actors  int // width of a clock
	readers int // actors that read: warps, warpgroups, bulk stores
	words   []wordRecord
	reads   [][]uint32 // [reader][word]: segment<<6 | lane
	flight  int        // words with a pending access
	atomics clock
	proxied clock
}

func (r *races) init(warps, bytes int) {
	r.warps = warps
	r.readers = warps + (warps+3)/4 + 1
	r.actors = r.readers + maxMbarrier
	words := (bytes + 3) / 4
	r.words = make([]wordRecord, words)
	r.reads = make([][]uint32, r.readers)
	for i := range r.reads {
		r.reads[i] = make([]uint32, words)
	}
	r.atomics, r.proxied = make(clock, r.actors), make(clock, r.actors)
	r.time = 1
}

// begin starts a block: everything before lies in the past of every actor.
func (r *races) begin(warps []*warp) {
	if !r.on {
		return
	}
	if r.time > maxTime || r.flight != 0 {
		clear(r.words)
		for _, x := range r.reads {
			clear(x)
		}
		r.time, r.flight = 1, 0
	}
	start := r.time
	for _, w := range warps {
		if w.clock == nil {
			w.clock, w.proxy = make(clock, r.actors), make(clock, r.actors)
		}
		for i := range w.clock {
			w.clock[i], w.proxy[i] = start, start
		}
		w.floor = start
	}
	r.time++
	for _, w := range warps {
		w.prev, w.seg = start, r.time
	}
	clear(r.atomics)
	clear(r.proxied)
}

// tick starts a new segment.
func (r *races) tick() uint32 {
	r.time++
	return r.time
}

// nextSegment starts a new segment of the warp's life.
func (w *warp) nextSegment() { w.prev, w.seg = w.seg, w.cta.races.tick() }

// release returns what the warp's past is to somebody who synchronises with it, and starts a new segment.
func (w *warp) release(to, proxy clock) {
	r := &w.cta.races
	if !r.on {
		return
	}
	to.join(w.clock)
	to[w.id] = max(to[w.id], w.seg)
	proxy.join(w.proxy)
	w.nextSegment()
}

// acquire makes another past the warp's own, and raises the floor: up to there all segments of all actors are ordered
// before the warp's present. Of a warp whose last segment is, these are all that began before its present one.
func (w *warp) acquire(from, proxy clock) {
	r := &w.cta.races
	if !r.on {
		return
	}
	w.clock.join(from)
	w.proxy.join(proxy)
	floor := w.seg
	for a, o := range w.cta.warps {
		if w.clock[a] >= o.prev {
			floor = min(floor, o.seg-1)
		} else {
			floor = min(floor, w.clock[a])
		}
	}
	for a := r.warps; a < r.actors; a++ {
		if w.clock[a] < w.cta.agentSeg[a-r.warps] {
			floor = min(floor, w.clock[a])
		}
	}
	w.floor = max(w.floor, floor)
}

// syncWarp orders the lanes of the warp among each other.
func (w *warp) syncWarp() {
	if r := &w.cta.races; r.on {
		w.clock[w.id] = w.seg
		w.nextSegment()
	}
}

// fenceProxy lets async accesses see what the warp's past wrote.
func (w *warp) fenceProxy() {
	if r := &w.cta.races; r.on {
		w.proxy.join(w.clock)
		w.proxy[w.id] = w.seg
		w.nextSegment()
	}
}

func byteMask(off, n uint32) uint8 {
	if n >= 4 {
		return 15
	}
	return uint8(1<<n-1) << (off & 3)
}

// read records a lane's load of n bytes at off in shared memory, and faults if it is not ordered after their writes.
func (w *warp) raceRead(lane int, off, n uint32) {
	r := &w.cta.races
	mask := byteMask(off, n)
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		rec := &r.words[word]
		if rec.seg > w.floor && rec.mask&mask != 0 && !w.ordered(rec.seg, rec.actor, rec.lane, lane) {
			w.raceFault(lane, word, rec, "reads")
		}
		markRead(&r.reads[w.id][word], w.seg, uint32(lane))
		rec.lastRead = max(rec.lastRead, w.seg)
		rec.readLine = w.k.code[w.pc].line
	}
}

// markRead adds a lane, or manyLanes, to those of a warp that have read a word in the segment.
func markRead(e *uint32, seg, lane uint32) {
	if s := seg<<6 | lane; *e>>6 == seg && *e != s {
		*e |= manyLanes
	} else {
		*e = s
	}
}

func (w *warp) ordered(seg uint32, actor, recLane uint8, lane int) bool {
	return seg <= w.clock[actor] || int(actor) == w.id && int(recLane) == lane && seg != pending
}

// raceWrite records a store in the same way.
func (w *warp) raceWrite(lane int, off, n uint32, kind uint8) {
	r := &w.cta.races
	mask, line := byteMask(off, n), w.k.code[w.pc].line
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		rec := &r.words[word]
		// Lanes of one store may hit the same word: one of them wins. Atomics do not race with each other.
		together := rec.kind == kind && (kind == writeAtomic || int(rec.actor) == w.id && rec.line == line)
		if rec.seg > w.floor && rec.mask&mask != 0 && !together && !w.ordered(rec.seg, rec.actor, rec.lane, lane) {
			w.raceFault(lane, word, rec, "writes")
		}
		if rec.lastRead > w.floor && n >= 4 {
			w.checkReaders(lane, word)
		}
		rec.write(w.seg, line, w.id, lane, mask, kind)
	}
}

// unorderedReader finds somebody who has read the word and is not ordered before the present; -1 if there is none.
func (w *warp) unorderedReader(lane int, word uint32) int {
	for a, words := range w.cta.races.reads {
		e := words[word]
		if seg := e >> 6; seg > w.clock[a] && (a != w.id || int(e&63) != lane || seg == pending) {
			return a
		}
	}
	return -1
}

// checkReaders faults if a reader of the word is not ordered before the present.
func (w *warp) checkReaders(lane int, word uint32) {
	r := &w.cta.races
	if a := w.unorderedReader(lane, word); a >= 0 {
		if r.reads[a][word]>>6 == pending {
			w.fail(MissingAsyncWait, lane, "writes shared byte %d, which the operation of line %d still reads", word*4+sharedBase, r.words[word].readLine)
		}
		who := "an asynchronous operation"
		if a < r.warps {
			who = "another warp"
		}
		if a == w.id {
			who = "another lane of its warp"
		}
		w.fail(SharedRace, lane, "writes shared byte %d, which %s read at line %d with no synchronisation between", word*4+sharedBase, who, r.words[word].readLine)
	}
}

func (w *warp) raceFault(lane int, word uint32, rec *wordRecord, verb string) {
	at := word*4 + sharedBase
	if rec.seg == pending {
		w.fail(MissingAsyncWait, lane, "%s shared byte %d, which the copy of line %d has not delivered", verb, at, rec.line)
	}
	who := "another warp"
	switch {
	case int(rec.actor) == w.id && int(rec.lane) == lane:
		who = "the same thread"
	case int(rec.actor) == w.id:
		who = "another lane of its warp"
	case int(rec.actor) >= w.cta.races.warps:
		who = "an asynchronous copy"
	}
	w.fail(SharedRace, lane, "%s shared byte %d, which %s wrote at line %d with no synchronisation between", verb, at, who, rec.line)
}

// asyncRead faults unless the async proxy sees what was written to n bytes at off, then marks them as being read by the
// agent.
func (w *warp) asyncRead(lane int, off, n uint32, agent int) {
	r := &w.cta.races
	if !r.on {
		return
	}
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		rec := &r.words[word]
		if rec.seg > w.floor && !w.ordered(rec.seg, rec.actor, rec.lane, lane) {
			w.raceFault(lane, word, rec, "reads")
		}
		if rec.kind != writeAsync && rec.seg != 0 && rec.seg > w.proxy[rec.actor] {
			w.fail(MissingFence, lane, "an asynchronous operation reads shared byte %d, written at line %d, without a fence.proxy.async between", word*4+sharedBase, rec.line)
		}
		r.reads[agent][word] = pending<<6 | manyLanes
		rec.lastRead = pending
		rec.readLine = w.k.code[w.pc].line
	}
	r.flight++
}

// asyncReadDone ends the reading.
func (r *races) asyncReadDone(off, n uint32, agent int, seg uint32) {
	if !r.on {
		return
	}
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		r.reads[agent][word] = seg<<6 | manyLanes
		last := seg // the newest there is, unless another agent still reads
		for _, x := range r.reads[r.warps:] {
			last = max(last, x[word]>>6)
		}
		r.words[word].lastRead = last
	}
	r.flight--
}

// asyncWrite checks that nothing unordered touches the destination of a copy, and marks it as in flight.
func (w *warp) asyncWrite(c *cta, lane int, off, n uint32, actor int) {
	r := &c.races
	if !r.on {
		return
	}
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		rec := &r.words[word]
		if c == w.cta {
			if rec.seg > w.floor && !w.ordered(rec.seg, rec.actor, rec.lane, lane) {
				w.raceFault(lane, word, rec, "a copy writes")
			}
			if rec.lastRead > w.floor {
				w.checkReaders(lane, word)
			}
		}
		rec.write(pending, w.k.code[w.pc].line, actor, lane, 15, writeAsync)
	}
	r.flight++
}

// asyncWriteDone makes the copy a write of its actor in the given segment.
func (r *races) asyncWriteDone(off, n uint32, seg uint32) {
	if !r.on {
		return
	}
	for word := off >> 2; word <= (off+n-1)>>2; word++ {
		r.words[word].seg = seg
	}
	r.flight--
}
