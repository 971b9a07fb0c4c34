package http

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
)

// wideHouse is a server that answers each input with the same 768 values, at
// no cost.
func wideHouse(tb testing.TB) *Server {
	q := queue.New(queue.Options{Timeout: time.Minute})
	vector := floats()[:768]
	go q.Work(1<<20, func(batch []*queue.Job) {
		for _, j := range batch {
			w := j.Task().(*embed.Work)
			for range w.Texts {
				w.Vectors = append(w.Vectors, vector)
			}
			j.Finish(nil)
		}
	})
	tb.Cleanup(q.Close)
	s := New(Options{Name: "wide", Type: "embed", Queue: q, Observer: &silent{}, MaxBody: 1 << 20, MaxInputs: 2048})
	m := newFake()
	m.info.Dimensions = 768
	s.Ready(Loaded{Embed: m, Tokenizer: m})
	return s
}

// silent is an Observer that costs nothing.
type silent struct{}

func (silent) Request(string, int, time.Duration) {}
func (silent) Job(string, time.Duration)          {}
func (silent) Inputs(int, int, int)               {}
func (silent) Written(int, int, int)              {}
func (silent) Panic()                             {}
func (silent) Error(string)                       {}
func (silent) Ran(string, time.Duration)          {}
func (silent) Generation()                        {}
func (silent) WriteMetrics(io.Writer)             {}

// BenchmarkEmbeddings is the handler alone, the way through the queue
// included.
func BenchmarkEmbeddings(b *testing.B) {
	for name, body := range map[string]string{
		"float":     `{"input":"hello there","model":"wide"}`,
		"base64":    `{"input":"hello there","model":"wide","encoding_format":"base64"}`,
		"float x32": `{"input":["` + strings.Repeat(`hello there","`, 31) + `hello there"],"model":"wide"}`,
	} {
		b.Run(name, func(b *testing.B) {
			s := wideHouse(b)
			var ctx fasthttp.RequestCtx
			b.ReportAllocs()
			for b.Loop() {
				ctx.Request.Reset()
				ctx.Response.Reset()
				ctx.Request.Header.SetMethod("POST")
				ctx.Request.SetRequestURI("/v1/embeddings")
				ctx.Request.SetBodyString(body)
				s.handle(&ctx)
				if ctx.Response.StatusCode() != 200 {
					b.Fatal(string(ctx.Response.Body()))
				}
			}
		})
	}
}

// BenchmarkRoundTrip is what a client on the same machine sees over one
// connection, with a model that takes no time.
func BenchmarkRoundTrip(b *testing.B) {
	s := wideHouse(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(ln)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	req := request("/v1/embeddings", `{"input":"hello there","model":"wide"}`)
	took := make([]time.Duration, 0, 1<<16)
	for b.Loop() {
		start := time.Now()
		if _, err := io.WriteString(c, req); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
