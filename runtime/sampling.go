package runtime

import "math"

// Sampling chooses the next tokens of many sequences at once. Each sequence has a slot: a row of Params, Ints, Ends,
// Counts, Bias and Mask, at fixed addresses. Row i of a batch belongs to slot Rows[i].
//
// The order is that of vLLM (v1/sample/sampler.py), on float32 logits z of one row:
//
//  1. log-probabilities are of the logits as they come: log softmax(z)
//  2. while Step < MinTokens the Ends are -Inf; with the flag Masked so is every token whose bit in Mask is 0; with Biased
//     z += Bias
//  3. with Penalised, for a token of the prompt or the output: z = z/Repetition if z > 0, else z·Repetition; then
//     z -= Frequency·count + Presence·[count > 0], counting the output alone
//  4. Temperature 0 takes the largest z (of equals the lowest id). Else z = z/Temperature, and what remains is
//     z >= max + ln MinP; of that what is at least the TopK-th largest; of that, in descending order, the least number
//     whose probabilities, renormalised, reach TopP. Equals of the last one stay.
//  5. of what remains the token of the largest z - ln E(id), E(id) = -ln(1-u) for u = Uniform(Seed, Step, id): a draw from
//     the softmax, which depends on the slot's seed and step and on nothing beside it.
//
// A temperature so low that a division by it overflows is 0. Then Counts and Step advance. A row whose logits hold a NaN
// or +Inf, at first or behind the penalties, or whose tokens are all excluded, chooses -1. A row whose slot is -1 is left
// alone, its sequence's Pos and Past too. Of the alternatives that were not asked for the id is -1 and the log-probability
// 0.
type Sampling struct {
	Slots, Vocab, Top int // Top: the most alternatives a row can report

	Params Tensor // F32 [Slots, NumParams]
	Ints   Tensor // I32 [Slots, NumInts]
	Ends   Tensor // I32 [Slots, MaxEnds], -1 where there is none
	Counts Tensor // I32 [Slots, Vocab]: times in the output; PromptToken is set for tokens of the prompt
	Bias   Tensor // F32 [Slots, Vocab]
	Mask   Tensor // I32 [Slots, MaskWords(Vocab)]: bit id%32 of word id/32

	Rows     Tensor // I32 [rows, 1]: the slot of each row, -1 for a row to leave alone
	IDs      Tensor // I32 [rows, 1]: the ids chosen, where the next step's Embed reads them
	Tokens   Tensor // I32 [rows, 1+Top]: the id chosen, then the most likely ids, -1 where fewer were asked for
	Logprobs Tensor // F32 [rows, 1+Top]: their log-probabilities
}

// Columns of Sampling.Params.
const (
	ParamTemperature = iota
	ParamTopP
	ParamMinP
	ParamRepetition
	ParamFrequency
	ParamPresence
	NumParams = 8
)

// Columns of Sampling.Ints.
const (
	IntTopK = iota
	IntSeedLow
	IntSeedHigh
	IntStep
	IntMinTokens
	IntTop // alternatives wanted; -1 for no log-probabilities at all
	IntFlags
	NumInts = 8
)

// Bits of column IntFlags.
const (
	Penalised = 1 << iota
	Biased
	Masked
)

const (
	MaxEnds     = 32
	PromptToken = math.MinInt32 // the top bit of a count
)

// MaskWords is the width of a row of Sampling.Mask.
func MaskWords(vocab int) int { return (vocab + 31) / 32 }

// SamplingBytes is the size of an arena for NewSampling.
func SamplingBytes(slots, rows, vocab, top int) int64 {
	n := ArenaBytes(slots, NumParams, F32) + ArenaBytes(slots, NumInts, I32) + ArenaBytes(slots, MaxEnds, I32)
	n += ArenaBytes(slots, vocab, I32) + ArenaBytes(slots, vocab, F32) + ArenaBytes(slots, MaskWords(vocab), I32)
	return n + 2*ArenaBytes(rows, 1, I32) + ArenaBytes(rows, 1+top, I32) + ArenaBytes(rows, 1+top, F32)
}

