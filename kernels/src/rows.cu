// Rows moved, reduced and converted: gather, pool and convert. A warp has one row of a tile of columns, a block eight.
// Rows whose addresses allow it are moved by vectors of 4 elements, or 16 bytes, all loads of a tile before its stores.
#include "args.h"
#include "device.h"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int TILE = 1024;          // columns of convert's tile, bytes of gather's
constexpr int POOLED = 128, CHUNK = 32; // columns of pool's tile; rows that one warp sums before the sums are joined

DEVICE bool aligned(const void *p, int bytes) { return ((u64)p & (bytes - 1)) == 0; }

// gather: y[i] = x[rows[i]], zeros where that is no row. The grid is [n/8, cols/tile].
template <class T> DEVICE void gather(const Gather &a) {
  constexpr int vector = 16 / sizeof(T), tile = TILE / sizeof(T), held = tile / (32 * vector);
  const int row = block() * WARPS + (thread() >> 5), first = block_y() * tile, last = min(a.cols, first + tile);
  if (row >= a.n) return;
  const int from = a.rows[row];
  const bool there = (u32)from < (u32)a.limit;
  const T *x = (const T *)a.x + (there ? (i64)from * a.ldx : 0);
  T *y = (T *)a.y + (i64)row * a.ldy;
  if (((a.cols | a.ldx | a.ldy) & (vector - 1)) == 0 && aligned(a.x, 16) && aligned(a.y, 16)) {
    uint4 v[held];
    UNROLL for (int i = 0; i < held; i++) {
      const int c = first + (lane() + 32 * i) * vector;
      v[i] = uint4{0, 0, 0, 0};
      if (there && c < last) v[i] = load<uint4>(x + c);
    }
    UNROLL for (int i = 0; i < held; i++) {
      const int c = first + (lane() + 32 * i) * vector;
      if (c < last) store(y + c, v[i]);
    }
    return;
  }
  ROLLED for (int c = first + lane(); c < last; c += 32) y[c] = there ? x[c] : T(0);
}

KERNEL __launch_bounds__(THREADS, 4) gather_16(const Gather a) { gather<u16>(a); }
KERNEL __launch_bounds__(THREADS, 4) gather_32(const Gather a) { gather<u32>(a); }

// pool: row i of y is a reduction of rows [from, to) of x, one block for 128 columns of it. Warps sum 32 rows each in
// row order, and their sums are joined in the same order, eight at a time: the order depends on the range's length alone.
// Lane l has columns l, l+32, l+64 and l+96 of the tile, so that loads are full sectors at any alignment.
template <class T> DEVICE void pool(const Pool &a) {
  constexpr int columns = POOLED / 32, rows = 8; // of a thread; rows loaded before the first is used
  __shared__ float part[WARPS][POOLED];
  const int *range = a.ranges + (i64)block() * a.ldr;
  int from = range[0], to = range[1];
  float *y = a.y + (i64)block() * a.ldy;
  const int first = block_y() * POOLED, at = thread() & (POOLED - 1), w = thread() >> 5;
  const bool writes = thread() < POOLED && first + at < a.width;
  if (from < 0 || from >= to || to > a.limit) {
    if (writes) y[first + at] = 0;
    return;
  }
  float divisor = 1;
  i64 origin = 0; // rows weigh their distance from it
  if (a.how == POOL_FIRST) to = from + 1;
  if (a.how == POOL_LAST) from = to - 1;
  if (a.how == POOL_MEAN) divisor = (float)(to - from);
  if (a.how == POOL_MEAN_SQRT) divisor = __builtin_sqrtf((float)(to - from));
  if (a.how == POOL_WEIGHTED) {
    origin = (i64)range[2] - 1;
    divisor = (float)(((i64)from - origin + (i64)to - 1 - origin) * (to - from) / 2);
  }
  const bool most = a.how == POOL_MAX, weighted = a.how == POOL_WEIGHTED;
  const float none = most ? -__builtin_inff() : 0.f;
  float total = none; // of column first + at
  int column[columns];
  UNROLL for (int j = 0; j < columns; j++) column[j] = min(first + (int)lane() + 32 * j, a.width - 1);
  for (int base = from; base < to; base += WARPS * CHUNK) {
    const int end = min(to, base + (w + 1) * CHUNK);
    float s[columns];
    UNROLL for (int j = 0; j < columns; j++) s[j] = none;
    ROLLED for (int r = base + w * CHUNK; r < end; r += rows) {
      T v[rows][columns]; // the last row again past the end: no load depends on a condition
      UNROLL for (int k = 0; k < rows; k++) {
        const T *x = (const T *)a.x + (i64)min(r + k, end - 1) * a.ldx;
        UNROLL for (int j = 0; j < columns; j++) v[k][j] = x[column[j]];
      }
      if (most) {
        UNROLL for (int k = 0; k < rows; k++) {
          UNROLL for (int j = 0; j < columns; j++) s[j] = max(s[j], widen(v[k][j]));
        }
      } else {
        UNROLL for (int k = 0; k < rows; k++) {
          const float weight = weighted ? (float)(r + k - origin) : 1.f;
          UNROLL for (int j = 0; j < columns; j++) s[j] = r + k < end ? fma(weight, widen(v[k][j]), s[j]) : s[j];
        }
      }
    }
    barrier(); // the last sums have been read
    UNROLL for (int j = 0; j < columns; j++) part[w][lane() + 32 * j] = s[j];
    barrier();
    const int joined = min(WARPS, ceil_div(to - base, CHUNK));
    if (writes) {
      ROLLED for (int i = 0; i < joined; i++) total = most ? max(total, part[i][at]) : total + part[i][at];
    }
  }
  if (writes) y[first + at] = total / divisor;
}

