package grammar

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// runeRange is the characters lo to hi.
type runeRange struct{ lo, hi rune }

// tableRanges is a table of the unicode package.
func tableRanges(t *unicode.RangeTable) (out []runeRange) {
	add := func(lo, hi, stride uint32) {
		if stride == 1 {
			out = append(out, runeRange{rune(lo), rune(hi)})
			return
		}
		for c := lo; c <= hi; c += stride {
			out = append(out, runeRange{rune(c), rune(c)})
		}
	}
	for _, r := range t.R16 {
		add(uint32(r.Lo), uint32(r.Hi), uint32(r.Stride))
	}
	for _, r := range t.R32 {
		add(r.Lo, r.Hi, r.Stride)
	}
	return normalized(out)
}

// normalized sorts and joins ranges and takes surrogates out.
func normalized(set []runeRange) []runeRange {
	var out []runeRange
	for _, r := range set {
		if r.lo < 0xD800 {
			out = append(out, runeRange{r.lo, min(r.hi, 0xD7FF)})
		}
		if r.hi > 0xDFFF {
			out = append(out, runeRange{max(r.lo, 0xE000), r.hi})
		}
	}
	slices.SortFunc(out, func(a, b runeRange) int { return int(a.lo - b.lo) })
	n := 0
	for _, r := range out {
		if n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out[n] = r
		n++
	}
	return out[:n]
}

// negated is every other character; set is normalized.
func negated(set []runeRange) []runeRange {
	var out []runeRange
	next := rune(0)
	for _, r := range set {
		if r.lo > next {
			out = append(out, runeRange{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, runeRange{next, utf8.MaxRune})
	}
	return normalized(out)
}

// overlap is what two sets share.
func overlap(a, b []runeRange) (out []runeRange) {
	for len(a) > 0 && len(b) > 0 {
		if lo, hi := max(a[0].lo, b[0].lo), min(a[0].hi, b[0].hi); lo <= hi {
			out = append(out, runeRange{lo, hi})
		}
		if a[0].hi < b[0].hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
