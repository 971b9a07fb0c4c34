package kernels

import (
	"unsafe"

	"remote-client-server/cuda"
)

// The structs that kernels take, laid out as their twins in src/args.h are.

// Flags of Gemm.
const (
	Gate   = 1 << iota // rows 2i and 2i+1 of w are gate and up of column i: y = act(gate)·up, n/2 columns wide
	Add                // y += the result
	OutF32             // y is float32, else of the kernel's type
)

// Gemm is y = cap(act(x·wᵀ + bias)): x [m, k], w [n, k], bias float32 [n] or 0, y [m, n]. Of 16-bit types, rows of x and
// w begin on 16 bytes and k is a multiple of 8. An element is one running sum in k order, whatever m and n are.
type Gemm struct {
	X, W, Y, Bias cuda.Ptr
	M, N, K       int32
	LDX, LDW, LDY int32
	Act           int32 // runtime.Act
	Cap           float32
	Flags         uint32
	_             uint32
}

// Norm is y = n(x + r) for each row, or y += it where Add is 1. r is 0 or of x's type; y may be x.
type Norm struct {
	X, R, Y, W, B cuda.Ptr // W, B float32 [width], or 0 for ones and zeros
	Rows, Width   int32
	LDX, LDR, LDY int32
	Kind          int32 // runtime.NormKind
	Eps           float32
	Add           uint32
}

// NoNorm is the Kind of Embed and Rotate that leaves the norm out.
const NoNorm = -1

// Embed is y = n(scale·word[id] + position[pos] + type). Tables have the kernel's first type and LDT elements a row; an
// absent one is 0. An id or position outside its table has no row.
type Embed struct {
	IDs, Pos             cuda.Ptr // int32 [rows]
	Word, Position, Type cuda.Ptr
	Y, W, B              cuda.Ptr
	Rows, Width          int32
	LDT, LDY             int32
	Vocab, Positions     int32
	Kind                 int32
	Scale, Eps           float32
	_                    uint32
}

// Gather is y[i] = x[rows[i]]; a row outside [0, Limit) gives zeros. Elements are of 2 or 4 bytes.
type Gather struct {
	X, Rows, Y cuda.Ptr
	N, Cols    int32
	LDX, LDY   int32
	Limit      int32
	_          uint32
}

// Pool reduces rows [a, b) of x to row i of y, float32. Ranges are int32 [n, LDR]: a, b and for weighted means the row
// from which weights count. An empty range, or one outside [0, Limit], gives zeros.
type Pool struct {
	X, Ranges, Y  cuda.Ptr
	N, Width      int32
	LDX, LDR, LDY int32
	How           int32 // runtime.Pooling
	Limit         int32
	_             uint32
}

// Angles is y[t] = factor·[cos(pos·f), sin(pos·f)], the product in float32, f the row variant[sequence of t] of freqs
// (0 where Variant is 0). y [rows, 2·half] float32, contiguous.
type Angles struct {
	Freqs, Pos, Cum, Variant, Y cuda.Ptr
	Rows, Sequences             int32
	Half, LDF, Variants         int32
	Factor                      float32
}

// Rotate is the norm over a head's channels, if there is one, and then the rotary position embedding of channels
// [0, 2·half), for rows of heads·dim channels. Half 0 is no rotation.
type Rotate struct {
	X, Y, Angles, W, B cuda.Ptr
	Rows, Heads, Dim   int32
	LDX, LDY, LDA      int32
	Half               int32
	Interleaved        int32 // pairs (2i, 2i+1) instead of (i, i+half)
	Kind               int32
	Eps                float32
}

// Convert copies x to y in y's type; columns [cols, width) of y become zeros. LDX 0 repeats one row.
type Convert struct {
	X, Y              cuda.Ptr
	Rows, Cols, Width int32
	LDX, LDY          int32
	_                 uint32
}

// Attention is y = softmax(cap·tanh(scale·q·kᵀ/cap) + bias, masked)·v for each sequence and head. Cum is int32
// [sequences+1]; bias float32 [heads, 2·reach+1] or 0, its column reach+clamp(j-i, -reach, reach). With a window, key j
// counts for query i where |i-j| <= window, or, causal, where i-window < j <= i. In the builds for one head size, rows of
// q, k and v begin on 16 bytes.
//
// The paged_ and decode_ kernels take keys and values from one layer of a cache [blocks, kvheads, 64, LDK]: K and V are
// its keys and values, Past int32 [sequences] the rows of each sequence in front of those of q, Table int32 [sequences,
// Columns] with rows LDT apart its blocks. The sequence has Past and its own rows as keys; the queries come last among
// them. What lies in no block in [0, Blocks) reads as zeros.
//
// The decode_ kernels cut a row's keys into splits of 256, counted from the sequence's first. Parts and Done are where the
// splits of a row meet: float32 [rows, heads, Splits, dim] and behind them as many pairs, and a zero for each of Counters.
// First is the row of the launch's first block.
type Attention struct {
	Q, K, V, Y, Cum, Bias    cuda.Ptr
	Table, Past, Parts, Done cuda.Ptr
	Rows, Sequences          int32
	Heads, KVHeads, Dim      int32
	LDQ, LDK, LDV, LDY       int32
	Window, Causal, Reach    int32
	Scale, Cap               float32 // Cap 0: none
	LDT, Columns, Blocks     int32
	First, Splits            int32
	_                        uint32
}

// Append is a norm over each head's channels of q and k, where there is one, their rotary position embedding as in Rotate,
// and the way of k and v into a layer of a cache: Keys and Values [blocks, kvheads, 64, Pitch], row Past+i of a sequence in
// the block that Table names in column (Past+i)/64. A row of a block outside [0, Blocks) is not written. q goes to y, or
// nowhere where Y is 0.
type Append struct {
	Q, K, V                 cuda.Ptr
	Y, Keys, Values         cuda.Ptr
	Angles, QW, QB, KW, KB  cuda.Ptr
	Cum, Table, Past        cuda.Ptr
	Rows, Sequences         int32
	Heads, KVHeads, Dim     int32
	Pitch                   int32
	LDQ, LDK, LDV, LDY, LDA int32
	LDT, Columns, Blocks    int32
	Half, Interleaved       int32
	QKind, KKind            int32 // runtime.NormKind or NoNorm
	QEps, KEps              float32
}

// Sample chooses tokens for the rows of Logits float32 [N, Vocab] as runtime.Sampling says; its tensors are those of the same
// names, without gaps between their rows. Work is float32 [N, LDWork], LDWork a multiple of 4 and Work on 16 bytes. Pos and
// Past are int32 [N], or 0. A row whose slot is not in [0, Slots) is left alone.
type Sample struct {
	Logits, Work                           cuda.Ptr
	Params, Ints, Ends, Counts, Bias, Mask cuda.Ptr
	Rows, IDs, Tokens, Logprobs            cuda.Ptr
	Pos, Past                              cuda.Ptr
	N, Slots, Vocab, Top                   int32
	LD, LDWork                             int32
}

// CopyBlocks copies N blocks of a cache, From[i] to To[i], int32, none of which is both. A block is Part bytes, a multiple
// of 16, in each of Parts arrays of blocks, which are Apart bytes apart.
type CopyBlocks struct {
	Cache, From, To cuda.Ptr
	Part, Apart     uint64
	N, Parts        int32
}

// Bytes are the bytes of a struct as a kernel's parameter.
func Bytes[T Gemm | Norm | Embed | Gather | Pool | Angles | Rotate | Convert | Attention | Append | Sample | CopyBlocks](a *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a))
}
