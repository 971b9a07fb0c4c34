package golden

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Matrix products of one warp and of a warpgroup.
//
// A tensor core adds the accumulator and some of the products at once: it aligns them with the largest of them, cuts off
// what lies below about 24 bits, and cuts the sum off too (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA
// tensor cores, PeerJ CS 7:e330, 2021). How many products go into one sum differs: 4 on Volta, 8 on Ampere, 16 on Hopper.
// With sums of at least four, a result of k products is off by at most k + k/4 addends and k/4 sums that were cut, each
// below 2^-23 of the largest number that occurs. The emulator, which rounds every addition to nearest, is well within.
const truncating = "truncating summation: (3k/2) 2^-23 of the largest addend or partial sum"

// operands are those of d = a b + c: a [m,k] and b [n,k] by rows, c [m,n].
type operands struct {
	m, n, k int
	format  Format
	a, b, c []float64
}

// The kinds of rows that a product has in turn.
const (
	rowNormal     = iota
	rowDominated  // the accumulator is large against the products
	rowCancelling // accumulator and products nearly cancel
	rowSubnormal  // elements and accumulators below the smallest normal number
	rowExact      // small integers, whose sum is exact however it is added
	rowSpecial    // an infinity or a NaN
	rowKinds
)

func randomOperands(r *rand.Rand, m, n, k int, f Format) *operands {
	o := &operands{m, n, k, f, make([]float64, m*k), make([]float64, n*k), make([]float64, m*n)}
	for i := range o.b {
		if o.b[i] = f.round(r.NormFloat64()); i/k%2 == 1 { // every other column is of integers
			o.b[i] = float64(r.IntN(15) - 7)
		}
	}
	least := math.Ldexp(1, -24) // of f16
	if f == BF16 {
		least = math.Ldexp(1, -133)
	}
	for i := range m {
		kind := i % rowKinds
		for j := range k {
			v := r.NormFloat64()
			switch kind {
			case rowSubnormal:
				v = least * float64(r.IntN(200)-100)
			case rowExact:
				v = float64(r.IntN(31) - 15)
			}
			o.a[i*k+j] = f.round(v)
		}
		if kind == rowSpecial {
			special := []float64{math.Inf(1), math.Inf(-1), math.NaN()}[i/rowKinds%3]
			o.a[i*k+r.IntN(k)] = special
		}
		for j := range n {
			v := r.NormFloat64()
			switch kind {
			case rowDominated:
				v = math.Ldexp(v, 5+r.IntN(20))
			case rowCancelling:
				v = -o.dot(i, j) * (1 + v*0x1p-18)
			case rowSubnormal:
				v *= 0x1p-140
			case rowExact:
				v = float64(r.IntN(2001) - 1000)
			}
			o.c[i*n+j] = float64(float32(v))
		}
	}
	return o
}

func (o *operands) dot(i, j int) float64 {
	var s float64
	for k := range o.k {
		s += o.a[i*o.k+k] * o.b[j*o.k+k]
	}
	return s
}

// value is element [i, j] of the product, by float64.
func (o *operands) value(i, j int) Value {
	sum := o.c[i*o.n+j]
	largest := math.Abs(sum)
	for k := range o.k {
		p := o.a[i*o.k+k] * o.b[j*o.k+k]
		sum += p
		largest = max(largest, math.Abs(p), math.Abs(sum))
	}
	v := Value{Want: sum, Error: 1.5 * float64(o.k) * max(largest*0x1p-23, 0x1p-149)}
	if i%rowKinds == rowExact && j%2 == 1 { // integers times integers
		v.Error = 0
	}
	return v
}

// pair is two neighbours in a row of a or b as a register has them.
func (o *operands) pair(x []float64, row, k int) uint32 {
	return uint32(o.format.encode16(x[row*o.k+k])) | uint32(o.format.encode16(x[row*o.k+k+1]))<<16
}

func typeName(f Format) string {
	if f == BF16 {
		return "bf16"
	}
	return "f16"
}

func products() []Vector {
	return []Vector{
		product(8, F16, "sm_75", "6.5"),
		product(16, F16, "sm_80", "7.0"),
		product(8, BF16, "sm_80", "7.0"),
		product(16, BF16, "sm_80", "7.0"),
	}
}

