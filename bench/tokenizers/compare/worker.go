package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// workerVariable names the library in the environment of a Go worker, which is this binary again.
const workerVariable = "TOKENIZERS_COMPARE_WORKER"

const (
	loadLimit = 2 * time.Minute
	maxDeaths = 5 // of a library on one file, after which it is asked no more
)

var (
	errHang = errors.New("too slow")
	errExit = errors.New("process ended")
	errDead = errors.New("not asked")
)

// worker is a library in a process of its own, which may hang or end: it is then started again.
type worker struct {
	command func() *exec.Cmd
	limit   time.Duration // for one text

	file   string
	deaths int
	cmd    *exec.Cmd // nil: not running
	in     io.WriteCloser
	out    *bufio.Reader
}

// goWorker is one of the loaders in a copy of this binary.
func goWorker(name string, limit time.Duration) *worker {
	return &worker{limit: limit, command: func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerVariable+"="+name)
		return cmd
	}}
}

// runAsWorker serves and ends the process if the environment says that it is a worker.
func runAsWorker() {
	name := os.Getenv(workerVariable)
	if name == "" {
		return
	}
	out := os.Stdout
	os.Stdout = os.Stderr // a library that prints must not spoil the answers
	if err := serve(name, os.Stdin, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// load gives the library a file and another chance. A library that cannot load it is asked no more about this file.
func (w *worker) load(file string) (answer, error) {
	w.file, w.deaths = file, 0
	a, err := w.start()
	if err != nil {
		w.deaths = maxDeaths
	}
	return a, err
}

func (w *worker) start() (a answer, err error) {
	if w.cmd == nil {
		cmd := w.command()
		in, err := cmd.StdinPipe()
		if err != nil {
			return a, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return a, err
		}
		if err := cmd.Start(); err != nil {
			return a, err
		}
		w.cmd, w.in, w.out = cmd, in, bufio.NewReader(out)
	}
	return w.ask(request{Load: w.file}, loadLimit)
}

func (w *worker) encode(text string) (answer, error) {
	if w.deaths >= maxDeaths {
		return answer{}, errDead
	}
	if w.cmd == nil {
		if a, err := w.start(); err != nil {
			return a, err
		}
	}
	return w.ask(request{Text: text}, w.limit)
}

// ask sends a line and waits for one; a worker that is late is killed.
func (w *worker) ask(q request, limit time.Duration) (a answer, err error) {
	line, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	late := time.AfterFunc(limit, func() { w.cmd.Process.Kill() })
	if _, err = w.in.Write(append(line, '\n')); err == nil {
		if line, err = w.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &a)
		}
	}
	switch inTime := late.Stop(); {
	case !inTime:
		err = errHang
	case err != nil:
		err = errExit
	case a.Error != "":
		return a, errors.New(a.Error)
	default:
		return a, nil
	}
	w.deaths++
	w.close()
	return a, err
}

func (w *worker) close() {
	if w.cmd != nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
		w.cmd = nil
	}
}

// fault names what went wrong with a text; a panic and a refusal are one kind.
func fault(err error) string {
	for _, e := range []error{errHang, errExit, errDead} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "panic"
}

// tally counts how a library did on a list of texts.
type tally struct {
	texts, right int
	faults       map[string]int // texts without an answer, by fault
	first        string         // the first text that is not right
}

// score asks for the ids of every text and compares them with those wanted.
func (w *worker) score(texts []string, want [][]int32) tally {
	t := tally{texts: len(texts), faults: map[string]int{}}
	for i, text := range texts {
		a, err := w.encode(text)
		if err != nil {
			t.faults[fault(err)]++
		} else if slices.Equal(a.IDs, want[i]) {
			t.right++
			continue
		}
		if t.first == "" {
			t.first = fmt.Sprintf("%.60q gives %.80s, not %.80s", text, fmt.Sprint(a.IDs), fmt.Sprint(want[i]))
			if err != nil {
				t.first = fmt.Sprintf("%.60q: %.160v", text, err)
			}
		}
	}
	return t
}

// String is the share of right texts in per cent, rounded down, and the faults.
func (t tally) String() string {
	s := "100"
	if t.right < t.texts {
		s = fmt.Sprintf("%.2f", float64(t.right*10000/t.texts)/100)
	}
	for _, f := range []string{"panic", errHang.Error(), errExit.Error(), errDead.Error()} {
		if n := t.faults[f]; n > 0 {
			s += fmt.Sprintf(", %s %d", f, n)
		}
	}
	return s
}
