package emu

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// cluster is a group of blocks that run together: one block, unless the launch asks for clusters. A worker goroutine
// runs one cluster after the other, and everything in it is single-threaded.
type cluster struct {
	dev     *Device
	k       *Kernel
	launch  *Launch
	block   [3]int // the shape that the worker was built for
	shape   [3]int // of a cluster
	pages   []*allocation
	seq     uint64 // of the launch, for the race check between blocks
	budget  int64
	ctx     context.Context
	ctas    []*cta
	counts  []Counts
	events  int64 // everything that may let a waiting warp go on
	copies  []*bulkCopy
	barrier struct {
		arrived int
		phase   int
	}
	flight    int64
	maxFlight int64
	barriers  int64
}

// cta is a block of threads.
type cta struct {
	cl       *cluster
	id       [3]int
	linear   uint64 // position in the grid
	rank     int    // in the cluster
	shared   []byte
	sharedS  []byte // one byte each: 1 when written
	warps    []*warp
	named    [16]namedBarrier
	mbars    []*mbar
	races    races
	agentSeg []uint32
	groups   []warpgroup
	started  bool // has run a block before
	ordered  bool // has used atomics or other synchronisation between blocks
}

// base is where the block's shared memory starts in shared addresses.
func (c *cta) base() uint32 { return sharedBase + uint32(c.rank)<<24 }

// newCluster builds the memory and warps of a worker.
func newCluster(d *Device, k *Kernel, l *Launch) *cluster {
	cl := &cluster{dev: d, k: k, launch: l, block: l.Block, shape: l.Cluster, counts: make([]Counts, len(k.code))}
	threads := l.Block[0] * l.Block[1] * l.Block[2]
	bytes := k.dynOff + l.Shared
	n := l.Cluster[0] * l.Cluster[1] * l.Cluster[2]
	for rank := range n {
		c := &cta{cl: cl, rank: rank, shared: make([]byte, bytes), sharedS: make([]byte, bytes)}
		warps := (threads + 31) / 32
		c.races.on = !l.NoRaceCheck
		if c.races.on {
			c.races.init(warps, bytes)
			c.agentSeg = make([]uint32, c.races.actors-warps)
		}
		c.groups = make([]warpgroup, (warps+3)/4)
		for i := range warps {
			w := &warp{k: k, cta: c, id: i, counts: cl.counts}
			w.r32, w.r64, w.pred = make([][32]uint32, k.n32), make([][32]uint64, k.n64), make([]uint32, k.nPred)
			w.init = make([]uint32, k.nTracked)
			w.local, w.localS = make([]byte, 32*k.localBytes), make([]byte, 32*k.localBytes)
			for _, s := range k.const32 {
				for l := range w.r32[s.slot] {
					w.r32[s.slot][l] = uint32(s.val)
				}
			}
			for _, s := range k.const64 {
				for l := range w.r64[s.slot] {
					w.r64[s.slot][l] = s.val
				}
			}
			c.warps = append(c.warps, w)
		}
		cl.ctas = append(cl.ctas, c)
	}
	return cl
}

// start puts every warp of a block at the kernel's entry.
func (c *cta) start(linear int) {
	g, threads := c.cl.launch.Grid, c.cl.launch.Block[0]*c.cl.launch.Block[1]*c.cl.launch.Block[2]
	c.linear = uint64(linear)
	c.id = [3]int{linear % g[0], linear / g[0] % g[1], linear / g[0] / g[1]}
	c.ordered = false
	clear(c.sharedS)
	c.mbars = c.mbars[:0]
	for i := range c.named {
		c.named[i] = namedBarrier{}
	}
	for i := range c.groups {
		g := &c.groups[i]
		g.done = 0
		for j := range g.ops {
			g.ops[j] = g.ops[j][:0]
		}
	}
	clear(c.agentSeg)
	c.races.begin(c.warps)
	for _, w := range c.warps {
		w.live = allLanes
		if n := threads - w.id*32; n < 32 {
			w.live = 1<<n - 1
		}
		w.heldLive = w.live
		w.frags = append(w.frags[:0], fragment{mask: w.live, join: -1})
		w.joins = w.joins[:0]
		w.carry, w.steps, w.pc = 0, 0, 0
		w.copies, w.groups, w.bulkOpen, w.bulkGroups, w.clusterPhase = w.copies[:0], w.groups[:0], 0, w.bulkGroups[:0], 0
		w.wg = warpgroupState{}
		clear(w.init)
		clear(w.localS)
		w.fillSpecials(!c.started)
	}
	c.started = true
}

