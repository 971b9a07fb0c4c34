package chat

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// maxDigits is how long a whole number may be when read or written, as in Python.
const maxDigits = 4300

// maxBits bounds whole numbers on the way.
const maxBits = 1 << 14

// whole is the value of a big number, in the small form where it fits.
func whole(n *big.Int) Value {
	if n.IsInt64() {
		return intValue(n.Int64())
	}
	return &bigValue{n}
}

// bigOf is a whole number or truth value as a big number, nil for other values.
func bigOf(v Value) *big.Int {
	switch v := v.(type) {
	case boolValue:
		return big.NewInt(int64(integer(v)))
	case intValue:
		return big.NewInt(int64(v))
	case *bigValue:
		return v.n
	}
	return nil
}

func integer(b boolValue) intValue {
	if b {
		return 1
	}
	return 0
}

// small is a whole number that fits into an int, or a truth value.
func small(v Value) (int64, bool) {
	switch v := v.(type) {
	case boolValue:
		return int64(integer(v)), true
	case intValue:
		return int64(v), true
	}
	return 0, false
}

func isNumber(v Value) bool {
	switch v.(type) {
	case boolValue, intValue, *bigValue, floatValue:
		return true
	}
	return false
}

// toFloat is a number as a float.
func toFloat(v Value) (float64, error) {
	if f, ok := v.(floatValue); ok {
		return float64(f), nil
	}
	if n, ok := small(v); ok {
		return float64(n), nil
	}
	n := bigOf(v)
	if n == nil {
		return 0, unusable(v, "a number")
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	if math.IsInf(f, 0) {
		return 0, fmt.Errorf("a whole number is too large for a float")
	}
	return f, nil
}

// unusable is the error of a value of the wrong kind.
func unusable(v Value, wanted string) error {
	if u, ok := v.(undefined); ok {
		return u.err()
	}
	return fmt.Errorf("a %s where %s belongs", v.kind(), wanted)
}

func negate(op string, v Value) (Value, error) {
	if f, ok := v.(floatValue); ok {
		if op == "-" {
			f = -f
		}
		return f, nil
	}
	n := bigOf(v)
	if n == nil {
		return nil, unusable(v, "a number")
	}
	if op == "-" {
		n = new(big.Int).Neg(n)
	}
	return whole(n), nil
}

// arithmetic computes with two numbers.
func arithmetic(op string, a, b Value) (Value, error) {
	_, af := a.(floatValue)
	_, bf := b.(floatValue)
	if af || bf || op == "/" {
		x, err := toFloat(a)
		if err != nil {
			return nil, err
		}
		y, err := toFloat(b)
		if err != nil {
			return nil, err
		}
		return floatArithmetic(op, x, y)
	}
	if x, ok := small(a); ok {
		if y, ok := small(b); ok && x > -1<<31 && x < 1<<31 && y > -1<<31 && y < 1<<31 {
			switch op {
			case "+":
				return intValue(x + y), nil
			case "-":
				return intValue(x - y), nil
			case "*":
				return intValue(x * y), nil
			}
		}
	}
	x, y := bigOf(a), bigOf(b)
	if x.BitLen()+y.BitLen() > maxBits {
		return nil, overBudget("a whole number of more than %d bits", maxBits)
	}
	z := new(big.Int)
	switch op {
	case "+":
		return whole(z.Add(x, y)), nil
	case "-":
		return whole(z.Sub(x, y)), nil
	case "*":
		return whole(z.Mul(x, y)), nil
	case "**":
		if y.Sign() < 0 {
			fx, err := toFloat(a)
			if err != nil {
				return nil, err
			}
			fy, err := toFloat(b)
			if err != nil {
				return nil, err
			}
			return floatArithmetic(op, fx, fy)
		}
		if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > int64(maxBits/x.BitLen())) {
			return nil, overBudget("a whole number of more than %d bits", maxBits)
		}
		if x.BitLen() <= 1 && !y.IsInt64() {
			y = new(big.Int).And(y, big.NewInt(1)) // of 0, 1 and -1 only the parity counts
			y.Add(y, big.NewInt(2))
		}
		return whole(z.Exp(x, y, nil)), nil
	}
	if y.Sign() == 0 {
		return nil, fmt.Errorf("division by zero")
	}
	rest := new(big.Int)
	z.QuoRem(x, y, rest)
	if rest.Sign() != 0 && rest.Sign() != y.Sign() {
		z.Sub(z, big.NewInt(1))
		rest.Add(rest, y)
	}
	if op == "//" {
		return whole(z), nil
	}
	return whole(rest), nil
}

func floatArithmetic(op string, x, y float64) (Value, error) {
	switch op {
	case "+":
		return floatValue(x + y), nil
	case "-":
		return floatValue(x - y), nil
	case "*":
		return floatValue(x * y), nil
	case "**":
		if x == 0 && y < 0 {
			return nil, fmt.Errorf("zero cannot be raised to a negative power")
		}
		if x < 0 && y != math.Trunc(y) && !math.IsInf(x, 0) {
			return nil, fmt.Errorf("complex numbers are not supported")
		}
		z := math.Pow(x, y)
		if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
			return nil, fmt.Errorf("the result is too large")
		}
		return floatValue(z), nil
	}
	if y == 0 {
		return nil, fmt.Errorf("division by zero")
	}
	if op == "/" {
		return floatValue(x / y), nil
	}
	// Python's float floor division: the remainder has the divisor's sign.
	rest := math.Mod(x, y)
	quotient := (x - rest) / y
	if rest != 0 && (rest < 0) != (y < 0) {
		rest += y
		quotient--
	} else if rest == 0 {
		rest = math.Copysign(0, y)
	}
	if op == "%" {
		return floatValue(rest), nil
	}
	if quotient == 0 {
		return floatValue(math.Copysign(0, x/y)), nil
	}
	floor := math.Floor(quotient)
	if quotient-floor > 0.5 {
		floor++
	}
	return floatValue(floor), nil
}

// order compares two numbers; ok is false where one is not a number (NaN).
func order(a, b Value) (c int, ok bool) {
	x, xf := a.(floatValue)
	y, yf := b.(floatValue)
	if m, isSmall := small(a); isSmall {
		if n, isSmall := small(b); isSmall {
			switch {
			case m < n:
				return -1, true
			case m > n:
				return 1, true
			}
			return 0, true
		}
	}
	if math.IsNaN(float64(x)) || math.IsNaN(float64(y)) {
		return 0, false
	}
	exact := func(v Value, f floatValue, isFloat bool) *big.Float {
		if isFloat {
			return new(big.Float).SetFloat64(float64(f))
		}
		return new(big.Float).SetInt(bigOf(v))
	}
	return exact(a, x, xf).Cmp(exact(b, y, yf)), true
}

// formatFloat is Python's repr of a float.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	k := strings.IndexByte(s, 'e')
	exp, _ := strconv.Atoi(s[k+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// formatBig is Python's str of a large whole number.
func formatBig(n *big.Int) (string, error) {
	if s := n.String(); len(s) <= maxDigits+1 {
		return s, nil
	}
	return "", fmt.Errorf("a whole number of more than %d digits", maxDigits)
}
