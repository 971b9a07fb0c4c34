package gpu

import "remote-client-server/runtime"

func (b *Backend) NewCache(runtime.CacheSpec) (*runtime.Cache, error) { panic("pending") }
func (b *Backend) NewArena(string, int64) (*runtime.Arena, error)     { panic("pending") }
func (b *Backend) Fetch(runtime.Tensor) *runtime.Fetched              { panic("pending") }
func (b *Backend) Record(func()) (*runtime.Graph, error)              { panic("pending") }
func (b *Backend) Run(*runtime.Graph)                                 { panic("pending") }
func (b *Backend) LinearNormAdd(x, y runtime.Tensor, w *runtime.Linear, n *runtime.Norm) {
	panic("pending")
}
func (b *Backend) CopyBlocks(*runtime.Cache, []int32, []int32)                  { panic("pending") }
func (b *Backend) Sample(runtime.Tensor, *runtime.Sequences, *runtime.Sampling) { panic("pending") }
