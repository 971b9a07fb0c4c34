package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"
)

// loaded is a model on its device, without a server.
type loaded struct {
	device *device
	model  workshop
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
		m, err := c.load(d)
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
			if err := c.notFinite(l.model.try(ctx)); err != nil {
				return err
			}
			first := time.Since(start)
			w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
			for _, f := range c.report(l.device, l.model) {
				fmt.Fprintf(w, "%s\t%v\n", f.name, f.value)
			}
			fmt.Fprintf(w, "loaded in\t%s\nfirst answer in\t%s\n", l.took.Round(time.Millisecond), first.Round(time.Microsecond))
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
