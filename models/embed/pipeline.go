package embed

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"remote-client-server/models/nn"
	"remote-client-server/models/repo"
	"remote-client-server/runtime"
)

// pipeline is what a repository's sentence-transformers files say about the way from hidden states to one vector:
// pooling, then any number of steps.
type pipeline struct {
	folder        repo.Folder // of the Transformer module
	pools         []runtime.Pooling
	includePrompt bool
	steps         []step
	width         int // of the vector
	normalized    bool

	maxTokens     int // max_seq_length, 0 where the files do not say
	lowercase     bool
	prompts       map[string]string
	defaultPrompt string
}

// step maps pooled vectors [m, D] to [m, D'].
type step func(b runtime.Backend, x runtime.Tensor) runtime.Tensor

// module is one entry of modules.json.
type module struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

// readModules lists the modules behind the Transformer, whose folder it also gives. Without a modules.json the library
// pools the mean; that vectors come out with unit length is this server's rule.
func readModules(dir repo.Folder) (folder string, rest []module, err error) {
	var list []module
	found, err := dir.JSON("modules.json", &list)
	if err != nil {
		return "", nil, err
	}
	if !found {
		return "", []module{{Type: "Pooling"}}, nil
	}
	for i, m := range list {
		switch kind := m.kind(); {
		case i == 0 && kind == "Transformer":
			folder = m.Path
		case i == 0 || kind == "Transformer":
			return "", nil, fmt.Errorf("modules.json: module %d is %s: an embedder begins with its only Transformer", i, m.Type)
		}
	}
	if len(list) == 0 {
		return "", nil, fmt.Errorf("modules.json: the list is empty")
	}
	return folder, list[1:], nil
}

// kind is the last part of the class name, which all versions of the library share.
func (m module) kind() string { return m.Type[strings.LastIndexByte(m.Type, '.')+1:] }

// settingsFiles are the names that sentence-transformers has given its settings of the Transformer module.
var settingsFiles = []string{
	"sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json", "sentence_camembert_config.json",
	"sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json",
}

// readPipeline reads all but the weights.
func readPipeline(dir repo.Folder) (*pipeline, []module, error) {
	name, modules, err := readModules(dir)
	if err != nil {
		return nil, nil, err
	}
	p := &pipeline{}
	if p.folder, err = dir.Sub(name); err != nil {
		return nil, nil, fmt.Errorf("modules.json: %w", err)
	}
	for _, name := range settingsFiles {
		var s struct {
			MaxSeqLength *int `json:"max_seq_length"`
			DoLowerCase  bool `json:"do_lower_case"`
		}
		found, err := p.folder.JSON(name, &s)
		if err != nil {
			return nil, nil, err
		}
		if !found {
			continue
		}
		p.lowercase = s.DoLowerCase
		if s.MaxSeqLength != nil {
			if *s.MaxSeqLength < 1 || *s.MaxSeqLength > maxPositions {
				return nil, nil, fmt.Errorf("%s: max_seq_length: %d is outside [1, %d]", name, *s.MaxSeqLength, maxPositions)
			}
			p.maxTokens = *s.MaxSeqLength
		}
		break
	}
	var prompts struct {
		Prompts           map[string]string `json:"prompts"`
		DefaultPromptName *string           `json:"default_prompt_name"`
	}
	if _, err := dir.JSON("config_sentence_transformers.json", &prompts); err != nil {
		return nil, nil, err
	}
	p.prompts = prompts.Prompts
	if n := prompts.DefaultPromptName; n != nil {
		if _, ok := p.prompts[*n]; !ok {
			return nil, nil, fmt.Errorf("config_sentence_transformers.json: default_prompt_name: there is no prompt %q", *n)
		}
		p.defaultPrompt = *n
	}
	return p, modules, nil
}

