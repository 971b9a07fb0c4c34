// y = cap(act(x·wᵀ + bias)) in float32 by FFMA: x [m, k] of any alignment, w [n, k] with rows on 16 bytes.
//
// A thread makes 8 x TN elements of a BM x BN tile, in groups of four consecutive rows and columns. Tiles of 8 k pass
// through two buffers of shared memory, transposed so that a group of four is one load; the next ones are under way in
// registers during the products of the current ones. Rows past the edge repeat the last one, columns past k are zeros.
//
// An element is one chain of fused multiply-adds in ascending k, in both tiles: the same bits.
#include "epilogue.h"

template <int BM, int BN, int TN> struct Product {
  static constexpr int threads_x = BN / TN, threads_y = BM / 8, threads = threads_x * threads_y, BK = 8;
  static constexpr int passes = BM * BK / threads; // of x, an element a thread each
  static constexpr int x_stride = BM + 4, w_stride = BN + 4, stage = BK * (x_stride + w_stride);
  static_assert(BN * BK / 4 == threads && threads_x == 16);

  const float *x, *w; // at the thread's first element of the next tiles
  u32 x_row[passes];  // elements from there to its other rows
  int x_left, w_left; // columns to k's end

  DEVICE void begin(const Gemm &a, int m0, int n0) {
    const int t = thread(), xr = min(m0 + t / BK, a.m - 1);
    x = (const float *)a.x + (i64)xr * a.ldx + t % BK;
    w = (const float *)a.w + (i64)min(n0 + t / 2, a.n - 1) * a.ldw + t % 2 * 4;
    UNROLL for (int i = 0; i < passes; i++)
      x_row[i] = (min(m0 + t / BK + i * (threads / BK), a.m - 1) - xr) * (u32)a.ldx;
    x_left = a.k - t % BK, w_left = a.k - t % 2 * 4;
  }

  DEVICE void take(float *xv, float *wv) {
    UNROLL for (int i = 0; i < passes; i++) xv[i] = x_left > 0 ? x[x_row[i]] : 0;
    if (w_left >= 4)
      load<float, 4>(w, wv);
    else
      UNROLL for (int i = 0; i < 4; i++) wv[i] = i < w_left ? w[i] : 0;
    x += BK, w += BK, x_left -= BK, w_left -= BK;
  }

  static DEVICE void give(float *s, const float *xv, const float *wv) {
    const int t = thread();
    float *xs = s + t % BK * x_stride + t / BK, *ws = s + BK * x_stride + t % 2 * 4 * w_stride + t / 2;
    UNROLL for (int i = 0; i < passes; i++) xs[i * (threads / BK)] = xv[i];
    UNROLL for (int i = 0; i < 4; i++) ws[i * w_stride] = wv[i];
  }

  static DEVICE void run(const Gemm &a) {
    __shared__ float shared[2 * stage] __attribute__((aligned(16)));
    const u32 rows = ceil_div(a.m, BM), cols = ceil_div(a.n, BN);
    const u32 band = block() / (8 * cols), in_band = block() % (8 * cols), height = min(rows - band * 8, 8u);
    const int m0 = (band * 8 + in_band % height) * BM, n0 = in_band / height * BN;
    const int tx = thread() % threads_x * 4, ty = thread() / threads_x * 4;

    Product p;
    p.begin(a, m0, n0);
    float acc[8][TN] = {}, xv[passes], wv[4];
    p.take(xv, wv);
    give(shared, xv, wv);
    barrier();
    float *read = shared, *write = shared + stage;
    ROLLED for (int k = 0; k < a.k; k += BK) {
      const bool more = k + BK < a.k;
      if (more) p.take(xv, wv);
      UNROLL for (int kk = 0; kk < BK; kk++) {
        const float *xs = read + kk * x_stride + ty, *ws = read + BK * x_stride + kk * w_stride + tx;
        float xk[8], wk[TN];
        UNROLL for (int i = 0; i < 8; i += 4) load<float, 4>(xs + i / 4 * (BM / 2), xk + i);
        UNROLL for (int j = 0; j < TN; j += 4) load<float, 4>(ws + j / 4 * 64, wk + j);
        UNROLL for (int i = 0; i < 8; i++) UNROLL for (int j = 0; j < TN; j++) acc[i][j] = fma(xk[i], wk[j], acc[i][j]);
      }
      if (more) give(write, xv, wv);
      barrier();
      float *other = read;
      read = write, write = other;
    }

    // Through a slot of the thread's own, so that the loop need not be unrolled to index accumulators.
    float4 *slot = (float4 *)shared + thread();
    UNROLL for (int j = 0; j < TN; j += 4) {
      const int col = n0 + j / 4 * 64 + tx;
      const Epilogue<float> e(a, col, bias_of(a, col));
      ROLLED for (int i = 0; i < 8; i++) {
        unroll<8>([&](auto c) {
          if (c.v == i) *slot = {acc[c.v][j], acc[c.v][j + 1], acc[c.v][j + 2], acc[c.v][j + 3]};
        });
        e.finish(a, m0 + i / 4 * (BM / 2) + ty + i % 4, *slot);
      }
    }
  }
};

KERNEL __launch_bounds__(256, 2) gemm_f32_128x128(const Gemm a) { Product<128, 128, 8>::run(a); }
KERNEL __launch_bounds__(128, 4) gemm_f32_64x64(const Gemm a) { Product<64, 64, 4>::run(a); }
