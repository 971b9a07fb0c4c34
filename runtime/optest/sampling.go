package optest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"remote-client-server/runtime"
)

// arenas: zeroed memory that stays where it is, of just the size that was asked for.
func arenas(t *testing.T, c Config) {
	b := newTwins(t, c, c.DTypes[0]).fast
	bytes := runtime.ArenaBytes(3, 5, runtime.F32) + runtime.ArenaBytes(1, 1, runtime.I32)
	a := must(b.NewArena("state", bytes))(t)
	if held := b.Ledger().Arena; held < bytes {
		t.Errorf("the ledger says %d bytes, %d were asked for", held, bytes)
	}
	x, n := a.Tensor(3, 5, runtime.F32), a.Tensor(1, 1, runtime.I32)
	if slices.ContainsFunc(download(t, b, x), func(v float32) bool { return v != 0 }) {
		t.Error("an arena is not zero")
	}
	v := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	m := b.Mark()
	b.Upload(x, v)
	b.Upload(n, []int32{-7})
	b.Release(m)
	fetched, number := b.Fetch(x.Columns(1, 4)), b.Fetch(n)
	b.Upload(x, make([]float32, 15))
	b.Upload(n, []int32{3})
	got, count := make([]float32, 9), make([]int32, 1)
	if err := errors.Join(fetched.Wait(got), number.Wait(count)); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(got, count) != "[2 3 4 7 8 9 12 13 14] [-7]" {
		t.Errorf("fetched %v and %v: what came later shows", got, count)
	}
	func() {
		defer func() {
			var e runtime.OutOfMemory
			if err, ok := recover().(error); !ok || !errors.As(err, &e) || e.What != "state" || e.Free != 0 {
				t.Errorf("a full arena: %+v", e)
			}
		}()
		a.Tensor(1, 1, runtime.F32)
	}()
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if held := b.Ledger().Arena; held != 0 {
		t.Errorf("the arena is closed and the ledger says %d bytes", held)
	}
	if _, err := b.NewArena("nothing", -1); err == nil {
		t.Error("an arena of -1 bytes: no error")
	}
}

// samplers is the state of sampling on both backends.
type samplers struct {
	w          *twins
	fast, slow *runtime.Sampling
	vocab, top int
}

func newSamplers(w *twins, slots, rows, vocab, top int) *samplers {
	make := func(b runtime.Backend) *runtime.Sampling {
		a := must(b.NewArena("sampling", runtime.SamplingBytes(slots, rows, vocab, top)))(w.t)
		w.t.Cleanup(func() { a.Close() }) // before that of the backend
		return runtime.NewSampling(a, slots, rows, vocab, top)
	}
	return &samplers{w, make(w.fast), make(w.slow), vocab, top}
}

func (s *samplers) both(f func(b runtime.Backend, p *runtime.Sampling)) {
	f(s.w.fast, s.fast)
	f(s.w.slow, s.slow)
}

func (s *samplers) set(slot int, v runtime.Slot) {
	s.both(func(b runtime.Backend, p *runtime.Sampling) { p.Set(b, slot, v) })
}

