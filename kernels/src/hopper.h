// Hopper: copies by tensor map (TMA), the mbarriers that announce them, and products of a warpgroup (wgmma).
#pragma once
#include "device.h"

struct alignas(64) TensorMap {
  u64 opaque[16];
};

// An mbarrier's phase completes when count arrivals and all announced bytes are there. Waiting for parity 1 of a fresh
// one returns at once.
DEVICE void mbarrier_init(u32 b, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(count) : "memory");
}
// mbarrier_init_fence shows fresh mbarriers to the copy engine.
DEVICE void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void mbarrier_arrive(u32 b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
// mbarrier_expect arrives and announces bytes.
DEVICE void mbarrier_expect(u32 b, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory");
}
DEVICE void mbarrier_wait(u32 b, u32 parity) {
  asm volatile("{\n"
               " .reg .pred done;\n"
               "WAIT_%=:\n"
               " mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               " @done bra.uni DONE_%=;\n"
               " bra.uni WAIT_%=;\n"
               "DONE_%=:\n"
               "}" ::"r"(b),
               "r"(parity)
               : "memory");
}

// copy_tile starts the copy of a map's box from column c, row r to shared memory, announced to mbarrier b.
DEVICE void copy_tile(u32 to, const TensorMap *map, u32 b, int c, int r) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
               "l"(map), "r"(b), "r"(c), "r"(r)
               : "memory");
}
DEVICE void prefetch_map(const TensorMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// elected is true in one lane of a whole warp, and ptxas knows that: code behind it needs no loop over lanes.
DEVICE bool elected() {
  u32 r;
  asm volatile("{\n .reg .pred one;\n elect.sync _|one, 0xffffffff;\n selp.u32 %0, 1, 0, one;\n}" : "=r"(r));
  return r;
}

// wait_for_previous holds a kernel that was launched early (Kernel.Dependent) until the one before it is done and its
// writes are visible. Every thread calls it before it touches memory that kernels write.
DEVICE void wait_for_previous() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

template <int N> DEVICE void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEVICE void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// wgmma_operand describes rows of 128 bytes, swizzled within them as TMA does, to wgmma: eight rows are 1,024 bytes.
DEVICE u64 wgmma_operand(u32 s) { return (s & 0x3ffff) >> 4 | 1ull << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62; }

DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// The operand lists of an asm with 64 or 128 accumulators.
#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define D64(i) D16(i), D16(i + 16), D16(i + 32), D16(i + 48)
#define NAMES64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31" \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES128 \
  NAMES64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// pin stands for a read and a write of all accumulators: what uses them stays on its side.
template <int N> DEVICE void pin(float *d) {
  if constexpr (N == 128)
    asm volatile("" : D64(0), D64(64)::"memory");
  else
    asm volatile("" : D64(0)::"memory");
}

// wgmma adds a[64x16]·b[Nx16]ᵀ to d, or sets d to it where !add. A warp holds 16 of the rows, as mma's fragments.
template <class T, int N> DEVICE void wgmma(float *d, u64 a, u64 b, int add);

#define WGMMA(T, N, type, names, da, db, p, ...)                                                               \
  template <> DEVICE void wgmma<T, N>(float *d, u64 a, u64 b, int add) {                                        \
    asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, " p ", 0;\n wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." \
                 type "." type " {" names "}, " da ", " db ", p, 1, 1, 0, 0;\n}"                                \
                 : __VA_ARGS__                                                                                 \
                 : "l"(a), "l"(b), "r"(add));                                                                  \
  }
WGMMA(f16, 128, "f16", NAMES64, "%64", "%65", "%66", D64(0))
WGMMA(bf16, 128, "bf16", NAMES64, "%64", "%65", "%66", D64(0))
WGMMA(f16, 256, "f16", NAMES128, "%128", "%129", "%130", D64(0), D64(64))
WGMMA(bf16, 256, "bf16", NAMES128, "%128", "%129", "%130", D64(0), D64(64))
#undef WGMMA
