// Attention for any head size, type and alignment: the float32 path, and what the faster builds are judged by. attention_any_
// is over packed rows, paged_any_ over a cache, decode_any_ a decode step over a cache (decode.h).
//
//   y = softmax(cap·tanh(scale·q·kᵀ/cap) + bias, masked)·v    with a running softmax (FlashAttention-2, Dao 2023)
//
// A block has 16 queries of one head, or 16 heads of one query, and 128 channels of the result; head sizes above 128
// compute their scores once for each of those. A warp has 4 queries: it scores them against tiles of 64 keys, two a lane,
// and then weighs the values with a channel a lane, so that nothing of a query leaves its warp. Channels pass through shared
// memory 32 at a time, widened to float32. A score is one running sum in the order of the channels, an output one in the
// order of keys.
#include "decode.h"

constexpr int THREADS = 128, WARPS = THREADS / 32;
constexpr int QUERIES = 16, OWN = QUERIES / WARPS; // of a block, of a warp
constexpr int CHANNELS = 32, PITCH = CHANNELS + 4; // 16-byte loads of 8 rows meet 32 different banks
constexpr int SLICE = 128;                         // channels of the result that a block makes

// Queries are up to 16 rows of one sequence, each the next position, or heads of one row.
template <class T> struct Queries {
  const T *q;
  int ld, count;
  int position, pace; // of the first; from one to the next
  int head, heads;    // likewise
};

// Softmax is what a warp has of its queries, not yet divided: sums for a channel a lane, maxima of the scores, weights.
struct Softmax {
  float out[OWN][SLICE / CHANNELS], top[OWN], sum[OWN];
};

// attend weighs the keys from begin, a multiple of 64, to end. k and v are at the first row of their head, and there are
// total rows.
template <class T, bool Paged>
DEVICE void attend(Softmax &x, const Queries<T> &queries, const T *k, const T *v, const Pages<Paged> &pages, int total, int begin, int end,
                   int slice, const Attention &a) {
  __shared__ alignas(16) float tile[KEYS][PITCH];           // keys, then values
  __shared__ alignas(16) float channels[QUERIES][CHANNELS]; // of the queries
  __shared__ alignas(16) float weights[QUERIES][KEYS];
  const int l = lane(), w = warp();
  const Sight sight(a, total);
  const Score score(a, 0);

  // stage copies channels c to c+31 of rows of m from the first on, zeros outside, each lane a channel. The loads of 8 rows
  // come before their stores, and read something valid whatever the edges are: no load waits for a condition.
  auto stage = [&](auto rows, float *to, int pitch, const T *m, int ld, i64 first, int count, int c) {
    constexpr int each = decltype(rows)::v / WARPS, held = each < 8 ? each : 8;
    const T *g = m + first * ld + min(c + l, a.dim - 1);
    ROLLED for (int r0 = w; r0 < each * WARPS; r0 += held * WARPS) {
      T e[held] = {};
      if (count > 0) UNROLL for (int r = 0; r < held; r++) e[r] = g[(i64)min(r0 + r * WARPS, count - 1) * ld];
      UNROLL for (int r = 0; r < held; r++) {
        const bool inside = r0 + r * WARPS < count && c + l < a.dim;
        to[(r0 + r * WARPS) * pitch + l] = inside ? widen(e[r]) : 0.f;
      }
    }
  };

  UNROLL for (int i = 0; i < OWN; i++) {
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) x.out[i][j] = 0;
    x.top[i] = -infinity(), x.sum[i] = 0;
  }
  for (int key = begin; key < end; key += KEYS) {
    const i64 first = pages.row(key);
    const int count = first < 0 ? 0 : total - key;
    float s[OWN][2];
    UNROLL for (int i = 0; i < OWN; i++) s[i][0] = s[i][1] = 0;
    for (int c = 0; c < a.dim; c += CHANNELS) {
      barrier(); // the tile has been used
      stage(Constant<QUERIES>(), &channels[0][0], CHANNELS, queries.q, queries.ld, 0, queries.count, c);
      stage(Constant<KEYS>(), &tile[0][0], PITCH, k, a.ldk, first, count, c);
      barrier();
      _Pragma("unroll 2") for (int e = 0; e < CHANNELS; e += 4) {
        const float4 k0 = load<float4>(&tile[l][e]), k1 = load<float4>(&tile[l + 32][e]);
        UNROLL for (int i = 0; i < OWN; i++) {
          const float4 q = load<float4>(&channels[w * OWN + i][e]);
          s[i][0] = fma(q.w, k0.w, fma(q.z, k0.z, fma(q.y, k0.y, fma(q.x, k0.x, s[i][0]))));
          s[i][1] = fma(q.w, k1.w, fma(q.z, k1.z, fma(q.y, k1.y, fma(q.x, k1.x, s[i][1]))));
        }
      }
    }
    UNROLL for (int i = 0; i < OWN; i++) {
      const int n = w * OWN + i, at = queries.position + n * queries.pace, head = queries.head + n * queries.heads;
      UNROLL for (int h = 0; h < 2; h++) {
        const int j = key + l + 32 * h;
        s[i][h] = j >= sight.from(at) && j < min(end, sight.to(at)) && n < queries.count ? score(s[i][h], j - at, head) : -infinity();
      }
      const float before = x.top[i];
      x.top[i] = max(before, warp_max(max(s[i][0], s[i][1])));
      const float zero = x.top[i] == -infinity() ? 0.f : x.top[i]; // no key seen yet
      const float p0 = ex2((s[i][0] - zero) * LOG2E), p1 = ex2((s[i][1] - zero) * LOG2E);
      const float keep = ex2((before - zero) * LOG2E);
      x.sum[i] = fma(x.sum[i], keep, warp_sum(p0 + p1));
      weights[n][l] = p0;
      weights[n][l + 32] = p1;
      UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) x.out[i][j] *= keep;
    }
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) {
      const int c = slice * SLICE + j * CHANNELS;
      if (c >= a.dim) break;
      barrier();
      stage(Constant<KEYS>(), &tile[0][0], PITCH, v, a.ldv, first, count, c);
      barrier();
      _Pragma("unroll 2") for (int e = 0; e < KEYS; e += 4) {
        float y[4];
        UNROLL for (int n = 0; n < 4; n++) y[n] = tile[e + n][l];
        UNROLL for (int i = 0; i < OWN; i++) {
          const float4 p = load<float4>(&weights[w * OWN + i][e]);
          x.out[i][j] = fma(p.w, y[3], fma(p.z, y[2], fma(p.y, y[1], fma(p.x, y[0], x.out[i][j]))));
        }
      }
    }
  }
}