// run executes the cluster's blocks to their end.
func (cl *cluster) run() {
	cl.copies, cl.flight = cl.copies[:0], 0
	cl.barrier.arrived, cl.barrier.phase = 0, 0
	for idle := 0; ; {
		if cl.ctx.Err() != nil {
			panic(cancelled{})
		}
		before, progress, alive := cl.events, false, false
		for _, c := range cl.ctas {
			for _, w := range c.warps {
				if w.live != 0 {
					alive = true
					progress = w.run() || progress
				}
			}
		}
		switch {
		case !alive:
			cl.finish()
			return
		case progress || cl.events != before:
			idle = 0
		case cl.deliver():
			idle = 0
		default:
			// A failed try_wait may be followed by anything, so waiting warps get some more turns before this is a deadlock.
			if idle++; idle > 64 {
				cl.deadlock()
			}
		}
	}
}

// finish checks what must not be left behind, and lets the last copies arrive.
func (cl *cluster) finish() {
	for _, o := range cl.copies {
		if o.store {
			o.w.failAt(o.pc, MissingAsyncWait, o.lane, "the block ends while this bulk store may still read its shared memory")
		}
	}
	for cl.deliver() {
	}
	for _, c := range cl.ctas {
		for g := range c.groups {
			c.checkGroupEnd(g)
		}
	}
}

// deadlock reports what every live warp waits for.
func (cl *cluster) deadlock() {
	var lines []string
	var blame *warp
	kind := Deadlock
	for _, c := range cl.ctas {
		for _, w := range c.warps {
			if w.live == 0 {
				continue
			}
			for _, f := range w.frags {
				at := f.pc
				what := "waits"
				switch f.state {
				case fragBarrier:
					at, what = f.pc-1, "waits at the barrier"
				case fragSync, fragHeld:
					what = "waits for other lanes"
				}
				if len(lines) < 8 {
					lines = append(lines, fmt.Sprintf("warp %d (lanes %08x) %s at line %d", w.id, f.mask, what, w.k.code[max(at, 0)].line))
				}
				if blame == nil || f.state == fragSpin && blame.frags[0].state != fragSpin {
					blame = w
					w.pc = max(at, 0)
				}
			}
		}
		for _, b := range c.mbars {
			if b.pending == 0 && b.tx != 0 {
				kind = WrongTransaction
				lines = append(lines, fmt.Sprintf("the mbarrier at shared byte %d has all arrivals, but its copies brought %d bytes fewer than expected", b.addr, b.tx))
			} else if b.valid && b.pending != b.count {
				lines = append(lines, fmt.Sprintf("the mbarrier at shared byte %d misses %d of %d arrivals and %d bytes", b.addr, b.pending, b.count, b.tx))
			}
		}
	}
	if blame == nil {
		blame = cl.ctas[0].warps[0]
	}
	lane := 0
	if len(blame.frags) > 0 {
		lane = first(blame.frags[0].mask)
	}
	blame.fail(kind, lane, "%s", strings.Join(lines, "; "))
}

// laneSpecials are the special registers that differ within a warp, and never between the blocks of a launch.
var laneSpecials = map[string]bool{"%tid.x": true, "%tid.y": true, "%tid.z": true, "%laneid": true, "%lanemask_eq": true, "%lanemask_lt": true,
	"%lanemask_le": true, "%lanemask_gt": true, "%lanemask_ge": true}

