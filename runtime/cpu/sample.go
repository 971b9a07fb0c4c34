package cpu

import (
	"fmt"
	"math"
	"slices"
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
	top, ok := t.lv.argmax(w, raw)
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

// searchChunk is how many logits are compared before the largest's place is looked for.
const searchChunk = 2048

// argmax is the first of the largest logits; ok is false where one is NaN or +Inf.
func (lv *level) argmax(w *worker, z []float32) (id int, ok bool) {
	inf := float32(math.Inf(1))
	out := floats(w.tail, 64)[32:]
	tops, bits := out[:lv.lanes], unsafe.Slice((*uint32)(unsafe.Pointer(&out[16])), lv.lanes)
	top, from, whole := -inf, 0, len(z)&^15
	for i := 0; i < whole; i += searchChunk {
		lv.largest(unsafe.Pointer(&out[0]), unsafe.Pointer(&z[i]), min(searchChunk, whole-i))
		if slices.Max(bits) > math.Float32bits(inf) {
			return 0, false
		}
		if v := slices.Max(tops); v > top {
			top, from = v, i
		}
	}
	for i := whole; i < len(z); i++ {
		if z[i] != z[i] {
			return 0, false
		}
		if z[i] > top {
			top, from = z[i], i
		}
	}
	for z[from] != top {
		from++
	}
	return from, top < inf
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
		var ok bool
		if top, ok = t.lv.argmax(w, z); !ok {
			return -1
		}
	}
	if math.IsInf(float64(z[top]), -1) {
		return -1
	}
	if most := z[top] / temperature; temperature == 0 || math.IsInf(float64(most), 0) {
		return top
	}
	whole := len(z) &^ 15
	t.lv.divide(unsafe.Pointer(&z[0]), unsafe.Pointer(&z[0]), whole, temperature)
	for i := whole; i < len(z); i++ {
		z[i] /= temperature
	}
	d := draw{lv: t.lv, w: w, z: z, most: z[top]}
	var sum float64
	d.p, sum = t.weights(w, z, d.most)
	seed := uint64(uint32(ints[runtime.IntSeedLow])) | uint64(uint32(ints[runtime.IntSeedHigh]))<<32
	d.keep(params[runtime.ParamMinP], int(ints[runtime.IntTopK]), params[runtime.ParamTopP], sum)
	return d.race(seed, uint32(ints[runtime.IntStep]))
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
