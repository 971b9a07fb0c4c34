package grammar

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds on how schemas are combined.
const (
	maxAlternatives = 256     // ways to satisfy one schema
	maxMerges       = 1 << 14 // of two schemas into one
)

// schemas turns the schemas of one document into rules. A schema becomes a rule when it is first met and its body is
// made later, so that schemas may refer to themselves and nothing here recurses with the document.
type schemas struct {
	b      *builder
	root   *tree
	rules  map[*tree]int32
	queue  []schemaJob
	pairs  map[[2]*tree]*tree
	parts  map[*tree]combined // schemas that were taken apart to be merged
	merges int
}

type schemaJob struct {
	rule int32
	node *tree
	at   *place
}

// schema is the rule of a JSON value that satisfies a document.
func (b *builder) schema(raw []byte) (int32, error) {
	root, err := parseTree(raw)
	if err != nil {
		return 0, fmt.Errorf("schema: %w", err)
	}
	s := schemas{b: b, root: root, rules: map[*tree]int32{}, pairs: map[[2]*tree]*tree{}, parts: map[*tree]combined{}}
	r := s.rule(root, &place{})
	for len(s.queue) > 0 && b.err == nil {
		job := s.queue[0]
		s.queue = s.queue[1:]
		if err := s.body(job); err != nil {
			return 0, fmt.Errorf("schema: %w", err)
		}
	}
	if b.err != nil {
		return 0, fmt.Errorf("schema: %w", b.err)
	}
	return r, nil
}

// rule is the rule of a schema.
func (s *schemas) rule(node *tree, at *place) int32 {
	r, ok := s.rules[node]
	if !ok {
		r = s.b.rule(false)
		s.rules[node] = r
		s.queue = append(s.queue, schemaJob{r, node, at})
	}
	return r
}

// value puts a value that satisfies a schema between two states; nil is the schema that everything satisfies.
func (s *schemas) value(node *tree, from, to int32, at *place) {
	switch {
	case node == nil || node.text == "true" && node.kind == kindBool || node.kind == kindObject && len(node.keys) == 0:
		s.b.call(from, to, s.b.value())
	case node.text == "false" && node.kind == kindBool:
	default:
		s.b.call(from, to, s.rule(node, at))
	}
}

// body makes the rule of a schema. References and alternatives that stand alone are calls; what else is combined is
// merged into plain schemas first.
func (s *schemas) body(job schemaJob) error {
	from, to := s.b.rules[job.rule].start, s.b.rules[job.rule].accept
	if job.node.kind == kindBool && !job.node.both { // the document itself, or the target of a reference
		s.value(job.node, from, to, job.at)
		return nil
	}
	if !job.node.both {
		k, err := s.read(job.node, job.at)
		if err != nil {
			return err
		}
		if k.plain.free() && len(k.all)+len(k.any) == 1 {
			only := append(k.all, k.any...)[0]
			for _, alternative := range only {
				s.value(alternative.node, from, to, alternative.at)
			}
			return nil
		}
		if len(k.all)+len(k.any) == 0 {
			return s.emit(k.plain, from, to, job.at)
		}
	}
	alternatives, err := s.expand(job.node, job.at, map[*tree]bool{})
	if err != nil {
		return err
	}
	var reason error
	found := false
	for _, p := range alternatives {
		switch err := s.emit(p, from, to, job.at); {
		case isContradiction(err):
			reason = err
		case err != nil:
			return err
		default:
			found = true
		}
	}
	if !found {
		if reason == nil {
			reason = contradiction(job.at, "nothing satisfies all of its parts")
		}
		return reason
	}
	return nil
}

// errContradiction is under the errors of schemas that nothing satisfies.
var errContradiction = errors.New("nothing satisfies it")

func contradiction(at *place, format string, args ...any) error {
	return fmt.Errorf("%v: %s: %w", at, fmt.Sprintf(format, args...), errContradiction)
}

// part is a schema within the document.
type part struct {
	node *tree
	at   *place
}

// combined is a schema taken apart: its own keywords, and groups of which one part each must hold too.
type combined struct {
	plain *plain
	all   [][]part // $ref and the members of allOf, alone in their groups
	any   [][]part // anyOf, oneOf
}

