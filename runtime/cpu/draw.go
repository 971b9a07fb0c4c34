package cpu

import (
	"math"
	"slices"
	"unsafe"
)

// draw chooses one of many tokens: z are logits divided by the temperature, p = e^(z-most), most the largest of z, and
// ids are the tokens that remain, in ascending order.
type draw struct {
	lv   *level
	w    *worker
	z, p []float32
	most float32
	low  float32 // the least of z that remains
	ids  []int32
}

const (
	leastUniform = 0x1p-33       // of what Uniform gives
	mostDelay    = 24 * math.Ln2 // -ln(1-u) of the largest
	// A token further below the largest than this loses against it whatever is drawn for both.
	hopeless = 26 // > ln(mostDelay/leastUniform)
)

// keep is point 4 of Sampling: min_p, top_k and top_p, each on what the one before leaves. sum is that of all p.
//
// Tokens that no rule can keep, or that cannot win, are left out before anything is counted; so a threshold is only looked
// for among few, as a rule.
func (d *draw) keep(minP float32, k int, share float32, sum float64) {
	floor := float64(d.most) - hopeless
	all := true // nothing was excluded before top_p
	if minP > 0 {
		floor, all = max(floor, float64(d.most)+math.Log(float64(minP))), false
	}
	limited := k > 0 && k < len(d.z)
	tops := d.tops()
	room := max(len(d.z), len(tops))
	c := cutter{entries: unsafe.Slice((*entry)(d.w.need(&d.w.scores, "entries", room*int(unsafe.Sizeof(entry{})))), room)}
	c.bins = (*[cutBins]float64)(d.w.need(&d.w.row, "bins", cutBins*8))
	low := atLeast(floor)
	switch {
	case limited && k <= len(tops):
		low = max(low, c.of(tops, nil, nil).cut(float64(k))) // of a class's largest token each
	case !limited && all && share < 1:
		// All tokens that have less than this have less than 1-share together.
		low = max(low, d.most+float32(math.Log(0.99*float64(1-share)*sum/float64(len(d.z)))))
	}
	d.gather(tops, min(low, d.most))
	if len(d.ids) == 0 { // a temperature that is no number
		return
	}
	if limited && k < len(d.ids) {
		d.drop(c.of(d.z, nil, d.ids).cut(float64(k)))
	}
	if share < 1 {
		if limited || !all {
			sum = 0
			for _, id := range d.ids {
				sum += float64(d.p[id])
			}
		}
		d.drop(c.of(d.z, d.p, d.ids).cut(float64(share) * sum))
	}
}