// NewSampling lays the state out in an arena: slots, and batches of up to rows.
func NewSampling(a *Arena, slots, rows, vocab, top int) *Sampling {
	return &Sampling{
		Slots: slots, Vocab: vocab, Top: top,
		Params: a.Tensor(slots, NumParams, F32), Ints: a.Tensor(slots, NumInts, I32), Ends: a.Tensor(slots, MaxEnds, I32),
		Counts: a.Tensor(slots, vocab, I32), Bias: a.Tensor(slots, vocab, F32), Mask: a.Tensor(slots, MaskWords(vocab), I32),
		Rows: a.Tensor(rows, 1, I32), IDs: a.Tensor(rows, 1, I32),
		Tokens: a.Tensor(rows, 1+top, I32), Logprobs: a.Tensor(rows, 1+top, F32),
	}
}

// First is the view of the state for a batch of n rows.
func (p *Sampling) First(n int) *Sampling {
	s := *p
	s.Rows, s.IDs, s.Tokens, s.Logprobs = p.Rows.Slice(0, n), p.IDs.Slice(0, n), p.Tokens.Slice(0, n), p.Logprobs.Slice(0, n)
	return &s
}

// Slot is how one sequence's tokens are chosen; off is TopP 1, MinP 0, Repetition 1, TopK 0 and 0 for the others.
type Slot struct {
	Temperature, TopP, MinP           float32
	Repetition, Frequency, Presence   float32
	TopK                              int
	Seed                              uint64
	Step, MinTokens                   int     // tokens chosen so far, and the number before which no end may come
	Top                               int     // alternatives wanted; -1: no log-probabilities at all
	Ends                              []int32 // at most MaxEnds
	PenaltiesOn, BiasOn, MaskRequired bool
}

// Set uploads a slot's parameters; Counts, Bias and Mask are the caller's to upload where their flags are set.
func (p *Sampling) Set(b Backend, slot int, v Slot) {
	params := make([]float32, NumParams)
	params[ParamTemperature], params[ParamTopP], params[ParamMinP] = v.Temperature, v.TopP, v.MinP
	params[ParamRepetition], params[ParamFrequency], params[ParamPresence] = v.Repetition, v.Frequency, v.Presence
	ints := make([]int32, NumInts)
	ints[IntTopK], ints[IntStep], ints[IntMinTokens], ints[IntTop] = int32(v.TopK), int32(v.Step), int32(v.MinTokens), int32(v.Top)
	ints[IntSeedLow], ints[IntSeedHigh] = int32(uint32(v.Seed)), int32(uint32(v.Seed>>32))
	for _, f := range []struct {
		on  bool
		bit int32
	}{{v.PenaltiesOn, Penalised}, {v.BiasOn, Biased}, {v.MaskRequired, Masked}} {
		if f.on {
			ints[IntFlags] |= f.bit
		}
	}
	ends := make([]int32, MaxEnds)
	for i := range ends {
		ends[i] = -1
	}
	copy(ends, v.Ends)
	b.Upload(p.Params.Slice(slot, slot+1), params)
	b.Upload(p.Ints.Slice(slot, slot+1), ints)
	b.Upload(p.Ends.Slice(slot, slot+1), ends)
}

// Uniform is the number in (0, 1) that decides about a token: word id%4 of Philox4x32-10 with key seed and counter
// (id/4, step, 0, 0), as (word+½)·2⁻³² in float32, below 1.
func Uniform(seed uint64, step, id uint32) float32 {
	w := Philox([4]uint32{id / 4, step}, [2]uint32{uint32(seed), uint32(seed >> 32)})[id%4]
	return min((float32(w)+0.5)*0x1p-32, 1-0x1p-24)
}

// Philox is Philox4x32-10, a counter-based random number generator (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3").
func Philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		a, b := uint64(c[0])*0xD2511F53, uint64(c[2])*0xCD9E8D57
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k[0], uint32(b), uint32(a>>32) ^ c[3] ^ k[1], uint32(a)}
		k[0] += 0x9E3779B9
		k[1] += 0xBB67AE85
	}
	return c
}
