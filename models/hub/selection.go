package hub

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kinds of models; each selects its files.
const (
	kindText        = "text"
	kindNER         = "ner"
	kindEmbed       = "embed"
	kindVisionEmbed = "vision-embed"
	kindVision      = "vision"
	kindImage       = "image"
)

// source is a repository as far as the selection looks at it: the Hub's
// listing or a folder on disk.
type source interface {
	// below lists the files under a folder, by their full names and in order;
	// for "" only those at the root.
	below(folder string) []string
	has(name string) bool
	// read reads a settings file, at most maxSettings bytes.
	read(name string) ([]byte, error)
}

// maxSettings bounds a JSON file that decides about others. The index of the
// largest models has some MB.
const maxSettings = maxPage

// maxShards bounds the files that an index names.
const maxShards = 100_000

// selection is which files of a repository a kind of model takes.
type selection struct {
	need    []string // to load it
	extra   []string // licence, README and small settings that only some models have
	missing []string // what it cannot be loaded without and the source lacks
	base    string   // ner: repository whose tokenizer and config are needed too, or ""
	adapter bool     // weights are missing and it is an adapter
}

func (s *selection) all() []string { return append(slices.Clone(s.need), s.extra...) }

// tokenizerFiles hold a vocabulary; one of them is enough, "*.model" too.
var tokenizerFiles = []string{"tokenizer.json", "vocab.txt", "vocab.json"}

// textFiles are taken from the root, where there are any, for every kind but image.
var textFiles = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
	"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
	"chat_template.json", "chat_template.jinja",
}

var embedFiles = []string{"modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"}

var visionFiles = []string{"preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"}

// skipped says whether a file is never taken: other frameworks' copies,
// training state, pictures.
func skipped(name string) bool {
	parts := strings.Split(name, "/")
	for _, dir := range parts[:len(parts)-1] {
		switch dir {
		case "onnx", "openvino", "coreml", "original", "runs":
			return true
		}
		if strings.HasSuffix(dir, ".mlpackage") {
			return true
		}
	}
	base := parts[len(parts)-1]
	switch path.Ext(base) {
	case ".h5", ".msgpack", ".ot", ".tflite", ".onnx", ".pb", ".mlmodel", ".gguf", ".pth", ".pt", ".ckpt", ".png", ".jpg", ".gif", ".mp4":
		return true
	}
	for _, p := range []string{"consolidated", "rust_model", "flax_model", "tf_model", "optimizer"} {
		if strings.HasPrefix(base, p) || strings.HasPrefix(parts[0], p) {
			return true
		}
	}
	return base == "training_args.bin" || base == ".gitattributes"
}

// isWeights says whether a file holds weights or is an index of such files.
func isWeights(name string) bool {
	return strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".bin") || isIndex(name)
}

// isIndex also knows the index of a variant, model.safetensors.index.fp16.json.
func isIndex(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".json") && (strings.Contains(base, ".safetensors.index.") || strings.Contains(base, ".bin.index."))
}

// choice makes a selection.
type choice struct {
	selection
	src     source
	variant string
	taken   map[string]bool
}

// selectFiles chooses the files of a kind. The error is one of reading the
// files that decide.
func selectFiles(src source, kind, variant string) (*selection, error) {
	c := &choice{src: src, variant: variant, taken: map[string]bool{}}
	var err error
	switch kind {
	case kindText, kindVision:
		c.root(textFiles, kind == kindVision)
		c.require("config.json")
		c.requireTokenizer("")
		err = c.weights("", true)
	case kindVisionEmbed:
		c.root(textFiles, true)
		c.require("config.json")
		err = c.weights("", true)
	case kindEmbed:
		err = c.embed()
	case kindNER:
		err = c.ner()
	case kindImage:
		err = c.image()
	default:
		return nil, fmt.Errorf("%w: %q is no kind of model (text, ner, embed, vision-embed, vision, image)", ErrRequest, clip(kind))
	}
	if err != nil {
		return nil, err
	}
	for _, name := range src.below("") {
		if skipped(name) || isIndex(name) {
			continue
		}
		if strings.HasSuffix(name, ".json") || name == "README.md" || strings.HasPrefix(name, "LICENSE") {
			c.take(&c.extra, name)
		}
	}
	return &c.selection, nil
}

func (c *choice) take(to *[]string, name string) {
	if !c.taken[name] {
		c.taken[name] = true
		*to = append(*to, name)
	}
}

