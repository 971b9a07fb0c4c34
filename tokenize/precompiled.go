package tokenize

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// charsmap is SentencePiece's compiled normalisation: a double-array trie from byte strings to replacements.
type charsmap struct {
	units        []uint32
	replacements string // each ends with a zero byte
}

// newCharsmap reads the blob: the trie's length in bytes (uint32, little-endian), its units, the replacements.
func newCharsmap(blob []byte) (*charsmap, error) {
	if len(blob) < 4 {
		return nil, errors.New("shorter than its header")
	}
	size := binary.LittleEndian.Uint32(blob)
	if size == 0 || size%4 != 0 || uint64(size) > uint64(len(blob)-4) {
		return nil, errors.New("the length of its trie does not fit")
	}
	m := &charsmap{units: make([]uint32, size/4)}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	rest := blob[4+size:]
	if !utf8.Valid(rest) {
		return nil, errors.New("its replacements are not UTF-8")
	}
	m.replacements = string(rest)
	return m, nil
}

func trieOffset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// lookup gives the replacement of the shortest key that starts s.
func (m *charsmap) lookup(s string) (string, bool) {
	pos := trieOffset(m.units[0])
	for i := 0; i < len(s) && s[i] != 0; i++ {
		pos ^= uint32(s[i])
		if uint64(pos) >= uint64(len(m.units)) {
			return "", false
		}
		unit := m.units[pos]
		if unit&(1<<31|0xff) != uint32(s[i]) {
			return "", false
		}
		pos ^= trieOffset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if uint64(pos) >= uint64(len(m.units)) {
			return "", false
		}
		from := m.units[pos] & (1<<31 - 1)
		if uint64(from) > uint64(len(m.replacements)) || uint64(from) < uint64(len(m.replacements)) && !utf8.RuneStart(m.replacements[from]) {
			return "", false
		}
		to := m.replacements[from:]
		to = to[:min(len(to), maxReplacement)]
		if end := strings.IndexByte(to, 0); end >= 0 {
			to = to[:end]
		}
		return toValid(to), true
	}
	return "", false
}

// maxReplacement bounds what one key may become; those of SentencePiece's own maps have fewer than 100 bytes.
const maxReplacement = 1 << 8

// precompiled applies a charsmap the way the reference library does: a grapheme cluster of fewer than six bytes is
// looked up whole, and a hit on any prefix replaces all of it; otherwise each character is looked up alone.
type precompiled struct{ m *charsmap }

func (n precompiled) normalize(t *text) {
	u := unicodeData()
	var changes []change // of the text from byte start on
	start := -1
	// put notes that old characters become to
	put := func(at, old int, to string) {
		if start < 0 { // the character before the first change comes along, to take what is dropped behind it
			start = at
			if at > 0 {
				r, w := utf8.DecodeLastRuneInString(t.s[:at])
				start -= w
				changes = append(make([]change, 0, len(t.s)-start), change{r, 0})
			}
		}
		count := 0
		for _, r := range to {
			count++
			diff := 0
			if count > old {
				diff = 1
			}
			changes = append(changes, change{r, diff})
		}
		if last := len(changes) - 1; count < old && last >= 0 { // nothing before it: the library forgets the gap
			changes[last].diff += count - old
		}
	}
	same := func(r rune) {
		if start >= 0 {
			changes = append(changes, change{r, 0})
		}
	}
	for i := 0; i < len(t.s); {
		c := t.s[i]
		if c < utf8.RuneSelf && c != '\r' && (i+1 == len(t.s) || t.s[i+1] < utf8.RuneSelf) {
			if to, ok := n.m.lookup(t.s[i : i+1]); ok {
				put(i, 1, to)
			} else {
				same(rune(c))
			}
			i++
			continue
		}
		size := u.cluster(t.s[i:])
		if size < 6 {
			if to, ok := n.m.lookup(t.s[i : i+size]); ok {
				put(i, utf8.RuneCountInString(t.s[i:i+size]), to)
				i += size
				continue
			}
		}
		for end := i + size; i < end; {
			r, k := utf8.DecodeRuneInString(t.s[i:])
			if to, ok := n.m.lookup(t.s[i : i+k]); ok {
				put(i, 1, to)
			} else {
				same(r)
			}
			i += k
		}
	}
	if start >= 0 {
		t.apply(start, changes)
	}
}

