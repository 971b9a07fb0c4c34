package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/valyala/fasthttp"
)

// sentences are in pairs that say nearly the same.
var sentences = []string{
	"How do I reset my password?",
	"I forgot my login and need a new password.",
	"The train to Berlin leaves at noon.",
	"When does the next train depart?",
	"Heat the oil and fry the onions.",
	"Cook the onions in a hot pan.",
}

// askEmbedding asks how close the sentences are to each other and prints that as
// a table.
func (h *house) askEmbedding(w io.Writer) error {
	url := "http://" + h.address + "/v1/embeddings"
	body, err := json.Marshal(map[string]any{"input": sentences})
	if err != nil {
		return err
	}
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.SetRequestURI(url)
	req.SetBody(body)
	start := time.Now()
	if err := fasthttp.DoTimeout(req, res, time.Minute); err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	took := time.Since(start)
	var answer struct {
		Data  []struct{ Embedding []float32 }
		Usage struct {
			Tokens int `json:"prompt_tokens"`
		}
	}
	if err := json.Unmarshal(res.Body(), &answer); err != nil || res.StatusCode() != 200 || len(answer.Data) != len(sentences) {
		return fmt.Errorf("asking %s: status %d: %s", url, res.StatusCode(), res.Body())
	}
	fmt.Fprintf(w, "POST %s with %d sentences (%d tokens): %d numbers for each, in %s.\n", url, len(sentences), answer.Usage.Tokens,
		len(answer.Data[0].Embedding), took.Round(100*time.Microsecond))
	fmt.Fprintf(w, "How close they are in meaning, from 0 (not at all) to 1 (the same):\n\n")
	vectors := make([][]float32, len(sentences))
	for i, d := range answer.Data {
		vectors[i] = d.Embedding
	}
	printTable(w, sentences, vectors)
	return nil
}

// printTable prints the inner products of normalised vectors, and to each
// sentence the closest other one.
func printTable(w io.Writer, sentences []string, vectors [][]float32) {
	width := 0
	for _, s := range sentences {
		width = max(width, len(s))
	}
	fmt.Fprintf(w, "%*s", width+5, "")
	for j := range sentences {
		fmt.Fprintf(w, "%6d", j+1)
	}
	fmt.Fprintln(w, "   closest")
	for i, s := range sentences {
		fmt.Fprintf(w, "%3d  %-*s", i+1, width, s)
		closest, best := 0, -2.0
		for j := range sentences {
			dot := 0.0
			for k, x := range vectors[i] {
				dot += float64(x) * float64(vectors[j][k])
			}
			fmt.Fprintf(w, "%6.2f", dot)
			if j != i && dot > best {
				closest, best = j, dot
			}
		}
		fmt.Fprintf(w, "%9d\n", closest+1)
	}
}
