package emu

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// words runs a body with one block of the given threads; %d3 is the address of the thread's word in q, %r4 its result,
// which is stored there. It returns the words.
func words(t *testing.T, target string, threads int, body string) []uint32 {
	t.Helper()
	d := newDevice(t, target)
	k := compile(t, target, "mul.wide.u32 %d2, %r0, 4; add.u64 %d3, %d1, %d2; mov.u32 %r30, smem; mov.u32 %r20, bar; shl.b32 %r1, %r0, 2; add.u32 %r2, %r30, %r1;\n"+
		body+"\nst.global.u32 [%d3], %r4;")
	q := d.alloc(4 * threads)
	in := make([]byte, 4*threads)
	for i := range threads {
		binary.LittleEndian.PutUint32(in[4*i:], uint32(i*i+1))
	}
	d.run(k, Launch{Block: [3]int{threads}}, d.upload(in), q)
	out := d.download(q, 4*threads)
	r := make([]uint32, threads)
	for i := range r {
		r[i] = binary.LittleEndian.Uint32(out[4*i:])
	}
	return r
}

func TestWarpInstructions(t *testing.T) {
	odd := uint32(0xaaaaaaaa)
	for _, c := range []struct {
		name, body string
		want       func(lane int) uint32
	}{
		{"shfl up stops at the first lane", "shfl.sync.up.b32 %r4, %r0, 3, 0, 0xffffffff;", func(l int) uint32 {
			if l < 3 {
				return uint32(l)
			}
			return uint32(l - 3)
		}},
		{"shfl down in segments of eight", "shfl.sync.down.b32 %r4, %r0, 2, 0x181f, 0xffffffff;", func(l int) uint32 {
			if l%8 > 5 {
				return uint32(l)
			}
			return uint32(l + 2)
		}},
		{"shfl bfly", "shfl.sync.bfly.b32 %r4, %r0, 21, 31, 0xffffffff;", func(l int) uint32 { return uint32(l ^ 21) }},
		{"shfl idx with its predicate", "shfl.sync.idx.b32 %r5|%p1, %r0, 7, 3, 0xffffffff; selp.u32 %r4, 1, 0, %p1;", func(l int) uint32 { return 0 }},
		{"ballot", "and.b32 %r5, %r0, 1; setp.eq.u32 %p1, %r5, 1; vote.sync.ballot.b32 %r4, %p1, 0xffffffff;", func(int) uint32 { return odd }},
		{"vote all and any", "setp.lt.u32 %p1, %r0, 40; vote.sync.all.pred %p2, %p1, 0xffffffff; setp.gt.u32 %p1, %r0, 30; vote.sync.any.pred %p3, %p1, 0xffffffff; and.pred %p2, %p2, %p3; selp.u32 %r4, 1, 0, %p2;",
			func(int) uint32 { return 1 }},
		{"match any", "shr.u32 %r5, %r0, 3; match.any.sync.b32 %r4, %r5, 0xffffffff;", func(l int) uint32 { return 0xff << (l &^ 7) }},
		{"redux add", "redux.sync.add.s32 %r4, %r0, 0xffffffff;", func(int) uint32 { return 496 }},
		{"redux min in half a warp", "mov.u32 %r4, 99; setp.ge.u32 %p1, %r0, 16; @%p1 redux.sync.min.u32 %r4, %r0, 0xffff0000;", func(l int) uint32 {
			if l < 16 {
				return 99
			}
			return 16
		}},
		{"activemask in both sides of a branch", "setp.lt.u32 %p1, %r0, 10; @%p1 bra A; activemask.b32 %r4; bra B; A: activemask.b32 %r4; B: add.u32 %r4, %r4, 0;", func(l int) uint32 {
			if l < 10 {
				return 0x3ff
			}
			return ^uint32(0x3ff)
		}},
		{"lanes meet behind a branch", "setp.lt.u32 %p1, %r0, 10; @%p1 bra A; mov.u32 %r5, 1; bra B; A: mov.u32 %r5, 2; B: activemask.b32 %r4;", func(int) uint32 { return math.MaxUint32 }},
		{"a loop of different length for every lane", "mov.u32 %r4, 0; mov.u32 %r5, 0; L: add.u32 %r4, %r4, %r5; add.u32 %r5, %r5, 1; setp.le.u32 %p1, %r5, %r0; @%p1 bra L; activemask.b32 %r6; not.b32 %r6, %r6; add.u32 %r4, %r4, %r6;",
			func(l int) uint32 { return uint32(l * (l + 1) / 2) }},
		{"lanes that leave by a later block", "mov.u32 %r4, 1; st.global.u32 [%d3], %r4; setp.ge.u32 %p1, %r0, 20; @%p1 bra OUT; bar.sync 0; shfl.sync.bfly.b32 %r4, %r0, 1, 31, 0xffffffff; bra GO; OUT: exit; GO:", func(l int) uint32 {
			if l >= 20 {
				return 1
			}
			return uint32(l ^ 1)
		}},
		{"a shuffle that waits for lanes to leave", "mov.u32 %r4, 1; st.global.u32 [%d3], %r4; setp.ge.u32 %p1, %r0, 20; @%p1 bra OUT; shfl.sync.bfly.b32 %r4, %r0, 1, 31, 0xffffffff; bra GO; OUT: exit; GO:", func(l int) uint32 {
			if l >= 20 {
				return 1
			}
			return uint32(l ^ 1)
		}},
		{"branch table", "rem.u32 %r5, %r0, 3; T: .branchtargets A, B, C; brx.idx %r5, T; A: mov.u32 %r4, 10; bra E; B: mov.u32 %r4, 11; bra E; C: mov.u32 %r4, 12; E:", func(l int) uint32 { return 10 + uint32(l%3) }},
		{"a lane waits for another of its warp", "setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [%r20], 1; bar.sync 0; @!%p1 bra A; W: mbarrier.test_wait.parity.shared.b64 %p2, [%r20], 0; @!%p2 bra W; bra E; A: setp.eq.u32 %p3, %r0, 5; @%p3 mbarrier.arrive.shared.b64 %d9, [%r20]; E: mov.u32 %r4, 1;",
			func(int) uint32 { return 1 }},
		{"special registers", "mov.u32 %r4, %laneid; mov.u32 %r5, %lanemask_lt; popc.b32 %r5, %r5; sub.u32 %r4, %r4, %r5; mov.u32 %r5, %ntid.x; add.u32 %r4, %r4, %r5;", func(int) uint32 { return 32 }},
		{"shared atomics return the order", "st.shared.u32 [smem], 100; bar.sync 0; atom.shared.add.u32 %r4, [smem], 1;", func(l int) uint32 { return 100 + uint32(l) }},
		{"compare and swap", "st.shared.u32 [smem], 3; bar.sync 0; add.u32 %r6, %r0, 50; atom.shared.cas.b32 %r4, [smem], %r0, %r6;", func(l int) uint32 {
			if l <= 3 {
				return 3
			}
			return 53
		}},
		{"movmatrix", "shl.b32 %r5, %r0, 17; shl.b32 %r6, %r0, 1; add.u32 %r6, %r6, 0x10000; add.u32 %r5, %r5, %r6; movmatrix.sync.aligned.m8n8.trans.b16 %r4, %r5;", func(l int) uint32 {
			row, col := l/4, l%4*2 // element (i, j) is 8i + j
			return uint32(8*col+row) | uint32(8*(col+1)+row)<<16
		}},
		{"ldmatrix of what stmatrix wrote", "mul.lo.u32 %r5, %r0, 3; mul.lo.u32 %r6, %r0, 16; add.u32 %r7, %r30, %r6; setp.lt.u32 %p1, %r0, 8; add.u32 %r9, %r5, 7; add.u32 %r10, %r5, 8; add.u32 %r11, %r5, 9; " +
			"mov.u32 %r12, 0; st.shared.v4.u32 [%r7], {%r12,%r12,%r12,%r12}; mul.lo.u32 %r13, %r0, 4; add.u32 %r14, %r30, %r13; bar.sync 0; st.shared.u32 [%r14], %r0; st.shared.u32 [%r14+128], %r5; st.shared.u32 [%r14+256], %r9; st.shared.u32 [%r14+384], %r10; bar.sync 0; " +
			"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r15, %r16, %r17, %r18}, [%r7]; add.u32 %r4, %r15, %r18;", func(l int) uint32 { return uint32(l) + uint32(3*l+8) }},
		{"local arrays and generic addresses", "mov.u64 %d5, loc; cvta.local.u64 %d6, %d5; st.u32 [%d6+8], %r0; ld.local.u32 %r4, [%d5+8]; isspacep.local %p1, %d6; @!%p1 mov.u32 %r4, 77;", func(l int) uint32 { return uint32(l) }},
		{"elect", "elect.sync %r4|%p1, 0xffffffff; @%p1 add.u32 %r4, %r4, 5;", func(l int) uint32 { return uint32(5 * b2i(l == 0)) }},
		{"barrier reductions", "setp.lt.u32 %p1, %r0, 7; bar.red.popc.u32 %r4, 0, %p1; bar.red.or.pred %p2, 0, %p1; selp.u32 %r5, 100, 0, %p2; add.u32 %r4, %r4, %r5;", func(int) uint32 { return 107 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for l, got := range words(t, "sm_90a", 32, c.body) {
				if got != c.want(l) {
					t.Fatalf("lane %d gives %#x, want %#x", l, got, c.want(l))
				}
			}
		})
	}
}

