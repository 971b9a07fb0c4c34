package golden

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Instructions by which the lanes of a warp exchange words, and the loads and stores of 8x8 matrices.

func warps() []Vector {
	r := rand.New(rand.NewPCG(35, 36))
	const moved = "the same bits"
	var all []Vector
	for _, mode := range []string{"up", "down", "bfly", "idx"} {
		all = append(all, shuffle(r, mode))
	}

	values := make([]uint32, 16*32)
	for i := range values {
		values[i] = r.Uint32N(5) * r.Uint32N(2) // some lanes alike, half of them 0
	}
	// reduce is a vector whose lanes all get what f makes of the warp's values.
	reduce := func(name, target, ptx, body string, f func(v []uint32, lane int) uint32) {
		want := make([]float64, len(values))
		for i := range want {
			want[i] = float64(f(values[i&^31:i&^31+32], i&31))
		}
		all = append(all, lanes(Vector{Name: name, Target: target, Threads: 32, Format: Word, Want: exact(want), Bound: moved},
			kernel{ptx: ptx, out: 1, body: body}, values))
	}
	ballot := func(v []uint32, is func(uint32) bool) (m uint32) {
		for i, x := range v {
			if is(x) {
				m |= 1 << i
			}
		}
		return m
	}
	reduce("vote.sync.ballot.b32", "sm_75", "6.5", "setp.ne.u32 %p0, %i0, 0;\nvote.sync.ballot.b32 %o0, %p0, 0xffffffff;",
		func(v []uint32, _ int) uint32 { return ballot(v, func(x uint32) bool { return x != 0 }) })
	reduce("match.any.sync.b32", "sm_75", "6.5", "match.any.sync.b32 %o0, %i0, 0xffffffff;",
		func(v []uint32, lane int) uint32 { return ballot(v, func(x uint32) bool { return x == v[lane] }) })
	reduce("redux.sync.add.u32", "sm_80", "7.0", "redux.sync.add.u32 %o0, %i0, 0xffffffff;", func(v []uint32, _ int) (s uint32) {
		for _, x := range v {
			s += x
		}
		return s
	})

	for _, transposed := range []bool{false, true} {
		all = append(all, loadMatrices(r, transposed), storeMatrices(r, transposed))
	}
	for i := range all {
		all[i].Bound = moved
	}
	return all
}

// shuffle is shfl.sync with whole warps and with parts of 8 lanes; each lane asks for a lane of its own. Lane i of the
// second output has whether its source was in range. The rule is the pseudocode of the PTX ISA, shfl.sync.
func shuffle(r *rand.Rand, mode string) Vector {
	const n = 16 * 32
	a, b, c := make([]uint32, n), make([]uint32, n), make([]uint32, n)
	want := make([]float64, 0, 2*n)
	for i := range n {
		a[i], b[i] = r.Uint32(), r.Uint32N(32)
		clamp := 31
		if mode == "up" {
			clamp = 0
		}
		segment := i / 32 % 2 * 24 // 24 cuts the warp into parts of 8 lanes
		c[i] = uint32(segment<<8 | clamp)
	}
	for i := range n {
		lane, to, segment, clamp := i&31, int(b[i]), int(c[i]>>8), int(c[i]&31)
		first := lane & segment
		last := first | clamp&^segment
		from, ok := lane^to, false
		switch mode {
		case "up":
			from = lane - to
			ok = from >= last
		case "down":
			from = lane + to
			ok = from <= last
		case "idx":
			from = first | to&^segment
			ok = from <= last
		default:
			ok = from <= last
		}
		p := 1.0
		if !ok {
			from, p = lane, 0
		}
		want = append(want, float64(a[i&^31+from]), p)
	}
	op := "shfl.sync." + mode + ".b32"
	return lanes(Vector{Name: op, Target: "sm_75", Threads: 32, Format: Word, Want: exact(want)},
		kernel{ptx: "6.5", out: 2, body: op + " %o0|%p0, %i0, %i1, %i2, 0xffffffff;\nselp.b32 %o1, 1, 0, %p0;"}, a, b, c)
}

// matrices are four 8x8 matrices of 16-bit elements, by matrix, row and column, and where their rows lie in shared
// memory: row 8q+i is the one whose address lane 8q+i gives.
type matrices struct {
	element [4][8][8]uint16
	at      [32]uint32
}

func randomMatrices(r *rand.Rand) *matrices {
	m := &matrices{}
	for i := range 4 * 8 * 8 {
		m.element[i/64][i/8%8][i%8] = uint16(r.Uint32())
	}
	for i, p := range r.Perm(32) {
		m.at[i] = uint32(16 * p)
	}
	return m
}

// pair is what lane l has of matrix q: elements (l/4, 2(l%4)) and the next in its row or, transposed, in its column.
func (m *matrices) pair(q, l int, transposed bool) uint32 {
	row, col := l/4, l%4*2
	if transposed {
		return uint32(m.element[q][col][row]) | uint32(m.element[q][col+1][row])<<16
	}
	return uint32(m.element[q][row][col]) | uint32(m.element[q][row][col+1])<<16
}

// row is the four words of row i of all 32.
func (m *matrices) row(i int) [4]uint32 {
	var w [4]uint32
	for c, x := range m.element[i/8][i%8] {
		w[c/2] |= uint32(x) << (c % 2 * 16)
	}
	return w
}

// form is ldmatrix's and stmatrix's name with its modifiers.
func form(op string, transposed bool) string {
	s := op + ".sync.aligned.m8n8.x4.shared.b16"
	if transposed {
		s = strings.Replace(s, ".shared", ".trans.shared", 1)
	}
	return s
}

func loadMatrices(r *rand.Rand, transposed bool) Vector {
	op := form("ldmatrix", transposed)
	var operands [5][]uint32
	var want []float64
	for range 4 {
		m := randomMatrices(r)
		for l := range 32 {
			for i, w := range m.row(l) {
				operands[i] = append(operands[i], w)
				want = append(want, float64(m.pair(i, l, transposed)))
			}
			operands[4] = append(operands[4], m.at[l])
		}
	}
	return lanes(Vector{Name: op, Target: "sm_75", Threads: 32, Format: Word, Want: exact(want)},
		kernel{ptx: "6.5", out: 4, shared: 512, body: fmt.Sprintf(`add.u32 %%t0, %%smem, %%i4;
st.shared.v4.b32 [%%t0], {%%i0,%%i1,%%i2,%%i3};
bar.warp.sync 0xffffffff;
%s {%%o0,%%o1,%%o2,%%o3}, [%%t0];`, op)}, operands[:]...)
}

func storeMatrices(r *rand.Rand, transposed bool) Vector {
	op := form("stmatrix", transposed)
	var operands [5][]uint32
	var want []float64
	for range 4 {
		m := randomMatrices(r)
		for l := range 32 {
			for q, w := range m.row(l) {
				operands[q] = append(operands[q], m.pair(q, l, transposed))
				want = append(want, float64(w))
			}
			operands[4] = append(operands[4], m.at[l])
		}
	}
	return lanes(Vector{Name: op, Target: "sm_90", Threads: 32, Format: Word, Want: exact(want)},
		kernel{ptx: "7.8", out: 4, shared: 512, body: fmt.Sprintf(`add.u32 %%t0, %%smem, %%i4;
%s [%%t0], {%%i0,%%i1,%%i2,%%i3};
bar.warp.sync 0xffffffff;
ld.shared.v4.b32 {%%o0,%%o1,%%o2,%%o3}, [%%t0];`, op)}, operands[:]...)
}