// build reads the modules' settings and weights. pooling overrides the repository's where it is not empty.
func (p *pipeline) build(dir repo.Folder, modules []module, width int, pooling string, l runtime.Loader) error {
	p.width = width
	pooled := false
	for _, m := range modules {
		kind := m.kind()
		if kind != "Pooling" && kind != "Dropout" && !pooled {
			return fmt.Errorf("modules.json: %s comes before the pooling, which is not supported", m.Type)
		}
		path, err := dir.Sub(m.Path)
		if err != nil {
			return fmt.Errorf("modules.json: %w", err)
		}
		switch kind {
		case "Pooling":
			if pooled {
				return fmt.Errorf("modules.json: two pooling modules")
			}
			pooled = true
			err = p.readPooling(path, m.Path != "", pooling)
		case "Normalize":
			p.normalized = true
			err = p.norm(l, runtime.NormSpec{Name: kind, Kind: runtime.L2Norm, Width: p.width, Eps: 1e-12})
		case "Dense":
			p.normalized = false
			err = p.dense(path, l)
		case "LayerNorm":
			p.normalized = false
			err = p.layerNorm(path, l)
		case "Dropout": // identity outside training
		default:
			err = fmt.Errorf("module type %s is not supported", m.Type)
		}
		if err != nil {
			if m.Path != "" {
				return fmt.Errorf("%s: %w", m.Path, err)
			}
			return fmt.Errorf("modules.json: %w", err)
		}
	}
	if !pooled {
		return fmt.Errorf("modules.json: no pooling module")
	}
	return nil
}

// poolings are the modes in the order in which the old boolean keys are concatenated.
var poolings = []struct {
	old, mode string
	how       runtime.Pooling
}{
	{"pooling_mode_cls_token", "cls", runtime.PoolFirst},
	{"pooling_mode_max_tokens", "max", runtime.PoolMax},
	{"pooling_mode_mean_tokens", "mean", runtime.PoolMean},
	{"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", runtime.PoolMeanSqrt},
	{"pooling_mode_weightedmean_tokens", "weightedmean", runtime.PoolWeighted},
	{"pooling_mode_lasttoken", "lasttoken", runtime.PoolLast},
}

// Poolings are the names of the ways to pool.
func Poolings() []string {
	var names []string
	for _, p := range poolings {
		names = append(names, p.mode)
	}
	return names
}

func poolingMode(mode string) (runtime.Pooling, error) {
	for _, p := range poolings {
		if p.mode == mode {
			return p.how, nil
		}
	}
	return 0, fmt.Errorf("pooling %q is not one of %s", mode, strings.Join(Poolings(), ", "))
}

func (p *pipeline) readPooling(path repo.Folder, stored bool, override string) error {
	p.includePrompt = true
	defer func() { p.width *= max(1, len(p.pools)) }()
	if stored {
		c, err := path.Config("config.json")
		switch {
		case err == nil:
			err = p.poolingConfig(c)
		case errors.Is(err, fs.ErrNotExist):
			err = nil // the library's default: the mean
		}
		if err != nil {
			return err
		}
	}
	if override != "" {
		how, err := poolingMode(override)
		if err != nil {
			return err
		}
		p.pools = []runtime.Pooling{how}
	}
	if len(p.pools) == 0 {
		p.pools = []runtime.Pooling{runtime.PoolMean}
	}
	return nil
}

func (p *pipeline) poolingConfig(c *repo.Config) error {
	p.includePrompt = c.Bool(true, "include_prompt")
	if n := c.Int(p.width, 1, maxWidth, "word_embedding_dimension", "embedding_dimension"); n != p.width {
		c.Fail("embedding_dimension", "%d, but the model is %d wide", n, p.width)
	}
	var modes []string
	if c.Has("pooling_mode") {
		if modes = c.StringOrList("pooling_mode"); len(modes) == 0 {
			c.Fail("pooling_mode", "no mode")
		}
	} else {
		for _, m := range poolings {
			if c.Bool(false, m.old) {
				modes = append(modes, m.mode)
			}
		}
	}
	for _, m := range modes {
		how, err := poolingMode(m)
		if err != nil {
			c.Fail("pooling_mode", "%v", err)
		}
		p.pools = append(p.pools, how)
	}
	return c.Err()
}

func (p *pipeline) norm(l runtime.Loader, s runtime.NormSpec) error {
	n, err := l.Norm(s)
	p.steps = append(p.steps, func(b runtime.Backend, x runtime.Tensor) runtime.Tensor { return b.Norm(x, n) })
	return err
}

