package http

import (
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// The routes of the Open Inference Protocol (KServe V2) but for infer. The
// protocol: github.com/kserve/open-inference-protocol, and what its clients
// here make of it.

// v2Suffixes are the routes of one model by the end of their path.
var v2Suffixes = []struct {
	suffix string
	route  route
}{
	{"/infer", v2InferRoute},
	{"/ready", v2ReadyRoute},
	{"", v2ModelRoute},
}

// lookupV2 finds a path below /v2. A repository's id holds a slash.
func lookupV2(rest string) target {
	t := target{prefix: v2Prefix, base: "/v2"}
	switch rest {
	case "":
		t.route = v2Route
	case "/health/live":
		t.route = liveRoute
	case "/health/ready":
		t.route = readyRoute
	case "/models":
		t.route = v2ModelsRoute
	default:
		name, ok := strings.CutPrefix(rest, "/models/")
		if !ok {
			return t
		}
		for _, s := range v2Suffixes {
			if id, ok := strings.CutSuffix(name, s.suffix); ok && id != "" && !strings.HasSuffix(id, "/") {
				t.route, t.id = s.route, id
				return t
			}
		}
	}
	return t
}

func (c *call) v2Server() {
	b := append([]byte(nil), `{"name":"remote-client-server","version":`...)
	b = appendString(b, c.s.opt.Version)
	c.json(append(b, `,"extensions":[]}`...))
}

// live answers as long as the process does.
func (c *call) live() { c.json([]byte(`{"live":true}`)) }

func (c *call) ready() {
	c.readiness([]byte{'{'})
}

// readiness answers whether the model can; b is the answer's beginning.
func (c *call) readiness(b []byte) {
	up := c.state.phase == Serving
	if !up {
		c.ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		c.ctx.Response.Header.Set("Retry-After", strconv.Itoa(int(startRetry.Seconds())))
	}
	b = append(b, `"ready":`...)
	c.json(append(strconv.AppendBool(b, up), '}'))
}

func (c *call) v2Models() {
	b := appendString([]byte(`{"models":[`), c.s.opt.Name)
	c.json(append(b, "]}"...))
}

// named says whether the path names the served model; it answers itself when
// not.
func (c *call) named() bool {
	if o := &c.s.opt; strings.EqualFold(c.to.id, o.Name) || strings.EqualFold(c.to.id, o.RepoID) {
		return true
	}
	c.fail(failure{
		status: fasthttp.StatusNotFound, code: "model_not_found",
		message: "Model with name " + shorten(c.to.id) + " does not exist.",
	})
	return false
}

func (c *call) v2Ready() {
	if c.named() {
		b := appendString([]byte(`{"name":`), c.s.opt.Name)
		c.readiness(append(b, ','))
	}
}

// v2Model describes the inputs and outputs of infer.
func (c *call) v2Model() {
	if !c.named() {
		return
	}
	o := &c.s.opt
	b := appendString([]byte(`{"name":`), o.Name)
	b = append(b, `,"versions":[],"platform":"remote-client-server_`...)
	b = append(b, strings.ReplaceAll(o.Type, "-", "_")...)
	b = append(b, `","inputs":`...)
	inputs, outputs := []tensorInfo(nil), []tensorInfo(nil)
	switch o.Type {
	case "embed":
		inputs, outputs = embedInputs, embedOutputs
	case "text":
		inputs, outputs = textInputs, textOutputs
	}
	b = appendTensorInfos(b, inputs)
	b = append(b, `,"outputs":`...)
	c.json(append(appendTensorInfos(b, outputs), '}'))
}

// tensorInfo describes an input or an output; -1 is any length.
type tensorInfo struct {
	name, datatype string
	shape          int
}

func appendTensorInfos(b []byte, list []tensorInfo) []byte {
	b = append(b, '[')
	for i, t := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"name":`...), t.name)
		b = appendString(append(b, `,"datatype":`...), t.datatype)
		b = append(b, `,"shape":[`...)
		b = strconv.AppendInt(b, int64(t.shape), 10)
		b = append(b, "]}"...)
	}
	return append(b, ']')
}
