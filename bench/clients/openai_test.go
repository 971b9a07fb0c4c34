package clients

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"remote-client-server/bench/contract/server"
)

// inGo are the parts as openai-go plays them.
var inGo = map[string]func(*testing.T, *server.Server){
	"answers": goAnswers, "errors": goErrors, "cancel": goCancel, "key": goKey, "busy": goBusy, "timeout": goTimeout, "chats": goChats,
}

// newClient returns a client of OpenAI's API; it does not retry unless told.
func newClient(base string, options ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(base), option.WithAPIKey("EMPTY"), option.WithMaxRetries(0)}, options...)...)
}

func strs(texts ...string) openai.EmbeddingNewParamsInputUnion {
	return openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts}
}

func cosine(a, b []float64) float64 {
	dot, x, y := 0.0, 0.0, 0.0
	for i := range a {
		dot, x, y = dot+a[i]*b[i], x+a[i]*a[i], y+b[i]*b[i]
	}
	return dot / math.Sqrt(x*y)
}

// statuses remembers what a client was answered.
type statuses struct {
	mu   sync.Mutex
	list []int
	wait []string // Retry-After of those that were refused
	at   []time.Time
	// called after each answer, if set
	answered func()
}

func (s *statuses) option() option.RequestOption {
	return option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		started := time.Now()
		res, err := next(r)
		if err == nil {
			s.mu.Lock()
			s.list = append(s.list, res.StatusCode)
			s.wait = append(s.wait, res.Header.Get("Retry-After"))
			s.at = append(s.at, started)
			s.mu.Unlock()
			if s.answered != nil {
				s.answered()
			}
		}
		return res, err
	})
}

// retried demands that all answers but the last were refusals of this status,
// and that the client came again when it had been told to.
func (s *statuses) retried(t *testing.T, refusal int) {
	t.Helper()
	n := len(s.list) - 1
	if n < 1 || s.list[n] != 200 || slices.ContainsFunc(s.list[:n], func(status int) bool { return status != refusal }) {
		t.Errorf("answers %v, want %d and then 200", s.list, refusal)
	}
	for i, word := range s.wait[:max(n, 0)] {
		seconds, err := strconv.Atoi(word)
		if err != nil || seconds < 1 {
			t.Errorf("Retry-After %q", word)
		} else if waited := s.at[i+1].Sub(s.at[i]); waited < time.Duration(seconds)*time.Second {
			t.Errorf("the client came again after %v, not %d s", waited, seconds)
		}
	}
}

func goAnswers(t *testing.T, s *server.Server) {
	ctx := context.Background()
	for _, prefix := range []string{"/v1", "/openai/v1", "/api"} {
		client := newClient(s.Base + prefix)
		res, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
			Model: "any", Input: strs("I forgot my password.", "How do I reset my login?", "Fry the onions in butter."),
		})
		if err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
		v := res.Data
		if len(v) != 3 || res.Usage.PromptTokens == 0 || v[2].Index != 2 {
			t.Fatalf("%s: %d vectors, usage %+v", prefix, len(v), res.Usage)
		}
		if near, far := cosine(v[0].Embedding, v[1].Embedding), cosine(v[0].Embedding, v[2].Embedding); near < far+0.2 {
			t.Errorf("%s: related sentences at %.2f, unrelated ones at %.2f", prefix, near, far)
		}
		models, err := client.Models.List(ctx)
		if err != nil || len(models.Data) != 1 {
			t.Fatalf("%s: models %v, %v", prefix, models, err)
		}
		if m, err := client.Models.Get(ctx, models.Data[0].ID); err != nil || m.ID != models.Data[0].ID || m.Created == 0 {
			t.Errorf("%s: model %v, %v", prefix, m, err)
		}
	}
	client := newClient(s.Base + "/v1")
	short, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Dimensions: openai.Int(32), Input: strs("a short vector")})
	if err != nil || len(short.Data[0].Embedding) != 32 {
		t.Errorf("dimensions: %v", err)
	}
	ids, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "any", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfTokenArrays: [][]int64{{2, 5, 6, 3}, {2, 3}}},
	})
	if err != nil || ids.Usage.PromptTokens != 6 {
		t.Errorf("token ids: %v", err)
	}
}

