// Attention of a decode step over a paged cache, for the head sizes that models have, on tensor cores.
//
//   y = softmax(cap·tanh(scale·q·kᵀ/cap) + bias, masked)·v    for one query of each sequence; see decode.h
//
// The time is that of reading keys and values once, so the query heads that share them are the 16 rows of one operand. Of
// each tile of 64 keys a warp has 16: it loads them itself, in runs of whole 16-byte chunks that follow each other in
// memory, and keeps a running softmax of its own. While it scores keys its values arrive, while it weighs values its next
// keys do; no warp waits for another before the end of the split, where the four are joined in their order.
#include "decode.h"
#include "mma.h"

constexpr int THREADS = 128, WARPS = THREADS / 32, OWN = KEYS / WARPS; // keys of a tile that a warp has

// Part is 16 rows of D elements in a warp's own shared memory: chunk c of 8 elements of row r lies at c ^ turn(r), so that
// the same chunk of 8 rows meets all banks.
template <int D> struct Part {
  static constexpr int chunks = D / 8, bytes = OWN * D * 2, each = OWN * chunks / 32;

  static DEVICE u32 turn(u32 row) { return D % 64 == 0 ? row & 7 : D % 32 == 0 ? row >> 1 & 3 : row >> 2 & 1; }
  static DEVICE u32 at(u32 row, u32 chunk) { return row * (D * 2) + ((chunk ^ turn(row)) << 4); }

  // load begins to copy the rows at m, without gaps; those from count on are zeros.
  template <class T> static DEVICE void load(u32 s, const T *m, int count) {
#if __CUDA_ARCH__ >= 800
    _Pragma("unroll 4") for (int i = 0; i < each; i++) { // addresses of more would fill the registers
      const u32 n = i * 32 + lane(), row = n / chunks;
      copy_async(s + at(row, n % chunks), m + ((int)row < count ? n * 8 : 0), (int)row < count);
    }
#else // all loads before the first store
    uint4 v[each];
    UNROLL for (int i = 0; i < each; i++) {
      const u32 n = i * 32 + lane(), row = n / chunks;
      v[i] = uint4{0, 0, 0, 0};
      if ((int)row < count) v[i] = ::load<uint4>(m + n * 8);
    }
    UNROLL for (int i = 0; i < each; i++) {
      const u32 n = i * 32 + lane();
      store_shared(s + at(n / chunks, n % chunks), v[i]);
    }
#endif
  }
  // The sums of a warp take the same memory afterwards: 16 rows of D floats, groups of 8 turned likewise.
  static DEVICE u32 sums_at(u32 row, u32 column) {
    const u32 turned = column >> 3 ^ (D % 32 == 0 ? row & 3 : row >> 1 & 1);
    return (row * D + turned * 8 + (column & 7)) * 4;
  }
};

