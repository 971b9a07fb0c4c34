// What struct Gemm asks for behind the sum, the same for every product: bias, activation, gate, cap, addition to what y
// holds, store. Sums come four consecutive ones of a row at a time, so that one rolled loop serves a whole tile: 64
// inlined copies of an erf would not fit the instruction cache.
#pragma once
#include "activate.h"

// load and store move N elements, whose address is a multiple of their bytes, in one instruction.
template <class Y, int N> DEVICE void load(const void *y, float *v) {
  if constexpr (N * sizeof(Y) == 16) {
    const float4 q = load<float4>(y);
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
  } else if constexpr (sizeof(Y) == 4) {
    const float2 q = load<float2>(y);
    v[0] = q.x, v[1] = q.y;
  } else if constexpr (N == 4) {
    const uint2 q = load<uint2>(y);
    v[0] = low<Y>(q.x), v[1] = high<Y>(q.x), v[2] = low<Y>(q.y), v[3] = high<Y>(q.y);
  } else {
    const u32 q = *(const u32 *)y;
    v[0] = low<Y>(q), v[1] = high<Y>(q);
  }
}
template <class Y, int N> DEVICE void store(void *y, const float *v) {
  if constexpr (N * sizeof(Y) == 16)
    store<float4>(y, {v[0], v[1], v[2], v[3]});
  else if constexpr (sizeof(Y) == 4)
    store<float2>(y, {v[0], v[1]});
  else if constexpr (N == 4)
    store<uint2>(y, {pack<Y>(v[0], v[1]), pack<Y>(v[2], v[3])});
  else
    *(u32 *)y = pack<Y>(v[0], v[1]);
}

// load_shared is one instruction where LLVM may make several of a load that it shares between branches.
DEVICE float4 load_shared(u32 s) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(s) : "memory");
  return v;
}

// put writes, or adds to, N elements of y of which the first left are inside the matrix.
template <class Y, int N> DEVICE void put(char *p, int left, bool add, bool aligned, float *v) {
#pragma clang fp contract(off)
  Y *y = (Y *)p;
  if (aligned && left >= N) {
    if (add) {
      float o[N];
      load<Y, N>(y, o);
      UNROLL for (int i = 0; i < N; i++) v[i] += o[i];
    }
    store<Y, N>(y, v);
    return;
  }
  UNROLL for (int i = 0; i < N; i++) {
    if (i < left) y[i] = narrow<Y>(add ? v[i] + widen(y[i]) : v[i]);
  }
}

// bias_of is the bias of columns col to col+3.
DEVICE float4 bias_of(const Gemm &a, int col) {
  float b[4];
  UNROLL for (int i = 0; i < 4; i++) b[i] = a.bias && col + i < a.n ? a.bias[col + i] : 0;
  return {b[0], b[1], b[2], b[3]};
}

