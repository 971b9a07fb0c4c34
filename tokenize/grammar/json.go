package grammar

// Bounds on free JSON, so that a model that never ends a number or an indentation ends it all the same.
const (
	integerDigits  = 18 // fits int64
	fractionDigits = 18
	exponentDigits = 2 // fits float64
	indentation    = 64
)

// shared makes one of the rules of JSON when it is first asked for.
func (b *builder) shared(slot *int32, nests bool, body func(from, to int32)) int32 {
	if *slot == 0 {
		r := b.rule(nests)
		*slot = r + 1
		body(b.rules[r].start, b.rules[r].accept)
	}
	return *slot - 1
}

// space is no white space, or a space, or a line break and an indentation by spaces or tabs.
func (b *builder) space(from, to int32) {
	b.empty(from, to)
	b.call(from, to, b.shared(&b.json.space, false, func(from, to int32) {
		b.bytes(from, to, ' ', ' ')
		line := b.state()
		b.bytes(from, line, '\n', '\n')
		b.empty(line, to)
		for _, c := range []byte{' ', '\t'} {
			for at, k := line, 0; k < indentation; k++ {
				next := b.state()
				b.bytes(at, next, c, c)
				b.empty(next, to)
				at = next
			}
		}
	}))
}

// utf8Tails are the states that wait for one, two and three continuation bytes.
func (b *builder) utf8Tails(to int32) (one, two, three int32) {
	one, two, three = b.state(), b.state(), b.state()
	b.bytes(one, to, 0x80, 0xBF)
	b.bytes(two, one, 0x80, 0xBF)
	b.bytes(three, two, 0x80, 0xBF)
	return one, two, three
}

// beyondASCII is a character of more than one byte (RFC 3629, section 4).
func (b *builder) beyondASCII(from, to int32) {
	one, two, three := b.utf8Tails(to)
	second := func(lead, lo, hi byte, then int32) {
		s := b.state()
		b.bytes(from, s, lead, lead)
		b.bytes(s, then, lo, hi)
	}
	b.bytes(from, one, 0xC2, 0xDF)
	second(0xE0, 0xA0, 0xBF, one)
	b.bytes(from, two, 0xE1, 0xEC)
	second(0xED, 0x80, 0x9F, one)
	b.bytes(from, two, 0xEE, 0xEF)
	second(0xF0, 0x90, 0xBF, two)
	b.bytes(from, three, 0xF1, 0xF3)
	second(0xF4, 0x80, 0x8F, two)
}

// char is one character of a JSON string (RFC 8259, section 7), escaped or not; a surrogate comes as a pair.
func (b *builder) char(from, to int32) {
	b.bytes(from, to, 0x20, '"'-1)
	b.bytes(from, to, '"'+1, '\\'-1)
	b.bytes(from, to, '\\'+1, 0x7F)
	b.beyondASCII(from, to)

	escape, u := b.state(), b.state()
	b.bytes(from, escape, '\\', '\\')
	b.oneOf(escape, to, `"\/bfnrt`)
	b.bytes(escape, u, 'u', 'u')
	h1, h2, h3 := b.state(), b.state(), b.state() // hex digits to come
	b.hex(h1, to)
	b.hex(h2, h1)
	b.hex(h3, h2)
	b.bytes(u, h3, '0', '9')
	b.oneOf(u, h3, "ABCEFabcef")
	d := b.state()
	b.oneOf(u, d, "Dd")
	b.bytes(d, h2, '0', '7')
	high, low := b.state(), b.state()
	b.oneOf(d, high, "89ABab")
	back, half := b.state(), b.state()
	b.hex(high, back)
	b.hex(back, half)
	b.literal(half, low, `\u`)
	lowD := b.state()
	b.oneOf(low, lowD, "Dd")
	b.oneOf(lowD, h2, "CDEFcdef")
}

func (b *builder) hex(from, to int32) {
	b.bytes(from, to, '0', '9')
	b.bytes(from, to, 'A', 'F')
	b.bytes(from, to, 'a', 'f')
}

func (b *builder) charRule() int32 { return b.shared(&b.json.char, false, b.char) }

// text is any JSON string.
func (b *builder) text() int32 {
	return b.shared(&b.json.text, false, func(from, to int32) {
		inside := b.state()
		b.bytes(from, inside, '"', '"')
		b.char(inside, inside)
		b.bytes(inside, to, '"', '"')
	})
}

// counting is a run of states of a string whose characters are counted: from state s, which may end the string, hi-s
// more may come.
type counting struct{ lo, hi int32 }

