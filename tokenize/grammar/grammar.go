// Package grammar keeps what a language model writes inside a language: a JSON schema, a regular expression, a list of
// choices, or a composition of these.
//
// A language is a pushdown automaton over bytes. Its rules (one for a JSON string, one for each object of a schema, …)
// are finite automata whose moves are a byte, an added token as one symbol, or a call of another rule; calls are what
// the stack is for, so recursive schemas and nested values need no unrolling.
//
//	grammar.go     the expressions that a grammar is made of, and their compilation
//	builder.go     states, moves and rules
//	distance.go    the least number of bytes from each state to the end of its rule
//	json.go        strings, numbers, values of JSON
//	tree.go        reads a schema, in the order of its keys
//	schema*.go     JSON Schema (draft 2020-12, and the spellings of draft 7) to rules
//	number.go      ranges of decimal numbers
//	format.go      the formats of strings that are regular
//	regexp.go      reads a regular expression
//	runeset.go     sets of characters
//	runes.go       automata over characters: of expressions, of lengths, of both at once
//	utf8.go        and as bytes, in a text or in a JSON string
//
// A Vocabulary holds the bytes of all tokens as one trie. A Constraint brings a Grammar and a Vocabulary together, and
// a Matcher follows one sequence: Mask says which tokens may come, Accept takes the one that came.
//
//	vocabulary.go  the trie
//	machine.go     sets of stacks, deterministic, built when they are met
//	mask.go        the tokens that a state takes; counted.go those of strings with a maxLength
//	matcher.go     one sequence
//
// How masks are fast follows XGrammar (Dong et al. 2024): what a token does is mostly decided by the state on top of
// the stack. The tokens that stay in the top frame are found once a state, by one walk of the trie, and kept; those
// that leave the frame are looked at with the rest of the stack, and there are few of them.
//
// How texts end in time: each state knows the least number of bytes to the end of its rule, and a stack the sum. As
// long as that least number is not above the tokens left, some token of one byte makes both smaller by one; Mask
// leaves out the tokens that would break this. So a text that fitted when it began is complete when its tokens are
// spent, whoever chose them.
//
// Schemas and patterns are data of strangers. Their size, their nesting, the states that they become and the memory
// that masks take are bounded, and each bound is checked before memory is taken.
package grammar

import "fmt"

// Bounds on what a stranger may ask for.
const (
	// MaxSource is the largest schema or list of choices, in bytes.
	MaxSource = 4 << 20
	// MaxPattern is the longest regular expression, in bytes.
	MaxPattern = 16 << 10
	// DefaultDepth is how deep arrays and objects nest where Options say nothing.
	DefaultDepth = 32
	// MaxDepth bounds Options.Depth.
	MaxDepth = 1024

	maxStates = 3 << 18 // of all rules together
	maxEdges  = 1 << 20
	maxRepeat = 1 << 17 // of one expression
	maxTokens = 1 << 12 // different added tokens in a grammar
)

// errTooComplex says that a bound was reached.
var errTooComplex = fmt.Errorf("too complex: more than %d states or %d transitions", maxStates, maxEdges)

// Options are what a client does not choose.
type Options struct {
	Depth int // how deep arrays and objects may nest; 0: DefaultDepth
}

// Grammar is a compiled language. It is immutable and safe for use by several goroutines.
type Grammar struct {
	edges     []edge  // ordered by from
	first     []int32 // of a state, its edges are edges[first[s]:first[s+1]]
	rules     []rule
	root      int32      // the rule of a whole text
	tokens    []int32    // symbol 256+i is the added token tokens[i]
	counting  []counting // in the order of their states
	counted   int32      // the rule of counted strings, -1 if there is none
	depth     int32
	accepting []uint64  // a bit a state: a rule ends here
	least     distances // with every byte a token
}

// Least is the length in bytes of the shortest text.
func (g *Grammar) Least() int { return int(g.least.dist[g.rules[g.root].start]) }

// Expr is a part of a grammar.
type Expr interface {
	build(b *builder, from, to int32)
}

type literal string

// Literal is the text itself.
func Literal(s string) Expr { return literal(s) }

func (e literal) build(b *builder, from, to int32) { b.literal(from, to, string(e)) }

type token int32

// Token is an added token as one symbol: the token's id alone matches, never other tokens that spell its content.
func Token(id int32) Expr { return token(id) }

func (e token) build(b *builder, from, to int32) { b.token(from, to, int32(e)) }

type seq []Expr

// Seq is one after the other.
func Seq(parts ...Expr) Expr { return seq(parts) }

func (e seq) build(b *builder, from, to int32) {
	if len(e) == 0 {
		b.empty(from, to)
		return
	}
	for i, p := range e {
		next := to
		if i+1 < len(e) {
			next = b.state()
		}
		p.build(b, from, next)
		from = next
	}
}

