package emu

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestGeneratedLoopsAreUpToDate(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	to := filepath.Join(t.TempDir(), "ops_gen") // no .go: go run would take it for a source
	if out, err := exec.Command(tool, "run", "gen.go", to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile("ops_gen.go"); !bytes.Equal(got, want) {
		t.Error("ops_gen.go is not what gen.go writes: run go generate")
	}
}
