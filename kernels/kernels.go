// Package kernels is the GPU's code: CUDA C++ sources, the PTX that the pinned compiler makes of them, cubins that save
// the usual GPUs a compilation, and one table that says of every kernel what a launch needs to know.
//
// A kernel takes one struct by value (args.go, src/args.h) and, where it loads by TMA, tensor maps behind it. Matrices
// are row-major with a stride in elements from row to row (ld…), types are in a kernel's name: f32, f16 or bf16 for the
// elements that it computes with; sums, statistics, biases and norm weights are float32 everywhere.
package kernels

import "fmt"

// Kernel is one row of the launch table.
type Kernel struct {
	Name    string   // of the entry in the PTX
	Module  string   // the module that holds it
	Targets []Target // that have it
	Args    int      // bytes of its struct
	Maps    int      // tensor maps behind the struct
	Threads int      // of a block
	Blocks  int      // blocks that a multiprocessor must have registers for: the source's __launch_bounds__
	Shared  int      // bytes of dynamic shared memory
	Tile    [2]int   // of the result, rows and columns that a block makes; {0, 0} where that means nothing
	// Dependent kernels may be launched while the one before them ends: they wait for it themselves.
	Dependent bool
}

// Target is a build of a module, named by the lowest GPU that runs it.
type Target string

const (
	SM75  Target = "sm_75"  // Turing: float16 tensor cores
	SM80  Target = "sm_80"  // Ampere and all later ones: bfloat16, cp.async
	SM90A Target = "sm_90a" // Hopper alone: wgmma, TMA
)

// table is all kernels, by module.
var table = [][]Kernel{gemmKernels, attentionKernels, rowKernels, sampleKernels}

// All is the launch table.
func All() []*Kernel {
	var all []*Kernel
	for _, t := range table {
		for i := range t {
			all = append(all, &t[i])
		}
	}
	return all
}

// Find is the kernel of that name. It panics where there is none: names are written in the program.
func Find(name string) *Kernel {
	for _, t := range table {
		for i := range t {
			if t[i].Name == name {
				return &t[i]
			}
		}
	}
	panic(fmt.Sprintf("kernels: there is no kernel %q", name))
}

// On reports whether a build for that target has the kernel.
func (k *Kernel) On(t Target) bool {
	for _, has := range k.Targets {
		if has == t {
			return true
		}
	}
	return false
}
