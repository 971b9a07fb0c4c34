package embed

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"remote-client-server/models/nn"
	"remote-client-server/runtime"
	"remote-client-server/runtime/checkpoint"
	"remote-client-server/runtime/cpu"
	"remote-client-server/runtime/ref"
)

// copyRepository copies a fixture so that a test can spoil it.
func copyRepository(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit sets keys of a JSON file; a nil value removes the key.
func edit(t testing.TB, path string, keys map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for k, x := range keys {
		if v[k] = x; x == nil {
			delete(v, k)
		}
	}
	raw, err = json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, raw)
}

func TestSpoiledRepositoriesAreErrorsThatNameTheFault(t *testing.T) {
	config := func(keys map[string]any) func(testing.TB, string) {
		return func(t testing.TB, dir string) { edit(t, filepath.Join(dir, "config.json"), keys) }
	}
	file := func(name, content string) func(testing.TB, string) {
		return func(t testing.TB, dir string) { write(t, filepath.Join(dir, name), []byte(content)) }
	}
	remove := func(name string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(name string, share float64) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(filepath.Join(dir, name), int64(float64(info.Size())*share)); err != nil {
				t.Fatal(err)
			}
		}
	}
	modules := func(second string) func(testing.TB, string) {
		return file("modules.json", `[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},`+second+`]`)
	}
	for _, s := range []struct {
		name, repository string
		spoil            func(testing.TB, string)
		want             string
	}{
		{"no config", "bert-odd", remove("config.json"), "config.json"},
		{"a config that is a folder", "bert-odd", func(t testing.TB, dir string) {
			remove("config.json")(t, dir)
			if err := os.Mkdir(filepath.Join(dir, "config.json"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "config.json: no regular file"},
		{"empty weights", "bert-odd", file("model.safetensors", ""), "model.safetensors: the file is empty"},
		{"modules of the wrong kind", "bert-odd", file("modules.json", `{"a":1}`), "modules.json: a JSON object does not belong here"},
		{"no weights", "bert-odd", remove("model.safetensors"), "model.safetensors"},
		{"no tokenizer", "bert-odd", remove("tokenizer.json"), "tokenizer"},
		{"config is no JSON", "bert-odd", file("config.json", "{"), "config.json"},
		{"config is a list", "bert-odd", file("config.json", "[]"), "config.json"},
		{"config nests deeply", "bert-odd", file("config.json", strings.Repeat(`{"a":`, 100_000)), "config.json"},
		{"an unknown family", "bert-odd", config(map[string]any{"model_type": "llama", "architectures": nil}), `model_type "llama"`},
		{"no family", "bert-odd", config(map[string]any{"model_type": nil, "architectures": nil}), "model_type"},
		{"an absurd width", "bert-odd", config(map[string]any{"hidden_size": 1e12}), "hidden_size: 1000000000000 is outside"},
		{"a negative width", "bert-odd", config(map[string]any{"hidden_size": -24}), "hidden_size"},
		{"a width of text", "bert-odd", config(map[string]any{"hidden_size": "24"}), "hidden_size"},
		{"a width of 24.5", "bert-odd", config(map[string]any{"hidden_size": 24.5}), "hidden_size: 24.5 is no integer"},
		{"another width", "bert-odd", config(map[string]any{"hidden_size": 27}), "tensor embeddings.word_embeddings.weight has shape"},
		{"no heads", "bert-odd", config(map[string]any{"num_attention_heads": 0}), "num_attention_heads"},
		{"heads that do not divide", "bert-odd", config(map[string]any{"num_attention_heads": 5}), "num_attention_heads: 5 does not divide"},
		{"more layers than stored", "bert-odd", config(map[string]any{"num_hidden_layers": 4000}), "tensor encoder.layer.3.attention"},
		{"an unknown activation", "bert-odd", config(map[string]any{"hidden_act": "xielu"}), `hidden_act: "xielu"`},
		{"relative positions", "bert-odd", config(map[string]any{"position_embedding_type": "relative_key"}), "position_embedding_type"},
		{"a decoder", "bert-odd", config(map[string]any{"is_decoder": true}), "is_decoder"},
		{"an epsilon of 7", "bert-odd", config(map[string]any{"layer_norm_eps": 7}), "layer_norm_eps"},
		{"half the weights", "bert-odd", cut("model.safetensors", 0.5), "model.safetensors"},
		{"half the tokenizer", "bert-odd", cut("tokenizer.json", 0.5), "tokenizer.json"},
		{"no modules", "bert-odd", file("modules.json", "[]"), "modules.json"},
		{"a path out of the repository", "bert-odd", modules(`{"path":"../../etc","type":"x.Pooling"}`), `path "../../etc" leaves the repository`},
		{"an absolute path", "bert-odd", modules(`{"path":"/etc","type":"x.Pooling"}`), "leaves the repository"},
		{"an unknown module", "bert-odd", modules(`{"path":"1_Pooling","type":"x.Pooling"},{"path":"2_CNN","type":"x.CNN"}`), "module type x.CNN"},
		{"two poolings", "bert-odd", modules(`{"path":"1_Pooling","type":"x.Pooling"},{"path":"1_Pooling","type":"x.Pooling"}`), "two pooling"},
		{"no pooling", "bert-odd", modules(`{"path":"","type":"x.Dropout"}`), "no pooling"},
		{"a step before the pooling", "bert-odd", modules(`{"path":"","type":"x.Normalize"},{"path":"1_Pooling","type":"x.Pooling"}`), "before the pooling"},
		{"pooling of another width", "bert-odd", file("1_Pooling/config.json", `{"word_embedding_dimension":768}`), "embedding_dimension"},
		{"an unknown pooling", "bert-odd", file("1_Pooling/config.json", `{"pooling_mode":"attention"}`), `pooling "attention"`},
		{"no tokens at all", "bert-odd", file("sentence_bert_config.json", `{"max_seq_length":0}`), "max_seq_length"},
		{"fewer tokens than any text", "bert-odd", file("sentence_bert_config.json", `{"max_seq_length":2}`), "takes 2 tokens"},
		{"an absurd tokenizer limit", "bert-odd", func(t testing.TB, dir string) {
			write(t, filepath.Join(dir, "sentence_bert_config.json"), []byte(`{}`))
			write(t, filepath.Join(dir, "tokenizer_config.json"), []byte(`{"model_max_length":-1}`))
		}, "model_max_length"},
		{"a default prompt that is missing", "bert-odd", file("config_sentence_transformers.json", `{"default_prompt_name":"q"}`), "default_prompt_name"},
		{"a Dense of another width", "bert-wide", func(t testing.TB, dir string) {
			edit(t, filepath.Join(dir, "2_Dense/config.json"), map[string]any{"in_features": 64})
		}, "in_features"},
		{"a Dense with code", "bert-wide", func(t testing.TB, dir string) {
			edit(t, filepath.Join(dir, "2_Dense/config.json"), map[string]any{"activation_function": "custom.Evil"})
		}, "activation_function"},
		{"a Dense without weights", "bert-wide", remove("2_Dense/model.safetensors"), "2_Dense"},
		{"a hostile LayerNorm", "bert-wide", file("3_LayerNorm/pytorch_model.bin", "\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR."), "3_LayerNorm"},
		{"pre-norm NomicBert", "nomic-original", config(map[string]any{"prenorm": true}), "prenorm"},
		{"xPos", "nomic-original", config(map[string]any{"rotary_emb_scale_base": 512}), "rotary_emb_scale_base"},
		{"no rotation", "nomic-original", config(map[string]any{"rotary_emb_fraction": 0}), "rotary_emb_fraction"},
		{"experts", "nomic-original", config(map[string]any{"num_experts": 8}), "num_experts"},
		{"a rotary base of 0", "qwen3", config(map[string]any{"rope_parameters": map[string]any{"rope_theta": 0}}), "rope_theta"},
		{"an unknown rotary scaling", "qwen3", config(map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4}}), "rope_type"},
		{"key heads that do not divide", "qwen3", config(map[string]any{"num_key_value_heads": 3}), "num_key_value_heads"},
		{"layer types for other layers", "modernbert", config(map[string]any{"layer_types": []string{"full_attention"}}), "layer_types"},
	} {
		t.Run(s.name, func(t *testing.T) {
			dir := copyRepository(t, s.repository)
			s.spoil(t, dir)
			b := ref.New()
			m, err := Load(b, dir, LoadOptions{})
			if err == nil {
				m.Close()
				t.Fatal("the repository loads")
			}
			if !errors.Is(err, ErrFiles) {
				t.Errorf("%v: want it to be the files' fault", err)
			}
			if !strings.Contains(err.Error(), s.want) {
				t.Errorf("%v, want %q in it", err, s.want)
			}
			if l := b.Ledger(); l.Weights != 0 {
				t.Errorf("%d bytes of weights are left after the failure", l.Weights)
			}
		})
	}
}