func TestNamedBarriersAmongSomeWarps(t *testing.T) {
	// Warps 0 and 1 hand a value over at barrier 1; warps 2 and 3 never see it.
	got := words(t, "sm_80", 128, "mov.u32 %r4, 0; setp.ge.u32 %p1, %r0, 64; @%p1 bra E; setp.ge.u32 %p2, %r0, 32; @%p2 bra C; st.shared.u32 [%r2], %r0; bar.arrive 1, 64; bra E; C: bar.sync 1, 64; ld.shared.u32 %r4, [%r2+-128]; E: bar.sync 0;")
	for i, v := range got {
		if want := uint32(max(i-32, 0)); i < 64 && i >= 32 && v != want || (i < 32 || i >= 64) && v != 0 {
			t.Fatalf("thread %d has %d", i, v)
		}
	}
}

func TestCalls(t *testing.T) {
	src := strings.Replace(text("sm_80", `add.u64 %d1, %d1, 0; { .param .b32 a; .param .b32 r; st.param.b32 [a], %r0; call.uni (r), square, (a); ld.param.b32 %r4, [r]; }
mul.wide.u32 %d2, %r0, 4; add.u64 %d3, %d1, %d2; st.global.u32 [%d3], %r4;`), ".visible .entry", `.func (.param .b32 out) square(.param .b32 x) {
.reg .b32 %r<4>; .reg .pred %p<2>;
ld.param.b32 %r1, [x];
setp.gt.u32 %p1, %r1, 20;
mul.lo.u32 %r2, %r1, %r1;
st.param.b32 [out], %r2;
@%p1 bra BIG;
ret;
BIG: st.param.b32 [out], 1000;
ret;
}
.visible .entry`, 1)
	m, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, "sm_80")
	q := d.alloc(128)
	d.run(k, Launch{Block: [3]int{32}}, q, q)
	for i, b := 0, d.download(q, 128); i < 32; i++ {
		want := uint32(i * i)
		if i > 20 {
			want = 1000
		}
		if got := binary.LittleEndian.Uint32(b[4*i:]); got != want {
			t.Errorf("thread %d: %d, want %d", i, got, want)
		}
	}
}