// sample is one step of the rows' slots, of which both backends' results are compared; it returns the ids.
func (s *samplers) sample(what string, slots []int32, logits []float32) []int32 {
	t := s.w.t
	t.Helper()
	n := len(slots)
	s.both(func(b runtime.Backend, p *runtime.Sampling) {
		m := b.Mark()
		defer b.Release(m)
		z := b.Scratch(n, s.vocab+3, runtime.F32).Columns(1, 1+s.vocab)
		b.Upload(z, logits)
		p = p.First(n)
		b.Upload(p.Rows, slots)
		b.Sample(z, nil, p)
	})
	var ids []int32
	for name, of := range map[string]func(p *runtime.Sampling) runtime.Tensor{
		"ids":                func(p *runtime.Sampling) runtime.Tensor { return p.IDs.Slice(0, n) },
		"tokens":             func(p *runtime.Sampling) runtime.Tensor { return p.Tokens.Slice(0, n) },
		"steps":              func(p *runtime.Sampling) runtime.Tensor { return p.Ints },
		"counts":             func(p *runtime.Sampling) runtime.Tensor { return p.Counts },
		"the bits of a mask": func(p *runtime.Sampling) runtime.Tensor { return p.Mask },
	} {
		got, want := integers(t, s.w.fast, of(s.fast)), integers(t, s.w.slow, of(s.slow))
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %s are %v, want %v", what, name, abridged(got), abridged(want))
		}
		if name == "ids" {
			ids = got
		}
	}
	got, want := download(t, s.w.fast, s.fast.Logprobs.Slice(0, n)), make([]float64, n*(1+s.top))
	if err := s.w.slow.Download(want, s.slow.Logprobs.Slice(0, n)); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if d := math.Abs(float64(v) - want[i]); !(d <= 2e-5*max(1, math.Abs(want[i]))) && float64(v) != want[i] {
			t.Fatalf("%s: log-probability %d of row %d is %v, want %v", what, i%(1+s.top), i/(1+s.top), v, want[i])
		}
	}
	return ids
}

func integers(t testing.TB, b runtime.Backend, x runtime.Tensor) []int32 {
	v := make([]int32, x.Rows*x.Cols)
	if err := b.Download(v, x); err != nil {
		t.Fatal(err)
	}
	return v
}

func abridged(v []int32) []int32 { return v[:min(len(v), 40)] }

// plain is a slot in which everything is off.
func plain(v runtime.Slot) runtime.Slot {
	if v.TopP == 0 {
		v.TopP = 1
	}
	if v.Repetition == 0 {
		v.Repetition = 1
	}
	return v
}

func sampling(t *testing.T, c Config) {
	t.Run("each parameter and all together", func(t *testing.T) { parameters(t, c) })
	t.Run("kept tokens and their probabilities", func(t *testing.T) { kept(t, c) })
	t.Run("corners", func(t *testing.T) { corners(t, c) })
	t.Run("draws follow the softmax", func(t *testing.T) { chiSquare(t, c) })
	t.Run("a draw depends on its slot alone", func(t *testing.T) { draws(t, c) })
	t.Run("log-probabilities", func(t *testing.T) { logprobs(t, c) })
}

