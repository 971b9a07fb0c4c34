package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"remote-client-server/runtime"
)

// sampling is one call of Sample. Rows are tasks; a row's work is a few passes over its logits, each of them one loop.
type sampling struct {
	*runtime.Sampling
	lv     *level
	logits rows
	vocab  int

	params, ints, ends, counts, bias, mask, ids, tokens, logprobs rows
}

func (b *Backend) Sample(logits runtime.Tensor, s *runtime.Sequences, p *runtime.Sampling) {
	t, slots := b.samplingOf(logits, s, p)
	b.pool.tasks(len(slots), func(w *worker, i int) {
		if slots[i] >= 0 {
			t.row(w, i, slots[i])
		}
	})
	if s == nil || b.pool.abandoned.Load() {
		return
	}
	pos, past := view(s.Pos), view(s.Past)
	for i, slot := range slots {
		if slot >= 0 {
			*(*int32)(pos.row(i))++
			*(*int32)(past.row(i))++
		}
	}
}

// samplingOf checks the operands; slots is the slot of each row.
func (b *Backend) samplingOf(logits runtime.Tensor, s *runtime.Sequences, p *runtime.Sampling) (t *sampling, slots []int) {
	const op = "Sample"
	fail := func(format string, args ...any) {
		panic(runtime.ShapeError{Op: op, Detail: fmt.Sprintf(format, args...)})
	}
	b.check(op, runtime.F32, logits)
	n := logits.Rows
	if logits.Cols != p.Vocab || p.Vocab < 1 {
		fail("logits %v of %d words", logits, p.Vocab)
	}
	for _, x := range []struct {
		t          runtime.Tensor
		dtype      runtime.DType
		rows, cols int
	}{
		{p.Params, runtime.F32, p.Slots, runtime.NumParams}, {p.Ints, runtime.I32, p.Slots, runtime.NumInts},
		{p.Ends, runtime.I32, p.Slots, runtime.MaxEnds}, {p.Counts, runtime.I32, p.Slots, p.Vocab},
		{p.Bias, runtime.F32, p.Slots, p.Vocab}, {p.Mask, runtime.I32, p.Slots, runtime.MaskWords(p.Vocab)},
		{p.Rows, runtime.I32, n, 1}, {p.IDs, runtime.I32, n, 1},
		{p.Tokens, runtime.I32, n, 1 + p.Top}, {p.Logprobs, runtime.F32, n, 1 + p.Top},
	} {
		b.check(op, x.dtype, x.t)
		if x.t.Rows < x.rows || x.t.Cols != x.cols {
			fail("%v where [%d,%d] belongs", x.t, x.rows, x.cols)
		}
	}
	if s != nil {
		b.check(op, runtime.I32, s.Pos, s.Past)
		if s.Pos.Rows < n || s.Past.Rows < n {
			fail("positions %v and %v for %d rows", s.Pos, s.Past, n)
		}
	}
	slotOf, taken := ints(p.Rows, 0), make([]bool, p.Slots)
	for i := range n {
		slot := slotOf(i)
		if slot < -1 || slot >= p.Slots || slot >= 0 && taken[slot] {
			fail("slot %d of %d in row %d; each is one row's", slot, p.Slots, i)
		}
		if slot >= 0 {
			taken[slot] = true
		}
		slots = append(slots, slot)
	}
	return &sampling{
		Sampling: p, lv: b.level, logits: view(logits), vocab: p.Vocab,
		params: view(p.Params), ints: view(p.Ints), ends: view(p.Ends), counts: view(p.Counts), bias: view(p.Bias),
		mask: view(p.Mask), ids: view(p.IDs), tokens: view(p.Tokens), logprobs: view(p.Logprobs),
	}, slots
}

func int32s(p unsafe.Pointer, n int) []int32 { return unsafe.Slice((*int32)(p), n) }

