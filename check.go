package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// loaded is a model on its device, without a server.
type loaded struct {
	backend runtime.Backend
	model   *embed.Model
	took    time.Duration // to load it
}

// loadAlone fetches and loads the model as serve does.
func loadAlone(ctx context.Context, c *config, stderr io.Writer) (*loaded, error) {
	if err := c.unsupported(); err != nil {
		return nil, err
	}
	if !c.builtin {
		t := newTeller(stderr)
		err := c.fetch(ctx, t.tell)
		t.end()
		if err != nil {
			return nil, err
		}
	}
	start := time.Now()
	b, m, err := c.loadEmbed()
	if err != nil {
		return nil, err
	}
	return &loaded{b, m, time.Since(start)}, nil
}

func (l *loaded) close() {
	l.model.Close()
	_ = l.backend.Close()
}

// check is the command that says whether this machine can serve the model: it
// loads it, computes once and looks at the result.
func check(c *config, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := guard("the check", func() error {
		l, err := loadAlone(ctx, c, stderr)
		if err != nil {
			return err
		}
		defer l.close()
		start := time.Now()
		if err := c.notFinite(canary(ctx, l.model)); err != nil {
			return err
		}
		w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, f := range c.report(l.backend, l.model) {
			fmt.Fprintf(w, "%s\t%v\n", f.name, f.value)
		}
		fmt.Fprintf(w, "loaded in\t%s\nfirst text in\t%s\n", l.took.Round(time.Millisecond), time.Since(start).Round(time.Microsecond))
		_ = w.Flush()
		for _, n := range c.hints(l.backend, l.model) {
			fmt.Fprintf(stdout, "note: %s\n", n)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(stderr, "check:", err)
		return exitStart
	}
	fmt.Fprintln(stdout, "ok")
	return exitOK
}

// calibrate measures a short and a longer input, so that the first clients are
// told true times. A model for which that would delay the start goes without.
func calibrate(ctx context.Context, m *embed.Model, q *queue.Queue) error {
	const patience = 100 * time.Millisecond
	for _, tokens := range []int{8, 64} {
		w, err := arbitrary(m, 1, min(tokens, m.Info().MaxTokens))
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

// canary computes one text. Weights that are not numbers, or that overflow on
// this device, show in its vector.
func canary(ctx context.Context, m *embed.Model) error {
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