// expand gives the plain schemas of which a value must satisfy one. seen holds the references on the way here.
func (s *schemas) expand(node *tree, at *place, seen map[*tree]bool) ([]*plain, error) {
	if node.both {
		a, err := s.expand(node.items[0], at, seen)
		if err != nil {
			return nil, err
		}
		b, err := s.expand(node.items[1], at, seen)
		if err != nil {
			return nil, err
		}
		return s.product(a, b, at)
	}
	if node.kind == kindBool {
		if node.text == "true" {
			return []*plain{newPlain()}, nil
		}
		return nil, nil
	}
	if seen[node] {
		return nil, fmt.Errorf("%v: refers to itself without a value between", at)
	}
	seen[node] = true
	defer delete(seen, node)
	k, ok := s.parts[node]
	if !ok {
		var err error
		if k, err = s.read(node, at); err != nil {
			return nil, err
		}
		s.parts[node] = k
	}
	out := []*plain{k.plain}
	for _, group := range append(k.all, k.any...) {
		var options []*plain
		for _, p := range group {
			more, err := s.expand(p.node, p.at, seen)
			if err != nil {
				return nil, err
			}
			options = append(options, more...)
		}
		var err error
		if out, err = s.product(out, options, at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// product merges each of a with each of b and leaves out what contradicts itself.
func (s *schemas) product(a, b []*plain, at *place) (out []*plain, err error) {
	if s.merges += len(a) * len(b); s.merges > maxMerges || len(a)*len(b) > maxAlternatives {
		return nil, fmt.Errorf("%v: too many combinations: more than %d in one place, or %d in all", at, maxAlternatives, maxMerges)
	}
	for _, x := range a {
		for _, y := range b {
			z, err := s.merge(x, y, at)
			if err != nil {
				return nil, err
			}
			if !z.empty() {
				out = append(out, z)
			}
		}
	}
	return out, nil
}

// both is the schema that is satisfied by what satisfies a and b; nil is the schema that everything satisfies.
func (s *schemas) both(a, b *tree) *tree {
	isBool := func(t *tree, text string) bool { return t.kind == kindBool && t.text == text }
	switch {
	case a == nil || isBool(a, "true"):
		return b
	case b == nil || isBool(b, "true") || a == b:
		return a
	case isBool(a, "false"):
		return a
	case isBool(b, "false"):
		return b
	}
	t, ok := s.pairs[[2]*tree{a, b}]
	if !ok {
		t = &tree{both: true, items: []*tree{a, b}}
		s.pairs[[2]*tree{a, b}] = t
	}
	return t
}

// resolve finds what a reference stands for: a JSON pointer (RFC 6901) into the document.
func (s *schemas) resolve(v *tree, at *place) (part, error) {
	if v.kind != kindString {
		return part{}, fmt.Errorf("%v: not a string", at)
	}
	pointer, ok := strings.CutPrefix(v.text, "#")
	if !ok {
		return part{}, fmt.Errorf("%v: %q leads out of the document", at, clip(v.text))
	}
	target, where := s.root, &place{}
	if pointer == "" {
		return part{target, where}, nil
	}
	keys := strings.SplitN(pointer, "/", 2*maxTreeDepth) // no document is as deep
	if keys[0] != "" {
		return part{}, fmt.Errorf("%v: %q is no JSON pointer", at, clip(v.text))
	}
	for _, key := range keys[1:] {
		key = strings.NewReplacer("~1", "/", "~0", "~", "%25", "%").Replace(key)
		where = where.at(key)
		next := target.get(key)
		if target.kind == kindArray {
			if i, ok := digitsOnly(key); ok && i < len(target.items) {
				next = target.items[i]
			}
		}
		if next == nil {
			return part{}, fmt.Errorf("%v: %q is not there", at, clip(v.text))
		}
		target = next
	}
	return part{target, where}, nil
}

// isContradiction says that an error is about one of several alternatives, of which others may do.
func isContradiction(err error) bool { return errors.Is(err, errContradiction) }
