package hub

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	index2 = `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`
	binIdx = `{"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}}`
)

// tree makes a repository of names, or "name=content".
func treeOf(specs ...string) files {
	fs := files{}
	for _, s := range specs {
		name, content, ok := strings.Cut(s, "=")
		if !ok && strings.HasSuffix(name, ".safetensors") {
			content = string(weights(8, int64(len(name))))
		} else if !ok && strings.HasSuffix(name, ".json") {
			content = "{}"
		} else if !ok {
			content = "content of " + name
		}
		fs[name] = []byte(content)
	}
	return fs
}

// Expected selections follow the tables of the Hub's layouts by hand.
func TestSelection(t *testing.T) {
	plain := []string{"config.json", "tokenizer.json"}
	st := "modules.json=" + `[{"type":"sentence_transformers.models.Transformer","path":""},{"type":"sentence_transformers.models.Pooling","path":"1_Pooling"},{"type":"sentence_transformers.models.Dense","path":"2_Dense"},{"type":"sentence_transformers.models.Normalize","path":"3_Normalize"}]`
	st0 := "modules.json=" + `[{"type":"sentence_transformers.models.Transformer","path":"0_Transformer"},{"type":"sentence_transformers.models.Pooling","path":"1_Pooling"}]`
	pipe := "model_index.json=" + `{"_class_name":"P","requires":[null,null],"scheduler":["diffusers","S"],"tokenizer":["transformers","T"],"text_encoder":["transformers","E"],"transformer":["diffusers","T"],"vae":["diffusers","V"],"safety_checker":[null,null],"feature_extractor":[null,"X"],"note":["a","b","c"]}`
	small := []string{"scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", "tokenizer/spiece.model", "text_encoder/config.json", "transformer/config.json", "vae/config.json"}
	image := func(more ...string) []string { return append(append([]string{pipe, "README.md"}, small...), more...) }
	imageWant := func(more ...string) []string {
		return append(append([]string{"model_index.json", "README.md"}, small...), more...)
	}
	for _, c := range []struct {
		name, kind, variant string
		repo, want          []string
	}{
		{"text with everything else beside it", "text", "", append(plain,
			"generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "tokenizer.model",
			"README.md", "LICENSE.txt", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.gguf", "model.onnx", "onnx/model.onnx", "onnx/config.json",
			"openvino/openvino_model.bin", "coreml/a.mlpackage/x.json", "original/consolidated.00.pth", "consolidated.safetensors", "training_args.bin", "optimizer.bin", "runs/x/events", "a.png", "modeling_x.py", ".gitattributes", "quant.json"),
			append(plain, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "tokenizer.model", "README.md", "LICENSE.txt", "model.safetensors", "quant.json")},
		{"an index before a single file", "text", "", append(plain, "model.safetensors.index.json="+index2, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors", "pytorch_model.bin.index.json="+binIdx),
			append(plain, "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")},
		{"a name that config gives", "text", "", []string{`config.json={"weights":"other.safetensors"}`, "tokenizer.json", "other.safetensors", "more.safetensors", "pytorch_model.bin"},
			append(plain, "other.safetensors")},
		{"shards of a pickle", "text", "", append(plain, "pytorch_model.bin.index.json="+binIdx, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin"),
			append(plain, "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")},
		{"only a pickle", "text", "", append(plain, "pytorch_model.bin"), append(plain, "pytorch_model.bin")},
		{"the half variant", "text", "fp16", append(plain, "model.fp16.safetensors", "model.safetensors"), append(plain, "model.fp16.safetensors")},
		{"no half variant", "text", "fp16", append(plain, "model.safetensors"), append(plain, "model.safetensors")},
		{"a vocabulary of words", "embed", "", []string{"config.json", "vocab.txt", "model.safetensors"}, []string{"config.json", "vocab.txt", "model.safetensors"}},

		{"an embedder with modules", "embed", "", append(plain, st, "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
			"model.safetensors", "onnx/model.onnx", "openvino/openvino_model.xml", "other/model.safetensors"),
			append(plain, "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "model.safetensors")},
		{"a dense module as a pickle", "embed", "", append(plain, st, "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin", "model.safetensors"),
			append(plain, "modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin", "model.safetensors")},
		{"a transformer in a folder", "embed", "", []string{st0, "0_Transformer/config.json", "0_Transformer/tokenizer.json", "0_Transformer/pytorch_model.bin", "0_Transformer/onnx/model.onnx", "0_Transformer/onnx/config.json", "1_Pooling/config.json", "pytorch_model.bin"},
			[]string{"modules.json", "0_Transformer/config.json", "0_Transformer/tokenizer.json", "0_Transformer/pytorch_model.bin", "1_Pooling/config.json"}},

		{"pictures to vectors", "vision-embed", "", []string{"config.json", "preprocessor_config.json", "model.safetensors"}, []string{"config.json", "preprocessor_config.json", "model.safetensors"}},
		{"pictures and text", "vision", "", append(plain, "preprocessor_config.json", "processor_config.json", "image_processor_x.json", "video_preprocessor_config.json", "pytorch_model.bin"),
			append(plain, "preprocessor_config.json", "processor_config.json", "image_processor_x.json", "video_preprocessor_config.json", "pytorch_model.bin")},

		{"a pipeline", "image", "", image("text_encoder/model.safetensors.index.json="+index2, "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors", "text_encoder/pytorch_model.bin",
			"transformer/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.fp16.safetensors", "transformer/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors", "all-in-one.safetensors", "x.ckpt", "unused/config.json"),
			imageWant("text_encoder/model.safetensors.index.json", "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors", "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")},
		{"a half pipeline", "image", "fp16", image("text_encoder/model.safetensors.index.fp16.json="+strings.ReplaceAll(index2, "model-", "model.fp16-"), "text_encoder/model.fp16-00001-of-00002.safetensors", "text_encoder/model.fp16-00002-of-00002.safetensors", "text_encoder/model.safetensors",
			"transformer/diffusion_pytorch_model.fp16.safetensors", "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"),
			imageWant("text_encoder/model.safetensors.index.fp16.json", "text_encoder/model.fp16-00001-of-00002.safetensors", "text_encoder/model.fp16-00002-of-00002.safetensors", "transformer/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors")},
		{"only variants", "image", "", image("text_encoder/model.fp16.safetensors", "transformer/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"),
			imageWant("text_encoder/model.fp16.safetensors", "transformer/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors")},
		{"one component as a pickle", "image", "", image("text_encoder/pytorch_model.bin", "transformer/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin"),
			imageWant("text_encoder/pytorch_model.bin", "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin")},

		{"a GLiNER with all of its own", "ner", "", []string{`gliner_config.json={"model_name":"base/encoder","encoder_config":{"a":1}}`, "tokenizer_config.json", "tokenizer.json", "pytorch_model.bin", "onnx/model.onnx"},
			[]string{"gliner_config.json", "tokenizer_config.json", "tokenizer.json", "pytorch_model.bin"}},
	} {
		t.Run(c.kind+": "+c.name, func(t *testing.T) {
			f := newFake(t)
			fs := treeOf(c.repo...)
			f.repo(acme, fs)
			dir := t.TempDir()
			if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: c.kind, Variant: c.variant, Dir: dir}); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, fs, slices.Clone(c.want)...)
			// The same without records is complete, and without any of its
			// needed files it is not.
			m, err := ReadManifest(dir)
			if err != nil {
				t.Fatal(err)
			}
			byHand := t.TempDir()
			put(t, byHand, dirFiles(t, dir))
			if err := Complete(byHand, c.kind); err != nil {
				t.Error(err)
			}
			for name, file := range m.Files {
				if !file.Need {
					continue
				}
				broken := t.TempDir()
				part := dirFiles(t, dir)
				delete(part, name)
				put(t, broken, part)
				err := Complete(broken, c.kind)
				if vital(name) && !errors.Is(err, ErrIncomplete) {
					t.Errorf("without %s: %v", name, err)
				}
			}
		})
	}
}

// vital says whether a folder without records must be seen to lack a file.
func vital(name string) bool {
	return strings.HasSuffix(name, "-of-00002.safetensors") || strings.HasSuffix(name, ".bin") || name == "gliner_config.json" || name == "model_index.json"
}

func TestGLiNERGetsItsEncodersTokenizer(t *testing.T) {
	f := newFake(t)
	fs := treeOf(`gliner_config.json={"model_name":"base/encoder"}`, "pytorch_model.bin", "README.md")
	f.repo(acme, fs)
	base := treeOf("config.json", "tokenizer_config.json", "spm.model", "pytorch_model.bin", "model.safetensors", "README.md", "generator/config.json")
	f.repo("base/encoder", base).commit = commitB
	s, dir := f.settings(), t.TempDir()
	s.Token = theToken
	q := Request{Repo: acme, Kind: "ner", Dir: dir}
	res, err := f.fetch(t.Context(), s, q)
	if err != nil || res.Commit != commitA {
		t.Fatal(res, err)
	}
	want := files{}
	for name, b := range fs {
		want[name] = b
	}
	for _, name := range []string{"config.json", "tokenizer_config.json", "spm.model"} {
		want["base/"+name] = base[name]
	}
	holds(t, dir, want, sortedNames(want)...)
	m, err := ReadManifest(dir)
	if err != nil || m.BaseRepo != "base/encoder" || m.BaseSHA != commitB {
		t.Errorf("%+v %v", m, err)
	}
	if r, ok := readMetadata(dir, "base/spm.model"); !ok || r.commit != commitB {
		t.Errorf("%+v", r)
	}
	f.forget()
	if _, err := f.fetch(t.Context(), s, q); err != nil || len(f.requests()) > 0 {
		t.Error(err, f.requests())
	}
	for _, lost := range []string{"base/config.json", "base/spm.model"} {
		part := dirFiles(t, dir)
		delete(part, lost)
		broken := t.TempDir()
		put(t, broken, part)
		if err := Complete(broken, "ner"); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "base/") {
			t.Errorf("without %s: %v", lost, err)
		}
	}

	// A path instead of a repository is of no use elsewhere.
	fs["gliner_config.json"] = []byte(`{"model_name":"../models/encoder"}`)
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "ner", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "model_name") {
		t.Error(err)
	}
	delete(f.repos, "base/encoder")
	fs["gliner_config.json"] = []byte(`{"model_name":"base/encoder"}`)
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "ner", Dir: t.TempDir()}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "base/encoder") {
		t.Error(err)
	}
}