// Epilogue finishes columns col to col+3 of w's product, col a multiple of 4, of any row. T is the kernel's type.
template <class T> struct Epilogue {
  float4 bias;
  char *y;      // at the first of the results in row 0
  int stride;   // bytes from row to row
  int left;     // columns from col to n
  bool wide;    // y is float32
  bool aligned; // y's rows keep the alignment of a vector of results
  bool plain;   // all four columns are there and their results one vector: finish_rows may be used

  DEVICE Epilogue(const Gemm &a, int col, float4 bias) : bias(bias), left(a.n - col) {
    const bool gate = a.flags & GATE, add = a.flags & ADD;
    wide = sizeof(T) == 4 || a.flags & OUT_F32;
    const int size = wide ? 4 : 2, n = gate ? 2 : 4;
    stride = a.ldy * size;
    y = (char *)a.y + (i64)(gate ? col >> 1 : col) * size;
    aligned = ((u64)a.y & (n * size - 1)) == 0 && (a.ldy & (n - 1)) == 0;
    plain = aligned && left >= 4 && a.cap == 0 && !(gate && add);
  }

  template <int N> DEVICE void load_results(const char *at, float *v) const {
    if (wide)
      load<float, N>(at, v);
    else
      load<T, N>(at, v);
  }
  template <int N> DEVICE void store_results(char *at, const float *v) const {
    if (wide)
      store<float, N>(at, v);
    else
      store<T, N>(at, v);
  }

  // finish_rows finishes rows row, +4, +8 and +12, all inside y. Their sums lie step bytes apart in shared memory. Several
  // rows together hide the latency of what y holds and of an activation.
  DEVICE void finish_rows(const Gemm &a, int row, u32 sums, int step) const {
#pragma clang fp contract(off)
    const auto biased = [&](int r, float *v) {
      const float4 s = load_shared(sums + r * step);
      v[0] = s.x + bias.x, v[1] = s.y + bias.y, v[2] = s.z + bias.z, v[3] = s.w + bias.w;
    };
    char *at = y + (i64)row * stride;
    const i64 next = 4 * (i64)stride;
    const bool add = a.flags & ADD;
    if (a.act == ACT_NONE && !(a.flags & GATE)) {
      float v[16], o[16] = {};
      if (add) UNROLL for (int r = 0; r < 4; r++) load_results<4>(at + r * next, o + 4 * r);
      UNROLL for (int r = 0; r < 4; r++) biased(r, v + 4 * r);
      if (add) UNROLL for (int i = 0; i < 16; i++) v[i] += o[i];
      UNROLL for (int r = 0; r < 4; r++) store_results<4>(at + r * next, v + 4 * r);
      return;
    }
    const bool gate = a.flags & GATE;
    // One place for the activation of both, four rows of two gates or two rows of four columns.
    ROLLED for (int r = 0; r < 4; r += gate ? 4 : 2) {
      float v[8], o[8] = {}; // o: what the gates are for, or what y holds
      if (gate) {
        UNROLL for (int i = 0; i < 4; i++) {
          float pairs[4];
          biased(i, pairs);
          v[2 * i] = pairs[0], o[2 * i] = pairs[1], v[2 * i + 1] = pairs[2], o[2 * i + 1] = pairs[3];
        }
      } else {
        if (add) UNROLL for (int i = 0; i < 2; i++) load_results<4>(at + (r + i) * next, o + 4 * i);
        UNROLL for (int i = 0; i < 2; i++) biased(r + i, v + 4 * i);
      }
      activate<8>(v, a.act);
      if (gate) {
        UNROLL for (int i = 0; i < 8; i++) v[i] *= o[i];
        UNROLL for (int i = 0; i < 4; i++) store_results<2>(at + i * next, v + 2 * i);
      } else {
        if (add) UNROLL for (int i = 0; i < 8; i++) v[i] += o[i];
        UNROLL for (int i = 0; i < 2; i++) store_results<4>(at + (r + i) * next, v + 4 * i);
      }
    }
  }

  DEVICE void finish(const Gemm &a, int row, float4 sum) const {
#pragma clang fp contract(off)
    if (row >= a.m || left <= 0) return;
    float v[4] = {sum.x + bias.x, sum.y + bias.y, sum.z + bias.z, sum.w + bias.w};
    char *at = y + (i64)row * stride;
    if (a.flags & GATE) {
      float g[2] = {v[0], v[2]};
      activate<2>(g, a.act);
      g[0] *= v[1], g[1] *= v[3];
      if (a.cap != 0) UNROLL for (int i = 0; i < 2; i++) g[i] = a.cap * tanh(g[i] / a.cap);
      if (wide)
        put<float, 2>(at, left >> 1, a.flags & ADD, aligned, g);
      else
        put<T, 2>(at, left >> 1, a.flags & ADD, aligned, g);
      return;
    }
    if (a.act != ACT_NONE) activate<4>(v, a.act);
    if (a.cap != 0) UNROLL for (int i = 0; i < 4; i++) v[i] = a.cap * tanh(v[i] / a.cap);
    if (wide)
      put<float, 4>(at, left, a.flags & ADD, aligned, v);
    else
      put<T, 4>(at, left, a.flags & ADD, aligned, v);
  }
};

// A warp's 16x32 part of a tile passes through shared memory, from where each lane takes four columns of a row. Rows
// are 40 floats apart: the fragments' pairs and the float4 of a row both meet every bank once.
constexpr int stage_stride = 40, stage_bytes = 16 * stage_stride * 4;

// stage_put stores the accumulators of mma's 16x8 fragment j of the part.
template <int j> DEVICE void stage_put(float *stage, const float *d) {
  float *p = stage + (lane() >> 2) * stage_stride + (lane() & 3) * 2 + j * 8;
  *(float2 *)p = {d[0], d[1]};
  *(float2 *)(p + 8 * stage_stride) = {d[2], d[3]};
}

// stage_column is the first of the lane's four columns.
DEVICE int stage_column() { return (lane() & 7) * 4; }

template <class T> DEVICE void stage_finish(const Gemm &a, const Epilogue<T> &e, const float *stage, int row) {
  stage += (lane() >> 3) * stage_stride + stage_column();
  row += lane() >> 3;
  if (e.plain && row + 12 < a.m) {
    e.finish_rows(a, row, shared_address(stage), 4 * stage_stride * 4);
    return;
  }
  ROLLED for (int r = 0; r < 16; r += 4) e.finish(a, row + r, load<float4>(stage + r * stage_stride));
}
