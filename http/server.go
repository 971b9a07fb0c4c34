// Package http is the reception: routes and wire formats on fasthttp.
//
// The server listens before the model is there and says so (see Phase). A
// request is decoded and validated on its connection's goroutine, its work goes
// through the queue to the one worker, and the answer is written by the same
// goroutine, which has done nothing but wait meanwhile. No byte slice of a
// fasthttp request outlives its handler: what is kept is copied by the decoder.
package http

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// Embedder is what reception needs of an embedding model; *embed.Model is one.
// All methods are called from many goroutines at once.
type Embedder interface {
	Info() embed.Info
	// Encode turns a text into token ids; an explicit prompt, also an empty
	// one, wins over a prompt's name. Without either (nil and "") the
	// repository's default prompt counts.
	Encode(text, promptName string, prompt *string) (embed.Text, error)
	// Check takes token ids as they are.
	Check(ids []int32) (embed.Text, error)
	// CheckOptions says what is wrong with o, or what a client should know.
	CheckOptions(o embed.Options) (warning string, err error)
}

// Tokenizer is what /tokenize and /detokenize need.
type Tokenizer interface {
	// IDs returns at most max ids (0: no limit) and how many were cut off.
	IDs(text string, addSpecial bool, max int) (ids []int32, cut int)
	Decode(ids []int32, skipSpecial bool) string
	VocabSize() int
}

// Loaded is a model that is ready to answer. A type's own field is nil unless
// the model is of that type.
type Loaded struct {
	Embed     Embedder
	Text      Writer
	Tokenizer Tokenizer
	GPU       func() (GPU, error) // reads the GPU that computes, at any time; nil on the CPU
}

// Observer is told what the server does; it must be quick and safe for
// concurrent use.
type Observer interface {
	// Request is called after each answer; route is one of a fixed set.
	Request(route string, status int, took time.Duration)
	// Error is called for each answer that says no; kind is one of a fixed set.
	Error(kind string)
	// Job is called when a job has ended or was refused; outcome is a state of
	// package queue or "refused", waited its time in the line.
	Job(outcome string, waited time.Duration)
	// Ran is called, besides Job, when a job has ended that was processed, for
	// so long.
	Ran(outcome string, took time.Duration)
	// Inputs counts answered inputs, their tokens, and those that were cut.
	Inputs(inputs, tokens, cut int)
	// Written counts answered prompts of a language model, in tokens: of the
	// prompts, those of them that were not computed again, and of the answers.
	Written(prompt, cached, completion int)
	// Generation is called for each request that a model has answered.
	Generation()
	// Panic is called for each panic that was caught, and for one in the worker
	// for each job that it ended.
	Panic()
	// WriteMetrics writes the page behind /metrics.
	WriteMetrics(w io.Writer)
}

// Options describe a server. All fields but RepoID and Keys are required.
type Options struct {
	Name     string   // of the model, as in /v1/models
	RepoID   string   // of the model, or ""
	Type     string   // of the model: embed, ...
	Version  string   // of this program
	Keys     []string // API keys, one of which a client must send; none: no key is asked for
	Queue    *queue.Queue
	Observer Observer
	MaxBody  int // bytes of a request's body
	// MaxInputs is the most inputs of one embeddings request.
	MaxInputs int
	// StrictFields makes a field that is not known an error instead of a
	// warning.
	StrictFields bool

	times times // those that are 0 are the usual ones
}

// Server answers requests for one model.
type Server struct {
	opt     Options
	fast    *fasthttp.Server
	watch   *watch
	keys    keys
	jobs    *register
	bodies  budget        // of bodies that are being received and decoded
	least   time.Duration // closeTime, or less in a test
	started time.Time

	mu  sync.Mutex // of changes to now and ln
	now snapshot   // for the handlers, which must not wait
	ln  *listener  // nil before Serve
}

// New returns a server in phase Checking.
func New(opt Options) *Server {
	opt.Observer = shielded{opt.Observer}
	opt.times.settle()
	s := &Server{opt: opt, started: time.Now(), least: closeTime, keys: newKeys(opt.Keys), jobs: newRegister(),
		bodies: budget{limit: int64(opt.MaxBody) * bodiesAtOnce}}
	s.now.Store(&state{})
	s.watch = newWatch(s.panicked)
	s.fast = &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.unreadable,
		HeaderReceived:               s.headerReceived,
		ExpectHandler:                s.expect,
		Logger:                       quiet{},
		SecureErrorLogMessage:        true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		ReadBufferSize:               headerBytes,
		ReadTimeout:                  opt.times.header,
		IdleTimeout:                  opt.times.idle,
		Concurrency:                  maxConns + spare,
		MaxRequestBodySize:           opt.MaxBody,
		StreamRequestBody:            true, // see body
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
	}
	return s
}

// Serve answers the connections of ln until Drain; it takes ownership of ln.
func (s *Server) Serve(ln net.Listener) error {
	l := newListener(ln, s.panicked)
	l.answers.limit = int64(s.opt.MaxBody) * answersAtOnce
	s.mu.Lock()
	s.ln = l
	over := s.Phase() == Draining
	s.mu.Unlock()
	if over { // before it began
		return l.Close()
	}
	if err := s.fast.Serve(l); err != nil {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// panicked reports a panic that was caught.
func (s *Server) panicked(v any) {
	slog.Error("panic in the server", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.opt.Observer.Panic()
}

// headerReceived gives the body its own time, once the header is there.
func (s *Server) headerReceived(*fasthttp.RequestHeader) fasthttp.RequestConfig {
	return fasthttp.RequestConfig{ReadTimeout: s.opt.times.body}
}

// expect refuses a body that is announced as too large before it is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.opt.MaxBody {
		return fasthttp.StatusContinue
	}
	s.safely(ctx, func(c *call) { c.fail(c.unreceived(errLarge)) })
	return fasthttp.StatusRequestEntityTooLarge
}

// unreadable answers a request that could not be read. The error's text holds
// bytes of the request and goes nowhere.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	s.safely(ctx, func(c *call) {
		c.to.prefix = openaiPrefix // the path may be lost; this shape holds the other
		c.hangUp(err)
		c.fail(c.unreceived(err))
		c.to.route = otherRoute
	})
}

// safely answers a request and reports it, and turns a panic into an answer.
func (s *Server) safely(ctx *fasthttp.RequestCtx, answer func(*call)) {
	c := s.newCall(ctx)
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			c.fail(failure{status: fasthttp.StatusInternalServerError, word: "error", code: "internal_error", message: "internal error"})
		}
		c.dropBody()
		if !c.streams {
			c.leave()
			c.report(ctx.Response.StatusCode())
		}
	}()
	answer(c)
}

// quiet is fasthttp's logger. Its lines hold bytes of requests, so only the
// kind of a line is kept.
type quiet struct{}

func (quiet) Printf(format string, _ ...any) { slog.Debug("fasthttp", "event", format) }