template <class T, bool Paged> DEVICE void attention_any(const Attention &a) {
  const Span<QUERIES> span(a);
  if (span.empty()) return;
  const int head = block_y(), shared_head = head / (a.heads / a.kvheads), slice = block_z();
  const Pages<Paged> pages(a, span.sequence);
  const int total = pages.past + span.length, rows = min(QUERIES, span.length - span.query);
  const Queries<T> queries = {(const T *)a.q + (i64)(span.first + span.query) * a.ldq + (i64)head * a.dim, a.ldq, rows, pages.past + span.query, 1, head, 0};
  const Sight sight(a, total);
  Softmax x;
  attend<T, Paged>(x, queries, pages.template head<T>(a.k, span.first, a.ldk, shared_head, a.dim),
                   pages.template head<T>(a.v, span.first, a.ldv, shared_head, a.dim), pages, total,
                   sight.from(queries.position) / KEYS * KEYS, sight.to(queries.position + rows - 1), slice, a);
  const int first = warp() * OWN;
  UNROLL for (int i = 0; i < OWN; i++) {
    if (first + i >= rows) break;
    T *y = (T *)a.y + (i64)(span.first + span.query + first + i) * a.ldy + (i64)head * a.dim;
    UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) {
      const int c = slice * SLICE + j * CHANNELS + lane();
      if (c < a.dim) y[c] = narrow<T>(x.out[i][j] / x.sum[i]);
    }
  }
}

template <class T> DEVICE void decode_any(const Attention &a) {
  const Step step(a, ceil_div(a.dim, SLICE));
  if (step.split >= step.last) return;
  const Pages<true> pages(a, step.sequence);
  const Meeting meeting(a, step);
  const Queries<T> queries = {(const T *)a.q + (i64)step.row * a.ldq + (i64)step.head * a.dim, a.dim, step.heads, step.position, 0, step.head, 1};
  T *y = (T *)a.y + (i64)step.row * a.ldy + (i64)step.head * a.dim;
  ROLLED for (int split = step.split; split < step.last; split += blocks_z()) {
    Softmax x;
    attend<T, true>(x, queries, pages.template head<T>(a.k, 0, a.ldk, step.shared_head, a.dim),
                    pages.template head<T>(a.v, 0, a.ldv, step.shared_head, a.dim), pages, step.total, step.begin(split), step.end(split), step.slice, a);
    const int first = warp() * OWN;
    UNROLL for (int i = 0; i < OWN; i++) {
      const int row = first + i;
      if (row >= step.heads) break;
      UNROLL for (int j = 0; j < SLICE / CHANNELS; j++) {
        const int c = step.slice * SLICE + j * CHANNELS + (int)lane();
        if (c >= a.dim) continue;
        if (step.count == 1) y[row * a.dim + c] = narrow<T>(x.out[i][j] / x.sum[i]);
        else meeting.sum(row, split)[c] = x.out[i][j];
      }
      if (step.count > 1 && lane() == 0) store(meeting.pair(row, split), float2{x.top[i] * LOG2E, x.sum[i]});
    }
    const int c = step.slice * SLICE;
    if (step.count > 1 && meeting.finished(step.count)) meeting.join(step, y, c, min(SLICE, a.dim - c), THREADS);
  }
}

KERNEL __launch_bounds__(THREADS, 3) attention_any_f32(const Attention a) { attention_any<float, false>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_any_f32(const Attention a) { attention_any<float, true>(a); }
KERNEL __launch_bounds__(THREADS, 3) decode_any_f32(const Attention a) { decode_any<float>(a); }
KERNEL __launch_bounds__(THREADS, 3) attention_any_f16(const Attention a) { attention_any<f16, false>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_any_f16(const Attention a) { attention_any<f16, true>(a); }
KERNEL __launch_bounds__(THREADS, 3) decode_any_f16(const Attention a) { decode_any<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 3) attention_any_bf16(const Attention a) { attention_any<bf16, false>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_any_bf16(const Attention a) { attention_any<bf16, true>(a); }
KERNEL __launch_bounds__(THREADS, 3) decode_any_bf16(const Attention a) { decode_any<bf16>(a); }
#endif
