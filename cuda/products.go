package cuda

// Products is a library of matrix products: cuBLASLt, where it is installed. Its methods are called on the device's
// thread.
type Products interface {
	// Plan prepares a product. ErrNotSupported is a shape or stride that the library does not take.
	Plan(s MatmulSpec) (Product, error)
	Close() error // the products are closed before
}

// Product is one that is ready to run.
type Product interface {
	// Run queues it. bias is 0 without one.
	Run(s Stream, x, w, bias, y Ptr) error
	Close() error
}

// DataType is the type of a matrix's elements in a product of cuBLASLt, numbered as CUDA numbers them.
type DataType int32

const (
	Float32  DataType = 0
	Float16  DataType = 2
	BFloat16 DataType = 14
)

// MatmulSpec is the product y = x·wᵀ of row-major matrices, accumulated in float32: x is [Rows, Depth], w is
// [Cols, Depth] as a Linear's weight is stored, y is [Rows, Cols].
type MatmulSpec struct {
	Rows, Cols, Depth int
	In, Out           DataType
	// Strides between rows in elements; 0 means that rows lie one behind the other. Those of x, w and y are multiples
	// of 16 bytes, as their addresses are.
	StrideX, StrideW, StrideY int
	Bias                      bool // y += bias [Cols], of type Out
	GELU                      bool // y = gelu(y), by tanh, after the bias
	Add                       bool // the product is added to y; then without Bias and GELU
}