func goErrors(t *testing.T, s *server.Server) {
	ctx, client := context.Background(), newClient(s.Base+"/v1")
	for name, c := range map[string]struct {
		params openai.EmbeddingNewParams
		param  string
	}{
		"no input":            {openai.EmbeddingNewParams{Model: "any", Input: strs()}, "input"},
		"no dimensions":       {openai.EmbeddingNewParams{Model: "any", Input: strs("x"), Dimensions: openai.Int(0)}, "dimensions"},
		"too many dimensions": {openai.EmbeddingNewParams{Model: "any", Input: strs("x"), Dimensions: openai.Int(1 << 20)}, "dimensions"},
		"another encoding":    {openai.EmbeddingNewParams{Model: "any", Input: strs("x"), EncodingFormat: "hex"}, "encoding_format"},
	} {
		_, err := client.Embeddings.New(ctx, c.params)
		var fault *openai.Error
		if !errors.As(err, &fault) || fault.StatusCode != 400 || fault.Param != c.param || fault.Type != "invalid_request_error" || fault.Message == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := client.Models.Get(ctx, "nobody")
	var fault *openai.Error
	if !errors.As(err, &fault) || fault.StatusCode != 404 || fault.Code != "model_not_found" {
		t.Errorf("an unknown model: %v", err)
	}
}

func goKey(t *testing.T, s *server.Server) {
	ctx := context.Background()
	wrong := newClient(s.Base + "/v1")
	_, err := wrong.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs("x")})
	var fault *openai.Error
	if !errors.As(err, &fault) || fault.StatusCode != 401 || fault.Code != "invalid_api_key" {
		t.Errorf("with a wrong key: %v", err)
	}
	right := newClient(s.Base+"/v1", option.WithAPIKey(key))
	if _, err := right.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs("x")}); err != nil {
		t.Errorf("with the key: %v", err)
	}
}

// goBusy fills a queue of one place behind a running job, then asks with the
// client's own retries.
func goBusy(t *testing.T, s *server.Server) {
	ctx := context.Background()
	var others sync.WaitGroup
	defer others.Wait()
	filler := newClient(s.Base + "/v1")
	for n := 1; n <= 2; n++ {
		others.Go(func() {
			if _, err := filler.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs(long()[:256]...)}); err != nil {
				t.Errorf("a job before: %v", err)
			}
		})
		server.Until(t, "the job is there", func() bool { return len(live(t, s)) == n })
	}
	_, err := filler.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs("x")})
	var fault *openai.Error
	if !errors.As(err, &fault) || fault.StatusCode != 429 || fault.Type != "rate_limit_error" || fault.Code != "queue_full" {
		t.Errorf("a full queue: %v", err)
	}
	var seen statuses
	patient := newClient(s.Base+"/v1", option.WithMaxRetries(5), seen.option())
	if _, err := patient.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs("x")}); err != nil {
		t.Errorf("with retries: %v", err)
	}
	seen.retried(t, 429)
}

func goTimeout(t *testing.T, s *server.Server) {
	client := newClient(s.Base + "/v1")
	_, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "any", Input: strs(long()...)})
	var fault *openai.Error
	if !errors.As(err, &fault) || fault.StatusCode != 504 || fault.Code != "timeout" {
		t.Errorf("a job that takes too long: %v", err)
	}
}

// goCancel leaves a request in flight, once by the client's own timeout and
// once by a cancelled context.
func goCancel(t *testing.T, s *server.Server) {
	client := newClient(s.Base + "/v1")
	for name, c := range map[string]struct {
		give func(cancel context.CancelFunc)
		with []option.RequestOption
		want error
	}{
		"timeout": {func(context.CancelFunc) {}, []option.RequestOption{option.WithRequestTimeout(time.Second)}, context.DeadlineExceeded},
		"cancel":  {func(cancel context.CancelFunc) { cancel() }, nil, context.Canceled},
	} {
		id := "go-" + name
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			_, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "any", Input: strs(long()...)},
				append(c.with, option.WithHeader("X-Request-Id", id))...)
			ended <- err
		}()
		server.Until(t, "the job is there", func() bool { return find(t, s, id).State != "" })
		c.give(cancel)
		if err := <-ended; !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		server.Until(t, "the job is cancelled", func() bool { return find(t, s, id).State == "cancelled" })
		if jobs := live(t, s); len(jobs) != 0 {
			t.Errorf("%s: %v is still there", name, jobs)
		}
	}
}
