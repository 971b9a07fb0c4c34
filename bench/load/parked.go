package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"remote-client-server/http"
	"remote-client-server/models/embed"
	"remote-client-server/runtime/queue"
	"remote-client-server/status"
)

// parkedServer is the argument that makes this program the server whose jobs
// can be parked; parkedText is the input of a job that is.
const (
	parkedServer = "parked-server"
	parkedText   = "park"
)

// parker is a model that takes no time. A text's ids are its bytes.
type parker struct{}

const parkerDimensions = 384

func (parker) Info() embed.Info {
	return embed.Info{Family: "parker", Dimensions: parkerDimensions, MaxTokens: 512, VocabSize: 256, DType: "float32", Device: "cpu"}
}

func (parker) Encode(text, _ string, _ *string) (embed.Text, error) {
	ids := make([]int32, len(text))
	for i := range ids {
		ids[i] = int32(text[i])
	}
	return embed.Text{IDs: ids}, nil
}

func (parker) Check(ids []int32) (embed.Text, error) { return embed.Text{IDs: ids}, nil }

func (parker) CheckOptions(embed.Options) (string, error) { return "", nil }

func (parker) IDs(text string, _ bool, _ int) ([]int32, int) {
	t, _ := parker{}.Encode(text, "", nil) // never fails
	return t.IDs, 0
}

func (parker) Decode(ids []int32, _ bool) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = byte(id)
	}
	return string(b)
}

func (parker) VocabSize() int { return 256 }

// work takes jobs until the queue is closed: the parked ones run until their
// clients go, the others end at once.
func (parker) work(q *queue.Queue) {
	vector := make([]float32, parkerDimensions)
	for i := range vector {
		vector[i] = 1 / float32(i+20)
	}
	for {
		batch, ok := q.Take(1 << 10)
		if !ok {
			return
		}
		for _, j := range batch {
			w := j.Task().(*embed.Work)
			if w.Cost() == len(parkedText) && w.Texts[0].IDs[0] == int32(parkedText[0]) {
				continue
			}
			for range w.Texts {
				w.Vectors = append(w.Vectors, vector)
			}
			j.Finish(nil)
		}
	}
}

// observer is what the real program makes of what the server does, without
// Redis.
type observer struct{ *status.Metrics }

func (observer) Generation() {}

// serveParked serves until SIGTERM and logs where, as the real program does.
func serveParked(log io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	q := queue.New(queue.Options{Jobs: 1 << 16})
	metrics := status.NewMetrics(status.Sources{Routes: http.Routes(), Queue: func() status.Queue {
		running, cost := q.Load()
		return status.Queue{Waiting: q.Waiting(), Running: running, Cost: cost}
	}})
	s := http.New(http.Options{
		Name: "parker", Type: "embed", Version: "dev", Queue: q, Observer: observer{metrics}, MaxBody: 1 << 20, MaxInputs: 2048,
	})
	s.Ready(http.Loaded{Embed: parker{}, Tokenizer: parker{}})
	go parker{}.work(q)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	slog.New(slog.NewTextHandler(log, nil)).Info("listening", "address", ln.Addr().String())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.Drain(limit) // the parked jobs do not end by themselves
	return nil
}
