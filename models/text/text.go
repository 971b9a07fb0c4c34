// Package text writes: decoder-only language models, from Llama to Gemma and Phi, with what a repository says about
// their tokens, their conversations and how they want to be sampled.
//
// A prompt becomes token ids on the request's goroutine (Chat, Complete); the one worker runs many sequences at once over
// a paged cache of keys and values (Serve, engine). Each family's network is one file.
package text

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
	"remote-client-server/runtime/queue"
	"remote-client-server/tokenize"
	"remote-client-server/tokenize/chat"
	"remote-client-server/tokenize/grammar"
	"remote-client-server/tokenize/toolcall"
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

// LoadOptions is what an operator may say about a model.
type LoadOptions struct {
	DType      string // "", "auto", "float32", "bfloat16", "float16", "q8", "q4"
	MaxTokens  int    // of a context; 0: what the model declares
	CacheBytes int64  // of keys and values; 0: what the device can spare
	Sequences  int    // at once; 0: DefaultSequences
	Log        *slog.Logger
}

// DefaultSequences is how many sequences run at once.
const DefaultSequences = 32

// Model is one loaded language model. Prompts may be made by many goroutines; Serve is for one.
type Model struct {
	info      Info
	net       *network
	tokens    *tokenize.Tokenizer
	templates *chat.Templates
	calls     toolcall.Format
	backend   runtime.Backend
	loader    runtime.Loader
	precision runtime.Precision
	rotaries  []*runtime.Rotary
	defaults  Options
	slots     int
	chunk     int // rows of prompts that are computed at once; 0: by the device
	cacheSpec runtime.CacheSpec
	log       *slog.Logger
	observer  Observer

	grammars grammars
	mu       sync.Mutex
	stats    Stats
}

// Info describes a model to clients and operators.
type Info struct {
	Family     string // the class that config.json names
	MaxTokens  int    // of a context
	VocabSize  int    // rows of the embedding table; the tokenizer may know fewer tokens
	DType      string // of the weights in memory
	Device     string
	Parameters int64
	Products   int64   // multiplications of the matrix products for each token
	Ends       []int32 // tokens that end an answer
	Chat       bool    // the repository has a chat template
	Tools      bool    // and it shows tools
	CacheRows  int     // tokens that the cache holds
	CacheBytes int64
	Sequences  int // at once
	// Unused are stored tensors that writing does not need.
	Unused []string
}

// Load reads a repository folder.
func Load(b runtime.Backend, dir string, o LoadOptions) (*Model, error) {
	return load(b, repo.Dir(dir), o)
}

func load(b runtime.Backend, dir repo.Folder, o LoadOptions) (_ *Model, err error) {
	m := &Model{backend: b, log: o.Log, slots: cmp.Or(o.Sequences, DefaultSequences)}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	config, err := dir.Config("config.json")
	if err != nil {
		return nil, ofFiles(err)
	}
	if m.tokens, err = dir.Tokenizer(); err != nil {
		return nil, ofFiles(err)
	}
	if m.templates, err = chat.Load(dir.Read, dir.List); err != nil {
		return nil, ofFiles(err)
	}
	if source, err := m.templates.Source("", true); err == nil {
		m.calls = toolcall.Detect(source, m.added)
	}
	if err := m.guarded(func() error { return m.build(dir, config, o) }); err != nil {
		return nil, err
	}
	if err := m.generation(dir, config); err != nil {
		return nil, ofFiles(err)
	}
	return m, m.size(o)
}

// added looks a token up by its spelling.
func (m *Model) added(token string) (id int32, special, ok bool) {
	id, ok = m.tokens.TokenToID(token)
	return id, ok && m.tokens.IsSpecial(id), ok
}

// guarded turns a fault into an error: a mapped file that shrinks while it is read has no pages any more.
func (m *Model) guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.OutOfMemory:
			err = p
		default:
			err = ofFiles(fmt.Errorf("reading the weights: %v", p))
		}
	}()
	return read()
}

// build makes the network.
func (m *Model) build(dir repo.Folder, config *repo.Config, o LoadOptions) error {
	class, err := familyOf(config)
	if err != nil {
		return ofFiles(err)
	}
	tensors, err := dir.Weights()
	if err != nil {
		return ofFiles(err)
	}
	defer tensors.Close()
	if m.precision, err = m.backend.Precision(cmp.Or(o.DType, "auto"), tensors.Stored()); err != nil {
		return err
	}
	m.loader = m.backend.Load("text", m.precision)
	w := nn.Bind(tensors, m.loader)
	w.Precision = m.precision
	m.net = families[class](config, w)
	if err := config.Err(); err != nil {
		return ofFiles(err)
	}
	if err := w.Err(); err != nil {
		return ofFiles(err)
	}
	if m.rotaries, err = m.frequencies(); err != nil {
		return err
	}
	m.info = Info{
		Family: class, VocabSize: m.net.vocab, Device: m.backend.Props().Device, DType: m.precision.Name(tensors.Stored()),
		Parameters: tensors.Parameters(), Products: w.Products(), Chat: m.templates.Has(), Tools: m.calls.Supported(), MaxTokens: m.net.reach(), Unused: unused(w.Unused()),
	}
	return nil
}