template <class T, int D> DEVICE void decode(const Attention &a) {
  using Rows = Part<D>;
  constexpr int steps = D / 16;
  __shared__ float tops[WARPS][HEADS], weights[WARPS][HEADS];
  const Step step(a, 1);
  if (step.split >= step.last) return;
  const Pages<true> pages(a, step.sequence);
  const Sight sight(a, step.total);
  const Score score(a, step.head);
  const Meeting meeting(a, step);
  const u32 l = lane(), w = warp();
  const T *k = pages.template head<T>(a.k, 0, D, step.shared_head, D) + w * OWN * D;
  const T *v = pages.template head<T>(a.v, 0, D, step.shared_head, D) + w * OWN * D;
  T *y = (T *)a.y + (i64)step.row * a.ldy + (i64)step.head * D;

  // fragment is what ldmatrix would give of the queries. Those of the largest heads would not fit the registers: they are
  // read again for every tile.
  constexpr bool held = D <= 128;
  const T *q = (const T *)a.q + (i64)step.row * a.ldq + (i64)step.head * D + (l & 3) * 2;
  const auto fragment = [&](u32 *x, int i) {
    UNROLL for (int e = 0; e < 4; e++) {
      const int row = (l >> 2) + (e & 1) * 8;
      x[e] = row < step.heads ? *(const u32 *)(q + row * D + i * 16 + (e >> 1) * 8) : 0;
    }
  };
  u32 query[held ? steps : 1][4];
  if constexpr (held) UNROLL for (int i = 0; i < steps; i++) fragment(query[i], i);

  const u32 keys = shared_address(dynamic_shared) + w * (2 * Rows::bytes), values = keys + Rows::bytes;
  u8 *own = dynamic_shared + w * (2 * Rows::bytes);
  const u32 key_row = keys + ((l & 7) + (l >> 4 << 3)) * (D * 2), value_row = values + (l & 15) * (D * 2);
  const u32 turn = Rows::turn(l & 7);

  ROLLED for (int split = step.split; split < step.last; split += blocks_z()) {
    const int begin = step.begin(split), end = step.end(split);
    i64 tile = pages.row(begin);
    const auto fetch = [&](u32 s, const T *m, int key) { Rows::load(s, tile < 0 ? m : m + tile * D, tile < 0 ? 0 : end - key - (int)w * OWN); };
    fetch(keys, k, begin);
    commit_copies();
    fetch(values, v, begin);
    commit_copies();
    float out[D / 8][4], top[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};
    UNROLL for (int i = 0; i < D / 8; i++) { UNROLL for (int e = 0; e < 4; e++) out[i][e] = 0; }

    ROLLED for (int key = begin; key < end; key += KEYS) {
      const bool more = key + KEYS < end;
      if (more) tile = pages.row(key + KEYS); // before it is waited for
      float s[2][4] = {};
      wait_copies<1>();
      warp_barrier(); // the keys are there
      unroll<steps>([&](auto i) {
        u32 b[4], *x = query[held ? i.v : 0];
        if constexpr (!held) fragment(x, i.v);
        ldmatrix(b, key_row + ((i.v * 2 + (l >> 3 & 1) ^ turn) << 4));
        mma<T>(s[0], x, b);
        mma<T>(s[1], x, b + 2);
      });
      warp_barrier(); // nobody needs the keys
      if (more) fetch(keys, k, key + KEYS);
      commit_copies();

      float best[2] = {top[0], top[1]};
      UNROLL for (int i = 0; i < 2; i++) {
        UNROLL for (int e = 0; e < 4; e++) {
          const int j = key + (int)w * OWN + i * 8 + (int)(l & 3) * 2 + (e & 1), row = (int)(l >> 2) + (e >> 1) * 8;
          const bool seen = j >= step.from && j < end && row < step.heads;
          s[i][e] = seen ? score(s[i][e], j - step.position, row) * LOG2E : -infinity();
          best[e >> 1] = max(best[e >> 1], s[i][e]);
        }
      }
      UNROLL for (int r = 0; r < 2; r++) {
        best[r] = max(best[r], shuffle_xor(best[r], 1));
        best[r] = max(best[r], shuffle_xor(best[r], 2));
        const float base = best[r] == -infinity() ? 0.f : best[r], keep = ex2(top[r] - base); // no key seen yet
        top[r] = best[r];
        sum[r] *= keep;
        UNROLL for (int i = 0; i < D / 8; i++) out[i][2 * r] *= keep, out[i][2 * r + 1] *= keep;
        UNROLL for (int i = 0; i < 2; i++) {
          UNROLL for (int e = 2 * r; e < 2 * r + 2; e++) {
            s[i][e] = ex2(s[i][e] - base);
            sum[r] += s[i][e];
          }
        }
      }
      const u32 p[4] = {pack<T>(s[0][0], s[0][1]), pack<T>(s[0][2], s[0][3]), pack<T>(s[1][0], s[1][1]), pack<T>(s[1][2], s[1][3])};
      wait_copies<1>();
      warp_barrier(); // the values are there
      unroll<steps>([&](auto n) {
        u32 b[4];
        ldmatrix_transposed(b, value_row + ((n.v * 2 + (l >> 4) ^ turn) << 4));
        mma<T>(out[2 * n.v], p, b);
        mma<T>(out[2 * n.v + 1], p, b + 2);
      });
      warp_barrier(); // nobody needs the values
      if (more) fetch(values, v, key + KEYS);
      commit_copies();
    }

    // The warps' sums meet in shared memory.
    UNROLL for (int r = 0; r < 2; r++) {
      const int row = (int)(l >> 2) + r * 8;
      sum[r] += shuffle_xor(sum[r], 1);
      sum[r] += shuffle_xor(sum[r], 2);
      if ((l & 3) == 0) tops[w][row] = top[r], weights[w][row] = sum[r];
      if (row < step.heads) {
        UNROLL for (int i = 0; i < D / 8; i++) {
          *(float2 *)(own + Rows::sums_at(row, i * 8 + (l & 3) * 2)) = {out[i][2 * r], out[i][2 * r + 1]};
        }
      }
    }
    barrier();
    ROLLED for (int i = thread(); i < step.heads * (D / 4); i += THREADS) {
      const int row = i / (D / 4), c = i % (D / 4) * 4;
      float best = tops[0][row], total = 0;
      UNROLL for (int n = 1; n < WARPS; n++) best = max(best, tops[n][row]);
      float4 acc = {0, 0, 0, 0};
      UNROLL for (int n = 0; n < WARPS; n++) {
        const float4 x = load<float4>(dynamic_shared + n * (2 * Rows::bytes) + Rows::sums_at(row, c));
        const float f = ex2(tops[n][row] - best);
        acc = {fma(x.x, f, acc.x), fma(x.y, f, acc.y), fma(x.z, f, acc.z), fma(x.w, f, acc.w)};
        total = fma(weights[n][row], f, total);
      }
      if (step.count == 1) {
        T *to = y + row * D + c;
        to[0] = narrow<T>(acc.x / total), to[1] = narrow<T>(acc.y / total);
        to[2] = narrow<T>(acc.z / total), to[3] = narrow<T>(acc.w / total);
      } else {
        store(meeting.sum(row, split) + c, acc);
        if (c == 0) *(float2 *)meeting.pair(row, split) = {best, total};
      }
    }
    if (step.count > 1 && meeting.finished(step.count)) meeting.join(step, y, 0, D, THREADS);
    barrier(); // the memory is the next split's
  }
}

KERNEL __launch_bounds__(THREADS, 4) decode_f16_32(const Attention a) { decode<f16, 32>(a); }
KERNEL __launch_bounds__(THREADS, 3) decode_f16_64(const Attention a) { decode<f16, 64>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_f16_80(const Attention a) { decode<f16, 80>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_f16_96(const Attention a) { decode<f16, 96>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_f16_128(const Attention a) { decode<f16, 128>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 2) decode_f16_256(const Attention a) { decode<f16, 256>(a); }
KERNEL __launch_bounds__(THREADS, 4) decode_bf16_32(const Attention a) { decode<bf16, 32>(a); }
KERNEL __launch_bounds__(THREADS, 3) decode_bf16_64(const Attention a) { decode<bf16, 64>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_bf16_80(const Attention a) { decode<bf16, 80>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_bf16_96(const Attention a) { decode<bf16, 96>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_bf16_128(const Attention a) { decode<bf16, 128>(a); }
KERNEL __launch_bounds__(THREADS, 2) decode_bf16_256(const Attention a) { decode<bf16, 256>(a); }
#endif