func TestWhatARequestMayAsk(t *testing.T) {
	m := open(t, ref.New(), "testdata/bert-wide", LoadOptions{})
	if _, err := m.Encode("x", "absent", nil); err == nil || !strings.Contains(err.Error(), "document, query") {
		t.Errorf("an unknown prompt: %v", err)
	}
	if text, err := m.Encode(strings.Repeat("the harbour ", 500), "document", nil); err != nil || len(text.IDs) != 128 || text.Cut <= 0 {
		t.Errorf("a long text: %d ids, %d cut, %v", len(text.IDs), text.Cut, err)
	}
	// an explicit prompt wins over the default one, even an empty prompt; query and document are always known
	lengths := map[string]int{}
	empty := ""
	for name, prompt := range map[string]*string{"": nil, "document": nil, "empty": &empty} {
		promptName := name
		if prompt != nil {
			promptName = ""
		}
		text, err := m.Encode("hello there", promptName, prompt)
		if err != nil {
			t.Fatal(err)
		}
		lengths[name] = len(text.IDs)
	}
	if lengths["empty"] != lengths["document"] || lengths[""] <= lengths["empty"] {
		t.Errorf("tokens by prompt: %v", lengths)
	}
	if _, err := open(t, ref.New(), "testdata/distilbert", LoadOptions{}).Encode("x", "query", nil); err != nil {
		t.Errorf("the prompt query of a repository without prompts: %v", err)
	}
	for _, ids := range [][]int32{{}, {-1}, {int32(m.Info().VocabSize)}} {
		if _, err := m.Check(ids); err == nil {
			t.Errorf("ids %v are accepted", ids)
		}
	}
	if text, err := m.Check(make([]int32, 200)); err != nil || len(text.IDs) != 128 || text.Cut != 72 {
		t.Errorf("200 ids: %d kept, %d cut, %v", len(text.IDs), text.Cut, err)
	}
	for _, s := range []struct {
		dimensions int
		warning    bool
		err        bool
	}{{0, false, false}, {72, false, false}, {10, true, false}, {73, false, true}, {-1, false, true}} {
		warning, err := m.CheckOptions(Options{Dimensions: s.dimensions})
		if (warning != "") != s.warning || (err != nil) != s.err {
			t.Errorf("dimensions %d: warning %q, error %v", s.dimensions, warning, err)
		}
	}
	nomic := open(t, ref.New(), "testdata/nomic", LoadOptions{})
	if got := nomic.Info().Matryoshka; len(got) != 2 || got[1] != 64 {
		t.Errorf("nomic's sizes: %v", got)
	}
}