func TestLargeDataAtTheRootIsNotTaken(t *testing.T) {
	f := newFake(t)
	fs := treeOf("config.json", "tokenizer.json", "model.safetensors", "all_examples.json")
	f.repo(acme, fs)
	f.lie = func(name string, e map[string]any) {
		if name == "all_examples.json" {
			e["size"] = maxSettings + 1
		}
	}
	dir := t.TempDir()
	if _, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, fs, "config.json", "tokenizer.json", "model.safetensors")
}

func TestRepositoriesThatCannotBeServed(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		repo       []string
		want       error
		says       string
	}{
		{"an adapter", "text", []string{"config.json", "tokenizer.json", "adapter_config.json", "adapter_model.safetensors"}, ErrAdapter, "merge it"},
		{"no weights", "text", []string{"config.json", "tokenizer.json"}, ErrIncomplete, "weights"},
		{"only other frameworks", "text", []string{"config.json", "tokenizer.json", "model.gguf", "onnx/model.onnx"}, ErrIncomplete, "weights"},
		{"no tokenizer", "embed", []string{"config.json", "model.safetensors"}, ErrIncomplete, "tokenizer.json"},
		{"no config", "vision-embed", []string{"model.safetensors"}, ErrIncomplete, "config.json"},
		{"a shard is missing", "text", []string{"config.json", "tokenizer.json", "model.safetensors.index.json=" + index2, "model-00001-of-00002.safetensors"}, ErrIncomplete, "model-00002-of-00002.safetensors"},
		{"an index of nothing", "text", []string{"config.json", "tokenizer.json", "model.safetensors.index.json"}, ErrIncomplete, "names 0 files"},
		{"an index that is none", "text", []string{"config.json", "tokenizer.json", "model.safetensors.index.json=["}, ErrIncomplete, "no JSON"},
		{"no pipeline", "image", []string{"config.json", "model.safetensors"}, ErrIncomplete, "model_index.json"},
		{"an empty pipeline", "image", []string{"model_index.json"}, ErrIncomplete, "no component"},
		{"no GLiNER", "ner", []string{"config.json", "tokenizer.json", "model.safetensors"}, ErrIncomplete, "gliner_config.json"},
	} {
		f := newFake(t)
		fs := treeOf(c.repo...)
		f.repo(acme, fs)
		dir := t.TempDir()
		_, err := f.fetch(t.Context(), f.settings(), Request{Repo: acme, Kind: c.kind, Dir: dir})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		holds(t, dir, nil)
		byHand := t.TempDir()
		put(t, byHand, fs)
		if err := Complete(byHand, c.kind); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, by hand: %v", c.name, err)
		}
	}
}

