package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// questions are what the demo asks a language model.
var questions = []string{
	"Hello!", "Count from 3 to 9.", "What is the capital of Norway?", "What is 17 plus 25?",
}

// askWriting asks the questions, one conversation each, and prints the answers
// as they come.
func (h *house) askWriting(w io.Writer) error {
	url := "http://" + h.address + "/v1/chat/completions"
	client := http.Client{Timeout: time.Minute}
	for _, q := range questions {
		body, err := json.Marshal(map[string]any{
			"messages": []map[string]string{{"role": "user", "content": q}}, "temperature": 0, "max_tokens": 64, "stream": true,
		})
		if err != nil {
			return err
		}
		start := time.Now()
		res, err := client.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("asking %s: %w", url, err)
		}
		fmt.Fprintf(w, "> %s\n", q)
		tokens, err := printStream(w, res)
		if err != nil {
			return fmt.Errorf("asking %s: %w", url, err)
		}
		fmt.Fprintf(w, "\n  (%d pieces in %s)\n\n", tokens, time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// printStream prints the text of a stream of chunks and counts those with any.
func printStream(w io.Writer, res *http.Response) (int, error) {
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		return 0, fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	pieces := 0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || bytes.Equal(data, []byte("[DONE]")) {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
			Error   json.RawMessage
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return pieces, err
		}
		if chunk.Error != nil {
			return pieces, fmt.Errorf("%s", chunk.Error)
		}
		for _, c := range chunk.Choices {
			if c.Delta.Content != "" {
				pieces++
				fmt.Fprint(w, c.Delta.Content)
			}
		}
	}
	return pieces, lines.Err()
}
