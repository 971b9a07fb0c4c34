package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"remote-client-server/http"
	"remote-client-server/models/builtin"
	"remote-client-server/models/embed"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/queue"
)

// embedding is the workshop of type embed.
type embedding struct{ *embed.Model }

func loadEmbedding(c *config, d *device) (workshop, error) {
	o := embed.LoadOptions{Pooling: c.pooling, DType: c.dtype}
	var m *embed.Model
	var err error
	if c.builtin {
		m, err = embed.Builtin(d, o)
	} else {
		m, err = embed.Load(d, c.dir, o)
	}
	if err != nil {
		return nil, err
	}
	return embedding{m}, nil
}

func (m embedding) identity() identity {
	i := m.Info()
	return identity{i.Family, i.DType, i.Device, i.Parameters, i.MaxTokens, i.Unused}
}

func (m embedding) facts() []fact { return []fact{{"dimensions", m.Info().Dimensions}} }

func (m embedding) answers() http.Loaded {
	return http.Loaded{Embed: m.Model, Tokenizer: m.Tokenizer()}
}

func curlEmbedding(address string) string {
	return fmt.Sprintf(`curl http://%s/v1/embeddings -H 'Content-Type: application/json' -d '{"input": "Where is the library?"}'`, address)
}

// calibrate measures a short and a longer input. A model for which that would
// delay the start goes without.
func (m embedding) calibrate(ctx context.Context, q *queue.Queue) error {
	const patience = 100 * time.Millisecond
	for _, tokens := range []int{8, 64} {
		w, err := arbitrary(m.Model, 1, min(tokens, m.Info().MaxTokens))
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := m.Run(ctx, w, embed.Options{}); err != nil {
			return err
		}
		took := time.Since(start)
		q.Measured(tokens, took)
		if took > patience {
			break
		}
	}
	return nil
}

func (m embedding) try(ctx context.Context) error {
	t, err := m.Encode("The quick brown fox jumps over the lazy dog.", "", nil)
	if err != nil {
		return err
	}
	vectors, err := m.Run(ctx, []embed.Text{t}, embed.Options{})
	if err != nil {
		return err
	}
	square := 0.0
	for _, v := range vectors {
		for _, x := range v {
			square += float64(x) * float64(x)
		}
	}
	if !(math.Abs(square-1) < 1e-2) { // also for NaN
		return fmt.Errorf("%w: the model computes values that are not numbers, or nothing at all", embed.ErrFiles)
	}
	return nil
}

// benchShapes are texts times tokens of each.
var benchShapes = [][2]int{{1, 32}, {1, 128}, {1, 512}, {32, 32}, {32, 128}}

// Of each shape: a first run that does not count, then so many, within a time.
const (
	benchRuns = 15
	benchTime = 4 * time.Second
)

func (m embedding) bench(ctx context.Context, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "texts x tokens\tmedian ms\tbest ms\ttexts/s\ttokens/s\t")
	for _, shape := range benchShapes {
		if shape[1] > m.Info().MaxTokens {
			continue
		}
		times, err := measure(ctx, m.Model, shape[0], shape[1])
		if err != nil {
			return err
		}
		slices.Sort(times)
		median := times[len(times)/2].Seconds()
		fmt.Fprintf(w, "%d x %d\t%.2f\t%.2f\t%.1f\t%.0f\t\n", shape[0], shape[1], median*1e3, times[0].Seconds()*1e3,
			float64(shape[0])/median, float64(shape[0]*shape[1])/median)
	}
	return w.Flush()
}

// arbitrary is texts of so many tokens whatever they mean: time does not depend
// on the ids.
func arbitrary(m *embed.Model, texts, tokens int) (work []embed.Text, err error) {
	for i := range texts {
		ids := make([]int32, tokens)
		for j := range ids {
			ids[j] = int32((i*tokens + j*7 + 1) % m.Info().VocabSize)
		}
		t, err := m.Check(ids)
		if err != nil {
			return nil, err
		}
		work = append(work, t)
	}
	return work, nil
}

