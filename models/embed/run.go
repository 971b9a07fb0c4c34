package embed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// Options is what a request may say about its vectors.
type Options struct {
	Dimensions int  // 0 = all
	Raw        bool // as the modules leave them, not brought to unit length
}

// CheckOptions refuses what the model cannot do and warns of what it was not trained for.
func (m *Model) CheckOptions(o Options) (warning string, err error) {
	d, all := o.Dimensions, m.info.Dimensions
	switch {
	case d < 0 || d > all:
		return "", fmt.Errorf("dimensions %d: the model has %d", d, all)
	case d == 0 || d == all || slices.Contains(m.info.Matryoshka, d):
		return "", nil
	case m.info.Matryoshka == nil:
		return fmt.Sprintf("dimensions %d: the model declares no shortened vectors; the first %d values are returned", d, d), nil
	}
	return fmt.Sprintf("dimensions %d: the model is trained for %v", d, m.info.Matryoshka), nil
}

// Work is one request in the queue: texts in, vectors out.
type Work struct {
	Texts   []Text
	Options Options
	Vectors [][]float32 // one for each text, once the job is done
	cost    int
}

// NewWork is the queue's task for some texts.
func NewWork(texts []Text, o Options) *Work {
	w := &Work{Texts: texts, Options: o}
	for _, t := range texts {
		w.cost += len(t.IDs)
	}
	return w
}

// Cost is the number of tokens.
func (w *Work) Cost() int { return w.cost }

// Serve runs the jobs of q, neighbours together, until q is closed and empty. It takes over the calling goroutine: the
// backend belongs to it from then on. An error is the loss of the device, with which all jobs have failed.
func (m *Model) Serve(q *queue.Queue) error {
	var lost error
	q.Work(m.backend.Props().BatchTokens, func(jobs []*queue.Job) {
		err := m.serve(jobs)
		var device runtime.DeviceError
		if errors.As(err, &device) {
			lost = err
			q.Fail(err)
		}
	})
	return lost
}

// serve computes one batch of jobs. A job that ends early, by its client or its deadline, does not stop the others.
func (m *Model) serve(jobs []*queue.Job) error {
	var texts []Text
	for _, j := range jobs {
		texts = append(texts, j.Task().(*Work).Texts...)
	}
	anyone := func() bool {
		return slices.ContainsFunc(jobs, func(j *queue.Job) bool { return j.Context().Err() == nil })
	}
	vectors, err := m.run(anyone, texts, jobs[0].Progress)
	at := 0
	for _, j := range jobs {
		w := j.Task().(*Work)
		if err == nil {
			w.Vectors = vectors[at : at+len(w.Texts)]
			for i, v := range w.Vectors {
				w.Vectors[i] = m.shape(v, w.Options)
			}
		}
		at += len(w.Texts)
		if j.Context().Err() != nil {
			j.Finish(context.Cause(j.Context()))
			continue
		}
		j.Finish(err)
	}
	return err
}

// Run computes the vectors of some texts on the calling goroutine.
func (m *Model) Run(ctx context.Context, texts []Text, o Options) ([][]float32, error) {
	vectors, err := m.run(func() bool { return ctx.Err() == nil }, texts, func(int) {})
	if err != nil {
		return nil, err
	}
	for i, v := range vectors {
		vectors[i] = m.shape(v, o)
	}
	return vectors, nil
}

// run computes raw vectors, as many texts at a time as the device wants together, and goes on only while someone waits.
// done is told the tokens of each of these batches but the last.
func (m *Model) run(wanted func() bool, texts []Text, done func(tokens int)) ([][]float32, error) {
	budget := m.backend.Props().BatchTokens
	vectors := make([][]float32, 0, len(texts))
	for len(texts) > 0 {
		n, tokens := 1, len(texts[0].IDs)
		for n < len(texts) && tokens+len(texts[n].IDs) <= budget {
			tokens += len(texts[n].IDs)
			n++
		}
		v, err := m.batch(wanted, texts[:n])
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, v...)
		if texts = texts[n:]; len(texts) > 0 {
			done(tokens)
		}
	}
	return vectors, nil
}

// batch runs some texts together; where memory runs out it tries once more in two halves.
func (m *Model) batch(wanted func() bool, texts []Text) (v [][]float32, err error) {
	v, err = m.forward(wanted, texts)
	var memory runtime.OutOfMemory
	if errors.As(err, &memory) && len(texts) > 1 {
		half := len(texts) / 2
		first, err := m.forward(wanted, texts[:half])
		if err != nil {
			return nil, err
		}
		second, err := m.forward(wanted, texts[half:])
		return append(first, second...), err
	}
	return v, err
}

// forward is one pass through the network: [T] ids to [texts, D] vectors.
func (m *Model) forward(wanted func() bool, texts []Text) (vectors [][]float32, err error) {
	b := m.backend
	outer := b.Mark()
	defer b.Release(outer)
	b.While(wanted)
	defer b.While(nil)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.OutOfMemory:
			err = p
		default:
			panic(p)
		}
	}()
	var ids, positions []int32
	lens := make([]int, len(texts))
	for i, t := range texts {
		lens[i] = len(t.IDs)
		ids = append(ids, t.IDs...)
		positions = append(positions, m.encoder.positions(t.IDs)...)
	}
	s := runtime.Pack(b, lens, positions)
	in := b.Scratch(len(ids), 1, runtime.I32)
	b.Upload(in, ids)
	x := m.encoder.begin(b, in, s)
	for i := range m.encoder.layers() {
		if !wanted() {
			return nil, runtime.ErrAbandoned
		}
		scope := b.Mark()
		m.encoder.layer(b, i, x, s)
		b.Release(scope)
	}
	y := m.pipe.pool(b, m.encoder.end(b, x), texts)
	flat := make([]float32, y.Rows*y.Cols)
	if err := b.Download(flat, y); err != nil {
		return nil, err
	}
	vectors = make([][]float32, y.Rows)
	for i := range vectors {
		vectors[i] = flat[i*y.Cols : (i+1)*y.Cols : (i+1)*y.Cols]
	}
	return vectors, nil
}

// shape cuts a vector to the wanted size and brings it to unit length, in place. nomic's shortened vectors pass a layer
// norm without weights first (its model card; eps 1e-5).
func (m *Model) shape(v []float32, o Options) []float32 {
	if o.Dimensions > 0 && o.Dimensions < len(v) {
		if m.layerNorm {
			standardise(v)
		}
		v = v[:o.Dimensions]
	}
	if !o.Raw {
		normalise(v)
	}
	return v
}

func standardise(v []float32) {
	mean, square := 0.0, 0.0
	for _, x := range v {
		mean += float64(x)
	}
	mean /= float64(len(v))
	for _, x := range v {
		square += (float64(x) - mean) * (float64(x) - mean)
	}
	inv := 1 / math.Sqrt(square/float64(len(v))+1e-5)
	for i, x := range v {
		v[i] = float32((float64(x) - mean) * inv)
	}
}

// normalise divides by the Euclidean length, at least 1e-12.
func normalise(v []float32) {
	square := 0.0
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	inv := 1 / max(math.Sqrt(square), 1e-12)
	for i, x := range v {
		v[i] = float32(float64(x) * inv)
	}
}
