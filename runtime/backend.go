// Package runtime is the op set: the values and the two interfaces through which every model computes, whatever its
// type and whatever the device.
//
// Everything is a matrix, packed without padding. What is constant after loading is a value made by a Loader (Linear,
// Norm, Table); what changes with a batch is in Sequences or in Tensors; work is a method of Backend. An op returns
// scratch, good until the enclosing Release; only the residual stream is written in place, by ops whose name says so
// and whose first argument is the tensor written.
//
// Three kinds of failure: operands that do not fit panic with a ShapeError (a bug), memory that is not there panics
// with OutOfMemory (recovered at the job's edge), and a device's error is sticky and comes back from Sync, Download and
// Wait, so that forward passes carry no error plumbing.
//
// On every device a row's result does not depend on what it is batched with, to the bit: every element of a product is
// one running sum in k order, and every other reduction is cut by shape, never by the number of threads.
package runtime

// Loader packs the weights of one component; Close frees them all.
type Loader interface {
	Linear(LinearSpec) (*Linear, error)
	Norm(NormSpec) (*Norm, error)
	Table(TableSpec) (*Table, error)
	// Const uploads rows*cols values, kept until Close, as F32 or (v integral) I32.
	Const(rows, cols int, v []float32, t DType) (Tensor, error)
	Close() error
}

// Backend is the device. It belongs to one goroutine; program order is execution order.
type Backend interface {
	Props() Props
	// Precision resolves a --dtype ("auto", "float32", "bfloat16", "float16", "q8", "q4") for a checkpoint that mostly
	// stores the given type. The error names what this device does not have.
	Precision(dtype string, stored DType) (Precision, error)
	Load(component string, p Precision) Loader

	// NewCache makes a paged cache, NewArena zeroed memory at fixed addresses. Both live until their Close.
	NewCache(CacheSpec) (*Cache, error)
	NewArena(name string, bytes int64) (*Arena, error)

	// Scratch is uninitialised memory of the current scope; Mark opens a scope, Release frees all made since.
	Scratch(rows, cols int, t DType) Tensor
	Mark() Mark
	Release(Mark)

	// Upload copies a []float32, []int32 or []uint8 into dst, which may be strided; src is free on return.
	Upload(dst Tensor, src any)
	// Download copies src into a []float32, []int32 or []uint8 once it is computed.
	Download(dst any, src Tensor) error
	Sync() error
	// Fetch starts to copy src to the host, behind what was asked for before; its Wait does not wait for what comes after.
	Fetch(src Tensor) *Fetched
	// Record runs a step once and keeps it for Run. A step reads and writes memory of Arenas and Caches and scratch of its
	// own scopes, and what it launches depends on shapes alone: not on lengths, positions or tokens.
	Record(step func()) (*Graph, error)
	Run(*Graph)
	// While bounds the ops that follow by what they are for: wanted is asked every few milliseconds, on the calling
	// goroutine. Once it is false ops do nothing, and Sync and Download return ErrAbandoned, until While is called again.
	// nil is no bound. So a forward pass that nobody waits for any more ends in the middle of a layer.
	While(wanted func() bool)
	Ledger() Ledger
	Close() error

	// Linear is act(xWᵀ+b): [T,K] -> [T,N].
	Linear(x Tensor, w *Linear) Tensor
	// NormLinear is act(n(x)Wᵀ+b).
	NormLinear(x Tensor, n *Norm, w *Linear) Tensor
	// LinearAdd is x += yWᵀ+b.
	LinearAdd(x, y Tensor, w *Linear)
	// LinearAddNorm is x = n(x + yWᵀ+b).
	LinearAddNorm(x, y Tensor, w *Linear, n *Norm)
	// LinearNormAdd is x += n(yWᵀ+b), the product kept in float32.
	LinearNormAdd(x, y Tensor, w *Linear, n *Norm)
	// Embed looks up ids I32 [T,1] -> [T,H]; an id of -1 has no word row.
	Embed(ids Tensor, s *Sequences, t *Table) Tensor
	// Gather is y[i] = x[rows[i]], rows I32 [m,1]; -1 gives a row of zeros.
	Gather(x, rows Tensor) Tensor
	// Pool reduces rows [a,b) of x to one row for each of ranges I32 [m,2] (PoolWeighted: [m,3]) -> F32 [m,H]. An empty
	// range gives zeros.
	Pool(x, ranges Tensor, how Pooling) Tensor
	// Norm is n(x) for every row.
	Norm(x Tensor, n *Norm) Tensor
	// Angles fills s.Angles with one tensor for each rotary: cos and sin of Pos·Freqs, the product in float32.
	Angles(s *Sequences, r ...*Rotary)
	// Attention is softmax(Cap(Scale·qkᵀ) + Bias, masked)·v for each sequence and head: q [T, Heads·Dim],
	// k and v [T, KVHeads·Dim] -> [T, Heads·Dim]. Query head h reads key head h·KVHeads/Heads.
	//
	// With s.Cache the rows are a sequence's rows Past, Past+1, ...: their keys, normed and rotated, and values are first
	// written to layer a.Layer of the cache, and the queries see all rows that are there by then. Row i of a sequence that
	// is computed whole, in pieces, or one by one has the same bits within a phase; on the cpu in both.
	Attention(q, k, v Tensor, s *Sequences, a *Attn) Tensor
	// CopyBlocks copies blocks of all layers, from[i] to to[i].
	CopyBlocks(c *Cache, from, to []int32)
	// Sample chooses a token for each row of logits F32 [n, Vocab] as Sampling says, for the first n rows of p, and moves
	// the sequences on: Pos and Past of s rise by one. A nil s stays.
	Sample(logits Tensor, s *Sequences, p *Sampling)
}

// Props describes the device.
type Props struct {
	Name        string // for people: "cpu avx512+bf16+vnni, 2 threads"
	Device      string // "cpu", "cuda:0"
	Memory      int64  // bytes
	BatchTokens int    // tokens worth running together
	CacheBlock  int    // rows of one block of a paged cache
	CacheMemory int64  // bytes that a cache may take, by what is free now
	// Buckets are the numbers of rows, ascending, for which decode steps are recorded; nil where any will do.
	Buckets []int
	// Behind says that work is still under way when an op returns, so that a step is worth starting before the host has
	// seen the one before.
	Behind bool
	// OnePhase says that a row has the same bits in both phases.
	OnePhase bool
}

// Ledger is the memory held, in bytes. All of it but Scratch is zero once Loaders, caches and arenas are closed, and
// Scratch after the backend's Close.
type Ledger struct{ Weights, Scratch, Cache, Arena int64 }