// --pooling wins over the repository's choice.
func TestPoolingCanBeChosen(t *testing.T) {
	text := []Text{{IDs: []int32{2, 10, 11, 12, 3}}}
	run := func(o LoadOptions) []float32 {
		v, err := open(t, ref.New(), "testdata/distilbert", o).Run(context.Background(), text, Options{Raw: true})
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	mean, first, last := run(LoadOptions{}), run(LoadOptions{Pooling: "cls"}), run(LoadOptions{Pooling: "lasttoken"})
	if mean[0] == first[0] || first[0] == last[0] {
		t.Error("the poolings give the same vector")
	}
	if _, err := Load(ref.New(), "testdata/distilbert", LoadOptions{Pooling: "best"}); err == nil || !strings.Contains(err.Error(), `pooling "best"`) {
		t.Errorf("an unknown pooling: %v", err)
	}
}

// A context that has ended stops a forward pass.
func TestAnEndedContextStopsTheRun(t *testing.T) {
	m := open(t, ref.New(), "testdata/distilbert", LoadOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Run(ctx, []Text{{IDs: []int32{2, 3}}}, Options{}); err == nil {
		t.Error("the run goes on")
	}
}

// A weights file that shrinks while it is mapped faults in whoever reads it; the load fails and the process goes on.
func TestWeightsThatShrinkWhileTheyAreRead(t *testing.T) {
	dir := copyRepository(t, "bert-wide")
	path := filepath.Join(dir, "model.safetensors")
	c, err := checkpoint.File(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 2} {
		b, err := cpu.New(cpu.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		m := &Model{backend: b}
		err = m.guarded(func() error {
			w := nn.Bind(c, b.Load("x", runtime.Precision{}))
			w.Linear("encoder.layer.0.intermediate.dense", 192, 128, runtime.None)
			return w.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "reading the weights") {
			t.Errorf("%d threads: %v", threads, err)
		}
		b.Close()
	}
}
