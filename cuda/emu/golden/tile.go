package golden

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"remote-client-server/cuda"
)

// Copies to shared memory that are done in the background.

func tiles() []Vector {
	all := []Vector{asyncCopy()}
	for _, s := range []cuda.Swizzle{cuda.SwizzleNone, cuda.Swizzle128} {
		all = append(all, tensorCopy(s))
	}
	return all
}

// asyncCopy is cp.async of 16 bytes, of which a thread gives 0 to 16 and the rest become zeros.
func asyncCopy() Vector {
	r := rand.New(rand.NewPCG(37, 38))
	const threads = 64
	operands := make([][]uint32, 8)
	var want []float64
	for t := range threads {
		size := t % 17
		for i := range operands {
			x := r.Uint32() // the size is followed by nothing, for the alignment
			if i == 4 {
				x = uint32(size)
			}
			operands[i] = append(operands[i], x)
			if i < 4 {
				kept := min(max(size-4*i, 0), 4)
				want = append(want, float64(uint64(x)&(1<<(8*kept)-1)))
			}
		}
	}
	return lanes(Vector{Name: "cp.async.cg.shared.global", Target: "sm_80", Threads: threads, Format: Word, Want: exact(want), Bound: "the same bits"},
		kernel{ptx: "7.0", out: 4, shared: 16 * threads, body: `shl.b32 %t0, %thread, 4;
add.u32 %t0, %t0, %smem;
cp.async.cg.shared.global [%t0], [%source], 16, %i4;
cp.async.commit_group;
cp.async.wait_group 0;
ld.shared.v4.b32 {%o0,%o1,%o2,%o3}, [%t0];`}, operands...)
}

// tensorCopy is a copy by tensor map of boxes of 16 rows and 64 columns of 16-bit elements: one within the tensor, and
// others that stick out of it on each side or lie outside. The tensor's rows have a gap between them, which is no part of
// it either.
func tensorCopy(swizzle cuda.Swizzle) Vector {
	const (
		rows, cols, stride = 20, 80, 96
		boxRows, boxCols   = 16, 64
	)
	r := rand.New(rand.NewPCG(39, 40))
	var data []byte
	for range rows * stride {
		data = binary.LittleEndian.AppendUint16(data, uint16(r.Uint32()|1)) // never 0
	}
	spec := cuda.TensorMapSpec{Type: cuda.TensorMapUint16, Rank: 2, Swizzle: swizzle}
	spec.Dims[0], spec.Dims[1] = cols, rows
	spec.Strides[0] = 2 * stride
	spec.Box[0], spec.Box[1] = boxCols, boxRows
	at := func(x int) int { return x }
	name := ""
	if swizzle == cuda.Swizzle128 {
		at, name = swizzle128, " swizzled by 128 bytes"
	}

	const threads = boxRows * boxCols * 2 / 16
	operands := make([][]uint32, 2)
	var want []float64
	for _, corner := range [][2]int{{0, 0}, {8, 4}, {-8, -3}, {40, 12}, {-63, 19}, {80, 0}} { // column, row
		box := make([]byte, boxRows*boxCols*2)
		for i := range boxRows * boxCols {
			row, col := corner[1]+i/boxCols, corner[0]+i%boxCols
			if row >= 0 && row < rows && col >= 0 && col < cols {
				copy(box[at(2*i):][:2], data[2*(row*stride+col):])
			}
		}
		for i := 0; i < len(box); i += 4 {
			want = append(want, float64(binary.LittleEndian.Uint32(box[i:])))
		}
		for range threads {
			operands[0], operands[1] = append(operands[0], uint32(int32(corner[0]))), append(operands[1], uint32(int32(corner[1])))
		}
	}
	op := "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
	v := lanes(Vector{Name: op + name, Target: "sm_90", Threads: threads, Format: Word, Want: exact(want), Bound: "the same bits"},
		kernel{ptx: "8.0", out: 4, shared: boxRows*boxCols*2 + 8, tensor: true, body: fmt.Sprintf(`add.u32 %%t1, %%smem, %d;
setp.eq.u32 %%p0, %%thread, 0;
@%%p0 mbarrier.init.shared::cta.b64 [%%t1], 1;
@%%p0 fence.mbarrier_init.release.cluster;
bar.sync 0;
mov.b64 %%d0, tensor;
cvta.param.u64 %%d0, %%d0;
@%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%t1], %d;
@%%p0 %s [%%smem], [%%d0, {%%i0,%%i1}], [%%t1];
WAIT: mbarrier.try_wait.parity.shared::cta.b64 %%p1, [%%t1], 0;
@!%%p1 bra WAIT;
shl.b32 %%t0, %%thread, 4;
add.u32 %%t0, %%t0, %%smem;
ld.shared.v4.b32 {%%o0,%%o1,%%o2,%%o3}, [%%t0];`, boxRows*boxCols*2, boxRows*boxCols*2, op)}, operands...)
	v.Tensor = &Tensor{Spec: spec, Data: data}
	return v
}
