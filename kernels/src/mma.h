// Tensor cores and the copies that feed them: ldmatrix, mma and cp.async. On sm_75, which has no cp.async, a copy is a
// load and a store, and an mma of 16 k two of 8.
#pragma once
#include "device.h"

template <int Offset = 0> DEVICE void store_shared(u32 s, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0+%5], {%1,%2,%3,%4};" ::"r"(s), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "n"(Offset)
               : "memory");
}

// copy_async moves 16 bytes from global to shared memory, or zeros where !valid (g is then not read).
#if __CUDA_ARCH__ >= 800
template <int Offset = 0> DEVICE void copy_async(u32 s, const void *g, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0+%3], [%1], 16, %2;" ::"r"(s), "l"(g), "r"(valid ? 16 : 0), "n"(Offset)
               : "memory");
}
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// wait_copies returns when all but the last N groups have arrived; a barrier makes them visible to the block.
template <int N> DEVICE void wait_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
template <int Offset = 0> DEVICE void copy_async(u32 s, const void *g, bool valid) {
  uint4 v = {0, 0, 0, 0};
  if (valid) v = *(const uint4 *)g;
  store_shared<Offset>(s, v);
}
DEVICE void commit_copies() {}
template <int N> DEVICE void wait_copies() {}
#endif

// ldmatrix loads four 8x8 matrices of 16-bit elements: lane 8i+r gives the address of row r of matrix i, and gets
// elements 2(lane%4), +1 of row lane/4 of every matrix.
template <int Offset = 0> DEVICE void ldmatrix(u32 *r, u32 s) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4+%5];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s), "n"(Offset)
               : "memory");
}
template <int Offset = 0> DEVICE void ldmatrix_transposed(u32 *r, u32 s) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4+%5];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s), "n"(Offset)
               : "memory");
}

// mma is d[16x8] += a[16x16]·b[16x8], float32 sums. Lane l holds of d: (l/4, 2(l%4)+{0,1}) and the same 8 rows below;
// of a the 8x8 blocks (0,0), (8,0), (0,8), (8,8) as ldmatrix gives them; of b, transposed, k 0-7 and k 8-15.
template <class T> DEVICE void mma(float *d, const u32 *a, const u32 *b);
#if __CUDA_ARCH__ >= 800
template <> DEVICE void mma<f16>(float *d, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> DEVICE void mma<bf16>(float *d, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
DEVICE void mma_k8(float *d, u32 a0, u32 a1, u32 b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(b));
}
template <> DEVICE void mma<f16>(float *d, const u32 *a, const u32 *b) {
  mma_k8(d, a[0], a[1], b[0]);
  mma_k8(d, a[2], a[3], b[1]);
}
#endif
