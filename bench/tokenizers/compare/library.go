package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sugarme/tokenizer/pretrained"

	"remote-client-server/tokenize"
)

// request is a line to a worker: a file to load, or a text to encode with the special tokens around it.
type request struct {
	Load string `json:"load,omitempty"`
	Text string `json:"text"`
}

// answer is the line that comes back.
type answer struct {
	IDs     []int32 `json:"ids"`
	Version string  `json:"version,omitempty"`
	Seconds float64 `json:"seconds"` // of the library's call alone
	Error   string  `json:"error,omitempty"`
}

type encodeFunc func(text string) ([]int32, error)

// loaders are the Go libraries under comparison; truncation and padding are off in each.
var loaders = map[string]func(file string) (encodeFunc, error){"ours": loadOurs, "sugarme": loadSugarme}

func loadOurs(file string) (encodeFunc, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := tokenize.Parse(b)
	if err != nil {
		return nil, err
	}
	return func(text string) ([]int32, error) {
		ids, _ := t.IDs(text, true, 0)
		return ids, nil
	}, nil
}

func loadSugarme(file string) (encodeFunc, error) {
	t, err := pretrained.FromFile(file)
	if err != nil {
		return nil, err
	}
	t.WithTruncation(nil)
	t.WithPadding(nil)
	return func(text string) ([]int32, error) {
		e, err := t.EncodeSingle(text, true)
		if err != nil {
			return nil, err
		}
		ids := make([]int32, len(e.Ids))
		for i, id := range e.Ids {
			ids[i] = int32(id)
		}
		return ids, nil
	}, nil
}

// serve is a worker: it answers requests for one library until its input ends. A panic is an answer; hanging and
// ending the process are left to the driver.
func serve(name string, in io.Reader, out io.Writer) error {
	load, ok := loaders[name]
	if !ok {
		return fmt.Errorf("no library %q", name)
	}
	encode := encodeFunc(func(string) ([]int32, error) { return nil, errors.New("nothing loaded") })
	lines, answers := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		var a answer
		start := time.Now()
		err = recovered(func() (err error) {
			if q.Load != "" {
				encode, err = load(q.Load)
			} else {
				a.IDs, err = encode(q.Text)
			}
			return err
		})
		a.Seconds = time.Since(start).Seconds()
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}
