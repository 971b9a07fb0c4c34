package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The fixtures of the tokenize package hold small tokenizers in the layouts of real models, and Hugging Face's ids
// for the texts.
const fixtures = "../../../tokenize/testdata"

func TestMain(m *testing.M) {
	loaders["faulty"] = loadFaulty
	runAsWorker()
	os.Exit(m.Run())
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(name, err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(name, err)
	}
	return b
}

func TestOursGivesTheReferencesIDsAndSugarmeIsReported(t *testing.T) {
	c, err := readCorpus(filepath.Join(fixtures, "texts.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	charsmap := base64.StdEncoding.EncodeToString(unzip(t, "charsmap.gz"))
	ours, sugarme := goWorker("ours", 10*time.Second), goWorker("sugarme", 2*time.Second)
	defer ours.close()
	defer sugarme.close()
	files, _ := filepath.Glob(filepath.Join(fixtures, "*.json.gz"))
	compared := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json.gz")
		if name == "texts" || name == "repos" || name == "unicode" {
			continue
		}
		compared++
		t.Run(name, func(t *testing.T) {
			var f struct {
				Tokenizer json.RawMessage
				IDs       [][]int32
			}
			if err := json.Unmarshal(unzip(t, filepath.Base(file)), &f); err != nil {
				t.Fatal(err)
			}
			if len(f.IDs) != len(c.texts) {
				t.Fatalf("%d lists of ids for %d texts", len(f.IDs), len(c.texts))
			}
			path := filepath.Join(t.TempDir(), "tokenizer.json")
			if err := os.WriteFile(path, bytes.ReplaceAll(f.Tokenizer, []byte("@nmt_nfkc"), []byte(charsmap)), 0o600); err != nil {
				t.Fatal(err)
			}
			if share, first := exact(ours, path, c.texts, f.IDs); share != "100" {
				t.Errorf("ours: %s %%: %s", share, first)
			}
			if !testing.Short() {
				share, first := exact(sugarme, path, c.texts, f.IDs)
				t.Logf("sugarme: %s %%: %.200s", share, first)
			}
		})
	}
	if compared < 20 {
		t.Errorf("only %d fixtures in %s", compared, fixtures)
	}
}

// A text on which a library panics, hangs or ends its process is lost, and no other.
func TestWorkersOutliveTheirLibraries(t *testing.T) {
	w := goWorker("faulty", 2*time.Second)
	defer w.close()
	if _, err := w.load("any"); err != nil {
		t.Fatal(err)
	}
	texts := []string{"good", "panic", "good", "exit", "good", "hang", "good", "bad"}
	got := w.score(texts, [][]int32{{1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}})
	if want := map[string]int{"panic": 1, "process ended": 1, "too slow": 1}; got.right != 4 || !reflect.DeepEqual(got.faults, want) {
		t.Errorf("%d right and %v, want 4 and %v", got.right, got.faults, want)
	}
}

func loadFaulty(string) (encodeFunc, error) {
	return func(text string) ([]int32, error) {
		switch text {
		case "panic":
			panic("on purpose")
		case "exit":
			os.Exit(1)
		case "hang":
			time.Sleep(time.Minute)
		case "bad":
			return []int32{2}, nil
		}
		return []int32{1}, nil
	}, nil
}
