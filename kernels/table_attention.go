package kernels

import (
	"fmt"
	"slices"
	"unsafe"
)

// attentionKernels are attention_{type}_{head size} over packed rows and paged_{type}_{head size} over a cache, for the
// sizes that models have, decode_{type}_{head size} for one row of each sequence over a cache, and {…}_any_{type} for all
// sizes; append_{type} fills a cache.
var attentionKernels = slices.Concat(
	anySize("f32", everywhere), anySize("f16", everywhere), anySize("bf16", withBF16),
	sized("attention", "f16", everywhere), sized("attention", "bf16", withBF16),
	sized("paged", "f16", everywhere), sized("paged", "bf16", withBF16),
	decodes("f16", everywhere), decodes("bf16", withBF16),
	[]Kernel{
		row[Append]("cache", "append_f32", everywhere, 4, 1),
		row[Append]("cache", "append_f16", everywhere, 4, 1),
		row[Append]("cache", "append_bf16", withBF16, 4, 1),
	},
)

const (
	keyTile        = 64  // keys of a tile, and rows of a block of a cache
	attentionSlice = 128 // channels of the result that a block of the kernels for any size makes
	keySplit       = 256 // keys of a split of the decode_ kernels
	stepHeads      = 16  // query heads of a block of theirs
)

// sized are the builds for one head size: 4 warps of 16 queries, and a tile of keys and one of values in shared memory.
func sized(name, t string, on []Target) []Kernel {
	var all []Kernel
	for _, dim := range []int{32, 64, 80, 96, 128} {
		k := Kernel{Name: fmt.Sprintf("%s_%s_%d", name, t, dim), Module: "attention", Targets: on,
			Args: int(unsafe.Sizeof(Attention{})), Threads: 128, Blocks: 3, Shared: 2 * keyTile * dim * 2, Tile: [2]int{64, dim}}
		if dim > 64 {
			k.Blocks = 2
		}
		all = append(all, k)
	}
	return all
}

// decodes are the builds for one head size of a decode step: the same shared memory, a quarter for each warp.
func decodes(t string, on []Target) []Kernel {
	var all []Kernel
	for _, s := range []struct{ dim, blocks int }{{32, 4}, {64, 3}, {80, 2}, {96, 2}, {128, 2}, {256, 2}} {
		targets := on
		if s.dim == 256 { // Turing has not the shared memory
			targets = withBF16
		}
		all = append(all, Kernel{Name: fmt.Sprintf("decode_%s_%d", t, s.dim), Module: "decode", Targets: targets,
			Args: int(unsafe.Sizeof(Attention{})), Threads: 128, Blocks: s.blocks, Shared: 2 * keyTile * s.dim * 2, Tile: [2]int{1, s.dim}})
	}
	return all
}

func anySize(t string, on []Target) []Kernel {
	var all []Kernel
	for _, k := range []struct {
		name string
		rows int
	}{{"attention", 16}, {"paged", 16}, {"decode", 1}} {
		all = append(all, Kernel{Name: k.name + "_any_" + t, Module: "attentionany", Targets: on, Args: int(unsafe.Sizeof(Attention{})),
			Threads: 128, Blocks: 3, Tile: [2]int{k.rows, attentionSlice}})
	}
	return all
}

// Grid is the blocks of a launch: one for each tile of queries and up to one more for each sequence, for each head, and
// for each slice of a head's channels. Nothing is to be launched where one of them is 0.
func (a *Attention) Grid(k *Kernel) [3]uint32 {
	return [3]uint32{uint32(int(a.Rows)/k.Tile[0] + int(a.Sequences)), uint32(a.Heads), up(int(a.Dim), k.Tile[1])}
}

// Units is the y blocks of a decode_ kernel's grid: the groups of query heads that share one of keys, 16 heads at most, and
// the slices of a head's channels.
func (a *Attention) Units(k *Kernel) int {
	return int(a.KVHeads) * ceilDiv(int(a.Heads/a.KVHeads), stepHeads) * ceilDiv(int(a.Dim), k.Tile[1])
}

// Counters is the uint32 that Done of a decode_ kernel has for so many rows.
func (a *Attention) Counters(k *Kernel, rows int) int { return rows * a.Units(k) }

// Meet sets Splits, and returns the float32 that Parts then has.
func (a *Attention) Meet(k *Kernel) int {
	a.Splits = int32(ceilDiv(int(a.Columns)*keyTile, keySplit))
	return int(a.Rows) * int(a.Heads) * int(a.Splits) * (int(a.Dim) + 2*ceilDiv(int(a.Dim), k.Tile[1]))
}

// Steps is the blocks of a launch of a decode_ kernel for so many rows: as many along z as make about four waves of blocks,
// and no more than there may be splits. It depends on what a recorded step knows, the rows and the width of the table; a
// block makes every so many of its row's splits.
func (a *Attention) Steps(k *Kernel, rows, multiprocessors int) [3]uint32 {
	units := a.Units(k)
	z := ceilDiv(4*k.Blocks*multiprocessors, max(rows*units, 1))
	return [3]uint32{uint32(rows), uint32(units), uint32(max(min(z, int(a.Splits), 65535), 1))}
}

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Append) Grid(*Kernel) [3]uint32 {
	groups := 2 * up(int(a.KVHeads), warpHeads)
	if a.Y != 0 {
		groups += up(int(a.Heads), warpHeads)
	}
	return [3]uint32{up(int(a.Rows)*int(groups), rowWarps), 1, 1}
}
