// y = cap(act(x·wᵀ + bias)) for few rows: the time is that of reading w [n, k] once.
//
// A block of eight warps makes 16 columns of y for G·8 rows. k is cut into chunks of 64; warp i takes chunks i, i+8 …, and
// the eight partial sums of an element are added in the warps' order. So n and k alone say how a row is summed: it has the
// same bits alone and among any number of others.
//
// 16-bit types run on mma with w as its 16-row operand and eight rows of x as the 8-column one. Both fragments come from
// global memory as they lie there: a lane loads 16 consecutive bytes where mma would have it hold four pairs, which only
// permutes k within 32, for both operands alike. All of a step's loads of w are issued before the first product.
#include "epilogue.h"
#include "mma.h"

constexpr int warps = 8, columns = 16, chunk = 64;
// Rows of partial sums are 20 floats apart: fragments and float4 both meet every bank once.
constexpr int part_stride = columns + 4;

// stream loads 16 bytes of w, which no other block reads.
DEVICE uint4 stream(const void *p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

// join adds the parts [parts][rows][columns] and finishes the sums, four columns a thread.
template <class T, int parts, int rows> DEVICE void join(const Gemm &a, const float *part, int m0, int n0) {
#pragma clang fp contract(off)
  static_assert(rows % 8 == 0 && rows * columns / 4 <= warps * 32);
  const int i = thread() / 4, c = thread() % 4 * 4;
  const int r = (i & ~7) | (i & 1) * 4 | (i >> 1 & 3); // rows four apart are 16 banks apart
  if (i >= rows) return;
  part += r * part_stride + c;
  float4 sum = *(const float4 *)part;
  UNROLL for (int p = 1; p < parts; p++) {
    const float4 s = *(const float4 *)(part + p * rows * part_stride);
    sum = {sum.x + s.x, sum.y + s.y, sum.z + s.z, sum.w + s.w};
  }
  Epilogue<T>(a, n0 + c, bias_of(a, n0 + c)).finish(a, m0 + r, sum);
}

// Blocks that share columns follow each other, so that w is in L2 for all but the first.
DEVICE void place(const Gemm &a, int rows, int &m0, int &n0) {
  const u32 groups = ceil_div(a.m, rows);
  m0 = block() % groups * rows, n0 = block() / groups * columns;
}

template <class T, int G> DEVICE void gemv(const Gemm &a) {
  __shared__ float part[warps * G * 8 * part_stride] __attribute__((aligned(16)));
  int m0, n0;
  place(a, G * 8, m0, n0);
  const int l = lane(), g = l >> 2, q = l & 3;
  const char *w = (const char *)a.w + ((i64)min(n0 + g, a.n - 1) * a.ldw + q * 8) * 2;
  const char *w8 = (const char *)a.w + ((i64)min(n0 + g + 8, a.n - 1) * a.ldw + q * 8) * 2;
  const char *x = (const char *)a.x + ((i64)min(m0 + g, a.m - 1) * a.ldx + q * 8) * 2;
  u32 x_row[G]; // bytes from there to row 8j+g
  UNROLL for (int j = 0; j < G; j++) x_row[j] = (min(m0 + j * 8 + g, a.m - 1) - min(m0 + g, a.m - 1)) * (u32)a.ldx * 2;

  constexpr int deep = G == 1 ? 2 : 1; // chunks of w whose loads are under way together
  float acc[G][4] = {};
  ROLLED for (int k = warp() * chunk; k < a.k; k += deep * warps * chunk) {
    uint4 wv[deep][2][2];
    UNROLL for (int d = 0; d < deep; d++) UNROLL for (int h = 0; h < 2; h++) {
      const int at = k + d * warps * chunk + h * 32;
      wv[d][h][0] = wv[d][h][1] = {0, 0, 0, 0};
      if (at + q * 8 < a.k) wv[d][h][0] = stream(w + at * 2), wv[d][h][1] = stream(w8 + at * 2);
    }
    UNROLL for (int d = 0; d < deep; d++) {
      uint4 xv[2][G];
      UNROLL for (int h = 0; h < 2; h++) UNROLL for (int j = 0; j < G; j++) {
        const int at = k + d * warps * chunk + h * 32;
        xv[h][j] = {0, 0, 0, 0};
        if (at + q * 8 < a.k) xv[h][j] = *(const uint4 *)(x + x_row[j] + at * 2);
      }
      UNROLL for (int h = 0; h < 2; h++) {
        const uint4 top = wv[d][h][0], bottom = wv[d][h][1];
        const u32 first[4] = {top.x, bottom.x, top.y, bottom.y}, second[4] = {top.z, bottom.z, top.w, bottom.w};
        UNROLL for (int j = 0; j < G; j++) {
          const uint4 v = xv[h][j];
          const u32 b0[2] = {v.x, v.y}, b1[2] = {v.z, v.w};
          mma<T>(acc[j], first, b0);
          mma<T>(acc[j], second, b1);
        }
      }
    }
  }

  UNROLL for (int j = 0; j < G; j++) {
    float *p = part + (warp() * G * 8 + j * 8 + q * 2) * part_stride + g;
    p[0] = acc[j][0], p[part_stride] = acc[j][1], p[8] = acc[j][2], p[part_stride + 8] = acc[j][3];
  }
  barrier();
  join<T, warps, G * 8>(a, part, m0, n0);
}

// The float32 one has FFMA for mma: a warp makes two columns for eight rows, a lane every 32nd k. The lanes' sums are
// added by a butterfly of shuffles, whose order is the same in all lanes. Neither x nor w need be aligned.
DEVICE void gemv_f32(const Gemm &a) {
  __shared__ float part[8 * part_stride] __attribute__((aligned(16)));
  int m0, n0;
  place(a, 8, m0, n0);
  const int wid = warp();
  const float *w = (const float *)a.w + (i64)min(n0 + wid * 2, a.n - 1) * a.ldw + lane();
  const float *x = (const float *)a.x + (i64)m0 * a.ldx + lane();
  const u32 next = n0 + wid * 2 + 1 < a.n ? a.ldw : 0; // elements to the second column's row
  u32 x_row[8];
  UNROLL for (int r = 0; r < 8; r++) x_row[r] = min(r, a.m - 1 - m0) * (u32)a.ldx;

  constexpr int deep = 4; // k whose loads are under way together
  float acc[2][8] = {};
  ROLLED for (int left = a.k - lane(); left > 0; left -= 32 * deep, w += 32 * deep, x += 32 * deep) {
    float wv[deep][2], xv[deep][8];
    UNROLL for (int i = 0; i < deep; i++) {
      const bool valid = i * 32 < left;
      UNROLL for (int c = 0; c < 2; c++) wv[i][c] = valid ? w[c * next + i * 32] : 0;
      UNROLL for (int r = 0; r < 8; r++) xv[i][r] = valid ? x[x_row[r] + i * 32] : 0;
    }
    UNROLL for (int i = 0; i < deep; i++) UNROLL for (int r = 0; r < 8; r++) UNROLL for (int c = 0; c < 2; c++)
      acc[c][r] = fma(wv[i][c], xv[i][r], acc[c][r]);
  }
  UNROLL for (int c = 0; c < 2; c++) UNROLL for (int r = 0; r < 8; r++) {
    float v = acc[c][r];
    UNROLL for (int lanes = 16; lanes; lanes >>= 1) v += shuffle_xor(v, lanes);
    if (lane() == 0) part[r * part_stride + wid * 2 + c] = v;
  }
  barrier();
  join<float, 1, 8>(a, part, m0, n0);
}

KERNEL __launch_bounds__(256, 3) gemv_f16_8(const Gemm a) { gemv<f16, 1>(a); }
KERNEL __launch_bounds__(256, 3) gemv_f16_32(const Gemm a) { gemv<f16, 4>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(256, 3) gemv_bf16_8(const Gemm a) { gemv<bf16, 1>(a); }
KERNEL __launch_bounds__(256, 3) gemv_bf16_32(const Gemm a) { gemv<bf16, 4>(a); }
#endif
KERNEL __launch_bounds__(256, 2) gemv_f32_8(const Gemm a) { gemv_f32(a); }
