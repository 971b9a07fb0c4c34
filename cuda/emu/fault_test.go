package emu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// text wraps a body into a kernel k(u64 p, u64 q) with registers of every kind. Shared memory is smem[1024] (aligned to
// 1024) and bar[8].
func text(target, body string) string {
	version := map[string]string{"sm_75": "7.8", "sm_80": "7.8", "sm_90": "8.0", "sm_90a": "8.1"}[target]
	return fmt.Sprintf(`.version %s
.target %s
.address_size 64
.visible .entry k(.param .u64 p, .param .u64 q) .maxntid 1024 {
.reg .pred %%p<8>;
.reg .b16 %%h<8>;
.reg .b32 %%r<40>;
.reg .f32 %%f<40>;
.reg .b64 %%d<20>;
.reg .f64 %%g<8>;
.shared .align 1024 .b8 smem[16384];
.shared .align 8 .b8 bar[64];
.local .align 8 .b8 loc[64];
ld.param.u64 %%d0, [p];
ld.param.u64 %%d1, [q];
mov.u32 %%r0, %%tid.x;
%s
ret;
}
`, version, target, body)
}

func compile(t testing.TB, target, body string) *Kernel {
	t.Helper()
	m, err := Parse([]byte(text(target, body)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Bodies that several cases share.
const (
	mine   = "mul.wide.u32 %d2, %r0, 4; add.u64 %d3, %d0, %d2; shl.b32 %r1, %r0, 2; mov.u32 %r30, smem; add.u32 %r2, %r30, %r1; mov.u32 %r20, bar;\n"
	oneBar = mine + "setp.eq.u32 %p0, %r0, 0;\n@%p0 mbarrier.init.shared.b64 [%r20], 1;\nbar.sync 0;\n"
	descs  = `cvt.u64.u32 %d4, %r30; and.b64 %d4, %d4, 0x3ffff; shr.u64 %d4, %d4, 4; or.b64 %d4, %d4, 0x4000004000010000;
`
	zeroSmem = "mov.u32 %r3, %r2; mov.u32 %r4, 0;\nZ: st.shared.u32 [%r3], 0; add.u32 %r3, %r3, 512; add.u32 %r4, %r4, 1; setp.lt.u32 %p1, %r4, 24; @%p1 bra Z;\n"
	accs     = "mov.f32 %f0, 0f00000000; mov.f32 %f1, 0f00000000; mov.f32 %f2, 0f00000000; mov.f32 %f3, 0f00000000;\n"
	product  = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %d4, %d4, 1, 1, 1, 0, 0;\n"
	wait     = "W: mbarrier.try_wait.parity.shared.b64 %p3, [%r20], 0; @!%p3 bra W;\n"
)

var faultCases = []struct {
	name    string
	kind    FaultKind
	target  string
	grid    int
	threads int
	bad     string
	good    string
	uninit  bool // q is uninitialised
	freed   bool // q has been freed
}{
	{name: "a store past the end", kind: OutOfBounds, bad: mine + "st.global.u32 [%d3+4096], %r0;", good: mine + "st.global.u32 [%d3], %r0;"},
	{name: "a load of address zero", kind: OutOfBounds, bad: "mov.u64 %d4, 0; ld.global.u32 %r1, [%d4];", good: "ld.global.u32 %r1, [%d0];"},
	{name: "a shared store past the end", kind: OutOfBounds, bad: mine + "st.shared.u32 [%r2+20000], %r0;", good: mine + "st.shared.u32 [%r2], %r0;"},
	{name: "a local store past the end", kind: OutOfBounds, bad: "mov.u64 %d4, loc; st.local.u32 [%d4+64], 1;", good: "mov.u64 %d4, loc; st.local.u32 [%d4+60], 1;"},
	{name: "an unaligned vector", kind: Misaligned, bad: "ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%d0+8];", good: "ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%d0+16];"},
	{name: "an unaligned shared store", kind: Misaligned, threads: 1, bad: "st.shared.u32 [smem+2], 1;", good: "st.shared.u32 [smem+4], 1;"},
	{name: "global memory nobody wrote", kind: Uninitialised, uninit: true, bad: "ld.global.u32 %r1, [%d1];", good: "ld.global.u32 %r1, [%d0];"},
	{name: "shared memory nobody wrote", kind: Uninitialised, bad: mine + "ld.shared.u32 %r3, [%r2];", good: mine + "st.shared.u32 [%r2], 1; ld.shared.u32 %r3, [%r2];"},
	{name: "local memory nobody wrote", kind: Uninitialised, bad: "mov.u64 %d4, loc; ld.local.u32 %r1, [%d4];", good: "mov.u64 %d4, loc; st.local.u32 [%d4], 1; ld.local.u32 %r1, [%d4];"},
	{name: "a register written in some lanes only", kind: Uninitialised, bad: "setp.lt.u32 %p0, %r0, 16; @%p0 mov.u32 %r1, 5; add.u32 %r2, %r1, 1;",
		good: "setp.lt.u32 %p0, %r0, 16; @%p0 mov.u32 %r1, 5; @!%p0 mov.u32 %r1, 6; add.u32 %r2, %r1, 1;"},
	{name: "freed memory", kind: UseAfterFree, freed: true, bad: "ld.global.u32 %r1, [%d1];", good: "ld.global.u32 %r1, [%d0];"},
	{name: "a read across warps without a barrier", kind: SharedRace, threads: 64, bad: mine + "st.shared.u32 [%r2], 0; bar.sync 0; st.shared.u32 [%r2], %r0; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3];",
		good: mine + "st.shared.u32 [%r2], %r0; bar.sync 0; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3];"},
	{name: "a read across lanes without a warp barrier", kind: SharedRace, bad: mine + "st.shared.u32 [%r2], %r0; xor.b32 %r3, %r2, 4; ld.shared.u32 %r4, [%r3];",
		good: mine + "st.shared.u32 [%r2], %r0; bar.warp.sync 0xffffffff; xor.b32 %r3, %r2, 4; ld.shared.u32 %r4, [%r3];"},
	{name: "an overwrite before the readers are done", kind: SharedRace, threads: 64,
		bad:  mine + "st.shared.u32 [%r2], %r0; bar.sync 0; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3]; st.shared.u32 [%r2], %r4;",
		good: mine + "st.shared.u32 [%r2], %r0; bar.sync 0; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3]; bar.sync 0; st.shared.u32 [%r2], %r4;"},
	{name: "an mbarrier that orders too late", kind: SharedRace, target: "sm_90", threads: 64,
		bad:  oneBar + "setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.arrive.shared.b64 %d5, [%r20]; @%p1 st.shared.u32 [%r2], 7;\n" + wait + "ld.shared.u32 %r4, [%r30];",
		good: oneBar + "setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [%r2], 7; @%p1 mbarrier.arrive.shared.b64 %d5, [%r20];\n" + wait + "ld.shared.u32 %r4, [%r30];"},
	{name: "an mbarrier that another warp has just initialised", kind: SharedRace, target: "sm_90", threads: 64,
		bad:  "mov.u32 %r20, smem; mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 0; @%p0 mbarrier.init.shared.b64 [%r20], 64; mbarrier.arrive.shared.b64 %d5, [%r20];",
		good: "mov.u32 %r20, smem; mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 0; @%p0 mbarrier.init.shared.b64 [%r20], 64; bar.sync 0; mbarrier.arrive.shared.b64 %d5, [%r20];"},
	{name: "two blocks write one word", kind: GlobalRace, grid: 2, bad: mine + "st.global.u32 [%d3], %r0;", good: mine + "mov.u32 %r5, %ctaid.x; mul.wide.u32 %d4, %r5, 128; add.u64 %d3, %d3, %d4; st.global.u32 [%d3], %r0;"},
	{name: "half of the block skips a barrier", kind: Deadlock, threads: 64, bad: "setp.lt.u32 %p0, %r0, 32; @%p0 bra B; bra E; B: bar.sync 0; E: bar.sync 1;",
		good: "bar.sync 0; bar.sync 1;"},
	{name: "an mbarrier nobody arrives at", kind: Deadlock, target: "sm_90", bad: oneBar + wait, good: oneBar + "@%p0 mbarrier.arrive.shared.b64 %d5, [%r20];\n" + wait},
	{name: "a barrier under a lane's condition", kind: DivergentBarrier, bad: "setp.lt.u32 %p0, %r0, 16; @%p0 bar.sync 0;", good: "bar.sync 0;"},
	{name: "a matrix product under a lane's condition", kind: DivergentBarrier,
		bad:  "mov.u32 %r1, 0; setp.lt.u32 %p0, %r0, 16; @%p0 movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;",
		good: "mov.u32 %r1, 0; movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;"},
	{name: "a shuffle without its own lane", kind: InvalidMask, bad: "shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xfffffffe;", good: "shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff;"},
	{name: "a shuffle that half of the warp skips", kind: InvalidMask, bad: "setp.lt.u32 %p0, %r0, 16; @%p0 shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff;",
		good: "setp.lt.u32 %p0, %r0, 16; @%p0 shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffff;"},
	{name: "a shuffle from a lane that has left", kind: InvalidMask, bad: "setp.eq.u32 %p0, %r0, 3; @%p0 exit; shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff;",
		good: "setp.eq.u32 %p0, %r0, 3; @%p0 exit; mov.u32 %r5, %laneid; shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xffffffff;"},
	{name: "a cp.async without a wait", kind: MissingAsyncWait, bad: mine + "cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.commit_group; ld.shared.u32 %r3, [%r2];",
		good: mine + "cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %r3, [%r2];"},
	{name: "a cp.async wait for too few groups", kind: MissingAsyncWait,
		bad:  mine + "cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r3, [%r2];",
		good: mine + "cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r3, [%r2];"},
	{name: "a cp.async that others read without a barrier", kind: SharedRace, threads: 64,
		bad:  mine + "st.shared.u32 [%r2], 0; bar.sync 0; cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.wait_all; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3];",
		good: mine + "cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.wait_all; bar.sync 0; xor.b32 %r3, %r2, 128; ld.shared.u32 %r4, [%r3];"},
	{name: "a bulk copy read before its mbarrier", kind: MissingAsyncWait, target: "sm_90",
		bad:  oneBar + "@%p0 mbarrier.arrive.expect_tx.shared.b64 %d5, [%r20], 64; @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r30], [%d0], 64, [%r20]; ld.shared.u32 %r4, [%r30];\n" + wait,
		good: oneBar + "@%p0 mbarrier.arrive.expect_tx.shared.b64 %d5, [%r20], 64; @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r30], [%d0], 64, [%r20];\n" + wait + "ld.shared.u32 %r4, [%r30];"},
	{name: "an mbarrier that expects too many bytes", kind: WrongTransaction, target: "sm_90",
		bad:  oneBar + "@%p0 mbarrier.arrive.expect_tx.shared.b64 %d5, [%r20], 80; @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r30], [%d0], 64, [%r20];\n" + wait,
		good: oneBar + "@%p0 mbarrier.arrive.expect_tx.shared.b64 %d5, [%r20], 64; @%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r30], [%d0], 64, [%r20];\n" + wait},
	{name: "a bulk store without a proxy fence", kind: MissingFence, target: "sm_90",
		bad:  mine + "st.shared.u32 [%r2], %r0; bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r30], 128; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;",
		good: mine + "st.shared.u32 [%r2], %r0; fence.proxy.async.shared::cta; bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r30], 128; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;"},
	{name: "shared memory overwritten under a bulk store", kind: MissingAsyncWait, target: "sm_90",
		bad:  mine + "st.shared.u32 [%r2], %r0; fence.proxy.async.shared::cta; bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r30], 128; cp.async.bulk.commit_group; bar.sync 0; st.shared.u32 [%r2], 1; cp.async.bulk.wait_group 0;",
		good: mine + "st.shared.u32 [%r2], %r0; fence.proxy.async.shared::cta; bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r30], 128; cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; bar.sync 0; st.shared.u32 [%r2], 1;"},
	{name: "a bulk store still running at the end", kind: MissingAsyncWait, target: "sm_90",
		bad:  mine + "st.shared.u32 [%r2], %r0; fence.proxy.async.shared::cta; bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r30], 128; cp.async.bulk.commit_group;",
		good: mine + "st.shared.u32 [%r2], %r0;"},
	{name: "a wgmma without its fence", kind: MissingFence, target: "sm_90a", threads: 128,
		bad:  mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
		good: mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"},
	{name: "a wgmma operand without a proxy fence", kind: MissingFence, target: "sm_90a", threads: 128,
		bad:  mine + zeroSmem + "bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
		good: mine + zeroSmem + "bar.sync 0; fence.proxy.async;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"},
	{name: "a wgmma accumulator read in flight", kind: MissingAsyncWait, target: "sm_90a", threads: 128,
		bad:  mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; add.f32 %f9, %f0, %f1; wgmma.wait_group.sync.aligned 0;",
		good: mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; add.f32 %f9, %f0, %f1;"},
	{name: "a wgmma operand overwritten in flight", kind: MissingAsyncWait, target: "sm_90a", threads: 128,
		bad:  mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; bar.sync 0; st.shared.u32 [%r2], 1; wgmma.wait_group.sync.aligned 0;",
		good: mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; bar.sync 0; st.shared.u32 [%r2], 1;"},
	{name: "a wgmma without a wait", kind: MissingAsyncWait, target: "sm_90a", threads: 128,
		bad:  mine + zeroSmem + "fence.proxy.async; bar.sync 0;\n" + descs + accs + "wgmma.fence.sync.aligned;\n" + product + "wgmma.commit_group.sync.aligned;",
		good: mine + zeroSmem},
	{name: "an mbarrier that was never initialised", kind: BadBarrier, target: "sm_90", bad: mine + "mbarrier.arrive.shared.b64 %d5, [%r20];", good: oneBar + "@%p0 mbarrier.arrive.shared.b64 %d5, [%r20];"},
	{name: "too many arrivals", kind: BadBarrier, target: "sm_90", bad: oneBar + "mbarrier.arrive.shared.b64 %d5, [%r20], 2;", good: oneBar + "mbarrier.arrive.shared.b64 %d5, [%r20], 1;"},
	{name: "an endless loop", kind: InstructionBudget, bad: "L: add.u32 %r0, %r0, 1; bra L;", good: "mov.u32 %r1, 0; L: add.u32 %r1, %r1, 1; setp.lt.u32 %p0, %r1, 100; @%p0 bra L;"},
	{name: "a trap", kind: Trap, bad: "trap;", good: "nanosleep.u32 20;"},
	{name: "a store to parameters", kind: ReadOnly, bad: "mov.u64 %d4, p; cvta.param.u64 %d4, %d4; st.u32 [%d4], 1;", good: "mov.u64 %d4, p; cvta.param.u64 %d4, %d4; ld.u32 %r1, [%d4];"},
	{name: "a parity that is none", kind: BadOperand, target: "sm_90", bad: oneBar + "mbarrier.try_wait.parity.shared.b64 %p3, [%r20], 2;", good: oneBar + "mbarrier.try_wait.parity.shared.b64 %p3, [%r20], 1;"},
	{name: "too many threads", kind: TooManyResources, threads: 1025, bad: "", good: ""},
}

func TestEveryFault(t *testing.T) {
	for _, c := range faultCases {
		if c.target == "" {
			c.target = "sm_80"
		}
		grid, threads := max(c.grid, 1), max(c.threads, 32)
		launch := func(t *testing.T, body string) error {
			d := newDevice(t, c.target)
			k := compile(t, c.target, body)
			q := d.alloc(4096)
			if !c.uninit {
				if err := d.Fill(q, 0, 4096); err != nil {
					t.Fatal(err)
				}
			}
			if c.freed {
				if err := d.Free(q); err != nil {
					t.Fatal(err)
				}
			}
			params, err := k.Pack(d.upload(make([]byte, 4096)), q)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, err = d.Run(ctx, k, Launch{Grid: [3]int{grid}, Block: [3]int{threads}, Params: params, Budget: 100_000})
			return err
		}
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			err := launch(t, c.bad)
			if !errors.Is(err, &Fault{Kind: c.kind}) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			var f *Fault
			if errors.As(err, &f) && f.Line == 0 && c.kind != TooManyResources {
				t.Errorf("%v names no line", err)
			}
			if threads > 1024 {
				threads = 1024
			}
			if err := launch(t, c.good); err != nil {
				t.Errorf("the kernel without the fault: %v", err)
			}
		})
	}
}
