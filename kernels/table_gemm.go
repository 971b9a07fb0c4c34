package kernels

import (
	"strings"
	"unsafe"

	"remote-client-server/cuda"
)

// gemmKernels are the products. The tiles of one type give an element the same bits; gemv_ kernels give it the same bits
// whatever the number of rows, but not those of the tiles, and so do wgmma_ ones.
var gemmKernels = []Kernel{
	product("gemm", "gemm_f16_128x128", 256, 2, 128, 128, SM75, SM80),
	product("gemm", "gemm_f16_64x64", 128, 2, 64, 64, SM75, SM80),
	product("gemm", "gemm_bf16_128x128", 256, 2, 128, 128, SM80),
	product("gemm", "gemm_bf16_64x64", 128, 2, 64, 64, SM80),
	product("gemmf32", "gemm_f32_128x128", 256, 2, 128, 128, SM75, SM80),
	product("gemmf32", "gemm_f32_64x64", 128, 4, 64, 64, SM75, SM80),
	wgmma("wgmma_f16_128x256", 4, 256),
	wgmma("wgmma_f16_128x128", 6, 128),
	wgmma("wgmma_bf16_128x256", 4, 256),
	wgmma("wgmma_bf16_128x128", 6, 128),
	product("gemv", "gemv_f16_8", 256, 3, 8, 16, SM75, SM80),
	product("gemv", "gemv_f16_32", 256, 3, 32, 16, SM75, SM80),
	product("gemv", "gemv_bf16_8", 256, 3, 8, 16, SM80),
	product("gemv", "gemv_bf16_32", 256, 3, 32, 16, SM80),
	product("gemv", "gemv_f32_8", 256, 2, 8, 16, SM75, SM80),
}

func product(module, name string, threads, blocks, rows, cols int, targets ...Target) Kernel {
	return Kernel{Name: name, Module: module, Targets: targets, Args: int(unsafe.Sizeof(Gemm{})),
		Threads: threads, Blocks: blocks, Tile: [2]int{rows, cols}}
}

// wgmma is a persistent kernel with a ring of stages for 64 columns of x and w; for the epilogue, a
// warp has 2,560 bytes and its copy of the columns' biases. Each stage has two mbarriers, and there is one more.
func wgmma(name string, stages, cols int) Kernel {
	k := product("wgmma", name, 384, 1, 128, cols, SM90A)
	k.Maps, k.Dependent = 2, true
	k.Shared = stages*(128+cols)*64*2 + 8*(2560+cols*4) + 8*(2*stages+1)
	return k
}

// Grid is the blocks of k that a takes: one for each tile, except that a kernel with tensor maps is persistent and has
// no more than one for each multiprocessor. M and N are not 0.
func (a *Gemm) Grid(k *Kernel, multiprocessors int) [3]uint32 {
	tiles := ceilDiv(int(a.M), k.Tile[0]) * ceilDiv(int(a.N), k.Tile[1])
	if k.Maps > 0 {
		tiles = min(tiles, multiprocessors)
	}
	return [3]uint32{uint32(tiles), 1, 1}
}

func ceilDiv(n, tile int) int { return (n + tile - 1) / tile }

// MapX describes x, and MapW w, to a kernel with tensor maps: boxes of 64 columns and as many rows as the tile has, in
// shared memory swizzled within 128 bytes. What lies outside reads as zero.
func (k *Kernel) MapX(a *Gemm) cuda.TensorMapSpec { return k.operand(a.X, a.M, a.K, a.LDX, k.Tile[0]) }

// MapW is w's.
func (k *Kernel) MapW(a *Gemm) cuda.TensorMapSpec { return k.operand(a.W, a.N, a.K, a.LDW, k.Tile[1]) }

func (k *Kernel) operand(p cuda.Ptr, rows, cols, ld int32, tile int) cuda.TensorMapSpec {
	s := cuda.TensorMapSpec{Type: cuda.TensorMapFloat16, Rank: 2, Address: p, Swizzle: cuda.Swizzle128, L2Promotion: 2}
	if strings.Contains(k.Name, "_bf16_") {
		s.Type = cuda.TensorMapBFloat16
	}
	s.Dims[0], s.Dims[1] = uint64(cols), uint64(rows)
	s.Strides[0] = uint64(ld) * 2
	s.Box[0], s.Box[1] = 64, uint32(tile)
	return s
}

// ChooseGemm is the name of the kernel for a product of m rows, n columns and k: t is f32, f16 or bf16. What decides about
// an element's bits, the class, follows from target, t and decode alone: gemv_ where rows are decoded tokens, wgmma_ on
// Hopper, else gemm_. The tile may depend on m, for all tiles of a class give the same bits.
//
// Of two tiles, the large one reuses more of what it loads, but a multiprocessor with one tile more than the others keeps
// the whole product waiting for longer. So the choice is by the time of the busiest multiprocessor: its tiles times
// their area, the small one's counted a quarter more.
func ChooseGemm(target Target, t string, m, n, k int, decode bool, multiprocessors int) string {
	is := products[t]
	if decode {
		if t != "f32" && m > 8 {
			return is.manyTokens
		}
		return is.fewTokens
	}
	busiest := func(rows, cols int) int {
		return ceilDiv(ceilDiv(m, rows)*ceilDiv(n, cols), multiprocessors) * rows * cols
	}
	if target == SM90A && t != "f32" {
		if busiest(128, 256)*4 <= busiest(128, 128)*5 {
			return is.hopperLarge
		}
		return is.hopperSmall
	}
	if busiest(128, 128)*4 <= busiest(64, 64)*5 {
		return is.large
	}
	return is.small
}

// names are of one type's products.
type names struct{ fewTokens, manyTokens, hopperLarge, hopperSmall, large, small string }

// products are spelled out once: a name made for each launch would be garbage.
var products = map[string]names{"f32": namesOf("f32"), "f16": namesOf("f16"), "bf16": namesOf("bf16")}

func namesOf(t string) names {
	return names{
		"gemv_" + t + "_8", "gemv_" + t + "_32", "wgmma_" + t + "_128x256", "wgmma_" + t + "_128x128", "gemm_" + t + "_128x128", "gemm_" + t + "_64x64",
	}
}
