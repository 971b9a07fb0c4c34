package optest

import (
	"fmt"
	"math"
	"testing"

	"remote-client-server/runtime"
)

// decoder is a one-layer language model over caches and arenas: all that a recorded step touches.
type decoder struct {
	b        runtime.Backend
	words    *runtime.Table
	qkv, out *runtime.Linear
	head     *runtime.Linear
	norm     *runtime.Norm
	attn     runtime.Attn
	rotary   *runtime.Rotary

	cache    *paged
	arena    *runtime.Arena
	state    *runtime.Sequences
	sampling *runtime.Sampling
}

const decoderWidth, decoderVocab, decoderRows = 48, 90, 5

func newDecoder(w *twins) *decoder {
	t, b := w.t, w.fast
	src := func(rows, cols int) []runtime.Source {
		return []runtime.Source{w.source("w", rows, cols, runtime.F32, 1/math.Sqrt(float64(cols)))}
	}
	const heads, kv, dim = 4, 2, decoderWidth / 4
	d := &decoder{
		b:     b,
		words: must(w.fastLoad.Table(runtime.TableSpec{Word: src(decoderVocab, decoderWidth)[0]}))(t),
		qkv:   must(w.fastLoad.Linear(runtime.LinearSpec{Name: "qkv", W: src((heads+2*kv)*dim, decoderWidth)}))(t),
		out:   must(w.fastLoad.Linear(runtime.LinearSpec{Name: "out", W: src(decoderWidth, decoderWidth)}))(t),
		head:  must(w.fastLoad.Linear(runtime.LinearSpec{Name: "head", W: src(decoderVocab, decoderWidth), Wide: true}))(t),
		attn:  runtime.Attn{Heads: heads, KVHeads: kv, Dim: dim, Scale: 0.3, Causal: true, Rotary: 1, Keys: w.precision.Cache},
	}
	d.norm, _ = w.norm(runtime.RMSNorm, decoderWidth, true, 1e-6)
	d.rotary, _ = w.rotary(dim/2, 1, 1000)
	return d
}

// begin makes the state of decoderRows sequences at different positions, the last of them for rows that are padding.
func (d *decoder) begin(t testing.TB) {
	d.cache = newPaged(t, d.b, runtime.CacheSpec{Layers: 1, KVHeads: d.attn.KVHeads, Dim: d.attn.Dim, Type: d.attn.Keys}, decoderRows, 80)
	blocks := len(d.cache.tables[0])
	bytes := runtime.SamplingBytes(decoderRows, decoderRows, decoderVocab, 1) +
		2*runtime.ArenaBytes(decoderRows, 1, runtime.I32) + runtime.ArenaBytes(decoderRows+1, 1, runtime.I32) + runtime.ArenaBytes(decoderRows, blocks, runtime.I32)
	d.arena = must(d.b.NewArena("decoder", bytes))(t)
	d.sampling = runtime.NewSampling(d.arena, decoderRows, decoderRows, decoderVocab, 1)
	lens := make([]int, decoderRows)
	var table, past, cum, rows, ids []int32
	for i := range decoderRows {
		lens[i] = 1
		table = append(table, d.cache.tables[i]...)
		past, cum, rows, ids = append(past, int32(11*i)), append(cum, int32(i)), append(rows, int32(i)), append(ids, int32(3*i))
		v := plain(runtime.Slot{Temperature: float32(i) / 2, Seed: uint64(i)})
		d.sampling.Set(d.b, i, v)
	}
	past[decoderRows-1], rows[decoderRows-1] = 0, -1
	d.state = &runtime.Sequences{
		Lens: lens, Cum: d.arena.Tensor(decoderRows+1, 1, runtime.I32), Pos: d.arena.Tensor(decoderRows, 1, runtime.I32), Cache: d.cache.cache,
		Past: d.arena.Tensor(decoderRows, 1, runtime.I32), Table: d.arena.Tensor(decoderRows, blocks, runtime.I32), Phase: runtime.Decode,
	}
	d.b.Upload(d.state.Cum, append(cum, decoderRows))
	d.b.Upload(d.state.Pos, past)
	d.b.Upload(d.state.Past, past)
	d.b.Upload(d.state.Table, table)
	d.b.Upload(d.sampling.Rows, rows)
	d.b.Upload(d.sampling.IDs, ids)
}

func (d *decoder) end(t testing.TB) {
	d.cache.close(t)
	if err := d.arena.Close(); err != nil {
		t.Error(err)
	}
}

func (d *decoder) step() {
	m := d.b.Mark()
	defer d.b.Release(m)
	s := *d.state
	x := d.b.Embed(d.sampling.IDs, &s, d.words)
	d.b.Angles(&s, d.rotary)
	const n = decoderWidth
	q, k, v := d.b.NormLinear(x, d.norm, d.qkv).Split(n, n/2, n/2)
	d.b.LinearAdd(x, d.b.Attention(q, k, v, &s, &d.attn), d.out)
	d.b.Sample(d.b.NormLinear(x, d.norm, d.head), d.state, d.sampling)
}

// recorded: a recorded step does what the step does, again and again, and its tokens feed the next one on the device.
func recorded(t *testing.T, c Config) {
	for _, dtype := range c.DTypes {
		t.Run(dtype, func(t *testing.T) {
			w := newTwins(t, c, dtype)
			d := newDecoder(w)
			play := func(run func(step int)) (tokens []int32, logprobs []float32) {
				d.begin(t)
				defer d.end(t)
				for step := range 6 {
					run(step)
					ids, probs := d.b.Fetch(d.sampling.Tokens), d.b.Fetch(d.sampling.Logprobs)
					row, p := make([]int32, 2*decoderRows), make([]float32, 2*decoderRows)
					if err := ids.Wait(row); err != nil {
						t.Fatal(err)
					}
					if err := probs.Wait(p); err != nil {
						t.Fatal(err)
					}
					tokens, logprobs = append(tokens, row...), append(logprobs, p...)
				}
				want := []int32{6, 17, 28, 39, 0}
				if got := fmt.Sprint(integers(t, d.b, d.state.Past), integers(t, d.b, d.state.Pos)); got != fmt.Sprint(want, want) {
					t.Errorf("lengths and positions after six steps: %s, want %v twice", got, want)
				}
				return tokens, logprobs
			}
			want, wantP := play(func(int) { d.step() })
			var g *runtime.Graph
			got, gotP := play(func(step int) {
				if step == 0 {
					g = must(d.b.Record(d.step))(t)
				} else {
					d.b.Run(g)
				}
			})
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("tokens %v, without a recording %v", got, want)
			}
			sameBits(t, "log-probabilities", gotP, wantP)
		})
	}
}
