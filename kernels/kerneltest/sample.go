package kerneltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"remote-client-server/cuda"
	"remote-client-server/kernels"
	"remote-client-server/runtime"
)

// sampleCases are those of the kernels that end a decode step.
func sampleCases() []Case {
	var all []Case
	for _, c := range drawCases {
		all = append(all, Case{c.name, "sample", c.drawing.run})
	}
	for _, c := range copyCases {
		all = append(all, Case{c.name, "copy_blocks", c.copying.run})
	}
	return all
}

// drawing is one row between two that are left alone; all logits but those of high are -1-(id%7)/8.
type drawing struct {
	vocab   int
	params  map[int]float32 // by column; TopP and Repetition are 1 where they are not given
	ints    map[int]int32
	high    map[int]float32
	masked  []int // ids excluded, with the flag
	counted []int // ids of the output, once each, with the flag
	want    []int // one of them is chosen
	top     []int // the alternatives
}

func (c drawing) run(m *Machine) error {
	k := kernels.Find("sample")
	const rows, slots, row, slot, top = 3, 2, 1, 1, 5
	logits := make([]float64, rows*c.vocab)
	for i := range logits {
		logits[i] = -1 - float64(i%c.vocab%7)/8
	}
	z := logits[row*c.vocab:][:c.vocab]
	for id, v := range c.high {
		z[id] = float64(v)
	}
	x, err := m.Place(rows, c.vocab, c.vocab+3, 1, runtime.F32, logits)
	if err != nil {
		return err
	}
	params, ints := make([]float32, slots*runtime.NumParams), make([]int32, slots*runtime.NumInts)
	p, n := params[slot*runtime.NumParams:], ints[slot*runtime.NumInts:]
	p[runtime.ParamTopP], p[runtime.ParamRepetition] = 1, 1
	for i, v := range c.params {
		p[i] = v
	}
	n[runtime.IntTop] = int32(len(c.top))
	for i, v := range c.ints {
		n[i] = v
	}
	ends, counts, mask := make([]int32, slots*runtime.MaxEnds), make([]int32, slots*c.vocab), make([]int32, slots*runtime.MaskWords(c.vocab))
	for i := range ends {
		ends[i] = -1
	}
	for i := range mask {
		mask[i] = -1
	}
	for _, id := range c.masked {
		mask[runtime.MaskWords(c.vocab)+id/32] &^= 1 << (id % 32)
	}
	for _, id := range c.counted {
		counts[c.vocab+id] = 1
	}
	a := &kernels.Sample{Logits: x.Ptr, N: rows, Slots: slots, Vocab: int32(c.vocab), Top: top, LD: int32(x.LD), LDWork: int32((c.vocab + 3) / 4 * 4)}
	work, err := m.Random(rows, int(a.LDWork), int(a.LDWork), 0, runtime.F32, 1)
	if err != nil {
		return err
	}
	a.Work = work.Ptr
	bits := make([]int32, len(params))
	for i, v := range params {
		bits[i] = int32(math.Float32bits(v))
	}
	for _, place := range []func() error{
		func() (err error) { a.Params, err = m.Ints(bits); return },
		func() (err error) { a.Ints, err = m.Ints(ints); return },
		func() (err error) { a.Ends, err = m.Ints(ends); return },
		func() (err error) { a.Counts, err = m.Ints(counts); return },
		func() (err error) { a.Bias, err = m.Ints(make([]int32, slots*c.vocab)); return },
		func() (err error) { a.Mask, err = m.Ints(mask); return },
		func() (err error) { a.Rows, err = m.Ints([]int32{-1, slot, slots}); return },
		func() (err error) { a.IDs, err = m.Ints([]int32{7, 7, 7}); return },
		func() (err error) { a.Tokens, err = m.Ints(make([]int32, rows*(1+top))); return },
		func() (err error) { a.Logprobs, err = m.Ints(make([]int32, rows*(1+top))); return },
		func() (err error) { a.Pos, err = m.Ints([]int32{5, 6, 7}); return },
		func() (err error) { a.Past, err = m.Ints([]int32{15, 16, 17}); return },
	} {
		if err := place(); err != nil {
			return err
		}
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	ids, err := m.readInts(a.IDs, rows)
	if err != nil {
		return err
	}
	id := int(ids[row])
	if ids[0] != 7 || ids[2] != 7 || !slices.Contains(c.want, id) {
		return fmt.Errorf("ids %v, want one of %v between two of 7", ids, c.want)
	}
	tokens, err := m.readInts(a.Tokens, rows*(1+top))
	if err != nil {
		return err
	}
	want := make([]int32, rows*(1+top))
	mine := want[row*(1+top):][:1+top]
	for i := range mine {
		mine[i] = -1
	}
	mine[0] = int32(id)
	for i, t := range c.top {
		mine[1+i] = int32(t)
	}
	if !slices.Equal(tokens, want) {
		return fmt.Errorf("tokens %v, want %v", tokens, want)
	}
	logprobs, err := m.readInts(a.Logprobs, rows*(1+top))
	if err != nil {
		return err
	}
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(v)
	}
	for i, t := range mine {
		want := 0.0
		if t >= 0 && id >= 0 {
			want = z[t] - math.Log(sum)
		}
		if got := float64(math.Float32frombits(uint32(logprobs[row*(1+top)+i]))); !(math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))) {
			return fmt.Errorf("log-probability %d is %g, want %g", i, got, want)
		}
	}
	if id >= 0 {
		counts[c.vocab+id]++
	}
	ints[slot*runtime.NumInts+runtime.IntStep]++
	for _, s := range []struct {
		name string
		at   func() ([]int32, error)
		want []int32
	}{
		{"counts", func() ([]int32, error) { return m.readInts(a.Counts, len(counts)) }, counts},
		{"steps", func() ([]int32, error) { return m.readInts(a.Ints, len(ints)) }, ints},
		{"positions", func() ([]int32, error) { return m.readInts(a.Pos, rows) }, []int32{5, 7, 7}},
		{"lengths", func() ([]int32, error) { return m.readInts(a.Past, rows) }, []int32{15, 17, 17}},
	} {
		if got, err := s.at(); err != nil || !slices.Equal(got, s.want) {
			return fmt.Errorf("%s %v, want %v (%v)", s.name, got[:min(len(got), 20)], s.want[:min(len(s.want), 20)], err)
		}
	}
	return nil
}

