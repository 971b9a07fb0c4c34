package tokenize

import (
	_ "embed"
	"encoding/binary"
	"sort"
	"sync"
	"unicode"
)

// unicodeTab holds the character properties as the reference library sees them: every set was asked of that library,
// code point by code point (testdata/tables.py).
// Go's own tables cannot serve, for they follow the Go release, while the library mixes Unicode 8.0 (BERT), 9.0
// (normal forms) and later (regular expressions, case).
//
//go:embed unicode.tab
var unicodeTab []byte

// runeRange is an inclusive range of code points.
type runeRange struct{ lo, hi rune }

// runeSet is a set of code points that answers in constant time: 4,352 blocks of 256, equal blocks stored once.
type runeSet struct {
	ranges []runeRange
	block  [0x110000 >> 8]uint16
	bits   [][4]uint64
}

func newRuneSet(ranges []runeRange) *runeSet {
	s := &runeSet{ranges: ranges}
	known := map[[4]uint64]uint16{}
	next := 0
	for b := range s.block {
		lo, hi := rune(b)<<8, rune(b)<<8|0xff
		for next < len(ranges) && ranges[next].hi < lo {
			next++
		}
		var w [4]uint64
		for i := next; i < len(ranges) && ranges[i].lo <= hi; i++ {
			first, last := max(ranges[i].lo, lo)-lo, min(ranges[i].hi, hi)-lo
			if first == 0 && last == 0xff {
				w = [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
				break
			}
			for r := first; r <= last; r++ {
				w[r>>6] |= 1 << (r & 63)
			}
		}
		id, ok := known[w]
		if !ok {
			id = uint16(len(s.bits))
			known[w] = id
			s.bits = append(s.bits, w)
		}
		s.block[b] = id
	}
	return s
}

// has tells whether r, which must be a valid code point, is in the set.
func (s *runeSet) has(r rune) bool {
	return s.bits[s.block[uint32(r)>>8]][r>>6&3]>>(r&63)&1 != 0
}

// union of sorted or unsorted ranges, sorted and merged.
func mergeRanges(in []runeRange) []runeRange {
	all := append([]runeRange(nil), in...)
	sort.Slice(all, func(i, j int) bool { return all[i].lo < all[j].lo })
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// negateRanges is the complement of sorted, merged ranges in all code points.
func negateRanges(in []runeRange) []runeRange {
	var out []runeRange
	next := rune(0)
	for _, r := range in {
		if next < r.lo {
			out = append(out, runeRange{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, runeRange{next, unicode.MaxRune})
	}
	return out
}

// intersects tells whether two sorted, merged range lists share a code point.
func intersects(a, b []runeRange) bool {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].hi < b[j].lo:
			i++
		case b[j].hi < a[i].lo:
			j++
		default:
			return true
		}
	}
	return false
}

// foldRanges adds the code points that differ from one of the set only in case.
func foldRanges(in []runeRange) []runeRange {
	out := append([]runeRange(nil), in...)
	for _, r := range in {
		if r.hi-r.lo > 0x1000 {
			continue // such a set is a negation or a whole script, where both cases are in already
		}
		for c := r.lo; c <= r.hi; c++ {
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				out = append(out, runeRange{f, f})
			}
		}
	}
	return mergeRanges(out)
}

// generalCategories in the order in which unicode.tab has them.
var generalCategories = [...]string{"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"}

// lowerRun maps every stride-th code point from lo to hi to itself plus delta.
type lowerRun struct{ lo, hi, stride, delta rune }

// scriptRun gives a range of code points its script; the numbers mean nothing but equal or not.
type scriptRun struct {
	runeRange
	script uint16
}

// properties is the decoded unicodeTab.
type properties struct {
	category map[string][]runeRange // by two letters; by one letter for the unions

	regexWord   []runeRange // \w of the regular expressions of a file (Oniguruma)
	crateWord   *runeSet    // \w of the pre-tokenizer Whitespace and of single-word added tokens
	whiteSpace  *runeSet
	charNumeric *runeSet // what Digits isolates

	bertPunctuation *runeSet // ASCII punctuation and P of Unicode 8.0
	bertDropped     *runeSet // what clean_text removes
	bertAccent      *runeSet // what strip_accents removes after NFD: Mn of Unicode 8.0
	combiningMark   *runeSet // what StripAccents removes

	nonStarter  *runeSet // canonical combining class above 0 in Unicode 9.0
	decomposing *runeSet // has a decomposition, canonical or not, in Unicode 9.0

	graphemeExtend, graphemePrepend, graphemeControl, graphemePictographic, graphemeConsonant, graphemeLinker *runeSet

	lower   []lowerRun
	scripts []scriptRun
}

// unicodeData decodes unicodeTab once.
var unicodeData = sync.OnceValue(func() *properties {
	buf := unicodeTab
	num := func() rune {
		v, n := binary.Uvarint(buf)
		buf = buf[n:]
		return rune(v)
	}
	ranges := func() []runeRange {
		out := make([]runeRange, num())
		end := rune(0)
		for i := range out {
			lo := end + num()
			hi := lo + num()
			out[i], end = runeRange{lo, hi}, hi+1
		}
		return out
	}
	p := &properties{category: map[string][]runeRange{}}
	for _, name := range generalCategories {
		r := ranges()
		p.category[name] = r
		p.category[name[:1]] = mergeRanges(append(p.category[name[:1]], r...))
	}
	p.regexWord = ranges()
	for _, set := range []**runeSet{&p.crateWord, &p.whiteSpace, &p.charNumeric, &p.bertPunctuation, &p.bertDropped, &p.bertAccent, &p.combiningMark, &p.nonStarter, &p.decomposing,
		&p.graphemeExtend, &p.graphemePrepend, &p.graphemeControl, &p.graphemePictographic, &p.graphemeConsonant, &p.graphemeLinker} {
		*set = newRuneSet(ranges())
	}
	p.lower = make([]lowerRun, num())
	end := rune(0)
	for i := range p.lower {
		lo := end + num()
		hi := lo + num()
		stride := num() + 1
		d := num()
		delta := d >> 1
		if d&1 != 0 {
			delta = -delta
		}
		p.lower[i], end = lowerRun{lo, hi, stride, delta}, hi+1
	}
	p.scripts = make([]scriptRun, num())
	end = 0
	for i := range p.scripts {
		lo := end + num()
		hi := lo + num()
		p.scripts[i] = scriptRun{runeRange{lo, hi}, uint16(num())}
		end = hi + 1
	}
	return p
})

// toLower is the one-to-one lower case of r.
func (p *properties) toLower(r rune) rune {
	if r < 0x80 {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	i := sort.Search(len(p.lower), func(i int) bool { return p.lower[i].hi >= r })
	if i < len(p.lower) && p.lower[i].lo <= r && (r-p.lower[i].lo)%p.lower[i].stride == 0 {
		return r + p.lower[i].delta
	}
	return r
}

// script of r for the pre-tokenizer UnicodeScripts; 0 goes with every script.
func (p *properties) script(r rune) uint16 {
	i := sort.Search(len(p.scripts), func(i int) bool { return p.scripts[i].hi >= r })
	if i < len(p.scripts) && p.scripts[i].lo <= r {
		return p.scripts[i].script
	}
	return 0
}
