// Attention for any head size, type and alignment: the float32 path, and what the faster builds are judged by.
//
//   y = softmax(cap·tanh(scale·q·kᵀ/cap) + bias, masked)·v    with a running softmax (FlashAttention-2, Dao 2023)
//
// A block has 16 queries of one head and, along z, 128 channels of the result; head sizes above 128 compute their scores
// once for each of those. A warp has 4 queries: it scores them against tiles of 64 keys, two a lane, and then weighs the
// values with a channel a lane, so that nothing of a query leaves its warp. Channels pass through shared memory 32 at a
// time, widened to float32. A score is one running sum in the order of the channels, an output one in the order of keys.
#include "attention.h"

constexpr int THREADS = 128, WARPS = THREADS / 32;
constexpr int QUERIES = 16, OWN = QUERIES / WARPS; // of a block, of a warp
constexpr int CHANNELS = 32, PITCH = CHANNELS + 4; // 16-byte loads of 8 rows meet 32 different banks
constexpr int SLICE = 128;                         // channels of the result that a block makes

template <class T> DEVICE void attention_any(const Attention &a) {
  __shared__ alignas(16) float tile[KEYS][PITCH];           // keys, then values
  __shared__ alignas(16) float queries[QUERIES][CHANNELS];
  __shared__ alignas(16) float weights[QUERIES][KEYS];
  const Span<QUERIES> span(a);
  if (span.empty()) return;
  const int l = lane(), w = warp(), head = block_y(), shared_head = head / (a.heads / a.kvheads);
  const T *q = (const T *)a.q + (i64)span.first * a.ldq + (i64)head * a.dim;
  const T *k = (const T *)a.k + (i64)span.first * a.ldk + (i64)shared_head * a.dim;
  const T *v = (const T *)a.v + (i64)span.first * a.ldv + (i64)shared_head * a.dim;
  const int slice = block_z() * SLICE, row = span.query + w * OWN; // of the warp's first query
  const Sight sight(a, span.length);
  const Score score(a, head);

  // stage copies channels c to c+31 of R rows of m, zeros outside, each lane a channel. The loads of 8 rows come before
  // their stores, and read something valid whatever the edges are: no load waits for a condition.
  auto stage = [&](auto rows, float *to, int pitch, const T *m, int ld, int from, int c) {
    constexpr int each = decltype(rows)::v / WARPS, held = each < 8 ? each : 8;
    const T *g = m + min(c + l, a.dim - 1);
    ROLLED for (int first = w; first < each * WARPS; first += held * WARPS) {
      T e[held];
      UNROLL for (int r = 0; r < held; r++) e[r] = g[(i64)min(from + first + r * WARPS, span.length - 1) * ld];
      UNROLL for (int r = 0; r < held; r++) {
        const bool inside = from + first + r * WARPS < span.length && c + l < a.dim;
        to[(first + r * WARPS) * pitch + l] = inside ? widen(e[r]) : 0.f;
      }
    }
  };

  float out[OWN][SLICE / CHANNELS], top[OWN], sum[OWN];
  UNROLL for (int i = 0; i < OWN; i++) {
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) out[i][j] = 0;
    top[i] = -infinity(), sum[i] = 0;
  }
  const int end = sight.to(min(span.query + QUERIES, span.length) - 1);
  for (int key = sight.from(span.query) / KEYS * KEYS; key < end; key += KEYS) {
    float s[OWN][2];
    UNROLL for (int i = 0; i < OWN; i++) s[i][0] = s[i][1] = 0;
    for (int c = 0; c < a.dim; c += CHANNELS) {
      barrier(); // the tile has been used
      stage(Constant<QUERIES>(), &queries[0][0], CHANNELS, q, a.ldq, span.query, c);
      stage(Constant<KEYS>(), &tile[0][0], PITCH, k, a.ldk, key, c);
      barrier();
      _Pragma("unroll 2") for (int e = 0; e < CHANNELS; e += 4) {
        const float4 k0 = load<float4>(&tile[l][e]), k1 = load<float4>(&tile[l + 32][e]);
        UNROLL for (int i = 0; i < OWN; i++) {
          const float4 x = load<float4>(&queries[w * OWN + i][e]);
          s[i][0] = fma(x.w, k0.w, fma(x.z, k0.z, fma(x.y, k0.y, fma(x.x, k0.x, s[i][0]))));
          s[i][1] = fma(x.w, k1.w, fma(x.z, k1.z, fma(x.y, k1.y, fma(x.x, k1.x, s[i][1]))));
        }
      }
    }
    UNROLL for (int i = 0; i < OWN; i++) {
      UNROLL for (int h = 0; h < 2; h++) {
        const int at = row + i, j = key + l + 32 * h;
        s[i][h] = j >= sight.from(at) && j < sight.to(at) ? score(s[i][h], j - at) : -infinity();
      }
      const float before = top[i];
      top[i] = max(before, warp_max(max(s[i][0], s[i][1])));
      const float zero = top[i] == -infinity() ? 0.f : top[i]; // no key seen yet
      const float p0 = ex2((s[i][0] - zero) * LOG2E), p1 = ex2((s[i][1] - zero) * LOG2E);
      const float keep = ex2((before - zero) * LOG2E);
      sum[i] = fma(sum[i], keep, warp_sum(p0 + p1));
      weights[w * OWN + i][l] = p0;
      weights[w * OWN + i][l + 32] = p1;
      UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) out[i][j] *= keep;
    }
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) {
      const int c = slice + j * CHANNELS;
      if (c >= a.dim) break;
      barrier();
      stage(Constant<KEYS>(), &tile[0][0], PITCH, v, a.ldv, key, c);
      barrier();
      _Pragma("unroll 2") for (int e = 0; e < KEYS; e += 4) {
        float x[4];
        UNROLL for (int n = 0; n < 4; n++) x[n] = tile[e + n][l];
        UNROLL for (int i = 0; i < OWN; i++) {
          const float4 p = load<float4>(&weights[w * OWN + i][e]);
          out[i][j] = fma(p.w, x[3], fma(p.z, x[2], fma(p.y, x[1], fma(p.x, x[0], out[i][j]))));
        }
      }
    }
  }
  UNROLL for (int i = 0; i < OWN; i++) {
    if (row + i >= span.length) break;
    T *y = (T *)a.y + (i64)(span.first + row + i) * a.ldy + (i64)head * a.dim;
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) {
      const int c = slice + j * CHANNELS + l;
      if (c < a.dim) y[c] = narrow<T>(out[i][j] / sum[i]);
    }
  }
}

KERNEL __launch_bounds__(THREADS, 3) attention_any_f32(const Attention a) { attention_any<float>(a); }
KERNEL __launch_bounds__(THREADS, 3) attention_any_f16(const Attention a) { attention_any<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 3) attention_any_bf16(const Attention a) { attention_any<bf16>(a); }
#endif
