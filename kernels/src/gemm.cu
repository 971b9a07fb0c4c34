// y = cap(act(x·wᵀ + bias)) for 16-bit x [m, k] and w [n, k] on mma.sync; rows on 16 bytes, k % 8 == 0.
//
// A block makes a tile of y from tiles of BK columns of x and w. From sm_80 on these come by cp.async through a ring of
// Stages; sm_75 loads the next ones into registers before the products of the current ones and stores them to the other
// of two buffers behind them. Rows past the edge repeat the last one and are never stored; columns past k are zeros.
// Tiles of rows are walked in bands of eight, so that a wave of blocks shares its rows of x and w in L2.
//
// An element is one accumulator that gets its products 16 k at a time, in order, in both tiles: the same bits.
#include "epilogue.h"
#include "mma.h"

#if __CUDA_ARCH__ >= 800
constexpr bool ring = true;
#else
constexpr bool ring = false;
#endif

template <class T, int BM, int BN, int BK, int Stages, int WarpsM, int WarpsN> struct Product {
  static constexpr int threads = WarpsM * WarpsN * 32, chunks = BK / 8;
  static constexpr int row_bytes = BK * 2, x_bytes = BM * row_bytes, stage = (BM + BN) * row_bytes;
  static constexpr int pass = threads / chunks; // rows that all threads copy together, 16 bytes each
  static constexpr int x_passes = BM / pass, w_passes = BN / pass;
  static constexpr int WM = BM / WarpsM, WN = BN / WarpsN, MI = WM / 16, NI = WN / 8; // of a warp
  static_assert(WN == 32 && WM % 16 == 0 && BM % pass == 0 && BN % pass == 0 && pass % 8 == 0);

  // 16-byte chunks of a row are permuted so that eight rows' chunk c lie in different banks.
  static DEVICE u32 swizzle(u32 row, u32 chunk) {
    return row * row_bytes + (chunk ^ (BK == 64 ? row & 7 : row >> 1 & 3)) * 16;
  }

  const char *x, *w;                    // at the thread's first chunk of the next tiles
  u32 x_row[x_passes], w_row[w_passes]; // bytes from there to its others; the first is 0
  int left;                             // columns from the thread's chunk to k's end
  u32 to;                               // where in a stage the thread's first chunk goes

  DEVICE void begin(const Gemm &a, int m0, int n0) {
    const int r = thread() / chunks, c = thread() % chunks;
    const int xr = min(m0 + r, a.m - 1), wr = min(n0 + r, a.n - 1);
    x = (const char *)a.x + (u64)xr * a.ldx * 2 + c * 16;
    w = (const char *)a.w + (u64)wr * a.ldw * 2 + c * 16;
    UNROLL for (int i = 0; i < x_passes; i++) x_row[i] = (min(m0 + r + i * pass, a.m - 1) - xr) * (u32)a.ldx * 2;
    UNROLL for (int i = 0; i < w_passes; i++) w_row[i] = (min(n0 + r + i * pass, a.n - 1) - wr) * (u32)a.ldw * 2;
    x_row[0] = w_row[0] = 0;
    left = a.k - c * 8;
    to = swizzle(r, c);
  }

  DEVICE void advance() { x += row_bytes, w += row_bytes, left -= BK; }

  // fetch starts the copy of the next tiles into a stage.
  DEVICE void fetch(u32 stage) {
    const bool valid = left > 0;
    unroll<x_passes>([&](auto i) { copy_async<i.v * pass * row_bytes>(stage + to, x + x_row[i.v], valid); });
    unroll<w_passes>(
        [&](auto i) { copy_async<x_bytes + i.v * pass * row_bytes>(stage + to, w + w_row[i.v], valid); });
    advance();
  }

  // take and give are fetch in two halves, through registers; for x and w one after the other, so that they share them.
  template <int passes> DEVICE void take(uint4 *v, const char *from, const u32 *row) const {
    UNROLL for (int i = 0; i < passes; i++) v[i] = {0, 0, 0, 0};
    if (left > 0) UNROLL for (int i = 0; i < passes; i++) v[i] = *(const uint4 *)(from + row[i]);
  }
  template <int passes> DEVICE void give(u32 at, const uint4 *v) const {
    unroll<passes>([&](auto i) { store_shared<i.v * pass * row_bytes>(at + to, v[i.v]); });
  }

  // multiply adds the products of 16 of a stage's k. A chunk 2·kk further is an exclusive or with 32·kk bytes.
  static DEVICE void multiply(float (*acc)[NI][4], u32 stage, u32 x_at, u32 w_at, int kk) {
    u32 a[MI][4], b[NI][2];
    const u32 xs = stage + (x_at ^ kk * 32), ws = stage + (w_at ^ kk * 32);
    unroll<MI>([&](auto i) { ldmatrix<i.v * 16 * row_bytes>(a[i.v], xs); });
    unroll<NI / 2>([&](auto j) { ldmatrix<j.v * 16 * row_bytes>(b[2 * j.v], ws); });
    UNROLL for (int i = 0; i < MI; i++) UNROLL for (int j = 0; j < NI; j++) mma<T>(acc[i][j], a[i], b[j]);
  }

  // place is where the block's tile begins.
  static DEVICE void place(const Gemm &a, int &m0, int &n0) {
    u32 block; // volatile: found anew for the epilogue rather than kept through the products
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
    const u32 rows = ceil_div(a.m, BM), cols = ceil_div(a.n, BN);
    const u32 band = block / (8 * cols), in_band = block % (8 * cols), height = min(rows - band * 8, 8u);
    m0 = (band * 8 + in_band % height) * BM, n0 = in_band / height * BN;
  }

  static DEVICE void run(const Gemm &a) {
    __shared__ u8 memory[(ring ? Stages : 2) * stage] __attribute__((aligned(128)));
    int m0, n0;
    place(a, m0, n0);
    const u32 shared = shared_address(memory);
    const int wm = warp() % WarpsM * WM, wn = warp() / WarpsM * WN, steps = ceil_div(a.k, BK);
    const u32 l = lane(), x_at = swizzle(wm + (l & 15), l >> 4);
    const u32 w_at = x_bytes + swizzle(wn + (l & 7) + (l >> 4) * 8, l >> 3 & 1);

    Product p;
    p.begin(a, m0, n0);
    float acc[MI][NI][4] = {};
    if constexpr (ring) {
      UNROLL for (int s = 0; s < Stages - 1; s++) {
        if (s < steps) p.fetch(shared + s * stage);
        commit_copies();
      }
      int read = 0, write = Stages - 1;
      ROLLED for (int k = 0; k < steps; k++) {
        wait_copies<Stages - 2>();
        barrier();
        if (k + Stages - 1 < steps) p.fetch(shared + write * stage);
        commit_copies();
        UNROLL for (int kk = 0; kk < BK / 16; kk++) multiply(acc, shared + read * stage, x_at, w_at, kk);
        read = read + 1 == Stages ? 0 : read + 1;
        write = write + 1 == Stages ? 0 : write + 1;
      }
      wait_copies<0>();
      barrier();
    } else {
      static_assert(BK == 32 && x_passes == w_passes);
      uint4 next[x_passes];
      p.template take<x_passes>(next, p.x, p.x_row), p.template give<x_passes>(shared, next);
      p.template take<w_passes>(next, p.w, p.w_row), p.template give<w_passes>(shared + x_bytes, next);
      barrier();
      u32 read = shared;
      ROLLED for (int k = steps;;) {
        const u32 write = 2 * shared + stage - read;
        const bool more = --k > 0;
        p.advance();
        if (more) p.template take<x_passes>(next, p.x, p.x_row);
        multiply(acc, read, x_at, w_at, 0);
        if (more) {
          p.template give<x_passes>(write, next);
          p.template take<w_passes>(next, p.w, p.w_row);
        }
        multiply(acc, read, x_at, w_at, 1);
        if (more) p.template give<w_passes>(write + x_bytes, next);
        barrier();
        if (!more) break;
        read = write;
      }
    }

    place(a, m0, n0);
    float *part = (float *)(memory + warp() * stage_bytes);
    const int col = n0 + wn + stage_column();
    const Epilogue<T> e(a, col, bias_of(a, col));
    ROLLED for (int i = 0; i < MI; i++) {
      unroll<MI>([&](auto c) {
        if (c.v == i) unroll<4>([&](auto j) { stage_put<j.v>(part, acc[c.v][j.v]); });
      });
      warp_barrier();
      stage_finish(a, e, part, m0 + wm + i * 16);
      warp_barrier();
    }
  }
};

KERNEL __launch_bounds__(256, 2) gemm_f16_128x128(const Gemm a) { Product<f16, 128, 128, 32, 3, 2, 4>::run(a); }
KERNEL __launch_bounds__(128, 2) gemm_f16_64x64(const Gemm a) { Product<f16, 64, 64, ring ? 64 : 32, 3, 2, 2>::run(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(256, 2) gemm_bf16_128x128(const Gemm a) { Product<bf16, 128, 128, 32, 3, 2, 4>::run(a); }
KERNEL __launch_bounds__(128, 2) gemm_bf16_64x64(const Gemm a) { Product<bf16, 64, 64, 64, 3, 2, 2>::run(a); }
#endif