// graphemeClass is a character's part in the rules of UAX #29 for extended grapheme clusters.
type graphemeClass uint8

const (
	graphemeOther graphemeClass = iota
	graphemeControl
	graphemeExtend // Extend, ZWJ, SpacingMark
	graphemePrepend
	graphemeL
	graphemeV
	graphemeT
	graphemeLV
	graphemeLVT
	graphemeRegional
)

func (u *properties) graphemeClass(r rune) graphemeClass {
	switch {
	case r < 0x80:
		if r < ' ' || r == 0x7f {
			return graphemeControl
		}
		return graphemeOther
	case u.graphemeExtend.has(r):
		return graphemeExtend
	case r < 0x1100:
		if u.graphemeControl.has(r) {
			return graphemeControl
		}
		if u.graphemePrepend.has(r) {
			return graphemePrepend
		}
		return graphemeOther
	case r <= 0x115F || r >= 0xA960 && r <= 0xA97C:
		return graphemeL
	case r <= 0x11A7 || r >= 0xD7B0 && r <= 0xD7C6:
		return graphemeV
	case r <= 0x11FF || r >= 0xD7CB && r <= 0xD7FB:
		return graphemeT
	case isHangul(r):
		if (r-0xAC00)%28 == 0 {
			return graphemeLV
		}
		return graphemeLVT
	case r >= 0x1F1E6 && r <= 0x1F1FF:
		return graphemeRegional
	case u.graphemeControl.has(r):
		return graphemeControl
	case u.graphemePrepend.has(r):
		return graphemePrepend
	}
	return graphemeOther
}

// cluster is the length in bytes of the first extended grapheme cluster of s (UAX #29, rules GB3 to GB13).
func (u *properties) cluster(s string) int {
	r, at := utf8.DecodeRuneInString(s)
	if r == '\r' {
		if at < len(s) && s[at] == '\n' {
			at++
		}
		return at
	}
	class := u.graphemeClass(r)
	if class == graphemeControl {
		return at
	}
	pictographic := u.graphemePictographic.has(r) // a pictographic character, then only Extend
	consonant, linked := u.graphemeConsonant.has(r), false
	joiner := false // the last character is a ZWJ
	regional := 0   // regional indicators at the end
	if class == graphemeRegional {
		regional = 1
	}
	for at < len(s) {
		next, w := utf8.DecodeRuneInString(s[at:])
		c := u.graphemeClass(next)
		if next == '\r' || c == graphemeControl {
			return at
		}
		nextPictographic, nextConsonant := false, false
		if c == graphemeOther && next >= 0x80 {
			nextPictographic, nextConsonant = u.graphemePictographic.has(next), u.graphemeConsonant.has(next)
		}
		switch {
		case c == graphemeExtend,
			class == graphemePrepend,
			class == graphemeL && (c == graphemeL || c == graphemeV || c == graphemeLV || c == graphemeLVT),
			(class == graphemeLV || class == graphemeV) && (c == graphemeV || c == graphemeT),
			(class == graphemeLVT || class == graphemeT) && c == graphemeT,
			pictographic && joiner && nextPictographic,
			consonant && linked && nextConsonant,
			class == graphemeRegional && c == graphemeRegional && regional%2 == 1:
		default:
			return at
		}
		joiner = next == 0x200D
		switch {
		case c != graphemeExtend:
			pictographic, consonant, linked = nextPictographic, nextConsonant, false
		case u.graphemeLinker.has(next):
			linked = true
		}
		if c == graphemeRegional {
			regional++
		} else {
			regional = 0
		}
		class = c
		at += w
	}
	return at
}
