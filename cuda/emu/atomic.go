package emu

import (
	"encoding/binary"
	"math"
)

// atomicOp is an atom or red on one or more elements.
type atomicOp struct {
	fn   func(old, b, c uint64) uint64
	n    int // elements
	size uint64
	dst  bool
	cas  bool
	mem  memOp
}

// atomic is atom and red. Lanes run one after the other, in order; blocks exclude each other with one lock, which also
// orders what they did before.
func (d *decoder) atomic() {
	in, op := d.in, d.f.op
	in.class = ClassAtomic
	a := &atomicOp{dst: op[0] == "atom", n: 1}
	t := d.last()
	class, n, ok := typeBits(t)
	if !ok || n < 16 || n > 64 {
		d.errorf("type %q of %s", t, d.opcode())
		return
	}
	if d.has("v2") {
		a.n = 2
	} else if d.has("v4") {
		a.n = 4
	}
	a.size = uint64(n / 8)
	a.mem = memOp{space: d.spaceOf()}
	args := d.f.args
	if d.has("L2::cache_hint") && len(args) > 0 {
		args = args[:len(args)-1]
	}
	if a.dst {
		if len(args) < 1 {
			d.errorf("operands of %s", d.opcode())
			return
		}
		args = args[1:]
	}
	for _, name := range op[1:] {
		if name == "cas" {
			a.cas = true
		}
	}
	want := 2
	if a.cas {
		want = 3
	}
	if len(args) != want {
		d.errorf("%s with %d operands", d.opcode(), len(d.f.args))
		return
	}
	for _, name := range op[1:] {
		if f := atomicFunc(d, name, t, class, n); f != nil {
			a.fn = f
		}
	}
	if a.fn == nil {
		d.errorf("instruction %s is not supported", d.opcode())
		return
	}
	bk := bankOf(n)
	in.vec = make([]int32, 3*a.n) // destinations, operands, second operands
	for i := range in.vec {
		in.vec[i] = -1
	}
	if a.dst && d.f.args[0].kind != argSink {
		d.vec(d.f.args[0], bk, true, in.vec[:a.n])
	}
	d.memory(args[0], &a.mem)
	value := func(v arg, regs []int32) {
		if v.kind == argVec {
			d.vec(v, bk, false, regs)
		} else if len(regs) == 1 {
			d.source(v, bk, class == 'f', n, &regs[0])
		} else {
			d.errorf("operands of %s", d.opcode())
		}
	}
	value(args[1], in.vec[a.n:2*a.n])
	if a.cas {
		value(args[2], in.vec[2*a.n:])
	}
	in.x, in.exec = a, execAtomic
}

func atomicFunc(d *decoder, name, t string, class byte, n int) func(old, b, c uint64) uint64 {
	switch name {
	case "exch":
		return func(_, b, _ uint64) uint64 { return b }
	case "cas":
		return func(old, b, c uint64) uint64 {
			if old == b {
				return c
			}
			return old
		}
	case "and":
		return func(old, b, _ uint64) uint64 { return old & b }
	case "or":
		return func(old, b, _ uint64) uint64 { return old | b }
	case "xor":
		return func(old, b, _ uint64) uint64 { return old ^ b }
	case "inc":
		return func(old, b, _ uint64) uint64 {
			if old >= b {
				return 0
			}
			return old + 1
		}
	case "dec":
		return func(old, b, _ uint64) uint64 {
			if old == 0 || old > b {
				return b
			}
			return old - 1
		}
	case "add", "min", "max":
		var f laneFunc
		if class == 'f' {
			if f = floatFunc(d, name, t); t == "f32" { // flushes subnormals in global memory
				g := f
				f = func(x, y, z uint64) uint64 { return g(x, y, z) & math.MaxUint32 }
			}
		} else {
			f = intFunc(name, n, class == 's', false)
		}
		return f
	}
	return nil
}

func execAtomic(w *warp, in *inst, m uint32) {
	a := in.x.(*atomicOp)
	w.addresses(in, a.mem.base64, m)
	for _, s := range [...]space{spGlobal, spShared, spLocal, spParam} {
		part := m
		if a.mem.space == spGeneric {
			part = w.window(s, m)
			m &^= part
		} else if s != a.mem.space {
			continue
		}
		switch {
		case part == 0:
		case s == spShared:
			w.atomicShared(in, a, part)
		case s == spGlobal:
			w.atomicGlobal(in, a, part)
		default:
			w.fail(BadOperand, first(part), "atomic on %v memory", s)
		}
	}
}

func (w *warp) atomicGlobal(in *inst, a *atomicOp, m uint32) {
	cl, size := w.cta.cl, a.size*uint64(a.n)
	if cl.launch.Profile {
		w.profileGlobal(&w.addr64, m, size)
	}
	w.cta.ordered = true
	cl.events++
	cl.dev.syncMu.Lock()
	defer cl.dev.syncMu.Unlock()
	for ; m != 0; m &= m - 1 {
		l := first(m)
		g := w.findGlobal(l, w.addr64[l], size)
		off := w.addr64[l] - g.base
		if g.readOnly {
			w.fail(ReadOnly, l, "atomic on constant variable %s", g.name)
		}
		w.globalRead(g, l, off, size)
		w.atomicLane(in, a, l, g.data[off:off+size])
	}
}

func (w *warp) atomicShared(in *inst, a *atomicOp, m uint32) {
	size := a.size * uint64(a.n)
	r := &w.cta.races
	w.acquire(r.atomics, r.proxied)
	for k := m; k != 0; k &= k - 1 {
		l := first(k)
		c, off := w.sharedAt(l, w.addr64[l], size, size)
		if c == w.cta && r.on {
			w.raceWrite(l, off, uint32(size), writeAtomic)
		}
		for i, s := range c.sharedS[off : uint64(off)+size] {
			if s == 0 {
				w.fail(Uninitialised, l, "shared byte %d", off+uint32(i)+sharedBase)
			}
		}
		w.atomicLane(in, a, l, c.shared[off:uint64(off)+size])
	}
	w.release(r.atomics, r.proxied)
	w.cta.cl.events++
}

func (w *warp) atomicLane(in *inst, a *atomicOp, l int, b []byte) {
	wide := a.size == 8
	for i := range a.n {
		p := b[uint64(i)*a.size:]
		var old uint64
		switch a.size {
		case 2:
			old = uint64(binary.LittleEndian.Uint16(p))
		case 4:
			old = uint64(binary.LittleEndian.Uint32(p))
		default:
			old = binary.LittleEndian.Uint64(p)
		}
		v := a.fn(old, w.lane(in.vec[a.n+i], wide, l), w.lane(in.vec[2*a.n+i], wide, l))
		switch a.size {
		case 2:
			binary.LittleEndian.PutUint16(p, uint16(v))
		case 4:
			binary.LittleEndian.PutUint32(p, uint32(v))
		default:
			binary.LittleEndian.PutUint64(p, v)
		}
		if r := in.vec[i]; r >= 0 {
			w.setLane(r, wide, l, old)
		}
	}
}
