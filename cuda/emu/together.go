package emu

import (
	"encoding/binary"
	"math"
)

// Accesses of a warp's lanes together. Nearly every access is right, so the lanes' addresses are first looked at as a
// whole: for bounds and alignment in one pass, for what the shadow bytes and the race check say once for each address
// that differs from the one of the lane before. Then data moves register by register. Whatever is wrong, or may be, goes
// lane by lane instead (access.go), which judges it and names the fault. What has been recorded until then is what that
// way records too.

// touch is an access of one lane, or of neighbouring ones with the same address.
type touch struct {
	lane uint8 // the first
	mark uint8 // the lane as the race check records it: manyLanes for several
}

// within puts the active lanes' offsets from base into w.offs, and the lanes whose offset differs from that of the lane
// before into the result. It reports whether all accesses of size bytes, a power of two, are aligned and no offset is
// above last.
func (w *warp) within(base, last, size uint64, m uint32) ([]touch, bool) {
	n, before := 0, uint64(math.MaxUint64)
	for ; m != 0; m &= m - 1 {
		l := first(m)
		off := w.addr64[l] - base
		if off > last || off&(size-1) != 0 {
			return nil, false
		}
		w.offs[l] = off
		if off == before {
			w.touches[(n-1)&31].mark = manyLanes
			continue
		}
		w.touches[n&31] = touch{uint8(l), uint8(l)}
		before = off
		n++
	}
	return w.touches[:n], true
}

// sharedTogether is accessShared for lanes that stay in the block's own memory. It reports false where it has not done
// the access.
func (w *warp) sharedTogether(in *inst, op *memOp, m uint32) bool {
	c := w.cta
	if op.total > uint64(len(c.shared)) {
		return false
	}
	touches, ok := w.within(uint64(c.base()), uint64(len(c.shared))-op.total, op.total, m)
	if !ok {
		return false
	}
	if op.store {
		if c.races.on && !w.raceWrites(touches, uint32(op.total)) {
			return false
		}
		for _, t := range touches {
			off := w.offs[t.lane&31]
			setWritten(c.sharedS[off : off+op.total])
		}
		w.storeTogether(in, op, c.shared, m)
		return true
	}
	for _, t := range touches {
		off := w.offs[t.lane&31]
		if !written(c.sharedS[off : off+op.total]) {
			return false
		}
	}
	if c.races.on && !w.raceReads(touches, uint32(op.total)) {
		return false
	}
	w.loadTogether(in, op, c.shared, m)
	return true
}

// globalTogether is accessGlobal for lanes that stay in one allocation.
func (w *warp) globalTogether(in *inst, op *memOp, m uint32) bool {
	a := w.cta.cl.allocationAt(w.addr64[first(m)])
	if a == nil || a.freed || op.total > a.size || op.store && a.readOnly {
		return false
	}
	touches, ok := w.within(a.base, a.size-op.total, op.total, m)
	if !ok {
		return false
	}
	if op.store {
		for _, t := range touches {
			w.globalWrote(a, int(t.lane), w.offs[t.lane&31], op.total)
		}
		w.storeTogether(in, op, a.data, m)
		return true
	}
	for _, t := range touches {
		w.globalRead(a, int(t.lane), w.offs[t.lane&31], op.total)
	}
	w.loadTogether(in, op, a.data, m)
	return true
}

// raceReads records loads of n aligned bytes. It reports false at one that is not ordered after its bytes' last write.
func (w *warp) raceReads(touches []touch, n uint32) bool {
	r := &w.cta.races
	line := w.k.code[w.pc].line
	for _, t := range touches {
		off := uint32(w.offs[t.lane&31])
		from, to, mask := off>>2, (off+n+3)>>2, byteMask(off, n)
		words, reads := r.words[from:to], r.reads[w.id][from:to]
		for j := range words {
			rec := &words[j]
			if rec.seg > w.floor && rec.mask&mask != 0 && !w.ordered(rec.seg, rec.actor, rec.lane, int(t.mark)) {
				return false
			}
			markRead(&reads[j], w.seg, uint32(t.mark))
			rec.lastRead = max(rec.lastRead, w.seg)
			rec.readLine = line
		}
	}
	return true
}

// raceWrites records stores of n aligned bytes. It reports false at one that is not ordered after all that touched its
// bytes before, and where lanes store to the same bytes.
func (w *warp) raceWrites(touches []touch, n uint32) bool {
	r := &w.cta.races
	line := w.k.code[w.pc].line
	for _, t := range touches {
		if t.mark == manyLanes {
			return false
		}
		off := uint32(w.offs[t.lane&31])
		from, to, mask := off>>2, (off+n+3)>>2, byteMask(off, n)
		words := r.words[from:to]
		for j := range words {
			rec := &words[j]
			if rec.seg > w.floor && rec.mask&mask != 0 && !w.ordered(rec.seg, rec.actor, rec.lane, int(t.lane)) {
				return false
			}
			if rec.lastRead > w.floor && n >= 4 && w.unorderedReader(int(t.lane), from+uint32(j)) >= 0 {
				return false
			}
			rec.write(w.seg, line, w.id, int(t.lane), mask, writeGeneric)
		}
	}
	return true
}

// loadTogether moves the bytes at w.offs into the lanes' registers.
func (w *warp) loadTogether(in *inst, op *memOp, from []byte, m uint32) {
	switch {
	case op.quad && m == allLanes:
		d0, d1, d2, d3 := &w.r32[in.vec[0]], &w.r32[in.vec[1]], &w.r32[in.vec[2]], &w.r32[in.vec[3]]
		for l, off := range &w.offs {
			b := from[off:][:16]
			d0[l], d1[l] = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
			d2[l], d3[l] = binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
		}
	case op.size == 4 && !op.wide && m == allLanes:
		for i, r := range in.vec {
			if r < 0 {
				continue
			}
			d, b := &w.r32[r], from[4*i:]
			for l, off := range &w.offs {
				d[l] = binary.LittleEndian.Uint32(b[off:])
			}
		}
	case op.size == 8 && m == allLanes:
		for i, r := range in.vec {
			if r < 0 {
				continue
			}
			d, b := &w.r64[r], from[8*i:]
			for l, off := range &w.offs {
				d[l] = binary.LittleEndian.Uint64(b[off:])
			}
		}
	default:
		for ; m != 0; m &= m - 1 {
			l := first(m)
			w.loadLane(in, op, l, from[w.offs[l]:][:op.total])
		}
	}
}

// storeTogether is the way back.
func (w *warp) storeTogether(in *inst, op *memOp, to []byte, m uint32) {
	if op.size == 4 && !op.wide && m == allLanes {
		for i, r := range in.vec {
			s, b := &w.r32[r], to[4*i:]
			for l, off := range &w.offs {
				binary.LittleEndian.PutUint32(b[off:], s[l])
			}
		}
		return
	}
	for ; m != 0; m &= m - 1 {
		l := first(m)
		w.storeLane(in, op, l, to[w.offs[l]:][:op.total])
	}
}