// fillSpecials sets the special registers that the kernel reads; lanes says whether also those that stay the same from
// block to block.
func (w *warp) fillSpecials(lanes bool) {
	for _, s := range w.k.specials {
		perLane := laneSpecials[s.name]
		if perLane && !lanes {
			continue
		}
		if s.bank == bankPred {
			w.pred[s.slot] = 0
			if s.name == "#1" {
				w.pred[s.slot] = allLanes
			}
			continue
		}
		v := w.special(s.name, 0)
		for l := range 32 {
			if perLane {
				v = w.special(s.name, l)
			}
			w.setLane(s.slot, s.bank == bank64, l, v)
		}
	}
}

// special is the value of a special register, or the address of a variable (&offset name, &shared offset).
func (w *warp) special(name string, lane int) uint64 {
	c, l := w.cta, w.cta.cl.launch
	if off, ok := strings.CutPrefix(name, "&shared "); ok {
		var n uint64
		fmt.Sscan(off, &n)
		return n + uint64(c.rank)<<24
	}
	if name[0] == '&' {
		off, sym, _ := strings.Cut(name[1:], " ")
		var n int64
		fmt.Sscan(off, &n)
		return c.cl.dev.address(w.k.module, sym) + uint64(n)
	}
	if base, axis, ok := strings.Cut(name, "."); ok {
		i := int(axis[0] - 'x')
		inCluster := [3]int{c.rank % l.Cluster[0], c.rank / l.Cluster[0] % l.Cluster[1], c.rank / l.Cluster[0] / l.Cluster[1]}
		switch base {
		case "%tid":
			return uint64(w.thread(lane)[i])
		case "%ntid":
			return uint64(l.Block[i])
		case "%ctaid":
			return uint64(c.id[i])
		case "%nctaid":
			return uint64(l.Grid[i])
		case "%clusterid":
			return uint64(c.id[i] / l.Cluster[i])
		case "%nclusterid":
			return uint64(l.Grid[i] / l.Cluster[i])
		case "%cluster_ctaid":
			return uint64(inCluster[i])
		case "%cluster_nctaid":
			return uint64(l.Cluster[i])
		}
	}
	sms := c.cl.dev.target.SMs
	switch name {
	case "%laneid":
		return uint64(lane)
	case "%warpid":
		return uint64(w.id)
	case "%nwarpid":
		return uint64(len(c.warps))
	case "%smid":
		return c.linear % uint64(sms)
	case "%nsmid":
		return uint64(sms)
	case "%gridid":
		return c.cl.seq
	case "%lanemask_eq":
		return 1 << lane
	case "%lanemask_lt":
		return 1<<lane - 1
	case "%lanemask_le":
		return 2<<lane - 1
	case "%lanemask_gt":
		return uint64(^uint32(2<<lane - 1))
	case "%lanemask_ge":
		return uint64(^uint32(1<<lane - 1))
	case "%dynamic_smem_size":
		return uint64(l.Shared)
	case "%total_smem_size", "%aggr_smem_size":
		return uint64(len(c.shared))
	case "%is_explicit_cluster":
		return uint64(min(len(c.cl.ctas)-1, 1))
	case "%cluster_ctarank":
		return uint64(c.rank)
	case "%cluster_nctarank":
		return uint64(len(c.cl.ctas))
	}
	return 0 // clocks stand still: a kernel's result must not depend on them
}

// namedBarrier is one of the sixteen barriers of a block.
type namedBarrier struct {
	arrived int // warps
	need    int // warps; 0 means all live ones
	lanes   [32]uint32
	waiting []barrierWait
	clock   clock
	proxy   clock
	all     bool // reductions over the predicate
	any     bool
	count   int
}

type barrierWait struct {
	w  *warp
	in *inst
	m  uint32
}

