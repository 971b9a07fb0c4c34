package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"remote-client-server/runtime/cpu"
)

// bench is the command that measures the model on this machine, beside what
// the machine can do at most.
func bench(c *config, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := guard("the benchmark", func() error {
		return c.alone(ctx, stderr, func(l *loaded) error {
			i := l.model.identity()
			fmt.Fprintf(stdout, "%s (%s, %s weights) on %s, loaded in %s\n", c.name, i.family, i.dtype, l.device.Props().Name, l.took.Round(time.Millisecond))
			if g := l.device.gpu; g != nil {
				p, err := g.Peak(i.dtype)
				if err != nil {
					return err
				}
				fmt.Fprintf(stdout, "the GPU's peak: %.3g TFLOP/s of the largest product, %.0f GB/s of copies\n", p.Product/1e12, p.Copy/1e9)
			}
			if b, ok := l.device.Backend.(*cpu.Backend); ok {
				p := b.Peak()
				fmt.Fprintf(stdout, "the machine's peak: %.0f GFLOP/s float32, %.0f bfloat16, %.1f GB/s of reading\n", p.FMA/1e9, p.BF16/1e9, p.Read/1e9)
			}
			return l.model.bench(ctx, stdout)
		})
	})
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitStart
	}
	return exitOK
}
