// Package embed turns texts into vectors: BERT and its kin, NomicBert, ModernBERT, GTE and Qwen3-Embedding, with the
// pooling, prompts and normalisation that a repository's sentence-transformers files ask for.
//
// A text becomes token ids on the request's goroutine (Encode); the one worker runs packed batches of texts through the
// network (Serve, Run). Each family's network is one file.
package embed

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sort"
	"strings"
	"sync"

	"remote-client-server/models/builtin"
	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
	"remote-client-server/tokenize"
)

// ErrFiles is what errors.Is finds in an error that a repository's files cause.
var ErrFiles = errors.New("unusable model files")

type filesError struct{ error }

func (e filesError) Is(target error) bool { return target == ErrFiles }
func (e filesError) Unwrap() error        { return e.error }

// ofFiles marks an error as the files', unless it is the device's.
func ofFiles(err error) error {
	var memory runtime.OutOfMemory
	var device runtime.DeviceError
	if err == nil || errors.As(err, &memory) || errors.As(err, &device) {
		return err
	}
	return filesError{err}
}

// LoadOptions is what an operator may say about a repository.
type LoadOptions struct {
	Pooling string // "" = the repository's; else cls, mean, max, lasttoken, ...
	DType   string // "", "auto", "float32", "bfloat16", "float16", "q8", "q4"
}

// Model is one loaded embedder. Encode and Check are safe for concurrent use; vectors are computed by one goroutine.
type Model struct {
	info      Info
	tokens    *tokenize.Tokenizer
	pipe      *pipeline
	encoder   encoder
	backend   runtime.Backend
	loader    runtime.Loader
	prompts   prompts
	layerNorm bool // Matryoshka as the nomic model card does it: a layer norm over the whole vector before the cut
}

// Info describes a model to clients and operators.
type Info struct {
	Family     string // config.json's model_type
	Dimensions int
	MaxTokens  int // special tokens included
	VocabSize  int
	DType      string // of the weights in memory
	Device     string
	// Matryoshka lists the sizes that the model declares for shortened vectors, nil for none.
	Matryoshka    []int
	Prompts       map[string]string
	DefaultPrompt string
	Parameters    int64
	Products      int64 // multiplications of the matrix products for each token
	// Unused are stored tensors that an embedding does not need, such as a masked-language head.
	Unused []string
}

// Builtin is the model inside the binary (models/builtin).
func Builtin(b runtime.Backend, o LoadOptions) (*Model, error) {
	return load(b, repo.Embedded(builtin.Embed()), o)
}

// Load reads a repository folder.
func Load(b runtime.Backend, dir string, o LoadOptions) (*Model, error) {
	return load(b, repo.Dir(dir), o)
}

// load reads the tokenizer beside the weights.
func load(b runtime.Backend, dir repo.Folder, o LoadOptions) (*Model, error) {
	pipe, modules, err := readPipeline(dir)
	if err != nil {
		return nil, ofFiles(err)
	}
	folder := pipe.folder
	config, err := folder.Config("config.json")
	if err != nil {
		return nil, ofFiles(err)
	}
	m := &Model{pipe: pipe, backend: b}
	var tokens sync.WaitGroup
	var tokenErr error
	tokens.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				tokenErr = fmt.Errorf("tokenizer: %v", p)
			}
		}()
		m.tokens, tokenErr = folder.Tokenizer()
	})
	var f form
	err = m.guarded(func() (err error) {
		f, err = m.build(dir, config, modules, o)
		return err
	})
	tokens.Wait()
	if tokenErr != nil {
		err = errors.Join(err, ofFiles(tokenErr))
	}
	if err == nil {
		err = ofFiles(m.finish(f))
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// guarded turns a fault into an error: a mapped file that shrinks while it is read has no pages any more.
func (m *Model) guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = ofFiles(fmt.Errorf("reading the weights: %v", p))
		}
	}()
	return read()
}

