package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	cmd := program(t, "demo")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatal(err, stderr.String())
	}
	for _, s := range sentences {
		if !strings.Contains(string(out), s) {
			t.Errorf("no line %q in\n%s", s, out)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	printTable(&b, []string{"left", "also left", "up"}, [][]float32{{1, 0}, {0.8, 0.6}, {0, 1}})
	const want = "                   1     2     3   closest\n" +
		"  1  left       1.00  0.80  0.00        2\n" +
		"  2  also left  0.80  1.00  0.60        1\n" +
		"  3  up         0.00  0.60  1.00        2\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
