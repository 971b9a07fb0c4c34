// Package clients runs real clients against the real binary: openai-go in this process, openai-python in its own.
package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

var base string // http://127.0.0.1:port

func TestMain(m *testing.M) {
	code, err := serve(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// serve runs the tests against a binary built for them, and ends it by SIGTERM.
func serve(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "clients")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "remote-client-server")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	server := exec.Command(binary, "--host", "127.0.0.1", "--port", "0", "--no_redis", "--log_format", "text")
	log, err := server.StderrPipe()
	if err != nil {
		return 1, err
	}
	if err := server.Start(); err != nil {
		return 1, err
	}
	address, lines := make(chan string, 1), bufio.NewScanner(log)
	go func() {
		for lines.Scan() {
			if m := regexp.MustCompile(`msg=listening address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
			fmt.Fprintln(os.Stderr, lines.Text())
		}
	}()
	select {
	case a := <-address:
		base = "http://" + a
	case <-time.After(20 * time.Second):
		server.Process.Kill()
		return 1, errors.New("the server does not say where it listens")
	}
	if err := ready(); err != nil {
		server.Process.Kill()
		return 1, err
	}
	code := m.Run()
	server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		return 1, fmt.Errorf("after SIGTERM: %w", err)
	}
	return code, nil
}

func ready() error {
	for range 200 {
		res, err := http.Get(base + "/api/health")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the server does not become ready")
}

func cosine(a, b []float64) float64 {
	dot, x, y := 0.0, 0.0, 0.0
	for i := range a {
		dot, x, y = dot+a[i]*b[i], x+a[i]*a[i], y+b[i]*b[i]
	}
	return dot / math.Sqrt(x*y)
}

func TestOpenAIGo(t *testing.T) {
	ctx := context.Background()
	for _, prefix := range []string{"/v1", "/openai/v1", "/api"} {
		client := openai.NewClient(option.WithBaseURL(base+prefix), option.WithAPIKey("EMPTY"), option.WithMaxRetries(0))
		res, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
			Model: "any",
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"I forgot my password.", "How do I reset my login?", "Fry the onions in butter."}},
		})
		if err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
		if len(res.Data) != 3 || res.Usage.PromptTokens == 0 || res.Data[2].Index != 2 {
			t.Fatalf("%s: %d vectors, usage %+v", prefix, len(res.Data), res.Usage)
		}
		v := res.Data
		if near, far := cosine(v[0].Embedding, v[1].Embedding), cosine(v[0].Embedding, v[2].Embedding); near < far+0.2 {
			t.Errorf("%s: related sentences at %.2f, unrelated ones at %.2f", prefix, near, far)
		}
	}
	client := openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey("EMPTY"), option.WithMaxRetries(0))
	models, err := client.Models.List(ctx)
	if err != nil || len(models.Data) != 1 {
		t.Errorf("models: %v, %v", models, err)
	}
	short, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "any", Dimensions: openai.Int(32), Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("a short vector")},
	})
	if err != nil || len(short.Data[0].Embedding) != 32 {
		t.Errorf("dimensions: %v", err)
	}
	_, err = client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "any", Dimensions: openai.Int(1 << 20), Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("x")},
	})
	var fault *openai.Error
	if !errors.As(err, &fault) || fault.StatusCode != 400 || fault.Param != "dimensions" {
		t.Errorf("too many dimensions: %v", err)
	}
}

func TestOpenAIPython(t *testing.T) {
	python, err := filepath.Abs("../../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if exec.Command(python, "-c", "import openai").Run() != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Python with the openai package in .venv: run .ci/tools")
		}
		t.Skip("there is no Python with the openai package in .venv: `make test` installs it where it can")
	}
	out, err := exec.Command(python, "client.py", base).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no curl: run .ci/tools")
		}
		t.Skip("there is no curl on this machine")
	}
	// the line that the README gives
	out, err := exec.Command(curl, "-s", base+"/v1/embeddings", "-H", "Content-Type: application/json", "-d",
		`{"input": ["How do I reset my password?", "I forgot my login"]}`).Output()
	if err != nil || !strings.Contains(string(out), `"object":"embedding"`) {
		t.Errorf("%v: %.200s", err, out)
	}
	res, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(page), "\nmodelserver_queue_size 0") {
		t.Errorf("metrics: %v\n%.300s", err, page)
	}
}