// row chooses the token of row i and moves its slot on.
func (t *sampling) row(w *worker, i, slot int) {
	raw, ints := floats(t.logits.row(i), t.vocab), int32s(t.ints.row(slot), runtime.NumInts)
	id := -1
	top, ok := largest(raw)
	if ok {
		id = t.choose(w, raw, top, slot)
	}
	*(*int32)(t.ids.row(i)) = int32(id)
	tokens, logprobs := int32s(t.tokens.row(i), 1+t.Top), floats(t.logprobs.row(i), 1+t.Top)
	for j := range tokens {
		tokens[j] = -1
	}
	clear(logprobs)
	tokens[0] = int32(id)
	if wanted := int(ints[runtime.IntTop]); id >= 0 && wanted >= 0 {
		norm := t.logSum(w, raw, raw[top])
		logprobs[0] = float32(float64(raw[id]) - norm)
		for j, id := range likeliest(raw, min(wanted, t.Top)) {
			tokens[1+j] = id
			logprobs[1+j] = float32(float64(raw[id]) - norm)
		}
	}
	ints[runtime.IntStep]++
	if id >= 0 {
		int32s(t.counts.row(slot), t.vocab)[id]++
	}
}

// largest is the first of the largest logits; ok is false where one is NaN or +Inf.
func largest(z []float32) (id int, ok bool) {
	top := float32(math.Inf(-1))
	for i, v := range z {
		if v > top {
			id, top = i, v
		} else if v != v {
			return 0, false
		}
	}
	return id, top <= math.MaxFloat32
}

// logSum is ln Σ e^z.
func (t *sampling) logSum(w *worker, z []float32, top float32) float64 {
	_, sum := t.weights(w, z, top)
	return float64(top) + math.Log(sum)
}

// sumChunk is how many weights are added up in float32.
const sumChunk = 4096

// weights is e^(z-top) and its sum, in the worker's memory.
func (t *sampling) weights(w *worker, z []float32, top float32) ([]float32, float64) {
	n := roundUp(len(z), 16)
	p := floats(w.need(&w.values, "weights", n*4), n)
	copy(p, z)
	for i := len(z); i < n; i++ {
		p[i] = float32(math.Inf(-1))
	}
	sum := 0.0
	state := (*softmaxState)(unsafe.Pointer(&floats(w.tail, 64)[32]))
	for i := 0; i < n; i += sumChunk {
		*state = softmaxState{max: top}
		t.lv.softmax(unsafe.Pointer(&p[i]), unsafe.Pointer(state), 1, min(sumChunk, n-i))
		sum += float64(state.sum)
	}
	return p[:len(z)], sum
}

// likeliest is the ids of the n largest logits in descending order, of equals the lower id first.
func likeliest(z []float32, n int) []int32 {
	ids := make([]int32, 0, n+1)
	if n == 0 {
		return ids
	}
	for id, v := range z {
		if len(ids) == n && v <= z[ids[n-1]] {
			continue
		}
		j := len(ids)
		ids = append(ids, int32(id))
		for ; j > 0 && v > z[ids[j-1]]; j-- {
			ids[j] = ids[j-1]
		}
		ids[j] = int32(id)
		ids = ids[:min(len(ids), n)]
	}
	return ids
}

// choose is points 2 to 5 of Sampling; raw is finite or -Inf, the largest at top.
func (t *sampling) choose(w *worker, raw []float32, top, slot int) int {
	params, ints := floats(t.params.row(slot), runtime.NumParams), int32s(t.ints.row(slot), runtime.NumInts)
	early, temperature := ints[runtime.IntStep] < ints[runtime.IntMinTokens], params[runtime.ParamTemperature]
	z := raw
	if early || ints[runtime.IntFlags] != 0 || temperature != 0 {
		z = floats(w.need(&w.keys, "logits", t.vocab*4), t.vocab)
		copy(z, raw)
	}
	if early || ints[runtime.IntFlags] != 0 {
		t.process(z, slot, early)
		top, _ = largest(z)
	}
	if math.IsInf(float64(z[top]), -1) {
		return -1
	}
	if most := z[top] / temperature; temperature == 0 || math.IsInf(float64(most), 0) {
		return top
	}
	for i := range z {
		z[i] /= temperature
	}
	most := z[top]
	p, _ := t.weights(w, z, most)
	low := float32(math.Inf(-1))
	if m := params[runtime.ParamMinP]; m > 0 {
		low = atLeast(float64(most) + math.Log(float64(m)))
	}
	c := cutter{z: z, bins: (*[cutBins]float64)(w.need(&w.row, "bins", cutBins*8))}
	c.entries = unsafe.Slice((*entry)(w.need(&w.scores, "entries", t.vocab*int(unsafe.Sizeof(entry{})))), t.vocab)
	if k := int(ints[runtime.IntTopK]); k > 0 && k < t.vocab {
		low = c.cut(low, float64(k))
	}
	if share := params[runtime.ParamTopP]; share < 1 {
		c.p = p
		low = c.cut(low, float64(share)*c.weight(low))
	}
	seed := uint64(uint32(ints[runtime.IntSeedLow])) | uint64(uint32(ints[runtime.IntSeedHigh]))<<32
	return race(z, p, low, most, seed, uint32(ints[runtime.IntStep]))
}

