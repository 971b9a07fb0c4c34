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
	"sync/atomic"
	"syscall"
	"time"

	"remote-client-server/cuda"
	"remote-client-server/http"
	"remote-client-server/models/embed"
	"remote-client-server/models/hub"
	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
	"remote-client-server/status"
)

// serve runs the server until SIGTERM or SIGINT and returns the exit code. The
// port answers before the model is read.
func serve(c *config, stdout, stderr io.Writer) int {
	if err := c.unsupported(); err != nil {
		slog.Error("cannot start", "error", err)
		return exitStart
	}
	// A server outlives its terminal, and whoever read its log or its output.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, hurry := endings()
	h, err := open(c, stderr)
	if err != nil {
		slog.Error("cannot listen", "error", err)
		return exitStart
	}
	h.hurry = hurry
	if len(c.keys) == 0 && !onlyHere(h.address) {
		slog.Info("no API key is set: whoever reaches the port may ask", "flag", "--api_key")
	}
	slog.Info("listening", "address", h.address, "version", build())
	return h.live(ctx, func() {
		try := types[c.kind].curl(reachable(h.address))
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

// endings are the contexts that the first and the second SIGTERM or SIGINT end:
// of serving, and of the wait for running jobs. A third one ends the program at
// once.
func endings() (serving, waiting context.Context) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	serving, first := context.WithCancel(context.Background())
	waiting, second := context.WithCancel(context.Background())
	go func() {
		<-signals
		first()
		<-signals
		signal.Stop(signals)
		second()
	}()
	return serving, waiting
}

// house is a running server with its queue and, later, its model.
type house struct {
	config  *config
	server  *http.Server
	queue   *queue.Queue
	metrics *status.Metrics
	redis   *status.Redis // or nil
	stderr  io.Writer
	address string
	hurry   context.Context // ends when running jobs are not waited for any more
	started time.Time
	fetched atomic.Pointer[hub.Progress] // of a download
	device  atomic.Pointer[device]       // once the model is loaded
	served  chan error                   // the end of the listener
	worked  chan error                   // the end of the worker
}

// observer hands on what the server does: to the metrics, and each generation
// to Redis.
type observer struct {
	*status.Metrics
	redis *status.Redis
}

func (o observer) Generation() { o.redis.Generation() }

// open builds the floors and listens.
func open(c *config, stderr io.Writer) (*house, error) {
	h := &house{config: c, stderr: stderr, hurry: context.Background(), started: time.Now(), served: make(chan error, 1), worked: make(chan error, 1)}
	h.queue = queue.New(queue.Options{
		Jobs:    c.queueSize,
		Cost:    c.queueTokens,
		Timeout: c.jobTimeout,
		OnTake: func(batch []*queue.Job) {
			tokens, inputs := 0, 0
			for _, j := range batch {
				tokens += j.Task().Cost()
				if w, ok := j.Task().(*embed.Work); ok {
					inputs += len(w.Texts)
				}
			}
			h.metrics.Batch(len(batch), tokens)
			h.metrics.BatchInputs(inputs)
		},
	})
	if c.redis != nil {
		var err error
		if h.redis, err = status.NewRedis(*c.redis); err != nil {
			return nil, err
		}
	}
	h.metrics = status.NewMetrics(h.sources())
	h.server = http.New(http.Options{
		Name: c.name, RepoID: c.repoID, Type: c.kind, Version: version,
		Queue: h.queue, Observer: observer{h.metrics, h.redis}, Keys: c.keys,
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

// sources are where the metrics look.
func (h *house) sources() status.Sources {
	c := h.config
	s := status.Sources{
		Routes: http.Routes(),
		Ready:  func() bool { return h.server.Phase() == http.Serving },
		Queue: func() status.Queue {
			running, cost := h.queue.Load()
			return status.Queue{Waiting: h.queue.Waiting(), Running: running, Limit: c.queueSize, Cost: cost, CostLimit: c.queueTokens}
		},
		Download: func() status.Download {
			p := h.fetched.Load()
			if p == nil {
				return status.Download{}
			}
			d := status.Download{Bytes: p.Bytes, Total: p.Total}
			if p.Phase == hub.Downloading {
				d.Rate = p.Rate
			}
			return d
		},
		Device: func() status.Device {
			d := h.device.Load()
			if d == nil {
				return status.Device{}
			}
			p, l := d.Props(), d.Ledger()
			return status.Device{Device: p.Device, Name: p.Name, MemoryUsed: l.Weights + l.Scratch + l.Cache + l.Arena, MemoryTotal: p.Memory}
		},
	}
	if c.compat && c.kind != "text" { // which has vLLM's names
		s.Compat = http.InferenceRoutes()
	}
	if h.redis != nil {
		s.Redis = h.redis.State
	}
	return s
}

// live loads the model, calls ready, and serves until ctx ends; it returns the
// exit code.
func (h *house) live(ctx context.Context, ready func()) int {
	defer h.closeRedis()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- guard("loading", func() error { return h.load(loading) }) }()
	select {
	case err := <-loaded:
		if err != nil && ctx.Err() == nil {
			return h.failed(ctx, err)
		}
	case err := <-h.served:
		slog.Error("the listener ended", "error", err)
		return exitStart
	case <-ctx.Done():
		select { // a download notes how far it came
		case <-loaded:
		case <-time.After(abandonTime):
		}
	}
	if ctx.Err() != nil { // what was fetched so far is found by the next start
		slog.Info("ended while loading")
		return exitOK
	}
	took := time.Since(h.started)
	h.metrics.Started(took)
	slog.Info("ready", "model", h.config.name, "seconds", took.Seconds())
	ready()
	code := exitOK
	select {
	case <-ctx.Done():
	case err := <-h.served:
		slog.Error("the listener ended", "error", err)
		code = exitStart
	case err := <-h.worked:
		code = exitStart
		var lost runtime.DeviceError
		if errors.As(err, &lost) {
			h.server.SetPhase(http.DeviceLost)
			code = exitDevice
		}
		slog.Error("the worker ended", "error", err)
		if code == exitDevice { // clients and probes read why for a moment; then whoever watches starts the process again
			select {
			case <-ctx.Done():
			case <-time.After(lostTime):
			}
		}
	}
	if err := h.drain(); err != nil && code == exitOK {
		code = exitCut
	}
	return code
}

// closeRedis delivers the last counts, for a moment.
func (h *house) closeRedis() {
	ctx, cancel := context.WithTimeout(context.Background(), redisTime)
	defer cancel()
	if err := h.redis.Close(ctx); err != nil {
		slog.Warn("the last generations were not counted in Redis", "error", err)
	}
}

// abandonTime is how long the end of the server waits for what it gave up.
const abandonTime = 2 * time.Second

// redisTime is how long the end of the server waits for Redis.
const redisTime = 2 * time.Second

// exitCut is the exit code of a drain that the limit cut short: admitted jobs
// were cancelled, or answers were not taken in time.
const exitCut = 1

// drain lets the admitted jobs finish and their clients take the answers.
func (h *house) drain() error {
	slog.Info("draining", "waiting", h.queue.Waiting(), "limit", h.config.drainTimeout.String())
	limit, cancel := context.WithTimeout(h.hurry, h.config.drainTimeout)
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
	if errors.Is(err, cuda.ErrSticky) {
		return exitDevice
	}
	return exitStart
}

// load fetches what is missing, reads the model and starts its worker.
func (h *house) load(ctx context.Context) error {
	c := h.config
	if !c.builtin {
		t := newTeller(h.stderr)
		err := c.fetch(ctx, func(p hub.Progress) {
			h.downloading(p)
			t.tell(p)
		})
		t.end()
		if err != nil {
			h.server.SetPhase(c.unfetched(err))
			return err
		}
	}
	h.server.SetPhase(http.Loading)
	ready := make(chan error, 1)
	go func() { h.worked <- guard("the worker", func() error { return h.work(ctx, ready) }) }()
	select {
	case err := <-ready:
		return err
	case err := <-h.worked: // it ended before it was ready
		h.worked <- err
		if err == nil {
			err = errors.New("the worker ended before the model was loaded")
		}
		h.server.SetPhase(failure(err))
		return err
	}
}

// work loads the model and serves the queue's jobs, on one goroutine: a GPU's
// context is current to one thread. It tells ready how the loading went.
func (h *house) work(ctx context.Context, ready chan<- error) error {
	c := h.config
	return c.onDevice(func(d *device) error {
		m, err := c.load(d)
		if err == nil {
			defer m.Close()
			err = c.notFinite(m.try(ctx))
		}
		if err == nil {
			err = m.calibrate(ctx, h.queue)
		}
		if err != nil {
			return err
		}
		h.device.Store(d)
		h.announce(d, m)
		answers := m.answers()
		answers.GPU = d.reader()
		h.server.Ready(answers)
		ready <- nil
		return m.Serve(h.queue)
	})
}

// downloading tells clients and the metrics how far it is.
func (h *house) downloading(p hub.Progress) {
	if p.Phase == hub.Downloading || p.Phase == hub.Done {
		h.fetched.Store(&p)
	}
	if p.Phase == hub.Downloading {
		h.server.Download(http.Progress{Files: p.Files, FilesDone: p.FilesDone, Bytes: p.Bytes, Total: p.Total, Rate: p.Rate, Left: p.ETA})
	}
}

// unfetched is the phase after a fetch that failed with err: whether the files
// that are there are at fault, or the Hub.
func (c *config) unfetched(err error) http.Phase {
	if c.repoID == "" || ofFiles(err) || errors.Is(err, hub.ErrOffline) || errors.Is(err, hub.ErrAdapter) {
		return http.FilesUnfit
	}
	return http.DownloadFailed
}

// failure is the phase after a start that failed with err: clients tell a
// repository that cannot be used from a machine that cannot run it.
func failure(err error) http.Phase {
	if ofFiles(err) {
		return http.FilesUnfit
	}
	return http.LoadFailed
}

// announce says what was loaded, in the log and in the metrics.
func (h *house) announce(b *device, m workshop) {
	c, i := h.config, m.identity()
	h.metrics.Model(c.name, c.kind, i.family, i.dtype, i.device, version)
	if w, ok := m.(*writing); ok {
		w.watch(h.metrics, c)
	}
	var facts []any
	for _, f := range c.report(b, m) {
		facts = append(facts, f.name, f.value)
	}
	slog.Info("loaded", facts...)
	for _, hint := range c.hints(b, m) {
		slog.Info("not the fastest", "why", hint)
	}
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

// reachable is the address by which this machine reaches a listener.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

// onlyHere says whether only this machine reaches a listener.
func onlyHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
