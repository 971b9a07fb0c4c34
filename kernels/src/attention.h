// What the attention kernels share: which rows a block has, and which keys a query sees.
#pragma once
#include "args.h"
#include "math.h"

constexpr int KEYS = 64; // of a tile, counted from the sequence's first key

// Span is the part of the packed rows that a block of N queries works on. There is no table of blocks: sequence i has
// those from cum[i]/N + i on, which are never fewer than it has tiles; one more at most, and that one has nothing to do.
// With a causal mask the last tile, which has the most keys, comes first.
template <int N> struct Span {
  int sequence;
  int first, length; // of the sequence, in rows
  int query;         // of the block's first, within the sequence

  DEVICE explicit Span(const Attention &a) {
    const int b = block();
    int lo = 0, hi = a.sequences - 1; // the last sequence whose blocks begin at or before b
    while (lo < hi) {
      const int mid = (lo + hi + 1) >> 1;
      if (a.cum[mid] / N + mid <= b) lo = mid;
      else hi = mid - 1;
    }
    sequence = lo;
    first = a.cum[lo];
    length = a.cum[lo + 1] - first;
    const int tile = b - (first / N + lo);
    query = (a.causal ? ceil_div(length, N) - 1 - tile : tile) * N;
  }
  DEVICE bool empty() const { return query < 0 || query >= length; }
};

// Pages say where a sequence's keys and values lie, a tile at a time: in the packed rows themselves, or in the blocks of a
// cache, which are as long as a tile.
template <bool Paged> struct Pages {
  int past = 0; // rows in front of the queries'
  const int *table;
  int columns, blocks, step; // step: rows of a block, those of all heads

  DEVICE Pages(const Attention &a, int sequence) {
    if constexpr (Paged) {
      table = a.table + (i64)sequence * a.ldt;
      columns = a.columns, blocks = a.blocks, step = a.kvheads * KEYS;
      past = min(max(a.past[sequence], 0), columns * KEYS);
    }
  }
  // row is that of the tile's first key, in rows of k and v from the first of the head; -1 is none.
  DEVICE i64 row(int key) const {
    if constexpr (!Paged) return key;
    if (key >= columns * KEYS) return -1;
    const int b = table[key / KEYS];
    return (u32)b < (u32)blocks ? (i64)b * step : -1;
  }
  // head is the first row of a head of k or v, first that of the sequence among packed rows.
  template <class T> static DEVICE const T *head(const void *m, int first, int ld, int head, int dim) {
    if constexpr (Paged) return (const T *)m + (i64)head * KEYS * ld;
    else return (const T *)m + (i64)first * ld + (i64)head * dim;
  }
};

// Sight is the rule by which query i sees key j: from(i) <= j < to(i), both counted from the sequence's first key.
struct Sight {
  int length, window; // window 0: none
  bool causal;

  DEVICE Sight(const Attention &a, int length) : length(length), window(min(a.window, length)), causal(a.causal) {}
  DEVICE int from(int i) const { return window == 0 ? 0 : max(0, causal ? i - window + 1 : i - window); }
  DEVICE int to(int i) const { return min(length, causal ? i + 1 : window == 0 ? length : i + window + 1); }
};

// Score is cap·tanh(scale·dot/cap) + bias, of which a key's softmax weight is the exponential.
struct Score {
  float scale, cap;
  const float *bias; // of the head, at offset 0
  int reach;

  DEVICE Score(const Attention &a, int head) : scale(a.scale), cap(a.cap), bias(nullptr), reach(a.reach) {
    if (a.bias) bias = a.bias + (i64)head * (2 * reach + 1) + reach;
  }
  DEVICE bool plain() const { return cap == 0 && !bias; }
  // operator() is that of a query which is further heads behind the head.
  DEVICE float operator()(float dot, int offset, int further = 0) const {
    float s = dot * scale;
    if (cap != 0) s = soft_cap(s, cap);
    if (bias) s += bias[(i64)further * (2 * reach + 1) + max(-reach, min(reach, offset))];
    return s;
  }
  // all does so for the dots of a lane's accumulators, of which the first is offset keys behind its query.
  template <int Groups> DEVICE void all(float (*s)[4], int offset) const {
    UNROLL for (int i = 0; i < Groups; i++) { UNROLL for (int e = 0; e < 4; e++) s[i][e] *= scale; }
    if (cap != 0) {
      UNROLL for (int i = 0; i < Groups; i++) { UNROLL for (int e = 0; e < 4; e++) s[i][e] = soft_cap(s[i][e], cap); }
    }
    if (!bias) return;
    UNROLL for (int i = 0; i < Groups; i++) {
      UNROLL for (int e = 0; e < 4; e++) {
        s[i][e] += bias[max(-reach, min(reach, offset + i * 8 + (e & 1) - (e >> 1) * 8))];
      }
    }
  }
};
