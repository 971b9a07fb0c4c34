package grammar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// reOp is the kind of a node of a regular expression.
type reOp uint8

const (
	reEmpty reOp = iota
	reSet        // one character of set
	reBegin      // the start of the text
	reEnd        // the end of the text
	reCat
	reAlt
	reRepeat
)

type reNode struct {
	op       reOp
	set      []runeRange // sorted, without overlaps or surrogates
	subs     []*reNode
	min, max int // of a repetition; max below 0 is no bound
}

const (
	maxReDepth = 100  // nested groups
	maxReCount = 1000 // of a quantifier, as in RE2
	maxReFolds = 4 << 20
)

// reParser reads the common subset of RE2, Python and ECMAScript.
type reParser struct {
	rest  string
	depth int
	fold  bool                   // (?i)
	dotNL bool                   // (?s)
	work  int                    // characters looked at for (?i)
	sets  map[string][]runeRange // of the properties met
	ecma  bool                   // "." and \S leave out what ECMAScript counts as line ends and white space
}

func parseRegex(p string, ecma bool) (*reNode, error) {
	if len(p) > MaxPattern {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(p), MaxPattern)
	}
	if !utf8.ValidString(p) {
		return nil, errors.New("not UTF-8")
	}
	r := reParser{rest: p, ecma: ecma, sets: map[string][]runeRange{}}
	n, err := r.alternatives()
	if r.work > maxReFolds {
		return nil, errPatternTooComplex
	}
	if err == nil && r.rest != "" {
		err = errors.New("unexpected )")
	}
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d", err, len(p)-len(r.rest))
	}
	return n, nil
}

func (r *reParser) next(s string) bool {
	rest, ok := strings.CutPrefix(r.rest, s)
	if ok {
		r.rest = rest
	}
	return ok
}

func (r *reParser) char() rune {
	c, n := utf8.DecodeRuneInString(r.rest)
	r.rest = r.rest[n:]
	return c
}

func (r *reParser) alternatives() (*reNode, error) {
	alt := &reNode{op: reAlt}
	for {
		n, err := r.sequence()
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, n)
		if !r.next("|") {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (r *reParser) sequence() (*reNode, error) {
	cat := &reNode{op: reCat}
	for r.rest != "" && r.rest[0] != '|' && r.rest[0] != ')' {
		n, err := r.atom()
		if err == nil {
			n, err = r.quantified(n)
		}
		if err != nil {
			return nil, err
		}
		cat.subs = append(cat.subs, n)
	}
	return cat, nil
}

func (r *reParser) atom() (*reNode, error) {
	switch c := r.char(); c {
	case '(':
		return r.group()
	case '[':
		return r.class()
	case '.':
		switch {
		case r.dotNL:
			return &reNode{op: reSet, set: negated(nil)}, nil
		case r.ecma:
			return &reNode{op: reSet, set: negated([]runeRange{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}})}, nil
		}
		return &reNode{op: reSet, set: negated([]runeRange{{'\n', '\n'}})}, nil
	case '^':
		return &reNode{op: reBegin}, nil
	case '$':
		return &reNode{op: reEnd}, nil
	case '*', '+', '?':
		return nil, fmt.Errorf("nothing to repeat before %q", c)
	case '\\':
		switch {
		case r.next("A"):
			return &reNode{op: reBegin}, nil
		case r.next("z"), r.next("Z"):
			return &reNode{op: reEnd}, nil
		}
		set, err := r.escape()
		return &reNode{op: reSet, set: set}, err
	default:
		return &reNode{op: reSet, set: r.folded([]runeRange{{c, c}})}, nil
	}
}

func (r *reParser) group() (*reNode, error) {
	if r.depth++; r.depth > maxReDepth {
		return nil, fmt.Errorf("more than %d nested groups", maxReDepth)
	}
	defer func() { r.depth-- }()
	fold, dotNL := r.fold, r.dotNL
	if r.next("?") {
		switch {
		case r.next(":"):
		case strings.HasPrefix(r.rest, "="), strings.HasPrefix(r.rest, "!"), strings.HasPrefix(r.rest, "<="), strings.HasPrefix(r.rest, "<!"):
			return nil, errors.New("look-around is not supported")
		case r.next("P<"), r.next("<"):
			name, rest, ok := strings.Cut(r.rest, ">")
			if !ok || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
				return nil, errors.New("a group's name is misspelt")
			}
			r.rest = rest
		default:
			whole, err := r.flags()
			if err != nil {
				return nil, err
			}
			if whole { // (?i) holds to the end of the group around it
				return &reNode{op: reEmpty}, nil
			}
		}
	}
	n, err := r.alternatives()
	if err != nil {
		return nil, err
	}
	if !r.next(")") {
		return nil, errors.New("missing )")
	}
	r.fold, r.dotNL = fold, dotNL
	return n, nil
}

