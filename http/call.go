package http

import (
	"context"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
	sseType  = "text/event-stream; charset=utf-8"
)

// call is one request on its way through the server.
type call struct {
	s       *Server
	ctx     *fasthttp.RequestCtx
	to      target
	state   *state
	started time.Time
	// the answer is a stream, which reports itself when it ends
	streams bool
	trace   trace
	job     string             // the id of the request's job, once it has one
	read    bool               // the body was asked for
	taken   int64              // of Server.bodies
	client  context.Context    // set by enter; ends when the client goes
	watched *conn              // set by enter until leave
	expired context.CancelFunc // of the client's own deadline, or nil
}

// newCall sets what every answer carries.
func (s *Server) newCall(ctx *fasthttp.RequestCtx) *call {
	c := &call{s: s, ctx: ctx, state: s.now.Load(), started: time.Now()}
	c.to = find(string(ctx.Path()), s.opt.Name)
	h := &ctx.Response.Header
	if origin := ctx.Request.Header.Peek("Origin"); len(origin) > 0 {
		h.SetBytesV("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "X-Request-Id, X-Job-Id, Retry-After, traceparent")
	} else {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	h.Set("Vary", "Origin")
	c.trace = follow(ctx)
	return c
}

// report tells of the answer when it is there.
func (c *call) report(status int) {
	c.s.opt.Observer.Request(c.to.route.String(), status, time.Since(c.started))
	c.tell(status)
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	s.safely(ctx, func(c *call) {
		if err := framing(ctx.Request.Header.RawHeaders()); err != nil {
			c.fail(c.unreceived(err))
			c.hangUp(err)
			return
		}
		c.answer()
		c.leaveBody()
	})
}

// answer sends the request to its route.
func (c *call) answer() {
	if c.state.phase == Draining {
		c.ctx.SetConnectionClose()
	}
	if c.preflight() {
		return
	}
	if c.to.route == otherRoute {
		if !c.redirect() {
			c.fail(failure{status: fasthttp.StatusNotFound, message: "Not Found"})
		}
		return
	}
	method := string(c.ctx.Method())
	if want := routes[c.to.route].methods; !slices.Contains(want, method) && !(method == "HEAD" && want[0] == "GET") {
		c.ctx.Response.Header.Set("Allow", strings.Join(want, ", "))
		c.fail(failure{status: fasthttp.StatusMethodNotAllowed, message: "Method Not Allowed"})
		return
	}
	if !c.admitted() {
		return
	}
	switch c.to.route {
	case healthRoute:
		c.health()
	case statusRoute:
		c.status()
	case queueRoute:
		c.queue()
	case modelLoadedRoute:
		c.modelLoaded()
	case gpuRoute:
		c.gpu()
	case metricsRoute:
		c.metrics()
	case pageRoute:
		c.page()
	case jobsRoute:
		c.jobs()
	case jobRoute:
		c.oneJob()
	case v2Route:
		c.v2Server()
	case liveRoute:
		c.live()
	case readyRoute:
		c.ready()
	case v2ModelsRoute:
		c.v2Models()
	case v2ModelRoute:
		c.v2Model()
	case v2ReadyRoute:
		c.v2Ready()
	default:
		c.work()
	}
}

// work sends the request to a route that needs the model.
func (c *call) work() {
	if c.state.phase != Serving {
		c.fail(notServing(c.state.phase))
		return
	}
	if why := c.unreadableBody(); why != "" {
		c.fail(failure{status: fasthttp.StatusUnsupportedMediaType, message: why})
		return
	}
	m := &c.state.loaded
	switch {
	case c.to.route == modelsRoute:
		c.models()
	case c.to.route == modelRoute:
		c.model()
	case c.to.route == tokenizeRoute:
		c.tokenize(m)
	case c.to.route == detokenizeRoute:
		c.detokenize(m.Tokenizer)
	case c.to.route == embeddingsRoute && m.Embed != nil:
		c.embeddings(m.Embed)
	case c.to.route == generateRoute && m.Embed != nil:
		c.generateEmbeddings(m.Embed)
	case c.to.route == v2InferRoute && m.Embed != nil:
		c.infer(m.Embed)
	case c.to.route == chatRoute && m.Text != nil:
		c.chat(m.Text)
	case c.to.route == completionsRoute && m.Text != nil:
		c.completions(m.Text)
	case c.to.route == v2InferRoute && m.Text != nil:
		c.inferText(m.Text)
	default:
		c.wrongType()
	}
}

// unreadableBody says why the body cannot be JSON, or "". Only types that are
// surely something else are refused: clients of the Python server need not
// name one, and curl names that of a form.
func (c *call) unreadableBody() string {
	h := &c.ctx.Request.Header
	if e := h.ContentEncoding(); len(e) > 0 && !strings.EqualFold(string(e), "identity") {
		return "the body must not be compressed"
	}
	word := string(h.ContentType())
	kind, _, err := mime.ParseMediaType(word)
	switch {
	case word == "" || c.ctx.IsGet() || c.ctx.IsHead():
		return ""
	case err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "text/plain" || kind == "text/json" ||
		kind == "application/x-www-form-urlencoded"):
		return ""
	case c.to.route == v2InferRoute && kind == "application/octet-stream":
		return ""
	}
	return "the content type must be application/json"
}

// wrongType refuses a route of another model type and names the right one.
func (c *call) wrongType() {
	right := ""
	switch m := &c.state.loaded; {
	case m.Embed != nil:
		right = "/embeddings"
	case m.Text != nil:
		right = "/chat/completions"
	}
	base := c.to.base
	if base == "" {
		base = "/v1"
	}
	c.fail(failure{
		status: fasthttp.StatusBadRequest, code: "wrong_model_type",
		message: fmt.Sprintf("a model of type %s does not answer %s/%s: use POST %s%s", c.s.opt.Type, c.to.base, c.to.route, base, right),
	})
}

// preflight answers a browser that asks whether it may send a request.
func (c *call) preflight() bool {
	in := &c.ctx.Request.Header
	if !c.ctx.IsOptions() || len(in.Peek("Origin")) == 0 || len(in.Peek("Access-Control-Request-Method")) == 0 {
		return false
	}
	c.to.route = preflightRoute
	out := &c.ctx.Response.Header
	out.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	if ask := in.Peek("Access-Control-Request-Headers"); len(ask) > 0 {
		out.SetBytesV("Access-Control-Allow-Headers", ask)
	}
	out.Set("Access-Control-Max-Age", "600")
	c.text("OK")
	return true
}

// redirect sends a path with a slash too many to the right one. The location
// is relative to the path, so that it holds behind a proxy that removes a
// prefix.
func (c *call) redirect() bool {
	path, slashed := strings.CutSuffix(string(c.ctx.Path()), "/")
	if !slashed || find(path, c.s.opt.Name).route == otherRoute {
		return false
	}
	to := "../" + path[strings.LastIndexByte(path, '/')+1:]
	if q := c.ctx.URI().QueryString(); len(q) > 0 {
		to += "?" + string(q)
	}
	c.ctx.Response.Header.Set("Location", to)
	c.ctx.SetStatusCode(fasthttp.StatusTemporaryRedirect)
	return true
}

// json answers with b, which the response keeps.
func (c *call) json(b []byte) {
	c.ctx.SetContentType(jsonType)
	c.ctx.Response.SetBodyRaw(b)
}

func (c *call) text(s string) {
	c.ctx.SetContentType(textType)
	c.ctx.SetBodyString(s)
}
