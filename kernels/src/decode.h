// What the decode kernels share: whose keys a block reads, and how the splits of a row's keys meet (Flash-Decoding, Dao et
// al. 2023).
//
// A block has one row, up to 16 of the query heads that share a head of keys, and, along z, every so many of the row's
// splits: 256 keys each, counted from the sequence's first. A split's result is made from its own keys alone, and they are
// joined in their order by the block that finishes last: a row's bits depend neither on the rows beside it nor on the size
// of the grid. A grid is sized for the longest sequence that a table can name; a block whose splits are past the row's end
// is done at once.
#pragma once
#include "attention.h"

constexpr int SPLIT = 256, HEADS = 16; // keys of a split; query heads of a block

DEVICE u32 blocks_y() { return __nvvm_read_ptx_sreg_nctaid_y(); }
DEVICE u32 blocks_z() { return __nvvm_read_ptx_sreg_nctaid_z(); }
// fence orders what the thread wrote before it and reads after it, as other multiprocessors see it.
DEVICE void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
DEVICE u32 add_global(u32 *p, u32 v) {
  u32 r;
  asm volatile("atom.global.add.u32 %0, [%1], %2;" : "=r"(r) : "l"(p), "r"(v) : "memory");
  return r;
}
// load_relaxed reads what another block wrote, past the multiprocessor's own cache.
DEVICE float load_relaxed(const float *p) {
  float r;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(r) : "l"(p) : "memory");
  return r;
}

// Step is one block's part of a decode step. Slices are the parts that head sizes are cut into.
struct Step {
  int row, sequence;
  int shared_head, head, heads; // of keys; the first of queries, and how many
  int slice, slices;
  int past, position, total; // keys in front of the sequence's rows; the row among its keys; all of these
  int from, to;              // keys that are seen
  int split, last;           // the first split that is this block's to make; behind the row's last
  int count;                 // of the row's splits

  DEVICE Step(const Attention &a, int slices) : slices(slices) {
    row = block() + a.first;
    int lo = 0, hi = a.sequences - 1; // the last sequence that begins at or before the row: mostly the one of its number
    if (row <= hi && a.cum[row] == row && a.cum[row + 1] > row) lo = hi = row;
    while (lo < hi) {
      const int mid = (lo + hi + 1) >> 1;
      if (a.cum[mid] <= row) lo = mid;
      else hi = mid - 1;
    }
    sequence = lo;
    const int group = a.heads / a.kvheads, parts = ceil_div(group, HEADS);
    const int unit = block_y() / slices, part = unit % parts;
    slice = block_y() % slices;
    shared_head = unit / parts;
    head = shared_head * group + part * HEADS;
    heads = min(HEADS, group - part * HEADS);
    past = Pages<true>(a, sequence).past;
    position = past + row - a.cum[sequence];
    total = past + a.cum[sequence + 1] - a.cum[sequence];
    const Sight sight(a, total);
    from = sight.from(position), to = sight.to(position);
    last = ceil_div(to, SPLIT);
    count = last - from / SPLIT;
    split = from / SPLIT + block_z();
  }
  // begin and end are the keys of a split, from the tile on in which the first that is seen lies.
  DEVICE int begin(int split) const { return max(split * SPLIT, from / KEYS * KEYS); }
  DEVICE int end(int split) const { return min(split * SPLIT + SPLIT, to); }
};

// Meeting is where the splits of a row leave their sums, not yet divided by the sum of their weights, and for each head
// the maximum, as a power of 2, and that sum.
struct Meeting {
  float *sums, *pairs;
  u32 *done;
  int splits, dim, slices;

  DEVICE Meeting(const Attention &a, const Step &s) : splits(a.splits), dim(a.dim), slices(s.slices) {
    const i64 first = ((i64)s.row * a.heads + s.head) * splits;
    sums = a.parts + first * dim;
    pairs = a.parts + (i64)a.rows * a.heads * splits * dim + (first * slices + s.slice) * 2;
    done = a.done + block() * blocks_y() + block_y();
  }
  DEVICE float *sum(int head, int split) const { return sums + ((i64)head * splits + split) * dim; }
  DEVICE float *pair(int head, int split) const { return pairs + ((i64)head * splits + split) * slices * 2; }

  // finished reports whether all count splits are there now, to all threads alike. The counter is 0 again then, for the
  // next launch.
  DEVICE bool finished(int count) const {
    __shared__ u32 before;
    fence();
    barrier();
    if (thread() == 0) {
      before = add_global(done, 1);
      if ((int)before == count - 1) *done = 0;
    }
    barrier();
    if ((int)before != count - 1) return false;
    fence();
    return true;
  }
  // join writes channels c to c+width-1 of the row's heads, of its splits from first to last-1.
  template <class T> DEVICE void join(const Step &s, T *y, int c, int width, int threads) const {
    ROLLED for (int i = thread(); i < s.heads * width; i += threads) {
      const int h = i / width, channel = c + i % width;
      float top = -infinity(), out = 0, weights = 0;
      for (int j = s.last - s.count; j < s.last; j++) top = max(top, load_relaxed(pair(h, j)));
      for (int j = s.last - s.count; j < s.last; j++) {
        const float w = ex2(load_relaxed(pair(h, j)) - top);
        out = fma(load_relaxed(sum(h, j) + channel), w, out);
        weights = fma(load_relaxed(pair(h, j) + 1), w, weights);
      }
      y[(i64)h * dim + channel] = narrow<T>(out / weights);
    }
  }
};
