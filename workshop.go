package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"remote-client-server/http"
	"remote-client-server/models/embed"
	"remote-client-server/models/text"
	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// workshop is a loaded model of one type, as the server and the commands use
// it. There is one file for each type.
type workshop interface {
	// identity is what every model has.
	identity() identity
	// facts are what an operator wants to know of this one besides.
	facts() []fact
	// try computes once. Weights that are not numbers, or that overflow on this
	// device, show in the result.
	try(ctx context.Context) error
	// calibrate measures a little, so that the first clients are told true times.
	calibrate(ctx context.Context, q *queue.Queue) error
	// answers is what reception needs.
	answers() http.Loaded
	// Serve runs the queue's jobs until it is closed and empty.
	Serve(q *queue.Queue) error
	// proof says whether the device computes what the reference library does,
	// and how much of what it can do the model takes.
	proof(ctx context.Context, c *config, d *device) ([]fact, error)
	// bench measures the model, as a table.
	bench(ctx context.Context, w io.Writer) error
	Close() error
}

// identity is what every model has.
type identity struct {
	family, dtype, device string
	parameters            int64
	maxTokens             int
	unused                []string // stored tensors that nothing needs
}

// types are the model types that this build serves.
var types = map[string]struct {
	load func(c *config, d *device) (workshop, error)
	// curl is a command that asks a server something; ask puts such a question
	// and prints the answer.
	curl func(address string) string
	ask  func(h *house, w io.Writer) error
}{
	"embed": {loadEmbedding, curlEmbedding, (*house).askEmbedding},
	"text":  {loadWriting, curlWriting, (*house).askWriting},
}

var errNotYet = errors.New("not in this build yet")

// unsupported is the error of a wish that this build or this machine cannot
// fulfil, as far as that can be told before anything is fetched.
func (c *config) unsupported() error {
	if types[c.kind].load == nil {
		return fmt.Errorf("model type %s is %w", c.kind, errNotYet)
	}
	return c.reachable()
}

// load reads the model onto a device. The caller closes it.
func (c *config) load(d *device) (workshop, error) {
	m, err := types[c.kind].load(c, d)
	if err != nil && !c.builtin && ofFiles(err) {
		err = fmt.Errorf("%s: %w", c.dir, err)
	}
	var memory runtime.OutOfMemory
	if errors.As(err, &memory) && d.gpu != nil {
		err = fmt.Errorf("%w: see nvidia-smi for who else uses the GPU; a 16-bit --dtype takes half of float32, --model_device cpu takes none", err)
	}
	return m, err
}

// ofFiles says whether the model's files are at fault.
func ofFiles(err error) bool {
	return slices.ContainsFunc([]error{embed.ErrFiles, text.ErrFiles}, func(e error) bool { return errors.Is(err, e) })
}