// unused leaves out what old checkpoints hold beside their weights, and the towers of other senses.
func unused(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool {
		for _, known := range []string{"*rotary_emb.inv_freq", "*masked_bias", "vision_tower.*", "*multi_modal_projector.*", "model.vision_tower.*", "lm_head.weight"} {
			if ok, _ := filepath.Match(known, n); ok {
				return true
			}
		}
		return false
	})
}

// frequencies puts those of every rotary embedding on the device, one row a variant. A dynamic one's are made as
// sequences grow.
func (m *Model) frequencies() ([]*runtime.Rotary, error) {
	var all []*runtime.Rotary
	variants := 1
	for i := range m.net.rotaries {
		if m.net.rotaries[i].Kind == "longrope" {
			variants = 2
		}
	}
	for i := range m.net.rotaries {
		r := &m.net.rotaries[i]
		f := r.Frequencies(1)
		if variants == 2 {
			f = append(f, r.Frequencies(r.Original+1)...)
		}
		t, err := m.loader.Const(variants, r.Dim/2, f, runtime.F32)
		if err != nil {
			return nil, err
		}
		all = append(all, &runtime.Rotary{Freqs: t, Factor: float32(r.Attention)})
	}
	return all, nil
}

// reach is how many positions the network takes.
func (n *network) reach() int {
	reach := n.positions
	for i := range n.rotaries {
		reach = max(reach, n.rotaries[i].Reach())
	}
	return reach
}

// generation reads which tokens end an answer and how the model wants to be sampled: the union of what
// generation_config.json, config.json and the tokenizer say.
func (m *Model) generation(dir repo.Folder, config *repo.Config) error {
	ends := config.IntOrList("eos_token_id")
	if config.Has("text_config") {
		ends = append(ends, config.Sub("text_config").IntOrList("eos_token_id")...)
	}
	var g *repo.Config
	if raw, err := dir.Read("generation_config.json"); err == nil {
		if g, err = repo.ParseConfig("generation_config.json", raw); err != nil {
			return err
		}
		ends = append(ends, g.IntOrList("eos_token_id")...)
		m.defaults = Options{
			Temperature: g.Float(1, "temperature"), TopP: g.Float(1, "top_p"), TopK: g.Int(0, 0, 1<<31-1, "top_k"),
			MinP: g.Float(0, "min_p"), Repetition: g.Float(1, "repetition_penalty"),
		}
		if err := errors.Join(g.Err(), m.defaults.Check(m.info.VocabSize)); err != nil {
			return err
		}
	} else {
		m.defaults = Options{Temperature: 1, TopP: 1}
	}
	if id, ok := m.tokens.TokenToID(m.templates.Special("eos_token")); ok {
		ends = append(ends, int(id))
	}
	for _, id := range ends {
		if id >= 0 && id < m.info.VocabSize && !slices.Contains(m.info.Ends, int32(id)) {
			m.info.Ends = append(m.info.Ends, int32(id))
		}
	}
	if len(m.info.Ends) > runtime.MaxEnds/2 {
		return fmt.Errorf("generation_config.json: eos_token_id: %d tokens, more than %d", len(m.info.Ends), runtime.MaxEnds/2)
	}
	return config.Err()
}

// size settles how long a context may be and how much of the device's memory keys and values take.
func (m *Model) size(o LoadOptions) error {
	if o.MaxTokens > 0 {
		if o.MaxTokens > m.info.MaxTokens {
			m.log.Warn("a context longer than the model was trained for", "tokens", o.MaxTokens, "declared", m.info.MaxTokens)
		}
		m.info.MaxTokens = o.MaxTokens
	}
	p := m.backend.Props()
	rows := p.CacheBlock
	row := int64(2*m.net.layers*m.net.kvHeads*m.net.dim) * int64(m.precision.Cache.Size())
	budget := cmp.Or(o.CacheBytes, p.CacheMemory, p.Memory/4)
	whole := (m.info.MaxTokens + rows - 1) / rows
	blocks := int(min(budget/(row*int64(rows)), int64(m.slots*(whole+1))))
	if blocks < 2 {
		return runtime.OutOfMemory{What: "keys and values", Want: 2 * row * int64(rows), Free: budget}
	}
	if blocks-1 < whole {
		m.info.MaxTokens = (blocks - 1) * rows
		m.log.Warn("the context is cut to what fits the cache", "tokens", m.info.MaxTokens, "cache_bytes", budget)
	}
	m.cacheSpec = runtime.CacheSpec{Layers: m.net.layers, Blocks: blocks + 1, KVHeads: m.net.kvHeads, Dim: m.net.dim, Type: m.precision.Cache}
	m.info.CacheRows, m.info.CacheBytes, m.info.Sequences = blocks*rows, int64(blocks)*row*int64(rows), m.slots
	return nil
}

