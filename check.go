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
	"remote-client-server/runtime/queue"
)

// loaded is a model on its device, without a server.
type loaded struct {
	device *device
	model  *embed.Model
	took   time.Duration // to load it
}

// alone fetches and loads the model as serve does, and runs f on the device's
// goroutine.
func (c *config) alone(ctx context.Context, stderr io.Writer, f func(l *loaded) error) error {
	if err := c.unsupported(); err != nil {
		return err
	}
	if !c.builtin {
		t := newTeller(stderr)
		err := c.fetch(ctx, t.tell)
		t.end()
		if err != nil {
			return err
		}
	}
	return c.onDevice(func(d *device) error {
		start := time.Now()
		m, err := c.loadEmbed(d)
		if err != nil {
			return err
		}
		defer m.Close()
		return f(&loaded{d, m, time.Since(start)})
	})
}

// check is the command that says whether this machine can serve the model: it
// loads it, computes once and looks at the result.
func check(c *config, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := guard("the check", func() error {
		return c.alone(ctx, stderr, func(l *loaded) error {
			start := time.Now()
			if err := c.notFinite(canary(ctx, l.model)); err != nil {
				return err
			}
			first := time.Since(start)
			w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
			for _, f := range c.report(l.device, l.model) {
				fmt.Fprintf(w, "%s\t%v\n", f.name, f.value)
			}
			fmt.Fprintf(w, "loaded in\t%s\nfirst text in\t%s\n", l.took.Round(time.Millisecond), first.Round(time.Microsecond))
			facts, err := c.proof(ctx, l)
			for _, f := range facts {
				fmt.Fprintf(w, "%s\t%v\n", f.name, f.value)
			}
			_ = w.Flush()
			for _, n := range c.hints(l.device, l.model) {
				fmt.Fprintf(stdout, "note: %s\n", n)
			}
			return err
		})
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
