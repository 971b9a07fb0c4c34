package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// demo starts the server on a free port, asks it something over HTTP and
// prints the answer.
func demo(c *config, stdout, stderr io.Writer) int {
	c.host, c.port, c.failGrace = "127.0.0.1", 0, 0
	startLog("text", slog.LevelWarn, stderr)
	if err := c.unsupported(); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitStart
	}
	h, err := open(c, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitStart
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var asked error
	code := h.live(ctx, func() {
		defer cancel()
		asked = types[c.kind].ask(h, stdout)
	})
	if asked != nil {
		fmt.Fprintln(stderr, "demo:", asked)
		return exitStart
	}
	return code
}
