package chat

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Templates are the chat templates of a model's repository, and its special tokens as their variables.
type Templates struct {
	named   map[string]*entry
	special *Dict
}

// entry is one template; err is what is wrong with its source, which matters only where it is asked for.
type entry struct {
	source   string
	template *Template
	err      error

	contentParts  bool // it takes a message's content in parts
	textArguments bool // it takes the arguments of tool calls as a text, not as an object
	// callContent is the content that a message of tool calls alone must have for the template; nil: none.
	callContent Value
}

// ErrNoTemplate is wrapped by the error of rendering where the repository has no (such) template.
var ErrNoTemplate = errors.New("no chat template")

const (
	defaultName = "default"
	toolName    = "tool_use"
	// maxTemplates bounds what one repository may bring.
	maxTemplates = 64
)

// Load reads a repository's templates: chat_template.jinja and additional_chat_templates/NAME.jinja, else chat_template
// in tokenizer_config.json (a text, or a list of {name, template}), else in chat_template.json. read gives a file's
// content, or an error that is fs.ErrNotExist; list gives the names of the files in a folder, none if it is not there.
// A repository without templates is no error: see Has. A template that is no Jinja is reported when it is used.
func Load(read func(name string) ([]byte, error), list func(dir string) []string) (*Templates, error) {
	t := &Templates{named: map[string]*entry{}, special: NewDict()}
	file := func(name string) ([]byte, error) {
		b, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	object := func(name string) (*Dict, error) {
		b, err := file(name)
		if err != nil || b == nil {
			return nil, err
		}
		v, err := ParseJSON(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, fmt.Errorf("%s: no object", name)
		}
		return d, nil
	}
	config, err := object("tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	more, err := object("special_tokens_map.json")
	if err != nil {
		return nil, err
	}
	t.tokens(config)
	t.tokens(more)

	b, err := file("chat_template.jinja")
	if err != nil {
		return nil, err
	}
	if b != nil {
		t.add(defaultName, string(b))
	}
	const folder = "additional_chat_templates"
	for _, name := range list(folder) {
		base, ok := strings.CutSuffix(path.Base(name), ".jinja")
		if !ok {
			continue
		}
		b, err := file(folder + "/" + path.Base(name))
		if err != nil {
			return nil, err
		}
		if b != nil && !t.add(base, string(b)) {
			return nil, fmt.Errorf("%s: more than %d templates", folder, maxTemplates)
		}
	}
	if t.Has() {
		return t, nil
	}
	if err := t.configured("tokenizer_config.json", config); err != nil || t.Has() {
		return t, err
	}
	old, err := object("chat_template.json")
	if err != nil {
		return nil, err
	}
	return t, t.configured("chat_template.json", old)
}

// tokens takes the special tokens of a file: members that end in _token, as a text or as an object with its content.
func (t *Templates) tokens(file *Dict) {
	spelling := func(v Value) Value {
		if d, ok := v.(*Dict); ok {
			v, _ = d.Get("content")
		}
		if s, ok := v.(textValue); ok {
			return Trusted(s.s)
		}
		return nil
	}
	for _, name := range file.Names() {
		v, _ := file.Get(name)
		if _, known := t.special.Get(name); known {
			continue
		}
		if l, ok := v.(*list); ok && name == "additional_special_tokens" {
			all := &list{}
			for _, one := range l.items {
				if s := spelling(one); s != nil {
					all.items = append(all.items, s)
				}
			}
			t.special.Set(name, all)
		}
		if s := spelling(v); s != nil && strings.HasSuffix(name, "_token") {
			t.special.Set(name, s)
		}
	}
}

// configured takes the chat_template member of a file.
func (t *Templates) configured(file string, d *Dict) error {
	v, ok := d.Get("chat_template")
	if !ok || isNone(v) {
		return nil
	}
	switch v := v.(type) {
	case textValue:
		t.add(defaultName, v.s)
		return nil
	case *list:
		for i, one := range v.items {
			d, _ := one.(*Dict)
			name, _ := d.Get("name")
			source, _ := d.Get("template")
			n, ok1 := name.(textValue)
			s, ok2 := source.(textValue)
			if !ok1 || !ok2 {
				return fmt.Errorf("%s: chat_template[%d]: no name and template", file, i)
			}
			if !t.add(n.s, s.s) {
				return fmt.Errorf("%s: chat_template: more than %d templates", file, maxTemplates)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: chat_template: a %s where a text or list belongs", file, v.kind())
}

func (t *Templates) add(name, source string) bool {
	if len(t.named) >= maxTemplates {
		return false
	}
	e := &entry{source: source}
	if e.template, e.err = Parse(source); e.err == nil {
		e.probe(t.special)
	}
	t.named[name] = e
	return true
}

// Has tells whether there is any template.
func (t *Templates) Has() bool { return len(t.named) > 0 }

// Names are the templates' names in alphabetical order.
func (t *Templates) Names() []string {
	names := make([]string, 0, len(t.named))
	for n := range t.named {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Source is the text of the template that a conversation with or without tools is rendered by; name as in
// Conversation.Template.
func (t *Templates) Source(name string, tools bool) (string, error) {
	e, err := t.choose(name, tools)
	if err != nil {
		return "", err
	}
	return e.source, nil
}

// choose finds the template by its name, else tool_use where tools are given, else the default one.
func (t *Templates) choose(name string, tools bool) (*entry, error) {
	e := t.named[name]
	switch {
	case !t.Has():
		return nil, fmt.Errorf("%w: the model's files have none", ErrNoTemplate)
	case name != "" && e == nil:
		return nil, fmt.Errorf("%w %q: there are %s", ErrNoTemplate, clip(name), strings.Join(t.Names(), ", "))
	case name == "":
		if e = t.named[toolName]; e == nil || !tools {
			e = t.named[defaultName]
		}
		if e == nil {
			return nil, fmt.Errorf("%w named default: there are %s", ErrNoTemplate, strings.Join(t.Names(), ", "))
		}
	}
	return e, e.err
}