// flags reads "i)" or "i-s:"; whole says that it was the former.
func (r *reParser) flags() (whole bool, err error) {
	on, seen := true, false
	for r.rest != "" {
		switch c := r.char(); c {
		case 'i':
			r.fold = on
		case 's':
			r.dotNL = on
		case '-':
			if !on {
				return false, errors.New("misplaced -")
			}
			on = false
			continue
		case ')', ':':
			if !seen {
				return false, errors.New("empty flags")
			}
			return c == ')', nil
		default:
			return false, fmt.Errorf("group (?%c is not supported", c)
		}
		seen = true
	}
	return false, errors.New("missing )")
}

func (r *reParser) quantified(n *reNode) (*reNode, error) {
	for count := 0; ; count++ {
		lo, hi := 0, -1
		switch before := r.rest; {
		case r.next("*"):
		case r.next("+"):
			lo = 1
		case r.next("?"):
			hi = 1
		case r.next("{"):
			var ok bool
			if lo, hi, ok = r.bounds(); !ok {
				r.rest = before // a brace that begins no quantifier stands for itself
				return n, nil
			}
			if lo > maxReCount || hi > maxReCount {
				return nil, fmt.Errorf("a repetition above %d", maxReCount)
			}
			if hi >= 0 && hi < lo {
				return nil, fmt.Errorf("repetition {%d,%d}", lo, hi)
			}
		default:
			return n, nil
		}
		if count > 0 {
			return nil, errors.New("a quantifier of a quantifier")
		}
		if n.op == reBegin || n.op == reEnd {
			return nil, errors.New("a quantifier of an anchor")
		}
		if r.next("+") {
			return nil, errors.New("possessive quantifiers are not supported")
		}
		r.next("?")
		n = &reNode{op: reRepeat, subs: []*reNode{n}, min: lo, max: hi}
	}
}

// bounds reads "m}", "m,}" or "m,n}".
func (r *reParser) bounds() (lo, hi int, ok bool) {
	body, rest, ok := strings.Cut(r.rest, "}")
	if !ok || len(body) > 12 {
		return 0, 0, false
	}
	a, b, comma := strings.Cut(body, ",")
	lo, ok = digitsOnly(a)
	switch {
	case !ok:
		return 0, 0, false
	case !comma:
		hi = lo
	case b == "":
		hi = -1
	default:
		if hi, ok = digitsOnly(b); !ok {
			return 0, 0, false
		}
	}
	r.rest = rest
	return lo, hi, true
}

func digitsOnly(s string) (int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// escape reads what follows a backslash.
func (r *reParser) escape() ([]runeRange, error) {
	if r.rest == "" {
		return nil, errors.New("a backslash at the end")
	}
	c := r.char()
	switch c {
	case 'd', 'w', 's', 'D', 'W', 'S':
		return r.shorthand(c), nil
	case 'p', 'P':
		return r.property(c == 'P')
	case 'n':
		c = '\n'
	case 't':
		c = '\t'
	case 'r':
		c = '\r'
	case 'f':
		c = '\f'
	case 'v':
		c = '\v'
	case 'a':
		c = '\a'
	case 'x':
		return r.hexEscape(2)
	case 'u':
		return r.hexEscape(4)
	case '0':
		if r.rest != "" && r.rest[0] >= '0' && r.rest[0] <= '9' {
			return nil, errors.New("octal escapes are not supported")
		}
		c = 0
	case 'b', 'B':
		return nil, fmt.Errorf(`\%c is not supported`, c)
	default:
		if c >= '1' && c <= '9' || c == 'k' {
			return nil, errors.New("back references are not supported")
		}
		if c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
			return nil, fmt.Errorf(`escape \%c is not known`, c)
		}
	}
	return r.folded([]runeRange{{c, c}}), nil
}

func (r *reParser) hexEscape(n int) ([]runeRange, error) {
	var digits string
	if r.next("{") {
		var ok bool
		var rest string
		if digits, rest, ok = strings.Cut(r.rest, "}"); !ok {
			return nil, errors.New("missing }")
		}
		r.rest = rest
	} else {
		n = min(n, len(r.rest))
		digits, r.rest = r.rest[:n], r.rest[n:]
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) > 8 || !utf8.ValidRune(rune(v)) || strings.HasPrefix(digits, "+") {
		return nil, fmt.Errorf("%q is no character", digits)
	}
	return r.folded([]runeRange{{rune(v), rune(v)}}), nil
}