func parameters(t *testing.T, c Config) {
	type setting struct {
		name string
		runtime.Slot
	}
	settings := []setting{
		{"greedy", runtime.Slot{}},
		{"temperature 1", runtime.Slot{Temperature: 1}},
		{"temperature 0.2", runtime.Slot{Temperature: 0.2}},
		{"temperature 3", runtime.Slot{Temperature: 3}},
		{"top_k 1", runtime.Slot{Temperature: 1, TopK: 1}},
		{"top_k 7", runtime.Slot{Temperature: 1.5, TopK: 7}},
		{"top_k beyond the vocabulary", runtime.Slot{Temperature: 1, TopK: 1 << 30}},
		{"top_p 0.5", runtime.Slot{Temperature: 1, TopP: 0.5}},
		{"top_p 0.95", runtime.Slot{Temperature: 0.8, TopP: 0.95}},
		{"top_p next to 0", runtime.Slot{Temperature: 1, TopP: 1e-9}},
		{"min_p 0.1", runtime.Slot{Temperature: 1, MinP: 0.1}},
		{"min_p 1", runtime.Slot{Temperature: 2, MinP: 1}},
		{"penalties, greedy", runtime.Slot{Repetition: 1.3, Frequency: 0.2, Presence: 0.4, PenaltiesOn: true}},
		{"penalties that reward", runtime.Slot{Temperature: 1, Repetition: 0.8, Frequency: -0.3, Presence: -0.5, PenaltiesOn: true}},
		{"penalties that are off", runtime.Slot{Temperature: 1, Repetition: 1.7, Frequency: 1}},
		{"a bias", runtime.Slot{Temperature: 1, BiasOn: true}},
		{"a mask", runtime.Slot{Temperature: 1, MaskRequired: true}},
		{"ends before the fifth token", runtime.Slot{Temperature: 1, MinTokens: 5, Ends: []int32{0, 3, 1 << 20}}},
		{"all together", runtime.Slot{
			Temperature: 1.2, TopK: 20, TopP: 0.9, MinP: 0.01, Repetition: 1.1, Frequency: 0.1, Presence: 0.1,
			PenaltiesOn: true, BiasOn: true, MaskRequired: true, MinTokens: 3, Ends: []int32{1, 2}, Top: 3,
		}},
		{"a temperature that divides to infinity", runtime.Slot{Temperature: 1e-44}},
	}
	vocabs, steps := []int{1, 5, 33, 700}, 8
	if c.Quick {
		vocabs, steps = []int{5, 300}, 4
	}
	for _, vocab := range vocabs {
		w := newTwins(t, c, c.DTypes[0])
		s := newSamplers(w, len(settings)+3, len(settings), vocab, 5)
		rows := make([]int32, len(settings))
		for i, v := range settings {
			rows[i] = int32(i + 2)
			v.Slot = plain(v.Slot)
			v.Seed, v.Top = uint64(i)*0x1234567890abcdef, max(v.Top, i%4)
			s.set(i+2, v.Slot)
		}
		counts, mask := make([]int32, len(settings)*vocab), make([]int32, len(settings)*runtime.MaskWords(vocab))
		for i := range counts {
			switch w.rng.IntN(4) {
			case 0:
				counts[i] = runtime.PromptToken
			case 1:
				counts[i] = int32(w.rng.IntN(5))
			case 2:
				counts[i] = runtime.PromptToken + int32(w.rng.IntN(3))
			}
		}
		for i := range mask {
			mask[i] = int32(w.rng.Uint32()) | 1<<4 | 1
		}
		bias := w.floats(len(settings)*vocab, 2)
		s.both(func(b runtime.Backend, p *runtime.Sampling) {
			b.Upload(p.Counts.Slice(2, 2+len(settings)), counts)
			b.Upload(p.Mask.Slice(2, 2+len(settings)), mask)
			b.Upload(p.Bias.Slice(2, 2+len(settings)), bias)
		})
		for step := range steps {
			rows, logits := rows, w.floats(len(settings)*vocab, 3)
			if step%3 == 2 { // fewer rows, in another order, some left alone
				rows = slices.Clone(rows[:len(rows)/2])
				slices.Reverse(rows)
				rows[0], rows[2] = -1, -1
				logits = logits[:len(rows)*vocab]
			}
			s.sample(fmt.Sprintf("%d words, step %d", vocab, step), rows, logits)
		}
	}
}

