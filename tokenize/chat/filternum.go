package chat

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

func absolute(_ *evaluator, v Value, _ []Value) (Value, error) {
	if f, ok := v.(floatValue); ok {
		return floatValue(math.Abs(float64(f))), nil
	}
	if n := bigOf(v); n != nil {
		return whole(new(big.Int).Abs(n)), nil
	}
	return nil, unusable(v, "a number")
}

// toInt is Jinja's int filter: what cannot be read becomes the default.
func toInt(e *evaluator, v Value, a []Value) (Value, error) {
	absent := Value(intValue(0))
	if a[0] != nil {
		absent = a[0]
	}
	base, err := number(a[1], 10)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case undefined:
		return nil, v.err()
	case boolValue, intValue, *bigValue:
		return whole(bigOf(v)), nil
	case floatValue:
		return floatToInt(float64(v), absent, true)
	case textValue:
		s := strings.TrimFunc(v.s, isBlank)
		if len(s) > maxDigits {
			return absent, nil
		}
		if err := e.spend(len(s) / 16); err != nil {
			return nil, err
		}
		if n, ok := parseInt(s, int(base)); ok {
			return whole(n), nil
		}
		if f, ok := parseFloat(s); ok {
			return floatToInt(f, absent, false)
		}
	}
	return absent, nil
}

func parseInt(s string, base int) (*big.Int, bool) {
	if base < 0 || base == 1 || base > 36 || s == "" || strings.Contains(s, "__") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return nil, false
	}
	sign := ""
	if s[0] == '-' || s[0] == '+' {
		sign, s = s[:1], s[1:]
	}
	for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if b == base && strings.HasPrefix(strings.ToLower(s), prefix) {
			s = s[2:]
		}
	}
	if s == "" || s[0] == '-' || s[0] == '+' {
		return nil, false
	}
	return new(big.Int).SetString(sign+strings.ReplaceAll(s, "_", ""), base)
}

// parseFloat is Python's float() of a text.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isBlank)
	if strings.ContainsAny(s, "xXpP") || strings.Contains(s, "__") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// floatToInt cuts a float's fraction off. Of the numbers without a whole part Jinja refuses infinity where it is no
// text, and takes the default for the others.
func floatToInt(f float64, absent Value, refuse bool) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		if refuse && math.IsInf(f, 0) {
			return nil, fmt.Errorf("infinity has no whole part")
		}
		return absent, nil
	}
	n, _ := new(big.Float).SetFloat64(f).Int(nil)
	return whole(n), nil
}

func toFloatFilter(_ *evaluator, v Value, a []Value) (Value, error) {
	absent := Value(floatValue(0))
	if a[0] != nil {
		absent = a[0]
	}
	switch v := v.(type) {
	case undefined:
		return nil, v.err()
	case textValue:
		if f, ok := parseFloat(v.s); ok {
			return floatValue(f), nil
		}
	case boolValue, intValue, *bigValue, floatValue:
		f, err := toFloat(v)
		return floatValue(f), err
	}
	return absent, nil
}

func round(_ *evaluator, v Value, a []Value) (Value, error) {
	digits, err := number(a[0], 0)
	if err != nil {
		return nil, err
	}
	method := "common"
	if a[1] != nil {
		m, _ := a[1].(textValue)
		method = m.s
	}
	f, err := toFloat(v)
	if err != nil {
		return nil, err
	}
	if digits > 400 || digits < -400 {
		return nil, fmt.Errorf("precision %d is out of range", digits)
	}
	scale := math.Pow(10, float64(digits))
	switch method {
	case "ceil":
		return floatValue(math.Ceil(f*scale) / scale), nil
	case "floor":
		return floatValue(math.Floor(f*scale) / scale), nil
	case "common":
	default:
		return nil, fmt.Errorf("the method is common, ceil or floor")
	}
	if n := bigOf(v); n != nil {
		if digits >= 0 {
			return whole(n), nil
		}
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(-digits), nil)
		quo, rest := new(big.Int).DivMod(n, unit, new(big.Int))
		twice := rest.Lsh(rest, 1)
		if c := twice.Cmp(unit); c > 0 || c == 0 && quo.Bit(0) == 1 {
			quo.Add(quo, big.NewInt(1))
		}
		return whole(quo.Mul(quo, unit)), nil
	}
	if digits >= 0 {
		r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64) // rounds the exact value half to even
		return floatValue(r), nil
	}
	return floatValue(math.RoundToEven(f*scale) / scale), nil
}
