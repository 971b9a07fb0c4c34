package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"remote-client-server/http"
	"remote-client-server/models/builtin"
	"remote-client-server/models/text"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/queue"
	"remote-client-server/status"
)

// writing is the workshop of type text.
type writing struct{ *text.Model }

func loadWriting(c *config, d *device) (workshop, error) {
	m, err := c.loadText(d, c.builtin)
	if err != nil {
		return nil, err
	}
	return &writing{m}, nil
}

func (c *config) loadText(d *device, own bool) (*text.Model, error) {
	o := text.LoadOptions{DType: c.dtype, MaxTokens: c.maxModelLen, CacheBytes: c.cacheBytes, Sequences: c.sequences, Log: slog.Default()}
	if own {
		return text.Builtin(d, o)
	}
	return text.Load(d, c.dir, o)
}

func (m *writing) identity() identity {
	i := m.Info()
	return identity{i.Family, i.DType, i.Device, i.Parameters, i.MaxTokens, i.Unused}
}

func (m *writing) facts() []fact {
	i := m.Info()
	return []fact{
		{"sequences", i.Sequences}, {"cache", fmt.Sprintf("%d tokens, %s", i.CacheRows, bytesText(i.CacheBytes))},
		{"chat_template", i.Chat}, {"tools", m.Calls().String()},
	}
}

func (m *writing) answers() http.Loaded { return http.Loaded{Text: m.Model, Tokenizer: m.Tokenizer()} }

func (m *writing) try(context.Context) error { return m.Try() }

// calibrate measures a short prompt, which says little of an answer's time but
// its order.
func (m *writing) calibrate(_ context.Context, q *queue.Queue) error {
	const tokens = 16
	start := time.Now()
	if err := m.Try(); err != nil {
		return err
	}
	q.Measured(tokens, time.Since(start))
	return nil
}

// watch publishes what the model does.
func (m *writing) watch(metrics *status.Metrics, c *config) {
	state := func() status.TextState {
		s := m.Stats()
		return status.TextState{
			Writing: s.Writing, Filling: s.Filling, BlocksUsed: s.BlocksUsed, Blocks: s.Blocks, Preemptions: s.Preemptions, Finished: s.Finished,
		}
	}
	m.Observe(metrics.Text(c.name, state, c.compat))
}

func curlWriting(address string) string {
	return fmt.Sprintf(`curl http://%s/v1/chat/completions -H 'Content-Type: application/json' -d '{"messages": [{"role": "user", "content": "Count to five."}]}'`, address)
}

// steps adds up what a model's passes take.
type steps struct {
	rows, tokens      int
	filling, deciding time.Duration // with prompts; with tokens
	each              []time.Duration
}

func (s *steps) FirstToken(time.Duration) {}
func (s *steps) NextToken(time.Duration)  {}

func (s *steps) Step(prompt, writing int, took time.Duration) {
	s.rows += prompt
	s.tokens += writing
	if writing > 0 {
		s.deciding += took
		s.each = append(s.each, took)
	} else {
		s.filling += took
	}
}

// runs has users write at once, each from a prompt of its own.
func (m *writing) runs(ctx context.Context, users, prompt, tokens int) (*steps, error) {
	s := &steps{}
	m.Observe(s)
	defer m.Observe(nil)
	q := queue.New(queue.Options{})
	vocab := m.Info().VocabSize
	var jobs []*queue.Job
	for u := range users {
		ids := make([]int32, prompt)
		for i := range ids {
			ids[i] = int32((u*prompt*31 + i*7 + 1) % vocab)
		}
		w, err := m.NewWork(ids, text.Options{MaxTokens: tokens, IgnoreEnd: true})
		if err != nil {
			return nil, err
		}
		j, err := q.Submit(ctx, w)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	q.Close()
	if err := m.Serve(q); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if err := j.Err(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (m *writing) bench(ctx context.Context, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "users\tprompt\tprompt tokens/s\tfirst token ms\ttokens/s\tms a token\t")
	for _, users := range []int{1, 1, 4, 8} { // the first warms up
		const tokens = 48
		prompt := min(512, m.Info().MaxTokens-tokens)
		if users > m.Info().Sequences || prompt < 1 {
			continue
		}
		s, err := m.runs(ctx, users, prompt, tokens)
		if err != nil {
			return err
		}
		if len(s.each) == 0 {
			return errors.New("the model wrote nothing")
		}
		slices.Sort(s.each)
		fill := s.filling.Seconds()
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.1f\t%.1f\t%.2f\t\n", users, prompt, float64(s.rows)/fill, fill/float64(users)*1e3,
			float64(s.tokens)/s.deciding.Seconds(), s.each[len(s.each)/2].Seconds()*1e3)
	}
	return w.Flush()
}

// proof compares the built-in model's answers with the reference library's, and
// one user's tokens with the speed at which the device reads weights.
func (m *writing) proof(ctx context.Context, c *config, d *device) ([]fact, error) {
	parity, err := c.sameTokens(d)
	facts := []fact{{"parity", parity}}
	if err != nil {
		return facts, err
	}
	i := m.Info()
	read := 0.0
	if d.gpu != nil {
		p, err := d.gpu.Peak(i.DType)
		if err != nil {
			return facts, err
		}
		read = p.Copy
	} else {
		read = d.Backend.(*cpu.Backend).Peak().Read
	}
	prompt := min(64, i.MaxTokens/2)
	s, err := m.runs(ctx, 1, prompt, min(16, i.MaxTokens-prompt))
	if err != nil || len(s.each) == 0 {
		return facts, err
	}
	took := slices.Min(s.each)
	moved := float64(i.Products) * weightBytes[i.DType] / took.Seconds()
	cached := ""
	if moved > read {
		cached = ": they lie in a cache"
	}
	return append(facts,
		fact{"a prompt", fmt.Sprintf("%d tokens in %s", prompt, s.filling.Round(time.Microsecond))},
		fact{"a token", fmt.Sprintf("%s: weights read at %.1f GB/s, %.0f %% of the %.1f GB/s that the device reads%s", took.Round(time.Microsecond), moved/1e9, 100*moved/read, read/1e9, cached)}), nil
}

// sameTokens lets the built-in model answer and counts how many tokens are those
// of the reference library. In float32 it is all of them; a 16-bit or quantised
// type may choose another where two are close, and goes on differently then: so
// each token is asked for behind the reference's own beginning.
func (c *config) sameTokens(d *device) (string, error) {
	own := *c
	own.maxModelLen, own.cacheBytes, own.sequences = 0, 0, 0
	m, err := own.loadText(d, true)
	if err != nil {
		return "not computed", err
	}
	defer m.Close()
	references, err := builtin.TextReferences()
	if err != nil {
		return "not computed", err
	}
	same, all := 0, 0
	for _, r := range references {
		got, err := m.Likeliest(r.Prompt, r.Answer)
		if err != nil {
			return "not computed", err
		}
		for i, id := range r.Answer {
			all++
			if got[i] == id {
				same++
			}
		}
	}
	dtype := m.Info().DType
	said := fmt.Sprintf("%d of %d tokens as transformers chooses them, built-in model in %s", same, all, dtype)
	least := map[string]float64{"float32": 1, "bfloat16": 0.98, "float16": 0.98, "q8": 0.95, "q4": 0.5}[dtype]
	if float64(same) < least*float64(all) {
		return said, fmt.Errorf("this device computes wrong tokens: %s", said)
	}
	return said, nil
}