// kept is which tokens remain and how likely they are, the most of it an example that transformers' processors computed.
func kept(t *testing.T, c Config) {
	example := []float32{1, 3, 2, .5, 2.5}
	close70, first30 := make([]float32, 70), make([]float64, 70)
	for i := range close70 {
		close70[i] = -1e-5 * float32(i)
		if i < 30 {
			first30[i] = 1. / 30
		}
	}
	draws := 400
	if c.Quick {
		draws = 60
	}
	for _, e := range []struct {
		name   string
		slot   runtime.Slot
		logits []float32
		want   []float64 // by id
	}{
		{"softmax", runtime.Slot{Temperature: 1}, example, []float64{.061745, .456240, .167841, .037450, .276723}},
		{"top_p .5", runtime.Slot{Temperature: 1, TopP: .5}, example, []float64{0, .622459, 0, 0, .377541}},
		{"top_p .8", runtime.Slot{Temperature: 1, TopP: .8}, example, []float64{0, .506480, .186324, 0, .307196}},
		{"top_p .9", runtime.Slot{Temperature: 1, TopP: .9}, example, []float64{0, .506480, .186324, 0, .307196}},
		{"top_p .95", runtime.Slot{Temperature: 1, TopP: .95}, example, []float64{.064147, .473991, .174371, 0, .287490}},
		{"min_p .1", runtime.Slot{Temperature: 1, MinP: .1}, example, []float64{.064147, .473991, .174371, 0, .287490}},
		{"min_p .3", runtime.Slot{Temperature: 1, MinP: .3}, example, []float64{0, .506480, .186324, 0, .307196}},
		{"temperature .7, top_k 3, top_p .9", runtime.Slot{Temperature: .7, TopK: 3, TopP: .9}, example, []float64{0, .578305, .138591, 0, .283104}},
		{"min_p .3, then top_p .5 of what is left", runtime.Slot{Temperature: 1, MinP: .3, TopP: .5}, example, []float64{0, 1, 0, 0, 0}},
		{"top_k 3, then top_p .5 of what is left", runtime.Slot{Temperature: 1, TopK: 3, TopP: .5}, example, []float64{0, 1, 0, 0, 0}},
		{"top_k 30 of 70 next to each other", runtime.Slot{Temperature: 1, TopK: 30}, close70, first30},
		{"next to min_p .1", runtime.Slot{Temperature: 1, MinP: .1}, []float32{0, -2.30, -2.305, -50}, []float64{.908877, .091123, 0, 0}},
	} {
		w := newTwins(t, c, c.DTypes[0])
		s := newSamplers(w, draws, draws, len(e.logits), 0)
		rows := make([]int32, draws)
		for i := range rows {
			rows[i] = int32(i)
			v := plain(e.slot)
			v.Seed = uint64(i)<<40 | 77
			s.set(i, v)
		}
		ids := s.sample(e.name, rows, slices.Repeat(e.logits, draws))
		goodness(t, e.name, ids, e.want)
	}
}

// goodness is Pearson's chi-square test: the statistic of n cells has mean n-1 and variance 2(n-1).
func goodness(t *testing.T, what string, ids []int32, want []float64) {
	t.Helper()
	seen := make([]float64, len(want))
	for _, id := range ids {
		if id < 0 || want[id] == 0 {
			t.Fatalf("%s: token %d was drawn", what, id)
		}
		seen[id]++
	}
	stat, cells, rest, restWant := 0.0, 0, 0.0, 0.0
	add := func(seen, want float64) {
		stat += (seen - want) * (seen - want) / want
		cells++
	}
	for id, p := range want {
		expected := p * float64(len(ids))
		if expected < 5 { // too few for the statistic: together
			rest, restWant = rest+seen[id], restWant+expected
			continue
		}
		add(seen[id], expected)
	}
	if restWant >= 5 {
		add(rest, restWant)
	}
	if freedom := float64(cells - 1); stat > freedom+4*math.Sqrt(2*freedom)+12 { // one of a million for few cells as for many
		t.Errorf("%s: chi-square %.1f over %d cells", what, stat, cells)
	}
}

