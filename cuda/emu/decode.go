package emu

//go:generate go run gen.go

import "slices"

// hotOp is an instruction with a loop of its own: its function, the banks of destination and sources, its class.
type hotOp struct {
	exec  func(w *warp, in *inst, m uint32)
	sig   string
	class Class
}

// allLanes is the mask of a full warp.
const allLanes = 1<<32 - 1

// decode fills in d.in from d.f.
func (d *decoder) decode() {
	if h, ok := hotOps[d.opcode()]; ok && !d.packs() {
		d.hot(h)
		return
	}
	f, ok := families[d.f.op[0]]
	if !ok {
		d.errorf("instruction %s is not known", d.opcode())
		return
	}
	f(d)
	if d.in.exec == nil && d.err == nil {
		d.errorf("instruction %s is not supported", d.opcode())
	}
}

// families finds the decoder of a base opcode.
var families map[string]func(*decoder)

func init() {
	makeLaneBases()
	families = map[string]func(*decoder){
		"mov": (*decoder).mov, "cvta": (*decoder).cvta, "isspacep": (*decoder).isspacep, "nop": (*decoder).nop,
		"setp": (*decoder).setp, "set": (*decoder).set, "slct": (*decoder).lanewise,
		"bra": (*decoder).branch, "brx": (*decoder).branch, "exit": (*decoder).exit, "trap": (*decoder).trap, "brkpt": (*decoder).trap,
		"ld": (*decoder).load, "ldu": (*decoder).load, "st": (*decoder).store, "atom": (*decoder).atomic, "red": (*decoder).atomic,
		"prefetch": (*decoder).prefetch, "prefetchu": (*decoder).prefetch, "createpolicy": (*decoder).createPolicy,
		"applypriority": (*decoder).prefetch, "discard": (*decoder).prefetch,
		"shfl": (*decoder).shuffle, "vote": (*decoder).vote, "match": (*decoder).match, "redux": (*decoder).redux,
		"activemask": (*decoder).activemask, "elect": (*decoder).elect,
		"bar": (*decoder).barrier, "barrier": (*decoder).barrier, "membar": (*decoder).fence, "fence": (*decoder).fence,
		"ldmatrix": (*decoder).ldmatrix, "stmatrix": (*decoder).stmatrix, "movmatrix": (*decoder).movmatrix, "mma": (*decoder).mma,
		"cp": (*decoder).copyAsync, "mbarrier": (*decoder).mbarrier, "wgmma": (*decoder).wgmma,
		"setmaxnreg": (*decoder).setMaxRegisters, "griddepcontrol": (*decoder).nop, "nanosleep": (*decoder).nop, "pmevent": (*decoder).nop,
		"mapa": (*decoder).mapa, "getctarank": (*decoder).mapa, "cvt": (*decoder).convert, "szext": (*decoder).lanewise,
	}
	for base := range laneBases {
		if families[base] == nil {
			families[base] = (*decoder).lanewise
		}
	}
}

// packs reports whether a mov takes a vector apart or puts one together.
func (d *decoder) packs() bool {
	if d.f.op[0] != "mov" {
		return false
	}
	return slices.ContainsFunc(d.f.args, func(a arg) bool { return a.kind == argVec })
}

var sigTypes = map[byte]string{'w': "b32", 'f': "f32", 'l': "b64", 'd': "f64", 'h': "b16", 'p': "pred"}

func (d *decoder) hot(h hotOp) {
	d.count(len(h.sig), len(h.sig))
	if d.err != nil {
		return
	}
	in := d.in
	in.exec, in.class = h.exec, h.class
	if h.sig[0] == 'p' && d.arg(0).kind == argPair { // setp with two destinations
		d.setp()
		return
	}
	fields := []*int32{&in.d, &in.a, &in.b, &in.c}
	for i := range h.sig {
		switch typ := sigTypes[h.sig[i]]; {
		case i == 0 && typ == "pred":
			d.dst(d.arg(0), bankPred, &in.d)
		case i == 0:
			_, bits, _ := typeBits(typ)
			d.dst(d.arg(0), bankOf(bits), &in.d)
		case typ == "pred" && d.f.op[0] == "selp":
			d.pred(d.arg(i), &in.p, &in.pneg)
		case typ == "pred":
			var neg bool
			d.pred(d.arg(i), fields[i], &neg)
			if neg {
				d.predLogic()
				return
			}
		default:
			d.src(d.arg(i), typ, fields[i])
		}
	}
}

// predLogic is and, or, xor, not and mov of predicates with negated operands.
func (d *decoder) predLogic() {
	in := d.in
	var na, nb bool
	d.refs = d.refs[:0]
	if in.guard >= 0 {
		d.add(&in.guard, d.f.guard, false)
	}
	d.dst(d.arg(0), bankPred, &in.d)
	d.pred(d.arg(1), &in.a, &na)
	in.b = in.a
	if len(d.f.args) > 2 {
		d.pred(d.arg(2), &in.b, &nb)
	} else {
		d.pred(d.arg(1), &in.b, new(bool))
	}
	base := d.f.op[0]
	in.class = ClassCompare
	in.exec = func(w *warp, in *inst, m uint32) {
		a, b := w.pred[in.a], w.pred[in.b]
		if na {
			a = ^a
		}
		if nb {
			b = ^b
		}
		switch base {
		case "and":
			a &= b
		case "or":
			a |= b
		case "xor":
			a ^= b
		case "not":
			a = ^a
		}
		w.pred[in.d] = w.pred[in.d]&^m | a&m
	}
}

func (d *decoder) nop() {
	d.in.class = ClassControl
	d.in.exec = func(*warp, *inst, uint32) {}
}

func (d *decoder) trap() {
	d.in.class = ClassControl
	d.in.exec = func(w *warp, in *inst, m uint32) { w.fail(Trap, first(m), "the kernel executed trap") }
}

func (d *decoder) branch() {
	in := d.in
	in.kind, in.class, in.targets = kindBranch, ClassControl, d.f.targets
	in.exec = func(*warp, *inst, uint32) {}
	if d.f.op[0] == "brx" {
		if in.guard >= 0 {
			d.errorf("brx.idx with a guard is not supported")
		}
		d.src(d.arg(0), "u32", &in.a)
		in.target = -1
		return
	}
	in.target = in.targets[0]
}

func (d *decoder) exit() {
	d.in.kind, d.in.class = kindExit, ClassControl
	d.in.exec = func(*warp, *inst, uint32) {}
}
