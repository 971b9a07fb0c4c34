package grammar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// maskIDs are the tokens of a mask.
func maskIDs(mask []uint32) (ids []int32) {
	for i, w := range mask {
		for b := range 32 {
			if w>>b&1 != 0 {
				ids = append(ids, int32(32*i+b))
			}
		}
	}
	return ids
}

// TestMasksAreWhatAcceptSays compares masks, which are put together from kept parts, with trying every token; and with
// a bound, what is left out must need too many tokens.
func TestMasksAreWhatAcceptSays(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	v := tokensOf(t, jsonTokens...)
	grammars := map[string]Expr{
		"any object":  Object(),
		"two objects": Or(Schema([]byte(`{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array"}}}`)), Schema([]byte(`{"type": "object", "properties": {"a": {"enum": ["ab", 12]}}, "required": ["a"]}`))),
		"calls":       Seq(Token(257), Or(Literal("ab"), Seq(Literal("a"), Token(257))), Repeat(Schema([]byte(`{"type": "string", "maxLength": 3}`)), 0, 2)),
		"a list":      Schema([]byte(`{"type": "array", "items": {"$ref": "#"}, "minItems": 2, "maxItems": 3}`)),
		"long":        Schema([]byte(`{"type": "string", "minLength": 1, "maxLength": 300}`)),
		"shallow":     Schema([]byte(`{"type": ["array", "object"]}`)),
	}
	grammars["a list"] = Schema([]byte(`{"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}, "minItems": 2, "maxItems": 3}`))
	for name, e := range grammars {
		t.Run(name, func(t *testing.T) {
			c := constrained(t, must(t)(Compile(e, Options{Depth: 3})), v)
			mask, bounded := make([]uint32, c.MaskSize()), make([]uint32, c.MaskSize())
			for range 15 {
				m := c.Matcher()
				for step := 0; step < 25 && !m.ended; step++ {
					m.Mask(mask, 0)
					may := maskIDs(mask)
					left := 1 + r.IntN(30)
					m.Clone().Mask(bounded, left)
					fit := maskIDs(bounded)
					var accepted, fits []int32
					for id := range int32(v.size) {
						n := m.Clone()
						if n.Accept(id) != nil {
							continue
						}
						accepted = append(accepted, id)
						if id == endToken || int(n.now.dist) < left {
							fits = append(fits, id)
						}
					}
					if !slices.Equal(may, accepted) {
						t.Fatalf("step %d: the mask has %v, accepted are %v", step, may, accepted)
					}
					if len(fits) > 0 && !slices.Equal(fit, fits) {
						t.Fatalf("step %d, %d left: the mask has %v, %v fit", step, left, fit, fits)
					}
					if len(fit) == 0 {
						t.Fatalf("step %d, %d left: nothing may come", step, left)
					}
					if err := m.Accept(may[r.IntN(len(may))]); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestKeptStatesMayBeDropped drops them again and again, as running out of their memory does.
func TestKeptStatesMayBeDropped(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 8))
	v := tokensOf(t, jsonTokens...)
	c := constrained(t, must(t)(CompileJSON(Options{Depth: 6})), v)
	kept := constrained(t, must(t)(CompileJSON(Options{Depth: 6})), v)
	mask, want := make([]uint32, c.MaskSize()), make([]uint32, c.MaskSize())
	m, n := c.Matcher(), kept.Matcher()
	for step := range 60 {
		m.Mask(mask, 60-step)
		c.memory = maxMemory - r.IntN(3000) // the next few states drop all
		n.Mask(want, 60-step)
		if !slices.Equal(mask, want) {
			t.Fatalf("step %d: %v, not %v", step, maskIDs(mask), maskIDs(want))
		}
		may := maskIDs(mask)
		id := may[r.IntN(len(may))]
		if m.Accept(id) != nil || n.Accept(id) != nil {
			t.Fatalf("step %d: token %d is in the mask", step, id)
		}
		if m.ended {
			break
		}
	}
	if c.age < 5 {
		t.Errorf("dropped %d times", c.age)
	}
}

func TestManyMatchersShareAConstraint(t *testing.T) {
	v := tokensOf(t, jsonTokens...)
	c := constrained(t, must(t)(CompileJSON(Options{Depth: 4})), v)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 8))
			mask := make([]uint32, c.MaskSize())
			for range 5 {
				m := c.Matcher()
				for left := 40; left > 0 && !m.Finished(); left-- {
					m.Mask(mask, left)
					may := maskIDs(mask)
					if err := m.Accept(may[r.IntN(len(may))]); err != nil {
						t.Error(err)
						return
					}
				}
				if !m.Complete() {
					t.Error("a text is not complete")
				}
			}
		})
	}
	wait.Wait()
}

