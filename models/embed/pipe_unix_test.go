//go:build unix

package embed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"remote-client-server/runtime/ref"
)

// Opening a pipe waits for its writer: a repository with one must fail instead of hanging the start.
func TestPipesAreNoFilesOfARepository(t *testing.T) {
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "modules.json", "sentence_bert_config.json"} {
		dir := copyRepository(t, "bert-odd")
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(ref.New(), dir, LoadOptions{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is a pipe: %v", name, err)
		}
	}
}