// product is mma.sync of 16 rows and 8 columns, in the fragments of the PTX ISA (matrix fragments of mma.m16n8k8 and
// m16n8k16): lane l has of a, for each 8 columns from q, the pair (l/4, q + 2(l%4)) and the one 8 rows below; of b, for
// each 8 k from q, the pair of column l/4 at k q + 2(l%4); of c and d the pair (l/4, 2(l%4)) and the one 8 rows below.
func product(k int, f Format, target, ptx string) Vector {
	r := rand.New(rand.NewPCG(uint64(k), uint64(f)))
	na, nb := k/4, k/8
	input := make([][]uint32, na+nb+4)
	var want []Value
	for range 12 {
		o := randomOperands(r, 16, 8, k, f)
		for l := range 32 {
			row, col := l/4, l%4*2
			var w []uint32
			for q := range na {
				w = append(w, o.pair(o.a, row+q%2*8, q/2*8+col))
			}
			for q := range nb {
				w = append(w, o.pair(o.b, row, q*8+col))
			}
			for e := range 4 {
				i, j := row+e/2*8, col+e%2
				w = append(w, math.Float32bits(float32(o.c[i*8+j])))
				want = append(want, o.value(i, j))
			}
			for i, x := range w {
				input[i] = append(input[i], x)
			}
		}
	}
	t := typeName(f)
	op := fmt.Sprintf("mma.sync.aligned.m16n8k%d.row.col.f32.%s.%s.f32", k, t, t)
	return lanes(Vector{Name: op, Target: target, Threads: 32, Format: F32, Want: want, Bound: truncating},
		kernel{ptx: ptx, out: 4, body: fmt.Sprintf("%s %s, %s, %s, %s;", op,
			registers("o", 0, 4), registers("i", 0, na), registers("i", na, nb), registers("i", na+nb, 4))}, input...)
}

// swizzle128 is where byte x of a tile with rows of 128 bytes lies: chunks of 16 bytes are exchanged by the row's number
// (PTX ISA, swizzle modes).
func swizzle128(x int) int { return x ^ x>>7&7<<4 }

func groupProducts() []Vector {
	return []Vector{
		groupProduct(128, 0, F16), groupProduct(128, 1, BF16), // step: which 16 of a row's 64
		groupProduct(256, 3, F16), groupProduct(256, 2, BF16),
	}
}

// groupProduct is wgmma of 64 rows and n columns from tiles whose rows of 64 elements are swizzled by 128 bytes as TMA
// leaves them: eight rows after eight others 1024 bytes away. The product uses 16 of the 64, from 16 step. Thread t of the
// warpgroup has of d, for each 8 columns from q, the pair (16(t/32) + t%32/4, q + 2(t%4)) and the one 8 rows below.
func groupProduct(n, step int, f Format) Vector {
	r := rand.New(rand.NewPCG(uint64(n), uint64(f)))
	o := randomOperands(r, 64, n, 16, f)
	shared := make([]byte, (64+n)*128)
	for i := range len(shared) / 2 { // what the product must not read
		h := f.encode16(f.round(r.NormFloat64()))
		shared[2*i], shared[2*i+1] = byte(h), byte(h>>8)
	}
	place := func(base int, x []float64, rows int) {
		for i := range rows * 16 {
			h := f.encode16(x[i])
			at := base + swizzle128(i/16*128+step*32+i%16*2)
			shared[at], shared[at+1] = byte(h), byte(h>>8)
		}
	}
	place(0, o.a, 64)
	place(64*128, o.b, n)

	const threads = 128
	part := len(shared) / threads / 4 // words that a thread copies to shared memory
	acc := n / 2
	var input []byte
	want := make([]Value, 0, threads*acc)
	for t := range threads {
		input = append(input, shared[4*part*t:4*part*(t+1)]...)
		var c []uint32
		for e := range acc {
			i, j := t/32*16+t%32/4+e/2%2*8, e/4*8+t%4*2+e%2
			c = append(c, math.Float32bits(float32(o.c[i*n+j])))
			want = append(want, o.value(i, j))
		}
		input = append(input, words(c)...)
	}

	t := typeName(f)
	op := fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s", n, t, t)
	body := fmt.Sprintf("mul.lo.u32 %%t0, %%thread, %d;\nadd.u32 %%t0, %%t0, %%smem;\n", 4*part)
	for i := 0; i < part; i += 4 {
		body += fmt.Sprintf("st.shared.v4.b32 [%%t0+%d], %s;\n", 4*i, registers("i", i, 4))
	}
	for i := range acc {
		body += fmt.Sprintf("mov.b32 %%o%d, %%i%d;\n", i, part+i)
	}
	// A descriptor is the address, the distance of rows eight apart and the kind of swizzle (1: 128 bytes), in units of
	// 16 bytes; the distance along k means nothing within a swizzled row and is 1.
	body += fmt.Sprintf(`fence.proxy.async.shared::cta;
bar.sync 0;
cvt.u64.u32 %%d0, %%smem;
shr.u64 %%d0, %%d0, 4;
or.b64 %%d0, %%d0, %d;
add.u64 %%d0, %%d0, %d;
add.u64 %%d1, %%d0, 512;
setp.eq.u32 %%p0, 0, 0;
wgmma.fence.sync.aligned;
%s %s, %%d0, %%d1, %%p0, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;`, uint64(1)<<62|64<<32|1<<16, 2*step, op, registers("o", 0, acc))
	return Vector{
		Name: op, Target: "sm_90a", Blocks: 1, Threads: threads, Input: input, Format: F32, Want: want, Bound: truncating,
		PTX: kernel{target: "sm_90a", ptx: "8.0", in: part + acc, out: acc, shared: len(shared), body: body}.text(),
	}
}