// Info describes the model.
func (m *Model) Info() Info { return m.info }

// Defaults are the options that the repository wants where a request says nothing.
func (m *Model) Defaults() Options { return m.defaults }

// Tokenizer is the model's.
func (m *Model) Tokenizer() *tokenize.Tokenizer { return m.tokens }

// Close frees the weights.
func (m *Model) Close() error {
	if m.loader == nil {
		return nil
	}
	return m.loader.Close()
}

// Complete is the tokens of a prompt as it stands, with the special tokens that the tokenizer puts around a text if
// addSpecial is set.
func (m *Model) Complete(prompt string, addSpecial bool) []int32 {
	ids, _ := m.tokens.IDs(prompt, addSpecial, 0)
	return ids
}

// Chat is the tokens of a conversation in the model's own template. Special tokens in what people wrote stay text.
func (m *Model) Chat(ctx context.Context, c chat.Conversation) ([]int32, error) {
	parts, err := m.templates.Render(ctx, c)
	if err != nil {
		return nil, err
	}
	ids, _ := m.tokens.EncodeParts(parts, false, 0)
	return ids, nil
}

// Calls is how the model writes calls of tools.
func (m *Model) Calls() toolcall.Format { return m.calls }

// TokenBytes is what a token adds to a text.
func (m *Model) TokenBytes(id int32) (b []byte, special, ok bool) { return m.tokens.TokenBytes(id) }

// Constrain prepares a grammar for the model's tokens; key stands for what build makes. What was prepared is kept for the
// next requests of the same form, with the masks that they have needed. The first call prepares the tokens.
func (m *Model) Constrain(key string, build func() (*grammar.Grammar, error)) (*grammar.Constraint, error) {
	g := &m.grammars
	g.once.Do(func() {
		g.vocabulary, g.err = grammar.NewVocabulary(m.info.VocabSize, m.tokens.TokenBytes, m.info.Ends)
	})
	if g.err != nil {
		return nil, g.err
	}
	name := sha256.Sum256([]byte(key))
	if c := g.find(name); c != nil {
		return c, nil
	}
	built, err := build()
	if err != nil {
		return nil, err
	}
	c, err := grammar.NewConstraint(built, g.vocabulary)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept = append([]keptConstraint{{name, c}}, g.kept[:min(len(g.kept), maxConstraints-1)]...)
	return c, nil
}

// find is a form that was kept, nil if there is none of that name.
func (g *grammars) find(name [sha256.Size]byte) *grammar.Constraint {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, k := range g.kept {
		if k.key == name {
			copy(g.kept[1:i+1], g.kept[:i])
			g.kept[0] = k
			return k.constraint
		}
	}
	return nil
}

// maxConstraints is how many forms of answers are kept; each may hold megabytes of masks.
const maxConstraints = 8

// grammars are the forms of answers that were asked for lately, the newest first.
type grammars struct {
	once       sync.Once
	vocabulary *grammar.Vocabulary
	err        error

	mu   sync.Mutex
	kept []keptConstraint
}

type keptConstraint struct {
	key        [sha256.Size]byte
	constraint *grammar.Constraint
}

// read gives a sequence what turns its tokens into text.
func (m *Model) read(s *sequence) {
	o := &s.work.Options
	s.text = m.tokens.DecodeStream(!o.ShowSpecial)
	s.stops = tokenize.NewStops(o.Stop, o.IncludeStop)
	if o.Grammar != nil && o.After == nil {
		s.match = o.Grammar.Matcher()
	}
	s.seed = rand.Uint64()
	if o.Seeded {
		s.seed = o.Seed + uint64(s.choice)*0x9E3779B97F4A7C15
	}
}

// Serve runs the jobs of a queue until that is closed and empty. An error is the device's.
func (m *Model) Serve(q *queue.Queue) error {
	e, err := newEngine(m)
	if err != nil {
		return err
	}
	defer e.close()
	for {
		if e.idle() {
			if e.flight == nil {
				q.Rest()
				m.count(func(s *Stats) { s.Writing, s.Filling = 0, 0 })
				if !q.Await() {
					return nil
				}
			}
		}
		e.admit(q)
		if err := e.safely(); err != nil {
			q.Fail(err)
			return err
		}
		m.count(func(s *Stats) {
			s.Writing, s.Filling = len(e.writing), len(e.filling)
			s.BlocksUsed, s.Blocks = e.pool.used()-1, len(e.pool.held)-1
		})
	}
}