func (r *reParser) shorthand(c rune) []runeRange {
	digit := []runeRange{{'0', '9'}}
	word := []runeRange{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	blank := []runeRange{{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}
	switch c {
	case 'd':
		return digit
	case 'D':
		return negated(digit)
	case 'w':
		return r.folded(word)
	case 'W':
		return negated(r.folded(word))
	case 's':
		return blank
	}
	if r.ecma {
		blank = tableRanges(unicode.Zs)
		blank = normalized(append(blank, runeRange{'\t', '\r'}, runeRange{0x2028, 0x2029}, runeRange{0xFEFF, 0xFEFF}))
	}
	return negated(blank)
}

// property reads the name behind \p: a letter, or {a general category or a script}.
func (r *reParser) property(negate bool) ([]runeRange, error) {
	var name string
	if r.next("{") {
		var ok bool
		var rest string
		if name, rest, ok = strings.Cut(r.rest, "}"); !ok {
			return nil, errors.New("missing }")
		}
		r.rest = rest
	} else if r.rest != "" {
		name = string(r.char())
	}
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, negate = rest, !negate
	}
	for _, prefix := range []string{"Script=", "sc=", "General_Category=", "gc="} {
		name = strings.TrimPrefix(name, prefix)
	}
	t := unicode.Categories[name]
	if t == nil {
		t = unicode.Scripts[name]
	}
	if t == nil {
		return nil, fmt.Errorf("property %q is not known", clip(name))
	}
	key := fmt.Sprint(name, negate, r.fold)
	set, ok := r.sets[key]
	if !ok {
		if set = r.folded(tableRanges(t)); negate {
			set = negated(set)
		}
		r.sets[key] = set
	}
	return set, nil
}

// class reads what follows "[".
func (r *reParser) class() (*reNode, error) {
	negate := r.next("^")
	var set []runeRange
	for first := true; ; first = false {
		if r.rest == "" {
			return nil, errors.New("missing ]")
		}
		if !(first && !r.ecma) && r.next("]") {
			break
		}
		if strings.HasPrefix(r.rest, "[:") && !r.ecma {
			ranges, err := r.posix()
			if err != nil {
				return nil, err
			}
			set = append(set, ranges...)
			continue
		}
		lo, shorthand, err := r.member()
		if err != nil {
			return nil, err
		}
		if shorthand != nil {
			set = append(set, shorthand...)
			continue
		}
		hi := lo
		if strings.HasPrefix(r.rest, "-") && !strings.HasPrefix(r.rest, "-]") {
			r.rest = r.rest[1:]
			var wide []runeRange
			if hi, wide, err = r.member(); err != nil {
				return nil, err
			}
			if wide != nil || hi < lo {
				return nil, errors.New("a character range is reversed, or ends with a class")
			}
		}
		set = append(set, r.folded([]runeRange{{lo, hi}})...)
	}
	set = normalized(set)
	if negate {
		set = negated(set)
	}
	return &reNode{op: reSet, set: set}, nil
}

// member is a character of a class, or what a shorthand stands for.
func (r *reParser) member() (rune, []runeRange, error) {
	if r.rest == "" {
		return 0, nil, errors.New("missing ]")
	}
	c := r.char()
	if c != '\\' {
		return c, nil, nil
	}
	if r.next("b") { // a backspace within a class
		return '\b', nil, nil
	}
	if r.rest != "" && strings.ContainsRune("dwsDWSpP", rune(r.rest[0])) {
		set, err := r.escape()
		if set == nil {
			set = []runeRange{}
		}
		return 0, set, err
	}
	fold := r.fold
	r.fold = false
	set, err := r.escape()
	r.fold = fold
	if err != nil {
		return 0, nil, err
	}
	return set[0].lo, nil, nil
}

// posix reads [:name:].
func (r *reParser) posix() ([]runeRange, error) {
	name, rest, ok := strings.Cut(r.rest[2:], ":]")
	if !ok {
		return nil, errors.New("missing :]")
	}
	r.rest = rest
	name, negate := strings.CutPrefix(name, "^")
	set, ok := map[string][]runeRange{
		"alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "alpha": {{'A', 'Z'}, {'a', 'z'}}, "ascii": {{0, 127}},
		"blank": {{'\t', '\t'}, {' ', ' '}}, "cntrl": {{0, 31}, {127, 127}}, "digit": {{'0', '9'}},
		"graph": {{'!', '~'}}, "lower": {{'a', 'z'}}, "print": {{' ', '~'}},
		"punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, "space": {{'\t', '\r'}, {' ', ' '}},
		"upper": {{'A', 'Z'}}, "word": {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
		"xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
	}[name]
	if !ok {
		return nil, fmt.Errorf("class [:%s:] is not known", clip(name))
	}
	set = r.folded(slices.Clone(set))
	if negate {
		set = negated(set)
	}
	return set, nil
}

// folded adds the other cases of the characters where case does not count.
func (r *reParser) folded(set []runeRange) []runeRange {
	if !r.fold {
		return normalized(set)
	}
	out := slices.Clone(set)
	for _, x := range set {
		if r.work += int(x.hi-x.lo) + 1; r.work > maxReFolds {
			return out // the whole pattern is refused
		}
		for c := x.lo; c <= min(x.hi, 0x1E943); c++ { // no character above it has another case
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				out = append(out, runeRange{f, f})
			}
		}
	}
	return normalized(out)
}