// arrive counts lanes at barrier id. wait says whether they stay until it completes.
func (w *warp) arrive(in *inst, m uint32, id, threads uint32, aligned, wait bool, pred uint32) {
	c := w.cta
	lane := first(m)
	if id > 15 {
		w.fail(BadBarrier, lane, "barrier %d of 16", id)
	}
	if threads%32 != 0 || threads > uint32(32*len(c.warps)) {
		w.fail(BadBarrier, lane, "barrier for %d threads of %d", threads, 32*len(c.warps))
	}
	if aligned && m != w.live {
		w.fail(DivergentBarrier, lane, "lanes %08x of the live lanes %08x are at an aligned barrier", m, w.live)
	}
	b := &c.named[id]
	if b.arrived == 0 && b.lanes == [32]uint32{} {
		*b = namedBarrier{need: int(threads / 32), waiting: b.waiting[:0], clock: b.clock, proxy: b.proxy, all: true}
		if c.races.on {
			if b.clock == nil {
				b.clock, b.proxy = make(clock, c.races.actors), make(clock, c.races.actors)
			}
			clear(b.clock)
			clear(b.proxy)
		}
	} else if b.need != int(threads/32) {
		w.fail(BadBarrier, lane, "barrier %d is used with %d threads and with %d", id, b.need*32, threads)
	}
	if b.lanes[w.id]&m != 0 {
		w.fail(BadBarrier, lane, "barrier %d: the warp arrives twice in one phase", id)
	}
	b.lanes[w.id] |= m
	b.count += bits.OnesCount32(pred & m)
	b.any = b.any || pred&m != 0
	b.all = b.all && pred&m == m
	w.release(b.clock, b.proxy)
	if wait {
		b.waiting = append(b.waiting, barrierWait{w, in, m})
	}
	w.park = wait
	if b.lanes[w.id] == w.live {
		b.arrived++
	}
	if b.need != 0 && b.arrived > b.need {
		w.fail(BadBarrier, lane, "barrier %d: %d warps arrive, %d are expected", id, b.arrived, b.need)
	}
	c.complete(b)
}

// complete releases a barrier's warps when the last has come.
func (c *cta) complete(b *namedBarrier) {
	need := b.need
	if need == 0 {
		for _, w := range c.warps {
			if w.live != 0 {
				need++
			}
		}
	}
	if b.arrived == 0 || b.arrived < need {
		return
	}
	c.cl.events++
	c.cl.barriers++
	for _, x := range b.waiting {
		x.w.park = false
		for i := range x.w.frags {
			f := &x.w.frags[i]
			if f.state == fragBarrier && f.mask&x.m != 0 {
				f.state = fragReady
			}
		}
		x.w.acquire(b.clock, b.proxy)
		if r, ok := x.in.x.(*barrierOp); ok && r.red != "" {
			r.result(x.w, x.in, x.m, b)
		}
	}
	b.waiting = b.waiting[:0]
	b.arrived, b.lanes = 0, [32]uint32{}
}

// exited rechecks what waits for all live threads.
func (c *cta) exited(w *warp) {
	c.cl.events++
	for i := range c.named {
		b := &c.named[i]
		if b.lanes[w.id] != 0 && w.live != 0 && b.lanes[w.id] == w.live {
			b.arrived++
		}
		if b.arrived > 0 && b.need == 0 {
			c.complete(b)
		}
	}
	c.cl.clusterComplete()
}

// clusterComplete ends the phase of barrier.cluster when every live thread has arrived.
func (cl *cluster) clusterComplete() {
	live := 0
	for _, c := range cl.ctas {
		for _, w := range c.warps {
			live += bits.OnesCount32(w.live)
		}
	}
	if cl.barrier.arrived == 0 || cl.barrier.arrived < live {
		return
	}
	cl.barrier.arrived = 0
	cl.barrier.phase++
	cl.events++
	for _, c := range cl.ctas { // orders everything before it
		if !c.races.on {
			continue
		}
		all, proxy := make(clock, c.races.actors), make(clock, c.races.actors)
		for _, w := range c.warps {
			w.release(all, proxy)
		}
		for _, w := range c.warps {
			w.acquire(all, proxy)
		}
	}
}

// sortedLines orders per-line counters by the text.
func sortedLines(l []LineCounts) []LineCounts {
	slices.SortStableFunc(l, func(a, b LineCounts) int { return a.Line - b.Line })
	return l
}
