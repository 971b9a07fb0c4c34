package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"remote-client-server/http"
	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
	"remote-client-server/status"
)

// serve runs the server until SIGTERM or SIGINT and returns the exit code. The
// port answers before the model is read.
func serve(c *config, stdout io.Writer) int {
	if err := c.unsupported(); err != nil {
		slog.Error("cannot start", "error", err)
		return exitStart
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	h, err := open(c)
	if err != nil {
		slog.Error("cannot listen", "error", err)
		return exitStart
	}
	go func() { // a second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	slog.Info("listening", "address", h.address, "version", build())
	return h.live(ctx, func() {
		try := h.curl()
		if c.logFormat == "json" {
			slog.Info("try it", "command", try)
		}
		if isTerminal(stdout) {
			fmt.Fprintf(stdout, "\nTry it:\n  %s\n\n", try)
		} else {
			fmt.Fprintln(stdout, try)
		}
	})
}

// house is a running server with its queue and, later, its model.
type house struct {
	config  *config
	server  *http.Server
	queue   *queue.Queue
	metrics *status.Metrics
	address string
	served  chan error // the end of the listener
	worked  chan error // the end of the worker
}

// open builds the floors and listens.
func open(c *config) (*house, error) {
	h := &house{config: c, served: make(chan error, 1), worked: make(chan error, 1)}
	h.queue = queue.New(queue.Options{
		Jobs:    c.queueSize,
		Cost:    c.queueTokens,
		Timeout: c.jobTimeout,
		OnTake: func(batch []*queue.Job) {
			tokens := 0
			for _, j := range batch {
				tokens += j.Task().Cost()
			}
			h.metrics.Batch(len(batch), tokens)
		},
	})
	h.metrics = status.New(http.Routes(), h.queue.Waiting, func() bool { return h.server.Phase() == http.Serving })
	h.server = http.New(http.Options{
		Name: c.name, RepoID: c.repoID, Type: c.kind,
		Queue: h.queue, Observer: h.metrics,
		MaxBody: c.maxBody, MaxInputs: c.maxInputs, StrictFields: c.strict,
	})
	ln, err := net.Listen("tcp", net.JoinHostPort(c.host, strconv.Itoa(c.port)))
	if err != nil {
		return nil, err
	}
	h.address = ln.Addr().String()
	go func() { h.served <- guard("the listener", func() error { return h.server.Serve(ln) }) }()
	return h, nil
}

// live loads the model, calls ready, and serves until ctx ends; it returns the
// exit code.
func (h *house) live(ctx context.Context, ready func()) int {
	start := time.Now()
	loaded := make(chan error, 1)
	go func() { loaded <- guard("loading", h.load) }()
	select {
	case err := <-loaded:
		if err != nil {
			return h.failed(ctx, err)
		}
	case err := <-h.served:
		slog.Error("the listener ended", "error", err)
		return exitStart
	case <-ctx.Done():
		slog.Info("ended while loading")
		return exitOK
	}
	slog.Info("ready", "model", h.config.name, "seconds", time.Since(start).Seconds())
	ready()
	code := exitOK
	select {
	case <-ctx.Done():
	case err := <-h.served:
		slog.Error("the listener ended", "error", err)
		code = exitStart
	case err := <-h.worked:
		slog.Error("the worker ended", "error", err)
		code = exitStart
	}
	if err := h.drain(); err != nil && code == exitOK {
		code = exitCut
	}
	return code
}

// exitCut is the exit code of a drain that the limit cut short: admitted jobs
// were cancelled, or answers were not taken in time.
const exitCut = 1

// drain lets the admitted jobs finish and their clients take the answers.
func (h *house) drain() error {
	slog.Info("draining", "waiting", h.queue.Waiting(), "limit", h.config.drainTimeout.String())
	limit, cancel := context.WithTimeout(context.Background(), h.config.drainTimeout)
	defer cancel()
	err := h.server.Drain(limit)
	if err != nil {
		slog.Warn("some requests were cut short", "error", err)
	}
	slog.Info("ended")
	return err
}

// failed keeps answering for a while, so that whoever waits for the start can
// read why it failed.
func (h *house) failed(ctx context.Context, err error) int {
	slog.Error("the start failed", "error", err, "status", h.server.Phase().String(), "ends_in", h.config.failGrace.String())
	select {
	case <-ctx.Done():
	case <-time.After(h.config.failGrace):
	}
	return exitStart
}

// load reads the model and starts its worker.
func (h *house) load() error {
	c := h.config
	if !c.builtin {
		if err := c.checkFolder(); err != nil {
			h.server.SetPhase(http.FilesUnfit)
			return err
		}
	}
	h.server.SetPhase(http.Loading)
	m, err := c.loadEmbed()
	if err != nil {
		h.server.SetPhase(failure(err))
		return err
	}
	go func() {
		h.worked <- guard("the worker", func() error { m.Serve(h.queue); return nil })
	}()
	h.announce(m)
	h.server.Ready(http.Loaded{Embed: m, Tokenizer: m.Tokenizer()})
	return nil
}

// failure is the phase after a start that failed with err: clients tell a
// repository that cannot be used from a machine that cannot run it.
func failure(err error) http.Phase {
	if errors.Is(err, embed.ErrFiles) {
		return http.FilesUnfit
	}
	return http.LoadFailed
}

// announce says what was loaded, in the log and in the metrics.
func (h *house) announce(m *embed.Model) {
	c, i := h.config, m.Info()
	h.metrics.Model(c.name, c.kind, i.Family, i.DType, i.Device, version)
	folder := c.dir
	if c.builtin {
		folder = "built in"
	}
	slog.Info("model", "name", c.name, "type", c.kind, "folder", folder, "family", i.Family, "parameters", i.Parameters,
		"dimensions", i.Dimensions, "max_tokens", i.MaxTokens, "dtype", i.DType, "device", i.Device,
		"unused_tensors", len(i.Unused))
}

// guard turns a panic of f into an error.
func guard(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("panic", "in", what, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in %s: %v", what, v)
		}
	}()
	return f()
}

// curl is a command that asks the server something.
func (h *house) curl() string {
	return fmt.Sprintf(`curl http://%s/v1/embeddings -H 'Content-Type: application/json' -d '{"input": "Where is the library?"}'`, reachable(h.address))
}

// reachable is the address by which this machine reaches a listener.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

var errNotYet = errors.New("not in this build yet")

// unsupported is the error of a wish that this build cannot fulfil. What would
// only be missed is a warning.
func (c *config) unsupported() error {
	if c.kind != "embed" {
		return fmt.Errorf("model type %s is %w", c.kind, errNotYet)
	}
	if c.keys {
		return fmt.Errorf("api keys were given, but they are %w; nothing would be protected", errNotYet)
	}
	if c.device != "auto" && c.device != "cpu" {
		if c.require {
			return fmt.Errorf("device %s is required, but it is %w", c.device, errNotYet)
		}
		slog.Warn("the model runs on the CPU: the device is "+errNotYet.Error(), "device", c.device)
	}
	if c.redis != "" {
		slog.Warn("nothing is written to Redis: that is "+errNotYet.Error(), "redis", c.redis)
	}
	return nil
}