// require takes a file, or counts it as missing.
func (c *choice) require(name string) {
	if !c.src.has(name) {
		c.missing = append(c.missing, name)
		return
	}
	c.take(&c.need, name)
}

// root takes what is there of the named files, and tokenizer models.
func (c *choice) root(names []string, vision bool) {
	for _, name := range names {
		if c.src.has(name) {
			c.take(&c.need, name)
		}
	}
	for _, name := range c.src.below("") {
		ok := strings.HasSuffix(name, ".model") ||
			vision && (slices.Contains(visionFiles, name) || strings.HasPrefix(name, "image_processor") && strings.HasSuffix(name, ".json"))
		if ok && !skipped(name) {
			c.take(&c.need, name)
		}
	}
}

func (c *choice) hasTokenizer(folder string) bool {
	for _, name := range tokenizerFiles {
		if c.src.has(path.Join(folder, name)) {
			return true
		}
	}
	return slices.ContainsFunc(c.src.below(folder), func(name string) bool { return strings.HasSuffix(name, ".model") })
}

func (c *choice) requireTokenizer(folder string) {
	if !c.hasTokenizer(folder) {
		c.missing = append(c.missing, path.Join(folder, "tokenizer.json")+" (or another vocabulary)")
	}
}

// folder takes all files below a folder but weights, of which there may be
// several copies.
func (c *choice) folder(name string) {
	for _, file := range c.src.below(name) {
		if !skipped(file) && !isWeights(file) {
			c.take(&c.need, file)
		}
	}
}

// embed takes a sentence-transformers repository: its modules' folders, or a
// plain transformer where there is no modules.json.
func (c *choice) embed() error {
	c.root(slices.Concat(textFiles, embedFiles), false)
	modules := []module{{Type: "Transformer"}}
	if c.src.has("modules.json") {
		var err error
		if modules, err = c.modules(); err != nil {
			return err
		}
	}
	for _, m := range modules {
		class := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		if m.Path != "" {
			c.folder(m.Path)
		}
		if class == "Transformer" {
			c.require(path.Join(m.Path, "config.json"))
			if m.Path == "" || !c.hasTokenizer("") {
				c.requireTokenizer(m.Path)
			}
		}
		if m.Path == "" && class != "Transformer" && class != "StaticEmbedding" {
			continue // it has no weights, or they would be the transformer's
		}
		if err := c.weights(m.Path, class == "Transformer" || class == "Dense"); err != nil {
			return err
		}
	}
	return nil
}

// module is an entry of modules.json; Path "" is the root.
type module struct{ Type, Path string }

func (c *choice) modules() ([]module, error) {
	var list []module
	if err := c.json("modules.json", &list); err != nil {
		return nil, err
	}
	for i, m := range list {
		list[i].Path = strings.Trim(m.Path, "/")
		if list[i].Path == "." {
			list[i].Path = ""
		}
		if p := list[i].Path; p != "" && (unsafeName(p) != "" || unfitName(p) != "") {
			return nil, fmt.Errorf("%w: modules.json names the folder %q", ErrListing, clip(m.Path))
		}
	}
	return list, nil
}

// ner takes a GLiNER repository. What it lacks of tokenizer and encoder config
// is in the repository of its encoder.
func (c *choice) ner() error {
	c.require("gliner_config.json")
	c.root(textFiles, false)
	if err := c.weights("", true); err != nil {
		return err
	}
	if !c.src.has("gliner_config.json") {
		return nil
	}
	var config struct {
		Model   string          `json:"model_name"`
		Encoder json.RawMessage `json:"encoder_config"`
	}
	if err := c.json("gliner_config.json", &config); err != nil {
		return err
	}
	if c.src.has("tokenizer_config.json") && len(config.Encoder) > 0 && string(config.Encoder) != "null" {
		return nil
	}
	if err := CheckRepo(config.Model); err != nil {
		return fmt.Errorf("gliner_config.json: model_name: %w", err)
	}
	c.base = config.Model
	return nil
}

// selectBase chooses config and tokenizer, no weights, of a GLiNER's encoder.
func selectBase(src source) *selection {
	c := &choice{src: src, taken: map[string]bool{}}
	c.root(textFiles, false)
	c.require("config.json")
	c.requireTokenizer("")
	return &c.selection
}

func (c *choice) json(name string, v any) error {
	raw, err := c.src.read(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: %s is no JSON of the known form", ErrIncomplete, name)
	}
	return nil
}