type or []Expr

// Or is any one of the parts; of none, nothing matches.
func Or(parts ...Expr) Expr { return or(parts) }

func (e or) build(b *builder, from, to int32) {
	for _, p := range e {
		p.build(b, from, to)
	}
}

type repeat struct {
	part     Expr
	min, max int
}

// Repeat is the part again and again, min to max times; max below 0 is no bound.
func Repeat(part Expr, min, max int) Expr { return repeat{part, min, max} }

func (e repeat) build(b *builder, from, to int32) {
	if e.min < 0 || e.min > maxRepeat || e.max > maxRepeat || e.max >= 0 && e.max < e.min {
		b.fail(fmt.Errorf("repetition {%d,%d} is not within 0 to %d", e.min, e.max, maxRepeat))
		return
	}
	for range e.min {
		next := b.state()
		e.part.build(b, from, next)
		from = next
	}
	if e.max < 0 {
		loop := b.state()
		b.empty(from, loop)
		e.part.build(b, loop, loop)
		b.empty(loop, to)
		return
	}
	for range e.max - e.min {
		if b.err != nil {
			return
		}
		b.empty(from, to)
		next := b.state()
		e.part.build(b, from, next)
		from = next
	}
	b.empty(from, to)
}

type choice []string

// Choice is one of the texts.
func Choice(texts []string) Expr { return choice(texts) }

func (e choice) build(b *builder, from, to int32) { b.choice(from, to, e) }

type pattern string

// Regex is a text that the whole pattern matches: the common subset of RE2, Python and ECMAScript without
// look-around and back references. Lazy quantifiers count as greedy ones, since the language is the same.
func Regex(p string) Expr { return pattern(p) }

func (e pattern) build(b *builder, from, to int32) {
	n, err := compileRunes(string(e), false)
	if err != nil {
		b.fail(fmt.Errorf("regex: %w", err))
		return
	}
	b.runes(from, to, n, false)
}

type schemaExpr struct{ raw []byte }

// Schema is a JSON value that satisfies the JSON schema.
func Schema(raw []byte) Expr { return &schemaExpr{raw} }

func (e *schemaExpr) build(b *builder, from, to int32) {
	r, ok := b.schemas[e]
	if !ok {
		var err error
		if r, err = b.schema(e.raw); err != nil {
			b.fail(err)
			return
		}
		b.schemas[e] = r
	}
	b.call(from, to, r)
}

type freeObject struct{}

// Object is any JSON object.
func Object() Expr { return freeObject{} }

func (freeObject) build(b *builder, from, to int32) { b.call(from, to, b.freeObject()) }

type blank struct{}

// Space is the white space that may stand between the parts of a JSON text: none, a space, or a line break with an
// indentation.
func Space() Expr { return blank{} }

func (blank) build(b *builder, from, to int32) { b.space(from, to) }

// Compile makes a grammar of an expression. It fails where the expression names what is not supported, contradicts
// itself, matches nothing, or becomes larger than the bounds.
func Compile(e Expr, o Options) (*Grammar, error) {
	if o.Depth == 0 {
		o.Depth = DefaultDepth
	}
	if o.Depth < 1 || o.Depth > MaxDepth {
		return nil, fmt.Errorf("depth %d is not within 1 to %d", o.Depth, MaxDepth)
	}
	b := newBuilder()
	root := b.rule(false)
	e.build(b, b.rules[root].start, b.rules[root].accept)
	if b.err != nil {
		return nil, b.err
	}
	return b.grammar(root, o)
}

// CompileJSON is the grammar of any JSON object.
func CompileJSON(o Options) (*Grammar, error) { return Compile(Seq(Space(), Object()), o) }

// CompileSchema is the grammar of the JSON values that satisfy a schema. White space between the parts of a value is
// free within the bounds of Space, properties come in the order of the schema, and those that only
// additionalProperties allows come last. Where a keyword is not supported or a reference leads out of the document,
// the error names the keyword and its JSON pointer.
//
// The texts are some of those that satisfy the schema, not all: numbers have at most 18 digits before the point,
// strings with a pattern or a format use an escape only where JSON asks for one, oneOf is read as anyOf, and a schema
// without type whose keywords concern one type takes that type alone.
func CompileSchema(raw []byte, o Options) (*Grammar, error) {
	return Compile(Seq(Space(), Schema(raw)), o)
}

// CompileRegex is the grammar of the texts that the whole pattern matches.
func CompileRegex(pattern string, o Options) (*Grammar, error) { return Compile(Regex(pattern), o) }

// CompileChoice is the grammar of the texts given.
func CompileChoice(texts []string, o Options) (*Grammar, error) { return Compile(Choice(texts), o) }
