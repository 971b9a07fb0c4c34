package grammar

import (
	"bytes"
	"fmt"
	"slices"
)

const (
	// maxToken is the longest token that a grammar lets through, in bytes.
	maxToken = 128
	// maxVocabulary bounds the number of ids.
	maxVocabulary = 1 << 22
	maxVocabBytes = 1 << 28
)

// Vocabulary is the bytes of all tokens of a tokenizer, as a trie in the order of a walk. It is immutable and safe for
// use by several goroutines.
type Vocabulary struct {
	size int // ids are below it
	end  []int32

	text  []byte   // of all tokens, by id
	start []uint32 // of an id, its bytes are text[start[id]:start[id+1]]

	// The trie, one entry a node, parents before children and children in the order of their bytes. A node's subtree
	// is the entries from it up to skip; the tokens that end in it are ids[first:first of the next entry].
	label []byte
	depth []uint8 // bytes up to and with the label
	skip  []int32
	first []int32
	ids   []int32

	single [256]bool // bytes that are tokens of their own
}

// NewVocabulary takes the bytes of the tokens with ids below size. The function token says what an id adds to a text,
// whether it is special, and whether it exists; special tokens come only where a grammar names them. end are the
// tokens that end a text.
func NewVocabulary(size int, token func(id int32) (b []byte, special, ok bool), end []int32) (*Vocabulary, error) {
	if size < 1 || size > maxVocabulary {
		return nil, fmt.Errorf("grammar: %d tokens are not within 1 to %d", size, maxVocabulary)
	}
	v := &Vocabulary{size: size, start: make([]uint32, size+1)}
	var plain []int32
	for _, id := range end {
		if id >= 0 && int(id) < size && !slices.Contains(v.end, id) {
			v.end = append(v.end, id)
		}
	}
	for id := range int32(size) {
		b, special, ok := token(id)
		if ok && !special && len(b) > 0 && len(b) <= maxToken && !slices.Contains(v.end, id) {
			v.text = append(v.text, b...)
			plain = append(plain, id)
			if len(b) == 1 {
				v.single[b[0]] = true
			}
		}
		if len(v.text) > maxVocabBytes {
			return nil, fmt.Errorf("grammar: the tokens exceed %d bytes", maxVocabBytes)
		}
		v.start[id+1] = uint32(len(v.text))
	}
	v.build(plain)
	return v, nil
}

// Size is the number of ids.
func (v *Vocabulary) Size() int { return v.size }

// bytes are those of a token that is not special, nil for none.
func (v *Vocabulary) bytes(id int32) []byte {
	if id < 0 || int(id) >= v.size {
		return nil
	}
	return v.text[v.start[id]:v.start[id+1]]
}

// build makes the trie of sorted tokens: what a token shares with the one before it is there already.
func (v *Vocabulary) build(ids []int32) {
	slices.SortFunc(ids, func(a, b int32) int {
		if c := bytes.Compare(v.bytes(a), v.bytes(b)); c != 0 {
			return c
		}
		return int(a - b)
	})
	v.ids = ids
	var open []int32 // the nodes on the way to the last token
	var before []byte
	leave := func(depth int) {
		for len(open) > depth {
			v.skip[open[len(open)-1]] = int32(len(v.label))
			open = open[:len(open)-1]
		}
	}
	for i, id := range ids {
		token := v.bytes(id)
		shared := 0
		for shared < len(token) && shared < len(before) && token[shared] == before[shared] {
			shared++
		}
		leave(shared)
		for k := shared; k < len(token); k++ {
			open = append(open, int32(len(v.label)))
			v.label = append(v.label, token[k])
			v.depth = append(v.depth, uint8(k+1))
			v.skip = append(v.skip, 0)
			v.first = append(v.first, int32(i))
		}
		before = token
	}
	leave(0)
	v.first = append(v.first, int32(len(ids)))
	v.label, v.depth, v.skip, v.first = slices.Clip(v.label), slices.Clip(v.depth), slices.Clip(v.skip), slices.Clip(v.first)
}
