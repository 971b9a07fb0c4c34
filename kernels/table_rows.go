package kernels

import "unsafe"

var (
	everywhere = []Target{SM75, SM80}
	withBF16   = []Target{SM80}
)

// rowKernels work on rows alone: norms, embeddings, gathers, pooling, rotary and conversions.
var rowKernels = []Kernel{
	row[Norm]("norm", "norm_f32_f32", everywhere, 2, 1),
	row[Norm]("norm", "norm_f32_f16", everywhere, 2, 1),
	row[Norm]("norm", "norm_f32_bf16", withBF16, 2, 1),
	row[Norm]("norm", "norm_f16_f16", everywhere, 3, 1),
	row[Norm]("norm", "norm_bf16_bf16", withBF16, 3, 1),
	row[Embed]("norm", "embed_f32_f32", everywhere, 2, 1),
	row[Embed]("norm", "embed_f16_f16", everywhere, 2, 1),
	row[Embed]("norm", "embed_f16_f32", everywhere, 2, 1),
	row[Embed]("norm", "embed_bf16_bf16", withBF16, 2, 1),
	row[Embed]("norm", "embed_bf16_f32", withBF16, 2, 1),

	row[Gather]("rows", "gather_16", everywhere, 4, 512),
	row[Gather]("rows", "gather_32", everywhere, 4, 256),
	row[Pool]("rows", "pool_f32", everywhere, 3, 128),
	row[Pool]("rows", "pool_f16", everywhere, 3, 128),
	row[Pool]("rows", "pool_bf16", withBF16, 3, 128),
	row[Convert]("rows", "convert_f32_f32", everywhere, 4, 1024),
	row[Convert]("rows", "convert_f32_f16", everywhere, 4, 1024),
	row[Convert]("rows", "convert_f32_bf16", everywhere, 4, 1024),
	row[Convert]("rows", "convert_f16_f32", everywhere, 4, 1024),
	row[Convert]("rows", "convert_f16_f16", everywhere, 4, 1024),
	row[Convert]("rows", "convert_f16_bf16", everywhere, 4, 1024),
	row[Convert]("rows", "convert_bf16_f32", everywhere, 4, 1024),
	row[Convert]("rows", "convert_bf16_f16", everywhere, 4, 1024),
	row[Convert]("rows", "convert_bf16_bf16", everywhere, 4, 1024),

	row[Angles]("rotary", "angles", everywhere, 4, 1),
	row[Rotate]("rotary", "rotate_f32", everywhere, 4, 1),
	row[Rotate]("rotary", "rotate_f16", everywhere, 4, 1),
	row[Rotate]("rotary", "rotate_bf16", withBF16, 4, 1),
}

const (
	rowThreads = 256
	rowWarps   = rowThreads / 32
	narrow     = 1024 // columns of a norm up to which a warp has a row, and not the block
	warpHeads  = 4    // heads that a warp rotates
)

// row is a kernel with struct T. Its tile is eight rows, one a warp, of that many columns; of kernels whose rows are not
// cut into columns, and of pool, whose blocks make one row, the rows mean nothing.
func row[T any](module, name string, on []Target, blocks, columns int) Kernel {
	var args T
	return Kernel{Name: name, Module: module, Targets: on, Args: int(unsafe.Sizeof(args)), Threads: rowThreads, Blocks: blocks,
		Tile: [2]int{rowWarps, columns}}
}

// up is n/by, rounded up.
func up(n, by int) uint32 { return uint32((n + by - 1) / by) }

// teams is the blocks that norm or embed a number of rows.
func teams(rows, width int32) [3]uint32 {
	if width <= narrow {
		return [3]uint32{up(int(rows), rowWarps), 1, 1}
	}
	return [3]uint32{uint32(rows), 1, 1}
}

// tiles is the blocks for eight rows and one tile of columns each.
func tiles(k *Kernel, rows, columns int32) [3]uint32 {
	return [3]uint32{up(int(rows), k.Tile[0]), up(int(columns), k.Tile[1]), 1}
}

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Norm) Grid(*Kernel) [3]uint32 { return teams(a.Rows, a.Width) }

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Embed) Grid(*Kernel) [3]uint32 { return teams(a.Rows, a.Width) }

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Gather) Grid(k *Kernel) [3]uint32 { return tiles(k, a.N, a.Cols) }

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Pool) Grid(k *Kernel) [3]uint32 {
	return [3]uint32{uint32(a.N), up(int(a.Width), k.Tile[1]), 1}
}

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Convert) Grid(k *Kernel) [3]uint32 { return tiles(k, a.Rows, a.Width) }

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Angles) Grid(*Kernel) [3]uint32 {
	return [3]uint32{up(int(a.Rows)*int(a.Half), rowThreads), 1, 1}
}

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0.
func (a *Rotate) Grid(*Kernel) [3]uint32 {
	return [3]uint32{up(int(a.Rows)*int(up(int(a.Heads), warpHeads)), rowWarps), 1, 1}
}
