package text

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
)

// altered is a copy of a repository whose stored tensor has the value x at one place.
func altered(t *testing.T, name, tensor string, at int, x float32) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	var entry struct {
		DType   string
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(header[tensor], &entry); err != nil || entry.DType != "BF16" {
		t.Fatalf("%s: %v (%s)", tensor, err, entry.DType)
	}
	binary.LittleEndian.PutUint16(raw[int(8+n)+entry.Offsets[0]+2*at:], runtime.F32ToBF16(x))
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFault50_LogitsThatAreNoNumbers: a weight that only one token uses is infinite. A prompt with that token fails; the
// ones beside it are answered as ever.
func TestFault50_LogitsThatAreNoNumbers(t *testing.T) {
	good := open(t, newCPU(t, ""), "llama", LoadOptions{})
	want := ask(t, good, serve(t, good), []int32{5, 6, 7}, greedy)
	bad := int32(8)
	for slices.Contains(want.IDs, bad) {
		bad++
	}
	m, err := Load(newCPU(t, ""), altered(t, "llama", "model.embed_tokens.weight", int(bad)*64+3, float32(math.Inf(1))), LoadOptions{CacheBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Try(); err != nil {
		t.Fatalf("the start: %v", err)
	}
	q := serve(t, m)
	beside := submit(t, m, q, []int32{5, 6, 7}, greedy)
	j := submit(t, m, q, []int32{5, bad, 7}, greedy)
	<-j.Done()
	if !errors.Is(j.Err(), errNotFinite) || j.State() != queue.Failed {
		t.Errorf("infinite logits: %v", j.Err())
	}
	same(t, "beside it", collect(t, beside)[0], want)
	same(t, "after it", ask(t, m, q, []int32{5, 6, 7}, greedy), want)
}

func TestWeightsThatAreNoNumbersAreFoundAtTheStart(t *testing.T) {
	m, err := Load(newCPU(t, ""), altered(t, "llama", "model.norm.weight", 0, float32(math.NaN())), LoadOptions{CacheBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Try(); !errors.Is(err, ErrFiles) {
		t.Errorf("a NaN in the last norm: %v", err)
	}
}

// scarce is a backend without memory for products of more than so many rows.
type scarce struct {
	runtime.Backend
	rows    int // 0: any
	refused int
	panics  bool
}

func (b *scarce) NormLinear(x runtime.Tensor, n *runtime.Norm, w *runtime.Linear) runtime.Tensor {
	if b.panics {
		b.panics = false
		panic("a defect")
	}
	if b.rows > 0 && x.Rows > b.rows {
		b.refused++
		panic(runtime.OutOfMemory{What: "a product", Want: 1 << 30, Free: 1 << 20})
	}
	return b.Backend.NormLinear(x, n, w)
}

// TestFault46_WhileItWrites: where memory is short, prompts are computed in smaller pieces; what does not fit at all
// fails, and the others are served.
func TestFault46_WhileItWrites(t *testing.T) {
	b := &scarce{Backend: newCPU(t, "")}
	m := open(t, b, "llama", LoadOptions{})
	q := serve(t, m)
	p := prompt(1, 200, m.info.VocabSize)
	want := ask(t, m, q, p, greedy)
	b.rows = 40
	other := prompt(2, 200, m.info.VocabSize)
	got := ask(t, m, q, other, greedy)
	if b.refused == 0 {
		t.Fatal("nothing was refused: the test shows nothing")
	}
	b.rows = 0
	same(t, "in smaller pieces", got, ask(t, m, q, other, greedy))
	same(t, "when there is memory again", ask(t, m, q, p, greedy), want)
	b.rows, b.refused = 1, 0
	j := submit(t, m, q, prompt(3, 50, m.info.VocabSize), greedy)
	<-j.Done()
	var memory runtime.OutOfMemory
	if !errors.As(j.Err(), &memory) {
		t.Errorf("no memory for two rows: %v", j.Err())
	}
	b.rows = 0
	same(t, "after that", ask(t, m, q, p, greedy), want)
}

// TestAPanicEndsWhatRuns: and nothing else.
func TestAPanicEndsWhatRuns(t *testing.T) {
	b := &scarce{Backend: newCPU(t, "")}
	m := open(t, b, "llama", LoadOptions{})
	q := serve(t, m)
	p := prompt(1, 30, m.info.VocabSize)
	want := ask(t, m, q, p, greedy)
	b.panics = true
	j := submit(t, m, q, p, greedy)
	<-j.Done()
	var panicked *queue.PanicError
	if !errors.As(j.Err(), &panicked) || fmt.Sprint(panicked.Value) != "a defect" {
		t.Errorf("a panic: %v", j.Err())
	}
	same(t, "after it", ask(t, m, q, p, greedy), want)
	if s := m.Stats(); s.BlocksUsed > 3 {
		t.Errorf("%d blocks are still held", s.BlocksUsed)
	}
}

// TestSettingsThatAreRefused: a config.json that asks for what is not there, or for too much.
func TestSettingsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, repo, key, value, want string
	}{
		{"layers without end", "llama", "num_hidden_layers", "2147483648", "num_hidden_layers"},
		{"no heads", "llama", "num_attention_heads", "0", "num_attention_heads"},
		{"heads that do not fit", "llama", "num_key_value_heads", "3", "num_key_value_heads"},
		{"a wide head", "llama", "head_dim", "1024", "head_dim"},
		{"another activation", "llama", "hidden_act", `"snake"`, "hidden_act"},
		{"a rotation that nobody knows", "llama", "rope_parameters", `{"rope_type":"magic","rope_theta":1e4}`, "rope_type"},
		{"a factor below one", "llama", "rope_parameters", `{"rope_type":"linear","factor":0,"rope_theta":1e4}`, "factor"},
		{"too few factors", "phi3", "rope_scaling", `{"type":"longrope","short_factor":[1],"long_factor":[1]}`, "short_factor"},
		{"a base of nothing", "qwen3", "rope_parameters", `{"rope_type":"default","rope_theta":-1}`, "rope_theta"},
		{"quantised weights", "llama", "quantization_config", `{"quant_method":"awq"}`, "quantization_config"},
		{"no vocabulary", "llama", "vocab_size", "1", "embed_tokens"},
		{"types of layers", "gemma3", "layer_types", `["full_attention"]`, "layer_types"},
		{"another class", "llama", "architectures", `["OpaqueForCausalLM"]`, "OpaqueForCausalLM"},
		{"a model that sees both ways", "gemma3", "use_bidirectional_attention", "true", "use_bidirectional_attention"},
		{"an end that is no token", "llama", "eos_token_id", `"x"`, "eos_token_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", c.repo))); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "config.json")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var keys map[string]json.RawMessage
			if err := json.Unmarshal(raw, &keys); err != nil {
				t.Fatal(err)
			}
			keys[c.key] = json.RawMessage(c.value)
			if raw, err = json.Marshal(keys); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			b := newCPU(t, "")
			m, err := Load(b, dir, LoadOptions{CacheBytes: 8 << 20})
			if err == nil {
				m.Close()
				t.Fatal("it was loaded")
			}
			if !errors.Is(err, ErrFiles) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s named", err, c.want)
			}
			if l := b.Ledger(); l.Weights != 0 {
				t.Errorf("%d bytes are left", l.Weights)
			}
		})
	}
}