// atLeast is the least float32 that is not below x.
func atLeast(x float64) float32 {
	f := float32(x)
	if float64(f) < x {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// process excludes, biases and penalises: points 2 and 3.
func (t *sampling) process(z []float32, slot int, early bool) {
	inf := float32(math.Inf(-1))
	if early {
		for _, end := range int32s(t.ends.row(slot), runtime.MaxEnds) {
			if end >= 0 && int(end) < len(z) {
				z[end] = inf
			}
		}
	}
	flags := int32s(t.ints.row(slot), runtime.NumInts)[runtime.IntFlags]
	if flags&runtime.Masked != 0 {
		for i, word := range int32s(t.mask.row(slot), runtime.MaskWords(len(z))) {
			if word == -1 {
				continue
			}
			for bit := range min(32, len(z)-32*i) {
				if uint32(word)>>bit&1 == 0 {
					z[32*i+bit] = inf
				}
			}
		}
	}
	if flags&runtime.Biased != 0 {
		for i, v := range floats(t.bias.row(slot), len(z)) {
			z[i] += v
		}
	}
	if flags&runtime.Penalised != 0 {
		params := floats(t.params.row(slot), runtime.NumParams)
		repetition, frequency, presence := params[runtime.ParamRepetition], params[runtime.ParamFrequency], params[runtime.ParamPresence]
		for i, word := range int32s(t.counts.row(slot), len(z)) {
			if word == 0 {
				continue
			}
			if z[i] > 0 {
				z[i] /= repetition
			} else {
				z[i] *= repetition
			}
			if count := word &^ math.MinInt32; count > 0 {
				z[i] -= float32(frequency*float32(count)) + presence
			}
		}
	}
}

// uniform is runtime.Uniform of a word of Philox.
func uniform(word uint32) float32 { return min((float32(word)+0.5)*0x1p-32, 1-0x1p-24) }

// race is the token of z >= low with the largest z - ln E(id), p being e^(z-most).
func race(z, p []float32, low, most float32, seed uint64, step uint32) int {
	// E(id) >= u, so that a token wins only if u·bound < p, where bound is e^(best-most). The largest z takes part, and no E
	// is above 24·ln 2.
	const least = 0x1p-33 // of u
	const slack = 1.0001  // for the rounding of p
	bound := float32(1 / (24 * math.Ln2) / slack)
	best, winner := math.Inf(-1), -1
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for i := 0; i < len(z); i += 4 {
		n := min(4, len(z)-i)
		group := p[i:][:n]
		none := true
		for _, v := range group {
			none = none && v < bound*least
		}
		if none {
			continue
		}
		words := runtime.Philox([4]uint32{uint32(i / 4), step}, key)
		for j, v := range group {
			u := uniform(words[j])
			if z[i+j] < low || u*bound >= v {
				continue
			}
			if x := float64(z[i+j]) - math.Log(-math.Log1p(-float64(u))); x > best {
				best, winner = x, i+j
				bound = max(bound, float32(math.Exp(best-float64(most))/slack))
			}
		}
	}
	return winner
}
