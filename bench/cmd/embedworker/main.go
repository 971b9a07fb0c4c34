// Command embedworker times the embedding model for a driver in another language, so that peers take turns in one run.
// It loads a repository, answers each line of JSON on standard input with one line, and ends with its input:
//
//	{"ids": [[101, 7, 102], ...]}  ->  {"ms": 1.25}               the forward pass alone
//	{"texts": ["...", ...]}        ->  {"ms": 1.25, "tokens": 12} tokenizing included
//	{"vectors": ["...", ...]}      ->  {"vectors": [[...], ...]}
//	{"peak": true}                 ->  {"peak": {...}}            register-only loops and memory, measured now
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/runtime/cpu"
)

func main() {
	dir := flag.String("dir", "", "model repository")
	dtype := flag.String("dtype", "auto", "as --dtype of the server")
	threads := flag.Int("threads", 2, "")
	level := flag.String("level", "", "instruction level, the best one if empty")
	flag.Parse()
	b, err := cpu.New(cpu.Options{Threads: *threads, Level: *level})
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	m, err := embed.Load(b, *dir, embed.LoadOptions{DType: *dtype})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "%s, %s, loaded in %v\n", b.Props().Name, m.Info().DType, time.Since(start).Round(time.Millisecond))
	in := bufio.NewReaderSize(os.Stdin, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q struct {
			IDs            [][]int32
			Texts, Vectors []string
			Peak           bool
		}
		if err := json.Unmarshal(line, &q); err != nil {
			log.Fatal(err)
		}
		answer, err := work(m, b, q.IDs, append(q.Texts, q.Vectors...), q.Vectors != nil, q.Peak)
		if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(answer); err != nil {
			return
		}
	}
}

func work(m *embed.Model, b *cpu.Backend, ids [][]int32, strings []string, show bool, peak bool) (map[string]any, error) {
	if peak {
		return map[string]any{"peak": b.Peak()}, nil
	}
	start := time.Now()
	texts := make([]embed.Text, 0, len(ids)+len(strings))
	for _, i := range ids {
		t, err := m.Check(i)
		if err != nil {
			return nil, err
		}
		texts = append(texts, t)
	}
	tokens := 0
	for _, s := range strings {
		t, err := m.Encode(s, "", nil)
		if err != nil {
			return nil, err
		}
		tokens += len(t.IDs)
		texts = append(texts, t)
	}
	v, err := m.Run(context.Background(), texts, embed.Options{Raw: true})
	if err != nil {
		return nil, err
	}
	if show {
		return map[string]any{"vectors": v}, nil
	}
	return map[string]any{"ms": float64(time.Since(start).Nanoseconds()) / 1e6, "tokens": tokens}, nil
}
