package http

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"remote-client-server/models/text"
)

// health answers {"status":"ok"}, exactly so, once the model can answer. It
// looks at nothing that a running job could hold.
func (c *call) health() {
	p := c.state.phase
	if p != Serving {
		c.ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		c.ctx.Response.Header.Set("Retry-After", strconv.Itoa(int(startRetry.Seconds())))
	}
	c.json([]byte(`{"status":"` + phases[p].health + `"}`))
}

// status tells the phase in the Python server's words.
func (c *call) status() {
	o := &c.s.opt
	b := appendString([]byte(`{"status":`), c.state.phase.String())
	b = append(b, `,"gpu":`...)
	b = strconv.AppendBool(b, c.onGPU())
	b = append(b, `,"queue":`...)
	b = strconv.AppendInt(b, int64(o.Queue.Waiting()), 10)
	b = append(b, `,"model":`...)
	b = appendString(b, c.s.modelID())
	b = append(b, `,"type":`...)
	b = appendString(b, o.Type)
	if p := c.state.progress; p != nil {
		b = appendProgress(append(b, `,"progress":`...), p)
	}
	c.json(append(b, '}'))
}

func appendProgress(b []byte, p *Progress) []byte {
	b = append(b, `{"files":`...)
	b = strconv.AppendInt(b, int64(p.Files), 10)
	b = append(b, `,"files_done":`...)
	b = strconv.AppendInt(b, int64(p.FilesDone), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, p.Bytes, 10)
	b = append(b, `,"total_bytes":`...)
	b = strconv.AppendInt(b, p.Total, 10)
	b = append(b, `,"bytes_per_second":`...)
	b = strconv.AppendInt(b, int64(p.Rate), 10)
	b = append(b, `,"eta_seconds":`...)
	if p.Left == 0 {
		return append(b, "null}"...)
	}
	return append(appendSeconds(b, p.Left.Seconds()), '}')
}

func (c *call) onGPU() bool { return c.state.loaded.GPU != nil }

// modelID is the repository, or the name where there is none.
func (s *Server) modelID() string {
	if s.opt.RepoID != "" {
		return s.opt.RepoID
	}
	return s.opt.Name
}

func (c *call) queue() {
	c.text("queue_size " + strconv.Itoa(c.s.opt.Queue.Waiting()))
}

func (c *call) modelLoaded() {
	c.json(strconv.AppendBool(nil, c.state.phase == Serving))
}

func (c *call) metrics() {
	c.ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	c.s.opt.Observer.WriteMetrics(c.ctx)
}

// models lists the one model.
func (c *call) models() {
	b := append([]byte(nil), `{"object":"list","data":[`...)
	b = c.appendModel(b)
	c.json(append(b, "]}"...))
}

// model answers for the model's name and for its repository.
func (c *call) model() {
	o := &c.s.opt
	if !strings.EqualFold(c.to.id, o.Name) && !strings.EqualFold(c.to.id, o.RepoID) {
		c.fail(failure{
			status: fasthttp.StatusNotFound, code: "model_not_found", param: "model",
			message: fmt.Sprintf("the model %q does not exist", shorten(c.to.id)),
		})
		return
	}
	c.json(c.appendModel(nil))
}

func (c *call) appendModel(b []byte) []byte {
	o := &c.s.opt
	b = append(b, `{"id":`...)
	b = appendString(b, o.Name)
	b = append(b, `,"object":"model","created":`...)
	b = strconv.AppendInt(b, c.s.started.Unix(), 10)
	owner, _, found := strings.Cut(o.RepoID, "/")
	if !found {
		owner = "local"
	}
	b = append(b, `,"owned_by":`...)
	b = appendString(b, owner)
	b = append(b, `,"root":`...)
	b = appendString(b, c.s.modelID())
	b = append(b, `,"type":`...)
	b = appendString(b, o.Type)
	if m := c.state.loaded.Embed; m != nil {
		i := m.Info()
		b = append(b, `,"max_model_len":`...)
		b = strconv.AppendInt(b, int64(i.MaxTokens), 10)
		b = append(b, `,"dimensions":`...)
		b = strconv.AppendInt(b, int64(i.Dimensions), 10)
		b = append(b, `,"matryoshka":`...)
		b = appendInts(b, i.Matryoshka)
		b = append(b, `,"family":`...)
		b = appendString(b, i.Family)
		b = append(b, `,"dtype":`...)
		b = appendString(b, i.DType)
		b = append(b, `,"device":`...)
		b = appendString(b, i.Device)
		b = append(b, `,"parameters":`...)
		b = strconv.AppendInt(b, i.Parameters, 10)
		b = append(b, `,"prompts":`...)
		b = appendStrings(b, promptNames(i.Prompts))
	}
	if m := c.state.loaded.Text; m != nil {
		b = appendText(b, m.Info())
	}
	return append(b, '}')
}

// appendText appends what is to be known of a language model.
func appendText(b []byte, i text.Info) []byte {
	b = appendInt(append(b, `,"max_model_len":`...), i.MaxTokens)
	b = appendString(append(b, `,"family":`...), i.Family)
	b = appendString(append(b, `,"dtype":`...), i.DType)
	b = appendString(append(b, `,"device":`...), i.Device)
	b = strconv.AppendInt(append(b, `,"parameters":`...), i.Parameters, 10)
	b = appendInt(append(b, `,"max_sequences":`...), i.Sequences)
	b = appendInt(append(b, `,"cache_tokens":`...), i.CacheRows)
	b = strconv.AppendBool(append(b, `,"chat":`...), i.Chat)
	return strconv.AppendBool(append(b, `,"tools":`...), i.Tools)
}