var (
	warm   = map[int]float32{runtime.ParamTemperature: 1}
	nan    = float32(math.NaN())
	sevens = func(n int) (ids []int) { // those of the largest logit where none is high
		for id := 0; id < n; id += 7 {
			ids = append(ids, id)
		}
		return ids
	}
)

func with(params map[int]float32, column int, v float32) map[int]float32 {
	all := map[int]float32{column: v}
	for i, x := range params {
		if i != column {
			all[i] = x
		}
	}
	return all
}

var drawCases = []struct {
	name string
	drawing
}{
	{"greedy, of equals the lowest id", drawing{vocab: 70, high: map[int]float32{12: 2, 41: 2, 66: 2}, want: []int{12}, top: []int{12, 41, 66}}},
	{"one word", drawing{vocab: 1, want: []int{0}, top: []int{0}}},
	{"the last word", drawing{vocab: 4099, high: map[int]float32{4098: 1, 4097: 0.5}, want: []int{4098}, top: []int{4098, 4097, 0, 7, 14}}},
	{"a NaN", drawing{vocab: 70, high: map[int]float32{50: nan}, want: []int{-1}}},
	{"+Inf", drawing{vocab: 70, high: map[int]float32{50: float32(math.Inf(1))}, want: []int{-1}}},
	{"zeros of both signs are equal", drawing{vocab: 70, high: map[int]float32{9: float32(math.Copysign(0, -1)), 12: 0}, want: []int{9}, top: []int{9, 12}}},
	{"the largest is masked", drawing{vocab: 70, high: map[int]float32{20: 2, 41: 1}, ints: map[int]int32{runtime.IntFlags: runtime.Masked}, masked: []int{20}, want: []int{41}, top: []int{20, 41}}},
	{"a penalty for what was there", drawing{vocab: 70, high: map[int]float32{12: 2, 41: 1.5}, counted: []int{12}, params: map[int]float32{runtime.ParamPresence: 0.25, runtime.ParamFrequency: 0.5},
		ints: map[int]int32{runtime.IntFlags: runtime.Penalised}, want: []int{41}, top: []int{12, 41}}},
	{"top_k with equals of the last", drawing{vocab: 70, params: warm, high: map[int]float32{12: 3, 41: 2, 66: 2}, ints: map[int]int32{runtime.IntTopK: 2}, want: []int{12, 41, 66}, top: []int{12, 41}}},
	{"top_k among more equals than candidates", drawing{vocab: 8000, params: warm, ints: map[int]int32{runtime.IntTopK: 5}, want: sevens(8000), top: []int{0, 7, 14}}},
	{"top_p among more equals than candidates", drawing{vocab: 8000, params: with(warm, runtime.ParamTopP, 0.01), want: sevens(8000), top: []int{0, 7}}},
	{"top_p next to 0", drawing{vocab: 70, params: with(warm, runtime.ParamTopP, 1e-9), high: map[int]float32{12: 3, 41: 2.99}, want: []int{12}, top: []int{12, 41}}},
	{"top_p of three", drawing{vocab: 70, params: with(warm, runtime.ParamTopP, 0.9), high: map[int]float32{12: 9, 41: 8.5, 66: 8.4}, want: []int{12, 41, 66}, top: []int{12, 41, 66}}},
	{"top_p of one among many", drawing{vocab: 70, params: with(warm, runtime.ParamTopP, 0.05), high: map[int]float32{
		12: 9, 13: 8, 14: 8, 15: 8, 16: 8, 17: 8, 18: 8, 19: 8, 20: 8, 21: 8, 22: 8, 23: 8, 24: 8, 25: 8, 26: 8, 27: 8, 28: 8,
	}, want: []int{12}, top: []int{12, 13, 14}}},
	{"min_p", drawing{vocab: 70, params: with(warm, runtime.ParamMinP, 0.5), high: map[int]float32{12: 3, 41: 2.4, 66: 2.2}, want: []int{12, 41}, top: []int{12, 41, 66}}},
	{"a temperature that divides to infinity", drawing{vocab: 70, params: map[int]float32{runtime.ParamTemperature: 1e-44}, high: map[int]float32{12: 3, 41: 2.9}, want: []int{12}}},
	{"a large vocabulary", drawing{vocab: 20003, params: with(warm, runtime.ParamTopP, 0.5), high: map[int]float32{12: 20, 20001: 3}, want: []int{12}, top: []int{12, 20001, 0}}},
}

