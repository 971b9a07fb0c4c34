package grammar

import (
	"math/big"
	"strings"
)

// limit is one end of a range of numbers.
type limit struct {
	value    *big.Rat
	exceeded bool // the value itself is outside
}

// numberRange is the numbers between two limits, nil for none, written with at most so many digits behind the point.
type numberRange struct {
	lo, hi   *limit
	fraction int
	multiple int // of integers: only its multiples; 1 for all
}

// ceiling is the first magnitude that integerDigits digits do not hold.
var ceiling = new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(integerDigits), nil))

// numbers puts a range between two states; it says whether the range holds any number of this spelling.
func (b *builder) numbers(from, to int32, r numberRange) bool {
	below, above := limit{new(big.Rat).Neg(ceiling), true}, limit{ceiling, true}
	if r.lo != nil && r.lo.value.Cmp(below.value) > 0 {
		below = *r.lo
	}
	if r.hi != nil && r.hi.value.Cmp(above.value) < 0 {
		above = *r.hi
	}
	if c := below.value.Cmp(above.value); c > 0 || c == 0 && (below.exceeded || above.exceeded) {
		return false
	}
	found := false
	if above.value.Sign() >= 0 {
		lo := below
		if lo.value.Sign() < 0 {
			lo = limit{value: new(big.Rat)}
		}
		found = b.magnitudes(from, to, lo, above, r)
	}
	if below.value.Sign() < 0 {
		lo := limit{value: new(big.Rat), exceeded: r.fraction == 0} // no integer -0
		if above.value.Sign() <= 0 {
			lo = limit{new(big.Rat).Neg(above.value), above.exceeded || lo.exceeded && above.value.Sign() == 0}
		}
		minus := b.state()
		if b.magnitudes(minus, to, lo, limit{new(big.Rat).Neg(below.value), below.exceeded}, r) {
			b.bytes(from, minus, '-', '-')
			found = true
		}
	}
	return found
}

// decimalDigits are the digits of a limit: before the point without leading zeros, and behind it, where beyond says
// that more than so many follow.
func decimalDigits(x *big.Rat, fraction int) (whole, behind string, beyond bool) {
	scaled := new(big.Rat).Mul(x, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(fraction)), nil)))
	q, rest := new(big.Int).QuoRem(scaled.Num(), scaled.Denom(), new(big.Int))
	s := q.String()
	if len(s) <= fraction {
		s = strings.Repeat("0", fraction+1-len(s)) + s
	}
	return s[:len(s)-fraction], s[len(s)-fraction:], rest.Sign() != 0
}

// digitState is a place in a number that is being written: how many digits stand, whether they still agree with those
// of a limit, and what is left of them in division by the multiple.
type digitState struct {
	at               int
	tightLo, tightHi bool
	rest             int
}

// magnitudes puts the numbers from lo to hi, neither negative, between two states. For each number of digits before
// the point it is an automaton that compares digit by digit with the limits, as long as these are still equalled.
func (b *builder) magnitudes(from, to int32, lo, hi limit, r numberRange) bool {
	loWhole, loBehind, loBeyond := decimalDigits(lo.value, r.fraction)
	hiWhole, hiBehind, hiBeyond := decimalDigits(hi.value, r.fraction)
	found := false
	for n := len(loWhole); n <= min(len(hiWhole), integerDigits); n++ {
		if last := min(len(hiWhole)-1, integerDigits); n > len(loWhole) && n <= last && r.multiple == 1 {
			b.anyMagnitude(from, to, n, last, r.fraction)
			n, found = last, true
			continue
		}
		w := digitWalk{b: b, to: to, n: n, r: r, states: map[digitState]int32{}, useful: map[digitState]bool{}}
		start := digitState{tightLo: n == len(loWhole), tightHi: n == len(hiWhole)}
		w.lo, w.hi = loWhole+loBehind, hiWhole+hiBehind
		w.loOpen = lo.exceeded || loBeyond
		w.hiOpen = hi.exceeded && !hiBeyond
		if w.reach(start) {
			b.empty(from, w.states[start])
			found = true
		}
		if b.err != nil {
			return true
		}
	}
	return found
}

// anyMagnitude is every number with min to max digits before the point.
func (b *builder) anyMagnitude(from, to int32, min, max, fraction int) {
	first, whole := b.state(), b.state()
	b.bytes(from, first, '1', '9')
	b.digits(first, whole, min-1, max-1)
	b.empty(whole, to)
	if fraction > 0 {
		point := b.state()
		b.bytes(whole, point, '.', '.')
		b.digits(point, to, 1, fraction)
	}
}

type digitWalk struct {
	b              *builder
	to             int32
	n              int // digits before the point
	r              numberRange
	lo, hi         string // digits of the limits, as long as the number may be where they are tight
	loOpen, hiOpen bool   // equality is outside
	states         map[digitState]int32
	useful         map[digitState]bool
}

// reach makes the moves from s and says whether a number can end behind it. Its depth is the number of digits.
func (w *digitWalk) reach(s digitState) bool {
	if u, ok := w.useful[s]; ok {
		return u
	}
	b := w.b
	if b.err != nil {
		return false
	}
	here := b.state()
	w.states[s] = here
	useful := false
	if s.at >= w.n && w.mayEnd(s) {
		b.empty(here, w.to)
		useful = true
	}
	digitsFrom := here
	if s.at == w.n && w.r.fraction > 0 {
		digitsFrom = b.state()
	}
	if s.at < w.n+w.r.fraction {
		lo, hi := byte('0'), byte('9')
		if s.tightLo {
			lo = w.lo[s.at]
		}
		if s.tightHi {
			hi = w.hi[s.at]
		}
		if s.at == 0 && w.n > 1 {
			lo = max(lo, '1')
		}
		followed := false
		after := func(c byte) digitState {
			next := digitState{at: s.at + 1, tightLo: s.tightLo && c == w.lo[s.at], tightHi: s.tightHi && c == w.hi[s.at]}
			if w.r.multiple > 1 {
				next.rest = (s.rest*10 + int(c-'0')) % w.r.multiple
			}
			return next
		}
		for c := lo; c <= hi; c++ {
			next, first := after(c), c
			for c < hi && after(c+1) == next {
				c++
			}
			if w.reach(next) {
				b.bytes(digitsFrom, w.states[next], first, c)
				followed = true
			}
		}
		if followed && digitsFrom != here {
			b.bytes(here, digitsFrom, '.', '.')
		}
		useful = useful || followed
	}
	w.useful[s] = useful
	return useful
}

// mayEnd says whether the digits so far, followed by nothing but zeros, are within the limits.
func (w *digitWalk) mayEnd(s digitState) bool {
	if s.rest != 0 {
		return false
	}
	zeros := func(tail string) bool { return strings.Trim(tail, "0") == "" }
	if s.tightLo && (!zeros(w.lo[s.at:]) || w.loOpen) {
		return false
	}
	return !s.tightHi || !zeros(w.hi[s.at:]) || !w.hiOpen
}
