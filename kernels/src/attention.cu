// Attention for the head sizes that models have, on tensor cores: attention_ over packed rows, paged_ over a cache.
//
//   y = softmax(cap·tanh(scale·q·kᵀ/cap) + bias, masked)·v    with a running softmax (FlashAttention-2, Dao 2023)
//
// A block has 64 queries of one head, a warp 16 of them in registers; scores, weights and results never leave the warp's
// registers: the accumulators of q·kᵀ are, packed to 16 bits, the left operand of the product with v. Keys come in tiles
// of 64 counted from the sequence's first, one tile of keys and one of values in shared memory: while a warp scores keys
// the values arrive, while it weighs values the next keys do. Weights are powers of 2; without cap and bias the scale is
// folded into the exponent. Only tiles that a mask's edge crosses are masked, and what no query sees is skipped.
// Sums are float32; weights are rounded to the type of the values.
//
// A row's bits do not depend on which others share its tile: a tile of keys that it does not see changes nothing, as the
// sums are scaled by exactly 1 where the maximum stays. So a prompt over a cache may be cut anywhere.
#include "attention.h"
#include "mma.h"

constexpr int THREADS = 128, QUERIES = 64; // 4 warps of 16 queries

// Layout of a tile of rows of D elements in shared memory, without gaps: chunk c of 8 elements of row r lies at c ^ turn(r),
// so that the same chunk of 8 rows, which is what ldmatrix reads, meets all banks. What turn needs depends on how rows
// lie over the 128 bytes of the banks. It repeats every 8 rows.
template <int D> struct Tile {
  static constexpr int chunks = D / 8, bytes = KEYS * D * 2;
  static constexpr int across = D == 128 ? 16 : D == 64 ? 8 : D == 80 ? 2 : 4; // threads that copy a row
  static constexpr int down = THREADS / across;                  // rows copied at once
  static constexpr int each = chunks / across;                   // chunks of a row that a thread copies

  static DEVICE u32 turn(u32 row) { return D % 64 == 0 ? row & 7 : D % 32 == 0 ? row >> 1 & 3 : row >> 2 & 1; }
  static DEVICE u32 at(u32 row, u32 chunk) { return row * (D * 2) + ((chunk ^ turn(row)) << 4); }

  // load begins to copy rows first to first+63 of m to s, zeros for those behind the count that there are.
  template <class T> static DEVICE void load(u32 s, const T *m, int ld, i64 first, int count) {
    const u32 row = thread() / across, chunk = thread() % across;
    const T *g = m + (first + (int)row) * ld + chunk * 8;
    s += at(row, chunk);
#if __CUDA_ARCH__ >= 800
    unroll<KEYS / down>([&](auto r) {
      const bool valid = (int)row + r.v * down < count;
      unroll<each>([&](auto c) {
        copy_async<r.v * down * D * 2 + c.v * across * 16>(s, valid ? g + c.v * across * 8 : m, valid);
      });
      g += (i64)down * ld;
    });
#else // all loads before the first store
    uint4 v[KEYS / down][each];
    UNROLL for (int r = 0; r < KEYS / down; r++) {
      UNROLL for (int c = 0; c < each; c++) {
        v[r][c] = uint4{0, 0, 0, 0};
        if ((int)row + r * down < count) v[r][c] = ::load<uint4>(g + c * across * 8);
      }
      g += (i64)down * ld;
    }
    unroll<KEYS / down>([&](auto r) {
      unroll<each>([&](auto c) {
        store_shared<r.v * down * D * 2 + c.v * across * 16>(s, v[r.v][c.v]);
      });
    });
#endif
  }
};