func TestModuleVariables(t *testing.T) {
	src := strings.Replace(text("sm_80", `mul.wide.u32 %d2, %r0, 4; add.u64 %d3, %d1, %d2; and.b32 %r5, %r0, 3; mul.wide.u32 %d4, %r5, 4; mov.u64 %d5, table; add.u64 %d5, %d5, %d4; ld.const.u32 %r4, [%d5];
ld.global.u64 %d6, [pointer]; ld.global.u32 %r6, [%d6]; add.u32 %r4, %r4, %r6; st.global.u32 [%d3], %r4; atom.global.add.u32 %r7, [counter], 1;`),
		".visible .entry", ".const .align 4 .b32 table[4] = {10, 20, 30, 40};\n.global .align 4 .u32 counter = 7;\n.global .align 8 .u64 pointer = generic(table);\n.visible .entry", 1)
	m, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, "sm_80")
	q := d.alloc(128)
	d.run(k, Launch{Block: [3]int{32}}, q, q)
	for i, b := 0, d.download(q, 128); i < 32; i++ {
		if got, want := binary.LittleEndian.Uint32(b[4*i:]), uint32(10*(i%4+1)+10); got != want {
			t.Errorf("thread %d: %d, want %d", i, got, want)
		}
	}
	addr, size, err := d.Global(m, "counter")
	if err != nil || size != 4 {
		t.Fatal(addr, size, err)
	}
	if n := binary.LittleEndian.Uint32(d.download(addr, 4)); n != 39 {
		t.Errorf("counter %d, want 39", n)
	}
	used := d.InUse()
	d.Unload(m)
	if d.InUse() != used-16-4-8 {
		t.Errorf("unloading freed %d bytes", used-d.InUse())
	}
}

