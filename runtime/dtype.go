package runtime

import "fmt"

// DType is the element type of a Tensor or of a tensor stored in a checkpoint.
type DType uint8

const (
	F32 DType = iota
	F16
	BF16
	I32
	U8
)

// Size is the width of one element in bytes.
func (d DType) Size() int {
	switch d {
	case F32, I32:
		return 4
	case F16, BF16:
		return 2
	default:
		return 1
	}
}

func (d DType) String() string {
	switch d {
	case F32:
		return "float32"
	case F16:
		return "float16"
	case BF16:
		return "bfloat16"
	case I32:
		return "int32"
	case U8:
		return "uint8"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Format is how a Loader keeps the weights of its matrix products.
type Format uint8

const (
	// Stored keeps each weight in its checkpoint's type, widened exactly inside the product.
	Stored Format = iota
	// BFloat16 rounds weights to bfloat16 and, where the device multiplies such pairs, activations too; sums stay
	// float32.
	BFloat16
	// Float16 rounds float32 weights to float16; activations stay as they are.
	Float16
	// Q8 is symmetric 8-bit in blocks of 32 along K with one float16 scale each.
	Q8
	// Q4 is the same with 4 bits.
	Q4
	// Float32 widens every weight to float32.
	Float32
)

func (f Format) String() string {
	return [...]string{"stored", "bfloat16", "float16", "q8", "q4", "float32"}[f]
}

// Precision is the number formats of one component, decided once at load.
type Precision struct {
	Weights Format
	Compute DType // activations between ops
	Stream  DType // the residual stream
	Cache   DType // keys and values
}

// Name is what weights stored in that type are kept in.
func (p Precision) Name(stored DType) string {
	if p.Weights == Stored {
		return stored.String()
	}
	return p.Weights.String()
}
