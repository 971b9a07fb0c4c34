package tokenize

import (
	"fmt"
	"hash/maphash"
	"math"
	"unsafe"
)

// vocab maps tokens to ids and back. All tokens lie in one string, so that 250,000 of them cost two tables and no
// pointers.
type vocab struct {
	tokens string
	ends   []uint32 // entry i is tokens[ends[i-1]:ends[i]]
	ids    []int32  // id of entry i
	entry  []int32  // entry of an id, -1 for a hole
	slots  []int32  // open addressing over the entries, entry + 1
	mask   uint64
	seed   maphash.Seed
	count  int // different tokens
}

// vocabBuilder collects entries in the order of the file.
type vocabBuilder struct {
	tokens []byte
	ends   []uint32
	ids    []int32
}

// add notes a token; what is appended to b.tokens since the last call is its text.
func (b *vocabBuilder) add(id int32) error {
	if len(b.tokens) > math.MaxUint32 {
		return fmt.Errorf("the tokens exceed 4 GiB")
	}
	b.ends = append(b.ends, uint32(len(b.tokens)))
	b.ids = append(b.ids, id)
	return nil
}

func (b *vocabBuilder) addString(token string, id int32) error {
	b.tokens = append(b.tokens, token...)
	return b.add(id)
}

// maxSparse bounds how far ids may run ahead of the number of tokens: the table of ids must stay in proportion to the
// file.
const maxSparse = 1 << 16

// build makes the tables. Of equal tokens the last one counts, of equal ids the first one.
func (b *vocabBuilder) build() (*vocab, error) {
	v := &vocab{ends: b.ends, ids: b.ids, seed: maphash.MakeSeed()}
	if len(b.tokens) > 0 {
		v.tokens = unsafe.String(&b.tokens[0], len(b.tokens)) // b.tokens is not written to any more
	}
	size := 8
	for size < 2*len(b.ids) {
		size *= 2
	}
	v.slots, v.mask = make([]int32, size), uint64(size-1)
	top := int32(-1)
	for _, id := range b.ids {
		top = max(top, id)
	}
	if int(top) > 8*len(b.ids)+maxSparse {
		return nil, fmt.Errorf("id %d is out of proportion to %d tokens", top, len(b.ids))
	}
	v.entry = make([]int32, top+1)
	for i := range v.entry {
		v.entry[i] = -1
	}
	for i, id := range b.ids {
		token := v.at(i)
		slot := v.slot(token)
		if v.slots[slot] == 0 {
			v.count++
		}
		v.slots[slot] = int32(i) + 1
		if v.entry[id] < 0 {
			v.entry[id] = int32(i)
		}
	}
	return v, nil
}

// at is the token of entry i.
func (v *vocab) at(i int) string {
	start := uint32(0)
	if i > 0 {
		start = v.ends[i-1]
	}
	return v.tokens[start:v.ends[i]]
}

// slot is where token is or would be.
func (v *vocab) slot(token string) uint64 {
	for s := maphash.String(v.seed, token) & v.mask; ; s = (s + 1) & v.mask {
		if e := v.slots[s]; e == 0 || v.at(int(e-1)) == token {
			return s
		}
	}
}

// id of a token.
func (v *vocab) id(token string) (int32, bool) {
	e := v.slots[v.slot(token)]
	if e == 0 {
		return -1, false
	}
	return v.ids[e-1], true
}

// idBytes is id without a copy of the key.
func (v *vocab) idBytes(token []byte) (int32, bool) {
	return v.id(unsafe.String(unsafe.SliceData(token), len(token)))
}

// token of an id.
func (v *vocab) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.entry) || v.entry[id] < 0 {
		return "", false
	}
	return v.at(int(v.entry[id])), true
}

// byteTokens finds the tokens <0x00> to <0xFF>, -1 for those that are not there.
func (v *vocab) byteTokens() (ids [256]int32) {
	for b := range ids {
		id, ok := v.id(fmt.Sprintf("<0x%02X>", b))
		if !ok {
			id = -1
		}
		ids[b] = id
	}
	return ids
}