// textOfLength is a JSON string of min to max characters, max below 0 for no bound, at the end of a rule.
func (b *builder) textOfLength(from, to int32, min, max int) {
	char := b.charRule()
	last := max
	if max < 0 {
		last = min
	}
	if last > maxStates {
		b.fail(errTooComplex)
		return
	}
	first := b.states // the states of the string are consecutive
	for range last + 1 {
		b.state()
	}
	if b.err != nil {
		return
	}
	b.bytes(from, first, '"', '"')
	for k := range int32(last) + 1 {
		if k >= int32(min) {
			b.bytes(first+k, to, '"', '"')
		}
		if k < int32(last) {
			b.call(first+k, first+k+1, char)
		}
	}
	if max < 0 {
		b.call(first+int32(last), first+int32(last), char)
	} else {
		b.counted()
		b.counting = append(b.counting, counting{first + int32(min), first + int32(last)})
	}
}

// counted is the end of a JSON string that counts maxToken characters, more than a token holds: what a string with
// fewer left takes is found from what this one takes.
func (b *builder) counted() int32 {
	return b.shared(&b.json.counted, false, func(from, to int32) {
		char := b.charRule()
		for range maxToken {
			b.bytes(from, to, '"', '"')
			next := b.state()
			b.call(from, next, char)
			from = next
		}
		b.bytes(from, to, '"', '"')
	})
}

// digits is min to max decimal digits.
func (b *builder) digits(from, to int32, min, max int) {
	for k := 0; k < max; k++ {
		if k >= min {
			b.empty(from, to)
		}
		next := b.state()
		b.bytes(from, next, '0', '9')
		from = next
	}
	b.empty(from, to)
}

// integer is JSON's int with at most integerDigits digits.
func (b *builder) integer() int32 {
	return b.shared(&b.json.integer, false, func(from, to int32) { b.integerPart(from, to) })
}

func (b *builder) integerPart(from, to int32) {
	first, rest := b.state(), b.state()
	b.empty(from, first)
	b.bytes(from, first, '-', '-')
	b.bytes(first, to, '0', '0')
	b.bytes(first, rest, '1', '9')
	b.digits(rest, to, 0, integerDigits-1)
}

// number is a JSON number (RFC 8259, section 6) of bounded length.
func (b *builder) number() int32 {
	return b.shared(&b.json.number, false, func(from, to int32) {
		whole, point, exact, e, signed := b.state(), b.state(), b.state(), b.state(), b.state()
		b.integerPart(from, whole)
		b.empty(whole, exact)
		b.bytes(whole, point, '.', '.')
		b.digits(point, exact, 1, fractionDigits)
		b.empty(exact, to)
		b.oneOf(exact, e, "eE")
		b.empty(e, signed)
		b.oneOf(e, signed, "+-")
		b.digits(signed, to, 1, exponentDigits)
	})
}

// value is any JSON value.
func (b *builder) value() int32 {
	return b.shared(&b.json.value, false, func(from, to int32) {
		b.call(from, to, b.text())
		b.call(from, to, b.number())
		b.call(from, to, b.freeObject())
		b.call(from, to, b.freeArray())
		for _, word := range []string{"true", "false", "null"} {
			b.literal(from, to, word)
		}
	})
}

func (b *builder) freeObject() int32 {
	return b.shared(&b.json.object, true, func(from, to int32) {
		open, key, colon, before, after, comma := b.state(), b.state(), b.state(), b.state(), b.state(), b.state()
		b.bytes(from, open, '{', '{')
		end := b.state()
		b.space(open, end)
		b.bytes(end, to, '}', '}')
		b.empty(end, key)
		b.call(key, colon, b.text())
		b.bytes(colon, before, ':', ':')
		value := b.state()
		b.space(before, value)
		b.call(value, after, b.value())
		b.bytes(after, comma, ',', ',')
		b.space(comma, key)
		b.close(after, to, '}')
	})
}

func (b *builder) freeArray() int32 {
	return b.shared(&b.json.array, true, func(from, to int32) {
		open, item, after, comma := b.state(), b.state(), b.state(), b.state()
		b.bytes(from, open, '[', '[')
		end := b.state()
		b.space(open, end)
		b.bytes(end, to, ']', ']')
		b.empty(end, item)
		b.call(item, after, b.value())
		b.bytes(after, comma, ',', ',')
		b.space(comma, item)
		b.close(after, to, ']')
	})
}

// close is white space and a bracket.
func (b *builder) close(from, to int32, bracket byte) {
	s := b.state()
	b.space(from, s)
	b.bytes(s, to, bracket, bracket)
}
