// The way of new rows into a layer of a paged cache: queries normed and rotated to scratch, keys normed and rotated to the
// cache, values as they are to the cache, all by one launch. See rotary.h for the norm and the rotation.
//
// A cache is [blocks, kvheads, 64, pitch] for keys and as much for values. Where a row goes is read on the device, so that a
// recorded step does the same launches at every length.
#include "rotary.h"

constexpr int THREADS = 256, WARPS = THREADS / 32, BLOCK = 64; // rows of a block of the cache

template <class T> DEVICE void append(const Append &a) {
  const int queries = a.y ? ceil_div(a.heads, HEADS) : 0, groups = ceil_div(a.kvheads, HEADS), all = queries + 2 * groups;
  const u32 unit = block() * WARPS + (thread() >> 5);
  const int row = unit / (u32)all, part = unit % (u32)all;
  if (row >= a.rows) return;
  const float *table = a.angles + (i64)row * a.lda;
  if (part < queries) {
    const int head = part * HEADS;
    turn_heads((const T *)a.q + (i64)row * a.ldq + (i64)head * a.dim, (T *)a.y + (i64)row * a.ldy + (i64)head * a.dim, a.dim, table,
               min(HEADS, a.heads - head), Turn{a.qw, a.qb, a.qeps, a.qkind, a.dim, a.half, (bool)a.interleaved});
    return;
  }
  int lo = 0, hi = a.sequences - 1; // the last sequence that begins at or before the row: mostly the one of its number
  if (row <= hi && a.cum[row] == row && a.cum[row + 1] > row) lo = hi = row;
  while (lo < hi) {
    const int mid = (lo + hi + 1) >> 1;
    if (a.cum[mid] <= row) lo = mid;
    else hi = mid - 1;
  }
  const int past = a.past[lo], at = past + row - a.cum[lo];
  if (past < 0 || (u32)at >= (u32)a.columns * BLOCK) return;
  const int to = a.table[(i64)lo * a.ldt + at / BLOCK];
  if ((u32)to >= (u32)a.blocks) return;
  const bool values = part >= queries + groups;
  const int head = (part - queries - (values ? groups : 0)) * HEADS;
  const T *x = values ? (const T *)a.v + (i64)row * a.ldv : (const T *)a.k + (i64)row * a.ldk;
  T *y = (T *)(values ? a.values : a.keys) + (((i64)to * a.kvheads + head) * BLOCK + at % BLOCK) * a.pitch;
  const Turn turn = values ? Turn{nullptr, nullptr, 0, NORM_NONE, a.dim, 0, false}
                           : Turn{a.kw, a.kb, a.keps, a.kkind, a.dim, a.half, (bool)a.interleaved};
  turn_heads(x + (i64)head * a.dim, y, BLOCK * a.pitch, table, min(HEADS, a.kvheads - head), turn);
}

KERNEL __launch_bounds__(THREADS, 4) append_f32(const Append a) { append<float>(a); }
KERNEL __launch_bounds__(THREADS, 4) append_f16(const Append a) { append<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 4) append_bf16(const Append a) { append<bf16>(a); }
#endif
