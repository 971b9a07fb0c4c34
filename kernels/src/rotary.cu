// Rotary position embedding (Su et al. 2021, RoFormer) of queries and keys.
//
//   angles       y[t] = factor·[cos(pos·f), sin(pos·f)], [rows, 2·half]; pos·f is rounded to float32 first, as the models'
//                own code does, and then reduced exactly
//   rotate_{x}   per head: the norm over its channels, if there is one, then (a, b) -> (a·cos - b·sin, b·cos + a·sin) for
//                the pairs (i, i+half) or (2i, 2i+1); channels from 2·half on pass
//
#include "rotary.h"

constexpr int THREADS = 256, WARPS = THREADS / 32;

KERNEL __launch_bounds__(THREADS, 4) angles(const Angles a) {
  const u32 at = block() * THREADS + thread();
  const int row = at / (u32)a.half, i = at % (u32)a.half;
  if (row >= a.rows) return;
  int variant = 0;
  if (a.variant) {
    int lo = 0, hi = a.sequences - 1; // the last sequence that begins at or before the row: empty ones share their begin
    while (lo < hi) {
      const int mid = (lo + hi + 1) >> 1;
      if (a.cum[mid] <= row) lo = mid;
      else hi = mid - 1;
    }
    variant = a.variant[lo];
  }
  float f = 0;
  if ((u32)variant < (u32)a.variants) f = a.freqs[(i64)variant * a.ldf + i];
  float sin, cos;
  sin_cos((float)a.pos[row] * f, sin, cos);
  float *y = a.y + (i64)row * 2 * a.half;
  y[i] = cos * a.factor;
  y[a.half + i] = sin * a.factor;
}

template <class T> DEVICE void rotate(const Rotate &a) {
  const int groups = ceil_div(a.heads, HEADS);
  const u32 unit = block() * WARPS + (thread() >> 5);
  const int row = unit / (u32)groups, head = (int)(unit % (u32)groups) * HEADS;
  if (row >= a.rows) return;
  const T *x = (const T *)a.x + (i64)row * a.ldx + (i64)head * a.dim;
  T *y = (T *)a.y + (i64)row * a.ldy + (i64)head * a.dim;
  const float *table = a.angles + (i64)row * a.lda;
  const int heads = min(HEADS, a.heads - head);
  turn_heads(x, y, a.dim, table, heads, Turn{a.w, a.b, a.eps, a.kind, a.dim, a.half, (bool)a.interleaved});
}

KERNEL __launch_bounds__(THREADS, 4) rotate_f32(const Rotate a) { rotate<float>(a); }
KERNEL __launch_bounds__(THREADS, 4) rotate_f16(const Rotate a) { rotate<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 4) rotate_bf16(const Rotate a) { rotate<bf16>(a); }
#endif