// measure runs texts of so many tokens.
func measure(ctx context.Context, m *embed.Model, texts, tokens int) ([]time.Duration, error) {
	work, err := arbitrary(m, texts, tokens)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for begin := time.Now(); len(times) <= benchRuns && (len(times) < 3 || time.Since(begin) < benchTime); {
		start := time.Now()
		if _, err := m.Run(ctx, work, embed.Options{}); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times[1:], nil // the first one warms up
}

func (m embedding) proof(ctx context.Context, c *config, d *device) ([]fact, error) {
	parity, err := c.parity(ctx, d)
	facts := []fact{{"parity", parity}}
	if err != nil {
		return facts, err
	}
	used, err := m.share(ctx, d)
	return append(facts, used...), err
}

// How far a vector may be from the reference library's in float32, as a cosine:
// exact types differ in the order of sums, 16-bit and quantised ones round.
var parityLimits = map[string]float64{"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "q8": 0.995, "q4": 0.9}

// parity runs the built-in model on the device, in the type that was asked for,
// and compares its vectors with those of the reference library.
func (c *config) parity(ctx context.Context, d *device) (string, error) {
	m, err := embed.Builtin(d, embed.LoadOptions{DType: c.dtype})
	if err != nil {
		return "not computed", err
	}
	defer m.Close()
	references, err := builtin.EmbedReferences()
	if err != nil {
		return "not computed", err
	}
	least := 1.0
	for _, r := range references {
		t, err := m.Encode(r.Text, "", nil)
		if err != nil {
			return "not computed", err
		}
		v, err := m.Run(ctx, []embed.Text{t}, embed.Options{})
		if err != nil {
			return "not computed", err
		}
		dot := 0.0
		for i, x := range r.Vector {
			dot += float64(x) * float64(v[0][i])
		}
		if math.IsNaN(dot) {
			dot = -1
		}
		least = min(least, dot)
	}
	dtype := m.Info().DType
	text := fmt.Sprintf("cosine >= %.6f with sentence-transformers, %d texts, built-in model in %s", least, len(references), dtype)
	if least < parityLimits[dtype] {
		return text, fmt.Errorf("this device computes wrong values: the cosine with the reference's vectors is %.6f, %.6f is wanted in %s", least, parityLimits[dtype], dtype)
	}
	return text, nil
}

// share runs a full batch and says how much of the measured peaks it takes.
func (m embedding) share(ctx context.Context, d *device) ([]fact, error) {
	i := m.Info()
	tokens := min(512, i.MaxTokens)
	texts := max(1, d.Props().BatchTokens/tokens)
	products, moved := 0.0, 0.0 // operations and bytes a second
	var facts []fact
	switch {
	case d.gpu != nil:
		p, err := d.gpu.Peak(i.DType)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(i.Device, emulatedPrefix) {
			tokens, texts = min(tokens, 16), 1 // emulated: the time means nothing
		}
		products, moved = p.Product, p.Copy
		facts = append(facts, fact{"copies", rate(p.Copy, 1e9, "GB/s", p.Bandwidth)}, fact{"products", rate(p.Product, 1e12, "TFLOP/s", p.Arithmetic)})
	default:
		p := d.Backend.(*cpu.Backend).Peak()
		products, moved = p.FMA, p.Read
		if i.DType == "bfloat16" && p.BF16 > 0 {
			products = p.BF16
		}
		facts = append(facts, fact{"reads", rate(moved, 1e9, "GB/s", 0)}, fact{"arithmetic", rate(products, 1e9, "GFLOP/s", 0)})
	}
	many, err := best(ctx, m.Model, texts, tokens)
	if err != nil {
		return facts, err
	}
	one, err := best(ctx, m.Model, 1, min(8, tokens))
	if err != nil {
		return facts, err
	}
	flops := 2 * float64(i.Products) * float64(texts*tokens) / many.Seconds()
	bytes := float64(i.Products) * weightBytes[i.DType] / one.Seconds()
	cached := ""
	if bytes > moved {
		cached = ": they lie in a cache"
	}
	return append(facts,
		fact{"a full batch", fmt.Sprintf("%d x %d tokens in %s: %.0f tokens/s, %.0f %% of the arithmetic peak", texts, tokens, many.Round(time.Microsecond), float64(texts*tokens)/many.Seconds(), 100*flops/products)},
		fact{"a short text", fmt.Sprintf("%s: the products' weights read at %.1f GB/s, %.0f %% of the bandwidth peak%s", one.Round(time.Microsecond), bytes/1e9, 100*bytes/moved, cached)}), nil
}

// best is the shortest of a few runs.
func best(ctx context.Context, m *embed.Model, texts, tokens int) (time.Duration, error) {
	times, err := measure(ctx, m, texts, tokens)
	if err != nil {
		return 0, err
	}
	return slices.Min(times), nil
}
