package kernels

import "unsafe"

// sampleKernels end a decode step: the choice of the next tokens, and the blocks of a cache that sequences part with.
var sampleKernels = []Kernel{
	{Name: "sample", Module: "sample", Targets: everywhere, Args: int(unsafe.Sizeof(Sample{})), Threads: 512, Blocks: 1, Tile: [2]int{1, 0}},
	{Name: "copy_blocks", Module: "copy", Targets: everywhere, Args: int(unsafe.Sizeof(CopyBlocks{})), Threads: 256, Blocks: 4, Tile: [2]int{1, 16 << 10}},
}

// MostAlternatives is the most that Sample.Top may be.
const MostAlternatives = 1024

// Grid is the blocks of a launch: one a row. Nothing is to be launched where one of them is 0.
func (a *Sample) Grid(*Kernel) [3]uint32 { return [3]uint32{uint32(a.N), 1, 1} }

// Grid is the blocks of a launch. Nothing is to be launched where one of them is 0; N and Parts are at most 65,535.
func (a *CopyBlocks) Grid(k *Kernel) [3]uint32 {
	return [3]uint32{up(int(a.Part), k.Tile[1]), uint32(a.Parts), uint32(a.N)}
}