template <class T, int D, bool Paged = false> DEVICE void attention(const Attention &a) {
  using Rows = Tile<D>;
  constexpr int steps = D / 16, groups = KEYS / 8; // of k in q·kᵀ; of 8 keys
  const Span<QUERIES> span(a);
  if (span.empty()) return;
  const u32 l = lane(), w = warp();
  const int head = block_y(), shared_head = head / (a.heads / a.kvheads);
  const Pages<Paged> pages(a, span.sequence);
  const T *q = (const T *)a.q + (i64)(span.first + span.query) * a.ldq + (i64)head * D;
  const T *k = pages.template head<T>(a.k, span.first, a.ldk, shared_head, D);
  const T *v = pages.template head<T>(a.v, span.first, a.ldv, shared_head, D);
  const int total = pages.past + span.length, query0 = pages.past + span.query; // keys; the first query among them
  const Sight sight(a, total);
  const Score score(a, head);
  const int last = min(query0 + QUERIES, total) - 1; // query
  const int begin = sight.from(query0) / KEYS * KEYS, end = sight.to(last);
  const u32 keys = shared_address(dynamic_shared), values = keys + Rows::bytes;
  i64 tile = pages.row(begin);
  const auto fetch = [&](u32 s, const T *m, int ld, int key) { Rows::load(s, m, ld, tile, tile < 0 ? 0 : total - key); };

  // The queries pass through the place of the values.
  Rows::load(values, q, a.ldq, 0, span.length - span.query);
  commit_copies();
  fetch(keys, k, a.ldk, begin);
  commit_copies();
  wait_copies<1>();
  barrier();
  u32 query[steps][4];
  UNROLL for (int i = 0; i < steps; i++) ldmatrix(query[i], values + Rows::at(w * 16 + (l & 15), i * 2 + (l >> 4)));
  wait_copies<0>();
  barrier();
  fetch(values, v, a.ldv, begin);
  commit_copies();

  // Of a tile of scores a lane has rows l/4 and l/4+8 of the warp's 16, and columns 2(l%4), +1 of each group of 8.
  const u32 key_row = keys + ((l & 7) + (l >> 4 << 3)) * (D * 2), value_row = values + (l & 15) * (D * 2);
  const u32 turn = Rows::turn(l & 7);
  const int row = query0 + (int)w * 16 + (int)(l >> 2);
  float out[D / 8][4], top[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};
  UNROLL for (int i = 0; i < D / 8; i++) { UNROLL for (int e = 0; e < 4; e++) out[i][e] = 0; }

  ROLLED for (int key = begin; key < end; key += KEYS) {
    if (key + KEYS < end) tile = pages.row(key + KEYS); // before it is waited for
    float s[groups][4];
    UNROLL for (int i = 0; i < groups; i++) { UNROLL for (int e = 0; e < 4; e++) s[i][e] = 0; }
    unroll<steps>([&](auto i) {
      const u32 at = key_row + ((i.v * 2 + (l >> 3 & 1) ^ turn) << 4);
      unroll<KEYS / 16>([&](auto n) {
        u32 b[4];
        ldmatrix<n.v * 16 * D * 2>(b, at);
        mma<T>(s[2 * n.v], query[i.v], b);
        mma<T>(s[2 * n.v + 1], query[i.v], b + 2);
      });
    });

    float scale = a.scale * LOG2E; // of what s is now in the exponent
    if (!score.plain()) {
      scale = LOG2E;
      score.all<groups>(s, key + (int)(l & 3) * 2 - row);
    }
    if (key + KEYS > sight.to(query0) || key < sight.from(last)) {
      UNROLL for (int r = 0; r < 2; r++) {
        const int from = sight.from(row + r * 8), to = sight.to(row + r * 8);
        UNROLL for (int i = 0; i < groups; i++) {
          UNROLL for (int e = 2 * r; e < 2 * r + 2; e++) {
            const int j = key + i * 8 + (int)(l & 3) * 2 + (e & 1);
            if (j < from || j >= to) s[i][e] = -infinity();
          }
        }
      }
    }

    float best[2] = {top[0], top[1]}, base[2];
    UNROLL for (int i = 0; i < groups; i++) { UNROLL for (int e = 0; e < 4; e++) best[e >> 1] = max(best[e >> 1], s[i][e]); }
    UNROLL for (int r = 0; r < 2; r++) {
      best[r] = max(best[r], shuffle_xor(best[r], 1));
      best[r] = max(best[r], shuffle_xor(best[r], 2));
      base[r] = best[r] == -infinity() ? 0.f : best[r] * scale; // no key seen yet
      const float keep = best[r] == top[r] ? 1.f : ex2(fma(top[r], scale, -base[r]));
      top[r] = best[r];
      sum[r] *= keep;
      UNROLL for (int i = 0; i < D / 8; i++) out[i][2 * r] *= keep, out[i][2 * r + 1] *= keep;
    }
    u32 weight[groups][2];
    UNROLL for (int i = 0; i < groups; i++) {
      UNROLL for (int e = 0; e < 4; e++) {
        s[i][e] = ex2(fma(s[i][e], scale, -base[e >> 1]));
        sum[e >> 1] += s[i][e];
      }
      weight[i][0] = pack<T>(s[i][0], s[i][1]);
      weight[i][1] = pack<T>(s[i][2], s[i][3]);
    }

    wait_copies<0>();
    barrier(); // the values are there, and nobody needs the keys
    if (key + KEYS < end) fetch(keys, k, a.ldk, key + KEYS);
    commit_copies();
    unroll<steps>([&](auto n) {
      const u32 at = value_row + ((n.v * 2 + (l >> 4) ^ turn) << 4);
      unroll<KEYS / 16>([&](auto i) {
        const u32 p[4] = {weight[2 * i.v][0], weight[2 * i.v][1], weight[2 * i.v + 1][0], weight[2 * i.v + 1][1]};
        u32 b[4];
        ldmatrix_transposed<i.v * 16 * D * 2>(b, at);
        mma<T>(out[2 * n.v], p, b);
        mma<T>(out[2 * n.v + 1], p, b + 2);
      });
    });
    wait_copies<0>();
    barrier(); // the next keys are there, and nobody needs the values
    if (key + KEYS < end) fetch(values, v, a.ldv, key + KEYS);
    commit_copies();
  }

  // Rows of the result pass through the warp's part of the keys' place, to be stored in whole vectors.
  UNROLL for (int r = 0; r < 2; r++) {
    sum[r] += shuffle_xor(sum[r], 1);
    sum[r] += shuffle_xor(sum[r], 2);
    sum[r] = 1.f / sum[r];
  }
  u8 *mine = dynamic_shared + w * (16 * D * 2);
  UNROLL for (int i = 0; i < D / 8; i++) {
    UNROLL for (int r = 0; r < 2; r++) {
      u8 *at = mine + Rows::at((l >> 2) + r * 8, i) + (l & 3) * 4;
      *(u32 *)at = pack<T>(out[i][2 * r] * sum[r], out[i][2 * r + 1] * sum[r]);
    }
  }
  warp_barrier();
  const int rows = min(16, span.length - (span.query + (int)w * 16));
  T *y = (T *)a.y + (i64)(span.first + span.query + (int)w * 16) * a.ldy + (i64)head * D;
  if (((u64)a.y & 15) == 0 && (a.ldy & 7) == 0) {
    ROLLED for (int i = l; i < rows * Rows::chunks; i += 32) {
      const int r = i / Rows::chunks, c = i % Rows::chunks;
      store(y + (i64)r * a.ldy + c * 8, load<uint4>(mine + Rows::at(r, c)));
    }
  } else {
    ROLLED for (int i = l; i < rows * D; i += 32) {
      const int r = i / D, c = i % D;
      y[(i64)r * a.ldy + c] = *(const T *)(mine + Rows::at(r, c / 8) + c % 8 * 2);
    }
  }
}

