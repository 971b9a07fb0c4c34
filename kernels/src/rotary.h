// A norm over each head's channels, if there is one, and then the rotary position embedding:
//
//   (a, b) -> (a·cos - b·sin, b·cos + a·sin) for the pairs (i, i+half) or (2i, 2i+1); channels from 2·half on pass
//
// A warp has four heads of one row: it reads that row's angles once, and neighbouring lanes have neighbouring channels, so
// that loads and stores are full sectors at any alignment.
#pragma once
#include "args.h"
#include "math.h"

constexpr int HEADS = 4; // of a warp

// Turn is what happens to a head of dim channels.
struct Turn {
  const float *w, *b; // of the norm
  float eps;
  int kind, dim, half;
  bool interleaved;
};

// Statistics of a head: a channel c becomes (c - mean)·inverse, times w, plus b.
struct HeadNorm {
  const float *w, *b;
  float mean, inverse;

  DEVICE float apply(float v, int c) const { return fma((v - mean) * inverse, w ? w[c] : 1.f, b ? b[c] : 0.f); }
};

template <class T> DEVICE HeadNorm head_norm(const T *x, const Turn &a) {
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

template <bool Normed, class T> DEVICE void turn_heads(const T *x, T *y, int step, const float *table, int heads, const Turn &a) {
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
        y[h * step + c0] = narrow<T>(fma(p, cos, -(q * sin)));
        y[h * step + c1] = narrow<T>(fma(q, cos, p * sin));
      }
    }
  }
  ROLLED for (int c = 2 * a.half + lane(); c < a.dim; c += 32) {
    UNROLL for (int h = 0; h < HEADS; h++) {
      if (h < heads) y[h * step + c] = narrow<T>(value(x[h * a.dim + c], h, c));
    }
  }
}

// turn_heads reads heads side by side and writes them step elements apart. table is cos and sin of the row.
template <class T> DEVICE void turn_heads(const T *x, T *y, int step, const float *table, int heads, const Turn &a) {
  if (a.kind == NORM_NONE) turn_heads<false>(x, y, step, table, heads, a);
  else turn_heads<true>(x, y, step, table, heads, a);
}
