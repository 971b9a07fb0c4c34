package kernels

import (
	"fmt"
	"unsafe"
)

// attentionKernels are attention_{type}_{head size} for the sizes that models have, and attention_any_{type} for all.
var attentionKernels = []Kernel{
	attentionAny("f32", everywhere),
	attentionAny("f16", everywhere),
	attentionAny("bf16", withBF16),
	attention("f16", 32, everywhere),
	attention("f16", 64, everywhere),
	attention("f16", 80, everywhere),
	attention("f16", 96, everywhere),
	attention("f16", 128, everywhere),
	attention("bf16", 32, withBF16),
	attention("bf16", 64, withBF16),
	attention("bf16", 80, withBF16),
	attention("bf16", 96, withBF16),
	attention("bf16", 128, withBF16),
}

const (
	keyTile        = 64  // keys of a tile
	attentionSlice = 128 // channels of the result that a block of attention_any makes
)

// attention is the build for one head size: 4 warps of 16 queries, and a tile of keys and one of values in shared memory.
func attention(t string, dim int, on []Target) Kernel {
	k := Kernel{Name: fmt.Sprintf("attention_%s_%d", t, dim), Module: "attention", Targets: on,
		Args: int(unsafe.Sizeof(Attention{})), Threads: 128, Blocks: 3, Shared: 2 * keyTile * dim * 2, Tile: [2]int{64, dim}}
	if dim > 64 {
		k.Blocks = 2
	}
	return k
}

func attentionAny(t string, on []Target) Kernel {
	return Kernel{Name: "attention_any_" + t, Module: "attentionany", Targets: on, Args: int(unsafe.Sizeof(Attention{})),
		Threads: 128, Blocks: 3, Tile: [2]int{16, attentionSlice}}
}

// Grid is the blocks of a launch: one for each tile of queries and up to one more for each sequence, for each head, and
// for each slice of a head's channels. Nothing is to be launched where one of them is 0.
func (a *Attention) Grid(k *Kernel) [3]uint32 {
	return [3]uint32{uint32(int(a.Rows)/k.Tile[0] + int(a.Sequences)), uint32(a.Heads), up(int(a.Dim), k.Tile[1])}
}