KERNEL __launch_bounds__(THREADS, 3) pool_f32(const Pool a) { pool<float>(a); }
KERNEL __launch_bounds__(THREADS, 3) pool_f16(const Pool a) { pool<f16>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 3) pool_bf16(const Pool a) { pool<bf16>(a); }
#endif

// convert: y = x in y's type, to nearest even; columns [cols, width) are zeros. The grid is [rows/8, width/1024].
template <class T, class Y> struct Conversion {
  static DEVICE Y one(T x) { return narrow<Y>(widen(x)); }
};
template <class T> struct Conversion<T, T> { // keeps the bits of a NaN
  static DEVICE T one(T x) { return x; }
};
template <class T> struct alignas(4 * sizeof(T)) Quad {
  T e[4];
};

template <class T, class Y> DEVICE void convert(const Convert &a) {
  constexpr int held = TILE / (32 * 4);
  const int row = block() * WARPS + (thread() >> 5), first = block_y() * TILE;
  if (row >= a.rows) return;
  const T *x = (const T *)a.x + (i64)row * a.ldx;
  Y *y = (Y *)a.y + (i64)row * a.ldy;
  const int last = min(a.width, first + TILE);
  if (((a.cols | a.width | a.ldx | a.ldy) & 3) == 0 && aligned(a.x, sizeof(Quad<T>)) && aligned(a.y, sizeof(Quad<Y>))) {
    Quad<T> v[held];
    UNROLL for (int i = 0; i < held; i++) {
      const int c = first + (lane() + 32 * i) * 4;
      v[i] = Quad<T>{};
      if (c < min(last, a.cols)) v[i] = load<Quad<T>>(x + c);
    }
    UNROLL for (int i = 0; i < held; i++) {
      const int c = first + (lane() + 32 * i) * 4;
      Quad<Y> r;
      UNROLL for (int e = 0; e < 4; e++) r.e[e] = Conversion<T, Y>::one(v[i].e[e]);
      if (c < last) store(y + c, r);
    }
    return;
  }
  ROLLED for (int c = first + lane(); c < last; c += 32) {
    y[c] = c < a.cols ? Conversion<T, Y>::one(x[c]) : Y();
  }
}

KERNEL __launch_bounds__(THREADS, 4) convert_f32_f32(const Convert a) { convert<float, float>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_f32_f16(const Convert a) { convert<float, f16>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_f32_bf16(const Convert a) { convert<float, bf16>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_f16_f32(const Convert a) { convert<f16, float>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_f16_f16(const Convert a) { convert<f16, f16>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_f16_bf16(const Convert a) { convert<f16, bf16>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_bf16_f32(const Convert a) { convert<bf16, float>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_bf16_f16(const Convert a) { convert<bf16, f16>(a); }
KERNEL __launch_bounds__(THREADS, 4) convert_bf16_bf16(const Convert a) { convert<bf16, bf16>(a); }
