// What the CUDA headers would give: the language's attributes, special registers, barriers, shuffles, conversions.
// Only clang's -x cuda is needed, no SDK; whatever clang has no builtin for is one PTX instruction.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __grid_constant__ __attribute__((grid_constant))
#define DEVICE __device__ inline __attribute__((always_inline))
#define KERNEL extern "C" __global__ void
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")

// The dynamic shared memory of a block; 1,024 bytes is what the 128-byte swizzle of TMA asks for.
extern __shared__ u8 dynamic_shared[] __attribute__((aligned(1024)));

DEVICE u32 thread() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE u32 block() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE u32 block_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
DEVICE u32 block_z() { return __nvvm_read_ptx_sreg_ctaid_z(); }
DEVICE u32 blocks() { return __nvvm_read_ptx_sreg_nctaid_x(); }
DEVICE u32 lane() { return thread() & 31; }

DEVICE void barrier() { asm volatile("bar.sync 0;" ::: "memory"); }
DEVICE void warp_barrier() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

DEVICE float shuffle_xor(float v, int mask) {
  float r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(r) : "f"(v), "r"(mask));
  return r;
}
DEVICE u32 shuffle(u32 v, int from) {
  u32 r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(from));
  return r;
}
DEVICE float shuffle(float v, int from) {
  float r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(r) : "f"(v), "r"(from));
  return r;
}
// The shuffle tells ptxas that the index is the same in all lanes: what is computed from it goes to uniform registers.
DEVICE u32 warp() { return shuffle(thread() >> 5, 0); }

DEVICE float as_float(u32 x) { return __builtin_bit_cast(float, x); }
DEVICE u32 as_bits(float x) { return __builtin_bit_cast(u32, x); }
DEVICE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE float max(float a, float b) { return __builtin_fmaxf(a, b); }
DEVICE float min(float a, float b) { return __builtin_fminf(a, b); }
DEVICE float abs(float a) { return __builtin_fabsf(a); }
DEVICE int max(int a, int b) { return a > b ? a : b; }
DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The special-function unit: 2 ulp, subnormals count as zero.
DEVICE float ex2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEVICE float rcp(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// Element types beside float, by their bits. Two of them share a 32-bit word, the first in the low half.
struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};

template <class T> DEVICE float low(u32 v);
template <class T> DEVICE float high(u32 v);
template <> DEVICE float low<f16>(u32 v) {
  float r;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l; }" : "=f"(r) : "r"(v));
  return r;
}
template <> DEVICE float high<f16>(u32 v) {
  float r;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h; }" : "=f"(r) : "r"(v));
  return r;
}
template <> DEVICE float low<bf16>(u32 v) { return as_float(v << 16); }
template <> DEVICE float high<bf16>(u32 v) { return as_float(v & 0xffff0000u); }

DEVICE float widen(float x) { return x; }
DEVICE float widen(f16 x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
}
DEVICE float widen(bf16 x) { return as_float((u32)x.bits << 16); }

// To nearest, ties to even.
template <class T> DEVICE T narrow(float x);
template <> DEVICE float narrow<float>(float x) { return x; }
template <> DEVICE f16 narrow<f16>(float x) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}
#if __CUDA_ARCH__ >= 800
template <> DEVICE bf16 narrow<bf16>(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}
#else
template <> DEVICE bf16 narrow<bf16>(float x) {
  const u32 u = as_bits(x);
  return bf16{(u16)(x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
#endif

template <class T> DEVICE u32 pack(float lo, float hi) { return narrow<T>(lo).bits | (u32)narrow<T>(hi).bits << 16; }
#if __CUDA_ARCH__ >= 800
template <> DEVICE u32 pack<f16>(float lo, float hi) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
template <> DEVICE u32 pack<bf16>(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
#endif

struct alignas(16) uint4 {
  u32 x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  u32 x, y;
};
struct alignas(8) float2 {
  float x, y;
};

// load and store move a V of 8 or 16 bytes by one instruction: of a struct's copy clang may make one for every member.
template <int Words> using Vector = u32 __attribute__((ext_vector_type(Words)));
template <class V> DEVICE V load(const void *p) { return __builtin_bit_cast(V, *(const Vector<sizeof(V) / 4> *)p); }
template <class V> DEVICE void store(void *p, V v) {
  *(Vector<sizeof(V) / 4> *)p = __builtin_bit_cast(Vector<sizeof(V) / 4>, v);
}

// unroll calls f with the constants 0 to N-1, so that they can be immediates of an asm: clang folds no base + constant
// into an operand and would keep a register for every address.
template <int I> struct Constant {
  static constexpr int v = I;
  constexpr __device__ operator int() const { return I; }
};
template <int N, int I = 0, class F> DEVICE void unroll(F &&f) {
  if constexpr (I < N) {
    f(Constant<I>());
    unroll<N, I + 1>(f);
  }
}

// The 32-bit address that shared-memory instructions take.
DEVICE u32 shared_address(const void *p) {
  u32 r;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(r) : "l"(p));
  return r;
}
