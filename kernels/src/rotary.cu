// Rotary position embedding (Su et al. 2021, RoFormer) of queries and keys.
//
//   angles       y[t] = factor·[cos(pos·f), sin(pos·f)], [rows, 2·half]; pos·f is rounded to float32 first, as the models'
//                own code does, and then reduced exactly
//   rotate_{x}   per head: the norm over its channels, if there is one, then (a, b) -> (a·cos - b·sin, b·cos + a·sin) for
//                the pairs (i, i+half) or (2i, 2i+1); channels from 2·half on pass
//
// In rotate a warp has four heads of one row: it reads that row's angles once, and neighbouring lanes have neighbouring
// channels, so that loads and stores are full sectors at any alignment.
#include "args.h"
#include "math.h"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int HEADS = 4; // of a warp

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

// Statistics of a head: a channel c becomes (c - mean)·inverse, times w, plus b.
struct HeadNorm {
  const float *w, *b;
  float mean, inverse;

  DEVICE float apply(float v, int c) const { return fma((v - mean) * inverse, w ? w[c] : 1.f, b ? b[c] : 0.f); }
};

template <class T> DEVICE HeadNorm head_norm(const T *x, const Rotate &a) {
  HeadNorm n = {a.w, a.b, 0, 1};
  if (a.kind == LAYER_NORM) {
    float s = 0;
    for (int c = lane(); c < a.dim; c += 32) s += widen(x[c]);
    n.mean = warp_sum(s) / (float)a.dim;
  }
  float squares = 0;
  for (int c = lane(); c < a.dim; c += 32) {
    const float d = widen(x[c]) - n.mean;
    squares = fma(d, d, squares);
  }
  squares = warp_sum(squares);
  if (a.kind == L2_NORM) n.inverse = 1.f / max(__builtin_sqrtf(squares), a.eps);
  else n.inverse = 1.f / __builtin_sqrtf(squares / (float)a.dim + a.eps);
  return n;
}

template <bool Normed, class T> DEVICE void rotate_heads(const T *x, T *y, const float *table, int heads, const Rotate &a) {
  HeadNorm n[HEADS];
  if constexpr (Normed) {
    UNROLL for (int h = 0; h < HEADS; h++) if (h < heads) n[h] = head_norm(x + h * a.dim, a);
  }
  auto value = [&](T v, int h, int c) {
    if constexpr (Normed) return n[h].apply(widen(v), c);
    else return widen(v);
  };
  ROLLED for (int i = lane(); i < a.half; i += 32) {
    const int c0 = a.interleaved ? 2 * i : i, c1 = a.interleaved ? 2 * i + 1 : i + a.half;
    T u[HEADS], v[HEADS];
    UNROLL for (int h = 0; h < HEADS; h++) {
      u[h] = T(), v[h] = T();
      if (h < heads) u[h] = x[h * a.dim + c0], v[h] = x[h * a.dim + c1];
    }
    const float cos = table[i], sin = table[a.half + i];
    UNROLL for (int h = 0; h < HEADS; h++) {
      const float p = value(u[h], h, c0), q = value(v[h], h, c1);
      if (h < heads) {
        y[h * a.dim + c0] = narrow<T>(fma(p, cos, -(q * sin)));
        y[h * a.dim + c1] = narrow<T>(fma(q, cos, p * sin));
      }
    }
  }
  ROLLED for (int c = 2 * a.half + lane(); c < a.dim; c += 32) {
    UNROLL for (int h = 0; h < HEADS; h++) {
      if (h < heads) y[h * a.dim + c] = narrow<T>(value(x[h * a.dim + c], h, c));
    }
  }
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
  if (a.kind == NORM_NONE) rotate_heads<false>(x, y, table, heads, a);
  else rotate_heads<true>(x, y, table, heads, a);
}

KERNEL __launch_bounds__(THREADS, 4) rotate_f32(const Rotate a) { rotate<float>(a); }
KERNEL __launch_bounds__(THREADS, 4) rotate_f16(const Rotate a) { rotate<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 4) rotate_bf16(const Rotate a) { rotate<bf16>(a); }
#endif