func TestAtomicsBetweenBlocks(t *testing.T) {
	d := newDevice(t, "sm_80")
	k := compile(t, "sm_80", "red.global.add.u32 [%d0], 1; cvt.rn.f32.u32 %f1, 1; atom.global.add.f32 %f2, [%d0+4], %f1; red.global.max.s32 [%d0+8], %r0;")
	p := d.upload(make([]byte, 16))
	d.run(k, Launch{Grid: [3]int{50}, Block: [3]int{64}}, p, p)
	b := d.download(p, 12)
	if n, f, m := binary.LittleEndian.Uint32(b), math.Float32frombits(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint32(b[8:]); n != 3200 || f != 3200 || m != 63 {
		t.Errorf("%d, %v, %d; want 3200, 3200, 63", n, f, m)
	}
}

func TestVectorReductions(t *testing.T) {
	d := newDevice(t, "sm_90a")
	k := compile(t, "sm_90a", "mov.f32 %f1, 0f3f800000; mov.f32 %f2, 0f40000000; red.global.add.v4.f32 [%d0], {%f1, %f2, %f1, %f1}; mov.b32 %r1, 0x40003f80; red.global.add.noftz.bf16x2 [%d0+16], %r1; atom.global.exch.b64 %d4, [%d0+24], 5; ld.global.nc.L2::128B.b32 %r2, [%d1];")
	p := d.upload(make([]byte, 32))
	d.run(k, Launch{Block: [3]int{32}}, p, p)
	b := d.download(p, 32)
	for i, want := range []uint32{0x42000000, 0x42800000, 0x42000000, 0x42000000, 0x42804200, 0, 5} {
		if got := binary.LittleEndian.Uint32(b[4*i:]); got != want {
			t.Errorf("word %d is %#x, want %#x", i, got, want)
		}
	}
}

func TestClusters(t *testing.T) {
	// Every block writes its rank into the other's shared memory, and reads its own behind the cluster barrier.
	d := newDevice(t, "sm_90a")
	k := compile(t, "sm_90a", `mov.u32 %r1, %cluster_ctarank; xor.b32 %r2, %r1, 1; mov.u32 %r3, smem; mapa.shared::cluster.u32 %r5, %r3, %r2; add.u32 %r6, %r1, 40;
setp.eq.u32 %p1, %r0, 0; @%p1 st.shared::cluster.u32 [%r5], %r6; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; ld.shared.u32 %r4, [%r3];
mov.u32 %r7, %ctaid.x; mul.wide.u32 %d2, %r7, 4; add.u64 %d3, %d1, %d2; @%p1 st.global.u32 [%d3], %r4;`)
	q := d.alloc(16)
	d.run(k, Launch{Grid: [3]int{4}, Block: [3]int{64}, Cluster: [3]int{2}}, q, q)
	if got, want := d.download(q, 16), []byte{41, 0, 0, 0, 40, 0, 0, 0, 41, 0, 0, 0, 40, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCancelledLaunchStops(t *testing.T) {
	d := newDevice(t, "sm_80")
	k := compile(t, "sm_80", "L: add.u32 %r0, %r0, 1; bra L;")
	params, _ := k.Pack(uint64(0), uint64(0))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Run(ctx, k, Launch{Block: [3]int{32}, Params: params}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Two runs with different numbers of goroutines give the same bytes, counters and faults.
func TestRunsAreDeterministic(t *testing.T) {
	k := readKernel(t, "gemm_mma", "gemm_bf16_mma")
	var first []byte
	var stats *Stats
	for _, workers := range []int{1, 2, 5} {
		d := newDevice(t, "sm_80")
		r := rand.New(rand.NewPCG(15, 16))
		const m, n, q = 200, 200, 64
		pa, pb, pc := d.upload16(normal(r, m*q), asBF16), d.upload16(normal(r, n*q), asBF16), d.alloc(2*m*n)
		s := d.run(k, Launch{Grid: [3]int{2, 2}, Block: [3]int{256}, Shared: 3 * 256 * 64, Workers: workers, Profile: true}, pc, pa, pb, uint64(0), m, n, q)
		out := d.download(pc, 2*m*n)
		if first == nil {
			first, stats = out, s
			continue
		}
		if !bytes.Equal(out, first) || s.Counts != stats.Counts || s.Class != stats.Class || s.Barriers != stats.Barriers {
			t.Errorf("%d workers: results or counters differ", workers)
		}
	}
	bad := compile(t, "sm_80", "mov.u32 %r1, %ctaid.x; setp.ge.u32 %p1, %r1, 7; @%p1 trap;")
	for range 20 {
		d := newDevice(t, "sm_80")
		params, _ := bad.Pack(uint64(0), uint64(0))
		_, err := d.Run(context.Background(), bad, Launch{Grid: [3]int{40}, Block: [3]int{32}, Params: params, Workers: 4})
		var f *Fault
		if !errors.As(err, &f) || f.Block != [3]int{7, 0, 0} {
			t.Fatalf("got %v, want the fault of block 7", err)
		}
	}
}

func TestCounters(t *testing.T) {
	d := newDevice(t, "sm_80")
	// Stride 2 words: 8 sectors instead of 4, and two wavefronts instead of one. The branch halves the lanes of one add.
	k := compile(t, "sm_80", "mul.wide.u32 %d2, %r0, 8; add.u64 %d3, %d0, %d2;\nld.global.u32 %r1, [%d3];\nshl.b32 %r2, %r0, 3; mov.u32 %r3, smem; add.u32 %r3, %r3, %r2;\nst.shared.u32 [%r3], %r1;\nsetp.lt.u32 %p1, %r0, 16;\n@%p1 add.u32 %r1, %r1, 1;")
	p := d.upload(make([]byte, 4096))
	s := d.run(k, Launch{Grid: [3]int{3}, Block: [3]int{64}, Profile: true}, p, p)
	if s.Requests != 6 || s.Sectors != 48 || s.Bytes != 768 || s.Wavefronts != 12 || s.Ideal != 6 {
		t.Errorf("%+v", s.Counts)
	}
	sum := int64(0)
	for _, n := range s.Class {
		sum += n
	}
	if sum != s.Warp {
		t.Errorf("classes sum to %d, %d warp instructions", sum, s.Warp)
	}
	adds := s.Lines[len(s.Lines)-2]
	if adds.Warp != 6 || adds.Thread != 3*16 {
		t.Errorf("the guarded add: %+v", adds)
	}
	if bits.Len64(uint64(s.Thread)) == 0 {
		t.Error("no thread instructions")
	}
}