// atLeast is the least float32 that is not below x.
func atLeast(x float64) float32 {
	f := float32(x)
	if float64(f) < x {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// classBlock is the logits that make 16 classes: those 16 apart from each other.
const classBlock = 256

// tops is the largest logit of each class.
func (d *draw) tops() []float32 {
	whole := len(d.z) / classBlock
	n := (whole + 1) * 16
	tops := floats(d.w.need(&d.w.a, "classes", n*4), n)
	if whole > 0 {
		d.lv.classes(unsafe.Pointer(&tops[0]), unsafe.Pointer(&d.z[0]), whole)
	}
	last := tops[whole*16:]
	for i := range last {
		last[i] = float32(math.Inf(-1))
	}
	for i, v := range d.z[whole*classBlock:] {
		last[i%16] = max(last[i%16], v)
	}
	return tops
}

// gather lists the tokens of z >= low.
func (d *draw) gather(tops []float32, low float32) {
	d.low = low
	d.ids = unsafe.Slice((*int32)(d.w.need(&d.w.panel, "tokens", len(d.z)*4)), len(d.z))[:0]
	for i := 0; i < len(tops); i += 16 {
		if slices.Max(tops[i:i+16]) < low {
			continue
		}
		first := i / 16 * classBlock
		for j, v := range d.z[first:min(first+classBlock, len(d.z))] {
			if v >= low {
				d.ids = append(d.ids, int32(first+j))
			}
		}
	}
}

// drop leaves the tokens of z >= low.
func (d *draw) drop(low float32) {
	d.low = max(d.low, low)
	n := 0
	for _, id := range d.ids {
		if d.z[id] >= low {
			d.ids[n] = id
			n++
		}
	}
	d.ids = d.ids[:n]
}

// uniformState is what the kernel of uniforms goes on from: the quarter of the ids of each lane, the step and the seed.
type uniformState struct {
	counters [16]uint32
	step     uint32
	seed     [2]uint32
}

// race is the token of the largest z - ln E, E = -ln(1-u).
func (d *draw) race(seed uint64, step uint32) int {
	r := racing{draw: d, bound: 1 / mostDelay / slack, best: math.Inf(-1), winner: -1}
	if len(d.ids) > len(d.z)/8 {
		r.among(seed, step)
		return r.winner
	}
	var words [4]uint32
	group := int32(-1)
	for _, id := range d.ids {
		if d.p[id] < r.bound*leastUniform {
			continue
		}
		if id>>2 != group {
			group = id >> 2
			words[0], words[1], words[2], words[3] = philox(uint32(group), step, uint32(seed), uint32(seed>>32))
		}
		if u := uniform(words[id&3]); u*r.bound < d.p[id] {
			r.enter(int(id), u)
		}
	}
	return r.winner
}

const slack = 1.0001 // for the rounding of p

// racing is the token that leads. E >= u, so that another wins only if u·bound < p, where bound is e^(best-most): at least
// 1/mostDelay, as the largest z takes part.
type racing struct {
	*draw
	bound  float32
	best   float64
	winner int
}

// enter lets a token take the lead; of equals the lowest id has it.
func (r *racing) enter(id int, u float32) {
	x := float64(r.z[id]) - math.Log(-math.Log1p(-float64(u)))
	if x > r.best || x == r.best && id < r.winner {
		r.best, r.winner = x, id
		r.bound = max(r.bound, float32(math.Exp(r.best-float64(r.most))/slack))
	}
}

// among races all tokens of z >= low, with the uniform numbers of many at once.
func (r *racing) among(seed uint64, step uint32) {
	lanes := r.lv.lanes
	block := 4 * lanes
	const chunk = 4096
	memory := r.w.need(&r.w.c, "uniform numbers", chunk*4+int(unsafe.Sizeof(uniformState{})))
	u, state := floats(memory, chunk), (*uniformState)(at(memory, chunk))
	state.step, state.seed = step, [2]uint32{uint32(seed), uint32(seed >> 32)}
	for i := range state.counters {
		state.counters[i] = uint32(i)
	}
	for from := 0; from < len(r.p); from += chunk {
		p := r.p[from:min(from+chunk, len(r.p))]
		r.lv.uniforms(memory, unsafe.Pointer(state), (len(p)+block-1)/block)
		for first := 0; first < len(p); first += block {
			for word := range min(4, len(p)-first) {
				numbers := u[first+word*lanes:][:lanes]
				for i, id := 0, first+word; i < len(numbers) && id < len(p); i, id = i+1, id+4 {
					if numbers[i]*r.bound < p[id] && r.z[from+id] >= r.low {
						r.enter(from+id, numbers[i])
					}
				}
			}
		}
	}
}

// uniform and philox are runtime.Uniform and runtime.Philox of a counter (a, b, 0, 0), in registers.
func uniform(word uint32) float32 { return min((float32(word)+0.5)*0x1p-32, 1-0x1p-24) }

func philox(a, b, k0, k1 uint32) (uint32, uint32, uint32, uint32) {
	var c, d uint32
	for range 10 {
		x, y := uint64(a)*0xD2511F53, uint64(c)*0xCD9E8D57
		a, b, c, d = uint32(y>>32)^b^k0, uint32(y), uint32(x>>32)^d^k1, uint32(x)
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return a, b, c, d
}
