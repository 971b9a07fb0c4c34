package ref

import (
	"math"
	"slices"

	"remote-client-server/runtime"
)

// Sample rounds to float32 where Sampling says that logits are float32, and compares thresholds in float64.
func (b *Backend) Sample(logits runtime.Tensor, s *runtime.Sequences, p *runtime.Sampling) {
	const op = "Sample"
	b.stack.Check(op, logits)
	shape(logits.Cols == p.Vocab && logits.Rows <= p.Rows.Rows, op, "logits %v for %d rows of %d words", logits, p.Rows.Rows, p.Vocab)
	z := b.read(logits)
	slots := b.ints(op, p.Rows.Slice(0, logits.Rows))
	seen := map[int]bool{}
	for _, slot := range slots {
		shape(slot >= -1 && slot < p.Slots && !seen[slot], op, "slot %d of %d, which one row may have", slot, p.Slots)
		seen[slot] = slot >= 0
	}
	for i, slot := range slots {
		if slot < 0 {
			continue
		}
		row := make([]float32, p.Vocab)
		for id := range row {
			row[id] = float32(z[i][id])
		}
		b.sampleRow(row, i, slot, p)
		if s != nil {
			b.increment(s.Pos.Slice(i, i+1), 0)
			b.increment(s.Past.Slice(i, i+1), 0)
		}
	}
}

func (b *Backend) increment(row runtime.Tensor, column int) {
	v, w := b.values(row)
	v[column*w]++
}

func (b *Backend) sampleRow(z []float32, i, slot int, p *runtime.Sampling) {
	of := func(t runtime.Tensor) runtime.Tensor { return t.Slice(slot, slot+1) }
	params, ints := b.read(of(p.Params))[0], b.ints("Sample", of(p.Ints))
	param := func(i int) float32 { return float32(params[i]) }
	step := ints[runtime.IntStep]
	id := -1
	raw := slices.Clone(z)
	if finite(z) {
		inf := float32(math.Inf(-1))
		if step < ints[runtime.IntMinTokens] {
			for _, end := range b.ints("Sample", of(p.Ends)) {
				if end >= 0 && end < len(z) {
					z[end] = inf
				}
			}
		}
		flags := ints[runtime.IntFlags]
		if flags&runtime.Masked != 0 {
			mask := b.ints("Sample", of(p.Mask))
			for id := range z {
				if uint32(mask[id/32])>>(id%32)&1 == 0 {
					z[id] = inf
				}
			}
		}
		if flags&runtime.Biased != 0 {
			for id, v := range b.read(of(p.Bias))[0] {
				z[id] += float32(v)
			}
		}
		if flags&runtime.Penalised != 0 {
			for id, word := range b.ints("Sample", of(p.Counts)) {
				count := word &^ runtime.PromptToken
				if word == 0 {
					continue
				}
				if r := param(runtime.ParamRepetition); z[id] > 0 {
					z[id] /= r
				} else {
					z[id] *= r
				}
				if count > 0 {
					z[id] -= float32(param(runtime.ParamFrequency)*float32(count)) + param(runtime.ParamPresence)
				}
			}
		}
		id = choose(z, params, ints)
	}
	v, w := b.values(p.Ints.Slice(slot, slot+1))
	v[runtime.IntStep*w]++
	if id >= 0 {
		b.increment(p.Counts.Slice(slot, slot+1), id)
	}
	b.write(p.IDs.Slice(i, i+1), [][]float64{{float64(id)}})
	b.report(raw, id, min(ints[runtime.IntTop], p.Top), i, p)
}

// finite says whether logits are numbers or -Inf.
func finite(z []float32) bool {
	return !slices.ContainsFunc(z, func(v float32) bool { return v != v || math.IsInf(float64(v), 1) })
}

// choose is points 4 and 5 of Sampling.
func choose(z []float32, params []float64, ints []int) int {
	if !finite(z) {
		return -1
	}
	best := slices.Index(z, slices.Max(z))
	if math.IsInf(float64(z[best]), -1) {
		return -1
	}
	t := float32(params[runtime.ParamTemperature])
	if t == 0 || math.IsInf(float64(z[best]/t), 0) {
		return best
	}
	var left []int // what remains, in descending order
	for id := range z {
		z[id] /= t
		left = append(left, id)
	}
	slices.SortStableFunc(left, func(a, b int) int {
		switch {
		case z[a] > z[b]:
			return -1
		case z[a] < z[b]:
			return 1
		}
		return 0
	})
	top := float64(z[best])
	keep := func(n int) { // the first n and the equals of the last of them
		for n < len(left) && z[left[n]] == z[left[n-1]] {
			n++
		}
		left = left[:n]
	}
	if m := params[runtime.ParamMinP]; m > 0 {
		left = left[:slices.IndexFunc(append(slices.Clone(left), -1), func(id int) bool {
			return id < 0 || float64(z[id]) < top+math.Log(m)
		})]
	}
	if k := ints[runtime.IntTopK]; k > 0 && k < len(left) {
		keep(k)
	}
	if p := params[runtime.ParamTopP]; p < 1 {
		total := 0.0
		for _, id := range left {
			total += math.Exp(float64(z[id]) - top)
		}
		n, sum := 0, 0.0
		for n == 0 || n < len(left) && sum < p*total {
			sum += math.Exp(float64(z[left[n]]) - top)
			n++
		}
		keep(n)
	}
	seed := uint64(uint32(ints[runtime.IntSeedLow])) | uint64(uint32(ints[runtime.IntSeedHigh]))<<32
	slices.Sort(left)
	winner, first := math.Inf(-1), -1
	for _, id := range left {
		u := float64(runtime.Uniform(seed, uint32(ints[runtime.IntStep]), uint32(id)))
		if v := float64(z[id]) - math.Log(-math.Log1p(-u)); v > winner {
			winner, first = v, id
		}
	}
	return first
}

// report writes the chosen token and the most likely ones with their log-probabilities; where nothing belongs, -1 and 0.
func (b *Backend) report(z []float32, id, top, i int, p *runtime.Sampling) {
	tokens, logprobs := matrix(1, 1+p.Top), matrix(1, 1+p.Top)
	for j := range tokens[0] {
		tokens[0][j] = -1
	}
	tokens[0][0] = float64(id)
	if id >= 0 && top >= 0 {
		p64 := make([]float64, len(z))
		order := make([]int, len(z))
		total, most := 0.0, float64(slices.Max(z))
		for id, v := range z {
			p64[id], order[id] = float64(v), id
			total += math.Exp(float64(v) - most)
		}
		logprobs[0][0] = p64[id] - most - math.Log(total)
		slices.SortStableFunc(order, func(a, b int) int {
			if p64[a] > p64[b] {
				return -1
			} else if p64[a] < p64[b] {
				return 1
			}
			return 0
		})
		for j := range min(top, len(z)) {
			tokens[0][1+j] = float64(order[j])
			logprobs[0][1+j] = p64[order[j]] - most - math.Log(total)
		}
	}
	b.write(p.Tokens.Slice(i, i+1), tokens)
	b.write(p.Logprobs.Slice(i, i+1), logprobs)
}