// copying is pairs of blocks, copied in every part of a cache.
type copying struct {
	words, blocks, parts int // of 16 bytes a block
	from, to             []int32
}

func (c copying) run(m *Machine) error {
	k := kernels.Find("copy_blocks")
	v := make([]int32, c.words*c.blocks*c.parts*4)
	for i := range v {
		v[i] = int32(m.Rand.Uint32())
	}
	part := c.words * 16
	a := &kernels.CopyBlocks{Part: uint64(part), Apart: uint64(part * c.blocks), N: int32(len(c.from)), Parts: int32(c.parts)}
	var err [3]error
	a.Cache, err[0] = m.Ints(v)
	a.From, err[1] = m.Ints(c.from)
	a.To, err[2] = m.Ints(c.to)
	for _, e := range err {
		if e != nil {
			return e
		}
	}
	if err := m.Launch(k, a.Grid(k), kernels.Bytes(a)); err != nil {
		return err
	}
	for p := range c.parts {
		for i := range c.from {
			copy(v[(p*c.blocks+int(c.to[i]))*part/4:][:part/4], v[(p*c.blocks+int(c.from[i]))*part/4:])
		}
	}
	got, e := m.readInts(a.Cache, len(v))
	if e != nil || !slices.Equal(got, v) {
		return fmt.Errorf("the cache is not what was copied (%v)", e)
	}
	return nil
}

var copyCases = []struct {
	name string
	copying
}{
	{"one word a block", copying{1, 3, 2, []int32{2}, []int32{0}}},
	{"two pairs, a tail", copying{1029, 5, 4, []int32{4, 1}, []int32{0, 2}}},
	{"whole tiles", copying{2048, 3, 2, []int32{0, 0}, []int32{1, 2}}},
}

// readInts is n int32 values at p.
func (m *Machine) readInts(p cuda.Ptr, n int) ([]int32, error) {
	b := make([]byte, 4*n)
	if err := m.Context.Download(b, p); err != nil {
		return nil, err
	}
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}