func TestCompleteSeesWhatIsNoWeights(t *testing.T) {
	good := treeOf("config.json", "tokenizer.json", "model.safetensors")
	for name, c := range map[string]struct{ file, content, says string }{
		"a git-lfs pointer":     {"model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"},
		"a pointer of a pickle": {"pytorch_model.bin", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		"a cut header":          {"model.safetensors", "\xff\x00\x00\x00\x00\x00\x00\x00{}", "header"},
		"nothing":               {"model.safetensors", "", "header"},
	} {
		dir := t.TempDir()
		fs := files{"config.json": good["config.json"], "tokenizer.json": good["tokenizer.json"], c.file: []byte(c.content)}
		put(t, dir, fs)
		if err := Complete(dir, "text"); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Complete(filepath.Join(t.TempDir(), "no"), "text"); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	if err := Complete(t.TempDir(), "poem"); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
}

// A manifest knows of files that a folder without one would not miss.
func TestCompleteGoesByTheManifest(t *testing.T) {
	f := newFake(t)
	fs := treeOf("config.json", "tokenizer.json", "special_tokens_map.json", "README.md", "model.safetensors")
	f.repo(acme, fs)
	for _, c := range []struct {
		name   string
		change files
		lose   string
		ok     bool
	}{
		{"untouched", nil, "", true},
		{"a lost settings file", nil, "special_tokens_map.json", false},
		{"a lost README", nil, "README.md", true},
		{"weights cut short", files{"model.safetensors": fs["model.safetensors"][:60]}, "", false},
		{"a config that its owner edited", files{"config.json": []byte(`{"edited":true}`)}, "", true},
	} {
		dir := t.TempDir()
		s := f.settings()
		if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if c.lose != "" {
			remove(t, dir, c.lose)
		}
		put(t, dir, c.change)
		if c.change["config.json"] != nil { // edited later than within the second's tolerance
			age(t, dir, "config.json", 10)
		}
		if err := Complete(dir, "text"); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		f.forget()
		res, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir})
		if err != nil || (res.Source == "local") != c.ok {
			t.Errorf("%s: %+v %v", c.name, res, err)
		}
		stored := 0
		for _, a := range f.requests() {
			if strings.HasPrefix(a, "store") {
				stored++
			}
		}
		if want := map[bool]int{true: 1}[c.change["model.safetensors"] != nil]; stored != want {
			t.Errorf("%s: the weights came %d times", c.name, stored)
		}
	}
}

func TestAFolderOfAnotherRepositoryIsReplaced(t *testing.T) {
	f := newFake(t)
	f.repo(acme, treeOf("config.json", "tokenizer.json", "model.safetensors.index.json="+index2, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "README.md"))
	other := treeOf("config.json={\"b\":1}", "tokenizer.json", "model.safetensors")
	f.repo("acme/other", other)
	s, dir := f.settings(), t.TempDir()
	if _, err := f.fetch(t.Context(), s, Request{Repo: acme, Kind: "text", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	put(t, dir, files{"notes.txt": []byte("mine")})
	offline := s
	offline.Offline = true
	if _, err := f.fetch(t.Context(), offline, Request{Repo: "acme/other", Kind: "text", Dir: dir}); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), acme) {
		t.Error(err)
	}
	res, err := f.fetch(t.Context(), s, Request{Repo: "acme/other", Kind: "text", Dir: dir})
	if err != nil || res.Source != "hub" {
		t.Fatal(res, err)
	}
	other["notes.txt"] = []byte("mine")
	holds(t, dir, other, sortedNames(other)...)
	if err := Complete(dir, "text"); err != nil {
		t.Error(fmt.Errorf("after the change: %w", err))
	}
}
