package http

import (
	"cmp"
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"remote-client-server/models/text"
	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// failure is an answer that says no.
type failure struct {
	status  int    // HTTP
	message string // for people
	detail  string // the message as clients of the Python server know it; "": the same
	param   string // the field that is wrong, as a path
	code    string // for programs, or ""
	// word is the "status" that clients of the Python server look at in a
	// failed job's answer: error, cancelled, timeout. "" leaves it out.
	word  string
	retry time.Duration // for Retry-After; 0 leaves it out
}

// kind is the failure's type in OpenAI's words.
func (f *failure) kind() string {
	switch {
	case f.status == fasthttp.StatusTooManyRequests:
		return "rate_limit_error"
	case f.status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// name is the failure's kind in metrics, one of a fixed set.
func (f *failure) name() string {
	switch f.status {
	case fasthttp.StatusBadRequest, fasthttp.StatusMethodNotAllowed, fasthttp.StatusUnsupportedMediaType, fasthttp.StatusConflict:
		return "bad_request"
	case fasthttp.StatusRequestEntityTooLarge, fasthttp.StatusRequestHeaderFieldsTooLarge:
		return "too_large"
	case fasthttp.StatusUnauthorized:
		return "unauthorized"
	case fasthttp.StatusNotFound:
		return "not_found"
	case fasthttp.StatusTooManyRequests:
		return "rate_limited"
	case fasthttp.StatusRequestTimeout, fasthttp.StatusGatewayTimeout:
		return "timeout"
	case fasthttp.StatusServiceUnavailable:
		if f.word == "cancelled" {
			return "cancelled"
		}
		return "not_ready"
	}
	if f.code == "job_failed" {
		return "job_failed"
	}
	return "internal"
}

// fail answers with f, in the shape that the path's clients read: "detail"
// everywhere, and OpenAI's nested object under its own prefixes and for a
// failed job; V2 has a shape of its own.
func (c *call) fail(f failure) {
	c.s.opt.Observer.Error(f.name())
	c.ctx.Response.ResetBody()
	c.ctx.SetStatusCode(f.status)
	c.ctx.SetContentType(jsonType)
	if f.retry > 0 {
		seconds := int64((f.retry + time.Second - 1) / time.Second)
		c.ctx.Response.Header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	b := append(make([]byte, 0, 256), '{')
	if c.to.prefix == v2Prefix && c.to.route != otherRoute && f.status != fasthttp.StatusMethodNotAllowed {
		b = appendString(append(b, `"error":`...), f.message)
		c.ctx.Response.SetBodyRaw(append(b, '}'))
		return
	}
	if f.word != "" {
		b = append(b, `"status":`...)
		b = append(appendString(b, f.word), ',')
	}
	b = append(b, `"detail":`...)
	b = appendString(b, cmp.Or(f.detail, f.message))
	if c.to.prefix == openaiPrefix || f.word != "" {
		b = append(b, `,"error":{"message":`...)
		b = appendString(b, f.message)
		b = append(b, `,"type":`...)
		b = appendString(b, f.kind())
		b = append(b, `,"param":`...)
		b = appendOrNull(b, f.param)
		b = append(b, `,"code":`...)
		b = appendOrNull(b, f.code)
		b = append(b, '}')
	}
	c.ctx.Response.SetBodyRaw(append(b, '}'))
}

func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// invalid is the failure of a request whose body is wrong, or that came to its
// end while it was prepared.
func (s *Server) invalid(err error) failure {
	f := failure{status: fasthttp.StatusBadRequest, message: err.Error(), detail: "Invalid request format: " + err.Error()}
	var field *badField
	var long *text.ContextError
	switch {
	case errors.As(err, &field):
		f.param = field.Path
	case errors.As(err, &long):
		f.code = "context_length_exceeded"
	default:
		return s.refused(err)
	}
	return f
}

// startRetry is when to ask again while the server starts or ends.
const startRetry = 5 * time.Second

// maxRetry bounds when to ask again after a full queue.
const maxRetry = time.Hour

// notServing is the failure of work that comes in another phase.
func notServing(p Phase) failure {
	return failure{
		status: fasthttp.StatusServiceUnavailable, message: "the model is not ready: " + p.String(),
		code: "model_not_ready", word: phases[p].health, retry: startRetry,
	}
}

// refused is the failure of a job that the queue did not take.
func (s *Server) refused(err error) failure {
	switch {
	case errors.Is(err, queue.ErrFull):
		wait := min(max(s.opt.Queue.Wait(), time.Second), maxRetry)
		return failure{
			status: fasthttp.StatusTooManyRequests, message: "the queue is full",
			code: "queue_full", retry: wait,
		}
	case errors.Is(err, queue.ErrClosed):
		return notServing(Draining)
	}
	return jobFailed(err)
}

// unanswered is the failure of a job whose answer could not be made.
func unanswered(err error) failure {
	if errors.Is(err, errSlow) {
		return failure{status: fasthttp.StatusServiceUnavailable, word: "error", message: err.Error(), code: "server_busy", retry: uploadRetry}
	}
	return jobFailed(err)
}

// jobFailed is the failure of a job that has ended with err.
func jobFailed(err error) failure {
	var panicked *queue.PanicError
	var device runtime.DeviceError
	switch {
	case errors.As(err, &device):
		f := notServing(DeviceLost)
		f.code = "device_lost"
		return f
	case errors.Is(err, queue.ErrDeadline):
		return failure{status: fasthttp.StatusGatewayTimeout, word: "timeout", code: "timeout", message: "the job took too long"}
	case errors.Is(err, queue.ErrCancelled):
		return failure{status: fasthttp.StatusServiceUnavailable, word: "cancelled", code: "cancelled", message: "the job was cancelled"}
	case errors.As(err, &panicked):
		return failure{status: fasthttp.StatusInternalServerError, word: "error", code: "internal_error", message: "internal error"}
	}
	return failure{status: fasthttp.StatusInternalServerError, word: "error", code: "job_failed", message: err.Error()}
}
