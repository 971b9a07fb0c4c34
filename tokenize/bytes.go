package tokenize

import (
	"strconv"
	"strings"
)

// edgeOfText stands before and behind a token, so that what a decoder does at the ends of a text does not reach it.
const edgeOfText = "\uE000"

// TokenBytes is what a token adds to a text when other tokens stand before and behind it: the bytes that the
// tokenizer's decoder makes of it, before broken characters are replaced. At an end of a text a decoder may leave a
// blank out. special says that decoding can leave the token out; ok is false for ids that do not exist.
func (t *Tokenizer) TokenBytes(id int32) (b []byte, special, ok bool) {
	s, ok := t.decodable(id)
	if !ok {
		return nil, false, false
	}
	special = t.added.special[s]
	if t.decoder == nil {
		return []byte(" " + s), special, true
	}
	steps, ok := t.decoder.(decoders)
	if !ok {
		steps = decoders{t.decoder}
	}
	x := tokenInText{text: s}
	for _, d := range steps {
		x.decode(d)
	}
	return []byte(x.text), special, true
}

// tokenInText is a token on its way through a decoder's steps.
type tokenInText struct {
	text  string
	raw   bool // bytes, perhaps a part of a character
	fused bool // its neighbours are in the same string by now
}

func (x *tokenInText) decode(d decoder) {
	switch d := d.(type) {
	case byteLevelDecoder:
		b := make([]byte, 0, len(x.text))
		x.fused = true
		for _, r := range x.text {
			if int(r) >= len(runeByte) || runeByte[r] < 0 {
				return
			}
			b = append(b, byte(runeByte[r]))
		}
		x.text, x.raw = string(b), true
	case byteFallbackDecoder:
		if v, ok := fallbackByte(x.text); ok && !x.fused {
			x.text, x.raw = string([]byte{v}), true
		}
	case eachToken:
		switch {
		case x.raw:
		case x.fused:
			x.between(d.decode([]string{edgeOfText + x.text + edgeOfText}))
		default:
			x.text = d.decode([]string{edgeOfText, x.text})[1]
		}
	default:
		switch out := d.decode([]string{edgeOfText, x.text, edgeOfText}); {
		case x.raw:
		case x.fused:
			x.between(d.decode([]string{edgeOfText + x.text + edgeOfText}))
		case len(out) == 3:
			x.text = out[1]
		case len(out) == 1:
			x.fused = true
			x.between(out)
		default: // a token that the decoder drops
			x.text = ""
		}
	}
}

// fallbackByte reads <0xHH>, as byteFallbackDecoder does.
func fallbackByte(s string) (byte, bool) {
	if len(s) != 6 || !strings.HasPrefix(s, "<0x") || s[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(s[3:5], "+"), 16, 8)
	return byte(v), err == nil
}

// between takes the token out of its neighbours again.
func (x *tokenInText) between(out []string) {
	s, found := strings.CutPrefix(strings.Join(out, ""), edgeOfText)
	if s, whole := strings.CutSuffix(s, edgeOfText); found && whole {
		x.text = s
	}
}
