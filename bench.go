package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/cpu"
)

// benchShapes are texts times tokens of each.
var benchShapes = [][2]int{{1, 32}, {1, 128}, {1, 512}, {32, 32}, {32, 128}}

// Of each shape: a first run that does not count, then so many, within a time.
const (
	benchRuns = 15
	benchTime = 4 * time.Second
)

// bench is the command that measures the model on this machine, beside what
// the machine can do at most.
func bench(c *config, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := guard("the benchmark", func() error {
		return c.alone(ctx, stderr, func(l *loaded) error {
			i := l.model.Info()
			fmt.Fprintf(stdout, "%s (%s, %s weights) on %s, loaded in %s\n", c.name, i.Family, i.DType, l.device.Props().Name, l.took.Round(time.Millisecond))
			if g := l.device.gpu; g != nil {
				p, err := g.Peak(i.DType)
				if err != nil {
					return err
				}
				fmt.Fprintf(stdout, "the GPU's peak: %.3g TFLOP/s of the largest product, %.0f GB/s of copies\n", p.Product/1e12, p.Copy/1e9)
			}
			if b, ok := l.device.Backend.(*cpu.Backend); ok {
				p := b.Peak()
				fmt.Fprintf(stdout, "the machine's peak: %.0f GFLOP/s float32, %.0f bfloat16, %.1f GB/s of reading\n", p.FMA/1e9, p.BF16/1e9, p.Read/1e9)
			}
			w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(w, "texts x tokens\tmedian ms\tbest ms\ttexts/s\ttokens/s\t")
			for _, shape := range benchShapes {
				if shape[1] > i.MaxTokens {
					continue
				}
				times, err := measure(ctx, l.model, shape[0], shape[1])
				if err != nil {
					return err
				}
				slices.Sort(times)
				median := times[len(times)/2].Seconds()
				fmt.Fprintf(w, "%d x %d\t%.2f\t%.2f\t%.1f\t%.0f\t\n", shape[0], shape[1], median*1e3, times[0].Seconds()*1e3,
					float64(shape[0])/median, float64(shape[0]*shape[1])/median)
			}
			return w.Flush()
		})
	})
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitStart
	}
	return exitOK
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