func corners(t *testing.T, c Config) {
	w := newTwins(t, c, c.DTypes[0])
	const vocab = 70
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	at := func(v float32, ids ...int) []float32 {
		z := slices.Repeat([]float32{-1}, vocab)
		for _, id := range ids {
			z[id] = v
		}
		return z
	}
	for _, e := range []struct {
		name   string
		slot   runtime.Slot
		mask   int32
		logits []float32
		want   []int32 // any of them
	}{
		{"of equals the lowest id", runtime.Slot{}, 0, at(2, 41, 66, 12), []int32{12}},
		{"all equal", runtime.Slot{}, 0, at(0), []int32{0}},
		{"equals of the last of top_k stay", runtime.Slot{Temperature: 1, TopK: 2}, 0, at(2, 5, 6, 7), []int32{5, 6, 7}},
		{"equals of the last of top_p stay", runtime.Slot{Temperature: 1, TopP: .01}, 0, at(9, 5, 69), []int32{5, 69}},
		{"top_k 1 draws the largest", runtime.Slot{Temperature: 9, TopK: 1}, 0, at(0, 33), []int32{33}},
		{"min_p 1 leaves the largest", runtime.Slot{Temperature: 9, MinP: 1}, 0, at(0, 34, 35), []int32{34, 35}},
		{"a NaN", runtime.Slot{}, 0, at(nan, 50), []int32{-1}},
		{"a NaN behind the largest", runtime.Slot{Temperature: 1}, 0, append([]float32{100}, at(nan, 50)[1:]...), []int32{-1}},
		{"+Inf", runtime.Slot{Temperature: 1, TopK: 3}, 0, at(inf, 50), []int32{-1}},
		{"-Inf everywhere", runtime.Slot{Temperature: 1}, 0, slices.Repeat([]float32{-inf}, vocab), []int32{-1}},
		{"-Inf everywhere but one", runtime.Slot{Temperature: 1, TopP: .5}, 0, append(slices.Repeat([]float32{-inf}, vocab-1), -5), []int32{vocab - 1}},
		{"all masked", runtime.Slot{Temperature: 1, MaskRequired: true}, 0, at(1), []int32{-1}},
		{"all masked, greedy", runtime.Slot{MaskRequired: true}, 0, at(1), []int32{-1}},
		{"one bit of each word", runtime.Slot{Temperature: 1, MaskRequired: true}, math.MinInt32, at(30, 3, 4), []int32{31, 63}},
		{"the largest is masked", runtime.Slot{MaskRequired: true}, -2, at(30, 32), []int32{1}},
		{"no end yet", runtime.Slot{MinTokens: 1, Ends: []int32{9, 12}}, 0, at(3, 9, 12, 13), []int32{13}},
		{"an end", runtime.Slot{MinTokens: 1, Step: 1, Ends: []int32{9, 12}}, 0, at(3, 9, 12, 13), []int32{9}},
		{"a presence of what was not there", runtime.Slot{Presence: 2, Frequency: 2, PenaltiesOn: true}, 0, at(0.5, 3), []int32{3}},
		{"the largest seed and step", runtime.Slot{Temperature: 1, Seed: math.MaxUint64, Step: math.MaxInt32 - 1, TopK: 2}, 0, at(9, 3, 4), []int32{3, 4}},
	} {
		s := newSamplers(w, 1, 2, vocab, 2)
		v := plain(e.slot)
		v.Top = 2
		s.set(0, v)
		s.both(func(b runtime.Backend, p *runtime.Sampling) {
			b.Upload(p.Mask, slices.Repeat([]int32{e.mask}, runtime.MaskWords(vocab)))
		})
		ids := s.sample(e.name, []int32{0}, e.logits)
		if !slices.Contains(e.want, ids[0]) {
			t.Errorf("%s: token %d, want one of %v", e.name, ids[0], e.want)
		}
	}
	s := newSamplers(w, 2, 2, vocab, 2)
	z := w.random(2, vocab, 0).fast
	for name, f := range map[string]func(p *runtime.Sampling){
		"another vocabulary": func(p *runtime.Sampling) { w.fast.Sample(z.Columns(0, vocab-1), nil, p) },
		"more rows":          func(p *runtime.Sampling) { w.fast.Sample(w.random(3, vocab, 0).fast, nil, p) },
	} {
		panics(t, name, func() { f(s.fast) })
	}
	if c.Unchecked {
		return
	}
	for name, rows := range map[string][]int32{"a slot too many": {0, 2}, "a slot twice": {1, 1}, "slot -2": {0, -2}} {
		panics(t, name, func() {
			w.fast.Upload(s.fast.Rows, rows)
			w.fast.Sample(z, nil, s.fast)
		})
	}
}

