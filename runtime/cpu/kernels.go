package cpu

import "unsafe"

// The kernels of one instruction set. Pointers are unsafe because what they point at (weights, tiles, tensors) is
// memory outside the Go heap. Lengths of vectors are multiples of 16; the callers see to tails.

// microKernel is C[mr, NR] (+)= A[mr, kc]·B[kc, NR]: a is a tile whose rows are tileStride bytes apart, b a panel, c has
// ldc floats a row, kc is a multiple of 4. Every element is one running sum in k order, starting from c where acc is 1.
type microKernel = func(kc int, a, b, c unsafe.Pointer, ldc, acc int)

// quantKernel is the same with x in int8 and blocks of 32 k; scales and corrections are [block][row].
type quantKernel = func(blocks int, x, scales, corrections, w, c unsafe.Pointer, ldc, acc int)

// actKernel is dst = f(src+bias).
type actKernel = func(dst, src, bias unsafe.Pointer, n int)

type kernels struct {
	f32, bf16, f16, dot []microKernel // by rows-1; dot multiplies bfloat16 pairs, nil where the CPU cannot
	q8, q4              []quantKernel // nil where the CPU cannot

	act  [8]actKernel // by runtime.Act
	gate [8]actKernel // act(gate)·up, the two alternating by 16 in src and bias

	addBias   actKernel                                       // dst += src+bias
	add       func(dst, src unsafe.Pointer, n int)            // dst += src
	scale     func(dst, src unsafe.Pointer, n int, c float32) // dst = src·c
	scaleRows func(dst unsafe.Pointer, dstStride int, src unsafe.Pointer, srcStride int,
		factors unsafe.Pointer, step, rows, n int) // rows of dst = src·factor; strides and step in bytes
	cap       func(dst, src unsafe.Pointer, n int, c float32)                               // dst = c·tanh(src/c)
	sum       func(src unsafe.Pointer, n int) float32                                       // Σx
	squares   func(src unsafe.Pointer, n int, mean float32) float32                         // Σ(x-mean)²
	affine    func(dst, src, w, b unsafe.Pointer, n int, mean, rstd float32)                // dst = (x-mean)·rstd·w + b
	softmax   func(s, state unsafe.Pointer, rows, n int)                                    // see softmaxState
	largest   func(out, src unsafe.Pointer, n int)                                          // see level.argmax
	classes   func(dst, src unsafe.Pointer, blocks int)                                     // see draw.tops
	divide    func(dst, src unsafe.Pointer, n int, c float32)                               // dst = src/c
	uniforms  func(dst, state unsafe.Pointer, blocks int)                                   // see uniformState
	prefetch  func(src unsafe.Pointer, lines int)                                           // of 64 bytes, to the second cache
	rotate    func(dst, src, angles unsafe.Pointer, half int)                               // pairs (i, i+half) by cos, sin
	transpose func(dst unsafe.Pointer, dstStride int, src unsafe.Pointer, srcStride, n int) // n columns of 16 dwords

	dequantize8, dequantize4 func(dst unsafe.Pointer, stride int, w unsafe.Pointer, blocks int)
	quantizeRow              func(dst, src, scales, corrections unsafe.Pointer, blocks, step, offset int)

	// Beside the dot kernels only.
	roundBF16   func(dst unsafe.Pointer, dstStride int, src unsafe.Pointer, srcStride, rows, n int) // n a multiple of 32
	pairRows    func(dst, src unsafe.Pointer, stride, pairs int)                                    // 32 columns of rows 2i and 2i+1
	softmaxBF16 func(s, state unsafe.Pointer, rows, n int)                                          // softmax that leaves bfloat16; n a multiple of 32

	peakFMA, peakBF16, peakVNNI func(n int)                          // 48 instructions an iteration
	read                        func(src unsafe.Pointer, blocks int) // 512 bytes a block
}

const (
	tileStride  = (256 + 16) * 4 // bytes from row to row of an A tile: 256 float32 or 512 bfloat16, off the 4 KiB pitch
	tileFloats  = tileStride / 4
	quantStride = 2048 + 64 // the same of 2,048 int8
	sliceF32    = 256       // k of a tile's slice
	sliceDot    = 512
	sliceQuant  = 2048
	quantBlock  = 32 // k of a block that shares a scale
)

// softmaxState is what a row of running softmax carries from one block of keys to the next: the largest score, the sum
// of exp(score-max), and the factor by which the last step shrank what was summed before.
type softmaxState struct{ max, sum, shrink, _ float32 }

// softmaxStart is the state before any key. Its max is finite so that a row of -Inf gives zeros and no NaN.
var softmaxStart = softmaxState{max: -3e38}

// pointer makes an address of memory outside the Go heap usable.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// at is p moved by n floats.
func at(p unsafe.Pointer, n int) unsafe.Pointer { return unsafe.Add(p, n*4) }

func floats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

func roundUp(n, m int) int { return (n + m - 1) / m * m }