KERNEL __launch_bounds__(THREADS, 3) attention_f16_32(const Attention a) { attention<f16, 32>(a); }
KERNEL __launch_bounds__(THREADS, 3) attention_f16_64(const Attention a) { attention<f16, 64>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_f16_80(const Attention a) { attention<f16, 80>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_f16_96(const Attention a) { attention<f16, 96>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_f16_128(const Attention a) { attention<f16, 128>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_f16_32(const Attention a) { attention<f16, 32, true>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_f16_64(const Attention a) { attention<f16, 64, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_f16_80(const Attention a) { attention<f16, 80, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_f16_96(const Attention a) { attention<f16, 96, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_f16_128(const Attention a) { attention<f16, 128, true>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 3) attention_bf16_32(const Attention a) { attention<bf16, 32>(a); }
KERNEL __launch_bounds__(THREADS, 3) attention_bf16_64(const Attention a) { attention<bf16, 64>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_bf16_80(const Attention a) { attention<bf16, 80>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_bf16_96(const Attention a) { attention<bf16, 96>(a); }
KERNEL __launch_bounds__(THREADS, 2) attention_bf16_128(const Attention a) { attention<bf16, 128>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_bf16_32(const Attention a) { attention<bf16, 32, true>(a); }
KERNEL __launch_bounds__(THREADS, 3) paged_bf16_64(const Attention a) { attention<bf16, 64, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_bf16_80(const Attention a) { attention<bf16, 80, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_bf16_96(const Attention a) { attention<bf16, 96, true>(a); }
KERNEL __launch_bounds__(THREADS, 2) paged_bf16_128(const Attention a) { attention<bf16, 128, true>(a); }
#endif
