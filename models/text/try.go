package text

import (
	"fmt"
	"math"

	"remote-client-server/models/builtin"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// Likeliest is the likeliest token at each place of answer behind prompt, whatever stands there: [len(answer)]. It is
// computed without the cache, and not while Serve runs.
func (m *Model) Likeliest(prompt, answer []int32) ([]int32, error) {
	z, err := m.after(prompt, answer)
	if err != nil {
		return nil, err
	}
	best := make([]int32, len(answer))
	for i := range best {
		row := z[i*m.info.VocabSize : (i+1)*m.info.VocabSize]
		for id, x := range row {
			if x > row[best[i]] {
				best[i] = int32(id)
			}
		}
	}
	return best, nil
}

// Try computes once. Weights that are not numbers, or that overflow on this device, show in the logits.
func (m *Model) Try() error {
	ids := make([]int32, 0, 16)
	for i := range cap(ids) {
		ids = append(ids, int32((i*37+1)%m.info.VocabSize))
	}
	z, err := m.after(ids[:1], ids[1:])
	if err != nil {
		return err
	}
	for _, x := range z {
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return ofFiles(fmt.Errorf("the model computes logits that are not numbers"))
		}
	}
	return nil
}

// after is the logits F32 [len(answer), vocab] of the rows in front of each token of answer.
func (m *Model) after(prompt, answer []int32) (z []float32, err error) {
	b := m.backend
	mark := b.Mark()
	defer b.Release(mark)
	defer func() {
		if p := recover(); p != nil {
			memory, ok := p.(runtime.OutOfMemory)
			if !ok {
				panic(p)
			}
			err = memory
		}
	}()
	ids := append(append([]int32(nil), prompt...), answer...)
	if len(prompt) == 0 || len(ids) > m.info.MaxTokens+1 {
		return nil, &ContextError{Prompt: len(ids), Limit: m.info.MaxTokens}
	}
	ids = ids[:len(ids)-1]
	s := runtime.Pack(b, []int{len(ids)}, nil)
	rotaries := m.rotaries
	if d := m.net.dynamic(); d != nil {
		f := b.Scratch(1, d.Dim/2, runtime.F32)
		b.Upload(f, d.Frequencies(len(ids)))
		rotaries = []*runtime.Rotary{{Freqs: f, Factor: float32(d.Attention)}}
	} else {
		s.Freq = b.Scratch(1, 1, runtime.I32)
		b.Upload(s.Freq, []int32{int32(m.net.variant(len(ids)))})
	}
	in := b.Scratch(len(ids), 1, runtime.I32)
	b.Upload(in, ids)
	x := m.net.begin(b, in, s, rotaries)
	m.net.run(b, x, s, nil)
	y := m.net.logits(b, x.Slice(len(prompt)-1, len(ids)))
	z = make([]float32, y.Rows*y.Cols)
	return z, b.Download(z, y)
}

// Builtin is the model inside the binary (models/builtin).
func Builtin(b runtime.Backend, o LoadOptions) (*Model, error) {
	return load(b, repo.Embedded(builtin.Text()), o)
}