// chiSquare draws one distribution with many seeds and steps.
func chiSquare(t *testing.T, c Config) {
	slots, steps, vocab := 100, 40, 60
	if c.Quick {
		slots, steps = 40, 8
	}
	w := newTwins(t, c, c.DTypes[0])
	s := newSamplers(w, slots, slots, vocab, 0)
	rows := make([]int32, slots)
	for i := range rows {
		rows[i] = int32(i)
		s.set(i, plain(runtime.Slot{Temperature: 0.5, Seed: uint64(i)}))
	}
	logits := w.floats(vocab, 0.5)
	want := make([]float64, vocab)
	sum := 0.0
	for i, z := range logits {
		want[i] = math.Exp(2 * float64(z))
		sum += want[i]
	}
	for i := range want {
		want[i] /= sum
	}
	var ids []int32
	for step := range steps {
		ids = append(ids, s.sample(fmt.Sprintf("step %d", step), rows, slices.Repeat(logits, slots))...)
	}
	goodness(t, "many seeds and steps", ids, want)
}

// draws: the same seed and step draw the same token, whatever the slot, the row and the rows beside it.
func draws(t *testing.T, c Config) {
	const vocab, slots = 200, 9
	w := newTwins(t, c, c.DTypes[0])
	s := newSamplers(w, slots, slots, vocab, 0)
	steps := 5
	logits := w.floats(steps*vocab, 1)
	var want []int32
	for slot := range slots {
		s.set(slot, plain(runtime.Slot{Temperature: 1, Seed: 42}))
		for step := range steps {
			rows, z := []int32{}, []float32{}
			for other := range slot { // those before go on with what they draw
				rows, z = append(rows, int32(other)), append(z, w.floats(vocab, 1)...)
			}
			rows, z = append(rows, int32(slot)), append(z, logits[step*vocab:][:vocab]...)
			ids := s.sample(fmt.Sprintf("slot %d, step %d", slot, step), rows, z)
			if slot == 0 {
				want = append(want, ids[0])
			} else if got := ids[len(ids)-1]; got != want[step] {
				t.Errorf("slot %d, step %d: token %d, in slot 0 %d", slot, step, got, want[step])
			}
		}
	}
}

// logprobs are of the logits as they come, whatever is done to them for the draw.
func logprobs(t *testing.T, c Config) {
	const vocab, top = 300, 4
	w := newTwins(t, c, c.DTypes[0])
	s := newSamplers(w, 3, 3, vocab, top)
	s.set(0, plain(runtime.Slot{Temperature: 0.3, TopK: 3, Top: 4, BiasOn: true}))
	s.set(1, plain(runtime.Slot{Top: 2}))
	s.set(2, plain(runtime.Slot{Top: -1}))
	s.both(func(b runtime.Backend, p *runtime.Sampling) {
		bias := make([]float32, vocab)
		bias[7] = 1000
		b.Upload(p.Bias.Slice(0, 1), bias)
	})
	z := w.floats(3*vocab, 4)
	z[vocab+10], z[vocab+200] = 50, 50
	ids := s.sample("three rows", []int32{0, 1, 2}, z)
	tokens, logprobs := integers(t, w.fast, s.fast.Tokens), download(t, w.fast, s.fast.Logprobs)
	sum := 0.0
	for _, v := range z[:vocab] {
		sum += math.Exp(float64(v))
	}
	if got, want := float64(logprobs[0]), float64(z[7])-math.Log(sum); ids[0] != 7 || math.Abs(got-want) > 1e-4 {
		t.Errorf("token %d of log-probability %v, want 7 of %v", ids[0], got, want)
	}
	for i := range top - 1 {
		if z[tokens[1+i]] < z[tokens[2+i]] || logprobs[1+i] < logprobs[2+i] {
			t.Errorf("alternatives %v out of order", tokens[1:1+top])
		}
	}
	if got := fmt.Sprint(tokens[1+top:][:1+top], ids[1], logprobs[1+top+3]); got != "[10 10 200 -1 -1] 10 0" {
		t.Errorf("two alternatives of equals: %s", got)
	}
	if got := fmt.Sprint(tokens[2*(1+top)+1:], logprobs[2*(1+top):]); got != "[-1 -1 -1 -1] [0 0 0 0 0]" {
		t.Errorf("nothing asked for: %s", got)
	}
}