// layerNorm is torch.nn.LayerNorm with its default epsilon.
func (p *pipeline) layerNorm(path repo.Folder, l runtime.Loader) error {
	c, err := path.Weights()
	if err != nil {
		return err
	}
	defer c.Close()
	w := nn.Bind(c, l)
	n := w.Norm(runtime.LayerNorm, "norm", p.width, 1e-5)
	p.steps = append(p.steps, func(b runtime.Backend, x runtime.Tensor) runtime.Tensor { return b.Norm(x, n) })
	return w.Err()
}

// torchActivations are the classes that a Dense module may name.
var torchActivations = map[string]runtime.Act{
	"Tanh": runtime.Tanh, "Identity": runtime.None, "GELU": runtime.GELU, "ReLU": runtime.ReLU, "SiLU": runtime.SiLU, "Sigmoid": runtime.Sigmoid,
}

// dense is act(Wx+b), plus x or its own projection where use_residual is set.
func (p *pipeline) dense(path repo.Folder, l runtime.Loader) error {
	c, err := path.Config("config.json")
	if err != nil {
		return err
	}
	in, out := c.Int(p.width, 1, maxWidth, "in_features"), c.Int(p.width, 1, maxWidth, "out_features")
	if in != p.width {
		c.Fail("in_features", "%d, but the vector before it has %d", in, p.width)
	}
	for _, key := range []string{"module_input_name", "module_output_name"} {
		c.Choice("sentence_embedding", []string{"sentence_embedding"}, key)
	}
	class := c.String("torch.nn.modules.activation.Tanh", "activation_function")
	act, ok := torchActivations[class[strings.LastIndexByte(class, '.')+1:]]
	if !ok {
		c.Fail("activation_function", "%s is not supported", class)
	}
	residual := c.Bool(false, "use_residual")
	if err := c.Err(); err != nil {
		return err
	}
	ckpt, err := path.Weights()
	if err != nil {
		return err
	}
	defer ckpt.Close()
	w := nn.Bind(ckpt, l)
	linear := w.Stack(runtime.LinearSpec{Act: act, Wide: true}, in, nn.Part{Name: "linear", Rows: out})
	var around *runtime.Linear
	switch {
	case residual && in == out:
		around, err = l.Linear(runtime.LinearSpec{Name: "identity", W: []runtime.Source{identity(in)}})
	case residual:
		around = w.Linear("residual", out, in, runtime.None)
	}
	p.width = out
	p.steps = append(p.steps, func(b runtime.Backend, x runtime.Tensor) runtime.Tensor {
		y := b.Linear(x, linear)
		if around != nil {
			b.LinearAdd(y, x, around)
		}
		return y
	})
	if err != nil {
		return err
	}
	return w.Err()
}

func identity(n int) runtime.Source {
	v := make([]float32, n*n)
	for i := range n {
		v[i*n+i] = 1
	}
	return runtime.FloatSource("identity", n, v)
}

// pool reduces the hidden states of packed texts to vectors [m, D] and runs the steps.
func (p *pipeline) pool(b runtime.Backend, x runtime.Tensor, texts []Text) runtime.Tensor {
	var pair, triple []int32
	at := int32(0)
	for _, t := range texts {
		end := at + int32(len(t.IDs))
		from := at
		if !p.includePrompt {
			from = min(at+int32(t.Prompt), end)
		}
		pair = append(pair, from, end)
		triple = append(triple, from, end, at)
		at = end
	}
	var parts []runtime.Tensor
	for _, how := range p.pools {
		wide, v := 2, pair
		if how == runtime.PoolWeighted {
			wide, v = 3, triple
		}
		r := b.Scratch(len(texts), wide, runtime.I32)
		b.Upload(r, v)
		parts = append(parts, b.Pool(x, r, how))
	}
	y := parts[0]
	if len(parts) > 1 {
		y = beside(b, parts)
	}
	for _, s := range p.steps {
		y = s(b, y)
	}
	return y
}

// beside joins pooled vectors column by column. They are few: the way over the host costs nothing.
func beside(b runtime.Backend, parts []runtime.Tensor) runtime.Tensor {
	width := 0
	for _, t := range parts {
		width += t.Cols
	}
	y := b.Scratch(parts[0].Rows, width, runtime.F32)
	at := 0
	for _, t := range parts {
		v := make([]float32, t.Rows*t.Cols)
		if b.Download(v, t) == nil { // a device error is sticky: the caller's Download returns it
			b.Upload(y.Columns(at, at+t.Cols), v)
		}
		at += t.Cols
	}
	return y
}
