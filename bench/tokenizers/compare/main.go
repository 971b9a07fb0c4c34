// Command compare encodes the same texts with three tokenizer libraries and tells where they differ and how fast they
// are: Hugging Face's (the reference, by reference.py), this project's, and sugarme/tokenizer.
//
//	cd bench && go run ./tokenizers/compare -python python3 tokenizer.json ...
//
// Each library runs in a process of its own. A panic, a file that does not load, a call over -limit and the end of
// the process count as wrong.
// For the timing the libraries take turns on every text, and every round has new texts; a figure is the median of the
// rounds.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// budget is the seconds after which a library is not timed again on a kind and size of text.
const budget = 3.0

func main() {
	runAsWorker()
	log.SetFlags(0)
	python := flag.String("python", "python3", "a Python with the package tokenizers")
	script := flag.String("reference", "tokenizers/reference.py", "the reference's worker")
	texts := flag.String("texts", "../tokenize/testdata/texts.json.gz", "a gzipped JSON list of texts")
	mixtures := flag.Int("mixtures", 1500, "how many more texts are made of these")
	limit := flag.Duration("limit", 10*time.Second, "time for one text")
	rounds := flag.Int("rounds", 7, "of timing; 0: no timing")
	show := flag.Bool("show", false, "print the first difference of each library with each file")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: compare [flags] tokenizer.json ...  (-help lists the flags)")
	}
	c, err := readCorpus(*texts)
	if err != nil {
		log.Fatal(err)
	}
	all := append(c.texts, c.mixtures(*mixtures)...)

	reference := &worker{limit: *limit, command: func() *exec.Cmd {
		cmd := exec.Command(*python, *script)
		cmd.Stderr = os.Stderr
		return cmd
	}}
	ours, sugarme := goWorker("ours", *limit), goWorker("sugarme", *limit)
	libraries := []*worker{reference, ours, sugarme}
	var speed [2]string
	for i, file := range flag.Args() {
		a, want, err := answers(reference, file, all)
		if err != nil {
			log.Fatalf("Hugging Face's tokenizers with %s: %v", file, err)
		}
		if i == 0 {
			fmt.Printf("Hugging Face tokenizers %s, sugarme %s, %s, %s/%s, %d CPUs; %d texts, %d kB.\n\n| ids equal, %% | ours | sugarme |\n|---|---|---|\n", a.Version, sugarmeVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), len(all), len(strings.Join(all, ""))/1000)
		}
		row := "| " + title(file)
		for _, w := range []*worker{ours, sugarme} {
			cell, first := exact(w, file, all, want)
			row += " | " + cell
			if *show && first != "" {
				log.Print(first)
			}
		}
		fmt.Println(row, "|")
		for k, size := range []int{10_000, 100_000} {
			if *rounds > 0 {
				speed[k] += speedRow(c, libraries, title(file), size, *rounds)
			}
		}
	}
	for k, table := range speed {
		if table != "" {
			fmt.Printf("\n| MB/s, %s | %s | ours / Hugging Face |\n|---|%s---|\n%s", []string{"10 kB", "100 kB"}[k], strings.Join(kinds, " | "), strings.Repeat("---|", len(kinds)), table)
		}
	}
	for _, w := range libraries {
		w.close()
	}
}

// answers are the reference's ids for all texts.
func answers(w *worker, file string, texts []string) (a answer, ids [][]int32, err error) {
	if a, err = w.load(file); err != nil {
		return a, nil, err
	}
	for _, text := range texts {
		b, err := w.encode(text)
		if err != nil {
			return a, nil, fmt.Errorf("%.60q: %w", text, err)
		}
		ids = append(ids, b.IDs)
	}
	return a, ids, nil
}

// exact is a cell of the first table, and the first difference.
func exact(w *worker, file string, texts []string, want [][]int32) (cell, first string) {
	if _, err := w.load(file); err != nil {
		return "0, does not load", err.Error()
	}
	t := w.score(texts, want)
	return t.String(), t.first
}

// speedRow has a cell "reference / ours / sugarme" a kind, and the geometric mean of ours over the reference's.
func speedRow(c *corpus, libraries []*worker, name string, size, rounds int) string {
	row, logs, n := "| "+name, 0.0, 0.0
	for _, kind := range kinds {
		cell, ratio := timing(c, libraries, kind, size, rounds)
		row += " | " + cell
		if ratio > 0 {
			logs, n = logs+math.Log(ratio), n+1
		}
	}
	return fmt.Sprintf("%s | %.1f |\n", row, math.Exp(logs/n))
}

// timing gives MB/s a library and how many times as fast the second one is as the first. ≠ marks other ids than the
// first one's.
func timing(c *corpus, libraries []*worker, kind string, size, rounds int) (cell string, ratio float64) {
	type lane struct {
		seconds []float64
		spent   float64
		note    string
		failed  bool
	}
	lanes := make([]lane, len(libraries))
	for round := range rounds + 1 { // round 0 warms up
		text := c.long(kind, size, uint64(round))
		var want []int32
		for i, w := range libraries {
			l := &lanes[i]
			if l.failed || i > 0 && l.spent > budget {
				continue
			}
			a, err := w.encode(text)
			if err != nil {
				l.failed, l.note = true, " "+fault(err)
				continue
			}
			if i == 0 {
				want = a.IDs
			} else if !slices.Equal(a.IDs, want) {
				l.note = " ≠"
			}
			if l.spent += a.Seconds; round > 0 || l.spent > budget {
				l.seconds = append(l.seconds, a.Seconds)
			}
		}
	}
	rates := make([]float64, len(lanes))
	cells := make([]string, len(lanes))
	for i, l := range lanes {
		if l.failed {
			cells[i] = "–" + l.note
			continue
		}
		slices.Sort(l.seconds)
		rates[i] = float64(size) / 1e6 / l.seconds[len(l.seconds)/2]
		cells[i] = number(rates[i]) + l.note
	}
	if rates[0] > 0 {
		ratio = rates[1] / rates[0]
	}
	return strings.Join(cells, " / "), ratio
}

// number has two digits, more before the point.
func number(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

// title is a file's name, or its folder's where the name says nothing.
func title(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	for dir := filepath.Dir(file); slices.Contains([]string{"tokenizer", "model", "models"}, name); dir = filepath.Dir(dir) {
		name = filepath.Base(dir)
	}
	return name
}

func sugarmeVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/sugarme/tokenizer" {
				return m.Version
			}
		}
	}
	return "of go.mod"
}