func TestTheLifeOfAMatcher(t *testing.T) {
	v := tokensOf(t, "abc")
	c := constrained(t, must(t)(Compile(Seq(Literal("ab"), Or(Literal("c"), Token(257)), Repeat(Literal("!"), 0, 1)), Options{})), v)
	m := c.Matcher()
	mask := make([]uint32, c.MaskSize()+1)
	mask[c.MaskSize()] = 7
	m.Mask(mask, 0)
	if got := maskIDs(mask); !slices.Equal(got, []int32{'a', 258}) {
		t.Errorf("at the start %v", got)
	}
	if m.Complete() || m.Finished() || c.Least() != 3 || string(m.Forced()) != "ab" {
		t.Errorf("complete %v, finished %v, least %d, forced %q", m.Complete(), m.Finished(), c.Least(), m.Forced())
	}
	for _, id := range []int32{'b', 'x', 257, endToken, -1, 10000} {
		if err := m.Accept(id); err == nil {
			t.Errorf("token %d is accepted at the start", id)
		}
	}
	if text := m.Clone(); text.AcceptText([]byte("ab")) != nil || text.AcceptText([]byte("x")) == nil || text.AcceptText(nil) != nil || text.Accept('c') != nil || !text.Complete() {
		t.Error("the text ab is not taken, or x is")
	}
	other := m.Clone()
	for _, id := range []int32{'a', 'b', 257} {
		if err := other.Accept(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Accept(258); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Matcher{m, other} {
		if !x.Complete() || x.Finished() {
			t.Errorf("behind the third: complete %v, finished %v", x.Complete(), x.Finished())
		}
		x.Mask(mask, 1)
		if got := maskIDs(mask); !slices.Equal(got, []int32{'!', endToken}) {
			t.Errorf("behind the third %v", got)
		}
	}
	if err := m.Accept('!'); err != nil || !m.Finished() {
		t.Errorf("at the end: %v, finished %v", err, m.Finished())
	}
	if err := m.Accept(endToken); err != nil || m.Accept(endToken) == nil || !m.Complete() {
		t.Errorf("behind the end: %v", err)
	}
	m.Mask(mask, 5)
	if got := maskIDs(mask); !slices.Equal(got, []int32{endToken}) {
		t.Errorf("behind the end %v", got)
	}
}

func TestClosingSaysThatABoundDecided(t *testing.T) {
	v := tokensOf(t, "xxxxxxxx")
	c := constrained(t, must(t)(CompileSchema([]byte(`{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}`), Options{})), v)
	mask := make([]uint32, c.MaskSize())
	for _, left := range []int{c.Least(), c.Least() + 1, c.Least() + 20} {
		m := c.Matcher()
		var text []byte
		for n := left; n > 0; n-- {
			m.Mask(mask, n)
			may := maskIDs(mask)
			id := may[len(may)-1] // the longest way: an x wherever it may come
			if slices.Contains(may, 258) {
				id = 258
			} else if slices.Contains(may, 'x') {
				id = 'x'
			}
			if err := m.Accept(id); err != nil {
				t.Fatal(err)
			}
			text = append(text, v.bytes(id)...)
			if m.Finished() {
				break
			}
		}
		if !m.Complete() || !m.Closing() {
			t.Errorf("%d left: %q, complete %v, closing %v", left, text, m.Complete(), m.Closing())
		}
	}
	m := c.Matcher()
	for _, b := range []byte(`{"a": "x"}`) {
		m.Mask(mask, 1000)
		if err := m.Accept(int32(b)); err != nil {
			t.Fatal(err)
		}
	}
	if m.Closing() {
		t.Error("a text that ended by itself was closed")
	}
	m = c.Matcher()
	for n := 3; n > 0; n-- { // fewer than suffice: the shortest way, as far as it goes
		m.Mask(mask, n)
		if err := m.Accept(maskIDs(mask)[0]); err != nil {
			t.Fatal(err)
		}
	}
	if m.Complete() || string(m.Forced()) == "" {
		t.Errorf("complete %v, forced %q", m.Complete(), m.Forced())
	}
}

func TestVocabulariesThatCannotSpell(t *testing.T) {
	few := func(texts ...string) *Vocabulary {
		v, err := NewVocabulary(len(texts)+1, func(id int32) ([]byte, bool, bool) {
			if int(id) == len(texts) {
				return nil, true, true
			}
			return []byte(texts[id]), false, true
		}, []int32{int32(len(texts))})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	g := must(t)(CompileRegex(`(ab|c)+`, Options{}))
	if _, err := NewConstraint(g, few("ab", "x")); err == nil {
		t.Error("a vocabulary without a and c spells (ab|c)+")
	}
	c := constrained(t, g, few("a", "ab", "abc", "c")) // "a" alone leads nowhere, because there is no "b"
	m := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	m.Mask(mask, 0)
	if got := maskIDs(mask); !slices.Equal(got, []int32{1, 2, 3}) {
		t.Errorf("%v may come", got)
	}
	if m.Accept(0) == nil {
		t.Error("a token that leads nowhere is accepted")
	}
	if _, err := NewConstraint(must(t)(Compile(Token(9), Options{})), few("a")); err == nil {
		t.Error("a token beyond the vocabulary is taken")
	}
	for _, size := range []int{0, -1, maxVocabulary + 1} {
		if _, err := NewVocabulary(size, nil, nil); err == nil {
			t.Errorf("a vocabulary of %d is made", size)
		}
	}
	v, err := NewVocabulary(1, func(int32) ([]byte, bool, bool) { return []byte("a"), false, true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewConstraint(must(t)(Compile(Literal("a"), Options{})), v); err == nil {
		t.Error("a vocabulary without an end is taken")
	}
}

func Example() {
	g, err := CompileSchema([]byte(`{"type": "object", "properties": {"n": {"type": "integer", "minimum": 7, "maximum": 7}}, "required": ["n"], "additionalProperties": false}`), Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	const end = 256 // a tokenizer whose tokens are the bytes
	v, err := NewVocabulary(257, func(id int32) ([]byte, bool, bool) { return []byte{byte(id)}, id == end, true }, []int32{end})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := NewConstraint(g, v)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := c.Matcher()
	mask := make([]uint32, c.MaskSize())
	var text []byte
	for left := c.Least(); left > 0; left-- {
		m.Mask(mask, left)
		for id := range int32(256) { // a model whose favourite is the lowest id that may come
			if mask[id/32]>>(id%32)&1 != 0 {
				text = append(text, byte(id))
				_ = m.Accept(id)
				break
			}
		}
	}
	fmt.Println(string(text), m.Complete(), m.Closing())
	// Output: {"n":7} true true
}

func TestCountedStringsTakeWhatAWalkFinds(t *testing.T) {
	v := tokensOf(t, append([]string{`\n\n"`, `é😀"`, `\ud83d\ude00x`, `ab\u00e9c", `, `xxxxxxxx`, `😀😀😀😀`, "\xf0\x9f", `""`, `x"}`}, jsonTokens...)...)
	c := constrained(t, must(t)(CompileSchema([]byte(`{"type": "string", "minLength": 2, "maxLength": 200}`), Options{})), v)
	run := c.g.counting[0]
	for s := run.lo; s <= run.hi; s++ {
		set := c.states([]int32{s})
		got, want := c.counted(c.g.charsLeft(set)), c.walkTop(set)
		if !slices.Equal(maskIDs(got.bits), maskIDs(want.bits)) {
			t.Fatalf("%d left: %v, a walk finds %v", run.hi-s, maskIDs(got.bits), maskIDs(want.bits))
		}
		a, b := slices.Sorted(slices.Values(got.leaves)), slices.Sorted(slices.Values(want.leaves))
		if !slices.Equal(a, b) || got.reach < want.reach {
			t.Fatalf("%d left: leaves %v, a walk finds %v", run.hi-s, a, b)
		}
	}
	if run.hi-run.lo != 198 {
		t.Errorf("%d states are counted", run.hi-run.lo+1)
	}
}