// build makes the network and the steps behind it.
func (m *Model) build(dir repo.Folder, config *repo.Config, modules []module, o LoadOptions) (form, error) {
	family, err := familyOf(config)
	if err != nil {
		return form{}, ofFiles(err)
	}
	tensors, err := m.pipe.folder.Weights()
	if err != nil {
		return form{}, ofFiles(err)
	}
	defer tensors.Close()
	precision, err := m.backend.Precision(cmp.Or(o.DType, "auto"), tensors.Stored())
	if err != nil {
		return form{}, err
	}
	if !preNorm[family] { // every layer norms the stream: it needs no more digits than what is added to it
		precision.Stream = precision.Compute
	}
	m.loader = m.backend.Load("embed", precision)
	weights := nn.Bind(tensors, m.loader)
	weights.Precision = precision
	var f form
	m.encoder, f = families[family](config, weights)
	if err := config.Err(); err != nil { // tensors that do not fit wrong numbers are no news
		return form{}, ofFiles(err)
	}
	if err := weights.Err(); err != nil {
		return form{}, ofFiles(err)
	}
	if err := m.pipe.build(dir, modules, f.width, o.Pooling, m.loader); err != nil {
		return form{}, ofFiles(err)
	}
	m.info = Info{
		Family: family, VocabSize: f.vocab, Device: m.backend.Props().Device, DType: precision.Name(tensors.Stored()),
		Parameters: tensors.Parameters(), Products: weights.Products(), Unused: weights.Unused(), Dimensions: m.pipe.width,
		Prompts: m.pipe.prompts, DefaultPrompt: m.pipe.defaultPrompt,
	}
	if family == "nomic_bert" && !m.pipe.normalized {
		m.layerNorm = true
		m.info.Matryoshka = matryoshka(m.pipe.width)
	}
	return f, nil
}

// matryoshka are the sizes that nomic's model card names: halves down to 64.
func matryoshka(width int) []int {
	sizes := []int{width}
	for _, n := range []int{512, 256, 128, 64} {
		if n < width {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// finish settles what needs both the tokenizer and the network.
func (m *Model) finish(f form) error {
	if m.pipe.lowercase {
		m.tokens = m.tokens.LowercaseFirst()
	}
	m.info.MaxTokens = m.pipe.maxTokens
	if m.info.MaxTokens == 0 {
		limit, err := modelMaxLength(m.pipe.folder)
		if err != nil {
			return err
		}
		m.info.MaxTokens = min(limit, f.limit)
	}
	if !f.trained { // the position table ends there: the library would fail
		m.info.MaxTokens = min(m.info.MaxTokens, f.limit)
	}
	if least := m.tokens.SpecialCount(false) + 1; m.info.MaxTokens < least {
		return fmt.Errorf("the model takes %d tokens, fewer than the %d of any text", m.info.MaxTokens, least)
	}
	m.prompts = prompts{model: m, known: map[string]int{}}
	return nil
}

// modelMaxLength is tokenizer_config.json's, or no limit.
func modelMaxLength(folder repo.Folder) (int, error) {
	c, err := folder.Config("tokenizer_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return maxPositions, nil
	}
	if err != nil {
		return 0, err
	}
	n := c.Float(maxPositions, "model_max_length", "max_len") // the library writes 1e30 for none
	if err := c.Err(); err != nil {
		return 0, err
	}
	if n < 1 {
		return 0, fmt.Errorf("tokenizer_config.json: model_max_length: %v is below 1", n)
	}
	return int(min(n, maxPositions)), nil
}

// Info describes the model.
func (m *Model) Info() Info { return m.info }

// Tokenizer is the model's tokenizer.
func (m *Model) Tokenizer() *tokenize.Tokenizer { return m.tokens }

// Close frees the weights.
func (m *Model) Close() error {
	if m.loader == nil {
		return nil
	}
	return m.loader.Close()
}

// promptNames lists the repository's prompts for an error.
func (i Info) promptNames() string {
	if len(i.Prompts) == 0 {
		return "this model has none"
	}
	names := make([]string, 0, len(i.Prompts))
	for n := range i.Prompts {
		names = append(names, n)
	}
	sort.Strings(names)
	return "there are " + strings.Join(names, ", ")
}
