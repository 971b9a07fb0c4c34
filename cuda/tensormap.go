package cuda

// TensorMap describes a tensor in device memory to the copy engine (TMA). Its contents are the implementation's; it is
// passed to kernels by value, aligned to 64 bytes.
type TensorMap [128]byte

// TensorMapType is the type of a tensor's elements, numbered as the driver numbers them.
type TensorMapType uint32

const (
	TensorMapUint8    TensorMapType = 0
	TensorMapUint16   TensorMapType = 1
	TensorMapUint32   TensorMapType = 2
	TensorMapInt32    TensorMapType = 3
	TensorMapUint64   TensorMapType = 4
	TensorMapInt64    TensorMapType = 5
	TensorMapFloat16  TensorMapType = 6
	TensorMapFloat32  TensorMapType = 7
	TensorMapFloat64  TensorMapType = 8
	TensorMapBFloat16 TensorMapType = 9
)

// Swizzle is how rows of a tile are permuted in shared memory so that columns meet different banks.
type Swizzle uint32

const (
	SwizzleNone Swizzle = iota
	Swizzle32           // within 32 bytes, and so on
	Swizzle64
	Swizzle128
)

// TensorMapSpec is a tiled tensor of 1 to 5 dimensions, the innermost first. What lies outside reads as zero.
type TensorMapSpec struct {
	Type           TensorMapType
	Rank           int
	Address        Ptr       // aligned to 16
	Dims           [5]uint64 // elements
	Strides        [4]uint64 // bytes between neighbours of dimension 1 and up, multiples of 16
	Box            [5]uint32 // elements of a tile, at most 256 each
	ElementStrides [5]uint32 // zeros mean 1
	Swizzle        Swizzle
	L2Promotion    uint32 // 0 none, 1 64 bytes, 2 128 bytes, 3 256 bytes
}
