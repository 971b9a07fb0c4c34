package tokenize

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// wordCache remembers the tokens of short words. Each hash has one place, a later word of the same place drives the
// earlier one out, and entries never change: reading and writing take no lock, and the memory is bounded.
type wordCache struct {
	seed  maphash.Seed
	words [cachedWords]atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word   string
	tokens []token
}

const (
	cachedWords   = 1 << 13
	maxCachedWord = 32 // bytes
)

func newWordCache() *wordCache { return &wordCache{seed: maphash.MakeSeed()} }

func (c *wordCache) hash(word string) uint64 { return maphash.String(c.seed, word) }

func (c *wordCache) get(hash uint64, word string) *cachedWord {
	if e := c.words[hash%cachedWords].Load(); e != nil && e.word == word {
		return e
	}
	return nil
}

func (c *wordCache) put(hash uint64, word string, tokens []token) {
	c.words[hash%cachedWords].Store(&cachedWord{strings.Clone(word), slices.Clone(tokens)})
}
